"""Names of sessions in PostgreSQL, which can be emptied without breaking a proof."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, LiteralString
from uuid import UUID

from eventsourcing.persistence import OperationalError

from adapters.store import postgres_schema as sql
from adapters.store.postgres_connections import Readers, Values, connect, translated
from adapters.together import Together
from domain.errors import LedgerDownError
from domain.ports.private import SessionDetails

_CREATE: LiteralString = """
CREATE SCHEMA IF NOT EXISTS payphone_private;
CREATE TABLE IF NOT EXISTS payphone_private.details (
    session_id uuid PRIMARY KEY,
    details text NOT NULL
);
"""
_PUT: LiteralString = (
    "INSERT INTO payphone_private.details SELECT * FROM unnest(%b::uuid[], %b::text[]) "
    "ON CONFLICT (session_id) DO UPDATE SET details = EXCLUDED.details RETURNING session_id"
)
_FIND: LiteralString = (
    "SELECT session_id, details FROM payphone_private.details WHERE session_id = ANY(%b::uuid[])"
)
_DELETE: LiteralString = (
    "DELETE FROM payphone_private.details WHERE session_id = ANY(%b::uuid[]) RETURNING session_id"
)


class PostgresDetails:
    """Implements `PrivateDetails`. A database that does not answer is a `LedgerDownError`."""

    def __init__(self, url: str) -> None:
        with translated(), connect(url) as connection, connection.transaction():
            # Gateways that start together take turns.
            connection.execute(sql.LOCK_SCHEMA)
            connection.execute(_CREATE)
        self._connections = Readers(url)
        self._puts = Together(self._put)

    async def put(self, details: dict[UUID, SessionDetails]) -> None:
        """Those that come together share one statement and one wait for the disk."""
        try:
            await self._puts.add(details)
        except OperationalError as failure:
            raise LedgerDownError from failure

    async def find(self, session_ids: Sequence[UUID]) -> dict[UUID, SessionDetails]:
        rows = await self._run(_FIND, (list(session_ids),))
        return {session_id: SessionDetails(**json.loads(text)) for session_id, text in rows}

    async def delete(self, session_ids: Sequence[UUID]) -> None:
        await self._run(_DELETE, (list(session_ids),))

    def close(self) -> None:
        self._connections.close()

    def _put(self, puts: Sequence[Mapping[UUID, SessionDetails]]) -> list[None]:
        # One statement puts no name twice: of one session's the latest counts.
        latest = {i: json.dumps(asdict(d)) for put in puts for i, d in put.items()}
        self._connections.read(_PUT, (list(latest), list(latest.values())))
        return [None] * len(puts)

    async def _run(self, statement: LiteralString, values: Values) -> list[tuple[Any, ...]]:
        try:
            return await asyncio.to_thread(self._connections.read, statement, values)
        except OperationalError as failure:
            raise LedgerDownError from failure
