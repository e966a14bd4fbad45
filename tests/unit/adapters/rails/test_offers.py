"""Signed offers and receipts: what we say, when, and that it is the same each time."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from x402.http.utils import decode_payment_required_header, decode_payment_response_header
from x402.schemas import PaymentRequired

from adapters.did import keys_of
from adapters.keys import Ed25519Signer
from adapters.rails.chain import EvmChainReader
from adapters.rails.networks import BASE
from adapters.rails.offers import (
    EXTENSION,
    HOLDS_S,
    OfferSigner,
    verify_offer,
    verify_receipt,
)
from adapters.rails.x402 import X402Rail
from domain.errors import PaymentRefusedError
from domain.money import Microcredits
from domain.ports.payments import Challenge, Outcome, Purchase
from tests.fakes.sandbox import JumpingClock, Sandbox

VECTORS = Path(__file__).parents[4] / "specs" / "payments" / "vectors"
VECTOR: dict[str, Any] = json.loads((VECTORS / "offers.json").read_text("utf-8"))
PURCHASED: dict[str, Any] = json.loads((VECTORS / "x402.json").read_text("utf-8"))
KEYS = keys_of(VECTOR["did_document"])
DISCOVERY = PURCHASED["challenge"]["extensions"]
ACCEPTS = PaymentRequired(**PURCHASED["challenge"]).accepts
PAYER = PURCHASED["receipt"]["payer"]


@pytest.fixture
def signer() -> OfferSigner:
    return OfferSigner(bytes.fromhex(VECTOR["seed"]))


@pytest.fixture
def clock() -> JumpingClock:
    clock = JumpingClock()
    clock.at_ms = VECTOR["now_ms"]
    return clock


@pytest.fixture
def rail(sandbox: Sandbox, signer: OfferSigner, clock: JumpingClock) -> X402Rail:
    return X402Rail(
        pay_to=PURCHASED["pay_to"],
        network=BASE,
        facilitator=sandbox.facilitator,
        chain=EvmChainReader(sandbox.node),
        clock=clock,
        signer=signer,
    )


@pytest.fixture
def purchase() -> Purchase:
    asked = PURCHASED["purchase"]
    return Purchase(**asked | {"amount": Microcredits(asked["amount"])})


def outcome(**differently: Any) -> Outcome:  # noqa: ANN401 (any field of it)
    paid = VECTOR["paid"]
    fields = {
        "success": True,
        "payer": PAYER.lower(),
        "amount": Microcredits(paid["amount"]),
        "reference": paid["reference"],
        "at_ms": paid["at_ms"],
        "position": paid["position"],
    }
    return Outcome(**fields | differently)


def signed_in(extensions: dict[str, Any] | None) -> dict[str, Any]:
    """What is ours of the extensions; others may stand beside it."""
    return {name: said for name, said in (extensions or {}).items() if name == EXTENSION}


def required_of(challenge: Challenge) -> PaymentRequired:
    found = decode_payment_required_header(challenge.headers["PAYMENT-REQUIRED"])
    assert isinstance(found, PaymentRequired)
    return found


def offer_of(extensions: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = extensions[EXTENSION]["info"]["offers"][0]
    return found


def receipt_of(extensions: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = extensions[EXTENSION]["info"]["receipt"]
    return found


async def test_the_offer_of_a_challenge_is_the_vectors(rail: X402Rail, purchase: Purchase) -> None:
    challenge = await rail.challenge(purchase)

    assert required_of(challenge).extensions == VECTOR["challenge_extensions"] | DISCOVERY


async def test_the_receipt_of_a_purchase_is_the_vectors(rail: X402Rail, purchase: Purchase) -> None:
    receipt = rail.receipt(outcome(), purchase)

    said = decode_payment_response_header(receipt.headers["PAYMENT-RESPONSE"])
    assert signed_in(said.extensions) == VECTOR["receipt_extensions"]


async def test_terms_are_the_same_with_an_offer_and_without(
    rail: X402Rail, purchase: Purchase
) -> None:
    challenge = await rail.challenge(purchase)

    assert required_of(challenge).accepts == ACCEPTS
    assert challenge.terms == PURCHASED["challenge_v1"]


async def test_a_refusal_makes_an_offer_again(rail: X402Rail, purchase: Purchase) -> None:
    refusal = PaymentRefusedError(rail=rail.name, reason="no")

    challenge = await rail.challenge(purchase, refusal=refusal)

    assert required_of(challenge).extensions == VECTOR["challenge_extensions"] | DISCOVERY


@pytest.mark.parametrize("after_s", [0, 1, HOLDS_S - 1, HOLDS_S, 12_345])
def test_an_offer_holds_for_ten_minutes_at_least_and_twenty_at_most(
    signer: OfferSigner, after_s: int
) -> None:
    now_ms = VECTOR["now_ms"] + after_s * 1_000
    extensions = signer.offers(PaymentRequired(**PURCHASED["challenge"]), now_ms=now_ms)

    assert extensions is not None
    holds_s = verify_offer(offer_of(extensions), keys=KEYS).valid_until_s - now_ms // 1_000
    assert HOLDS_S < holds_s <= 2 * HOLDS_S


def test_offers_of_one_window_are_one_text(signer: OfferSigner) -> None:
    required = PaymentRequired(**PURCHASED["challenge"])
    begins_ms = VECTOR["now_ms"] // (HOLDS_S * 1_000) * HOLDS_S * 1_000

    first = signer.offers(required, now_ms=begins_ms)

    assert signer.offers(required, now_ms=begins_ms + HOLDS_S * 1_000 - 1) == first
    assert signer.offers(required, now_ms=begins_ms + HOLDS_S * 1_000) != first


def test_each_term_has_an_offer_that_points_at_it(signer: OfferSigner) -> None:
    terms = PURCHASED["challenge"]["accepts"][0]
    both = [terms, terms | {"network": "eip155:84532", "amount": "7"}]
    required = PaymentRequired(**PURCHASED["challenge"] | {"accepts": both})

    extensions = signer.offers(required, now_ms=VECTOR["now_ms"])

    assert extensions is not None
    offers = extensions[EXTENSION]["info"]["offers"]
    assert [offer["acceptIndex"] for offer in offers] == [0, 1]
    assert [verify_offer(offer, keys=KEYS).amount for offer in offers] == [100_000, 7]


def test_terms_for_no_resource_get_no_offer(signer: OfferSigner) -> None:
    required = PaymentRequired(**PURCHASED["challenge"] | {"resource": None})

    assert signer.offers(required, now_ms=VECTOR["now_ms"]) is None


@pytest.mark.parametrize(
    "undecided", [{"success": False}, {"success": False, "at_ms": None}, {"at_ms": None}]
)
async def test_without_success_there_is_no_signed_receipt(
    rail: X402Rail, purchase: Purchase, undecided: dict[str, Any]
) -> None:
    receipt = rail.receipt(outcome(**undecided), purchase)

    said = decode_payment_response_header(receipt.headers["PAYMENT-RESPONSE"])
    assert said.extensions is None


async def test_a_credit_whose_place_is_not_known_says_none(
    rail: X402Rail, purchase: Purchase
) -> None:
    receipt = rail.receipt(outcome(position=None), purchase)

    said = decode_payment_response_header(receipt.headers["PAYMENT-RESPONSE"])
    assert said.extensions is not None
    assert verify_receipt(receipt_of(said.extensions), keys=KEYS).position is None


async def test_the_older_header_is_short(rail: X402Rail, purchase: Purchase) -> None:
    receipt = rail.receipt(outcome(), purchase)

    said = json.loads(base64.b64decode(receipt.headers["X-PAYMENT-RESPONSE"]))
    assert said == PURCHASED["receipt_v1"]


async def test_headers_fit_what_proxies_allow(rail: X402Rail, purchase: Purchase) -> None:
    challenge, receipt = await rail.challenge(purchase), rail.receipt(outcome(), purchase)

    for headers in (challenge.headers, receipt.headers):
        assert sum(len(name) + len(value) + 4 for name, value in headers.items()) < 4_096 - 512


def test_the_key_is_not_the_seed(signer: OfferSigner) -> None:
    assert signer.public != Ed25519Signer(bytes.fromhex(VECTOR["seed"])).public
    assert signer.public.hex() == VECTOR["public"]
