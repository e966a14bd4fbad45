"""A facilitator for the sandbox cluster: honest inside, with faults that can be switched on."""

from __future__ import annotations

from typing import Protocol

from x402.mechanisms.svm.constants import ERR_TRANSACTION_FAILED
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from adapters.sandbox.faults import Faults
from domain.ports.clock import Clock

Payload = PaymentPayload | PaymentPayloadV1
Requirements = PaymentRequirements | PaymentRequirementsV1


class Honest(Protocol):
    """What checks payments and submits them to the chain."""

    def get_supported(self) -> SupportedResponse: ...

    async def verify(self, payload: Payload, requirements: Requirements) -> VerifyResponse: ...

    async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse: ...


class FaultyFacilitator:
    """Does what the one inside does, unless a fault is switched on.

    Errors: ConnectionError while down, TimeoutError where the answer is lost.
    """

    def __init__(self, inner: Honest, clock: Clock, faults: Faults) -> None:
        self._inner = inner
        self._clock = clock
        self._faults = faults

    def get_supported(self) -> SupportedResponse:
        self._refuse_while_down()
        return self._inner.get_supported()

    async def verify(self, payload: Payload, requirements: Requirements) -> VerifyResponse:
        self._refuse_while_down()
        return await self._inner.verify(payload, requirements)

    async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
        self._refuse_while_down()
        if self._faults.feign_success:
            return SettleResponse(
                success=True, transaction=_NO_TRANSACTION, network=payload.get_network()
            )
        await self._faults.take_turn(self._clock)
        answer = await self._inner.settle(payload, requirements)
        if self._faults.send_twice:
            await self._inner.settle(payload, requirements)
        if self._faults.settle_delay_ms:
            await self._clock.sleep_until(self._clock.now_ms() + self._faults.settle_delay_ms)
        if self._faults.lose_answer:
            msg = "the sandbox lost this answer"
            raise TimeoutError(msg)
        if self._faults.deny_success:
            denied = {"success": False, "transaction": "", "error_reason": ERR_TRANSACTION_FAILED}
            return answer.model_copy(update=denied)
        return answer

    def _refuse_while_down(self) -> None:
        if self._faults.facilitator_down:
            msg = "the sandbox facilitator is switched off"
            raise ConnectionRefusedError(msg)


# 64 bytes of 0xfe in base58: a signature that nobody made.
# 64 bytes of 0xfe in base58: a signature that nobody made.
_NO_TRANSACTION = (
    "66hJj4fUD1ZEH9CNeAxsX7CA7mnquqWhsgyVepdBxt3o4Pp8bsYZMiJVQDGJNMaPRQJUEGQYGmUbwf2KomzkXoRP"
)
