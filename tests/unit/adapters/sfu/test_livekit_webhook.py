"""Webhooks of a LiveKit server: its own signature, its own way to name the session."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from adapters.sfu.rooms import hs256_token
from tests.fakes.room_server import (
    LIVEKIT_KEY,
    LIVEKIT_SECRET,
    Door,
    encoded,
    livekit_token,
    node_token,
    standard_hash,
)


@pytest.fixture
async def livekit() -> AsyncIterator[Door]:
    door = Door("livekit")
    await door.open()
    yield door
    await door.close()


def another_secret(body: bytes, now_ms: int) -> str:
    now = now_ms // 1000
    claims = {"iss": LIVEKIT_KEY, "nbf": now, "exp": now + 300, "sha256": standard_hash(body)}
    return hs256_token(claims, LIVEKIT_SECRET[1:].encode())


def urlsafe(body: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")


def unsigned(token: str) -> str:
    claims = token.split(".")[1]
    return f"{encoded({'alg': 'none'})}.{claims}."


def attended(session_id: UUID) -> dict[str, Any]:
    return {
        "participant": {
            "sid": "PA_1",
            "identity": "alice",
            "attributes": {"session_id": str(session_id)},
        },
        "room": {"sid": "RM_1", "name": "room-1"},
    }


async def test_livekit_bills_by_the_session_in_the_attributes(livekit: Door) -> None:
    session_id = await livekit.sell()
    room = {"room": {"sid": "RM_1", "name": "room-1"}}

    await livekit.post(livekit.event("participant_joined", **attended(session_id)))
    await livekit.follow()
    await livekit.house.clock.advance(12_000)
    await livekit.post(livekit.event("room_finished", **room))
    await livekit.follow()

    session = await livekit.session(session_id)
    assert (session.reason, session.used) == ("room_finished", 12_000)


async def test_a_livekit_room_that_was_over_before_its_guest_was_read_is_over(
    livekit: Door,
) -> None:
    session_id = await livekit.sell()
    joined = livekit.event("participant_joined", **attended(session_id))
    await livekit.house.clock.advance(9_000)

    await livekit.post(livekit.event("room_finished", room={"sid": "RM_1", "name": "room-1"}))
    await livekit.follow()
    await livekit.post(joined)
    await livekit.follow()

    assert (await livekit.session(session_id)).used == 9_000


LIVEKIT_TOKENS: dict[str, Callable[[bytes, int], str]] = {
    "another issuer": lambda b, now: livekit_token(b, now_ms=now, iss="API"),
    "another secret": another_secret,
    "no exp": lambda b, now: livekit_token(b, now_ms=now, exp=None),
    "expired": lambda b, now: livekit_token(b, now_ms=now, exp=now // 1000 - 61),
    "no hash": lambda b, now: livekit_token(b, now_ms=now, sha256=None),
    "hash in hex": lambda b, now: livekit_token(
        b, now_ms=now, sha256=hashlib.sha256(b).hexdigest()
    ),
    "hash in base64url": lambda b, now: livekit_token(b, now_ms=now, sha256=urlsafe(b)),
    "hash of another body": lambda b, now: livekit_token(b + b" ", now_ms=now),
    "not yet": lambda b, now: livekit_token(b, now_ms=now, nbf=now // 1000 + 61),
    "alg none": lambda b, now: unsigned(livekit_token(b, now_ms=now)),
    "Bearer": lambda b, now: "Bearer " + livekit_token(b, now_ms=now),
    "a customer's room token": lambda _, now: hs256_token(
        {"iss": LIVEKIT_KEY, "sub": "alice", "video": {"room": "r"}, "exp": now // 1000 + 60},
        LIVEKIT_SECRET.encode(),
    ),
    "nothing": lambda *_: "",
    "garbage": lambda *_: "garbage",
    "two parts": lambda b, now: livekit_token(b, now_ms=now).rpartition(".")[0],
    "a node's token": lambda b, now: node_token(b, now_ms=now),
}


@pytest.mark.parametrize("case", LIVEKIT_TOKENS)
async def test_a_webhook_that_livekit_did_not_sign_is_refused(livekit: Door, case: str) -> None:
    body = json.dumps(livekit.event("participant_joined")).encode()

    status, _ = await livekit.post(body, token=LIVEKIT_TOKENS[case](body, livekit.now_ms))

    assert status == 401


async def test_livekit_events_without_a_session_are_ignored(livekit: Door) -> None:
    await livekit.post(livekit.event("participant_joined"))
    await livekit.post(
        livekit.event("participant_joined", participant={"attributes": {"session_id": "x"}})
    )
    await livekit.follow()

    assert await livekit.post(livekit.event("egress_started")) == (200, {"status": "ignored"})
    assert await livekit.log.unread(10) == ()


async def test_a_loss_is_noted_whatever_event_tells_of_it(livekit: Door) -> None:
    await livekit.post(livekit.event("track_published", numDropped=0))
    await livekit.follow()
    before = await livekit.log.lost_at_ms()

    answer = await livekit.post(livekit.event("track_published", numDropped=2))
    await livekit.follow()

    assert answer == (200, {"status": "stored"})
    assert (before, await livekit.log.lost_at_ms()) == (0, livekit.now_ms)


async def test_another_participant_of_the_same_room_is_not_billed_for_the_first(
    livekit: Door,
) -> None:
    session_id = await livekit.sell()
    bob = attended(session_id)
    bob["participant"]["identity"] = "bob"

    await livekit.post(livekit.event("participant_joined", **bob))
    await livekit.follow()

    assert await livekit.log.sightings(session_id) == ()
