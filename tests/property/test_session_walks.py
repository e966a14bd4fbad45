"""Customers who open, extend, repeat and end in any order: every answer is one of the contract's.

What holds each answer to the document is `Street.call`; what chance draws here is the order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.gateway import Terms
from tests.fakes.gateway import House
from tests.fakes.street import Answer, Street

TERMS = Terms(units_max=1_000, api_rate_max=1_000)
ROOM: dict[str, object] = {"room_name": "r", "participant_identity": "p"}
KEYS = st.sampled_from(["", "", "a", "b"])
MINUTES = st.sampled_from([0.001, 1, 60])
WHICH = st.integers(0, 99)


@dataclass
class Walk:
    """What was opened on the way."""

    street: Street
    sessions: list[str] = field(default_factory=list)
    bundles: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    async def post(self, path: str, body: dict[str, Any] | None, key: str) -> Answer:
        answer = await self.street.post(path, body, key=key)
        self.answers.append(answer.status)
        assert answer.status < 500, answer.text
        return answer

    def learn(self, part: dict[str, Any]) -> None:
        """Every session that an answer names, however deep."""
        self.sessions += [part["session_id"]] if "session_id" in part else []
        for inner in part.values():
            if isinstance(inner, dict):
                self.learn(inner)


Step = Callable[[Walk], Any]


@st.composite
def opening(draw: st.DrawFn) -> Step:
    minutes, key = draw(MINUTES), draw(KEYS)
    path, asked = draw(
        st.sampled_from(
            [
                ("/v1/agent-session", {**ROOM, "duration_minutes": minutes}),
                (
                    "/v1/agent-session",
                    {**ROOM, "duration_minutes": minutes, "client_identity": "c"},
                ),
                ("/v1/webrtc/token", {**ROOM, "duration_minutes": minutes}),
                ("/v1/stt/session", {"duration_minutes": minutes}),
                ("/v1/tts/session", {"max_characters": 5}),
            ]
        )
    )

    async def step(walk: Walk) -> None:
        answer = await walk.post(path, asked, key)
        if answer.status == 200:
            walk.learn(answer.json)
            walk.bundles += [answer.json["bundle_id"]] if "bundle_id" in answer.json else []

    return step


@st.composite
def extension(draw: st.DrawFn) -> Step:
    which, key, minutes = draw(WHICH), draw(KEYS), draw(MINUTES)
    service = draw(st.sampled_from(["webrtc/token", "stt/session", "tts/session", "agent-session"]))
    characters = draw(st.sampled_from([1, 10**6]))

    async def step(walk: Walk) -> None:
        known = walk.bundles if service == "agent-session" else walk.sessions
        if known:
            chosen = known[which % len(known)]
            body = {
                "session_id": chosen,
                "bundle_id": chosen,
                "additional_minutes": minutes,
                "additional_characters": characters,
                "additional_tts_characters": characters,
            }
            await walk.post(f"/v1/{service}/extend", body, key)

    return step


@st.composite
def ending(draw: st.DrawFn) -> Step:
    which, whole = draw(WHICH), draw(st.sampled_from([False, False, True]))

    async def step(walk: Walk) -> None:
        known = walk.bundles if whole else walk.sessions
        if known:
            kind = "agent-session" if whole else "sessions"
            await walk.post(f"/v1/{kind}/{known[which % len(known)]}/end", None, "")

    return step


@st.composite
def waiting(draw: st.DrawFn) -> Step:
    passed_ms = draw(st.sampled_from([1_000, 60_000, 3_600_000]))

    async def step(walk: Walk) -> None:
        await walk.street.house.clock.advance(passed_ms)

    return step


@st.composite
def forgetting(draw: st.DrawFn) -> Step:
    """Names are personal and may be deleted at any time."""
    which = draw(WHICH)

    async def step(walk: Walk) -> None:
        if walk.sessions:
            forgotten = walk.sessions[which % len(walk.sessions)]
            await walk.street.house.details.delete([UUID(forgotten)])

    return step


STEPS = st.one_of(opening(), extension(), extension(), ending(), waiting(), forgetting())


async def walked(steps: list[Step], credit: int) -> Walk:
    street = Street(House(terms=TERMS))
    await street.open()
    await street.fund(credit)
    walk = Walk(street)
    try:
        for step in [begin, *steps]:
            await step(walk)
    finally:
        await street.close()
    return walk


async def begin(walk: Walk) -> None:
    """There is always a bundle for two to begin with."""
    asked = {**ROOM, "duration_minutes": 1, "client_identity": "c", "tts_max_characters": 5}
    answer = await walk.post("/v1/agent-session", asked, "")
    walk.learn(answer.json)
    walk.bundles.append(answer.json["bundle_id"])


@pytest.mark.parametrize("credit", [100_000, 10**9])
def test_no_order_of_calls_gets_an_answer_that_is_not_in_the_contract(credit: int) -> None:
    @settings(settings.default, max_examples=settings.default.max_examples // 2)
    @given(steps=st.lists(STEPS, max_size=20))
    def holds(steps: list[Step]) -> None:
        walk = asyncio.run(walked(steps, credit))

        assert walk.answers[0] == 200

    holds()
