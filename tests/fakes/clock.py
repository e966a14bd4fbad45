"""A clock that moves only when told."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

START_MS = 1_700_000_000_000


class ManualClock:
    """Implements `Clock`. Sleepers wake when `advance` passes them, in order of their times."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep_until(self, at_ms: int) -> None:
        if at_ms <= self._now_ms:
            await asyncio.sleep(0)
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at_ms, next(self._order), wake))
        await wake

    async def advance(self, ms: int) -> None:
        """Move on by `ms`, stopping at every sleeper on the way and letting it run."""
        until_ms = self._now_ms + ms
        while self._sleepers and self._sleepers[0][0] <= until_ms:
            at_ms, _, wake = heapq.heappop(self._sleepers)
            self._now_ms = max(self._now_ms, at_ms)
            if not wake.done():
                wake.set_result(None)
            await settle()
        self._now_ms = until_ms
        await settle()

    def set_back(self, ms: int) -> None:
        """As a machine's clock is when it was found to be fast."""
        self._now_ms -= ms


async def settle() -> None:
    """Let every task that can run do so until it waits again."""
    for _ in range(20):
        await asyncio.sleep(0)
