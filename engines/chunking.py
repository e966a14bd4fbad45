"""Where to cut a text so that speech starts at once and never runs dry.

The first piece is a clause of a few words, because nothing is heard until it is made. Each next
piece may be a few times longer than the one that is playing meanwhile. No character is lost: the
pieces, joined, are the text.
"""

# ruff: noqa: RUF001 (the punctuation of many scripts is the subject)

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

FIRST_WORDS_MIN: Final = 2
FIRST_WORDS_MAX: Final = 8
FIRST_CHARS_MAX: Final = 80
FIRST_CHARS_FAST: Final = 24
LEFTOVER_CHARS_MAX: Final = 24
FLOOR_CHARS: Final = 40
PIECE_CHARS_MAX: Final = 400
GROWTH_MAX: Final = 2.2
SPEAKERS_MAX: Final = 3.0
"""So many speakers at once get a second of speech made in each second, on two cores."""

_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+\s*")
_CLAUSE = re.compile(r"[,;:]+[\"'”’)\]]*\s+|\s+[–—-]\s+|—|[，、；：]+")
_CONJUNCTION = re.compile(
    r"\s+(?=(?:and|but|or|because|so|which|when|while|if|then|than)\b)", re.IGNORECASE
)
_SPACE = re.compile(r"\s+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|vs|No|e\.g|i\.e|approx|[A-Z]\.[A-Z])\.\s+$"
)


def growth(speakers: int) -> float:
    """How many times longer than the last a piece may be when so many speak at once."""
    return max(1.0, min(GROWTH_MAX, SPEAKERS_MAX / max(1, speakers)))


def pieces(text: str, speakers: Callable[[], int] = lambda: 1) -> Iterator[str]:
    """Cut lazily; looks at no more than one piece's worth of text at a time.

    `speakers` is asked before each piece how many speak now.
    """
    start = 0
    room = 0
    while start < len(text):
        window = text[start : start + (room or PIECE_CHARS_MAX)]
        rest = len(text) - start
        if not room:
            end = _first(window, whole=rest <= len(window), alone=speakers() <= 1)
        elif rest <= min(PIECE_CHARS_MAX, room + LEFTOVER_CHARS_MAX):
            end = rest  # A last word or two, said alone, sounds like another sentence.
        else:
            end = _later(window)
        yield text[start : start + end]
        start += end
        room = min(PIECE_CHARS_MAX, max(FLOOR_CHARS, round(end * growth(speakers()))))


def ends_sentence(piece: str) -> bool:
    """Whether a listener expects a long pause after this piece."""
    return _last(piece) in set(".!?…。！？")


def ends_clause(piece: str) -> bool:
    """Whether a listener expects a short pause after this piece."""
    return _last(piece) in set(",;:—–-，、；：")


def _last(piece: str) -> str:
    return piece.rstrip().rstrip("\"'”’)]")[-1:]


def _first(window: str, *, whole: bool, alone: bool) -> int:
    """A short clause of two words or more, else one word, else a clause of up to eight.

    One word plays too short a time to make the next piece in while others speak.
    """
    ends = sorted({*_ends(_SENTENCE, window), *_ends(_CLAUSE, window)})
    counted = [(len(window[:end].split()), end) for end in ends if end <= FIRST_CHARS_MAX]
    least = 1 if alone else FIRST_WORDS_MIN
    short = [end for words, end in counted if least <= words <= FIRST_WORDS_MAX]
    for words, end in counted:
        if words >= FIRST_WORDS_MIN and end <= FIRST_CHARS_FAST:
            return end
    if short:
        return short[0]
    for end in _ends(_CONJUNCTION, window):
        if FIRST_WORDS_MIN < len(window[:end].split()) <= FIRST_WORDS_MAX:
            return end
    if whole and len(window) <= FIRST_CHARS_MAX:
        return len(window)
    return _later(window[:FIRST_CHARS_MAX])


def _later(window: str) -> int:
    """As much as fits, up to the end of a sentence; else a clause, a word, or the limit."""
    for pattern in (_SENTENCE, _CLAUSE, _SPACE):
        if ends := _ends(pattern, window):
            return ends[-1]
    return len(window)


def _ends(pattern: re.Pattern[str], window: str) -> list[int]:
    """Where a piece may end: after a match, outside quotations, not after an abbreviation."""
    return [
        end
        for match in pattern.finditer(window)
        if (end := match.end()) and window[:end].strip() and not _protected(window[:end], pattern)
    ]


def _protected(prefix: str, pattern: re.Pattern[str]) -> bool:
    if pattern is _SPACE:
        return False
    quoted = prefix.count('"') % 2 or prefix.count("“") > prefix.count("”")
    return bool(quoted) or bool(_ABBREVIATION.search(prefix))
