"""B7: a room is sold, a node tells who is in it, the gateway dies meanwhile, the bill is right."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.cli.customer import Customer
from adapters.sfu.room_key import room_key
from adapters.sfu.room_service import LIST_PATH, REMOVE_PATH
from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.payer import Payer
from tests.e2e.test_crashes import replayed
from tests.fakes.room_server import API_KEY, NODE, name_of, node_token


class Node:
    """A dTelecom node: suggests nobody, removes whom it is told to, posts what it is made to.

    `inside` are the participants it lists by room.
    """

    def __init__(self) -> None:
        self.removed: list[dict[str, Any]] = []
        self.inside: dict[str, list[dict[str, Any]]] = {}
        self.server: TestServer

    async def remove(self, request: web.Request) -> web.Response:
        self.removed.append(await request.json())
        return web.json_response({})

    async def seats(self, request: web.Request) -> web.Response:
        room = (await request.json())["room"]
        return web.json_response({"participants": self.inside.get(room, [])})

    async def post(self, hook: str, event: str, number: int, room: str, at: int) -> int:
        body = {
            "event": event,
            "room": {"sid": "RM_1", "name": room, "key": room_key(room, API_KEY)},
            "participant": {"sid": "PA_1", "identity": "alice"},
            "id": f"EV_{number}",
            "createdAt": str(at),
        }
        raw = json.dumps(body).encode()
        token = node_token(raw, now_ms=time.time_ns() // 1_000_000)
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        async with httpx.AsyncClient() as client:
            return (await client.post(hook, content=raw, headers=headers)).status_code


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    app = web.Application()
    app.router.add_post(REMOVE_PATH, node.remove)
    app.router.add_post(LIST_PATH, node.seats)
    async with TestServer(app) as node.server:
        yield node


async def sell(gateway: GatewayProcess) -> dict[str, Any]:
    """Ten minutes in a room for alice, who has just bought credit."""
    payer = Payer(gateway.url, gateway.secret_key)
    await payer.post(payer.body(), await payer.proof())
    async with Customer(gateway.url, gateway.secret_key) as customer:
        order = {"room_name": "room", "participant_identity": "alice", "duration_minutes": 10}
        return await customer.call("POST", "/v1/webrtc/token", order)


def claims_of(token: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return found


async def test_a_room_is_billed_by_what_its_node_told_before_and_after_a_crash(
    start: StartGateway, node: Node
) -> None:
    nodes = f"ws://127.0.0.1:{node.server.port}={name_of(NODE)}"
    gateway = start(PAYPHONE_ROOMS_NODES=nodes)
    sold = await sell(gateway)
    claims = claims_of(sold["token"])
    hook, room, now = claims["webHookURL"], claims["video"]["room"], int(time.time())

    answers = [await node.post(hook, "participant_joined", 1, room, now)]
    gateway.kill()
    healed = start(PAYPHONE_ROOMS_NODES=nodes)
    hook = healed.url + urlsplit(hook).path + "?" + urlsplit(hook).query
    answers += [await node.post(hook, "participant_left", n, room, now + 1) for n in (2, 2)]
    await asyncio.sleep(1.0)
    async with Customer(healed.url, healed.secret_key) as customer:
        ended = await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")
        bill = await customer.call("GET", f"/v1/sessions/{sold['session_id']}/bill")

    healed.stop()

    assert answers == [200, 200, 200]
    assert 0 < int(ended["used"]) <= 1_000
    assert ended["charged_microcredits"] == str(-(-int(ended["used"]) // 60))
    assert [line["kind"] for line in bill["statement"]["lines"]].count("used") == 1
    assert replayed(healed.data).books.total == 0


async def test_who_is_still_in_a_room_when_its_session_ends_is_removed(
    start: StartGateway, node: Node
) -> None:
    gateway = start(PAYPHONE_ROOMS_NODES=f"ws://127.0.0.1:{node.server.port}={name_of(NODE)}")
    sold = await sell(gateway)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        claims = claims_of(sold["token"])
        room, now = claims["video"]["room"], int(time.time())
        await node.post(claims["webHookURL"], "participant_joined", 1, room, now)
        await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")

    for _ in range(100):
        if node.removed:
            break
        await asyncio.sleep(0.1)

    assert node.removed == [{"room": room, "identity": "alice"}]


async def test_who_joined_while_the_gateway_was_down_is_found_by_asking(
    start: StartGateway, node: Node
) -> None:
    nodes = f"ws://127.0.0.1:{node.server.port}={name_of(NODE)}"
    gateway = start(PAYPHONE_ROOMS_NODES=nodes)
    sold = await sell(gateway)
    room = claims_of(sold["token"])["video"]["room"]
    gateway.kill()
    alice = {"sid": "PA_1", "identity": "alice", "state": "ACTIVE"}
    node.inside[room] = [{**alice, "joinedAt": str(int(time.time()))}]

    healed = start(PAYPHONE_ROOMS_NODES=nodes)
    async with Customer(healed.url, healed.secret_key) as customer:
        for _ in range(100):
            (row,) = (await customer.call("GET", "/v1/account/sessions"))["sessions"]
            if row["started_at"] is not None:
                break
            await asyncio.sleep(0.3)
        ended = await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")

    assert row["settlement_method"] == "pending"
    assert (ended["settlement_method"], int(ended["used"]) > 0) == ("request", True)


async def test_a_room_that_everybody_left_is_settled_by_itself(
    start: StartGateway, node: Node
) -> None:
    nodes = f"ws://127.0.0.1:{node.server.port}={name_of(NODE)}"
    gateway = start(PAYPHONE_ROOMS_NODES=nodes, PAYPHONE_ROOMS_IDLE_SECONDS="1")
    sold = await sell(gateway)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        claims = claims_of(sold["token"])
        hook, room, now = claims["webHookURL"], claims["video"]["room"], int(time.time())
        for number, event in enumerate(("participant_joined", "participant_left")):
            await node.post(hook, event, number, room, now)
        for _ in range(60):
            (row,) = (await customer.call("GET", "/v1/account/sessions"))["sessions"]
            if row["status"] == "settled":
                break
            await asyncio.sleep(0.3)

    assert row["settlement_method"] == "idle"
    assert int(row["charged_microcredits"]) <= 17
