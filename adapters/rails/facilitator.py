"""Who checks and submits x402 payments for us: in this process, or far away over HTTP."""

from __future__ import annotations

from typing import Protocol

import httpx
from x402.http.facilitator_client import HTTPFacilitatorClient
from x402.http.facilitator_client_base import FacilitatorConfig
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

_HEALTH_TIMEOUT_S = 3


class Facilitator(Protocol):
    """Checks an x402 payment and submits it to the chain.

    Shape:  `get_supported` once at the start, then `verify` and `settle` for each payment.
    Units:  the library's models; amounts are decimal strings of token base units.
    Errors: any exception means no answer; after `settle` the chain may have moved none the less.
    Source: specs/payments/x402.md, section 5.
    """

    def get_supported(self) -> SupportedResponse:
        """What it can settle; blocks, so call it from a thread."""
        ...

    async def verify(
        self,
        payload: PaymentPayload | PaymentPayloadV1,
        requirements: PaymentRequirements | PaymentRequirementsV1,
    ) -> VerifyResponse: ...

    async def settle(
        self,
        payload: PaymentPayload | PaymentPayloadV1,
        requirements: PaymentRequirements | PaymentRequirementsV1,
    ) -> SettleResponse: ...


class HttpFacilitator(HTTPFacilitatorClient):
    """A facilitator by URL. It follows no redirect: a payment goes where it was meant to."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        # It may hold an access key, so it appears in no message.
        self._health_url = url.rstrip("/") + "/supported"
        self._client = httpx.AsyncClient(timeout=timeout_ms / 1000, follow_redirects=False)
        super().__init__(
            FacilitatorConfig(url=url, timeout=timeout_ms / 1000, http_client=self._client)
        )

    async def problem(self) -> str:
        """Why it could take no payment now, as an operator can read it; "" where it could."""
        try:
            answer = await self._client.get(self._health_url, timeout=_HEALTH_TIMEOUT_S)
        except httpx.HTTPError as error:
            return f"the facilitator does not answer ({type(error).__name__})"
        if answer.status_code != httpx.codes.OK:
            return f"the facilitator answers /supported with {answer.status_code}"
        return ""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()
