"""Opening where a node is missing, and where two copies come at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from domain.account import Account
from domain.errors import ConflictingRequestError, NoCapacityError
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from tests.fakes.gateway import House

STT = SessionRequest(service="stt", quantity=60_000, language="en")
TTS = SessionRequest(service="tts", quantity=1_000)
ROOM = SessionRequest(service="webrtc", quantity=60_000, room_name="room", identity="who")


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 100_000)


async def account(house: House, account_id: UUID) -> Account:
    return await house.books.run(lambda work: work.account(account_id))


async def test_a_room_without_a_node_reserves_nothing(house: House, account_id: UUID) -> None:
    house.rooms.full = True

    for attempt in (
        open_session(house.gateway, account_id, ROOM),
        open_bundle(house.gateway, account_id, [STT, ROOM]),
    ):
        with pytest.raises(NoCapacityError):
            await attempt

    found = await account(house, account_id)
    assert found.available.value == 100_000
    assert found.reserved == {}


async def test_copies_with_other_content_leave_the_names_of_the_first(
    house: House, account_id: UUID
) -> None:
    other = replace(ROOM, room_name="elsewhere")

    done = await asyncio.gather(
        open_session(house.gateway, account_id, ROOM, request_key="k"),
        open_session(house.gateway, account_id, other, request_key="k"),
        return_exceptions=True,
    )

    assert isinstance(done[0], Ticket)
    assert isinstance(done[1], ConflictingRequestError)
    found = await house.details.find([done[0].session_id])
    assert found[done[0].session_id].room_name == "room"


async def test_a_bundle_of_characters_alone_lives_as_characters_do(
    house: House, account_id: UUID
) -> None:
    tickets = await open_bundle(house.gateway, account_id, [TTS, TTS])

    lifetime_ms = tickets[0].expires_at_ms - house.clock.now_ms()
    assert lifetime_ms == house.gateway.terms.tts_lifetime_ms
