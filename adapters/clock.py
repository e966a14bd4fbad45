"""The system's time, made safe for billing."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `Clock`: wall time at start plus monotonic time since, so it never runs backwards.

    A correction of the machine's clock shows only after a restart; meanwhile nobody is billed for
    a jump.
    """

    def __init__(self) -> None:
        self._start_ms = time.time_ns() // 1_000_000
        self._monotonic_ns = time.monotonic_ns()

    def now_ms(self) -> int:
        return self._start_ms + (time.monotonic_ns() - self._monotonic_ns) // 1_000_000

    async def sleep_until(self, at_ms: int) -> None:
        await asyncio.sleep(max(0, at_ms - self.now_ms()) / 1_000)
