"""An x402 facilitator of our own: the official one in this process, with our key for the gas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from x402.facilitator import x402FacilitatorSync
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from adapters.rails.evm_signer import GasKeySigner
from adapters.rails.gas import GAS_LIMIT, GAS_TYPICAL
from adapters.rails.networks import BaseNetwork
from adapters.rails.purses import Purses

# Verifying takes moments, settling a block or more: who verifies does not wait for who settles.
_VERIFYING = 16
_SETTLING = 16
# Below this many payments it is time to bring gas.
_PAYMENTS_LEFT_MIN = 100

Payload = PaymentPayload | PaymentPayloadV1
Requirements = PaymentRequirements | PaymentRequirementsV1
Answer = TypeVar("Answer", VerifyResponse, SettleResponse)


class OwnFacilitator:
    """Implements `Facilitator`; of several settlements of one authorization one runs at a time.

    So do those of a wallet that holds less than they take together: each would pass its simulation,
    and all but one fail in a block at our expense. Wallets that are not deployed are refused:
    nobody makes us pay for their deployment.
    """

    def __init__(self, signer: GasKeySigner, network: BaseNetwork) -> None:
        self._signer = signer
        self._inner = x402FacilitatorSync()
        register_exact_evm_facilitator(self._inner, signer, network.caip2, simulate_in_settle=True)
        self._verifying = ThreadPoolExecutor(_VERIFYING, thread_name_prefix="x402-verify")
        self._settling = ThreadPoolExecutor(_SETTLING, thread_name_prefix="x402-settle")
        self._under_way: set[asyncio.Task[SettleResponse]] = set()
        self._settled: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._purses = Purses(self._held)

    def get_supported(self) -> SupportedResponse:
        """What the library settles, once the node is seen to be of our chain."""
        self._signer.check_chain()
        return self._inner.get_supported()

    async def verify(self, payload: Payload, requirements: Requirements) -> VerifyResponse:
        return await self._run(self._verifying, self._inner.verify, payload, requirements)

    async def settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
        """As `Facilitator`; who goes away does not let the next one in before it is done."""
        task = asyncio.create_task(self._settle(payload, requirements))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def problem(self) -> str:
        """What an operator should mend: a wrong chain, no node, or too little gas."""
        return await asyncio.get_running_loop().run_in_executor(self._verifying, self._problem)

    async def aclose(self) -> None:
        """End what waits for receipts; the chain tells later what became of it."""
        self._signer.close()
        for threads in (self._verifying, self._settling):
            await asyncio.to_thread(threads.shutdown, cancel_futures=True)
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _settle(self, payload: Payload, requirements: Requirements) -> SettleResponse:
        async with (
            self._alone(_authorization(payload)),
            self._purses.covered(requirements.asset, *_debit(payload)),
        ):
            return await self._run(self._settling, self._inner.settle, payload, requirements)

    async def _run(
        self,
        threads: ThreadPoolExecutor,
        act: Callable[[Payload, Requirements], Answer],
        payload: Payload,
        requirements: Requirements,
    ) -> Answer:
        def heard() -> Answer:
            # The library takes a silent node for a refusal by the chain; we do not.
            with self._signer.silence_told():
                return act(payload, requirements)

        return await asyncio.get_running_loop().run_in_executor(threads, heard)

    @asynccontextmanager
    async def _alone(self, authorization: str) -> AsyncIterator[None]:
        """Let one through at a time, and forget the queue when nobody is left in it."""
        lock = self._settled.setdefault(authorization, asyncio.Lock())
        self._waiting[authorization] = self._waiting.get(authorization, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[authorization] -= 1
            if not self._waiting[authorization]:
                del self._waiting[authorization], self._settled[authorization]

    async def _held(self, asset: str, payer: str) -> int:
        return await asyncio.get_running_loop().run_in_executor(
            self._verifying, self._signer.get_balance, payer, asset
        )

    def _problem(self) -> str:
        try:
            self._signer.check_chain()
            wei, fees = self._signer.gas_wei(), self._signer.fees()
        except ConnectionError as error:
            return str(error)
        left = (wei - GAS_LIMIT * fees.most_wei) // (GAS_TYPICAL * fees.most_wei)
        if left >= _PAYMENTS_LEFT_MIN:
            return ""
        return f"{self._signer.address} has gas for {max(left, 0)} payments; send it ether"


def _authorization(payload: Payload) -> str:
    """Payer and nonce, which every spelling and every signature of a payment have in common."""
    fields = _fields(payload)
    return f"{fields.get('from')}|{fields.get('nonce')}".lower()


def _debit(payload: Payload) -> tuple[str, int]:
    """Who pays, and how much in base units."""
    fields = _fields(payload)
    value = str(fields.get("value"))
    return str(fields.get("from")).lower(), int(value) if value.isdecimal() else 0


def _fields(payload: Payload) -> dict[str, object]:
    fields = payload.payload.get("authorization")
    return fields if isinstance(fields, dict) else {}
