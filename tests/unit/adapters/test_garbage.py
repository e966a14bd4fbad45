from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from adapters.garbage import tend_garbage


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_what_is_there_for_good_is_not_walked_through_again() -> None:
    kept: list[list[int]] = [[]]

    tend_garbage()

    assert gc.get_freeze_count() > 0
    assert all(found is not kept for found in gc.get_objects())


@pytest.mark.usefixtures("collector")
def test_the_collector_goes_on_with_what_comes_later() -> None:
    tend_garbage()

    assert gc.isenabled()
    assert gc.get_threshold()[0] > 0
