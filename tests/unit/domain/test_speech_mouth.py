"""How a speaking connection paces its frames and chooses its voices."""

from __future__ import annotations

import pytest

from domain.errors import GatewayError, MalformedError, NoCapacityError
from domain.ports.speech import VoiceOptions
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import (
    FlushAsked,
    Flushed,
    Heard,
    Outbound,
    PingAsked,
    Pong,
    Refused,
    Rejected,
    SayAsked,
    SpeakingBegun,
    Spoken,
    VoiceChanged,
    VoiceChoice,
)
from domain.use_cases.speech_mouth import (
    FRAME_BYTES,
    FRAME_MS,
    LEAD_MS,
)
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import (
    DirectedSynthesizer,
    DirectedTranscriber,
    Peer,
    buy,
    speak,
    speaking,
    used_by,
)

AT_ONCE = LEAD_MS // FRAME_MS + 1
LONG_MS = 60_000


@pytest.fixture
def mouth() -> DirectedSynthesizer:
    return DirectedSynthesizer()


@pytest.fixture
def house(mouth: DirectedSynthesizer) -> House:
    return House(ear=DirectedTranscriber(), mouth=mouth)


@pytest.fixture
async def ticket(house: House) -> Ticket:
    return await buy(house, "tts", 1_000)


def say(text: str, **choice: str | float) -> SayAsked:
    return SayAsked(text, VoiceChoice(**choice))  # type: ignore[arg-type]  # a test's own choice


def kinds(told: list[Outbound]) -> list[str]:
    """The names of what was told, with runs of frames as one."""
    names: list[str] = []
    for message in told:
        name = type(message).__name__
        if name != "Spoken" or names[-1:] != ["Spoken"]:
            names.append(name)
    return names


def refusals(peer: Peer) -> list[GatewayError]:
    return [refused.refusal for refused in peer.told_of(Refused)]


async def test_a_text_is_told_begun_spoken_and_done(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("hello you"))
    await house.clock.advance(LONG_MS)

    assert kinds(peer.told) == ["Ready", "SpeakingBegun", "Spoken", "SpeakingDone"]
    assert peer.told_of(SpeakingBegun) == [SpeakingBegun("hello you")]


async def test_every_frame_has_20_ms_and_the_last_is_filled_up(house: House) -> None:
    house.mouth.ms_per_character = 7
    ticket = await buy(house, "tts", 1_000)
    peer = await speaking(house, ticket)

    await peer.ask(say("hello you"))
    await house.clock.advance(LONG_MS)

    frames = [spoken.frame for spoken in peer.told_of(Spoken)]
    whole = bytes([1]) * (5 * 7 * 96) + bytes([2]) * (4 * 7 * 96)
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    assert b"".join(frames) == whole.ljust(4 * FRAME_BYTES, b"\0")


async def test_frames_come_in_a_small_burst_and_then_one_every_20_ms(
    house: House, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)
    counts = []

    await peer.ask(say("a" * 20))
    for _ in range(5):
        counts.append(len(peer.told_of(Spoken)))
        await house.clock.advance(FRAME_MS)

    assert counts == [AT_ONCE, AT_ONCE + 1, AT_ONCE + 2, AT_ONCE + 3, AT_ONCE + 4]


async def test_a_late_engine_makes_no_burst_beyond_the_lead(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("ab " + "c" * 40))
    await house.clock.advance(200)
    mouth.pace.clear()
    await peer.ask(say("d" * 40))
    await house.clock.advance(5_000)
    before = len(peer.told_of(Spoken))

    mouth.pace.set()
    await settle()

    assert len(peer.told_of(Spoken)) - before == AT_ONCE


async def test_texts_follow_one_another_without_a_gap(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("a" * 10), say("b" * 10))
    await house.clock.advance(20 * FRAME_MS - LEAD_MS - FRAME_MS)

    assert len(peer.told_of(Spoken)) == 20
    assert peer.told_of(SpeakingBegun) == [SpeakingBegun("a" * 10), SpeakingBegun("b" * 10)]


async def test_the_engine_is_not_asked_far_ahead(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("immediately two three four five six"))

    assert mouth.made == ["immediately", " two", " three"]


async def test_a_peer_that_does_not_read_is_sent_nothing_more(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)
    peer.reading.clear()

    await peer.ask(say("a" * 50))
    await house.clock.advance(LONG_MS)

    assert len(peer.told_of(SpeakingBegun)) == 1
    assert peer.told_of(Spoken) == []


# Voices.


async def test_a_text_may_choose_for_itself(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket, voice="af_heart")

    await peer.ask(say("a", speed=1.5), say("b"))
    await house.clock.advance(1_000)

    assert mouth.asked == [
        ("a", VoiceOptions(voice="af_heart", speed=1.5)),
        ("b", VoiceOptions(voice="af_heart")),
    ]


async def test_an_unknown_voice_refuses_that_text_alone(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("a", voice="nobody"), say("b"))
    await house.clock.advance(1_000)

    assert isinstance(refusals(peer)[0], MalformedError)
    assert peer.told_of(SpeakingBegun) == [SpeakingBegun("b")]
    assert await used_by(house, ticket) == 1


async def test_an_unknown_voice_in_the_config_refuses_the_texts_that_use_it(
    house: House, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket, voice="nobody")

    await peer.ask(say("a"), say("b", voice="af_heart"))

    assert kinds(peer.told)[:3] == ["Ready", "Refused", "SpeakingBegun"]


async def test_a_changed_voice_counts_for_the_texts_that_follow(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(VoiceChanged(VoiceChoice(speed=0.5)), say("a"))
    await peer.ask(VoiceChanged(VoiceChoice(speed=9.0)), say("b"))
    await house.clock.advance(1_000)

    assert [options.speed for _, options in mouth.asked] == [0.5, 0.5]
    assert len(peer.told_of(Refused)) == 1


async def test_the_language_of_the_session_is_the_default(
    house: House, mouth: DirectedSynthesizer
) -> None:
    ticket = await buy(house, "tts", 100, language="ja")
    peer = await speaking(house, ticket)

    await peer.ask(say("a"))

    assert mouth.asked[0][1].language == "ja"


async def test_a_mouth_without_weights_ends_the_connection(house: House, ticket: Ticket) -> None:
    house.close_service("tts")
    peer = Peer(house.booth)

    await peer.ask(speak(ticket))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, NoCapacityError)


async def test_what_only_an_ear_can_do_is_refused(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(Heard(b"\0\0"), FlushAsked(), PingAsked())

    assert isinstance(refusals(peer)[0], MalformedError)
    assert peer.told[-2:] == [Flushed(), Pong()]
