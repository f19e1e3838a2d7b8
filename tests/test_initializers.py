"""Initializers: values, moments, fans, seeds, names, configurations and error texts."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastnn import config, initializers, layers
from fastnn.initializers import Initializer

CONSTANT = ("Constant", "Zeros", "Ones", "Identity")
SCALED = ("GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Xavier", "He")
RANDOM = ("RandomUniform", "RandomNormal", "TruncatedNormal", "VarianceScaling", "Orthogonal", *SCALED)


untyped: Any = initializers  # for calls with arguments of the wrong type


def make(name: str, **arguments: Any) -> Initializer:
    result = getattr(initializers, name)(**arguments)
    assert isinstance(result, Initializer)
    return result


def test_every_public_class_is_tested_and_has_its_names() -> None:
    public = {
        name
        for name, value in vars(initializers).items()
        if inspect.isclass(value) and issubclass(value, Initializer) and name == value.__name__
    }
    assert public == {"Initializer", "STFT", *CONSTANT, *RANDOM}
    assert {name for name in initializers._NAMES if name[0].isupper()} == public - {"Initializer"}


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("name", [*CONSTANT, *RANDOM])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 1), (0, 4), (4, 0)])
def test_shape_and_dtype(name: str, shape: tuple[int, int]) -> None:
    for dtype in (None, "float32", np.float32, np.dtype("<f4")):
        values = make(name)(shape, dtype=dtype)
        assert values.shape == shape
        assert values.dtype == np.float32
        assert values.flags.writeable
        assert values.flags.c_contiguous
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", [name for name in (*CONSTANT, *RANDOM) if name not in ("Identity", "Orthogonal")])
def test_any_number_of_axes(name: str) -> None:
    shapes: list[Any] = [(), (7,), (2, 3, 4), (3, 3, 2, 5), [4, np.int64(2)]]
    for shape in shapes:
        assert make(name)(shape).shape == tuple(shape)


def test_constants() -> None:
    np.testing.assert_array_equal(initializers.Zeros()((2, 3)), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Ones()((2, 3)), np.ones((2, 3)))
    np.testing.assert_array_equal(initializers.Constant(-2.5)((3,)), [-2.5] * 3)
    np.testing.assert_array_equal(initializers.Constant(3.4e38)((1,)), np.array([3.4e38], np.float32))
    np.testing.assert_array_equal(initializers.Identity(3)((2, 3)), [[3, 0, 0], [0, 3, 0]])
    np.testing.assert_array_equal(initializers.Identity()((3, 2)), [[1, 0], [0, 1], [0, 0]])


@pytest.mark.parametrize("window", [None, "hann", [0.5, 1.0, -2.0, 3.0, 1.0, 1.0, 0.25, 4.0]])
def test_a_convolution_is_a_fourier_transform(window: Any) -> None:
    x = np.sin(np.arange(29.0) ** 1.3).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(x, 8)[::3]
    hann = np.sin(np.pi * np.arange(8) / 8) ** 2
    factors = hann if window == "hann" else np.ones(8) if window is None else window
    expected = np.fft.rfft(frames * factors)
    for side, part in (("real", expected.real), ("imag", expected.imag)):
        kernel = initializers.STFT(side, window, scaling=None, periodic=True)
        layer = layers.Conv1D(5, 8, strides=3, use_bias=False, kernel_initializer=kernel)
        np.testing.assert_allclose(layer(x[None, :, None])[0], part, atol=1e-5)


@pytest.mark.parametrize(
    ("use", "error", "text"),
    [
        (lambda: initializers.STFT("both"), ValueError, "STFT: expected side to be one of 'real', 'imag', got 'both'"),
        (lambda: initializers.STFT(window="han"), ValueError, "got 'han'; did you mean 'hann'"),
        (
            lambda: initializers.STFT(window=np.ones((2, 2))),
            ValueError,
            r"one row of finite values, got shape \(2, 2\)",
        ),
        (lambda: initializers.STFT(window=[1.0, 2.0])((3, 1, 4)), ValueError, "expected a window of 3 values"),
        (lambda: initializers.STFT(window=[0.0, 0.0])((2, 1, 4)), ValueError, "a window that is not 0 everywhere"),
        (lambda: initializers.STFT()((3, 2, 4)), ValueError, r"expected a shape \(samples in a frame, 1, frequencies"),
        (lambda: initializers.STFT()((3, 1, 1)), ValueError, r"frequencies >= 2\), got \(3, 1, 1\)"),
    ],
)
def test_errors_of_fourier_kernels(use: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        use()


@pytest.mark.parametrize(
    ("shape", "fans"),
    [
        ((), (1, 1)),
        ((5,), (5, 5)),
        ((784, 100), (784, 100)),
        ((5, 3, 8), (15, 40)),
        ((3, 3, 16, 32), (144, 288)),
        ((2, 3, 4, 5, 6), (120, 144)),
    ],
)
def test_fans(shape: tuple[int, ...], fans: tuple[int, int]) -> None:
    assert initializers.compute_fans(shape) == fans


def test_axes_of_the_fans() -> None:
    assert initializers.compute_fans((2, 3, 5), [0, 1], [-1]) == (6, 5)
    made = initializers.HeNormal(seed=1, input_axes=[0], output_axes=(1, 2))
    again = initializers.deserialize(initializers.serialize(made))
    assert made.get_config() == {"seed": 1, "input_axes": [0], "output_axes": [1, 2]} == again.get_config()
    assert made((50, 40, 30)).std() == pytest.approx(math.sqrt(2 / 50), rel=0.02)
    with pytest.raises(ValueError, match="initializer: expected axes of a shape of rank 2, got 2"):
        made((3, 4))
    with pytest.raises(ValueError, match="GlorotUniform: expected input_axes and output_axes, or neither"):
        initializers.GlorotUniform(input_axes=[0])
    with pytest.raises(TypeError, match="input_axes as a list of integers, got 0"):
        initializers.LecunNormal(input_axes=0, output_axes=1)


def test_other_names() -> None:
    for name, cls in (("xavier_book", "Xavier"), ("lecun_normal", "LecunNormal"), ("glorot_uniform", "GlorotUniform")):
        assert getattr(initializers, name) is getattr(initializers, cls)
        assert type(initializers.get(name)).__name__ == cls
    assert initializers.constant(0.5)((2,)).tolist() == [0.5, 0.5]
    assert initializers.get("xavier_book")((400, 300)).std() == pytest.approx(math.sqrt(1 / 400), rel=0.02)


# The variance of 41,472 values has a standard error below 0.7 %.
SHAPE, FAN_IN, FAN_OUT = (3, 3, 16, 288), 144, 2592
VARIANCES = {
    "RandomUniform": 0.1**2 / 12,
    "RandomNormal": 0.05**2,
    "TruncatedNormal": (0.05 * 0.87962566103423978) ** 2,
    "VarianceScaling": 1 / FAN_IN,
    "GlorotUniform": 2 / (FAN_IN + FAN_OUT),
    "GlorotNormal": 2 / (FAN_IN + FAN_OUT),
    "HeUniform": 2 / FAN_IN,
    "HeNormal": 2 / FAN_IN,
    "LecunUniform": 1 / FAN_IN,
    "LecunNormal": 1 / FAN_IN,
}


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance(name: str) -> None:
    values = make(name, seed=7)(SHAPE).astype(np.float64)
    assert values.var() == pytest.approx(VARIANCES[name], rel=0.03)
    assert abs(values.mean()) < 5 * math.sqrt(VARIANCES[name] / values.size)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["uniform", "normal", "truncated_normal", "untruncated_normal"])
def test_variance_scaling(mode: str, distribution: str) -> None:
    n = {"fan_in": FAN_IN, "fan_out": FAN_OUT, "fan_avg": (FAN_IN + FAN_OUT) / 2}[mode]
    stddev = math.sqrt(3 / n)
    values = initializers.VarianceScaling(3, mode, distribution, seed=3)(SHAPE).astype(np.float64)
    assert values.std() == pytest.approx(stddev, rel=0.015)
    largest = {"uniform": math.sqrt(3) * stddev, "untruncated_normal": 6 * stddev}
    limit = largest.get(distribution, 2 * stddev / 0.87962566103423978)
    assert 0.6 * limit < np.abs(values).max() <= limit * (1 + 1e-6)


def test_xavier_and_he_of_the_course() -> None:
    """The sample deviations are within 2 % of sqrt(1/n) and sqrt(2/n)."""
    assert initializers.GlorotNormal(seed=1)((500, 500)).std() == pytest.approx(math.sqrt(1 / 500), rel=0.02)
    assert initializers.HeNormal(seed=1)((500, 500)).std() == pytest.approx(math.sqrt(2 / 500), rel=0.02)


def test_limits() -> None:
    values = initializers.RandomUniform(2, 3, seed=1)((1000,))
    assert 2 <= values.min() < 2.01
    assert 2.99 < values.max() <= 3
    values = initializers.TruncatedNormal(5, 2, seed=1)((100_000,))
    assert 1 <= values.min() < 1.01
    assert 8.99 < values.max() <= 9
    np.testing.assert_array_equal(initializers.RandomNormal(5, 0)((3,)), [5, 5, 5])
    assert np.isfinite(initializers.RandomNormal(1e37, 1e37, seed=1)((10_000,))).all()


@pytest.mark.parametrize("shape", [(1, 1), (8, 4), (4, 8), (5, 5), (3, 3, 4, 8), (2, 3, 40)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = initializers.Orthogonal(gain=2, seed=1)(shape).reshape(-1, shape[-1]).astype(np.float64)
    rows, columns = matrix.shape
    product = matrix.T @ matrix if rows >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, 4 * np.eye(min(rows, columns)), atol=2e-6)


def test_orthogonal_has_no_preferred_sign() -> None:
    corner = [initializers.Orthogonal(seed=seed)((3, 3))[0, 0] for seed in range(200)]
    assert abs(float(np.mean(corner))) < 0.2  # Householder's R has a negative diagonal: unsigned, the mean is -0.5


# ---------------------------------------------------------------- seeds


@pytest.mark.parametrize("name", RANDOM)
def test_seed(name: str) -> None:
    initializer = make(name, seed=11)
    first = initializer((6, 4))
    np.testing.assert_array_equal(initializer((6, 4)), first)
    np.testing.assert_array_equal(make(name, seed=11)((6, 4)), first)
    assert not np.array_equal(make(name, seed=12)((6, 4)), first)
    first[:] = 0
    assert initializer((6, 4)).any()  # a new array every time


@pytest.mark.parametrize("name", RANDOM)
def test_without_a_seed_the_package_gives_one_at_each_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = iter([5, 6, 5])
    monkeypatch.setattr(config, "next_seed", lambda: next(seeds))
    initializer = make(name)
    first, second, third = (initializer((6, 4)) for _ in range(3))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, third)
    np.testing.assert_array_equal(first, make(name, seed=5)((6, 4)))


# ---------------------------------------------------------------- names and configurations


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("glorot_uniform", "GlorotUniform"),
        ("GlorotUniform", "GlorotUniform"),
        ("he_normal", "HeNormal"),
        ("lecun_normal", "LecunNormal"),
        ("variance_scaling", "VarianceScaling"),
        ("truncated_normal", "TruncatedNormal"),
        ("orthogonal", "Orthogonal"),
        ("zeros", "Zeros"),
        ("zero", "Zeros"),
        ("ones", "Ones"),
        ("one", "Ones"),
        ("uniform", "RandomUniform"),
        ("normal", "RandomNormal"),
        ("identity", "Identity"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert type(initializers.get(name)) is getattr(initializers, expected)


FULL: dict[str, dict[str, Any]] = {
    "Constant": {"value": 0.5},
    "Identity": {"gain": 2.0},
    "RandomUniform": {"minval": -1.0, "maxval": 2.0, "seed": 3},
    "RandomNormal": {"mean": 1.0, "stddev": 2.0, "seed": 3},
    "TruncatedNormal": {"mean": 1.0, "stddev": 2.0, "seed": 3},
    "VarianceScaling": {"scale": 2.0, "mode": "fan_avg", "distribution": "uniform", "seed": 3},
    "Orthogonal": {"gain": 2.0, "seed": 3},
}


@pytest.mark.parametrize("name", [*CONSTANT, *RANDOM])
def test_configuration_there_and_back(name: str) -> None:
    arguments = FULL.get(name, {} if name in CONSTANT else {"seed": 3})
    initializer = make(name, **arguments)
    assert initializer.get_config() == arguments
    written = initializers.serialize(initializer)
    assert written == {"class_name": name, "config": arguments}
    values = initializer((4, 3))
    for again in (initializers.deserialize(written), initializers.get(written), initializer.clone()):
        assert type(again) is type(initializer)
        assert again is not initializer
        np.testing.assert_array_equal(again((4, 3)), values)


def test_keras_defaults() -> None:
    assert initializers.RandomUniform().get_config() == {"minval": -0.05, "maxval": 0.05, "seed": None}
    assert initializers.TruncatedNormal().get_config() == {"mean": 0.0, "stddev": 0.05, "seed": None}
    defaults = {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal", "seed": None}
    assert initializers.VarianceScaling().get_config() == defaults


def test_get_other_kinds() -> None:
    zeros = initializers.Zeros()
    assert initializers.get(None) is None
    assert initializers.get(zeros) is zeros
    assert isinstance(initializers.get(initializers.HeNormal), initializers.HeNormal)
    function: Callable[..., Any] = lambda shape, dtype=None: np.ones(shape, np.float32)  # noqa: E731
    assert initializers.get(function) is function
    given = np.array([[1, 2], [3, 4]])
    initializer = initializers.get(given)
    given[0, 0] = 9  # it keeps a copy
    assert initializer is not None
    initializer((2, 2))[:] = 0  # and gives one
    np.testing.assert_array_equal(initializer((2, 2), dtype=None), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"expected shape \(2, 2\), that of the given array, got \(2, 3\)"):
        initializer((2, 3))


class Ramp(Initializer):
    def __init__(self, top: float = 1.0) -> None:
        self.top = top

    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return np.linspace(0, self.top, math.prod(shape), dtype=np.float32).reshape(shape)

    def get_config(self) -> dict[str, Any]:
        return {"top": self.top}


def test_custom_class() -> None:
    written = initializers.serialize(Ramp(2.0))
    assert written == {"class_name": "Ramp", "config": {"top": 2.0}}
    again = initializers.deserialize(written, custom_objects={"Ramp": Ramp})
    np.testing.assert_array_equal(again((3,)), [0, 1, 2])
    with pytest.raises(ValueError, match="expected the name of an initializer, got 'Ramp'"):
        initializers.deserialize(written)
    with pytest.raises(NotImplementedError, match="Initializer must define __call__"):
        Initializer()((2,))


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: untyped.get("glorot_unform"), ValueError, "did you mean 'glorot_uniform'"),
        (lambda: untyped.get("xyz"), ValueError, "got 'xyz'; valid: Constant, "),
        (lambda: untyped.get(3), TypeError, r"initializers.get: expected an initializer, got 3 \(int\)"),
        (lambda: untyped.get({"config": {}}), TypeError, "a name or a dict with 'class_name'"),
        (lambda: untyped.get({"class_name": "Zeros", "config": 3}), TypeError, "'config' to be a dict"),
        (lambda: untyped.get({"class_name": "Zeros", "config": {"x": 1}}), TypeError, "Zeros: expected config to"),
        (lambda: untyped.serialize(len), TypeError, "expected an Initializer, got .*subclass of Initializer"),
        (lambda: untyped.HeNormal(seed=-1), ValueError, "HeNormal: expected seed to be an integer >= 0, got -1"),
        (lambda: untyped.HeNormal(seed=1.5), TypeError, "HeNormal: expected seed to be an integer"),
        (lambda: untyped.Constant(math.nan), ValueError, "Constant: expected value to be a finite number"),
        (lambda: untyped.Constant(1e39), ValueError, "Constant: expected value"),
        (lambda: untyped.Constant("a"), TypeError, "Constant: expected value"),
        (lambda: untyped.RandomUniform(1, 0), ValueError, "RandomUniform: expected maxval .* >= 1"),
        (lambda: untyped.RandomNormal(stddev=-1), ValueError, "RandomNormal: expected stddev .* >= 0"),
        (lambda: untyped.VarianceScaling(0), ValueError, "VarianceScaling: expected scale .* > 0"),
        (
            lambda: untyped.VarianceScaling(mode="fan"),
            ValueError,
            "expected mode to be one of 'fan_in', 'fan_out'",
        ),
        (lambda: untyped.VarianceScaling(distribution="gauss"), ValueError, "expected distribution to be one of"),
        (lambda: untyped.Zeros()(3), TypeError, r"Zeros: expected shape to be a tuple .* got 3 .*write \(n,\)"),
        (lambda: untyped.Zeros()((2, -1)), ValueError, "Zeros: expected each axis of shape .* >= 0, got -1"),
        (lambda: untyped.Zeros()((2.0,)), TypeError, "Zeros: expected each axis of shape"),
        (lambda: untyped.Ones()((2,), "float64"), ValueError, "Ones: expected dtype None or 'float32'"),
        (lambda: untyped.Ones()((2,), "nonsense"), ValueError, "Ones: expected dtype None or 'float32'"),
        (lambda: untyped.Identity()((2, 2, 2)), ValueError, "Identity: expected a shape with two axes"),
        (lambda: untyped.Orthogonal()((2,)), ValueError, "Orthogonal: expected a shape with at least two axes"),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
