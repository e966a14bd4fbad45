"""The same in a database: gateways read and write the old tables until the new ones are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg

from projections.postgres import SCHEMA_NAME, PostgresTables
from projections.rebuild import Progress, Read, RebuildError, fill

_NEW = f"{SCHEMA_NAME}_new"
# Numbered as in projections.postgres: the tables of the gateways, and this command.
_TABLES, _REBUILDING = 2, 3
_LOCK = b"SELECT pg_advisory_xact_lock(1346459984, %s)"


def rebuild_postgres(url: str, read: Read, progress: Progress) -> int:
    """Make the tables anew in a schema beside, and swap; gateways go on reading all the while."""
    try:
        return _rebuild(url, read, progress)
    except psycopg.Error as failure:
        raise RebuildError(str(failure).strip().partition("\n")[0]) from failure


def _rebuild(url: str, read: Read, progress: Progress) -> int:
    with _alone(url) as connection, closing(PostgresTables(url)) as live:
        connection.execute(f"DROP SCHEMA IF EXISTS {_NEW} CASCADE".encode())
        with closing(PostgresTables(url, schema=_NEW)) as tables:
            fill(tables, read, progress)
            with connection.transaction():
                # From here the gateways do not write; what they have seen meanwhile is seen too.
                connection.execute(_LOCK, (_TABLES,))
                seen = fill(tables, read, progress, until=live.position)
                connection.execute(f"DROP SCHEMA {SCHEMA_NAME} CASCADE".encode())
                connection.execute(f"ALTER SCHEMA {_NEW} RENAME TO {SCHEMA_NAME}".encode())
    return seen


@contextmanager
def _alone(url: str) -> Iterator[psycopg.Connection]:
    """A connection while nobody else rebuilds; the server lets go of what dies."""
    with psycopg.connect(url, autocommit=True) as connection:
        lock = "SELECT pg_try_advisory_lock(1346459984, %s)"
        if connection.execute(lock, (_REBUILDING,)).fetchone() != (True,):
            raise RebuildError("another process is rebuilding these lists")
        try:
            yield connection
        finally:
            # At once, where it still can: a server notices late that somebody is gone.
            with suppress(psycopg.OperationalError):
                connection.execute("SELECT pg_advisory_unlock(1346459984, %s)", (_REBUILDING,))
