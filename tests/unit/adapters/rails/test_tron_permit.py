"""Permits on paper: the published vectors, and everything that is not quite a permit."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import base58
import pytest
from coincurve import PrivateKey
from eth_account import Account

from adapters.rails.tron_address import account_of, address_of
from adapters.rails.tron_networks import TRON_MAINNET, TRON_NETWORKS, TRON_NILE
from adapters.rails.tron_permit import (
    Permit,
    domain_separator,
    parse_signature,
    signer_of,
    wallet_of,
)
from domain.errors import MalformedError
from domain.ports.payments import Outcome
from tests.fakes.clock import ManualClock
from tests.fakes.tron_paper import BUYER, CARRIER, PAY_TO, ZERO, paper_rail, purchase_of

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "specs" / "payments" / "vectors" / "tron.json").read_text("utf-8")
)
WIRE: dict[str, Any] = VECTORS["permit"]["paymentPermit"]
SIGNATURE: str = VECTORS["permit"]["signature"]
# Right in all but its first byte.
OF_ANOTHER_CHAIN = base58.b58encode_check(b"\x42" + b"\x01" * 20).decode("ascii")
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def permit_with(path: str, value: object) -> dict[str, Any]:
    """The published permit with one field changed, or added, or (value `...`) left out."""
    fields = copy.deepcopy(WIRE)
    *parents, name = path.split(".")
    place = fields
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return fields


def test_the_domain_is_the_published_one() -> None:
    network = VECTORS["network"]

    assert domain_separator(TRON_MAINNET).hex() == network["domain_separator"]
    assert TRON_MAINNET.caip2 == network["caip2"]
    assert (TRON_MAINNET.usdt, TRON_MAINNET.permit) == (network["usdt"], network["permit"])


def test_the_digest_is_the_published_one() -> None:
    assert Permit.parse(WIRE).digest(TRON_MAINNET).hex() == VECTORS["permit"]["digest"]


def test_a_permit_is_signed_as_published() -> None:
    signature = Permit.parse(WIRE).signed_by(PrivateKey(b"\x11" * 32), TRON_MAINNET)

    assert signature == SIGNATURE


def test_a_permit_is_signed_as_a_wallet_signs_typed_data() -> None:
    permit = Permit.parse(WIRE)
    number = int(SIGNATURE, 16)

    signed = Account.unsafe_sign_hash(permit.digest(TRON_MAINNET), b"\x11" * 32)

    assert int.from_bytes(signed.signature) == number


def test_the_signer_is_recovered() -> None:
    assert signer_of(Permit.parse(WIRE).digest(TRON_MAINNET), SIGNATURE) == BUYER


def test_another_network_is_another_signer() -> None:
    assert signer_of(Permit.parse(WIRE).digest(TRON_NILE), SIGNATURE) != BUYER


@pytest.mark.parametrize("known", VECTORS["addresses"], ids=lambda known: known["key"][:2])
def test_a_key_has_its_published_address(known: dict[str, str]) -> None:
    assert wallet_of(PrivateKey(bytes.fromhex(known["key"]))) == known["address"]


def test_a_permit_is_written_as_it_was_read() -> None:
    assert Permit.parse(WIRE).wire() == WIRE


def test_capitals_in_the_payment_id_change_nothing() -> None:
    shouted = permit_with("meta.paymentId", "0x" + WIRE["meta"]["paymentId"][2:].upper())

    assert Permit.parse(shouted) == Permit.parse(WIRE)


@pytest.mark.parametrize("payment", VECTORS["purchase"]["payments"], ids=lambda p: p["client"])
async def test_both_clients_payments_are_read_alike(payment: dict[str, str]) -> None:
    purchase = VECTORS["purchase"]
    rail = paper_rail(clock=ManualClock(purchase["now_s"] * 1000))

    proof = await rail.decode(
        {"payment-signature": payment["payment_signature"]}, purchase_of(1_500_000)
    )

    assert proof is not None
    assert (proof.key, proof.payer) == (purchase["key"], purchase["payer"])


def test_the_published_challenge_is_the_header_and_the_body() -> None:
    purchase = VECTORS["purchase"]

    assert json.loads(base64.b64decode(purchase["payment_required"])) == purchase["challenge"]


def test_the_receipt_is_the_published_one() -> None:
    purchase = VECTORS["purchase"]
    outcome = Outcome(
        success=True,
        payer=BUYER,
        amount=purchase_of().amount,
        reference=purchase["transaction"],
    )

    receipt = paper_rail().receipt(outcome, purchase_of())

    assert receipt.headers == {"PAYMENT-RESPONSE": purchase["payment_response"]}
    assert receipt.facts == {"tron_tx_hash": purchase["transaction"]}


def test_an_address_of_another_chain_is_as_long() -> None:
    assert len(OF_ANOTHER_CHAIN) == len(BUYER)


@pytest.mark.parametrize("address", [BUYER, CARRIER, PAY_TO, ZERO])
def test_an_address_and_its_account_belong_together(address: str) -> None:
    assert address_of(account_of(address)) == address


@pytest.mark.parametrize("network", TRON_NETWORKS.values(), ids=TRON_NETWORKS)
def test_what_a_network_names_are_addresses(network: Any) -> None:  # noqa: ANN401 (a parameter of the test)
    assert account_of(network.usdt) != account_of(network.permit)


@pytest.mark.parametrize("field", ["buyer", "caller", "payment.payToken", "payment.payTo"])
@pytest.mark.parametrize(
    "address",
    [
        "4119e7e376e7c213b7e7e7e46cc70a5dd086daff2a",
        "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a",
        BUYER[:-1] + ("R" if BUYER[-1] != "R" else "S"),
        BUYER + " ",
        OF_ANOTHER_CHAIN,
        BUYER.lower(),
        "",
        None,
        7,
    ],
)
def test_a_wallet_has_one_spelling(field: str, address: object) -> None:
    with pytest.raises(MalformedError):
        Permit.parse(permit_with(field, address))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meta.kind", "PAYMENT_AND_DELIVERY"),
        ("meta.kind", 0),
        ("meta.paymentId", "000102030405060708090a0b0c0d0e0f"),
        ("meta.paymentId", "0x00"),
        ("meta.nonce", 1234567890),
        ("meta.nonce", "-1"),
        ("meta.nonce", "01"),
        ("meta.nonce", "0x1"),
        ("meta.nonce", "1e3"),
        ("meta.nonce", str(2**256)),
        ("meta.validAfter", "1700000000"),
        ("meta.validAfter", 1.5),
        ("meta.validAfter", True),
        ("meta.validBefore", -1),
        ("meta.validBefore", 2**64),
        ("payment.payAmount", 1500000),
        ("payment.payAmount", "1500000.0"),
        ("payment.payAmount", " 1500000"),
        ("payment.payAmount", "\u0661\u0665"),
        ("fee.feeAmount", "-100"),
        ("fee.feeTo", "41" + "00" * 20),
        ("fee", None),
        ("fee", {}),
        ("meta", []),
        ("meta.validBefore", ...),
        ("payment", ...),
        ("payment.memo", "hello"),
        ("delivery", {}),
    ],
)
def test_what_is_not_exactly_a_permit_is_malformed(field: str, value: object) -> None:
    with pytest.raises(MalformedError):
        Permit.parse(permit_with(field, value))


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_a_signature_may_have_its_prefix(prefix: str) -> None:
    assert parse_signature(prefix + SIGNATURE.upper()) == SIGNATURE


@pytest.mark.parametrize("v", ["00", "01", "02", "1d", "25", "ff"])
def test_a_signature_that_the_contract_would_not_take_is_malformed(v: str) -> None:
    with pytest.raises(MalformedError, match="27 or 28"):
        parse_signature(SIGNATURE[:-2] + v)


def test_the_twin_of_a_signature_is_malformed() -> None:
    twin = ORDER - int(SIGNATURE[64:128], 16)

    with pytest.raises(MalformedError, match="lower half"):
        parse_signature(f"{SIGNATURE[:64]}{twin:064x}1c")


@pytest.mark.parametrize("text", ["", SIGNATURE[:-2], SIGNATURE + "00", "zz" * 65, None, 5, b"1b"])
def test_other_text_is_no_signature(text: object) -> None:
    with pytest.raises(MalformedError):
        parse_signature(text)


@pytest.mark.parametrize("r", [0, ORDER, 2**256 - 1])
def test_numbers_off_the_curve_are_nobodys_signature(r: int) -> None:
    signature = parse_signature(f"{r:064x}{SIGNATURE[64:]}")

    assert signer_of(bytes(32), signature) is None
