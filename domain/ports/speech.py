"""What the gateway asks of speech engines, and the values that cross."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol

HEARING_RATE_HZ = 16_000
SPEAKING_RATE_HZ = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTraits:
    """What an engine can do, asked before use. `languages` are ISO 639-1 codes.

    `voices` maps a voice name to its language (engines that speak); `ready` is False while
    weights are missing or loading, and `problem` then says what to do.
    """

    name: str
    languages: frozenset[str]
    voices: dict[str, str] = field(default_factory=dict)
    ready: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Word:
    """One word and where it was heard, in ms since the first sample of the connection."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One phrase. Times are ms since the first sample; `latency_ms` is end of speech to text."""

    text: str
    is_final: bool
    language: str
    start_ms: int
    end_ms: int
    latency_ms: int
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A voice was heard, `at_ms` since the first sample."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The voice fell silent."""

    at_ms: int


Hearing = SpeechStarted | SpeechEnded | Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class HearingOptions:
    """`language` is an ISO 639-1 code or `auto`; `model` forces an engine by name, or is empty."""

    language: str = "auto"
    model: str = ""


class HearingStream(Protocol):
    """One caller's audio on its way to text.

    Shape:  `hear` any number of chunks of any size; `events` yields what was heard, in order.
    Units:  16-bit little-endian mono PCM at 16 kHz; odd trailing bytes wait for the next chunk.
    Errors: none after opening. `hear` waits when the engine is behind (bounded buffering).
    Source: specs/engines.md, E1-E6.
    """

    async def hear(self, pcm: bytes) -> None: ...

    async def flush(self) -> None:
        """Finish the open phrase now, as if silence had followed."""
        ...

    async def reset(self) -> None:
        """Forget the open phrase and anything still being recognised."""
        ...

    async def configure(self, options: HearingOptions) -> None:
        """Reset, then go on with other options; `MalformedError` for an unknown language."""
        ...

    def events(self) -> AsyncGenerator[Hearing, None]:
        """Everything heard, until `close`."""
        ...

    async def close(self) -> None:
        """Stop and free the worker; safe to repeat."""
        ...


class Transcriber(Protocol):
    """Turns speech into text.

    Shape:  `listen` opens one stream a connection.
    Errors: `NoCapacityError` where every worker is taken or weights are missing;
            `MalformedError` for a language or model it does not know.
    Source: specs/engines.md.
    """

    @property
    def traits(self) -> EngineTraits: ...

    async def listen(self, options: HearingOptions) -> HearingStream: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceOptions:
    """How to speak.

    `voice` may be empty (the language's default), an alias, or a comma blend
    (`af_heart,af_bella`); `language` is a Kokoro letter or a language code; `speed` 0.5 to 2.0.
    """

    voice: str = ""
    language: str = ""
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of an utterance. The `text` of all chunks, joined, is the text asked for.

    `pcm` is 16-bit little-endian mono at 48 kHz, any length.
    """

    text: str
    pcm: bytes


class Synthesizer(Protocol):
    """Turns text into speech.

    Shape:  one text in; chunks out as soon as each is ready, the first cut short for a fast start.
            Closing the iterator early abandons the rest and frees the worker.
    Units:  48 kHz mono PCM16; speed is a factor, pitch is kept.
    Errors: `MalformedError` for an unknown voice or language or a speed out of range (from
            `check`, and before the first chunk); `NoCapacityError` before the first chunk.
    Source: specs/engines.md, E7-E10.
    """

    @property
    def traits(self) -> EngineTraits: ...

    def check(self, options: VoiceOptions) -> None:
        """Return when these options can be spoken."""
        ...

    def speak(self, text: str, options: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]: ...
