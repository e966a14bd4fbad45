"""A gateway that is told to stop under load: nobody is billed on, nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import httpx
import pytest

from adapters.cli.customer import Customer
from adapters.store.audit import Audit
from domain.account import Account
from domain.session import Session
from tests.e2e.conftest import GatewayProcess, StartGateway, start_gateway
from tests.e2e.payer import Payer
from tests.e2e.test_crashes import replayed

LINES = 4
WRITERS = 8
LOAD_S = 1.0
# The lines' time, the server's and the payments': less than the 30 s that supervisors wait.
STOP_S_MAX = 30.0
HURRY_S_MAX = 8.0
HEARING: dict[str, object] = {"duration_minutes": 5}
SECOND_OF_SILENCE = bytes(32_000)


@dataclass
class Told:
    """What the writers were answered."""

    opened: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    refused: list[dict[str, Any]] = field(default_factory=list)
    odd: list[int] = field(default_factory=list)


@dataclass
class Aftermath:
    """A gateway that was stopped under load, and what everybody saw of it."""

    gateway: GatewayProcess
    told: Told
    took_s: float
    words: list[tuple[int | None, str]]
    lines: list[str]
    connected_ms: int
    bought: httpx.Response | None

    @property
    def ledger(self) -> Audit:
        return replayed(self.gateway.data)


async def write_on(url: str, customer: Customer, told: Told) -> None:
    """Open sessions and end them, until nobody is there any more."""
    async with aiohttp.ClientSession(url) as http:
        while True:
            try:
                session = await post(http, customer, "/v1/stt/session", told)
                if session is None:
                    continue
                told.opened.append(session["session_id"])
                path = f"/v1/sessions/{session['session_id']}/end"
                if await post(http, customer, path, told) is not None:
                    told.ended.append(session["session_id"])
            except aiohttp.ClientConnectorError:
                return
            except aiohttp.ClientError:
                continue  # Cut off without an answer: nothing was acknowledged.


async def post(
    http: aiohttp.ClientSession, customer: Customer, path: str, told: Told
) -> dict[str, Any] | None:
    async with http.post(path, json=HEARING, headers=customer.headers("POST", path)) as reply:
        body: dict[str, Any] = await reply.json()
        if reply.status == 200:
            return body
        if reply.status == 503:
            told.refused.append({**body, "headers": reply.headers})
        else:
            told.odd.append(reply.status)
    return None


async def open_line(
    customer: Customer, stack: AsyncExitStack
) -> tuple[str, aiohttp.ClientWebSocketResponse]:
    """A live line whose clock runs, and its session."""
    ticket = await customer.call("POST", "/v1/stt/session", HEARING)
    url = str(ticket["server_url"]).replace("http", "ws", 1) + "/v1/stream"
    http = await stack.enter_async_context(aiohttp.ClientSession())
    socket = await stack.enter_async_context(http.ws_connect(url))
    await socket.send_json({"type": "config", "language": "en", "session_key": ticket["token"]})
    assert (await socket.receive_json())["type"] == "ready"
    await socket.send_bytes(SECOND_OF_SILENCE)
    return str(ticket["session_id"]), socket


async def last_words(socket: aiohttp.ClientWebSocketResponse) -> tuple[int | None, str]:
    """Listen until the line is closed: the close code and its reason."""
    while True:
        message = await socket.receive(timeout=STOP_S_MAX)
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return socket.close_code, str(message.extra or "")


async def until_gone(gateway: GatewayProcess) -> float:
    """Wait for the process; how many seconds it took."""
    begun = time.monotonic()
    await asyncio.to_thread(gateway.process.wait, STOP_S_MAX)
    return time.monotonic() - begun


async def stopped_under_load(gateway: GatewayProcess) -> Aftermath:
    """Lines with running clocks, writers, and a payment under way; then SIGTERM."""
    payer, told = Payer(gateway.url, gateway.secret_key), Told()
    async with Customer(gateway.url, gateway.secret_key) as customer, AsyncExitStack() as stack:
        await customer.buy("1")
        proof = await payer.proof()
        since = time.monotonic()
        lines = [await open_line(customer, stack) for _ in range(LINES)]
        writers = [
            asyncio.create_task(write_on(gateway.url, customer, told)) for _ in range(WRITERS)
        ]
        await asyncio.sleep(LOAD_S)
        buying = asyncio.create_task(payer.post(payer.body(), proof))
        await asyncio.sleep(LOAD_S)
        words = [asyncio.create_task(last_words(socket)) for _, socket in lines]
        gone = asyncio.create_task(until_gone(gateway))
        gateway.process.send_signal(signal.SIGTERM)
        said = await asyncio.gather(*words)
        connected_ms = round((time.monotonic() - since) * 1_000)
        took_s = await gone
        await asyncio.gather(*writers)
        await asyncio.wait([buying])
    return Aftermath(
        gateway=gateway,
        told=told,
        took_s=took_s,
        words=said,
        lines=[session_id for session_id, _ in lines],
        connected_ms=connected_ms,
        bought=None if buying.exception() else buying.result(),
    )


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aftermath]:
    """Told once; the chain moves at once, the facilitator's answer comes while we stop."""
    data = tmp_path_factory.mktemp("stopped") / "data"
    gateway = start_gateway(data, "settle_delay_ms=3000", PAYPHONE_SESSIONS_MAX="1000")
    try:
        yield asyncio.run(stopped_under_load(gateway))
    finally:
        gateway.kill()


def test_it_ends_well_and_in_time(stopped: Aftermath) -> None:
    assert stopped.gateway.process.returncode == 0
    assert stopped.took_s < STOP_S_MAX


def test_every_line_is_told_that_we_stop(stopped: Aftermath) -> None:
    assert stopped.words == [(1001, "shutting_down")] * LINES


def test_clocks_stop_with_the_lines(stopped: Aftermath) -> None:
    sessions = [stopped.ledger.aggregates[UUID(session_id)] for session_id in stopped.lines]

    for session in sessions:
        assert isinstance(session, Session)
        assert not session.is_running
        assert 2_000 * LOAD_S <= session.used <= stopped.connected_ms


def test_who_comes_late_is_asked_to_come_again(stopped: Aftermath) -> None:
    assert stopped.told.refused
    for refused in stopped.told.refused:
        assert refused["code"] == "shutting_down"
        assert refused["headers"]["Retry-After"] == "5"
        assert refused["headers"]["Connection"] == "close"


def test_nobody_gets_an_answer_of_another_kind(stopped: Aftermath) -> None:
    assert stopped.told.odd == []


def test_the_payment_under_way_is_answered_and_credited(stopped: Aftermath) -> None:
    account = next(a for a in stopped.ledger.aggregates.values() if isinstance(a, Account))

    assert stopped.bought is not None
    assert stopped.bought.status_code == 200
    assert stopped.bought.json()["credited_microcredits"] == "100000"
    assert account.balance.value <= 1_100_000


def test_everything_that_was_acknowledged_is_in_the_ledger(stopped: Aftermath) -> None:
    ledger = stopped.ledger

    assert len(stopped.told.ended) > WRITERS
    for session_id in stopped.told.opened:
        assert UUID(session_id) in ledger.aggregates
    for session_id in stopped.told.ended:
        session = ledger.aggregates[UUID(session_id)]
        assert isinstance(session, Session)
        assert session.is_over
    assert ledger.books.total == 0


async def test_a_second_signal_ends_the_waiting_and_loses_nothing(start: StartGateway) -> None:
    # The payment's answer would come later than anybody stays for it.
    gateway = start("settle_delay_ms=60000")
    payer = Payer(gateway.url, gateway.secret_key)
    body = payer.body()
    proof = await payer.proof(body)
    buying = asyncio.create_task(payer.post(body, proof))
    await asyncio.sleep(LOAD_S)

    for _ in range(2):
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(LOAD_S)
    took_s = await until_gone(gateway)

    await asyncio.wait([buying])
    healed = start()
    again = await Payer(healed.url, healed.secret_key).post(body, proof)
    assert gateway.process.returncode == 130
    assert took_s < HURRY_S_MAX
    assert "Traceback" not in (gateway.data / "output.log").read_text()
    assert isinstance(buying.exception(), httpx.TransportError)
    assert again.status_code == 200
    assert healed.stop() == 0
    found = replayed(healed.data)
    assert found.books.total == 0
    accounts = [a for a in found.aggregates.values() if isinstance(a, Account)]
    assert [account.balance.value for account in accounts] == [100_000]
