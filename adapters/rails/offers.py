"""Signed terms and signed receipts: the x402 extension `offer-receipt`, as JWS by Ed25519."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from x402.schemas import PaymentRequired, PaymentRequirements

from adapters.did import did_web, key_id
from adapters.keys import Ed25519Signer, check_signature
from domain.ports.payments import Outcome, Purchase
from domain.record import canonical

EXTENSION = "offer-receipt"
# An offer holds for this long at least, and for twice as long at most: its end lies on a grid, so
# that whoever asks twice is told the same.
HOLDS_S = 600
_VERSION = 1
_ALGORITHM = "EdDSA"
_LABEL = b"payphone offer-receipt 1"
_FORMAT = "jws"
_PARTS = 3
# What a uint256 can need at most.
_WHOLE = re.compile(r"[0-9]{1,78}")
# The part of a receipt that the extension does not know.
_OURS = "payphone"


class OfferError(ValueError):
    """It was not signed by whom we trust, or it does not say what an offer or a receipt says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a service bound itself to sell for; `amount` in token base units, times Unix seconds."""

    resource_url: str
    scheme: str
    network: str
    asset: str
    pay_to: str
    amount: int
    valid_until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidReceipt:
    """What a service said it was paid; `amount` in token base units, times Unix seconds.

    `position` is where the credit stands in the service's log, None where it did not say.
    """

    resource_url: str
    network: str
    payer: str
    issued_at_s: int
    transaction: str
    asset: str
    amount: int
    position: int | None

    def answers(self, offer: Offer) -> bool:
        """Whether it is for what was offered, paid in full."""
        paid = (self.resource_url, self.network, self.asset, self.amount)
        return paid == (offer.resource_url, offer.network, offer.asset, offer.amount)


class OfferSigner:
    """Signs what a rail asks for and what it was paid. The same facts are the same text.

    `seed` is 32 secret bytes of the gateway; the key is derived from them for this purpose alone.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519Signer(hmac.digest(seed, _LABEL, hashlib.sha256))

    @property
    def public(self) -> bytes:
        """32 bytes, with which anybody can check what we signed."""
        return self._key.public

    def offers(self, required: PaymentRequired, *, now_ms: int) -> dict[str, Any] | None:
        """The `extensions` of a challenge: an offer for each of its terms."""
        if required.resource is None:
            return None
        url = required.resource.url
        valid_until_s = (now_ms // 1000 // HOLDS_S + 2) * HOLDS_S
        offers = [
            {
                "format": _FORMAT,
                "acceptIndex": index,
                "signature": self._signed(url, _offer(url, terms, valid_until_s)),
            }
            for index, terms in enumerate(required.accepts)
        ]
        return {EXTENSION: {"info": {"offers": offers}, "schema": _OFFERS_SCHEMA}}

    def receipt(
        self, outcome: Outcome, purchase: Purchase, *, payer: str, network: str, asset: str
    ) -> dict[str, Any] | None:
        """The `extensions` of a receipt; None where nothing was paid, since it promises that."""
        if not outcome.success or outcome.at_ms is None:
            return None
        own = {"amount": str(outcome.amount.value), "asset": asset}
        payload = {
            "version": _VERSION,
            "network": network,
            "resourceUrl": purchase.resource_url,
            "payer": payer,
            "issuedAt": outcome.at_ms // 1000,
            "transaction": outcome.reference,
            _OURS: own if outcome.position is None else own | {"position": outcome.position},
        }
        signed = {"format": _FORMAT, "signature": self._signed(purchase.resource_url, payload)}
        return {EXTENSION: {"info": {"receipt": signed}, "schema": _RECEIPT_SCHEMA}}

    def _signed(self, url: str, payload: dict[str, Any]) -> str:
        header = {"alg": _ALGORITHM, "kid": key_id(url, self.public)}
        text = f"{_encoded(canonical(header))}.{_encoded(canonical(payload))}"
        return f"{text}.{_encoded(self._key.sign(text.encode('ascii')))}"


def verify_offer(offer: Mapping[str, object], *, keys: Mapping[str, bytes]) -> Offer:
    """What this offer says; OfferError unless one of `keys` signed it for its own host.

    `keys` are those of the service's DID document (`adapters.did.keys_of`), kept or fetched.
    Whether it still holds is the caller's to compare with a clock.
    """
    fields = _Fields(_opened(offer, keys), _OFFER_FIELDS)
    return Offer(
        resource_url=fields.text("resourceUrl"),
        scheme=fields.text("scheme"),
        network=fields.text("network"),
        asset=fields.text("asset"),
        pay_to=fields.text("payTo"),
        amount=fields.amount("amount"),
        valid_until_s=fields.whole("validUntil"),
    )


def verify_receipt(receipt: Mapping[str, object], *, keys: Mapping[str, bytes]) -> PaidReceipt:
    """What this receipt says; OfferError unless one of `keys` signed it for its own host."""
    fields = _Fields(_opened(receipt, keys), _RECEIPT_FIELDS)
    own = fields.part(_OURS, _OWN_FIELDS)
    return PaidReceipt(
        resource_url=fields.text("resourceUrl"),
        network=fields.text("network"),
        payer=fields.text("payer"),
        issued_at_s=fields.whole("issuedAt"),
        transaction=fields.text("transaction"),
        asset=own.text("asset"),
        amount=own.amount("amount"),
        position=own.whole("position") if own.has("position") else None,
    )


def _offer(url: str, terms: PaymentRequirements, valid_until_s: int) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "resourceUrl": url,
        "scheme": terms.scheme,
        "network": terms.network,
        "asset": terms.asset,
        "payTo": terms.pay_to,
        "amount": terms.amount,
        "validUntil": valid_until_s,
    }


def _opened(signed: Mapping[str, object], keys: Mapping[str, bytes]) -> dict[str, Any]:
    """The payload, when its key is one of these and speaks for the host it is about."""
    text = signed.get("signature")
    parts = text.split(".") if isinstance(text, str) else []
    if signed.get("format") != _FORMAT or len(parts) != _PARTS:
        raise OfferError(f"expected a compact JWS (got {str(signed)[:100]})")
    header, payload = _object(parts[0]), _object(parts[1])
    kid = str(header.get("kid"))
    if header != {"alg": _ALGORITHM, "kid": kid} or kid not in keys:
        raise OfferError(f"expected EdDSA by one of {sorted(keys)} (got {str(header)[:200]})")
    if not check_signature(keys[kid], f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2])):
        raise OfferError("the signature does not fit")
    version = payload.get("version")
    if version != _VERSION or isinstance(version, bool):
        raise OfferError(f"expected version {_VERSION} (got {str(version)[:20]})")
    if not _speaks_for(kid, str(payload.get("resourceUrl"))):
        raise OfferError(f"{kid} does not speak for {str(payload.get('resourceUrl'))[:200]}")
    return payload


def _speaks_for(kid: str, url: str) -> bool:
    try:
        return did_web(url) == kid.partition("#")[0]
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class _Fields:
    """Fields of a payload, read strictly: a name that is not `known` means something we miss."""

    values: Mapping[str, Any]
    known: frozenset[str]

    def __post_init__(self) -> None:
        if not self.known >= set(self.values):
            raise OfferError(f"expected {sorted(self.known)} (got {sorted(self.values)})")

    def has(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            raise OfferError(f"{name}: expected text (got {value!r})")
        return value

    def whole(self, name: str) -> int:
        value = self.values.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise OfferError(f"{name}: expected a whole number (got {value!r})")
        return value

    def amount(self, name: str) -> int:
        text = self.text(name)
        if not _WHOLE.fullmatch(text):
            raise OfferError(f"{name}: expected a whole number as text (got {text!r})")
        return int(text)

    def part(self, name: str, known: frozenset[str]) -> _Fields:
        value = self.values.get(name)
        if not isinstance(value, dict):
            raise OfferError(f"{name}: expected an object (got {value!r})")
        return _Fields(value, known)


def _object(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_decoded(part))
    except (ValueError, RecursionError) as error:
        raise OfferError(f"expected base64url of JSON (got {part[:100]!r})") from error
    if not isinstance(value, dict):
        raise OfferError(f"expected a JSON object (got {str(value)[:100]})")
    return value


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    """Base64url in its one spelling, so that a signed text cannot be written another way."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise OfferError(f"expected base64url (got {text[:100]!r})") from error
    if _encoded(raw) != text:
        raise OfferError(f"expected base64url (got {text[:100]!r})")
    return raw


_OFFER_FIELDS = frozenset(
    ("version", "resourceUrl", "scheme", "network", "asset", "payTo", "amount", "validUntil")
)
_RECEIPT_FIELDS = frozenset(
    ("version", "network", "resourceUrl", "payer", "issuedAt", "transaction", _OURS)
)
_OWN_FIELDS = frozenset(("amount", "asset", "position"))


def _schema(name: str, content: dict[str, object]) -> dict[str, object]:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {name: content},
        "required": [name],
    }


_TEXT = {"type": "string"}
_SIGNED = {"format": {"type": "string", "const": _FORMAT}, "signature": _TEXT}
_REQUIRED = {"type": "object", "required": ["format", "signature"]}
_OFFERS_SCHEMA = _schema(
    "offers",
    {
        "type": "array",
        "items": {**_REQUIRED, "properties": {"acceptIndex": {"type": "integer"}, **_SIGNED}},
    },
)
_RECEIPT_SCHEMA = _schema("receipt", {**_REQUIRED, "properties": _SIGNED})
