"""One on-chain transfer to us, from its claim to its credit."""

from __future__ import annotations

from uuid import UUID

from eventsourcing.domain import AggregateCreated, event

from domain.aggregate import LedgerAggregate, LedgerEvent, derive_id, instant
from domain.errors import ConflictingRequestError
from domain.money import Microcredits


class Payment(LedgerAggregate):
    """claimed -> submitted -> settled -> credited, or rejected, or uncertain until looked up.

    Its id derives from its proof, so the same proof finds itself, and is credited once.
    """

    TOPIC = "payment"
    # 2: remembers what it was for.
    class_version = 2

    class Event(LedgerEvent): ...

    class Claimed(Event, AggregateCreated):
        TOPIC = "payment.claimed"
        rail: str
        proof_key: str
        network: str
        chain: str
        payer: str
        amount: Microcredits
        expires_at_ms: int
        payload: str

    class Dedicated(Event):
        TOPIC = "payment.dedicated"
        purpose: str

    class Reclaimed(Event):
        TOPIC = "payment.reclaimed"

    class Submitted(Event):
        TOPIC = "payment.submitted"

    class BecameUncertain(Event):
        TOPIC = "payment.became_uncertain"
        reference: str

    class Settled(Event):
        TOPIC = "payment.settled"
        reference: str
        amount: Microcredits

    class Credited(Event):
        TOPIC = "payment.credited"
        account_id: UUID

    class Rejected(Event):
        TOPIC = "payment.rejected"
        reason: str
        final: bool

    @staticmethod
    def create_id(rail: str, proof_key: str) -> UUID:
        return derive_id("payment", f"{rail}:{proof_key}")

    @classmethod
    def claim(
        cls,
        *,
        rail: str,
        proof_key: str,
        network: str,
        chain: str,
        payer: str,
        amount: Microcredits,
        expires_at_ms: int,
        payload: str,
        at_ms: int,
    ) -> Payment:
        """Write down that this proof is being worked on, before anything irreversible."""
        return cls._create(
            cls.Claimed,
            rail=rail,
            proof_key=proof_key,
            network=network,
            chain=chain,
            payer=payer,
            amount=amount,
            expires_at_ms=expires_at_ms,
            payload=payload,
            at_ms=at_ms,
            timestamp=instant(at_ms),
        )

    def __init__(
        self,
        rail: str,
        proof_key: str,
        network: str,
        chain: str,
        payer: str,
        amount: Microcredits,
        expires_at_ms: int,
        payload: str,
        at_ms: int,
    ) -> None:
        self.rail = rail
        self.proof_key = proof_key
        self.network = network
        self.chain = chain
        self.payer = payer
        self.amount = amount
        self.expires_at_ms = expires_at_ms
        self.payload = payload
        self.purpose = ""
        self.state = "claimed"
        self.reason = ""
        self.reference = ""
        self.final = False
        self.changed_at_ms = at_ms

    @property
    def is_credited(self) -> bool:
        return self.state == "credited"

    @property
    def is_over(self) -> bool:
        """Whether no chain can change the outcome any more."""
        return self.is_credited or self.final

    def check_same(self, *, payer: str, amount: Microcredits, purpose: str = "") -> None:
        """Refuse the same proof under other terms, or for something else than it was made for.

        Proofs are public once they have landed: who copies one must find nothing to do with it.
        """
        if (payer, amount, purpose) != (self.payer, self.amount, self.purpose):
            raise ConflictingRequestError(what="this payment proof")

    def dedicate(self, purpose: str, *, at_ms: int) -> None:
        """Note what it is for, where that is more than credit; saved with the claim."""
        if purpose != self.purpose:
            self._dedicated(purpose=purpose, at_ms=at_ms)

    def reclaim(self, *, at_ms: int) -> None:
        """Try again with a proof that was rejected while the chain still accepts it."""
        if self.state == "rejected" and not self.final:
            self._reclaimed(at_ms=at_ms)

    def submit(self, *, at_ms: int) -> None:
        """Note that settlement starts now; from here only the chain knows."""
        if self.state == "claimed":
            self._submitted(at_ms=at_ms)

    def doubt(self, reference: str, *, at_ms: int) -> None:
        if self.state in ("claimed", "submitted"):
            self._became_uncertain(reference=reference, at_ms=at_ms)

    def credit(self, *, reference: str, account_id: UUID, at_ms: int) -> None:
        """Record that the money is ours and whose credit it became; saved with the account."""
        assert not self.is_credited, "the use case looks before it credits"  # noqa: S101 (states what cannot be otherwise)
        self._settled(reference=reference, amount=self.amount, at_ms=at_ms)
        self._credited(account_id=account_id, at_ms=at_ms)

    def reject(self, reason: str, *, final: bool, at_ms: int) -> None:
        if not self.is_over and (self.state != "rejected" or final):
            self._rejected(reason=reason, final=final, at_ms=at_ms)

    @event(Dedicated)
    def _dedicated(self, purpose: str, at_ms: int) -> None:
        self.purpose = purpose
        self.changed_at_ms = at_ms

    @event(Reclaimed)
    def _reclaimed(self, at_ms: int) -> None:
        self._move("claimed", at_ms)

    @event(Submitted)
    def _submitted(self, at_ms: int) -> None:
        self._move("submitted", at_ms)

    @event(BecameUncertain)
    def _became_uncertain(self, reference: str, at_ms: int) -> None:
        self.reference = reference
        self._move("uncertain", at_ms)

    @event(Settled)
    def _settled(self, reference: str, amount: Microcredits, at_ms: int) -> None:
        self.reference = reference
        self._move("settled", at_ms)

    @event(Credited)
    def _credited(self, account_id: UUID, at_ms: int) -> None:
        self.account_id = account_id
        self._move("credited", at_ms)

    @event(Rejected)
    def _rejected(self, reason: str, final: bool, at_ms: int) -> None:  # noqa: FBT001 (an event's field)
        self.reason = reason
        self.final = final
        self._move("rejected", at_ms)

    def _move(self, state: str, at_ms: int) -> None:
        self.state = state
        self.changed_at_ms = at_ms
