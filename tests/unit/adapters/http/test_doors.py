"""Stopping the HTTP side: who is inside is served, who comes after is told when to come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from adapters.http.doors import DOORS, Doors
from adapters.http.server import FAREWELL_S, SHUTDOWN_S, Runner


class Shop:
    """One slow route behind the doors, on a loopback port."""

    def __init__(self) -> None:
        self.inside = asyncio.Event()
        self.may_go = asyncio.Event()

    async def open(self) -> None:
        doors = Doors()
        app = web.Application(middlewares=(doors.pass_through,))
        app[DOORS] = doors
        app.router.add_get("/slow", self._slow)
        app.router.add_get("/half", self._half)
        self.runner = Runner(app)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def _slow(self, _request: web.Request) -> web.Response:
        self.inside.set()
        await self.may_go.wait()
        return web.json_response({"served": True})

    async def _half(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"half")
        await self.may_go.wait()
        return answer


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    opened = Shop()
    await opened.open()
    yield opened
    opened.may_go.set()
    await opened.runner.cleanup()


async def test_who_comes_after_is_told_when_to_come_again(shop: Shop) -> None:
    shop.runner.take_no_more()

    async with aiohttp.ClientSession(shop.url) as http, http.get("/slow") as late:
        body = await late.json()

    assert (late.status, body["code"]) == (503, "shutting_down")
    assert isinstance(body["error"], str)
    assert late.headers["Retry-After"] == "5"
    assert late.headers["Connection"] == "close"


async def test_who_is_inside_is_served_and_shown_out(shop: Shop) -> None:
    async with aiohttp.ClientSession(shop.url) as http:
        early = asyncio.create_task(http.get("/slow"))
        await shop.inside.wait()
        shop.runner.take_no_more()
        shop.may_go.set()

        async with await early as answer:
            body = await answer.json()

    assert body == {"served": True}
    assert answer.headers["Connection"] == "close"


async def test_closing_waits_for_who_is_inside(shop: Shop) -> None:
    async with aiohttp.ClientSession(shop.url) as http:
        early = asyncio.create_task(http.get("/slow"))
        await shop.inside.wait()
        closing = asyncio.create_task(shop.runner.cleanup())
        asyncio.get_running_loop().call_later(2 * FAREWELL_S, shop.may_go.set)

        async with await early as answer:
            body = await answer.json()
        await closing

    assert body == {"served": True}


async def test_who_takes_too_long_is_asked_to_come_again(shop: Shop) -> None:
    async with aiohttp.ClientSession(shop.url) as http:
        early = asyncio.create_task(http.get("/slow"))
        await shop.inside.wait()
        shop.runner.take_no_more()
        shop.runner.app[DOORS].last_call()

        async with await early as answer:
            body = await answer.json()

    assert (answer.status, body["code"]) == (503, "shutting_down")
    assert answer.headers["Connection"] == "close"


async def test_an_answer_that_was_begun_is_not_begun_anew(shop: Shop) -> None:
    async with aiohttp.ClientSession(shop.url) as http, http.get("/half") as answer:
        shop.runner.app[DOORS].last_call()

        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_connection_on_which_nothing_is_asked_does_not_hold_it_open(shop: Shop) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(shop.url.rpartition(":")[2]))

    async with asyncio.timeout(SHUTDOWN_S / 2):
        await shop.runner.cleanup()

    writer.close()


async def test_an_application_without_doors_is_closed_all_the_same() -> None:
    runner = Runner(web.Application())
    await runner.setup()

    await runner.cleanup()

    assert runner.server is None
