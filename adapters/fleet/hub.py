"""The gateway's end of the fleet: which speech servers there are, and the lines they serve."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from aiohttp import WSMsgType, web

from adapters.fleet.passes import Passes
from adapters.fleet.words import (
    REPORTS_MAX,
    card_of,
    parse,
    refusal_words,
    standing_words,
    usage_of,
    uuid_of,
)
from domain.errors import (
    BusyError,
    GatewayError,
    LedgerDownError,
    MalformedError,
    NotFoundError,
)
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.keys import SessionKey
from domain.ports.speech_servers import SpeechServer, SpeechServers, choose
from domain.record import Record
from domain.session import Session
from domain.usage import Standing, Usage
from domain.use_cases.live_sessions import LedgerSessions
from domain.use_cases.record_usage import record_usage

HELLO_S = 5.0
HEARTBEAT_S = 5.0
# A server that does not answer in that time is billed by what it reported before.
ANSWER_S = 2.0
CLOSE_S = 1.0
MESSAGE_BYTES_MAX = 1 << 20

log = logging.getLogger(__name__)


class Fleet:
    """Implements `SpeechServers` over whoever has registered, with the gateway's `own` if any.

    `link` answers a server's WebSocket, `events` its reports; both are known by their passes.
    """

    def __init__(self, *, passes: Passes, own: SpeechServers | None = None) -> None:
        self._passes = passes
        self._own = own
        self._servers: dict[str, _Server] = {}
        self._gateway: Gateway
        self._issuer: tuple[str, bytes]

    def attach(self, gateway: Gateway, *, issuer: str, public_key: bytes) -> None:
        """The gateway whose sessions are served, and whose session keys; before anything else."""
        self._gateway = gateway
        self._issuer = issuer, public_key

    def choose(self, service: str, *, region: str) -> SpeechServer:
        chosen = choose(self.servers(), service, region=region)
        server = self._servers.get(chosen.name)
        if server is not None:
            # Until it says so itself, so that a rush does not all go to the one that was free.
            server.card = replace(chosen, live=chosen.live + 1)
        return chosen

    def servers(self) -> Sequence[SpeechServer]:
        own = self._own.servers() if self._own is not None else ()
        return (*own, *(server.card for server in self._servers.values()))

    async def events(self, request: web.Request) -> web.Response:
        """Record a batch of reports; the answer says how their sessions stand."""
        body = await request.read()
        name = self._name_of(request, body)
        reports = _reports(parse(body.decode(errors="replace")), name)
        standings = await record_usage(self._gateway, reports)
        return web.json_response(
            {
                "accepted": len(reports),
                "sessions": [standing_words(standing) for standing in standings],
            }
        )

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Serve one server's line until it breaks off."""
        name = self._name_of(request, b"")
        socket = web.WebSocketResponse(
            heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_BYTES_MAX, timeout=CLOSE_S
        )
        await socket.prepare(request)
        try:
            async with asyncio.timeout(HELLO_S):
                hello = parse(await socket.receive_str())
            card = card_of(hello.get("card"), name=name)
        except (TimeoutError, TypeError, MalformedError) as problem:
            await socket.close(code=4400, message=str(problem)[:100].encode())
            return socket
        server = _Server(self._gateway, socket, card)
        await self._serve(server, name)
        return socket

    def over(self, record: Record) -> None:
        """A session was closed: servers need not ask before they refuse its key."""
        for server in self._servers.values():
            server.tell(
                {
                    "type": "over",
                    "session_id": str(record.originator_id),
                    "reason": str(record.fields["reason"]),
                }
            )

    async def close(self) -> None:
        """Hang up; the servers go on and look for another gateway."""
        for server in list(self._servers.values()):
            await server.hang_up()

    async def _serve(self, server: _Server, name: str) -> None:
        older = self._servers.get(name)
        self._servers[name] = server
        if older is not None:
            await older.hang_up()
        issuer, public_key = self._issuer
        log.info("speech server registered", extra={"server": name, "url": server.card.url})
        try:
            await server.welcome(
                {
                    "type": "welcome",
                    "now_ms": self._gateway.clock.now_ms(),
                    "issuer": issuer,
                    "public_key": public_key.hex(),
                }
            )
            await server.listen()
        finally:
            if self._servers.get(name) is server:
                del self._servers[name]
            server.forget_lines()
            log.info("speech server gone", extra={"server": name})

    def _name_of(self, request: web.Request, body: bytes) -> str:
        return self._passes.check(
            request.headers.get("Authorization", ""),
            request.method,
            request.path,
            body,
            now_ms=self._gateway.clock.now_ms(),
        )


class RemoteLine:
    """A `Line` that ends in a speech server."""

    def __init__(self, server: _Server, session_id: UUID, connection_id: UUID) -> None:
        self.session_id = session_id
        self.connection_id = connection_id
        self._server = server

    async def catch_up(self) -> None:
        await self._server.ask("catch_up", self.session_id, self.connection_id)

    async def taken_over(self) -> None:
        await self._server.ask("leave", self.session_id, self.connection_id)

    def changed(self) -> None:
        self._server.begin(self._server.tell_standing(self.session_id))


class _Server:
    """One server that is connected now."""

    def __init__(self, gateway: Gateway, socket: web.WebSocketResponse, card: SpeechServer) -> None:
        self.card = card
        self._gateway = gateway
        self._socket = socket
        self._sessions = LedgerSessions(gateway)
        self._lines: dict[UUID, RemoteLine] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def welcome(self, words: dict[str, object]) -> None:
        with suppress(ConnectionError):
            await self._socket.send_json(words)

    async def listen(self) -> None:
        """Act on what the server says, each thing by itself, until it says no more."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                break
            try:
                self._heard(parse(message.data))
            except MalformedError as problem:
                fields = {"server": self.card.name, "problem": str(problem)}
                log.warning("speech server not understood", extra=fields)

    def tell(self, words: dict[str, object]) -> None:
        self.begin(self._send(words))

    def begin(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def tell_standing(self, session_id: UUID) -> None:
        with suppress(GatewayError):
            session = await self._gateway.books.run(partial(Work.session, session_id=session_id))
            standing = standing_words(Standing.of(session))
            await self._send({"type": "stands", "session": standing})

    async def ask(self, word: str, session_id: UUID, connection_id: UUID) -> None:
        """Have a connection leave or report; a server that does not answer is not waited for."""
        if self._socket.closed:
            return
        number = next(self._numbers)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._send(
                    {
                        "type": word,
                        "id": number,
                        "session_id": str(session_id),
                        "connection_id": str(connection_id),
                    }
                )
                await answer
        except TimeoutError:
            log.warning("speech server silent", extra={"server": self.card.name, "asked": word})
        finally:
            self._asked.pop(number, None)

    def forget_lines(self) -> None:
        """The server is gone, or has another line: its connections report to others from now on."""
        for line in self._lines.values():
            self._gateway.switchboard.disconnect(line.session_id, line)
        self._lines.clear()
        for task in self._tasks:
            task.cancel()
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(None)

    async def hang_up(self) -> None:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._socket.close(code=1001)

    def _heard(self, words: dict[str, Any]) -> None:
        match words.get("type"):
            case "card":
                self.card = card_of(words.get("card"), name=self.card.name)
            case "take":
                self.begin(self._take(words))
            case "rejoin":
                self.begin(self._rejoin(words))
            case "gone":
                self._gone(uuid_of(words, "connection_id"))
            case "done":
                answer = self._asked.get(words.get("id", 0))
                if answer is not None and not answer.done():
                    answer.set_result(None)
            case unknown:
                raise MalformedError(
                    where="type", expected="a word of specs/fleet.md", got=str(unknown)[:40]
                )

    async def _take(self, words: dict[str, Any]) -> None:
        session_id = uuid_of(words, "session_id")
        line = self._line(session_id, uuid_of(words, "connection_id"))
        # Only the session is asked for: whose key it was, the server has seen.
        key = SessionKey(session_id=session_id, service=self.card.service, expires_at_ms=0)
        try:
            session = await self._sessions.take(key, line, connection_id=line.connection_id)
            answer: dict[str, object] = {
                "type": "taken",
                "session": standing_words(Standing.of(session)),
                "language": await self._sessions.language(session_id),
            }
        except GatewayError as refusal:
            self._lines.pop(line.connection_id, None)
            answer = {"type": "refused", "refusal": refusal_words(refusal)}
        await self._send({**answer, "id": words.get("id")})

    def _line(self, session_id: UUID, connection_id: UUID) -> RemoteLine:
        """A line for a connection, in the place of one it had that broke off or was asked twice."""
        switchboard = self._gateway.switchboard
        stale = switchboard.line(session_id)
        if stale is not None and getattr(stale, "connection_id", None) == connection_id:
            # Told to leave, it would take the connection with it.
            switchboard.disconnect(session_id, stale)
        line = self._lines[connection_id] = RemoteLine(self, session_id, connection_id)
        return line

    async def _rejoin(self, words: dict[str, Any]) -> None:
        """A connection that was another gateway process's, or ours before a restart."""
        session_id, connection_id = uuid_of(words, "session_id"), uuid_of(words, "connection_id")
        try:
            session = await self._session(session_id)
        except NotFoundError:
            await self.ask("leave", session_id, connection_id)
            return
        if self._is_replaced(session, connection_id):
            await self.ask("leave", session_id, connection_id)
            return
        if not session.is_open:
            await self.tell_standing(session_id)
            return
        line = self._line(session_id, connection_id)
        await self._gateway.switchboard.take_over(session_id, line, connection_id=connection_id)
        await self.tell_standing(session_id)

    async def _session(self, session_id: UUID) -> Session:
        """The session, however long the ledger takes to have an owner again."""
        while True:
            try:
                return await self._gateway.books.run(partial(Work.session, session_id=session_id))
            except (BusyError, LedgerDownError) as later:
                clock = self._gateway.clock
                await clock.sleep_until(clock.now_ms() + later.retry_after_ms)

    def _is_replaced(self, session: Session, connection_id: UUID) -> bool:
        if session.is_running and session.connection_id != connection_id:
            return True
        current = self._gateway.switchboard.line(session.id)
        return current is not None and getattr(current, "connection_id", None) != connection_id

    def _gone(self, connection_id: UUID) -> None:
        line = self._lines.pop(connection_id, None)
        if line is not None:
            self._gateway.switchboard.disconnect(line.session_id, line)

    async def _send(self, words: dict[str, object]) -> None:
        # A line that is broken is noticed by whoever listens to it.
        with suppress(ConnectionError, RuntimeError):
            await self._socket.send_json(words)


def _reports(words: dict[str, Any], name: str) -> list[Usage]:
    """The batch; a report nobody understands is left out, or it would hold up all others."""
    events = words.get("events")
    if not isinstance(events, list) or len(events) > REPORTS_MAX:
        raise MalformedError(
            where="events",
            expected=f"a list of at most {REPORTS_MAX} reports",
            got=str(events)[:40],
        )
    reports = []
    for event in events:
        try:
            reports.append(usage_of(event))
        except MalformedError as problem:
            log.warning("report not understood", extra={"server": name, "problem": str(problem)})
    return reports
