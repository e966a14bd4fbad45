"""What an x402 rail asks for, alone or with the terms of others beside its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from x402.schemas import PaymentRequired, PaymentRequirements

from adapters.rails import wire
from adapters.rails.discovery import discovery_of, resource_of
from adapters.rails.networks import Named
from adapters.rails.offers import OfferSigner
from domain.errors import PaymentRefusedError, RailDownError
from domain.ports.payments import Challenge, PaymentRail, Purchase


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
