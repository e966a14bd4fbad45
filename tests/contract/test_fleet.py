"""Sessions served by a speech server elsewhere are billed as if they were served here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from domain.errors import NoCapacityError, SessionOverError
from domain.ports.keys import SessionKey
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_session
from domain.use_cases.meter import Extended, Over
from domain.use_cases.open_session import Ticket
from domain.use_cases.reconcile import recover_clocks
from domain.use_cases.speech_messages import (
    Ready,
    Rejected,
    SayAsked,
    SpeakingDone,
    TakenOver,
    VoiceChoice,
)
from tests.fakes.fleet import WAIT_S, Hub, Station, until
from tests.fakes.gateway import House
from tests.fakes.speech import Peer, buy, listen, listen_with, session_of, speak

MINUTE_MS = 60_000


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def hub(house: House) -> AsyncIterator[Hub]:
    opened = Hub(house)
    await opened.come_back()
    yield opened
    await opened.hang_up()


@pytest.fixture
async def stations(hub: Hub, tmp_path: Path) -> AsyncIterator[dict[str, Station]]:
    """Two that listen and one that speaks, all registered."""
    made = {
        "one": Station(hub, tmp_path, name="one"),
        "two": Station(hub, tmp_path, name="two"),
        "mouth": Station(hub, tmp_path, name="mouth", service="tts"),
    }
    async with AsyncExitStack() as stack:
        for station in made.values():
            await station.open()
            stack.push_async_callback(station.close)
        await until(lambda: len(hub.fleet.servers()) == len(made))
        yield made


async def connected(station: Station, ticket: Ticket) -> Peer:
    peer = await station.call(Peer(station.booth), listen(ticket))
    assert peer.told_of(Ready), peer.task
    return peer


async def used(house: House, station: Station, ticket: Ticket) -> int:
    """What the ledger has once the station has nothing left to say."""
    assert await station.outbox.empty(wait_s=WAIT_S)
    return (await session_of(house, ticket.session_id)).used


async def test_time_at_a_server_is_billed_to_the_ms(
    house: House, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    peer = await connected(stations["one"], ticket)
    await house.clock.advance(1_234)

    await peer.hang_up()

    assert await used(house, stations["one"], ticket) == 1_234


async def test_characters_at_a_server_are_billed_and_its_next_connection_counts_on(
    house: House, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "tts", 100)
    mouth = stations["mouth"]
    for text in ("one two", "three"):
        peer = await mouth.call(Peer(mouth.booth), speak(ticket))
        await peer.ask(SayAsked(text, VoiceChoice()))
        await house.clock.advance(10_000)
        await until(lambda peer=peer: peer.told_of(SpeakingDone))
        await peer.hang_up()

    assert await used(house, mouth, ticket) == len("one twothree")
    assert peer.told_of(Ready)[0].remaining == 100 - len("one two")


async def test_a_gateway_that_was_away_bills_what_ran_meanwhile(
    house: House, hub: Hub, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    peer = await connected(stations["one"], ticket)

    await hub.hang_up()
    await house.clock.advance(30_000)
    await recover_clocks(house.gateway)
    await house.clock.advance(15_000)
    await hub.come_back()
    await until(lambda: len(hub.fleet.servers()) == len(stations))
    await house.clock.advance(5_000)
    await peer.hang_up()

    assert await used(house, stations["one"], ticket) == 50_000


async def test_a_good_key_is_let_in_where_no_gateway_answers_and_billed_afterwards(
    house: House, hub: Hub, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    await hub.hang_up()
    await until(lambda: not hub.fleet.servers())

    peer = await connected(stations["one"], ticket)
    await house.clock.advance(20_000)
    await peer.hang_up()
    assert (await session_of(house, ticket.session_id)).used == 0
    await hub.come_back()

    assert peer.told_of(Ready)[0].remaining == 5 * MINUTE_MS
    assert await used(house, stations["one"], ticket) == 20_000


async def test_keys_that_are_over_are_refused_where_no_gateway_answers(
    house: House, hub: Hub, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    account_id = (await session_of(house, ticket.session_id)).account_id
    await end_session(house.gateway, account_id, ticket.session_id)
    old = SessionKey(session_id=UUID(int=5), service="stt", expires_at_ms=house.clock.now_ms())
    revoked = stations["one"].links._revoked
    await until(lambda: revoked.reason(ticket.session_id))
    await hub.hang_up()

    farewells = []
    for token in (ticket.token, house.gateway.keys.issue(old)):
        peer = await stations["one"].call(Peer(stations["one"].booth), listen_with(token))
        farewells.append(await peer.task)

    reasons = [
        farewell.refusal.reason
        for farewell in farewells
        if isinstance(farewell, Rejected) and isinstance(farewell.refusal, SessionOverError)
    ]
    assert reasons == ["ended", "expired"]


async def test_an_extension_and_the_end_reach_the_connection(
    house: House, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    account_id = (await session_of(house, ticket.session_id)).account_id
    peer = await connected(stations["one"], ticket)
    await house.clock.advance(1_000)

    await extend_session(
        house.gateway, account_id, ticket.session_id, service="stt", quantity=MINUTE_MS
    )
    await until(lambda: peer.told_of(Extended))
    ended = await end_session(house.gateway, account_id, ticket.session_id)
    farewell = await peer.task

    assert ended.used == 1_000
    assert peer.told_of(Extended)[0].remaining == 6 * MINUTE_MS - 1_000
    assert farewell == Over("ended", 1_000, 100)


async def test_a_newer_connection_at_another_server_takes_over(
    house: House, stations: dict[str, Station]
) -> None:
    """B4: and what the older one used is recorded before the newer one counts on."""
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    older = await connected(stations["one"], ticket)
    await house.clock.advance(2_000)

    newer = await connected(stations["two"], ticket)
    await house.clock.advance(3_000)
    await newer.hang_up()

    assert isinstance(await older.task, TakenOver)
    assert newer.told_of(Ready)[0].remaining == 5 * MINUTE_MS - 2_000
    assert await used(house, stations["two"], ticket) == 5_000


async def test_asking_twice_for_the_same_connection_sends_it_nowhere(
    house: House, stations: dict[str, Station]
) -> None:
    """As a server does whose first answer was lost."""
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    peer = await connected(stations["one"], ticket)
    ((connection_id, session_id),) = stations["one"].links.sessions.connections.items()
    await house.clock.advance(1_000)

    await stations["one"].links.take(session_id, connection_id)
    await house.clock.advance(1_000)
    still_here = not peer.task.done()
    await peer.hang_up()

    assert still_here
    assert await used(house, stations["one"], ticket) == 2_000


async def test_a_session_that_is_spent_is_settled_by_its_server(
    house: House, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", MINUTE_MS)
    peer = await connected(stations["one"], ticket)

    await house.clock.advance(MINUTE_MS)
    await until(peer.task.done)

    session = await session_of(house, ticket.session_id)
    assert await peer.task == Over("spent", MINUTE_MS, 6_000)
    assert (session.is_open, session.charged.value) == (False, 6_000)


async def test_a_session_is_spent_even_where_no_gateway_answers(
    house: House, hub: Hub, stations: dict[str, Station]
) -> None:
    ticket = await buy(house, "stt", MINUTE_MS)
    peer = await connected(stations["one"], ticket)
    await hub.hang_up()

    await house.clock.advance(MINUTE_MS)
    await until(peer.task.done)
    await hub.come_back()
    assert await stations["one"].outbox.empty(wait_s=WAIT_S)

    assert await peer.task == Over("spent", MINUTE_MS, 6_000)
    assert (await session_of(house, ticket.session_id)).charged.value == 6_000


async def test_a_server_that_dies_bills_what_it_had_reported(
    house: House, hub: Hub, stations: dict[str, Station], tmp_path: Path
) -> None:
    """B10: and what it had on disk, once it is back."""
    ticket = await buy(house, "stt", 5 * MINUTE_MS)
    peer = await connected(stations["one"], ticket)
    assert await stations["one"].outbox.empty(wait_s=WAIT_S)
    await hub.hang_up()
    await house.clock.advance(7_000)
    await peer.hang_up()
    left = len(stations["one"].outbox)
    await stations["one"].close()

    again = Station(hub, tmp_path, name="one")
    await again.open()
    await hub.come_back()
    billed = await used(house, again, ticket)
    await again.close()

    assert left > 0
    assert billed == 7_000


async def test_the_least_busy_server_near_the_caller_is_chosen(
    hub: Hub, stations: dict[str, Station]
) -> None:
    one, two = stations["one"], stations["two"]
    one.live, two.live = 1, 5
    two.regions = frozenset({"eu"})
    for station in (one, two):
        await station.close()
        await station.open()
    await until(lambda: sorted(s.live for s in hub.fleet.servers()) == [0, 1, 5])

    chosen = [hub.fleet.choose("stt", region=region).name for region in ("", "eu", "us")]

    assert chosen == ["one", "two", "one"]


@pytest.mark.usefixtures("stations")
async def test_a_rush_is_spread_before_the_servers_say_how_busy_they_are(hub: Hub) -> None:
    chosen = [hub.fleet.choose("stt", region="").name for _ in range(4)]

    assert sorted(chosen) == ["one", "one", "two", "two"]


async def test_full_servers_and_broken_ones_are_not_chosen(
    hub: Hub, stations: dict[str, Station]
) -> None:
    for station, full in (("one", True), ("two", False)):
        chosen = stations[station]
        chosen.live = 3
        chosen._capacity = 3 if full else 0
        chosen.traits = replace(chosen.traits, ready=full, problem="" if full else "no weights")
        await chosen.close()
        await chosen.open()
    await until(lambda: sorted(s.live for s in hub.fleet.servers()) == [0, 3, 3])

    with pytest.raises(NoCapacityError):
        hub.fleet.choose("stt", region="")
