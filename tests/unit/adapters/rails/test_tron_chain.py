"""What the TRON chain is believed about a permit: nothing but its own transfer counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from coincurve import PrivateKey

from adapters.rails.tron_chain import Landed, TronChain, Voided
from adapters.rails.tron_desk import SignedPermit
from adapters.rails.tron_health import carrier_problem, node_problem
from adapters.rails.tron_networks import TRON_MAINNET, TRON_NILE
from adapters.rails.tron_permit import wallet_of
from domain.ports.payments import Absent, Rejected, Settled, Uncertain
from tests.fakes.tron_paper import NoNode, PaperFacilitator
from tests.fakes.tron_sandbox import TronSandbox, tron_sandbox
from tests.fakes.tron_tricks import Retold, another, carried

pytestmark = pytest.mark.anvil

PRICE = 100_000
STRANGER = wallet_of(PrivateKey(b"\x44" * 32))


@pytest.fixture
async def sandbox() -> AsyncIterator[TronSandbox]:
    async with tron_sandbox() as opened:
        yield opened


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


async def test_a_transaction_that_is_named_need_not_be_searched_for(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    settled = await sandbox.rail.settle(proof)
    mute = Retold(sandbox.network.reader, jsonrpc=lambda _: {"error": {"message": "not here"}})

    assert await sandbox.new_rail(node=mute).lookup(proof) == settled


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


async def test_a_trace_that_is_a_moment_late_is_waited_for(sandbox: TronSandbox) -> None:
    proof = await sandbox.proof()
    settled = await sandbox.rail.settle(proof)
    asked = []

    def late(told: dict[str, Any]) -> dict[str, Any]:
        asked.append(told)
        return told if len(asked) > 2 else told | {"result": []}

    node = Retold(sandbox.network.reader, jsonrpc=late)
    rail = sandbox.new_rail(node=node, facilitator=PaperFacilitator())

    assert await rail.lookup(proof) == settled


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
        ("getblock", {}),
        ("getblock", {"block_header": {"raw_data": {"timestamp": "now"}}}),
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


async def test_all_is_well_is_told_by_saying_nothing(sandbox: TronSandbox) -> None:
    chain = TronChain(sandbox.network.reader, TRON_MAINNET)

    assert not await node_problem(chain, sandbox.clock)
    assert not await carrier_problem(sandbox.network.facilitator, TRON_MAINNET)


async def test_what_is_wrong_is_told(sandbox: TronSandbox) -> None:
    reader, clock = sandbox.network.reader, sandbox.clock
    old = Retold(
        reader,
        getblock=lambda _: {
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


async def test_a_voided_permit_names_what_voided_it(sandbox: TronSandbox) -> None:
    payment = await sandbox.pay()
    permit = SignedPermit.of(await sandbox.decoded(payment)).permit
    transaction = await carried(sandbox, another(payment, pay_to=STRANGER))

    found = await TronChain(sandbox.network.reader, TRON_MAINNET).find(permit, [])

    assert found == Voided(transaction)
