"""Initial values of parameters, with Keras's names: ``GlorotUniform()`` or, in a layer, ``"glorot_uniform"``.

An initializer is called with a shape and returns a new float32 array. With a seed it is a function of seed and shape:
every call returns the same values. Without one, each call takes the next seed of the package
(``fastnn.config.next_seed()``), so two layers that share an initializer still start differently. Numbers come from
Philox, drawn and scaled in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32
from fastnn.names import snake_case

Shape = Sequence[int]
Float64 = NDArray[np.float64]

# Standard deviation of a standard normal distribution that is cut off at +-2.
TRUNCATED_STDDEV = 0.87962566103423978
FLOAT32_MAX = float(np.finfo(np.float32).max)
LARGEST = 1e37  # as a mean or deviation: a draw ten deviations out is still a float32


def compute_fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a parameter: how many inputs and outputs each element connects.

    A matrix is (inputs, outputs); a filter is (..., C, K), whose fans are C and K times the size of the receptive
    field; a vector has its length for both, a scalar 1.

    >>> from fastnn import initializers
    >>> initializers.compute_fans((3, 3, 16, 32))
    (144, 288)
    """
    sizes = tuple(shape)
    if len(sizes) < 2:
        return (sizes[0], sizes[0]) if sizes else (1, 1)
    field = math.prod(sizes[:-2])
    return sizes[-2] * field, sizes[-1] * field


class Initializer:
    """Base class: a subclass defines ``__call__`` and, if it has arguments, ``get_config``.

    >>> import numpy as np
    >>> from fastnn import initializers
    >>> class Ramp(initializers.Initializer):
    ...     def __call__(self, shape, dtype=None):
    ...         return np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    >>> initializers.get(Ramp)((3,)).tolist()
    [-1.0, 0.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        """Return a new array of the given shape; ``dtype`` is None or float32."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(shape, dtype=None)")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Initializer:
        """Return a new initializer with the arguments that ``get_config`` returned."""
        try:
            return cls(**config)
        except TypeError as error:
            checks.fail_type(cls.__name__, "config to hold its arguments", checks.describe(dict(config)), str(error))

    def clone(self) -> Initializer:
        """Return a new initializer with the same arguments."""
        return type(self).from_config(self.get_config())

    def _shape(self, shape: Any, dtype: Any) -> tuple[int, ...]:
        """Return the checked shape; the dtype must be float32, the only one that parameters have."""
        who = type(self).__name__
        if dtype is not None:
            try:
                right = np.dtype(dtype) == np.float32
            except TypeError:
                right = False
            if not right:
                checks.fail(who, "dtype None or 'float32'", checks.describe(dtype), "convert the result: .astype()")
        if not isinstance(shape, (tuple, list)):
            checks.fail_type(who, "shape to be a tuple of integers", checks.describe(shape), "write (n,) for a vector")
        return tuple(checks.integer(who, "each axis of shape", size, 0) for size in shape)

    def _number(self, name: str, value: Any, minimum: float = -LARGEST, maximum: float = LARGEST) -> float:
        """Return a checked number."""
        return checks.number(type(self).__name__, name, value, minimum, maximum)


class Constant(Initializer):
    """All elements equal ``value``.

    Args:
        value: any number in the range of float32; default 0.

    >>> from fastnn import initializers
    >>> initializers.Constant(0.5)((2, 2)).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = self._number("value", value, -FLOAT32_MAX, FLOAT32_MAX)

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.full(self._shape(shape, dtype), self.value, np.float32)

    def get_config(self) -> dict[str, Any]:
        return {"value": self.value}


class Zeros(Initializer):
    """All elements 0. For biases; hidden units whose weights all start at 0 stay identical for ever.

    >>> from fastnn import initializers
    >>> initializers.Zeros()((3,)).tolist()
    [0.0, 0.0, 0.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.zeros(self._shape(shape, dtype), np.float32)


class Ones(Initializer):
    """All elements 1.

    >>> from fastnn import initializers
    >>> initializers.Ones()((3,)).tolist()
    [1.0, 1.0, 1.0]
    """

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        return np.ones(self._shape(shape, dtype), np.float32)


class Identity(Initializer):
    """``gain`` on the diagonal of a matrix, 0 elsewhere.

    Args:
        gain: any number in the range of float32; default 1.

    Raises:
        ValueError: the shape does not have two axes.

    >>> from fastnn import initializers
    >>> initializers.Identity(gain=2)((2, 3)).tolist()
    [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = self._number("gain", gain, -FLOAT32_MAX, FLOAT32_MAX)

    def __call__(self, shape: Shape, dtype: Any = None) -> Float32:
        sizes = self._shape(shape, dtype)
        if len(sizes) != 2:
            checks.fail("Identity", "a shape with two axes", sizes, "use Orthogonal for more axes")
        result = np.zeros(sizes, np.float32)
        np.fill_diagonal(result, self.gain)
        return result

    def get_config(self) -> dict[str, Any]:
        return {"gain": self.gain}


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
    ) -> None:
        super().__init__(seed)
        who = type(self).__name__
        self.scale = checks.number(who, "scale", scale, above=0, maximum=LARGEST)
        self.mode = checks.one_of(who, "mode", mode, ("fan_in", "fan_out", "fan_avg"))
        if distribution == "normal":
            distribution = "truncated_normal"
        valid = ("truncated_normal", "untruncated_normal", "uniform")
        self.distribution = checks.one_of(who, "distribution", distribution, valid)

    def _draw(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Float64:
        fan_in, fan_out = compute_fans(shape)
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
        return {**own, **super().get_config()}


class _Scaled(VarianceScaling):
    """A VarianceScaling whose scale, mode and distribution are those of its class."""

    arguments: tuple[float, str, str]

    def __init__(self, seed: int | None = None) -> None:
        super().__init__(*self.arguments, seed=seed)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


class GlorotUniform(_Scaled):
    """Uniform on +-sqrt(6 / (fan_in + fan_out)), also called Xavier; for sigmoid and tanh (Glorot and Bengio, 2010).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.GlorotUniform(seed=1)((4, 2))).max() <= 1)
    True
    """

    arguments = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Scaled):
    """Truncated normal of deviation sqrt(2 / (fan_in + fan_out)), also called Xavier (Glorot and Bengio, 2010).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> print(f"{initializers.GlorotNormal(seed=1)((300, 200)).std():.3f}")
    0.063
    """

    arguments = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Scaled):
    """Uniform on +-sqrt(6 / fan_in); for ReLU (He et al., 2015).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.HeUniform(seed=1)((6, 20))).max() <= 1)
    True
    """

    arguments = (2.0, "fan_in", "uniform")


class HeNormal(_Scaled):
    """Truncated normal of deviation sqrt(2 / fan_in); for ReLU (He et al., 2015).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> print(f"{initializers.HeNormal(seed=1)((200, 300)).std():.2f}")
    0.10
    """

    arguments = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Scaled):
    """Uniform on +-sqrt(3 / fan_in); for SELU (Klambauer et al., 2017).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> bool(abs(initializers.LecunUniform(seed=1)((3, 20))).max() <= 1)
    True
    """

    arguments = (1.0, "fan_in", "uniform")


class LecunNormal(_Scaled):
    """Truncated normal of deviation sqrt(1 / fan_in); for SELU (Klambauer et al., 2017).

    Args: seed, an integer >= 0, or None (default) for new values at each call.

    >>> from fastnn import initializers
    >>> print(f"{initializers.LecunNormal(seed=1)((100, 300)).std():.2f}")
    0.10
    """

    arguments = (1.0, "fan_in", "truncated_normal")


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


_CLASSES: tuple[type[Initializer], ...] = (
    Constant, Zeros, Ones, Identity, RandomUniform, RandomNormal, TruncatedNormal, VarianceScaling, Orthogonal,
    GlorotUniform, GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal,
)  # fmt: skip
_NAMES: dict[str, type[Initializer]] = {
    **{cls.__name__: cls for cls in _CLASSES},
    **{snake_case(cls.__name__): cls for cls in _CLASSES},
    **{"zero": Zeros, "one": Ones, "uniform": RandomUniform, "normal": RandomNormal},
}


def serialize(initializer: Initializer) -> dict[str, Any]:
    """Return ``{"class_name": ..., "config": ...}``, from which ``deserialize`` makes an equal initializer.

    >>> from fastnn import initializers
    >>> initializers.serialize(initializers.Constant(2))
    {'class_name': 'Constant', 'config': {'value': 2.0}}
    """
    if not isinstance(initializer, Initializer):
        fix = "a function cannot be written to a file: write a subclass of Initializer"
        checks.fail_type("initializers.serialize", "an Initializer", checks.describe(initializer), fix)
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}


def deserialize(
    config: str | Mapping[str, Any], custom_objects: Mapping[str, type[Initializer]] | None = None
) -> Initializer:
    """Return a new initializer from its name or from what ``serialize`` returned.

    Args:
        config: a name such as "zeros" or "Zeros", or a dict with "class_name" and, if need be, "config".
        custom_objects: further classes by name.

    Raises:
        TypeError, ValueError: not such a name or dict; says which names are near.

    >>> from fastnn import initializers
    >>> initializers.deserialize({"class_name": "Constant", "config": {"value": 2}}).value
    2.0
    """
    who = "initializers.deserialize"
    if isinstance(config, str):
        config = {"class_name": config}
    if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
        checks.fail_type(who, "a name or a dict with 'class_name'", checks.describe(config))
    arguments = config.get("config") or {}
    if not isinstance(arguments, Mapping):
        checks.fail_type(who, "'config' to be a dict", checks.describe(arguments))
    names = {**_NAMES, **(custom_objects or {})}
    name = config["class_name"]
    if name not in names:
        checks.fail(who, "the name of an initializer", repr(name), checks.nearest(name, names))
    return names[name].from_config(arguments)


def get(identifier: Any) -> Callable[..., Float32] | None:
    """Return the initializer that an argument of a layer means.

    Args:
        identifier: a name ("he_normal", "HeNormal"), a dict as from ``serialize``, an Initializer or a class of them,
            any function of (shape, dtype=None), an array with the values themselves, or None, which is returned.

    Raises:
        TypeError, ValueError: none of these; says which names are near.

    >>> from fastnn import initializers
    >>> initializers.get("zeros")((2,)).tolist()
    [0.0, 0.0]
    """
    if identifier is None:
        return None
    if isinstance(identifier, (str, Mapping)):
        return deserialize(identifier)
    if isinstance(identifier, np.ndarray):
        return _given(identifier)
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if not callable(identifier):
        fix = "for example 'glorot_uniform', Constant(0.1) or a function of (shape, dtype=None)"
        checks.fail_type("initializers.get", "an initializer", checks.describe(identifier), fix)
    result: Callable[..., Float32] = identifier
    return result


def _given(values: NDArray[Any]) -> Callable[..., Float32]:
    """Return an initializer that returns copies of the given values, for their shape only."""
    array = checks.float32("initializers.get", "the array", values).copy()

    def initialize(shape: Shape, dtype: Any = None) -> Float32:
        if tuple(shape) != array.shape:
            checks.fail("initializers.get", f"shape {array.shape}, that of the given array", tuple(shape))
        return array.copy()

    return initialize
