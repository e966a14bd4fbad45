"""TRON payment headers: what a client sends decoded, what we answer encoded."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from bankofai.x402.types import PaymentRequirements

from adapters.rails.tron_desk import SignedPermit
from adapters.rails.tron_permit import KIND, Permit, parse_signature
from adapters.rails.tron_terms import SCHEME
from domain.errors import MalformedError
from domain.ports.payments import Outcome, Purchase, Receipt

ASK = "Payment required"
_PAYMENT_HEADER = "payment-signature"
_VERSION = 2
_UNITS_PER_USD = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A payment as a client shows it: what it says it accepted, and what it signed."""

    accepted: Mapping[str, object]
    signed: SignedPermit


def presented(headers: dict[str, str]) -> Presented | None:
    """The payment in these headers, None where there is none, MalformedError for garbage."""
    if _PAYMENT_HEADER not in headers:
        return None
    text = headers[_PAYMENT_HEADER]
    try:
        whole = json.loads(base64.b64decode(text, validate=True))
    except (ValueError, RecursionError) as error:
        raise _malformed(f"{len(text)} characters that are not ({type(error).__name__})") from error
    if not isinstance(whole, dict) or whole.get("x402Version") != _VERSION:
        raise _malformed("no payment of version 2")
    accepted, payload = whole.get("accepted"), whole.get("payload")
    if not isinstance(accepted, dict) or not isinstance(payload, dict):
        raise _malformed("a payment without `accepted` and `payload`")
    # Some clients write null for what is not there.
    given = {name: value for name, value in payload.items() if value is not None}
    if set(given) != {"signature", "paymentPermit"}:
        raise _malformed(f"a payload of {', '.join(sorted(given))[:80]}")
    signed = SignedPermit(Permit.parse(given["paymentPermit"]), parse_signature(given["signature"]))
    return Presented(accepted=accepted, signed=signed)


def mismatch(
    accepted: Mapping[str, object], terms: PaymentRequirements, names: tuple[str, ...]
) -> str | None:
    """Whether a client accepted other terms than it signed for; `names` are the network's."""
    if accepted.get("scheme") != SCHEME:
        return f"it is for {str(accepted.get('scheme'))[:40]}, not {SCHEME}"
    if accepted.get("network") not in names:
        return f"it is on {str(accepted.get('network'))[:40]}, not {terms.network}"
    ours = {"amount": terms.amount, "asset": terms.asset, "payTo": terms.pay_to}
    for name, value in ours.items():
        if accepted.get(name) != value:
            return (
                f"it was accepted for {name} {str(accepted.get(name))[:80]}, and signed for {value}"
            )
    return None


def terms_of(
    terms: PaymentRequirements, permit: Permit, purchase: Purchase, *, error: str
) -> dict[str, object]:
    """The 402 answer, in the header and again as the body."""
    fee = f"{permit.fee // _UNITS_PER_USD}.{permit.fee % _UNITS_PER_USD:06d}"
    return {
        "x402Version": _VERSION,
        "error": error,
        "resource": {
            "url": purchase.resource_url,
            "description": f"{purchase.description}; the facilitator takes {fee} USDT on top",
            "mimeType": "application/json",
        },
        "accepts": [terms.model_dump(by_alias=True, exclude_none=True)],
        "extensions": {
            "paymentPermitContext": {
                "meta": {
                    "kind": KIND,
                    "paymentId": f"0x{permit.payment_id.hex()}",
                    "nonce": str(permit.nonce),
                    "validAfter": permit.valid_after_s,
                    "validBefore": permit.valid_before_s,
                }
            }
        },
    }


def encoded(said: Mapping[str, object]) -> str:
    """JSON in standard base64, as headers carry it."""
    return base64.b64encode(json.dumps(said, separators=(",", ":")).encode()).decode("ascii")


def receipt(outcome: Outcome, network: str) -> Receipt:
    """The outcome as clients of this protocol read it, and the transaction for the body."""
    said = {
        "success": outcome.success,
        "transaction": outcome.reference,
        "network": network,
        "errorReason": outcome.reason or None,
    }
    return Receipt(
        headers={"PAYMENT-RESPONSE": encoded(said)},
        facts={"tron_tx_hash": outcome.reference} if outcome.success else {},
    )


def _malformed(got: str) -> MalformedError:
    return MalformedError(
        where=_PAYMENT_HEADER.upper(), expected="base64 of a TRON payment in JSON", got=got
    )
