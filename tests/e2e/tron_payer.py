"""A TRON buyer with the official Python client, taken apart so that each step can be spoiled."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from bankofai.x402.clients import X402HttpClient
from bankofai.x402.types import PaymentRequired
from tronpy.keys import PrivateKey

from tests.e2e.conftest import GatewayProcess
from tests.fakes.tron_sandbox import client_of

TRON = "/v1/credits/purchase/tron"
TIMEOUT_S = 60


@dataclass
class TronPayer:
    """Buys for one wallet at one gateway, and signs its calls."""

    url: str
    node_url: str
    secret_key: str

    @classmethod
    def at(cls, gateway: GatewayProcess, secret_key: str = "") -> TronPayer:
        """The sandbox's funded wallet, unless another key is given."""
        sandbox = gateway.ready["sandbox"]
        key = secret_key or sandbox["tron_private_key"]
        return cls(gateway.url, sandbox["tron_rpc_url"] + "/", key)

    def __post_init__(self) -> None:
        self.key = PrivateKey(bytes.fromhex(self.secret_key))
        self.address = str(self.key.public_key.to_base58check_address())

    @asynccontextmanager
    async def client(self) -> AsyncIterator[X402HttpClient]:
        """The client as people use it."""
        async with (
            client_of(bytes.fromhex(self.secret_key), self.node_url) as paying,
            httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S) as http,
        ):
            yield X402HttpClient(http, paying)

    async def post(
        self, payment: dict[str, Any] | None = None, *, amount_usd: float = 0.1, **fields: str
    ) -> httpx.Response:
        raw = json.dumps(payment).encode()
        shown = {"PAYMENT-SIGNATURE": base64.b64encode(raw).decode("ascii")} if payment else {}
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            return await http.post(
                self.url + TRON, json={"amount_usd": amount_usd, **fields}, headers=shown
            )

    async def payment(self, amount_usd: float = 0.1) -> dict[str, Any]:
        """What the client makes of our terms, not yet presented; it allows the contract."""
        reply = await self.post(amount_usd=amount_usd)
        assert reply.status_code == 402
        required = PaymentRequired(
            **json.loads(base64.b64decode(reply.headers["PAYMENT-REQUIRED"]))
        )
        assert required.extensions is not None
        async with client_of(bytes.fromhex(self.secret_key), self.node_url) as paying:
            payment = await paying.handle_payment(
                required.accepts, self.url + TRON, required.extensions.model_dump(by_alias=True)
            )
        dumped: dict[str, Any] = payment.model_dump(by_alias=True)
        return dumped

    async def call(
        self, method: str, path: str, body: dict[str, object] | None = None
    ) -> httpx.Response:
        """A call that the wallet signs, as tronpy does."""
        timestamp = str(int(time.time()))
        signature = self.key.sign_msg(f"{method}\n{path}\n{timestamp}".encode())
        headers = {
            "Authorization": f"tron:{signature.hex()}",
            "X-Wallet-Address": self.address,
            "X-Wallet-Chain": "tron",
            "X-Timestamp": timestamp,
        }
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            return await http.request(method, self.url + path, json=body, headers=headers)

    async def balance(self) -> int:
        reply = await self.call("GET", "/v1/account")
        return int(reply.json()["credit_balance"]) if reply.status_code == httpx.codes.OK else 0

    async def node(self, path: str, **body: object) -> dict[str, Any]:
        """What the chain says."""
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
            found: dict[str, Any] = (await http.post(self.node_url + path, json=body)).json()
            return found
