"""Speech to text paid with the request: one payment, one session; change stays the payer's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from domain.gateway import Terms
from domain.money import Microcredits
from domain.ports.payments import Purchase
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedTranscriber
from tests.fakes.street import Answer, Street

PATH = "/v1/session"
EXTEND = "/v1/session/extend"
FIVE_MINUTES = 30_000


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """A gateway with an ear, and Alice with a dollar in her purse and no account."""
    opened = Street(House(ear=DirectedTranscriber(), terms=Terms(units_max=2)))
    await opened.open()
    opened.house.rail.purses[opened.alice.canonical] = 1_000_000
    yield opened
    await opened.close()


def coin(
    street: Street, amount: int = FIVE_MINUTES, *, number: int = 1, wallet: str = ""
) -> dict[str, str]:
    purchase = Purchase(
        chain="evm",
        wallet=wallet or street.alice.canonical,
        amount=Microcredits(amount),
        resource_url="",
    )
    return street.house.rail.coin(purchase, number=number)


async def buy(street: Street, headers: dict[str, str] | None = None, **body: object) -> Answer:
    return await street.call("POST", PATH, {"minutes": 5, **body}, headers=headers)


async def extend(street: Street, session_id: str, headers: dict[str, str] | None = None) -> Answer:
    body = {"session_id": session_id, "minutes": 5}
    return await street.call("POST", EXTEND, body, headers=headers)


async def test_without_a_payment_the_price_is_told(street: Street) -> None:
    answer = await buy(street)

    assert answer.status == 402
    assert answer.json["amount"] == str(FIVE_MINUTES)
    assert answer.json["message"] == "Payment required"


async def test_a_payment_is_a_session_with_its_key(street: Street) -> None:
    answer = await buy(street, coin(street), language="en")

    assert answer.status == 200
    assert answer.json["session_key"].count(".") == 2
    facts = {name: answer.json[name] for name in ("minutes", "remaining_seconds", "price_usd")}
    assert facts == {"minutes": 5, "remaining_seconds": 300, "price_usd": "0.03"}
    assert answer.headers["PAYMENT-RESPONSE"]


async def test_the_same_payment_again_is_the_same_session(street: Street) -> None:
    first = await buy(street, coin(street))

    again = await buy(street, coin(street))

    assert again.json == first.json
    account = await street.get("/v1/account")
    assert account.json["credit_balance"] == str(FIVE_MINUTES)


async def test_what_the_session_does_not_use_stays_with_the_payer(street: Street) -> None:
    session_id = (await buy(street, coin(street))).json["session_id"]

    ended = await street.post(f"/v1/sessions/{session_id}/end", {})

    assert ended.status == 200
    account = await street.get("/v1/account")
    assert account.json["available_balance"] == str(FIVE_MINUTES)


async def test_a_payment_for_fewer_minutes_is_refused_with_fresh_terms(street: Street) -> None:
    answer = await buy(street, coin(street, FIVE_MINUTES), minutes=10)

    assert answer.status == 402
    assert answer.json["code"] == "payment_refused"
    assert answer.json["amount"] == str(2 * FIVE_MINUTES)


@pytest.mark.parametrize("minutes", [4, 121, 5.5, "5", True])
async def test_minutes_are_whole_and_within_bounds(street: Street, minutes: object) -> None:
    answer = await buy(street, minutes=minutes)

    assert (answer.status, answer.json["where"]) == (400, "minutes")


async def test_no_free_server_takes_no_money(street: Street) -> None:
    street.house.close_service("stt")

    answer = await buy(street, coin(street))

    assert (answer.status, answer.json["code"]) == (503, "no_capacity")
    assert street.house.rail.settles_asked == 0


async def test_too_many_open_sessions_take_no_money(street: Street) -> None:
    for number in (1, 2):
        await buy(street, coin(street, number=number))

    answer = await buy(street, coin(street, number=3))

    assert (answer.status, answer.json["code"]) == (429, "concurrency_limit")
    assert street.house.rail.settles_asked == 2


async def test_a_payment_credited_before_its_session_was_opened_opens_it_when_repeated(
    street: Street,
) -> None:
    """The process died in between, or the last free server went away."""
    proof = coin(street)
    choose = street.house.own_servers.choose
    calls = iter((choose, None))

    def chosen_once(service: str, *, region: str) -> object:
        found = next(calls, None)
        if found is None:
            street.house.close_service("stt")
        return choose(service, region=region)

    street.house.own_servers.choose = chosen_once  # type: ignore[method-assign,assignment]  # a server that goes away between two looks
    lost = await buy(street, proof)
    street.house.own_servers.choose = choose  # type: ignore[method-assign]  # and comes back
    street.house.ear.traits = DirectedTranscriber.traits

    again = await buy(street, proof)

    assert (lost.status, again.status) == (503, 200)
    assert street.house.rail.settles_asked == 1


async def test_an_unknown_outcome_asks_to_repeat_and_opens_one_session(street: Street) -> None:
    street.house.rail.loses_answers = True
    pending = await buy(street, coin(street))
    street.house.rail.loses_answers = False

    again = await buy(street, coin(street))

    assert (pending.status, pending.json["code"]) == (503, "settlement_pending")
    assert again.status == 200


async def test_an_extension_is_paid_by_the_sessions_own_wallet(street: Street) -> None:
    session_id = (await buy(street, coin(street))).json["session_id"]

    answer = await extend(street, session_id, coin(street, number=2))

    assert answer.status == 200
    facts = {name: answer.json[name] for name in ("minutes_added", "remaining_seconds")}
    assert facts == {"minutes_added": 5, "remaining_seconds": 600}


async def test_an_extension_by_another_wallet_moves_no_money(street: Street) -> None:
    session_id = (await buy(street, coin(street))).json["session_id"]
    stranger = "0x" + "b" * 40
    street.house.rail.purses[stranger] = 1_000_000

    answer = await extend(street, session_id, coin(street, number=2, wallet=stranger))

    assert (answer.status, answer.json["where"]) == (400, "wallet_address")
    assert street.house.rail.settles_asked == 1


async def test_the_same_extension_again_extends_once(street: Street) -> None:
    session_id = (await buy(street, coin(street))).json["session_id"]
    first = await extend(street, session_id, coin(street, number=2))

    again = await extend(street, session_id, coin(street, number=2))

    assert again.json == first.json


async def test_a_session_that_is_over_takes_no_more_money(street: Street) -> None:
    session_id = (await buy(street, coin(street))).json["session_id"]
    await street.post(f"/v1/sessions/{session_id}/end", {})

    answer = await extend(street, session_id, coin(street, number=2))

    assert (answer.status, answer.json["code"]) == (410, "session_over")
    assert street.house.rail.settles_asked == 1


async def test_a_session_nobody_knows_is_not_found(street: Street) -> None:
    answer = await extend(street, "00000000-0000-4000-8000-000000000000")

    assert answer.status == 404


async def test_the_price_list_is_what_the_client_reads(street: Street) -> None:
    answer = await street.call("GET", "/pricing")

    assert answer.json == {
        "price_per_minute_usd": 0.006,
        "min_minutes": 5,
        "max_minutes": 120,
        "min_price_usd": 0.03,
        "currency": "USDC",
        "network": "cash",
        "networks": ["cash"],
    }


async def test_the_health_is_also_where_the_client_asks(street: Street) -> None:
    answer = await street.call("GET", "/health")

    assert answer.json == (await street.call("GET", "/internal/health")).json
