"""B7: rooms are billed from the webhooks of room servers, as they really come."""

from __future__ import annotations

import asyncio
import json

from adapters.keys import check_signature
from domain.audit import verify_bill
from domain.use_cases.close_session import end_session
from domain.use_cases.read_bill import read_bill
from domain.use_cases.reconcile import settle_due_sessions
from domain.use_cases.room_events import REMOVALS_MAX
from tests.fakes.log import SIGNER_KEY
from tests.fakes.room_server import MINUTE_MS, OTHER_NODE, Door, node_token


async def test_time_in_the_room_is_billed_and_the_rest_comes_back(door: Door) -> None:
    session_id = await door.sell(minutes=10)

    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(90_000)
    await door.tell(session_id, "participant_left")
    await door.house.clock.advance(MINUTE_MS)
    await door.tell(session_id, "room_finished")

    session = await door.session(session_id)
    assert (session.reason, session.used) == ("room_finished", 90_000)
    assert (session.charged.value, session.refunded.value) == (1_500, 8_500)


async def test_the_bill_of_a_room_verifies(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(30_000)

    await end_session(door.house.gateway, door.account_id, session_id)
    bill = await read_bill(door.house.gateway, door.account_id, session_id)

    verdict = verify_bill(bill, check=check_signature, trusted=SIGNER_KEY)
    assert (verdict.charged, verdict.refunded) == (500, 9_500)


async def test_the_order_in_which_webhooks_come_does_not_matter(door: Door) -> None:
    session_id = await door.sell()
    joined = door.event("participant_joined")
    await door.house.clock.advance(60_000)
    left = door.event("participant_left")

    await door.post(left, session_id)
    await door.post(joined, session_id)
    await door.follow()
    await door.tell(session_id, "room_finished")

    assert (await door.session(session_id)).used == 60_000


async def test_a_reconnect_with_another_connection_counts_once(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined", "PA_1")
    await door.house.clock.advance(30_000)
    await door.tell(session_id, "participant_joined", "PA_2")
    await door.house.clock.advance(10_000)
    await door.tell(session_id, "participant_left", "PA_1")
    await door.house.clock.advance(20_000)

    await end_session(door.house.gateway, door.account_id, session_id)

    assert (await door.session(session_id)).used == 60_000


async def test_a_second_publishing_connection_of_one_token_is_the_same_participant(
    door: Door,
) -> None:
    session_id = await door.sell()
    body = door.event("participant_joined", participant={"sid": "PA_9", "identity": "alice#screen"})

    await door.post(body, session_id)
    await door.follow()
    await door.house.clock.advance(5_000)
    await end_session(door.house.gateway, door.account_id, session_id)

    assert (await door.session(session_id)).used == 5_000


async def test_room_finished_ends_who_was_never_seen_to_leave(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(45_000)

    await door.tell(session_id, "room_finished")

    session = await door.session(session_id)
    assert (session.reason, session.used) == ("room_finished", 45_000)


async def test_nobody_who_never_joined_pays(door: Door) -> None:
    session_id = await door.sell()

    await end_session(door.house.gateway, door.account_id, session_id)

    assert (await door.session(session_id)).charged.value == 0


async def test_who_stays_longer_than_paid_for_is_settled_and_removed(door: Door) -> None:
    session_id = await door.sell(minutes=1)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(2 * MINUTE_MS)

    await door.follow()

    session = await door.session(session_id)
    assert (session.reason, session.charged) == ("spent", session.reserved)
    assert door.bouncer.removed == [("wss://node.test", "room-1", "alice")]


async def test_at_expiry_the_participant_is_removed(door: Door) -> None:
    session_id = await door.sell(minutes=10)
    session = await door.session(session_id)
    await door.house.clock.advance(session.expires_at_ms - door.now_ms - 20_000)
    await door.tell(session_id, "participant_joined")
    await door.house.clock.advance(20_000)

    await settle_due_sessions(door.house.gateway)
    await door.follow()

    session = await door.session(session_id)
    assert (session.reason, session.used) == ("expired", 20_000)
    assert len(door.bouncer.removed) == 1


async def test_the_end_of_a_session_removes_the_participant_at_the_next_look(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")

    await end_session(door.house.gateway, door.account_id, session_id)
    await door.follow()
    await door.follow()

    assert len(door.bouncer.removed) == 1


async def test_who_comes_back_after_the_end_is_removed_and_not_charged(door: Door) -> None:
    session_id = await door.sell()
    await end_session(door.house.gateway, door.account_id, session_id)

    await door.tell(session_id, "participant_joined")

    assert len(door.bouncer.removed) == 1
    assert (await door.session(session_id)).charged.value == 0


async def test_removal_is_tried_a_bounded_number_of_times_and_holds_up_nothing(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    door.bouncer.down = True

    await end_session(door.house.gateway, door.account_id, session_id)
    for _ in range(3 * REMOVALS_MAX):
        await door.follow()
        await door.house.clock.advance(10 * MINUTE_MS)

    assert not (await door.session(session_id)).is_open
    assert door.bouncer.tries == REMOVALS_MAX


async def test_a_delivery_that_was_stored_before_a_crash_is_read_after_it(door: Door) -> None:
    session_id = await door.sell()
    await door.post(door.event("participant_joined"), session_id)
    await door.house.clock.advance(7_000)

    # Nothing was read before: the next process finds it in the store.
    await door.follow()
    await end_session(door.house.gateway, door.account_id, session_id)

    assert (await door.session(session_id)).used == 7_000


async def test_rooms_of_two_nodes_end_each_for_itself(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    body = door.event("participant_joined", "PA_7")
    raw = json.dumps(body).encode()
    token = node_token(raw, now_ms=door.now_ms, signer=OTHER_NODE)
    await door.post(raw, session_id, token=token)
    await door.follow()
    await door.house.clock.advance(10_000)

    await door.tell(session_id, "room_finished")

    assert (await door.session(session_id)).is_open


async def test_many_webhooks_at_once_are_all_stored_and_read(door: Door) -> None:
    session_id = await door.sell()
    bodies = [door.event("participant_joined", f"PA_{number}") for number in range(300)]

    answers = await asyncio.gather(*[door.post(body, session_id) for body in bodies])
    await door.follow()

    assert {told["status"] for _, told in answers} == {"stored"}
    assert len(await door.log.sightings(session_id)) == 300


async def test_who_left_a_moment_ago_is_not_billed_until_the_end(door: Door) -> None:
    """Stored and not read yet: whoever ends the session reads it first."""
    session_id = await door.sell()
    await door.post(door.event("participant_joined"), session_id)
    await door.house.clock.advance(10_000)
    await door.post(door.event("participant_left"), session_id)
    await door.house.clock.advance(5_000)

    ended = await end_session(door.house.gateway, door.account_id, session_id)

    assert ended.used == 10_000


async def test_who_came_back_with_a_newer_session_is_not_removed_for_the_older(door: Door) -> None:
    """Servers remove by name; once the newer one has left, whoever is there outstays."""
    older = await door.sell()
    await door.tell(older, "participant_joined", "PA_1")
    newer = await door.sell()
    await door.tell(newer, "participant_joined", "PA_2")

    await end_session(door.house.gateway, door.account_id, older)
    await door.follow()
    spared = list(door.bouncer.removed)
    await door.tell(newer, "participant_left", "PA_2")
    await door.house.clock.advance(MINUTE_MS)
    await door.follow()

    assert spared == []
    assert len(door.bouncer.removed) == 1
