"""Who carries permits to the TRON chain for us, for a fee: over HTTP, or in this process."""

from __future__ import annotations

import asyncio
from typing import Protocol

import httpx
from bankofai.x402.facilitator import FacilitatorClient
from bankofai.x402.types import (
    FeeQuoteResponse,
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)


class TronFacilitator(Protocol):
    """Quotes its fee, checks permits and sends them to the chain.

    Shape:  `fee_quote` before a challenge; `verify` and `settle` for each payment; `payments` to
            find a transaction again.
    Units:  the library's models; amounts are decimal strings of token base units.
    Errors: any exception means no answer; after `settle` the chain may have moved none the less.
    Source: specs/payments/tron.md, section 5.
    """

    async def supported(self) -> SupportedResponse: ...

    async def fee_quote(self, accepts: list[PaymentRequirements]) -> list[FeeQuoteResponse]:
        """A quote for each that it supports, in no promised order."""
        ...

    async def verify(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> VerifyResponse: ...

    async def settle(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> SettleResponse: ...

    async def payments(self, payment_id: str) -> list[str]:
        """The transactions that it noted for a payment; an empty list proves nothing."""
        ...


class HttpTronFacilitator:
    """A facilitator by URL. It follows no redirect: a permit goes where it was meant to.

    `key` is what lifts its limits; it goes into a header and nowhere else.
    """

    def __init__(self, url: str, *, key: str = "", timeout_ms: int) -> None:
        headers = {"X-API-KEY": key} if key else {}
        self._timeout_s = timeout_ms / 1000
        self._inner = FacilitatorClient(url, headers=headers)
        # What the library has no call for.
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=self._timeout_s)

    async def supported(self) -> SupportedResponse:
        async with asyncio.timeout(self._timeout_s):
            return await self._inner.supported()

    async def fee_quote(self, accepts: list[PaymentRequirements]) -> list[FeeQuoteResponse]:
        async with asyncio.timeout(self._timeout_s):
            quotes: list[FeeQuoteResponse] = await self._inner.fee_quote(accepts)
            return quotes

    async def verify(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> VerifyResponse:
        async with asyncio.timeout(self._timeout_s):
            return await self._inner.verify(payload, requirements)

    async def settle(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> SettleResponse:
        async with asyncio.timeout(self._timeout_s):
            return await self._inner.settle(payload, requirements)

    async def payments(self, payment_id: str) -> list[str]:
        """See `TronFacilitator`; one that keeps no such record answers 404."""
        response = await self._client.get(f"/payments/{payment_id}")
        if response.status_code == httpx.codes.NOT_FOUND:
            return []
        response.raise_for_status()
        records = response.json()
        return [str(record["txHash"]) for record in records if record.get("txHash")]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.close()
        await self._client.aclose()
