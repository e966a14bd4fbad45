"""The recorded vectors of specs/payments, against the library, the token and the rail."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from x402.http.utils import safe_base64_encode
from x402.mechanisms.evm.eip712 import hash_eip3009_authorization
from x402.mechanisms.evm.types import ExactEIP3009Payload

from adapters.rails.chain import EvmChainReader
from adapters.rails.eip3009 import Authorization
from adapters.rails.networks import BASE
from adapters.rails.x402 import X402Rail
from domain.errors import PaymentRefusedError
from domain.money import Microcredits
from domain.ports.payments import Outcome, Purchase
from tests.fakes.sandbox import JumpingClock, Sandbox, sign

VECTORS = Path(__file__).parents[4] / "specs" / "payments" / "vectors"


def vectors(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / name).read_text("utf-8"))
    return found


@pytest.fixture
def rail(sandbox: Sandbox) -> X402Rail:
    clock = JumpingClock()
    clock.at_ms = vectors("x402.json")["now_ms"]
    return X402Rail(
        pay_to=vectors("x402.json")["pay_to"],
        network=BASE,
        facilitator=sandbox.facilitator,
        chain=EvmChainReader(sandbox.node),
        clock=clock,
    )


@pytest.fixture
def purchase() -> Purchase:
    asked = vectors("x402.json")["purchase"]
    return Purchase(**asked | {"amount": Microcredits(asked["amount"])})


def shown(header: str) -> object:
    return json.loads(base64.b64decode(header))


def test_the_digest_is_the_librarys() -> None:
    vector = vectors("eip3009.json")
    fields = ExactEIP3009Payload.from_dict({"authorization": vector["authorization"]})
    domain = vector["domain"]

    digest = hash_eip3009_authorization(
        fields.authorization,
        domain["chainId"],
        domain["verifyingContract"],
        domain["name"],
        domain["version"],
    )

    assert "0x" + digest.hex() == vector["digest"]


def test_the_signature_is_eth_accounts() -> None:
    vector = vectors("eip3009.json")

    signature = sign(vector["authorization"], Account.from_key(vector["private_key"]))

    assert "0x" + signature.hex() == vector["signature"]


def test_the_domain_separator_is_the_tokens(sandbox: Sandbox) -> None:
    separator = sandbox.chain.read(to=BASE.usdc, data=keccak(text="DOMAIN_SEPARATOR()")[:4])

    assert "0x" + separator.hex() == vectors("eip3009.json")["domain_separator"]


def test_our_networks_are_the_vectors() -> None:
    assert vectors("eip3009.json")["domain"] == {
        "name": BASE.domain_name,
        "version": BASE.domain_version,
        "chainId": BASE.chain_id,
        "verifyingContract": BASE.usdc,
    }


def test_the_key_is_the_vectors() -> None:
    vector = vectors("eip3009.json")

    authorization = Authorization.parse(
        {name: vector[name] for name in ("authorization", "signature")}
    )

    assert authorization.key(network=BASE.caip2, asset=BASE.usdc) == vector["key"]


async def test_the_challenge_is_the_vectors(rail: X402Rail, purchase: Purchase) -> None:
    challenge = await rail.challenge(purchase)

    assert shown(challenge.headers["PAYMENT-REQUIRED"]) == vectors("x402.json")["challenge"]
    assert challenge.terms == vectors("x402.json")["challenge_v1"]


@pytest.mark.parametrize(
    ("header", "payment"), [("payment-signature", "payment"), ("x-payment", "payment_v1")]
)
async def test_the_proof_is_the_vectors(
    rail: X402Rail, purchase: Purchase, header: str, payment: str
) -> None:
    content = safe_base64_encode(json.dumps(vectors("x402.json")[payment]))

    proof = await rail.decode({header: content}, purchase)

    assert proof is not None
    wanted = vectors("x402.json")["proof"]
    assert {name: getattr(proof, name) for name in wanted} == wanted | {
        "amount": Microcredits(wanted["amount"])
    }


async def test_a_payment_from_an_hour_ahead_is_from_too_far(
    rail: X402Rail, purchase: Purchase
) -> None:
    rail._clock = JumpingClock()
    rail._clock.at_ms = 1_900_000_000_000 - 3_601_000
    content = safe_base64_encode(json.dumps(vectors("x402.json")["payment"]))

    with pytest.raises(PaymentRefusedError, match="ahead"):
        await rail.decode({"payment-signature": content}, purchase)


def test_the_receipts_are_the_vectors(rail: X402Rail, purchase: Purchase) -> None:
    wanted = vectors("x402.json")["receipt"]

    outcome = Outcome(
        success=True,
        payer=wanted["payer"].lower(),
        amount=purchase.amount,
        reference=wanted["transaction"],
    )
    receipt = rail.receipt(outcome, purchase)

    assert shown(receipt.headers["PAYMENT-RESPONSE"]) == wanted
    assert shown(receipt.headers["X-PAYMENT-RESPONSE"]) == vectors("x402.json")["receipt_v1"]


def test_a_failed_receipt_says_why(rail: X402Rail, purchase: Purchase) -> None:
    outcome = Outcome(
        success=False,
        payer="",
        amount=purchase.amount,
        reference="",
        reason="settlement_pending",
    )
    receipt = rail.receipt(outcome, purchase)

    content = shown(receipt.headers["PAYMENT-RESPONSE"])

    assert isinstance(content, dict)
    assert (content["success"], content["errorReason"]) == (False, "settlement_pending")
