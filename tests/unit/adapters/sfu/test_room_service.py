"""The call that removes a participant, as room servers know it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nacl.signing import SigningKey

from adapters.sfu.room_service import REMOVE_PATH, TwirpRoomService
from adapters.sfu.rooms import eddsa_token
from domain.errors import NoCapacityError
from domain.ports.room_events import Sighting
from domain.presence import RoomFact
from tests.fakes.clock import START_MS, ManualClock
from tests.fakes.room_server import API_KEY

SIGNER = SigningKey(bytes(range(32)))


class Server:
    """Answers the room service; `status` is what it says."""

    def __init__(self) -> None:
        self.status = 200
        self.calls: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def remove(self, request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        assert scheme == "Bearer"
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        self.calls.append((await request.json(), claims))
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        return web.json_response({}, status=self.status, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    server = Server()
    app = web.Application()
    app.router.add_post(REMOVE_PATH, server.remove)
    async with TestServer(app) as listening:
        yield server, f"ws://127.0.0.1:{listening.port}"


@pytest.fixture
async def service() -> AsyncIterator[TwirpRoomService]:
    sign = partial(eddsa_token, signer=SIGNER)
    async with aclosing(TwirpRoomService(key=API_KEY, sign=sign, clock=ManualClock())) as opened:
        yield opened


def seen(identity: str) -> Sighting:
    fact = RoomFact(kind="joined", connection=f"c{identity}", room="r", at_ms=0)
    return Sighting(session_id=None, fact=fact, room_name="room-1", identity=identity)


async def test_everybody_is_removed_once_with_an_administrators_token(
    server: tuple[Server, str], service: TwirpRoomService
) -> None:
    room_server, url = server

    await service.remove(url, [seen("alice"), seen("alice#2"), seen("alice"), seen("")])

    assert [body for body, _ in room_server.calls] == [
        {"room": "room-1", "identity": "alice"},
        {"room": "room-1", "identity": "alice#2"},
    ]
    now = START_MS // 1000
    assert room_server.calls[0][1] == {
        "video": {"roomAdmin": True, "room": "room-1"},
        "iss": API_KEY,
        "sub": "payphone",
        "nbf": now - 10,
        "exp": now + 600,
    }


async def test_who_is_not_there_need_not_be_removed(
    server: tuple[Server, str], service: TwirpRoomService
) -> None:
    server[0].status = 404

    await service.remove(server[1], [seen("alice")])

    assert len(server[0].calls) == 1


@pytest.mark.parametrize("status", [302, 401, 500])
async def test_a_server_that_refuses_is_asked_again_later(
    server: tuple[Server, str], service: TwirpRoomService, status: int
) -> None:
    server[0].status = status

    with pytest.raises(NoCapacityError):
        await service.remove(server[1], [seen("alice")])


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "", "nonsense"])
async def test_a_server_that_is_not_there_is_asked_again_later(
    service: TwirpRoomService, url: str
) -> None:
    with pytest.raises(NoCapacityError):
        await service.remove(url, [seen("alice")])
