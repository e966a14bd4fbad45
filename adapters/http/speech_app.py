"""The HTTP side of a speech server: its stream, its health, and no for all else."""

from __future__ import annotations

from aiohttp import web

from adapters.http.app import Stream, log_fields
from adapters.http.browsers import add_common_headers, preflights
from adapters.http.doors import DOORS, Doors
from adapters.http.errors import errors_as_json
from adapters.http.gate import Gate
from adapters.http.site import Health, health_answer


def speech_application(*, stream: Stream, health: Health, gate: Gate) -> web.Application:
    """`stream` answers `/v1/stream`; the rules of the gateway's own door hold."""
    doors = Doors()
    app = web.Application(
        middlewares=(log_fields, doors.pass_through, errors_as_json, preflights, gate.pass_in)
    )
    app[DOORS] = doors
    app.on_response_prepare.append(add_common_headers)

    async def tell_health(_request: web.Request) -> web.Response:
        return health_answer(await health())

    app.router.add_get("/v1/stream", stream)
    app.router.add_get("/internal/health", tell_health)
    return app
