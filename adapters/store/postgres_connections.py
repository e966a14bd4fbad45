"""Connections to PostgreSQL: how they are opened, kept, and what their errors are called."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from eventsourcing import persistence as library
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from adapters.store.postgres_arrays import register_arrays

Connection = psycopg.Connection[tuple[Any, ...]]
Values = Sequence[object] | Mapping[str, object]
IDLE_MAX = 8
# A server that is gone without a word is noticed within seconds, unless the URL says otherwise.
_DEFAULTS = {
    "application_name": "payphone",
    "client_encoding": "utf8",
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
# The nearest class first: psycopg's tree is the library's, by PEP 249.
_NAMES: tuple[tuple[type[psycopg.Error], type[library.PersistenceError]], ...] = (
    (psycopg.InterfaceError, library.InterfaceError),
    (psycopg.DataError, library.DataError),
    (psycopg.OperationalError, library.OperationalError),
    (psycopg.IntegrityError, library.IntegrityError),
    (psycopg.InternalError, library.InternalError),
    (psycopg.ProgrammingError, library.ProgrammingError),
    (psycopg.NotSupportedError, library.NotSupportedError),
    (psycopg.DatabaseError, library.DatabaseError),
)


def connect(url: str) -> Connection:
    """One connection in autocommit, whose commits wait for the disk whatever the server prefers."""
    given = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    connection = psycopg.connect(make_conninfo(**{**_DEFAULTS, **given}), autocommit=True)
    connection.execute("SET synchronous_commit = on")
    register_arrays(connection)
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """The driver's errors, as the library names them."""
    try:
        yield
    except psycopg.Error as failure:
        for theirs, ours in _NAMES:
            if isinstance(failure, theirs):
                raise ours(str(failure)) from failure
        raise library.PersistenceError(str(failure)) from failure


class Readers:
    """Connections that only read, as many as there are threads that ask at once.

    A read that meets a broken connection is asked once more on a fresh one: after a restart of the
    server every idle connection is dead, and reading twice changes nothing.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def read(self, statement: LiteralString, values: Values = ()) -> list[tuple[Any, ...]]:
        with translated():
            connection, is_fresh = self._take()
            try:
                return self._read(connection, statement, values)
            except psycopg.OperationalError:
                if is_fresh or not connection.closed:
                    raise
            self.close()
            return self._read(connect(self._url), statement, values)

    def close(self) -> None:
        """Hang up; a later read connects again."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _take(self) -> tuple[Connection, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), False
        return connect(self._url), True

    def _read(
        self, connection: Connection, statement: LiteralString, values: Values
    ) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(statement, values, prepare=True, binary=True).fetchall()
        finally:
            with self._lock:
                is_kept = not connection.closed and len(self._idle) < IDLE_MAX
                if is_kept:
                    self._idle.append(connection)
            if not is_kept:
                connection.close()
