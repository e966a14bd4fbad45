"""The one live runtime: a connection that listens or speaks, and spends one session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Protocol
from uuid import UUID

from domain.booth import Booth
from domain.errors import (
    BusyError,
    GatewayError,
    LedgerDownError,
    MalformedError,
    NoCapacityError,
)
from domain.ports.speech import VoiceOptions
from domain.use_cases.meter import Extended, Meter, Over, Replaced, connect_session
from domain.use_cases.speech_ear import Ear
from domain.use_cases.speech_messages import (
    ExtensionShown,
    Farewell,
    Heard,
    Inbound,
    Left,
    ListenAsked,
    Misheard,
    Outbound,
    PingAsked,
    Pong,
    Ready,
    Refused,
    Rejected,
    SpeakAsked,
    TakenOver,
    TooLarge,
)
from domain.use_cases.speech_mouth import Mouth
from domain.use_cases.speech_patience import Patience

OPENING_MS_MAX = 10_000
# A clock that a full ledger does not let us stop for so long is left to the reconciler.
_STOPPING_MS_MAX = 10_000

Say = Callable[[Outbound], Awaitable[None]]
_Part = Callable[[], Awaitable[None]]


class _Role(Protocol):
    """What a connection does: an ear or a mouth."""

    @property
    def language(self) -> str: ...

    def start(self, begin: Callable[[_Part], asyncio.Task[None]]) -> None: ...

    async def take(self, message: Inbound) -> None: ...

    async def finish(self) -> None: ...

    async def close(self) -> None: ...


class _PeerGoneError(Exception):
    """The peer can be told nothing any more."""


class SpeechSession:
    """Opens with the first message, runs, and ends once, whichever way it ends.

    However it ends, the meter is stopped first, then the engine stream is closed and the line taken
    out of the switchboard. `say` raises ConnectionError when the peer is gone or does not read;
    it may be called by several tasks at a time. The session is also the `Line` of its connection.
    """

    def __init__(self, booth: Booth, say: Say) -> None:
        self.connection_id = booth.new_id()
        self.session_id: UUID | None = None
        self._booth = booth
        self._peer = say
        self._farewell: Farewell = Left()
        self._leaving = asyncio.Event()
        self._stopped = asyncio.Event()
        self._ended_at_ms: int | None = None
        self._meter: Meter | None = None
        self._role: _Role | None = None
        self._patience: Patience | None = None
        self._tasks: asyncio.TaskGroup
        self._parts: set[asyncio.Task[None]] = set()

    async def catch_up(self) -> None:
        if self._meter is None:
            return
        if self._ended_at_ms is None:
            await self._meter.catch_up()
        else:
            await self._meter.stop(self._ended_at_ms)

    async def taken_over(self) -> None:
        self.leave(TakenOver())
        await self._stopped.wait()

    def changed(self) -> None:
        if self._meter is not None:
            self._meter.changed()

    def leave(self, farewell: Farewell) -> None:
        """End the connection; the first reason given is the one that counts."""
        if not self._leaving.is_set():
            self._farewell = farewell
            self._ended_at_ms = self._booth.clock.now_ms()
            self._leaving.set()

    async def run(self, inbound: AsyncGenerator[Inbound, None]) -> Farewell:
        """Serve the connection to its end and return why it ended; the peer still has to be told.

        A failure of ours (an engine that breaks) is raised, with the clock stopped.
        """
        try:
            async with asyncio.TaskGroup() as self._tasks:
                deadline = self._begin(self._miss_opening)
                self._begin(lambda: self._read(inbound, deadline))
                await self._leaving.wait()
                for part in self._parts:
                    part.cancel()
                await self._stop()
        finally:
            try:
                await self._stop()
            finally:
                self._stopped.set()
                await self._let_go()
        return self._farewell

    def _begin(self, part: _Part) -> asyncio.Task[None]:
        task = self._tasks.create_task(self._guard(part))
        self._parts.add(task)
        task.add_done_callback(self._parts.discard)
        return task

    async def _guard(self, part: _Part) -> None:
        """Run a part; what it refuses ends the connection, what breaks in it is raised."""
        try:
            await part()
        except _PeerGoneError:
            self.leave(Left())
        except GatewayError as refusal:
            self.leave(Rejected(refusal))

    async def _say(self, message: Outbound) -> None:
        try:
            await self._peer(message)
        except ConnectionError as gone:
            raise _PeerGoneError from gone

    async def _say_ready(self, meter: Meter, language: str) -> None:
        await self._say(
            Ready(connection_id=self.connection_id, language=language, remaining=meter.remaining)
        )

    async def _miss_opening(self) -> None:
        clock = self._booth.clock
        await clock.sleep_until(clock.now_ms() + OPENING_MS_MAX)
        raise MalformedError(
            where="first message",
            expected=f"a config with session_key within {OPENING_MS_MAX // 1_000} s",
            got="none",
        )

    async def _read(
        self, inbound: AsyncGenerator[Inbound, None], deadline: asyncio.Task[None]
    ) -> None:
        """Take messages one at a time: while one waits for the engine, the peer waits too."""
        async with aclosing(inbound) as messages:
            async for message in messages:
                deadline.cancel()
                if isinstance(message, TooLarge):
                    self.leave(message)
                    return
                if self._role is None or self._meter is None:
                    await self._open(message)
                else:
                    await self._take(self._role, self._meter, message)
        self.leave(Left())

    async def _open(self, message: Inbound) -> None:
        match message:
            case ListenAsked():
                meter = await self._connect(message.session_key, service="stt")
                role: _Role = await self._listen(message, meter)
            case SpeakAsked():
                meter = await self._connect(message.session_key, service="tts")
                role = await self._speak(message, meter)
            case Misheard(refusal):
                raise refusal
            case _:
                raise MalformedError(
                    where="first message",
                    expected="a config with session_key",
                    got=type(message).__name__,
                )
        self._role = role
        await meter.start()
        await self._say_ready(meter, role.language)
        role.start(self._begin)
        self._begin(lambda: self._watch(meter, role))
        if isinstance(role, Ear):
            self._patience = Patience(meter, self._booth.clock)
            self._begin(self._patience.watch)

    async def _connect(self, token: str, *, service: str) -> Meter:
        # Known before the line is connected, so that every way out takes the line out again.
        self.session_id = self._booth.keys.read(token).session_id
        self._meter = await connect_session(
            self._booth, token, service=service, connection_id=self.connection_id, line=self
        )
        return self._meter

    async def _listen(self, asked: ListenAsked, meter: Meter) -> Ear:
        language = asked.options.language or await self._own_language(meter) or "auto"
        options = replace(asked.options, language=language)
        stream = await self._booth.transcriber.listen(options)
        return Ear(stream, options, say=self._say, say_ready=partial(self._say_ready, meter))

    async def _speak(self, asked: SpeakAsked, meter: Meter) -> Mouth:
        synthesizer = self._booth.synthesizer
        if not synthesizer.traits.ready:
            raise NoCapacityError(service="tts")
        own = "" if asked.choice.language else await self._own_language(meter)
        # Checked with each text: it may choose for itself, and only then is anybody listening.
        options = asked.choice.over(VoiceOptions(language=own))
        return Mouth(synthesizer, options, clock=self._booth.clock, meter=meter, say=self._say)

    async def _own_language(self, meter: Meter) -> str:
        """The language the session was opened with, or nothing."""
        return await self._booth.sessions.language(meter.session_id)

    async def _take(self, role: _Role, meter: Meter, message: Inbound) -> None:
        """Do one thing asked; a refusal of it leaves the connection as it was."""
        try:
            match message:
                case PingAsked():
                    await self._say(Pong())
                case ExtensionShown(session_key):
                    await self._look_again(meter, session_key)
                case Misheard(refusal):
                    raise refusal
                case Heard() if self._patience is not None:
                    async with self._patience.waiting():
                        await role.take(message)
                case _:
                    await role.take(message)
        except GatewayError as refusal:
            await self._say(Refused(refusal))

    async def _look_again(self, meter: Meter, token: str) -> None:
        """Somebody says that this session was extended; only the ledger is believed."""
        if self._booth.keys.read(token).session_id != meter.session_id:
            raise MalformedError(
                where="session_key",
                expected="a key of this connection's session",
                got="a key of another session",
            )
        await meter.catch_up()
        await self._say(Extended(meter.remaining, meter.expires_at_ms))

    async def _watch(self, meter: Meter, role: _Role) -> None:
        """Pass on what the meter says until the session is over."""
        async with aclosing(meter.watch()) as notices:
            async for notice in notices:
                if isinstance(notice, Replaced):
                    self.leave(TakenOver())
                    return
                if not isinstance(notice, Over):
                    await self._say(notice)
                    continue
                if notice.reason == "spent":
                    # What was paid for with the last characters is still heard.
                    await role.finish()
                self.leave(notice)

    async def _stop(self) -> None:
        """Stop the clock and record what was used; safe to repeat.

        However long the ledger takes, the clock stops when the connection ended: waiting is free.
        """
        clock = self._booth.clock
        if self._ended_at_ms is None:
            self._ended_at_ms = clock.now_ms()
        until_ms = self._ended_at_ms + _STOPPING_MS_MAX
        while not self._stopped.is_set() and clock.now_ms() < until_ms:
            try:
                if self._meter is not None:
                    await self._meter.stop(self._ended_at_ms)
            except (BusyError, LedgerDownError) as later:
                await clock.sleep_until(clock.now_ms() + later.retry_after_ms)
            else:
                self._stopped.set()

    async def _let_go(self) -> None:
        if self.session_id is not None:
            self._booth.sessions.let_go(self.session_id, self)
        if self._role is not None:
            await self._role.close()
