from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from domain.account import Account
from domain.errors import LedgerDownError
from domain.record import Record
from projections.follow import Follower
from tests.fakes.stored import encode
from tests.strategies import START_MS


def record(position: int) -> Record:
    account = Account.open(chain="evm", wallet=f"0x{position:040x}", at_ms=START_MS)
    (opened,) = account.collect_events()
    return encode(opened, position=position)


class Shelf:
    """Tables that keep what they were given; they fail at `breaks_at`, and wait at the gate."""

    def __init__(self, *, position: int = 0) -> None:
        self.position = position
        self.applied: list[tuple[int, ...]] = []
        self.cleared = False
        self.breaks_at = 0
        self.gate = threading.Event()
        self.gate.set()

    def apply(self, records: tuple[Record, ...]) -> None:
        assert self.gate.wait(timeout=10), "a test forgot to open the gate"
        positions = tuple(r.position for r in records)
        if self.breaks_at in positions:
            raise ValueError(f"cannot show position {self.breaks_at}")
        self.applied.append(positions)
        self.position = positions[-1]

    def clear(self) -> None:
        self.cleared = True
        self.position = 0


class History:
    """A log that can grow."""

    def __init__(self, size: int) -> None:
        self.records = [record(position) for position in range(1, size + 1)]
        self.reads = 0

    def read(self, after: int, limit: int) -> tuple[Record, ...]:
        self.reads += 1
        return tuple(self.records[after : after + limit])

    def grow(self) -> int:
        self.records.append(record(len(self.records) + 1))
        return len(self.records)


@contextlib.contextmanager
def following(shelf: Shelf, history: History, head: int | None = None) -> Iterator[Follower]:
    head = len(history.records) if head is None else head
    follower = Follower(shelf, read=history.read, head=head)
    try:
        yield follower
    finally:
        shelf.gate.set()
        follower.close()


async def caught_up(follower: Follower, position: int) -> None:
    await asyncio.wait_for(follower.caught_up(position), timeout=10)


async def test_what_was_missed_is_made_up_at_start() -> None:
    shelf, history = Shelf(), History(5)

    with following(shelf, history) as follower:
        await caught_up(follower, 5)

    assert shelf.applied == [(1, 2, 3, 4, 5)]


async def test_it_goes_on_where_the_tables_are() -> None:
    shelf, history = Shelf(position=3), History(5)

    with following(shelf, history) as follower:
        await caught_up(follower, 5)

    assert shelf.applied == [(4, 5)]
    assert not shelf.cleared


async def test_tables_ahead_of_the_log_are_rebuilt_from_nothing() -> None:
    shelf, history = Shelf(position=9), History(5)

    with following(shelf, history) as follower:
        await caught_up(follower, 5)

    assert shelf.cleared
    assert shelf.applied == [(1, 2, 3, 4, 5)]


async def test_every_event_is_applied_once_and_in_order() -> None:
    shelf, history = Shelf(), History(0)

    with following(shelf, history) as follower:
        for _ in range(20):
            follower.notify(history.grow())
        await caught_up(follower, 20)

    assert [position for batch in shelf.applied for position in batch] == list(range(1, 21))


async def test_waiting_ends_when_the_position_is_there_and_not_before() -> None:
    shelf, history = Shelf(), History(1)
    shelf.gate.clear()

    with following(shelf, history) as follower:
        waiting = asyncio.create_task(follower.caught_up(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        shelf.gate.set()
        await asyncio.wait_for(waiting, timeout=10)

    assert shelf.position == 1


async def test_a_position_that_was_seen_is_not_waited_for() -> None:
    with following(Shelf(position=5), History(5)) as follower:
        await caught_up(follower, 5)
        await caught_up(follower, 0)


async def test_an_announced_event_that_is_not_there_yet_is_looked_for_without_haste() -> None:
    shelf, history = Shelf(), History(1)

    with following(shelf, history, head=2) as follower:
        waiting = asyncio.create_task(follower.caught_up(2))
        await caught_up(follower, 1)
        history.grow()
        await asyncio.wait_for(waiting, timeout=10)

    # One read a twentieth of a second, not as many as the machine can do.
    assert history.reads < 50


async def test_a_failing_projection_tells_who_waits(caplog: pytest.LogCaptureFixture) -> None:
    shelf, history = Shelf(), History(2)
    shelf.breaks_at = 2
    shelf.gate.clear()

    with following(shelf, history) as follower:
        waiting = asyncio.create_task(follower.caught_up(2))
        await asyncio.sleep(0)
        shelf.gate.set()
        with pytest.raises(ValueError, match="cannot show position 2"):
            await asyncio.wait_for(waiting, timeout=10)
        # And whoever asks later.
        with pytest.raises(ValueError, match="cannot show position 2"):
            await caught_up(follower, 2)

    assert "projection stopped" in caplog.messages


async def test_a_waiter_that_goes_away_is_forgotten() -> None:
    shelf, history = Shelf(), History(2)
    shelf.gate.clear()

    with following(shelf, history) as follower:
        waiting = asyncio.create_task(follower.caught_up(2))
        await asyncio.sleep(0)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

        assert follower._waiters == []
        shelf.gate.set()
        await caught_up(follower, 2)


def test_a_waiter_whose_loop_is_closed_stops_nobody() -> None:
    shelf, history = Shelf(), History(2)
    shelf.gate.clear()

    async def leaves() -> None:
        # Started, and abandoned with its loop before anything is applied.
        asyncio.get_running_loop().create_task(follower.caught_up(2)).add_done_callback(_silent)
        await asyncio.sleep(0)

    with following(shelf, history) as follower:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leaves())
        abandoned = asyncio.all_tasks(loop)
        loop.close()
        shelf.gate.set()
        asyncio.run(caught_up(follower, 2))

    for task in abandoned:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # left on purpose
    assert shelf.position == 2


def _silent(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


async def test_closing_does_not_wait_for_more() -> None:
    shelf, history = Shelf(), History(0)

    with following(shelf, history, head=7):
        pass

    assert shelf.applied == []


async def test_a_store_that_is_down_is_said_to_who_waits_and_followed_when_it_is_back() -> None:
    class Flaky(Shelf):
        is_down = True

        def apply(self, records: tuple[Record, ...]) -> None:
            if self.is_down:
                raise LedgerDownError
            super().apply(records)

    shelf, history = Flaky(), History(3)

    with following(shelf, history) as follower:
        with pytest.raises(LedgerDownError):
            await caught_up(follower, 3)
        shelf.is_down = False
        while shelf.position < 3:
            with contextlib.suppress(LedgerDownError):
                await caught_up(follower, 3)

    assert shelf.applied == [(1, 2, 3)]


async def test_what_another_process_applied_is_not_read_again() -> None:
    shelf, history = Shelf(), History(3)

    with following(shelf, history) as follower:
        await caught_up(follower, 3)
        reads = history.reads
        shelf.position = history.grow()
        follower.notify(4)
        await caught_up(follower, 4)

    assert history.reads == reads
    assert shelf.applied == [(1, 2, 3)]


async def test_tables_that_moved_on_while_the_log_was_asked_are_kept() -> None:
    shelf, history = Shelf(position=5), History(5)

    with following(shelf, history, head=4) as follower:
        await caught_up(follower, 5)

    assert not shelf.cleared
