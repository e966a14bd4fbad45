"""What a meter says while it watches, and what it does when the ledger is busy or is first."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from uuid import UUID, uuid4

import pytest

from domain.session import Session
from domain.use_cases.close_session import settle_spent
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.meter import (
    Extended,
    Meter,
    MeterNotice,
    Over,
    Replaced,
    TimeLow,
    connect_session,
)
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from tests.fakes.clock import settle
from tests.fakes.gateway import House

MINUTE_MS = 60_000


class Line:
    async def catch_up(self) -> None: ...

    async def taken_over(self) -> None: ...

    def changed(self) -> None: ...


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 1_000_000)


async def metered(house: House, ticket: Ticket) -> Meter:
    meter = await connect_session(
        house.booth, ticket.token, service=ticket.service, connection_id=uuid4(), line=Line()
    )
    await meter.start()
    return meter


class Listener:
    """Writes down what a meter says."""

    def __init__(self, meter: Meter) -> None:
        self.told: list[MeterNotice] = []
        self._task = asyncio.create_task(self._listen(meter))

    async def _listen(self, meter: Meter) -> None:
        async with aclosing(meter.watch()) as notices:
            async for notice in notices:
                self.told.append(notice)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def stt(house: House, account_id: UUID, minutes: int = 2) -> Ticket:
    request = SessionRequest(service="stt", quantity=minutes * MINUTE_MS)
    return await open_session(house.gateway, account_id, request)


async def session(house: House, ticket: Ticket) -> Session:
    return await house.books.run(lambda work: work.session(ticket.session_id))


async def test_it_warns_twice_and_settles_once(house: House, account_id: UUID) -> None:
    """B5, B8."""
    listener = Listener(await metered(house, await stt(house, account_id)))
    await settle()

    await house.clock.advance(3 * MINUTE_MS)

    assert listener.told == [TimeLow(60_000), TimeLow(10_000), Over("spent", 120_000, 12_000)]


async def test_an_extension_arms_the_warnings_again(house: House, account_id: UUID) -> None:
    ticket = await stt(house, account_id)
    meter = await metered(house, ticket)
    listener = Listener(meter)
    await settle()
    await house.clock.advance(115_000)

    await extend_session(
        house.gateway, account_id, ticket.session_id, service="stt", quantity=MINUTE_MS
    )
    meter.changed()
    await settle()
    await house.clock.advance(60_000)
    await listener.stop()

    assert [type(notice) for notice in listener.told] == [
        TimeLow,
        TimeLow,
        Extended,
        *[TimeLow] * 2,
    ]


async def test_characters_that_live_longer_say_so(house: House, account_id: UUID) -> None:
    requests = [
        SessionRequest(service="stt", quantity=MINUTE_MS),
        SessionRequest(service="tts", quantity=100),
    ]
    tickets = await open_bundle(house.gateway, account_id, requests)
    meter = await metered(house, tickets[1])
    listener = Listener(meter)
    await settle()
    assert tickets[0].bundle_id is not None

    await extend_bundle(
        house.gateway, account_id, tickets[0].bundle_id, duration_ms=MINUTE_MS, characters=0
    )
    meter.changed()
    await settle()
    await listener.stop()

    assert listener.told == [Extended(100, tickets[1].expires_at_ms + MINUTE_MS)]


async def test_a_busy_ledger_is_asked_again(house: House, account_id: UUID) -> None:
    listener = Listener(await metered(house, await stt(house, account_id)))
    await settle()
    house.books.busy = True
    await house.clock.advance(MINUTE_MS + 5_000)
    house.books.busy = False

    await house.clock.advance(2 * MINUTE_MS)

    assert listener.told[-1] == Over("spent", 120_000, 12_000)


async def test_stopping_late_bills_until_the_connection_was_gone(
    house: House, account_id: UUID
) -> None:
    ticket = await stt(house, account_id)
    meter = await metered(house, ticket)
    gone_ms = house.clock.now_ms() + 5_000
    await house.clock.advance(30_000)

    await meter.stop(gone_ms)

    assert (await session(house, ticket)).used == 5_000


async def test_an_extension_that_comes_first_is_not_settled_away(
    house: House, account_id: UUID
) -> None:
    ticket = await stt(house, account_id)
    await metered(house, ticket)
    await house.clock.advance(119_000)
    await extend_session(
        house.gateway, account_id, ticket.session_id, service="stt", quantity=MINUTE_MS
    )
    await house.clock.advance(2_000)

    found = await settle_spent(house.gateway, ticket.session_id)

    assert found.is_open


async def test_a_clock_that_runs_for_another_process_ends_the_watch(
    house: House, account_id: UUID
) -> None:
    """B4: the newer connection is in another process, and only the ledger tells."""
    ticket = await stt(house, account_id)
    meter = await metered(house, ticket)
    listener = Listener(meter)
    await settle()

    await house.books.run(
        lambda work: work.session(ticket.session_id).resume(
            UUID(int=99), at_ms=house.clock.now_ms()
        )
    )
    meter.changed()
    await settle()

    assert listener.told == [Replaced()]
    await meter.stop()
    assert (await session(house, ticket)).connection_id == UUID(int=99)


async def test_a_clock_that_was_thought_forgotten_is_started_again(
    house: House, account_id: UUID
) -> None:
    ticket = await stt(house, account_id)
    meter = await metered(house, ticket)
    listener = Listener(meter)
    await settle()

    await house.books.run(lambda work: work.session(ticket.session_id).recover())
    meter.changed()
    await settle()

    assert (await session(house, ticket)).is_running
    assert listener.told == []
    await listener.stop()


async def test_a_clock_that_was_stopped_stays_so_whoever_asks(
    house: House, account_id: UUID
) -> None:
    ticket = await stt(house, account_id)
    meter = await metered(house, ticket)
    listener = Listener(meter)
    await settle()

    await meter.stop()
    meter.changed()
    await settle()

    assert not (await session(house, ticket)).is_running
    await listener.stop()


async def test_a_connection_after_a_crash_pays_nothing_since_the_last_heartbeat(
    house: House, account_id: UUID
) -> None:
    """B10: the process that had the clock is gone, and no sweep was there yet."""
    ticket = await stt(house, account_id)
    crashed = await metered(house, ticket)
    await house.clock.advance(10_000)
    await crashed.catch_up()
    house.gateway.switchboard.disconnect(
        ticket.session_id, house.gateway.switchboard.line(ticket.session_id) or Line()
    )
    await house.clock.advance(20_000)

    await metered(house, ticket)

    assert (await session(house, ticket)).used == 10_000
