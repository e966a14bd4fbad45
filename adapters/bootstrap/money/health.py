"""What is wrong with a rail, asked seldom: the answer is kept a while, since anybody may ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from domain.ports.clock import Clock

_KEPT_MS = 10_000
_TIMEOUT_S = 5


class Health:
    """Asks each in turn for its problem; nothing where all is well."""

    def __init__(self, clock: Clock, *asked: Callable[[], Awaitable[str]]) -> None:
        self._clock = clock
        self._asked = asked
        self._alone = asyncio.Lock()
        self._found = ""
        self._stale_at_ms = 0

    async def problem(self) -> str:
        async with self._alone:
            if self._clock.now_ms() >= self._stale_at_ms:
                self._found = await self._look()
                self._stale_at_ms = self._clock.now_ms() + _KEPT_MS
            return self._found

    async def _look(self) -> str:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                found = [await ask() for ask in self._asked]
        except TimeoutError:
            return "what the rail depends on answers too late"
        return "; ".join(filter(None, found))
