"""Which voices and languages Kokoro has, and how a caller may name them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from domain.errors import MalformedError
from domain.ports.speech import VoiceOptions

SPEED_MIN: Final = 0.5
SPEED_MAX: Final = 2.0
BLEND_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Tongue:
    """One of Kokoro's languages. `espeak` is empty where espeak-ng cannot speak it well."""

    letter: str
    code: str
    espeak: str
    voice: str


TONGUES: Final = (
    Tongue("a", "en", "en-us", "af_heart"),
    Tongue("b", "en", "en-gb", "bf_emma"),
    Tongue("e", "es", "es", "ef_dora"),
    Tongue("f", "fr", "fr-fr", "ff_siwis"),
    Tongue("h", "hi", "hi", "hf_alpha"),
    Tongue("i", "it", "it", "if_sara"),
    Tongue("j", "ja", "", "jf_alpha"),
    Tongue("p", "pt", "pt-br", "pf_dora"),
    Tongue("z", "zh", "", "zf_xiaobei"),
)
BY_LETTER: Final = {tongue.letter: tongue for tongue in TONGUES}
SPOKEN: Final = frozenset(tongue.code for tongue in TONGUES if tongue.espeak)

# Names other speech APIs use, for clients that send them unchanged.
ALIASES: Final = {
    "ash": "am_michael",
    "ballad": "bm_george",
    "coral": "af_sarah",
    "sage": "af_nicole",
    "shimmer": "af_bella",
    "verse": "am_fenrir",
}
LANGUAGE_ALIASES: Final = {
    "english": "a",
    "en-au": "b",
    "en-in": "b",
    "en-nz": "b",
    "en-uk": "b",
    "cmn": "z",
    "jp": "j",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How one utterance is spoken: weights of voices (they add up to 1), language, speed."""

    blend: tuple[tuple[str, float], ...]
    tongue: Tongue
    speed: float


def understand(options: VoiceOptions, known: Iterable[str]) -> Manner:
    """Turn a caller's words into a manner, or raise `MalformedError`."""
    names = frozenset(known)
    if not SPEED_MIN <= options.speed <= SPEED_MAX:  # Also refuses NaN.
        raise MalformedError("speed", f"{SPEED_MIN} to {SPEED_MAX}", str(options.speed))
    tongue = find_tongue(options.language) if options.language.strip() else None
    blend = _blend(options.voice, tongue, names)
    spoken = tongue or BY_LETTER[blend[0][0][0]]
    if not spoken.espeak:
        expected = "a language this server can pronounce: " + ", ".join(sorted(SPOKEN))
        raise MalformedError("language", expected, spoken.code)
    return Manner(blend, spoken, options.speed)


def find_tongue(language: str) -> Tongue:
    """A Kokoro letter, an ISO 639-1 code, or a code with a region; any case."""
    wanted = language.strip().lower().replace("_", "-")
    letter = LANGUAGE_ALIASES.get(wanted, wanted)
    if letter in BY_LETTER:
        return BY_LETTER[letter]
    for tongue in TONGUES:
        if wanted == tongue.espeak:
            return tongue
    for tongue in TONGUES:
        if wanted.split("-")[0] == tongue.code:
            return tongue
    expected = "a Kokoro letter or language code: " + ", ".join(sorted(SPOKEN))
    raise MalformedError("language", expected, language)


def voice_languages(known: Iterable[str]) -> dict[str, str]:
    """Each voice's language as an ISO code; the first letter of its name says it."""
    return {name: BY_LETTER[name[0]].code for name in sorted(known) if name[0] in BY_LETTER}


def _blend(
    asked: str, tongue: Tongue | None, known: frozenset[str]
) -> tuple[tuple[str, float], ...]:
    if not asked.strip() or asked.strip().lower() == "default":
        return (((tongue or TONGUES[0]).voice, 1.0),)
    parts = asked.split(",")
    if len(parts) > BLEND_MAX:
        raise MalformedError("voice", f"at most {BLEND_MAX} voices in a blend", str(len(parts)))
    weights: dict[str, float] = {}
    for part in parts:
        name, _, weight = part.partition("*")
        voice = _voice(name, tongue, known)
        weights[voice] = weights.get(voice, 0.0) + _weight(weight, part)
    total = sum(weights.values())
    return tuple((voice, weight / total) for voice, weight in weights.items())


def _weight(text: str, part: str) -> float:
    if not text:
        return 1.0
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0.0 < weight <= 1_000.0:  # noqa: PLR2004 (only keeps the sum finite)
        raise MalformedError("voice", "a positive weight, as in af_heart*0.7", part.strip())
    return weight


def _voice(name: str, tongue: Tongue | None, known: frozenset[str]) -> str:
    wanted = name.strip().lower()
    wanted = ALIASES.get(wanted, wanted)
    if wanted in known:
        return wanted
    # A bare name, `heart` for `af_heart`: in the language asked for, else in the first that has it.
    namesakes = sorted(voice for voice in known if voice.partition("_")[2] == wanted)
    if tongue:
        namesakes.sort(key=lambda voice: voice[0] != tongue.letter)
    if not namesakes:
        raise MalformedError("voice", "a voice such as " + _examples(known), name.strip()[:60])
    return namesakes[0]


def _examples(known: frozenset[str]) -> str:
    return ", ".join(sorted(known)[:4]) or "af_heart"
