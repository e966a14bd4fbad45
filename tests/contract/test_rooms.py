"""One suite for whatever hands out room tokens: both vendors', and the fake."""

from __future__ import annotations

import time
from dataclasses import replace

import jwt
import pytest

from adapters.room_settings import SANDBOX_ROOMS_KEY, SANDBOX_ROOMS_SECRET
from adapters.sfu.rooms import DTelecomRooms, LiveKitRooms, NoRooms
from domain.errors import NoCapacityError
from domain.ports.rooms import Join, Rooms
from tests.fakes.rooms import PaperRooms

JOIN = Join(
    account_id="99999999-2222-4333-8444-555555555555",
    session_id="11111111-2222-4333-8444-555555555555",
    room_name="room-1",
    identity="agent-1",
    metadata="",
    not_before_ms=1_700_000_000_000,
    expires_at_ms=1_700_000_600_000,
)


def dtelecom() -> Rooms:
    return DTelecomRooms(
        key=SANDBOX_ROOMS_KEY,
        secret=SANDBOX_ROOMS_SECRET,
        ws_url="wss://node.test",
        webhook_url="https://gateway.test/v1/webhooks/sfu",
    )


def livekit() -> Rooms:
    # Throwaway, as it says.
    return LiveKitRooms(key="APItest", secret="throwaway" * 5, ws_url="wss://node.test")


@pytest.fixture(params=[dtelecom, livekit, PaperRooms], ids=lambda make: make.__name__)
def rooms(request: pytest.FixtureRequest) -> Rooms:
    made: Rooms = request.param()
    return made


async def test_the_same_join_is_the_same_ticket(rooms: Rooms) -> None:
    first = await rooms.ticket(JOIN, client_ip="127.0.0.1")

    assert await rooms.ticket(JOIN, client_ip="127.0.0.1") == first


@pytest.mark.parametrize(
    "other",
    [
        replace(JOIN, account_id="88888888-2222-4333-8444-555555555555"),
        replace(JOIN, session_id="22222222-2222-4333-8444-555555555555"),
        replace(JOIN, room_name="room-2"),
        replace(JOIN, identity="agent-2"),
        replace(JOIN, metadata="{}"),
        replace(JOIN, not_before_ms=JOIN.not_before_ms - 1_000),
        replace(JOIN, expires_at_ms=JOIN.expires_at_ms + 1_000),
    ],
)
async def test_another_join_is_another_token(rooms: Rooms, other: Join) -> None:
    first = await rooms.ticket(JOIN, client_ip="")

    assert (await rooms.ticket(other, client_ip="")).token != first.token


async def test_the_url_is_a_host_without_a_path(rooms: Rooms) -> None:
    ticket = await rooms.ticket(JOIN, client_ip="not an address")

    assert ticket.ws_url == "wss://node.test"


async def test_livekits_own_kit_for_python_reads_our_token() -> None:
    api = pytest.importorskip("livekit.api", reason="LiveKit's kit is not installed")
    now_ms = time.time_ns() // 1_000_000
    join = replace(JOIN, not_before_ms=now_ms, expires_at_ms=now_ms + 60_000, metadata="{}")
    ticket = await livekit().ticket(join, client_ip="")

    read = api.TokenVerifier("APItest", "throwaway" * 5).verify(ticket.token)

    assert (read.identity, read.name, read.metadata) == ("agent-1", "agent-1", "{}")
    assert read.attributes == {"session_id": JOIN.session_id}
    assert read.video.room.endswith(".room-1")
    assert (read.video.room_join, read.video.can_publish, read.video.can_subscribe) == (True,) * 3
    assert (read.video.room_admin, read.video.room_create) == (None, None)
    with pytest.raises(jwt.InvalidTokenError):
        api.TokenVerifier("APItest", "another" * 5).verify(ticket.token)


async def test_no_rooms_is_no_capacity() -> None:
    with pytest.raises(NoCapacityError):
        await NoRooms().ticket(JOIN, client_ip="")
