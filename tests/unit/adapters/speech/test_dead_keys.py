from __future__ import annotations

import asyncio

import pytest

from adapters.speech.dead_keys import KEYS_MAX, MEMORY_MS, DeadKeys
from adapters.speech.drive import Connections, drive
from adapters.speech.dtelecom import DTelecomDialect
from domain.errors import SessionOverError
from domain.use_cases.close_session import end_session
from domain.use_cases.open_session import Ticket
from tests.fakes.clock import settle
from tests.fakes.gateway import House
from tests.fakes.speech import DirectedSynthesizer, DirectedTranscriber, buy, session_of
from tests.fakes.wire import MemoryWire

OVER = SessionOverError(session_id="s", reason="spent")


@pytest.fixture
def house() -> House:
    return House(ear=DirectedTranscriber(), mouth=DirectedSynthesizer())


@pytest.fixture
async def ticket(house: House) -> Ticket:
    return await buy(house, "stt", 60_000)


async def close_code(house: House, connections: Connections, ticket: Ticket) -> int:
    """How a connection with this key ends that hangs up once it was served."""
    wire = MemoryWire()
    dialect = DTelecomDialect()
    serving = asyncio.create_task(drive(house.booth, wire, dialect, connections))
    wire.push({"type": "config", "language": "en", "session_key": ticket.token})
    await settle()
    wire.hang_up()
    await serving
    assert wire.closed is not None
    return wire.closed[0]


async def end(house: House, ticket: Ticket) -> None:
    session = await session_of(house, ticket.session_id)
    await end_session(house.gateway, session.account_id, ticket.session_id)


async def test_a_dead_key_is_refused_again_without_the_ledger(house: House, ticket: Ticket) -> None:
    connections = Connections()
    await end(house, ticket)
    first = await close_code(house, connections, ticket)
    house.books.busy = True

    assert [first, await close_code(house, connections, ticket)] == [4410, 4410]


async def test_the_ledger_is_asked_once_a_minute(house: House, ticket: Ticket) -> None:
    connections = Connections()
    await end(house, ticket)
    await close_code(house, connections, ticket)
    house.books.busy = True
    await house.clock.advance(MEMORY_MS - 1)
    before = await close_code(house, connections, ticket)

    await house.clock.advance(1)

    assert [before, await close_code(house, connections, ticket)] == [4410, 4503]


async def test_a_key_that_lives_is_not_remembered(house: House, ticket: Ticket) -> None:
    connections = Connections()

    await close_code(house, connections, ticket)

    assert len(connections.dead_keys) == 0


async def test_a_full_ledger_kills_no_key(house: House, ticket: Ticket) -> None:
    connections = Connections()
    house.books.busy = True
    await close_code(house, connections, ticket)
    house.books.busy = False

    assert await close_code(house, connections, ticket) == 1000


def test_the_memory_is_bounded_and_forgets_the_longest_unseen() -> None:
    dead = DeadKeys()
    for number in range(KEYS_MAX):
        dead.remember(str(number), OVER, at_ms=0)
    dead.refusal("0", at_ms=1)

    dead.remember("one more", OVER, at_ms=1)

    assert len(dead) == KEYS_MAX
    assert [dead.refusal(key, at_ms=1) is None for key in ("0", "1")] == [False, True]
