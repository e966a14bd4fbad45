"""A gateway as in production, paid on Base: no sandbox in it, and anvil for the chain."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner

from adapters.cli.customer import Customer, GatewayRefusedError
from adapters.sandbox.facilitator import facilitator_app
from tests.e2e.conftest import ROOT, GatewayProcess, start_process
from tests.e2e.payer import PURCHASE, Payer
from tests.fakes.base_anvil import FUNDS, GAS_KEY, BaseChain, base_on_anvil, own_shop
from tests.fakes.sandbox import PAY_TO, THROWAWAY_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

GAS_ADDRESS = Account.from_key(GAS_KEY).address
BUYER = Account.from_key(THROWAWAY_KEY).address
START_TIMEOUT_S = 60
FLEET = "the secret of a fleet that is not there"
REFUND = "/v1/account/refund"

Start = Callable[..., Awaitable[GatewayProcess]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chain() -> AsyncIterator[BaseChain]:
    async with base_on_anvil() as running:
        await running.give_gas(GAS_ADDRESS)
        await running.mint(BUYER, FUNDS)
        yield running


def settings(folder: Path, rpc_url: str, **others: str) -> dict[str, str]:
    """What an operator sets who carries payments with a key of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "gas.key"
    key.write_text(GAS_KEY)
    key.chmod(0o600)
    given = {
        "PAYPHONE_X402_PAY_TO": PAY_TO,
        "PAYPHONE_BASE_RPC_URL": rpc_url,
        "PAYPHONE_X402_GAS_KEY_FILE": str(key),
    }
    return {name: value for name, value in {**given, **others}.items() if value}


async def started(folder: Path, environ: dict[str, str], *words: str) -> GatewayProcess:
    return await asyncio.to_thread(start_process, folder / "data", *words, **environ)


@pytest_asyncio.fixture(loop_scope="module")
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start gateways over one data folder; whatever still runs is ended."""
    running: list[GatewayProcess] = []

    async def begin(rpc_url: str, **others: str) -> GatewayProcess:
        environ = settings(tmp_path, rpc_url, PAYPHONE_FLEET_SECRET=FLEET, **others)
        # Without speech of its own it starts sooner.
        running.append(await started(tmp_path, environ, "gateway"))
        return running[-1]

    yield begin
    for gateway in running:
        if gateway.process.poll() is None:
            gateway.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    chain: BaseChain, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("base")
    environ = settings(folder, chain.anvil.url)
    running = await started(folder, environ, "serve", "--no-fetch")
    yield running
    assert running.stop() == 0


@pytest.fixture
def payer(gateway: GatewayProcess) -> Payer:
    return Payer(gateway.url, THROWAWAY_KEY)


async def credit(url: str) -> int:
    async with Customer(url, THROWAWAY_KEY) as customer:
        account = await customer.call("GET", "/v1/account")
    return int(account["credit_balance"])


async def credited(url: str) -> int:
    """The credit, when there is some: nobody repeats the request, so the first sweep brings it."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            try:
                return await credit(url)
            except GatewayRefusedError:
                # A wallet that never bought has no account yet.
                await asyncio.sleep(0.2)


async def test_it_is_no_sandbox(gateway: GatewayProcess) -> None:
    assert not gateway.ready.get("sandbox")


async def test_the_httpx_client_buys_and_the_chain_shows_it(payer: Payer, chain: BaseChain) -> None:
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(payer.account))
    before, gas = await chain.balance(PAY_TO), await chain.sent(GAS_ADDRESS)

    async with x402HttpxClient(client, timeout=60) as http:
        reply = await http.post(payer.url + PURCHASE, json=payer.body(0.25))

    assert reply.status_code == 200
    assert reply.json()["credited_microcredits"] == "250000"
    assert await chain.balance(PAY_TO) == before + 250_000
    assert await chain.sent(GAS_ADDRESS) == gas + 1


async def test_the_clients_of_npm_buy_up_to_a_dollar(
    gateway: GatewayProcess, chain: BaseChain, node: Callable[..., str]
) -> None:
    before = await chain.balance(PAY_TO)

    told = json.loads(await asyncio.to_thread(node, "base.mjs", gateway.url, THROWAWAY_KEY))

    assert told["dime"]["creditedMicrocredits"] == "100000"
    assert told["dollar"]["creditedMicrocredits"] == "1000000"
    assert told["more"]["name"] == "PaymentError"
    assert "spendControls" in told["more"]["message"]
    assert told["fetch"]["status"] == 200
    assert told["fetch"]["receipt"]["payer"] == BUYER
    assert await chain.balance(PAY_TO) == before + 1_350_000


async def test_a_killed_gateway_gives_the_same_answer_again(chain: BaseChain, start: Start) -> None:
    first = await start(chain.anvil.url)
    payer = Payer(first.url, THROWAWAY_KEY)
    proof = await payer.proof()
    bought = await payer.post(payer.body(), proof)
    moved = await chain.balance(PAY_TO)
    first.kill()

    healed = await start(chain.anvil.url)
    again = await Payer(healed.url, THROWAWAY_KEY).post(payer.body(), proof)

    assert (bought.status_code, again.status_code) == (200, 200)
    assert again.json() == bought.json()
    assert await credit(healed.url) == 100_000
    assert await chain.balance(PAY_TO) == moved


async def test_a_gateway_killed_while_its_transaction_is_under_way_credits_it_at_its_next_start(
    start: Start,
) -> None:
    async with base_on_anvil() as slow:
        await slow.give_gas(GAS_ADDRESS)
        await slow.mint(BUYER, FUNDS)
        first = await start(slow.anvil.url)
        payer = Payer(first.url, THROWAWAY_KEY)
        proof = await payer.proof()
        await slow.anvil.call("evm_setAutomine", [False])
        buying = asyncio.create_task(payer.post(payer.body(), proof))
        await slow.waiting(1)
        first.kill()
        with pytest.raises(httpx.HTTPError):
            await buying

        await slow.anvil.call("evm_mine", [])
        healed = await start(slow.anvil.url)

        assert await credited(healed.url) == 100_000
        assert await slow.balance(PAY_TO) == 100_000
        assert await slow.sent(GAS_ADDRESS) == 1


async def test_four_parallel_copies_are_one_credit_and_one_transaction(
    payer: Payer, chain: BaseChain
) -> None:
    await payer.post(payer.body(), await payer.proof())
    before, gas = await credit(payer.url), await chain.sent(GAS_ADDRESS)
    proof = await payer.proof()

    replies = await asyncio.gather(*(payer.post(payer.body(), proof) for _ in range(4)))

    assert [reply.status_code for reply in replies] == [200] * 4
    assert await credit(payer.url) == before + 100_000
    assert await chain.sent(GAS_ADDRESS) == gas + 1


async def test_without_gas_it_asks_to_repeat_and_never_to_pay_again(
    payer: Payer, chain: BaseChain
) -> None:
    proof = await payer.proof()
    await chain.give_gas(GAS_ADDRESS, 1)

    waiting = await payer.post(payer.body(), proof)
    await chain.give_gas(GAS_ADDRESS)
    credited = await payer.post(payer.body(), proof)

    assert waiting.status_code == 503
    assert int(waiting.headers["Retry-After"]) > 0
    assert credited.status_code == 200


async def test_credit_goes_back_to_the_wallet_that_bought_it(
    chain: BaseChain, start: Start, tmp_path: Path
) -> None:
    till = Account.create()
    await chain.mint(till.address, 1_000_000)
    key = tmp_path / "till.key"
    key.write_text(bytes(till.key).hex())
    key.chmod(0o600)
    running = await start(
        chain.anvil.url,
        PAYPHONE_X402_REFUND_KEY_FILE=str(key),
        PAYPHONE_REFUND_ENABLED="1",
        PAYPHONE_REFUND_MIN_USD="0.1",
    )
    payer = Payer(running.url, THROWAWAY_KEY)
    await payer.post(payer.body(), await payer.proof())
    before = await chain.balance(BUYER)

    async with Customer(running.url, THROWAWAY_KEY) as customer, httpx.AsyncClient() as http:
        asked = await http.post(
            running.url + REFUND,
            json={"amount_usd": 0.1, "fee_usd": 0},
            headers={**customer.headers("POST", REFUND), "Idempotency-Key": "1"},
            timeout=60,
        )

    assert (asked.status_code, asked.json()["status"]) == (200, "paid")
    assert await credit(running.url) == 0
    assert await chain.balance(BUYER) == before + 100_000
    assert await chain.balance(till.address) == 900_000


async def test_a_facilitator_by_url_carries_payments_too(start: Start) -> None:
    async with own_shop() as shop, TestServer(facilitator_app(shop.facilitator)) as far:
        # Its node is in this loop, which must not wait for itself when /supported is asked.
        await asyncio.to_thread(shop.facilitator.get_supported)
        running = await start(
            shop.chain.anvil.url,
            PAYPHONE_X402_GAS_KEY_FILE="",
            PAYPHONE_X402_FACILITATOR_URL=str(far.make_url("")),
        )
        payer = Payer(running.url, THROWAWAY_KEY)

        reply = await payer.post(payer.body(), await payer.proof())

        assert reply.status_code == 200
        assert await shop.received() == 100_000


async def test_a_node_of_another_chain_keeps_it_from_starting(
    chain: BaseChain, tmp_path: Path
) -> None:
    environ = settings(tmp_path, chain.anvil.url, PAYPHONE_X402_NETWORK="base-sepolia")

    done = await refused_to_start(tmp_path, environ)

    assert done.returncode != 0
    assert "chain 8453" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_gas_key_that_others_may_read_keeps_it_from_starting(
    chain: BaseChain, tmp_path: Path
) -> None:
    environ = settings(tmp_path, chain.anvil.url)
    (tmp_path / "gas.key").chmod(0o644)

    done = await refused_to_start(tmp_path, environ)

    assert done.returncode != 0
    assert "chmod 600" in done.stderr
    assert GAS_KEY.removeprefix("0x") not in done.stderr


async def refused_to_start(
    folder: Path, environ: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    words = ["serve", "--no-fetch", "--port", "0", "--data", str(folder / "data")]
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "adapters", *words],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        check=False,
    )


async def test_its_health_tells_of_missing_gas(chain: BaseChain, start: Start) -> None:
    await chain.give_gas(GAS_ADDRESS, 1)
    running = await start(chain.anvil.url)

    async with httpx.AsyncClient() as http:
        reply = await http.get(f"{running.url}/internal/health")
    await chain.give_gas(GAS_ADDRESS)

    assert GAS_ADDRESS in reply.text
