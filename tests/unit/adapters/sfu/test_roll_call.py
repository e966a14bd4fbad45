"""B7: what webhooks failed to tell is found by asking who is there."""

from __future__ import annotations

import asyncio
import json
from uuid import UUID

import pytest

from adapters.sfu.receiver import ROLL_MS
from domain.ports.room_events import Presence
from domain.use_cases.close_session import end_session
from domain.use_cases.roll_call import ASKING_MAX, STRANGERS_MAX
from tests.fakes.room_server import (
    MINUTE_MS,
    NODE,
    OTHER_NODE,
    Bouncer,
    Door,
    name_of,
    node_token,
)


async def roll(door: Door, *, after_ms: int = ROLL_MS) -> None:
    await door.house.clock.advance(after_ms)
    await door.roll()


async def used(door: Door, session_id: UUID) -> int:
    await end_session(door.house.gateway, door.account_id, session_id)
    return (await door.session(session_id)).used


async def test_who_is_missed_twice_in_a_row_left_when_missed_first(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")

    await roll(door, after_ms=10_000)
    await roll(door, after_ms=20_000)
    await door.house.clock.advance(MINUTE_MS)

    assert await used(door, session_id) == 10_000


async def test_who_is_missed_once_is_still_there(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")

    await roll(door, after_ms=10_000)
    door.bouncer.seat("PA_1")
    await roll(door, after_ms=10_000)
    door.bouncer.inside.clear()
    await roll(door, after_ms=10_000)
    await door.house.clock.advance(10_000)

    assert await used(door, session_id) == 40_000


async def test_who_was_missed_twice_by_mistake_and_is_seen_again_was_there_all_the_time(
    door: Door,
) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    await roll(door, after_ms=10_000)
    await roll(door, after_ms=10_000)

    door.bouncer.seat("PA_1")
    await roll(door, after_ms=10_000)

    assert await used(door, session_id) == 30_000


async def test_who_was_told_to_have_left_is_not_there_whatever_the_server_lists(
    door: Door,
) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(10_000)
    await door.tell(session_id, "participant_left")

    door.bouncer.seat("PA_1")
    await roll(door)

    assert await used(door, session_id) == 10_000


async def test_a_server_that_does_not_answer_leaves_all_as_it_is(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")

    door.bouncer.down = True
    for _ in range(3):
        await roll(door, after_ms=10_000)

    assert len(door.bouncer.asked) == 3
    assert await used(door, session_id) == 30_000


async def test_who_is_there_as_told_adds_no_facts(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined")
    door.bouncer.seat("PA_1")

    for _ in range(5):
        await roll(door)

    assert len(await door.log.sightings(session_id)) == 1


async def test_who_joined_without_our_hearing_of_it_pays_from_then(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.house.clock.advance(MINUTE_MS)

    door.bouncer.seat("PA_1", joined_ms=door.now_ms - 20_000)
    await roll(door, after_ms=0)
    await door.house.clock.advance(5_000)

    assert await used(door, session_id) == 25_000


async def test_the_webhook_that_comes_after_all_counts_and_not_the_servers_list(
    door: Door,
) -> None:
    session_id = await door.sell(minutes=60)
    await door.house.clock.advance(MINUTE_MS)
    joined = door.event("participant_joined")
    door.bouncer.seat("PA_1", joined_ms=door.now_ms - 3_000)

    await roll(door, after_ms=10_000)
    await door.post(joined, session_id)
    await door.follow()

    # Media flowed later than the server noted a participant.
    assert await used(door, session_id) == 10_000


@pytest.mark.parametrize("joined_ms", [0, 99_000_000_000_000, 1])
async def test_a_time_of_joining_that_cannot_be_costs_nobody_more(
    door: Door, joined_ms: int
) -> None:
    session_id = await door.sell(minutes=60)
    await door.house.clock.advance(MINUTE_MS)

    door.bouncer.seat("PA_1", joined_ms=joined_ms)
    await roll(door, after_ms=0)
    await door.house.clock.advance(5_000)

    # Nobody was there before the session was sold.
    assert await used(door, session_id) == (65_000 if joined_ms == 1 else 5_000)


async def test_who_has_no_media_yet_does_not_pay_yet_and_is_not_missed(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    door.bouncer.seat("PA_1", is_ready=False)
    await roll(door)
    unseen = await door.log.sightings(session_id)

    await door.tell(session_id, "participant_joined")
    await roll(door)

    assert unseen == ()
    assert len(await door.log.sightings(session_id)) == 1


async def test_strangers_of_another_name_are_no_concern(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    door.bouncer.seat("PA_1", identity="mallory")
    door.bouncer.seat("PA_2", identity="")

    await roll(door)

    assert await door.log.sightings(session_id) == ()


async def test_a_stranger_who_outstays_the_session_is_removed(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    door.bouncer.seat("PA_1", identity="alice#screen")
    await roll(door, after_ms=10_000)

    await door.house.clock.advance(2 * MINUTE_MS)
    await door.follow()

    assert (await door.session(session_id)).reason == "spent"
    assert door.bouncer.removed == [("wss://node.test", "room-1", "alice#screen")]


async def test_a_connection_of_another_session_of_the_same_participant_is_not_paid_twice(
    door: Door,
) -> None:
    first = await door.sell(minutes=60)
    await door.tell(first, "participant_joined", "PA_1")
    await door.house.clock.advance(10_000)
    await door.tell(first, "participant_left", "PA_1")
    second = await door.sell(minutes=60)
    await door.tell(second, "participant_joined", "PA_2")
    door.bouncer.seat("PA_2")

    await roll(door, after_ms=MINUTE_MS)

    assert (await used(door, first), await used(door, second)) == (10_000, MINUTE_MS)


async def test_of_two_sessions_of_one_participant_the_newer_pays_for_a_stranger(
    door: Door,
) -> None:
    first = await door.sell(minutes=60)
    await door.house.clock.advance(1_000)
    second = await door.sell(minutes=60)
    door.bouncer.seat("PA_1")

    await roll(door, after_ms=0)
    await door.house.clock.advance(9_000)

    assert (await used(door, first), await used(door, second)) == (0, 9_000)


async def test_the_session_that_a_token_carried_pays_for_a_stranger(door: Door) -> None:
    first = await door.sell(minutes=60)
    await door.house.clock.advance(1_000)
    second = await door.sell(minutes=60)
    door.bouncer.seat("PA_1", told_session=str(first))

    await roll(door, after_ms=0)
    await door.house.clock.advance(9_000)

    assert (await used(door, first), await used(door, second)) == (9_000, 0)


async def test_a_server_that_makes_up_strangers_is_believed_a_few(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    for number in range(3 * STRANGERS_MAX):
        door.bouncer.seat(f"PA_{number}")

    await roll(door)

    assert len(await door.log.sightings(session_id)) == STRANGERS_MAX


async def test_every_node_with_a_connection_is_asked_about_its_own(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined", "PA_1")
    body = json.dumps(door.event("participant_joined", "PA_2")).encode()
    token = node_token(body, now_ms=door.now_ms, signer=OTHER_NODE)
    await door.post(body, session_id, token=token)
    await door.follow()
    door.bouncer.seat("PA_2", signer=OTHER_NODE)

    for _ in range(2):
        await roll(door, after_ms=10_000)
    await door.house.clock.advance(10_000)

    asked = {(name_of(NODE), "room-1"), (name_of(OTHER_NODE), "room-1")}
    assert set(door.bouncer.asked[:2]) == asked
    assert await used(door, session_id) == 30_000


async def test_a_room_that_is_over_ends_a_stranger_who_was_seen_in_it(door: Door) -> None:
    session_id = await door.sell(minutes=60)
    await door.tell(session_id, "participant_joined", "PA_1")
    await door.house.clock.advance(10_000)
    await door.tell(session_id, "participant_left", "PA_1")
    door.bouncer.seat("PA_2")
    await roll(door, after_ms=10_000)
    await door.house.clock.advance(10_000)

    await door.tell(session_id, "room_finished")

    session = await door.session(session_id)
    assert (session.reason, session.used) == ("room_finished", 20_000)


async def test_only_open_sessions_are_asked_about(door: Door) -> None:
    session_id = await door.sell()
    await end_session(door.house.gateway, door.account_id, session_id)

    await roll(door)

    assert door.bouncer.asked == []


class Slow(Bouncer):
    """Takes a turn to answer; `most` were asking at a time."""

    asking = most = 0

    async def present(
        self, server: str, *, server_url: str, room_name: str
    ) -> tuple[Presence, ...]:
        self.asking += 1
        self.most = max(self.most, self.asking)
        await asyncio.sleep(0)
        self.asking -= 1
        return ()


async def test_many_rooms_are_asked_about_a_few_at_a_time(door: Door) -> None:
    for number in range(10):
        await door.sell(minutes=1, identity=f"guest {number}")
    door.bouncer = slow = Slow()

    await door.roll()

    assert slow.most == ASKING_MAX
