"""A buyer with the official x402 client, taken apart so that each step can be spoiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
from eth_account import Account
from x402.client import x402Client
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.schemas import PaymentPayload, PaymentRequired

PURCHASE = "/v1/credits/purchase"
TIMEOUT_S = 60


@dataclass
class Payer:
    """Buys for one wallet at one gateway."""

    url: str
    secret_key: str

    def __post_init__(self) -> None:
        self.account = Account.from_key(self.secret_key)

    def body(self, amount_usd: float = 0.1, wallet: str | None = None) -> dict[str, Any]:
        return {
            "wallet_address": wallet or self.account.address,
            "wallet_chain": "evm",
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

    async def sign(self, terms: PaymentRequired) -> dict[str, str]:
        """The payment header the official client makes for these terms."""
        client = register_exact_evm_client(x402Client(), EthAccountSigner(self.account))
        payment = await client.create_payment_payload(terms)
        assert isinstance(payment, PaymentPayload)
        return {"PAYMENT-SIGNATURE": encode_payment_signature_header(payment)}

    async def proof(self, body: dict[str, Any] | None = None) -> dict[str, str]:
        """A good payment for a purchase, not yet presented."""
        return await self.sign(await self.terms(body or self.body()))
