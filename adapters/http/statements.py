"""What a wallet did in a period: as JSON to check, as CSV to read, as FOCUS to compare."""

from __future__ import annotations

import asyncio

from aiohttp import web

from adapters.http.bodies import malformed
from adapters.http.identity import Doorman
from domain.gateway import Gateway
from domain.period import HOUR_FORM, HOUR_MS, parse_hour
from domain.use_cases.read_statement import FORMATS, PERIOD_MS_MAX, read_statement

_DAY_MS = 24 * HOUR_MS
_TYPES = {"json": "application/json", "csv": "text/csv", "focus": "text/csv"}


class Statements:
    """One at a time: a long one is a second's work, and nobody is to be late for it."""

    def __init__(self, gateway: Gateway, doorman: Doorman) -> None:
        self._gateway = gateway
        self._doorman = doorman
        self._one = asyncio.Semaphore(1)

    async def read(self, request: web.Request) -> web.Response:
        caller = self._doorman.admit(request)
        from_ms, to_ms = _hour(request, "from"), _hour(request, "to")
        if not from_ms < to_ms <= from_ms + PERIOD_MS_MAX:
            days = PERIOD_MS_MAX // _DAY_MS
            raise malformed("to", f"later than from, by at most {days} days", request.query["to"])
        form = request.query.get("format", "json")
        if form not in FORMATS:
            raise malformed("format", " or ".join(FORMATS), form)
        async with self._one:
            text = await read_statement(
                self._gateway, caller.account_id, from_ms=from_ms, to_ms=to_ms, form=form
            )
        return web.Response(
            text=text,
            content_type=_TYPES[form],
            headers={"Content-Disposition": f'attachment; filename="{_name(request, form)}"'},
        )


def _hour(request: web.Request, name: str) -> int:
    text = request.query.get(name)
    try:
        return parse_hour(text or "")
    except ValueError as unreadable:
        raise malformed(name, HOUR_FORM, text) from unreadable


def _name(request: web.Request, form: str) -> str:
    """A file's name from texts that were read as hours before."""
    period = f"{request.query['from']}-{request.query['to']}".replace(":", "")
    kind = "json" if form == "json" else "csv"
    return f"statement-{period}.{kind}" if form != "focus" else f"statement-{period}.focus.{kind}"
