"""An x402 facilitator in the process: checks payments and submits them to the sandbox chain."""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from x402.facilitator import x402FacilitatorSync
from x402.mechanisms.evm.constants import ERR_TRANSACTION_FAILED
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from adapters.sandbox.evm import CHAIN_ID, SandboxChain
from adapters.sandbox.faults import Faults
from adapters.sandbox.signer import SandboxSigner
from domain.ports.clock import Clock

NETWORK = f"eip155:{CHAIN_ID}"
_BODY_BYTES_MAX = 256 * 1024

Payload = PaymentPayload | PaymentPayloadV1
Requirements = PaymentRequirements | PaymentRequirementsV1


class SandboxFacilitator:
    """The official facilitator over the sandbox chain, with faults that can be switched on.

    Errors: ConnectionError while down, TimeoutError where the answer is lost.
    """

    def __init__(self, chain: SandboxChain, clock: Clock, faults: Faults | None = None) -> None:
        self._clock = clock
        self._faults = faults or Faults()
        # Its own checks block for milliseconds, so every call goes to a thread.
        self._inner = x402FacilitatorSync()
        register_exact_evm_facilitator(
            self._inner, SandboxSigner(chain), NETWORK, simulate_in_settle=True
        )

    def get_supported(self) -> SupportedResponse:
        self._refuse_while_down()
        return self._inner.get_supported()

    async def verify(self, payload: Payload, requirements: Requirements) -> VerifyResponse:
        self._refuse_while_down()
        return await asyncio.to_thread(self._inner.verify, payload, requirements)

    async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
        self._refuse_while_down()
        await self._faults.take_turn(self._clock)
        if self._faults.feign_success:
            return _feigned(payload)
        answer = await asyncio.to_thread(self._inner.settle, payload, requirements)
        if self._faults.send_twice:
            await asyncio.to_thread(self._inner.settle, payload, requirements)
        if self._faults.settle_delay_ms:
            await self._clock.sleep_until(self._clock.now_ms() + self._faults.settle_delay_ms)
        if self._faults.lose_answer:
            msg = "the sandbox lost this answer"
            raise TimeoutError(msg)
        if self._faults.deny_success:
            return answer.model_copy(
                update={
                    "success": False,
                    "transaction": "",
                    "error_reason": ERR_TRANSACTION_FAILED,
                }
            )
        return answer

    def _refuse_while_down(self) -> None:
        if self._faults.facilitator_down:
            msg = "the sandbox facilitator is switched off"
            raise ConnectionRefusedError(msg)


class _Request(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    version: int = Field(alias="x402Version")
    payload: dict[str, object] = Field(alias="paymentPayload")
    requirements: dict[str, object] = Field(alias="paymentRequirements")

    def parsed(self) -> tuple[Payload, Requirements]:
        if self.version == 1:
            return (
                PaymentPayloadV1.model_validate(self.payload),
                PaymentRequirementsV1.model_validate(self.requirements),
            )
        return (
            PaymentPayload.model_validate(self.payload),
            PaymentRequirements.model_validate(self.requirements),
        )


def facilitator_app(facilitator: SandboxFacilitator) -> web.Application:
    """The same facilitator over HTTP, as a remote one is reached."""

    async def supported(_: web.Request) -> web.Response:
        try:
            return _json(facilitator.get_supported())
        except ConnectionError as error:
            return web.json_response({"error": str(error)}, status=503)

    async def handle(request: web.Request) -> web.Response:
        try:
            payload, requirements = _Request.model_validate_json(await request.read()).parsed()
        except ValueError:
            return web.json_response({"error": "expected an x402 request"}, status=400)
        act = facilitator.verify if request.path == "/verify" else facilitator.settle
        try:
            return _json(await act(payload, requirements))
        except TimeoutError as error:
            return web.json_response({"error": str(error)}, status=504)
        except ConnectionError as error:
            return web.json_response({"error": str(error)}, status=503)

    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.router.add_get("/supported", supported)
    app.router.add_post("/verify", handle)
    app.router.add_post("/settle", handle)
    return app


def _feigned(payload: Payload) -> SettleResponse:
    return SettleResponse(success=True, transaction="0x" + "fe" * 32, network=payload.get_network())


def _json(model: BaseModel) -> web.Response:
    return web.json_response(model.model_dump(by_alias=True, exclude_none=True, mode="json"))
