"""A buyer on Solana with the official x402 client, taken apart so that each step can be spoiled."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any

import httpx
from solders.keypair import Keypair
from x402.http.utils import (
    decode_payment_required_header,
    encode_payment_signature_header,
    safe_base64_encode,
)
from x402.schemas import PaymentRequired
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1

from tests.e2e.conftest import GatewayProcess
from tests.e2e.payer import PURCHASE, TIMEOUT_S
from tests.fakes.solana_client import pay_on_solana


@dataclass
class SolanaPayer:
    """Buys for one wallet at one gateway; `rpc_url` is the node that its client asks."""

    url: str
    secret_key: str
    rpc_url: str

    def __post_init__(self) -> None:
        self.key = Keypair.from_base58_string(self.secret_key)
        self.address = str(self.key.pubkey())

    @classmethod
    def of(cls, gateway: GatewayProcess) -> SolanaPayer:
        """The sandbox's own wallet."""
        play = gateway.ready["sandbox"]
        return cls(gateway.url, play["solana_secret_key"], play["solana_rpc_url"])

    def body(self, amount_usd: float = 0.1, wallet: str | None = None) -> dict[str, Any]:
        return {
            "wallet_address": wallet or self.address,
            "wallet_chain": "solana",
            "amount_usd": amount_usd,
        }

    async def post(
        self, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> httpx.Response:
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            return await client.post(self.url + PURCHASE, json=body, headers=headers or {})

    async def terms(self, body: dict[str, Any]) -> PaymentRequired:
        """What an unpaid request is asked for."""
        reply = await self.post(body)
        assert reply.status_code == 402
        return decode_payment_required_header(reply.headers["PAYMENT-REQUIRED"])

    async def sign(self, terms: PaymentRequired | PaymentRequiredV1) -> dict[str, str]:
        """The payment header the official client makes for these terms."""
        payment = await pay_on_solana(terms, self.key, self.rpc_url)
        if isinstance(payment, PaymentPayloadV1):
            return {"X-PAYMENT": safe_base64_encode(payment.model_dump_json(by_alias=True))}
        return {"PAYMENT-SIGNATURE": encode_payment_signature_header(payment)}

    async def proof(self, body: dict[str, Any] | None = None) -> dict[str, str]:
        """A good payment for a purchase, not yet presented."""
        return await self.sign(await self.terms(body or self.body()))

    async def balance(self) -> int:
        """The credit of this wallet, in microcredits."""
        reply = await self._account()
        assert reply.status_code == 200, reply.text
        return int(reply.json()["credit_balance"])

    async def has_account(self) -> bool:
        """Whether this wallet has ever had credit."""
        return (await self._account()).status_code == 200

    async def refund(self, amount_usd: float) -> dict[str, Any]:
        """Ask for credit back, and wait until that is decided."""
        path = "/v1/account/refund"
        headers = {**self._signed("POST", path), "Idempotency-Key": "1"}
        body = {"amount_usd": amount_usd, "fee_usd": 0}
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            reply = await client.post(self.url + path, json=body, headers=headers)
        found: dict[str, Any] = reply.json()
        return found

    async def _account(self) -> httpx.Response:
        path = "/v1/account"
        async with httpx.AsyncClient(timeout=TIMEOUT_S) as client:
            return await client.get(self.url + path, headers=self._signed("GET", path))

    def _signed(self, method: str, path: str) -> dict[str, str]:
        now = str(int(time.time()))
        signature = bytes(self.key.sign_message(f"{method}\n{path}\n{now}".encode()))
        return {
            "Authorization": f"solana:{base64.b64encode(signature).decode('ascii')}",
            "X-Wallet-Address": self.address,
            "X-Wallet-Chain": "solana",
            "X-Timestamp": now,
        }
