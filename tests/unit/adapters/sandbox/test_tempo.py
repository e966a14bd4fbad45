"""The play-money Tempo: its dollars, its time, its memory, and its node for clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.sandbox.faults import Faults
from adapters.sandbox.tempo import CHAIN_ID, USDC, TempoSandbox
from adapters.sandbox.wallets import ThrowawayWallet
from domain.ports.payments import Settled
from tests.fakes.anvil import anvil_or_skip
from tests.fakes.mpp_payer import PAY_TO, THROWAWAY_KEY, Payer, Signing
from tests.fakes.mpp_sandbox import Tempo, tempo
from tests.fakes.sandbox import JumpingClock

pytestmark = pytest.mark.anvil

SOMEBODY = "0x5555555555555555555555555555555555555555"
WALLET = ThrowawayWallet(address=SOMEBODY, secret_key=THROWAWAY_KEY)


@pytest.fixture
async def running() -> AsyncIterator[Tempo]:
    async with tempo() as chain:
        yield chain


@pytest.fixture
async def client(running: Tempo) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    assert running.chain.node is not None
    app = web.Application()
    app.router.add_post("/", running.chain.node)
    async with TestClient(TestServer(app)) as opened:
        yield opened


async def ask(
    client: TestClient[web.Request, web.Application], method: str, *params: object
) -> dict[str, Any]:
    asked = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
    reply: dict[str, Any] = await (await client.post("/", json=asked)).json()
    return reply


async def test_funding_gives_dollars_out_of_nothing(running: Tempo) -> None:
    await running.chain.fund(SOMEBODY, 1_234_567)

    assert await running.chain.balance(SOMEBODY) == 1_234_567


@pytest.mark.parametrize("address", ["", "me", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"])
async def test_what_is_no_address_gets_nothing(running: Tempo, address: str) -> None:
    with pytest.raises(ValueError, match="0x address"):
        await running.chain.fund(address, 1)
    with pytest.raises(ValueError, match="0x address"):
        await running.chain.balance(address)


async def test_its_time_is_the_clocks(running: Tempo) -> None:
    running.clock.advance(1_000_000)

    head = await running.chain.call("eth_getBlockByNumber", ["latest", False])

    assert isinstance(head, dict)
    assert int(head["timestamp"], 16) == running.clock.now_ms() // 1000


async def test_a_payment_is_found_after_a_crash(tmp_path: Path) -> None:
    binary, clock, faults = anvil_or_skip(), JumpingClock(), Faults()
    state = tmp_path / "chain"
    async with TempoSandbox.started(
        binary, clock, faults, pay_to=PAY_TO, wallet=WALLET, state=state
    ) as chain:
        payer = Payer(chain, clock)
        await chain.fund(payer.buyer.address, 1_000_000)
        proof = await payer.proof(100_000, Signing(fee_token=USDC))
        settled = await payer.new_rail().settle(proof)
        # The chain is killed at the end of the block, as it is when we are.

    async with TempoSandbox.started(
        binary, clock, faults, pay_to=PAY_TO, wallet=WALLET, state=state
    ) as chain:
        again = Payer(chain, clock)

        assert isinstance(settled, Settled)
        assert await again.new_rail().lookup(proof) == settled
        assert await chain.balance(PAY_TO) == 100_000
        assert isinstance(
            await again.new_rail().settle(await again.proof(100_000, Signing(fee_token=USDC))),
            Settled,
        )


async def test_clients_reach_it_over_http(
    client: TestClient[web.Request, web.Application],
) -> None:
    reply = await ask(client, "eth_chainId")

    assert reply == {"jsonrpc": "2.0", "id": 7, "result": hex(CHAIN_ID)}


async def test_clients_may_send_lists(client: TestClient[web.Request, web.Application]) -> None:
    calls = [{"id": number, "method": "eth_chainId"} for number in (1, 2)]

    replies = await (await client.post("/", json=calls)).json()

    assert [reply["id"] for reply in replies] == [1, 2]


async def test_a_sent_transaction_may_come_with_a_time_to_wait(
    running: Tempo, client: TestClient[web.Request, web.Application]
) -> None:
    raw = running.payer.signed(await running.payer.asked())

    reply = await ask(client, "eth_sendRawTransactionSync", raw, 20_000)

    assert reply["result"]["status"] == "0x1"


async def test_what_the_chain_refuses_is_told_with_its_code(
    client: TestClient[web.Request, web.Application],
) -> None:
    reply = await ask(client, "eth_getBalance", "nobody")

    assert reply["error"]["code"] == -32602


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 50_000, b"7", b'{"params": 7}'])
async def test_what_is_no_call_is_told_so(
    client: TestClient[web.Request, web.Application], body: bytes
) -> None:
    reply = await (await client.post("/", data=body)).json()

    assert reply["error"]["code"] in (-32700, -32600)


async def test_switched_off_it_answers_nobody(
    running: Tempo, client: TestClient[web.Request, web.Application]
) -> None:
    running.faults.chain_unreadable = True

    assert "switched off" in (await ask(client, "eth_chainId"))["error"]["message"]
    with pytest.raises(ConnectionError):
        await running.chain.call("eth_chainId", [])


async def test_a_slow_answer_comes_after_the_money_moved(running: Tempo) -> None:
    running.faults.settle_delay_ms = 2_000
    began_ms = running.clock.now_ms()

    outcome = await running.payer.new_rail().settle(await running.payer.proof())

    assert isinstance(outcome, Settled)
    assert running.clock.now_ms() >= began_ms + 2_000
