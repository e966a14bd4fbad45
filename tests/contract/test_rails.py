"""One suite for every way to pay: the fake, and the real rails in the process and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.errors import MalformedError, PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Absent, Outcome, Rejected, Settled, Uncertain
from tests.fakes.base_shop import BASE_SHOPS
from tests.fakes.mpp_sandbox import mpp_on_tempo
from tests.fakes.shop import MUCH, PRICE, SHOPS, Shop
from tests.fakes.solana_shop import SOLANA_SHOPS
from tests.fakes.tron_sandbox import TRON_SHOPS

ALL_SHOPS = (
    *SHOPS,
    *SOLANA_SHOPS,
    *(
        pytest.param(shop, marks=pytest.mark.anvil)
        for shop in (*BASE_SHOPS, mpp_on_tempo, *TRON_SHOPS)
    ),
)


@pytest.fixture(params=ALL_SHOPS, ids=lambda open_: open_.__name__)
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    async with request.param() as opened:
        yield opened


async def test_a_request_without_payment_has_no_proof(shop: Shop) -> None:
    assert await shop.rail.decode({"accept": "*/*"}, shop.purchase()) is None


async def test_a_challenge_is_the_same_for_the_same_purchase_or_never_twice(shop: Shop) -> None:
    first = await shop.rail.challenge(shop.purchase())

    again = await shop.restarted().challenge(shop.purchase())

    assert (again == first) is shop.remembers_terms


async def test_garbage_is_malformed(shop: Shop) -> None:
    with pytest.raises((MalformedError, PaymentRefusedError)):
        await shop.rail.decode(shop.garbage, shop.purchase())


async def test_a_payment_for_another_amount_is_refused(shop: Shop) -> None:
    headers = await shop.pay(shop.purchase(PRICE))

    with pytest.raises(PaymentRefusedError):
        await shop.rail.decode(headers, shop.purchase(2 * PRICE))


async def test_a_proof_names_payer_amount_and_payment_alike_each_time(shop: Shop) -> None:
    headers = await shop.pay(shop.purchase())

    first = await shop.rail.decode(headers, shop.purchase())
    again = await shop.restarted().decode(headers, shop.purchase())

    assert first == again
    assert first is not None
    assert (first.payer, first.amount) == (shop.wallet, Microcredits(PRICE))


async def test_two_payments_have_two_keys(shop: Shop) -> None:
    assert (await shop.proof()).key != (await shop.proof()).key


async def test_verifying_moves_nothing(shop: Shop) -> None:
    await shop.rail.verify(await shop.proof(), shop.purchase())

    assert await shop.received() == 0


async def test_settling_moves_exactly_the_amount(shop: Shop) -> None:
    settled = await shop.rail.settle(await shop.proof())

    assert isinstance(settled, Settled)
    assert (settled.payer, settled.amount) == (shop.wallet, Microcredits(PRICE))
    assert await shop.received() == PRICE


async def test_settling_again_moves_nothing_and_answers_the_same(shop: Shop) -> None:
    proof = await shop.proof()
    first = await shop.rail.settle(proof)

    assert await shop.rail.settle(proof) == first
    assert await shop.received() == PRICE


async def test_four_copies_at_once_move_the_money_once(shop: Shop) -> None:
    proof = await shop.proof()

    outcomes = await asyncio.gather(*(shop.rail.settle(proof) for _ in range(4)))

    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Settled)
    assert await shop.received() == PRICE


async def test_a_proof_outlives_a_restart(shop: Shop) -> None:
    settled = await shop.rail.settle(proof := await shop.proof())

    assert await shop.restarted().lookup(proof) == settled


async def test_a_settled_payment_does_not_verify_again_after_its_time(shop: Shop) -> None:
    proof = await shop.proof()
    await shop.rail.settle(proof)
    await shop.expire()

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, shop.purchase())


async def test_what_was_not_sent_is_absent_and_may_still_land(shop: Shop) -> None:
    assert await shop.rail.lookup(await shop.proof()) == Absent(final=False)


async def test_what_has_expired_is_absent_for_good(shop: Shop) -> None:
    proof = await shop.proof()
    await shop.expire()

    assert await shop.rail.lookup(proof) == Absent(final=True)


async def test_what_has_expired_is_refused(shop: Shop) -> None:
    proof = await shop.proof()
    await shop.expire()

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, shop.purchase())


async def test_what_has_expired_is_not_settled(shop: Shop) -> None:
    proof = await shop.proof()
    await shop.expire()

    assert isinstance(await shop.rail.settle(proof), Rejected)
    assert await shop.received() == 0


async def test_a_wallet_without_the_money_is_refused(shop: Shop) -> None:
    proof = await shop.proof(MUCH)
    await shop.rail.settle(await shop.proof())

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, shop.purchase(MUCH))


async def test_a_rail_that_is_down_takes_no_payment(shop: Shop) -> None:
    proof = await shop.proof()
    shop.switch_off()

    with pytest.raises(RailDownError):
        await shop.rail.verify(proof, shop.purchase())
    assert await shop.received() == 0


async def test_a_rail_that_is_down_from_the_start_recovers_by_itself(shop: Shop) -> None:
    shop.switch_off()
    rail = shop.restarted()
    with pytest.raises(RailDownError):
        await rail.challenge(shop.purchase())

    shop.mend()

    assert (await rail.challenge(shop.purchase())).headers


async def test_a_rail_that_is_down_settles_nothing_and_does_not_claim_to_know(shop: Shop) -> None:
    proof = await shop.proof()
    shop.switch_off()

    assert isinstance(await shop.rail.settle(proof), Uncertain)
    assert await shop.received() == 0


async def test_a_lost_answer_loses_no_coin(shop: Shop) -> None:
    proof = await shop.proof()
    shop.lose_answers()

    outcome = await shop.rail.settle(proof)

    assert isinstance(outcome, Settled | Uncertain)
    assert isinstance(await shop.rail.lookup(proof), Settled)
    assert await shop.received() == PRICE


async def test_a_chain_that_cannot_be_read_leaves_it_uncertain(shop: Shop) -> None:
    proof = await shop.proof()
    shop.hide_the_chain()

    assert isinstance(await shop.rail.settle(proof), Uncertain)
    assert isinstance(await shop.rail.lookup(proof), Uncertain)

    shop.mend()
    assert isinstance(await shop.rail.lookup(proof), Settled)


async def test_a_chain_that_cannot_be_read_stops_a_payment_before_it_is_sent(shop: Shop) -> None:
    proof = await shop.proof()
    shop.hide_the_chain()

    with pytest.raises(RailDownError):
        await shop.rail.verify(proof, shop.purchase())


@pytest.mark.parametrize("success", [True, False])
async def test_a_receipt_is_the_same_for_the_same_outcome(shop: Shop, success: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    outcome = Outcome(
        success=success,
        payer=shop.wallet,
        amount=Microcredits(PRICE),
        reference="0xabc",
        at_ms=1_700_000_000_000,
        position=7,
        reason="" if success else "settlement_pending",
    )

    receipt = shop.rail.receipt(outcome, shop.purchase())

    assert receipt.headers[shop.receipt_header]
    assert shop.restarted().receipt(outcome, shop.purchase()) == receipt


async def test_a_credited_proof_decodes_as_it_did_after_its_time(shop: Shop) -> None:
    headers = await shop.pay(shop.purchase())
    first = await shop.rail.decode(headers, shop.purchase())
    assert first is not None
    await shop.rail.settle(first)
    await shop.expire()

    assert await shop.restarted().decode(headers, shop.purchase()) == first


async def test_a_payment_before_a_restart_is_taken_after_it(shop: Shop) -> None:
    headers = await shop.pay(shop.purchase())
    rail = shop.restarted()
    proof = await rail.decode(headers, shop.purchase())
    assert proof is not None

    await rail.verify(proof, shop.purchase())

    assert isinstance(await rail.settle(proof), Settled)
