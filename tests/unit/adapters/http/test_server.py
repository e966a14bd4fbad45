from __future__ import annotations

import json
import logging

import aiohttp
import pytest
from aiohttp import web

from adapters.http.server import Runner


async def test_a_failure_outside_the_application_is_json_without_detail(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_request: web.Request) -> web.Response:
        msg = "the secret inside"
        raise RuntimeError(msg)

    app = web.Application()
    app.router.add_get("/", broken)
    runner = Runner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        text = await answer.text()
    await runner.cleanup()

    assert answer.status == 500
    assert json.loads(text) == {"error": "Internal error", "code": "internal"}
    errors = [r.message for r in caplog.records if r.levelno >= logging.ERROR]
    assert errors == ["connection failed"]


async def test_requests_are_not_logged_by_the_library(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="aiohttp")
    runner = Runner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()

    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with aiohttp.ClientSession() as client:
        await client.get(url)
    await runner.cleanup()

    assert [r for r in caplog.records if r.name.startswith("aiohttp")] == []
