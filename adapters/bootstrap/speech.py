"""The engines of this machine, over the weights of this user."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import cast

from adapters.config import Settings
from engines.assembly import build_pool, build_synthesizer, build_transcriber
from engines.hearing import SegmentedTranscriber
from engines.kokoro import Kokoro
from engines.models.store import ModelStore
from engines.utterances import DenoiseMode


def model_store(settings: Settings) -> ModelStore:
    """The weights of this user, shared by every checkout."""
    return ModelStore(settings.speech.models_dir, hub=settings.speech.hub_url)


def open_speech(settings: Settings, stack: AsyncExitStack) -> tuple[SegmentedTranscriber, Kokoro]:
    store = model_store(settings)
    pool = build_pool()
    stack.push_async_callback(asyncio.to_thread, pool.close)
    ears = build_transcriber(store, pool, denoise=cast("DenoiseMode", settings.speech.denoise))
    mouth = build_synthesizer(store, pool)
    stack.push_async_callback(ears.close)
    stack.push_async_callback(mouth.close)
    return ears, mouth
