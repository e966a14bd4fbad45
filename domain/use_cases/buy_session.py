"""A session paid for as it is opened: one payment is its credit, and its session or extension.

The credit is the payer's like any other: what the session does not use stays with that wallet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain.account import Account
from domain.errors import ConflictingRequestError, NotFoundError
from domain.gateway import Gateway
from domain.ledger import Work
from domain.money import Microcredits
from domain.payment import Payment
from domain.ports.payments import PaymentRail, Proof, Purchase
from domain.session import Session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_session
from domain.use_cases.purchase_credits import Credited, Purchases

# What a payment is for, where it buys a session and not credit alone.
_SESSION = "session"
# For so long a payment that is shown again opens what it bought: a lost answer is missed at once.
_SAID_AGAIN_MS = 10 * 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bought:
    """What a payment became: credit of the payer, and the session that was reserved from it."""

    credited: Credited
    ticket: Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Extendable:
    """A live session, and the wallet that must pay for more of it."""

    session_id: UUID
    account_id: UUID
    chain: str
    wallet: str
    service: str


def price_of(gateway: Gateway, service: str, quantity: int) -> Microcredits:
    """What this many ms or characters cost by the price book in force."""
    return gateway.price_book.tariff(service).price(quantity)


async def buy_session(
    gateway: Gateway,
    purchases: Purchases,
    rail: PaymentRail,
    proof: Proof,
    purchase: Purchase,
    request: SessionRequest,
    *,
    caller: str = "",
) -> Bought:
    """Take the payment and open the session, once; the same proof is the same session again.

    What can be known to stand in the way is told before any money moves. What happens between
    payment and session leaves the credit with the payer, and a repeat of the proof opens it then.
    Only for a while, only until somebody came with the key, and only for the same `caller` (where
    the request came from): a proof is public, a key is not.
    """
    if not await purchases.is_credited(rail, proof, purpose=_SESSION):
        gateway.servers.choose(request.service, region=request.region)
        await gateway.books.run(
            partial(
                _check_room,
                account_id=Account.create_id(proof.chain, proof.payer),
                units_max=gateway.terms.units_max,
            )
        )
    credited = await purchases.take(rail, proof, purchase, purpose=_SESSION, caller=caller)
    if gateway.clock.now_ms() > credited.at_ms + _SAID_AGAIN_MS:
        raise ConflictingRequestError(what="this payment's session")
    ticket = await open_session(
        gateway, credited.account_id, request, request_key=_request_key(rail, proof)
    )
    await gateway.books.run(partial(_check_untouched, session_id=ticket.session_id))
    return Bought(credited=credited, ticket=ticket)


async def find_extendable(gateway: Gateway, session_id: UUID, service: str) -> Extendable:
    """The session that somebody wants more of; who pays need not hold its key."""
    return await gateway.books.run(partial(_extendable, session_id=session_id, service=service))


async def buy_extension(
    gateway: Gateway,
    purchases: Purchases,
    rail: PaymentRail,
    proof: Proof,
    purchase: Purchase,
    wanted: Extendable,
    quantity: int,
) -> Bought:
    """Take the payment and extend the session, once; it counts on the live connection too."""
    purpose = f"extension of {wanted.session_id}"
    if not await purchases.is_credited(rail, proof, purpose=purpose):
        await gateway.books.run(
            partial(_check_open, session_id=wanted.session_id, at_ms=gateway.clock.now_ms())
        )
    credited = await purchases.take(rail, proof, purchase, purpose=purpose)
    ticket = await extend_session(
        gateway,
        wanted.account_id,
        wanted.session_id,
        service=wanted.service,
        quantity=quantity,
        request_key=_request_key(rail, proof),
    )
    return Bought(credited=credited, ticket=ticket)


async def remaining_ms(gateway: Gateway, session_id: UUID) -> int:
    """The paid time that is left now."""
    session = await gateway.books.run(partial(Work.session, session_id=session_id))
    return session.remaining_at(gateway.clock.now_ms())


def _request_key(rail: PaymentRail, proof: Proof) -> str:
    return f"paid:{Payment.create_id(rail.name, proof.key)}"


def _check_room(work: Work, *, account_id: UUID, units_max: int) -> None:
    account = work.find(Account, account_id)
    if account is not None:
        account.check_room(units_max)


def _extendable(work: Work, *, session_id: UUID, service: str) -> Extendable:
    session = work.find(Session, session_id)
    if session is None or session.service != service:
        raise NotFoundError(what="Session")
    account = work.account(session.account_id)
    return Extendable(
        session_id=session_id,
        account_id=account.id,
        chain=account.chain,
        wallet=account.wallet,
        service=service,
    )


def _check_untouched(work: Work, *, session_id: UUID) -> None:
    """Refuse to say the key again once somebody came with it.

    The buyer has it then, and everybody can read the payment on its chain and repeat it.
    """
    if work.session(session_id).started_at_ms is not None:
        raise ConflictingRequestError(what="this payment's session")


def _check_open(work: Work, *, session_id: UUID, at_ms: int) -> None:
    work.session(session_id).check_open(at_ms)
