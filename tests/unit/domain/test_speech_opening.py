"""How a connection begins, or is turned away at no cost (B4)."""

from __future__ import annotations

import pytest

from domain.errors import (
    MalformedError,
    NoCapacityError,
    NotFoundError,
    UnauthenticatedError,
)
from domain.ports.keys import SessionKey
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import (
    Heard,
    Misheard,
    Ready,
    Rejected,
)
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import (
    DirectedSynthesizer,
    DirectedTranscriber,
    Peer,
    buy,
    listen,
    listen_with,
    used_by,
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


async def test_a_connection_without_a_config_is_ended_after_ten_seconds(house: House) -> None:
    peer = Peer(house.booth)
    await settle()

    await house.clock.advance(9_999)
    before = peer.task.done()
    await house.clock.advance(1)

    farewell = await peer.task
    assert not before
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, MalformedError)


async def test_a_config_in_time_is_not_late_however_long_the_engine_takes(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    ear.opening.clear()
    peer = Peer(house.booth)
    await house.clock.advance(9_000)
    await peer.ask(listen(ticket))
    await house.clock.advance(9_000)

    ear.opening.set()
    await settle()

    assert peer.told_of(Ready)


async def test_audio_before_the_config_ends_the_connection(house: House) -> None:
    peer = Peer(house.booth)

    await peer.ask(Heard(b"\0\0"))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, MalformedError)


async def test_a_frame_that_means_nothing_before_the_config_ends_the_connection(
    house: House,
) -> None:
    refusal = MalformedError(where="frame", expected="JSON", got="noise")
    peer = Peer(house.booth)

    await peer.ask(Misheard(refusal))

    assert await peer.task == Rejected(refusal)


async def test_a_key_of_another_service_is_refused(house: House) -> None:
    ticket = await buy(house, "tts", 1_000)
    peer = Peer(house.booth)

    await peer.ask(listen(ticket))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, MalformedError)
    assert "tts" in str(farewell.refusal)


async def test_a_key_that_is_not_ours_is_refused(house: House) -> None:
    peer = Peer(house.booth)

    await peer.ask(listen_with("forged"))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, UnauthenticatedError)


async def test_a_key_of_a_session_nobody_opened_is_not_found(house: House) -> None:
    key = SessionKey(session_id=house.gateway.new_id(), service="stt", expires_at_ms=0)
    peer = Peer(house.booth)

    await peer.ask(listen_with(house.gateway.keys.issue(key)))

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, NotFoundError)


async def test_no_free_worker_ends_the_connection_and_costs_nothing(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    ear.refusal = NoCapacityError(service="stt")
    peer = Peer(house.booth)

    await peer.ask(listen(ticket))
    await house.clock.advance(5_000)

    assert await peer.task == Rejected(ear.refusal)
    assert await used_by(house, ticket) == 0


async def test_the_language_of_the_session_is_the_default(house: House) -> None:
    ticket = await buy(house, "stt", MINUTE_MS, language="es")
    peer = Peer(house.booth)

    await peer.ask(listen(ticket, language=""))

    assert peer.told_of(Ready)[0].language == "es"
