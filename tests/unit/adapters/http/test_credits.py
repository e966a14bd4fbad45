from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.account import Account
from domain.money import Microcredits
from domain.ports.payments import Purchase
from tests.fakes.clock import ManualClock
from tests.fakes.gateway import House
from tests.fakes.rail import CashRail
from tests.fakes.street import Answer, Street

PATH = "/v1/credits/purchase"


def order(street: Street, **changes: object) -> dict[str, object]:
    return {
        "wallet_address": street.alice.address,
        "wallet_chain": "evm",
        "amount_usd": 0.1,
        **changes,
    }


def coin(
    street: Street, *, wallet: str = "", amount: int = 100_000, number: int = 1
) -> dict[str, str]:
    """The payment header of an honest payment by Alice, or by another wallet."""
    purchase = Purchase(
        chain="evm",
        wallet=wallet or street.alice.canonical,
        amount=Microcredits(amount),
        resource_url="",
    )
    return street.house.rail.coin(purchase, number=number)


async def buy(street: Street, headers: dict[str, str] | None = None, **changes: object) -> Answer:
    return await street.call("POST", PATH, order(street, **changes), headers=headers)


async def balance(street: Street) -> int:
    answer = await street.get("/v1/account")
    return int(answer.json.get("credit_balance", 0))


@pytest.fixture
def rich(street: Street) -> Street:
    """Alice has a dollar to spend."""
    street.house.rail.purses[street.alice.canonical] = 1_000_000
    return street


async def test_without_a_payment_the_terms_are_told(street: Street) -> None:
    answer = await buy(street)

    assert answer.status == 402
    assert answer.headers["PAYMENT-REQUIRED"] == "cash 100000"
    assert answer.json == {
        "error": "Payment required",
        "code": "payment_required",
        "message": "Payment required",
        "accepts": ["cash"],
        "amount": "100000",
    }


async def test_a_payment_is_credited_and_answered_as_the_contract_says(rich: Street) -> None:
    answer = await buy(rich, coin(rich))

    assert answer.status == 200
    assert answer.json == {
        "account_id": str(Account.create_id("evm", rich.alice.canonical)),
        "wallet_chain": "evm",
        "wallet_address": rich.alice.address,
        "credited_microcredits": "100000",
        "amount_usd": 0.1,
    }
    assert answer.headers["PAYMENT-RESPONSE"].startswith(f"True {rich.alice.canonical} receipt")
    assert await balance(rich) == 100_000


async def test_a_whole_amount_is_a_whole_number(rich: Street) -> None:
    answer = await buy(rich, coin(rich, amount=1_000_000), amount_usd=1)

    assert '"amount_usd": 1}' in answer.text


async def test_the_same_proof_again_is_the_same_answer(rich: Street) -> None:
    first = await buy(rich, coin(rich))

    again = await buy(rich, coin(rich))

    assert (again.status, again.json) == (first.status, first.json)
    assert await balance(rich) == 100_000


async def test_four_copies_at_once_are_one_credit(rich: Street) -> None:
    answers = await asyncio.gather(*(buy(rich, coin(rich)) for _ in range(4)))

    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await balance(rich) == 100_000


async def test_a_lower_case_address_is_the_same_wallet(rich: Street) -> None:
    answer = await buy(rich, coin(rich), wallet_address=rich.alice.address.lower())

    assert answer.status == 200


async def test_a_payment_by_another_wallet_is_refused_before_it_is_taken(rich: Street) -> None:
    answer = await buy(rich, coin(rich), wallet_address=rich.bob.address)

    assert (answer.status, answer.json["where"]) == (400, "wallet_address")
    assert rich.house.rail.till == {}


async def test_a_refused_payment_is_asked_for_again_with_the_reason(street: Street) -> None:
    answer = await buy(street, coin(street))

    assert answer.status == 402
    assert answer.json["code"] == "payment_refused"
    assert "purse" in answer.json["error"]
    assert answer.json["message"] == answer.json["error"]
    assert answer.json["accepts"] == ["cash"]
    assert answer.headers["PAYMENT-REQUIRED"] == "cash 100000"


async def test_a_payment_for_other_terms_is_asked_for_again(rich: Street) -> None:
    answer = await buy(rich, coin(rich, amount=100_000), amount_usd=0.2)

    assert answer.status == 402
    assert answer.headers["PAYMENT-REQUIRED"] == "cash 200000"
    assert rich.house.rail.till == {}


async def test_a_used_proof_with_other_terms_conflicts(rich: Street) -> None:
    await buy(rich, coin(rich))

    answer = await buy(rich, coin(rich, amount=200_000), amount_usd=0.2)

    assert answer.status == 409
    assert await balance(rich) == 100_000


async def test_a_payment_header_that_cannot_be_read_is_malformed(street: Street) -> None:
    answer = await buy(street, {"Payment-Cash": "not a coin"})

    assert answer.status == 400


async def test_an_unknown_outcome_is_never_a_402(rich: Street) -> None:
    rich.house.rail.loses_answers = True
    rich.house.rail.unreadable = False

    answer = await buy(rich, coin(rich))

    assert answer.status == 503
    assert answer.json["code"] == "settlement_pending"
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["PAYMENT-RESPONSE"].startswith("False")
    assert "PAYMENT-REQUIRED" not in answer.headers


async def test_asking_again_after_an_unknown_outcome_credits_once(rich: Street) -> None:
    rich.house.rail.loses_answers = True
    await buy(rich, coin(rich))
    rich.house.rail.loses_answers = False

    answer = await buy(rich, coin(rich))

    assert answer.status == 200
    assert await balance(rich) == 100_000


@pytest.mark.parametrize("paid", [False, True])
async def test_a_rail_that_is_down_says_when_to_come_back(
    rich: Street,
    paid: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    rich.house.rail.down = True

    answer = await buy(rich, coin(rich) if paid else None)

    assert answer.status == 503
    assert answer.json["code"] == "rail_down"
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"wallet_chain": None}, "wallet_chain"),
        ({"wallet_chain": "tempo"}, "wallet_chain"),
        ({"wallet_chain": 1}, "wallet_chain"),
        ({"wallet_chain": "solana", "wallet_address": "0x12"}, "wallet_address"),
        ({"wallet_address": None}, "wallet_address"),
        ({"wallet_address": ""}, "wallet_address"),
        ({"wallet_address": "0x12"}, "wallet_address"),
        ({"wallet_address": "x" * 500}, "wallet_address"),
        ({"amount_usd": "0.1"}, "amount_usd"),
        ({"amount_usd": 0.09}, "amount_usd"),
        ({"amount_usd": -1}, "amount_usd"),
        ({"amount_usd": 0.1000001}, "amount_usd"),
        ({"amount_usd": 1e12}, "amount_usd"),
        ({"amount_usd": True}, "amount_usd"),
        ({"amount_usd": None}, "amount_usd"),
    ],
)
async def test_a_wrong_field_is_named(street: Street, changes: dict[str, Any], where: str) -> None:
    answer = await buy(street, coin(street), **changes)

    assert (answer.status, answer.json["where"]) == (400, where)


async def test_a_chain_that_nobody_takes_money_on_is_told(street: Street) -> None:
    answer = await buy(
        street,
        wallet_chain="solana",
        wallet_address="AKnL4NNf3DGWZJS6cPknBuEGnVsV4A4m5tgebLHaRSZ9",
    )

    assert answer.status == 400
    assert answer.json["error"] == 'wallet_chain: expected evm, got "solana"'


async def test_a_buyer_who_hangs_up_is_credited_all_the_same(rich: Street) -> None:
    entered, go = asyncio.Event(), asyncio.Event()
    settle = rich.house.rail.settle

    async def slowly(proof: Any) -> Any:  # noqa: ANN401 (as the rail's own)
        entered.set()
        await go.wait()
        return await settle(proof)

    rich.house.rail.settle = slowly  # type: ignore[method-assign]  # fault injection
    buying = asyncio.create_task(buy(rich, coin(rich)))
    await entered.wait()

    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)
    go.set()
    await rich.purchases.drain()

    assert await balance(rich) == 100_000


@pytest.fixture
async def two_rails() -> AsyncIterator[Street]:
    clock = ManualClock()
    street = Street(House(clock=clock, more_rails=(CashRail(clock, name="gold"),)))
    await street.open()
    yield street
    await street.close()


async def test_every_rail_tells_its_terms(two_rails: Street) -> None:
    answer = await buy(two_rails)

    assert answer.headers["PAYMENT-REQUIRED"] == "cash 100000"
    assert answer.json["accepts"] == ["cash", "gold"]


async def test_a_rail_that_is_down_does_not_hide_the_others(two_rails: Street) -> None:
    two_rails.house.rail.down = True

    answer = await buy(two_rails)

    assert (answer.status, answer.json["accepts"]) == (402, ["gold"])
