from __future__ import annotations

from engines.phrases import (
    FRAME,
    Closed,
    Cut,
    Ending,
    Mark,
    Opened,
    Paused,
    PhraseFinder,
    Resumed,
    ms,
)

VOICE, SILENCE = 0.9, 0.05


class Line:
    """A caller whose sound is described as so many frames of voice or silence."""

    def __init__(self, ending: Ending | None = None) -> None:
        self.finder = PhraseFinder(ending or Ending())
        self.at = 0

    def hears(self, probability: float, frames: int) -> list[Mark]:
        marks: list[Mark] = []
        for _ in range(frames):
            marks += self.finder.step(probability, self.at)
            self.at += FRAME
        return marks


def kinds(marks: list[Mark]) -> list[type]:
    return [type(mark) for mark in marks]


def test_a_quarter_second_of_voice_opens_a_phrase_at_its_first_sample_e11() -> None:
    line = Line()
    line.hears(SILENCE, 10)

    marks = line.hears(VOICE, 8)

    assert marks == [Opened(10 * FRAME)]


def test_a_shorter_sound_is_nothing_e11() -> None:
    line = Line()

    marks = line.hears(VOICE, 7) + line.hears(SILENCE, 30)

    assert marks == []


def test_a_probability_that_would_not_begin_a_voice_continues_one_e11() -> None:
    line = Line()

    marks = line.hears(0.44, 20) + line.hears(VOICE, 1) + line.hears(0.35, 10)

    assert kinds(marks) == [Opened]


def test_a_phrase_ends_after_320_ms_of_silence_where_the_voice_ended_e12() -> None:
    line = Line()
    line.hears(VOICE, 40)

    marks = line.hears(SILENCE, 10)

    assert marks == [Paused(0, 40 * FRAME), Closed(0, 40 * FRAME)]
    assert ms(10 * FRAME) == 320


def test_a_short_word_is_given_more_time_e12() -> None:
    line = Line()
    line.hears(VOICE, 10)

    assert kinds(line.hears(SILENCE, 13)) == [Paused]
    assert kinds(line.hears(SILENCE, 1)) == [Closed]


def test_a_voice_that_is_back_at_once_makes_the_silence_longer_e12() -> None:
    line = Line()
    line.hears(VOICE, 40)
    line.hears(SILENCE, 12)

    line.hears(VOICE, 40)

    assert line.finder.silence_ms == 400


def test_a_caller_who_was_never_cut_short_is_answered_a_little_sooner_e12() -> None:
    line = Line()
    for _ in range(20):
        line.hears(VOICE, 40)
        line.hears(SILENCE, 60)

    line.hears(VOICE, 40)

    assert line.finder.silence_ms == Ending().silence_ms_min


def test_the_learnt_silence_has_a_limit_e12() -> None:
    line = Line()
    for _ in range(20):
        line.hears(VOICE, 40)
        line.hears(SILENCE, 21)

    line.hears(VOICE, 40)

    assert line.finder.silence_ms == Ending().silence_ms_max


def test_a_voice_after_a_pause_takes_the_pause_back_e19() -> None:
    line = Line()
    line.hears(VOICE, 40)

    marks = line.hears(SILENCE, 6) + line.hears(VOICE, 1)

    assert kinds(marks) == [Paused, Resumed]


def test_long_speech_is_cut_at_its_next_pause_e18() -> None:
    line = Line()
    line.hears(VOICE, 700)

    marks = line.hears(SILENCE, 3) + line.hears(VOICE, 40) + line.hears(SILENCE, 10)

    assert kinds(marks) == [Cut, Paused, Closed]
    assert marks[0] == Cut(0, 700 * FRAME)


def test_speech_without_a_pause_is_cut_in_the_end_e18() -> None:
    line = Line()

    marks = line.hears(VOICE, 2_000)

    cuts = [mark for mark in marks if isinstance(mark, Cut)]
    assert len(cuts) == 2
    assert all(ms(cut.end - cut.onset) <= 28_000 for cut in cuts)


def test_closing_now_ends_the_open_phrase_e3() -> None:
    line = Line()
    line.hears(VOICE, 40)

    assert line.finder.close_now() == Closed(0, 40 * FRAME)
    assert line.finder.close_now() is None


def test_a_reset_forgets_the_open_phrase_e4() -> None:
    line = Line()
    line.hears(VOICE, 40)

    line.finder.reset()

    assert line.hears(SILENCE, 40) == []
