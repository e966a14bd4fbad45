"""What every transcriber promises, scripted or real (specs/engines.md, E1 to E6)."""

from __future__ import annotations

import asyncio
import math
import os
import random
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.errors import MalformedError, NoCapacityError
from domain.ports.speech import (
    Hearing,
    HearingOptions,
    HearingStream,
    SpeechEnded,
    SpeechStarted,
    Transcriber,
    Transcript,
)
from engines.assembly import build_pool, build_transcriber
from engines.models.store import ModelStore
from engines.scripted import ScriptedTranscriber

RATE_HZ = 16_000
HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(HOME) / "payphone" / "models"
SECOND_OF_SILENCE = bytes(2 * RATE_HZ)
ENGLISH = HearingOptions(language="en")


@dataclass(frozen=True)
class Bench:
    """An engine that can hear, a sentence of about a second for it, and one without weights."""

    engine: Transcriber
    sentence: bytes
    places: int
    without_weights: Callable[[Path], Transcriber]


@pytest.fixture(scope="module")
def scripted() -> Bench:
    tone = _pcm([0.3 * math.sin(0.1 * n) for n in range(RATE_HZ)])
    engine = ScriptedTranscriber(streams_max=3)
    return Bench(engine, tone, 3, lambda _: ScriptedTranscriber(ready=False))


@pytest.fixture(scope="module")
def whisper() -> Iterator[Bench]:
    store = ModelStore(CACHE)
    if missing := store.missing(("silero-vad", "gtcrn", "whisper-base", "english-samples")):
        pytest.skip(f"weights missing: {', '.join(missing)}")
    sentence = _pcm(_wav(store.path("english-samples") / "hello_world.wav"))
    with build_pool(stt_max=3) as pool:
        engine = build_transcriber(store, pool)
        asyncio.run(engine.start())
        yield Bench(engine, sentence, 3, lambda folder: build_transcriber(ModelStore(folder), pool))
        asyncio.run(engine.close())


@pytest.fixture(params=["scripted", pytest.param("whisper", marks=pytest.mark.models)])
def bench(request: pytest.FixtureRequest) -> Bench:
    chosen: Bench = request.getfixturevalue(request.param)
    return chosen


class Listening:
    """A stream and what came out of it so far."""

    def __init__(self, stream: HearingStream) -> None:
        self.stream = stream
        self.heard: list[Hearing] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for event in self.stream.events():
            self.heard.append(event)
            self._news.set()

    async def until(self, kind: type[Hearing], count: int = 1) -> None:
        async with asyncio.timeout(30):
            while sum(isinstance(event, kind) for event in self.heard) < count:
                self._news.clear()
                await self._news.wait()

    @property
    def texts(self) -> list[Transcript]:
        return [event for event in self.heard if isinstance(event, Transcript)]

    async def close(self) -> None:
        await self.stream.close()
        async with asyncio.timeout(30):
            await self._task


async def listening(bench: Bench, options: HearingOptions = ENGLISH) -> Listening:
    return Listening(await bench.engine.listen(options))


async def test_a_phrase_is_its_start_its_end_and_its_text_e2(bench: Bench) -> None:
    line = await listening(bench)

    await line.stream.hear(bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    assert [type(event) for event in line.heard] == [SpeechStarted, SpeechEnded, Transcript]
    assert line.texts[0].is_final
    assert "hello world" in line.texts[0].text.lower()
    assert line.texts[0].language == "en"


async def test_times_count_from_the_first_sample_e2(bench: Bench) -> None:
    line = await listening(bench)

    await line.stream.hear(SECOND_OF_SILENCE + bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    text = line.texts[0]
    assert 900 < text.start_ms < 1_300
    assert text.start_ms < text.end_ms <= 2_300
    assert line.heard[:2] == [SpeechStarted(text.start_ms), SpeechEnded(text.end_ms)]


async def test_chunks_may_have_any_size_e1(bench: Bench) -> None:
    sizes = random.Random(1)  # noqa: S311 (a shuffled size is no secret)
    sound = bench.sentence + SECOND_OF_SILENCE
    line = await listening(bench)

    at = 0
    while at < len(sound):
        size = sizes.randrange(1, 999)
        await line.stream.hear(sound[at : at + size])
        at += size
    await line.until(Transcript)
    await line.close()

    assert "hello world" in line.texts[0].text.lower()


async def test_flush_ends_the_phrase_at_once_e3(bench: Bench) -> None:
    line = await listening(bench)

    await line.stream.hear(bench.sentence)
    await line.stream.flush()
    await line.until(Transcript)
    await line.close()

    assert "hello world" in line.texts[0].text.lower()


async def test_flush_without_speech_does_nothing_e3(bench: Bench) -> None:
    line = await listening(bench)

    await line.stream.hear(SECOND_OF_SILENCE)
    await line.stream.flush()
    await line.stream.hear(bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    assert [type(event) for event in line.heard] == [SpeechStarted, SpeechEnded, Transcript]


async def test_what_was_said_before_a_reset_is_forgotten_e4(bench: Bench) -> None:
    line = await listening(bench)
    await line.stream.hear(bench.sentence)
    await line.until(SpeechStarted)

    await line.stream.reset()
    await line.stream.hear(SECOND_OF_SILENCE + bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    said = len(bench.sentence) * 1_000 // 2 // RATE_HZ
    assert len(line.texts) == 1
    assert line.texts[0].start_ms > said + 900


async def test_a_stream_goes_on_in_another_language_e5(bench: Bench) -> None:
    line = await listening(bench)

    await line.stream.configure(HearingOptions(language="es-MX", model="whisper"))
    await line.stream.hear(bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    assert line.texts[0].language == "es"


@pytest.mark.parametrize(
    "options",
    [
        HearingOptions(language="klingon"),
        HearingOptions(model="gpt"),
        HearingOptions(language="en", model="parakeet"),
    ],
)
async def test_unknown_languages_and_models_are_malformed_e5(
    bench: Bench, options: HearingOptions
) -> None:
    line = await listening(bench)

    with pytest.raises(MalformedError):
        await line.stream.configure(options)
    with pytest.raises(MalformedError):
        await bench.engine.listen(options)

    await line.close()


async def test_a_refused_configuration_changes_nothing_e5(bench: Bench) -> None:
    line = await listening(bench)
    await line.stream.hear(bench.sentence[: len(bench.sentence) // 2])

    with pytest.raises(MalformedError):
        await line.stream.configure(HearingOptions(language="klingon"))
    await line.stream.hear(bench.sentence[len(bench.sentence) // 2 :] + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    assert "hello world" in line.texts[0].text.lower()


async def test_one_stream_too_many_is_refused_and_closing_makes_room_e29(bench: Bench) -> None:
    lines = [await listening(bench) for _ in range(bench.places)]

    with pytest.raises(NoCapacityError):
        await bench.engine.listen(ENGLISH)

    await lines[0].close()
    lines[0] = await listening(bench)
    for line in lines:
        await line.close()


async def test_closing_ends_the_events_and_may_be_repeated_e29(bench: Bench) -> None:
    line = await listening(bench)

    await line.close()
    await line.close()
    await line.stream.hear(bench.sentence)

    assert line.heard == []


@pytest.mark.parametrize("kind", ["silence", "hum", "soft noise"])
async def test_what_is_no_speech_gives_no_text_e17(bench: Bench, kind: str) -> None:
    noise = random.Random(2)  # noqa: S311 (noise is no secret)
    make = {
        "silence": lambda _: 0.0,
        "hum": lambda n: 0.02 * math.sin(2 * math.pi * 50 * n / RATE_HZ),
        "soft noise": lambda _: noise.gauss(0.0, 0.003),
    }[kind]
    line = await listening(bench)

    await line.stream.hear(_pcm([make(n) for n in range(4 * RATE_HZ)]))
    await line.stream.flush()
    await line.stream.hear(bench.sentence + SECOND_OF_SILENCE)
    await line.until(Transcript)
    await line.close()

    assert len(line.texts) == 1
    assert line.texts[0].start_ms >= 3_900


async def test_without_weights_nobody_listens_and_the_traits_say_why_e6(
    bench: Bench, tmp_path: Path
) -> None:
    engine = bench.without_weights(tmp_path)

    with pytest.raises(NoCapacityError):
        await engine.listen(ENGLISH)

    assert engine.traits.ready is False
    assert "payphone models fetch" in engine.traits.problem


def test_traits_name_the_languages_e5(bench: Bench) -> None:
    assert bench.engine.traits.ready
    assert {"en", "es", "fr", "ja"} <= bench.engine.traits.languages


def _pcm(sound: list[float]) -> bytes:
    return array("h", (round(32_767 * max(-1.0, min(1.0, value))) for value in sound)).tobytes()


def _wav(path: Path) -> list[float]:
    """The samples of a mono 32-bit float file, which the standard library does not read."""
    data = path.read_bytes()
    at = data.index(b"data")
    (size,) = struct.unpack("<I", data[at + 4 : at + 8])
    return list(array("f", data[at + 8 : at + 8 + size]))
