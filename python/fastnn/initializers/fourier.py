"""STFT: kernels of a convolution that is a short-time Fourier transform."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32
from fastnn.initializers.base import Float64, Initializer, Shape

SIDES = ("real", "imag")
SCALINGS = ("density", "spectrum")
# Windows that are sums of cosines: w(x) = sum of (-1)^k a_k cos(2 pi k x), x from 0 to 1 over the window.
COSINE_SUMS: dict[str, tuple[float, ...]] = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}
WINDOWS = (*COSINE_SUMS, "bartlett", "cosine")


def window_values(name: str, length: int, periodic: bool) -> Float64:
    """Return one of `WINDOWS`; a periodic one is the first `length` values of that with one more."""
    if length < 2:
        return np.ones(length)
    size = length if periodic else length - 1
    x = np.arange(length) / size
    if name == "bartlett":
        triangle: Float64 = 1 - np.abs(2 * x - 1)
        return triangle
    if name == "cosine":
        arch: Float64 = np.sin(np.pi * (np.arange(length) + 0.5) / (size + 1))
        return arch
    waves = [(-1) ** k * a * np.cos(2 * np.pi * k * x) for k, a in enumerate(COSINE_SUMS[name])]
    values: Float64 = np.sum(waves, axis=0)
    return values


class STFT(Initializer):
    """Kernels that make a one-dimensional convolution a short-time Fourier transform, one part of it.

    kernel[t, 0, f] = w[t] cos(-2 pi t f / (2 (F - 1))) / scale, for the imaginary part sin in place of cos

    Args:
        side: "real" or "imag".
        window: "boxcar", "hann", "hamming", "blackman", "nuttall", "blackmanharris", "flattop", "bartlett" or "cosine", or an array
            of T values; None for none.
        scaling: what a window is divided by: "density" sqrt(sum of w^2), "spectrum" sum of |w|; None by nothing.
        periodic: whether the window is one period of a periodic function instead of symmetric.

    Shape:
        (T, 1, F): T samples in a frame, F frequencies from 0 to half of the sampling rate.

    Raises:
        ValueError: for another shape, an unknown name, or a window of another length.

    >>> from fastnn import initializers
    >>> initializers.STFT("real", window=None)((4, 1, 3))[:, 0, 1].round(6).tolist()
    [1.0, 0.0, -1.0, -0.0]
    """

    def __init__(
        self,
        side: str = "real",
        window: str | Sequence[float] | NDArray[Any] | None = "hann",
        scaling: str | None = "density",
        periodic: bool = False,
    ) -> None:
        self.side = checks.one_of("STFT", "side", side, SIDES)
        self.scaling = None if scaling is None else checks.one_of("STFT", "scaling", scaling, SCALINGS)
        self.periodic = checks.boolean("STFT", "periodic", periodic)
        self.window: str | list[float] | None = None
        if isinstance(window, str):
            self.window = checks.one_of("STFT", "window", window, WINDOWS)
        elif window is not None:
            self.window = self._given(window)

    def _given(self, window: Any) -> list[float]:
        """Return the values of a window that was given as an array."""
        values = checks.float32("STFT", "window", window)
        if values.ndim != 1 or not np.isfinite(values).all():
            checks.fail("STFT", "window to be a name or one row of finite values", f"shape {values.shape}")
        given: list[float] = np.asarray(window, np.float64).tolist()
        return given

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        sizes = self._shape(shape, dtype)
        if len(sizes) != 3 or sizes[1] != 1 or sizes[2] < 2:
            checks.fail("STFT", "a shape (samples in a frame, 1, frequencies >= 2)", sizes)
        length, _, count = sizes
        angles = np.pi * np.arange(length)[:, None] * np.arange(count) / (count - 1)
        kernel = np.cos(angles) if self.side == "real" else -np.sin(angles)
        kernel *= self._factors(length)[:, None]
        return kernel[:, None, :].astype(np.float32)

    def _factors(self, length: int) -> Float64:
        """Return the window, scaled."""
        if self.window is None:
            return np.ones(length)
        if isinstance(self.window, str):
            values = window_values(self.window, length, self.periodic)
        else:
            values = np.asarray(self.window, np.float64)
        if len(values) != length:
            checks.fail("STFT", f"a window of {length} values, as many as a frame has", len(values))
        sums = {"density": np.sqrt((values**2).sum()), "spectrum": np.abs(values).sum(), None: 1.0}
        scale = float(sums[self.scaling])
        if length and not scale:
            checks.fail("STFT", "a window that is not 0 everywhere", "zeros", "or scaling=None")
        return values / scale if length else values

    def get_config(self) -> dict[str, Any]:
        return {"side": self.side, "window": self.window, "scaling": self.scaling, "periodic": self.periodic}
