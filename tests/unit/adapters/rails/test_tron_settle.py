"""Permits on a chain: whatever anybody says or leaves unsaid, the chain is believed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bankofai.x402.types import PaymentPayload
from coincurve import PrivateKey

from adapters.rails.tron_chain import Landed, TronChain, Voided
from adapters.rails.tron_desk import SignedPermit
from adapters.rails.tron_health import carrier_problem, node_problem
from adapters.rails.tron_networks import TRON_MAINNET, TRON_NILE
from adapters.rails.tron_node import TronNode
from adapters.rails.tron_permit import Permit, parse_signature, wallet_of
from domain.errors import PaymentRefusedError, RailDownError
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain
from tests.fakes.tron_paper import NoNode, PaperFacilitator
from tests.fakes.tron_sandbox import BUYER, BUYER_KEY, TronSandbox, signed_again, tron_sandbox

pytestmark = pytest.mark.anvil

PRICE = 100_000
STRANGER = wallet_of(PrivateKey(b"\x44" * 32))


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        yield opened


class Retold:
    """The sandbox's node, with what it answers on some paths told differently."""

    def __init__(self, node: TronNode, **edits: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._node = node
        self._edits = edits
        self.asked: list[str] = []

    async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        answer = json.loads(json.dumps(await self._node.ask(path, body)))
        edited: dict[str, object] = self._edits.get(name, lambda told: told)(answer)
        return edited


async def carried(sandbox: TronSandbox, payment: dict[str, Any]) -> str:
    """What anybody can do with a permit: take it to the facilitator. Its transaction."""
    model = PaymentPayload(**payment)
    terms = model.accepted
    permit = model.payload.payment_permit
    assert permit is not None
    terms.amount, terms.pay_to = permit.payment.pay_amount, permit.payment.pay_to
    answer = await sandbox.network.facilitator.settle(model, terms)
    assert answer.success, answer
    return str(answer.transaction)


def another(payment: dict[str, Any], *, key: bytes = BUYER_KEY, **changes: Any) -> dict[str, Any]:  # noqa: ANN401 (fields of a permit)
    """The buyer signs something else, with these fields changed."""
    copy = json.loads(json.dumps(payment))
    signed = SignedPermit.of(_proof(payment))
    copy["payload"]["paymentPermit"] = replace(signed.permit, **changes).wire()
    return signed_again(copy, key)


def _proof(payment: dict[str, Any]) -> Proof:
    payload = payment["payload"]
    signed = SignedPermit(
        Permit.parse(payload["paymentPermit"]), parse_signature(payload["signature"])
    )
    return signed.proof(TRON_MAINNET)


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


async def test_a_facilitator_that_claims_what_it_did_not_is_not_believed(
    sandbox: TronSandbox,
) -> None:
    proof = await sandbox.proof()
    sandbox.faults.feign_success = True

    assert await sandbox.rail.settle(proof) == Uncertain("f" * 64)
    assert await sandbox.rail.lookup(proof) == Absent(final=False)


async def test_a_permit_sent_twice_moves_money_once(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    sandbox.faults.send_twice = True

    assert isinstance(await sandbox.rail.settle(proof), Settled)
    assert await sandbox.received() == PRICE


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


async def test_a_transaction_is_found_behind_many_blocks(sandbox: TronSandbox) -> None:
    signed = SignedPermit.of(proof := await sandbox.proof())
    settled = await sandbox.rail.settle(proof)
    for _ in range(5):
        await sandbox.network.fund(STRANGER, 1)
    chain = TronChain(sandbox.network.reader, TRON_MAINNET, page_blocks=2)

    found = await chain.find(signed.permit, [])

    assert isinstance(settled, Settled)
    assert found == Landed(settled.reference)


async def test_blocks_before_the_permit_are_not_searched(sandbox: TronSandbox) -> None:
    await sandbox.pay()
    sandbox.clock.advance(3_600_000)
    await sandbox.network.fund(STRANGER, 1)
    permit = SignedPermit.of(await sandbox.proof()).permit
    node = Retold(sandbox.network.reader)

    await TronChain(node, TRON_MAINNET, page_blocks=1).find(permit, [])

    # The newest blocks are the permit's own time; the first older one ends the search.
    assert node.asked.count("jsonrpc") <= 4


async def test_hints_that_are_not_ours_are_not_believed(sandbox: TronSandbox) -> None:
    first = await sandbox.rail.settle(await sandbox.proof())
    permit = SignedPermit.of(await sandbox.proof()).permit
    assert isinstance(first, Settled)
    chain = TronChain(sandbox.network.reader, TRON_MAINNET)

    assert await chain.find(permit, [first.reference, "", "x", "0" * 64]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"pay_to": STRANGER},
        {"amount": 1},
        {"payment_id": bytes(16), "pay_to": STRANGER},
        {"payment_id": bytes(16)},
        {"asset": TRON_MAINNET.usdt, "amount": PRICE + 1},
    ],
    ids=str,
)
async def test_a_nonce_spent_on_something_else_is_over(
    sandbox: TronSandbox, changes: dict[str, Any]
) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    await carried(sandbox, another(payment, **changes))

    assert await sandbox.rail.lookup(proof) == Absent(final=True)
    assert isinstance(await sandbox.rail.settle(proof), Rejected)


async def test_a_permit_with_our_payment_id_and_another_nonce_is_not_the_one_we_asked_for(
    sandbox: TronSandbox,
) -> None:
    payment = await sandbox.pay()
    proof = await sandbox.decoded(payment)
    await carried(sandbox, another(payment, nonce=7))

    assert await sandbox.rail.lookup(proof) == Absent(final=False)


async def test_two_permits_of_a_buyer_are_not_taken_for_one_another(sandbox: TronSandbox) -> None:
    first, second = await sandbox.proof(), await sandbox.proof()
    settled = [await sandbox.rail.settle(proof) for proof in (first, second)]

    found = [await sandbox.new_rail().lookup(proof) for proof in (first, second)]

    assert found == settled
    assert settled[0] != settled[1]


def without_the_tokens_log(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"log": told.get("log", [])[1:]}


def with_the_token_moved_by(change: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def edit(told: dict[str, Any]) -> dict[str, Any]:
        told["log"][0]["data"] = f"{PRICE + change:064x}"
        return told

    return edit


def by_another_token(told: dict[str, Any]) -> dict[str, Any]:
    told["log"][0]["address"] = "11" * 20
    return told


def after_the_permit(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"log": told["log"][1:] + told["log"][:1]}


def of_another_contract(told: dict[str, Any]) -> dict[str, Any]:
    told["log"][-1]["address"] = "11" * 20
    return told


def for_an_earlier_permit(told: dict[str, Any]) -> dict[str, Any]:
    *moved, permitted = told["log"]
    other = permitted | {"topics": [*permitted["topics"][:2], "00" * 32, permitted["topics"][3]]}
    return told | {"log": [*moved, other, permitted]}


def reverted(told: dict[str, Any]) -> dict[str, Any]:
    return told | {"receipt": {"result": "REVERT"}}


def in_no_block(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "blockNumber"}


@pytest.mark.parametrize(
    "edit",
    [
        without_the_tokens_log,
        with_the_token_moved_by(-1),
        with_the_token_moved_by(1),
        by_another_token,
        after_the_permit,
        of_another_contract,
        for_an_earlier_permit,
        reverted,
        in_no_block,
        lambda _: {},
    ],
)
async def test_nothing_but_our_own_transfer_counts(
    sandbox: TronSandbox, edit: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    proof = await sandbox.proof()
    await sandbox.rail.settle(proof)
    liar = Retold(
        sandbox.network.reader,
        gettransactioninfobyid=edit,
        gettransactionbyid=lambda _: {},
    )

    assert await sandbox.new_rail(node=liar).lookup(proof) == Uncertain("")


async def test_used_and_without_a_trace_stays_open(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    await sandbox.rail.settle(proof)
    late = Retold(
        sandbox.network.reader,
        jsonrpc=lambda told: told | {"result": []},
        gettransactioninfobyid=lambda _: {},
    )
    sandbox.clock.advance(10**9)

    assert await sandbox.new_rail(node=late).lookup(proof) == Uncertain("")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("getnowblock", {}),
        ("getnowblock", {"block_header": {"raw_data": {"timestamp": "now"}}}),
        ("triggerconstantcontract", {}),
        ("triggerconstantcontract", {"result": {"result": True}, "constant_result": []}),
        ("triggerconstantcontract", {"result": {"code": "OTHER"}, "constant_result": ["01"]}),
        ("triggerconstantcontract", {"result": {"result": True}, "constant_result": ["x"]}),
        ("jsonrpc", {"error": {"code": -32600, "message": "exceed max block range"}}),
        ("jsonrpc", {"result": "none"}),
        ("jsonrpc", {"result": [7]}),
    ],
    ids=str,
)
async def test_a_node_that_talks_nonsense_leaves_it_open(
    sandbox: TronSandbox, name: str, told: dict[str, Any]
) -> None:
    proof = await sandbox.proof()
    sandbox.faults.lose_answer = True
    await sandbox.rail.settle(proof)
    rail = sandbox.new_rail(node=Retold(sandbox.network.reader, **{name: lambda _: told}))

    assert await rail.lookup(proof) == Uncertain("")


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


async def test_all_is_well_is_told_by_saying_nothing(sandbox: TronSandbox) -> None:
    chain = TronChain(sandbox.network.reader, TRON_MAINNET)

    assert not await node_problem(chain, sandbox.clock)
    assert not await carrier_problem(sandbox.network.facilitator, TRON_MAINNET)


async def test_what_is_wrong_is_told(sandbox: TronSandbox) -> None:
    reader, clock = sandbox.network.reader, sandbox.clock
    old = Retold(
        reader,
        getnowblock=lambda _: {
            "block_header": {"raw_data": {"number": 1, "timestamp": clock.at_ms - 200_000}}
        },
    )

    assert "200 seconds old" in await node_problem(TronChain(old, TRON_MAINNET), clock)
    assert "not of tron:nile" in await node_problem(TronChain(reader, TRON_NILE), clock)
    assert "nobody" in await node_problem(TronChain(NoNode(), TRON_MAINNET), clock)
    assert "tron:nile" in await carrier_problem(sandbox.network.facilitator, TRON_NILE)
    assert "does not carry" in await carrier_problem(PaperFacilitator(down=True), TRON_MAINNET)
    sandbox.faults.facilitator_down = True
    assert "no answer" in await carrier_problem(sandbox.network.facilitator, TRON_MAINNET)


async def test_a_node_that_is_away_closes_the_rail(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()

    with pytest.raises(RailDownError):
        await sandbox.new_rail(node=NoNode()).verify(proof, sandbox.purchase())


async def test_a_voided_permit_names_what_voided_it(sandbox: TronSandbox) -> None:
    payment = await sandbox.pay()
    permit = SignedPermit.of(await sandbox.decoded(payment)).permit
    transaction = await carried(sandbox, another(payment, pay_to=STRANGER))

    found = await TronChain(sandbox.network.reader, TRON_MAINNET).find(permit, [])

    assert found == Voided(transaction)
