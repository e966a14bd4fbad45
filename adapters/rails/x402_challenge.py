"""What an x402 rail asks for, alone or with others beside it, and what it says when it was paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from x402.schemas import PaymentRequired, PaymentRequirements, SettleResponse

from adapters.rails import wire
from adapters.rails.discovery import discovery_of, resource_of
from adapters.rails.networks import Named
from adapters.rails.offers import OfferSigner
from domain.errors import PaymentRefusedError, RailDownError
from domain.ports.payments import Challenge, Outcome, PaymentRail, Purchase, Receipt


@dataclass(frozen=True, slots=True)
class Asked:
    """One way to pay: its terms, and the network they are for."""

    terms: PaymentRequirements
    network: Named


@runtime_checkable
class Asks(Protocol):
    """A rail whose terms can stand beside another's in one x402 challenge."""

    async def asked(self, purchase: Purchase) -> Asked:
        """RailDownError where it cannot say them now."""
        ...


async def challenge(
    own: Asks,
    purchase: Purchase,
    *,
    refusal: PaymentRefusedError | None,
    beside: Sequence[PaymentRail],
    signer: OfferSigner | None,
    now_ms: int,
) -> Challenge:
    """A 402 with `own` terms first; of the others those that can be told now."""
    ways = [await own.asked(purchase)]
    for rail in beside:
        if isinstance(rail, Asks):
            try:
                ways.append(await rail.asked(purchase))
            except RailDownError:
                continue
    required = PaymentRequired(
        error=str(refusal) if refusal is not None else wire.ASK,
        resource=resource_of(purchase),
        accepts=[way.terms for way in ways],
    )
    extensions = discovery_of(purchase)
    if signer is not None:
        extensions |= signer.offers(required, now_ms=now_ms) or {}
    required.extensions = extensions or None
    return wire.challenge(required, [way.network for way in ways])


def receipt(
    outcome: Outcome,
    purchase: Purchase,
    network: Named,
    *,
    payer: str,
    asset: str,
    signer: OfferSigner | None,
) -> Receipt:
    """The outcome for a client, signed where there is a signer; `payer` as people write it."""
    said = SettleResponse(
        success=outcome.success,
        payer=payer,
        transaction=outcome.reference,
        network=network.caip2,
        error_reason=outcome.reason or None,
    )
    if signer is not None:
        said.extensions = signer.receipt(
            outcome, purchase, payer=payer, network=network.caip2, asset=asset
        )
    return wire.receipt(said, network)
