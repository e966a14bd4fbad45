"""What a speech server far from the ledger says of a session, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from domain.errors import SessionOverError
from domain.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What one connection used since its last report; times in ms of the gateway's clock.

    A clock ran from `from_ms` to `to_ms`, and still does if `runs`. `characters` are all that were
    spoken in the session so far, 0 for a clock. `is_spent`: the server sees nothing left to use.
    """

    session_id: UUID
    connection_id: UUID
    from_ms: int
    to_ms: int
    runs: bool = False
    characters: int = 0
    is_spent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a session stands in the ledger. `used` counts units, without what runs now."""

    session_id: UUID
    service: str
    unit: str
    rate_microcredits: int
    rate_per: int
    price_book: str
    quantity: int
    used: int
    opened_at_ms: int
    expires_at_ms: int
    is_open: bool
    reason: str
    charged: int

    @classmethod
    def of(cls, session: Session) -> Standing:
        return cls(
            session_id=session.id,
            service=session.service,
            unit=session.tariff.unit,
            rate_microcredits=session.tariff.microcredits,
            rate_per=session.tariff.per,
            price_book=session.price_book,
            quantity=session.quantity,
            used=session.used,
            opened_at_ms=session.opened_at_ms,
            expires_at_ms=session.expires_at_ms,
            is_open=session.is_open,
            reason=session.reason,
            charged=session.charged.value,
        )


def apply_usage(session: Session, usage: Usage, *, now_ms: int) -> None:
    """Bill a report; one that comes again, late or of a connection that was replaced adds nothing.

    Reports of a connection overlap nowhere: each begins where the one before ended. So whatever
    stopped the clock meanwhile (a restart of ours, a sweep), it goes on from where it was seen.
    """
    if not session.is_open:
        return
    if session.tariff.unit == "character":
        session.speak(usage.characters, at_ms=min(usage.to_ms, now_ms))
        return
    to_ms = min(usage.to_ms, now_ms)
    if session.is_running and session.connection_id != usage.connection_id:
        if to_ms <= session.observed_at_ms:
            return
        # Another one is served by now: what was not heard of the one before is free (B10).
        session.recover()
    if not session.is_running:
        if to_ms <= session.observed_at_ms:
            return
        try:
            session.resume(usage.connection_id, at_ms=min(usage.from_ms, to_ms))
        except SessionOverError:
            # Nothing was left at its beginning: what came after that is free.
            return
    if usage.runs:
        session.observe(usage.connection_id, at_ms=to_ms)
    elif session.running_since_ms is not None and to_ms >= session.running_since_ms:
        session.pause(usage.connection_id, at_ms=to_ms)
