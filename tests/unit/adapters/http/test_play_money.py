"""The sandbox's own paths; no gateway with real money has them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.http.errors import errors_as_json
from adapters.http.play_money import PlayMoney
from adapters.sandbox.faults import Faults
from tests.fakes.gateway import House
from tests.fakes.street import Street


@dataclass
class Coins:
    """A network of coins in a drawer."""

    name: str = "coins"
    chain: str = "evm"
    networks: tuple[str, ...] = ("coins:1",)
    pay_to: str = "till"
    wallet: SimpleNamespace = field(default_factory=lambda: SimpleNamespace(address="purse"))
    away: bool = False

    def __post_init__(self) -> None:
        self.held: defaultdict[str, int] = defaultdict(int)

    async def node(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{request.method} {request.match_info['tail']}")

    async def fund(self, address: str, amount: int) -> str:
        if self.away:
            raise ConnectionError
        if " " in address:
            raise ValueError(address)
        self.held[address] += amount
        return "coin 1"

    async def balance(self, address: str) -> int:
        return self.held[address]


@pytest.fixture
def coins() -> Coins:
    return Coins()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
async def http(
    coins: Coins, faults: Faults
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    play = PlayMoney((coins,), faults, public_url="http://play.test/")

    async def sold(_: web.Request) -> web.Response:
        return web.json_response({"sold": True})

    app = web.Application(middlewares=(errors_as_json, play.lose_replies))
    play.add_to(app)
    app.router.add_post("/v1/credits/purchase", sold)
    app.router.add_get("/v1/pricing", sold)
    async with TestClient(TestServer(app)) as client:
        yield client


Http = TestClient[web.Request, web.Application]


async def test_the_chains_are_told_with_who_holds_what(http: Http, coins: Coins) -> None:
    coins.held["purse"] = 5

    answer = await (await http.get("/sandbox/chains")).json()

    assert answer["chains"] == [
        {
            "name": "coins",
            "wallet_chain": "evm",
            "networks": ["coins:1"],
            "node": "http://play.test/sandbox/node/coins",
            "pay_to": "till",
            "pay_to_balance": "0",
            "wallet": "purse",
            "wallet_balance": "5",
        }
    ]


async def test_an_address_gets_dollars(http: Http) -> None:
    body = {"chain": "coins", "address": "hat", "amount_usd": 2.5}

    answer = await (await http.post("/sandbox/fund", json=body)).json()

    assert (answer["balance"], answer["transaction"]) == ("2500000", "coin 1")


@pytest.mark.parametrize(
    ("field", "value"), [("chain", "beads"), ("address", "a b"), ("amount_usd", 0)]
)
async def test_what_cannot_be_funded_is_named(http: Http, field: str, value: object) -> None:
    body = {"chain": "coins", "address": "hat", "amount_usd": 1, field: value}

    answer = await http.post("/sandbox/fund", json=body)

    assert (answer.status, (await answer.json())["where"]) == (400, field)


async def test_a_chain_that_is_away_is_told(http: Http, coins: Coins) -> None:
    coins.away = True

    answer = await http.post(
        "/sandbox/fund", json={"chain": "coins", "address": "hat", "amount_usd": 1}
    )

    assert (answer.status, (await answer.json())["code"]) == (503, "rail_down")


async def test_faults_are_shown_and_turned(http: Http, faults: Faults) -> None:
    answer = await http.post("/sandbox/faults", json={"lose_answer": 1, "settle_delay_ms": 9})

    assert (await answer.json())["faults"] == faults.shown()
    assert (faults.lose_answer, faults.settle_delay_ms) == (True, 9)


@pytest.mark.parametrize("body", [{}, {"nope": 1}, {"lose_answer": -1}, {"lose_answer": "yes"}])
async def test_what_is_no_fault_turns_none(http: Http, faults: Faults, body: object) -> None:
    answer = await http.post("/sandbox/faults", json=body)

    assert answer.status == 400
    assert set(faults.shown().values()) == {0}


async def test_a_dropped_reply_is_a_line_cut_and_only_where_something_was_sold(
    http: Http, faults: Faults
) -> None:
    faults.drop_reply = True

    with pytest.raises(aiohttp.ClientError):
        await http.post("/v1/credits/purchase")
    assert (await http.get("/v1/pricing")).status == 200


async def test_a_node_is_reached_by_its_clients_at_any_path_under_it(http: Http) -> None:
    answer = await http.post("/sandbox/node/coins/wallet/getaccount")

    assert await answer.text() == "POST /wallet/getaccount"


async def test_there_is_no_node_of_another_name(http: Http) -> None:
    assert (await http.post("/sandbox/node/beads")).status == 404


async def test_a_gateway_with_real_money_has_none_of_these_paths() -> None:
    street = Street(House())
    await street.open()

    answers = [await street.call("GET", f"/sandbox/{path}") for path in ("chains", "faults")]

    await street.close()
    assert [answer.status for answer in answers] == [404, 404]
