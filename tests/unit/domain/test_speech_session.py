"""The clock of a live connection: it starts, pauses, warns and ends (B4, B5, B8, B9)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from domain.errors import (
    MalformedError,
    SessionOverError,
)
from domain.switchboard import Switchboard
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.meter import Extended, Over, TimeLow
from domain.use_cases.open_session import Ticket
from domain.use_cases.speech_messages import (
    ExtensionShown,
    Left,
    PingAsked,
    Pong,
    Ready,
    Refused,
    Rejected,
    TakenOver,
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


async def test_the_clock_starts_when_the_engine_is_open(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    ear.opening.clear()
    peer = Peer(house.booth)
    await peer.ask(listen(ticket))
    await house.clock.advance(7_000)
    ear.opening.set()
    await settle()

    await house.clock.advance(1_000)

    assert await used_by(house, ticket) == 1_000
    assert peer.told == [
        Ready(connection_id=peer.session.connection_id, language="en", remaining=5 * MINUTE_MS)
    ]


async def test_the_clock_pauses_when_the_peer_drops(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(4_000)

    farewell = await peer.hang_up()
    await house.clock.advance(60_000)

    assert farewell == Left()
    assert await used_by(house, ticket) == 4_000
    assert not (await session_of(house, ticket.session_id)).is_running


async def test_silence_between_connections_is_free(house: House, ticket: Ticket) -> None:
    first = await listening(house, ticket)
    await house.clock.advance(4_000)
    await first.hang_up()
    await house.clock.advance(30_000)

    second = await listening(house, ticket)
    await house.clock.advance(2_500)
    await second.hang_up()

    assert await used_by(house, ticket) == 6_500
    assert second.told_of(Ready)[0].remaining == 5 * MINUTE_MS - 4_000


async def test_a_newer_connection_takes_over(house: House, ticket: Ticket) -> None:
    older = await listening(house, ticket)
    await house.clock.advance(3_000)

    newer = await listening(house, ticket)
    await house.clock.advance(2_000)

    assert await older.task == TakenOver()
    assert house.gateway.switchboard.line(ticket.session_id) is newer.session
    assert await used_by(house, ticket) == 5_000
    assert (await session_of(house, ticket.session_id)).connection_id == (
        newer.session.connection_id
    )


async def test_the_older_connection_frees_its_engine(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    older = await listening(house, ticket)

    await listening(house, ticket)
    await older.task

    assert [stream.closed for stream in ear.streams] == [True, False]


async def test_a_connection_that_is_still_opening_is_taken_over_too(
    house: House, ear: DirectedTranscriber, ticket: Ticket
) -> None:
    ear.opening.clear()
    older = Peer(house.booth)
    await older.ask(listen(ticket))
    newer = Peer(house.booth)
    await newer.ask(listen(ticket))
    ear.opening.set()
    await settle()

    await house.clock.advance(1_000)

    assert await older.task == TakenOver()
    assert newer.told_of(Ready)
    assert await used_by(house, ticket) == 1_000


async def test_warnings_come_a_minute_and_ten_seconds_before_the_end(
    house: House, ticket: Ticket
) -> None:
    peer = await listening(house, ticket)

    await house.clock.advance(4 * MINUTE_MS)
    first = peer.told_of(TimeLow)
    await house.clock.advance(50_000)

    assert first == [TimeLow(60_000)]
    assert peer.told_of(TimeLow) == [TimeLow(60_000), TimeLow(10_000)]


async def test_spent_time_settles_once_and_ends_the_connection(house: House) -> None:
    ticket = await buy(house, "stt", MINUTE_MS)
    peer = await listening(house, ticket)

    await house.clock.advance(61_000)

    session = await session_of(house, ticket.session_id)
    assert await peer.task == Over(reason="spent", used=MINUTE_MS, charged=6_000)
    assert session.charged + session.refunded == session.reserved
    topics = [record.topic for record in house.books.records()]
    assert topics.count("account.reservation_settled") == 1


async def test_a_key_whose_session_is_over_is_refused(house: House) -> None:
    ticket = await buy(house, "stt", 1_000)
    peer = await listening(house, ticket)
    await house.clock.advance(1_000)
    await peer.task

    late = Peer(house.booth)
    await late.ask(listen(ticket))

    farewell = await late.task
    assert isinstance(farewell, Rejected)
    assert isinstance(farewell.refusal, SessionOverError)
    assert house.gateway.switchboard.line(ticket.session_id) is None


async def test_the_end_asked_over_http_ends_the_connection(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(10_000)
    session = await session_of(house, ticket.session_id)

    await end_session(house.gateway, session.account_id, session.id)

    assert await peer.task == Over(reason="ended", used=10_000, charged=1_000)


async def test_an_extension_takes_effect_on_the_live_connection(house: House) -> None:
    ticket = await buy(house, "stt", MINUTE_MS)
    peer = await listening(house, ticket)
    session = await session_of(house, ticket.session_id)
    await house.clock.advance(55_000)

    await extend_session(
        house.gateway, session.account_id, session.id, service="stt", quantity=MINUTE_MS
    )
    await settle()
    await house.clock.advance(20_000)

    assert peer.told_of(Extended) == [Extended(65_000, ticket.expires_at_ms + MINUTE_MS)]
    assert not peer.task.done()
    assert peer.told_of(TimeLow)[-1] == TimeLow(60_000)


async def test_a_shown_extension_answers_what_the_ledger_says(house: House, ticket: Ticket) -> None:
    peer = await listening(house, ticket)
    await house.clock.advance(1_000)

    await peer.ask(ExtensionShown(ticket.token))

    assert peer.told_of(Extended) == [Extended(5 * MINUTE_MS - 1_000, ticket.expires_at_ms)]


async def test_an_extension_bought_elsewhere_counts_once_it_is_shown(house: House) -> None:
    elsewhere = replace(house.gateway, switchboard=Switchboard())
    ticket = await buy(house, "stt", MINUTE_MS)
    peer = await listening(house, ticket)
    session = await session_of(house, ticket.session_id)
    await house.clock.advance(1_000)
    extended = await extend_session(
        elsewhere, session.account_id, session.id, service="stt", quantity=MINUTE_MS
    )

    await peer.ask(ExtensionShown(extended.token))

    assert peer.told_of(Extended) == [Extended(119_000, extended.expires_at_ms)]


async def test_a_shown_key_of_another_session_is_refused_and_the_connection_stays(
    house: House, ticket: Ticket
) -> None:
    other = await buy(house, "stt", MINUTE_MS)
    peer = await listening(house, ticket)

    await peer.ask(ExtensionShown(other.token), PingAsked())

    (refused,) = peer.told_of(Refused)
    assert isinstance(refused.refusal, MalformedError)
    assert peer.told[-1] == Pong()
