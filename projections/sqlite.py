"""The lists in SQLite: a file that follows the log and can be thrown away."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from domain.record import Record
from projections.batches import BALANCES, HOUR, SESSIONS, by_row
from projections.fold import Batch, Known, SessionState
from projections.rows import SCHEMA, SHAPE, TABLES, NoTablesError


class SqliteTables:
    """The tables and how to ask them; `apply` moves rows and position in one transaction."""

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        """Make what is missing; with `read_only` that is a `NoTablesError`."""
        self._lock = threading.Lock()
        if read_only:
            self._db = self._open(path)
            return
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        # Rebuilt from the log when lost, so a commit need not wait for the disk.
        self._db.execute("PRAGMA synchronous=OFF")
        self._create()

    @property
    def position(self) -> int:
        """The last event these tables have seen."""
        with self._lock:
            row = self._db.execute("SELECT position FROM position").fetchone()
        return 0 if row is None else int(row[0])

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

    @staticmethod
    def _open(path: Path | str) -> sqlite3.Connection:
        if not Path(path).is_file():
            raise NoTablesError(f"no lists at {path}")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
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

    def select(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()
