"""What a witness must not forget: the last head it cosigned of each log."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from domain.checkpoint import Checkpoint

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS heads "
    "(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL)"
)


class WitnessMemory:
    """The last head of each origin. The whole check-and-set runs under `lock`."""

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        # A forgotten head could be signed against: each is flushed before it is answered for.
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(_SCHEMA)

    def last(self, origin: str) -> Checkpoint | None:
        row = self._database.execute(
            "SELECT size, root FROM heads WHERE origin = ?", (origin,)
        ).fetchone()
        return None if row is None else Checkpoint(origin=origin, size=row[0], root=row[1])

    def keep(self, head: Checkpoint, note: str) -> None:
        """Keep the head in place of the one before; on disk when it returns."""
        self._database.execute(
            "INSERT OR REPLACE INTO heads VALUES (?, ?, ?, ?)",
            (head.origin, head.size, head.root, note),
        )

    def heads(self) -> tuple[Checkpoint, ...]:
        """The last head of every log, by origin."""
        rows = self._database.execute("SELECT origin, size, root FROM heads ORDER BY origin")
        return tuple(Checkpoint(origin=o, size=size, root=root) for o, size, root in rows)

    def close(self) -> None:
        self._database.close()
