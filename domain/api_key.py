"""Keys for programs that cannot sign: they spend from a wallet's account, within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid5

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, instant
from domain.errors import KeyCapError, KeyScopeError, TooManyKeysError, UnauthenticatedError
from domain.money import MICROCREDITS_MAX, NOTHING, Microcredits

DAY_MS = 24 * 60 * 60_000
# As many keys as a wallet's ring holds; the oldest that works no more gives way to a new one.
KEYS_MAX = 100
# All the credit there can be, and all the time: what is not capped.
UNCAPPED = Microcredits(MICROCREDITS_MAX)
NEVER_MS = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyScope:
    """What a key may do: open these services, spend so much a UTC day and in all, until a time."""

    services: frozenset[str]
    day_max: Microcredits = UNCAPPED
    total_max: Microcredits = UNCAPPED
    expires_at_ms: int = NEVER_MS


class ApiKey(LedgerAggregate):
    """What is charged and what is reserved through a key never exceed its caps together.

    Of the secret only a hash is here. A session's reservation counts on the day it is made. What a
    session is charged comes first out of what its key reserved, earliest first; what is refunded
    goes back under both caps, under the day's where it was reserved on that day.
    """

    TOPIC = "api_key"

    class Event(LedgerEvent): ...

    class Issued(Event, AggregateCreated):
        TOPIC = "api_key.issued"
        account_id: UUID
        secret_hash: str
        services: str
        day_max: Microcredits
        total_max: Microcredits
        expires_at_ms: int
        request_hash: str

    class CreditsReserved(Event):
        TOPIC = "api_key.credits_reserved"
        session_id: UUID
        amount: Microcredits
        day: int

    class ReservationSettled(Event):
        TOPIC = "api_key.reservation_settled"
        session_id: UUID
        charged: Microcredits
        refunded: Microcredits
        refunded_of_day: Microcredits

    class Revoked(Event):
        TOPIC = "api_key.revoked"

    @classmethod
    def issue(
        cls,
        scope: KeyScope,
        *,
        key_id: UUID,
        account_id: UUID,
        secret_hash: str,
        request_hash: str,
        at_ms: int,
    ) -> ApiKey:
        return cls._create(
            cls.Issued,
            id=key_id,
            account_id=account_id,
            secret_hash=secret_hash,
            services=" ".join(sorted(scope.services)),
            day_max=scope.day_max,
            total_max=scope.total_max,
            expires_at_ms=scope.expires_at_ms,
            request_hash=request_hash,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(
        self,
        account_id: UUID,
        secret_hash: str,
        services: str,
        day_max: Microcredits,
        total_max: Microcredits,
        expires_at_ms: int,
        request_hash: str,
        at_ms: int,
    ) -> None:
        self.account_id = account_id
        self.secret_hash = secret_hash
        self.services = tuple(services.split(" "))
        self.day_max = day_max
        self.total_max = total_max
        self.expires_at_ms = expires_at_ms
        self.request_hash = request_hash
        self.issued_at_ms = at_ms
        self.revoked_at_ms: int | None = None
        # Charged or reserved: in all, and by reservations made on `day` (days since the epoch).
        self.spent = NOTHING
        self.day = at_ms // DAY_MS
        self.spent_of_day = NOTHING
        self.reserved: dict[UUID, Microcredits] = {}
        self.reserved_of_day: dict[UUID, Microcredits] = {}

    @property
    def is_revoked(self) -> bool:
        return self.revoked_at_ms is not None

    def works_at(self, at_ms: int) -> bool:
        return not self.is_revoked and at_ms < self.expires_at_ms

    def check_works(self, at_ms: int) -> None:
        """UnauthenticatedError for a key that was revoked or has expired."""
        if self.is_revoked:
            raise UnauthenticatedError("This API key was revoked")
        if at_ms >= self.expires_at_ms:
            raise UnauthenticatedError("This API key has expired")

    def spent_on_day_of(self, at_ms: int) -> Microcredits:
        """What counts under the day's cap then; a clock that went back stays on the later day."""
        return self.spent_of_day if at_ms // DAY_MS <= self.day else NOTHING

    def reserve(self, amount: Microcredits, *, session_id: UUID, service: str, at_ms: int) -> None:
        """Count a session's reservation, or refuse: a key that works no more, its scope, its caps.

        Days are UTC. To be called in the transaction that reserves the account's credits.
        """
        self.check_works(at_ms)
        if service not in self.services:
            raise KeyScopeError(service=service, services=" ".join(self.services))
        caps = (
            ("total", self.total_max - self.spent),
            ("day", self.day_max - self.spent_on_day_of(at_ms)),
        )
        for cap, left in caps:
            if amount > left:
                raise KeyCapError(cap=cap, needed=amount, left=left)
        if amount:
            day = max(self.day, at_ms // DAY_MS)
            self._credits_reserved(session_id=session_id, amount=amount, day=day, at_ms=at_ms)

    def settle(self, *, session_id: UUID, charged: Microcredits, at_ms: int) -> None:
        """Give back what a session was not charged of what this key reserved; once.

        `charged` is all that the session costs. What its wallet added counts as used last.
        """
        held = self.reserved.get(session_id)
        if held is None:
            return
        refunded = held - min(charged, held)
        self._reservation_settled(
            session_id=session_id,
            charged=held - refunded,
            refunded=refunded,
            refunded_of_day=min(refunded, self.reserved_of_day.get(session_id, NOTHING)),
            at_ms=at_ms,
        )

    def revoke(self, *, at_ms: int) -> None:
        """Nothing more is opened or extended with it; what is open goes on. Safe to repeat."""
        if not self.is_revoked:
            self._revoked(at_ms=at_ms)

    @event(CreditsReserved)
    def _credits_reserved(
        self, session_id: UUID, amount: Microcredits, day: int, at_ms: int
    ) -> None:
        if day != self.day:
            self.day = day
            self.spent_of_day = NOTHING
            self.reserved_of_day = {}
        self.spent += amount
        self.spent_of_day += amount
        self.reserved[session_id] = self.reserved.get(session_id, NOTHING) + amount
        today = self.reserved_of_day.get(session_id, NOTHING)
        self.reserved_of_day[session_id] = today + amount

    @event(ReservationSettled)
    def _reservation_settled(
        self,
        session_id: UUID,
        charged: Microcredits,
        refunded: Microcredits,
        refunded_of_day: Microcredits,
        at_ms: int,
    ) -> None:
        self.spent -= refunded
        self.spent_of_day -= refunded_of_day
        self.reserved.pop(session_id, None)
        self.reserved_of_day.pop(session_id, None)

    @event(Revoked)
    def _revoked(self, at_ms: int) -> None:
        self.revoked_at_ms = at_ms


class KeyRing(LedgerAggregate):
    """The ids of a wallet's keys, oldest first, at most `KEYS_MAX`."""

    TOPIC = "key_ring"

    class Event(LedgerEvent): ...

    class Opened(Event, AggregateCreated):
        TOPIC = "key_ring.opened"
        account_id: UUID

    class KeyAdded(Event):
        TOPIC = "key_ring.key_added"
        key_id: UUID
        dropped_id: UUID | None

    @staticmethod
    def create_id(account_id: UUID) -> UUID:
        return uuid5(account_id, "key_ring")

    @classmethod
    def open(cls, account_id: UUID, *, at_ms: int) -> KeyRing:
        return cls._create(cls.Opened, account_id=account_id, at_ms=at_ms, timestamp=instant(at_ms))

    def __init__(self, account_id: UUID, at_ms: int) -> None:
        self.account_id = account_id
        self.key_ids: tuple[UUID, ...] = ()

    @property
    def is_full(self) -> bool:
        return len(self.key_ids) >= KEYS_MAX

    def add(self, key_id: UUID, *, dead_id: UUID | None, at_ms: int) -> None:
        """Take a key in; `dead_id` gives way in a full ring, TooManyKeysError if there is none."""
        if self.is_full and dead_id is None:
            raise TooManyKeysError(limit=KEYS_MAX)
        self._key_added(key_id=key_id, dropped_id=dead_id if self.is_full else None, at_ms=at_ms)

    @event(KeyAdded)
    def _key_added(self, key_id: UUID, dropped_id: UUID | None, at_ms: int) -> None:
        self.key_ids = (*(i for i in self.key_ids if i != dropped_id), key_id)
