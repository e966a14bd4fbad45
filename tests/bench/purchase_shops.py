"""Who buys in `tests.bench.purchases`: for each rail its wallets and an official client of theirs.

A rail is one `Shop`, and where there is a bare server to compare with, one in `purchase_peers`.
Wallets are throwaway; they are given play money before the load begins.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx
from agent_wallet.core.adapters.tron import TronSigner
from bankofai.x402.clients import X402Client, X402HttpClient
from bankofai.x402.mechanisms.tron.exact_permit import ExactPermitTronClientMechanism
from bankofai.x402.signers.client import TronClientSigner
from eth_account import Account
from mpp.client.transport import Mpp
from mpp.methods.tempo import TempoAccount
from mpp.methods.tempo import client as tempo
from solders.keypair import Keypair
from tronpy import AsyncTron
from tronpy.providers.async_http import AsyncHTTPProvider
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.mechanisms.svm.exact import register_exact_svm_client
from x402.mechanisms.svm.signers import KeypairSigner

AMOUNT = 100_000
TIMEOUT_S = 120
PATH = "/v1/credits/purchase"
SOLANA_NODE = "/sandbox/node/solana"
TEMPO_NODE = "/sandbox/node/tempo"
# With a slash: its client joins what it asks for to that.
TRON_NODE = "/sandbox/node/tron/"
# Keys count from here, so that no other test's wallets are these.
_FIRST_KEY = 1_000_001


@dataclass(frozen=True, slots=True, kw_only=True)
class Wallet:
    """A buyer: how it is written, how its account is named, and its throwaway key."""

    chain: str
    address: str
    canonical: str
    secret_key: str


@dataclass(slots=True)
class Watch:
    """What one purchase took, in ms: all of it, and what of that was spent waiting for answers.

    A server is waited for from the last byte that is sent until the headers of the answer are read.
    """

    whole_ms: float = 0.0
    waited_ms: float = 0.0
    _asked_s: float = 0.0

    async def trace(self, name: str, _facts: dict[str, Any]) -> None:
        """Hears from httpcore what it does (httpx's `trace` extension)."""
        if name.endswith("send_request_body.complete"):
            self._asked_s = time.perf_counter()
        elif name.endswith("receive_response_headers.complete"):
            self.waited_ms += (time.perf_counter() - self._asked_s) * 1_000


Buy = Callable[[Watch], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A rail by its name, its wallets by number, and a client of one that buys at a server's URL.

    `client` is entered once for each wallet, so that connections and keys are there before a clock
    runs.
    """

    rail: str
    wallet: Callable[[int], Wallet]
    client: Callable[[str, Wallet], AbstractAsyncContextManager[Buy]]


def evm_wallet(index: int) -> Wallet:
    secret_key = f"0x{_FIRST_KEY + index:064x}"
    address = str(Account.from_key(secret_key).address)
    return Wallet(chain="evm", address=address, canonical=address.lower(), secret_key=secret_key)


def solana_wallet(index: int) -> Wallet:
    key = Keypair.from_seed((_FIRST_KEY + index).to_bytes(32))
    address = str(key.pubkey())
    return Wallet(chain="solana", address=address, canonical=address, secret_key=str(key))


def tron_wallet(index: int) -> Wallet:
    secret_key = (_FIRST_KEY + index).to_bytes(32).hex()
    address = TronSigner(bytes.fromhex(secret_key))._address
    return Wallet(chain="tron", address=address, canonical=address, secret_key=secret_key)


@asynccontextmanager
async def base_client(url: str, wallet: Wallet) -> AsyncIterator[Buy]:
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key(wallet.secret_key)))
    async with x402HttpxClient(client, timeout=TIMEOUT_S) as http:
        yield buyer(http.post, url + PATH, body_of(wallet))


@asynccontextmanager
async def solana_client(url: str, wallet: Wallet) -> AsyncIterator[Buy]:
    """It asks a node for the newest blockhash and blocks while it does: the sandbox's own node."""
    client, key = x402Client(), Keypair.from_base58_string(wallet.secret_key)
    register_exact_svm_client(client, KeypairSigner(key), rpc_url=url + SOLANA_NODE)
    async with x402HttpxClient(client, timeout=TIMEOUT_S) as http:
        yield buyer(http.post, url + PATH, body_of(wallet))


@asynccontextmanager
async def tempo_client(url: str, wallet: Wallet) -> AsyncIterator[Buy]:
    account = TempoAccount.from_key(wallet.secret_key)
    method = tempo.charge(account=account, rpc_url=url + TEMPO_NODE)
    async with Mpp(methods=[method]) as payer, payer.client(timeout=TIMEOUT_S) as http:
        yield buyer(http.post, f"{url}{PATH}/mpp", body_of(wallet))


@asynccontextmanager
async def tron_client(url: str, wallet: Wallet) -> AsyncIterator[Buy]:
    """The first time it also allows the permit's contract to take what is permitted."""
    signer = TronClientSigner(TronSigner(bytes.fromhex(wallet.secret_key)))
    signer.set_address(wallet.address)
    provider = AsyncHTTPProvider(endpoint_uri=url + TRON_NODE)
    # It knows none but the network's own; there is no other way to tell it.
    signer._async_tron_clients["tron:mainnet"] = AsyncTron(provider=provider)
    client = X402Client().register("tron:*", ExactPermitTronClientMechanism(signer))
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http, closing_provider(provider):
        payer = X402HttpClient(http, client)
        yield buyer(payer.post, f"{url}{PATH}/tron", {"amount_usd": AMOUNT / 1_000_000})


@asynccontextmanager
async def closing_provider(provider: AsyncHTTPProvider) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await provider.client.aclose()


def body_of(wallet: Wallet) -> dict[str, object]:
    return {
        "wallet_address": wallet.address,
        "wallet_chain": wallet.chain,
        "amount_usd": AMOUNT / 1_000_000,
    }


def buyer(post: Callable[..., Awaitable[httpx.Response]], url: str, body: dict[str, object]) -> Buy:
    """Buys once, by a client that pays by itself where it is asked to."""

    async def buy(watch: Watch) -> None:
        began = time.perf_counter()
        reply = await post(url, json=body, extensions={"trace": watch.trace})
        watch.whole_ms = (time.perf_counter() - began) * 1_000
        assert reply.status_code == HTTPStatus.OK, reply.text
        assert reply.json()["credited_microcredits"] == str(AMOUNT)

    return buy


SHOPS = (
    Shop(rail="x402-base", wallet=evm_wallet, client=base_client),
    Shop(rail="x402-solana", wallet=solana_wallet, client=solana_client),
    Shop(rail="mpp-tempo", wallet=evm_wallet, client=tempo_client),
    Shop(rail="x402-tron", wallet=tron_wallet, client=tron_client),
)
