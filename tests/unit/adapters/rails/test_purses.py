"""A wallet that signs more than it holds makes nobody pay for what must fail."""

from __future__ import annotations

import asyncio
import threading

import pytest

from adapters.rails.networks import SOLANA
from adapters.rails.purses import Purses
from adapters.rails.solana_signer import SolanaFacilitator, SolanaSigner
from adapters.sandbox.solana_rpc import SolanaNode
from tests.fakes.solana_sandbox import FEE_PAYER, MUCH, SolanaSandbox


class Chain:
    """Holds a purse, and takes payments when it is told to."""

    def __init__(self, held: int) -> None:
        self.held = held
        self.sent = 0
        self.block = asyncio.Event()
        self.purses = Purses(self._look)

    async def _look(self, _asset: str, _payer: str) -> int:
        return self.held

    async def pay(self, amount: int, payer: str = "alice") -> bool:
        async with self.purses.covered("dollars", payer, amount):
            if self.held < amount:
                return False
            self.sent += 1
            await self.block.wait()
            self.held -= amount
            return True


async def begun(chain: Chain, *amounts: int, payer: str = "alice") -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(chain.pay(amount, payer)) for amount in amounts]
    for _ in range(20):
        await asyncio.sleep(0)
    return tasks


async def test_what_a_wallet_holds_goes_together() -> None:
    chain = Chain(held=3)

    tasks = await begun(chain, 1, 1, 1)

    assert chain.sent == 3
    chain.block.set()
    assert await asyncio.gather(*tasks) == [True] * 3


async def test_what_it_does_not_hold_waits_and_is_never_sent() -> None:
    chain = Chain(held=1)

    tasks = await begun(chain, 1, 1, 1)

    assert chain.sent == 1
    chain.block.set()
    assert await asyncio.gather(*tasks) == [True, False, False]
    assert chain.sent == 1


async def test_other_wallets_do_not_wait() -> None:
    chain = Chain(held=1)
    alices = await begun(chain, 1, 1)

    others = await begun(chain, 1, payer="bob")

    assert chain.sent == 2
    chain.block.set()
    await asyncio.gather(*alices, *others)


async def test_a_payment_that_breaks_off_is_not_waited_for() -> None:
    chain = Chain(held=1)
    first, second = await begun(chain, 1, 1)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    chain.block.set()

    assert await second


async def test_on_solana_only_what_can_land_is_sent() -> None:
    """A transaction that fails costs its fees all the same."""
    cluster = SolanaSandbox()
    node, sent, crowd = SolanaNode(cluster.chain), [], threading.Event()

    def slow(method: str, params: list[object]) -> object:
        if method == "sendTransaction":
            sent.append(params)
            # As long as others may take to be simulated.
            crowd.wait(0.3)
        return node.answer(method, params)

    facilitator = SolanaFacilitator(SolanaSigner(FEE_PAYER, slow), SOLANA.caip2)
    rail = cluster.new_rail(facilitator=facilitator)
    # Each for all there is, and each with another priority fee.
    payments = [cluster.transaction(MUCH, price=price) for price in range(1, 5)]
    proofs = [await cluster.proof_of(payment, MUCH) for payment in payments]

    await asyncio.gather(*(rail.settle(proof) for proof in proofs))

    facilitator.close()
    assert len(sent) == 1
    assert cluster.received() == MUCH
