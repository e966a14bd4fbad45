"""SQLite as the ledger's store: WAL, every commit flushed, positions without holes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from uuid import UUID

# As a module: the library takes the one factory class it finds among this module's names.
from eventsourcing import sqlite as library
from eventsourcing.persistence import DataError

from domain.record import Record

# The library leaves SQLite's default in place; money asks for it in words.
_PRAGMAS = "PRAGMA synchronous=FULL"


class FlushedConnectionPool(library.SQLiteConnectionPool):
    """Connections whose commits are on disk before they return."""

    def _create_connection(self) -> library.SQLiteConnection:
        connection = super()._create_connection()
        connection.cursor().execute(_PRAGMAS)
        return connection


class LedgerRecorder(library.SQLiteApplicationRecorder):
    """The library's recorder, with checkpoints beside the events and history by aggregate."""

    def construct_create_table_statements(self) -> list[str]:
        return [
            *super().construct_create_table_statements(),
            "CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL)",
        ]

    def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        """Every record of these aggregates, by position."""
        marks = ",".join("?" * len(originator_ids))
        statement = (
            "SELECT rowid, originator_id, originator_version, topic, state "  # noqa: S608 (only marks are spliced in)
            f"FROM {self.events_table_name} WHERE originator_id IN ({marks}) ORDER BY rowid"
        )
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(statement, [i.hex for i in originator_ids])
            return tuple(_record(row) for row in cursor.fetchall())

    def add_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head; the first one of a size stays."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?)", (size, note))

    def checkpoints(self) -> tuple[tuple[int, str], ...]:
        """Every (size, note), smallest first."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT size, note FROM checkpoints ORDER BY size")
            return tuple((row["size"], row["note"]) for row in cursor.fetchall())

    def checkpoint(self, size: int) -> str | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute("SELECT note FROM checkpoints WHERE size = ?", (size,))
            row = cursor.fetchone()
            return None if row is None else str(row["note"])

    def scan(self) -> Iterator[Record]:
        """Every record in order, with whatever positions the table has."""
        after = 0
        while True:
            with self.datastore.transaction(commit=False) as cursor:
                cursor.execute(
                    "SELECT rowid, originator_id, originator_version, topic, state "  # noqa: S608 (a constant table name)
                    f"FROM {self.events_table_name} WHERE rowid > ? ORDER BY rowid LIMIT 5000",
                    (after,),
                )
                rows = cursor.fetchall()
            if not rows:
                return
            for row in rows:
                yield _record(row)
            after = rows[-1]["rowid"]


def _record(row: sqlite3.Row) -> Record:
    """The row as it was written; DataError where a hand has been at it and it cannot be one."""
    state, topic, version = row["state"], row["topic"], row["originator_version"]
    # SQLite keeps an edited value as text: the same bytes, for whoever compares hashes.
    state = state.encode() if isinstance(state, str) else state
    try:
        originator_id = UUID(row["originator_id"])
        readable = isinstance(state, bytes) and isinstance(topic, str) and isinstance(version, int)
    except (ValueError, TypeError, AttributeError):
        readable = False
    if not readable:
        raise DataError(f"position {row['rowid']} cannot be read: it was edited")
    return Record(
        position=row["rowid"],
        originator_id=originator_id,
        originator_version=version,
        topic=topic,
        state=state,
    )


class Factory(library.SQLiteFactory):
    """What `PERSISTENCE_MODULE=adapters.store.sqlite` makes the library use."""

    application_recorder_class = LedgerRecorder

    def __init__(self, env: object) -> None:
        super().__init__(env)  # type: ignore[arg-type]  # the library's own Environment
        plain = self.datastore
        self.datastore = library.SQLiteDatastore(
            db_name=plain.pool.db_name, originator_id_type=plain.originator_id_type
        )
        self.datastore.pool = FlushedConnectionPool(db_name=plain.pool.db_name)
        plain.close()


def sqlite_environment(path: str) -> dict[str, str]:
    """The library's settings for a ledger in this file."""
    return {"PERSISTENCE_MODULE": "adapters.store.sqlite", "SQLITE_DBNAME": path}
