"""What crawlers of x402 shops read in a challenge: how a route is called (extension `bazaar`).

A challenge travels in one header, and proxies bound those: this says the least that a stranger's
program needs to call the route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from x402.schemas import ResourceInfo

from domain.ports.payments import Purchase

BAZAAR = "bazaar"
SERVICE = "Payphone"
TAGS = ("voice", "stt", "tts", "webrtc")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
# Examples as good as any: the all-lower, checksummed and base58 forms that wallets have.
_WALLETS = {
    "evm": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "solana": "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
}
_TEXT = {"type": "string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    """A JSON body by POST: its properties as JSON Schema, an example, and one of the answer."""

    properties: Mapping[str, object]
    example: Mapping[str, object]
    answer: Mapping[str, object] = field(default_factory=dict)


_MINUTES = {"type": "integer", "minimum": 5, "maximum": 120}
_ROUTES = {
    "/v1/credits/purchase": _Route(
        properties={
            "wallet_address": _TEXT,
            "wallet_chain": {"enum": ["evm", "solana"]},
            "amount_usd": {"type": "number", "minimum": 0.1},
        },
        example={"amount_usd": 1},
        answer={"credited_microcredits": "1000000", "amount_usd": 1},
    ),
    "/v1/session": _Route(
        properties={"minutes": _MINUTES, "language": _TEXT},
        example={"minutes": 5, "language": "en"},
    ),
    "/v1/session/extend": _Route(
        properties={"session_id": _TEXT, "minutes": _MINUTES},
        example={"session_id": "018f6b0e-0000-7000-8000-000000000000", "minutes": 5},
    ),
}


def resource_of(purchase: Purchase) -> ResourceInfo:
    """What is sold, with the words that it is listed under."""
    return ResourceInfo(
        url=purchase.resource_url,
        description=purchase.description,
        mime_type="application/json",
        service_name=SERVICE,
        tags=list(TAGS),
    )


def discovery_of(purchase: Purchase) -> dict[str, object]:
    """The extension for the route that this is bought at; nothing for one that nobody lists."""
    path = urlsplit(purchase.resource_url).path
    route = next((found for end, found in _ROUTES.items() if path.endswith(end)), None)
    if route is None:
        return {}
    example = dict(route.example)
    if "wallet_chain" in route.properties:
        wallet = {"wallet_address": _WALLETS[purchase.chain], "wallet_chain": purchase.chain}
        example = wallet | example
    said: dict[str, object] = {
        "input": {"type": "http", "method": "POST", "bodyType": "json", "body": example}
    }
    if route.answer:
        said["output"] = {"type": "json", "example": dict(route.answer)}
    return {BAZAAR: {"info": said, "schema": _schema(route)}}


def _schema(route: _Route) -> dict[str, object]:
    """The JSON Schema of the above, as far as it tells more than the example does."""
    body = {"properties": dict(route.properties), "required": list(route.properties)}
    fields: dict[str, object] = {"method": {"const": "POST"}, "body": body}
    return {
        "$schema": _DIALECT,
        "type": "object",
        "properties": {"input": {"properties": fields}},
        "required": ["input"],
    }
