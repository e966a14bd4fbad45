"""Permits on a chain: whatever anybody says or leaves unsaid, the chain is believed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bankofai.x402.types import SettleResponse
from coincurve import PrivateKey

from adapters.rails.tron_desk import SignedPermit
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.rails.tron_permit import wallet_of
from domain.errors import PaymentRefusedError, RailDownError
from domain.ports.payments import Absent, Rejected, Settled, Uncertain
from tests.fakes.tron_paper import NoNode, PaperFacilitator
from tests.fakes.tron_sandbox import BUYER, TronSandbox, tron_sandbox
from tests.fakes.tron_tricks import another, carried

pytestmark = pytest.mark.anvil

PRICE = 100_000
STRANGER = wallet_of(PrivateKey(b"\x44" * 32))


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        yield opened


async def test_a_purchase_costs_the_buyer_the_amount_and_the_fee(sandbox: TronSandbox) -> None:
    await sandbox.rail.settle(await sandbox.proof(PRICE))

    assert await sandbox.received() == PRICE
    assert await sandbox.network.balance(sandbox.network.facilitator.address) == 100
    assert await sandbox.network.balance(BUYER) == sandbox.purse - PRICE - 100


async def test_a_settlement_names_the_transaction_as_the_chain_does(sandbox: TronSandbox) -> None:
    settled = await sandbox.rail.settle(await sandbox.proof())

    assert isinstance(settled, Settled)
    assert len(settled.reference) == 64
    known = await sandbox.network.reader.answer(
        "wallet/gettransactioninfobyid", {"value": settled.reference}
    )
    assert known["receipt"] == {"result": "SUCCESS", "energy_usage_total": 100_000}


async def test_a_wallet_without_the_fee_is_refused_before_money_moves(
    sandbox: TronSandbox,
) -> None:
    purchase = sandbox.purchase(sandbox.purse)
    proof = await sandbox.decoded(await sandbox.pay(purchase), purchase)

    with pytest.raises(PaymentRefusedError, match="does not hold enough"):
        await sandbox.rail.verify(proof, purchase)


async def test_a_wallet_that_allowed_nothing_is_refused_before_money_moves(
    sandbox: TronSandbox,
) -> None:
    stranger_key = b"\x44" * 32
    await sandbox.network.fund(STRANGER, PRICE * 2)
    payment = another(await sandbox.pay(), key=stranger_key, buyer=STRANGER)

    with pytest.raises(PaymentRefusedError, match="has not allowed"):
        await sandbox.rail.verify(await sandbox.decoded(payment), sandbox.purchase())


async def test_a_permit_of_a_facilitators_other_fee_is_refused(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    raised = PaperFacilitator()
    rail = sandbox.new_rail(facilitator=raised)

    with pytest.raises(PaymentRefusedError, match="on paper only"):
        await rail.verify(proof, sandbox.purchase())


async def test_what_the_facilitator_would_send_twice_is_refused_the_second_time(
    sandbox: TronSandbox,
) -> None:
    proof = await sandbox.proof()
    await sandbox.rail.settle(proof)
    sandbox.clock.advance(600_000)
    payment = SignedPermit.of(proof).payment(TRON_MAINNET)
    answer = await sandbox.network.facilitator.verify(payment, payment.accepted)
    assert answer.is_valid  # It does not look whether the nonce is used.

    with pytest.raises(PaymentRefusedError, match="already used"):
        await sandbox.rail.verify(proof, sandbox.purchase())


async def test_a_replay_straight_at_the_facilitator_moves_nothing(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    settled = await sandbox.rail.settle(proof)
    payment = SignedPermit.of(proof).payment(TRON_MAINNET)

    replay = await sandbox.network.facilitator.settle(payment, payment.accepted)

    assert replay.error_reason == "transaction_failed_on_chain"
    assert await sandbox.received() == PRICE
    assert await sandbox.rail.lookup(proof) == settled


async def test_a_permit_that_somebody_else_had_carried_is_paid_and_not_refused(
    sandbox: TronSandbox,
) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    transaction = await carried(sandbox, payment)

    await sandbox.rail.verify(proof, sandbox.purchase())
    settled = await sandbox.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert settled.reference == transaction
    assert await sandbox.received() == PRICE


async def test_a_facilitator_that_denies_what_it_did_is_not_believed(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.deny_success = True

    assert isinstance(await sandbox.rail.settle(proof), Settled)


async def test_what_a_facilitator_refused_before_it_sent_anything_is_refused_at_once(
    sandbox: TronSandbox,
) -> None:
    proof = await sandbox.proof()
    began_ms = sandbox.clock.now_ms()

    outcome = await sandbox.new_rail(facilitator=_Dearer()).settle(proof)

    assert outcome == Rejected("the facilitator's fee has changed; ask for new terms")
    assert sandbox.clock.now_ms() == began_ms


class _Dearer(PaperFacilitator):
    """Has raised its fee since."""

    async def settle(self, *_: object) -> SettleResponse:
        return SettleResponse(success=False, errorReason="fee_amount_mismatch")


async def test_a_facilitator_that_claims_what_it_did_not_is_not_believed(
    sandbox: TronSandbox,
) -> None:
    proof = await sandbox.proof()
    sandbox.faults.feign_success = True
    began_ms = sandbox.clock.now_ms()

    assert await sandbox.rail.settle(proof) == Uncertain("f" * 64)
    # It is looked for eight times, a second apart, before we admit that we do not know.
    assert sandbox.clock.now_ms() - began_ms == 7_000
    assert await sandbox.rail.lookup(proof) == Absent(final=False)


async def test_a_permit_sent_twice_moves_money_once(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.send_twice = True

    assert isinstance(await sandbox.rail.settle(proof), Settled)
    assert await sandbox.received() == PRICE


async def test_a_permit_that_is_overtaken_is_settled_all_the_same(sandbox: TronSandbox) -> None:
    proofs = [await sandbox.proof(), await sandbox.proof()]
    sandbox.faults.reorder = True

    settled = await asyncio.gather(*(sandbox.rail.settle(proof) for proof in proofs))

    assert all(isinstance(outcome, Settled) for outcome in settled)
    known = [
        await sandbox.network.reader.answer(
            "wallet/gettransactioninfobyid", {"value": outcome.reference}
        )
        for outcome in settled
        if isinstance(outcome, Settled)
    ]
    assert int(str(known[0]["blockNumber"])) > int(str(known[1]["blockNumber"]))
    assert await sandbox.received() == 2 * PRICE


async def test_a_late_answer_is_not_waited_for_and_loses_nothing(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    rail = sandbox.new_rail(facilitator=_Silent(), settle_timeout_ms=1)

    settled = await rail.settle(proof)

    assert isinstance(settled, Uncertain)
    assert await rail.lookup(proof) == Absent(final=False)


class _Silent(PaperFacilitator):
    """Settles nothing and says nothing."""

    async def settle(self, *_: object) -> Any:  # noqa: ANN401 (it never answers)
        await asyncio.Event().wait()


async def test_a_transaction_is_found_though_nobody_names_it(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.lose_answer = True

    settled = await sandbox.rail.settle(proof)

    assert isinstance(settled, Settled)
    assert await sandbox.network.facilitator.payments(proof.key) == []


async def test_what_failed_on_the_chain_can_be_tried_again(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof(PRICE)
    spent = sandbox.purchase(sandbox.purse - PRICE)
    await sandbox.rail.settle(await sandbox.decoded(await sandbox.pay(spent), spent))

    refused = await sandbox.rail.settle(proof)
    await sandbox.network.fund(BUYER, PRICE)
    again = await sandbox.rail.settle(proof)

    assert isinstance(refused, Rejected)
    assert isinstance(again, Settled)


async def test_nothing_is_over_until_the_chain_is_two_minutes_past(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.clock.at_ms = proof.expires_at_ms + 119_000
    assert await sandbox.rail.lookup(proof) == Absent(final=False)

    sandbox.clock.at_ms = proof.expires_at_ms + 121_000

    assert await sandbox.rail.lookup(proof) == Absent(final=True)


async def test_a_permit_expires_by_the_second(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.clock.at_ms = proof.expires_at_ms - 1
    await sandbox.rail.verify(proof, sandbox.purchase())

    sandbox.clock.at_ms = proof.expires_at_ms

    with pytest.raises(PaymentRefusedError, match="expired"):
        await sandbox.rail.verify(proof, sandbox.purchase())


async def test_a_payment_outlives_the_chains_restart(tmp_path: Path) -> None:
    state = tmp_path / "chain.json"
    async with tron_sandbox(state) as before:
        proof = await before.proof()
        settled = await before.rail.settle(proof)
        held = await before.network.balance(BUYER)

    async with tron_sandbox(state) as after:
        assert await after.rail.lookup(proof) == settled
        assert await after.network.balance(BUYER) == held + after.purse


async def test_a_node_that_is_away_closes_the_rail(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()

    with pytest.raises(RailDownError):
        await sandbox.new_rail(node=NoNode()).verify(proof, sandbox.purchase())
