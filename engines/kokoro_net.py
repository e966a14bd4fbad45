"""Kokoro-82M itself: phonemes in, 24 kHz sound out. Blocking; called in worker threads."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from engines.chunking import ends_clause, ends_sentence
from engines.phonemes import Phonemizer
from engines.voices import Manner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ: Final = 24_000
PHONEMES_MAX: Final = 510
STYLE_WIDTH: Final = 256
BLENDS_KEPT_MAX: Final = 64
WEIGHTS: Final = "kokoro-v1.0.int8.onnx"

# Silence that belongs to the punctuation between two pieces, in ms. The model's own lead-in and
# tail are cut off, or every seam would cost a third of a second.
SENTENCE_PAUSE_MS: Final = 230
CLAUSE_PAUSE_MS: Final = 110
LEAD_MS: Final = 20
TAIL_MS: Final = 60
FADE_MS: Final = 4
SILENCE_BELOW: Final = 0.006
"""About -44 dB of full scale: under Kokoro's breath, over its noise."""


class KokoroNet:
    """The loaded network with its voices; safe to call from several threads."""

    def __init__(self, weights: Path, voices: Path, *, threads: int) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A server shares its cores: threads that spin for work take them from whoever has some.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            str(weights / WEIGHTS), options, providers=["CPUExecutionProvider"]
        )
        config = json.loads((resources.files("kokoro_onnx") / "config.json").read_text("utf-8"))
        self._tokens: dict[str, int] = config["vocab"]
        self._styles = _voices(voices)
        self._blends: dict[tuple[tuple[str, float], ...], NDArray[np.float32]] = {}
        self.phonemizer = Phonemizer(frozenset(self._tokens))

    def stopper(self) -> Any:  # noqa: ANN401 (onnxruntime has no types)
        """Options of one run; setting `.terminate` on them ends the run from another thread."""
        import onnxruntime as ort

        return ort.RunOptions()

    def speak(
        self,
        text: str,
        manner: Manner,
        *,
        run_options: Any = None,  # noqa: ANN401 (onnxruntime has no types)
    ) -> NDArray[np.float32]:
        """Say `text` at 24 kHz, trimmed, with the pause its last punctuation asks for."""
        import numpy as np

        spoken = self.phonemizer.phonemes(text, manner.tongue)
        if not spoken:
            return np.zeros(0, np.float32)
        parts = [self._run(part, manner, run_options) for part in _fitting(spoken)]
        return np.concatenate([trimmed(part, _pause_ms(text)) for part in parts])

    def _run(self, phonemes: str, manner: Manner, run_options: object) -> NDArray[np.float32]:
        import numpy as np

        tokens = [0, *(self._tokens[sound] for sound in phonemes), 0]
        style = self._blend(manner.blend)[min(len(phonemes), PHONEMES_MAX) - 1]
        inputs = {
            "tokens": np.array([tokens], np.int64),
            "style": style[None, :],
            "speed": np.array([manner.speed], np.float32),
        }
        sound: NDArray[np.float32] = self._session.run(["audio"], inputs, run_options)[0]
        return sound

    def _blend(self, blend: tuple[tuple[str, float], ...]) -> NDArray[np.float32]:
        if len(blend) == 1:
            return self._styles[blend[0][0]]
        key = tuple(sorted(blend))
        mixed = self._blends.get(key)
        if mixed is None:
            mixed = sum(
                (self._styles[voice] * weight for voice, weight in key),
                start=0.0 * self._styles[key[0][0]],
            ).astype("float32")
            if len(self._blends) >= BLENDS_KEPT_MAX:
                self._blends.clear()
            self._blends[key] = mixed
        return mixed


class Upsampler:
    """24 to 48 kHz across the pieces of one utterance, so that no seam clicks."""

    def __init__(self) -> None:
        import soxr

        self._stream = soxr.ResampleStream(RATE_HZ, 2 * RATE_HZ, 1, dtype="float32")

    def pcm(self, sound: NDArray[np.float32], *, last: bool) -> bytes:
        """16-bit little-endian; the filter's tail comes out with the last piece."""
        import numpy as np

        doubled = self._stream.resample_chunk(sound, last=last)
        scaled = np.clip(doubled * 32_767.0, -32_768.0, 32_767.0)
        pcm: bytes = np.rint(scaled).astype("<i2").tobytes()
        return pcm


def trimmed(sound: NDArray[np.float32], pause_ms: int) -> NDArray[np.float32]:
    """Cut lead-in and tail to a breath, fade the cuts, and add `pause_ms` of silence."""
    import numpy as np

    loud = np.flatnonzero(np.abs(sound) > SILENCE_BELOW)
    if not len(loud):
        return np.zeros(0, np.float32)
    start = max(0, int(loud[0]) - LEAD_MS * RATE_HZ // 1000)
    end = min(len(sound), int(loud[-1]) + 1 + TAIL_MS * RATE_HZ // 1000)
    kept = sound[start:end].astype(np.float32)
    fade = min(len(kept), FADE_MS * RATE_HZ // 1000)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    kept[:fade] *= ramp
    kept[len(kept) - fade :] *= ramp[::-1]
    silence = np.zeros(pause_ms * RATE_HZ // 1000, np.float32)
    return np.concatenate([kept, silence])


def _pause_ms(text: str) -> int:
    if ends_sentence(text):
        return SENTENCE_PAUSE_MS - TAIL_MS
    return CLAUSE_PAUSE_MS - TAIL_MS if ends_clause(text) else 0


def _fitting(phonemes: str) -> list[str]:
    """Cut what is longer than the network takes, at a space where there is one."""
    parts: list[str] = []
    while len(phonemes) > PHONEMES_MAX:
        space = phonemes.rfind(" ", 1, PHONEMES_MAX)
        cut = space if space > 0 else PHONEMES_MAX
        parts.append(phonemes[:cut])
        phonemes = phonemes[cut:].lstrip()
    return [*parts, phonemes] if phonemes else parts


def _voices(folder: Path) -> dict[str, NDArray[np.float32]]:
    """A row of style for each number of phonemes; 510 rows a voice."""
    import numpy as np

    return {
        path.stem: np.fromfile(path, "<f4").reshape(-1, STYLE_WIDTH)
        for path in sorted(folder.glob("*.bin"))
    }
