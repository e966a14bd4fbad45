"""Kokoro-82M behind the `Synthesizer` port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Final

from domain.errors import NoCapacityError
from domain.ports.speech import EngineTraits, SpeechChunk, VoiceOptions
from engines.chunking import pieces
from engines.kokoro_net import KokoroNet, Upsampler
from engines.models.manifest import Model
from engines.models.problems import ModelProblemError
from engines.models.store import ModelStore
from engines.pool import Lane, Urgency, WorkerPool
from engines.voices import SPOKEN, Manner, understand, voice_languages

SERVICE: Final = "tts"
WEIGHTS: Final = "kokoro-82m-int8"
VOICES: Final = "kokoro-voices"
AHEAD_MAX: Final = 2
"""Pieces made before they are asked for: enough to bridge a busy moment, cheap to throw away."""
THREADS_MAX: Final = 2
WARM_UP: Final = ("Hello.", "Good morning, and welcome to the line.", "One moment. " * 6)

log = logging.getLogger(__name__)


class Kokoro:
    """Speaks with Kokoro-82M.

    Shape:  see `Synthesizer`. `start` loads the weights; the first `speak` does it where nobody
            has. Pieces are made one at a time, at most two ahead of the listener.
    Errors: `NoCapacityError` while weights are missing or every place is taken.
    Source: specs/engines.md, E7-E10 and E31.
    """

    def __init__(self, store: ModelStore, pool: WorkerPool) -> None:
        self._store = store
        self._pool = pool
        self._names = _voice_names(store.model(VOICES))
        self._voices = voice_languages(self._names)
        self._net: KokoroNet | None = None
        self._starting = asyncio.Lock()
        self._problem = ""

    @property
    def traits(self) -> EngineTraits:
        return EngineTraits(
            name="kokoro-82m",
            languages=SPOKEN,
            voices=self._voices,
            ready=self._net is not None,
            problem=self._problem_now(),
        )

    def check(self, options: VoiceOptions) -> None:
        understand(options, self._names)

    async def start(self) -> None:
        """Load and warm up, off the loop; afterwards `traits` says whether that worked."""
        async with self._starting:
            if self._net is None:
                try:
                    self._net = await asyncio.to_thread(self._load)
                except (ModelProblemError, ImportError) as error:
                    self._problem = str(error)
                    log.warning("speech synthesis unavailable", extra={"problem": self._problem})

    async def speak(self, text: str, options: VoiceOptions) -> AsyncGenerator[SpeechChunk, None]:
        manner = understand(options, self._names)
        if self._net is None:
            await self.start()
        if self._net is None:
            raise NoCapacityError(SERVICE)
        lane = self._pool.lane(SERVICE)
        ready: asyncio.Queue[SpeechChunk | None] = asyncio.Queue(AHEAD_MAX)
        maker = _Maker(self._net, text, manner, lambda: self._pool.open(SERVICE))
        making = asyncio.create_task(_make(maker, lane, ready))
        try:
            while (chunk := await _next(ready, making)) is not None:
                yield chunk
        finally:
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await making
            lane.close()

    async def close(self) -> None:
        """Forget the weights. The pool is whoever made it's to close."""
        self._net = None

    def _load(self) -> KokoroNet:
        weights, voices = self._store.path(WEIGHTS), self._store.path(VOICES)
        net = KokoroNet(weights, voices, threads=min(THREADS_MAX, self._pool.threads))
        net.phonemizer.warm()
        for sentence in WARM_UP:
            net.speak(sentence, understand(VoiceOptions(), self._names))
        return net

    def _problem_now(self) -> str:
        if self._net is not None:
            return ""
        missing = self._store.missing((WEIGHTS, VOICES))
        if missing:
            return f"weights missing: {', '.join(missing)}; run 'payphone models fetch'"
        return self._problem or "the weights are not loaded yet"


async def _make(maker: _Maker, lane: Lane, ready: asyncio.Queue[SpeechChunk | None]) -> None:
    """Make chunks, a piece at a time; None after the last."""
    urgency = Urgency.FIRST_SOUND
    while True:
        chunk = await lane.run(maker.make, urgency=urgency, stop=maker.stop)
        if chunk is None:
            lane.close()  # The listener may take minutes to hear the rest; others may speak.
            await ready.put(None)
            return
        await ready.put(chunk)
        urgency = Urgency.LATER_SOUND


async def _next(
    ready: asyncio.Queue[SpeechChunk | None], making: asyncio.Task[None]
) -> SpeechChunk | None:
    """Wait for a chunk, or for the failure of whoever makes them."""
    taking = asyncio.ensure_future(ready.get())
    try:
        await asyncio.wait({taking, making}, return_when=asyncio.FIRST_COMPLETED)
        if not taking.done() and ready.empty():
            making.result()  # Raises what went wrong.
        return await taking
    finally:
        taking.cancel()


class _Maker:
    """One utterance in the making; its methods run in worker threads, one at a time."""

    def __init__(
        self, net: KokoroNet, text: str, manner: Manner, speakers: Callable[[], int]
    ) -> None:
        self._net = net
        self._manner = manner
        self._left = len(text)
        self._pieces: Iterator[str] = pieces(text, speakers)
        self._upsampler: Upsampler | None = None
        self._run_options = net.stopper()

    def make(self) -> SpeechChunk | None:
        piece = next(self._pieces, None)
        if piece is None:
            return None
        self._left -= len(piece)
        self._upsampler = self._upsampler or Upsampler()
        sound = self._net.speak(piece, self._manner, run_options=self._run_options)
        return SpeechChunk(piece, self._upsampler.pcm(sound, last=self._left == 0))

    def stop(self) -> None:
        """End the running inference at its next operator; called from the loop."""
        self._run_options.terminate = True


def _voice_names(model: Model) -> frozenset[str]:
    return frozenset(file.name.removesuffix(".bin") for file in model.files)
