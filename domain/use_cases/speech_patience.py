"""Waiting for us is free: while audio stands in our own queue, the customer's clock does too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from domain.errors import BusyError
from domain.ports.clock import Clock
from domain.use_cases.meter import Meter

# Long enough that an engine which keeps up never stops a clock.
PATIENCE_MS = 250


class Patience:
    """Stops a meter when one piece of audio has waited too long, from when it began to wait (B4).

    `watch` runs beside the reader; each wait stands inside `waiting`, which starts the clock again.
    """

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self._meter = meter
        self._clock = clock
        self._since_ms: int | None = None
        self._stopped = False
        self._changing = asyncio.Lock()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None, None]:
        """Around one call that may wait for the engine."""
        self._since_ms = self._clock.now_ms()
        try:
            yield
        finally:
            self._since_ms = None
        if self._stopped:
            # Where a busy ledger refuses, the next piece of audio tries again.
            async with self._changing:
                await self._meter.start()
                self._stopped = False

    async def watch(self) -> None:
        """Look four times a second whether the reader is held up."""
        while True:
            now_ms = self._clock.now_ms()
            await self._clock.sleep_until(now_ms + PATIENCE_MS)
            since_ms = self._since_ms
            if since_ms is None or self._stopped or since_ms > now_ms:
                continue
            async with self._changing:
                if self._since_ms == since_ms:
                    with suppress(BusyError):
                        await self._meter.stop(since_ms)
                        self._stopped = True
