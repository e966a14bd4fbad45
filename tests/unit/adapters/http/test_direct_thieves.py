"""What is on a chain is read by everybody: whoever copies a payment from there gets nothing by it.

All that a payment says, its signature too, is public once it has landed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import aiohttp
import pytest

from domain.gateway import Terms
from domain.ledger import Work
from domain.money import Microcredits
from domain.ports.payments import Purchase
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedTranscriber
from tests.fakes.street import Answer, Street

CREDITS = "/v1/credits/purchase"
SESSION = "/v1/session"
EXTEND = "/v1/session/extend"
TWENTY_MINUTES = 120_000


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """A gateway with an ear, and Alice with a dollar in her purse and no account."""
    opened = Street(House(ear=DirectedTranscriber(), terms=Terms(units_max=4)))
    await opened.open()
    opened.house.rail.purses[opened.alice.canonical] = 1_000_000
    yield opened
    await opened.close()


def coin(street: Street, number: int) -> dict[str, str]:
    """Alice's payment of this number, as she makes it and as the chain shows it."""
    purchase = Purchase(
        chain="evm",
        wallet=street.alice.canonical,
        amount=Microcredits(TWENTY_MINUTES),
        resource_url="",
    )
    return street.house.rail.coin(purchase, number=number)


async def buy_credit(street: Street, number: int) -> Answer:
    body = {"wallet_address": street.alice.address, "wallet_chain": "evm", "amount_usd": 0.12}
    return await street.call("POST", CREDITS, body, headers=coin(street, number))


async def open_one(street: Street, number: int) -> Answer:
    return await street.call("POST", SESSION, {"minutes": 20}, headers=coin(street, number))


async def extend(street: Street, session_id: str, number: int) -> Answer:
    body = {"session_id": session_id, "minutes": 20}
    return await street.call("POST", EXTEND, body, headers=coin(street, number))


async def reserved(street: Street) -> int:
    """What of Alice's credit is set aside for sessions."""
    account = (await street.get("/v1/account")).json
    return int(account["credit_balance"]) - int(account["available_balance"])


async def connect(street: Street, session_id: str) -> None:
    """The clock runs, as it does once somebody has come with the key."""
    now_ms = street.house.clock.now_ms()

    def command(work: Work) -> None:
        work.session(UUID(session_id)).resume(UUID(int=1), at_ms=now_ms)

    await street.house.books.run(command)


async def test_a_payment_for_credit_opens_no_session(street: Street) -> None:
    await buy_credit(street, 1)

    stolen = await open_one(street, 1)

    assert (stolen.status, stolen.json["code"]) == (409, "conflicting_request")
    assert await reserved(street) == 0


async def test_a_payment_for_credit_extends_no_session(street: Street) -> None:
    session_id = (await open_one(street, 1)).json["session_id"]
    await buy_credit(street, 2)

    stolen = await extend(street, session_id, 2)

    assert (stolen.status, stolen.json["code"]) == (409, "conflicting_request")
    assert await reserved(street) == TWENTY_MINUTES


async def test_a_payment_for_a_session_does_not_extend_it_as_well(street: Street) -> None:
    session_id = (await open_one(street, 1)).json["session_id"]
    await buy_credit(street, 2)

    again = await extend(street, session_id, 1)

    assert (again.status, again.json["code"]) == (409, "conflicting_request")
    assert await reserved(street) == TWENTY_MINUTES


async def test_a_payment_for_one_extension_extends_no_other_session(street: Street) -> None:
    ours, other = [(await open_one(street, number)).json["session_id"] for number in (1, 2)]
    await extend(street, ours, 3)
    await buy_credit(street, 4)

    again = await extend(street, other, 3)

    assert (again.status, again.json["code"]) == (409, "conflicting_request")
    assert await reserved(street) == 3 * TWENTY_MINUTES


async def test_a_payment_for_a_session_is_no_purchase_of_credit(street: Street) -> None:
    await open_one(street, 1)

    again = await buy_credit(street, 1)

    assert (again.status, again.json["code"]) == (409, "conflicting_request")


async def test_a_payment_says_no_more_what_the_key_is_once_somebody_came_with_it(
    street: Street,
) -> None:
    """Until then a repeat is answered: the buyer may have lost the first answer."""
    session_id = (await open_one(street, 1)).json["session_id"]
    await connect(street, session_id)

    stolen = await open_one(street, 1)

    assert (stolen.status, stolen.json["code"]) == (409, "conflicting_request")
    assert "session_key" not in stolen.text


async def test_a_lost_answer_is_given_again_while_nobody_came_with_the_key(street: Street) -> None:
    first = await open_one(street, 1)

    again = await open_one(street, 1)

    assert again.json == first.json


async def test_a_payment_of_long_ago_opens_nothing_and_says_no_key(street: Street) -> None:
    """Nobody who lost an answer waits so long; who reads the chain has all the time there is."""
    await open_one(street, 1)
    await street.house.clock.advance(600_001)

    stolen = await open_one(street, 1)

    assert (stolen.status, stolen.json["code"]) == (409, "conflicting_request")
    assert "session_key" not in stolen.text


async def test_a_payment_read_in_our_log_says_no_key_at_another_address(street: Street) -> None:
    """A claim is public before its session is open: a thief could come before its buyer does."""
    await open_one(street, 1)
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))

    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{street.port}", connector=elsewhere) as thief,
        thief.post(SESSION, json={"minutes": 20}, headers=coin(street, 1)) as stolen,
    ):
        told = await stolen.json()

    assert (stolen.status, told["code"]) == (409, "conflicting_request")
