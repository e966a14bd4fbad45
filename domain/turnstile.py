"""One at a time, where two copies of a request would trip over each other in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary


class Turnstile:
    """A lock a thing, gone when nobody waits for it.

    It saves work and keeps names straight; what keeps money right is the ledger.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def alone(self, thing: UUID) -> AsyncGenerator[None, None]:
        """Wait until nobody else is inside for this thing."""
        lock = self._locks.setdefault(thing, asyncio.Lock())
        async with lock:
            yield
