"""Steps of the other optimizers, gradients that are scaled and cut, what is around a step, calls that are made only when due."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, normal
from tolerances import assert_bits

from fastnn import ops, reference

STEPS = 50
MOMENTS = {"beta_1": 0.875, "beta_2": 0.984375, "epsilon": 2.0**-10}
FTRL = {"power": -0.5, "l1": 0.0625, "l2": 0.125, "shrinkage": 0.03125, "beta": 0.5}
DECAY = {"weight_decay": 0.03125}
# name -> (op, first values of the slots, whether it counts, options)
VARIANTS: dict[str, tuple[str, tuple[float, ...], bool, dict[str, Any]]] = {
    "adadelta": ("adadelta_step", (0, 0), False, {"rho": 0.875, "epsilon": 2.0**-10}),
    "adadelta decayed": ("adadelta_step", (0, 0), False, {"rho": 0.875, "epsilon": 2.0**-10, **DECAY}),
    "adamax": ("adamax_step", (0, 0), True, MOMENTS),
    "adamax decayed": ("adamax_step", (0, 0), True, {**MOMENTS, **DECAY}),
    "nadam": ("nadam_step", (0, 0), True, MOMENTS),
    "nadam decayed": ("nadam_step", (0, 0), True, {**MOMENTS, **DECAY}),
    "lamb": ("lamb_step", (0, 0), True, MOMENTS),
    "lamb decayed": ("lamb_step", (0, 0), True, {**MOMENTS, **DECAY}),
    "ftrl": ("ftrl_step", (0.5, 0), False, FTRL),
    "ftrl decayed": ("ftrl_step", (0.5, 0), False, {**FTRL, **DECAY}),
    "ftrl power": ("ftrl_step", (0.5, 0), False, {**FTRL, "power": -0.75}),
    "ftrl constant": ("ftrl_step", (0.5, 0), False, {**FTRL, "power": 0.0}),
    "adagrad outside": ("adagrad_step", (0.0,), False, {"epsilon": 2.0**-10, "outside": True}),
}
ELEMENTWISE = [name for name, (op, *_) in VARIANTS.items() if op != "lamb_step"]


def run(name: str, module: Any, w: Array, gradients: list[Array], **more: Any) -> list[Array]:
    """Return weights and slots after the steps."""
    op, first, counts, options = VARIANTS[name]
    kind = np.float32 if module is ops else np.float64
    arrays = [w.astype(kind), *(np.full(w.shape, value, kind) for value in first)]
    for t, g in enumerate(gradients):
        rate = np.array([0.0625 if t < STEPS // 2 else 0.015625], kind)
        getattr(module, op)(
            arrays[0], g.astype(kind), *arrays[1:], rate, *((np.array([t]),) if counts else ()), **{**options, **more}
        )
    return arrays


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("n", [1, 17, 5003])
def test_fifty_steps(isa: str, rng: Generator, name: str, n: int) -> None:
    gradients = [normal(rng, n) * np.float32(2.0 ** (t % 5 - 2)) for t in range(STEPS)]
    w = normal(rng, n)
    for got, want in zip(run(name, ops, w, gradients), run(name, reference, w, gradients), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_an_element_is_on_its_own(isa: str, rng: Generator, name: str) -> None:
    n = 53
    w, gradients = normal(rng, n), [normal(rng, n) for _ in range(3)]
    whole = run(name, ops, w, gradients)
    for start, stop in [(0, length) for length in range(n)] + [(start, n) for start in range(1, n)]:
        part = run(name, ops, w[start:stop], [g[start:stop].copy() for g in gradients])
        for got, want in zip(part, whole, strict=True):
            assert_bits(got, want[start:stop])


def test_lion_takes_signs(isa: str, rng: Generator) -> None:
    n, lr = 1031, np.array([0.5], np.float32)
    w, m = normal(rng, n), normal(rng, n)
    g = normal(rng, n)
    g[::3] = m[::3] = 0.0
    g[7] = np.nan
    got, mean = w.copy(), m.copy()
    ops.lion_step(got, g, mean, lr, beta_1=0.75, beta_2=0.875)
    np.testing.assert_array_equal(got, w - 0.5 * np.sign(0.75 * m + 0.25 * g))
    np.testing.assert_allclose(mean, 0.875 * m + 0.125 * g, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "shape", [(1,), (4097,), (1, 1), (3, 1), (1, 5), (67, 19), (300, 3), (2, 3, 5, 7), (0, 4), (129, 130)]
)
def test_adafactor(isa: str, rng: Generator, shape: tuple[int, ...]) -> None:
    n = int(np.prod(shape))
    options = {
        "beta_2_decay": -0.8,
        "epsilon_1": 1e-30,
        "epsilon_2": 1e-3,
        "clip_threshold": 0.5,
        "weight_decay": 0.0625,
    }
    sizes = (None, n) if len(shape) < 2 else (n // max(shape[-1], 1), n // max(shape[-2], 1))
    results = []
    w, gradients = normal(rng, n), [normal(rng, n) for _ in range(20)]
    for module, kind in ((ops, np.float32), (reference, np.float64)):
        arrays = [w.astype(kind), *(None if s is None else np.zeros(s, kind) for s in sizes)]
        for t, g in enumerate(gradients):
            rate = np.array([0.125], kind)
            module.adafactor_step(arrays[0], g.astype(kind), *arrays[1:], rate, np.array([t]), shape=shape, **options)
        results.append(arrays)
    for got, want in zip(*results, strict=True):
        if got is not None:
            np.testing.assert_allclose(got, want, rtol=3e-6, atol=1e-6)


@pytest.mark.parametrize("n", [1, 37, 4096, 4097, 30011])
def test_gradients_are_scaled_and_cut(isa: str, rng: Generator, n: int) -> None:
    w, g, factor, lr = normal(rng, n), normal(rng, n), np.array([0.75], np.float32), np.array([0.5], np.float32)
    g[::7] = np.nan
    ready = ops.prepare_gradient(g, factor=factor, limit=0.5)
    np.testing.assert_array_equal(ready, np.clip(g * np.float32(0.75), -0.5, 0.5))
    plain, fused = w.copy(), w.copy()
    ops.sgd_step(plain, ready, lr)
    ops.sgd_step(fused, g, lr, factor=factor, limit=0.5)
    assert_bits(fused, plain)


def test_products_are_scaled_and_cut(isa: str, rng: Generator) -> None:
    x, dy, w, lr = normal(rng, 33, 300), normal(rng, 33, 100), normal(rng, 30000), np.array([0.5], np.float32)
    factor, results = np.array([0.03125], np.float32), []
    for product in (None, (x, dy)):
        g = ops.gemm(x, dy, transpose_a=True).ravel() if product is None else np.full(w.size, np.nan, np.float32)
        own = w.copy()
        ops.sgd_step(own, g, lr, product=product, factor=factor, limit=0.125)
        results.append(own)
    assert_bits(results[0], results[1])


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 4096, 4099, 40000])
def test_dot_is_exact_to_the_last_bits(isa: str, rng: Generator, n: int) -> None:
    x, y, out = normal(rng, n) * np.float32(1e30), normal(rng, n) * np.float32(1e30), np.zeros(1)
    ops.dot(x, y, out)
    np.testing.assert_allclose(out[0], np.dot(double(x), double(y)), rtol=1e-12, atol=1e-12 * 1e60 * max(n, 1))


def test_clip_factors(isa: str) -> None:
    squares, factors = np.array([4.0, 0.0, np.inf, np.nan, 0.25]), np.zeros(5, np.float32)
    ops.clip_factors(squares, factors, limit=0.5, scale=2.0)
    np.testing.assert_allclose(factors, [0.25, 2.0, 0.0, np.nan, 1.0])
    for total, want in ((4.0, 0.25), (0.0, 1.0), (0.25, 1.0), (np.inf, np.nan), (np.nan, np.nan)):
        ops.clip_factors(np.array([total, 0.0]), factors[:1], limit=0.5, joint=True)
        np.testing.assert_allclose(factors[0], want)


def test_rates_outside_of_the_table_are_the_nearest() -> None:
    rates, rate = np.arange(1, 5, dtype=np.float32), np.zeros(1, np.float32)
    for counter, want in ((10, 1.0), (12, 3.0), (13, 4.0), (99, 4.0), (0, 1.0), (-(10**18), 1.0), (10**18, 4.0)):
        ops.take_rate(rates, np.array([10]), np.array([counter]), rate)
        assert rate[0] == want


def test_moving_average_begins_with_the_weights_and_rests_on_them(isa: str, rng: Generator) -> None:
    w, average = normal(rng, 1031), normal(rng, 1031)
    ops.moving_average(w, average, np.array([0]), momentum=0.9)
    assert_bits(average, w)
    for t in range(1, 9):
        ops.moving_average(w, average, np.array([t]), momentum=0.9)
    assert_bits(average, w)


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_calls_that_are_made_only_when_due(backend: str) -> None:
    from fastnn import config

    config.set_backend(backend)
    counter, due, always = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)

    def step() -> None:
        ops.when_due(counter, 3, lambda: ops.advance(due, 1))
        ops.advance(always, 1)
        ops.advance(counter, 1)

    for _ in range(7):
        step()
    assert (due[0], always[0], counter[0]) == (2, 7, 7)
    if backend == "numpy":
        return
    tape = ops.Tape()
    with tape:
        step()  # the eighth: not due, but recorded
    assert (due[0], always[0], counter[0]) == (2, 8, 8)
    for steps, want in ((1, 3), (2, 3), (1, 4), (30, 14)):
        assert tape.run(steps, 60.0) == steps
        assert due[0] == want
    assert counter[0] == 42


def test_an_error_ends_the_condition() -> None:
    counter, other = np.zeros(1, np.int64), np.zeros(1, np.int64)

    def fail() -> None:
        raise KeyError

    tape = ops.Tape()
    with tape:
        with pytest.raises(KeyError):
            ops.when_due(counter, 5, fail)
        ops.advance(other, 1)
    assert other[0] == 1


W, LR = np.zeros(6, np.float32), np.array([0.5], np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "factor": (lambda: ops.sgd_step(W, W, LR, factor=W), ValueError, "expected factor of 1 elements, got 6"),
    "slot": (
        lambda: ops.nadam_step(W, W, W, W[:5], LR, np.array([0]), **MOMENTS),
        ValueError,
        "expected v of 6 elements, got 5",
    ),
    "row": (
        lambda: ops.adafactor_step(
            W, W, W[:3], W[:3], LR, np.array([0]), shape=(2, 3), beta_2_decay=-0.8, epsilon_1=1.0, epsilon_2=1.0,
            clip_threshold=1.0,
        ),
        ValueError,
        "expected row of 2 elements, got 3",
    ),
    "shape": (
        lambda: ops.adafactor_step(
            W, W, W[:3], W[:3], LR, np.array([0]), shape=(5, 3), beta_2_decay=-0.8, epsilon_1=1.0, epsilon_2=1.0,
            clip_threshold=1.0,
        ),
        ValueError,
        "expected blocks of rows x cols weights",
    ),
    "sum": (lambda: ops.dot(W, W, np.zeros(2)), ValueError, "expected sum of 1 elements, got 2"),
    "dot": (lambda: ops.dot(W, W[:3], np.zeros(1)), ValueError, "expected y of 6 elements, got 3"),
    "rates": (lambda: ops.take_rate(W[:0], np.array([0]), np.array([0]), LR), ValueError, "expected rates"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
    assert not W.any()
