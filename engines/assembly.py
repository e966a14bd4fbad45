"""The engines put together, for the composition root."""

from __future__ import annotations

import os
from collections.abc import Callable

from engines.hearing import SegmentedTranscriber, monotonic_ms
from engines.kokoro import Kokoro
from engines.models.store import ModelStore
from engines.phrases import Ending
from engines.pool import WorkerPool
from engines.utterances import DenoiseMode

STT_PER_CORE = 20
TTS_PER_CORE = 1.5


def build_pool(
    *, threads: int | None = None, stt_max: int | None = None, tts_max: int | None = None
) -> WorkerPool:
    """The compute budget of this machine: by default every core, and what it keeps up with.

    Measured on two cores: three voices speaking at once without a gap, forty callers heard.
    """
    cores = threads or len(os.sched_getaffinity(0))
    limits = {
        "stt": stt_max or STT_PER_CORE * cores,
        "tts": tts_max or max(1, int(TTS_PER_CORE * cores)),
    }
    return WorkerPool(threads=cores, limits=limits)


def build_transcriber(
    store: ModelStore,
    pool: WorkerPool,
    *,
    weights: str = "whisper-base",
    denoise: DenoiseMode = "analysis",
    ending: Ending | None = None,
    now_ms: Callable[[], int] = monotonic_ms,
) -> SegmentedTranscriber:
    """Hearing. `await start()` at boot, `await close()` before the pool is closed."""
    return SegmentedTranscriber(
        store, pool, weights=weights, denoise=denoise, ending=ending, now_ms=now_ms
    )


def build_synthesizer(store: ModelStore, pool: WorkerPool) -> Kokoro:
    """Speaking. `await start()` at boot, `await close()` before the pool is closed."""
    return Kokoro(store, pool)
