from __future__ import annotations

import asyncio
import logging

import pytest

from adapters.speech.drive import FRAME_BYTES_MAX, Connections, drive
from adapters.speech.dtelecom import DTelecomDialect
from domain.ports.speech import Transcript
from domain.use_cases.open_session import Ticket
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedSynthesizer, DirectedTranscriber, buy, session_of
from tests.fakes.wire import MemoryWire

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
def connections() -> Connections:
    return Connections()


class Caller:
    """A wire with the dTelecom dialect driven at its other end."""

    def __init__(self, house: House, connections: Connections) -> None:
        self.wire = MemoryWire()
        self.task = asyncio.create_task(
            drive(house.booth, self.wire, DTelecomDialect(), connections)
        )

    async def send(self, *frames: dict[str, object] | str | bytes) -> None:
        self.wire.push(*frames)
        await settle()


def config(ticket: Ticket) -> dict[str, object]:
    return {"type": "config", "language": "en", "session_key": ticket.token}


async def test_a_listening_connection_runs_from_config_to_close(
    house: House, ear: DirectedTranscriber, ticket: Ticket, connections: Connections
) -> None:
    phrase = Transcript(
        text="hello", is_final=True, language="en", start_ms=0, end_ms=900, latency_ms=300
    )
    caller = Caller(house, connections)
    await caller.send(config(ticket), b"\1\0" * 320, {"type": "ping"})
    ear.streams[0].say(phrase)
    await settle()

    caller.wire.hang_up()
    await caller.task

    assert caller.wire.types == ["ready", "pong", "transcription"]
    assert bytes(ear.streams[0].heard) == b"\1\0" * 320
    assert caller.wire.closed == (1000, "")
    assert len(connections) == 0


async def test_a_speaking_connection_sends_its_audio_between_generating_and_done(
    house: House, connections: Connections
) -> None:
    ticket = await buy(house, "tts", 100)
    caller = Caller(house, connections)

    await caller.send({"session_key": ticket.token}, {"text": "hello"})
    await house.clock.advance(1_000)

    assert caller.wire.types == ["ready", "generating", "done"]
    assert [len(frame) for frame in caller.wire.audio] == [1_920] * 5


async def test_a_binary_first_frame_is_an_error_and_the_end(
    house: House, connections: Connections
) -> None:
    caller = Caller(house, connections)

    await caller.send(b"\0\0")

    assert caller.wire.types == ["error"]
    assert caller.wire.closed is not None
    assert caller.wire.closed[0] == 4400


async def test_a_late_config_is_an_error_and_the_end(
    house: House, connections: Connections
) -> None:
    caller = Caller(house, connections)
    await settle()

    await house.clock.advance(10_000)

    assert caller.wire.types == ["error"]
    assert caller.wire.closed is not None
    assert caller.wire.closed[0] == 4400


async def test_a_bad_key_is_answered_at_once(house: House, connections: Connections) -> None:
    caller = Caller(house, connections)

    await caller.send({"session_key": "forged"}, {"text": "hello"})

    assert [m["code"] for m in caller.wire.said] == ["unauthenticated"]
    assert caller.wire.closed is not None
    assert caller.wire.closed[0] == 4401


async def test_a_frame_that_means_nothing_leaves_the_connection_open(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    caller = Caller(house, connections)

    await caller.send(config(ticket), "{", {"type": "dance"}, {"type": "ping"})

    assert caller.wire.types == ["ready", "error", "error", "pong"]
    assert caller.wire.closed is None


async def test_a_frame_over_the_limit_is_an_error_and_the_end(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    caller = Caller(house, connections)

    await caller.send(config(ticket), b"\0" * FRAME_BYTES_MAX, b"\0" * (FRAME_BYTES_MAX + 1))

    assert caller.wire.types == ["ready", "error"]
    assert caller.wire.closed == (1009, "too_large")


async def test_a_session_that_is_over_says_so_before_it_closes(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    caller = Caller(house, connections)
    await caller.send(config(ticket))

    await house.clock.advance(5 * MINUTE_MS)

    assert caller.wire.types[-2:] == ["error", "session_expired"]
    assert caller.wire.said[-1]["charged_microcredits"] == "30000"
    assert caller.wire.closed == (4410, "session_over: spent")


async def test_the_older_connection_is_told_and_closed(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    older, newer = Caller(house, connections), Caller(house, connections)
    await older.send(config(ticket))

    await newer.send(config(ticket))

    assert older.wire.said[-1]["code"] == "taken_over"
    assert older.wire.closed == (4409, "taken_over")
    assert newer.wire.types == ["ready"]


async def test_an_engine_failure_is_told_without_detail_and_logged_once(
    house: House,
    ear: DirectedTranscriber,
    ticket: Ticket,
    connections: Connections,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caller = Caller(house, connections)
    await caller.send(config(ticket))
    await house.clock.advance(2_000)

    ear.streams[0].break_down(RuntimeError("secret detail"))
    await caller.task
    await house.clock.advance(5_000)

    session = await session_of(house, ticket.session_id)
    assert [r.levelno for r in caplog.records if r.levelno >= logging.ERROR] == [logging.ERROR]
    assert caller.wire.said[-1]["code"] == "internal"
    assert "secret" not in str(caller.wire.sent)
    assert caller.wire.closed == (1011, "internal")
    assert session.used == 2_000


async def test_a_peer_that_is_gone_is_not_told_and_still_closed(
    house: House, ear: DirectedTranscriber, ticket: Ticket, connections: Connections
) -> None:
    caller = Caller(house, connections)
    await caller.send(config(ticket))
    caller.wire.gone = True

    await caller.send({"type": "ping"})

    assert caller.task.done()
    assert caller.wire.types == ["ready"]
    assert caller.wire.closed == (1000, "")
    assert ear.streams[0].closed


async def test_a_stopping_server_ends_every_connection(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    other = await buy(house, "tts", 100)
    callers = [Caller(house, connections), Caller(house, connections)]
    await callers[0].send(config(ticket))
    await callers[1].send({"session_key": other.token})
    await house.clock.advance(1_000)

    await connections.close()

    assert [caller.wire.closed for caller in callers] == [(1001, "shutting_down")] * 2
    assert not (await session_of(house, ticket.session_id)).is_running


async def test_a_connection_that_comes_while_the_server_stops_is_ended(
    house: House, ticket: Ticket, connections: Connections
) -> None:
    await connections.close()

    caller = Caller(house, connections)
    await caller.send(config(ticket))

    assert caller.wire.closed == (1001, "shutting_down")
