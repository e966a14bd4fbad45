"""Lives of a gateway in every run: fixed ones, fresh ones that name themselves, broken ones."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulate import live
from tests.simulation.bugs import BUGS
from tests.simulation.world import World

ROOT = Path(__file__).parents[2]
FIXED = 16
FRESH = 3
SEEDS_MAX = 25
HASH_OF_SEED = "from tests.simulation.world import World; print(World(7).run())"


@pytest.mark.parametrize("seed", range(1, FIXED + 1))
def test_no_coin_is_lost_or_doubled(seed: int) -> None:
    life = live(seed)

    assert life.failure == "", "\n".join(life.trace)
    assert life.answers > 0


@pytest.mark.parametrize("number", range(FRESH))
def test_no_coin_is_lost_or_doubled_on_a_fresh_seed(number: int) -> None:
    seed = secrets.randbelow(10**9)
    print(f"fresh seed {number}: make simulate SEED={seed} RUNS=1")

    life = live(seed)

    assert life.failure == "", f"seed {seed}\n" + "\n".join(life.trace)


def test_a_seed_tells_all_in_whatever_process_it_runs() -> None:
    again = subprocess.run(
        [sys.executable, "-c", HASH_OF_SEED],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert again.stdout.strip() == World(7).run(), again.stderr


def test_two_seeds_are_two_lives() -> None:
    assert World(1).run() != World(2).run()


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_is_found_within_a_few_seeds(bug: str) -> None:
    assert any(live(seed, bug).failure for seed in range(1, SEEDS_MAX + 1))
