"""Whoever holds a signed offer or receipt can check it; nothing else passes for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from adapters.did import key_id, keys_of
from adapters.keys import Ed25519Signer
from adapters.rails.networks import BASE
from adapters.rails.offers import (
    EXTENSION,
    Offer,
    OfferError,
    OfferSigner,
    PaidReceipt,
    verify_offer,
    verify_receipt,
)
from domain.record import canonical

VECTORS = Path(__file__).parents[4] / "specs" / "payments" / "vectors"
VECTOR: dict[str, Any] = json.loads((VECTORS / "offers.json").read_text("utf-8"))
PURCHASED: dict[str, Any] = json.loads((VECTORS / "x402.json").read_text("utf-8"))
KEYS = keys_of(VECTOR["did_document"])
PAYER = PURCHASED["receipt"]["payer"]
# Throwaway: 32 bytes of 0x06. A key that nobody announced.
FORGER = Ed25519Signer(b"\x06" * 32)

Signed = dict[str, Any]
OFFER: Signed = VECTOR["challenge_extensions"][EXTENSION]["info"]["offers"][0]
RECEIPT: Signed = VECTOR["receipt_extensions"][EXTENSION]["info"]["receipt"]


def test_an_offer_says_the_terms_and_until_when() -> None:
    terms, says = PURCHASED["challenge"]["accepts"][0], VECTOR["offer_says"]

    assert verify_offer(OFFER, keys=KEYS) == Offer(
        resource_url=PURCHASED["purchase"]["resource_url"],
        scheme=terms["scheme"],
        network=terms["network"],
        asset=terms["asset"],
        pay_to=terms["payTo"],
        amount=int(terms["amount"]),
        valid_until_s=says["validUntil"],
    )


def test_a_receipt_says_who_paid_what_and_where_it_stands_in_the_log() -> None:
    paid = VECTOR["paid"]

    assert verify_receipt(RECEIPT, keys=KEYS) == PaidReceipt(
        resource_url=PURCHASED["purchase"]["resource_url"],
        network=BASE.caip2,
        payer=PAYER,
        issued_at_s=paid["at_ms"] // 1000,
        transaction=paid["reference"],
        asset=BASE.usdc,
        amount=paid["amount"],
        position=paid["position"],
    )


def test_what_is_signed_is_canonical() -> None:
    for signed, says in ((OFFER, VECTOR["offer_says"]), (RECEIPT, VECTOR["receipt_says"])):
        assert decoded(signed["signature"].split(".")[1]) == canonical(says)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def resigned(payload: object, *, header: object = None, key: Ed25519Signer | None = None) -> Signed:
    """What the gateway's own key (or another) would have signed, had it said this."""
    named = header or {"alg": "EdDSA", "kid": VECTOR["kid"]}
    text = f"{encoded(canonical(named))}.{encoded(canonical(payload))}"
    signature = (key or OfferSigner(bytes.fromhex(VECTOR["seed"]))._key).sign(text.encode())
    return {"format": "jws", "signature": f"{text}.{encoded(signature)}"}


@dataclass(frozen=True)
class Kind:
    """What is signed, as it is sent and as it reads, and who checks it."""

    verify: Callable[..., object]
    signed: Signed
    says: dict[str, Any]

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """Every field, with those of the part that is ours."""
        plain = [(name,) for name, value in self.says.items() if not isinstance(value, dict)]
        return plain + [("payphone", name) for name in self.says.get("payphone", ())]

    def says_other(self, path: tuple[str, ...], value: object) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(self.says))
        place = copy
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        return copy


KINDS = {
    "offer": Kind(verify_offer, OFFER, VECTOR["offer_says"]),
    "receipt": Kind(verify_receipt, RECEIPT, VECTOR["receipt_says"]),
}
FIELDS = [
    pytest.param(kind, path, id=f"{name}-{'.'.join(path)}")
    for name, kind in KINDS.items()
    for path in kind.paths
]
both_kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.mark.parametrize(("kind", "path"), FIELDS)
def test_no_field_can_be_changed(kind: Kind, path: tuple[str, ...]) -> None:
    header, _, signature = kind.signed["signature"].split(".")
    value: Any = kind.says
    for name in path:
        value = value[name]
    other = value + 1 if isinstance(value, int) else f"1{value}"
    text = ".".join((header, encoded(canonical(kind.says_other(path, other))), signature))

    with pytest.raises(OfferError, match="signature"):
        kind.verify({"format": "jws", "signature": text}, keys=KEYS)


@both_kinds
def test_a_stranger_cannot_sign(kind: Kind) -> None:
    with pytest.raises(OfferError, match="signature"):
        kind.verify(resigned(kind.says, key=FORGER), keys=KEYS)


@both_kinds
def test_a_key_that_was_not_announced_signs_nothing(kind: Kind) -> None:
    kid = key_id(kind.says["resourceUrl"], FORGER.public)
    forged = resigned(kind.says, header={"alg": "EdDSA", "kid": kid}, key=FORGER)

    with pytest.raises(OfferError, match="expected EdDSA by one of"):
        kind.verify(forged, keys=KEYS)


@both_kinds
@pytest.mark.parametrize(
    "url", ["https://other.example/v1/credits/purchase", "https://", "gateway.example", ""]
)
def test_a_key_speaks_for_its_own_host_only(kind: Kind, url: str) -> None:
    with pytest.raises(OfferError, match="speak"):
        kind.verify(resigned(kind.says_other(("resourceUrl",), url)), keys=KEYS)


@both_kinds
@pytest.mark.parametrize("algorithm", ["none", "HS256", "ES256K", ""])
def test_no_other_algorithm_is_read(kind: Kind, algorithm: str) -> None:
    forged = resigned(kind.says, header={"alg": algorithm, "kid": VECTOR["kid"]})

    with pytest.raises(OfferError, match="EdDSA"):
        kind.verify(forged, keys=KEYS)


@both_kinds
def test_a_header_that_demands_more_is_refused(kind: Kind) -> None:
    header = {"alg": "EdDSA", "kid": VECTOR["kid"], "crit": ["b64"], "b64": False}

    with pytest.raises(OfferError, match="EdDSA"):
        kind.verify(resigned(kind.says, header=header), keys=KEYS)


@both_kinds
def test_another_version_is_not_read_as_this_one(kind: Kind) -> None:
    with pytest.raises(OfferError, match="version"):
        kind.verify(resigned(kind.says | {"version": 2}), keys=KEYS)


@both_kinds
def test_a_field_that_is_not_known_is_refused(kind: Kind) -> None:
    with pytest.raises(OfferError, match="expected"):
        kind.verify(resigned(kind.says | {"surcharge": "1"}), keys=KEYS)


@pytest.mark.parametrize(("kind", "path"), FIELDS)
@pytest.mark.parametrize("wrong", [None, True, -1, 1.5, [], "", {"a": 1}])
def test_a_field_of_another_kind_is_refused(
    kind: Kind, path: tuple[str, ...], wrong: object
) -> None:
    with pytest.raises(OfferError):
        kind.verify(resigned(kind.says_other(path, wrong)), keys=KEYS)


@pytest.mark.parametrize("wrong", ["one", "-1", "1.0", "0x1", " 1", "\u0661", "1" * 79])
def test_an_amount_is_a_whole_number_as_text(wrong: str) -> None:
    with pytest.raises(OfferError, match="amount"):
        verify_offer(resigned(VECTOR["offer_says"] | {"amount": wrong}), keys=KEYS)


def test_an_offer_is_no_receipt_and_a_receipt_no_offer() -> None:
    with pytest.raises(OfferError):
        verify_receipt(OFFER, keys=KEYS)
    with pytest.raises(OfferError):
        verify_offer(RECEIPT, keys=KEYS)


@both_kinds
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + "=",
        lambda text: text + ".x",
        lambda text: text.rpartition(".")[0],
        lambda text: text.rpartition(".")[0] + ".",
        lambda text: text[:-1],
        lambda text: "." + text,
        lambda text: " " + text,
        lambda text: "e30.e30." + text.rpartition(".")[2],
        lambda text: "bnVsbA." + text.partition(".")[2],
        lambda text: "é" + text,
        lambda text: f"{'W1tb.' * 2}{text}",
        lambda text: [text],
        len,
    ],
)
def test_garbage_is_refused(kind: Kind, spoil: Callable[[str], object]) -> None:
    text = spoil(kind.signed["signature"])

    with pytest.raises(OfferError):
        kind.verify({"format": "jws", "signature": text}, keys=KEYS)


def test_the_other_alphabet_of_base64_is_refused() -> None:
    text = RECEIPT["signature"].translate(str.maketrans("-_", "+/"))
    assert text != RECEIPT["signature"]

    with pytest.raises(OfferError, match="base64url"):
        verify_receipt({"format": "jws", "signature": text}, keys=KEYS)


@both_kinds
@pytest.mark.parametrize("format_", ["eip712", "", None])
def test_another_format_is_refused(kind: Kind, format_: object) -> None:
    with pytest.raises(OfferError, match="JWS"):
        kind.verify(kind.signed | {"format": format_}, keys=KEYS)


def test_a_receipt_answers_the_offer_that_was_paid() -> None:
    assert verify_receipt(RECEIPT, keys=KEYS).answers(verify_offer(OFFER, keys=KEYS))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("resourceUrl", "https://gateway.example/v1/other"),
        ("network", "eip155:84532"),
        ("asset", "0x" + "33" * 20),
        ("amount", "100001"),
    ],
)
def test_a_receipt_answers_no_other_offer(name: str, value: str) -> None:
    other = verify_offer(resigned(VECTOR["offer_says"] | {name: value}), keys=KEYS)

    assert not verify_receipt(RECEIPT, keys=KEYS).answers(other)
