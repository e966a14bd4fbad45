"""What room servers tell us, from the door to the bill; nothing where there are no rooms."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from functools import partial

from adapters.bootstrap.parts import Books
from adapters.bootstrap.rooms import RoomParts
from adapters.room_settings import SANDBOX_ROOMS_KEY, RoomSettings
from adapters.sfu.nodes import KnownNodes, StaticNodes
from adapters.sfu.outbound import Outbound
from adapters.sfu.receiver import Receiver
from adapters.sfu.room_service import NodeServers, OneServer, TwirpRoomService
from adapters.sfu.rooms import RoomNames, eddsa_token, hs256_token, signer_of
from domain.gateway import Gateway
from domain.ports.clock import Clock

log = logging.getLogger(__name__)


def open_room_events(
    settings: RoomSettings | None,
    rooms: RoomParts,
    gateway: Gateway,
    books: Books,
    stack: AsyncExitStack,
) -> Receiver | None:
    """The door for webhooks, with all that follows up on them running until the stack closes."""
    if settings is None or rooms.webhooks is None:
        return None
    keys = rooms.keys
    if settings.kind == "dtelecom" and keys is None and settings.key != SANDBOX_ROOMS_KEY:
        log.warning("no node's webhooks are believed: rooms are not billed")
    receiver = Receiver(gateway, rooms.webhooks, is_owner=books.is_owner, idle_ms=settings.idle_ms)
    service = _service(settings, keys, gateway.clock, stack)
    tasks = [
        asyncio.create_task(receiver.read()),
        asyncio.create_task(receiver.look(service)),
        asyncio.create_task(receiver.roll(service)),
    ]
    stack.push_async_callback(_cancel, tasks)
    return receiver


def _service(
    settings: RoomSettings, keys: KnownNodes | None, clock: Clock, stack: AsyncExitStack
) -> TwirpRoomService:
    # An operator's own servers may be in their own network, a public registry's may not.
    outbound = Outbound(private_ok=settings.registry is None)
    stack.push_async_callback(outbound.aclose)
    if settings.kind == "livekit":
        secret = settings.secret.encode()
        return TwirpRoomService(
            key=settings.key,
            sign=partial(hs256_token, secret=secret),
            clock=clock,
            outbound=outbound,
            servers=OneServer(settings.key, settings.ws_url),
            names=RoomNames(secret, wallets_meet=settings.wallets_meet),
        )
    signer = signer_of(settings.key, settings.secret)
    return TwirpRoomService(
        key=settings.key,
        sign=partial(eddsa_token, signer=signer),
        clock=clock,
        outbound=outbound,
        servers=NodeServers(keys or StaticNodes(())),
        names=RoomNames(bytes(signer), wallets_meet=settings.wallets_meet),
    )


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
