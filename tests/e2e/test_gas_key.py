"""The key that pays gas: no nonce is lost, none is in the way, and what is stuck comes loose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from eth_account.typed_transactions import TypedTransaction
from hexbytes import HexBytes

from domain.ports.payments import Settled, Uncertain
from tests.fakes.base_anvil import OwnShop, own_shop
from tests.fakes.sandbox import PAY_TO

PRICE = 100_000


@pytest.fixture
async def shop() -> AsyncIterator[OwnShop]:
    async with own_shop() as opened:
        yield opened


async def test_a_node_that_refuses_a_transaction_is_in_nobodys_way(shop: OwnShop) -> None:
    first, second = await shop.proof(), await shop.proof()
    shop.node.refusals["eth_sendRawTransaction"] = "internal error"

    refused = await shop.rail.settle(first)
    settled = await shop.rail.settle(second)

    assert refused == Uncertain("")
    assert isinstance(settled, Settled)
    assert isinstance(await shop.rail.settle(first), Settled)
    assert await shop.received() == 2 * PRICE


async def test_a_nonce_that_another_process_took_meanwhile_is_taken_anew(shop: OwnShop) -> None:
    proof = await shop.proof()
    shop.node.before_send = lambda: shop.chain.send(shop.gas_key.address, PAY_TO, b"")

    assert isinstance(await shop.rail.settle(proof), Settled)
    assert (await shop.received(), await shop.gas_sent()) == (PRICE, 2)


async def test_a_nonce_that_the_node_does_not_count_yet_is_passed_over() -> None:
    async with own_shop("--block-time", "1") as shop:
        proof = await shop.proof()
        # Another process has just sent; this node has it, and counts the mined ones only.
        shop.node.before_send = lambda: shop.chain.send(
            shop.gas_key.address, PAY_TO, b"", wait=False
        )
        shop.node.counts_mined_only = True

        assert isinstance(await shop.rail.settle(proof), Settled)
        assert await shop.received() == PRICE


async def test_a_transaction_sent_into_silence_is_waited_for(shop: OwnShop) -> None:
    proof = await shop.proof()
    shop.node.mute.add("eth_sendRawTransaction")

    assert isinstance(await shop.rail.settle(proof), Settled)
    assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_a_transaction_that_never_reached_the_node_is_sent_again() -> None:
    async with own_shop(resend_after_ms=300) as shop:
        proof = await shop.proof()
        shop.node.deaf.add("eth_sendRawTransaction")
        settling = asyncio.create_task(shop.rail.settle(proof))
        await shop.node.heard("eth_getTransactionReceipt", 1)

        shop.node.deaf.clear()

        assert isinstance(await settling, Settled)
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_a_transaction_lost_for_good_leaves_no_gap() -> None:
    async with own_shop(receipt_wait_ms=200) as shop:
        lost, next_one = await shop.proof(), await shop.proof()
        shop.node.deaf.add("eth_sendRawTransaction")
        outcome = await shop.rail.settle(lost)
        shop.node.deaf.clear()
        # As a new process, or as this one when the node has had its time to see it.
        shop.restart()

        settled = await shop.rail.settle(next_one)

    assert isinstance(outcome, Uncertain)
    assert isinstance(settled, Settled)


async def test_a_transaction_that_no_block_takes_is_sent_dearer_and_lands_once() -> None:
    async with own_shop("--block-time", "1", resend_after_ms=300) as shop:
        proof = await shop.proof()
        await shop.chain.anvil.call("evm_setIntervalMining", [0])
        await shop.chain.anvil.call("evm_setAutomine", [False])
        settling = asyncio.create_task(shop.rail.settle(proof))
        await shop.node.heard("eth_sendRawTransaction", 2)

        await shop.chain.anvil.call("evm_mine", [])

        assert isinstance(await settling, Settled)
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)
        first, second = (most_of(raw) for raw in shop.node.sent[:2])
        assert second > first * 110 // 100


async def test_a_receipt_that_does_not_come_is_uncertain_and_found_later() -> None:
    async with own_shop("--block-time", "1", receipt_wait_ms=100) as shop:
        proof = await shop.proof()
        await shop.chain.anvil.call("evm_setIntervalMining", [0])
        await shop.chain.anvil.call("evm_setAutomine", [False])

        outcome = await shop.rail.settle(proof)
        await shop.chain.anvil.call("evm_mine", [])
        again = await shop.rail.settle(proof)

        assert isinstance(outcome, Uncertain)
        assert isinstance(again, Settled)
        assert again.reference == outcome.reference
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 1)


async def test_a_facilitator_restarted_between_sending_and_receipt_pays_once() -> None:
    async with own_shop("--block-time", "1", receipt_wait_ms=100) as shop:
        proof = await shop.proof()
        await shop.chain.anvil.call("evm_setIntervalMining", [0])
        await shop.chain.anvil.call("evm_setAutomine", [False])
        await shop.rail.settle(proof)
        shop.restart()
        # It knows nothing of the first transaction, and sends a second that must revert.
        settling = asyncio.create_task(shop.rail.settle(proof))
        await shop.node.heard("eth_sendRawTransaction", 2)

        await shop.chain.anvil.call("evm_mine", [])

        assert isinstance(await settling, Settled | Uncertain)
        assert isinstance(await shop.rail.lookup(proof), Settled)
        assert await shop.received() == PRICE


async def test_a_transaction_that_an_earlier_process_left_stuck_gives_way() -> None:
    async with own_shop(resend_after_ms=200) as shop:
        proof = await shop.proof()
        # Some node has one of ours that no block takes; this node counts it and has it not.
        shop.node.counted_beyond = 1

        settled = await shop.rail.settle(proof)

        assert isinstance(settled, Settled)
        assert (await shop.received(), await shop.gas_sent()) == (PRICE, 2)


def most_of(raw: str) -> int:
    """What a signed transaction pays for a unit of gas at most."""
    fields: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return int(fields["maxFeePerGas"])
