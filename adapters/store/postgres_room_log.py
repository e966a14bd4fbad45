"""The room log's tables in PostgreSQL, shared by all gateways of one ledger."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psycopg
from eventsourcing.persistence import PersistenceError

from adapters.store import postgres_schema as sql
from adapters.store.postgres_connections import Connection, connect, translated
from adapters.store.room_log import ADD_SIGNATURE, INDEXES, SCHEMA, Row, Step
from domain.errors import LedgerDownError


class PostgresTables:
    """Implements `Tables` with one connection, opened again where it broke."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        with translated(), connect(url) as connection, connection.transaction():
            # Gateways that start together take turns.
            connection.execute(sql.LOCK_SCHEMA)
            connection.execute("CREATE SCHEMA IF NOT EXISTS payphone_private")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(ADD_SIGNATURE.replace("COLUMN", "COLUMN IF NOT EXISTS"))
            for statement in INDEXES:
                # An index lies where its table does.
                named = statement.replace("{}", "", 1).replace("{}", "payphone_private.")
                connection.execute(named)

    def run(self, steps: Sequence[Step]) -> list[list[Row]]:
        """Every statement is safe to repeat, so a broken connection is tried again once."""
        with self._lock:
            try:
                with translated():
                    try:
                        return self._run(steps)
                    except psycopg.OperationalError:
                        self._hang_up()
                        return self._run(steps)
            except PersistenceError as failure:
                self._hang_up()
                raise LedgerDownError from failure

    def close(self) -> None:
        with self._lock:
            self._hang_up()

    def _run(self, steps: Sequence[Step]) -> list[list[Row]]:
        if self._connection is None:
            self._connection = connect(self._url)
        connection = self._connection
        if len(steps) == 1:
            # A transaction by itself.
            return [connection.execute(*step).fetchall() for step in steps]
        # Sent together, so that the way there and back is waited for once.
        with connection.pipeline(), connection.transaction():
            asked = [connection.execute(*step) for step in steps]
            return [cursor.fetchall() for cursor in asked]

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
