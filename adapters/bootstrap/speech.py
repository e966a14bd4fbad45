"""The engines of this machine, over the weights of this user."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import cast

from adapters.config import Settings
from domain.booth import Booth
from domain.gateway import Gateway
from domain.ports.speech_servers import OwnServers
from domain.use_cases.live_sessions import booth_in
from engines.assembly import build_pool, build_synthesizer, build_transcriber
from engines.hearing import SegmentedTranscriber
from engines.kokoro import Kokoro
from engines.models.store import ModelStore
from engines.utterances import DenoiseMode


def model_store(settings: Settings) -> ModelStore:
    """The weights of this user, shared by every checkout."""
    return ModelStore(settings.speech.models_dir, hub=settings.speech.hub_url)


@dataclass(frozen=True, slots=True)
class OwnSpeech:
    """The engines of a gateway that listens and speaks itself."""

    ears: SegmentedTranscriber
    mouth: Kokoro
    servers: OwnServers

    async def booth_in(self, gateway: Gateway) -> Booth:
        """Start them, for connections of the gateway's own process."""
        await asyncio.gather(self.ears.start(), self.mouth.start())
        return booth_in(gateway, self.ears, self.mouth)


def open_own_speech(settings: Settings, url: str, stack: AsyncExitStack) -> OwnSpeech:
    """`url` is where the gateway itself is reached."""
    ears, mouth = open_speech(settings, stack)
    servers = OwnServers(
        ears,
        mouth,
        stt_url=settings.http.stt_url or url,
        tts_url=settings.http.tts_url or url,
    )
    return OwnSpeech(ears, mouth, servers)


def open_speech(settings: Settings, stack: AsyncExitStack) -> tuple[SegmentedTranscriber, Kokoro]:
    store = model_store(settings)
    pool = build_pool()
    stack.push_async_callback(asyncio.to_thread, pool.close)
    ears = build_transcriber(store, pool, denoise=cast("DenoiseMode", settings.speech.denoise))
    mouth = build_synthesizer(store, pool)
    stack.push_async_callback(ears.close)
    stack.push_async_callback(mouth.close)
    return ears, mouth
