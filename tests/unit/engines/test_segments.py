"""The way from sound to text, with a detector that hears loudness and a recogniser that is told."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from domain.ports.speech import Hearing, HearingOptions, SpeechEnded, SpeechStarted, Transcript
from engines.ears import RING_BYTES_MAX, Ears
from engines.phrases import Ending
from engines.pool import WorkerPool
from engines.segments import Bench, SegmentedStream
from engines.whisper import Recognition

np = pytest.importorskip("numpy", reason="the stt extra is not installed")

LOUD, QUIET = 8_000, 0
SECOND = 16_000


def sound(level: int, milliseconds: int) -> bytes:
    return array("h", [level] * (milliseconds * 16)).tobytes()


class LoudnessDetector:
    """Hears a voice in whatever is loud; counts how many callers came in each call."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def caller(self) -> object:
        return object()

    def probabilities(self, callers: Sequence[object], frames: Sequence[Any]) -> list[float]:
        self.batches.append(len(callers))
        return [0.95 if np.abs(frame).mean() > 0.05 else 0.02 for frame in frames]


class ToldRecogniser:
    """Writes the next of its lines; can be made to wait, and to fail."""

    name = "whisper"
    languages = frozenset({"en", "es"})

    def __init__(self) -> None:
        self.lines = ["one", "two", "three"]
        self.taken: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.began = threading.Event()
        self.broken = False

    def recognise(self, sound: Sequence[float], language: str) -> Recognition:
        self.taken.append(len(sound))
        line = self.lines[(len(self.taken) - 1) % len(self.lines)]
        self.began.set()
        self.go_on.wait(10)
        if self.broken:
            self.broken = False
            msg = "the network broke"
            raise RuntimeError(msg)
        return Recognition(text=line, language=language, sureness=-0.1, no_speech=0.0)


class Line:
    """A stream, its fakes, and what came out."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.detector = LoudnessDetector()
        self.recogniser = ToldRecogniser()
        self.pool = WorkerPool(threads=1, limits={"stt": 8})
        self.ears = Ears(self.detector, None)
        self.heard: list[Hearing] = []
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> SegmentedStream:
        bench = Bench(
            ears=self.ears,
            pool=self.pool,
            recognisers=(self.recogniser,),
            ending=Ending(),
            denoise="off",
            now_ms=lambda: self.now_ms,
        )
        stream = SegmentedStream(bench, self.pool.lane("stt"), HearingOptions(language="en"))
        self._tasks.append(asyncio.create_task(self._collect(stream)))
        return stream

    async def _collect(self, stream: SegmentedStream) -> None:
        async for event in stream.events():
            self.heard.append(event)
            self._news.set()

    async def until(self, kind: type[Hearing], count: int = 1) -> None:
        async with asyncio.timeout(10):
            while sum(isinstance(event, kind) for event in self.heard) < count:
                self._news.clear()
                await self._news.wait()

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.heard if isinstance(event, Transcript)]

    def close(self) -> None:
        self.recogniser.go_on.set()
        self.ears.close()
        self.pool.close()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


PHRASE = sound(LOUD, 1_000) + sound(QUIET, 1_000)


async def test_an_utterance_is_trimmed_to_its_speech_and_a_little_silence_e14(line: Line) -> None:
    stream = line.open()

    await stream.hear(sound(QUIET, 2_000) + PHRASE)
    await line.until(Transcript)
    await stream.close()

    taken_ms = line.recogniser.taken[0] // 16
    assert 1_000 + 300 + 160 - 64 <= taken_ms <= 1_000 + 300 + 160 + 64


async def test_latency_runs_from_the_arrival_of_the_last_voiced_sample_e2(line: Line) -> None:
    stream = line.open()
    await stream.hear(sound(LOUD, 1_024))
    line.now_ms = 5_000
    await stream.hear(sound(QUIET, 1_000))

    await line.until(Transcript)
    await stream.close()

    texts = [event for event in line.heard if isinstance(event, Transcript)]
    assert texts[0].latency_ms == 5_000


async def test_a_pause_starts_a_recognition_that_the_end_uses_e19(line: Line) -> None:
    stream = line.open()
    await stream.hear(sound(LOUD, 1_024) + sound(QUIET, 224))

    began = await asyncio.to_thread(line.recogniser.began.wait, 10)
    ended = [event for event in line.heard if isinstance(event, SpeechEnded)]
    await stream.hear(sound(QUIET, 1_000))
    await line.until(Transcript)
    await stream.close()

    assert began
    assert ended == []
    assert len(line.recogniser.taken) == 1


async def test_a_pause_that_was_not_the_end_is_recognised_again_e19(line: Line) -> None:
    stream = line.open()
    await stream.hear(sound(LOUD, 1_024) + sound(QUIET, 224))
    await asyncio.to_thread(line.recogniser.began.wait, 10)

    await stream.hear(PHRASE)
    await line.until(Transcript)
    await stream.close()

    assert len(line.recogniser.taken) == 2
    assert len(line.texts) == 1
    assert line.recogniser.taken[1] > line.recogniser.taken[0] + SECOND


async def test_a_late_result_of_before_a_reset_never_arrives_e4(line: Line) -> None:
    line.recogniser.go_on.clear()
    stream = line.open()
    await stream.hear(PHRASE)
    await asyncio.to_thread(line.recogniser.began.wait, 10)

    await stream.reset()
    line.recogniser.go_on.set()
    await stream.hear(PHRASE)
    await line.until(Transcript)
    await stream.close()

    assert line.texts == ["two"]


async def test_a_reset_may_come_while_the_audio_thread_is_busy_e4(line: Line) -> None:
    stream = line.open()
    for _ in range(20):
        await stream.hear(PHRASE * 3)
        await stream.reset()
    line.heard.clear()

    await stream.hear(PHRASE)
    await line.until(Transcript)
    await stream.close()

    assert [type(event) for event in line.heard] == [SpeechStarted, SpeechEnded, Transcript]
    assert line.heard[0] == SpeechStarted(20 * 3 * 2_000)


async def test_a_phrase_that_breaks_the_recogniser_does_not_silence_the_next_e20(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.recogniser.broken = True
    stream = line.open()

    await stream.hear(PHRASE * 2)
    await line.until(Transcript)
    await stream.close()

    assert line.texts == ["two"]
    assert [record.message for record in caplog.records] == ["recogniser failed"]


async def test_a_click_is_not_sent_to_the_recogniser_e14(line: Line) -> None:
    stream = line.open()

    await stream.hear(sound(LOUD, 100) + sound(QUIET, 1_000) + PHRASE)
    await line.until(Transcript)
    await stream.close()

    assert len(line.recogniser.taken) == 1


async def test_sound_beyond_thirty_seconds_waits_with_its_sender_e20(line: Line) -> None:
    line.recogniser.go_on.clear()
    stream = line.open()
    flood = asyncio.create_task(stream.hear(PHRASE * 40))

    await asyncio.to_thread(line.recogniser.began.wait, 10)
    await asyncio.wait([flood], timeout=0.05)
    blocked = not flood.done()
    line.recogniser.go_on.set()
    await line.until(Transcript, 40)
    await flood
    await stream.close()

    assert len(PHRASE * 40) > 2 * RING_BYTES_MAX
    assert blocked


async def test_closing_releases_a_sender_who_waits_e20(line: Line) -> None:
    line.recogniser.go_on.clear()
    stream = line.open()
    flood = asyncio.create_task(stream.hear(PHRASE * 40))
    await asyncio.to_thread(line.recogniser.began.wait, 10)

    await stream.close()

    async with asyncio.timeout(10):
        await flood


async def test_all_callers_go_through_the_detector_together_e11(line: Line) -> None:
    streams = [line.open() for _ in range(5)]

    for stream in streams:
        await stream.hear(PHRASE)
    await line.until(Transcript, 5)
    for stream in streams:
        await stream.close()

    assert max(line.detector.batches) > 1


async def test_long_speech_becomes_several_texts_and_one_end_e18(line: Line) -> None:
    stream = line.open()

    await stream.hear(sound(LOUD, 22_000) + sound(QUIET, 128) + PHRASE)
    await line.until(Transcript, 2)
    await stream.close()

    kinds = [type(event) for event in line.heard]
    assert kinds.count(SpeechStarted) == kinds.count(SpeechEnded) == 1
    assert all(taken <= 28 * SECOND for taken in line.recogniser.taken)
