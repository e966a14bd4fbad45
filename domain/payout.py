"""Credits on their way back to the payer's chain, from the request to the transfer or its end."""

from __future__ import annotations

from uuid import UUID, uuid5

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, derive_id, instant
from domain.errors import ConflictingRequestError
from domain.money import NOTHING, Microcredits

DAY_MS = 24 * 60 * 60_000


class Payout(LedgerAggregate):
    """requested -> prepared -> submitted -> paid or failed, or uncertain until looked up.

    Its id derives from its account and the caller's key, so the same request finds itself. What is
    signed for it is written down before it is sent, once: nothing else is ever sent for it.
    """

    TOPIC = "payout"

    class Event(LedgerEvent): ...

    class Requested(Event, AggregateCreated):
        TOPIC = "payout.requested"
        account_id: UUID
        rail: str
        chain: str
        wallet: str
        amount: Microcredits
        fee: Microcredits
        who: str
        why: str

    class Prepared(Event):
        TOPIC = "payout.prepared"
        proof_key: str
        network: str
        payer: str
        expires_at_ms: int
        payload: str

    class Submitted(Event):
        TOPIC = "payout.submitted"

    class BecameUncertain(Event):
        TOPIC = "payout.became_uncertain"
        reference: str

    class Paid(Event):
        TOPIC = "payout.paid"
        reference: str

    class Failed(Event):
        TOPIC = "payout.failed"
        reason: str

    @staticmethod
    def create_id(account_id: UUID, key: str) -> UUID:
        return uuid5(account_id, f"payout:{key}")

    @classmethod
    def request(
        cls,
        *,
        payout_id: UUID,
        account_id: UUID,
        rail: str,
        chain: str,
        wallet: str,
        amount: Microcredits,
        fee: Microcredits,
        who: str,
        why: str,
        at_ms: int,
    ) -> Payout:
        """Note that `amount`, less `fee`, is to be paid; saved with the account it is taken from.

        `who` and `why` are an operator's, empty where the wallet itself asks.
        """
        return cls._create(
            cls.Requested,
            id=payout_id,
            account_id=account_id,
            rail=rail,
            chain=chain,
            wallet=wallet,
            amount=amount,
            fee=fee,
            who=who,
            why=why,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(
        self,
        account_id: UUID,
        rail: str,
        chain: str,
        wallet: str,
        amount: Microcredits,
        fee: Microcredits,
        who: str,
        why: str,
        at_ms: int,
    ) -> None:
        self.account_id = account_id
        self.rail = rail
        self.chain = chain
        self.wallet = wallet
        self.amount = amount
        self.fee = fee
        self.state = "requested"
        self.proof_key = ""
        self.network = ""
        self.payer = ""
        self.expires_at_ms = 0
        self.payload = ""
        self.reference = ""
        self.reason = ""
        self.requested_at_ms = at_ms
        self.changed_at_ms = at_ms

    @property
    def net(self) -> Microcredits:
        """What the wallet gets on its chain."""
        return self.amount - self.fee

    @property
    def is_over(self) -> bool:
        """Whether no chain can change the outcome any more."""
        return self.state in ("paid", "failed")

    def check_same(self, *, rail: str, amount: Microcredits, fee: Microcredits) -> None:
        """Refuse the same key for another refund; no `rail` is whichever it was."""
        if (rail or self.rail, amount, fee) != (self.rail, self.amount, self.fee):
            raise ConflictingRequestError(what="this key of a refund")

    def prepare(
        self,
        *,
        proof_key: str,
        network: str,
        payer: str,
        expires_at_ms: int,
        payload: str,
        at_ms: int,
    ) -> None:
        """Keep what was signed, before it is sent; whatever is signed later is not used."""
        if self.state == "requested":
            self._prepared(
                proof_key=proof_key,
                network=network,
                payer=payer,
                expires_at_ms=expires_at_ms,
                payload=payload,
                at_ms=at_ms,
            )

    def submit(self, *, at_ms: int) -> None:
        """Note that it is sent now; from here only the chain knows."""
        if self.state == "prepared":
            self._submitted(at_ms=at_ms)

    def doubt(self, reference: str, *, at_ms: int) -> None:
        if self.state in ("prepared", "submitted"):
            self._became_uncertain(reference=reference, at_ms=at_ms)

    def pay(self, reference: str, *, at_ms: int) -> bool:
        """Note that the chain has it; False if that was known. Saved with the account."""
        if self.is_over:
            return False
        assert self.payload, "nothing is sent that was not prepared"  # noqa: S101 (states what cannot be otherwise)
        self._paid(reference=reference, at_ms=at_ms)
        return True

    def fail(self, reason: str, *, at_ms: int) -> bool:
        """Note that nothing moved and nothing can; False if it is over. Saved with the account."""
        if self.is_over:
            return False
        self._failed(reason=reason, at_ms=at_ms)
        return True

    @event(Prepared)
    def _prepared(
        self, proof_key: str, network: str, payer: str, expires_at_ms: int, payload: str, at_ms: int
    ) -> None:
        self.proof_key = proof_key
        self.network = network
        self.payer = payer
        self.expires_at_ms = expires_at_ms
        self.payload = payload
        self._move("prepared", at_ms)

    @event(Submitted)
    def _submitted(self, at_ms: int) -> None:
        self._move("submitted", at_ms)

    @event(BecameUncertain)
    def _became_uncertain(self, reference: str, at_ms: int) -> None:
        self.reference = reference
        self._move("uncertain", at_ms)

    @event(Paid)
    def _paid(self, reference: str, at_ms: int) -> None:
        self.reference = reference
        self._move("paid", at_ms)

    @event(Failed)
    def _failed(self, reason: str, at_ms: int) -> None:
        self.reason = reason
        self._move("failed", at_ms)

    def _move(self, state: str, at_ms: int) -> None:
        self.state = state
        self.changed_at_ms = at_ms


class PayoutDay(LedgerAggregate):
    """What was asked to be paid out on one day of UTC, over all wallets; what failed is not in."""

    TOPIC = "payout_day"

    class Event(LedgerEvent): ...

    class Opened(Event, AggregateCreated):
        TOPIC = "payout_day.opened"
        day_ms: int

    class AmountCounted(Event):
        TOPIC = "payout_day.amount_counted"
        payout_id: UUID
        amount: Microcredits

    class AmountReturned(Event):
        TOPIC = "payout_day.amount_returned"
        payout_id: UUID
        amount: Microcredits

    @staticmethod
    def create_id(at_ms: int) -> UUID:
        """The id of the day that this time is in."""
        return derive_id("payout_day", str(at_ms - at_ms % DAY_MS))

    @classmethod
    def open(cls, *, at_ms: int) -> PayoutDay:
        return cls._create(
            cls.Opened, day_ms=at_ms - at_ms % DAY_MS, at_ms=at_ms, timestamp=instant(at_ms)
        )

    def __init__(self, day_ms: int, at_ms: int) -> None:
        self.day_ms = day_ms
        self.counted = NOTHING

    def left_of(self, most: Microcredits) -> Microcredits:
        """What may be paid out on this day yet, of so much in all."""
        return most - self.counted if self.counted < most else NOTHING

    def count(self, amount: Microcredits, *, payout_id: UUID, at_ms: int) -> None:
        self._amount_counted(payout_id=payout_id, amount=amount, at_ms=at_ms)

    def give_back(self, amount: Microcredits, *, payout_id: UUID, at_ms: int) -> None:
        self._amount_returned(payout_id=payout_id, amount=amount, at_ms=at_ms)

    @event(AmountCounted)
    def _amount_counted(self, payout_id: UUID, amount: Microcredits, at_ms: int) -> None:
        self.counted += amount

    @event(AmountReturned)
    def _amount_returned(self, payout_id: UUID, amount: Microcredits, at_ms: int) -> None:
        self.counted -= amount
