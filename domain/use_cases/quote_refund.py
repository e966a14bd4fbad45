"""What a wallet could have paid back to its chain now, and why not more."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from domain.account import Account
from domain.gateway import Gateway, RefundTerms
from domain.ledger import Work
from domain.money import NOTHING, Microcredits
from domain.payout import PayoutDay
from domain.ports.payments import PayoutRail


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundQuote:
    """What a wallet could have paid back to `wallet` on `chain` now.

    `payable` is what each rail could give, the most first, of `available` credit; `most` is that of
    the `rail` asked for or of the first, under every limit. `day_left` is what all wallets may yet
    ask for today, `funds` what the rail's wallet can pay. `refusal` says why nothing can be had, ""
    where something can.
    """

    account_id: UUID
    chain: str
    wallet: str
    available: Microcredits
    rail: str
    payable: tuple[tuple[str, Microcredits], ...]
    least: Microcredits
    most: Microcredits
    most_of_one: Microcredits
    fee: Microcredits
    day_left: Microcredits
    funds: Microcredits
    refusal: str

    @property
    def paid_by_funds(self) -> Microcredits:
        """The largest refund that the rail's wallet can pay: its fee stays with us."""
        return self.funds + self.fee if self.funds else NOTHING

    @property
    def allowed(self) -> Microcredits:
        """The most by every limit but that of the rail's wallet."""
        payable = dict(self.payable).get(self.rail, NOTHING)
        return min(payable, self.most_of_one, self.day_left)


async def quote_refund(gateway: Gateway, account_id: UUID, *, rail: str = "") -> RefundQuote:
    """RailDownError where nobody knows what there is to pay with."""
    terms, now_ms = gateway.terms.refunds, gateway.clock.now_ms()
    account, day_left = await gateway.books.run(
        partial(_standing, account_id=account_id, most=terms.day_max, at_ms=now_ms)
    )
    rails = {r.name: r for r in gateway.payouts if r.name in account.bought}
    payable = sorted(
        ((name, account.payable(name)) for name in rails), key=lambda each: -each[1].value
    )
    chosen = rail or next((name for name, _ in payable), "")
    refusal = _refusal(terms, account, rails, chosen)
    funds = NOTHING if refusal else await _funds_left(gateway, rails[chosen])
    of_wallet = NOTHING if refusal else min(account.payable(chosen), terms.most, day_left)
    return RefundQuote(
        account_id=account_id,
        chain=account.chain,
        wallet=account.wallet,
        available=account.available,
        rail=chosen if chosen in rails else "",
        payable=tuple(payable),
        least=terms.least,
        most=min(of_wallet, funds + terms.fee if funds else NOTHING),
        most_of_one=terms.most,
        fee=terms.fee,
        day_left=day_left,
        funds=funds,
        refusal=refusal,
    )


def _standing(
    work: Work, *, account_id: UUID, most: Microcredits, at_ms: int
) -> tuple[Account, Microcredits]:
    day = work.find(PayoutDay, PayoutDay.create_id(at_ms))
    return work.account(account_id), most if day is None else day.left_of(most)


def _refusal(terms: RefundTerms, account: Account, rails: Collection[str], rail: str) -> str:
    """Why this wallet gets nothing over this rail, whatever the amount."""
    if not terms.enabled:
        return "this gateway pays back to the chain only where its operator does it"
    if not rails:
        return "this wallet has paid over no rail that can pay back"
    if rail not in rails:
        return f"{rail} is not a rail this wallet has paid over and that can pay back"
    if account.payable(rail) < terms.least:
        return f"less than the least of {terms.least.usd} USD can be paid back over {rail}"
    return ""


async def _funds_left(gateway: Gateway, rail: PayoutRail) -> Microcredits:
    """What the rail's wallet holds, less what it is about to pay."""
    await gateway.views.caught_up(gateway.books.position)
    unfinished = await gateway.views.payouts_unfinished()
    promised = await gateway.books.run(partial(_promised, payout_ids=unfinished, rail=rail.name))
    funds = await rail.funds()
    return funds - promised if promised < funds else NOTHING


def _promised(work: Work, *, payout_ids: tuple[UUID, ...], rail: str) -> Microcredits:
    payouts = (work.payout(payout_id) for payout_id in payout_ids)
    return sum((p.net for p in payouts if p.rail == rail and not p.is_over), NOTHING)
