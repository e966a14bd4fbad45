"""The room service's calls as the vendor's own protocol reads and writes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from adapters.clock import SystemClock
from adapters.sfu.outbound import Outbound
from adapters.sfu.room_service import LIST_PATH, REMOVE_PATH, OneServer, TwirpRoomService
from adapters.sfu.rooms import RoomNames, hs256_token
from domain.ports.room_events import Presence, Sighting
from domain.presence import RoomFact
from tests.fakes.room_server import LIVEKIT_KEY, LIVEKIT_SECRET

api = pytest.importorskip("livekit.api", reason="LiveKit's kit is not installed")
json_format = pytest.importorskip("google.protobuf.json_format")
ALICE = Sighting(
    session_id=None,
    fact=RoomFact(kind="joined", connection="c", room="r", at_ms=0),
    room_name="den",
    identity="alice",
)


class LiveKit:
    """Answers as its protocol writes, to whom its own verifier believes; `said` is what it read."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.answer = api.ListParticipantsResponse()
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        grants = api.TokenVerifier(LIVEKIT_KEY, LIVEKIT_SECRET).verify(token).video
        known = {
            LIST_PATH: api.ListParticipantsRequest(),
            REMOVE_PATH: api.RoomParticipantIdentity(),
        }
        read = json_format.ParseDict(await request.json(), known[request.path])
        assert (grants.room_admin, grants.room) == (True, read.room)
        self.said.append(json_format.MessageToJson(read, indent=None))
        answer = self.answer if request.path == LIST_PATH else api.RemoveParticipantResponse()
        return web.Response(text=json_format.MessageToJson(answer), content_type="application/json")


@pytest.fixture
def livekit() -> LiveKit:
    return LiveKit()


@pytest.fixture
async def service(livekit: LiveKit) -> AsyncIterator[TwirpRoomService]:
    app = web.Application()
    app.router.add_post(LIST_PATH, livekit.handle)
    app.router.add_post(REMOVE_PATH, livekit.handle)
    outbound = Outbound(private_ok=True)
    async with TestServer(app) as listening:
        livekit.url = f"ws://127.0.0.1:{listening.port}"
        yield TwirpRoomService(
            key=LIVEKIT_KEY,
            sign=partial(hs256_token, secret=LIVEKIT_SECRET.encode()),
            clock=SystemClock(),
            outbound=outbound,
            servers=OneServer("livekit", livekit.url),
            names=RoomNames(b"throwaway", wallets_meet=True),
        )
        await outbound.aclose()


async def test_those_in_a_room_are_read_as_the_protocol_writes_them(
    livekit: LiveKit, service: TwirpRoomService
) -> None:
    info = api.ParticipantInfo
    livekit.answer.participants.extend(
        [
            info(
                sid="PA_1",
                identity="alice",
                state=info.State.ACTIVE,
                joined_at=1_700_000_001,
                attributes={"session_id": "s"},
            ),
            info(sid="PA_2", identity="bob", state=info.State.JOINING),
            info(sid="PA_3", identity="carol", state=info.State.DISCONNECTED),
        ]
    )

    found = await service.present("", server_url="", room_name="den")

    assert [json.loads(text) for text in livekit.said] == [{"room": "den"}]
    assert found == (
        Presence(
            connection="livekit/PA_1",
            identity="alice",
            joined_ms=1_700_000_001_000,
            is_ready=True,
            told_session="s",
        ),
        Presence(connection="livekit/PA_2", identity="bob", joined_ms=0, is_ready=False),
    )


async def test_an_empty_room_is_read_as_the_protocol_writes_it(service: TwirpRoomService) -> None:
    assert await service.present("", server_url="", room_name="den") == ()


async def test_a_participant_is_removed_as_the_protocol_asks(
    livekit: LiveKit, service: TwirpRoomService
) -> None:
    await service.remove(livekit.url, [ALICE])

    assert [json.loads(text) for text in livekit.said] == [{"room": "den", "identity": "alice"}]
