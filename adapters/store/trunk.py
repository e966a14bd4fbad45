"""How processes of one gateway speak of their live lines: a table of who has which, and NOTIFY."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import LiteralString
from uuid import UUID, uuid4

from eventsourcing.persistence import PersistenceError

from adapters.store import postgres_schema as sql
from adapters.store.postgres_connections import Readers, connect, translated
from domain.errors import GatewayError
from domain.switchboard import Switchboard

# A process that is alive answers within milliseconds; one that is not never does.
ANSWER_S = 2.0

_CREATE: LiteralString = """
CREATE SCHEMA IF NOT EXISTS payphone_private;
CREATE TABLE IF NOT EXISTS payphone_private.lines (
    session_id uuid PRIMARY KEY,
    connection_id uuid NOT NULL,
    process uuid NOT NULL
);
"""
# The row as it was, locked until the new one is in its place.
_CONNECT: LiteralString = (
    "WITH before AS (SELECT process FROM payphone_private.lines WHERE session_id = %(session)s "
    "FOR UPDATE), put AS (INSERT INTO payphone_private.lines "
    "VALUES (%(session)s, %(connection)s, %(process)s) ON CONFLICT (session_id) DO UPDATE "
    "SET connection_id = EXCLUDED.connection_id, process = EXCLUDED.process) "
    "SELECT process FROM before"
)
_FIND: LiteralString = "SELECT process FROM payphone_private.lines WHERE session_id = %s"
_DISCONNECT: LiteralString = (
    "DELETE FROM payphone_private.lines WHERE session_id = %s AND connection_id = %s "
    "RETURNING session_id"
)
_SAY: LiteralString = "SELECT pg_notify('payphone_lines', %s)::text"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What one process says to another: `leave`, `catch_up`, or that it is `done`."""

    verb: str
    to: UUID
    sender: UUID
    number: UUID
    session_id: UUID
    connection_id: UUID

    @property
    def text(self) -> str:
        ids = (self.to, self.sender, self.number, self.session_id, self.connection_id)
        return " ".join((self.verb, *(i.hex for i in ids)))

    @classmethod
    def parse(cls, text: str) -> _Word:
        verb, *ids = text.split(" ")
        to, sender, number, session_id, connection_id = (UUID(hex=i) for i in ids)
        return cls(
            verb=verb,
            to=to,
            sender=sender,
            number=number,
            session_id=session_id,
            connection_id=connection_id,
        )


class PostgresTrunk:
    """Implements `Trunk`. `attach` it to the loop and the switchboard whose lines it answers for.

    A row may outlive its process or its line: whoever is asked and has no such line says so at
    once, and whoever is dead costs the asker `ANSWER_S`, once.
    """

    def __init__(self, url: str) -> None:
        with translated(), connect(url) as connection, connection.transaction():
            connection.execute(sql.LOCK_SCHEMA)
            connection.execute(_CREATE)
        self._connections = Readers(url)
        self._me = uuid4()
        self._answers: dict[UUID, asyncio.Future[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._switchboard: Switchboard | None = None

    def attach(self, switchboard: Switchboard) -> None:
        """From now on what others ask is answered, in the running loop."""
        self._loop, self._switchboard = asyncio.get_running_loop(), switchboard

    async def connected(self, session_id: UUID, connection_id: UUID) -> None:
        values = {"session": session_id, "connection": connection_id, "process": self._me}
        await self._ask(
            "leave", session_id, connection_id, lambda: self._connections.read(_CONNECT, values)
        )

    async def catch_up(self, session_id: UUID) -> None:
        await self._ask(
            "catch_up", session_id, self._me, lambda: self._connections.read(_FIND, (session_id,))
        )

    def disconnected(self, session_id: UUID, connection_id: UUID) -> None:
        if self._loop is None:
            return

        async def forget() -> None:
            await asyncio.to_thread(
                self._connections.read, _DISCONNECT, (session_id, connection_id)
            )

        self._begin(forget())

    def heard(self, text: str) -> None:
        """What the listener heard, from its thread."""
        try:
            word = _Word.parse(text)
        except ValueError:
            log.warning("not a word about lines", extra={"length": len(text)})
            return
        if word.to == self._me and self._loop is not None:
            self._loop.call_soon_threadsafe(self._take, word)

    def close(self) -> None:
        self._loop = None
        self._connections.close()

    async def _ask(
        self,
        verb: str,
        session_id: UUID,
        connection_id: UUID,
        find: Callable[[], list[tuple[UUID]]],
    ) -> None:
        """Ask the process that has the line, and wait for its answer."""
        number = uuid4()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            for (process,) in await asyncio.to_thread(find):
                if process == self._me:
                    continue
                word = _Word(
                    verb=verb,
                    to=process,
                    sender=self._me,
                    number=number,
                    session_id=session_id,
                    connection_id=connection_id,
                )
                await self._say(word)
                await asyncio.wait_for(answer, ANSWER_S)
        except TimeoutError:
            log.info("no answer about a line", extra={"session_id": str(session_id)})
        except PersistenceError as failure:
            log.warning("lines not reached", extra={"failure": str(failure)})
        finally:
            del self._answers[number]

    async def _say(self, word: _Word) -> None:
        await asyncio.to_thread(self._connections.read, _SAY, (word.text,))

    def _take(self, word: _Word) -> None:
        if word.verb != "done":
            self._begin(self._serve(word))
            return
        answer = self._answers.get(word.number)
        if answer is not None and not answer.done():
            answer.set_result(None)

    async def _serve(self, word: _Word) -> None:
        """Do what was asked, then say so; what fails here is not answered."""
        assert self._switchboard is not None  # noqa: S101 (attached before anything is heard)
        if word.verb == "leave":
            await self._switchboard.leave(word.session_id, word.connection_id)
        else:
            line = self._switchboard.line(word.session_id)
            if line is not None:
                await line.catch_up()
        await self._say(
            _Word(
                verb="done",
                to=word.sender,
                sender=self._me,
                number=word.number,
                session_id=word.session_id,
                connection_id=word.connection_id,
            )
        )

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Awaitable[None]) -> None:
        try:
            await work
        except (PersistenceError, GatewayError) as failure:
            log.warning("lines not served", extra={"failure": str(failure)})
