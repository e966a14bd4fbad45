"""The parts of rooms: who signs tokens, who finds the nodes, who knows the nodes' keys."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import SystemRandom

from adapters.room_settings import RoomSettings
from adapters.sfu.nodes import KnownNodes, NearestNodes, NodeChoice, NodeKeys, OneNode, StaticNodes
from adapters.sfu.outbound import Outbound
from adapters.sfu.registry import Registry
from adapters.sfu.rooms import DTelecomRooms, LiveKitRooms, NoRooms
from adapters.sfu.webhook import (
    DTelecomWebhooks,
    LiveKitWebhooks,
    SessionAddresses,
    Webhooks,
)
from domain.ports.clock import Clock
from domain.ports.rooms import Rooms


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomParts:
    """`keys` are those of the nodes; None where no list of nodes is configured.

    `webhooks` knows whom to believe of those who post; None without rooms.
    """

    rooms: Rooms
    keys: KnownNodes | None = None
    webhooks: Webhooks | None = None


async def open_rooms(
    settings: RoomSettings | None, url: str, clock: Clock, stack: AsyncExitStack
) -> RoomParts:
    """The rooms of these settings; `url` is where we are reached.

    A registry that cannot be read does not keep a gateway from starting: it is tried again.
    """
    if settings is None:
        return RoomParts(rooms=NoRooms())
    if settings.kind == "livekit":
        rooms = LiveKitRooms(
            key=settings.key,
            secret=settings.secret,
            ws_url=settings.ws_url,
            wallets_meet=settings.wallets_meet,
        )
        return RoomParts(rooms=rooms, webhooks=_webhooks(settings, None))
    nodes, keys = await _nodes(settings, clock, stack)
    return RoomParts(
        rooms=DTelecomRooms(
            key=settings.key,
            secret=settings.secret,
            nodes=nodes,
            webhook_url=f"{url}/v1/webhooks/sfu",
            address=SessionAddresses(settings.secret).address,
            wallets_meet=settings.wallets_meet,
        ),
        keys=keys,
        webhooks=_webhooks(settings, keys),
    )


def _webhooks(settings: RoomSettings, keys: NodeKeys | None) -> Webhooks:
    if settings.kind == "livekit":
        return LiveKitWebhooks(key=settings.key, secret=settings.secret)
    return DTelecomWebhooks(
        api_key=settings.key,
        nodes=keys or StaticNodes(()),
        addresses=SessionAddresses(settings.secret),
        require_room_key=not settings.keyless_ok,
    )


async def _nodes(
    settings: RoomSettings, clock: Clock, stack: AsyncExitStack
) -> tuple[NodeChoice, KnownNodes | None]:
    random = SystemRandom()
    # An operator's own list may lead into their own network, a public registry may not.
    outbound = Outbound(private_ok=settings.registry is None)
    stack.push_async_callback(outbound.aclose)
    if settings.registry is not None:
        rpc = Outbound(private_ok=True)
        stack.push_async_callback(rpc.aclose)
        registry = Registry(settings.registry, rpc, clock=clock, random=random)
        await registry.refresh()
        stack.push_async_callback(_cancel, asyncio.create_task(registry.keep_fresh()))
        return NearestNodes(registry, outbound, clock=clock, random=random), registry
    if settings.nodes:
        known = StaticNodes(settings.nodes)
        return NearestNodes(known, outbound, clock=clock, random=random), known
    return OneNode(settings.ws_url), None


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
