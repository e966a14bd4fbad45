"""A node asked from a thread: what it says no to, and what it does not say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_abi.abi import encode

from adapters.rails.node_line import (
    NodeLine,
    NodeRefusedError,
    NodeSilentError,
    octets,
    quantity,
)

REASON = "0x08c379a0" + encode(["string"], ["authorization is used"]).hex()


@pytest.fixture
def answers() -> list[web.Response]:
    """What the node will say next."""
    return []


@pytest.fixture
async def line(answers: list[web.Response]) -> AsyncIterator[NodeLine]:
    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    app = web.Application()
    app.router.add_post("/secret-key", answer)
    async with TestServer(app) as server:
        opened = NodeLine(str(server.make_url("/secret-key")))
        yield opened
        opened.close()


async def call(line: NodeLine) -> object:
    return await asyncio.to_thread(line.call, "eth_call", [])


def error(message: str, data: str | None = None, status: int = 200) -> web.Response:
    said = {"code": 3, "message": message} | ({"data": data} if data else {})
    return web.json_response({"jsonrpc": "2.0", "id": 1, "error": said}, status=status)


async def test_a_result_is_the_answer(line: NodeLine, answers: list[web.Response]) -> None:
    answers.append(web.json_response({"jsonrpc": "2.0", "id": 1, "result": "0x1"}))

    assert await call(line) == "0x1"


async def test_a_refusal_keeps_the_nodes_words(line: NodeLine, answers: list[web.Response]) -> None:
    answers.append(error("nonce too low"))

    with pytest.raises(NodeRefusedError, match="nonce too low"):
        await call(line)


async def test_the_contracts_reason_is_read_out_of_the_data(
    line: NodeLine, answers: list[web.Response]
) -> None:
    answers.append(error("execution reverted", REASON))

    with pytest.raises(NodeRefusedError, match="execution reverted: authorization is used"):
        await call(line)


async def test_data_that_is_no_reason_is_left_alone(
    line: NodeLine, answers: list[web.Response]
) -> None:
    answers.append(error("execution reverted", "0x08c379a0ff"))

    with pytest.raises(NodeRefusedError, match=r"execution reverted$"):
        await call(line)


async def test_a_refusal_with_a_status_of_trouble_is_still_a_refusal(
    line: NodeLine, answers: list[web.Response]
) -> None:
    answers.append(error("insufficient funds", status=500))

    with pytest.raises(NodeRefusedError):
        await call(line)


@pytest.mark.parametrize("body", ["", "<html>", "[]", "{}", '{"error": "busy"}'])
async def test_what_is_no_answer_is_silence(
    line: NodeLine, answers: list[web.Response], body: str
) -> None:
    answers.append(web.Response(text=body, status=502))

    with pytest.raises(NodeSilentError) as silence:
        await call(line)
    assert "secret-key" not in str(silence.value)


async def test_nobody_there_is_silence() -> None:
    line = NodeLine("http://127.0.0.1:1/secret-key")

    with pytest.raises(NodeSilentError) as silence:
        await call(line)
    line.close()
    assert "secret-key" not in str(silence.value)


@pytest.mark.parametrize("read", [quantity, octets])
def test_nonsense_from_a_node_is_silence(read: object) -> None:
    assert callable(read)

    with pytest.raises(NodeSilentError):
        read({"nonsense": 1})
