"""Which characters a speaking connection bills (B6), and what it refuses to begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import GatewayError, MalformedError, NoCapacityError
from domain.use_cases.extend_session import extend_session
from domain.use_cases.meter import Extended, Over
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import (
    ClearAsked,
    Cleared,
    Outbound,
    Ready,
    Refused,
    SayAsked,
    SpeakingBegun,
    SpeakingDone,
    Spoken,
    TooFewCharacters,
    TooManyTexts,
    VoiceChoice,
)
from domain.use_cases.speech_mouth import (
    FRAME_MS,
    LEAD_MS,
    TEXT_CHARACTERS_MAX,
    TEXTS_MAX,
)
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import (
    DirectedSynthesizer,
    DirectedTranscriber,
    Peer,
    buy,
    session_of,
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


async def test_characters_are_billed_when_their_first_frame_is_sent(
    house: House, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("immediately two"))

    first = await used_by(house, ticket)
    await house.clock.advance(len("immediately") * FRAME_MS - LEAD_MS - 1)
    before = await used_by(house, ticket)
    await house.clock.advance(1)

    assert (first, before) == (11, 11)
    assert await used_by(house, ticket) == len("immediately two")


async def test_characters_are_code_points(house: House, ticket: Ticket) -> None:
    text = "né 🎈日本"
    peer = await speaking(house, ticket)

    await peer.ask(say(text))
    await house.clock.advance(LONG_MS)

    assert await used_by(house, ticket) == 6


async def test_clear_bills_only_what_was_begun(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("a" * 30 + " " + "b" * 30), say("c" * 30))
    await house.clock.advance(100)

    await peer.ask(ClearAsked())
    await house.clock.advance(LONG_MS)

    assert await used_by(house, ticket) == 30
    assert kinds(peer.told) == ["Ready", "SpeakingBegun", "Spoken", "Cleared"]


async def test_clear_leaves_the_rest_to_other_texts(house: House) -> None:
    ticket = await buy(house, "tts", 100)
    peer = await speaking(house, ticket)
    await peer.ask(say("a" * 20 + " " + "b" * 39), say("c" * 40))

    await peer.ask(ClearAsked(), say("d" * 80))
    await house.clock.advance(1_500)

    assert peer.told_of(TooFewCharacters) == []
    assert await used_by(house, ticket) == 100


async def test_clear_frees_the_engine(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("one two three four five six"))

    await peer.ask(ClearAsked())

    assert mouth.closed == 1


async def test_after_clear_the_next_text_is_spoken_at_once(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("a" * 100))

    await peer.ask(ClearAsked(), say("b"))
    await house.clock.advance(0)

    assert kinds(peer.told)[-4:] == ["Cleared", "SpeakingBegun", "Spoken", "SpeakingDone"]


async def test_clear_of_nothing_is_answered(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(ClearAsked())

    assert peer.told[-1] == Cleared()


async def test_a_refused_text_is_not_billed_and_gives_its_characters_back(
    house: House, mouth: DirectedSynthesizer
) -> None:
    ticket = await buy(house, "tts", 10)
    peer = await speaking(house, ticket)
    mouth.refusal = NoCapacityError(service="tts")
    await peer.ask(say("a" * 10))
    refused = await used_by(house, ticket)
    mouth.refusal = None

    await peer.ask(say("b" * 10))

    assert refused == 0
    assert isinstance(refusals(peer)[0], NoCapacityError)
    assert kinds(peer.told) == ["Ready", "SpeakingBegun", "Refused", "SpeakingBegun", "Spoken"]


async def test_an_engine_that_breaks_bills_only_what_was_begun(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("immediately two three four five"))
    mouth.failure = RuntimeError("weights are gone")
    await house.clock.advance(LONG_MS)

    with pytest.raises(ExceptionGroup) as raised:
        await peer.task

    assert raised.group_contains(RuntimeError, match="weights are gone")
    assert await used_by(house, ticket) == len("immediately")


async def test_a_text_refused_in_its_middle_ends_with_its_last_whole_frame(
    house: House, mouth: DirectedSynthesizer, ticket: Ticket
) -> None:
    mouth.ms_per_character = 7
    mouth.fails_after = 1
    mouth.failure = NoCapacityError(service="tts")
    peer = await speaking(house, ticket)

    await peer.ask(say("hello you"))
    await house.clock.advance(LONG_MS)

    assert kinds(peer.told) == ["Ready", "SpeakingBegun", "Spoken", "Refused"]
    assert len(peer.told_of(Spoken)) == 1
    assert await used_by(house, ticket) == len("hello")


async def test_a_text_without_sound_is_done_and_free(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("…"))

    assert kinds(peer.told) == ["Ready", "SpeakingBegun", "SpeakingDone"]
    assert await used_by(house, ticket) == 0


async def test_a_piece_without_sound_is_free(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(say("ab … cd"))
    await house.clock.advance(LONG_MS)

    assert await used_by(house, ticket) == len("ab") + len(" cd")


async def test_a_dropped_connection_bills_only_what_was_begun(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)
    await peer.ask(say("a" * 30 + " " + "b" * 30))

    await peer.hang_up()
    await house.clock.advance(LONG_MS)

    assert await used_by(house, ticket) == 30


async def test_a_connection_that_takes_over_knows_what_the_older_one_spoke(
    house: House, ticket: Ticket
) -> None:
    older = await speaking(house, ticket)
    await older.ask(say("a" * 30))

    newer = await speaking(house, ticket)

    assert newer.told_of(Ready)[0].remaining == 970


async def test_a_second_connection_counts_on(house: House, ticket: Ticket) -> None:
    first = await speaking(house, ticket)
    await first.ask(say("a" * 30))
    await first.hang_up()

    second = await speaking(house, ticket)
    await second.ask(say("b" * 5))
    await house.clock.advance(LONG_MS)

    assert second.told_of(Ready)[0].remaining == 970
    assert await used_by(house, ticket) == 35


# What is left.


async def test_a_text_longer_than_what_is_left_is_refused_whole(house: House) -> None:
    ticket = await buy(house, "tts", 10)
    peer = await speaking(house, ticket)

    await peer.ask(say("a" * 11))
    await house.clock.advance(1_000)

    assert peer.told[1:] == [TooFewCharacters(needed=11, left=10)]
    assert await used_by(house, ticket) == 0


async def test_texts_that_wait_are_spoken_for(house: House) -> None:
    ticket = await buy(house, "tts", 100)
    peer = await speaking(house, ticket)

    await peer.ask(say("a" * 60), say("b" * 30), say("c" * 11))

    assert peer.told_of(TooFewCharacters) == [TooFewCharacters(needed=11, left=10)]


async def test_the_last_characters_are_heard_to_the_end(house: House) -> None:
    ticket = await buy(house, "tts", 20)
    peer = await speaking(house, ticket)

    await peer.ask(say("a" * 20))
    settled = (await session_of(house, ticket.session_id)).is_open
    await house.clock.advance(LONG_MS)

    assert await peer.task == Over(reason="spent", used=20, charged=160)
    assert not settled
    assert len(peer.told_of(Spoken)) == 20
    assert peer.told[-1] == SpeakingDone()


async def test_clear_ends_a_spent_session_at_once(house: House) -> None:
    ticket = await buy(house, "tts", 20)
    peer = await speaking(house, ticket)
    await peer.ask(say("a" * 20))

    await peer.ask(ClearAsked())

    assert isinstance(await peer.task, Over)


async def test_an_extension_makes_room_for_more_texts(house: House) -> None:
    ticket = await buy(house, "tts", 10)
    peer = await speaking(house, ticket)
    session = await session_of(house, ticket.session_id)

    await extend_session(house.gateway, session.account_id, session.id, service="tts", quantity=10)
    await settle()
    await peer.ask(say("a" * 15))

    assert peer.told_of(Extended) == [Extended(20, ticket.expires_at_ms)]
    assert peer.told_of(SpeakingBegun)


async def test_a_flood_of_texts_is_bounded(house: House, ticket: Ticket) -> None:
    peer = await speaking(house, ticket)

    await peer.ask(*[say("a" * 10)] * (TEXTS_MAX + 5))

    refused = peer.told_of(TooManyTexts)
    assert refused[0] == TooManyTexts(TEXTS_MAX)
    assert 0 < len(refused) <= 5


@pytest.mark.parametrize("text", ["", "   ", "a" * (TEXT_CHARACTERS_MAX + 1)])
async def test_a_text_of_no_or_too_many_characters_is_refused(house: House, text: str) -> None:
    ticket = await buy(house, "tts", 2 * TEXT_CHARACTERS_MAX)
    peer = await speaking(house, ticket)

    await peer.ask(say(text))

    assert isinstance(refusals(peer)[0], MalformedError)
    assert peer.told_of(SpeakingBegun) == []


STEPS = st.lists(
    st.one_of(
        st.text("ab c", min_size=1, max_size=30).map(say),
        st.just(ClearAsked()),
        st.integers(1, 900),
    ),
    max_size=12,
)


@given(steps=STEPS, ms_per_character=st.sampled_from([3, 7, 20]))
async def test_what_is_billed_is_what_was_begun_to_be_heard(
    steps: list[SayAsked | ClearAsked | int], ms_per_character: int
) -> None:
    mouth = DirectedSynthesizer(ms_per_character=ms_per_character)
    house = House(ear=DirectedTranscriber(), mouth=mouth)
    ticket = await buy(house, "tts", 1_000)
    peer = await speaking(house, ticket)

    for step in steps:
        if isinstance(step, int):
            await house.clock.advance(step)
        else:
            await peer.ask(step)
    await peer.hang_up()

    heard = {byte for spoken in peer.told_of(Spoken) for byte in spoken.frame} - {0}
    assert await used_by(house, ticket) == sum(len(mouth.made[number - 1]) for number in heard)
