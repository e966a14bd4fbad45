"""The payment machine in reverse: sign, write down, send, look, until it is paid or never will."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain.errors import GatewayError, RailDownError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import Payout, PayoutDay
from domain.ports.payments import Absent, PayoutRail, Proof, Rejected, Settled, Uncertain
from domain.ports.payments import Payout as Order

# Nothing is signed while a rail is down; after this long the credit is given back.
SIGN_WAIT_MS = 60 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """How a refund stands. `net` goes to `wallet` on `chain`; `reference` is the transaction there.

    `state` is the payout's; `reason` says why it failed, and then nothing was paid.
    """

    payout_id: UUID
    account_id: UUID
    rail: str
    network: str
    chain: str
    wallet: str
    amount: Microcredits
    fee: Microcredits
    net: Microcredits
    state: str
    reference: str
    reason: str
    requested_at_ms: int
    changed_at_ms: int

    @property
    def is_over(self) -> bool:
        return self.state in ("paid", "failed")


def refund_of(payout: Payout) -> Refund:
    return Refund(
        payout_id=payout.id,
        account_id=payout.account_id,
        rail=payout.rail,
        network=payout.network,
        chain=payout.chain,
        wallet=payout.wallet,
        amount=payout.amount,
        fee=payout.fee,
        net=payout.net,
        state=payout.state,
        reference=payout.reference,
        reason=payout.reason,
        requested_at_ms=payout.requested_at_ms,
        changed_at_ms=payout.changed_at_ms,
    )


def payout_rail(gateway: Gateway, name: str) -> PayoutRail | None:
    return next((rail for rail in gateway.payouts if rail.name == name), None)


async def finish_payout(gateway: Gateway, payout_id: UUID) -> Refund:
    """Go on with a payout where it stands; safe to repeat, to interrupt, and to do twice at once.

    RailDownError where nothing can be signed or seen now. One proof at most is ever sent: the one
    in the ledger.
    """
    async with gateway.turnstile.alone(payout_id):
        payout = await gateway.books.run(partial(Work.payout, payout_id=payout_id))
        if payout.is_over:
            return refund_of(payout)
        rail = payout_rail(gateway, payout.rail)
        if rail is None:
            if payout.state != "requested":
                raise RailDownError(rail=payout.rail)
            return await _give_up(gateway, payout, "no wallet of ours pays back over this rail")
        if payout.state == "requested":
            payout = await _signed(gateway, rail, payout)
            if payout.is_over:
                return refund_of(payout)
        elif payout.state != "prepared":
            found = await rail.lookup(_proof_of(payout))
            if not isinstance(found, Absent) or found.final:
                return await _record(gateway, rail, payout, found)
        return await _sent(gateway, rail, payout)


async def _signed(gateway: Gateway, rail: PayoutRail, payout: Payout) -> Payout:
    """The payout with its proof: ours, or that of whoever wrote one down first."""
    order = Order(refund_id=payout.id, chain=payout.chain, wallet=payout.wallet, amount=payout.net)
    try:
        proof = await rail.prepare(order)
    except RailDownError:
        if gateway.clock.now_ms() < payout.requested_at_ms + SIGN_WAIT_MS:
            raise
        return await _given_up(gateway, payout, f"{rail.name} could not be reached for too long")
    except GatewayError as refusal:
        return await _given_up(gateway, payout, str(refusal))
    assert proof.amount == payout.net, "a rail signs what it was asked to"  # noqa: S101 (states what cannot be otherwise)
    return await gateway.books.run(
        partial(_prepare, payout_id=payout.id, proof=proof, at_ms=gateway.clock.now_ms())
    )


async def _sent(gateway: Gateway, rail: PayoutRail, payout: Payout) -> Refund:
    now_ms = gateway.clock.now_ms()
    payout = await gateway.books.run(partial(_submit, payout_id=payout.id, at_ms=now_ms))
    if payout.is_over:
        return refund_of(payout)
    proof = _proof_of(payout)
    outcome = await rail.settle(proof)
    if isinstance(outcome, Rejected):
        # Signed is signed: what was refused may land after all, until the chain says never.
        found = await rail.lookup(proof)
        if isinstance(found, Absent) and found.final:
            return await _give_up(gateway, payout, outcome.reason)
        outcome = Uncertain("") if isinstance(found, Absent) else found
    return await _record(gateway, rail, payout, outcome)


async def _record(
    gateway: Gateway, rail: PayoutRail, payout: Payout, found: Settled | Absent | Uncertain
) -> Refund:
    now_ms = gateway.clock.now_ms()
    match found:
        case Settled(reference=reference):
            command = partial(_pay, payout_id=payout.id, reference=reference, at_ms=now_ms)
        case Uncertain(reference=reference):
            command = partial(_doubt, payout_id=payout.id, reference=reference, at_ms=now_ms)
        case Absent():
            return await _give_up(gateway, payout, f"it expired on {rail.name} before it was paid")
    return await gateway.books.run(command)


async def _give_up(gateway: Gateway, payout: Payout, reason: str) -> Refund:
    return refund_of(await _given_up(gateway, payout, reason))


async def _given_up(gateway: Gateway, payout: Payout, reason: str) -> Payout:
    now_ms = gateway.clock.now_ms()
    return await gateway.books.run(
        partial(_fail, payout_id=payout.id, proof_key=payout.proof_key, reason=reason, at_ms=now_ms)
    )


def _prepare(work: Work, *, payout_id: UUID, proof: Proof, at_ms: int) -> Payout:
    payout = work.payout(payout_id)
    payout.prepare(
        proof_key=proof.key,
        network=proof.network,
        payer=proof.payer,
        expires_at_ms=proof.expires_at_ms,
        payload=proof.payload,
        at_ms=at_ms,
    )
    return payout


def _submit(work: Work, *, payout_id: UUID, at_ms: int) -> Payout:
    payout = work.payout(payout_id)
    payout.submit(at_ms=at_ms)
    return payout


def _doubt(work: Work, *, payout_id: UUID, reference: str, at_ms: int) -> Refund:
    payout = work.payout(payout_id)
    payout.doubt(reference, at_ms=at_ms)
    return refund_of(payout)


def _pay(work: Work, *, payout_id: UUID, reference: str, at_ms: int) -> Refund:
    """The money is on its chain; one transaction with the account, and a repeat changes nothing."""
    payout = work.payout(payout_id)
    if payout.pay(reference, at_ms=at_ms):
        work.account(payout.account_id).pay_out(
            payout_id=payout_id,
            rail=payout.rail,
            fee=payout.fee,
            reference=reference,
            at_ms=at_ms,
        )
    return refund_of(payout)


def _fail(work: Work, *, payout_id: UUID, proof_key: str, reason: str, at_ms: int) -> Payout:
    """Nothing can move any more: the credit is the wallet's again, in one transaction.

    `proof_key` is what cannot land; where another was signed meanwhile, that one decides.
    """
    payout = work.payout(payout_id)
    if payout.proof_key == proof_key and payout.fail(reason, at_ms=at_ms):
        work.account(payout.account_id).take_back(
            payout_id=payout_id, rail=payout.rail, at_ms=at_ms
        )
        day = work.find(PayoutDay, PayoutDay.create_id(payout.requested_at_ms))
        assert day is not None, "a payout is counted when it is requested"  # noqa: S101 (states what cannot be otherwise)
        day.give_back(payout.amount, payout_id=payout_id, at_ms=at_ms)
    return payout


def _proof_of(payout: Payout) -> Proof:
    """The proof as it was written down, for a rail to send or look up."""
    return Proof(
        key=payout.proof_key,
        network=payout.network,
        chain=payout.chain,
        payer=payout.payer,
        amount=payout.net,
        expires_at_ms=payout.expires_at_ms,
        payload=payout.payload,
    )
