from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.rails.rpc import HttpRpc

SECRET = "key-in-the-url"


async def refusal(answer: web.Response) -> str:
    """What a caller is told when the node answers so."""

    async def handle(_: web.Request) -> web.Response:
        return answer

    app = web.Application()

    async def answer_well(_: web.Request) -> web.Response:
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": "0x1"})

    app.router.add_post(f"/{SECRET}", handle)
    app.router.add_post("/elsewhere", answer_well)
    async with TestServer(app) as server:
        rpc = HttpRpc(str(server.make_url(f"/{SECRET}")))
        with pytest.raises(ConnectionError) as raised:
            await rpc.call("eth_chainId", [])
        await rpc.aclose()
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    return str(raised.value)


async def test_an_error_is_told_in_the_nodes_words() -> None:
    told = await refusal(web.json_response({"error": {"code": -32000, "message": "too old"}}))

    assert "too old" in told


@pytest.mark.parametrize(
    ("text", "status"), [("busy", 503), ("<html>", 200), ("[]", 200), ('{"error": 1}', 200)]
)
async def test_whatever_is_no_result_is_no_connection(text: str, status: int) -> None:
    assert await refusal(web.Response(text=text, status=status))


async def test_a_redirect_is_not_followed() -> None:
    # Where it points lies a node that would answer.
    assert await refusal(web.Response(status=307, headers={"Location": "/elsewhere"}))


async def test_the_url_is_a_secret() -> None:
    assert SECRET not in await refusal(web.Response(status=401))
