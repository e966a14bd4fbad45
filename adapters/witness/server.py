"""A witness over HTTP: C2SP tlog-witness."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from aiohttp import web

from adapters.witness.request import BYTES_MAX, PATH, SIZE_TYPE
from adapters.witness.witness import CONFLICT, RefusedError, Witness

log = logging.getLogger(__name__)


class WitnessRoutes:
    """Answers `add-checkpoint`, and `GET /` with its key for whoever wants to trust it."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BYTES_MAX)
        app.router.add_post(PATH, self.add_checkpoint)
        app.router.add_get("/", self.key)
        return app

    async def key(self, request: web.Request) -> web.Response:
        return web.Response(text=self._witness.key.text + "\n")

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        data = await request.read()
        try:
            # A thread of its own that runs to its end: a caller who leaves changes nothing.
            line = await asyncio.to_thread(self._witness.add_checkpoint, data)
        except RefusedError as refusal:
            fields = {"status": refusal.status, "why": str(refusal)}
            log.warning("not cosigned", extra=fields)
            if refusal.status == CONFLICT:
                return web.Response(
                    text=f"{refusal.size}\n", status=CONFLICT, content_type=SIZE_TYPE
                )
            return web.Response(text=f"{refusal}\n", status=refusal.status)
        except sqlite3.Error:
            # What cannot be remembered is not signed.
            log.exception("the witness cannot write")
            return web.Response(text="cannot write\n", status=503)
        return web.Response(text=line, content_type="text/plain", charset="utf-8")
