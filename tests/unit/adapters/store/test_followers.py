"""How a process learns what others wrote, and asks them for their lines."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from uuid import UUID

import psycopg
import pytest

from adapters.store.feed import Feed
from adapters.store.followed_log import FollowedLog
from adapters.store.listener import Listener
from adapters.store.trunk import PostgresTrunk
from domain.record import Record
from domain.switchboard import Switchboard
from tests.fakes.busy import Busy
from tests.fakes.log import MemoryLog

RECORDS = tuple(Busy(accounts=1, overlap=1).records(20))[:20]
SESSION_ID, OLDER, NEWER = UUID(int=1), UUID(int=2), UUID(int=3)


def read(after: int, limit: int) -> tuple[Record, ...]:
    return RECORDS[after : after + limit]


def test_a_feed_fills_gaps_and_passes_everything_once() -> None:
    seen: list[int] = []
    feed = Feed(read, position=2, sink=lambda records: seen.extend(r.position for r in records))

    feed.take(RECORDS[5:7])
    feed.take(RECORDS[4:8])
    feed.reach(6)
    feed.reach(10)
    feed.reach(99)

    assert seen == list(range(3, 21))
    assert feed.position == 20


async def test_a_log_that_follows_has_what_it_is_asked_about() -> None:
    known: list[Record] = []
    feed = Feed(read, position=0, sink=known.extend)
    log = FollowedLog(MemoryLog(lambda: tuple(known)), feed, head=lambda: len(RECORDS))

    evidence = await log.prove([7])

    assert evidence.size == len(RECORDS)
    assert log.size == len(RECORDS)


class Line:
    """A live line, with something to record."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def catch_up(self) -> None:
        self.told.append("catch up")

    async def taken_over(self) -> None:
        self.told.append("taken over")

    def changed(self) -> None: ...


class Process:
    """What a gateway process has of lines."""

    def __init__(self, database: str) -> None:
        self.trunk = PostgresTrunk(database)
        self.board = Switchboard()
        self.board.join(self.trunk)
        self.trunk.attach(self.board)
        self.listener = Listener(database, grown=lambda _head: None, asked=self.trunk.heard)

    def close(self) -> None:
        self.listener.close()
        self.trunk.close()


@pytest.fixture
def tables(database: str) -> str:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE ledger_events (notification_id bigint)")
    return database


@pytest.mark.postgres
async def test_a_line_in_another_process_leaves_before_the_newer_counts_on(tables: str) -> None:
    """B4."""
    with closing(Process(tables)) as one, closing(Process(tables)) as two:
        assert await asyncio.to_thread(one.listener.wait_ready, 10)
        assert await asyncio.to_thread(two.listener.wait_ready, 10)
        older, newer = Line(), Line()
        await one.board.take_over(SESSION_ID, older, connection_id=OLDER)

        await two.board.take_over(SESSION_ID, newer, connection_id=NEWER)
        await one.board.leave(SESSION_ID, NEWER)
        one.board.disconnect(SESSION_ID, older)
        await one.board.catch_up(SESSION_ID)

    assert older.told == ["taken over", "taken over"]
    assert newer.told == ["catch up"]


@pytest.mark.postgres
async def test_a_process_that_is_gone_is_not_waited_for_long(
    tables: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.store.trunk.ANSWER_S", 0.05)
    with closing(Process(tables)) as dead:
        await dead.board.take_over(SESSION_ID, Line(), connection_id=OLDER)

    with closing(Process(tables)) as alive:
        await asyncio.wait_for(
            alive.board.take_over(SESSION_ID, Line(), connection_id=NEWER), timeout=10
        )

        assert alive.board.line(SESSION_ID) is not None


@pytest.mark.postgres
def test_a_listener_hears_how_far_the_ledger_has_grown(tables: str) -> None:
    heads: list[int] = []
    heard = threading.Event()

    def grown(head: int) -> None:
        heads.append(head)
        if head == 7:
            heard.set()

    listener = Listener(tables, grown=grown, asked=lambda _text: None)
    with closing(listener), psycopg.connect(tables, autocommit=True) as connection:
        assert listener.wait_ready(10)
        connection.execute("SELECT pg_notify('ledger_events', 'no number')")
        connection.execute("SELECT pg_notify('ledger_events', '7')")

        assert heard.wait(10)

    assert heads[0] == 0
