"""The lists in SQLite: a file that follows the log and can be thrown away."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from domain.ports.views import SessionRow, TransactionRow
from domain.record import Record
from projections.batches import BALANCES, HOUR, SESSIONS, by_row
from projections.fold import Batch, Known, SessionState
from projections.follow import Follower
from projections.lists import OperatorLists
from projections.rows import SCHEMA, SHAPE, TABLES, NoTablesError

_SESSION_COLUMNS = (
    "id, account_id, bundle_id, service, status, reserved, charged, opened_at_ms, started_at_ms, "
    "ended_at_ms, expires_at_ms"
)


class SqliteTables:
    """The tables and how to ask them; `apply` moves rows and position in one transaction."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Make what is missing; with `read_only` that is a `NoTablesError`."""
        self._lock = threading.Lock()
        if read_only:
            self._db = self._open(path)
            return
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        # Rebuilt from the log when lost, so a commit need not wait for the disk.
        self._db.execute("PRAGMA synchronous=OFF")
        self._create()

    @property
    def position(self) -> int:
        """The last event these tables have seen."""
        with self._lock:
            row = self._db.execute("SELECT position FROM position").fetchone()
        return 0 if row is None else int(row["position"])

    def apply(self, records: Sequence[Record]) -> None:
        batch = Batch(records)
        with self._lock, self._db:
            for write in batch.writes(self._known(batch)):
                self._db.executemany(by_row(write.statement), write.rows)

    def clear(self) -> None:
        """Forget everything, to follow from the beginning."""
        with self._lock, self._db:
            # All tables or none: a crash half way must not leave rows without their position.
            self._db.execute("BEGIN")
            self._drop()
        self._create()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]:
        rows = self.select(
            "SELECT * FROM transactions WHERE account_id = ? ORDER BY position DESC "
            "LIMIT ? OFFSET ?",
            (str(account_id), limit, offset),
        )
        return tuple(_transaction(account_id, row) for row in rows)

    def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]:
        rows = self.select(
            f"SELECT {_SESSION_COLUMNS} FROM sessions WHERE account_id = ? "  # noqa: S608 (constant columns)
            "AND status = COALESCE(?, status) ORDER BY position DESC LIMIT ? OFFSET ?",
            (str(account_id), status, limit, offset),
        )
        return tuple(_session(row) for row in rows)

    def ids(self, statement: str, values: Sequence[object] = ()) -> tuple[UUID, ...]:
        return tuple(UUID(row["id"]) for row in self.select(statement, values))

    @staticmethod
    def _open(path: Path | str) -> sqlite3.Connection:
        if not Path(path).is_file():
            raise NoTablesError(f"no lists at {path}")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        (shape,) = connection.execute("PRAGMA user_version").fetchone()
        if shape != SHAPE:
            connection.close()
            raise NoTablesError(f"the lists at {path} are of another version")
        return connection

    def _known(self, batch: Batch) -> Known:
        one_of = "IN (SELECT value FROM json_each(?))"
        accounts, sessions = (json.dumps(list(ids)) for ids in (batch.accounts, batch.sessions))
        (hour,) = self._db.execute(HOUR).fetchone()
        return Known(
            balances={
                key: (available, reserved)
                for key, available, reserved in self._db.execute(BALANCES + one_of, (accounts,))
            },
            sessions={
                row[0]: SessionState(*row)
                for row in self._db.execute(SESSIONS + one_of, (sessions,))
            },
            hour=hour,
        )

    def _create(self) -> None:
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (shape,) = self._db.execute("PRAGMA user_version").fetchone()
            if shape != SHAPE:
                self._drop()
            for statement in SCHEMA:
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SHAPE}")

    def _drop(self) -> None:
        for table in TABLES:
            self._db.execute(f"DROP TABLE IF EXISTS {table}")

    def select(self, statement: str, values: Sequence[object]) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()


class SqliteViews(OperatorLists):
    """Implements `Views` over the tables and the position they follow."""

    def __init__(self, tables: SqliteTables, follower: Follower) -> None:
        super().__init__(tables.select)
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
        statement = "SELECT id FROM sessions WHERE status = 'active' AND expires_at_ms <= ?"
        return await asyncio.to_thread(self._tables.ids, statement, (at_ms,))

    async def payments_unfinished(self) -> tuple[UUID, ...]:
        return await asyncio.to_thread(self._tables.ids, "SELECT id FROM payments")


def _transaction(account_id: UUID, row: sqlite3.Row) -> TransactionRow:
    return TransactionRow(
        # One event makes one row, so its place in the log is its name.
        id=UUID(int=(account_id.int & ~0xFFFF_FFFF_FFFF) | row["position"]),
        kind=row["kind"],
        amount=row["amount"],
        balance_after=row["balance_after"],
        reference_id=None if row["reference_id"] is None else UUID(row["reference_id"]),
        service=row["service"],
        description=row["description"],
        at_ms=row["at_ms"],
    )


def _session(row: sqlite3.Row) -> SessionRow:
    return SessionRow(
        id=UUID(row["id"]),
        account_id=UUID(row["account_id"]),
        bundle_id=None if row["bundle_id"] is None else UUID(row["bundle_id"]),
        service=row["service"],
        status=row["status"],
        reserved=row["reserved"],
        charged=row["charged"],
        opened_at_ms=row["opened_at_ms"],
        started_at_ms=row["started_at_ms"],
        ended_at_ms=row["ended_at_ms"],
        expires_at_ms=row["expires_at_ms"],
    )
