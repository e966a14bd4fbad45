"""The gateway's time on another machine."""

from __future__ import annotations

from domain.ports.clock import Clock

# Less is the way's own time; a clock that is moved for it would only tremble.
DIFFERENCE_MS_MIN = 250


class GatewayClock:
    """Implements `Clock`: this machine's time, moved to where the gateway said it is.

    What is billed is measured here and judged there, so both must mean the same moment.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self._ahead_ms

    async def sleep_until(self, at_ms: int) -> None:
        await self._clock.sleep_until(at_ms - self._ahead_ms)

    def told(self, gateway_ms: int, *, asked_ms: int) -> None:
        """The gateway's time, in answer to what was asked at `asked_ms` of this clock."""
        now_ms = self.now_ms()
        difference_ms = gateway_ms - (asked_ms + now_ms) // 2
        if abs(difference_ms) >= max(DIFFERENCE_MS_MIN, now_ms - asked_ms):
            self._ahead_ms += difference_ms
