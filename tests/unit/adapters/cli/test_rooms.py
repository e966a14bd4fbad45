"""What an operator can show of a room whose bill is disputed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from adapters.store.postgres import PostgresRecorder
from adapters.store.postgres_room_log import PostgresTables
from adapters.store.room_log import SqliteTables, StoredRoomLog
from domain.ports.room_events import Delivery, Sighting
from domain.presence import FactKind, RoomFact
from tests.fakes.stored_house import ledger_at
from tests.unit.adapters.cli.test_ledger import Screen, payphone

__all__ = ["payphone"]

SESSION, OTHER = UUID(int=1), UUID(int=2)


def delivery(name: str, session_id: UUID | None, received_ms: int) -> Delivery:
    return Delivery(
        delivery_id=name,
        issuer="node",
        session_id=session_id,
        received_at_ms=received_ms,
        body=f'{{"event": "{name}", "of": "\u2603"}}',
        token="signed.by.node",
    )


def sighting(kind: FactKind, session_id: UUID | None) -> Sighting:
    connection = "" if kind == "finished" else "node/PA_1"
    fact = RoomFact(kind=kind, connection=connection, room="node/RM_1", at_ms=900)
    return Sighting(session_id=session_id, fact=fact, room_name="den", identity="alice")


async def tell(kept: StoredRoomLog) -> None:
    """Of two sessions; the last of the first is not read, the room's end names none."""
    said = [
        (delivery("joined", SESSION, 1_000), sighting("joined", SESSION)),
        (delivery("elsewhere", OTHER, 1_100), sighting("left", OTHER)),
        (delivery("track", SESSION, 1_200), None),
        (delivery("over", None, 1_300), sighting("finished", None)),
    ]
    for told, _ in said:
        await kept.add(told)
    await kept.read(said)
    await kept.add(delivery("unread", SESSION, 1_400))
    await kept.witness([sighting("absent", SESSION)], at_ms=1_500)


FACT = {
    "kind": "joined",
    "connection": "node/PA_1",
    "room": "node/RM_1",
    "at_ms": 900,
    "since_ms": 0,
    "room_name": "den",
    "identity": "alice",
}


def check(text: str) -> None:
    found = json.loads(text)
    told = found["deliveries"]
    assert [row["id"] for row in told] == ["joined", "track", "over", "unread"]
    assert told[0] == {
        "id": "joined",
        "issuer": "node",
        "received_ms": 1_000,
        "body": '{"event": "joined", "of": "\u2603"}',
        "token": "signed.by.node",
        "is_read": True,
        "fact": FACT,
    }
    assert [(row["is_read"], row["fact"] and row["fact"]["kind"]) for row in told[1:]] == [
        (True, None),
        (True, "finished"),
        (False, None),
    ]
    assert found["asked"] == [{**FACT, "kind": "absent", "kept_ms": 1_500}]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    with ledger_at(folder):
        return folder


async def test_deliveries_are_shown_with_what_was_read_from_them(
    data: Path, payphone: Screen
) -> None:
    with closing(StoredRoomLog(SqliteTables(data / "rooms.db"))) as kept:
        await tell(kept)

        check(payphone("ledger", "rooms", "--data", data, "--session", SESSION))


async def test_they_are_written_to_a_file(data: Path, payphone: Screen) -> None:
    with closing(StoredRoomLog(SqliteTables(data / "rooms.db"))) as kept:
        await tell(kept)
    out = data / "evidence.json"

    payphone("ledger", "rooms", "--data", data, "--session", SESSION, "--out", out)

    check(out.read_text("utf-8"))


@pytest.mark.postgres
async def test_deliveries_in_a_database_are_shown(
    database: str, tmp_path: Path, payphone: Screen
) -> None:
    with (
        closing(PostgresRecorder(database)),
        closing(StoredRoomLog(PostgresTables(database))) as kept,
    ):
        await tell(kept)

    where = ("--data", tmp_path, "--database", database)

    check(payphone("ledger", "rooms", *where, "--session", SESSION))


async def test_a_session_nobody_told_of_says_so(data: Path, payphone: Screen) -> None:
    with closing(StoredRoomLog(SqliteTables(data / "rooms.db"))) as kept:
        await tell(kept)

    asked = ("ledger", "rooms", "--data", data, "--session", UUID(int=3))

    assert "nothing is kept of session" in payphone(*asked, status=2)


def test_a_gateway_without_rooms_says_so(data: Path, payphone: Screen) -> None:
    asked = ("ledger", "rooms", "--data", data)

    assert "--session ID" in payphone(*asked, status=2)
    assert "never had rooms" in payphone(*asked, "--session", SESSION, status=2)
