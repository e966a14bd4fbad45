"""What every synthesizer promises, scripted or real (specs/engines.md, E6 to E10)."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.errors import MalformedError, NoCapacityError
from domain.ports.speech import SpeechChunk, Synthesizer, VoiceOptions
from engines.assembly import build_pool, build_synthesizer
from engines.models.store import ModelStore
from engines.scripted import ScriptedSynthesizer

TEXT = (
    "Sure, I can help with that today. The parcel left our warehouse this morning, and it "
    "should arrive before five o'clock.  Does that work for you?\n"
)
RATE_HZ = 48_000
HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
CACHE = Path(HOME) / "payphone" / "models"


@dataclass(frozen=True)
class Bench:
    """An engine that can speak, how many at once, and how to make one without weights."""

    engine: Synthesizer
    places: int
    without_weights: Callable[[Path], Synthesizer]


@pytest.fixture(scope="module")
def scripted() -> Bench:
    return Bench(ScriptedSynthesizer(voices_max=3), 3, lambda _: ScriptedSynthesizer(ready=False))


@pytest.fixture(scope="module")
def kokoro() -> Iterator[Bench]:
    store = ModelStore(CACHE)
    if missing := store.missing(("kokoro-82m-int8", "kokoro-voices")):
        pytest.skip(f"weights missing: {', '.join(missing)}")
    with build_pool(tts_max=3) as pool:
        engine = build_synthesizer(store, pool)
        asyncio.run(engine.start())
        yield Bench(engine, 3, lambda folder: build_synthesizer(ModelStore(folder), pool))


@pytest.fixture(params=["scripted", pytest.param("kokoro", marks=pytest.mark.models)])
def bench(request: pytest.FixtureRequest) -> Bench:
    chosen: Bench = request.getfixturevalue(request.param)
    return chosen


async def said(engine: Synthesizer, text: str, options: VoiceOptions) -> list[SpeechChunk]:
    return [chunk async for chunk in engine.speak(text, options)]


def seconds(chunks: list[SpeechChunk]) -> float:
    return sum(len(chunk.pcm) for chunk in chunks) / 2 / RATE_HZ


async def test_the_texts_of_the_chunks_are_the_text_e7(bench: Bench) -> None:
    chunks = await said(bench.engine, TEXT, VoiceOptions())

    assert "".join(chunk.text for chunk in chunks) == TEXT


async def test_there_is_as_much_sound_as_the_text_takes_e7(bench: Bench) -> None:
    chunks = await said(bench.engine, TEXT, VoiceOptions())

    assert 4 < seconds(chunks) < 14
    assert all(len(chunk.pcm) % 2 == 0 for chunk in chunks)


@pytest.mark.parametrize("text", ["", "   \n", "...", "🙂", "!?"])
async def test_a_text_without_sound_is_no_failure_e7(bench: Bench, text: str) -> None:
    chunks = await said(bench.engine, text, VoiceOptions())

    assert "".join(chunk.text for chunk in chunks) == text


async def test_speed_makes_speech_shorter_or_longer_e9(bench: Bench) -> None:
    slow = await said(bench.engine, TEXT, VoiceOptions(speed=0.5))
    fast = await said(bench.engine, TEXT, VoiceOptions(speed=2.0))

    assert seconds(fast) < 0.5 * seconds(slow)


@pytest.mark.parametrize(
    "options",
    [
        VoiceOptions(voice="af_heart,af_bella"),
        VoiceOptions(voice="af_heart*0.7,af_bella*0.3"),
        VoiceOptions(voice="heart"),
        VoiceOptions(language="es"),
        VoiceOptions(language="fr-FR"),
        VoiceOptions(voice="bf_emma", language="b"),
    ],
)
async def test_voices_blends_and_languages_speak_e9(bench: Bench, options: VoiceOptions) -> None:
    bench.engine.check(options)

    chunks = await said(bench.engine, "Hola, bonjour, hello.", options)

    assert seconds(chunks) > 0.5


@pytest.mark.parametrize(
    "options",
    [
        VoiceOptions(voice="nobody"),
        VoiceOptions(language="klingon"),
        VoiceOptions(speed=2.5),
        VoiceOptions(speed=math.nan),
    ],
)
async def test_what_cannot_be_spoken_is_refused_before_the_first_chunk_e9(
    bench: Bench, options: VoiceOptions
) -> None:
    with pytest.raises(MalformedError):
        bench.engine.check(options)

    with pytest.raises(MalformedError):
        await anext(bench.engine.speak(TEXT, options))


async def test_one_speaker_too_many_is_refused_and_told_so_e29(bench: Bench) -> None:
    speaking = [bench.engine.speak(TEXT * 3, VoiceOptions()) for _ in range(bench.places)]
    for speech in speaking:
        await anext(speech)

    with pytest.raises(NoCapacityError):
        await anext(bench.engine.speak(TEXT, VoiceOptions()))

    for speech in speaking:
        await speech.aclose()


async def test_closing_early_gives_the_place_back_e10(bench: Bench) -> None:
    for _ in range(bench.places + 1):
        speech = bench.engine.speak(TEXT * 3, VoiceOptions())
        await anext(speech)
        await speech.aclose()

    assert await said(bench.engine, "Next.", VoiceOptions())


async def test_a_cancelled_listener_gives_the_place_back_e10(bench: Bench) -> None:
    for _ in range(bench.places + 1):
        listener = asyncio.create_task(said(bench.engine, TEXT * 3, VoiceOptions()))
        await asyncio.sleep(0)
        listener.cancel()
        await asyncio.wait([listener])

    assert await said(bench.engine, "Next.", VoiceOptions())


async def test_without_weights_nothing_is_said_and_the_traits_say_why_e6(
    bench: Bench, tmp_path: Path
) -> None:
    engine = bench.without_weights(tmp_path)

    with pytest.raises(NoCapacityError):
        await anext(engine.speak(TEXT, VoiceOptions()))

    assert engine.traits.ready is False
    assert "payphone models fetch" in engine.traits.problem


def test_traits_name_voices_and_languages_e9(bench: Bench) -> None:
    traits = bench.engine.traits

    assert traits.ready
    assert traits.voices["af_heart"] == "en"
    assert {"en", "es", "fr"} <= traits.languages
