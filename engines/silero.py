"""How likely each 32 ms of sound is a voice, for many callers in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS: Final = "silero_vad_16k_op15.onnx"
RATE_HZ: Final = 16_000
FRAME: Final = 512
CONTEXT: Final = 64
MEMORY: Final = 128


class Caller:
    """What the network remembers of one caller between two frames."""

    __slots__ = ("context", "state")

    def __init__(self) -> None:
        import numpy as np

        self.state: NDArray[np.float32] = np.zeros((2, MEMORY), np.float32)
        self.context: NDArray[np.float32] = np.zeros(CONTEXT, np.float32)


class Silero:
    """The loaded network. One thread: a batch of callers is how it gets faster, not cores."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / WEIGHTS), options, providers=["CPUExecutionProvider"]
        )

    def caller(self) -> Caller:
        return Caller()

    def probabilities(
        self, callers: Sequence[Caller], frames: Sequence[NDArray[np.float32]]
    ) -> list[float]:
        """One frame of 512 samples at 16 kHz from each caller; 0.0 to 1.0 for each."""
        import numpy as np

        batch = np.stack(
            [np.concatenate((c.context, frame)) for c, frame in zip(callers, frames, strict=True)]
        )
        inputs = {
            "input": batch,
            "state": np.stack([caller.state for caller in callers], axis=1),
            "sr": np.array(RATE_HZ, np.int64),
        }
        voiced, state = self._session.run(None, inputs)
        for index, caller in enumerate(callers):
            caller.state = state[:, index]
            caller.context = batch[index, -CONTEXT:]
        return [float(probability) for probability in voiced[:, 0]]
