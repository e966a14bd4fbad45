"""The webhook's door: store first, answer, read afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from adapters.sfu.webhook import Posted, Webhooks
from domain.gateway import Gateway
from domain.ports.room_events import RoomService
from domain.use_cases.roll_call import call_the_roll
from domain.use_cases.room_events import KEPT_MS, look_after_guests
from domain.use_cases.room_reading import read_deliveries

WEBHOOK_PATH = "/v1/webhooks/sfu"
BODY_BYTES_MAX = 256 * 1024
BODY_WAIT_S = 15
CONTENT_TYPES = ("application/webhook+json", "application/json")
LOOK_MS = 5_000
FORGET_MS = 60 * 60_000
# How long nothing comes before what came is read, and how often at most that is waited for.
QUIET_MS = 50
QUIET_TRIES = 20
# The roll is called every few minutes; sooner after a loss that a server told of.
ROLL_MS = 3 * 60_000
ROLL_MS_MIN = 30_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receiver:
    """Takes webhooks in, and follows up on them.

    `read`, `look` and `roll` run for as long as we do; the latter two where `is_owner`: of several
    processes one does it for all. A room that nobody was in for `idle_ms` is settled (0: none is).
    """

    gateway: Gateway
    webhooks: Webhooks
    is_owner: Callable[[], bool] = lambda: True
    idle_ms: int = 0
    quiet_ms: int = QUIET_MS
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        """200 once it is stored, or concerns nobody here; a failure to store is 503: send again."""
        if request.content_type not in CONTENT_TYPES:
            raise web.HTTPUnsupportedMediaType
        body = await _body(request)
        posted = Posted(
            authorization=request.headers.get("Authorization", ""),
            address=request.query.get("s", ""),
            body=body,
            received_at_ms=self.gateway.clock.now_ms(),
        )
        delivery = await self.webhooks.believed(posted)
        if delivery is None:
            return web.json_response({"status": "ignored"})
        is_new = await self.gateway.room_log.add(delivery)
        self._came.set()
        return web.json_response({"status": "stored" if is_new else "duplicate"})

    async def read(self) -> None:
        """Whenever something came, and at the start: read all there is; fails to a later try."""
        while True:
            try:
                while await read_deliveries(self.gateway):
                    pass
            except Exception:
                log.exception("reading webhooks failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), LOOK_MS / 1_000)
                await self._wait_for_quiet()
            self._came.clear()

    async def _wait_for_quiet(self) -> None:
        """Until nobody posts, or for a while: reading is for later, and takes time from answers."""
        for _ in range(QUIET_TRIES):
            self._came.clear()
            await asyncio.sleep(self.quiet_ms / 1_000)
            if not self._came.is_set():
                return

    async def look(self, service: RoomService) -> None:
        """Round after round over those in rooms, and over what is old enough to forget."""
        clock, forget_at_ms = self.gateway.clock, 0
        while True:
            try:
                if self.is_owner():
                    await look_after_guests(self.gateway, service, idle_ms=self.idle_ms)
                    if clock.now_ms() >= forget_at_ms:
                        forget_at_ms = clock.now_ms() + FORGET_MS
                        await self.gateway.room_log.forget(clock.now_ms() - KEPT_MS)
            except Exception:
                log.exception("looking after rooms failed")
            await clock.sleep_until(clock.now_ms() + LOOK_MS)

    async def roll(self, service: RoomService) -> None:
        """Ask who is in the rooms: at the start, every few minutes, and after a loss."""
        clock, called_ms = self.gateway.clock, 0
        while True:
            try:
                if not self.is_owner():
                    # Whoever becomes the owner begins with it.
                    called_ms = 0
                elif await self._roll_is_due(called_ms):
                    called_ms = clock.now_ms()
                    await call_the_roll(self.gateway, service)
            except Exception:
                log.exception("calling the roll failed")
            await clock.sleep_until(clock.now_ms() + LOOK_MS)

    async def _roll_is_due(self, called_ms: int) -> bool:
        since_ms = self.gateway.clock.now_ms() - called_ms
        if ROLL_MS_MIN <= since_ms < ROLL_MS:
            return await self.gateway.room_log.lost_at_ms() >= called_ms
        # A clock that was set back must not stop it.
        return since_ms >= ROLL_MS or since_ms < 0


async def _body(request: web.Request) -> bytes:
    """All of it, however it was sent; the site's own limit is for what customers send."""
    if request.content.is_eof():
        # As usual it came together with the head.
        whole = request.content.read_nowait()
        _check_size(len(whole))
        return whole
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                _check_size(size)
                chunks.append(chunk)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return b"".join(chunks)


def _check_size(size: int) -> None:
    if size > BODY_BYTES_MAX:
        raise web.HTTPRequestEntityTooLarge(max_size=BODY_BYTES_MAX, actual_size=size)
