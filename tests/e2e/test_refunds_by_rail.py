"""Money goes back over every rail, and a process that dies on the way pays once (B16)."""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.keypair import Keypair
from tronpy.keys import PrivateKey

from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.mpp_payer import MppPayer
from tests.e2e.refunding import (
    BARE,
    BOUGHT,
    DOOM,
    NET,
    ON,
    PATH,
    REFUND,
    SENT,
    audited,
)
from tests.e2e.solana_payer import SolanaPayer
from tests.e2e.tron_payer import TronPayer


async def on_solana(gateway: GatewayProcess) -> None:
    payer = SolanaPayer.of(gateway)
    reply = await payer.post(payer.body(0.9), await payer.proof(payer.body(0.9)))
    assert reply.status_code == 200, reply.text


async def on_tempo(gateway: GatewayProcess) -> None:
    sandbox = gateway.ready["sandbox"]
    payer = MppPayer(gateway.url, sandbox["tempo_private_key"], sandbox["tempo_rpc_url"])
    reply = await payer.post(payer.body(0.9), await payer.credential(payer.body(0.9)))
    assert reply.status_code == 200, reply.text


async def on_tron(gateway: GatewayProcess) -> None:
    payer = TronPayer.at(gateway)
    reply = await payer.post(await payer.payment(0.9), amount_usd=0.9)
    assert reply.status_code == 200, reply.text


def signed(gateway: GatewayProcess, chain: str, method: str, path: str) -> dict[str, str]:
    """What the sandbox's wallet of this chain signs a request with."""
    sandbox, now = gateway.ready["sandbox"], str(int(time.time()))
    text = f"{method}\n{path}\n{now}"
    if chain == "solana":
        key = Keypair.from_base58_string(sandbox["solana_secret_key"])
        address = str(key.pubkey())
        signature = base64.b64encode(bytes(key.sign_message(text.encode()))).decode("ascii")
    elif chain == "tron":
        secret = PrivateKey(bytes.fromhex(sandbox["tron_private_key"]))
        address = str(secret.public_key.to_base58check_address())
        signature = secret.sign_msg(text.encode()).hex()
    else:
        account = Account.from_key(sandbox["tempo_private_key"])
        address = account.address
        signature = account.sign_message(encode_defunct(text=text)).signature.to_0x_hex()
    return {
        "Authorization": f"{chain}:{signature}",
        "X-Wallet-Address": address,
        "X-Wallet-Chain": chain,
        "X-Timestamp": now,
    }


RAILS = pytest.mark.parametrize(
    ("network", "chain", "buy"),
    [
        ("solana", "solana", on_solana),
        pytest.param("tempo", "evm", on_tempo, marks=pytest.mark.anvil),
        pytest.param("tron", "tron", on_tron, marks=pytest.mark.anvil),
    ],
)
Buy = Callable[[GatewayProcess], Awaitable[None]]


async def balance(gateway: GatewayProcess, network: str) -> int:
    """What the sandbox's wallet of this network holds."""
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.get("/sandbox/chains") as reply,
    ):
        chains = (await reply.json())["chains"]
    return next(int(c["wallet_balance"]) for c in chains if c["name"] == network)


async def ask_as(gateway: GatewayProcess, chain: str) -> dict[str, Any]:
    headers = {**signed(gateway, chain, "POST", PATH), "Idempotency-Key": "1"}
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.post(PATH, json=REFUND, headers=headers) as reply,
    ):
        found: dict[str, Any] = await reply.json()
        return found


@RAILS
async def test_money_goes_back_over_every_rail_it_came_by(
    start: StartGateway, network: str, chain: str, buy: Buy
) -> None:
    gateway = start(**ON, **BARE)
    await buy(gateway)
    before = await balance(gateway, network)

    refund = await ask_as(gateway, chain)

    assert refund["status"] == "paid", refund
    assert await balance(gateway, network) == before + NET
    assert gateway.stop() == 0
    assert audited(gateway.data).books.by_kind()[f"world:{refund['rail']}"] == -BOUGHT + NET


@RAILS
async def test_killed_after_it_was_sent_it_is_found_on_every_chain(
    start: StartGateway, network: str, chain: str, buy: Buy
) -> None:
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER=str(SENT))
    await buy(gateway)
    before = await balance(gateway, network)
    with pytest.raises(aiohttp.ClientError):
        await ask_as(gateway, chain)
    gateway.process.wait(timeout=10)

    healed = start(**ON, **BARE)
    refund = await ask_as(healed, chain)

    assert refund["status"] == "paid", refund
    assert await balance(healed, network) == before + NET
    assert healed.stop() == 0
    assert audited(healed.data).books.by_kind()["payouts:pending"] == 0
