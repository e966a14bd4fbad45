"""What the gateway does about rooms by itself, in one process of many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from adapters.sfu.receiver import FORGET_MS, LOOK_MS, ROLL_MS, ROLL_MS_MIN, Receiver
from adapters.store.room_log import SqliteTables, StoredRoomLog
from domain.errors import LedgerDownError
from domain.ports.room_events import Guest, Presence, Sighting
from domain.use_cases.room_events import KEPT_MS
from tests.fakes.clock import ManualClock
from tests.fakes.room_server import Bouncer, Door

MEMORY = Path(":memory:")


class Rounds(ManualClock):
    """Every sleep passes at once, until so many have; `after` is called with how many."""

    def __init__(self, rounds: int, now_ms: int) -> None:
        super().__init__(now_ms)
        self.rounds = rounds
        self.after: Callable[[int], Awaitable[None]] | None = None

    async def sleep_until(self, at_ms: int) -> None:
        if self.rounds == 0:
            raise asyncio.CancelledError
        self.rounds -= 1
        self._now_ms = at_ms
        if self.after is not None:
            await self.after(self.rounds)


class Timed(Bouncer):
    """`times` are when it was asked."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.times: list[int] = []

    async def present(
        self, server: str, *, server_url: str, room_name: str
    ) -> tuple[Presence, ...]:
        self.times.append(self.clock.now_ms())
        return ()


async def asked_in(
    door: Door,
    ms: int,
    *,
    after: Callable[[int], Awaitable[None]] | None = None,
    is_owner: Callable[[], bool] = lambda: True,
) -> list[int]:
    """When, in ms from the start, rooms were asked about in that time."""
    clock = Rounds(ms // LOOK_MS, door.now_ms)
    clock.after = after
    gateway = replace(door.house.gateway, clock=clock)
    service = Timed(clock)
    with suppress(asyncio.CancelledError):
        await Receiver(gateway, door.webhooks, is_owner=is_owner).roll(service)
    return [at_ms - door.now_ms for at_ms in service.times]


async def test_the_roll_is_called_at_the_start_and_every_few_minutes(door: Door) -> None:
    await door.sell()

    assert await asked_in(door, 2 * ROLL_MS) == [0, ROLL_MS, 2 * ROLL_MS]


async def test_after_a_loss_the_roll_is_called_soon_and_only_once(door: Door) -> None:
    session_id = await door.sell()
    await door.tell(session_id, "participant_joined")
    dropped = door.event("participant_joined", numDropped=3)

    async def lose(left: int) -> None:
        if left == ROLL_MS // LOOK_MS - 2:
            await door.log.note_loss(door.now_ms + 2 * LOOK_MS)

    times = await asked_in(door, ROLL_MS, after=lose)
    await door.post(dropped, session_id)
    await door.follow()

    assert times == [0, ROLL_MS_MIN]
    assert await door.log.lost_at_ms() == door.now_ms


async def test_only_the_owner_calls_the_roll_and_begins_with_it(door: Door) -> None:
    await door.sell()
    turns = iter([False, False, True, True, False, True, True])

    times = await asked_in(door, 6 * LOOK_MS, is_owner=lambda: next(turns))

    assert times == [2 * LOOK_MS, 5 * LOOK_MS]


class Broken(StoredRoomLog):
    """Does not answer the first time."""

    is_broken = True

    async def sightings_of(self, session_ids: Sequence[UUID]) -> dict[UUID, tuple[Sighting, ...]]:
        if self.is_broken:
            self.is_broken = False
            raise LedgerDownError
        return await super().sightings_of(session_ids)


async def test_a_roll_that_failed_is_called_again(door: Door) -> None:
    await door.sell()

    with closing(Broken(SqliteTables(MEMORY))) as broken:
        door.house.gateway = replace(door.house.gateway, room_log=broken)

        assert await asked_in(door, ROLL_MS) == [ROLL_MS]


class Forgetful(StoredRoomLog):
    """`forgot` are the times it was told to forget what is older."""

    def __init__(self) -> None:
        super().__init__(SqliteTables(MEMORY))
        self.forgot: list[int] = []
        self.is_broken = True

    async def guests(self, limit: int, *, now_ms: int) -> tuple[Guest, ...]:
        if self.is_broken:
            self.is_broken = False
            raise LedgerDownError
        return await super().guests(limit, now_ms=now_ms)

    async def forget(self, before_ms: int) -> None:
        self.forgot.append(before_ms)


async def looked(door: Door, log: StoredRoomLog, ms: int, *, is_owner: bool = True) -> None:
    clock = Rounds(ms // LOOK_MS, door.now_ms)
    gateway = replace(door.house.gateway, clock=clock, room_log=log)
    receiver = Receiver(gateway, door.webhooks, is_owner=lambda: is_owner)
    with suppress(asyncio.CancelledError):
        await receiver.look(door.bouncer)


async def test_what_is_old_is_forgotten_by_the_hour_also_after_a_failure(door: Door) -> None:
    with closing(Forgetful()) as log:
        await looked(door, log, FORGET_MS + LOOK_MS)

    first = door.now_ms + LOOK_MS - KEPT_MS
    assert log.forgot == [first, first + FORGET_MS]


async def test_only_the_owner_looks_after_rooms(door: Door) -> None:
    with closing(Forgetful()) as log:
        await looked(door, log, FORGET_MS, is_owner=False)

    assert log.is_broken
    assert log.forgot == []
