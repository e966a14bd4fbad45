"""Facilitator and node over HTTP: what goes out, and what counts as no answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from bankofai.x402.types import PaymentRequirements

from adapters.rails.tron_facilitator import HttpTronFacilitator
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.rails.tron_node import HttpTronNode, TronRpc
from tests.fakes.tron_paper import PAY_TO

KEY = "throwaway-key-that-nobody-may-see"
ASKED = PaymentRequirements(
    scheme="exact_permit",
    network="tron:mainnet",
    amount="1",
    asset=TRON_MAINNET.usdt,
    payTo=PAY_TO,
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def server(answer: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    async with TestServer(app) as running:
        yield str(running.make_url(""))


@asynccontextmanager
async def facilitator_at(
    answer: Handler, *, timeout_ms: int = 5_000
) -> AsyncIterator[HttpTronFacilitator]:
    async with server(answer) as url:
        facilitator = HttpTronFacilitator(url, key=KEY, timeout_ms=timeout_ms)
        yield facilitator
        await facilitator.aclose()


async def test_the_key_goes_into_its_header_and_into_no_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("X-API-KEY"))
        return web.json_response([] if request.method == "POST" else {"kinds": []})

    async with facilitator_at(answer) as facilitator:
        await facilitator.supported()
        await facilitator.fee_quote([ASKED])

    assert seen == [KEY, KEY]
    assert KEY not in caplog.text


async def test_no_key_is_no_header() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"kinds": []} if "X-API-KEY" not in request.headers else {})

    async with server(answer) as url:
        facilitator = HttpTronFacilitator(url, timeout_ms=5_000)
        assert (await facilitator.supported()).kinds == []
        await facilitator.aclose()


async def test_a_payment_follows_no_redirect() -> None:
    followed = []

    async def answer(request: web.Request) -> web.Response:
        followed.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with facilitator_at(answer) as facilitator:
        with pytest.raises(Exception, match="307"):
            await facilitator.fee_quote([ASKED])

    assert followed == ["/fee/quote"]


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_an_error_is_no_answer(status: int) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"error": "no"}, status=status)

    async with facilitator_at(answer) as facilitator:
        with pytest.raises(Exception, match=str(status)):
            await facilitator.fee_quote([ASKED])
        with pytest.raises(Exception, match=str(status)):
            await facilitator.payments("0x00")


async def test_a_facilitator_that_says_nothing_is_not_waited_for() -> None:
    given_up = asyncio.Event()
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if len(asked) > 1:
            await given_up.wait()
        return web.json_response({"kinds": []})

    async with facilitator_at(answer, timeout_ms=10_000) as facilitator:
        # Connected already: to give up while connecting would be another thing.
        await facilitator.supported()
        facilitator._timeout_s = 0.05
        with pytest.raises(TimeoutError):
            await facilitator.supported()
        given_up.set()


async def test_the_transactions_of_a_payment_are_its_hashes() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/payments/0x00":
            return web.json_response([{"txHash": "aa"}, {"txHash": None}, {"txHash": "bb"}])
        return web.json_response({"detail": "Payment not found"}, status=404)

    async with facilitator_at(answer) as facilitator:
        assert await facilitator.payments("0x00") == ["aa", "bb"]
        assert await facilitator.payments("0x01") == []


async def test_the_nodes_key_goes_into_its_header() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"key": request.headers.get("TRON-PRO-API-KEY")})

    async with server(answer) as url:
        node = HttpTronNode(f"{url}/", key=KEY)
        assert await node.ask("wallet/getnowblock", {}) == {"key": KEY}
        await node.aclose()


@pytest.mark.parametrize(
    ("status", "text"), [(500, "{}"), (302, ""), (200, "[]"), (200, "{"), (200, "null")]
)
async def test_what_is_no_json_object_is_no_answer(status: int, text: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers={"Location": "/elsewhere"})

    async with server(answer) as url:
        node = HttpTronNode(url, key=KEY)
        with pytest.raises(ConnectionError) as told:
            await node.ask("wallet/getnowblock", {})
        await node.aclose()

    assert url not in str(told.value)
    assert KEY not in str(told.value)


async def test_a_node_that_is_away_is_no_answer() -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async with server(answer) as url:
        pass
    node = HttpTronNode(url)

    with pytest.raises(ConnectionError):
        await node.ask("wallet/getnowblock", {})
    await node.aclose()


async def test_json_rpc_without_a_result_is_no_answer() -> None:
    class Refusing:
        async def ask(self, path: str, body: dict[str, object]) -> dict[str, object]:
            assert path == "jsonrpc"
            assert body["method"] == "eth_chainId"
            return {"error": {"message": "not today"}}

    with pytest.raises(ConnectionError, match="not today"):
        await TronRpc(Refusing()).call("eth_chainId", [])
