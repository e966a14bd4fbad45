"""What breaks in a live connection, and that nobody pays for it (B4, B10)."""

from __future__ import annotations

import asyncio

import pytest

from domain.errors import (
    LedgerDownError,
)
from domain.ports.speech import SpeechStarted
from domain.use_cases.meter import Over
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_ear import EngineStoppedError
from domain.use_cases.speech_messages import (
    Left,
    Rejected,
    ShuttingDown,
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


async def test_an_engine_that_breaks_stops_the_clock(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(2_000)
    ear.streams[0].break_down(RuntimeError("out of memory"))
    await settle()

    with pytest.raises(ExceptionGroup) as raised:
        await peer.task
    await house.clock.advance(9_000)

    assert raised.group_contains(RuntimeError, match="out of memory")
    assert await used_by(house, ticket) == 2_000
    assert ear.streams[0].closed
    assert house.gateway.switchboard.line(ticket.session_id) is None


async def test_an_engine_that_ends_by_itself_is_a_failure(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    ear.streams[0].end()

    with pytest.raises(ExceptionGroup) as raised:
        await peer.task

    assert raised.group_contains(EngineStoppedError)


async def test_a_server_that_stops_stops_its_clocks(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(3_000)

    peer.session.leave(ShuttingDown())
    farewell = await peer.task
    await house.clock.advance(3_000)

    assert farewell == ShuttingDown()
    assert await used_by(house, ticket) == 3_000


async def test_the_clock_does_not_wait_for_an_engine_that_winds_down(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    ear.streams[0].winding_down.clear()
    await house.clock.advance(1_000)

    peer.session.leave(Left())
    await settle()
    await house.clock.advance(5_000)
    ear.streams[0].winding_down.set()
    await peer.task

    assert await used_by(house, ticket) == 1_000


async def test_a_clock_that_cannot_be_stopped_does_not_hold_the_newer_connection(
    house: House, ticket: Ticket
) -> None:
    await listening(house, ticket)
    house.books.down = True
    newer = Peer(house.booth)
    await newer.ask(listen(ticket))

    await house.clock.advance(60_000)

    farewell = await newer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, LedgerDownError)


async def test_a_call_goes_on_while_the_ledger_is_away(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    house.books.down = True
    await house.clock.advance(25_000)

    house.books.down = False
    await house.clock.advance(5_000)
    await peer.hang_up()

    assert await used_by(house, ticket) == 30_000


async def test_a_call_ends_when_its_time_is_spent_and_the_ledger_is_away(house: House) -> None:
    peer = await listening(house, await buy(house, "stt", 10_000))
    house.books.down = True
    await house.clock.advance(28_000)

    farewell = await peer.task

    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, LedgerDownError)


async def test_the_time_it_takes_to_stop_the_clock_is_free(house: House, ticket: Ticket) -> None:
    """B10: nobody pays for a ledger that is away."""
    peer = await listening(house, ticket)
    await house.clock.advance(3_000)
    house.books.down = True
    peer.session.leave(Left())
    await house.clock.advance(4_000)

    house.books.down = False
    await house.clock.advance(4_000)
    await peer.task

    assert await used_by(house, ticket) == 3_000


async def test_a_line_that_has_ended_catches_up_to_its_end(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(3_000)
    house.books.down = True
    peer.session.leave(Left())
    await settle()
    await house.clock.advance(900)

    house.books.down = False
    await peer.session.catch_up()

    assert await used_by(house, ticket) == 3_000
    await house.clock.advance(5_000)
    await peer.task


async def test_the_first_reason_to_leave_counts(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)

    peer.session.leave(ShuttingDown())
    peer.session.leave(Left())

    assert await peer.task == ShuttingDown()


async def test_a_connection_that_is_not_open_yet_has_nothing_to_record(house: House) -> None:
    peer = Peer(house.booth)

    await peer.session.catch_up()
    peer.session.changed()

    assert await peer.hang_up() == Left()
    assert house.books.position == 0


async def test_a_cancelled_connection_stops_its_clock(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(3_000)

    peer.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await peer.task
    await house.clock.advance(3_000)

    assert await used_by(house, ticket) == 3_000


async def test_a_peer_that_cannot_be_told_anything_has_left(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    peer.gone = True

    ear.streams[0].say(SpeechStarted(0))

    assert await peer.task == Left()


async def test_a_busy_ledger_does_not_end_a_connection(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    house.books.busy = True
    await house.clock.advance(25_000)
    house.books.busy = False

    await house.clock.advance(5 * MINUTE_MS)

    assert await peer.task == Over(reason="spent", used=5 * MINUTE_MS, charged=30_000)


async def test_a_ledger_that_cannot_be_written_ends_the_connection(
    house: House, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    house.books.down = True
    await house.clock.advance(42_000)
    house.books.down = False

    await house.clock.advance(20_000)

    farewell = await peer.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, LedgerDownError)
    assert not (await session_of(house, ticket.session_id)).is_running


async def test_a_ledger_that_stays_down_does_not_hold_a_connection_for_ever(
    house: House, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    house.books.down = True

    await house.clock.advance(60_000)

    assert peer.task.done()
    assert house.gateway.switchboard.line(ticket.session_id) is None


async def test_a_clock_that_a_busy_ledger_keeps_running_is_stopped_again_and_again(
    house: House, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(1_000)
    house.books.busy = True
    peer.session.leave(Left())
    await house.clock.advance(500)
    house.books.busy = False

    await house.clock.advance(500)

    assert await peer.task == Left()
    assert not (await session_of(house, ticket.session_id)).is_running
