"""Credits back to the chain, as a wallet asks for them (B16)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from domain.account import Account
from domain.errors import (
    ConflictingRequestError,
    NotFoundError,
    RefundRefusedError,
)
from domain.gateway import Terms
from domain.money import Microcredits
from domain.ports.payments import Proof, Rejected, Settled, Uncertain
from domain.turnstile import Turnstile
from domain.use_cases.refund_credits import Refunds, request_refund
from tests.fakes.payouts import HOUSE_PURSE
from tests.fakes.window import BOUGHT, FEE, OTHER, TERMS, WALLET, Window


@pytest.fixture
async def window() -> Window:
    return await Window().open()


async def test_credit_is_paid_back_on_its_own_chain_less_the_fee(window: Window) -> None:
    """B16: what is taken is what is paid and the fee."""
    refund = await window.ask(3_000_000)

    assert (refund.state, refund.wallet, refund.chain) == ("paid", WALLET, "evm")
    assert (refund.amount.value, refund.fee.value, refund.net.value) == (3_000_000, FEE, 2_950_000)
    assert refund.reference.startswith("receipt cash|")
    assert window.rail.purses[WALLET] == 2_950_000
    assert await window.available() == BOUGHT - 3_000_000
    assert window.books() == {
        "payouts:pending": 0,
        "revenue:payout_fee": FEE,
        "wallets:available": BOUGHT - 3_000_000,
        "world:cash": -BOUGHT + 2_950_000,
    }


async def test_what_is_signed_is_written_down_before_it_is_sent(window: Window) -> None:
    seen: list[tuple[str, ...]] = []
    window.rail.watch = lambda step: seen.append((step, *window.topics()))

    await window.ask()

    assert seen[0] == ("before signing", "payout.requested")
    assert ("before sending", "payout.requested", "payout.prepared", "payout.submitted") in seen
    assert window.topics()[-1] == "payout.paid"


async def test_the_same_key_again_is_the_same_refund(window: Window) -> None:
    first = await window.ask()
    again = await window.ask()

    assert again == first
    assert window.rail.purses[WALLET] == 2_950_000
    assert window.rail.settles_asked == 1


async def test_copies_at_once_are_one_refund(window: Window) -> None:
    answers = await asyncio.gather(*(window.ask() for _ in range(4)))

    assert {answer.state for answer in answers} == {"paid"}
    assert window.rail.purses[WALLET] == 2_950_000
    assert len(window.rail.signed) == 1


async def test_copies_of_a_request_for_everything_are_one_refund_too() -> None:
    """The first takes all there is; the others do not find that there is too little."""
    window = await Window().open(bought=3_000_000)
    other = Refunds(replace(window.house.gateway, turnstile=Turnstile()))
    asked = [where.ask(window.request()) for where in (window.refunds, window.refunds, other)]

    answers = await asyncio.gather(*asked)

    assert {answer.state for answer in answers} == {"paid"}
    assert window.rail.purses[WALLET] == 2_950_000


async def test_a_copy_that_comes_while_the_first_is_taken_is_the_same(window: Window) -> None:
    """Another process wrote it between our look and our quote."""
    window.rail.purses[HOUSE_PURSE] = 3_000_000
    window.rail.refuses = True
    ahead = await window.ask()
    window.rail.refuses = False

    behind = await request_refund(window.house.gateway, window.request())

    assert behind.payout_id == ahead.payout_id
    assert await window.available() == BOUGHT - 3_000_000


@pytest.mark.parametrize("changes", [{"amount": 3_000_001}, {"fee": 0}, {"rail": "other"}])
async def test_the_same_key_for_another_refund_conflicts(
    window: Window, changes: dict[str, int]
) -> None:
    await window.ask()

    with pytest.raises(ConflictingRequestError):
        await window.refunds.ask(window.request(**changes))


async def test_the_request_must_name_the_fee_it_was_shown(window: Window) -> None:
    with pytest.raises(RefundRefusedError, match=r"the fee is 0.05 USD, .* names 0.04") as refusal:
        await window.ask(fee=40_000)

    assert refusal.value.fee == Microcredits(FEE)
    assert await window.available() == BOUGHT


async def test_a_fee_that_was_raised_meanwhile_does_not_change_a_refund_that_stands(
    window: Window,
) -> None:
    first = await window.ask()
    raised = replace(window.house.gateway, terms=Terms(refunds=replace(TERMS, fee=Microcredits(7))))

    assert await Refunds(raised).ask(window.request()) == first


async def test_another_wallets_refund_is_not_found(window: Window) -> None:
    refund = await window.ask()

    assert await window.refunds.find(window.account_id, refund.payout_id) == refund
    with pytest.raises(NotFoundError):
        await window.refunds.find(Account.create_id("evm", OTHER), refund.payout_id)


async def test_an_answer_that_takes_long_comes_later(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    landed, settle = asyncio.Event(), window.rail.settle

    async def slowly(proof: Proof) -> Settled | Rejected | Uncertain:
        await landed.wait()
        return await settle(proof)

    monkeypatch.setattr(window.rail, "settle", slowly)
    window.refunds = Refunds(window.house.gateway, answer_wait_s=0)

    pending = await window.ask()
    landed.set()
    await window.refunds.drain()

    assert not pending.is_over
    assert (await window.refunds.find(window.account_id, pending.payout_id)).state == "paid"
