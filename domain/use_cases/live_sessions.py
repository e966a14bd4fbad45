"""The sessions of live connections, in the ledger of this very process."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.booth import Booth, Change
from domain.gateway import Gateway
from domain.ledger import Work
from domain.ports.keys import SessionKey
from domain.ports.speech import Synthesizer, Transcriber
from domain.session import Session
from domain.switchboard import Line
from domain.use_cases.close_session import settle_spent


def booth_in(gateway: Gateway, transcriber: Transcriber, synthesizer: Synthesizer) -> Booth:
    """Connections of the gateway's own process."""
    return Booth(
        sessions=LedgerSessions(gateway),
        keys=gateway.keys,
        clock=gateway.clock,
        transcriber=transcriber,
        synthesizer=synthesizer,
        heartbeat_ms=gateway.terms.heartbeat_ms,
        new_id=gateway.new_id,
    )


class LedgerSessions:
    """Implements `LiveSessions`: every call is a command of the ledger."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def take(self, key: SessionKey, line: Line, *, connection_id: UUID) -> Session:
        gateway, session_id = self._gateway, key.session_id
        command = partial(_open_session, session_id=session_id, at_ms=gateway.clock.now_ms())
        await gateway.books.run(command)
        try:
            # What an older connection used must be in the ledger before the newer one counts on.
            await gateway.switchboard.take_over(session_id, line, connection_id=connection_id)
            return await gateway.books.run(
                partial(_take_session, session_id=session_id, at_ms=gateway.clock.now_ms())
            )
        except BaseException:  # a connection that gives up leaves no line behind either
            self.let_go(session_id, line)
            raise

    async def change(self, session_id: UUID, change: Change, *, at_ms: int) -> Session:
        return await self._gateway.books.run(
            partial(_changed, session_id=session_id, change=change, at_ms=at_ms)
        )

    async def settle_spent(self, session_id: UUID) -> Session:
        return await settle_spent(self._gateway, session_id)

    def let_go(self, session_id: UUID, line: Line) -> None:
        self._gateway.switchboard.disconnect(session_id, line)

    async def language(self, session_id: UUID) -> str:
        found = await self._gateway.details.find([session_id])
        return found[session_id].language if session_id in found else ""


def _open_session(work: Work, *, session_id: UUID, at_ms: int) -> Session:
    session = work.session(session_id)
    session.check_open(at_ms)
    return session


def _take_session(work: Work, *, session_id: UUID, at_ms: int) -> Session:
    """The session for a connection that has made every other one leave.

    A clock that runs all the same is that of a process which died: it ends where it was last seen
    (B10), or the customer would pay for our fault up to now.
    """
    session = work.session(session_id)
    session.recover()
    session.check_open(at_ms)
    return session


def _changed(work: Work, *, session_id: UUID, change: Change, at_ms: int) -> Session:
    """The session after a change of its own; one that is over stays as it is."""
    session = work.session(session_id)
    if session.is_open:
        change(session, at_ms=at_ms)
    return session
