"""The doors of the house: open until it stops, then shut in good order."""

from __future__ import annotations

import asyncio

from aiohttp import web

from adapters.http.errors import Handler, shutting_down


class Doors:
    """Who is inside is served and shown out; who comes after is asked to come again.

    Behind a door that is shut every answer says `Connection: close`, so that clients look for a
    server that stays, and none of them waits on a connection that is about to go.
    """

    def __init__(self) -> None:
        self._shut = False
        self._last_call = False
        self._inside: set[asyncio.Task[object]] = set()

    def shut(self) -> None:
        """From now on nobody comes in; safe to repeat."""
        self._shut = True

    def last_call(self) -> None:
        """Whoever is still inside is asked to come again, too, unless an answer was begun.

        What was commanded goes on: a repeat finds it done.
        """
        self._last_call = True
        for task in self._inside:
            task.cancel()

    @web.middleware
    async def pass_through(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = shutting_down() if self._shut else await self._served(request, handler)
        if self._shut and not answer.prepared:
            answer.force_close()
        return answer

    async def _served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None, "the server runs each request in a task"  # noqa: S101 (it cannot be otherwise)
        self._inside.add(task)
        try:
            return await handler(request)
        except asyncio.CancelledError:
            if not self._last_call or request.writer.output_size > 0:
                raise
            task.uncancel()
            return shutting_down()
        finally:
            self._inside.discard(task)


DOORS = web.AppKey("doors", Doors)
