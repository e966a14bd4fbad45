"""One caller's frames gathered into utterances, and measured. Runs in the audio thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from engines.phrases import FRAME, Closed, Cut, Ending, Mark, Paused, PhraseFinder, ms
from engines.phrases import samples as samples_in

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engines.gtcrn import Denoiser, Gtcrn
    from engines.silero import Caller, Silero

    Sound = NDArray[np.float32]

DenoiseMode = Literal["analysis", "on", "off"]
"""Where denoised sound goes: to the judgement of an utterance only, to the recogniser too, or
nowhere. Denoising before Whisper makes it hear worse in most noise: `analysis` is the default.
"""

LEAD_MS: Final = 300
TAIL_MS: Final = 160
LEAD_FRAMES: Final = samples_in(LEAD_MS) // FRAME + 1
SILENT_DB: Final = -120.0

VOICE_MIN: Final = 0.5
RATIO_MIN: Final = 0.35
LOUDNESS_DB_MIN: Final = -58.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A stretch of speech with a little silence around it, and what was measured of it.

    `start` and `end` are the first and last sample of the voice itself, counted from the first of
    the connection. `voice` is the mean probability of a voice where one was heard, `ratio` the
    share of the frames in which it was; both of the denoised sound where there is one.
    """

    sound: Sound
    start: int
    end: int
    voice: float
    ratio: float
    loudness_db: float

    @property
    def speech_ms(self) -> int:
        return ms(self.end - self.start)

    @property
    def is_speech(self) -> bool:
        """Whether it is worth a recogniser's time: knocks, breath and hum are not."""
        sure = self.voice >= VOICE_MIN and self.ratio >= RATIO_MIN
        return sure and self.loudness_db >= LOUDNESS_DB_MIN


@dataclass(frozen=True, slots=True)
class Told:
    """A mark and, where the mark ends or may end a phrase, the utterance."""

    mark: Mark
    utterance: Utterance | None = None


@dataclass(slots=True)
class _Heard:
    at: int
    sound: Sound
    voice: float
    clean: Sound | None = None


class Listener:
    """Gathers one caller's frames. Not thread-safe: the audio thread owns it."""

    def __init__(
        self, detector: Silero, denoise: Gtcrn | None, mode: DenoiseMode, ending: Ending
    ) -> None:
        self._detector = detector
        self._network = denoise if mode != "off" else None
        self._mode = mode
        self._finder = PhraseFinder(ending)
        self.restart(0)

    def restart(self, at: int) -> None:
        """Forget all sound; the next frame starts at sample `at`."""
        self.caller: Caller = self._detector.caller()
        self._finder.reset()
        self._at = at
        self._floor = at
        self._kept: list[_Heard] = []
        self._denoiser: Denoiser | None = None
        self._clean_caller: Caller | None = None

    def step(self, frame: Sound, voice: float) -> list[Told]:
        """Take the next 512 samples and how likely they are a voice."""
        heard = _Heard(self._at, frame, voice)
        self._kept.append(heard)
        marks = self._finder.step(voice, self._at)
        self._at += FRAME
        if self._finder.is_open and self._network:
            self._clean()
        told = [self._told(mark) for mark in marks]
        if self._finder.onset is None:
            self._denoiser = None
            del self._kept[:-LEAD_FRAMES]
        return told

    def finish(self, rest: Sound) -> list[Told]:
        """End the open phrase; `rest` is sound too short for a frame, and is kept for later."""
        closed = self._finder.close_now()
        told = [Told(closed, self._utterance(closed.onset, closed.end, rest))] if closed else []
        if closed:
            self._floor = self._at
        self._denoiser = None
        return told

    def _told(self, mark: Mark) -> Told:
        match mark:
            case Paused(onset, end):
                return Told(mark, self._utterance(onset, end))
            case Closed(onset, end) | Cut(onset, end):
                told = Told(mark, self._utterance(onset, end))
                self._floor = end
                self._kept = [heard for heard in self._kept if heard.at >= end]
                return told
            case _:
                return Told(mark)

    def _clean(self) -> None:
        """Denoise what an open phrase holds and was not denoised yet, and listen to that."""
        if self._network is None:
            return
        if self._denoiser is None:
            self._denoiser = self._network.denoiser()
            self._clean_caller = self._detector.caller()
        for heard in self._kept:
            if heard.clean is None and self._clean_caller:
                heard.clean = self._denoiser.clean(heard.sound)
                heard.voice = self._detector.probabilities([self._clean_caller], [heard.clean])[0]

    def _utterance(self, onset: int, end: int, rest: Sound | None = None) -> Utterance:
        import numpy as np

        first = max(self._floor, onset - samples_in(LEAD_MS))
        last = end + samples_in(TAIL_MS)
        spoken = [heard for heard in self._kept if onset <= heard.at < end]
        voiced = [heard for heard in spoken if heard.voice >= self._finder.release]
        sounds = [self._chosen(heard) for heard in self._kept if first <= heard.at < last]
        sounds += [rest] if rest is not None and self._at < last else []
        return Utterance(
            sound=np.concatenate(sounds) if sounds else np.zeros(0, np.float32),
            start=onset,
            end=end,
            voice=sum(heard.voice for heard in voiced) / max(1, len(voiced)),
            ratio=len(voiced) / max(1, len(spoken)),
            loudness_db=_loudness_db([_cleaned(heard) for heard in voiced]),
        )

    def _chosen(self, heard: _Heard) -> Sound:
        return _cleaned(heard) if self._mode == "on" else heard.sound


def _cleaned(heard: _Heard) -> Sound:
    return heard.sound if heard.clean is None else heard.clean


def _loudness_db(sounds: list[Sound]) -> float:
    import numpy as np

    if not sounds:
        return SILENT_DB
    power = float(np.mean(np.square(np.concatenate(sounds))))
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB
