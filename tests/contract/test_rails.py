"""One suite for every way to pay: the fake, and the real rail in the process and over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp.test_utils import TestServer

from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.rpc import HttpRpc
from adapters.sandbox.facilitator import facilitator_app
from adapters.sandbox.rpc import node_app
from domain.errors import MalformedError, PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import (
    Absent,
    PaymentRail,
    Proof,
    Purchase,
    Rejected,
    Settled,
    Uncertain,
)
from tests.fakes.rail import HEADER, CashRail
from tests.fakes.sandbox import JumpingClock, Sandbox, signed_header

WALLET = "0x1a642f0e3c3af545e7acbd38b07251b3990914f1"
PRICE = 100_000
MUCH = 1_000_000


@dataclass(kw_only=True)
class Shop:
    """A rail with one wallet of a dollar at its door, and the switches that it has."""

    rail: PaymentRail
    restarted: Callable[[], PaymentRail]
    pay: Callable[[Purchase], Awaitable[dict[str, str]]]
    garbage: dict[str, str]
    clock: JumpingClock
    received: Callable[[], int]
    switch_off: Callable[[], None]
    lose_answers: Callable[[], None]
    hide_the_chain: Callable[[], None]
    mend: Callable[[], None]

    async def proof(self, amount: int = PRICE) -> Proof:
        """An honest payment, decoded."""
        purchase = purchase_of(amount)
        found = await self.rail.decode(await self.pay(purchase), purchase)
        assert found is not None
        return found


def purchase_of(amount: int = PRICE) -> Purchase:
    return Purchase(
        chain="evm", wallet=WALLET, amount=Microcredits(amount), resource_url="http://shop.test/"
    )


@asynccontextmanager
async def cash() -> AsyncIterator[Shop]:
    clock = JumpingClock()
    rail = CashRail(clock)
    rail.purses[WALLET] = MUCH
    numbers = iter(range(1, 100))

    async def pay(purchase: Purchase) -> dict[str, str]:
        return rail.coin(purchase, number=next(numbers))

    def mend() -> None:
        rail.down = rail.loses_answers = rail.unreadable = False

    yield Shop(
        rail=rail,
        restarted=lambda: rail,
        pay=pay,
        garbage={HEADER: "not a coin"},
        clock=clock,
        received=lambda: sum(taken.amount.value for taken in rail.till.values()),
        switch_off=lambda: setattr(rail, "down", True),
        lose_answers=lambda: setattr(rail, "loses_answers", True),
        hide_the_chain=lambda: setattr(rail, "unreadable", True),
        mend=mend,
    )


def x402_shop(sandbox: Sandbox, restarted: Callable[[], PaymentRail]) -> Shop:
    faults = sandbox.faults

    async def pay(purchase: Purchase) -> dict[str, str]:
        return signed_header(await sandbox.pay(purchase))

    def mend() -> None:
        faults.facilitator_down = faults.lose_answer = faults.chain_unreadable = False

    return Shop(
        rail=restarted(),
        restarted=restarted,
        pay=pay,
        garbage={"payment-signature": "bm90IGEgcGF5bWVudA=="},
        clock=sandbox.clock,
        received=sandbox.received,
        switch_off=lambda: setattr(faults, "facilitator_down", True),
        lose_answers=lambda: setattr(faults, "lose_answer", True),
        hide_the_chain=lambda: setattr(faults, "chain_unreadable", True),
        mend=mend,
    )


@asynccontextmanager
async def x402_in_process() -> AsyncIterator[Shop]:
    sandbox = Sandbox()
    yield x402_shop(sandbox, sandbox.new_rail)


@asynccontextmanager
async def x402_over_http() -> AsyncIterator[Shop]:
    sandbox = Sandbox()
    async with (
        TestServer(facilitator_app(sandbox.facilitator)) as far_facilitator,
        TestServer(node_app(sandbox.node)) as far_node,
    ):
        facilitator = HttpFacilitator(str(far_facilitator.make_url("")), timeout_ms=10_000)
        rpc = HttpRpc(str(far_node.make_url("/")))
        yield x402_shop(sandbox, lambda: sandbox.new_rail(facilitator=facilitator, rpc=rpc))
        await facilitator.aclose()
        await rpc.aclose()


@pytest.fixture(params=[cash, x402_in_process, x402_over_http], ids=lambda open_: open_.__name__)
async def shop(request: pytest.FixtureRequest) -> AsyncIterator[Shop]:
    async with request.param() as opened:
        yield opened


async def test_a_request_without_payment_has_no_proof(shop: Shop) -> None:
    assert await shop.rail.decode({"accept": "*/*"}, purchase_of()) is None


async def test_a_challenge_is_the_same_for_the_same_purchase(shop: Shop) -> None:
    first = await shop.rail.challenge(purchase_of(), error="Payment required")

    again = await shop.restarted().challenge(purchase_of(), error="Payment required")

    assert again == first


async def test_garbage_is_malformed(shop: Shop) -> None:
    with pytest.raises(MalformedError):
        await shop.rail.decode(shop.garbage, purchase_of())


async def test_a_payment_for_another_amount_is_refused(shop: Shop) -> None:
    headers = await shop.pay(purchase_of(PRICE))

    with pytest.raises(PaymentRefusedError):
        await shop.rail.decode(headers, purchase_of(2 * PRICE))


async def test_a_proof_names_payer_amount_and_payment_alike_each_time(shop: Shop) -> None:
    headers = await shop.pay(purchase_of())

    first = await shop.rail.decode(headers, purchase_of())
    again = await shop.restarted().decode(headers, purchase_of())

    assert first == again
    assert first is not None
    assert (first.payer, first.amount) == (WALLET, Microcredits(PRICE))


async def test_two_payments_have_two_keys(shop: Shop) -> None:
    assert (await shop.proof()).key != (await shop.proof()).key


async def test_verifying_moves_nothing(shop: Shop) -> None:
    await shop.rail.verify(await shop.proof(), purchase_of())

    assert shop.received() == 0


async def test_settling_moves_exactly_the_amount(shop: Shop) -> None:
    settled = await shop.rail.settle(await shop.proof())

    assert isinstance(settled, Settled)
    assert (settled.payer, settled.amount) == (WALLET, Microcredits(PRICE))
    assert shop.received() == PRICE


async def test_settling_again_moves_nothing_and_answers_the_same(shop: Shop) -> None:
    proof = await shop.proof()
    first = await shop.rail.settle(proof)

    assert await shop.rail.settle(proof) == first
    assert shop.received() == PRICE


async def test_four_copies_at_once_move_the_money_once(shop: Shop) -> None:
    proof = await shop.proof()

    outcomes = await asyncio.gather(*(shop.rail.settle(proof) for _ in range(4)))

    assert len(set(outcomes)) == 1
    assert isinstance(outcomes[0], Settled)
    assert shop.received() == PRICE


async def test_a_proof_outlives_a_restart(shop: Shop) -> None:
    settled = await shop.rail.settle(proof := await shop.proof())

    assert await shop.restarted().lookup(proof) == settled


async def test_a_settled_payment_does_not_verify_again_after_its_time(shop: Shop) -> None:
    proof = await shop.proof()
    await shop.rail.settle(proof)
    shop.clock.advance(200_000)

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, purchase_of())


async def test_what_was_not_sent_is_absent_and_may_still_land(shop: Shop) -> None:
    assert await shop.rail.lookup(await shop.proof()) == Absent(final=False)


async def test_what_has_expired_is_absent_for_good(shop: Shop) -> None:
    proof = await shop.proof()
    shop.clock.advance(200_000)

    assert await shop.rail.lookup(proof) == Absent(final=True)


async def test_what_has_expired_is_refused(shop: Shop) -> None:
    proof = await shop.proof()
    shop.clock.advance(200_000)

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, purchase_of())


async def test_what_has_expired_is_not_settled(shop: Shop) -> None:
    proof = await shop.proof()
    shop.clock.advance(200_000)

    assert isinstance(await shop.rail.settle(proof), Rejected)
    assert shop.received() == 0


async def test_a_wallet_without_the_money_is_refused(shop: Shop) -> None:
    proof = await shop.proof(MUCH)
    await shop.rail.settle(await shop.proof())

    with pytest.raises(PaymentRefusedError):
        await shop.rail.verify(proof, purchase_of(MUCH))


async def test_a_rail_that_is_down_takes_no_payment(shop: Shop) -> None:
    proof = await shop.proof()
    shop.switch_off()

    with pytest.raises(RailDownError):
        await shop.rail.verify(proof, purchase_of())
    assert shop.received() == 0


async def test_a_rail_that_is_down_from_the_start_recovers_by_itself(shop: Shop) -> None:
    shop.switch_off()
    rail = shop.restarted()
    with pytest.raises(RailDownError):
        await rail.challenge(purchase_of(), error="")

    shop.mend()

    assert (await rail.challenge(purchase_of(), error="")).headers


async def test_a_rail_that_is_down_settles_nothing_and_does_not_claim_to_know(shop: Shop) -> None:
    proof = await shop.proof()
    shop.switch_off()

    assert isinstance(await shop.rail.settle(proof), Uncertain)
    assert shop.received() == 0


async def test_a_lost_answer_loses_no_coin(shop: Shop) -> None:
    proof = await shop.proof()
    shop.lose_answers()

    outcome = await shop.rail.settle(proof)

    assert isinstance(outcome, Settled | Uncertain)
    assert isinstance(await shop.rail.lookup(proof), Settled)
    assert shop.received() == PRICE


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
        await shop.rail.verify(proof, purchase_of())


@pytest.mark.parametrize("success", [True, False])
async def test_a_receipt_is_made_of_headers(shop: Shop, success: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    receipt = shop.rail.receipt(success=success, payer=WALLET, reference="0xabc", reason="no")

    assert receipt.headers["PAYMENT-RESPONSE"]
