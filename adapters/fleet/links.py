"""A speech server's lines to all of its gateway's processes, and the reports it sends over them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from uuid import UUID

import aiohttp

from adapters.fleet.clock import GatewayClock
from adapters.fleet.link import ANSWER_S, BACK_OFF_S, NOT_UNDERSTOOD, Link
from adapters.fleet.outbox import Outbox
from adapters.fleet.passes import Passes
from adapters.fleet.revoked import Revoked
from adapters.fleet.sessions import AwayError, RemoteSessions, Taken
from adapters.fleet.words import EVENTS_PATH, REPORTS_MAX, Welcome, standing_of, usage_words
from domain.ports.speech_servers import SpeechServer
from domain.usage import Standing, Usage

# The gateway waits no longer for what a connection used.
REPORT_S = 1.5
DRAIN_S = 5.0

log = logging.getLogger(__name__)


class Links:
    """Implements `Gateways` and `House`: one link a gateway process, the first that is up serves.

    Every live connection has a home, the link that took it; where that breaks, another one becomes
    it, and where none is up, the first that comes.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        name: str,
        card: Callable[[], SpeechServer],
        passes: Passes,
        outbox: Outbox,
        clock: GatewayClock,
        http: aiohttp.ClientSession,
        known: Callable[[Welcome], None],
    ) -> None:
        self.card = card
        self._name = name
        self._passes = passes
        self._outbox = outbox
        self._clock = clock
        self._http = http
        self._known = known
        self._revoked = Revoked()
        self.sessions = RemoteSessions(self, outbox, self._revoked, clock=clock)
        self._homes: dict[UUID, Link] = {}
        self._links = [
            Link(url, self, name=name, passes=passes, clock=clock, http=http) for url in urls
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._goodbyes: set[asyncio.Task[None]] = set()
        self._reached = asyncio.Event()

    def start(self) -> None:
        self._tasks = [asyncio.create_task(link.keep_up()) for link in self._links]
        self._tasks.append(asyncio.create_task(self._report()))

    async def reached(self, *, wait_s: float) -> bool:
        """Whether a gateway has welcomed us, after waiting for it for so long."""
        try:
            async with asyncio.timeout(wait_s):
                await self._reached.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, *, wait_s: float = DRAIN_S) -> None:
        """Send what is left to report, for a while, and hang up; the rest goes another time."""
        if not await self._outbox.empty(wait_s=wait_s):
            log.warning("usage left to report", extra={"reports": len(self._outbox)})
        for task in (*self._tasks, *self._goodbyes):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._goodbyes, return_exceptions=True)
        for link in self._links:
            await link.close()

    async def take(self, session_id: UUID, connection_id: UUID) -> Taken:
        for link in self._links:
            if link.is_up:
                try:
                    taken = await link.take(session_id, connection_id)
                except AwayError:
                    continue
                self._homes[connection_id] = link
                return taken
        raise AwayError

    def gone(self, session_id: UUID, connection_id: UUID) -> None:
        task = asyncio.create_task(self._say_gone(session_id, connection_id))
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    async def leave(self, session_id: UUID, connection_id: UUID) -> None:
        line = self.sessions.line(connection_id)
        if line is not None:
            await line.taken_over()
        await self._outbox.drained(session_id, wait_s=REPORT_S)

    async def catch_up(self, session_id: UUID, connection_id: UUID) -> None:
        line = self.sessions.line(connection_id)
        if line is not None:
            await line.catch_up()
        await self._outbox.drained(session_id, wait_s=REPORT_S)

    def stands(self, standing: Standing) -> None:
        self.sessions.heard(standing)

    def is_over(self, session_id: UUID, reason: str) -> None:
        self._revoked.add(session_id, reason)

    def welcomed(self, link: Link, welcome: Welcome) -> None:
        self._known(welcome)
        self._reached.set()
        self._find_homes()

    def lost(self, link: Link) -> None:
        self._homes = {c: home for c, home in self._homes.items() if home is not link}
        self._find_homes()

    async def _say_gone(self, session_id: UUID, connection_id: UUID) -> None:
        """Not before it was billed: whoever ends the session asks for what is left to report."""
        await self._outbox.drained(session_id, wait_s=REPORT_S)
        home = self._homes.pop(connection_id, None)
        if home is not None:
            home.tell({"type": "gone", "connection_id": str(connection_id)})

    def _find_homes(self) -> None:
        up = next((link for link in self._links if link.is_up), None)
        if up is None:
            return
        homeless = {c: s for c, s in self.sessions.connections.items() if c not in self._homes}
        for connection_id, session_id in homeless.items():
            self._homes[connection_id] = up
            up.tell(
                {
                    "type": "rejoin",
                    "session_id": str(session_id),
                    "connection_id": str(connection_id),
                }
            )

    async def _report(self) -> None:
        """Send the oldest reports until there are none, one batch at a time, to whoever answers."""
        failures = 0
        while True:
            await self._outbox.wait()
            batch = self._outbox.batch(REPORTS_MAX)
            # Those that are up first; where none is, any may be up again.
            ranked = sorted(self._links, key=lambda link: not link.is_up)
            link = ranked[failures % len(ranked)]
            try:
                standings = await self._post(link.url, [usage for _, usage in batch])
                await self._outbox.sent([number for number, _ in batch])
            except NOT_UNDERSTOOD as no:
                if failures % len(self._links) == 0:
                    fields = {"gateway": link.url, "problem": repr(no), "left": len(self._outbox)}
                    log.warning("usage not reported; trying on", extra=fields)
                await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
                failures += 1
                continue
            failures = 0
            for standing in standings:
                self.sessions.heard(standing)

    async def _post(self, url: str, reports: Sequence[Usage]) -> list[Standing]:
        body = json.dumps({"events": [usage_words(usage) for usage in reports]}).encode()
        header = self._passes.sign(
            self._name, "POST", EVENTS_PATH, body, now_ms=self._clock.now_ms()
        )
        async with self._http.post(
            url + EVENTS_PATH,
            data=body,
            headers={"Authorization": header, "Content-Type": "application/json"},
            timeout=aiohttp.ClientTimeout(total=3 * ANSWER_S),
        ) as answer:
            if answer.status != HTTPStatus.OK:
                msg = f"the gateway answered {answer.status}"
                raise ConnectionError(msg)
            return [standing_of(words) for words in (await answer.json())["sessions"]]
