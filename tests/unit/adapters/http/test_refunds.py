"""Refunds to the chain over HTTP (B16)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from domain.gateway import RefundTerms, Terms
from domain.money import Microcredits
from domain.use_cases.reconcile import reconcile
from tests.fakes.gateway import House
from tests.fakes.payouts import HOUSE_PURSE
from tests.fakes.street import Answer, Street

PATH = "/v1/account/refund"
TERMS = RefundTerms(
    enabled=True,
    fee=Microcredits(50_000),
    most=Microcredits(20_000_000),
    day_max=Microcredits(30_000_000),
)
ASKED = {"amount_usd": 2.5, "fee_usd": 0.05}


async def opened(terms: RefundTerms = TERMS) -> Street:
    street = Street(House(terms=Terms(api_rate_max=100, refunds=terms)))
    await street.open()
    return street


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """Alice bought ten dollars."""
    street = await opened()
    await street.fund(10_000_000)
    yield street
    await street.close()


async def ask(street: Street, *, key: str = "k", **changes: object) -> Answer:
    return await street.post(PATH, {**ASKED, **changes}, key=key)


async def available(street: Street) -> str:
    answer = await street.get("/v1/account")
    return str(answer.json["available_balance"])


async def test_a_quote_names_the_fee_the_address_and_every_limit(street: Street) -> None:
    answer = await street.get(PATH)

    assert (answer.status, answer.json) == (
        200,
        {
            "available": True,
            "reason": None,
            "wallet_address": street.alice.address,
            "wallet_chain": "evm",
            "rail": "cash",
            "fee_usd": 0.05,
            "min_usd": 1,
            "max_usd": 10,
            "net_usd": 9.95,
            "available_microcredits": "10000000",
            "refund_limit_usd": 20,
            "day_left_usd": 30,
            "rails": [{"rail": "cash", "refundable_microcredits": "10000000"}],
        },
    )


async def test_a_refund_is_paid_and_told(street: Street) -> None:
    answer = await ask(street)

    assert answer.status == 200
    assert UUID(answer.json["id"])
    assert answer.json["reference"].startswith("receipt cash")
    assert {name: answer.json[name] for name in ("status", "rail", "network", "reason")} == {
        "status": "paid",
        "rail": "cash",
        "network": "cash",
        "reason": None,
    }
    assert (answer.json["amount_microcredits"], answer.json["fee_microcredits"]) == (
        "2500000",
        "50000",
    )
    assert (answer.json["net_microcredits"], answer.json["net_usd"]) == ("2450000", 2.45)
    assert answer.json["wallet_address"] == street.alice.address
    assert street.house.rail.purses[street.alice.canonical] == 2_450_000
    assert await available(street) == "7500000"


async def test_the_same_key_again_is_the_same_answer(street: Street) -> None:
    first, again = await ask(street), await ask(street)

    assert (again.status, again.json) == (200, first.json)
    assert await available(street) == "7500000"


async def test_the_same_key_for_another_amount_conflicts(street: Street) -> None:
    await ask(street)

    answer = await ask(street, amount_usd=2.4)

    assert (answer.status, answer.json["code"]) == (409, "conflicting_request")


async def test_without_a_key_nothing_is_taken(street: Street) -> None:
    answer = await ask(street, key="")

    assert (answer.status, answer.json["where"]) == (400, "Idempotency-Key")
    assert await available(street) == "10000000"


async def test_another_fee_than_the_one_in_force_is_refused_with_that_one(street: Street) -> None:
    answer = await ask(street, fee_usd=0)

    assert (answer.status, answer.json["code"]) == (409, "refund_refused")
    assert (answer.json["fee"], answer.json["least"], answer.json["most"]) == (
        "50000",
        "1000000",
        "10000000",
    )


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"amount_usd": None}, "amount_usd"),
        ({"amount_usd": 0}, "amount_usd"),
        ({"amount_usd": "2.5"}, "amount_usd"),
        ({"amount_usd": 1.0000001}, "amount_usd"),
        ({"fee_usd": None}, "fee_usd"),
        ({"fee_usd": -1}, "fee_usd"),
        ({"rail": 7}, "rail"),
        ({"rail": "x" * 33}, "rail"),
    ],
)
async def test_a_wrong_field_is_named(street: Street, changes: dict[str, Any], where: str) -> None:
    answer = await ask(street, **changes)

    assert (answer.status, answer.json["where"]) == (400, where)


async def test_a_rail_that_is_asked_for_is_used_or_refused(street: Street) -> None:
    strange = await ask(street, rail="gold")
    quote = await street.get(f"{PATH}?rail=gold")
    known = await ask(street, rail="cash")

    assert (strange.status, known.json["status"]) == (409, "paid")
    assert (quote.json["available"], quote.json["rail"]) == (False, None)
    assert "gold is not a rail" in quote.json["reason"]


async def test_a_name_of_a_rail_has_an_end(street: Street) -> None:
    answer = await street.get(f"{PATH}?rail={'x' * 33}")

    assert (answer.status, answer.json["where"]) == (400, "rail")


async def test_an_api_key_sees_quotes_and_refunds_and_asks_for_none(street: Street) -> None:
    key = str((await street.post("/v1/keys", {})).json["key"])
    bearer = {"Authorization": f"Bearer {key}"}
    mine = await ask(street)

    quote = await street.call("GET", PATH, headers=bearer)
    seen = await street.call("GET", f"/v1/account/refunds/{mine.json['id']}", headers=bearer)
    asked = await street.call("POST", PATH, ASKED, headers={**bearer, "Idempotency-Key": "2"})

    assert (quote.status, seen.json) == (200, mine.json)
    assert (asked.status, asked.json["code"]) == (401, "unauthenticated")
    assert await available(street) == "7500000"


async def test_somebody_elses_refund_is_not_found(street: Street) -> None:
    mine = await ask(street)

    answer = await street.get(f"/v1/account/refunds/{mine.json['id']}", wallet=street.bob)
    nothing = await street.get("/v1/account/refunds/nothing")

    assert (answer.status, nothing.status) == (404, 404)


async def test_a_wallet_that_never_paid_has_no_account(street: Street) -> None:
    answer = await street.get(PATH, wallet=street.bob)

    assert answer.status == 404


async def test_what_the_chain_has_not_shown_yet_is_pending_and_can_be_asked_for(
    street: Street,
) -> None:
    street.house.rail.loses_answers = True
    pending = await ask(street)
    where = f"/v1/account/refunds/{pending.json['id']}"
    before = await street.get(where)

    await reconcile(street.house.gateway)
    after = await street.get(where)

    assert (pending.status, pending.json["status"]) == (202, "pending")
    assert before.json == pending.json
    assert after.json["status"] == "paid"
    assert (await ask(street)).json == after.json


async def test_a_refund_that_failed_says_why_and_the_credit_is_back(street: Street) -> None:
    street.house.rail.refuses_to_sign = True

    answer = await ask(street)

    assert (answer.status, answer.json["status"]) == (200, "failed")
    assert "cannot be paid to" in answer.json["reason"]
    assert await available(street) == "10000000"


async def test_an_empty_purse_says_when_to_come_back(street: Street) -> None:
    street.house.rail.purses[HOUSE_PURSE] = 1

    answer = await ask(street)

    assert (answer.status, answer.json["code"]) == (503, "refunds_exhausted")
    assert (answer.json["limit"], answer.headers["Retry-After"]) == ("funds", "600")
    assert await available(street) == "10000000"


async def test_a_day_that_is_used_up_says_when_the_next_begins(street: Street) -> None:
    await street.house.fund(street.bob.canonical, 40_000_000)
    for number in range(2):
        body = {"amount_usd": 14, "fee_usd": 0.05}
        done = await street.post(PATH, body, key=str(number), wallet=street.bob)
        assert done.json["status"] == "paid"

    answer = await ask(street)

    assert (answer.status, answer.json["limit"], answer.json["left"]) == (503, "day", "2000000")
    assert 0 < int(answer.headers["Retry-After"]) <= 24 * 60 * 60


async def test_a_rail_that_is_down_takes_nothing(street: Street) -> None:
    street.house.rail.down = True

    answer = await ask(street)

    assert (answer.status, answer.json["code"]) == (503, "rail_down")
    assert await available(street) == "10000000"


async def test_where_it_is_off_the_quote_and_the_refusal_say_so() -> None:
    street = await opened(RefundTerms())
    await street.fund(10_000_000)

    quote, answer = await street.get(PATH), await ask(street, fee_usd=0)

    await street.close()
    assert (quote.json["available"], quote.json["max_usd"], quote.json["net_usd"]) == (False, 0, 0)
    assert "only where its operator does it" in quote.json["reason"]
    assert (answer.status, answer.json["reason"]) == (409, quote.json["reason"])


async def test_the_list_of_transactions_shows_both_ways(street: Street) -> None:
    street.house.rail.refuses_to_sign = True
    failed = await ask(street)
    street.house.rail.refuses_to_sign = False
    paid = await ask(street, key="2")

    rows = (await street.get("/v1/account/transactions")).json["transactions"]

    assert [(row["type"], row["amount"], row["reference_id"]) for row in rows[:3]] == [
        ("payout", "-2500000", paid.json["id"]),
        ("payout_returned", "2500000", failed.json["id"]),
        ("payout", "-2500000", failed.json["id"]),
    ]
