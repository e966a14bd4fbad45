"""Text to the phonemes Kokoro was trained on, with espeak-ng.

espeak-ng is GPL-3 and an optional extra; nothing but this module touches it.
"""

# ruff: noqa: RUF001 (phonetic symbols are the subject)

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING, Final

from engines.voices import TONGUES, Tongue

if TYPE_CHECKING:
    from phonemizer.backend import EspeakBackend

# espeak-ng ties the letters of one sound with ^; Kokoro has one symbol for each such sound.
# The symbols are those of the model's published vocabulary.
_COMMON: Final = {
    "d^z": "ʣ",
    "d^ʑ": "ʥ",
    "d^ʒ": "ʤ",
    "t^s": "ʦ",
    "t^ɕ": "ʨ",
    "t^ʃ": "ʧ",
}
_ENGLISH: Final = {
    **_COMMON,
    "a^ɪ": "I",
    "a^ʊ": "W",
    "e^ɪ": "A",
    "ɔ^ɪ": "Y",
    "ə^l": "ᵊl",
    "ʔn̩": "tᵊn",
    "n̩": "ᵊn",
    "l̩": "ᵊl",
    "ɚ": "əɹ",
    "ɐ": "ə",
    "x": "k",
    "ç": "k",
    "r": "ɹ",
    "ʔ": "t",
    "ʲ": "",
}
_MAPS: Final = {
    "a": {**_ENGLISH, "o^ʊ": "O", "i^ə": "iə", "ɜː": "ɜɹ", "ɪə": "iə", "ː": ""},
    "b": {**_ENGLISH, "ə^ʊ": "Q", "e^ə": "ɛː", "i^ə": "ɪə"},
}
_LONE_I: Final = re.compile(r"(?<![^ ])I(?![^ ,.!?;:—…])")
_SPACES: Final = re.compile(r"\s+")
_DOLLARS: Final = re.compile(r"\$(\d[\d,]*)(?:\.(\d{2}))?(?![\d.]*\d)")


class Phonemizer:
    """espeak-ng, one voice per language, loaded on first use.

    espeak-ng keeps its state per process, so calls are made one at a time; each takes well under
    a millisecond.
    """

    def __init__(self, vocabulary: frozenset[str]) -> None:
        import espeakng_loader
        from phonemizer.backend.espeak.wrapper import EspeakWrapper

        EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
        EspeakWrapper.set_library(espeakng_loader.get_library_path())
        self._vocabulary = vocabulary
        self._lock = threading.Lock()
        self._backends: dict[str, EspeakBackend] = {}
        self.unknown = 0
        """Sounds that Kokoro has no symbol for, and that were left out, so far."""

    def warm(self) -> None:
        """Load every language now rather than in somebody's first sentence."""
        for tongue in TONGUES:
            if tongue.espeak:
                self.phonemes("a", tongue)

    def phonemes(self, text: str, tongue: Tongue) -> str:
        """What Kokoro is to say; empty for a text that has no sound."""
        prepared = _dollars(text) if tongue.code == "en" else text
        with self._lock:
            raw = self._backend(tongue.espeak).phonemize([prepared])
        sounds = raw[0] if raw else ""
        for tied, symbol in _MAPS.get(tongue.letter, _COMMON).items():
            sounds = sounds.replace(tied, symbol)
        # Without any stress the pronoun is so short that listeners miss it.
        sounds = _LONE_I.sub("ˌI", sounds) if tongue.code == "en" else sounds
        sounds = _SPACES.sub(" ", sounds.replace("^", "").replace("-", "")).strip()
        known = "".join(sound for sound in sounds if sound in self._vocabulary)
        self.unknown += len(sounds) - len(known)
        return known if any(sound.isalpha() for sound in known) else ""

    def _backend(self, language: str) -> EspeakBackend:
        if language not in self._backends:
            from phonemizer.backend import EspeakBackend

            quiet = logging.getLogger("engines.phonemizer")
            quiet.setLevel(logging.CRITICAL)  # It warns about every foreign word.
            self._backends[language] = EspeakBackend(
                language,
                preserve_punctuation=True,
                with_stress=True,
                tie="^",
                language_switch="remove-flags",
                words_mismatch="ignore",
                logger=quiet,
            )
        return self._backends[language]


def _dollars(text: str) -> str:
    """espeak-ng reads `$10.50` as "dollar ten point five zero"; say it as people do."""

    def spoken(match: re.Match[str]) -> str:
        whole = match[1].rstrip(",")
        dollars = f"{whole} dollar{'' if whole == '1' else 's'}"
        cents = int(match[2] or 0)
        if not cents:
            return dollars
        coins = f"{cents} cent{'' if cents == 1 else 's'}"
        return coins if not int(whole.replace(",", "")) else f"{dollars} and {coins}"

    return _DOLLARS.sub(spoken, text)
