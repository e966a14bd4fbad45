"""How a connection speaks: texts in order, frames at the pace they are heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

from domain.errors import GatewayError, MalformedError
from domain.ports.clock import Clock
from domain.ports.speech import SpeechChunk, Synthesizer, VoiceOptions
from domain.use_cases.meter import Meter
from domain.use_cases.speech_messages import (
    ClearAsked,
    Cleared,
    FlushAsked,
    Flushed,
    Inbound,
    Outbound,
    Refused,
    SayAsked,
    SpeakingBegun,
    SpeakingDone,
    Spoken,
    TooFewCharacters,
    TooManyTexts,
    VoiceChanged,
)

FRAME_MS = 20
FRAME_BYTES = 1_920
# How far ahead of the listener's ear we send: enough for a network's jitter, little to take back.
LEAD_MS = 100
TEXT_CHARACTERS_MAX = 20_000
TEXTS_MAX = 64
# Pieces made while another is heard. With the one the engine holds, two are ahead.
_PIECES_AHEAD = 1

_Piece = SpeechChunk | GatewayError | None


@dataclass(slots=True)
class _Text:
    """A text on its way: `unbegun` of its characters were not heard yet, `due` are next to be.

    `pieces` ends with None, or with the refusal that cut it short.
    """

    text: str
    options: VoiceOptions
    unbegun: int
    due: int = 0
    pieces: asyncio.Queue[_Piece] = field(
        default_factory=lambda: asyncio.Queue(maxsize=_PIECES_AHEAD)
    )


class Mouth:
    """Two stages: one asks the engine for pieces, one sends their frames in time.

    Characters are spent when the first frame of their piece is sent, and never otherwise.
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        options: VoiceOptions,
        *,
        clock: Clock,
        meter: Meter,
        say: Callable[[Outbound], Awaitable[None]],
    ) -> None:
        self._synthesizer = synthesizer
        self._options = options
        self._clock = clock
        self._meter = meter
        self._say = say
        self._begin: Callable[[Callable[[], Awaitable[None]]], asyncio.Task[None]] | None = None
        self._stages: list[asyncio.Task[None]] = []
        self._forget()

    @property
    def language(self) -> str:
        return self._options.language

    def start(self, begin: Callable[[Callable[[], Awaitable[None]]], asyncio.Task[None]]) -> None:
        self._begin = begin
        self._stages = [begin(self._make), begin(self._play)]

    async def take(self, message: Inbound) -> None:
        """Do what was asked; a GatewayError refuses this message alone."""
        match message:
            case SayAsked():
                await self._admit(message)
            case ClearAsked():
                await self._clear()
            case VoiceChanged(choice):
                options = choice.over(self._options)
                self._synthesizer.check(options)
                self._options = options
            case FlushAsked():
                await self._say(Flushed())
            case _:
                raise MalformedError(
                    where="message",
                    expected="a text or a control message of a speaking connection",
                    got=type(message).__name__,
                )

    async def finish(self) -> None:
        """Return when everything admitted was sent."""
        await self._idle.wait()

    async def close(self) -> None:
        """The stages hold the engine, and close it as they are cancelled."""

    def _forget(self) -> None:
        self._waiting: asyncio.Queue[_Text] = asyncio.Queue(maxsize=TEXTS_MAX)
        self._begun: asyncio.Queue[_Text] = asyncio.Queue(maxsize=1)
        # Characters admitted and not begun: they are spoken for.
        self._owed = 0
        self._unfinished = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._heard_until_ms = 0

    async def _admit(self, asked: SayAsked) -> None:
        options = asked.choice.over(self._options)
        needed = len(asked.text)
        if not 0 < needed <= TEXT_CHARACTERS_MAX or asked.text.isspace():
            raise MalformedError(
                where="text",
                expected=f"1 to {TEXT_CHARACTERS_MAX} characters, not only spaces",
                got=f"{needed} characters",
            )
        self._synthesizer.check(options)
        left = max(0, self._meter.remaining - self._owed)
        if needed > left:
            await self._say(TooFewCharacters(needed=needed, left=left))
        elif self._waiting.full():
            await self._say(TooManyTexts(TEXTS_MAX))
        else:
            self._owed += needed
            self._unfinished += 1
            self._idle.clear()
            self._waiting.put_nowait(_Text(asked.text, options, unbegun=needed))

    async def _clear(self) -> None:
        for stage in self._stages:
            stage.cancel()
        idle = self._idle
        self._forget()
        idle.set()
        assert self._begin is not None, "a mouth is started before it is asked"  # noqa: S101 (states what cannot be otherwise)
        self.start(self._begin)
        await self._say(Cleared())

    async def _make(self) -> None:
        """Ask the engine for the pieces of each text, a little ahead of the listener."""
        waiting, begun = self._waiting, self._begun
        while True:
            text = await waiting.get()
            await begun.put(text)
            spoken = self._synthesizer.speak(text.text, text.options)
            try:
                async with aclosing(spoken) as chunks:
                    async for chunk in chunks:
                        await text.pieces.put(chunk)
                await text.pieces.put(None)
            except GatewayError as refusal:
                await text.pieces.put(refusal)

    async def _play(self) -> None:
        begun = self._begun
        while True:
            text = await begun.get()
            await self._say(SpeakingBegun(text.text))
            refusal = await self._play_text(text)
            # What was not begun is neither billed nor held back from the texts to come.
            self._owed -= text.unbegun
            await self._say(SpeakingDone() if refusal is None else Refused(refusal))
            self._unfinished -= 1
            if self._unfinished == 0:
                self._idle.set()

    async def _play_text(self, text: _Text) -> GatewayError | None:
        """Send the frames of every piece; return the refusal that cut the text short."""
        rest = bytearray()
        while isinstance(piece := await text.pieces.get(), SpeechChunk):
            rest += piece.pcm
            text.due += len(piece.text) if piece.pcm else 0
            for frame in _take_frames(rest):
                await self._send(text, frame)
        if piece is None and rest:
            await self._send(text, bytes(rest.ljust(FRAME_BYTES, b"\0")))
        return piece

    async def _send(self, text: _Text, frame: bytes) -> None:
        """Send one frame at its slot; a listener who ran dry hears on from now."""
        self._heard_until_ms = max(self._heard_until_ms, self._clock.now_ms())
        await self._clock.sleep_until(self._heard_until_ms - LEAD_MS)
        begun = min(text.due, text.unbegun)
        text.due = 0
        text.unbegun -= begun
        self._owed -= begun
        self._meter.spend(begun)
        self._heard_until_ms += FRAME_MS
        await self._say(Spoken(frame))


def _take_frames(pcm: bytearray) -> Iterator[bytes]:
    """Cut whole frames off the front."""
    while len(pcm) >= FRAME_BYTES:
        frame = bytes(pcm[:FRAME_BYTES])
        del pcm[:FRAME_BYTES]
        yield frame
