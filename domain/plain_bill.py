"""A settled session's arithmetic on bare values, for auditors who check a million of them.

It accepts what `domain.bill.statement` accepts, apart from the price book, which the caller looks
up once for each rate. What it does not accept, `statement` gets to explain.
"""

from __future__ import annotations

from collections.abc import Sequence

from domain.leaves import Values
from domain.pricing import QUANTITY_MAX

SessionEvent = tuple[int, bytes, bytes, Values]
"""Position, topic, originator, wanted values (`domain.leaves.WANTED`)."""

Rate = tuple[bytes, bytes, bytes, int, int]
"""Price book version, service, unit, microcredits, per."""

RESERVED = b"account.credits_reserved"
SETTLED = b"account.reservation_settled"
OPENED = b"session.opened"
CLOSED = b"session.closed"


def is_whole(events: Sequence[SessionEvent]) -> bool:
    """Whether a session's events reach from its opening to its settlement."""
    topics = [topic for _, topic, _, _ in events]
    return OPENED in topics and CLOSED in topics and SETTLED in topics


def plain_rate(events: Sequence[SessionEvent]) -> Rate | None:
    """The rate of a settled session whose every number follows; None where something does not."""
    opened = next((values for _, topic, _, values in events if topic == OPENED), None)
    if opened is None:
        return None
    account, expires, book, quantity, rate, per, reserved, service, unit = opened
    tally = _Tally(int(rate), int(per), quantity=int(quantity), expires_ms=int(expires))
    if tally.per < 1 or not tally.reserve(int(reserved)):
        return None
    for _, topic, originator, values in events:
        step = _STEPS[topic]
        if step is _no_step:
            continue
        if tally.closed and topic not in _OF_ACCOUNT:
            return None
        if topic in _OF_ACCOUNT and originator != account:
            return None
        if not step(tally, values):
            return None
    return (book, service, unit, tally.rate, tally.per) if tally.adds_up() else None


def opened_at(events: Sequence[SessionEvent]) -> int:
    """The position at which the session was opened, and so its rate was named."""
    return next(position for position, topic, _, _ in events if topic == OPENED)


class _Tally:
    """What the events add up to; each step says whether it follows from those before."""

    __slots__ = (
        *("rate", "per", "quantity", "expires_ms", "reserved", "used", "resumed_ms", "closed"),
        *("charged", "refunded", "account_reserved", "account_settled"),
    )

    def __init__(self, rate: int, per: int, *, quantity: int, expires_ms: int) -> None:
        self.rate = rate
        self.per = per
        self.quantity = quantity
        self.expires_ms = expires_ms
        self.reserved = self.used = self.account_reserved = 0
        self.charged = self.refunded = -1
        self.resumed_ms: int | None = None
        self.closed = False
        self.account_settled: tuple[int, int] | None = None

    def price(self, quantity: int) -> int:
        """As `Tariff.price`; -1, which no amount is, for what has no price."""
        return -(-quantity * self.rate // self.per) if 0 <= quantity <= QUANTITY_MAX else -1

    def reserve(self, more: int) -> bool:
        self.reserved += more
        return self.reserved == self.price(self.quantity)

    def extended(self, values: Values) -> bool:
        expires, quantity, reserved = values
        self.expires_ms = int(expires)
        self.quantity += int(quantity)
        return self.reserve(int(reserved))

    def clock_resumed(self, values: Values) -> bool:
        was_paused = self.resumed_ms is None
        self.resumed_ms = int(values[0])
        return was_paused

    def clock_paused(self, values: Values) -> bool:
        if self.resumed_ms is None:
            return False
        ran_ms = max(0, min(int(values[0]), self.expires_ms) - self.resumed_ms)
        self.used = min(self.quantity, self.used + ran_ms)
        self.resumed_ms = None
        return self.used == int(values[1])

    def spoken(self, values: Values) -> bool:
        before, self.used = self.used, int(values[0])
        return before <= self.used <= self.quantity

    def close(self, values: Values) -> bool:
        charged, refunded, used = values
        self.charged, self.refunded = int(charged), int(refunded)
        self.closed = True
        return self.resumed_ms is None and self.used == int(used)

    def account_reserve(self, values: Values) -> bool:
        self.account_reserved += int(values[0])
        return True

    def account_settle(self, values: Values) -> bool:
        is_first = self.account_settled is None
        self.account_settled = (int(values[0]), int(values[2]))
        return is_first

    def adds_up(self) -> bool:
        return (
            self.closed
            and self.charged == self.price(self.used)
            and self.charged + self.refunded == self.reserved == self.account_reserved
            and self.account_settled == (self.charged, self.refunded)
        )


def _no_step(_tally: _Tally, _values: Values) -> bool:
    return True


_OF_ACCOUNT = (RESERVED, SETTLED)
_STEPS = {
    OPENED: _no_step,
    b"session.extended": _Tally.extended,
    b"session.clock_resumed": _Tally.clock_resumed,
    b"session.clock_paused": _Tally.clock_paused,
    b"session.characters_spoken": _Tally.spoken,
    CLOSED: _Tally.close,
    RESERVED: _Tally.account_reserve,
    SETTLED: _Tally.account_settle,
}
