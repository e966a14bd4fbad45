"""What we ask for on TRON, and that only an answer to that is taken; no chain is reached."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from bankofai.x402.types import FeeQuoteResponse
from coincurve import PrivateKey

from adapters.rails.tron_networks import TRON_MAINNET, TRON_NILE
from domain.errors import MalformedError, PaymentRefusedError, RailDownError
from tests.fakes.clock import ManualClock
from tests.fakes.tron_paper import (
    BUYER,
    CARRIER,
    NOW_MS,
    PAY_TO,
    ZERO,
    PaperFacilitator,
    answer_to,
    header_of,
    paper_rail,
    payment_for,
    purchase_of,
    quote,
)

STRANGER_KEY = PrivateKey(b"\x44" * 32)
STRANGER = "TLfuw4tRywtxCusvTudbjf7PbcXjfe7qrw"
USDT_HEX = "41a614f803b6fd780986a42c78ec9c7f77e6ded13c"


async def context_of(clock: ManualClock | None = None) -> dict[str, Any]:
    terms: dict[str, Any] = (await paper_rail(clock=clock).challenge(purchase_of())).terms
    meta: dict[str, Any] = terms["extensions"]["paymentPermitContext"]["meta"]
    return meta


async def test_a_challenge_is_the_same_in_the_header_and_in_the_body() -> None:
    challenge = await paper_rail().challenge(purchase_of())

    assert json.loads(base64.b64decode(challenge.headers["PAYMENT-REQUIRED"])) == challenge.terms


async def test_a_challenge_tells_why_a_payment_was_refused() -> None:
    refusal = PaymentRefusedError(rail="x402-tron", reason="it rained")

    challenge = await paper_rail().challenge(purchase_of(), refusal=refusal)

    assert "it rained" in str(challenge.terms["error"])


async def test_a_permit_lives_ten_minutes_and_forgives_slow_clocks() -> None:
    meta = await context_of()

    assert (meta["validAfter"], meta["validBefore"]) == (
        NOW_MS // 1000 - 60,
        NOW_MS // 1000 + 600,
    )


async def test_no_two_challenges_ask_for_the_same_permit() -> None:
    first, again = await context_of(), await context_of()

    assert first["paymentId"] != again["paymentId"]
    assert first["nonce"] != again["nonce"]


@pytest.mark.parametrize(
    ("microcredits", "amount"),
    [(8_200_000, "8200000"), (1_001_000, "1001000"), (100_001, "100001"), (1, "1")],
)
async def test_an_amount_is_asked_for_exactly(microcredits: int, amount: str) -> None:
    terms: dict[str, Any] = (await paper_rail().challenge(purchase_of(microcredits))).terms

    assert terms["accepts"][0]["amount"] == amount


async def test_the_payer_is_shown_the_fee() -> None:
    carrier = PaperFacilitator([quote(fee="123")])

    terms: dict[str, Any] = (await paper_rail(carrier).challenge(purchase_of())).terms

    assert terms["accepts"][0]["extra"]["fee"] == {
        "feeTo": CARRIER,
        "feeAmount": "123",
        "caller": CARRIER,
    }
    assert "0.000123 USDT" in terms["resource"]["description"]


async def test_a_quote_is_asked_for_once_while_it_holds() -> None:
    carrier, clock = PaperFacilitator(), ManualClock(NOW_MS)
    rail = paper_rail(carrier, clock)

    for _ in range(3):
        await rail.challenge(purchase_of())
    assert carrier.asked == 1
    await clock.advance(300_000)
    await rail.challenge(purchase_of())

    assert carrier.asked == 2


async def test_a_quote_without_an_end_holds_for_a_minute() -> None:
    carrier, clock = PaperFacilitator([quote(expires_at_s=None)]), ManualClock(NOW_MS)
    rail = paper_rail(carrier, clock)
    await rail.challenge(purchase_of())

    await clock.advance(59_999)
    await rail.challenge(purchase_of())
    assert carrier.asked == 1
    await clock.advance(1)
    await rail.challenge(purchase_of())

    assert carrier.asked == 2


async def test_a_quote_holds_for_an_hour_at_most() -> None:
    carrier = PaperFacilitator([quote(expires_at_s=NOW_MS // 1000 + 10**9)])
    clock = ManualClock(NOW_MS)
    rail = paper_rail(carrier, clock)
    await rail.challenge(purchase_of())

    await clock.advance(3_600_000)
    await rail.challenge(purchase_of())

    assert carrier.asked == 2


async def test_a_fee_that_depends_on_the_amount_is_asked_for_each_time() -> None:
    carrier = PaperFacilitator([quote(pricing="percent")])
    rail = paper_rail(carrier)

    await rail.challenge(purchase_of(100_000))
    await rail.challenge(purchase_of(200_000))

    assert carrier.amounts == ["100000", "200000"]


async def test_a_fee_above_the_cap_is_not_passed_on() -> None:
    rail = paper_rail(PaperFacilitator([quote(fee="1001")]), fee_max=1_000)

    with pytest.raises(RailDownError):
        await rail.challenge(purchase_of())


@pytest.mark.parametrize(
    "offered",
    [
        [],
        [quote(fee="-1")],
        [quote(fee="0.5")],
        [quote(fee="")],
        [quote(fee="9" * 30)],
        [quote(to="nobody")],
        [quote(to=ZERO)],
        [quote(caller=None)],
        [quote(caller=ZERO)],
        [quote(caller="41" + "22" * 20)],
        [quote(network="tron:nile")],
        [quote(scheme="exact")],
        [quote(asset=TRON_NILE.usdt)],
    ],
    ids=str,
)
async def test_a_quote_that_nobody_could_use_is_none(offered: list[FeeQuoteResponse]) -> None:
    with pytest.raises(RailDownError):
        await paper_rail(PaperFacilitator(offered)).challenge(purchase_of())


async def test_a_facilitator_that_is_down_closes_the_rail_until_it_is_back() -> None:
    carrier = PaperFacilitator(down=True)
    rail = paper_rail(carrier)
    with pytest.raises(RailDownError):
        await rail.challenge(purchase_of())

    carrier.down = False

    assert (await rail.challenge(purchase_of())).headers


async def test_an_honest_answer_is_taken() -> None:
    rail = paper_rail()

    proof = await rail.decode(header_of(await payment_for(rail)), purchase_of())

    assert proof is not None
    assert (proof.chain, proof.payer, proof.amount) == ("tron", BUYER, purchase_of().amount)
    assert proof.expires_at_ms == NOW_MS + 600_000


async def test_an_answer_is_known_again_by_another_process_and_after_its_time() -> None:
    clock = ManualClock(NOW_MS)
    rail = paper_rail(clock=clock)
    payment = header_of(await payment_for(rail))
    first = await rail.decode(payment, purchase_of())
    await clock.advance(10**9)

    assert await paper_rail(clock=clock).decode(payment, purchase_of()) == first


async def test_an_answer_is_known_though_the_fee_has_changed_since() -> None:
    carrier, clock = PaperFacilitator(), ManualClock(NOW_MS)
    rail = paper_rail(carrier, clock)
    payment = header_of(await payment_for(rail))
    carrier.quotes = [quote(fee="200", to=STRANGER, caller=STRANGER)]
    await clock.advance(300_000)

    assert await rail.decode(payment, purchase_of()) is not None


async def test_an_answer_to_another_gateway_is_refused() -> None:
    payment = await payment_for(paper_rail(seed=b"another gateway's secret seed ..".ljust(32)))

    with pytest.raises(PaymentRefusedError, match="did not ask"):
        await paper_rail().decode(header_of(payment), purchase_of())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"payment_id": bytes(16)}, "did not ask"),
        ({"nonce": 1}, "did not ask"),
        ({"nonce": 2**200}, "did not ask"),
        ({"valid_after_s": NOW_MS // 1000 + 60}, "did not ask"),
        ({"valid_before_s": NOW_MS // 1000 + 601}, "did not ask"),
        ({"fee": 99}, "did not ask"),
        ({"fee": 1_000_000}, "did not ask"),
        ({"fee_to": STRANGER}, "did not ask"),
        ({"caller": ZERO}, "did not ask"),
        ({"caller": STRANGER}, "did not ask"),
        ({"amount": 1_499_999}, "1499999"),
        ({"amount": 1_500_001}, "1500001"),
        ({"amount": 0}, "base units"),
        ({"pay_to": STRANGER}, "not " + PAY_TO),
        ({"asset": TRON_NILE.usdt}, "not USDT"),
    ],
    ids=str,
)
async def test_a_permit_of_other_terms_is_refused_though_it_is_signed(
    changes: dict[str, Any], told: str
) -> None:
    rail = paper_rail()
    payment = await payment_for(rail, **changes)

    with pytest.raises(PaymentRefusedError) as refused:
        await rail.decode(header_of(payment), purchase_of())

    assert told in str(refused.value)


async def test_a_permit_for_less_does_not_buy_more() -> None:
    rail = paper_rail()
    payment = await payment_for(rail, 100_000)

    with pytest.raises(PaymentRefusedError, match="costs 200000"):
        await rail.decode(header_of(payment), purchase_of(200_000))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda permit: permit.update(buyer=STRANGER),
        lambda permit: permit["payment"].update(payAmount="1"),
        lambda permit: permit["meta"].update(paymentId="0x" + "00" * 16),
        lambda permit: permit["fee"].update(feeAmount="0"),
    ],
)
async def test_a_permit_changed_after_it_was_signed_is_refused(spoil: Any) -> None:  # noqa: ANN401 (a parameter of the test)
    rail = paper_rail()
    payment = await payment_for(rail)
    spoil(payment["payload"]["paymentPermit"])

    with pytest.raises(PaymentRefusedError):
        await rail.decode(header_of(payment), purchase_of())


async def test_somebody_elses_signature_is_refused() -> None:
    rail = paper_rail()

    with pytest.raises(PaymentRefusedError, match="signature"):
        await rail.decode(header_of(await payment_for(rail, key=STRANGER_KEY)), purchase_of())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("scheme", "exact"),
        ("network", "tron:nile"),
        ("network", "eip155:8453"),
        ("network", None),
        ("amount", "1"),
        ("amount", 1500000),
        ("asset", USDT_HEX),
        ("asset", TRON_NILE.usdt),
        ("payTo", STRANGER),
    ],
)
async def test_who_accepted_other_terms_than_were_signed_is_refused(
    field: str, value: object
) -> None:
    rail = paper_rail()
    payment = await payment_for(rail)
    payment["accepted"][field] = value

    with pytest.raises(PaymentRefusedError):
        await rail.decode(header_of(payment), purchase_of())


@pytest.mark.parametrize("name", ["tron:mainnet", "tron:0x2b6653dc", "tron:728126428"])
async def test_the_network_goes_by_all_its_names_and_is_one_payment(name: str) -> None:
    rail = paper_rail()
    payment = await payment_for(rail)
    usual = await rail.decode(header_of(payment), purchase_of())
    payment["accepted"]["network"] = name

    assert await rail.decode(header_of(payment), purchase_of()) == usual
    assert name in rail.networks
    assert rail.networks[0] == TRON_MAINNET.caip2


async def test_nulls_for_what_is_not_there_change_nothing() -> None:
    rail = paper_rail()
    payment = await payment_for(rail)
    usual = await rail.decode(header_of(payment), purchase_of())
    payment["payload"].update(merchantSignature=None, authorization=None)

    assert await rail.decode(header_of(payment), purchase_of()) == usual


@pytest.mark.parametrize("extra", [{"authorization": {}}, {"merchantSignature": "00"}, {"x": 1}])
async def test_a_payload_of_more_than_a_permit_is_malformed(extra: dict[str, object]) -> None:
    rail = paper_rail()
    payment = await payment_for(rail)
    payment["payload"].update(extra)

    with pytest.raises(MalformedError):
        await rail.decode(header_of(payment), purchase_of())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64",
        "bm90IGpzb24=",
        base64.b64encode(b"null").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"{}").decode(),
        base64.b64encode(b'{"x402Version": 1}').decode(),
        base64.b64encode(b'{"x402Version": 2}').decode(),
        base64.b64encode(b'{"x402Version": 2, "accepted": {}, "payload": []}').decode(),
        base64.b64encode(b'{"x402Version": 2, "accepted": {}, "payload": {}}').decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        base64.b64encode(b"\xff\xfe").decode(),
        "é",
    ],
    ids=range(13),
)
@pytest.mark.usefixtures("collector_at_rest")
async def test_garbage_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        await paper_rail().decode({"payment-signature": text}, purchase_of())


async def test_a_buyer_has_one_spelling() -> None:
    rail = paper_rail()
    payment = await payment_for(rail)
    payment["payload"]["paymentPermit"]["buyer"] = "4119e7e376e7c213b7e7e7e46cc70a5dd086daff2a"

    with pytest.raises(MalformedError):
        await rail.decode(header_of(payment), purchase_of())


async def test_two_buyers_of_one_challenge_are_one_payment() -> None:
    rail = paper_rail()
    terms: dict[str, Any] = (await rail.challenge(purchase_of())).terms
    first = await rail.decode(header_of(answer_to(terms)), purchase_of())
    theirs = answer_to(terms, key=STRANGER_KEY, buyer=STRANGER)

    second = await rail.decode(header_of(theirs), purchase_of())

    assert first is not None
    assert second is not None
    assert first.key == second.key
    assert first.payer != second.payer
