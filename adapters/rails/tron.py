"""Dollars on TRON: a permit, a facilitator to carry it, a chain to check it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from adapters.rails import tron_wire as wire
from adapters.rails.tron_address import account_of
from adapters.rails.tron_chain import Landed, TronChain, Voided
from adapters.rails.tron_desk import REASONS, PermitDesk, SignedPermit
from adapters.rails.tron_facilitator import TronFacilitator
from adapters.rails.tron_networks import TronNetwork
from adapters.rails.tron_permit import Permit, signer_of
from adapters.rails.tron_terms import Permits, Quotes, mismatch, requirements_of
from domain.errors import PaymentRefusedError, PaymentUncertainError, RailDownError
from domain.ports.clock import Clock
from domain.ports.payments import (
    Absent,
    Challenge,
    Outcome,
    PaymentRail,
    Proof,
    Purchase,
    Receipt,
    Rejected,
    Settled,
    Uncertain,
)

_log = logging.getLogger(__name__)

_NOT_OURS = "this gateway did not ask for this permit; ask for new terms"
_USED = "this permit was already used"


class TronRail:
    """Implements `PaymentRail` for USDT by payment permits; the chain has the last word.

    `seed` is secret and outlives restarts: by it we know our permits again. `pay_to` must belong to
    this ledger alone.
    """

    def __init__(
        self,
        *,
        pay_to: str,
        network: TronNetwork,
        facilitator: TronFacilitator,
        chain: TronChain,
        desk: PermitDesk,
        permits: Permits,
        quotes: Quotes,
        clock: Clock,
        name: str = "x402-tron",
    ) -> None:
        account_of(pay_to)
        self.name = name
        self.protocol = "tron"
        self.networks = network.names
        self._pay_to = pay_to
        self._network = network
        self._facilitator = facilitator
        self._chain = chain
        self._desk = desk
        self._permits = permits
        self._quotes = quotes
        self._clock = clock

    def serves(self, chain: str) -> bool:
        return chain == "tron"

    async def challenge(
        self,
        purchase: Purchase,
        *,
        refusal: PaymentRefusedError | None = None,
        beside: Sequence[PaymentRail] = (),
    ) -> Challenge:
        amount = purchase.amount.value
        quote = await self._quotes.current(amount=amount, pay_to=self._pay_to)
        permit = self._permits.issue(quote=quote, amount=amount, pay_to=self._pay_to)
        terms = wire.terms_of(
            requirements_of(permit, self._network),
            permit,
            purchase,
            error=str(refusal) if refusal is not None else wire.ASK,
        )
        return Challenge(headers={"PAYMENT-REQUIRED": wire.encoded(terms)}, terms=terms)

    async def decode(self, headers: dict[str, str], purchase: Purchase) -> Proof | None:
        shown = wire.presented(headers)
        if shown is None:
            return None
        signed = shown.signed
        permit = signed.permit
        terms = requirements_of(permit, self._network)
        self._refuse(
            mismatch(
                permit, amount=purchase.amount.value, pay_to=self._pay_to, network=self._network
            )
        )
        self._refuse(wire.mismatch(shown.accepted, terms, self._network.names))
        if not self._permits.is_ours(permit):
            self._refuse(_NOT_OURS)
        signer = signer_of(permit.digest(self._network), signed.signature)
        if signer is None or signer != permit.buyer:
            self._refuse(REASONS["invalid_signature"])
        return signed.proof(self._network)

    async def verify(self, proof: Proof, purchase: Purchase) -> None:
        signed = SignedPermit.of(proof)
        permit = signed.permit
        payment = signed.payment(self._network)
        try:
            head = await self._chain.head()
            over = max(head.time_ms, self._clock.now_ms()) >= proof.expires_at_ms
            if await self._chain.is_used(permit):
                self._check_use(await self._chain.find(permit, []), over=over)
                return
            self._refuse(REASONS["expired"] if over else None)
            self._refuse(await self._lacks(permit))
            answer = await self._facilitator.verify(payment, payment.accepted)
        except (PaymentRefusedError, PaymentUncertainError):
            raise
        except Exception as error:  # A facilitator or node may fail in any way; nothing was sent.
            _log.warning(
                "payment not verified",
                extra={"rail": self.name, "failure": type(error).__name__},
            )
            raise RailDownError(rail=self.name) from error
        if not answer.is_valid:
            self._refuse(_plain(answer.invalid_reason))

    async def settle(self, proof: Proof) -> Settled | Rejected | Uncertain:
        return await self._desk.settle(proof)

    async def lookup(self, proof: Proof) -> Settled | Absent | Uncertain:
        return await self._desk.lookup(proof)

    def receipt(self, outcome: Outcome, purchase: Purchase) -> Receipt:
        receipt = wire.receipt(outcome, self._network.name)
        if outcome.payload:
            fee = SignedPermit.kept(outcome.payload).permit.fee
            receipt.facts["fee_microcredits"] = str(fee)
        return receipt

    def _check_use(self, found: Landed | Voided | None, *, over: bool) -> None:
        if found is None:
            # The node may be late to show how: a refusal would invite to pay again.
            raise PaymentUncertainError(rail=self.name, reference="")
        # Somebody else may have had it carried before us; then it is paid, not used up.
        self._refuse(_USED if over or not isinstance(found, Landed) else None)

    async def _lacks(self, permit: Permit) -> str | None:
        """What the wallet has too little of: no facilitator looks before it sends."""
        needed = permit.amount + permit.fee
        if await self._chain.balance(permit.buyer) < needed:
            return f"the wallet does not hold enough USDT: {needed} base units with the fee"
        if await self._chain.allowance(permit.buyer) < needed:
            return f"the wallet has not allowed {self._network.permit} to move {needed} base units"
        return None

    def _refuse(self, reason: str | None) -> None:
        if reason is not None:
            raise PaymentRefusedError(rail=self.name, reason=reason)


def _plain(reason: str | None) -> str:
    return REASONS.get(reason or "", f"the facilitator says {(reason or 'nothing')[:100]}")
