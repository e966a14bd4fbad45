"""The log for anybody: its entries, and proofs between any two sizes it ever had.

Entries are public. They hold wallet addresses, amounts, times, random ids, and what was signed to
pay (which its chain shows as well), nothing else.
"""

from __future__ import annotations

import base64

from aiohttp import web

from adapters.http.bodies import malformed, query_count
from domain.ports.log import TransparencyLog

ENTRIES_MAX = 1_000
ENTRIES_DEFAULT = 100
_SIZE_HEADER = "X-Log-Size"


class LogRoutes:
    """Reads only; needs no wallet."""

    def __init__(self, log: TransparencyLog) -> None:
        self._log = log

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/v1/log/entries", self.entries)
        app.router.add_get("/v1/log/proof", self.proof)

    async def entries(self, request: web.Request) -> web.Response:
        """Leaves from `start` on, one a line, each line the very bytes that were hashed."""
        size = self._log.size
        # One past the end is no mistake: it is how a follower asks for what is new.
        start = query_count(request, "start", least=1, most=size + 1, default=1)
        count = query_count(request, "count", least=1, most=ENTRIES_MAX, default=ENTRIES_DEFAULT)
        leaves = await self._log.entries(start=start, count=count)
        return web.Response(
            body=b"".join(leaf + b"\n" for leaf in leaves),
            content_type="application/x-ndjson",
            headers={_SIZE_HEADER: str(size)},
        )

    async def proof(self, request: web.Request) -> web.Response:
        """Inclusion for `position` (and `size`), or consistency from `first` to `second`."""
        if ("position" in request.query) == ("first" in request.query):
            raise malformed("query", "either position (inclusion) or first (consistency)", None)
        if "position" in request.query:
            return await self._inclusion(request)
        return await self._consistency(request)

    async def _inclusion(self, request: web.Request) -> web.Response:
        now = self._log.size
        size = query_count(request, "size", least=1, most=now, default=now)
        position = query_count(request, "position", least=1, most=size, default=1)
        found = await self._log.inclusion(position, size=size)
        return web.json_response(
            {
                "position": found.position,
                "size": found.size,
                "leaf_hash": _text(found.leaf),
                "root": _text(found.root),
                "proof": [_text(h) for h in found.hashes],
                "checkpoint": found.checkpoint,
            }
        )

    async def _consistency(self, request: web.Request) -> web.Response:
        now = self._log.size
        second = query_count(request, "second", least=1, most=now, default=now)
        first = query_count(request, "first", least=1, most=second, default=1)
        found = await self._log.consistency(first=first, second=second)
        return web.json_response(
            {
                "first": found.first,
                "second": found.second,
                "first_root": _text(found.first_root),
                "second_root": _text(found.second_root),
                "proof": [_text(h) for h in found.hashes],
            }
        )


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
