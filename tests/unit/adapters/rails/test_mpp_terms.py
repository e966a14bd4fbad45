"""What a payer is told: challenges, problems and receipts, and the recorded vectors of them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from mpp import BodyDigest, generate_challenge_id
from mpp import Receipt as MppReceipt
from mpp.methods.tempo.attribution import encode as memo_of

from adapters.rails.mpp import MppRail
from adapters.rails.mpp_networks import MODERATO, TEMPO
from adapters.rails.mpp_offers import EXPIRED, MALFORMED, NO_PAYMENT, NOT_OURS, POOR
from adapters.rails.mpp_transfer import read_signed
from domain.errors import PaymentRefusedError, RailDownError
from domain.money import Microcredits
from domain.ports.payments import Outcome
from tests.fakes.mpp_payer import PAY_TO, SEED, Payer, ScriptedNode, challenge_in

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[4] / "specs" / "payments" / "vectors" / "mpp.json").read_text("utf-8")
)
PROBLEMS = "https://paymentauth.org/problems/"


@pytest.fixture
def payer() -> Payer:
    return Payer(ScriptedNode())


def outcome(*, success: bool = True) -> Outcome:
    return Outcome(
        success=success,
        payer="0x" + "11" * 20,
        amount=Microcredits(100_000),
        reference="0x" + "ab" * 32,
        at_ms=1_763_716_435_251,
        position=7,
        reason="" if success else "settlement_pending",
    )


def test_the_recorded_digest_is_of_the_recorded_body() -> None:
    recorded = VECTORS["digest"]

    assert BodyDigest.compute(recorded["body"].encode()) == recorded["digest"]


def test_the_recorded_challenge_has_the_recorded_id() -> None:
    recorded = dict(VECTORS["challenge"])
    expected, secret = recorded.pop("id"), recorded.pop("secret")

    assert generate_challenge_id(secret_key=secret, **recorded) == expected


def test_the_recorded_challenge_has_the_recorded_memo() -> None:
    recorded = VECTORS["memo"]

    memo = memo_of(challenge_id=recorded["id"], server_id=recorded["realm"])

    assert memo == recorded["memo"]


def test_the_recorded_transaction_reads_as_recorded() -> None:
    recorded = VECTORS["transaction"]

    signed = read_signed(recorded["raw"])

    for name in ("raw", "hash", "memo", "valid_before_s", "fee_token", "fee_max"):
        assert getattr(signed, name) == recorded[name]


async def test_a_challenge_asks_for_exactly_this_in_one_currency(payer: Payer) -> None:
    challenge = await payer.asked(payer.purchase(250_000))

    assert challenge.request == {
        "_mppx_scope": {
            "http_method": "POST",
            "resource": "/v1/credits/purchase/mpp",
            "route": "/v1/credits/purchase/mpp",
        },
        "amount": "250000",
        "currency": TEMPO.token,
        "methodDetails": {"chainId": 4217},
        "recipient": PAY_TO,
    }
    assert (challenge.realm, challenge.method, challenge.intent) == ("shop.test", "tempo", "charge")
    assert challenge.digest == BodyDigest.compute(payer.purchase().content)


async def test_a_challenge_lives_five_minutes(payer: Payer) -> None:
    payer.clock.at_ms = 1_763_716_435_251

    challenge = await payer.asked()

    assert challenge.expires == "2025-11-21T09:18:55.251+00:00"


async def test_a_challenge_is_not_kept_by_anybody_between(payer: Payer) -> None:
    challenge = await payer.new_rail().challenge(payer.purchase())

    assert challenge.headers["Cache-Control"] == "no-store"
    assert challenge.headers["Content-Type"] == "application/problem+json"


async def test_an_unpaid_request_is_told_the_problem(payer: Payer) -> None:
    challenge = await payer.new_rail().challenge(payer.purchase())

    assert challenge.terms["type"] == PROBLEMS + "payment-required"
    assert challenge.terms["title"] == "Payment Required"
    assert challenge.terms["status"] == 402
    assert challenge.terms["challengeId"] == challenge_in(challenge).id
    assert "shop.test" in str(challenge.terms["detail"])
    assert challenge.terms["hint"]


@pytest.mark.parametrize(
    ("reason", "problem"),
    [
        (MALFORMED, "malformed-credential"),
        (NOT_OURS, "invalid-challenge"),
        (NO_PAYMENT, "invalid-payload"),
        (EXPIRED, "payment-expired"),
        (POOR, "payment-insufficient"),
        ("anything else", "verification-failed"),
    ],
)
async def test_a_refusal_comes_with_its_problem_and_a_fresh_challenge(
    payer: Payer, reason: str, problem: str
) -> None:
    refusal = PaymentRefusedError(rail="mpp-tempo", reason=reason)

    challenge = await payer.new_rail().challenge(payer.purchase(), refusal=refusal)

    assert challenge.terms["type"] == PROBLEMS + problem
    assert challenge.terms["challengeId"] == challenge_in(challenge).id
    assert reason in str(challenge.terms["detail"])


async def test_a_node_of_another_chain_leaves_the_rail_down() -> None:
    payer = Payer(ScriptedNode(eth_chainId="0x1"))

    with pytest.raises(RailDownError):
        await payer.asked()


async def test_the_node_is_asked_for_its_chain_until_it_answers_once() -> None:
    node = ScriptedNode(eth_chainId=ConnectionError("away"))
    rail = Payer(node).new_rail()
    with pytest.raises(RailDownError):
        await rail.challenge(Payer(node).purchase())

    node.answers["eth_chainId"] = hex(TEMPO.chain_id)
    for _ in range(3):
        await rail.challenge(Payer(node).purchase())

    assert node.asked == ["eth_chainId"] * 2


async def test_on_the_test_network_its_own_dollar_is_asked_for(payer: Payer) -> None:
    rail = MppRail(
        pay_to=PAY_TO,
        network=MODERATO,
        rpc=ScriptedNode(eth_chainId=hex(42431)),
        clock=payer.clock,
        seed=SEED,
    )

    challenge = challenge_in(await rail.challenge(payer.purchase()))

    assert challenge.request["currency"] == MODERATO.token
    assert challenge.request["methodDetails"] == {"chainId": 42431}


def test_pay_to_must_be_an_address(payer: Payer) -> None:
    with pytest.raises(ValueError, match="pay_to"):
        MppRail(pay_to="me", network=TEMPO, rpc=payer.node, clock=payer.clock, seed=SEED)


def test_a_receipt_names_the_transaction_and_when_it_was_credited(payer: Payer) -> None:
    receipt = payer.new_rail().receipt(outcome(), payer.purchase())

    shown = MppReceipt.from_payment_receipt(receipt.headers["Payment-Receipt"])
    assert (shown.status, shown.method, shown.reference) == ("success", "tempo", "0x" + "ab" * 32)
    assert shown.timestamp.isoformat() == "2025-11-21T09:13:55.251000+00:00"
    assert receipt.headers["Cache-Control"] == "private"


def test_a_receipt_does_not_name_the_payer(payer: Payer) -> None:
    header = payer.new_rail().receipt(outcome(), payer.purchase()).headers["Payment-Receipt"]

    assert "11" * 20 not in base64.urlsafe_b64decode(header + "==").decode()


def test_what_is_not_paid_has_no_receipt(payer: Payer) -> None:
    receipt = payer.new_rail().receipt(outcome(success=False), payer.purchase())

    assert receipt.headers == {"Cache-Control": "no-store"}
