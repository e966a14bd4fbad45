"""Where a phrase begins and ends, told from one probability per 32 ms. Pure; counts samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RATE_HZ: Final = 16_000
FRAME: Final = 512


def ms(samples: int) -> int:
    return samples * 1000 // RATE_HZ


def samples(milliseconds: int) -> int:
    return milliseconds * RATE_HZ // 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """When speech starts and stops. Probabilities 0 to 1, times in ms.

    A phrase opens after `speech_ms_min` of voice and closes after the caller's own silence, which
    starts at `silence_ms` and learns: cut short (the voice was back within `again_ms`) it grows,
    otherwise it slowly shrinks. After less than `short_ms` of speech `short_extra_ms` are added,
    because people pause after "Well," and "No,".
    """

    threshold: float = 0.45
    release: float = 0.30
    speech_ms_min: int = 250
    gap_ms_max: int = 160
    silence_ms: int = 320
    silence_ms_min: int = 288
    silence_ms_max: int = 640
    short_ms: int = 600
    short_extra_ms: int = 128
    again_ms: int = 700
    pause_ms: int = 160
    cut_from_ms: int = 20_000
    cut_pause_ms: int = 96
    cut_at_ms: int = 27_500


@dataclass(frozen=True, slots=True)
class Opened:
    """A voice, since sample `onset`."""

    onset: int


@dataclass(frozen=True, slots=True)
class Paused:
    """Perhaps the end: silence since sample `end`."""

    onset: int
    end: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """It was not the end."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The end: the voice was last heard just before sample `end`."""

    onset: int
    end: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The phrase goes on, but this much of it is as long as a recogniser takes."""

    onset: int
    end: int


Mark = Opened | Paused | Resumed | Closed | Cut


class PhraseFinder:
    """One caller's phrases. `step` takes frames in order; samples count from the connection."""

    def __init__(self, ending: Ending) -> None:
        self._ending = ending
        self._silence_ms = float(ending.silence_ms)
        self._last_end: int | None = None
        self._begin_again()

    def _begin_again(self) -> None:
        self._onset: int | None = None
        self._open = False
        self._paused = False
        self._voiced = 0
        self._end = 0

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def release(self) -> float:
        """The probability under which a frame is silence, once a voice was heard."""
        return self._ending.release

    @property
    def onset(self) -> int | None:
        """Since when there may be a voice, also before it is long enough to be speech."""
        return self._onset

    @property
    def silence_ms(self) -> int:
        """How much silence ends a phrase of this caller now."""
        short = self._open and ms(self._voiced) < self._ending.short_ms
        return round(self._silence_ms) + (self._ending.short_extra_ms if short else 0)

    def step(self, probability: float, at: int) -> list[Mark]:
        """Judge the frame that starts at sample `at`."""
        known = self._onset is not None
        voiced = probability >= (self._ending.release if known else self._ending.threshold)
        if voiced:
            return self._voice(at)
        return self._silence(at + FRAME) if known else []

    def close_now(self) -> Closed | None:
        """End the open phrase as if silence had followed."""
        closed = self._closed() if self._open else None
        self._begin_again()
        return closed

    def reset(self) -> None:
        """Forget the phrase; what was learnt about the caller stays."""
        self._last_end = None
        self._begin_again()

    def _voice(self, at: int) -> list[Mark]:
        if self._onset is None:
            self._onset = at
        self._voiced += FRAME
        self._end = at + FRAME
        marks: list[Mark] = []
        if self._paused:
            self._paused = False
            marks.append(Resumed())
        if not self._open and ms(self._voiced) >= self._ending.speech_ms_min:
            self._open = True
            self._learn(self._onset)
            marks.append(Opened(self._onset))
        if self._open and ms(self._end - self._onset) >= self._ending.cut_at_ms:
            marks.append(self._cut(self._end))
        return marks

    def _silence(self, until: int) -> list[Mark]:
        onset = self._onset or 0
        silence_ms = ms(until - self._end)
        if not self._open:
            if silence_ms > self._ending.gap_ms_max:
                self._begin_again()
            return []
        if silence_ms >= self.silence_ms:
            closed = self._closed()
            self._begin_again()
            return [closed]
        long = ms(self._end - onset) >= self._ending.cut_from_ms
        if long and silence_ms >= self._ending.cut_pause_ms:
            return [self._cut(until)]
        if silence_ms >= self._ending.pause_ms and not self._paused and self._end > onset:
            self._paused = True
            return [Paused(onset, self._end)]
        return []

    def _closed(self) -> Closed:
        self._last_end = self._end
        return Closed(self._onset or 0, self._end)

    def _cut(self, at: int) -> Cut:
        cut = Cut(self._onset or 0, self._end)
        self._onset = self._end = at
        return cut

    def _learn(self, onset: int) -> None:
        if self._last_end is None:
            return
        hasty = ms(onset - self._last_end) < self._ending.again_ms
        grown = self._silence_ms * (1.25 if hasty else 0.98)
        limited = max(grown, self._ending.silence_ms_min)
        self._silence_ms = min(limited, self._ending.silence_ms_max)
