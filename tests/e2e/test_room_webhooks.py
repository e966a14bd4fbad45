"""B7: what a room server tells again, too late or not at all, and what is billed of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.room_street import RoomStreet, room_street
from tests.fakes.sfu_caller import QuietCaller

ORDER: dict[str, object] = {
    "room_name": "lesson",
    "participant_identity": "alice",
    "duration_minutes": 1,
}


@pytest.fixture
async def street(tmp_path: Path) -> AsyncIterator[RoomStreet]:
    async with room_street(tmp_path) as street:
        yield street


async def a_call(street: RoomStreet, duration_ms: int) -> dict[str, Any]:
    """Alice is in a room for so long, and is gone; how her session was settled after that."""
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", ORDER)
    caller = await QuietCaller.call(sold["ws_url"], sold["token"])
    await caller.joined()
    await asyncio.sleep(duration_ms / 1_000)
    await caller.leave()
    await street.told("room_finished", "")
    for _ in range(100):
        shown = await customer.call("GET", "/v1/account/sessions?status=settled")
        if shown["sessions"]:
            break
        await asyncio.sleep(0.1)
    return await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")


@pytest.mark.parametrize("lost", ["participant_joined", "participant_left"])
async def test_where_one_webhook_is_lost_the_others_say_enough(
    street: RoomStreet, lost: str
) -> None:
    street.sfu.herald.swallowed.add(lost)

    ended = await a_call(street, 1_500)

    (visit,) = street.sfu.visits
    assert visit.joined_s is not None
    assert visit.left_s is not None
    assert ended["reason"] == "room_finished"
    # The room ends half a second after the last has left, and its second is all there is.
    assert 0 <= ended["used"] <= (visit.left_s + 1 - visit.joined_s) * 1_000
    assert ended["used"] >= (visit.left_s - visit.joined_s - 1) * 1_000


async def test_a_second_connection_of_one_token_is_the_same_guest(street: RoomStreet) -> None:
    """It counts once while both last, and alone when the first is gone."""
    customer = await street.customer()
    sold = await customer.call("POST", "/v1/webrtc/token", ORDER)
    begun_s = int(time.time())
    first = await QuietCaller.call(sold["ws_url"], sold["token"])
    second = await QuietCaller.call(sold["ws_url"], sold["token"], publish="screen")
    joined = [(await caller.joined()).participant.identity for caller in (first, second)]

    await asyncio.sleep(1)
    await first.leave()
    await asyncio.sleep(1.1)
    await second.leave()
    status = await street.told("participant_left", "alice#screen")
    await asyncio.sleep(0.5)
    ended = await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")

    left_s = max(visit.left_s or 0 for visit in street.sfu.visits)
    assert joined == ["alice", "alice#screen"]
    assert status == 200
    assert 1_000 < ended["used"] <= (left_s - begun_s) * 1_000


async def test_a_webhook_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    """LiveKit repeats whatever it got no answer to."""
    async with room_street(tmp_path, "livekit") as street:
        street.sfu.herald.answers_lost = 3
        customer = await street.customer()
        sold = await customer.call("POST", "/v1/webrtc/token", ORDER)
        begun_s = int(time.time())
        caller = await QuietCaller.call(sold["ws_url"], sold["token"])
        await caller.joined()
        await asyncio.sleep(1.1)
        await caller.leave()
        status = await street.told("participant_left", "alice")
        await asyncio.sleep(1)
        ended = await customer.call("POST", f"/v1/sessions/{sold['session_id']}/end")
        tries = [told.tries for told in street.sfu.herald.told if told.identity]

    (visit,) = street.sfu.visits
    assert (status, tries) == (200, [4, 1])
    assert 0 < ended["used"] <= ((visit.left_s or 0) - begun_s) * 1_000
