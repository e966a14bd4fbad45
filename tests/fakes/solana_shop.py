"""Solana as the contract suite wants it: the rail in the process, and over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp.test_utils import TestServer

from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.rpc import HttpRpc
from adapters.sandbox.facilitator import facilitator_app
from adapters.sandbox.solana_rpc import solana_node_app
from domain.ports.payments import PaymentRail, Purchase
from tests.fakes.shop import Shop
from tests.fakes.solana_sandbox import BUYER, SolanaSandbox, signed_header


@asynccontextmanager
async def solana_in_process() -> AsyncIterator[Shop]:
    sandbox = SolanaSandbox()
    yield _shop(sandbox, sandbox.new_rail)
    sandbox.close()


@asynccontextmanager
async def solana_over_http() -> AsyncIterator[Shop]:
    sandbox = SolanaSandbox()
    async with (
        TestServer(facilitator_app(sandbox.facilitator)) as far_facilitator,
        TestServer(solana_node_app(sandbox.node)) as far_node,
    ):
        facilitator = HttpFacilitator(str(far_facilitator.make_url("")), timeout_ms=10_000)
        rpc = HttpRpc(str(far_node.make_url("/")))
        yield _shop(sandbox, lambda: sandbox.new_rail(facilitator=facilitator, rpc=rpc))
        await facilitator.aclose()
        await rpc.aclose()
    sandbox.close()


def _shop(sandbox: SolanaSandbox, restarted: Callable[[], PaymentRail]) -> Shop:
    faults = sandbox.faults

    async def pay(purchase: Purchase) -> dict[str, str]:
        return signed_header(await sandbox.pay(purchase))

    async def received() -> int:
        return sandbox.received()

    async def expire() -> None:
        sandbox.expire()

    def mend() -> None:
        faults.facilitator_down = faults.lose_answer = faults.chain_unreadable = False

    return Shop(
        rail=restarted(),
        restarted=restarted,
        pay=pay,
        garbage={"payment-signature": "bm90IGEgcGF5bWVudA=="},
        received=received,
        expire=expire,
        switch_off=lambda: setattr(faults, "facilitator_down", True),
        lose_answers=lambda: setattr(faults, "lose_answer", True),
        hide_the_chain=lambda: setattr(faults, "chain_unreadable", True),
        mend=mend,
        chain="solana",
        wallet=str(BUYER.pubkey()),
    )


SOLANA_SHOPS = (solana_in_process, solana_over_http)
