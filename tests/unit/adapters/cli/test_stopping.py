"""The first signal asks to stop, the second ends the waiting."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from adapters.cli.stopping import Stopping


def signalled(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_asks_to_stop(number: int) -> None:
    stop = Stopping()
    signalled(number)

    await stop.wait()

    assert not stop.hurried


async def test_a_second_signal_ends_every_wait_of_the_way_out() -> None:
    cut = 0

    async def program() -> None:
        nonlocal cut
        stop = Stopping()
        signalled(signal.SIGTERM)
        await stop.wait()
        signalled(signal.SIGTERM)
        for _ in range(2):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cut += 1

    await asyncio.create_task(program())

    assert cut == 2


async def test_a_program_that_is_done_is_left_alone() -> None:
    async def program() -> Stopping:
        stop = Stopping()
        signalled(signal.SIGTERM)
        await stop.wait()
        return stop

    done = asyncio.create_task(program())
    stop = await done
    signalled(signal.SIGTERM)
    async with asyncio.timeout(1):
        while not stop.hurried:  # noqa: ASYNC110 (a signal is heard some rounds of the loop later)
            await asyncio.sleep(0)

    assert not done.cancelled()
