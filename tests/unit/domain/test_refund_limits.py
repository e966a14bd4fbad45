"""What a wallet may have paid back, and no more (B16)."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from domain.account import Account
from domain.errors import (
    RailDownError,
    RefundRefusedError,
    RefundsExhaustedError,
)
from domain.gateway import Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.payout import DAY_MS
from domain.use_cases.reconcile import reconcile
from tests.fakes.gateway import House
from tests.fakes.payouts import HOUSE_PURSE, CashPayoutRail
from tests.fakes.rail import CashRail
from tests.fakes.window import BOUGHT, FEE, OTHER, TERMS, WALLET, Window


@pytest.fixture
async def window() -> Window:
    return await Window().open()


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (999_999, "the least is 1 USD"),
        (8_000_001, "the most at once is 8 USD"),
    ],
)
async def test_an_amount_out_of_bounds_is_refused_and_nothing_is_taken(
    window: Window, amount: int, reason: str
) -> None:
    with pytest.raises(RefundRefusedError, match=reason):
        await window.ask(amount)

    assert await window.available() == BOUGHT
    assert window.topics() == []


async def test_only_what_is_available_is_paid_back() -> None:
    window = await Window().open(bought=2_000_000)

    def command(work: Work) -> None:
        work.account(window.account_id).reserve(
            Microcredits(600_000),
            session_id=UUID(int=1),
            service="stt",
            unit_id=UUID(int=1),
            at_ms=window.house.clock.now_ms(),
        )

    await window.house.books.run(command)

    with pytest.raises(
        RefundRefusedError, match=r"1\.4 USD are available, without what is reserved"
    ):
        await window.ask(1_400_001)
    assert (await window.ask(1_400_000)).state == "paid"


async def test_no_more_goes_back_over_a_rail_than_came_in_over_it(window: Window) -> None:
    """Credit that was put there by hand was not bought."""

    def command(work: Work) -> None:
        work.account(window.account_id).correct(
            correction_id=UUID(int=1),
            added=Microcredits(5_000_000),
            removed=Microcredits(0),
            who="ops",
            why="a gift",
            corrects_position=1,
            at_ms=window.house.clock.now_ms(),
        )

    await window.house.books.run(command)
    await window.ask(8_000_000, key="1")

    with pytest.raises(RefundRefusedError, match="2 USD of what was bought over cash are left"):
        await window.ask(2_000_001, key="2")
    assert (await window.ask(2_000_000, key="2")).state == "paid"


async def test_a_rail_the_wallet_never_paid_over_pays_nothing_back(window: Window) -> None:
    with pytest.raises(RefundRefusedError, match="gold is not a rail this wallet has paid over"):
        await window.refunds.ask(window.request(rail="gold"))


async def test_a_wallet_that_paid_over_rails_that_only_take_gets_nothing() -> None:
    house = House(terms=Terms(refunds=TERMS))
    house.gateway = replace(house.gateway, payouts=())
    window = await Window(house=house).open()

    with pytest.raises(RefundRefusedError, match="no rail that can pay back"):
        await window.ask()


async def test_it_is_off_unless_the_operator_enables_it() -> None:
    window = await Window(replace(TERMS, enabled=False)).open()

    quote = await window.refunds.quote(window.account_id)

    assert "only where its operator does it" in quote.refusal
    with pytest.raises(RefundRefusedError, match="only where its operator does it"):
        await window.ask()


async def test_a_day_has_a_limit_over_all_wallets(window: Window) -> None:
    await window.house.fund(OTHER, BOUGHT)
    await window.ask(8_000_000)
    other = Account.create_id("evm", OTHER)
    more = replace(window.request(4_000_001), account_id=other, payout_id=UUID(int=9))

    with pytest.raises(RefundsExhaustedError, match="Only 4 USD are left") as refusal:
        await window.refunds.ask(more)

    assert refusal.value.retry_after_ms <= DAY_MS
    await window.house.clock.advance(refusal.value.retry_after_ms)
    assert (await window.refunds.ask(more)).state == "paid"


async def test_what_failed_is_not_counted_against_the_day(window: Window) -> None:
    window.rail.refuses_to_sign = True
    for number in range(4):
        assert (await window.ask(8_000_000, key=str(number))).state == "failed"
    window.rail.refuses_to_sign = False

    assert (await window.ask(8_000_000, key="at last")).state == "paid"


async def test_an_empty_purse_is_told_and_nothing_is_taken(window: Window) -> None:
    window.rail.purses[HOUSE_PURSE] = 2_000_000

    with pytest.raises(RefundsExhaustedError, match="Only 2 USD are left of the money"):
        await window.ask(2_000_001 + FEE)

    assert await window.available() == BOUGHT
    assert (await window.ask(2_000_000 + FEE)).state == "paid"


async def test_money_that_is_promised_is_not_promised_again(window: Window) -> None:
    window.rail.purses[HOUSE_PURSE] = 4_000_000
    window.rail.refuses = True
    assert (await window.ask(3_000_000, key="1")).state == "uncertain"

    with pytest.raises(RefundsExhaustedError, match=r"Only 1\.05 USD are left"):
        await window.ask(3_000_000, key="2")


async def test_money_that_is_promised_over_another_rail_is_no_matter() -> None:
    house = House(terms=Terms(refunds=TERMS))
    gold = CashPayoutRail(house.clock, name="gold")
    house.gateway = replace(house.gateway, payouts=(house.rail, gold))
    window = await Window(house=house).open()

    def command(work: Work) -> None:
        work.account(window.account_id).purchase(
            Microcredits(9_000_000), payment_id=UUID(int=1), rail="gold", at_ms=0
        )

    await house.books.run(command)
    gold.refuses = True
    pending = await window.refunds.ask(window.request(8_000_000, key="1", rail="gold"))
    window.rail.purses[HOUSE_PURSE] = 3_000_000

    assert pending.state == "uncertain"
    assert (await window.refunds.ask(window.request(key="2", rail="cash"))).state == "paid"


async def test_a_rail_that_is_down_refuses_and_nothing_is_taken(window: Window) -> None:
    window.rail.down = True

    with pytest.raises(RailDownError):
        await window.ask()

    assert await window.available() == BOUGHT


async def test_a_quote_says_what_could_be_had(window: Window) -> None:
    quote = await window.refunds.quote(window.account_id)

    assert (quote.rail, quote.wallet, quote.chain, quote.refusal) == ("cash", WALLET, "evm", "")
    assert quote.payable == (("cash", Microcredits(BOUGHT)),)
    assert (quote.least, quote.most, quote.fee) == (TERMS.least, TERMS.most, TERMS.fee)
    assert quote.day_left == TERMS.day_max


async def test_a_quote_counts_every_limit(window: Window) -> None:
    await window.ask(8_000_000)

    by_what_was_bought = await window.refunds.quote(window.account_id)
    window.rail.purses[HOUSE_PURSE] = 1_500_000
    by_funds = await window.refunds.quote(window.account_id)

    assert by_what_was_bought.most == Microcredits(2_000_000)
    assert by_funds.most == Microcredits(1_500_000 + FEE)
    assert by_funds.day_left == Microcredits(4_000_000)


async def test_a_quote_for_too_little_says_so() -> None:
    window = await Window().open(bought=999_999)

    quote = await window.refunds.quote(window.account_id)

    assert quote.most == Microcredits(0)
    assert "less than the least" in quote.refusal


async def test_two_purchases_over_two_rails_go_back_where_they_came_from() -> None:
    house = House(terms=Terms(refunds=TERMS))
    gold = CashRail(house.clock, name="gold")
    house.gateway = replace(house.gateway, rails=(house.rail, gold))
    window = await Window(house=house).open(bought=1_500_000)

    def command(work: Work) -> None:
        work.account(window.account_id).purchase(
            Microcredits(9_000_000), payment_id=UUID(int=1), rail="gold", at_ms=0
        )

    await house.books.run(command)

    quote = await window.refunds.quote(window.account_id)
    with pytest.raises(RefundRefusedError, match=r"1\.5 USD of what was bought over cash are left"):
        await window.ask(1_500_001)
    assert quote.payable == (("cash", Microcredits(1_500_000)),)


async def test_an_operator_is_bound_by_what_was_bought_and_by_no_limit_of_ours() -> None:
    window = await Window(replace(TERMS, enabled=False)).open()
    asked = replace(window.request(BOUGHT, fee=0), who="ops-1", why="it closed")

    written = await window.refunds.ask(asked)
    await reconcile(window.house.gateway)

    assert written.state == "paid"
    assert window.rail.purses[WALLET] == BOUGHT
    requested = next(r for r in window.house.books.records() if r.topic == "payout.requested")
    assert (requested.fields["who"], requested.fields["why"]) == ("ops-1", "it closed")
    with pytest.raises(RefundRefusedError, match="0 USD are available"):
        await window.refunds.ask(replace(asked, payout_id=UUID(int=1), amount=Microcredits(1)))


async def test_a_fee_leaves_something(window: Window) -> None:
    asked = replace(window.request(1_000, fee=1_000), who="ops-1", why="a slip")

    with pytest.raises(RefundRefusedError, match=r"nothing would be left after the fee of 0\.001"):
        await window.refunds.ask(asked)
