"""The credits of one wallet."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, derive_id, instant
from domain.errors import (
    ConcurrencyLimitError,
    ConflictingRequestError,
    InsufficientCreditsError,
)
from domain.money import NOTHING, Microcredits
from domain.postings import (
    Postings,
    correct_postings,
    following,
    payout_postings,
    purchase_postings,
    reserve_postings,
    return_postings,
    settle_postings,
    withdraw_postings,
)


class Account(LedgerAggregate):
    """Credits of one wallet, split into what is free and what is reserved; neither is negative."""

    TOPIC = "account"
    # 2: remembers over which rails it bought, and what is being paid out.
    class_version = 2

    class Event(LedgerEvent): ...

    class Opened(Event, AggregateCreated):
        TOPIC = "account.opened"
        chain: str
        wallet: str

    class CreditsPurchased(Event):
        TOPIC = "account.credits_purchased"
        class_version = 2
        ADDED_IN_V2 = ("postings",)
        payment_id: UUID
        rail: str
        amount: Microcredits
        postings: Postings

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            _say_postings("account.credits_purchased", state)

    class CreditsReserved(Event):
        TOPIC = "account.credits_reserved"
        class_version = 2
        ADDED_IN_V2 = ("postings",)
        session_id: UUID
        service: str
        unit_id: UUID
        amount: Microcredits
        postings: Postings

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            _say_postings("account.credits_reserved", state)

    class ReservationSettled(Event):
        TOPIC = "account.reservation_settled"
        class_version = 2
        ADDED_IN_V2 = ("postings",)
        session_id: UUID
        service: str
        charged: Microcredits
        refunded: Microcredits
        postings: Postings

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            _say_postings("account.reservation_settled", state)

    class CreditsCorrected(Event):
        TOPIC = "account.credits_corrected"
        class_version = 2
        ADDED_IN_V2 = ("postings",)
        correction_id: UUID
        added: Microcredits
        removed: Microcredits
        who: str
        why: str
        corrects_position: int
        postings: Postings

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            _say_postings("account.credits_corrected", state)

    class CreditsWithdrawn(Event):
        TOPIC = "account.credits_withdrawn"
        payout_id: UUID
        rail: str
        amount: Microcredits
        postings: Postings

    class PayoutPaid(Event):
        TOPIC = "account.payout_paid"
        payout_id: UUID
        rail: str
        paid: Microcredits
        fee: Microcredits
        reference: str
        postings: Postings

    class PayoutReturned(Event):
        TOPIC = "account.payout_returned"
        payout_id: UUID
        rail: str
        amount: Microcredits
        postings: Postings

    @staticmethod
    def create_id(chain: str, wallet: str) -> UUID:
        return derive_id("account", f"{chain}:{wallet}")

    @classmethod
    def open(cls, *, chain: str, wallet: str, at_ms: int) -> Account:
        return cls._create(
            cls.Opened, chain=chain, wallet=wallet, at_ms=at_ms, timestamp=instant(at_ms)
        )

    def __init__(self, chain: str, wallet: str, at_ms: int) -> None:
        self.chain = chain
        self.wallet = wallet
        self.opened_at_ms = at_ms
        self.available = NOTHING
        self.reserved: dict[UUID, Microcredits] = {}
        # A bundle's sessions share one unit, so that a bundle counts once against the limit.
        self.units: dict[UUID, UUID] = {}
        self.corrections: dict[UUID, tuple[Microcredits, Microcredits, int]] = {}
        # By rail: what was bought over it, less what was or is being paid back over it.
        self.bought: dict[str, Microcredits] = {}
        self.payouts: dict[UUID, Microcredits] = {}

    @property
    def balance(self) -> Microcredits:
        """Everything the wallet has here: available plus reserved."""
        return Microcredits(self.available.value + sum(r.value for r in self.reserved.values()))

    @property
    def units_open(self) -> int:
        return len(set(self.units.values()))

    def purchase(self, amount: Microcredits, *, payment_id: UUID, rail: str, at_ms: int) -> None:
        """Add bought credits; the payment's own id keeps this from happening twice."""
        self._credits_purchased(
            payment_id=payment_id,
            rail=rail,
            amount=amount,
            postings=purchase_postings(self.id, rail=rail, amount=amount.value),
            at_ms=at_ms,
        )

    def check_room(self, units_max: int) -> None:
        """Refuse one more session or bundle when `units_max` are open."""
        if self.units_open >= units_max:
            raise ConcurrencyLimitError(limit=units_max)

    def reserve(
        self, amount: Microcredits, *, session_id: UUID, service: str, unit_id: UUID, at_ms: int
    ) -> None:
        """Set `amount` aside for a session, on top of what it has, or refuse."""
        if amount > self.available:
            raise InsufficientCreditsError(needed=amount, available=self.available)
        self._credits_reserved(
            session_id=session_id,
            service=service,
            unit_id=unit_id,
            amount=amount,
            postings=reserve_postings(self.id, amount=amount.value),
            at_ms=at_ms,
        )

    def settle(
        self, *, session_id: UUID, service: str, charged: Microcredits, at_ms: int
    ) -> Microcredits:
        """Charge what was used of a reservation, give the rest back; return the rest."""
        held = self.reserved[session_id]
        assert charged <= held, "a session never charges more than its reservation"  # noqa: S101 (states what cannot be otherwise)
        refunded = held - charged
        self._reservation_settled(
            session_id=session_id,
            service=service,
            charged=charged,
            refunded=refunded,
            postings=settle_postings(
                self.id, service=service, charged=charged.value, refunded=refunded.value
            ),
            at_ms=at_ms,
        )
        return refunded

    def correct(
        self,
        *,
        correction_id: UUID,
        added: Microcredits,
        removed: Microcredits,
        who: str,
        why: str,
        corrects_position: int,
        at_ms: int,
    ) -> bool:
        """Put right what an earlier event got wrong; False if this correction was made before.

        One of `added` and `removed` is zero. What is reserved cannot be removed.
        """
        content = (added, removed, corrects_position)
        if correction_id in self.corrections:
            if self.corrections[correction_id] != content:
                raise ConflictingRequestError(what="this correction id")
            return False
        if removed > self.available:
            raise InsufficientCreditsError(needed=removed, available=self.available)
        self._credits_corrected(
            correction_id=correction_id,
            added=added,
            removed=removed,
            who=who,
            why=why,
            corrects_position=corrects_position,
            postings=correct_postings(self.id, added=added.value, removed=removed.value),
            at_ms=at_ms,
        )
        return True

    def withdraw(self, amount: Microcredits, *, payout_id: UUID, rail: str, at_ms: int) -> None:
        """Take credit for a payout over a rail it was bought by; the payout's id keeps it single.

        The use case has looked: no more than is available, and than was bought over the rail.
        """
        assert amount <= self.payable(rail), "a payout is of what may be paid out"  # noqa: S101 (states what cannot be otherwise)
        self._credits_withdrawn(
            payout_id=payout_id,
            rail=rail,
            amount=amount,
            postings=withdraw_postings(self.id, amount=amount.value),
            at_ms=at_ms,
        )

    def payable(self, rail: str) -> Microcredits:
        """The most that may be paid out over this rail now."""
        return min(self.available, self.bought.get(rail, NOTHING))

    def pay_out(
        self, *, payout_id: UUID, rail: str, fee: Microcredits, reference: str, at_ms: int
    ) -> None:
        """Note that what was taken for this payout is on its chain, less our fee."""
        paid = self.payouts[payout_id] - fee
        self._payout_paid(
            payout_id=payout_id,
            rail=rail,
            paid=paid,
            fee=fee,
            reference=reference,
            postings=payout_postings(rail=rail, paid=paid.value, fee=fee.value),
            at_ms=at_ms,
        )

    def take_back(self, *, payout_id: UUID, rail: str, at_ms: int) -> None:
        """Give the wallet back what was taken for a payout that can no longer happen."""
        amount = self.payouts[payout_id]
        self._payout_returned(
            payout_id=payout_id,
            rail=rail,
            amount=amount,
            postings=return_postings(self.id, amount=amount.value),
            at_ms=at_ms,
        )

    @event(CreditsPurchased)
    def _credits_purchased(
        self, payment_id: UUID, rail: str, amount: Microcredits, postings: Postings, at_ms: int
    ) -> None:
        self.available += amount
        self.bought[rail] = self.bought.get(rail, NOTHING) + amount

    @event(CreditsReserved)
    def _credits_reserved(
        self,
        session_id: UUID,
        service: str,
        unit_id: UUID,
        amount: Microcredits,
        postings: Postings,
        at_ms: int,
    ) -> None:
        self.available -= amount
        self.reserved[session_id] = self.reserved.get(session_id, NOTHING) + amount
        self.units[session_id] = unit_id

    @event(ReservationSettled)
    def _reservation_settled(
        self,
        session_id: UUID,
        service: str,
        charged: Microcredits,
        refunded: Microcredits,
        postings: Postings,
        at_ms: int,
    ) -> None:
        del self.reserved[session_id]
        del self.units[session_id]
        self.available += refunded

    @event(CreditsCorrected)
    def _credits_corrected(
        self,
        correction_id: UUID,
        added: Microcredits,
        removed: Microcredits,
        who: str,
        why: str,
        corrects_position: int,
        postings: Postings,
        at_ms: int,
    ) -> None:
        self.corrections[correction_id] = (added, removed, corrects_position)
        self.available = self.available + added - removed

    @event(CreditsWithdrawn)
    def _credits_withdrawn(
        self, payout_id: UUID, rail: str, amount: Microcredits, postings: Postings, at_ms: int
    ) -> None:
        self.available -= amount
        self.bought[rail] -= amount
        self.payouts[payout_id] = amount

    @event(PayoutPaid)
    def _payout_paid(
        self,
        payout_id: UUID,
        rail: str,
        paid: Microcredits,
        fee: Microcredits,
        reference: str,
        postings: Postings,
        at_ms: int,
    ) -> None:
        del self.payouts[payout_id]

    @event(PayoutReturned)
    def _payout_returned(
        self, payout_id: UUID, rail: str, amount: Microcredits, postings: Postings, at_ms: int
    ) -> None:
        del self.payouts[payout_id]
        self.available += amount
        self.bought[rail] += amount


def _say_postings(topic: str, state: dict[str, Any]) -> None:
    """Fill in what events of version 1 left to be derived."""
    state["postings"] = following(topic, state["originator_id"], state)
