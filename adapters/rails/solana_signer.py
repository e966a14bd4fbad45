"""A facilitator for Solana in this process: it pays the network, and never takes sent for paid."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from solders.keypair import Keypair
from solders.transaction import VersionedTransaction
from x402.facilitator import x402FacilitatorSync
from x402.mechanisms.svm.constants import ERR_SETTLEMENT_PENDING, ERR_TRANSACTION_FAILED
from x402.mechanisms.svm.exact import register_exact_svm_facilitator
from x402.mechanisms.svm.signers import FacilitatorKeypairSigner
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SettleResponse,
    SupportedResponse,
    VerifyResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from adapters.rails.node_line import NodeRefusedError
from adapters.rails.purses import Purses
from adapters.rails.solana_transfer import SolanaTransfer

# A node's JSON-RPC, asked from a thread (`NodeLine.call`): method and parameters in, the result
# out. NodeRefusedError where the node said no, any other exception where it said nothing.
Ask = Callable[[str, list[object]], object]

_CONFIRMED = "confirmed"
_SETTLED_LEVELS = (_CONFIRMED, "finalized")
_POLL_S = 0.4
_CONFIRM_S = 20
_SEND_TRIES = 2
# Leaders drop what they have no room for; a transaction is sent again while it is waited for.
_RESEND_POLLS = 5
# Verifying takes moments, settling seconds: who verifies does not wait for who settles.
_VERIFYING = 4
_SETTLING = 32
_KNOWN_MAX = 1_000


class TransactionFailedError(RuntimeError):
    """The transaction is on the chain, has failed, and can never be there again."""


class SolanaSigner(FacilitatorKeypairSigner):
    """Signs, sends and waits as the fee payer; any number of threads may use it.

    Unlike the library's it looks at a transaction's error before its confirmation: what failed on
    the chain is confirmed too. `failure` keeps why, since the library forgets.
    """

    def __init__(self, key: Keypair, ask: Ask, *, confirm_s: float = _CONFIRM_S) -> None:
        super().__init__(key)
        self._ask = ask
        self._confirm_s = confirm_s
        self._failed: dict[str, str] = {}
        self._sent: dict[str, str] = {}
        self._closing = threading.Event()

    def close(self) -> None:
        """Let go of whoever waits; the chain tells later what became of it."""
        self._closing.set()

    def failure(self, transaction: str) -> str | None:
        """Why this transaction failed on the chain, where it was seen to."""
        return self._failed.get(transaction)

    def simulate_transaction(self, tx_base64: str, network: str) -> None:
        how = {"encoding": "base64", "sigVerify": True, "commitment": _CONFIRMED}
        match self._ask("simulateTransaction", [tx_base64, how]):
            case {"value": {"err": None}}:
                return
            case {"value": {"err": error}}:
                msg = f"simulation failed: {error}"
                raise RuntimeError(msg)
        msg = "simulation failed: the node gave no clear answer"
        raise RuntimeError(msg)

    def send_transaction(self, tx_base64: str, network: str) -> str:
        """Send, and name the transaction; the name is known even where the answer is lost."""
        raw = base64.b64decode(tx_base64)
        transaction = str(VersionedTransaction.from_bytes(raw).signatures[0])
        _keep(self._sent, transaction, tx_base64)
        for _ in range(_SEND_TRIES):
            try:
                self._send(tx_base64)
            except NodeRefusedError:
                raise
            except Exception:  # noqa: BLE001, S112 (it may have gone; to send it again is harmless)
                continue
            break
        return transaction

    def confirm_transaction(
        self, signature: str, network: str, timeout_seconds: int = _CONFIRM_S
    ) -> None:
        """Return when it is on the chain without an error.

        Raises TransactionFailedError where it is there with one, TimeoutError where it is not seen.
        """
        ends_s = time.monotonic() + min(self._confirm_s, timeout_seconds)
        polls = 0
        while time.monotonic() < ends_s:
            status = self._status(signature)
            if status is not None and status.get("confirmationStatus") in _SETTLED_LEVELS:
                self._sent.pop(signature, None)
                if status.get("err") is None:
                    return
                _keep(self._failed, signature, str(status["err"]))
                msg = f"failed on the chain: {status['err']}"
                raise TransactionFailedError(msg)
            if self._closing.wait(_POLL_S):
                break
            polls += 1
            if polls % _RESEND_POLLS == 0 and status is None:
                self._resend(signature)
        msg = "not confirmed in time"
        raise TimeoutError(msg)

    def held(self, account: str) -> int:
        """What lies in a token account, in base units; nothing where the node does not say."""
        match self._ask("getTokenAccountBalance", [account, {"commitment": "confirmed"}]):
            case {"value": {"amount": str(digits)}} if digits.isascii() and digits.isdigit():
                return int(digits)
        return 0

    def _send(self, transaction: str) -> None:
        how = {"encoding": "base64", "skipPreflight": True}
        self._ask("sendTransaction", [transaction, how])

    def _resend(self, signature: str) -> None:
        transaction = self._sent.get(signature)
        if transaction is not None:
            # The chain takes a message once, so this can move nothing twice.
            with suppress(ConnectionError):
                self._send(transaction)

    def _status(self, signature: str) -> dict[str, object] | None:
        try:
            answer = self._ask("getSignatureStatuses", [[signature]])
        except Exception:  # noqa: BLE001 (a node that does not answer now may do so in a moment)
            return None
        match answer:
            case {"value": [dict(status)]}:
                return status
        return None


def _keep(known: dict[str, str], name: str, value: str) -> None:
    """Remember the newest thousand: the library asks soon or never."""
    if len(known) >= _KNOWN_MAX:
        known.pop(next(iter(known)), None)
    known[name] = value


class SolanaFacilitator:
    """Implements `Facilitator` with a fee payer of our own; what blocks has threads of its own."""

    def __init__(self, signer: SolanaSigner, network: str) -> None:
        self._signer = signer
        self._inner = x402FacilitatorSync()
        register_exact_svm_facilitator(self._inner, signer, network)
        self._verifying = ThreadPoolExecutor(_VERIFYING, thread_name_prefix="solana-verify")
        self._settling = ThreadPoolExecutor(_SETTLING, thread_name_prefix="solana-settle")
        self._purses = Purses(self._held)

    def get_supported(self) -> SupportedResponse:
        return self._inner.get_supported()

    async def verify(
        self,
        payload: PaymentPayload | PaymentPayloadV1,
        requirements: PaymentRequirements | PaymentRequirementsV1,
    ) -> VerifyResponse:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._verifying, self._inner.verify, payload, requirements
        )

    async def settle(
        self,
        payload: PaymentPayload | PaymentPayloadV1,
        requirements: PaymentRequirements | PaymentRequirementsV1,
    ) -> SettleResponse:
        loop = asyncio.get_running_loop()
        transfer = SolanaTransfer.parse(payload.payload)
        async with self._purses.covered(transfer.mint, transfer.source, transfer.amount):
            answer = await loop.run_in_executor(
                self._settling, self._inner.settle, payload, requirements
            )
        failure = self._signer.failure(answer.transaction)
        if answer.error_reason == ERR_SETTLEMENT_PENDING and failure is not None:
            # The library takes every exception for "not seen yet".
            told = {"error_reason": ERR_TRANSACTION_FAILED, "error_message": failure}
            return answer.model_copy(update=told)
        return answer

    async def _held(self, _mint: str, account: str) -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._verifying, self._signer.held, account)

    def close(self) -> None:
        """Stop taking work; what is on its way to the chain is not waited for."""
        self._signer.close()
        for threads in (self._verifying, self._settling):
            threads.shutdown(wait=False, cancel_futures=True)
