"""A recogniser of whole utterances made into a `Transcriber` of live sound.

Sound goes to the audio thread (`ears`), utterances come back to the event loop, each is routed to
a recogniser in the shared pool, and what it wrote is believed or not (`hallucinations`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from domain.errors import NoCapacityError
from domain.ports.speech import (
    Hearing,
    HearingOptions,
    SpeechEnded,
    SpeechStarted,
    Transcript,
)
from engines.ears import Ear, Ears
from engines.hallucinations import Evidence, believable
from engines.phrases import Closed, Cut, Ending, Opened, Paused, Resumed, ms
from engines.pool import Lane, Urgency, WorkerPool
from engines.routing import Capability, language_of, route
from engines.utterances import DenoiseMode, Told, Utterance
from engines.whisper import Recognition

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EVENTS_MAX: Final = 256
UTTERANCES_MAX: Final = 4
PIECE_BYTES: Final = 1 << 16

log = logging.getLogger(__name__)


class Recogniser(Protocol):
    """Writes down one utterance of 16 kHz sound. Blocking; called in worker threads."""

    @property
    def name(self) -> str: ...

    @property
    def languages(self) -> frozenset[str]: ...

    def recognise(self, sound: NDArray[np.float32], language: str) -> Recognition: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every stream of a transcriber shares."""

    ears: Ears
    pool: WorkerPool
    recognisers: Sequence[Recogniser]
    ending: Ending
    denoise: DenoiseMode
    now_ms: Callable[[], int]

    @property
    def table(self) -> tuple[Capability, ...]:
        return tuple(Capability(engine.name, engine.languages) for engine in self.recognisers)

    def choose(self, options: HearingOptions) -> tuple[Recogniser, str]:
        """The recogniser and the language for these options, or `MalformedError`."""
        language = language_of(options.language, self.table)
        name = route(model=options.model, language=language, table=self.table)
        return next(engine for engine in self.recognisers if engine.name == name), language


@dataclass(frozen=True, slots=True)
class _Guess:
    """A recognition begun at a pause, in case the pause is the end."""

    end: int
    task: asyncio.Task[Recognition]


@dataclass(frozen=True, slots=True)
class _Spoken:
    """An utterance that waits for its text, or for a guess already under way."""

    utterance: Utterance
    recognition: asyncio.Task[Recognition] | None


class SegmentedStream:
    """One caller's sound on its way to text; see `HearingStream`."""

    def __init__(self, bench: Bench, lane: Lane, options: HearingOptions) -> None:
        self._bench = bench
        self._lane = lane
        self._engine, self._language = bench.choose(options)
        self._loop = asyncio.get_running_loop()
        self._events: deque[Hearing] = deque()
        self._spoken: deque[_Spoken] = deque()
        self._guess: _Guess | None = None
        self._generation = 0
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._work = asyncio.Event()
        self._full = False
        self._ear: Ear = bench.ears.ear(
            mode=bench.denoise, ending=bench.ending, tell=self._tell, drained=self._drained
        )
        self._writing = asyncio.create_task(self._write())

    async def hear(self, pcm: bytes) -> None:
        left = memoryview(pcm)
        while left and not self._closed:
            self._full = True  # Before looking, so that room made meanwhile is not missed.
            self._room.clear()
            room = 0 if self._is_behind else min(self._ear.room, PIECE_BYTES)
            if room > 0:
                self._full = False
                self._ear.add(left[:room], self._bench.now_ms())
                left = left[room:]
            else:
                await self._room.wait()

    async def flush(self) -> None:
        self._ear.finish()

    async def reset(self) -> None:
        self._generation = self._ear.forget()
        self._drop_guess()
        for spoken in self._spoken:
            if spoken.recognition:
                spoken.recognition.cancel()
        self._spoken.clear()
        self._writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._writing
        self._writing = asyncio.create_task(self._write())
        self._room.set()

    async def configure(self, options: HearingOptions) -> None:
        engine, language = self._bench.choose(options)
        await self.reset()
        self._engine, self._language = engine, language

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
        if self._closed:
            return
        self._closed = True
        self._bench.ears.leave(self._ear)
        await self.reset()
        self._writing.cancel()
        self._lane.close()
        self._news.set()

    @property
    def _is_behind(self) -> bool:
        return len(self._events) >= EVENTS_MAX or len(self._spoken) >= UTTERANCES_MAX

    def _tell(self, generation: int, told: Told) -> None:
        """Carry what was heard from the audio thread to the loop."""
        with contextlib.suppress(RuntimeError):  # The loop has closed: nobody is left to hear.
            self._loop.call_soon_threadsafe(self._told, generation, told)

    def _drained(self) -> None:
        if self._full:
            with contextlib.suppress(RuntimeError):  # As above.
                self._loop.call_soon_threadsafe(self._room.set)

    def _told(self, generation: int, told: Told) -> None:
        if generation != self._generation or self._closed:
            return  # Said before a reset: forgotten.
        match told.mark:
            case Opened(onset):
                self._say(SpeechStarted(ms(onset)))
            case Paused(_, end):
                self._begin_guess(end, told.utterance)
            case Resumed():
                self._drop_guess()
            case Closed(_, end):
                self._say(SpeechEnded(ms(end)))
                self._queue(told.utterance)
            case Cut():
                self._queue(told.utterance)
            case _:
                assert_never(told.mark)

    def _begin_guess(self, end: int, utterance: Utterance | None) -> None:
        """Start early where it costs nobody anything: most pauses of this length are the end."""
        self._drop_guess()
        if utterance and utterance.is_speech and not self._spoken and self._bench.pool.idle:
            recognising = self._recognise(utterance, Urgency.GUESS)
            self._guess = _Guess(end, asyncio.create_task(recognising))

    def _drop_guess(self) -> None:
        if self._guess:
            self._guess.task.cancel()
            self._guess = None

    def _queue(self, utterance: Utterance | None) -> None:
        guess, self._guess = self._guess, None
        kept = guess if guess and utterance and guess.end == utterance.end else None
        if guess and not kept:
            guess.task.cancel()
        if utterance and utterance.is_speech:
            self._spoken.append(_Spoken(utterance, kept.task if kept else None))
            self._work.set()

    def _say(self, event: Hearing) -> None:
        self._events.append(event)
        self._news.set()

    async def _write(self) -> None:
        """Turn utterances into text, in order, until cancelled."""
        while True:
            while not self._spoken:
                self._work.clear()
                await self._work.wait()
            spoken = self._spoken[0]
            try:
                recognition = await (
                    spoken.recognition or self._recognise(spoken.utterance, Urgency.FINAL_TEXT)
                )
            except NoCapacityError:
                return  # The pool is closing, and the stream with it.
            except Exception:
                # A phrase that breaks the recogniser must not silence the caller's next one.
                log.exception("recogniser failed", extra={"engine": self._engine.name})
            else:
                self._believe(spoken.utterance, recognition)
            self._spoken.popleft()
            self._room.set()

    async def _recognise(self, utterance: Utterance, urgency: Urgency) -> Recognition:
        engine, language = self._engine, self._language
        return await self._lane.run(
            lambda: engine.recognise(utterance.sound, language), urgency=urgency
        )

    def _believe(self, utterance: Utterance, recognition: Recognition) -> None:
        evidence = Evidence(
            speech_ms=utterance.speech_ms,
            voice=utterance.voice,
            loudness_db=utterance.loudness_db,
            text=recognition.sureness,
            no_speech=recognition.no_speech,
        )
        text = believable(recognition.text, evidence)
        if text:
            arrived_ms = self._ear.arrived_ms(utterance.end)
            transcript = Transcript(
                text=text,
                is_final=True,
                language=recognition.language,
                start_ms=ms(utterance.start),
                end_ms=ms(utterance.end),
                latency_ms=self._bench.now_ms() - arrived_ms,
            )
            self._say(transcript)
