"""`payphone sandbox`, as somebody uses it who wants to see that no coin is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from eth_account import Account

from adapters.cli.customer import Customer
from tests.e2e.conftest import ROOT, GatewayProcess
from tests.e2e.payer import Payer

CHAINS = ["base", "solana", "tempo", "tron"]


def payphone(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "adapters", "sandbox", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@asynccontextmanager
async def fault(gateway: GatewayProcess, *switches: str) -> AsyncIterator[None]:
    """Set faults by the command, and back."""
    done = await asyncio.to_thread(payphone, "fault", *switches, "--url", gateway.url)
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        await asyncio.to_thread(payphone, "fault", "--clear", "--url", gateway.url)


def fresh_payer(gateway: GatewayProcess) -> Payer:
    return Payer(gateway.url, "0x" + bytes(Account.create().key).hex())


def fund(gateway: GatewayProcess, payer: Payer, usd: str = "1") -> None:
    done = payphone("fund", payer.account.address, "--usd", usd, "--url", gateway.url)
    assert done.returncode == 0, done.stdout


async def credit_of(payer: Payer) -> int:
    async with Customer(payer.url, payer.secret_key) as customer:
        account = await customer.call("GET", "/v1/account")
    return int(account["credit_balance"])


def test_every_chain_is_there_with_a_funded_wallet_and_a_node(gateway: GatewayProcess) -> None:
    done = payphone("chains", "--json", "--url", gateway.url)

    chains = json.loads(done.stdout)["chains"]
    assert [chain["name"] for chain in chains] == CHAINS
    assert all(int(chain["wallet_balance"]) > 0 for chain in chains)
    assert all(chain["node"].startswith(gateway.url) for chain in chains)
    told = gateway.ready["sandbox"]
    assert all(told[f"{chain['name']}_address"] == chain["wallet"] for chain in chains)
    assert told["evm_address"] == told["base_address"]


def test_chains_are_shown_to_people(gateway: GatewayProcess) -> None:
    done = payphone("chains", "--url", gateway.url)

    assert done.returncode == 0
    assert "SANDBOX" in done.stdout
    assert gateway.ready["sandbox"]["solana_address"] in done.stdout


@pytest.mark.parametrize("name", CHAINS)
async def test_any_address_is_funded(gateway: GatewayProcess, name: str) -> None:
    address = {
        "base": Account.create().address,
        "solana": "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
        "tempo": Account.create().address,
        "tron": "TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ",
    }[name]

    done = payphone(
        "fund", address, "--chain", name, "--usd", "1.25", "--json", "--url", gateway.url
    )

    assert json.loads(done.stdout)["balance"] == "1250000"


def test_what_is_no_address_is_refused_in_words(gateway: GatewayProcess) -> None:
    done = payphone("fund", "nobody", "--url", gateway.url)

    assert (done.returncode, "an address on base" in done.stdout) == (1, True)


def test_where_no_sandbox_is_the_command_says_what_to_do() -> None:
    done = payphone("chains", "--url", "http://127.0.0.1:1")

    assert done.returncode == 1
    assert "payphone serve --sandbox" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


async def test_a_reply_that_is_lost_is_had_by_asking_again(gateway: GatewayProcess) -> None:
    payer = fresh_payer(gateway)
    fund(gateway, payer)
    proof = await payer.proof()

    async with fault(gateway, "drop_reply=1"):
        with pytest.raises(httpx.HTTPError):
            await payer.post(payer.body(), proof)
    again = await payer.post(payer.body(), proof)

    assert again.status_code == 200
    assert await credit_of(payer) == 100_000


async def test_payments_that_overtake_one_another_are_all_credited(
    gateway: GatewayProcess,
) -> None:
    payers = [fresh_payer(gateway) for _ in range(4)]
    for payer in payers:
        fund(gateway, payer)
    proofs = [await payer.proof() for payer in payers]

    async with fault(gateway, "reorder=1"):
        replies = await asyncio.gather(
            *(p.post(p.body(), proof) for p, proof in zip(payers, proofs, strict=True))
        )

    assert [reply.status_code for reply in replies] == [200] * 4
    assert [await credit_of(payer) for payer in payers] == [100_000] * 4


async def test_a_payment_sent_twice_is_credited_once(gateway: GatewayProcess) -> None:
    payer = fresh_payer(gateway)
    fund(gateway, payer, "0.1")

    async with fault(gateway, "send_twice=1"):
        reply = await payer.post(payer.body(), await payer.proof())

    assert reply.status_code == 200
    assert await credit_of(payer) == 100_000
