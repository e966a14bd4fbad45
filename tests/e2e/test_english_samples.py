"""Recorded English sentences through the whole hearing chain, streamed as a caller would."""

from __future__ import annotations

import asyncio
import math
import os
import random
import struct
from array import array
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jiwer
import pytest

from domain.ports.speech import (
    Hearing,
    HearingOptions,
    HearingStream,
    SpeechStarted,
    Transcript,
)
from engines.assembly import build_pool, build_transcriber
from engines.hearing import SegmentedTranscriber
from engines.models.problems import ModelProblemError
from engines.models.store import ModelStore

pytestmark = pytest.mark.models

RATE_HZ = 16_000
FRAME_BYTES = RATE_HZ // 50 * 2
QUIET = bytes(2 * RATE_HZ)
SAMPLES = ("hello_world", "counting", "quick_brown_fox")
HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(HOME) / "payphone" / "models"
NUMBERS = "zero one two three four five six seven eight nine ten"
DIGITS = dict(enumerate(NUMBERS.split()))

Heard = Callable[[bytes, str], Awaitable[list[Hearing]]]


@dataclass(frozen=True)
class Sample:
    """A recording, its words, and where somebody speaks in it (ms)."""

    pcm: bytes
    words: str
    speech_ms: tuple[int, int]


@pytest.fixture(scope="module")
def store() -> ModelStore:
    store = ModelStore(CACHE)
    if missing := store.missing(store.needed):
        pytest.skip(f"weights missing: {', '.join(missing)}; run 'payphone models fetch'")
    try:
        store.fetch(["english-samples"])
    except ModelProblemError as error:
        pytest.skip(f"no recordings: {error}")
    return store


@pytest.fixture(scope="module")
def engine(store: ModelStore) -> Iterator[SegmentedTranscriber]:
    with build_pool() as pool:
        engine = build_transcriber(store, pool)
        asyncio.run(engine.start())
        yield engine
        asyncio.run(engine.close())


@pytest.fixture(scope="module")
def samples(store: ModelStore) -> dict[str, Sample]:
    folder = store.path("english-samples")
    return {name: _sample(folder, name) for name in SAMPLES}


@pytest.fixture
async def heard(engine: SegmentedTranscriber, samples: dict[str, Sample]) -> Heard:
    """Everything the engine says of some sound, sent in frames of 20 ms.

    A known sentence is sent after it: once that is written, nothing of the sound is still to come.
    """
    known = samples["hello_world"].pcm

    async def hear(pcm: bytes, language: str) -> list[Hearing]:
        stream = await engine.listen(HearingOptions(language=language))
        sound = pcm + QUIET + known + QUIET
        sending = asyncio.create_task(_send(stream, sound))
        known_from_ms = len(pcm + QUIET) // 32
        before: list[Hearing] = []
        async with asyncio.timeout(60):
            async for event in stream.events():
                if isinstance(event, Transcript) and event.start_ms >= known_from_ms:
                    break
                before.append(event)
        await sending
        await stream.close()
        return [event for event in before if _starts_ms(event) < known_from_ms]

    return hear


@pytest.mark.parametrize("language", ["en", "auto"])
async def test_recorded_sentences_are_written_down(
    heard: Heard,
    samples: dict[str, Sample],
    language: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said, written = [], []
    for name, sample in samples.items():
        events = await heard(sample.pcm, language)
        text = " ".join(event.text for event in events if isinstance(event, Transcript))
        said.append(plain(sample.words))
        written.append(plain(text))
        error = jiwer.wer(said[-1], written[-1])
        with capsys.disabled():
            print(f"\n  {language:4} {name:16} WER {error:6.1%}  {text}", end="")

    total = jiwer.wer(said, written)
    with capsys.disabled():
        print(f"\n  {language:4} {'all':16} WER {total:6.1%}")
    assert total <= 0.15


@pytest.mark.parametrize("name", SAMPLES)
async def test_speech_is_found_where_it_is(
    heard: Heard, samples: dict[str, Sample], name: str
) -> None:
    silence_ms = 700
    sample = samples[name]

    events = await heard(bytes(silence_ms * 32) + sample.pcm, "en")

    start_ms = min(event.at_ms for event in events if isinstance(event, SpeechStarted))
    end_ms = max(event.end_ms for event in events if isinstance(event, Transcript))
    assert start_ms == pytest.approx(silence_ms + sample.speech_ms[0], abs=250)
    assert end_ms == pytest.approx(silence_ms + sample.speech_ms[1], abs=250)


@pytest.mark.parametrize(
    ("kind", "level_db"),
    [("silence", -120), ("hum", -20), ("noise", -50), ("noise", -35), ("noise", -20)],
)
async def test_what_is_no_speech_gives_no_text(heard: Heard, kind: str, level_db: int) -> None:
    noise = random.Random(level_db)  # noqa: S311 (noise is no secret)
    peak = 10 ** (level_db / 20)
    wave = {
        "silence": lambda _: 0.0,
        "hum": lambda n: peak * math.sin(2 * math.pi * 50 * n / RATE_HZ),
        "noise": lambda _: noise.gauss(0.0, peak),
    }[kind]

    events = await heard(_pcm([wave(n) for n in range(10 * RATE_HZ)]), "auto")

    assert [event for event in events if isinstance(event, Transcript)] == []


async def _send(stream: HearingStream, sound: bytes) -> None:
    for at in range(0, len(sound), FRAME_BYTES):
        await stream.hear(sound[at : at + FRAME_BYTES])


def _starts_ms(event: Hearing) -> int:
    return event.start_ms if isinstance(event, Transcript) else event.at_ms


def plain(text: str) -> str:
    """Lower-case words without punctuation, small numbers as words."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text.lower())
    words = [DIGITS.get(int(word), word) if word.isdecimal() else word for word in kept.split()]
    return " ".join(words)


def _sample(folder: Path, name: str) -> Sample:
    sound = _wav(folder / f"{name}.wav")
    loudest = max(abs(value) for value in sound)
    loud = [n for n, value in enumerate(sound) if abs(value) > loudest / 20]
    where = (loud[0] * 1_000 // RATE_HZ, loud[-1] * 1_000 // RATE_HZ)
    return Sample(_pcm(sound), (folder / f"{name}.txt").read_text("utf-8"), where)


def _pcm(sound: list[float]) -> bytes:
    return array("h", (round(32_767 * max(-1.0, min(1.0, value))) for value in sound)).tobytes()


def _wav(path: Path) -> list[float]:
    """The samples of a mono 32-bit float file, which the standard library does not read."""
    data = path.read_bytes()
    at = data.index(b"data")
    (size,) = struct.unpack("<I", data[at + 4 : at + 8])
    return list(array("f", data[at + 8 : at + 8 + size]))
