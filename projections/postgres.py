"""The lists in PostgreSQL, in a schema beside the ledger that can be dropped."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import class_row, tuple_row

from domain.ports.views import SessionRow, TransactionRow
from domain.record import Record
from projections.batches import calls
from projections.follow import Follower
from projections.rows import SCHEMA, TABLES, changes

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
# Locks are numbered for a whole database: "PAYP", then what is locked.
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(1346459984, 2)"
_POSITION: LiteralString = "SELECT position FROM position"
_SESSIONS: LiteralString = (
    "SELECT id::uuid, account_id::uuid, bundle_id::uuid, service, status, reserved, charged, "
    "opened_at_ms, started_at_ms, ended_at_ms, expires_at_ms FROM sessions "
    "WHERE account_id = %s AND status = COALESCE(%s::text, status) "
    "ORDER BY position DESC LIMIT %s OFFSET %s"
)
_TRANSACTIONS: LiteralString = (
    "SELECT position, kind, amount, balance_after, reference_id::uuid, service, description, "
    "at_ms FROM transactions WHERE account_id = %s ORDER BY position DESC LIMIT %s OFFSET %s"
)


class MissingRecordsError(Exception):
    """The batch does not follow on what these tables have seen; somebody else cleared them."""


class PostgresTables:
    """The tables and how to ask them; `apply` moves rows and position in one transaction.

    Several gateways may follow into the same tables: what one has applied the others skip.
    """

    def __init__(self, url: str) -> None:
        self._writer = _Line(url)
        self._reader = _Line(url)
        self._writer.run(_create)

    @property
    def position(self) -> int:
        """The last event these tables have seen."""
        return self._reader.run(_position)

    def apply(self, records: Sequence[Record]) -> None:
        def write(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(_LOCK)
                seen = _position(connection)
                news = [record for record in records if record.position > seen]
                if not news:
                    return
                if news[0].position != seen + 1:
                    raise MissingRecordsError(f"at {seen}, asked to go on from {news[0].position}")
                for statement, values in calls(c for r in news for c in changes(r)):
                    connection.execute(statement.encode(), values, prepare=True)
                connection.execute(
                    "INSERT INTO position VALUES (1, %s) "
                    "ON CONFLICT (one) DO UPDATE SET position = EXCLUDED.position",
                    (news[-1].position,),
                )

        self._writer.run(write)

    def clear(self) -> None:
        """Forget everything, to follow from the beginning; readers see all of it or nothing."""

        def write(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(_LOCK)
                for table in TABLES:
                    connection.execute(f"DROP TABLE IF EXISTS {table}".encode())
                _create_tables(connection)

        self._writer.run(write)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]:
        values = (str(account_id), limit, offset)
        rows = self._reader.run(lambda c: c.execute(_TRANSACTIONS, values).fetchall())
        return tuple(_transaction(account_id, row) for row in rows)

    def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]:
        values = (str(account_id), status, limit, offset)

        def read(connection: Connection) -> list[SessionRow]:
            with connection.cursor(row_factory=class_row(SessionRow)) as cursor:
                return cursor.execute(_SESSIONS, values).fetchall()

        return tuple(self._reader.run(read))

    def ids(self, statement: LiteralString, values: Sequence[object] = ()) -> tuple[UUID, ...]:
        rows = self._reader.run(lambda c: c.execute(statement, values).fetchall())
        return tuple(UUID(row[0]) for row in rows)


class _Line:
    """One connection, used by one thread at a time and opened again when it broke.

    What it runs may run twice: reading changes nothing, and what is written names its position.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def run(self, work: Callable[[Connection], T]) -> T:
        with self._lock:
            known = self._connection
            if known is not None:
                try:
                    return work(known)
                except psycopg.OperationalError:
                    if not known.closed:
                        raise
            self._connection = self._open()
            return work(self._connection)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        connection = psycopg.connect(self._url, autocommit=True, row_factory=tuple_row)
        # Rebuilt from the log when lost, so a commit need not wait for the disk.
        connection.execute("SET synchronous_commit = off; SET search_path = payphone_views")
        return connection


class PostgresViews:
    """Implements `Views` over the tables and the position they follow."""

    def __init__(self, tables: PostgresTables, follower: Follower) -> None:
        self._tables = tables
        self._follower = follower

    async def caught_up(self, position: int) -> None:
        await self._follower.caught_up(position)

    async def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]:
        return await asyncio.to_thread(
            self._tables.transactions, account_id, limit=limit, offset=offset
        )

    async def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]:
        return await asyncio.to_thread(
            self._tables.sessions, account_id, limit=limit, offset=offset, status=status
        )

    async def sessions_running(self) -> tuple[UUID, ...]:
        statement = "SELECT id FROM sessions WHERE status = 'active' AND running = 1"
        return await asyncio.to_thread(self._tables.ids, statement)

    async def sessions_due(self, at_ms: int) -> tuple[UUID, ...]:
        statement = "SELECT id FROM sessions WHERE status = 'active' AND expires_at_ms <= %s"
        return await asyncio.to_thread(self._tables.ids, statement, (at_ms,))

    async def payments_unfinished(self) -> tuple[UUID, ...]:
        return await asyncio.to_thread(self._tables.ids, "SELECT id FROM payments")


def _create(connection: Connection) -> None:
    """Make what is missing; gateways that start together take turns."""
    with connection.transaction():
        connection.execute(_LOCK)
        connection.execute("CREATE SCHEMA IF NOT EXISTS payphone_views")
        _create_tables(connection)


def _create_tables(connection: Connection) -> None:
    # Rows may be lost and told again; that there are tables may not.
    connection.execute("SET LOCAL synchronous_commit = on")
    for statement in SCHEMA:
        # An INTEGER of SQLite's has eight bytes.
        connection.execute(statement.replace("INTEGER", "BIGINT").encode())


def _position(connection: Connection) -> int:
    row = connection.execute(_POSITION).fetchone()
    return 0 if row is None else int(row[0])


def _transaction(account_id: UUID, row: tuple[Any, ...]) -> TransactionRow:
    position, kind, amount, balance_after, reference_id, service, description, at_ms = row
    return TransactionRow(
        # One event makes one row, so its place in the log is its name.
        id=UUID(int=(account_id.int & ~0xFFFF_FFFF_FFFF) | position),
        kind=kind,
        amount=amount,
        balance_after=balance_after,
        reference_id=reference_id,
        service=service,
        description=description,
        at_ms=at_ms,
    )
