"""The recorded vectors of specs/payments/solana.md, against the rail and the libraries."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from solders.transaction import VersionedTransaction
from x402.http.utils import safe_base64_encode

from adapters.rails.networks import SOLANA
from adapters.rails.solana_transfer import SolanaTransfer
from domain.money import Microcredits
from domain.ports.payments import Outcome, Purchase
from tests.fakes.solana_sandbox import FEE_PAYER, SolanaSandbox

FILE = Path(__file__).parents[4] / "specs" / "payments" / "vectors" / "solana.json"


@pytest.fixture
def vector() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


def purchase_of(vector: dict[str, Any]) -> Purchase:
    asked = vector["purchase"]
    return Purchase(**asked | {"amount": Microcredits(asked["amount"])})


def shown(header: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(header))
    return found


async def test_the_challenge_is_the_vectors(cluster: SolanaSandbox, vector: dict[str, Any]) -> None:
    challenge = await cluster.rail.challenge(purchase_of(vector))

    header = shown(challenge.headers["PAYMENT-REQUIRED"])
    assert {name: header[name] for name in vector["challenge"]} == vector["challenge"]
    assert challenge.terms == vector["challenge_v1"]


@pytest.mark.parametrize(
    ("header", "payment"), [("payment-signature", "payment"), ("x-payment", "payment_v1")]
)
async def test_the_proof_is_the_vectors(
    cluster: SolanaSandbox, vector: dict[str, Any], header: str, payment: str
) -> None:
    content = safe_base64_encode(json.dumps(vector[payment]))

    proof = await cluster.rail.decode({header: content}, purchase_of(vector))

    assert proof is not None
    assert {name: getattr(proof, name) for name in vector["proof"]} == vector["proof"] | {
        "amount": Microcredits(vector["proof"]["amount"])
    }


def test_the_transfer_is_the_vectors(vector: dict[str, Any]) -> None:
    found = SolanaTransfer.parse(vector["payment"]["payload"])

    wanted = dict(vector["transfer"])
    assert found.digest == wanted.pop("message_sha256")
    assert found.memos == (wanted.pop("memo").encode(),)
    assert {name: getattr(found, name) for name in wanted} == wanted


def test_the_transactions_name_is_the_fee_payers_signature(
    cluster: SolanaSandbox, vector: dict[str, Any]
) -> None:
    half = vector["payment"]["payload"]["transaction"]

    whole = cluster.signer.sign_transaction(half, str(FEE_PAYER.pubkey()), SOLANA.caip2)

    named = VersionedTransaction.from_bytes(base64.b64decode(whole))
    assert str(named.signatures[0]) == vector["transaction"]
    assert all(named.verify_with_results())


def test_the_receipts_are_the_vectors(cluster: SolanaSandbox, vector: dict[str, Any]) -> None:
    outcome = Outcome(
        success=True,
        payer=vector["purchase"]["wallet"],
        amount=Microcredits(vector["purchase"]["amount"]),
        reference=vector["transaction"],
    )

    receipt = cluster.rail.receipt(outcome, purchase_of(vector))

    assert shown(receipt.headers["PAYMENT-RESPONSE"]) == vector["receipt"]
    assert shown(receipt.headers["X-PAYMENT-RESPONSE"]) == vector["receipt_v1"]
