"""The limits of a gateway as it is installed: who is too fast or has too much is told, cheaply."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, start_gateway

API_RATE_MAX = 5
IP_RATE_MAX = 50
HEARING = {"duration_minutes": 1}
ACCOUNT = "/v1/account"
OPEN = "/v1/stt/session"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Its wallet may make 5 requests a second and have 2 sessions, its address 50 unsigned ones."""
    running = start_gateway(
        tmp_path_factory.mktemp("limited") / "data",
        PAYPHONE_API_RATE_MAX=str(API_RATE_MAX),
        PAYPHONE_IP_RATE_MAX=str(IP_RATE_MAX),
        PAYPHONE_SESSIONS_MAX="2",
    )
    yield running
    assert running.stop() == 0


@pytest.fixture
async def http(limited: GatewayProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(limited.url) as session:
        yield session


@pytest.fixture
async def customer(limited: GatewayProcess) -> AsyncIterator[Customer]:
    """Somebody with credit, who has rested: 10 requests are welcome at once."""
    async with Customer(limited.url, limited.secret_key) as someone:
        await someone.buy("0.50")
        await asyncio.sleep(2)
        yield someone


class Answer:
    """A status, what was said, and how long to wait."""

    def __init__(self, reply: aiohttp.ClientResponse, body: dict[str, Any]) -> None:
        self.status = reply.status
        self.body = body
        self.retry_after_s = int(reply.headers.get("Retry-After", "0"))


async def ask(
    http: aiohttp.ClientSession,
    method: str,
    path: str,
    *,
    customer: Customer | None = None,
    body: object = None,
) -> Answer:
    headers = customer.headers(method, path) if customer else {}
    async with http.request(method, path, json=body, headers=headers) as reply:
        return Answer(reply, await reply.json())


async def test_a_wallet_that_is_too_fast_is_told_when_to_come_again(
    http: aiohttp.ClientSession, customer: Customer
) -> None:
    answers = await asyncio.gather(
        *[ask(http, "GET", ACCOUNT, customer=customer) for _ in range(4 * API_RATE_MAX)]
    )
    refused = [answer for answer in answers if answer.status == 429]
    await asyncio.sleep(max(answer.retry_after_s for answer in refused))
    after = await ask(http, "GET", ACCOUNT, customer=customer)

    assert {answer.status for answer in answers} == {200, 429}
    # As many at once as two seconds bring, and what came in while they were made.
    assert 2 * API_RATE_MAX <= len(answers) - len(refused) <= 3 * API_RATE_MAX
    for answer in refused:
        assert answer.body["code"] == "rate_limit"
        assert "concurrent" not in answer.body["error"].lower()
        assert answer.retry_after_s >= 1
    assert after.status == 200


async def test_one_session_too_many_is_told_by_the_word_clients_look_for(
    http: aiohttp.ClientSession, customer: Customer
) -> None:
    opened = [await ask(http, "POST", OPEN, customer=customer, body=HEARING) for _ in range(2)]

    refused = await ask(http, "POST", OPEN, customer=customer, body=HEARING)

    end = f"/v1/sessions/{opened[0].body['session_id']}/end"
    await ask(http, "POST", end, customer=customer)
    after = await ask(http, "POST", OPEN, customer=customer, body=HEARING)
    for left in (opened[1], after):
        path = f"/v1/sessions/{left.body['session_id']}/end"
        await ask(http, "POST", path, customer=customer)
    assert [answer.status for answer in opened] == [200, 200]
    assert (refused.status, refused.body["code"]) == (429, "concurrency_limit")
    assert refused.body["error"].startswith("Concurrent session limit reached")
    assert after.status == 200


async def test_an_address_that_floods_open_routes_is_told_to_wait(
    http: aiohttp.ClientSession, customer: Customer
) -> None:
    answers = await asyncio.gather(*[ask(http, "GET", "/v1/pricing") for _ in range(300)])
    signed = await ask(http, "GET", ACCOUNT, customer=customer)
    await asyncio.sleep(2)
    after = await ask(http, "GET", "/v1/pricing")

    taken = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(taken) + len(refused) == 300
    assert 2 * IP_RATE_MAX <= len(taken) < 250
    assert all(answer.body["code"] == "rate_limit" for answer in refused)
    assert all("concurrent" not in answer.body["error"].lower() for answer in refused)
    # Before any signature is checked, or the ledger asked.
    assert signed.status in (200, 429)
    assert after.status == 200


async def test_a_dead_key_that_comes_for_ever_is_refused_and_writes_nothing(
    http: aiohttp.ClientSession, customer: Customer, limited: GatewayProcess
) -> None:
    ticket = await customer.call("POST", OPEN, dict(HEARING))
    await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
    await knock(http, ticket["token"])
    before = await log_size(http)

    begun = time.monotonic()
    told = [await knock(http, ticket["token"]) for _ in range(20)]
    each_s = (time.monotonic() - begun) / 20

    assert told == [(["error", "session_expired"], 4410)] * 20
    assert await log_size(http) == before
    assert each_s < 0.1
    assert "Traceback" not in (limited.data / "output.log").read_text()


async def knock(http: aiohttp.ClientSession, key: str) -> tuple[list[str], int | None]:
    """Connect with a session key; the types of what was said, and the close code."""
    async with http.ws_connect("/v1/stream") as socket:
        await socket.send_json({"type": "config", "language": "en", "session_key": key})
        told = [json.loads(message.data) async for message in socket]
        return [str(message["type"]) for message in told], socket.close_code


async def log_size(http: aiohttp.ClientSession) -> int:
    async with http.get("/v1/log/entries?count=1") as reply:
        return int(reply.headers["X-Log-Size"])
