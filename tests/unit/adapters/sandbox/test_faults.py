from __future__ import annotations

import asyncio

import pytest

from adapters.sandbox.faults import Faults
from tests.fakes.clock import ManualClock


def test_every_fault_is_off_at_first() -> None:
    assert set(Faults().shown().values()) == {0}


def test_a_switch_stays_as_it_is_set() -> None:
    faults = Faults()

    faults.turn("settle_delay_ms", 250)
    faults.turn("lose_answer", 1)

    assert (faults.settle_delay_ms, faults.lose_answer) == (250, True)
    assert faults.shown()["lose_answer"] == 1


@pytest.mark.parametrize("name", ["nope", "_overtaking", "shown"])
def test_there_are_no_other_switches(name: str) -> None:
    with pytest.raises(KeyError):
        Faults().turn(name, 1)


async def test_in_order_nobody_waits() -> None:
    await asyncio.wait_for(Faults().take_turn(ManualClock()), 1)


async def test_reordered_the_next_one_goes_first() -> None:
    faults, clock, went = Faults(reorder=True), ManualClock(), []

    async def settle(name: str) -> None:
        await faults.take_turn(clock)
        went.append(name)

    first = asyncio.create_task(settle("first"))
    await asyncio.sleep(0)
    await settle("second")
    await first

    assert went == ["second", "first"]


async def test_whom_nobody_overtakes_goes_after_a_while() -> None:
    faults, clock = Faults(reorder=True), ManualClock()
    waiting = asyncio.create_task(faults.take_turn(clock))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await clock.advance(2_000)

    await asyncio.wait_for(waiting, 1)
    assert faults._overtaking is None
