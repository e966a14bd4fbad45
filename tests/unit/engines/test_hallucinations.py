from __future__ import annotations

import pytest

from engines.hallucinations import Evidence, believable, is_looping, too_much

WEAK = Evidence(speech_ms=900, voice=0.6, loudness_db=-50.0, text=-0.9, no_speech=0.4)
STRONG = Evidence(speech_ms=900, voice=0.95, loudness_db=-22.0, text=-0.2, no_speech=0.01)


@pytest.mark.parametrize(
    "written",
    [
        "you",
        ".",
        "I'm going to put the water in the pot.",
        "I'm going to put the oil in the pan.",
        "Thank you for watching!",
        "Yeah, thanks a lot, bye!",
        "Subtitles by the Amara.org community",
        "[Music]",
        "♪♪♪",
        "",
    ],
)
def test_what_is_written_over_noise_is_not_believed_e17(written: str) -> None:
    noise = Evidence(speech_ms=2_000, voice=0.6, loudness_db=-50.0, text=-0.9, no_speech=0.4)

    assert believable(written, noise) == ""


@pytest.mark.parametrize("said", ["Thank you.", "You.", "Okay.", "Bye bye."])
def test_the_same_words_clearly_said_are_believed_e17(said: str) -> None:
    assert believable(said, STRONG) == said


def test_other_words_are_believed_on_weak_evidence_e17() -> None:
    assert believable("Two tickets, please.", WEAK) == "Two tickets, please."


def test_what_nobody_says_is_not_believed_on_any_evidence_e17() -> None:
    assert believable("Subtitles by the Amara.org community", STRONG) == ""


def test_more_text_than_fits_the_time_is_not_believed_e17() -> None:
    assert believable("a story far too long for less than one second of sound", STRONG) == ""


@pytest.mark.parametrize("text", ["今日はとても良い天気ですね", "这是一个很长的句子我说得很快"])
def test_dense_scripts_have_their_own_limit_e17(text: str) -> None:
    assert not too_much(text, 2_000)
    assert too_much(text * 4, 2_000)


def test_a_loop_is_cut_to_one_round_e17() -> None:
    looped = "and then we go " * 20 + "home"
    long = Evidence(speech_ms=9_000, voice=0.9, loudness_db=-20.0, text=-0.2, no_speech=0.0)

    assert believable(looped, long) == "and then we go home"


@pytest.mark.parametrize("text", ["no no no, wait", "zero zero zero zero", "bye bye bye bye"])
def test_people_repeat_themselves_too_e17(text: str) -> None:
    assert not is_looping(text)


def test_a_recogniser_that_says_nobody_spoke_is_believed_e17() -> None:
    lost = Evidence(speech_ms=2_000, voice=0.9, loudness_db=-20.0, text=-1.4, no_speech=0.8)

    assert believable("The rest of the story.", lost) == ""
