"""How money becomes credit: exactly once, whatever fails on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from domain.account import Account
from domain.errors import (
    ConflictingRequestError,
    MalformedError,
    PaymentRefusedError,
    PaymentUncertainError,
    RailDownError,
)
from domain.gateway import Gateway
from domain.ledger import Work
from domain.money import Microcredits
from domain.payment import Payment
from domain.ports.payments import Absent, PaymentRail, Proof, Purchase, Rejected, Settled, Uncertain
from domain.ports.private import SessionDetails
from domain.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Credited:
    """The answer to a purchase, the same for every repeat of its proof.

    `payer` on `chain` has the credit; `position` is where that stands in the log, `payload` the
    payment as it was claimed.
    """

    account_id: UUID
    chain: str
    payer: str
    amount: Microcredits
    reference: str
    at_ms: int
    payload: str
    # A repeat of the command does not know it: what it would write stands there already.
    position: int | None = field(default=None, compare=False)

    def placed(self, records: Sequence[Record]) -> Credited:
        """The answer, with the place of its credit if that is among these."""
        places = (r.position for r in records if r.topic == Payment.Credited.TOPIC)
        return replace(self, position=next(places, self.position))


class Purchases:
    """Takes payments; copies of one proof in this process wait for one another.

    Waiting saves gas and confusion. What keeps credit single is the payment's id in the ledger.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._running: set[asyncio.Task[Credited]] = set()

    async def take(
        self,
        rail: PaymentRail,
        proof: Proof,
        purchase: Purchase,
        *,
        purpose: str = "",
        caller: str = "",
    ) -> Credited:
        """Settle this proof and credit its payer; repeat as often as you like.

        A caller who goes away does not stop it: money may be moving. `purpose` says what the credit
        is for; a proof serves one purpose, so that nobody takes another's for something else. Where
        the answer is worth something, `caller` is who alone gets it again.
        """
        is_theirs = purchase.wallet is None or (
            (proof.chain, proof.payer) == (purchase.chain, purchase.wallet)
        )
        # What has moved is credited to whoever paid: a refusal would keep it.
        if not is_theirs and not proof.paid:
            raise MalformedError(
                where="wallet_address",
                expected=f"the wallet that signed the payment ({proof.chain} {proof.payer})",
                got=f"{purchase.chain} {purchase.wallet}",
            )
        task = asyncio.create_task(self._found(rail, proof, purchase, purpose, caller))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def is_credited(self, rail: PaymentRail, proof: Proof, *, purpose: str) -> bool:
        """Whether this proof was taken before, so that its repeat only wants the answer again."""
        payment_id = Payment.create_id(rail.name, proof.key)
        known = await self._gateway.books.run(
            partial(_known, payment_id=payment_id, proof=proof, purpose=purpose)
        )
        return known is not None and known.is_credited

    async def drain(self) -> None:
        """Wait for the payments under way; for shutdown."""
        if self._running:
            await asyncio.wait(set(self._running))

    async def _found(
        self, rail: PaymentRail, proof: Proof, purchase: Purchase, purpose: str, caller: str
    ) -> Credited:
        payment_id = Payment.create_id(rail.name, proof.key)
        async with self._gateway.turnstile.alone(payment_id):
            credited = await self._take(rail, proof, purchase, purpose, caller)
        if credited.position is None:
            credited = credited.placed(await self._gateway.books.history([payment_id]))
        return credited

    async def _take(
        self, rail: PaymentRail, proof: Proof, purchase: Purchase, purpose: str, caller: str
    ) -> Credited:
        payment_id = Payment.create_id(rail.name, proof.key)
        known = await self._gateway.books.run(
            partial(_known, payment_id=payment_id, proof=proof, purpose=purpose)
        )
        if known is not None and caller:
            await self._check_caller(payment_id, caller)
        if known is not None and known.is_credited:
            return _answer(known)
        if known is not None and known.final:
            raise PaymentRefusedError(rail=rail.name, reason=known.reason)
        if known is not None and not proof.paid:
            # Nobody has looked at what was presented now: a stranger's copy of a payment under way
            # may name another end of its time, and be taken for the proof that it never landed.
            proof = proof_of(known)
        if known is not None and known.state in ("submitted", "uncertain"):
            return await finish_payment(self._gateway, rail, payment_id, proof)
        if known is not None:
            # Refused for now; where it landed after all, another refusal would ask for it twice.
            found = await rail.lookup(proof)
            if isinstance(found, Settled):
                return await _record(self._gateway, rail, payment_id, proof, found)
        await rail.verify(proof, purchase)
        if known is None and caller:
            # Before the claim, since from then on everybody can read the proof in the log.
            note = SessionDetails(server_url="", metadata=caller)
            await self._gateway.details.put({payment_id: note})
        now_ms = self._gateway.clock.now_ms()
        await self._gateway.books.run(
            partial(_claim, rail=rail.name, proof=proof, purpose=purpose, at_ms=now_ms)
        )
        outcome = await rail.settle(proof)
        return await _record(self._gateway, rail, payment_id, proof, outcome)

    async def _check_caller(self, payment_id: UUID, caller: str) -> None:
        found = (await self._gateway.details.find([payment_id])).get(payment_id)
        if found is not None and found.metadata != caller:
            raise ConflictingRequestError(what="this payment proof")


async def finish_payment(
    gateway: Gateway, rail: PaymentRail, payment_id: UUID, proof: Proof
) -> Credited:
    """Decide a payment whose settlement was begun and whose outcome was not seen."""
    found = await rail.lookup(proof)
    if isinstance(found, Absent):
        # Still acceptable to the chain: settling again is safe and may be what was never done.
        found_or_settled = (
            Rejected("it was never settled and has expired")
            if found.final
            else await rail.settle(proof)
        )
        return await _record(gateway, rail, payment_id, proof, found_or_settled)
    return await _record(gateway, rail, payment_id, proof, found)


async def _record(
    gateway: Gateway,
    rail: PaymentRail,
    payment_id: UUID,
    proof: Proof,
    outcome: Settled | Rejected | Uncertain,
) -> Credited:
    match outcome:
        case Settled(reference=reference):
            now_ms = gateway.clock.now_ms()
            return await gateway.books.run(
                partial(credit, payment_id=payment_id, reference=reference, at_ms=now_ms)
            )
        case Rejected(reason=reason):
            standing = await rail.lookup(proof)
            if isinstance(standing, Settled):
                return await _record(gateway, rail, payment_id, proof, standing)
            final = isinstance(standing, Absent) and standing.final
            now_ms = gateway.clock.now_ms()
            rejected = await gateway.books.run(
                partial(reject, payment_id=payment_id, reason=reason, final=final, at_ms=now_ms)
            )
            if rejected.is_credited:
                # Another process saw it land.
                return _answer(rejected)
            raise PaymentRefusedError(rail=rail.name, reason=reason)
        case Uncertain(reference=reference):
            now_ms = gateway.clock.now_ms()
            await gateway.books.run(
                partial(_doubt, payment_id=payment_id, reference=reference, at_ms=now_ms)
            )
            raise PaymentUncertainError(rail=rail.name, reference=reference)


def credit(work: Work, *, payment_id: UUID, reference: str, at_ms: int) -> Credited:
    """Credit a settled payment to its payer; one transaction, and a repeat changes nothing."""
    payment = work.payment(payment_id)
    if not payment.is_credited:
        account_id = Account.create_id(payment.chain, payment.payer)
        account = work.find(Account, account_id)
        if account is None:
            account = Account.open(chain=payment.chain, wallet=payment.payer, at_ms=at_ms)
            work.add(account)
        account.purchase(payment.amount, payment_id=payment.id, rail=payment.rail, at_ms=at_ms)
        payment.credit(reference=reference, account_id=account_id, at_ms=at_ms)
    return _answer(payment)


def reject(work: Work, *, payment_id: UUID, reason: str, final: bool, at_ms: int) -> Payment:
    """Note that nothing moved; `final` where no chain will take the proof any more.

    A payment that was credited meanwhile stays so.
    """
    payment = work.payment(payment_id)
    payment.reject(reason, final=final, at_ms=at_ms)
    return payment


def _doubt(work: Work, *, payment_id: UUID, reference: str, at_ms: int) -> None:
    work.payment(payment_id).doubt(reference, at_ms=at_ms)


def proof_of(payment: Payment) -> Proof:
    """The proof as it was claimed, for a rail to look up again."""
    return Proof(
        key=payment.proof_key,
        network=payment.network,
        chain=payment.chain,
        payer=payment.payer,
        amount=payment.amount,
        expires_at_ms=payment.expires_at_ms,
        payload=payment.payload,
    )


def rail_named(gateway: Gateway, name: str) -> PaymentRail:
    for rail in gateway.rails:
        if rail.name == name:
            return rail
    raise RailDownError(rail=name)


def _known(work: Work, *, payment_id: UUID, proof: Proof, purpose: str) -> Payment | None:
    payment = work.find(Payment, payment_id)
    if payment is not None:
        payment.check_same(payer=proof.payer, amount=proof.amount, purpose=purpose)
    return payment


def _claim(work: Work, *, rail: str, proof: Proof, at_ms: int, purpose: str = "") -> None:
    payment_id = Payment.create_id(rail, proof.key)
    payment = work.find(Payment, payment_id)
    if payment is None:
        payment = Payment.claim(
            rail=rail,
            proof_key=proof.key,
            network=proof.network,
            chain=proof.chain,
            payer=proof.payer,
            amount=proof.amount,
            expires_at_ms=proof.expires_at_ms,
            payload=proof.payload,
            at_ms=at_ms,
        )
        payment.dedicate(purpose, at_ms=at_ms)
        work.add(payment)
    # Another process may have claimed it meanwhile, and for something else.
    payment.check_same(payer=proof.payer, amount=proof.amount, purpose=purpose)
    payment.reclaim(at_ms=at_ms)
    payment.submit(at_ms=at_ms)


def _answer(payment: Payment) -> Credited:
    return Credited(
        account_id=Account.create_id(payment.chain, payment.payer),
        chain=payment.chain,
        payer=payment.payer,
        amount=payment.amount,
        reference=payment.reference,
        at_ms=payment.changed_at_ms,
        payload=payment.payload,
    )
