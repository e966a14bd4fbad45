"""Carries signed permits to TRON and reads off the chain what became of them, either way."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass

from bankofai.x402.types import PaymentPayload, PaymentPayloadData, PaymentPermit, SettleResponse

from adapters.rails.tron_chain import TRANSACTION, Landed, TronChain, Voided
from adapters.rails.tron_facilitator import TronFacilitator
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_permit import Permit, parse_signature
from adapters.rails.tron_terms import requirements_of
from domain.money import Microcredits
from domain.ports.clock import Clock
from domain.ports.payments import Absent, Proof, Rejected, Settled, Uncertain

_log = logging.getLogger(__name__)

_VERSION = 2
# Chain time past the deadline before we believe that nothing can land: a block is settled for good
# after about a minute, and nodes behind one address are not equally far.
_FINAL_MS = 120_000
# Nodes show an event a moment after what it changed.
_TRACE_TRIES = 3
# What a facilitator says before it sends anything.
REASONS = {
    "amount_mismatch": "the permit pays too little",
    "expired": "the permit has expired",
    "fee_amount_mismatch": "the facilitator's fee has changed; ask for new terms",
    "fee_to_mismatch": "the facilitator has changed; ask for new terms",
    "invalid_signature": "the signature does not fit the permit",
    "missing_permit": "there is no permit",
    "not_yet_valid": "the permit is not valid yet",
    "payto_mismatch": "the permit pays somebody else",
    "token_mismatch": "the permit pays with another token",
    "token_not_allowed": "the facilitator does not take this token",
    "unsupported_token": "the facilitator does not take this token",
}
_OVER = "the permit has expired, or its nonce was used for something else"
_FAILED = "the payment failed on the chain: the wallet did not hold enough, or did not allow it"


@dataclass(frozen=True, slots=True)
class SignedPermit:
    """A permit with its buyer's signature: what can be settled."""

    permit: Permit
    signature: str

    @classmethod
    def of(cls, proof: Proof) -> SignedPermit:
        """Read back what `proof` wrote."""
        return cls.kept(proof.payload)

    @classmethod
    def kept(cls, payload: str) -> SignedPermit:
        """The same, of a proof's payload alone."""
        kept = json.loads(payload)
        return cls(Permit.parse(kept["paymentPermit"]), parse_signature(kept["signature"]))

    def proof(self, network: TronNetwork) -> Proof:
        """The permit as the ledger keeps it; it can move this money to its payee and no more."""
        return Proof(
            key=self.permit.key(network),
            network=network.name,
            chain="tron",
            payer=self.permit.buyer,
            amount=Microcredits(self.permit.amount),
            expires_at_ms=self.permit.valid_before_s * 1000,
            payload=json.dumps(
                {"paymentPermit": self.permit.wire(), "signature": self.signature},
                separators=(",", ":"),
            ),
        )

    def payment(self, network: TronNetwork) -> PaymentPayload:
        """The payment as a facilitator takes it: our own terms, the permit, and nothing else."""
        return PaymentPayload(
            x402Version=_VERSION,
            accepted=requirements_of(self.permit, network),
            payload=PaymentPayloadData(
                signature=self.signature,
                paymentPermit=PaymentPermit.model_validate(self.permit.wire()),
            ),
        )


class PermitDesk:
    """Settles and looks up permits, those to us and those from us.

    What a facilitator says is not the last word: nothing is settled until the chain shows the
    permit's own event with the token's transfer before it.
    """

    def __init__(
        self,
        *,
        rail: str,
        network: TronNetwork,
        facilitator: TronFacilitator,
        chain: TronChain,
        clock: Clock,
        settle_timeout_ms: int = 90_000,
        confirm_wait_ms: int = 1_000,
        confirm_tries: int = 8,
    ) -> None:
        self._rail = rail
        self._network = network
        self._facilitator = facilitator
        self._chain = chain
        self._clock = clock
        self._settle_timeout_ms = settle_timeout_ms
        self._confirm_wait_ms = confirm_wait_ms
        self._confirm_tries = confirm_tries

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        signed = SignedPermit.of(proof)
        answer = await self._submit(signed)
        hint = _transaction(answer)
        reason = (answer.error_reason or "") if answer is not None else ""
        tries = 1 if reason in REASONS else self._confirm_tries
        for attempt in range(tries):
            if attempt:
                await self._wait()
            found = await self._found(proof, signed.permit, hint)
            if isinstance(found, Settled):
                return found
            if isinstance(found, Absent) and found.final:
                return Rejected(_OVER)
            if isinstance(found, Absent) and await self._has_failed(hint):
                return Rejected(_FAILED)
        if reason in REASONS and isinstance(found, Absent):
            return Rejected(REASONS[reason])
        return Uncertain(hint)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        permit = SignedPermit.of(proof).permit
        for attempt in range(_TRACE_TRIES):
            if attempt:
                await self._wait()
            found = await self._found(proof, permit, "")
            if found is not None:
                return found
        # It may be later still, so it stays open.
        return Uncertain("")

    async def _found(
        self, proof: Proof, permit: Permit, hint: str
    ) -> Settled | Absent | Uncertain | None:
        """What the chain says; None where the nonce is used and the node does not show yet how."""
        try:
            # First the time, then the nonce: what is unused now was unused then.
            head = await self._chain.head()
            if not await self._chain.is_used(permit):
                is_over = head.time_ms > proof.expires_at_ms + _FINAL_MS
                if is_over:
                    # On another network every permit would look unused, and be given up.
                    await self._chain.check_network()
                return Absent(final=is_over)
            hints = [hint] if hint else await self._hints(permit)
            found = await self._chain.find(permit, hints)
        except ConnectionError as error:
            self._warn("chain not read", error)
            return Uncertain(hint)
        match found:
            case Landed(transaction=transaction):
                return Settled(reference=transaction, payer=proof.payer, amount=proof.amount)
            case Voided():
                return Absent(final=True)
            case None:
                return None

    async def _wait(self) -> None:
        await self._clock.sleep_until(self._clock.now_ms() + self._confirm_wait_ms)

    async def _submit(self, signed: SignedPermit) -> SettleResponse | None:
        """The facilitator's word, which is not the last; None where it gave none."""
        payment = signed.payment(self._network)
        try:
            async with asyncio.timeout(self._settle_timeout_ms / 1000):
                return await self._facilitator.settle(payment, payment.accepted)
        except Exception as error:  # noqa: BLE001 (the chain says whether money moved)
            self._warn("settlement without an answer", error)
            return None

    async def _hints(self, permit: Permit) -> list[str]:
        """Transactions that the facilitator noted; it may know nothing of what it sent."""
        try:
            return await self._facilitator.payments(f"0x{permit.payment_id.hex()}")
        except Exception as error:  # noqa: BLE001 (the chain is searched without it)
            self._warn("no transaction hinted at", error)
            return []

    async def _has_failed(self, transaction: str) -> bool:
        try:
            return bool(transaction) and await self._chain.has_failed(transaction)
        except ConnectionError as error:
            self._warn("chain not read", error)
            return False

    def _warn(self, message: str, error: Exception) -> None:
        _log.warning(message, extra={"rail": self._rail, "failure": type(error).__name__})


def _transaction(answer: SettleResponse | None) -> str:
    """The transaction that a facilitator names, empty where that is no such thing."""
    named = ((answer.transaction or "") if answer is not None else "").lower().removeprefix("0x")
    return named if TRANSACTION.fullmatch(named) else ""
