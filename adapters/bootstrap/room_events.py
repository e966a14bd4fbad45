"""What room servers tell us, from the door to the bill; nothing where there are no rooms."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

from adapters.bootstrap.parts import Books
from adapters.room_settings import SANDBOX_ROOMS_KEY, RoomSettings
from adapters.sfu.nodes import NodeKeys, StaticNodes
from adapters.sfu.receiver import LOOK_MS, Receiver
from adapters.sfu.room_service import TwirpRoomService
from adapters.sfu.rooms import eddsa_token, hs256_token, signer_of
from adapters.sfu.webhook import DTelecomWebhooks, LiveKitWebhooks, SessionAddresses, Webhooks
from domain.gateway import Gateway
from domain.ports.room_events import RoomService

log = logging.getLogger(__name__)


def open_room_events(
    settings: RoomSettings | None,
    keys: NodeKeys | None,
    gateway: Gateway,
    books: Books,
    stack: AsyncExitStack,
) -> Receiver | None:
    """The door for webhooks, with all that follows up on them running until the stack closes."""
    if settings is None:
        return None
    if settings.kind == "dtelecom" and keys is None and settings.key != SANDBOX_ROOMS_KEY:
        log.warning("no node's webhooks are believed: rooms are not billed")
    receiver = Receiver(gateway, _webhooks(settings, keys))
    if settings.kind == "livekit":
        sign = partial(hs256_token, secret=settings.secret.encode())
    else:
        sign = partial(eddsa_token, signer=signer_of(settings.key, settings.secret))
    service = TwirpRoomService(key=settings.key, sign=sign, clock=gateway.clock)
    stack.push_async_callback(service.aclose)
    tasks = [
        asyncio.create_task(receiver.read()),
        asyncio.create_task(_look(receiver, service, books)),
    ]
    stack.push_async_callback(_cancel, tasks)
    return receiver


def _webhooks(settings: RoomSettings, keys: NodeKeys | None) -> Webhooks:
    if settings.kind == "livekit":
        return LiveKitWebhooks(key=settings.key, secret=settings.secret)
    return DTelecomWebhooks(
        api_key=settings.key,
        nodes=keys or StaticNodes(()),
        addresses=SessionAddresses(settings.secret),
    )


async def _look(receiver: Receiver, service: RoomService, books: Books) -> None:
    """Of several processes the owner looks after rooms for all; a failure waits for the next."""
    clock = receiver.gateway.clock
    while True:
        try:
            if books.is_owner():
                await receiver.look(service)
        except Exception:
            log.exception("looking after rooms failed")
        await clock.sleep_until(clock.now_ms() + LOOK_MS)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
