"""How credits become money again, on the chain they came from: once or not at all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from domain.account import Account
from domain.aggregate import derive_id
from domain.errors import (
    GatewayError,
    NotFoundError,
    RefundRefusedError,
    RefundsExhaustedError,
)
from domain.gateway import Gateway, RefundTerms
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import DAY_MS, Payout, PayoutDay
from domain.ports.books import Books
from domain.ports.clock import Clock
from domain.use_cases.pay_out import Refund, finish_payout, refund_of
from domain.use_cases.quote_refund import RefundQuote, quote_refund

# How long an answer waits for the chain; what takes longer is asked for again.
ANSWER_WAIT_S = 20.0
_FUNDS_RETRY_MS = 10 * 60_000
_FUNDS = derive_id("turnstile", "payout funds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """`amount` of credit to be paid back, `fee` of it kept; `rail` "" is the one to get most over.

    `who` and `why` are an operator's; both are empty where the wallet itself asks. `payout_id`
    makes a repeat the same refund.
    """

    payout_id: UUID
    account_id: UUID
    amount: Microcredits
    fee: Microcredits
    rail: str = ""
    who: str = ""
    why: str = ""


class Refunds:
    """Takes requests of wallets; what one began goes on without it."""

    def __init__(self, gateway: Gateway, *, answer_wait_s: float = ANSWER_WAIT_S) -> None:
        self._gateway = gateway
        self._answer_wait_s = answer_wait_s
        self._running: set[asyncio.Task[Refund]] = set()

    async def quote(self, account_id: UUID, *, rail: str = "") -> RefundQuote:
        """What could be had now; RailDownError where nobody knows what there is to pay with."""
        return await quote_refund(self._gateway, account_id, rail=rail)

    async def ask(self, request: RefundRequest) -> Refund:
        """Take the credit and pay it back; repeat as often as you like.

        Answers when the chain has it, or with what is known after a while.
        """
        known = await self._gateway.books.run(partial(_known, request=request))
        if known is None:
            known = await request_refund(self._gateway, request)
        return await self._answer(known)

    async def find(self, account_id: UUID, payout_id: UUID) -> Refund:
        """A refund of this account; NotFoundError for another's."""
        return await self._gateway.books.run(
            partial(_find, account_id=account_id, payout_id=payout_id)
        )

    async def drain(self) -> None:
        """Wait for the refunds under way; for shutdown."""
        if self._running:
            await asyncio.wait(set(self._running))

    async def _answer(self, refund: Refund) -> Refund:
        if refund.is_over:
            return refund
        task = asyncio.create_task(finish_payout(self._gateway, refund.payout_id))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # What stands in the ledger is carried out by the next sweep where it failed here.
        with suppress(TimeoutError, GatewayError):
            async with asyncio.timeout(self._answer_wait_s):
                return await asyncio.shield(task)
        return await self.find(refund.account_id, refund.payout_id)


async def request_refund(gateway: Gateway, request: RefundRequest) -> Refund:
    """Take the credit and note that it is to be paid back, or refuse and take nothing.

    An operator's request is bound by what the wallet has and bought, and by no limit of ours.
    """
    if request.who:
        return await write_operators_refund(gateway.books, gateway.clock, request)
    # One after the other, so that two do not count on the same money.
    async with gateway.turnstile.alone(_FUNDS):
        quote = await quote_refund(gateway, request.account_id, rail=request.rail)
        try:
            _check_quote(quote, request)
        except (RefundRefusedError, RefundsExhaustedError):
            # A copy may have been ahead, and what it took is why there is less now.
            known = await gateway.books.run(partial(_known, request=request))
            if known is None:
                raise
            return known
        return await gateway.books.run(
            partial(
                write_refund,
                request=replace(request, rail=quote.rail),
                terms=gateway.terms.refunds,
                at_ms=gateway.clock.now_ms(),
            )
        )


async def write_operators_refund(books: Books, clock: Clock, request: RefundRequest) -> Refund:
    """As `request_refund` of an operator, where only the ledger is at hand; others pay it."""
    return await books.run(partial(write_refund, request=request, terms=None, at_ms=clock.now_ms()))


def _check_quote(quote: RefundQuote, request: RefundRequest) -> None:
    reason = quote.refusal
    if not reason and request.fee != quote.fee:
        reason = f"the fee is {quote.fee.usd} USD, and the request names {request.fee.usd}"
    if reason:
        raise RefundRefusedError(reason=reason, least=quote.least, most=quote.most, fee=quote.fee)
    if quote.paid_by_funds < request.amount <= quote.allowed:
        raise RefundsExhaustedError(limit="funds", left=quote.funds, retry_after_ms=_FUNDS_RETRY_MS)


def write_refund(
    work: Work, *, request: RefundRequest, terms: RefundTerms | None, at_ms: int
) -> Refund:
    """One transaction: the credit is taken, and the payout stands; a repeat changes nothing."""
    known = _known(work, request=request)
    if known is not None:
        return known
    account = work.account(request.account_id)
    rail = request.rail or best_rail(account)
    _check_amount(account, rail, request, terms or _no_terms(request.fee))
    day = work.find(PayoutDay, PayoutDay.create_id(at_ms))
    if day is None:
        day = PayoutDay.open(at_ms=at_ms)
        work.add(day)
    if terms is not None and request.amount > day.left_of(terms.day_max):
        raise RefundsExhaustedError(
            limit="day", left=day.left_of(terms.day_max), retry_after_ms=DAY_MS - at_ms % DAY_MS
        )
    account.withdraw(request.amount, payout_id=request.payout_id, rail=rail, at_ms=at_ms)
    day.count(request.amount, payout_id=request.payout_id, at_ms=at_ms)
    payout = Payout.request(
        payout_id=request.payout_id,
        account_id=account.id,
        rail=rail,
        chain=account.chain,
        wallet=account.wallet,
        amount=request.amount,
        fee=request.fee,
        who=request.who,
        why=request.why,
        at_ms=at_ms,
    )
    work.add(payout)
    return refund_of(payout)


def _check_amount(account: Account, rail: str, request: RefundRequest, terms: RefundTerms) -> None:
    payable = account.payable(rail)
    reason = ""
    if request.amount < terms.least:
        reason = f"the least is {terms.least.usd} USD"
    elif request.amount <= request.fee:
        reason = f"nothing would be left after the fee of {request.fee.usd} USD"
    elif request.amount > terms.most:
        reason = f"the most at once is {terms.most.usd} USD"
    elif request.amount > account.available:
        reason = f"{account.available.usd} USD are available, without what is reserved"
    elif request.amount > payable:
        reason = f"{payable.usd} USD of what was bought over {rail or 'any rail'} are left"
    if reason:
        most = min(payable, terms.most)
        raise RefundRefusedError(reason=reason, least=terms.least, most=most, fee=terms.fee)


def _no_terms(fee: Microcredits) -> RefundTerms:
    """What binds an operator: that there is something left of it."""
    return RefundTerms(enabled=True, least=Microcredits(1), fee=fee, most=Microcredits(2**53 - 1))


def best_rail(account: Account) -> str:
    """The rail that most can be paid back over, as far as the account goes; "" without any."""
    return max(sorted(account.bought), key=lambda name: account.bought[name].value, default="")


def _known(work: Work, *, request: RefundRequest) -> Refund | None:
    payout = work.find(Payout, request.payout_id)
    if payout is None:
        return None
    payout.check_same(rail=request.rail, amount=request.amount, fee=request.fee)
    return refund_of(payout)


def _find(work: Work, *, account_id: UUID, payout_id: UUID) -> Refund:
    payout = work.find(Payout, payout_id)
    if payout is None or payout.account_id != account_id:
        raise NotFoundError(what="Refund")
    return refund_of(payout)
