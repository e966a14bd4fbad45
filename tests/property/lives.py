"""The customers of a simulation: their connections, and an onlooker with a stopwatch."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from domain.use_cases.meter import Meter
from domain.use_cases.open_session import Ticket


class Wire:
    """A connection as the switchboard sees it."""

    def __init__(self) -> None:
        self.meter: Meter | None = None

    async def catch_up(self) -> None:
        if self.meter is not None:
            await self.meter.catch_up()

    async def taken_over(self) -> None:
        if self.meter is not None:
            await self.meter.stop()
            self.meter = None

    def changed(self) -> None:
        if self.meter is not None:
            self.meter.changed()


@dataclass
class Life:
    """What one session went through, as an onlooker with a stopwatch would have it."""

    ticket: Ticket
    account_id: UUID
    wire: Wire | None = None
    since_ms: int = 0
    intervals: list[tuple[int, int]] = field(default_factory=list)
    crashes: int = 0
    spoken: int = 0

    def connected_ms(self, until_ms: int) -> int:
        """How long it was connected before then."""
        return sum(max(0, min(end, until_ms) - start) for start, end in self.intervals)
