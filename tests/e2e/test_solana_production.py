"""Gateways as in production, paid on Solana: no sandbox in them, and a cluster outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from aiohttp.test_utils import TestServer

from adapters.clock import SystemClock
from adapters.sandbox.faults import Faults
from adapters.sandbox.solana import SolanaChain
from adapters.sandbox.solana_rpc import SolanaNode, solana_node_app
from tests.e2e.conftest import GatewayProcess, start_process
from tests.e2e.solana_payer import SolanaPayer
from tests.fakes.solana_sandbox import BUYER, FEE_PAYER, FEES, PAY_TO, TILL

# Without speech of its own a gateway starts sooner.
SECRET = "the secret of a fleet that is not there"
FUNDS = 100_000_000
REFUNDS = {"PAYPHONE_REFUND_ENABLED": "1", "PAYPHONE_REFUND_MIN_USD": "0.1"}

Start = Callable[..., Awaitable[GatewayProcess]]


@dataclass
class Outside:
    """A cluster that no gateway keeps, with its node on a port."""

    faults: Faults = field(default_factory=Faults)
    url: str = ""

    def __post_init__(self) -> None:
        self.chain = SolanaChain(SystemClock())
        self.chain.fund(str(FEE_PAYER.pubkey()), 0, lamports=FEES)
        self.chain.fund(PAY_TO, 0)
        self.chain.fund(str(BUYER.pubkey()), FUNDS)

    def paid(self) -> int:
        """What came in so far."""
        return self.chain.balance(PAY_TO)

    def payments(self) -> int:
        """How many transactions the fee payer has paid for; it was given lamports by one."""
        return len(self.chain.history(str(FEE_PAYER.pubkey()))) - 1


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    cluster = Outside()
    node = SolanaNode(cluster.chain, cluster.faults)
    async with TestServer(solana_node_app(node)) as server:
        cluster.url = str(server.make_url("/"))
        yield cluster


@pytest.fixture
async def start(tmp_path: Path, outside: Outside) -> AsyncIterator[Start]:
    """Start gateways over one data folder; whatever still runs is ended."""
    running: list[GatewayProcess] = []
    keys = {"FEE_PAYER_KEY_FILE": FEE_PAYER, "REFUND_KEY_FILE": TILL}
    paths = {name: tmp_path / name for name in keys}
    for name, key in keys.items():
        paths[name].write_text(json.dumps(list(bytes(key))))
        paths[name].chmod(0o600)

    async def begin(name: str = "", **environ: str) -> GatewayProcess:
        given = {
            "PAYPHONE_SOLANA_PAY_TO": PAY_TO,
            "PAYPHONE_SOLANA_RPC_URL": outside.url,
            "PAYPHONE_FLEET_SECRET": SECRET,
            **{f"PAYPHONE_SOLANA_{name}": str(path) for name, path in paths.items()},
            **environ,
        }
        # In a thread: the gateway asks our node while it starts.
        gateway = await asyncio.to_thread(
            start_process, tmp_path / "data", "gateway", name=name, **given
        )
        running.append(gateway)
        return gateway

    yield begin
    for gateway in running:
        if gateway.process.poll() is None:
            gateway.kill()


def payer_at(gateway: GatewayProcess, outside: Outside) -> SolanaPayer:
    return SolanaPayer(gateway.url, str(BUYER), outside.url)


async def test_the_official_client_buys_and_the_chain_shows_it(
    start: Start, outside: Outside
) -> None:
    gateway = await start()
    payer = payer_at(gateway, outside)

    reply = await payer.post(payer.body(0.25), await payer.proof(payer.body(0.25)))

    assert not gateway.ready.get("sandbox")
    assert reply.status_code == 200, reply.text
    assert await payer.balance() == outside.paid() == 250_000
    assert outside.chain.lamports(str(FEE_PAYER.pubkey())) == FEES - 10_000


async def test_the_clients_of_npm_buy_up_to_a_dollar(
    start: Start, outside: Outside, node: Callable[..., str]
) -> None:
    gateway = await start()

    told = json.loads(
        await asyncio.to_thread(
            node, "solana.mjs", gateway.url, str(BUYER), f"--solana={outside.url}"
        )
    )

    assert told["dime"]["creditedMicrocredits"] == "100000"
    assert told["dollar"]["creditedMicrocredits"] == "1000000"
    assert told["fetch"]["status"] == 200
    assert outside.paid() == 1_350_000


async def test_a_restarted_gateway_gives_the_same_answer_again(
    start: Start, outside: Outside
) -> None:
    first = payer_at(gateway := await start(), outside)
    proof = await first.proof()
    before = await first.post(first.body(), proof)
    gateway.kill()

    again = payer_at(await start(), outside)
    after = await again.post(again.body(), proof)

    assert (before.status_code, after.status_code) == (200, 200)
    assert after.json() == before.json()
    assert outside.payments() == 1


async def test_a_node_that_goes_dark_is_waited_for_and_nobody_pays_twice(
    start: Start, outside: Outside
) -> None:
    payer = payer_at(await start(), outside)
    proof = await payer.proof()
    outside.faults.chain_unreadable = True
    dark = await payer.post(payer.body(), proof)
    outside.faults.chain_unreadable = False

    light = await payer.post(payer.body(), proof)

    assert (dark.status_code, light.status_code) == (503, 200)
    assert outside.paid() == await payer.balance() == 100_000


async def test_what_was_not_used_goes_back_to_the_wallet(start: Start, outside: Outside) -> None:
    payer = payer_at(await start(**REFUNDS), outside)
    body = payer.body(0.9)
    await payer.post(body, await payer.proof(body))

    refund = await payer.refund(0.5)

    assert refund.get("status") == "paid", refund
    assert outside.chain.balance(str(BUYER.pubkey())) == FUNDS - 400_000
    assert outside.paid() == await payer.balance() == 400_000


@pytest.mark.postgres
async def test_four_copies_at_two_gateways_are_one_credit(
    start: Start, outside: Outside, database: str
) -> None:
    gateways = [await start(name, PAYPHONE_DATABASE=database) for name in ("one", "two")]
    payers = [payer_at(gateway, outside) for gateway in gateways]
    proof = await payers[0].proof()

    replies = await asyncio.gather(
        *(payer.post(payer.body(), proof) for payer in (*payers, *payers))
    )
    again = await payers[1].post(payers[1].body(), proof)

    # Whoever came second may be told to ask again, never to pay again.
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert any(reply.status_code == httpx.codes.OK for reply in replies)
    assert again.status_code == 200
    assert [await payer.balance() for payer in payers] == [100_000, 100_000]
    assert outside.paid() == 100_000
