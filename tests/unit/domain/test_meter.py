"""A connection's meter where nobody is speaking: keys, take-over and the end of a session."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain.errors import MalformedError, SessionOverError, UnauthenticatedError
from domain.session import Session
from domain.use_cases.close_session import settle_session
from domain.use_cases.meter import Over, connect_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_session
from tests.fakes.gateway import House

MINUTE_MS = 60_000


class Line:
    """A connection that does what it is told when it is taken over."""

    def __init__(self, house: House | None = None, ending: Ticket | None = None) -> None:
        self.left = False
        self.rung = 0
        self._house = house
        self._ending = ending

    async def catch_up(self) -> None: ...

    async def taken_over(self) -> None:
        self.left = True
        if self._house is not None and self._ending is not None:
            await settle_session(self._house.gateway, self._ending.session_id, reason="ended")

    def changed(self) -> None:
        self.rung += 1


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def ticket(house: House) -> Ticket:
    return await opened(house, SessionRequest(service="stt", quantity=MINUTE_MS))


async def opened(house: House, request: SessionRequest) -> Ticket:
    account_id = await house.fund("0x" + "a" * 40, 100_000)
    return await open_session(house.gateway, account_id, request)


async def session(house: House, ticket: Ticket) -> Session:
    return await house.books.run(lambda work: work.session(ticket.session_id))


async def test_an_older_connection_gives_way(house: House, ticket: Ticket) -> None:
    """B4."""
    older, newer = Line(), Line()
    await connect_session(
        house.booth, ticket.token, service="stt", connection_id=UUID(int=1), line=older
    )

    await connect_session(
        house.booth, ticket.token, service="stt", connection_id=UUID(int=2), line=newer
    )

    assert older.left
    assert house.gateway.switchboard.line(ticket.session_id) is newer


async def test_only_a_ready_connection_is_paid_for(house: House, ticket: Ticket) -> None:
    """B4."""
    meter = await connect_session(
        house.booth, ticket.token, service="stt", connection_id=UUID(int=1), line=Line()
    )
    await house.clock.advance(5_000)
    assert meter.remaining == MINUTE_MS

    await meter.start()
    await house.clock.advance(1_000)
    await meter.stop()
    await house.clock.advance(5_000)

    assert meter.remaining == MINUTE_MS - 1_000
    assert (await session(house, ticket)).used == 1_000


async def test_a_key_of_another_service_is_refused(house: House, ticket: Ticket) -> None:
    with pytest.raises(MalformedError, match="a key of a tts session, got stt"):
        await connect_session(
            house.booth, ticket.token, service="tts", connection_id=UUID(int=1), line=Line()
        )

    assert house.gateway.switchboard.line(ticket.session_id) is None


async def test_a_key_that_is_not_ours_is_refused(house: House) -> None:
    with pytest.raises(UnauthenticatedError):
        await connect_session(
            house.booth, "no key", service="stt", connection_id=UUID(int=1), line=Line()
        )


async def test_a_session_that_is_over_is_not_connected(house: House, ticket: Ticket) -> None:
    await settle_session(house.gateway, ticket.session_id, reason="ended")

    with pytest.raises(SessionOverError):
        await connect_session(
            house.booth, ticket.token, service="stt", connection_id=UUID(int=1), line=Line()
        )

    assert house.gateway.switchboard.line(ticket.session_id) is None


async def test_a_session_that_ends_while_it_is_taken_over_is_not_connected(
    house: House, ticket: Ticket
) -> None:
    spender = Line(house, ticket)
    house.gateway.switchboard.connect(ticket.session_id, spender)

    with pytest.raises(SessionOverError):
        await connect_session(
            house.booth, ticket.token, service="stt", connection_id=UUID(int=2), line=Line()
        )

    assert house.gateway.switchboard.line(ticket.session_id) is None


@pytest.mark.parametrize("service", ["stt", "tts"])
async def test_a_session_that_ended_meanwhile_does_not_start(house: House, service: str) -> None:
    ticket = await opened(house, SessionRequest(service=service, quantity=1_000))
    meter = await connect_session(
        house.booth, ticket.token, service=service, connection_id=UUID(int=1), line=Line()
    )
    await settle_session(house.gateway, ticket.session_id, reason="ended")

    with pytest.raises(SessionOverError, match="ended"):
        await meter.start()


async def test_watching_a_session_that_is_over_says_so_and_ends(
    house: House, ticket: Ticket
) -> None:
    """B8."""
    meter = await connect_session(
        house.booth, ticket.token, service="stt", connection_id=UUID(int=1), line=Line()
    )
    await meter.start()
    await house.clock.advance(6_000)
    await settle_session(house.gateway, ticket.session_id, reason="ended")

    notices = [notice async for notice in meter.watch()]

    assert notices == [Over(reason="ended", used=6_000, charged=600)]
