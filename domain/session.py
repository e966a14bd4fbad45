"""What was bought: time on a clock or characters, spent until it is settled once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, instant
from domain.errors import ConflictingRequestError, SessionOverError
from domain.money import NOTHING, Microcredits
from domain.presence import Stay
from domain.pricing import Tariff

# What no hash begins with.
_BY_KEY = "key:"
_ID_LENGTH = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a session buys: `quantity` ms or characters under one tariff, valid until a time."""

    service: str
    tariff: Tariff
    price_book: str
    quantity: int
    expires_at_ms: int

    @property
    def price(self) -> Microcredits:
        return self.tariff.price(self.quantity)


def hash_by_key(request_hash: str, api_key_id: UUID | None) -> str:
    """The fingerprint of a request, which begins with the API key that made it, if one did."""
    return request_hash if api_key_id is None else f"{_BY_KEY}{api_key_id}:{request_hash}"


class Session(LedgerAggregate):
    """Used time or characters never exceed what was bought; charged + refunded = reserved.

    `used` counts closed intervals (ms) or characters; a running clock adds to it when asked.
    """

    TOPIC = "session"
    # 2: a paused clock was last seen when it was paused.
    class_version = 2

    class Event(LedgerEvent): ...

    class Opened(Event, AggregateCreated):
        TOPIC = "session.opened"
        account_id: UUID
        bundle_id: UUID | None
        service: str
        price_book: str
        unit: str
        rate_microcredits: int
        rate_per: int
        quantity: int
        reserved: Microcredits
        expires_at_ms: int
        request_hash: str

    class ClockResumed(Event):
        TOPIC = "session.clock_resumed"
        connection_id: UUID

    class ClockObserved(Event):
        TOPIC = "session.clock_observed"

    class ClockPaused(Event):
        TOPIC = "session.clock_paused"
        used_ms: int

    class CharactersSpoken(Event):
        TOPIC = "session.characters_spoken"
        used_characters: int

    class Extended(Event):
        TOPIC = "session.extended"
        quantity: int
        reserved: Microcredits
        expires_at_ms: int
        request_id: str

    class Closed(Event):
        TOPIC = "session.closed"
        reason: str
        used: int
        charged: Microcredits
        refunded: Microcredits

    @classmethod
    def open(
        cls,
        order: Order,
        *,
        session_id: UUID,
        account_id: UUID,
        bundle_id: UUID | None,
        request_hash: str,
        at_ms: int,
    ) -> Session:
        return cls._create(
            cls.Opened,
            id=session_id,
            account_id=account_id,
            bundle_id=bundle_id,
            service=order.service,
            price_book=order.price_book,
            unit=order.tariff.unit,
            rate_microcredits=order.tariff.microcredits,
            rate_per=order.tariff.per,
            quantity=order.quantity,
            reserved=order.price,
            expires_at_ms=order.expires_at_ms,
            request_hash=request_hash,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(
        self,
        account_id: UUID,
        bundle_id: UUID | None,
        service: str,
        price_book: str,
        unit: str,
        rate_microcredits: int,
        rate_per: int,
        quantity: int,
        reserved: Microcredits,
        expires_at_ms: int,
        request_hash: str,
        at_ms: int,
    ) -> None:
        self.account_id = account_id
        self.bundle_id = bundle_id
        self.service = service
        self.price_book = price_book
        self.tariff = Tariff(unit=unit, microcredits=rate_microcredits, per=rate_per)
        self.quantity = quantity
        self.reserved = reserved
        self.opened_at_ms = at_ms
        self.expires_at_ms = expires_at_ms
        self.request_hash = request_hash
        # What each keyed extension bought, so that its repeat is known and must agree.
        self.extensions: dict[str, int] = {}
        self.used = 0
        self.started_at_ms: int | None = None
        self.running_since_ms: int | None = None
        self.observed_at_ms = at_ms
        self.connection_id: UUID | None = None
        self.closed_at_ms: int | None = None
        self.reason = ""
        self.charged = NOTHING
        self.refunded = NOTHING

    @property
    def is_open(self) -> bool:
        return self.closed_at_ms is None

    @property
    def is_over(self) -> bool:
        return not self.is_open

    @property
    def api_key_id(self) -> UUID | None:
        """The API key that opened it, if one did."""
        if not self.request_hash.startswith(_BY_KEY):
            return None
        return UUID(self.request_hash.removeprefix(_BY_KEY)[:_ID_LENGTH])

    @property
    def is_running(self) -> bool:
        return self.running_since_ms is not None

    def used_at(self, at_ms: int) -> int:
        """Units used by then, capped at what was bought; nothing counts after expiry."""
        if self.running_since_ms is None:
            return self.used
        ran_ms = max(0, min(at_ms, self.expires_at_ms) - self.running_since_ms)
        return min(self.quantity, self.used + ran_ms)

    def remaining_at(self, at_ms: int) -> int:
        """Units left to use."""
        return self.quantity - self.used_at(at_ms)

    def is_spent(self, at_ms: int) -> bool:
        """Whether nothing is left, or the time to use it has passed."""
        return self.remaining_at(at_ms) == 0 or at_ms >= self.expires_at_ms

    def check_open(self, at_ms: int) -> None:
        if not self.is_open:
            raise SessionOverError(session_id=str(self.id), reason=self.reason)
        if self.is_spent(at_ms):
            reason = "expired" if at_ms >= self.expires_at_ms else "spent"
            raise SessionOverError(session_id=str(self.id), reason=reason)

    def resume(self, connection_id: UUID, *, at_ms: int) -> None:
        """Start the clock for a connection that is ready; a newer one takes over.

        No earlier than the clock was last seen: a call that comes late, or again, bills nothing
        twice.
        """
        self.check_open(at_ms)
        at_ms = max(at_ms, self.observed_at_ms)
        if self.is_running:
            if self.connection_id == connection_id:
                return
            self._clock_paused(used_ms=self.used_at(at_ms), at_ms=at_ms)
        self._clock_resumed(connection_id=connection_id, at_ms=at_ms)

    def observe(self, connection_id: UUID, *, at_ms: int) -> None:
        """Note durably that the clock still runs, so that a crash costs the customer nothing."""
        if self.is_running and self.connection_id == connection_id and at_ms > self.observed_at_ms:
            self._clock_observed(at_ms=at_ms)

    def pause(self, connection_id: UUID, *, at_ms: int) -> None:
        """Stop the clock of this connection; a connection that was taken over stops nothing."""
        if self.is_running and self.connection_id == connection_id:
            self._clock_paused(used_ms=self.used_at(at_ms), at_ms=at_ms)

    def recover(self) -> None:
        """After a crash: stop a clock nobody watches any more where it was last seen running."""
        if self.is_running:
            at_ms = self.observed_at_ms
            self._clock_paused(used_ms=self.used_at(at_ms), at_ms=at_ms)

    def attend(self, stays: Iterable[Stay]) -> None:
        """Run the clock over time that others measured; disjoint, in order, until it is spent."""
        for stay in stays:
            if self.is_spent(stay.from_ms):
                return
            self.resume(stay.connection_id, at_ms=stay.from_ms)
            self.pause(stay.connection_id, at_ms=stay.to_ms)

    def speak(self, used_characters: int, *, at_ms: int) -> None:
        """Note the characters spoken so far, in all; smaller or equal totals change nothing."""
        used = min(used_characters, self.quantity)
        if self.is_open and used > self.used:
            self._characters_spoken(used_characters=used, at_ms=at_ms)

    def extend(
        self, *, quantity: int, expires_at_ms: int, request_id: str, at_ms: int
    ) -> Microcredits:
        """Buy more of the same; return what must be reserved on top, nothing if asked before.

        Reserved is the price of all that was bought, so that two halves cost what the whole does.
        """
        self.check_open(at_ms)
        if request_id in self.extensions:
            if self.extensions[request_id] != quantity:
                raise ConflictingRequestError(what="this Idempotency-Key")
            return NOTHING
        more = self.tariff.price(self.quantity + quantity) - self.reserved
        self._extended(
            quantity=quantity,
            reserved=more,
            expires_at_ms=expires_at_ms,
            request_id=request_id,
            at_ms=at_ms,
        )
        return more

    def close(self, reason: str, *, at_ms: int) -> Microcredits:
        """Settle once: charge what was used, refund the rest; return the charge."""
        if not self.is_open:
            return self.charged
        if self.is_running:
            self._clock_paused(used_ms=self.used_at(at_ms), at_ms=at_ms)
        charged = self.tariff.price(self.used)
        self._closed(
            reason=reason,
            used=self.used,
            charged=charged,
            refunded=self.reserved - charged,
            at_ms=at_ms,
        )
        return charged

    def check_same(self, request_hash: str) -> None:
        """Refuse another request under the key that opened this session."""
        if request_hash != self.request_hash:
            raise ConflictingRequestError(what="this Idempotency-Key")

    @event(ClockResumed)
    def _clock_resumed(self, connection_id: UUID, at_ms: int) -> None:
        self.connection_id = connection_id
        self.running_since_ms = at_ms
        self.observed_at_ms = at_ms
        if self.started_at_ms is None:
            self.started_at_ms = at_ms

    @event(ClockObserved)
    def _clock_observed(self, at_ms: int) -> None:
        self.observed_at_ms = at_ms

    @event(ClockPaused)
    def _clock_paused(self, used_ms: int, at_ms: int) -> None:
        self.used = used_ms
        self.observed_at_ms = max(self.observed_at_ms, at_ms)
        self.running_since_ms = None
        self.connection_id = None

    @event(CharactersSpoken)
    def _characters_spoken(self, used_characters: int, at_ms: int) -> None:
        self.used = used_characters
        if self.started_at_ms is None:
            self.started_at_ms = at_ms

    @event(Extended)
    def _extended(
        self,
        quantity: int,
        reserved: Microcredits,
        expires_at_ms: int,
        request_id: str,
        at_ms: int,
    ) -> None:
        self.quantity += quantity
        self.reserved += reserved
        self.expires_at_ms = expires_at_ms
        if request_id:
            self.extensions[request_id] = quantity

    @event(Closed)
    def _closed(
        self, reason: str, used: int, charged: Microcredits, refunded: Microcredits, at_ms: int
    ) -> None:
        self.reason = reason
        self.closed_at_ms = at_ms
        self.charged = charged
        self.refunded = refunded
