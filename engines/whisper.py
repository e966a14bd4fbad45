"""Whisper through CTranslate2, with a window as short as the phrase allows.

Whisper pads everything to 30 s and pays for it. The encoder takes less: at ten seconds and more it
hears the same words four to six times sooner; below that its decoder starts to loop
(specs/engines.md, E15).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.hallucinations import is_looping, too_much

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ: Final = 16_000
WINDOW_S_MIN: Final = 10.0
WINDOW_S_MAX: Final = 30.0
MARGIN_S: Final = 2.0
FRAMES_PER_S: Final = 100
HOP: Final = 160
TOKENS_SPARE: Final = 16
TOKENS_PER_S: Final = 8
TOKENS_MAX: Final = 448
AUTO: Final = "auto"

# Languages whose word error rate in the short window was measured and found the same.
SHORT_WINDOW: Final = frozenset({"en", "es", "fr", "hi", "it", "ja", "pl", "pt", "zh"})
LANGUAGES: Final = frozenset(
    (  # noqa: SIM905 (a hundred quoted codes read worse)
        "af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha "
        "haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr "
        "ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq sr su sv sw ta te tg "
        "th tk tl tr tt uk ur uz vi yi yo zh"
    ).split()
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What a recogniser wrote, and how sure it was (mean log probability per token)."""

    text: str
    language: str
    sureness: float
    no_speech: float


class Whisper:
    """The loaded network; `recognise` may be called from `workers` threads at once."""

    name = "whisper"

    def __init__(self, folder: Path, *, workers: int) -> None:
        import ctranslate2
        from faster_whisper.feature_extractor import FeatureExtractor
        from tokenizers import Tokenizer

        # Two workers of one thread finish twice the phrases of one worker with two.
        self._model = ctranslate2.models.Whisper(
            str(folder), compute_type="int8", inter_threads=workers, intra_threads=1
        )
        self._storage = ctranslate2.StorageView.from_array
        self._mel = FeatureExtractor()
        self._tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._end = self._id("<|endoftext|>")
        self.languages = LANGUAGES if self._model.is_multilingual else frozenset({"en"})

    def recognise(self, sound: NDArray[np.float32], language: str) -> Recognition:
        """Write down at most 28 s of 16 kHz sound; `language` is a code or `auto`."""
        seconds = len(sound) / RATE_HZ
        short = min(max(WINDOW_S_MIN, seconds + MARGIN_S), WINDOW_S_MAX)
        known = language in (AUTO, *SHORT_WINDOW) or not self._model.is_multilingual
        window = short if known else WINDOW_S_MAX
        encoded = self._encode(sound, window)
        spoken = self._detect(encoded) if language == AUTO else language
        if window < WINDOW_S_MAX and spoken not in SHORT_WINDOW and self._model.is_multilingual:
            window = WINDOW_S_MAX
            encoded = self._encode(sound, window)
        written, finished = self._write(encoded, spoken, seconds)
        suspect = not finished or is_looping(written.text)
        suspect = suspect or too_much(written.text, round(seconds * 1000))
        if suspect and window < WINDOW_S_MAX:
            log.info("recogniser looped in a short window", extra={"window_s": round(window, 1)})
            encoded = self._encode(sound, WINDOW_S_MAX)
            written, _ = self._write(encoded, spoken, seconds)
        return written

    def _encode(self, sound: NDArray[np.float32], window_s: float) -> Any:  # noqa: ANN401 (no types)
        import numpy as np

        samples = round(window_s * RATE_HZ) // HOP * HOP
        padded = np.zeros(samples, np.float32)
        padded[: len(sound)] = sound[:samples]
        frames = self._mel(padded, padding=0)[:, : samples // HOP]
        return self._model.encode(self._storage(np.ascontiguousarray(frames[None], np.float32)))

    def _detect(self, encoded: object) -> str:
        if not self._model.is_multilingual:
            return "en"
        token, _probability = self._model.detect_language(encoded)[0][0]
        return str(token)[2:-2]

    def _write(self, encoded: object, language: str, seconds: float) -> tuple[Recognition, bool]:
        prompt = self._prompt(language)
        limit = len(prompt) + TOKENS_SPARE + round(TOKENS_PER_S * seconds)
        limit = min(TOKENS_MAX, limit)
        result = self._model.generate(
            encoded,
            [prompt],
            beam_size=1,
            max_length=limit,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        ids = [token for token in result.sequences_ids[0] if token != self._end]
        recognition = Recognition(
            text=self._tokens.decode(ids, skip_special_tokens=True).strip(),
            language=language,
            sureness=float(result.scores[0]),
            no_speech=float(result.no_speech_prob),
        )
        return recognition, len(prompt) + len(ids) < limit

    def _prompt(self, language: str) -> list[int]:
        words = ["<|startoftranscript|>"]
        if self._model.is_multilingual:
            words += [f"<|{language}|>", "<|transcribe|>"]
        return [self._id(word) for word in (*words, "<|notimestamps|>")]

    def _id(self, word: str) -> int:
        token = self._tokens.token_to_id(word)
        if token is None:
            msg = f"the tokenizer has no {word}"
            raise ValueError(msg)
        return int(token)
