"""Time in our own queues is free (B4)."""

from __future__ import annotations

import pytest

from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import Heard
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import (
    DirectedSynthesizer,
    DirectedTranscriber,
    Peer,
    buy,
    listening,
    session_of,
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


@pytest.fixture
async def peer(house: House, ticket: Ticket) -> Peer:
    return await listening(house, ticket)


async def used_ms(house: House, ticket: Ticket) -> int:
    session = await session_of(house, ticket.session_id)
    return session.used_at(house.clock.now_ms())


async def test_audio_that_waits_for_a_slow_engine_costs_nothing(
    house: House, ear: DirectedTranscriber, ticket: Ticket, peer: Peer
) -> None:
    await house.clock.advance(1_000)
    ear.streams[0].taking.clear()
    await peer.ask(Heard(b"\1\2"))

    await house.clock.advance(20_000)

    assert await used_ms(house, ticket) == 1_000


async def test_the_clock_goes_on_when_the_engine_does(
    house: House, ear: DirectedTranscriber, ticket: Ticket, peer: Peer
) -> None:
    ear.streams[0].taking.clear()
    await peer.ask(Heard(b"\1\2"))
    await house.clock.advance(20_000)

    ear.streams[0].taking.set()
    await settle()
    await house.clock.advance(3_000)

    assert await used_ms(house, ticket) == 3_000


async def test_an_engine_that_keeps_up_leaves_the_clock_alone(
    house: House, ticket: Ticket, peer: Peer
) -> None:
    for _ in range(20):
        await peer.ask(Heard(b"\1\2"))
        await house.clock.advance(100)

    topics = [r.topic for r in house.books.records() if r.originator_id == ticket.session_id]
    assert await used_ms(house, ticket) == 2_000
    assert "session.clock_paused" not in topics


async def test_a_busy_ledger_only_delays_the_pause(
    house: House, ear: DirectedTranscriber, ticket: Ticket, peer: Peer
) -> None:
    ear.streams[0].taking.clear()
    await peer.ask(Heard(b"\1\2"))
    house.books.busy = True
    await house.clock.advance(2_000)
    house.books.busy = False

    await house.clock.advance(5_000)

    assert await used_ms(house, ticket) == 0
