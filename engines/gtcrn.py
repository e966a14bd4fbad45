"""Noise taken away from a voice as it comes, 16 ms at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WEIGHTS: Final = "gtcrn_simple.onnx"
WINDOW: Final = 512
HOP: Final = 256
CACHES: Final = {
    "conv_cache": (2, 1, 16, 16, 33),
    "tra_cache": (2, 3, 1, 1, 16),
    "inter_cache": (2, 1, 33, 16),
}


class Gtcrn:
    """The loaded network; `denoiser` begins one stretch of sound."""

    def __init__(self, folder: Path) -> None:
        import numpy as np
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(folder / WEIGHTS), options, providers=["CPUExecutionProvider"]
        )
        # The root of a periodic Hann window: analysis times synthesis adds up to one at half
        # a window's hop, so an idle network would give back what it got.
        ramp = np.arange(WINDOW, dtype=np.float32) / WINDOW
        self.window: NDArray[np.float32] = np.sin(np.pi * ramp).astype(np.float32)

    def denoiser(self) -> Denoiser:
        return Denoiser(self)

    def run(self, inputs: dict[str, Any]) -> list[Any]:
        """One hop through the network: the spectrum, then the caches for the next one."""
        outputs: list[Any] = self._session.run(None, inputs)
        return outputs


class Denoiser:
    """One stretch of sound. What comes out lags by one hop (16 ms)."""

    def __init__(self, network: Gtcrn) -> None:
        import numpy as np

        self._network = network
        self._caches: dict[str, Any] = {
            name: np.zeros(shape, np.float32) for name, shape in CACHES.items()
        }
        self._past: NDArray[np.float32] = np.zeros(WINDOW - HOP, np.float32)
        self._tail: NDArray[np.float32] = np.zeros(WINDOW - HOP, np.float32)

    def clean(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """As many samples as went in, which must be a multiple of 256."""
        import numpy as np

        hops = [self._hop(sound[at : at + HOP]) for at in range(0, len(sound), HOP)]
        return np.concatenate(hops)

    def _hop(self, fresh: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        window = self._network.window
        frame = np.concatenate((self._past, fresh))
        self._past = frame[HOP:]
        spectrum = np.fft.rfft(frame * window)
        mix = np.stack((spectrum.real, spectrum.imag), axis=-1).astype(np.float32)
        enhanced, *caches = self._network.run({"mix": mix[None, :, None, :], **self._caches})
        self._caches = dict(zip(CACHES, caches, strict=True))
        clean = enhanced[0, :, 0, 0] + 1j * enhanced[0, :, 0, 1]
        sound = np.fft.irfft(clean, WINDOW).astype(np.float32) * window
        out = self._tail + sound[:HOP]
        self._tail = sound[HOP:]
        return out
