from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from x402.http.utils import encode_payment_signature_header
from x402.schemas import PaymentPayload, PaymentRequirements

from adapters.rails.networks import BASE, BASE_SEPOLIA
from adapters.rails.x402 import X402Rail
from domain.errors import MalformedError, PaymentRefusedError
from tests.fakes.sandbox import (
    PAY_TO,
    Sandbox,
    changed,
    signed_again,
    signed_header,
)

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def high_s_twin(signature: str) -> str:
    """The other signature of the same key over the same message."""
    raw = bytes.fromhex(signature[2:])
    s = SECP256K1_ORDER - int.from_bytes(raw[32:64])
    return "0x" + (raw[:32] + s.to_bytes(32) + bytes([55 - raw[64]])).hex()


def header(content: object) -> dict[str, str]:
    return {"payment-signature": base64.b64encode(json.dumps(content).encode()).decode()}


async def test_a_signature_and_its_twin_are_one_payment(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    twin = payment.model_copy(deep=True)
    twin.payload["signature"] = high_s_twin(payment.payload["signature"])

    assert (await sandbox.decoded(twin)).key == (await sandbox.decoded(payment)).key


async def test_the_twin_of_a_signature_buys_nothing(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    payment.payload["signature"] = high_s_twin(payment.payload["signature"])

    with pytest.raises(PaymentRefusedError):
        await sandbox.rail.verify(await sandbox.decoded(payment), sandbox.purchase())


async def test_spelling_does_not_make_another_payment(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    shouted = changed(
        payment,
        **{
            "from": sandbox.buyer.address.lower(),
            "nonce": "0x" + payment.payload["authorization"]["nonce"][2:].upper(),
        },
    )

    assert await sandbox.decoded(shouted) == await sandbox.decoded(payment)


async def test_a_v1_payment_is_the_same_payment(sandbox: Sandbox) -> None:
    v1 = await sandbox.pay_v1(sandbox.purchase())
    headers = {"x-payment": encode_payment_signature_header(v1)}

    proof = await sandbox.rail.decode(headers, sandbox.purchase())

    assert proof is not None
    nonce = v1.payload["authorization"]["nonce"]
    assert proof.key == f"{BASE.caip2}|{BASE.usdc}|{sandbox.buyer.address}|{nonce}".lower()


async def test_a_v1_payment_settles(sandbox: Sandbox) -> None:
    v1 = await sandbox.pay_v1(sandbox.purchase())
    headers = {"x-payment": encode_payment_signature_header(v1)}
    proof = await sandbox.rail.decode(headers, sandbox.purchase())
    assert proof is not None

    await sandbox.rail.verify(proof, sandbox.purchase())
    await sandbox.rail.settle(proof)

    assert sandbox.received() == 100_000


async def test_a_v1_payment_on_another_network_is_refused(sandbox: Sandbox) -> None:
    v1 = await sandbox.pay_v1(sandbox.purchase())
    elsewhere = v1.model_copy(update={"network": "base-sepolia"})

    with pytest.raises(PaymentRefusedError, match="base-sepolia"):
        await sandbox.rail.decode(
            {"x-payment": encode_payment_signature_header(elsewhere)}, sandbox.purchase()
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "100001"),
        ("payTo", "0x3333333333333333333333333333333333333333"),
        ("asset", BASE_SEPOLIA.usdc),
        ("network", BASE_SEPOLIA.caip2),
        ("scheme", "upto"),
        ("maxTimeoutSeconds", 60),
    ],
)
async def test_other_terms_than_ours_are_refused_by_name(
    sandbox: Sandbox, field: str, value: object
) -> None:
    payment = await sandbox.pay()
    terms = payment.accepted.model_dump(by_alias=True) | {field: value}
    payment.accepted = PaymentRequirements.model_validate(terms)

    with pytest.raises(PaymentRefusedError, match=field):
        await sandbox.decoded(payment)


async def test_a_signature_for_another_token_name_is_refused(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    payment.accepted.extra = {"name": "USDC", "version": "2"}

    with pytest.raises(PaymentRefusedError, match="extra"):
        await sandbox.decoded(payment)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"to": "0x3333333333333333333333333333333333333333"}, "0x3333"),
        ({"value": "99999"}, "99999"),
        ({"value": "100001"}, "100001"),
        ({"validBefore": "99999999999"}, "ahead"),
    ],
)
async def test_what_was_signed_counts_not_what_was_said(
    sandbox: Sandbox, fields: dict[str, str], reason: str
) -> None:
    payment = signed_again(await sandbox.pay(), sandbox.buyer, **fields)

    with pytest.raises(PaymentRefusedError, match=reason):
        await sandbox.decoded(payment)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "%%%",
        "bm90IGpzb24=",
        base64.b64encode(b"[" * 6_000).decode(),
        base64.b64encode(b'{"x402Version":2}').decode(),
        base64.b64encode(b"\xff\xfe").decode(),
        base64.b64encode(b"null").decode(),
        base64.b64encode(b"1" * 5_000).decode(),
    ],
)
@pytest.mark.parametrize("name", ["payment-signature", "x-payment"])
async def test_a_header_of_garbage_is_malformed(sandbox: Sandbox, name: str, garbage: str) -> None:
    with pytest.raises(MalformedError):
        await sandbox.rail.decode({name: garbage}, sandbox.purchase())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda payload: payload.pop("signature"),
        lambda payload: payload.pop("authorization"),
        lambda payload: payload.update(permit2Authorization={}),
        lambda payload: payload.update(authorization="all of it"),
        lambda payload: payload["authorization"].pop("nonce"),
        lambda payload: payload["authorization"].update(nonce="0x07"),
        lambda payload: payload["authorization"].update(value=100_000),
        lambda payload: payload["authorization"].update(value="100_000"),
        lambda payload: payload["authorization"].update(value="-1"),
        lambda payload: payload["authorization"].update(value="9" * 79),
        lambda payload: payload["authorization"].update({"from": "me"}),
        lambda payload: payload["authorization"].update(salt="0x"),
        lambda payload: payload.update(signature="0x"),
        lambda payload: payload.update(signature="signed, me"),
    ],
)
async def test_an_authorization_is_read_strictly(
    sandbox: Sandbox, spoil: Callable[[dict[str, object]], object]
) -> None:
    payment = await sandbox.pay()
    spoil(payment.payload)

    with pytest.raises(MalformedError):
        await sandbox.rail.decode(
            header(payment.model_dump(by_alias=True, exclude_none=True)), sandbox.purchase()
        )


async def test_nothing_that_a_client_adds_is_kept(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    payment.extensions = {"surprise": {"info": 1}}

    kept = PaymentPayload.model_validate_json((await sandbox.decoded(payment)).payload)

    assert kept.extensions is None
    assert kept.resource is None


async def test_another_route_with_equal_terms_sees_the_same_payment(sandbox: Sandbox) -> None:
    payment = await sandbox.pay()
    payment.resource = None

    headers = signed_header(payment)

    assert await sandbox.rail.decode(headers, sandbox.purchase()) is not None


def test_an_address_to_be_paid_at_must_be_one(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="0x address"):
        X402Rail(
            pay_to=PAY_TO[:-1],
            network=BASE,
            facilitator=sandbox.facilitator,
            chain=sandbox.rail._chain,
            clock=sandbox.clock,
        )
