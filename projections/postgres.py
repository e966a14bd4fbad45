"""The lists in PostgreSQL, in a schema beside the ledger that can be dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import tuple_row

from domain.errors import LedgerDownError
from domain.record import Record
from projections.batches import BALANCES, HOUR, SESSIONS, over_arrays
from projections.fold import Batch, Known, SessionState
from projections.follow import MissingRecordsError
from projections.rows import SCHEMA, SHAPE, TABLES, NoTablesError

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
# Locks are numbered for a whole database: "PAYP", then what is locked.
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(1346459984, %s)"
_LIVE, _ASIDE = 2, 4
SCHEMA_NAME = "payphone_views"
_SHAPE: LiteralString = (
    "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"
)
_POSITION: LiteralString = "SELECT position FROM position"


class PostgresTables:
    """The tables and how to ask them; `apply` moves rows and position in one transaction.

    Several gateways may follow into the same tables: what one has applied the others skip.
    """

    def __init__(self, url: str, *, schema: str = SCHEMA_NAME, read_only: bool = False) -> None:
        """Make what is missing; with `read_only` that is a `NoTablesError`."""
        self._writer = _Line(url, schema)
        self._reader = _Line(url, schema)
        # Tables that are made beside those of the gateways do not wait for them.
        self._lock = (_LIVE if schema == SCHEMA_NAME else _ASIDE,)
        try:
            if read_only:
                self._reader.run(lambda connection: _check_shape(connection, schema))
            else:
                self._writer.run(lambda connection: _create(connection, schema, self._lock))
        except Exception:
            # Nobody else will: there is no object yet that could be closed.
            self.close()
            raise

    @property
    def position(self) -> int:
        """The last event these tables have seen."""
        return self._reader.run(_position)

    def apply(self, records: Sequence[Record]) -> None:
        def write(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(_LOCK, self._lock)
                seen = _position(connection)
                news = [record for record in records if record.position > seen]
                if not news:
                    return
                if news[0].position != seen + 1:
                    raise MissingRecordsError(f"at {seen}, asked to go on from {news[0].position}")
                batch = Batch(news)
                writes = batch.writes(_known(connection, batch))
                # The server works on one statement while the next is put together here.
                with connection.pipeline():
                    for made in writes:
                        statement, arrays = over_arrays(made)
                        connection.execute(statement, arrays, prepare=True)

        self._writer.run(write)

    def clear(self) -> None:
        """Forget everything, to follow from the beginning; readers see all of it or nothing."""

        def write(connection: Connection) -> None:
            with connection.transaction():
                connection.execute(_LOCK, self._lock)
                _drop_tables(connection)
                _create_tables(connection)

        self._writer.run(write)

    def close(self) -> None:
        self._writer.close()
        self._reader.close()

    def select(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """Rows of a statement with `?` for each value."""
        marked = statement.replace("?", "%s").encode()
        return self._reader.run(lambda c: c.execute(marked, values).fetchall())


class _Line:
    """One connection, used by one thread at a time and opened again when it broke.

    What it runs may run twice: reading changes nothing, and what is written names its position.
    A server that does not answer is a `LedgerDownError`.
    """

    def __init__(self, url: str, schema: str) -> None:
        self._url = url
        self._schema = schema
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
            try:
                self._connection = self._open()
                return work(self._connection)
            except psycopg.OperationalError as failure:
                raise LedgerDownError from failure

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def _open(self) -> Connection:
        connection = psycopg.connect(self._url, autocommit=True, row_factory=tuple_row)
        # Rebuilt from the log when lost, so a commit need not wait for the disk.
        connection.execute(
            f"SET synchronous_commit = off; SET search_path = {self._schema}".encode()
        )
        return connection


def _create(connection: Connection, schema: str, lock: tuple[int]) -> None:
    """Make what is missing; gateways that start together take turns."""
    with connection.transaction():
        connection.execute(_LOCK, lock)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        if not _is_ours(connection, schema):
            # Made by another version: told again from the log, in the shape that this one knows.
            _drop_tables(connection)
        _create_tables(connection)
        connection.execute(f"COMMENT ON SCHEMA {schema} IS '{SHAPE}'".encode())


def _is_ours(connection: Connection, schema: str) -> bool:
    """Whether the schema is there and has the tables that this version knows."""
    return connection.execute(_SHAPE, (schema,)).fetchone() == (str(SHAPE),)


def _check_shape(connection: Connection, schema: str) -> None:
    if not _is_ours(connection, schema):
        raise NoTablesError("the database has no lists, or those of another version")


def _drop_tables(connection: Connection) -> None:
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table}".encode())


def _known(connection: Connection, batch: Batch) -> Known:
    """What the tables say of what the batch touches; its values are in one statement each."""
    balances = connection.execute(BALANCES + "= ANY(%s::text[])", (list(batch.accounts),))
    sessions = connection.execute(SESSIONS + "= ANY(%s::text[])", (list(batch.sessions),))
    hour = connection.execute(HOUR).fetchone()
    return Known(
        balances={key: (available, reserved) for key, available, reserved in balances},
        sessions={row[0]: SessionState(*row) for row in sessions},
        hour=None if hour is None else hour[0],
    )


def _create_tables(connection: Connection) -> None:
    # Rows may be lost and told again; that there are tables may not.
    connection.execute("SET LOCAL synchronous_commit = on")
    for statement in SCHEMA:
        connection.execute(statement.encode())


def _position(connection: Connection) -> int:
    row = connection.execute(_POSITION).fetchone()
    return 0 if row is None else int(row[0])
