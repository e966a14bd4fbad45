"""Engines that need no weights and always do the same: for tests and the simulator only.

The transcriber hears a voice in anything loud and writes a fixed line; the synthesizer gives each
character 40 ms of a tone. Both honour the contract of the real engines.
"""

from __future__ import annotations

import asyncio
import math
import sys
from array import array
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from domain.errors import NoCapacityError
from domain.ports.speech import (
    SPEAKING_RATE_HZ,
    EngineTraits,
    Hearing,
    HearingOptions,
    SpeechChunk,
    SpeechEnded,
    SpeechStarted,
    Transcript,
    VoiceOptions,
)
from engines.phrases import FRAME, Closed, Cut, Ending, Mark, Opened, PhraseFinder, ms
from engines.routing import AUTO, Capability, language_of, route
from engines.voices import SPOKEN, understand, voice_languages

FRAME_BYTES: Final = 2 * FRAME
LOUD: Final = 1_000
"""Mean absolute sample of a voice, of 32,768; quiet rooms and lines stay under it."""
CHARACTER_MS: Final = 40
TONE_HZ: Final = 220
TONE_PEAK: Final = 8_000
EVENTS_MAX: Final = 256
VOICES: Final = frozenset({"af_heart", "af_bella", "bf_emma", "ef_dora", "ff_siwis", "jf_alpha"})
TABLE: Final = (Capability("whisper", frozenset({"en", "es", "fr", "ja"})),)


@dataclass(frozen=True, slots=True)
class Script:
    """What the transcriber writes, a line a phrase, over and over."""

    lines: tuple[str, ...] = ("hello world",)


class ScriptedTranscriber:
    """Hears loudness, writes a script."""

    def __init__(
        self, script: Script | None = None, *, streams_max: int = 8, ready: bool = True
    ) -> None:
        self._script = script or Script()
        self._free = streams_max
        self._ready = ready

    @property
    def traits(self) -> EngineTraits:
        problem = "" if self._ready else "run 'payphone models fetch'"
        languages = TABLE[0].languages
        return EngineTraits(
            name="scripted", languages=languages, ready=self._ready, problem=problem
        )

    async def listen(self, options: HearingOptions) -> ScriptedStream:
        language = _choose(options)
        if not self._ready or self._free == 0:
            raise NoCapacityError("stt")
        self._free -= 1
        return ScriptedStream(self._script.lines, language, self._left)

    def _left(self) -> None:
        self._free += 1


class ScriptedStream:
    """One caller's sound; everything happens inside `hear`."""

    def __init__(self, lines: Iterable[str], language: str, left: Callable[[], None]) -> None:
        self._lines = deque(lines)
        self._language = language
        self._left = left
        self._finder = PhraseFinder(Ending())
        self._ring = bytearray()
        self._at = 0
        self._events: deque[Hearing] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    async def hear(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), FRAME_BYTES):
            while len(self._events) >= EVENTS_MAX and not self._closed:
                self._room.clear()
                await self._room.wait()
            if self._closed:
                return
            self._ring += pcm[start : start + FRAME_BYTES]
            while len(self._ring) >= FRAME_BYTES:
                self._judge(bytes(self._ring[:FRAME_BYTES]))
                del self._ring[:FRAME_BYTES]

    async def flush(self) -> None:
        if closed := self._finder.close_now():
            self._mark(closed)

    async def reset(self) -> None:
        odd = len(self._ring) % 2
        self._at += (len(self._ring) - odd) // 2
        del self._ring[: len(self._ring) - odd]
        self._finder.reset()

    async def configure(self, options: HearingOptions) -> None:
        language = _choose(options)
        await self.reset()
        self._language = language

    async def events(self) -> AsyncGenerator[Hearing, None]:
        while True:
            while self._events:
                yield self._events.popleft()
                self._room.set()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._left()
            self._news.set()
            self._room.set()

    def _judge(self, frame: bytes) -> None:
        loudness = sum(abs(sample) for sample in _samples(frame)) // FRAME
        for mark in self._finder.step(1.0 if loudness > LOUD else 0.0, self._at):
            self._mark(mark)
        self._at += FRAME

    def _mark(self, mark: Mark) -> None:
        match mark:
            case Opened(onset):
                self._say(SpeechStarted(ms(onset)))
            case Closed(onset, end):
                self._say(SpeechEnded(ms(end)))
                self._write(onset, end)
            case Cut(onset, end):
                self._write(onset, end)
            case _:
                pass  # Pauses are nothing to a script.

    def _write(self, onset: int, end: int) -> None:
        line = self._lines[0]
        self._lines.rotate(-1)
        language = "en" if self._language == AUTO else self._language
        written = Transcript(
            text=line,
            is_final=True,
            language=language,
            start_ms=ms(onset),
            end_ms=ms(end),
            latency_ms=0,
        )
        self._say(written)

    def _say(self, event: Hearing) -> None:
        self._events.append(event)
        self._news.set()


class ScriptedSynthesizer:
    """Gives each character a short tone, a sentence a chunk."""

    def __init__(self, *, voices_max: int = 4, ready: bool = True) -> None:
        self._free = voices_max
        self._ready = ready

    @property
    def traits(self) -> EngineTraits:
        problem = "" if self._ready else "run 'payphone models fetch'"
        return EngineTraits(
            name="scripted",
            languages=SPOKEN,
            voices=voice_languages(VOICES),
            ready=self._ready,
            problem=problem,
        )

    def check(self, options: VoiceOptions) -> None:
        understand(options, VOICES)

    async def speak(self, text: str, options: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        speed = understand(options, VOICES).speed
        if not self._ready or self._free == 0:
            raise NoCapacityError("tts")
        self._free -= 1
        try:
            for chunk in _sentences(text):
                await asyncio.sleep(0)
                yield SpeechChunk(chunk, _tone(round(len(chunk) * CHARACTER_MS / speed)))
        finally:
            self._free += 1


def _choose(options: HearingOptions) -> str:
    language = language_of(options.language, TABLE)
    route(model=options.model, language=language, table=TABLE)
    return language


def _samples(pcm: bytes) -> array[int]:
    values = array("h", pcm)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _sentences(text: str) -> list[str]:
    ends = [at + 2 for at in range(len(text)) if text[at : at + 2] in (". ", "? ", "! ")]
    starts = [0, *ends]
    return [text[a:b] for a, b in zip(starts, [*ends, len(text)], strict=True) if a < b]


def _tone(milliseconds: int) -> bytes:
    turn = 2 * math.pi * TONE_HZ / SPEAKING_RATE_HZ
    count = milliseconds * SPEAKING_RATE_HZ // 1000
    values = array("h", (round(TONE_PEAK * math.sin(turn * n)) for n in range(count)))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
