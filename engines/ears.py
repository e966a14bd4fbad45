"""The audio thread: every caller's sound, 32 ms at a time, all callers in one call.

Sockets append to a caller's ring and never wait for a network. The thread wakes, takes one frame
from every caller that has one, asks the voice detector once for all of them, and reports what was
heard to each caller.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from engines.phrases import FRAME, RATE_HZ, Ending
from engines.utterances import DenoiseMode, Listener, Told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engines.gtcrn import Gtcrn
    from engines.silero import Silero

SAMPLE_BYTES: Final = 2
FRAME_BYTES: Final = FRAME * SAMPLE_BYTES
RING_BYTES_MAX: Final = 30 * RATE_HZ * SAMPLE_BYTES
ARRIVALS_KEPT: Final = 2048
BATCH_MAX: Final = 32
GATHER_S: Final = 0.006
"""A breath between rounds, so that callers whose frames come a little later share the next one."""


class Ear:
    """One caller's ring of sound, between the event loop and the audio thread.

    Its lock is held for copying a few bytes only, never while a network runs.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        tell: Callable[[int, Told], None],
        drained: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self.listener = listener
        self._tell = tell
        self._drained = drained
        self._wake = wake
        self._lock = threading.Lock()
        self._ring = bytearray()
        self._added = 0
        self._arrivals: deque[tuple[int, int]] = deque(maxlen=ARRIVALS_KEPT)
        self._finish = False
        self._generation = 0
        self._listening_to = 0

    @property
    def room(self) -> int:
        """How many bytes may be added now."""
        return RING_BYTES_MAX - len(self._ring)

    @property
    def has_work(self) -> bool:
        return self._finish or len(self._ring) >= FRAME_BYTES

    def add(self, pcm: bytes | memoryview, now_ms: int) -> None:
        with self._lock:
            self._ring += pcm
            self._added += len(pcm)
            self._arrivals.append((self._added // SAMPLE_BYTES, now_ms))
        self._wake()

    def finish(self) -> None:
        """End the open phrase once everything added so far was heard."""
        with self._lock:
            self._finish = True
        self._wake()

    def forget(self) -> int:
        """Drop all sound not heard yet and the open phrase; returns the new generation."""
        with self._lock:
            odd = len(self._ring) % SAMPLE_BYTES
            del self._ring[: len(self._ring) - odd]
            self._finish = False
            self._generation += 1
            return self._generation

    def arrived_ms(self, sample: int) -> int:
        """When the last sample before `sample` arrived."""
        with self._lock:
            for total, at_ms in self._arrivals:
                if total >= sample:
                    return at_ms
            return self._arrivals[-1][1] if self._arrivals else 0

    def take(self) -> NDArray[np.float32] | None:
        """The next frame; without one, a phrase that was to be finished is. Audio thread only."""
        with self._lock:
            generation, finish = self._generation, self._finish
            begins = (self._added - len(self._ring)) // SAMPLE_BYTES
            whole = len(self._ring) >= FRAME_BYTES
            data = bytes(self._ring[:FRAME_BYTES]) if whole or finish else b""
            if whole:
                del self._ring[:FRAME_BYTES]
            else:
                self._finish = False
        if generation != self._listening_to:
            self._listening_to = generation
            self.listener.restart(begins)
        if whole:
            return _floats(data)
        if finish:
            self._report(self.listener.finish(_floats(data)))
        return None

    def heard(self, frame: NDArray[np.float32], voice: float) -> None:
        """Pass a frame and its probability on. Audio thread only."""
        self._report(self.listener.step(frame, voice))
        self._drained()

    def _report(self, told: Sequence[Told]) -> None:
        for one in told:
            self._tell(self._listening_to, one)


class Ears:
    """The thread and its callers."""

    def __init__(self, detector: Silero, denoise: Gtcrn | None) -> None:
        self._detector = detector
        self._denoise = denoise
        self._ears: frozenset[Ear] = frozenset()
        self._woken = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="ears", daemon=True)
        self._thread.start()

    def ear(
        self,
        *,
        mode: DenoiseMode,
        ending: Ending,
        tell: Callable[[int, Told], None],
        drained: Callable[[], None],
    ) -> Ear:
        """Begin to hear one more caller; `tell` and `drained` are called in the audio thread."""
        listener = Listener(self._detector, self._denoise, mode, ending)
        ear = Ear(listener, tell=tell, drained=drained, wake=self._woken.set)
        self._ears |= {ear}
        return ear

    def leave(self, ear: Ear) -> None:
        """Hear this caller no more."""
        self._ears -= {ear}

    def close(self) -> None:
        """Join the thread. Blocks for a few ms; safe to repeat."""
        self._closed.set()
        self._woken.set()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _listen(self) -> None:
        while not self._closed.is_set():
            self._woken.wait()
            self._woken.clear()
            while not self._closed.is_set() and self._round():
                pass
            self._closed.wait(GATHER_S)

    def _round(self) -> bool:
        """Hear one frame of every caller that has one; False when nobody had."""
        taken = [(ear, ear.take()) for ear in self._ears if ear.has_work]
        waiting = [(ear, frame) for ear, frame in taken if frame is not None]
        for at in range(0, len(waiting), BATCH_MAX):
            batch = waiting[at : at + BATCH_MAX]
            callers = [ear.listener.caller for ear, _ in batch]
            frames = [frame for _, frame in batch]
            voices = self._detector.probabilities(callers, frames)
            for (ear, frame), voice in zip(batch, voices, strict=True):
                ear.heard(frame, voice)
        return bool(waiting)


def _floats(pcm: bytes) -> NDArray[np.float32]:
    import numpy as np

    whole = len(pcm) // SAMPLE_BYTES
    return np.frombuffer(pcm, "<i2", count=whole).astype(np.float32) / np.float32(32_768)
