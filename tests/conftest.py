"""What every test may count on: how hard Hypothesis looks, and a database for who asks."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from adapters.recursion import keep_recursion_shallow
from tests.fakes.cluster import database, server

__all__ = ["database", "server"]

# Two shared cores: a slow step is the machine's, not the code's.
_PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("local", _PATIENT, max_examples=100, stateful_step_count=30)
settings.register_profile("ci", settings.get_profile("local"), derandomize=True)
settings.register_profile("long", _PATIENT, max_examples=2_000, stateful_step_count=80)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "local"))

# As the program does when it starts.
keep_recursion_shallow()


@pytest.fixture
def collector_at_rest() -> Iterator[None]:
    """For towers of brackets: a finalizer that happens to run at the top of one fails, whosever."""
    gc.disable()
    yield
    gc.enable()
