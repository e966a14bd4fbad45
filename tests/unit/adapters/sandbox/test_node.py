from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from adapters.sandbox.evm import USDC
from adapters.sandbox.rpc import node_app
from tests.fakes.sandbox import Sandbox


async def ask(sandbox: Sandbox, body: object) -> object:
    async with TestClient(TestServer(node_app(sandbox.node))) as client:
        response = await client.post("/", json=body)
        return await response.json()


async def test_it_is_base() -> None:
    call = {"jsonrpc": "2.0", "id": 7, "method": "eth_chainId", "params": []}

    assert await ask(Sandbox(), call) == {"jsonrpc": "2.0", "id": 7, "result": "0x2105"}


async def test_a_list_of_calls_is_answered_in_order() -> None:
    calls = [{"id": 1, "method": "eth_chainId"}, {"id": 2, "method": "eth_mine"}, "garbage"]

    replies = await ask(Sandbox(), calls)

    assert isinstance(replies, list)
    assert [reply.get("error", {}).get("code") for reply in replies] == [None, -32601, -32600]


async def test_bad_parameters_are_an_error_and_no_crash() -> None:
    for method, params in (
        ("eth_call", [{"to": "nobody"}, "latest"]),
        ("eth_getBalance", ["nobody"]),
        ("eth_getBlockByNumber", ["soon"]),
        ("eth_getLogs", [{"topics": "all"}]),
    ):
        reply = await ask(Sandbox(), {"id": 1, "method": method, "params": params})
        assert isinstance(reply, dict)
        assert reply["error"]["code"] == -32602


async def test_a_revert_is_told_with_its_reason() -> None:
    # transfer(address,uint256) of one unit by a caller who has none
    data = "0xa9059cbb" + ("aa" * 20).rjust(64, "0") + "1".rjust(64, "0")

    reply = await ask(
        Sandbox(), {"id": 1, "method": "eth_call", "params": [{"to": USDC, "data": data}]}
    )

    assert isinstance(reply, dict)
    assert "exceeds balance" in reply["error"]["message"]


async def test_a_body_that_is_no_json_is_a_parse_error() -> None:
    async with TestClient(TestServer(node_app(Sandbox().node))) as client:
        reply = await (await client.post("/", data=b"{")).json()

    assert reply["error"]["code"] == -32700


async def test_logs_are_filtered_by_address_and_topic() -> None:
    sandbox = Sandbox()

    async def logs(**wanted: object) -> object:
        span = {"fromBlock": "earliest", "toBlock": "latest"}
        return await sandbox.node.call("eth_getLogs", [span | wanted])

    of_usdc = await logs(address=USDC)
    of_nobody = await logs(address="0x" + "00" * 20)
    of_no_topic = await logs(topics=["0x" + "00" * 32])

    assert isinstance(of_usdc, list)
    assert len(of_usdc) == 1
    assert of_nobody == of_no_topic == []
