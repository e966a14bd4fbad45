"""The calls that ask for and remove participants, as room servers know them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nacl.signing import SigningKey

from adapters.sfu.nodes import Node, StaticNodes
from adapters.sfu.outbound import Outbound
from adapters.sfu.room_service import (
    BACK_OFF_MS,
    LIST_PATH,
    REMOVE_PATH,
    NodeServers,
    OneServer,
    TwirpRoomService,
)
from adapters.sfu.rooms import RoomNames, eddsa_token
from domain.errors import NoCapacityError
from domain.ports.room_events import Presence, Sighting
from domain.ports.rooms import Join
from domain.presence import RoomFact
from tests.fakes.clock import START_MS, ManualClock
from tests.fakes.room_server import API_KEY, NODE, OTHER_NODE, name_of

SIGNER = SigningKey(bytes(range(32)))
ACCOUNT = UUID(int=7)


class Server:
    """Answers the room service with `status` and `body`, or with `raw` instead."""

    def __init__(self) -> None:
        self.status = 200
        self.body: object = {}
        self.raw = b""
        self.calls: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        self.calls.append((request.path, await request.json(), claims))
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        if self.raw:
            return web.Response(body=self.raw, status=self.status)
        return web.json_response(self.body, status=self.status, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_post(REMOVE_PATH, server.answer)
    app.router.add_post(LIST_PATH, server.answer)
    async with TestServer(app) as listening:
        server.url = f"ws://127.0.0.1:{listening.port}"
        yield server


class Town:
    """The service over one known node; `clock` and `outbound` are its own."""

    def __init__(self, url: str, *, private_ok: bool = True) -> None:
        self.clock = ManualClock()
        self.outbound = Outbound(private_ok=private_ok)
        self.service = TwirpRoomService(
            key=API_KEY,
            sign=partial(eddsa_token, signer=SIGNER),
            clock=self.clock,
            outbound=self.outbound,
            servers=NodeServers(StaticNodes([Node(key=bytes(NODE.verify_key), ws_url=url)])),
            names=RoomNames(b"throwaway", wallets_meet=False),
        )

    async def present(self) -> tuple[Presence, ...]:
        return await self.service.present(name_of(NODE), server_url="", room_name="room-1")


@pytest.fixture
async def town(server: Server) -> AsyncIterator[Town]:
    town = Town(server.url)
    yield town
    await town.outbound.aclose()


def seen(identity: str) -> Sighting:
    fact = RoomFact(kind="joined", connection=f"c{identity}", room="r", at_ms=0)
    return Sighting(session_id=None, fact=fact, room_name="room-1", identity=identity)


def admin_claims() -> dict[str, object]:
    now = START_MS // 1000
    return {
        "video": {"roomAdmin": True, "room": "room-1"},
        "iss": API_KEY,
        "sub": "payphone",
        "nbf": now - 10,
        "exp": now + 600,
    }


async def test_everybody_is_removed_once_with_an_administrators_token(
    server: Server, town: Town
) -> None:
    await town.service.remove(server.url, [seen("alice"), seen("alice#2"), seen("alice"), seen("")])

    assert server.calls == [
        (REMOVE_PATH, {"room": "room-1", "identity": "alice"}, admin_claims()),
        (REMOVE_PATH, {"room": "room-1", "identity": "alice#2"}, admin_claims()),
    ]


async def test_who_is_not_there_need_not_be_removed(server: Server, town: Town) -> None:
    server.status, server.body = 404, {"code": "not_found", "msg": "participant does not exist"}

    await town.service.remove(server.url, [seen("alice")])

    assert len(server.calls) == 1


@pytest.mark.parametrize("status", [302, 401, 404, 500])
async def test_a_server_that_refuses_is_asked_again_later(
    server: Server, town: Town, status: int
) -> None:
    # 404 without the room service's own word: there is none at this address.
    server.status, server.body = status, {"code": "bad_route"}

    with pytest.raises(NoCapacityError):
        await town.service.remove(server.url, [seen("alice")])


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "", "nonsense"])
async def test_a_server_that_is_not_there_is_asked_again_later(town: Town, url: str) -> None:
    with pytest.raises(NoCapacityError):
        await town.service.remove(url, [seen("alice")])


async def test_those_in_a_room_are_asked_for_with_an_administrators_token(
    server: Server, town: Town
) -> None:
    attributes = {"session_id": "s"}
    server.body = {
        "participants": [
            {"sid": "PA_1", "identity": "alice", "state": "ACTIVE", "joinedAt": "1700000001"},
            {"sid": "PA_2", "identity": "bob", "state": 2, "joinedAt": 5, "attributes": attributes},
            {"sid": "PA_3", "identity": "carol", "state": "JOINED", "tracks": [{"sid": "TR"}]},
        ]
    }

    found = await town.present()

    own = name_of(NODE)
    assert server.calls == [(LIST_PATH, {"room": "room-1"}, admin_claims())]
    assert found == (
        Presence(
            connection=f"{own}/PA_1", identity="alice", joined_ms=1_700_000_001_000, is_ready=True
        ),
        Presence(
            connection=f"{own}/PA_2",
            identity="bob",
            joined_ms=5_000,
            is_ready=True,
            told_session="s",
        ),
        Presence(connection=f"{own}/PA_3", identity="carol", joined_ms=0, is_ready=False),
    )


async def test_mirrors_of_other_nodes_and_those_who_are_gone_are_not_there(
    server: Server, town: Town
) -> None:
    server.body = {
        "participants": [
            {"sid": "PA_1", "identity": "alice", "state": "ACTIVE", "relayed": True},
            {"sid": "PA_2", "identity": "alice", "state": "DISCONNECTED"},
            {"sid": "PA_3", "identity": "alice", "state": 3},
        ]
    }

    assert await town.present() == ()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {}), (200, {"participants": []}), (404, {"code": "not_found", "msg": "no such room"})],
)
async def test_a_room_that_is_not_there_has_nobody_in_it(
    server: Server, town: Town, status: int, body: object
) -> None:
    server.status, server.body = status, body

    assert await town.present() == ()


ODD = {
    "a list": (200, b"[]"),
    "no list": (200, b'{"participants": {}}'),
    "people that are none": (200, b'{"participants": ["alice"]}'),
    "people without a connection": (200, b'{"participants": [{"identity": "alice"}]}'),
    "a name nobody can store": (200, b'{"participants": [{"sid": "\\ud800"}]}'),
    "a name without end": (200, b'{"participants": [{"sid": "' + b"x" * 600 + b'"}]}'),
    "no JSON": (200, b"<html>"),
    "nested without end": (200, b"[" * 200_000),
    "too much": (200, b'"' + b"x" * (5 << 20) + b'"'),
    "another web server": (404, b'{"message": "Not Found"}'),
    "a refusal": (401, b'{"code": "unauthenticated"}'),
    "a failure": (500, b"{}"),
    "a redirect": (302, b"{}"),
}


@pytest.mark.parametrize("case", ODD)
async def test_an_answer_that_cannot_be_understood_is_no_empty_room(
    server: Server, town: Town, case: str
) -> None:
    server.status, server.raw = ODD[case]

    with pytest.raises(NoCapacityError):
        await town.present()


async def test_a_server_that_gave_no_answer_is_left_alone_for_a_while(
    server: Server, town: Town
) -> None:
    server.status = 500
    for _ in range(3):
        with pytest.raises(NoCapacityError):
            await town.present()
    asked = len(server.calls)
    server.status = 200
    await town.clock.advance(BACK_OFF_MS)

    assert (asked, await town.present()) == (1, ())


async def test_a_node_that_is_not_known_is_not_asked(server: Server, town: Town) -> None:
    for name, url in ((name_of(OTHER_NODE), server.url), ("", "wss://elsewhere.test")):
        with pytest.raises(NoCapacityError):
            await town.service.present(name, server_url=url, room_name="room-1")

    assert server.calls == []


async def test_who_was_never_heard_of_is_looked_for_where_the_customer_was_sent(
    server: Server, town: Town
) -> None:
    server.body = {"participants": [{"sid": "PA_1", "state": "ACTIVE"}]}

    found = await town.service.present("", server_url=server.url, room_name="room-1")

    assert [person.connection for person in found] == [f"{name_of(NODE)}/PA_1"]


async def test_livekit_has_one_server_whatever_it_was_called(server: Server) -> None:
    assert OneServer("API", server.url).find("an older key", "ws://old") == ("API", server.url)


async def test_a_node_of_a_registry_cannot_lead_us_into_our_own_network(server: Server) -> None:
    town = Town(server.url, private_ok=False)

    with pytest.raises(NoCapacityError):
        await town.present()
    with pytest.raises(NoCapacityError):
        await town.service.remove(server.url, [seen("alice")])

    await town.outbound.aclose()
    assert server.calls == []


async def test_a_room_is_asked_for_by_the_name_its_token_has(town: Town) -> None:
    join = Join(
        account_id=str(ACCOUNT),
        session_id="",
        room_name="den",
        identity="",
        metadata="",
        not_before_ms=0,
        expires_at_ms=0,
    )

    named = RoomNames(b"throwaway", wallets_meet=False).name(join)

    assert town.service.room_name(ACCOUNT, "den") == named
