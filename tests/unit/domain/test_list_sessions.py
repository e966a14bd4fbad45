"""B7: a room that is in use says since when, before the ledger knows."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from domain.ports.views import SessionRow
from domain.use_cases.close_session import end_session
from domain.use_cases.list_sessions import list_sessions
from tests.fakes.room_server import Door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


async def listed(door: Door) -> SessionRow:
    (row,) = await list_sessions(
        door.house.gateway, door.account_id, limit=9, offset=0, status=None
    )
    return row


async def test_a_room_nobody_was_in_has_not_begun(door: Door) -> None:
    await door.sell()

    assert (await listed(door)).started_at_ms is None


async def test_a_room_begins_when_somebody_first_joins_it(door: Door) -> None:
    session_id = await door.sell()
    await door.house.clock.advance(5_000)
    joined_at_ms = door.now_ms
    await door.tell(session_id, "participant_joined")
    at_once = await listed(door)
    await door.house.clock.advance(5_000)
    await door.tell(session_id, "participant_left")
    await door.tell(session_id, "participant_joined", "PA_2")
    later = await listed(door)

    assert (at_once.started_at_ms, later.started_at_ms) == (joined_at_ms, joined_at_ms)
    assert (later.status, later.reason) == ("active", "")


async def test_a_settled_room_began_when_its_list_said_so_before(door: Door) -> None:
    session_id = await door.sell()
    await door.house.clock.advance(5_000)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(5_000)
    before = await listed(door)

    await end_session(door.house.gateway, door.account_id, session_id)
    after = await listed(door)

    assert after.started_at_ms == before.started_at_ms
    assert (after.status, after.reason, after.ended_at_ms) == ("settled", "ended", door.now_ms)


async def test_what_is_no_open_room_is_listed_as_the_ledger_has_it(door: Door) -> None:
    session_id = await door.sell()
    await end_session(door.house.gateway, door.account_id, session_id)
    await door.tell(session_id, "participant_joined")

    assert (await listed(door)).started_at_ms is None
