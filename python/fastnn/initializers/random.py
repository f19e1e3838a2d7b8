"""Random initial values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastnn import checks
from fastnn.checks import Float32
from fastnn.initializers.base import LARGEST, TRUNCATED_STDDEV, Float64, Initializer, Shape, compute_fans


class _Random(Initializer):
    """An initializer that draws: with a seed (an integer >= 0) the same values at every call, with None new ones."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = None if seed is None else checks.integer(type(self).__name__, "seed", seed, 0)

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        sizes = self._shape(shape, dtype)
        seed = self.seed
        if seed is None:
            from fastnn import config  # here, because config.py loads the compiled kernels

            seed = config.next_seed()
        return self._draw(np.random.Generator(np.random.Philox(seed)), sizes).astype(np.float32, order="C")

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        """Return the values in float64."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class RandomUniform(_Random):
    """Uniform distribution on [minval, maxval].

    Args:
        minval, maxval: the limits, minval <= maxval; default -0.05 and 0.05.
        seed: integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> w = initializers.RandomUniform(minval=0, maxval=1, seed=1)((2, 2))
    >>> bool(((w >= 0) & (w <= 1)).all())
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.minval = self._number("minval", minval)
        self.maxval = self._number("maxval", maxval, self.minval)

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        return generator.uniform(self.minval, self.maxval, shape)

    def get_config(self) -> dict[str, Any]:
        return {"minval": self.minval, "maxval": self.maxval, **super().get_config()}


class RandomNormal(_Random):
    """Normal distribution.

    Args:
        mean, stddev: of the distribution, stddev >= 0; default 0 and 0.05.
        seed: integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> initializers.RandomNormal(stddev=0.01, seed=1)((784, 100)).shape
    (784, 100)
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        self.mean = self._number("mean", mean)
        self.stddev = self._number("stddev", stddev, 0)

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        return self.mean + self.stddev * generator.standard_normal(shape)

    def get_config(self) -> dict[str, Any]:
        return {"mean": self.mean, "stddev": self.stddev, **super().get_config()}


class TruncatedNormal(RandomNormal):
    """Normal distribution without the values more than two ``stddev`` from the mean: these are drawn again.

    The values that remain have a standard deviation of 0.87962566 * stddev.

    Args:
        mean, stddev: of the distribution before it is truncated, stddev >= 0; default 0 and 0.05.
        seed: integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> w = initializers.TruncatedNormal(stddev=1, seed=1)((1000,))
    >>> bool(abs(w).max() <= 2)
    True
    """

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        return self.mean + self.stddev * _truncated_normal(generator, shape)


def _truncated_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
    """Draw standard normal numbers, again while they are outside [-2, 2]."""
    values = generator.standard_normal(math.prod(shape))
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = generator.standard_normal(outside.size)
        outside = outside[np.abs(values[outside]) > 2]
    return values.reshape(shape)


class VarianceScaling(_Random):
    """Mean 0 and variance scale / n, where n is fan_in, fan_out or their average (see ``compute_fans``).

    Args:
        scale: > 0; default 1.
        mode: "fan_in" (default), "fan_out" or "fan_avg".
        distribution: "truncated_normal" (default; "normal" is another name for it), cut off at two deviations, with the
            variance after the cut; "untruncated_normal"; or "uniform", on +-sqrt(3 scale / n).
        seed: integer >= 0, or None (default) for new values at each call.
        input_axes, output_axes: None, or the axes whose sizes, multiplied, are fan_in and fan_out; both or neither.

    >>> from fastnn import initializers
    >>> w = initializers.VarianceScaling(2, "fan_in", "uniform", seed=1)((600, 100))
    >>> bool(abs(w).max() <= (3 * 2 / 600) ** 0.5)
    True
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(seed)
        who = type(self).__name__
        self.scale = checks.number(who, "scale", scale, above=0, maximum=LARGEST)
        self.mode = checks.one_of(who, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        if isinstance(distribution, str) and distribution == "normal":
            distribution = "truncated_normal"
        valid = ("truncated_normal", "untruncated_normal", "uniform")
        self.distribution = checks.one_of(who, "distribution", distribution, valid)
        if (input_axes is None) != (output_axes is None):
            checks.fail(who, "input_axes and output_axes, or neither", "one of the two")
        self.input_axes, self.output_axes = self._axes("input_axes", input_axes), self._axes("output_axes", output_axes)

    def _axes(self, name: str, axes: Sequence[int] | None) -> list[int] | None:
        if axes is not None and not isinstance(axes, (tuple, list)):
            checks.fail_type(type(self).__name__, f"{name} as a list of integers", checks.describe(axes))
        return None if axes is None else [checks.integer(type(self).__name__, name, axis) for axis in axes]

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, n))
        if self.distribution == "uniform":
            limit = math.sqrt(3) * stddev
            return generator.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return stddev * generator.standard_normal(shape)
        return stddev / TRUNCATED_STDDEV * _truncated_normal(generator, shape)

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "mode": self.mode, "distribution": self.distribution}
        return {**own, **super().get_config(), **self._given_axes()}

    def _given_axes(self) -> dict[str, Any]:
        return {} if self.input_axes is None else {"input_axes": self.input_axes, "output_axes": self.output_axes}


class _Scaled(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are those of its class."""

    arguments: tuple[float, str, str]

    def __init__(
        self,
        seed: int | None = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ) -> None:
        super().__init__(*self.arguments, seed, input_axes, output_axes)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed, **self._given_axes()}


class GlorotUniform(_Scaled):
    """Uniform on +-sqrt(6 / (fan_in + fan_out)), also called Xavier; for sigmoid and tanh (Glorot and Bengio, 2010).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.GlorotUniform(seed=1)((4, 2))).max() <= 1)
    True
    """

    arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of deviation sqrt(2 / (fan_in + fan_out)), also called Xavier (Glorot and Bengio, 2010).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> print(f"{initializers.GlorotNormal(seed=1)((300, 200)).std():.3f}")
    0.063
    """

    arguments = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform on +-sqrt(6 / fan_in); for ReLU (He et al., 2015).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.HeUniform(seed=1)((6, 20))).max() <= 1)
    True
    """

    arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of deviation sqrt(2 / fan_in); for ReLU (He et al., 2015).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> print(f"{initializers.HeNormal(seed=1)((200, 300)).std():.2f}")
    0.10
    """

    arguments = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform on +-sqrt(3 / fan_in); for SELU (Klambauer et al., 2017).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.LecunUniform(seed=1)((3, 20))).max() <= 1)
    True
    """

    arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of deviation sqrt(1 / fan_in); for SELU (Klambauer et al., 2017).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> print(f"{initializers.LecunNormal(seed=1)((100, 300)).std():.2f}")
    0.10
    """

    arguments = (1.0, "fan_in", "truncated_normal")


class Xavier(_Scaled):
    """Normal of deviation sqrt(1 / fan_in), not truncated, as textbooks have it; for sigmoid and tanh (Glorot and Bengio, 2010).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> print(f"{initializers.Xavier(seed=1)((100, 300)).std():.2f}")
    0.10
    """

    arguments = (1.0, "fan_in", "untruncated_normal")


class He(_Scaled):
    """Normal of deviation sqrt(2 / fan_in), not truncated, as textbooks have it; for ReLU (He et al., 2015).

    Args: seed, input_axes and output_axes as of `VarianceScaling`.

    >>> from fastnn import initializers
    >>> print(f"{initializers.He(seed=1)((200, 300)).std():.2f}")
    0.10
    """

    arguments = (2.0, "fan_in", "untruncated_normal")


class Orthogonal(_Random):
    """``gain`` times a random matrix with orthonormal rows or columns (whichever are fewer); for recurrent weights.

    A shape with more than two axes is filled as a matrix with the product of all but the last of them as rows. From the
    QR decomposition of a normal matrix, which LAPACK computes (Saxe et al., 2014).

    Args:
        gain: any number; default 1.
        seed: integer >= 0, or None (default) for new values at each call.

    Raises:
        ValueError: the shape has fewer than two axes.

    >>> import numpy as np
    >>> from fastnn import initializers
    >>> w = initializers.Orthogonal(seed=1)((8, 4))
    >>> bool(np.allclose(w.T @ w, np.eye(4), atol=1e-6))
    True
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = self._number("gain", gain)

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        if len(shape) < 2:
            checks.fail("Orthogonal", "a shape with at least two axes", shape, "use another initializer for a vector")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(generator.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes every orthogonal matrix equally likely
        matrix: Float64 = self.gain * (q if rows >= columns else q.T)
        return matrix.reshape(shape)

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain, **super().get_config()}
