from __future__ import annotations

import pytest
from aiohttp import web

from adapters.sfu.outbound import Outbound
from tests.fakes.solana import Answer, serving


async def welcome(_request: web.Request) -> web.StreamResponse:
    return web.json_response(["come in"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]"])
async def test_a_private_address_is_not_called_however_it_is_written(host: str) -> None:
    outbound = Outbound(private_ok=False)
    async with serving(welcome) as own:
        port = own.rpartition(":")[2]

        with pytest.raises(ConnectionError):
            await outbound.ask(f"http://{host}:{port}/", {}, bytes_max=100, timeout_ms=1_000)

    await outbound.aclose()


async def test_a_private_address_may_be_called_where_an_operator_named_it() -> None:
    outbound = Outbound(private_ok=True)
    async with serving(welcome) as own:
        answer = await outbound.ask(f"http://{own}/", {}, bytes_max=100, timeout_ms=1_000)

    await outbound.aclose()
    assert answer == ["come in"]


async def test_a_refusal_does_not_hold_the_url() -> None:
    outbound = Outbound(private_ok=True)

    with pytest.raises(ConnectionError) as refusal:
        await outbound.ask("http://127.0.0.1:1/secret", {}, bytes_max=1, timeout_ms=1_000)

    await outbound.aclose()
    assert "secret" not in str(refusal.value)


async def too_much(_request: web.Request) -> web.StreamResponse:
    return web.json_response("x" * 99)


async def absent(_request: web.Request) -> web.StreamResponse:
    return web.json_response([], status=404)


async def packed(_request: web.Request) -> web.StreamResponse:
    answer = web.json_response("x" * 10_000)
    answer.enable_compression(web.ContentCoding.gzip)
    return answer


@pytest.mark.parametrize("answer", [too_much, absent, packed])
async def test_only_a_whole_small_plain_answer_counts(answer: Answer) -> None:
    outbound = Outbound(private_ok=True)
    async with serving(answer) as own:
        with pytest.raises(ConnectionError):
            await outbound.ask(f"http://{own}/", {}, bytes_max=100, timeout_ms=1_000)

    await outbound.aclose()
