"""A TRON payment facilitator in the process: the official one, over the sandbox's node."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import httpx
from agent_wallet.core.adapters.tron import TronSigner
from aiohttp import web
from bankofai.x402.facilitator import X402Facilitator
from bankofai.x402.mechanisms.tron.exact_permit import ExactPermitTronFacilitatorMechanism
from bankofai.x402.signers.facilitator import TronFacilitatorSigner
from bankofai.x402.types import (
    FeeQuoteResponse,
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from tronpy import AsyncTron
from tronpy.providers.async_http import AsyncHTTPProvider

from adapters.sandbox.faults import Faults
from adapters.sandbox.tron_node import SandboxTronNode
from domain.ports.clock import Clock

NETWORK = "tron:mainnet"
FEE = 100
_BODY_BYTES_MAX = 256 * 1024
_REMEMBERED_MAX = 1_000
# They write every permit and signature into the log, and each refusal with its trace.
_TALKERS = ("bankofai", "X402Facilitator", "ExactPermitTronFacilitatorMechanism")


class _InProcess(AsyncHTTPProvider):  # type: ignore[misc]  # the library has no types
    """The library's way to its node, without the wire."""

    def __init__(self, node: SandboxTronNode) -> None:
        self._node = node
        self.timeout = 10.0
        self.client = httpx.AsyncClient()

    async def make_request(self, method: str, params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401 (the library's own signature)
        return await self._node.answer(method, params or {})


class SandboxTronFacilitator:
    """The official facilitator over the sandbox chain, with faults that can be switched on.

    Errors: ConnectionError while down, TimeoutError where the answer is lost. It notes what it sent
    and forgets it when it ends, as a real one may.
    """

    def __init__(
        self, node: SandboxTronNode, clock: Clock, faults: Faults, *, key: bytes, fee: int = FEE
    ) -> None:
        for name in _TALKERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._clock = clock
        self._faults = faults
        self._noted: OrderedDict[str, list[str]] = OrderedDict()
        wallet = TronSigner(key)
        signer = TronFacilitatorSigner(wallet)
        self.address = str(wallet._address)  # noqa: SLF001 (its getter waits for nothing)
        signer.set_address(self.address)
        signer._async_tron_clients[NETWORK] = AsyncTron(provider=_InProcess(node))  # noqa: SLF001 (else it calls the real network)
        self._inner = X402Facilitator().register(
            [NETWORK], ExactPermitTronFacilitatorMechanism(signer, base_fee={"USDT": fee})
        )

    async def supported(self) -> SupportedResponse:
        self._refuse_while_down()
        return self._inner.supported()

    async def fee_quote(self, accepts: list[PaymentRequirements]) -> list[FeeQuoteResponse]:
        self._refuse_while_down()
        quotes: list[FeeQuoteResponse] = await self._inner.fee_quote(accepts)
        return quotes

    async def verify(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> VerifyResponse:
        self._refuse_while_down()
        return await self._inner.verify(payload, requirements)

    async def settle(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> SettleResponse:
        self._refuse_while_down()
        if self._faults.feign_success:
            return SettleResponse(success=True, transaction="f" * 64, network=NETWORK)
        await self._faults.take_turn(self._clock)
        answer = await self._sent(payload, requirements)
        if self._faults.send_twice:
            await self._sent(payload, requirements)
        if self._faults.settle_delay_ms:
            await self._clock.sleep_until(self._clock.now_ms() + self._faults.settle_delay_ms)
        if self._faults.lose_answer:
            msg = "the sandbox lost this answer"
            raise TimeoutError(msg)
        if self._faults.deny_success:
            return SettleResponse(success=False, errorReason="transaction_failed", network=NETWORK)
        return answer

    async def payments(self, payment_id: str) -> list[str]:
        """What it sent for a payment, newest first."""
        self._refuse_while_down()
        return self._noted.get(payment_id, [])[::-1]

    async def _sent(
        self, payload: PaymentPayload, requirements: PaymentRequirements
    ) -> SettleResponse:
        answer = await self._inner.settle(payload, requirements)
        permit = payload.payload.payment_permit
        if answer.transaction and permit is not None and not self._faults.lose_answer:
            self._noted.setdefault(permit.meta.payment_id, []).append(answer.transaction)
            if len(self._noted) > _REMEMBERED_MAX:
                self._noted.popitem(last=False)
        return answer

    def _refuse_while_down(self) -> None:
        if self._faults.facilitator_down:
            msg = "the sandbox facilitator is switched off"
            raise ConnectionRefusedError(msg)


def tron_facilitator_app(facilitator: SandboxTronFacilitator) -> web.Application:
    """The same facilitator over HTTP, as a remote one is reached."""

    async def supported(_: web.Request) -> web.Response:
        return await _answered(facilitator.supported)

    async def fee_quote(request: web.Request) -> web.Response:
        asked = [PaymentRequirements(**each) for each in (await request.json())["accepts"]]
        return await _answered(facilitator.fee_quote, asked)

    async def handle(request: web.Request) -> web.Response:
        call = facilitator.verify if request.path == "/verify" else facilitator.settle
        body = await request.json()
        payload = PaymentPayload(**body["paymentPayload"])
        return await _answered(call, payload, PaymentRequirements(**body["paymentRequirements"]))

    async def payments(request: web.Request) -> web.Response:
        payment_id = request.match_info["id"]
        found = await facilitator.payments(payment_id)
        records = [{"paymentId": payment_id, "txHash": hash_} for hash_ in found]
        return web.json_response(records, status=200 if found else 404)

    app = web.Application(client_max_size=_BODY_BYTES_MAX)
    app.router.add_get("/supported", supported)
    app.router.add_post("/fee/quote", fee_quote)
    app.router.add_post("/verify", handle)
    app.router.add_post("/settle", handle)
    app.router.add_get("/payments/{id}", payments)
    return app


async def _answered(call: Any, *words: Any) -> web.Response:  # noqa: ANN401 (a method of the above)
    try:
        answer = await call(*words)
    except ConnectionError as error:
        return web.json_response({"error": str(error)}, status=503)
    except TimeoutError as error:
        return web.json_response({"error": str(error)}, status=504)
    models = answer if isinstance(answer, list) else [answer]
    dumped = [model.model_dump(by_alias=True) for model in models]
    return web.json_response(dumped if isinstance(answer, list) else dumped[0])
