"""The networks behind the engines, with their real weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from domain.ports.speech import VoiceOptions
from engines.gtcrn import Gtcrn
from engines.kokoro_net import RATE_HZ, KokoroNet, Upsampler, trimmed
from engines.models.store import ModelStore
from engines.silero import FRAME, Silero
from engines.voices import understand
from engines.whisper import Whisper

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    Sound = NDArray[float32]

np = pytest.importorskip("numpy", reason="the stt and tts extras are not installed")

pytestmark = pytest.mark.models

HOME = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
STORE = ModelStore(Path(HOME) / "payphone" / "models")
VOICES = ("af_heart", "af_bella", "am_adam")


@pytest.fixture(scope="module", autouse=True)
def weights() -> None:
    if missing := STORE.missing((*STORE.needed, "english-samples")):
        pytest.skip(f"weights missing: {', '.join(missing)}")


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero(STORE.path("silero-vad"))


@pytest.fixture(scope="module")
def kokoro() -> KokoroNet:
    return KokoroNet(STORE.path("kokoro-82m-int8"), STORE.path("kokoro-voices"), threads=2)


@pytest.fixture(scope="module")
def sentence() -> Sound:
    data = (STORE.path("english-samples") / "quick_brown_fox.wav").read_bytes()
    at = data.index(b"data")
    return np.frombuffer(
        data[at + 8 :], "<f4", count=int.from_bytes(data[at + 4 : at + 8], "little") // 4
    )


def frames(sound: Sound) -> list[Sound]:
    return [sound[at : at + FRAME] for at in range(0, len(sound) - FRAME, FRAME)]


def test_callers_in_one_batch_hear_what_they_would_hear_alone_e11(
    silero: Silero, sentence: Sound
) -> None:
    noise = np.random.default_rng(1).standard_normal(len(sentence)).astype(np.float32) * 0.01
    together, alone = [silero.caller(), silero.caller()], silero.caller()

    in_batch = [
        silero.probabilities(together, pair)[0]
        for pair in zip(frames(sentence), frames(noise), strict=True)
    ]
    by_itself = [silero.probabilities([alone], [frame])[0] for frame in frames(sentence)]

    assert in_batch == pytest.approx(by_itself, abs=1e-5)


def test_a_voice_is_told_from_noise_e11(silero: Silero, sentence: Sound) -> None:
    noise = np.random.default_rng(1).standard_normal(len(sentence)).astype(np.float32) * 0.1
    one, other = silero.caller(), silero.caller()

    voiced = [silero.probabilities([one], [frame])[0] for frame in frames(sentence)]
    noisy = [silero.probabilities([other], [frame])[0] for frame in frames(noise)]

    assert np.mean(voiced) > 0.6
    assert max(noisy) < 0.45


def test_the_denoiser_takes_noise_and_leaves_the_voice_e13(sentence: Sound) -> None:
    network = Gtcrn(STORE.path("gtcrn"))
    voice = sentence[: len(sentence) // FRAME * FRAME]
    noise = np.random.default_rng(1).standard_normal(len(voice)).astype(np.float32) * 0.03

    quiet = network.denoiser().clean(noise)
    clean = network.denoiser().clean(voice + noise)

    assert np.std(quiet[8_000:]) < 0.2 * np.std(noise)
    # The denoiser lags by one hop of 256 samples.
    assert np.corrcoef(clean[256:], voice[:-256])[0, 1] > 0.9


@pytest.mark.parametrize("language", ["en", "auto"])
def test_a_short_window_hears_the_same_words_e15(sentence: Sound, language: str) -> None:
    whisper = Whisper(STORE.path("whisper-base"), workers=1)

    written = whisper.recognise(sentence, language)

    assert written.language == "en"
    assert "quick brown fox" in written.text
    assert written.sureness > -0.6


def test_detecting_the_language_costs_no_second_encoding_e16(
    sentence: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper = Whisper(STORE.path("whisper-base"), workers=1)
    encode, windows = whisper._encode, []

    def counted(sound: Sound, window_s: float) -> object:
        windows.append(window_s)
        return encode(sound, window_s)

    monkeypatch.setattr(whisper, "_encode", counted)
    whisper.recognise(sentence, "auto")

    assert windows == [10.0]


def test_a_language_not_measured_in_a_short_window_is_still_heard_e15(sentence: Sound) -> None:
    whisper = Whisper(STORE.path("whisper-base"), workers=1)

    assert whisper.recognise(sentence, "nl").language == "nl"


def test_speed_changes_length_and_keeps_pitch_e9(kokoro: KokoroNet) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    spoken = {
        speed: kokoro.speak(text, understand(VoiceOptions(speed=speed), VOICES))
        for speed in (0.8, 1.25)
    }

    assert len(spoken[0.8]) > 1.3 * len(spoken[1.25])
    assert pitch_hz(spoken[0.8]) == pytest.approx(pitch_hz(spoken[1.25]), rel=0.08)


def test_a_blend_lies_between_its_voices_e9(kokoro: KokoroNet) -> None:
    text = "The quick brown fox jumps over the lazy dog."
    low, mixed, high = (
        pitch_hz(kokoro.speak(text, understand(VoiceOptions(voice=voice), VOICES)))
        for voice in ("am_adam", "am_adam,af_heart", "af_heart")
    )

    assert low < mixed < high


def test_more_phonemes_than_the_network_takes_are_said_in_parts_e8(kokoro: KokoroNet) -> None:
    text = "extraordinarily " * 60

    sound = kokoro.speak(text, understand(VoiceOptions(speed=2.0), VOICES))

    assert len(sound) > 20 * RATE_HZ


def test_the_pronoun_keeps_a_stress_and_dollars_are_said_as_people_do_e31(
    kokoro: KokoroNet,
) -> None:
    english = understand(VoiceOptions(), VOICES).tongue

    said = kokoro.phonemizer.phonemes("I owe $10.50", english)

    assert said.startswith("ˌI ")
    assert said.endswith("ɛnts")


def test_silence_around_a_piece_is_cut_and_its_edges_fade_e31() -> None:
    tone = np.sin(np.arange(RATE_HZ) / 5).astype(np.float32) / 2
    padded = np.concatenate([np.zeros(9_000, np.float32), tone, np.zeros(12_000, np.float32)])

    sound = trimmed(padded, 100)

    silence = len(sound) - len(tone)
    assert silence <= (80 + 100) * RATE_HZ // 1000
    assert abs(sound[0]) < 0.001
    assert not sound[-2_400:].any()


def test_doubling_the_rate_in_pieces_is_doubling_it_whole_e31() -> None:
    tone = np.sin(np.arange(RATE_HZ) / 7).astype(np.float32) / 2
    whole, pieces = Upsampler(), Upsampler()

    at_once = whole.pcm(tone, last=True)
    joined = pieces.pcm(tone[:7_001], last=False) + pieces.pcm(tone[7_001:], last=True)

    assert len(at_once) == len(joined) == 4 * RATE_HZ
    difference = np.frombuffer(at_once, "<i2").astype(int) - np.frombuffer(joined, "<i2")
    assert np.abs(difference).max() <= 1


def pitch_hz(sound: Sound) -> float:
    """The median pitch, by autocorrelation of loud stretches of 40 ms."""
    size = RATE_HZ // 25
    found = []
    for at in range(0, len(sound) - size, size):
        piece = sound[at : at + size] - sound[at : at + size].mean()
        if np.abs(piece).mean() < 0.03:
            continue
        echo = np.correlate(piece, piece, "full")[size - 1 :]
        lags = np.arange(RATE_HZ // 400, RATE_HZ // 70)
        best = lags[np.argmax(echo[lags])]
        if echo[best] > 0.5 * echo[0]:
            found.append(RATE_HZ / best)
    return float(np.median(found))
