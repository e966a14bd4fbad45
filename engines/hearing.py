"""Silero, GTCRN and Whisper behind the `Transcriber` port."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from domain.errors import NoCapacityError
from domain.ports.speech import EngineTraits, HearingOptions
from engines.ears import Ears
from engines.models.problems import ModelProblemError
from engines.models.store import ModelStore
from engines.phrases import RATE_HZ, Ending
from engines.pool import WorkerPool
from engines.segments import Bench, SegmentedStream
from engines.utterances import DenoiseMode
from engines.whisper import LANGUAGES

if TYPE_CHECKING:
    from engines.whisper import Whisper

SERVICE: Final = "stt"
DETECTOR: Final = "silero-vad"
DENOISER: Final = "gtcrn"
WARM_UP_S: Final = (1, 9, 13)

log = logging.getLogger(__name__)


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class SegmentedTranscriber:
    """Hears with a voice detector, a denoiser and Whisper.

    Shape:  see `Transcriber`. `start` loads the weights; the first `listen` does it where nobody
            has. `close` ends the audio thread; the pool is whoever made it's to close.
    Errors: `NoCapacityError` while weights are missing or every place is taken.
    Source: specs/engines.md, E1-E6 and E11-E20.
    """

    def __init__(
        self,
        store: ModelStore,
        pool: WorkerPool,
        *,
        weights: str = "whisper-base",
        denoise: DenoiseMode = "analysis",
        ending: Ending | None = None,
        now_ms: Callable[[], int] = monotonic_ms,
    ) -> None:
        self._store = store
        self._pool = pool
        self._weights = weights
        self._denoise: DenoiseMode = denoise
        self._ending = ending or Ending()
        self._now_ms = now_ms
        self._bench: Bench | None = None
        self._loaded = ExitStack()
        self._starting = asyncio.Lock()
        self._problem = ""

    @property
    def traits(self) -> EngineTraits:
        table = self._bench.table if self._bench else ()
        english_only = self._weights.endswith("-en")
        return EngineTraits(
            name="whisper",
            languages=table[0].languages if table else _languages(english_only=english_only),
            ready=self._bench is not None,
            problem=self._problem_now(),
        )

    async def start(self) -> None:
        """Load and warm up, off the loop; afterwards `traits` says whether that worked."""
        async with self._starting:
            if self._bench is None:
                try:
                    self._bench = await asyncio.to_thread(self._load)
                except (ModelProblemError, ImportError) as error:
                    self._problem = str(error)
                    log.warning("speech recognition unavailable", extra={"problem": self._problem})

    async def listen(self, options: HearingOptions) -> SegmentedStream:
        if self._bench is None:
            await self.start()
        if self._bench is None:
            raise NoCapacityError(SERVICE)
        self._bench.choose(options)
        return SegmentedStream(self._bench, self._pool.lane(SERVICE), options)

    async def close(self) -> None:
        """End the audio thread and forget the weights; safe to repeat."""
        self._bench = None
        await asyncio.to_thread(self._loaded.close)

    def _load(self) -> Bench:
        from engines.gtcrn import Gtcrn
        from engines.silero import Silero
        from engines.whisper import Whisper

        detector = Silero(self._store.path(DETECTOR))
        denoiser = Gtcrn(self._store.path(DENOISER)) if self._denoise != "off" else None
        whisper = Whisper(self._store.path(self._weights), workers=self._pool.threads)
        _warm(whisper)
        return Bench(
            ears=self._loaded.enter_context(Ears(detector, denoiser)),
            pool=self._pool,
            recognisers=(whisper,),
            ending=self._ending,
            denoise=self._denoise,
            now_ms=self._now_ms,
        )

    def _problem_now(self) -> str:
        if self._bench is not None:
            return ""
        missing = self._store.missing((DETECTOR, DENOISER, self._weights))
        if missing:
            return f"weights missing: {', '.join(missing)}; run 'payphone models fetch'"
        return self._problem or "the weights are not loaded yet"


def _languages(*, english_only: bool) -> frozenset[str]:
    return frozenset({"en"}) if english_only else LANGUAGES


def _warm(whisper: Whisper) -> None:
    """Pay for the first allocation at each length now."""
    import numpy as np

    for seconds in WARM_UP_S:
        whisper.recognise(np.zeros(seconds * RATE_HZ, np.float32), "en")
