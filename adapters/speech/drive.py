"""Joins a wire, a dialect and the runtime: the only read loop there is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from adapters.log import bound
from adapters.speech.close import closing
from adapters.speech.dead_keys import DeadKeys, Visit
from adapters.speech.dialect import Dialect, Frame, Wire
from domain.booth import Booth
from domain.errors import GatewayError
from domain.use_cases.speech_messages import (
    Failed,
    Farewell,
    Inbound,
    Misheard,
    Outbound,
    ShuttingDown,
    TooLarge,
)
from domain.use_cases.speech_session import SpeechSession

FRAME_BYTES_MAX = 1 << 20
_GRACE_S = 10.0

log = logging.getLogger(__name__)


class Connections:
    """The live connections of this process, so that they can be told to leave."""

    def __init__(self) -> None:
        self._live: set[SpeechSession] = set()
        self._empty = asyncio.Event()
        self.closed = False
        self.dead_keys = DeadKeys()

    def __len__(self) -> int:
        return len(self._live)

    @contextmanager
    def holding(self, session: SpeechSession) -> Iterator[None]:
        self._live.add(session)
        if self.closed:
            session.leave(ShuttingDown())
        try:
            yield
        finally:
            self._live.discard(session)
            if not self._live:
                self._empty.set()

    async def close(self) -> None:
        """Stop every clock, tell every peer, and return when all are gone or the grace is over."""
        self.closed = True
        self._empty.clear()
        for session in self._live:
            session.leave(ShuttingDown())
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                if self._live:
                    await self._empty.wait()


async def drive(booth: Booth, wire: Wire, dialect: Dialect, connections: Connections) -> None:
    """Serve one connection from its first frame to its close frame."""

    async def say(message: Outbound) -> None:
        for frame in dialect.encode(message):
            await wire.send(frame)

    session = SpeechSession(booth, say)
    with (
        connections.holding(session),
        bound(connection_id=str(session.connection_id), dialect=dialect.name),
    ):
        visit = Visit(connections.dead_keys, booth.clock)
        farewell = await _run(session, visit.screened(_listen(wire, dialect)))
        visit.ended(farewell)
        with suppress(ConnectionError):
            await say(farewell)
        ending = closing(farewell)
        await wire.close(ending.code, ending.reason)


async def _run(session: SpeechSession, inbound: AsyncGenerator[Inbound, None]) -> Farewell:
    farewell: Farewell = Failed()
    try:
        farewell = await session.run(inbound)
    except Exception:
        # Whatever an engine or a store raises ends this connection, and no other.
        log.exception("speech connection failed", extra={"session_id": str(session.session_id)})
    facts = {"session_id": str(session.session_id), "farewell": type(farewell).__name__}
    log.info("speech connection closed", extra=facts)
    return farewell


async def _listen(wire: Wire, dialect: Dialect) -> AsyncGenerator[Inbound, None]:
    async with aclosing(wire.frames()) as frames:
        async for frame in frames:
            if len(frame) > FRAME_BYTES_MAX:
                yield TooLarge(FRAME_BYTES_MAX)
                return
            message = _decode(dialect, frame)
            if message is not None:
                yield message


def _decode(dialect: Dialect, frame: Frame) -> Inbound | None:
    try:
        return dialect.decode(frame)
    except GatewayError as refusal:
        return Misheard(refusal)
