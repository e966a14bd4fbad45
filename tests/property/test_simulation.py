"""Some lives of a gateway in every run: fixed ones, and a fresh one that names itself."""

from __future__ import annotations

import secrets

import pytest

from tests.property.simulation import simulate


@pytest.mark.parametrize("seed", range(1, 9))
def test_no_coin_is_lost_or_doubled(seed: int) -> None:
    seen = simulate(seed)

    assert seen["_buy"] > 0
    assert seen["_open"] > 0


def test_no_coin_is_lost_or_doubled_on_a_fresh_seed() -> None:
    seed = secrets.randbelow(10**6)
    print(f"seed {seed}; again: make simulate SEED={seed} RUNS=1")

    simulate(seed)
