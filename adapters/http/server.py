"""The socket side: our limits, no access log, and JSON even for what is not HTTP."""

from __future__ import annotations

import logging

from aiohttp import web

from adapters.http.errors import plain_error

HEADER_BYTES_MAX = 16 * 1024
SHUTDOWN_S = 5.0
LINGERING_S = 2.0

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
        text = "Internal error" if ours else "The request is not HTTP we understand"
        answer = plain_error(status, text)
        answer.force_close()
        return answer


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
            # How long a refused body is still read, so that its sender sees the answer.
            lingering_time=LINGERING_S,
            shutdown_timeout=SHUTDOWN_S,
        )

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(made.request_handler, request_factory=made.request_factory, **made._kwargs)  # noqa: SLF001 (no public way to give the server its handler)
