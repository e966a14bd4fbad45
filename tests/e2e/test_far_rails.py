"""Gateways as in production, paid on TRON and Tempo: no sandbox in them, and the chains outside.

Two of one ledger, shown the same payment at once: one credit, one transfer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.cli.customer import Customer
from adapters.clock import SystemClock
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.sandbox.faults import Faults
from adapters.sandbox.tempo import TempoSandbox
from adapters.sandbox.tron_facilitator import tron_facilitator_app
from adapters.sandbox.tron_network import SandboxTronNetwork, tron_wallet
from adapters.sandbox.wallets import ThrowawayWallet, fresh_evm_wallet
from tests.e2e.conftest import GatewayProcess, start_process
from tests.e2e.mpp_payer import MppPayer
from tests.e2e.tron_payer import TronPayer
from tests.fakes.anvil import anvil_or_skip

pytestmark = pytest.mark.postgres

PRICE = 100_000
FUNDS = 5_000_000


@dataclass
class Outside:
    """The chains, and where gateways and clients reach them."""

    tempo: TempoSandbox
    tron: SandboxTronNetwork
    tempo_url: str
    tron_url: str
    tron_facilitator_url: str


def node_app(node: object) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", node)  # type: ignore[arg-type]  # a handler of aiohttp's
    return app


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    clock, binary = SystemClock(), anvil_or_skip()
    till, customer = fresh_evm_wallet(), fresh_evm_wallet()
    wallets: tuple[ThrowawayWallet, ThrowawayWallet, ThrowawayWallet] = (
        tron_wallet(),
        tron_wallet(),
        tron_wallet(),
    )
    async with AsyncExitStack() as stack:
        tempo = await stack.enter_async_context(
            TempoSandbox.started(binary, clock, Faults(), pay_to=till.address, wallet=customer)
        )
        tron = await stack.enter_async_context(
            SandboxTronNetwork.opened(
                binary,
                clock,
                Faults(),
                networks=TRON_MAINNET.names,
                state=None,
                wallets=wallets,
            )
        )
        await tempo.fund(customer.address, FUNDS)
        await tron.fund(tron.wallet.address, FUNDS)
        apps = (
            node_app(tempo.node),
            node_app(tron.node),
            tron_facilitator_app(tron.facilitator),
        )
        servers = [await stack.enter_async_context(TestServer(app)) for app in apps]
        yield Outside(tempo, tron, *(str(server.make_url("/")) for server in servers))


@pytest.fixture
async def gateways(
    outside: Outside, tmp_path: Path, database: str
) -> AsyncIterator[list[GatewayProcess]]:
    settings = {
        "PAYPHONE_DATABASE": database,
        "PAYPHONE_FLEET_SECRET": "the secret of a fleet that is not there",
        "PAYPHONE_TEMPO_PAY_TO": outside.tempo.pay_to,
        "PAYPHONE_TEMPO_RPC_URL": outside.tempo_url,
        "PAYPHONE_TEMPO_CHALLENGE_SECONDS": "20",
        "PAYPHONE_TRON_PAY_TO": outside.tron.pay_to,
        "PAYPHONE_TRON_NODE_URL": outside.tron_url.rstrip("/"),
        "PAYPHONE_TRON_FACILITATOR_URL": outside.tron_facilitator_url.rstrip("/"),
    }
    # In threads: they ask our nodes while they start.
    running = [
        await asyncio.to_thread(start_process, tmp_path / "data", "gateway", name=name, **settings)
        for name in ("one", "two")
    ]
    yield running
    for gateway in running:
        gateway.kill()


def check(replies: list[httpx.Response], again: list[httpx.Response]) -> None:
    # Whoever came second may be told to ask again, never to pay again.
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert any(reply.status_code == httpx.codes.OK for reply in replies)
    assert [reply.status_code for reply in again] == [200, 200]
    assert again[0].json() == again[1].json()


async def test_four_copies_on_tempo_are_one_credit_and_one_transfer(
    gateways: list[GatewayProcess], outside: Outside
) -> None:
    key = outside.tempo.wallet.secret_key
    payers = [MppPayer(gateway.url, key, outside.tempo_url) for gateway in gateways]
    credential = await payers[0].credential()

    replies = await asyncio.gather(
        *(payer.post(payer.body(), credential) for payer in (*payers, *payers))
    )
    again = [await payer.post(payer.body(), credential) for payer in payers]

    check(replies, again)
    assert await outside.tempo.balance(outside.tempo.pay_to) == PRICE
    async with Customer(gateways[1].url, key) as customer:
        account = await customer.call("GET", "/v1/account")
    assert account["credit_balance"] == str(PRICE)


async def test_four_copies_on_tron_are_one_credit_and_one_transfer(
    gateways: list[GatewayProcess], outside: Outside
) -> None:
    key = outside.tron.wallet.secret_key
    payers = [TronPayer(gateway.url, outside.tron_url, key) for gateway in gateways]
    payment = await payers[0].payment()

    replies = await asyncio.gather(*(payer.post(payment) for payer in (*payers, *payers)))
    again = [await payer.post(payment) for payer in payers]

    check(replies, again)
    assert await outside.tron.balance(outside.tron.pay_to) == PRICE
    assert [await payer.balance() for payer in payers] == [PRICE, PRICE]
