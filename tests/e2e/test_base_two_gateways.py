"""One payment on Base shown to two gateways of one ledger at once: one credit, one transfer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from eth_account import Account

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, start_process
from tests.e2e.payer import Payer
from tests.fakes.base_anvil import FUNDS, BaseChain, base_on_anvil
from tests.fakes.sandbox import PAY_TO, THROWAWAY_KEY

pytestmark = pytest.mark.postgres

# Throwaway: 32 bytes of 0x21, and of 0x22. They pay gas, each for one gateway.
GAS_KEYS = ("0x" + "21" * 32, "0x" + "22" * 32)


@pytest.fixture
async def chain() -> AsyncIterator[BaseChain]:
    async with base_on_anvil() as running:
        for key in GAS_KEYS:
            await running.give_gas(Account.from_key(key).address)
        await running.mint(Account.from_key(THROWAWAY_KEY).address, FUNDS)
        yield running


@pytest.fixture
async def gateways(
    chain: BaseChain, tmp_path: Path, database: str
) -> AsyncIterator[list[GatewayProcess]]:
    """Two without speech, on one PostgreSQL and one data folder, each with gas of its own."""

    def start(number: int) -> GatewayProcess:
        key = tmp_path / f"gas-{number}.key"
        key.write_text(GAS_KEYS[number])
        key.chmod(0o600)
        return start_process(
            tmp_path / "data",
            "gateway",
            name=str(number),
            PAYPHONE_DATABASE=database,
            PAYPHONE_FLEET_SECRET="the secret of a fleet that is not there",
            PAYPHONE_X402_PAY_TO=PAY_TO,
            PAYPHONE_BASE_RPC_URL=chain.anvil.url,
            PAYPHONE_X402_GAS_KEY_FILE=str(key),
        )

    running = [await asyncio.to_thread(start, number) for number in (0, 1)]
    yield running
    for gateway in running:
        gateway.kill()


async def test_four_copies_are_one_credit_and_one_transfer(
    gateways: list[GatewayProcess], chain: BaseChain
) -> None:
    payers = [Payer(gateway.url, THROWAWAY_KEY) for gateway in gateways]
    proof = await payers[0].proof()

    replies = await asyncio.gather(
        *(payer.post(payer.body(), proof) for payer in (*payers, *payers))
    )
    again = [await payer.post(payer.body(), proof) for payer in payers]

    # Whoever came second may be told to ask again, never to pay again.
    assert {reply.status_code for reply in replies} <= {200, 503}
    assert any(reply.status_code == httpx.codes.OK for reply in replies)
    assert [reply.status_code for reply in again] == [200, 200]
    assert again[0].json() == again[1].json()
    assert await chain.balance(PAY_TO) == 100_000
    for gateway in gateways:
        async with Customer(gateway.url, THROWAWAY_KEY) as customer:
            account = await customer.call("GET", "/v1/account")
        assert account["credit_balance"] == "100000"
