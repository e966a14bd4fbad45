"""Webhooks are stored and answered first, and read when there is time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from adapters.sfu.receiver import WEBHOOK_PATH, Receiver
from tests.fakes.room_server import Door, node_token

FOREVER_MS = 3_600_000
LOOKS = 20


class Restless(asyncio.Event):
    """Always something new came."""

    def __init__(self) -> None:
        super().__init__()
        self.set()

    def clear(self) -> None:
        self.set()


@asynccontextmanager
async def reading(receiver: Receiver) -> AsyncIterator[None]:
    task = asyncio.create_task(receiver.read())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def is_read(door: Door, session_id: UUID) -> bool:
    """Within a limit that only a failure reaches."""
    async with asyncio.timeout(10):
        while not await door.log.sightings(session_id):
            pass
    return True


async def test_nothing_is_read_while_more_may_come(door: Door) -> None:
    session_id = await door.sell()
    door.receiver.quiet_ms = FOREVER_MS

    async with reading(door.receiver):
        for number in range(LOOKS):
            await door.post(door.event("participant_joined", f"PA_{number}"), session_id)

        assert len(await door.log.unread(100)) == LOOKS


async def test_what_came_is_read_once_it_is_quiet(door: Door) -> None:
    session_id = await door.sell()
    door.receiver.quiet_ms = 1

    async with reading(door.receiver):
        await door.post(door.event("participant_joined"), session_id)

        assert await is_read(door, session_id)


async def test_where_it_is_never_quiet_it_is_read_all_the_same(door: Door) -> None:
    session_id = await door.sell()
    receiver = Receiver(door.house.gateway, door.webhooks, quiet_ms=1, _came=Restless())
    await door.post(door.event("participant_joined"), session_id)

    async with reading(receiver):
        assert await is_read(door, session_id)
        await door.post(door.event("participant_left"), session_id)

        async with asyncio.timeout(10):
            while len(await door.log.sightings(session_id)) < 2:
                pass


async def test_a_body_that_comes_in_pieces_is_taken_whole(door: Door) -> None:
    session_id = await door.sell()
    raw = json.dumps(door.event("participant_joined")).encode()
    answered = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield raw[:10]
        # Somebody else is answered meanwhile: the first piece has been looked at.
        await door.post(door.event("participant_left"), session_id)
        answered.set()
        yield raw[10:]

    answer = await door.client.post(
        f"{WEBHOOK_PATH}?s={door.addresses.address(str(session_id))}",
        data=pieces(),
        headers={
            "Authorization": node_token(raw, now_ms=door.now_ms),
            "Content-Type": "application/webhook+json",
        },
    )

    assert answered.is_set()
    assert await answer.json() == {"status": "stored"}
