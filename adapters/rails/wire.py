"""x402 headers: what a client sends decoded, what we answer encoded."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

from x402.http.utils import (
    encode_payment_required_header,
    encode_payment_response_header,
    safe_base64_encode,
)
from x402.schemas import (
    PaymentPayload,
    PaymentRequired,
    PaymentRequirements,
    ResourceInfo,
    SettleResponse,
)
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from adapters.rails.networks import Named
from domain.errors import MalformedError
from domain.ports.payments import Challenge, Receipt

ASK = "Payment required"
# The headers of versions 2 and 1, in the lower case in which they reach us.
_PAYMENT_HEADERS = ("payment-signature", "x-payment")


def presented(headers: dict[str, str]) -> PaymentPayload | PaymentPayloadV1 | None:
    """The payment in these headers, None where there is none, MalformedError for garbage."""
    for name in _PAYMENT_HEADERS:
        if name in headers:
            return _decode(name, headers[name])
    return None


def _decode(name: str, value: str) -> PaymentPayload | PaymentPayloadV1:
    try:
        fields = json.loads(base64.b64decode(value, validate=True))
        if isinstance(fields, dict) and fields.get("x402Version") == 1:
            return PaymentPayloadV1.model_validate(fields)
        return PaymentPayload.model_validate(fields)
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            where=name.upper(),
            expected="base64 of an x402 payment in JSON, or no such header, to be told the terms",
            got=f"{len(value)} characters that are not ({type(error).__name__})",
        ) from error


def challenge(terms: PaymentRequired, networks: Sequence[Named]) -> Challenge:
    """The 402 answer: version 2 in the header, version 1 in the body for older clients.

    `networks` are those of `terms.accepts`, one for each.
    """
    legacy = [
        _legacy(accepted, network, terms.resource)
        for accepted, network in zip(terms.accepts, networks, strict=True)
    ]
    return Challenge(
        headers={"PAYMENT-REQUIRED": encode_payment_required_header(terms)},
        terms={"x402Version": 1, "accepts": legacy},
    )


def _legacy(
    terms: PaymentRequirements, network: Named, resource: ResourceInfo | None
) -> dict[str, object]:
    legacy = PaymentRequirementsV1(
        scheme=terms.scheme,
        network=network.legacy,
        max_amount_required=terms.amount,
        resource=resource.url if resource else "",
        description=(resource.description if resource else None) or "",
        mime_type="application/json",
        pay_to=terms.pay_to,
        max_timeout_seconds=terms.max_timeout_seconds,
        asset=terms.asset,
        extra=terms.extra,
    )
    return legacy.model_dump(by_alias=True, exclude_none=True)


def receipt(outcome: SettleResponse, network: Named) -> Receipt:
    """The outcome in both versions' headers; they differ in how they name the network.

    Extensions are in the first alone, where their readers look: proxies bound what headers hold.
    """
    shown = outcome.model_copy(update={"extensions": None})
    legacy = shown.model_dump(by_alias=True, exclude_none=True) | {"network": network.legacy}
    return Receipt(
        headers={
            "PAYMENT-RESPONSE": encode_payment_response_header(outcome),
            "X-PAYMENT-RESPONSE": safe_base64_encode(json.dumps(legacy)),
        }
    )
