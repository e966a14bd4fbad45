"""Speaking and hearing beside the bare engines: same weights, same words, same run.

Prints a table and writes `build/bench/speech.json`. Asserts nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import faster_whisper
import kokoro_onnx
import numpy as np
import soxr
from numpy.typing import NDArray

from domain.ports.speech import (
    HearingOptions,
    HearingStream,
    SpeechStarted,
    Transcript,
    VoiceOptions,
)
from engines.assembly import build_pool, build_synthesizer, build_transcriber
from engines.hearing import SegmentedTranscriber
from engines.kokoro import Kokoro
from engines.models.store import ModelStore
from engines.pool import WorkerPool

T = TypeVar("T")
Sound = NDArray[np.float32]

HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
STORE = ModelStore(Path(HOME) / "payphone" / "models")
OUTPUT = Path("build") / "bench" / "speech.json"
ROUNDS = 3
FRAME_S = 0.02
SILENCE_S = 2.0
REPLY = (
    "Sure, I can help you with that order. The parcel left our warehouse this morning, and it "
    "should arrive before five o'clock tomorrow afternoon."
)
CALLERS, SPEAKERS, APART_S = 4, 2, 0.7


@dataclass(frozen=True)
class Row:
    """One line of the table; times in ms unless the name says otherwise."""

    name: str
    ours: float
    bare: float
    unit: str


def main() -> list[dict[str, Any]]:
    """Measure, print, write."""
    rows = asyncio.run(measured())
    print(f"{'':44}{'payphone':>10}{'bare':>10}  unit")
    for row in rows:
        bare = "" if np.isnan(row.bare) else f"{row.bare:10.2f}"
        print(f"{row.name:44}{row.ours:10.2f}{bare:>10}  {row.unit}")
    result = [
        {"name": row.name, "ours": row.ours, "bare": none(row.bare), "unit": row.unit}
        for row in rows
    ]
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


async def measured() -> list[Row]:
    """Every row, the engines warm."""
    with build_pool() as pool:
        voice, ear = build_synthesizer(STORE, pool), build_transcriber(STORE, pool)
        await voice.start()
        await ear.start()
        rows = await speaking(voice)
        rows += await hearing(ear, await spoken(voice, REPLY))
        rows += await together(voice, ear, pool)
        await ear.close()
    return rows


async def speaking(voice: Kokoro) -> list[Row]:
    """Time to first audio and real-time factor, beside kokoro-onnx."""
    firsts, factors = [], []
    for _ in range(ROUNDS):
        began, first, size = time.perf_counter(), 0.0, 0
        async for chunk in voice.speak(REPLY, VoiceOptions(voice="af_heart")):
            first = first or time.perf_counter() - began
            size += len(chunk.pcm)
        firsts.append(first * 1_000)
        factors.append((time.perf_counter() - began) / (size / 96_000))
    bare_first, bare_factor = await bare_speaking()
    return [
        Row("TTS: time to first audio, two sentences", statistics.median(firsts), bare_first, "ms"),
        Row("TTS: compute per second of audio", statistics.median(factors), bare_factor, "s/s"),
    ]


async def bare_speaking() -> tuple[float, float]:
    """kokoro-onnx as its documentation uses it: the stream's first chunk, and the whole."""
    folder = STORE.path("kokoro-voices")
    styles = {
        path.stem: np.fromfile(path, "<f4").reshape(-1, 1, 256) for path in folder.glob("*.bin")
    }
    with tempfile.TemporaryDirectory() as scratch:
        voices = Path(scratch) / "voices.npz"
        np.savez(voices, **styles)
        weights = STORE.path("kokoro-82m-int8") / "kokoro-v1.0.int8.onnx"
        kokoro = kokoro_onnx.Kokoro(str(weights), str(voices))
    kokoro.create("Warm up, please.", voice="af_heart")
    firsts, factors = [], []
    for _ in range(ROUNDS):
        began, first, size = time.perf_counter(), 0.0, 0
        async for sound, _rate in kokoro.create_stream(REPLY, voice="af_heart"):
            first = first or time.perf_counter() - began
            size += len(sound)
        firsts.append(first * 1_000)
        factors.append((time.perf_counter() - began) / (size / 24_000))
    return statistics.median(firsts), statistics.median(factors)


async def hearing(ear: SegmentedTranscriber, clip: Sound) -> list[Row]:
    """End of speech to final text, beside one call of faster-whisper on the same clip."""
    waits = [wait for _ in range(ROUNDS) for wait in await heard(ear, clip)]
    flushed = [await heard_flushed(ear, clip) for _ in range(ROUNDS)]
    model = faster_whisper.WhisperModel(
        str(STORE.path("whisper-base")), compute_type="int8", cpu_threads=2
    )
    bare = [
        timed(lambda: list(model.transcribe(clip[: 3 * 16_000], language="en")[0]))[0]
        for _ in range(ROUNDS)
    ]
    return [
        Row("STT: end of speech to final text, live", statistics.median(waits), nan(), "ms"),
        Row(
            "STT: flush to final text; bare: transcribe",
            statistics.median(flushed),
            statistics.median(bare),
            "ms",
        ),
    ]


async def together(voice: Kokoro, ear: SegmentedTranscriber, pool: WorkerPool) -> list[Row]:
    """The event loop and the waits while callers and speakers share the machine."""
    clip = await spoken(voice, REPLY)
    idle, lags = [], []
    await watched(idle, asyncio.sleep(2))
    watching = asyncio.create_task(watch(lags))
    speakers = [asyncio.create_task(spoken(voice, REPLY * 2)) for _ in range(SPEAKERS)]
    waits = await asyncio.gather(
        *(heard(ear, clip, delay_s=index * APART_S) for index in range(CALLERS))
    )
    await asyncio.gather(*speakers)
    watching.cancel()
    load = f"{CALLERS} callers, {SPEAKERS} speakers, {pool.threads} threads"
    flat = [wait for one in waits for wait in one]
    return [
        Row(f"both: end of speech to text, {load}", statistics.median(flat), nan(), "ms"),
        Row("both: event loop late, worst; bare: idle", max(lags), max(idle), "ms"),
        Row("both: event loop late, 99th of 100", late(lags, 0.99), late(idle, 0.99), "ms"),
    ]


async def watched(lags: list[float], work: Awaitable[None]) -> None:
    """Watch the loop while `work` is done."""
    watching = asyncio.create_task(watch(lags))
    await work
    watching.cancel()


def late(lags: list[float], share: float) -> float:
    return sorted(lags)[int(len(lags) * share)]


async def watch(lags: list[float]) -> None:
    """Note how much later than asked the loop comes back."""
    while True:
        due = time.perf_counter() + 0.005
        await asyncio.sleep(0.005)
        lags.append(max(0.0, time.perf_counter() - due) * 1_000)


async def spoken(voice: Kokoro, text: str) -> Sound:
    """`text` said by our engine, at the rate hearing takes."""
    pcm = b"".join([chunk.pcm async for chunk in voice.speak(text, VoiceOptions())])
    sound = np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768
    lowered: Sound = await asyncio.to_thread(soxr.resample, sound, 48_000, 16_000)
    return lowered


async def heard(ear: SegmentedTranscriber, clip: Sound, delay_s: float = 0.0) -> list[float]:
    """How long each final took, the clip and a second of silence sent as they would be spoken."""
    await asyncio.sleep(delay_s)
    stream = await ear.listen(HearingOptions(language="en"))
    silence = np.zeros(int(SILENCE_S * 16_000), np.float32)
    collected: list[float] = []
    written = asyncio.Event()
    written.set()

    async def collect() -> None:
        async for event in stream.events():
            if isinstance(event, SpeechStarted):
                written.clear()
            if isinstance(event, Transcript):
                written.set()
                collected.append(event.latency_ms)

    collecting = asyncio.create_task(collect())
    await send(stream, np.concatenate((clip, silence)))
    async with asyncio.timeout(30):
        await written.wait()  # A loaded machine writes later than the silence lasts.
    await stream.close()
    await collecting
    return collected


async def heard_flushed(ear: SegmentedTranscriber, clip: Sound) -> float:
    """How long the text takes when the caller says that it is done, in ms.

    Three seconds of the clip: the whole of it may hold a pause that ends a phrase by itself.
    """
    stream = await ear.listen(HearingOptions(language="en"))
    await send(stream, clip[: 3 * 16_000])
    began = time.perf_counter()
    await stream.flush()
    async for event in stream.events():
        if isinstance(event, Transcript):
            break
    taken = time.perf_counter() - began
    await stream.close()
    return taken * 1_000


async def send(stream: HearingStream, sound: Sound) -> None:
    """Send at the pace of speech."""
    pcm, step, began = pcm_of(sound), int(FRAME_S * 32_000), time.perf_counter()
    for index, at in enumerate(range(0, len(pcm), step)):
        await stream.hear(pcm[at : at + step])
        await asyncio.sleep(max(0.0, began + (index + 1) * FRAME_S - time.perf_counter()))


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """How long `work` takes, in ms, and its result."""
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1_000, result


def pcm_of(sound: Sound) -> bytes:
    pcm: bytes = np.rint(np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes()
    return pcm


def nan() -> float:
    """No such figure for the bare engine."""
    return float("nan")


def none(value: float) -> float | None:
    return None if np.isnan(value) else value


if __name__ == "__main__":
    main()
