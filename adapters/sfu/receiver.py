"""The webhook's door: store first, answer, read afterwards."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import web

from adapters.sfu.webhook import Posted, Webhooks
from domain.gateway import Gateway
from domain.ports.room_events import RoomService
from domain.use_cases.room_events import KEPT_MS, look_after_guests, read_deliveries

WEBHOOK_PATH = "/v1/webhooks/sfu"
BODY_BYTES_MAX = 256 * 1024
BODY_WAIT_S = 15
CONTENT_TYPES = ("application/webhook+json", "application/json")
LOOK_MS = 5_000
FORGET_MS = 60 * 60_000

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Receiver:
    """Takes webhooks in, and follows up on them in `follow`, which runs for as long as we do."""

    gateway: Gateway
    webhooks: Webhooks
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
                while await read_deliveries(self.gateway, self.webhooks):
                    pass
            except Exception:
                log.exception("reading webhooks failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), LOOK_MS / 1_000)
            self._came.clear()

    async def look(self, service: RoomService) -> None:
        """One round over those in rooms, and over what is old enough to forget."""
        await look_after_guests(self.gateway, service)
        await self.gateway.room_log.forget(self.gateway.clock.now_ms() - KEPT_MS)


async def _body(request: web.Request) -> bytes:
    """All of it, however it was sent; the site's own limit is for what customers send."""
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_WAIT_S):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > BODY_BYTES_MAX:
                    raise web.HTTPRequestEntityTooLarge(max_size=BODY_BYTES_MAX, actual_size=size)
                chunks.append(chunk)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    return b"".join(chunks)
