"""B7: a room that everybody left is settled after a while, unless somebody is there after all."""

from __future__ import annotations

from uuid import UUID

from domain.use_cases.close_session import end_session
from tests.fakes.room_server import MINUTE_MS, Door

IDLE_MS = 5 * MINUTE_MS


async def used(door: Door, session_id: UUID) -> int:
    await end_session(door.house.gateway, door.account_id, session_id)
    return (await door.session(session_id)).used


async def test_a_room_that_nobody_is_in_any_more_is_settled_after_a_while(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(10_000)
    await door.tell(session_id, "participant_left")

    await door.house.clock.advance(IDLE_MS - 1)
    await door.follow(idle_ms=IDLE_MS)
    before = await door.session(session_id)
    await door.house.clock.advance(1)
    await door.follow(idle_ms=IDLE_MS)
    after = await door.session(session_id)

    assert before.is_open
    assert (after.reason, after.used) == ("idle", 10_000)


async def test_without_a_limit_no_room_is_idle(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    await door.tell(session_id, "participant_left")

    await door.house.clock.advance(10 * IDLE_MS)
    await door.follow(idle_ms=0)

    assert (await door.session(session_id)).is_open


async def test_a_room_that_nobody_ever_came_to_is_not_idle(door: Door) -> None:
    session_id = await door.sell(minutes=60)

    await door.house.clock.advance(2 * IDLE_MS)
    await door.follow(idle_ms=IDLE_MS)

    assert (await door.session(session_id)).is_open


async def test_who_came_back_without_our_hearing_of_it_keeps_a_room_from_being_idle(
    door: Door,
) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined", "PA_1")
    await door.tell(session_id, "participant_left", "PA_1")
    door.bouncer.seat("PA_2", joined_ms=door.now_ms + MINUTE_MS)

    await door.house.clock.advance(IDLE_MS)
    await door.follow(idle_ms=IDLE_MS)

    assert (await door.session(session_id)).is_open
    assert await used(door, session_id) == IDLE_MS - MINUTE_MS


async def test_a_room_that_cannot_be_asked_about_is_not_idle_yet(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    await door.tell(session_id, "participant_left")
    door.bouncer.down = True
    await door.house.clock.advance(IDLE_MS)

    await door.follow(idle_ms=IDLE_MS)
    unsure = (await door.session(session_id)).is_open
    door.bouncer.down = False
    await door.house.clock.advance(MINUTE_MS)
    await door.follow(idle_ms=IDLE_MS)

    assert unsure
    assert (await door.session(session_id)).reason == "idle"


async def test_who_comes_back_to_an_idle_session_that_was_settled_is_removed(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined", "PA_1")
    await door.tell(session_id, "participant_left", "PA_1")
    await door.house.clock.advance(IDLE_MS)
    await door.follow(idle_ms=IDLE_MS)

    await door.tell(session_id, "participant_joined", "PA_2")

    assert len(door.bouncer.removed) == 1
    assert (await door.session(session_id)).charged.value == 0
