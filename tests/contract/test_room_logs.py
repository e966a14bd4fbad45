"""What the gateway may expect of whoever keeps the deliveries of room servers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from adapters.store.postgres_room_log import PostgresTables
from adapters.store.room_log import SqliteTables, StoredRoomLog
from domain.errors import LedgerDownError
from domain.ports.room_events import Delivery, Guest, Sighting
from domain.presence import FactKind, RoomFact
from tests.fakes.cluster import Cluster

ONE, TWO = UUID(int=1), UUID(int=2)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoredRoomLog]:
    if request.param == "sqlite":
        with closing(StoredRoomLog(SqliteTables(tmp_path / "rooms.db"))) as opened:
            yield opened
    else:
        url = request.getfixturevalue("database")
        with closing(StoredRoomLog(PostgresTables(url))) as opened:
            yield opened


def delivery(name: str, *, received_ms: int = 1_000, session_id: UUID | None = ONE) -> Delivery:
    return Delivery(
        delivery_id=name,
        issuer="node",
        session_id=session_id,
        received_at_ms=received_ms,
        body='{"event": "\u2603"}',
        token="a.b.c",
    )


def sighting(
    kind: FactKind = "joined", *, session_id: UUID | None = ONE, room: str = "r"
) -> Sighting:
    connection = "" if kind == "finished" else "c"
    fact = RoomFact(kind=kind, connection=connection, room=room, at_ms=900, since_ms=5)
    return Sighting(session_id=session_id, fact=fact, room_name="room", identity="who")


async def say(kept: StoredRoomLog, name: str, told: Sighting | None) -> None:
    await kept.add(delivery(name))
    await kept.read([(delivery(name), told)])


async def test_a_delivery_is_new_once_and_unread_until_it_was_read(kept: StoredRoomLog) -> None:
    first, second = delivery("a", session_id=None), delivery("b", received_ms=500)

    added = [await kept.add(d) for d in (second, first, second)]
    unread, more = await kept.unread(10), await kept.unread(10, after="a")
    await kept.read([(first, None), (second, None)])

    assert added == [True, True, False]
    assert (unread, more) == ((first, second), (second,))
    assert await kept.unread(10) == ()


async def test_of_copies_that_come_together_one_is_new(kept: StoredRoomLog) -> None:
    added = await asyncio.gather(*[kept.add(delivery("a")) for _ in range(20)])

    assert sorted(added) == [False] * 19 + [True]


async def test_reading_twice_keeps_one_sighting(kept: StoredRoomLog) -> None:
    await say(kept, "a", sighting())
    await kept.read([(delivery("a"), sighting())])

    assert await kept.sightings(ONE) == (sighting(),)
    assert await kept.sightings(TWO) == ()


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_finished_room_concerns_all_who_were_in_it(
    kept: StoredRoomLog,
    is_first: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    over = sighting("finished", session_id=None)
    steps = [("over", over), ("one", sighting()), ("two", sighting(session_id=TWO, room="s"))]
    for name, told in steps if is_first else steps[::-1]:
        await say(kept, name, told)

    assert set(await kept.sightings(ONE)) == {sighting(), over}
    assert await kept.sightings(TWO) == (sighting(session_id=TWO, room="s"),)


async def test_a_guest_is_due_until_later_and_until_gone(kept: StoredRoomLog) -> None:
    await say(kept, "a", sighting())
    fresh = await kept.guests(10, now_ms=0)
    await kept.later(Guest(session_id=ONE, tries=2), due_ms=5_000)
    before, after = await kept.guests(10, now_ms=4_999), await kept.guests(10, now_ms=5_000)
    await kept.gone(ONE)

    assert fresh == (Guest(session_id=ONE, tries=0),)
    assert (before, after) == ((), (Guest(session_id=ONE, tries=2),))
    assert await kept.guests(10, now_ms=9_000) == ()


async def test_whatever_is_told_of_a_guest_makes_it_due(kept: StoredRoomLog) -> None:
    await say(kept, "a", sighting())
    await kept.gone(ONE)
    await say(kept, "b", sighting("left"))
    back = await kept.guests(10, now_ms=0)
    await kept.later(Guest(session_id=ONE, tries=0), due_ms=5_000)
    await say(kept, "c", sighting("finished", session_id=None))

    assert back == (Guest(session_id=ONE, tries=0),)
    assert await kept.guests(10, now_ms=0) == back


async def test_what_we_saw_ourselves_is_kept_once_and_makes_a_guest_due(
    kept: StoredRoomLog,
) -> None:
    there, missed = sighting("present"), sighting("absent")

    for _ in range(2):
        await kept.witness([there, missed], at_ms=1_000)

    assert set(await kept.sightings(ONE)) == {there, missed}
    assert await kept.guests(10, now_ms=0) == (Guest(session_id=ONE, tries=0),)


async def test_what_was_seen_at_another_time_is_kept_beside_it(kept: StoredRoomLog) -> None:
    first = sighting("absent")
    second = replace(first, fact=replace(first.fact, at_ms=901))

    await kept.witness([first], at_ms=1_000)
    await kept.witness([second], at_ms=2_000)

    assert set(await kept.sightings(ONE)) == {first, second}


async def test_the_sightings_of_many_are_each_ones_own(kept: StoredRoomLog) -> None:
    await say(kept, "a", sighting())
    await say(kept, "b", sighting(session_id=TWO))

    assert await kept.sightings_of([TWO, ONE, UUID(int=3)]) == {
        ONE: (sighting(),),
        TWO: (sighting(session_id=TWO),),
        UUID(int=3): (),
    }
    assert await kept.sightings_of([]) == {}


async def test_a_connection_is_known_once_any_session_was_seen_with_it(
    kept: StoredRoomLog,
) -> None:
    await say(kept, "a", sighting(session_id=TWO))

    assert await kept.known(["x", "c"]) == {"c"}


async def test_the_last_loss_is_remembered(kept: StoredRoomLog) -> None:
    before = await kept.lost_at_ms()
    for at_ms in (5, 9):
        await kept.note_loss(at_ms)

    assert (before, await kept.lost_at_ms()) == (0, 9)


async def test_what_is_old_is_forgotten_but_nothing_unread(kept: StoredRoomLog) -> None:
    await say(kept, "old", sighting())
    await kept.add(delivery("unread"))
    await kept.add(delivery("new", received_ms=3_000))

    await kept.forget(2_000)

    assert await kept.sightings(ONE) == ()
    assert await kept.guests(10, now_ms=9_000) == ()
    assert [d.delivery_id for d in await kept.unread(10)] == ["new", "unread"]
    assert await kept.add(delivery("old"))


async def test_deliveries_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    with closing(StoredRoomLog(SqliteTables(tmp_path / "rooms.db"))) as before:
        await before.add(delivery("a"))

    with closing(StoredRoomLog(SqliteTables(tmp_path / "rooms.db"))) as after:
        assert await after.unread(10) == (delivery("a"),)


OLD = (
    "CREATE TABLE {}deliveries (id TEXT PRIMARY KEY, issuer TEXT NOT NULL, session_id TEXT, "
    "received_ms BIGINT NOT NULL, body TEXT NOT NULL, is_read BIGINT NOT NULL)"
)
OLD_ROW = "INSERT INTO {}deliveries VALUES ('old', 'node', NULL, 5, 'said', 0)"
KEPT = Delivery(
    delivery_id="old", issuer="node", session_id=None, received_at_ms=5, body="said", token=""
)


async def test_deliveries_of_an_older_release_are_still_read(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "rooms.db")) as old, old:
        old.execute(OLD.format(""))
        old.execute(OLD_ROW.format(""))

    for _ in range(2):
        with closing(StoredRoomLog(SqliteTables(tmp_path / "rooms.db"))) as kept:
            await kept.add(delivery("new"))
            assert await kept.unread(10) == (delivery("new"), KEPT)


@pytest.mark.postgres
async def test_deliveries_of_an_older_release_in_a_database_are_still_read(database: str) -> None:
    with psycopg.connect(database) as old:
        old.execute("CREATE SCHEMA payphone_private")
        old.execute(OLD.format("payphone_private.").encode())
        old.execute(OLD_ROW.format("payphone_private.").encode())

    for _ in range(2):
        with closing(StoredRoomLog(PostgresTables(database))) as kept:
            await kept.add(delivery("new"))
            assert await kept.unread(10) == (delivery("new"), KEPT)


@pytest.mark.postgres
async def test_a_database_that_is_down_says_so_and_is_used_again_when_it_is_back(
    server: Cluster, database: str
) -> None:
    with closing(StoredRoomLog(PostgresTables(database))) as kept:
        await kept.add(delivery("a"))
        server.kill()
        try:
            with pytest.raises(LedgerDownError):
                await kept.add(delivery("b"))
        finally:
            server.start()

        assert await kept.add(delivery("b"))
