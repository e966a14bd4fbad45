"""What comes to the gateway's end of the fleet, and what is none of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from adapters.fleet.passes import Passes
from adapters.fleet.words import EVENTS_PATH, LINK_PATH, usage_words
from domain.usage import Usage
from tests.fakes.fleet import SECRET, Hub, Station, until
from tests.fakes.gateway import House
from tests.fakes.speech import buy, session_of

MINUTE_MS = 60_000


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    opened = Hub(house)
    await opened.come_back()
    yield opened
    await opened.hang_up()


async def post(hub: Hub, body: bytes, *, secret: str = SECRET) -> tuple[int, dict[str, object]]:
    header = Passes(secret).sign("one", "POST", EVENTS_PATH, body, now_ms=hub.house.clock.now_ms())
    async with (
        aiohttp.ClientSession() as http,
        http.post(hub.url + EVENTS_PATH, data=body, headers={"Authorization": header}) as answer,
    ):
        return answer.status, await answer.json()


async def test_reports_of_strangers_are_refused(house: House, hub: Hub) -> None:
    ticket = await buy_known(house)
    usage = Usage(session_id=ticket, connection_id=UUID(int=1), from_ms=1, to_ms=10**13)
    body = json.dumps({"events": [usage_words(usage)]}).encode()

    status, answer = await post(hub, body, secret="another secret, as long as needed")

    assert (status, answer["code"]) == (401, "unauthenticated")
    assert (await session_of(house, ticket)).used == 0


async def test_a_report_nobody_understands_holds_up_no_other(house: House, hub: Hub) -> None:
    session_id = await buy_known(house)
    now_ms = house.clock.now_ms()
    await house.clock.advance(1_000)
    good = Usage(
        session_id=session_id, connection_id=UUID(int=1), from_ms=now_ms, to_ms=now_ms + 1_000
    )
    unknown = replace(good, session_id=UUID(int=77))
    events = [{"session_id": 1}, "x", usage_words(unknown), usage_words(good)]

    status, answer = await post(hub, json.dumps({"events": events}).encode())

    assert (status, answer["accepted"]) == (200, 2)
    assert (await session_of(house, session_id)).used == 1_000


@pytest.mark.usefixtures("collector_at_rest")
@pytest.mark.parametrize("body", [b"", b"[]", b'{"events": 1}', b'{"events": ' + b"[" * 5_000])
async def test_what_is_no_batch_is_refused(hub: Hub, body: bytes) -> None:
    status, answer = await post(hub, body)

    assert (status, answer["code"]) == (400, "malformed")


async def test_a_stranger_gets_no_line(hub: Hub) -> None:
    async with aiohttp.ClientSession() as http:
        answer = await http.get(hub.url + LINK_PATH)

    assert answer.status == 401


async def buy_known(house: House) -> UUID:
    """A listening session that is open, whoever serves it: bought before there were servers."""
    before = house.gateway
    house.gateway = replace(before, servers=house.own_servers)
    ticket = await buy(house, "stt", MINUTE_MS)
    house.gateway = before
    return ticket.session_id


@pytest.mark.parametrize(
    "welcome", ["", "{}", "[]", '{"type": "welcome", "now_ms": -1}', b"\x00", None]
)
async def test_a_gateway_that_is_none_is_asked_again_until_it_is_one(
    hub: Hub, tmp_path: Path, welcome: str | bytes | None
) -> None:
    """Whatever stands at the gateway's address for a while."""
    asked: list[bool] = []

    async def other(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        asked.append(True)
        if isinstance(welcome, str):
            await socket.send_str(welcome)
        elif welcome is not None:
            await socket.send_bytes(welcome)
        await socket.close()
        return socket

    await hub.hang_up()
    app = web.Application()
    app.router.add_get(LINK_PATH, other)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", hub.port).start()
    station = Station(hub, tmp_path)
    await station.open()
    await until(lambda: asked)
    await runner.cleanup()
    await hub.come_back()
    await until(lambda: len(hub.fleet.servers()) == 1)
    await station.close()
