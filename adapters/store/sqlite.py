"""SQLite as the ledger's store: WAL, every commit flushed, positions without holes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

# As a module: the library takes the one factory class it finds among this module's names.
from eventsourcing import sqlite as library
from eventsourcing.persistence import DataError, StoredEvent

from adapters.store.lines import checked
from domain.record import Record

# The library leaves SQLite's default in place; money asks for it in words.
_PRAGMAS = "PRAGMA synchronous=FULL"


class WritingTransaction(library.SQLiteTransaction):
    """One that is the only writer from its first statement on, so that what it reads stays so."""

    def __enter__(self) -> library.SQLiteCursor:
        cursor = self.connection.cursor()
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as failure:
            self.__exit__(type(failure), failure, failure.__traceback__)
        return cursor


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
            (
                "CREATE TABLE IF NOT EXISTS snapshots (originator_id TEXT PRIMARY KEY, "
                "originator_version INTEGER NOT NULL, topic TEXT NOT NULL, state BLOB NOT NULL)"
            ),
        ]

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:  # noqa: ANN401 (the library's signature)
        """Store them, all or nothing, at the positions that follow the last one."""
        with (
            self.datastore.get_connection(commit=True) as connection,
            WritingTransaction(connection, commit=True) as transaction,
            transaction as cursor,
        ):
            head = cursor.execute(self.select_max_notification_id_statement).fetchone()[0] or 0
            cursor.executemany(
                f"INSERT INTO {self.events_table_name} "  # noqa: S608 (a constant table name)
                "(rowid, originator_id, originator_version, topic, state) VALUES (?, ?, ?, ?, ?)",
                [
                    (n, cast("UUID", e.originator_id).hex, e.originator_version, e.topic, e.state)
                    for n, e in enumerate(stored_events, start=head + 1)
                ],
            )
        return range(head + 1, head + 1 + len(stored_events))

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

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head in place of the one of its size: the same with more signatures."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, note))

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

    def add_snapshots(self, snapshots: Sequence[StoredEvent]) -> None:
        """Keep one of each aggregate, in place of the one before."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.executemany(
                "INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)",
                [
                    (cast("UUID", s.originator_id).hex, s.originator_version, s.topic, s.state)
                    for s in snapshots
                ],
            )

    def snapshot(self, originator_id: UUID) -> StoredEvent | None:
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT originator_version, topic, state FROM snapshots WHERE originator_id = ?",
                (originator_id.hex,),
            )
            row = cursor.fetchone()
        if row is None:
            return None
        return StoredEvent(
            originator_id=originator_id,
            originator_version=row["originator_version"],
            topic=row["topic"],
            state=row["state"],
        )

    def extent(self) -> tuple[int, int, int]:
        """How many events there are, the lowest position and the highest; 0 for none."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT count(*), coalesce(min(rowid), 0), coalesce(max(rowid), 0) "  # noqa: S608 (a constant table name)
                f"FROM {self.events_table_name}"
            )
            events, lowest, highest = cursor.fetchone()
        return events, lowest, highest

    def lines(self, first: int, events: int) -> Callable[[], bytes]:
        """Reads the leaves at so many positions from `first` on, one a line, in any process."""
        return FileLines(name=self.datastore.pool.db_name, first=first, events=events)

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]:
        """The first so many events past a position."""
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(
                "SELECT rowid, originator_id, originator_version, topic, state "  # noqa: S608 (a constant table name)
                f"FROM {self.events_table_name} WHERE rowid > ? ORDER BY rowid LIMIT ?",
                (after, limit),
            )
            return tuple(map(_record, cursor.fetchall()))

    def scan(self) -> Iterator[Record]:
        """Every record in order, with whatever positions the table has."""
        # SQLite takes rows at 0 and below from whoever puts them there.
        after = -(2**63)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLines:
    """Leaves of a ledger's file, one a line, for whichever process reads them."""

    name: str
    first: int
    events: int

    def __call__(self) -> bytes:
        """The lines; ValueError where a row is not one of ours, OSError if none can be read."""
        try:
            with closing(sqlite3.connect(self.name, uri=True)) as connection:
                rows = connection.execute(_BLOCK, (self.first, self.first + self.events)).fetchall()
        except sqlite3.Error as failure:
            raise OSError(str(failure)) from failure
        ids = _Ids()
        try:
            topics = {topic: topic.encode() for topic in {row[3] for row in rows}}
            data = b"".join([_LINE % (ids[i], v, s, topics[t]) for i, v, s, t in rows])
        except (TypeError, AttributeError) as damage:
            raise ValueError(str(damage)) from damage
        return checked(data, self.events)


# A state that a hand wrote as text is the same bytes.
_BLOCK = (
    "SELECT originator_id, originator_version, CAST(state AS BLOB), topic "
    "FROM stored_events WHERE rowid >= ? AND rowid < ? ORDER BY rowid"
)
_LINE = b'{"originator_id":"%b","originator_version":%d,"state":%b,"topic":"%b"}\n'


class _Ids(dict[str, bytes]):
    """Ids with the hyphens that this table leaves out; each is made once a block."""

    def __missing__(self, digits: str) -> bytes:
        made = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}".encode()
        self[digits] = made
        return made


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
