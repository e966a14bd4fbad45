"""Base as play money: dollars for whoever asks, and a node for clients."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.sandbox.base_network import SandboxBase
from adapters.sandbox.wallets import fresh_evm_wallet
from tests.fakes.sandbox import PAY_TO, Sandbox

STRANGER = "0x" + "dd" * 20


@pytest.fixture
def base() -> SandboxBase:
    sandbox = Sandbox()
    return SandboxBase(
        sandbox.chain,
        sandbox.node,
        networks=("eip155:8453", "base"),
        pay_to=PAY_TO,
        wallet=fresh_evm_wallet(),
    )


async def test_it_gives_dollars_and_the_gas_to_send_them(base: SandboxBase) -> None:
    transaction = await base.fund(STRANGER, 5_000)

    assert transaction.startswith("0x")
    assert await base.balance(STRANGER) == 5_000


async def test_it_gives_more_to_who_has_some(base: SandboxBase) -> None:
    await base.fund(STRANGER, 5_000)

    await base.fund(STRANGER, 1)

    assert await base.balance(STRANGER) == 5_001


@pytest.mark.parametrize(("address", "amount"), [("nobody", 1), (STRANGER, 0), (STRANGER, -1)])
async def test_it_refuses_what_is_no_gift(base: SandboxBase, address: str, amount: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        await base.fund(address, amount)


async def test_its_node_answers_by_post_alone(base: SandboxBase) -> None:
    assert base.node is not None
    app = web.Application()
    app.router.add_route("*", "/node/base", base.node)
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}

    async with TestClient(TestServer(app)) as client:
        posted = await (await client.post("/node/base", json=call)).json()
        got = await client.get("/node/base")

    assert posted["result"] == "0x2105"
    assert got.status == 405
