"""Which Solana payments answer a purchase, and how they are told apart."""

from __future__ import annotations

import base64
import json

import pytest
from solders.keypair import Keypair
from x402.http.utils import safe_base64_encode
from x402.schemas import PaymentPayload

from adapters.rails.networks import SOLANA, SOLANA_DEVNET
from domain.errors import MalformedError, PaymentRefusedError
from tests.fakes.solana_sandbox import (
    BUYER,
    FEE_PAYER,
    PAY_TO,
    TILL,
    SolanaSandbox,
    signed_header,
)


@pytest.fixture
def cluster() -> SolanaSandbox:
    return SolanaSandbox()


async def test_the_challenge_names_the_fee_payer_and_where_dollars_go(
    cluster: SolanaSandbox,
) -> None:
    challenge = await cluster.rail.challenge(cluster.purchase())

    terms = json.loads(base64.b64decode(challenge.headers["PAYMENT-REQUIRED"]))["accepts"][0]
    assert terms == {
        "scheme": "exact",
        "network": SOLANA.caip2,
        "asset": SOLANA.usdc,
        "amount": "100000",
        "payTo": PAY_TO,
        "maxTimeoutSeconds": 60,
        "extra": {"feePayer": str(FEE_PAYER.pubkey())},
    }


async def test_the_body_has_the_terms_for_clients_of_version_1(cluster: SolanaSandbox) -> None:
    challenge = await cluster.rail.challenge(cluster.purchase())

    (legacy,) = challenge.terms["accepts"]  # type: ignore[misc]  # it is JSON
    assert legacy["network"] == "solana"
    assert legacy["maxAmountRequired"] == "100000"
    assert legacy["extra"] == {"feePayer": str(FEE_PAYER.pubkey())}


async def test_a_version_1_payment_is_the_same_payment(cluster: SolanaSandbox) -> None:
    purchase = cluster.purchase()
    old = await cluster.pay_v1(purchase)
    header = safe_base64_encode(old.model_dump_json(by_alias=True))

    proof = await cluster.rail.decode({"x-payment": header}, purchase)

    assert proof == await cluster.proof_of(old.payload["transaction"])


async def test_a_version_1_payment_on_another_network_is_refused(cluster: SolanaSandbox) -> None:
    purchase = cluster.purchase()
    old = (await cluster.pay_v1(purchase)).model_copy(update={"network": "solana-devnet"})
    header = safe_base64_encode(old.model_dump_json(by_alias=True))

    with pytest.raises(PaymentRefusedError, match="solana-devnet"):
        await cluster.rail.decode({"x-payment": header}, purchase)


@pytest.mark.parametrize("paid", [99_999, 100_001, 250_000])
async def test_another_amount_is_refused_more_of_it_too(cluster: SolanaSandbox, paid: int) -> None:
    """The library takes more than was asked for; nobody's change is ours."""
    headers = cluster.presented(cluster.transaction(paid), 100_000)

    with pytest.raises(PaymentRefusedError, match=f"pays {paid}"):
        await cluster.rail.decode(headers, cluster.purchase(100_000))


async def test_a_payment_for_less_than_this_purchase_is_refused(cluster: SolanaSandbox) -> None:
    headers = cluster.presented(cluster.transaction(100_000), 100_000)

    with pytest.raises(PaymentRefusedError, match="amount 100000"):
        await cluster.rail.decode(headers, cluster.purchase(200_000))


async def test_a_payment_to_somebody_else_is_refused(cluster: SolanaSandbox) -> None:
    elsewhere = cluster.transaction(to=str(Keypair().pubkey()))

    with pytest.raises(PaymentRefusedError, match="it pays "):
        await cluster.proof_of(elsewhere)


async def test_another_token_is_refused(cluster: SolanaSandbox) -> None:
    other = cluster.transaction(mint=SOLANA_DEVNET.usdc)

    with pytest.raises(PaymentRefusedError, match="it pays in"):
        await cluster.proof_of(other)


async def test_we_cannot_pay_ourselves(cluster: SolanaSandbox) -> None:
    circle = cluster.transaction(payer=TILL)

    with pytest.raises(PaymentRefusedError, match="that it pays to"):
        await cluster.proof_of(circle)


async def test_a_priority_fee_that_costs_more_than_it_is_worth_is_refused(
    cluster: SolanaSandbox,
) -> None:
    dear = cluster.transaction(price=5_000_001)

    with pytest.raises(PaymentRefusedError, match="priority fee"):
        await cluster.proof_of(dear)


@pytest.mark.parametrize(
    ("field", "told", "value"),
    [
        ("scheme", "upto", "upto"),
        ("network", "exact on the network", SOLANA_DEVNET.caip2),
        ("asset", "asset", SOLANA_DEVNET.usdc),
        ("amount", "amount", "100001"),
        ("pay_to", "payTo", str(BUYER.pubkey())),
        ("max_timeout_seconds", "maxTimeoutSeconds", 61),
        ("extra", "extra", {"feePayer": str(BUYER.pubkey())}),
        ("extra", "extra", None),
    ],
)
async def test_other_terms_are_refused_and_the_difference_is_told(
    cluster: SolanaSandbox, field: str, told: str, value: object
) -> None:
    headers = cluster.presented(cluster.transaction(), **{field: value})

    with pytest.raises(PaymentRefusedError, match=f"made for {told}"):
        await cluster.rail.decode(headers, cluster.purchase())


async def test_a_client_may_say_which_blockhash_it_used(cluster: SolanaSandbox) -> None:
    extra = {"feePayer": str(FEE_PAYER.pubkey()), "recentBlockhash": "any"}
    headers = cluster.presented(cluster.transaction(), extra=extra)

    assert await cluster.rail.decode(headers, cluster.purchase()) is not None


async def test_what_we_keep_has_nothing_of_the_clients_own_words(cluster: SolanaSandbox) -> None:
    honest = cluster.transaction()
    chatty = cluster.presented(
        honest, extra={"feePayer": str(FEE_PAYER.pubkey()), "note": "anything"}
    )

    proof = await cluster.rail.decode(chatty, cluster.purchase())

    assert proof == await cluster.proof_of(honest)
    assert "anything" not in proof.payload


async def test_the_same_payment_of_another_fee_payer_is_recognised_while_all_is_down(
    cluster: SolanaSandbox,
) -> None:
    """A repeat is answered years later, whoever settles for us then."""
    headers = signed_header(await cluster.pay())
    first = await cluster.rail.decode(headers, cluster.purchase())
    assert first is not None
    cluster.faults.facilitator_down = cluster.faults.chain_unreadable = True
    cluster.expire()

    again = await cluster.new_rail().decode(headers, cluster.purchase())

    assert again is not None
    assert (again.key, again.payer, again.amount) == (first.key, first.payer, first.amount)


async def test_a_payment_on_another_network_is_told_so_before_it_is_read(
    cluster: SolanaSandbox,
) -> None:
    """Where several rails are asked, the one it is for says what is wrong with it."""
    base = (await cluster.pay()).accepted.model_copy(update={"network": "eip155:8453"})
    payment = PaymentPayload(payload={"authorization": {}}, accepted=base)

    with pytest.raises(PaymentRefusedError, match="network eip155:8453"):
        await cluster.rail.decode(signed_header(payment), cluster.purchase())


async def test_an_evm_payment_is_malformed_here(cluster: SolanaSandbox) -> None:
    payment = PaymentPayload(
        payload={"authorization": {}, "signature": "0x"}, accepted=(await cluster.pay()).accepted
    )

    with pytest.raises(MalformedError):
        await cluster.rail.decode(signed_header(payment), cluster.purchase())
