"""npm `@x402/extensions` 2.27.0 checks what we offered and what we say we were paid."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from x402.http.utils import decode_payment_required_header, decode_payment_response_header
from x402.schemas import PaymentRequired

from adapters.did import keys_of
from adapters.rails.eip3009 import Authorization
from adapters.rails.networks import BASE, SOLANA
from adapters.rails.offers import EXTENSION, verify_offer, verify_receipt
from domain.merkle import leaf_hash, verify_inclusion
from domain.payment import Payment
from tests.e2e.conftest import GatewayProcess
from tests.e2e.payer import PURCHASE, TIMEOUT_S, Payer


@pytest.fixture(scope="module")
def told(gateway: GatewayProcess, node: Callable[..., str]) -> dict[str, Any]:
    """What the official verifiers say of a purchase by the real client."""
    said: dict[str, Any] = json.loads(node("offers.mjs", gateway.url, gateway.secret_key))
    return said


@pytest.fixture(scope="module")
def keys(gateway: GatewayProcess) -> dict[str, bytes]:
    return keys_of(httpx.get(gateway.url + "/.well-known/did.json").json())


def test_the_client_buys_as_it_did_without_offers(told: dict[str, Any]) -> None:
    assert told["statuses"] == [402, 200]
    assert told["bought"]["creditedMicrocredits"] == "100000"


def test_each_of_our_terms_has_an_offer_the_official_verifier_accepts(
    told: dict[str, Any],
) -> None:
    (terms,) = told["accepts"]

    assert told["offers"] == 1
    assert told["offer_is_of_the_terms"]
    assert {name: told["offered"][name] for name in ("network", "asset", "payTo", "amount")} == {
        name: terms[name] for name in ("network", "asset", "payTo", "amount")
    }


def test_our_receipt_is_accepted_by_the_official_verifier(
    told: dict[str, Any], gateway: GatewayProcess
) -> None:
    received = told["received"]

    assert told["receipt_is_of_the_offer"]
    assert received["network"] == BASE.caip2
    assert received["payer"] == gateway.ready["sandbox"]["evm_address"]
    assert received["payphone"]["amount"] == "100000"
    assert received["payphone"]["position"] > 0


def test_one_letter_changed_is_refused_by_the_official_verifier(told: dict[str, Any]) -> None:
    assert told["forgeries_fail"]


def test_our_own_verifier_reads_the_same(told: dict[str, Any], keys: dict[str, bytes]) -> None:
    offer = verify_offer(told["signed_offer"], keys=keys)
    receipt = verify_receipt(told["signed_receipt"], keys=keys)

    assert (offer.pay_to, offer.valid_until_s) == (
        told["offered"]["payTo"],
        told["offered"]["validUntil"],
    )
    assert (receipt.transaction, receipt.position) == (
        told["received"]["transaction"],
        told["received"]["payphone"]["position"],
    )
    assert receipt.answers(offer)


async def test_the_credit_stands_in_the_log_where_the_receipt_says(
    gateway: GatewayProcess, keys: dict[str, bytes]
) -> None:
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()
    reply = await payer.post(payer.body(), proof)

    position = verify_receipt(signed_receipt(reply), keys=keys).position

    async with httpx.AsyncClient(base_url=gateway.url, timeout=TIMEOUT_S) as http:
        entry = (await http.get("/v1/log/entries", params={"start": position, "count": 1})).content
        proven = (await http.get("/v1/log/proof", params={"position": position})).json()
    leaf = entry.removesuffix(b"\n")
    assert json.loads(leaf)["topic"] == Payment.Credited.TOPIC
    assert json.loads(leaf)["originator_id"] == str(payment_id(proof))
    assert position is not None
    assert verify_inclusion(
        leaf_hash(leaf),
        index=position - 1,
        size=proven["size"],
        proof=[base64.b64decode(text) for text in proven["proof"]],
        root=base64.b64decode(proven["root"]),
    )


@pytest.mark.parametrize(
    ("chain", "wallet", "network"),
    [
        ("evm", "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1", BASE.caip2),
        ("solana", "AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9", SOLANA.caip2),
    ],
)
async def test_whoever_asks_is_made_an_offer_on_their_chain(
    gateway: GatewayProcess, keys: dict[str, bytes], chain: str, wallet: str, network: str
) -> None:
    body = {"wallet_chain": chain, "wallet_address": wallet, "amount_usd": 0.25}
    async with httpx.AsyncClient(timeout=TIMEOUT_S) as http:
        reply = await http.post(gateway.url + PURCHASE, json=body)

    required = decode_payment_required_header(reply.headers["PAYMENT-REQUIRED"])
    assert isinstance(required, PaymentRequired)
    assert required.extensions is not None
    (signed,) = required.extensions[EXTENSION]["info"]["offers"]
    offer = verify_offer(signed, keys=keys)
    assert (offer.network, offer.amount) == (network, 250_000)
    assert offer.pay_to == required.accepts[0].pay_to


async def test_a_purchase_asked_for_again_has_the_same_receipt(gateway: GatewayProcess) -> None:
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()

    first = await payer.post(payer.body(), proof)
    again = await payer.post(payer.body(), proof)

    assert signed_receipt(first) == signed_receipt(again)


async def test_the_key_is_told_where_the_gateway_tells_of_itself(
    gateway: GatewayProcess, keys: dict[str, bytes]
) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        known = (await http.get("/.well-known/payphone")).json()

    assert set(known["offers"]["keys"]) == set(keys)
    assert known["offers"]["did_document"] == gateway.url + "/.well-known/did.json"


def signed_receipt(reply: httpx.Response) -> dict[str, Any]:
    assert reply.status_code == 200
    said = decode_payment_response_header(reply.headers["PAYMENT-RESPONSE"])
    assert said.extensions is not None
    receipt: dict[str, Any] = said.extensions[EXTENSION]["info"]["receipt"]
    return receipt


def payment_id(proof: dict[str, str]) -> object:
    """The payment's id, which whoever signed it can work out."""
    payload = json.loads(base64.b64decode(proof["PAYMENT-SIGNATURE"]))["payload"]
    key = Authorization.parse(payload).key(network=BASE.caip2, asset=BASE.usdc)
    return Payment.create_id("x402-base", key)
