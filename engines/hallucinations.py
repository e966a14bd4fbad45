"""What a recogniser writes when nobody spoke, and how it is told from speech. Pure.

Whisper was trained on subtitles: given noise, it writes what subtitles say over noise. Evidence
comes first (how sure the voice detector was, how loud it was, how sure the recogniser was, how
much text for how much sound); the list of phrases only decides where the evidence is weak.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

CHARS_PER_S_MAX: Final = 32
DENSE_CHARS_PER_S_MAX: Final = 16
"""For scripts that write a syllable or a word with one character."""
SPARE_S: Final = 0.6
WORD_REPEATS_MAX: Final = 6
PHRASE_REPEATS_MAX: Final = 3
PHRASE_WORDS_MAX: Final = 12

SURE_VOICE: Final = 0.75
SURE_TEXT: Final = -0.55
LOUD_DB: Final = -45.0
NO_SPEECH: Final = 0.6
LOST: Final = -1.0

_NOT_SPOKEN = re.compile(
    r"amara\.org|subtitles? by|subscribe to (my|our|the) channel|captioned by|www\.|^\W*$|"
    r"^[\[(*♪][^\])*♪]*[\])*♪]$",
    re.IGNORECASE,
)
# Written over silence and noise again and again; each is also something people say.
_FAVOURITES: Final = frozenset(
    {
        "you",
        "bye",
        "bye bye",
        "so",
        "oh",
        "okay",
        "the",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thank you for watching",
        "thank you so much for watching",
        "thanks",
        "thanks for watching",
        "thanks a lot bye",
        "yeah thanks a lot bye",
        "please subscribe",
        "see you next time",
        "see you in the next video",
        "well see you next time",
        "ill see you next time",
        "im going to put the water in the pot",
        "im going to put the oil in the pan",
    }
)
_DENSE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_JUNK = re.compile(r"[^\w\s]", re.UNICODE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is known about the sound a text was made from.

    `voice` is the detector's mean probability where it heard a voice; `loudness_db` is dBFS;
    `text` is the recogniser's mean log probability per token; `no_speech` its own doubt.
    """

    speech_ms: int
    voice: float
    loudness_db: float
    text: float
    no_speech: float

    @property
    def is_weak(self) -> bool:
        return (
            self.voice < SURE_VOICE
            or self.loudness_db < LOUD_DB
            or self.text < SURE_TEXT
            or self.no_speech > NO_SPEECH
        )


def believable(text: str, evidence: Evidence) -> str:
    """The text without loops, or nothing where it cannot have been said."""
    said = without_loops(text.strip())
    if not said or _NOT_SPOKEN.search(said):
        return ""
    if evidence.no_speech > NO_SPEECH and evidence.text < LOST:
        return ""
    if too_much(said, evidence.speech_ms):
        return ""
    plain = " ".join(_JUNK.sub("", said).lower().split())
    return "" if plain in _FAVOURITES and evidence.is_weak else said


def too_much(text: str, speech_ms: int) -> bool:
    """Whether nobody could have said this much in this time."""
    seconds = speech_ms / 1000 + SPARE_S
    dense = len(_DENSE.findall(text))
    return (len(text) - dense) / CHARS_PER_S_MAX + dense / DENSE_CHARS_PER_S_MAX > seconds


def is_looping(text: str) -> bool:
    """Whether a run of words repeats too often to have been said."""
    return without_loops(text) != text


def without_loops(text: str) -> str:
    """Keep one of each run of words that repeats back to back more often than people do."""
    words = text.split(" ")
    keys = [_JUNK.sub("", word).lower() for word in words]
    kept: list[str] = []
    at = 0
    while at < len(words):
        length, times = _loop(keys, at)
        kept += words[at : at + length]
        at += length * times
    return " ".join(kept)


def _loop(keys: list[str], at: int) -> tuple[int, int]:
    """The shortest run at `at` that repeats too often, and how often; else one word, once."""
    for length in range(1, PHRASE_WORDS_MAX + 1):
        run = keys[at : at + length]
        times = 1
        while keys[at + times * length : at + (times + 1) * length] == run:
            times += 1
        if times > (WORD_REPEATS_MAX if length == 1 else PHRASE_REPEATS_MAX):
            return length, times
    return 1, 1
