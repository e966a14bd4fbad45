"""Deliveries of room servers and what they said, in tables beside the ledger.

One set of statements, in the words SQLite and PostgreSQL share; each store only runs them.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, LiteralString, Protocol
from uuid import UUID

from adapters.together import Together
from domain.errors import BusyError
from domain.ports.room_events import Delivery, Guest, Sighting
from domain.presence import RoomFact

# How many may wait to be stored.
WAITING_MAX = 20_000
BUSY_MS = 1_000

Row = tuple[Any, ...]
Step = tuple[LiteralString, Row]

SCHEMA: tuple[LiteralString, ...] = (
    """CREATE TABLE IF NOT EXISTS payphone_private.deliveries (
        id TEXT PRIMARY KEY, issuer TEXT NOT NULL, session_id TEXT, received_ms BIGINT NOT NULL,
        body TEXT NOT NULL, is_read BIGINT NOT NULL, token TEXT NOT NULL DEFAULT '')""",
    """CREATE TABLE IF NOT EXISTS payphone_private.sightings (
        delivery_id TEXT PRIMARY KEY, session_id TEXT, kind TEXT NOT NULL,
        connection TEXT NOT NULL, room TEXT NOT NULL, at_ms BIGINT NOT NULL,
        since_ms BIGINT NOT NULL, room_name TEXT NOT NULL, identity TEXT NOT NULL,
        received_ms BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS payphone_private.guests (
        session_id TEXT PRIMARY KEY, tries BIGINT NOT NULL, due_ms BIGINT NOT NULL,
        is_gone BIGINT NOT NULL, seen_ms BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS payphone_private.losses (
        one BIGINT PRIMARY KEY, at_ms BIGINT NOT NULL)""",
)
# Tables of the first release do not have it.
ADD_SIGNATURE: LiteralString = (
    "ALTER TABLE payphone_private.deliveries ADD COLUMN token TEXT NOT NULL DEFAULT ''"
)
INDEXES: tuple[LiteralString, ...] = (
    ("CREATE INDEX IF NOT EXISTS {}unread_deliveries ON {}deliveries (id) WHERE is_read = 0"),
    "CREATE INDEX IF NOT EXISTS {}sightings_by_session ON {}sightings (session_id)",
    "CREATE INDEX IF NOT EXISTS {}sightings_by_room ON {}sightings (room)",
    "CREATE INDEX IF NOT EXISTS {}sightings_by_connection ON {}sightings (connection)",
    "CREATE INDEX IF NOT EXISTS {}guests_due ON {}guests (due_ms) WHERE is_gone = 0",
)
_ADD: LiteralString = (
    "INSERT INTO payphone_private.deliveries "
    "(id, issuer, session_id, received_ms, body, token, is_read) "
    "VALUES (%s, %s, %s, %s, %s, %s, 0) ON CONFLICT (id) DO NOTHING RETURNING id"
)
_UNREAD: LiteralString = (
    "SELECT id, issuer, session_id, received_ms, body, token FROM payphone_private.deliveries "
    "WHERE is_read = 0 AND id > %s ORDER BY id LIMIT %s"
)
_MARK_READ: LiteralString = (
    "UPDATE payphone_private.deliveries SET is_read = 1 WHERE id = %s RETURNING id"
)
_SEE: LiteralString = (
    "INSERT INTO payphone_private.sightings VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (delivery_id) DO NOTHING RETURNING delivery_id"
)
_WELCOME: LiteralString = (
    "INSERT INTO payphone_private.guests VALUES (%s, 0, 0, 0, %s) "
    "ON CONFLICT (session_id) DO UPDATE SET tries = 0, due_ms = 0, is_gone = 0, "
    "seen_ms = excluded.seen_ms RETURNING session_id"
)
_WAKE_ROOM: LiteralString = (
    "UPDATE payphone_private.guests SET due_ms = 0 WHERE session_id IN "
    "(SELECT session_id FROM payphone_private.sightings WHERE room = %s) RETURNING session_id"
)
_SEEN: LiteralString = (
    "SELECT session_id, kind, connection, room, at_ms, since_ms, room_name, identity "
    "FROM payphone_private.sightings WHERE session_id = %s OR (session_id IS NULL "
    "AND kind = 'finished' AND room IN "
    "(SELECT room FROM payphone_private.sightings WHERE session_id = %s)) ORDER BY delivery_id"
)
_KNOWN: LiteralString = (
    "SELECT connection FROM payphone_private.sightings WHERE connection = %s LIMIT 1"
)
_NOTE_LOSS: LiteralString = (
    "INSERT INTO payphone_private.losses VALUES (1, %s) "
    "ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms RETURNING one"
)
_LOST: LiteralString = "SELECT at_ms FROM payphone_private.losses"
_GUESTS: LiteralString = (
    "SELECT session_id, tries FROM payphone_private.guests "
    "WHERE is_gone = 0 AND due_ms <= %s ORDER BY due_ms LIMIT %s"
)
_LATER: LiteralString = (
    "UPDATE payphone_private.guests SET tries = %s, due_ms = %s WHERE session_id = %s "
    "RETURNING session_id"
)
_GONE: LiteralString = (
    "UPDATE payphone_private.guests SET is_gone = 1 WHERE session_id = %s RETURNING session_id"
)
_FORGET: tuple[LiteralString, ...] = (
    "DELETE FROM payphone_private.deliveries WHERE is_read = 1 AND received_ms < %s RETURNING id",
    "DELETE FROM payphone_private.sightings WHERE received_ms < %s RETURNING delivery_id",
    "DELETE FROM payphone_private.guests WHERE seen_ms < %s RETURNING session_id",
)


class Tables(Protocol):
    """Runs steps in one transaction; the rows each of them gave. Called from worker threads.

    Errors: `LedgerDownError` where the database does not answer.
    """

    def run(self, steps: Sequence[Step]) -> list[list[Row]]: ...

    def close(self) -> None: ...


class StoredRoomLog:
    """Implements `RoomLog`. Deliveries that come together share one wait for the disk."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._adding = Together(self._add)

    async def add(self, delivery: Delivery) -> bool:
        if len(self._adding) >= WAITING_MAX:
            raise BusyError(retry_after_ms=BUSY_MS)
        return await self._adding.add(delivery)

    async def unread(self, limit: int, *, after: str = "") -> tuple[Delivery, ...]:
        rows = await self._run((_UNREAD, (after, limit)))
        return tuple(
            Delivery(
                delivery_id=delivery_id,
                issuer=issuer,
                session_id=_uuid(session_id),
                received_at_ms=received_ms,
                body=body,
                token=token,
            )
            for delivery_id, issuer, session_id, received_ms, body, token in rows[0]
        )

    async def read(self, said: Sequence[tuple[Delivery, Sighting | None]]) -> None:
        await self._run(
            *[step for delivery, sighting in said for step in _told(delivery, sighting)]
        )

    async def witness(self, sightings: Sequence[Sighting], *, at_ms: int) -> None:
        await self._run(*[step for seen in sightings for step in _kept(_own_id(seen), seen, at_ms)])

    async def sightings(self, session_id: UUID) -> tuple[Sighting, ...]:
        return (await self.sightings_of([session_id]))[session_id]

    async def sightings_of(self, session_ids: Sequence[UUID]) -> dict[UUID, tuple[Sighting, ...]]:
        rows = await self._run(*[(_SEEN, (str(i), str(i))) for i in session_ids])
        return {
            session_id: tuple(map(_sighting, found))
            for session_id, found in zip(session_ids, rows, strict=True)
        }

    async def known(self, connections: Sequence[str]) -> frozenset[str]:
        rows = await self._run(*[(_KNOWN, (connection,)) for connection in connections])
        return frozenset(connection for found in rows for (connection,) in found)

    async def note_loss(self, at_ms: int) -> None:
        await self._run((_NOTE_LOSS, (at_ms,)))

    async def lost_at_ms(self) -> int:
        rows = await self._run((_LOST, ()))
        return max((at_ms for (at_ms,) in rows[0]), default=0)

    async def guests(self, limit: int, *, now_ms: int) -> tuple[Guest, ...]:
        rows = await self._run((_GUESTS, (now_ms, limit)))
        return tuple(Guest(session_id=UUID(session), tries=tries) for session, tries in rows[0])

    async def later(self, guest: Guest, *, due_ms: int) -> None:
        await self._run((_LATER, (guest.tries, due_ms, str(guest.session_id))))

    async def gone(self, session_id: UUID) -> None:
        await self._run((_GONE, (str(session_id),)))

    async def forget(self, before_ms: int) -> None:
        await self._run(*[(statement, (before_ms,)) for statement in _FORGET])

    def close(self) -> None:
        self._tables.close()

    def _add(self, deliveries: Sequence[Delivery]) -> list[bool]:
        answers = self._tables.run([(_ADD, _row(delivery)) for delivery in deliveries])
        return [bool(rows) for rows in answers]

    async def _run(self, *steps: Step) -> list[list[Row]]:
        return await asyncio.to_thread(self._tables.run, steps)


def _row(delivery: Delivery) -> Row:
    return (
        delivery.delivery_id,
        delivery.issuer,
        None if delivery.session_id is None else str(delivery.session_id),
        delivery.received_at_ms,
        delivery.body,
        delivery.token,
    )


def _told(delivery: Delivery, sighting: Sighting | None) -> list[Step]:
    steps: list[Step] = [(_MARK_READ, (delivery.delivery_id,))]
    if sighting is not None:
        steps += _kept(delivery.delivery_id, sighting, delivery.received_at_ms)
    return steps


def _kept(name: str, sighting: Sighting, at_ms: int) -> list[Step]:
    """Keep it under this name, and have those it concerns looked after."""
    fact, session_id = sighting.fact, None
    steps: list[Step] = []
    if sighting.session_id is not None:
        session_id = str(sighting.session_id)
        steps.append((_WELCOME, (session_id, at_ms)))
    named = (sighting.room_name, sighting.identity, at_ms)
    what = (fact.kind, fact.connection, fact.room, fact.at_ms, fact.since_ms)
    steps.append((_SEE, (name, session_id, *what, *named)))
    if session_id is None:
        steps.append((_WAKE_ROOM, (fact.room,)))
    return steps


def _own_id(sighting: Sighting) -> str:
    """What is the same is kept once; no delivery is called so."""
    fact = sighting.fact
    said = f"{sighting.session_id}\n{fact.kind}\n{fact.connection}\n{fact.at_ms}"
    return f"own {hashlib.sha256(said.encode()).hexdigest()}"


def _sighting(row: Row) -> Sighting:
    session, kind, connection, room, at_ms, since_ms, room_name, identity = row
    fact = RoomFact(kind=kind, connection=connection, room=room, at_ms=at_ms, since_ms=since_ms)
    return Sighting(session_id=_uuid(session), fact=fact, room_name=room_name, identity=identity)


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


class SqliteTables:
    """Implements `Tables` in a file; a commit waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        with self._db:
            for statement in SCHEMA:
                self._db.execute(_plain(statement))
            if "token" not in self._columns("deliveries"):
                self._db.execute(_plain(ADD_SIGNATURE))
            for statement in INDEXES:
                self._db.execute(statement.replace("{}", ""))

    def run(self, steps: Sequence[Step]) -> list[list[Row]]:
        with self._lock, self._db:
            return [self._db.execute(_plain(text), row).fetchall() for text, row in steps]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _columns(self, table: str) -> set[str]:
        found = self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))
        return {name for (name,) in found}


@cache
def _plain(statement: LiteralString) -> str:
    return statement.replace("payphone_private.", "").replace("%s", "?")
