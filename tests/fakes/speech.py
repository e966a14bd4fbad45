"""Engines that do what the test says, and a peer that speaks no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar
from uuid import UUID

from domain.booth import Booth
from domain.errors import GatewayError, MalformedError
from domain.ports.speech import (
    EngineTraits,
    Hearing,
    HearingOptions,
    SpeechChunk,
    VoiceOptions,
)
from domain.session import Session
from domain.use_cases.open_session import SessionRequest, Ticket, open_session
from domain.use_cases.speech_messages import (
    Farewell,
    Inbound,
    ListenAsked,
    Outbound,
    Ready,
    SpeakAsked,
    VoiceChoice,
)
from domain.use_cases.speech_session import SpeechSession
from tests.fakes.clock import settle
from tests.fakes.gateway import House

PCM_BYTES_PER_MS = 96
_M = TypeVar("_M")
_LANGUAGES = frozenset({"auto", "en", "es"})


class DirectedStream:
    """A `HearingStream`: `heard` is the audio taken; `say` makes it hear something.

    Faults: `taking` is an event that `hear` waits for, `winding_down` one that the end of `events`
    does; `break_down` fails it.
    """

    def __init__(self, options: HearingOptions) -> None:
        self.options = options
        self.heard = bytearray()
        self.flushes = 0
        self.resets = 0
        self.closed = False
        self.taking = asyncio.Event()
        self.taking.set()
        self.winding_down = asyncio.Event()
        self.winding_down.set()
        self._events: asyncio.Queue[Hearing | Exception | None] = asyncio.Queue()

    def say(self, event: Hearing) -> None:
        self._events.put_nowait(event)

    def break_down(self, failure: Exception) -> None:
        self._events.put_nowait(failure)

    def end(self) -> None:
        self._events.put_nowait(None)

    async def hear(self, pcm: bytes) -> None:
        await self.taking.wait()
        self.heard += pcm

    async def flush(self) -> None:
        self.flushes += 1

    async def reset(self) -> None:
        self.resets += 1

    async def configure(self, options: HearingOptions) -> None:
        _check_language(options.language)
        self.options = options

    async def events(self) -> AsyncGenerator[Hearing, None]:
        try:
            while (event := await self._events.get()) is not None:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            await self.winding_down.wait()

    async def close(self) -> None:
        self.closed = True


class DirectedTranscriber:
    """A `Transcriber`; `streams` are the ones it opened, and `opening` an event it waits for."""

    traits = EngineTraits(name="directed-ear", languages=_LANGUAGES)

    def __init__(self) -> None:
        self.streams: list[DirectedStream] = []
        self.opening = asyncio.Event()
        self.opening.set()
        self.refusal: GatewayError | None = None

    async def listen(self, options: HearingOptions) -> DirectedStream:
        await self.opening.wait()
        if self.refusal is not None:
            raise self.refusal
        _check_language(options.language)
        self.streams.append(DirectedStream(options))
        return self.streams[-1]


class DirectedSynthesizer:
    """A `Synthesizer`: a chunk a word, `ms_per_character` of audio whose bytes are its number.

    An ellipsis has no sound.
    `asked` are the texts it began, `made` the chunks. `refusal` comes before the first chunk,
    `failure` instead of the next after `fails_after`; `pace` is an event each chunk waits for.
    """

    traits = EngineTraits(
        name="directed-mouth", languages=frozenset({"en"}), voices={"af_heart": "en"}
    )

    def __init__(self, *, ms_per_character: int = 20) -> None:
        self.ms_per_character = ms_per_character
        self.asked: list[tuple[str, VoiceOptions]] = []
        self.made: list[str] = []
        self.closed = 0
        self.refusal: GatewayError | None = None
        self.failure: Exception | None = None
        self.fails_after = 0
        self.pace = asyncio.Event()
        self.pace.set()

    def check(self, options: VoiceOptions) -> None:
        if options.voice not in ("", "af_heart"):
            raise MalformedError(where="voice", expected="af_heart", got=options.voice)
        if not 0.5 <= options.speed <= 2.0:
            raise MalformedError(where="speed", expected="0.5 to 2.0", got=str(options.speed))

    async def speak(self, text: str, options: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        self.asked.append((text, options))
        if self.refusal is not None:
            raise self.refusal
        try:
            for number, word in enumerate(_words(text)):
                await self.pace.wait()
                if self.failure is not None and number >= self.fails_after:
                    raise self.failure
                self.made.append(word)
                sounding = 0 if word.strip() == "…" else len(word)
                size = sounding * self.ms_per_character * PCM_BYTES_PER_MS
                yield SpeechChunk(word, bytes([len(self.made) % 255 or 255]) * size)
        finally:
            self.closed += 1


class Peer:
    """One connection's other end: asks, and keeps what it is `told`. `gone` no longer listens."""

    def __init__(self, booth: Booth) -> None:
        self.told: list[Outbound] = []
        self.gone = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._asked: asyncio.Queue[Inbound | None] = asyncio.Queue()
        self.session = SpeechSession(booth, self._hear)
        self.task = asyncio.create_task(self.session.run(self._messages()))

    async def ask(self, *messages: Inbound) -> None:
        """Ask, and let everything happen that can."""
        for message in messages:
            self._asked.put_nowait(message)
        await settle()

    async def hang_up(self) -> Farewell:
        self._asked.put_nowait(None)
        return await self.task

    @property
    def unread(self) -> int:
        """How many messages the session has not taken."""
        return self._asked.qsize()

    def told_of(self, kind: type[_M]) -> list[_M]:
        return [message for message in self.told if isinstance(message, kind)]

    async def _hear(self, message: Outbound) -> None:
        if self.gone:
            msg = "the peer is gone"
            raise ConnectionResetError(msg)
        self.told.append(message)
        await self.reading.wait()

    async def _messages(self) -> AsyncGenerator[Inbound, None]:
        while (message := await self._asked.get()) is not None:
            yield message


async def buy(house: House, service: str, quantity: int, *, language: str = "") -> Ticket:
    """A session of ms or characters, bought by a wallet that has enough."""
    account_id = await house.fund("0xbuyer", 10_000_000)
    request = SessionRequest(service=service, quantity=quantity, language=language)
    return await open_session(house.gateway, account_id, request)


async def session_of(house: House, session_id: UUID) -> Session:
    """The session as the ledger has it."""
    return await house.books.run(lambda work: work.session(session_id))


async def listening(house: House, ticket: Ticket) -> Peer:
    """A peer whose connection listens and is ready."""
    peer = Peer(house.booth)
    await peer.ask(listen(ticket))
    assert peer.told_of(Ready)
    return peer


async def speaking(house: House, ticket: Ticket, *, voice: str | None = None) -> Peer:
    """A peer whose connection speaks and is ready."""
    peer = Peer(house.booth)
    await peer.ask(speak(ticket, voice=voice))
    assert peer.told_of(Ready)
    return peer


async def used_by(house: House, ticket: Ticket) -> int:
    """The ms or characters used until now, recorded first where a connection counts them."""
    line = house.gateway.switchboard.line(ticket.session_id)
    if line is not None:
        await line.catch_up()
    session = await session_of(house, ticket.session_id)
    return session.used_at(house.clock.now_ms())


def listen(ticket: Ticket, *, language: str = "en", model: str = "") -> ListenAsked:
    return listen_with(ticket.token, language=language, model=model)


def listen_with(token: str, *, language: str = "en", model: str = "") -> ListenAsked:
    return ListenAsked(session_key=token, options=HearingOptions(language=language, model=model))


def speak(ticket: Ticket, *, voice: str | None = None) -> SpeakAsked:
    return SpeakAsked(session_key=ticket.token, choice=VoiceChoice(voice=voice))


def _words(text: str) -> list[str]:
    """The words, each with the space before it, so that joined they are the text."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]


def _check_language(language: str) -> None:
    if language not in _LANGUAGES:
        raise MalformedError(where="language", expected="auto | en | es", got=language)
