"""What a speech server has to report, on disk until the gateway has it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from adapters.fleet.words import Welcome, usage_of, usage_words
from adapters.together import Together
from domain.usage import Usage

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS reports (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, body TEXT NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS gateway (one INTEGER PRIMARY KEY, body TEXT NOT NULL)",
)


class Outbox:
    """Reports in the order they were made, each durable before `add` returns.

    Beside them lies what must be known where no gateway answers: whose session keys are good.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        with self._db:
            for statement in _SCHEMA:
                self._db.execute(statement)
        rows = self._db.execute("SELECT seq, body FROM reports ORDER BY seq")
        self._unsent: OrderedDict[int, Usage] = OrderedDict(
            (seq, usage_of(json.loads(body))) for seq, body in rows
        )
        self._adding = Together(self._insert, written=self._inserted)
        self._grown = asyncio.Event()
        self._shrunk = asyncio.Condition()
        if self._unsent:
            self._grown.set()

    def __len__(self) -> int:
        return len(self._unsent)

    async def add(self, usage: Usage) -> None:
        """Keep a report; those that come together share one wait for the disk."""
        await self._adding.add(usage)

    async def wait(self) -> None:
        """Until there is something to send."""
        await self._grown.wait()

    def batch(self, limit: int) -> list[tuple[int, Usage]]:
        """The oldest that were not sent."""
        return [item for item, _ in zip(self._unsent.items(), range(limit), strict=False)]

    async def sent(self, numbers: Sequence[int]) -> None:
        """The gateway has them."""
        await asyncio.to_thread(self._delete, numbers)
        for number in numbers:
            self._unsent.pop(number, None)
        if not self._unsent:
            self._grown.clear()
        async with self._shrunk:
            self._shrunk.notify_all()

    async def drained(self, session_id: UUID, *, wait_s: float) -> bool:
        """Whether all there is of a session was sent, after waiting for it for so long."""
        await self._adding.settled()
        newest = max((n for n, u in self._unsent.items() if u.session_id == session_id), default=0)

        def is_gone() -> bool:
            return not any(
                number <= newest and usage.session_id == session_id
                for number, usage in self._unsent.items()
            )

        return await self._became(is_gone, wait_s)

    async def empty(self, *, wait_s: float) -> bool:
        await self._adding.settled()
        return await self._became(lambda: not self._unsent, wait_s)

    def keep_welcome(self, welcome: Welcome) -> None:
        body = json.dumps({"issuer": welcome.issuer, "public_key": welcome.public_key})
        with self._lock, self._db:
            self._db.execute("INSERT OR REPLACE INTO gateway VALUES (1, ?)", (body,))

    def known_gateway(self) -> tuple[str, str] | None:
        """Issuer and public key of the gateway that welcomed us last."""
        row = self._db.execute("SELECT body FROM gateway").fetchone()
        if row is None:
            return None
        found = json.loads(row[0])
        return found["issuer"], found["public_key"]

    def close(self) -> None:
        with self._lock:
            self._db.close()

    async def _became(self, condition: Callable[[], bool], wait_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._shrunk:
                await self._shrunk.wait_for(condition)
        return condition()

    def _insert(self, reports: Sequence[Usage]) -> list[int]:
        """Their numbers, in their order."""
        with self._lock, self._db:
            return [
                self._db.execute(
                    "INSERT INTO reports (session_id, body) VALUES (?, ?) RETURNING seq",
                    (str(usage.session_id), json.dumps(usage_words(usage))),
                ).fetchone()[0]
                for usage in reports
            ]

    def _inserted(self, numbers: Sequence[int], reports: Sequence[Usage]) -> None:
        """Also where whoever added one did not wait for it."""
        self._unsent.update(zip(numbers, reports, strict=True))
        self._grown.set()

    def _delete(self, numbers: Sequence[int]) -> None:
        with self._lock, self._db:
            self._db.executemany("DELETE FROM reports WHERE seq = ?", [(n,) for n in numbers])
