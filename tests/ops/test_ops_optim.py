"""Optimizer steps: many steps against the float64 twin, every length, every variant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, double, lanes, normal
from tolerances import assert_bits, assert_close, bound

from fastnn import ops, reference

STEPS = 50
# Float32 numbers, so that kernel and twin have the same.
ADAM = {"beta_1": 0.875, "beta_2": 0.984375, "epsilon": 2.0**-20}
RMSPROP = {"rho": 0.875, "momentum": 0.0, "epsilon": 2.0**-20}
DECAY = {"weight_decay": 0.03125}

# name -> (op, slots: "zero", "one" or None for one that is not given, options)
VARIANTS: dict[str, tuple[str, tuple[str | None, ...], dict[str, Any]]] = {
    "sgd": ("sgd_step", (), {}),
    "sgd decayed": ("sgd_step", (), DECAY),
    "momentum": ("momentum_step", ("zero",), {"momentum": 0.875}),
    "momentum decayed": ("momentum_step", ("zero",), {"momentum": 0.875, **DECAY}),
    "nesterov": ("momentum_step", ("zero",), {"momentum": 0.875, "nesterov": True}),
    "nesterov decayed": ("momentum_step", ("zero",), {"momentum": 0.875, "nesterov": True, **DECAY}),
    "adagrad": ("adagrad_step", ("one",), {"epsilon": 2.0**-20}),
    "adagrad decayed": ("adagrad_step", ("zero",), {"epsilon": 2.0**-20, **DECAY}),
    "rmsprop": ("rmsprop_step", ("zero", None, None), RMSPROP),
    "rmsprop momentum": ("rmsprop_step", ("zero", None, "zero"), {**RMSPROP, "momentum": 0.5}),
    "rmsprop centered": ("rmsprop_step", ("zero", "zero", None), {**RMSPROP, **DECAY}),
    "rmsprop everything": ("rmsprop_step", ("zero", "zero", "zero"), {**RMSPROP, "momentum": 0.5, **DECAY}),
    "adam": ("adam_step", ("zero", "zero", None), ADAM),
    "adam decayed": ("adam_step", ("zero", "zero", None), {**ADAM, **DECAY}),
    "amsgrad": ("adam_step", ("zero", "zero", "zero"), {**ADAM, **DECAY}),
}
every_variant = pytest.mark.parametrize("name", VARIANTS)


class Run:
    """Weights and slots of one optimizer, for the kernels or for the twin."""

    def __init__(self, name: str, module: Any, w: Array) -> None:
        op, slots, self.options = VARIANTS[name]
        self.step_of, self.iterations = getattr(module, op), np.zeros(1, np.int64)
        self.w = w.copy() if module is ops else double(w)
        self.slots = [None if s is None else np.full_like(self.w, {"zero": 0, "one": 1}[s]) for s in slots]
        self.centered = op == "rmsprop_step" and slots[1] is not None
        self.counts = op == "adam_step"

    def step(self, g: Array, lr: float) -> None:
        rate = np.array([lr], np.float32)
        more = (self.iterations,) if self.counts else ()
        self.step_of(self.w, g.astype(self.w.dtype), *self.slots, rate, *more, **self.options)
        self.iterations += 1

    def arrays(self) -> list[Array]:
        return [self.w, *(s for s in self.slots if s is not None)]


@every_variant
@pytest.mark.parametrize("n", [1, 17, 1031])
def test_fifty_steps(isa: str, rng: Generator, name: str, n: int) -> None:
    w = normal(rng, n)
    kernel, twin = Run(name, ops, w), Run(name, reference, w)
    travelled = np.abs(double(w))  # the size of what was added up in each weight
    largest = [np.zeros(n) for _ in twin.arrays()[1:]]  # that the slots ever held
    for t in range(STEPS):
        # Gradients of every size, some always zero, some always the same: then a variance is only what rounding leaves.
        g = normal(rng, n) * np.float32(4.0 ** (t % 5 - 2))
        g[3::11] = 0.0
        if not kernel.centered:
            g[::7] = 0.5
        lr = 0.0625 if t < STEPS // 2 else 0.015625
        before = twin.w.copy()
        kernel.step(g, lr)
        twin.step(g, lr)
        travelled += np.abs(twin.w - before) * 8  # an update's own roundings and those of its slots
        largest = [np.maximum(most, np.abs(slot)) for most, slot in zip(largest, twin.arrays()[1:], strict=True)]
    assert_close(kernel.w, twin.w, bound("optimizer", travelled, STEPS), "weights")
    for got, want, most in zip(kernel.arrays()[1:], twin.arrays()[1:], largest, strict=True):
        assert_close(got, want, bound("optimizer", most, STEPS), "slot")


@every_variant
def test_an_element_is_on_its_own(isa: str, rng: Generator, name: str) -> None:
    # Wherever it stands, whatever the length: the bits of each element are the same.
    n = 3 * lanes() + 5
    w, gradients = normal(rng, n), [normal(rng, n) for _ in range(3)]
    whole = Run(name, ops, w)
    for g in gradients:
        whole.step(g, 0.0625)
    spans = [(0, length) for length in range(2 * lanes() + 4)] + [(start, n) for start in range(1, n)]
    for start, stop in spans:
        part = Run(name, ops, w[start:stop])
        for g in gradients:
            part.step(g[start:stop].copy(), 0.0625)
        for got, want in zip(part.arrays(), whole.arrays(), strict=True):
            assert_bits(got, want[start:stop])


@every_variant
def test_special_gradients_stay_where_they_are(isa: str, rng: Generator, name: str) -> None:
    w, g = normal(rng, 37), normal(rng, 37)
    clean = Run(name, ops, w)
    clean.step(g, 0.0625)
    g[5], g[36] = np.nan, np.inf
    hit = Run(name, ops, w)
    hit.step(g, 0.0625)
    assert np.isnan(hit.w[5])
    for got, want in zip(hit.arrays(), clean.arrays(), strict=True):
        assert_bits(np.delete(got, (5, 36)), np.delete(want, (5, 36)))


@every_variant
def test_arguments_that_are_only_read(isa: str, rng: Generator, name: str) -> None:
    op, slots, options = VARIANTS[name]
    w, g, lr, iterations = normal(rng, 37), normal(rng, 37), np.array([0.0625], np.float32), np.array([4])
    for read in (g, lr, iterations):
        read.flags.writeable = False
    given = [None if s is None else np.ones(37, np.float32) for s in slots]
    before = g.copy()
    getattr(ops, op)(w, g, *given, lr, *((iterations,) if op == "adam_step" else ()), **options)
    assert_bits(g, before)
    assert (lr[0], iterations[0]) == (0.0625, 4)


def test_first_steps_by_hand(isa: str) -> None:
    w, g, lr = np.array([1.0, -2.0], np.float32), np.array([0.5, 4.0], np.float32), np.array([0.25], np.float32)

    def after(op: str, *slots: Any, **options: Any) -> list[float]:
        moved = w.copy()
        getattr(ops, op)(moved, g, *slots, **options)
        return [float(v) for v in moved]

    assert after("sgd_step", lr) == [0.875, -3.0]
    assert after("sgd_step", lr, weight_decay=0.5) == [1 - 0.125 - 0.125, -2 + 0.25 - 1]
    v = np.array([1.0, 2.0], np.float32)
    assert after("momentum_step", v, lr, momentum=0.5) == [1 + 0.375, -2 + 0.0]
    assert v.tolist() == [0.375, 0.0]
    v = np.array([1.0, 2.0], np.float32)
    assert after("momentum_step", v, lr, momentum=0.5, nesterov=True) == [1 + 0.1875 - 0.125, -2 + 0 - 1.0]
    zeros = np.zeros((3, 2), np.float32)
    assert after("adagrad_step", zeros[0], lr, epsilon=0.0) == [0.75, -2.25]  # lr times the sign
    assert after("rmsprop_step", zeros[1], None, None, lr, rho=0.75, momentum=0.0, epsilon=0.0) == [0.5, -2.5]
    slots = np.zeros((2, 2), np.float32)
    moved = after("adam_step", *slots, None, lr, np.array([0]), beta_1=0.9, beta_2=0.999, epsilon=0.0)
    np.testing.assert_allclose(moved, [0.75, -2.25], rtol=1e-6)  # the first step is lr times the sign


def test_adam_corrects_the_bias_at_any_step(isa: str) -> None:
    betas = {"beta_1": 0.9, "beta_2": 0.999}
    for t in (0, 1, 9, 999, 10**6, 10**12):
        w, g, m, v = (np.full(1, x, np.float32) for x in (0.0, 1.0, 1.0, 1.0))
        ops.adam_step(w, g, m, v, None, np.array([1.0], np.float32), np.array([t]), epsilon=0.0, **betas)
        step = (1 - 0.999 ** (t + 1)) ** 0.5 / (1 - 0.9 ** (t + 1))
        np.testing.assert_allclose(-w[0], step, rtol=1e-6)


def test_a_variance_is_never_negative(isa: str) -> None:
    # Of a constant gradient v - mean^2 is 0 but for rounding; with epsilon 0 a negative one would be a NaN.
    g, w, v, mean = (np.full(37, x, np.float32) for x in (0.3, 0.0, 0.0, 0.0))
    for _ in range(400):
        ops.rmsprop_step(w, g, v, mean, None, np.array([0.1], np.float32), rho=0.9, momentum=0.0, epsilon=1e-7)
        assert np.isfinite(w).all()


def test_no_decay_leaves_infinite_weights(isa: str) -> None:
    w = np.full(19, np.inf, np.float32)
    ops.sgd_step(w, np.ones(19, np.float32), np.array([0.5], np.float32))
    assert (w == np.inf).all()


W, LR = np.zeros(6, np.float32), np.array([0.5], np.float32)
WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "gradient": (lambda: ops.sgd_step(W, W[:5], LR), ValueError, "expected g of 6 elements, got 5"),
    "rate": (lambda: ops.sgd_step(W, W, W), ValueError, "expected lr of 1 elements, got 6"),
    "double rate": (lambda: ops.sgd_step(W, W, np.array([0.5])), TypeError, "expected lr as an aligned"),
    "double weights": (lambda: ops.sgd_step(W.astype(np.float64), W, LR), TypeError, "expected w as an aligned"),
    "velocity": (
        lambda: ops.momentum_step(W, W, W[:5], LR, momentum=0.9),
        ValueError,
        "expected v of 6 elements, got 5",
    ),
    "sum": (lambda: ops.adagrad_step(W, W, W[:5], LR, epsilon=0.1), ValueError, "expected a of 6 elements, got 5"),
    "mean": (
        lambda: ops.rmsprop_step(W, W, W, W[:5], None, LR, rho=0.9, momentum=0.0, epsilon=0.1),
        ValueError,
        "expected mean of 6 elements, got 5",
    ),
    "vhat": (
        lambda: ops.adam_step(W, W, W, W, W[:5], LR, np.array([0]), **ADAM),
        ValueError,
        "expected vhat of 6 elements, got 5",
    ),
    "iterations": (
        lambda: ops.adam_step(W, W, W, W, None, LR, np.array([0], np.int32), **ADAM),
        TypeError,
        "expected iterations as an aligned",
    ),
    "strided weights": (lambda: ops.sgd_step(W[::2], W[:3], LR), TypeError, "expected w as an aligned, C-contiguous"),
}


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
    assert not W.any()


def test_read_only_weights_are_refused() -> None:
    w = np.zeros(6, np.float32)
    w.flags.writeable = False
    with pytest.raises(ValueError, match="expected w to be writeable"):
        ops.sgd_step(w, W, LR)
