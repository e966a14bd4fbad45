from __future__ import annotations

import math

import pytest

from domain.errors import MalformedError
from domain.ports.speech import VoiceOptions
from engines.voices import find_tongue, understand, voice_languages

VOICES = frozenset(
    {"af_heart", "af_bella", "am_adam", "bf_emma", "ef_dora", "pf_dora", "jf_alpha", "hf_alpha"}
)


def blend(voice: str, language: str = "") -> dict[str, float]:
    return dict(understand(VoiceOptions(voice=voice, language=language), VOICES).blend)


@pytest.mark.parametrize(
    ("asked", "letter"),
    [("a", "a"), ("en", "a"), ("en-GB", "b"), ("b", "b"), ("es", "e"), ("es-MX", "e"), ("pt", "p")],
)
def test_a_language_is_a_letter_or_a_code_e9(asked: str, letter: str) -> None:
    assert find_tongue(asked).letter == letter


def test_without_a_voice_the_language_has_one_e9() -> None:
    assert blend("", "es") == {"ef_dora": 1.0}
    assert blend("") == {"af_heart": 1.0}


def test_without_a_language_the_voice_has_one_e9() -> None:
    assert understand(VoiceOptions(voice="bf_emma"), VOICES).tongue.letter == "b"


def test_a_bare_name_is_taken_in_the_language_asked_for_e9() -> None:
    assert blend("dora", "pt") == {"pf_dora": 1.0}
    assert blend("Heart") == {"af_heart": 1.0}


def test_an_alias_of_other_apis_is_a_voice_e9() -> None:
    assert blend("shimmer") == {"af_bella": 1.0}


def test_a_blend_is_even_without_weights_e9() -> None:
    assert blend("af_heart,af_bella") == {"af_heart": 0.5, "af_bella": 0.5}


def test_weights_are_shares_of_their_sum_e9() -> None:
    mixed = blend("af_heart*3, am_adam*1")

    assert mixed == {"af_heart": 0.75, "am_adam": 0.25}


@pytest.mark.parametrize(
    "voice",
    ["nobody", "af_heart,", "af_heart*0", "af_heart*-1", "af_heart*nan", "af_heart," * 9],
)
def test_a_voice_that_does_not_exist_is_malformed_e9(voice: str) -> None:
    with pytest.raises(MalformedError, match="voice"):
        blend(voice)


@pytest.mark.parametrize("language", ["xx", "klingon", "ja", "zh", "j"])
def test_a_language_that_cannot_be_pronounced_is_malformed_e9(language: str) -> None:
    with pytest.raises(MalformedError, match="language"):
        understand(VoiceOptions(language=language), VOICES)


@pytest.mark.parametrize("speed", [0.49, 2.01, -1.0, math.nan, math.inf])
def test_a_speed_out_of_range_is_malformed_e9(speed: float) -> None:
    with pytest.raises(MalformedError, match="speed"):
        understand(VoiceOptions(speed=speed), VOICES)


def test_the_first_letter_of_a_voice_is_its_language_e9() -> None:
    assert voice_languages({"bf_emma", "jf_alpha"}) == {"bf_emma": "en", "jf_alpha": "ja"}
