"""Names of sessions in a file of their own, which can be emptied without breaking a proof."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

from adapters.together import Together
from domain.ports.private import SessionDetails


class SqliteDetails:
    """Implements `PrivateDetails`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._puts = Together(self._put)
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS details (session_id TEXT PRIMARY KEY, details TEXT)"
        )

    async def put(self, details: dict[UUID, SessionDetails]) -> None:
        """Those that come together share one wait for the disk."""
        await self._puts.add(details)

    async def find(self, session_ids: Sequence[UUID]) -> dict[UUID, SessionDetails]:
        return await asyncio.to_thread(self._find, session_ids)

    async def delete(self, session_ids: Sequence[UUID]) -> None:
        rows = [(str(i),) for i in session_ids]
        await asyncio.to_thread(self._write, "DELETE FROM details WHERE session_id = ?", rows)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _put(self, puts: Sequence[Mapping[UUID, SessionDetails]]) -> list[None]:
        rows = [(str(i), json.dumps(asdict(d))) for put in puts for i, d in put.items()]
        self._write("INSERT OR REPLACE INTO details VALUES (?, ?)", rows)
        return [None] * len(puts)

    def _write(self, statement: str, rows: Sequence[tuple[str, ...]]) -> None:
        with self._lock, self._db:
            self._db.executemany(statement, rows)

    def _find(self, session_ids: Sequence[UUID]) -> dict[UUID, SessionDetails]:
        found = {}
        with self._lock:
            for session_id in session_ids:
                row = self._db.execute(
                    "SELECT details FROM details WHERE session_id = ?", (str(session_id),)
                ).fetchone()
                if row is not None:
                    found[session_id] = SessionDetails(**json.loads(row[0]))
        return found
