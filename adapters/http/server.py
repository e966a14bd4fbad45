"""The socket side: our limits, no access log, and JSON even for what is not HTTP."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage, LineTooLong

from adapters.http.browsers import mark
from adapters.http.doors import DOORS
from adapters.http.errors import plain_error

HEADER_BYTES_MAX = 16 * 1024
HEADERS_MAX = 128
# Also for a first request whose headers do not come.
KEEPALIVE_S = 75.0
# Before the library cuts off whoever is still served.
LAST_CALL_S = 4.0
SHUTDOWN_S = 5.0
LINGERING_S = 2.0
# How long clients that kept their connection are still answered, with 503 and a close.
FAREWELL_S = 0.5
_LOOK_S = 0.01

log = logging.getLogger(__name__)


class _Connection(web.RequestHandler):
    """Answers what could not be parsed as JSON, where the library has a page."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if isinstance(exc, ConnectionError):
            # The client went away; the library ends the connection without a word.
            raise exc
        ours = status >= 500  # noqa: PLR2004 (the server's own failures start there)
        if ours:
            log.error("connection failed", exc_info=exc)
        if request.writer.output_size > 0:
            # Half an answer cannot become an error any more.
            raise ConnectionResetError
        answer = plain_error(status, "Internal error" if ours else _what_is_wrong(exc))
        mark(request, answer)
        answer.force_close()
        return answer


def _what_is_wrong(exc: BaseException | None) -> str:
    if isinstance(exc, LineTooLong):
        return f"The address or a header line is longer than {HEADER_BYTES_MAX} bytes"
    if isinstance(exc, BadHttpMessage) and "Too many headers" in exc.message:
        return f"There are more than {HEADERS_MAX} headers"
    return "The request is not HTTP we understand"


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Runs an application under our limits; use like `aiohttp.web.AppRunner`."""

    __slots__ = ()

    def __init__(self, app: web.Application) -> None:
        super().__init__(
            app,
            access_log=None,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            keepalive_timeout=KEEPALIVE_S,
            # How long a refused body is still read, so that its sender sees the answer.
            lingering_time=LINGERING_S,
            shutdown_timeout=SHUTDOWN_S,
        )

    def take_no_more(self) -> None:
        """Answer what still comes with 503 and `Connection: close`; what is under way goes on."""
        if DOORS in self.app:
            self.app[DOORS].shut()

    async def cleanup(self) -> None:
        """Take no more, give what is under way its time, and close."""
        self.take_no_more()
        await self._see_guests_off()
        await super().cleanup()

    async def shutdown(self) -> None:
        await super().shutdown()
        if DOORS in self.app:
            asyncio.get_running_loop().call_later(LAST_CALL_S, self.app[DOORS].last_call)
        # Whoever was let in as the listener closed would be waited for as if something were asked.
        await asyncio.sleep(_LOOK_S)
        if self.server is not None:
            self.server.pre_shutdown()

    async def _see_guests_off(self) -> None:
        """Leave the listener open for a moment: who asks once more is told, not cut off."""
        loop = asyncio.get_running_loop()
        until = loop.time() + FAREWELL_S
        while self.server is not None and self.server.connections and loop.time() < until:  # noqa: ASYNC110 (the library tells nobody when a connection ends)
            await asyncio.sleep(_LOOK_S)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()

        async def answered(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await made.request_handler(request)
            except web.HTTPException as page:
                # Before any of our own code: an `Expect` that nobody understands.
                return plain_error(400, f"{page.reason}: only 100-continue is understood")

        return _Server(answered, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001 (no public way to give the server its handler)
