"""What a listening connection does with what it is asked."""

from __future__ import annotations

import pytest

from domain.ports.speech import HearingOptions, SpeechEnded, SpeechStarted, Transcript
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import (
    ClearAsked,
    FlushAsked,
    Flushed,
    Heard,
    ListenChanged,
    PingAsked,
    Pong,
    Ready,
    Refused,
    Rejected,
    ResetAsked,
    TooLarge,
    WasReset,
)
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import (
    DirectedSynthesizer,
    DirectedTranscriber,
    Peer,
    buy,
    listen,
    listening,
    session_of,
    speak,
)

MINUTE_MS = 60_000


@pytest.fixture
def ear() -> DirectedTranscriber:
    return DirectedTranscriber()


@pytest.fixture
def house(ear: DirectedTranscriber) -> House:
    return House(ear=ear, mouth=DirectedSynthesizer())


@pytest.fixture
async def ticket(house: House) -> Ticket:
    return await buy(house, "stt", 5 * MINUTE_MS)


async def test_audio_behind_the_config_waits_for_the_engine(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    ear.opening.clear()
    peer = Peer(house.booth)
    await peer.ask(listen(ticket), Heard(b"\1\2\3"), Heard(b"\4"))
    unread = peer.unread

    ear.opening.set()
    await settle()

    assert unread == 2
    assert bytes(ear.streams[0].heard) == b"\1\2\3\4"


async def test_a_slow_engine_stops_the_reading(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    ear.streams[0].taking.clear()

    await peer.ask(*[Heard(b"\0\0")] * 5)

    assert peer.unread == 4


async def test_what_is_heard_is_told_in_order(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    phrase = Transcript(
        text="hello", is_final=True, language="en", start_ms=10, end_ms=900, latency_ms=300
    )
    peer = await listening(house, ticket)

    for event in (SpeechStarted(10), SpeechEnded(900), phrase):
        ear.streams[0].say(event)
    await settle()

    assert peer.told[1:] == [SpeechStarted(10), SpeechEnded(900), phrase]


async def test_flush_and_reset_reach_the_engine(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)

    await peer.ask(FlushAsked(), ResetAsked())

    assert peer.told[1:] == [Flushed(), WasReset()]
    assert (ear.streams[0].flushes, ear.streams[0].resets) == (1, 1)


async def test_a_new_config_is_answered_by_a_new_ready(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)

    await peer.ask(ListenChanged(HearingOptions(language="es", model="whisper")))
    forced = ear.streams[0].options
    await peer.ask(ListenChanged(HearingOptions(language="")))

    assert forced == HearingOptions(language="es", model="whisper")
    assert ear.streams[0].options == HearingOptions(language="es", model="")
    assert [ready.language for ready in peer.told_of(Ready)] == ["en", "es", "es"]


async def test_a_refused_config_changes_nothing(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)

    await peer.ask(ListenChanged(HearingOptions(language="xx")), Heard(b"\0\0"))

    assert len(peer.told_of(Refused)) == 1
    assert ear.streams[0].options.language == "en"
    assert bytes(ear.streams[0].heard) == b"\0\0"


async def test_what_only_a_mouth_can_do_is_refused(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)

    await peer.ask(ClearAsked(), PingAsked())

    assert len(peer.told_of(Refused)) == 1
    assert peer.told[-1] == Pong()


async def test_a_frame_too_large_ends_the_connection(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)

    await peer.ask(TooLarge(1_048_576))

    assert await peer.task == TooLarge(1_048_576)
    assert not (await session_of(house, ticket.session_id)).is_running


async def test_a_listening_key_does_not_speak(house: House, ticket: Ticket) -> None:
    peer = Peer(house.booth)

    await peer.ask(speak(ticket))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert "stt" in str(farewell.refusal)
