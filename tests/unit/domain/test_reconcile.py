from __future__ import annotations

from uuid import UUID

import pytest

from domain.session import Session
from domain.use_cases.open_session import SessionRequest, Ticket, open_session
from domain.use_cases.reconcile import (
    reconcile,
    recover_clocks,
    settle_due_sessions,
    stop_orphaned_clocks,
)
from tests.fakes.gateway import House

MINUTE_MS = 60_000
CONNECTION = UUID(int=9)


class Line:
    """A connection that watches its clock."""

    async def catch_up(self) -> None: ...

    async def taken_over(self) -> None: ...

    def changed(self) -> None: ...


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def ticket(house: House) -> Ticket:
    account_id = await house.fund("0x" + "a" * 40, 100_000)
    request = SessionRequest(service="stt", quantity=10 * MINUTE_MS)
    ticket = await open_session(house.gateway, account_id, request)
    now_ms = house.clock.now_ms()
    await house.books.run(
        lambda work: work.session(ticket.session_id).resume(CONNECTION, at_ms=now_ms)
    )
    return ticket


async def session(house: House, ticket: Ticket) -> Session:
    return await house.books.run(lambda work: work.session(ticket.session_id))


async def beat(house: House, ticket: Ticket) -> None:
    now_ms = house.clock.now_ms()
    await house.books.run(
        lambda work: work.session(ticket.session_id).observe(CONNECTION, at_ms=now_ms)
    )


async def test_after_a_crash_clocks_stop_where_they_were_last_seen(
    house: House, ticket: Ticket
) -> None:
    """B10."""
    await house.clock.advance(10_000)
    await beat(house, ticket)
    await house.clock.advance(45_000)

    assert await recover_clocks(house.gateway) == 1

    stopped = await session(house, ticket)
    assert not stopped.is_running
    assert stopped.used == 10_000


async def test_a_clock_that_was_never_seen_costs_nothing(house: House, ticket: Ticket) -> None:
    """B10."""
    await house.clock.advance(9_999)

    await recover_clocks(house.gateway)

    assert (await session(house, ticket)).used == 0


@pytest.mark.usefixtures("ticket")
async def test_recovering_again_changes_nothing(house: House) -> None:
    await recover_clocks(house.gateway)
    position = house.books.position

    assert await recover_clocks(house.gateway) == 0

    assert house.books.position == position


async def test_a_watched_clock_runs_on(house: House, ticket: Ticket) -> None:
    house.gateway.switchboard.connect(ticket.session_id, Line())
    await house.clock.advance(5 * MINUTE_MS)

    await stop_orphaned_clocks(house.gateway)

    assert (await session(house, ticket)).is_running


async def test_an_unwatched_clock_is_left_for_three_heartbeats(
    house: House, ticket: Ticket
) -> None:
    """B10: its connection may be about to come; after that nobody will."""
    await house.clock.advance(30_000)
    await stop_orphaned_clocks(house.gateway)
    assert (await session(house, ticket)).is_running

    await house.clock.advance(1)
    await stop_orphaned_clocks(house.gateway)

    stopped = await session(house, ticket)
    assert not stopped.is_running
    assert stopped.used == 0


async def test_a_session_whose_time_has_passed_is_settled(house: House, ticket: Ticket) -> None:
    """B8."""
    await house.clock.advance(2_000)
    await beat(house, ticket)
    await recover_clocks(house.gateway)
    await house.clock.advance(ticket.expires_at_ms - house.clock.now_ms() - 1)
    assert await settle_due_sessions(house.gateway) == 0

    await house.clock.advance(1)
    assert await settle_due_sessions(house.gateway) == 1

    settled = await session(house, ticket)
    assert (settled.reason, settled.used, settled.charged.value) == ("expired", 2_000, 200)


async def test_a_sweep_counts_what_it_looked_at(house: House, ticket: Ticket) -> None:
    assert await reconcile(house.gateway) == 1

    await house.clock.advance(ticket.expires_at_ms - house.clock.now_ms())
    # The clock nobody watched, and the session that expired meanwhile.
    assert await reconcile(house.gateway) == 2
    assert await reconcile(house.gateway) == 0

    assert (await session(house, ticket)).charged.value == 0
