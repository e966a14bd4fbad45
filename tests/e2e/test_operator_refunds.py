"""An operator pays credits back: with the gateway running, stopped, or on a database (B16)."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.refunding import (
    BARE,
    BOUGHT,
    payphone,
    wallet_at,
)


def operator(gateway: GatewayProcess, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--data", str(gateway.data), "--why", "the call was cut off", "--who", "ops-1")
    return payphone("refund", *where, *words)


async def test_an_operator_refunds_while_the_gateway_runs(start: StartGateway) -> None:
    """Off for wallets, and no fee: the operator decides."""
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        words = ("--account", account["account_id"], "--amount", "0.4", "--wait")
        named = (*words, "--id", "00000000-0000-4000-8000-000000000001")

        done = [await asyncio.to_thread(operator, gateway, *named) for _ in range(2)]
        everything = await asyncio.to_thread(
            operator, gateway, "--wallet", f"evm:{wallet.customer.address}", "--amount", "all"
        )
        too_much = await asyncio.to_thread(operator, gateway, *words[:2], "--amount", "0.1")

        assert [d.returncode for d in done] == [0, 0], done[0].stderr
        assert "paid 0.4 USD: eip155:8453 0x" in done[0].stdout
        assert done[1].stdout == done[0].stdout
        assert (everything.returncode, "0.5 USD of credit" in everything.stdout) == (0, True)
        assert (too_much.returncode, "0 USD are available" in too_much.stderr) == (1, True)
        await wallet.until_on_chain(before + BOUGHT)
        assert await wallet.available() == 0


async def test_an_operator_refunds_while_the_gateway_is_stopped(start: StartGateway) -> None:
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
    assert gateway.stop() == 0

    done = operator(gateway, "--account", account["account_id"], "--amount", "0.4", "--fee", "0.1")

    assert done.returncode == 0, done.stderr
    assert "0.1 of it kept, the rest to be paid over x402-base" in done.stdout
    assert "pays it when it starts" in done.stdout
    again = start(**BARE)
    async with wallet_at(again) as wallet:
        await wallet.until_on_chain(before + 300_000)
        assert await wallet.available() == BOUGHT - 400_000


@pytest.mark.postgres
async def test_an_operator_refunds_through_the_gateway_that_owns_the_database(
    start: StartGateway, database: str
) -> None:
    gateway = start(**BARE, PAYPHONE_DATABASE=database)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        words = ("--account", account["account_id"], "--amount", "all", "--database", database)

        done = await asyncio.to_thread(operator, gateway, *words, "--wait")

        assert done.returncode == 0, done.stderr
        assert "paid 0.9 USD" in done.stdout
        assert await wallet.on_chain() == before + BOUGHT
    assert gateway.stop() == 0
    verified = payphone("ledger", "verify", "--database", database, "--data", str(gateway.data))
    assert verified.returncode == 0, verified.stdout + verified.stderr
