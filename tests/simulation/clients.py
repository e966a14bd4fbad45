"""The customers: what they hold, what they do, and the stopwatch each of them looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from domain.errors import BusyError, LedgerDownError
from domain.session import Session
from domain.use_cases.meter import Meter
from domain.use_cases.open_session import Ticket


class Wire:
    """A connection as the switchboard sees it; gone when it went, however late that is told."""

    def __init__(self, connection_id: UUID) -> None:
        self.connection_id = connection_id
        self.meter: Meter | None = None
        self.gone_at_ms: int | None = None
        self.is_told = False

    @property
    def is_live(self) -> bool:
        return self.meter is not None and self.gone_at_ms is None

    async def catch_up(self) -> None:
        if self.meter is None or self.is_told:
            return
        if self.gone_at_ms is None:
            await self.meter.catch_up()
        else:
            await self.taken_over()

    async def taken_over(self) -> None:
        if self.meter is not None and not self.is_told:
            await self.meter.stop(self.gone_at_ms)
            self.is_told = True

    def changed(self) -> None:
        if self.meter is not None:
            self.meter.changed()


@dataclass
class Life:
    """What one session went through, as its customer with a stopwatch would have it.

    `slack_ms` is what a crash may give the customer for nothing: time since the last heartbeat.
    `told` is how much of what was `spoken` the ledger has confirmed.
    `bent_ms` is how far the gateway's clock was set back meanwhile: stopwatches differ by it.
    """

    ticket: Ticket
    account_id: UUID
    wire: Wire | None = None
    since_ms: int = 0
    beaten_ms: int = 0
    intervals: list[tuple[int, int]] = field(default_factory=list)
    slack_ms: int = 0
    bent_ms: int = 0
    spoken: int = 0
    told: int = 0
    spoken_slack: int = 0
    is_busy: bool = False

    def leave(self, now_ms: int) -> None:
        """The stopwatch stops."""
        if self.wire is not None and self.wire.is_live:
            self.intervals.append((self.since_ms, now_ms))
            self.wire.gone_at_ms = now_ms

    async def say_goodbye(self) -> bool:
        """Let the ledger know; False where it could not be told yet."""
        if self.wire is None:
            return True
        try:
            await self.wire.catch_up()
        except (BusyError, LedgerDownError):
            return False
        self.told = self.spoken
        self.wire = None
        return True

    def crash(self, now_ms: int) -> None:
        """The process is gone, and with it what it had not yet told the ledger."""
        if self.wire is not None:
            if self.wire.is_live:
                self.leave(now_ms)
            self.slack_ms += max(0, now_ms - self.beaten_ms)
            self.spoken_slack = self.spoken
            self.wire = None

    def check(self, session: Session, now_ms: int) -> None:
        """5: billed is what the stopwatch says, never more; less only where a crash cost us."""
        told = f"5: {session}, {self}"
        if session.service == "tts":
            assert session.used <= min(self.spoken, session.quantity), told
            assert session.used >= min(self.told - self.spoken_slack, session.quantity), told
            return
        end_ms = session.expires_at_ms
        if session.closed_at_ms is not None:
            end_ms = min(end_ms, session.closed_at_ms)
        live = [(self.since_ms, now_ms)] if self.wire is not None and self.wire.is_live else []
        valid_ms = sum(
            max(0, min(to_ms, end_ms) - from_ms) for from_ms, to_ms in (*self.intervals, *live)
        )
        least_ms = valid_ms - self.slack_ms - self.bent_ms
        assert session.used <= min(valid_ms + self.bent_ms, session.quantity), told
        assert session.used_at(now_ms) >= min(least_ms, session.quantity), told
