"""How a Tempo node is read: what it says, what it refuses, and answers that make no sense."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.rails.mpp_node import MemoTransfer, NodeRefusal, TempoNode, TempoRpc
from tests.fakes.mpp_payer import ScriptedNode

HASH = "0x" + "ab" * 32
MEMO = "0x" + "cd" * 32
TOKEN = "0x20c000000000000000000000b9537d11c60e8b50"
WITH_MEMO = "0x57bc7354aa85aed339e000bccffabbc529466af35f0772c8f8ee1145927de7f0"
PLAIN = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


def word(byte: str) -> str:
    return "0x" + byte.rjust(64, "0")


def transfer_log(**changes: object) -> dict[str, object]:
    return {
        "address": TOKEN.upper().replace("0X", "0x"),
        "topics": [WITH_MEMO, word("11" * 20), word("22" * 20), MEMO],
        "data": word("186a0"),
        **changes,
    }


def receipt_with(*logs: object, **changes: object) -> dict[str, object]:
    return {"transactionHash": HASH, "status": "0x1", "logs": list(logs), **changes}


async def test_a_receipt_gives_its_transfers_with_memos() -> None:
    plain = transfer_log(topics=[PLAIN, word("11" * 20), word("22" * 20)])
    node = TempoNode(
        ScriptedNode(eth_getTransactionReceipt=receipt_with(plain, transfer_log(), plain))
    )

    receipt = await node.receipt(HASH)

    assert receipt is not None
    assert receipt.succeeded
    assert receipt.transfers == (
        MemoTransfer(
            token=TOKEN, payer="0x" + "11" * 20, pay_to="0x" + "22" * 20, amount=100_000, memo=MEMO
        ),
    )


async def test_a_failed_transaction_did_not_succeed() -> None:
    node = TempoNode(ScriptedNode(eth_getTransactionReceipt=receipt_with(status="0x0")))

    receipt = await node.receipt(HASH)

    assert receipt is not None
    assert not receipt.succeeded


async def test_an_unknown_transaction_has_no_receipt() -> None:
    node = TempoNode(ScriptedNode(eth_getTransactionReceipt=None))

    assert await node.receipt(HASH) is None


@pytest.mark.parametrize(
    "answer",
    [
        "0x1",
        [],
        receipt_with(transactionHash="0x" + "00" * 32),
        receipt_with(logs=None),
        receipt_with(status="yes"),
        receipt_with("a log"),
        receipt_with(transfer_log(topics=[WITH_MEMO])),
        receipt_with(transfer_log(data="0x")),
    ],
    ids=str,
)
async def test_a_receipt_that_makes_no_sense_is_no_answer(answer: object) -> None:
    node = TempoNode(ScriptedNode(eth_getTransactionReceipt=answer))

    with pytest.raises(ConnectionError):
        await node.receipt(HASH)


@pytest.mark.parametrize("answer", [None, {}, {"timestamp": "soon"}, "0x1"])
async def test_a_block_without_a_time_is_no_answer(answer: object) -> None:
    node = TempoNode(ScriptedNode(eth_getBlockByNumber=answer))

    with pytest.raises(ConnectionError):
        await node.time_s()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("cut off"),
        TimeoutError(),
        NodeRefusal("send", code=4, message="not in a block yet"),
        NodeRefusal("send", code=-32000, message="already known"),
        NodeRefusal("send", code=-32003, message="transaction already imported"),
    ],
    ids=str,
)
async def test_what_may_have_been_taken_is_not_called_refused(error: Exception) -> None:
    node = TempoNode(ScriptedNode(eth_sendRawTransactionSync=error))

    assert await node.send("0x76", timeout_ms=1_000) == ""


async def test_a_refused_transaction_is_told_with_the_nodes_words() -> None:
    error = NodeRefusal("send", code=-32000, message="insufficient funds for gas")
    node = TempoNode(ScriptedNode(eth_sendRawTransactionSync=error))

    assert "insufficient funds" in await node.send("0x76", timeout_ms=1_000)


async def test_a_node_that_cannot_wait_is_sent_to_none_the_less() -> None:
    unknown = NodeRefusal("send", code=-32601, message="no such method")
    script = ScriptedNode(eth_sendRawTransactionSync=unknown, eth_sendRawTransaction=HASH)

    assert await TempoNode(script).send("0x76", timeout_ms=1_000) == ""
    assert script.asked == ["eth_sendRawTransactionSync", "eth_sendRawTransaction"]


@pytest.fixture
async def far() -> AsyncIterator[tuple[TempoRpc, dict[str, Any]]]:
    """A node over HTTP that answers what `script` holds, and keeps what it was asked."""
    script: dict[str, Any] = {"status": 200}

    async def post(request: web.Request) -> web.Response:
        script["asked"] = await request.json()
        return web.json_response(script["reply"], status=script["status"])

    app = web.Application()
    app.router.add_post("/", post)
    async with TestServer(app) as server:
        rpc = TempoRpc(str(server.make_url("/")))
        yield rpc, script
        await rpc.aclose()


async def test_over_http_the_result_is_the_answer(far: tuple[TempoRpc, dict[str, Any]]) -> None:
    rpc, script = far
    script["reply"] = {"jsonrpc": "2.0", "id": 1, "result": "0x1079"}

    assert await rpc.call("eth_chainId", []) == "0x1079"
    assert (script["asked"]["method"], script["asked"]["params"]) == ("eth_chainId", [])


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_over_http_an_error_is_a_refusal_with_its_code(
    far: tuple[TempoRpc, dict[str, Any]], status: int
) -> None:
    rpc, script = far
    script.update(reply={"error": {"code": -32602, "message": "too few"}}, status=status)

    with pytest.raises(NodeRefusal) as refused:
        await rpc.call("eth_call", [])

    assert (refused.value.code, refused.value.message) == (-32602, "too few")


@pytest.mark.parametrize("reply", [[], "busy", {}, {"error": "busy"}])
async def test_over_http_anything_else_is_no_answer(
    far: tuple[TempoRpc, dict[str, Any]], reply: object
) -> None:
    rpc, script = far
    script["reply"] = reply

    with pytest.raises(ConnectionError) as silent:
        await rpc.call("eth_call", [])

    assert not isinstance(silent.value, NodeRefusal)


async def test_a_node_that_is_away_is_no_answer_and_its_url_is_in_no_message() -> None:
    rpc = TempoRpc("http://127.0.0.1:1/secret")

    with pytest.raises(ConnectionError) as silent:
        await rpc.call("eth_chainId", [])
    await rpc.aclose()

    assert "secret" not in str(silent.value)
