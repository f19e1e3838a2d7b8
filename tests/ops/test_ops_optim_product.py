"""Optimizer steps that make their gradient themselves, as a product of two arrays."""

from __future__ import annotations

import numpy as np
import pytest
from ops_calls import Generator, normal
from tolerances import assert_bits

from fastnn import config, ops

STEPS: dict[str, tuple[int, dict[str, float]]] = {  # slots, options
    "sgd_step": (0, {}),
    "momentum_step": (1, {"momentum": 0.9}),
    "adagrad_step": (1, {"epsilon": 1e-7}),
    "rmsprop_step": (1, {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-7}),
    "adam_step": (2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("rows", "inputs", "units"),
    [
        *[(1, 784, 37), (3, 5, 1), (10, 130, 500), (14, 113, 16), (33, 300, 100), (128, 17, 300)],
        *[(20, 256, 200), (33, 1025, 140)],  # columns of x evict each other
        *[(32, 128, 96), (100, 131, 300), (70, 301, 99), (256, 200, 1100)],  # large enough for matrix tiles
        *[(140, 61, 1003), (300, 130, 450), (1024, 15, 129)],  # dy is larger than the second-level cache
        *[(16, 64, 1), (33, 100, 10), (128, 301, 3), (15, 80, 10), (40, 4000, 14)],  # few units
        *[(1, 203, 500), (2, 45, 131), (3, 64, 70), (3, 1, 96), (4, 77, 300), (5, 77, 300)],
        *[
            (7, 9, 65),
            (12, 66, 83),
            (31, 30, 250),
            (8, 3, 1000),
            (16, 21, 512),
            (17, 21, 512),
        ],  # some terms, and too many
    ],
)
@pytest.mark.parametrize("name", STEPS)
def test_a_step_makes_its_gradient_itself(
    isa: str, rng: Generator, name: str, rows: int, inputs: int, units: int, threads: int
) -> None:
    """The same bits as from the stored product, and the unused gradient is neither read nor written."""
    config.set_num_threads(threads)
    x, dy, w = normal(rng, rows, inputs), normal(rng, rows, units), normal(rng, inputs * units)
    count, options = STEPS[name]
    slots = [abs(normal(rng, w.size)) for _ in range(count)]
    rest = [np.float32([0.01]), np.array([4])] if name == "adam_step" else [np.float32([0.01])]
    nothing: list[None] = [None] * {"adam_step": 1, "rmsprop_step": 2}.get(name, 0)
    results = []
    for product in (None, (x, dy)):
        g = ops.gemm(x, dy, transpose_a=True).ravel() if product is None else np.full(w.size, np.nan, np.float32)
        own = [w.copy(), *(s.copy() for s in slots)]
        getattr(ops, name)(own[0], g, *own[1:], *nothing, *rest, **options, weight_decay=0.1, product=product)
        results.append(own)
    for got, want in zip(results[1], results[0], strict=True):
        assert_bits(got, want)
        assert np.isfinite(got).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize(
    ("decay", "rate", "bad"),
    [(0.0, 0.5, 0.0), (0.1, 0.5, 0.0), (0.0, np.inf, 0.0), (0.0, 0.5, np.nan), (0.0, 0.5, np.inf)],
)
def test_rows_without_inputs_stay(isa: str, rng: Generator, rows: int, decay: float, rate: float, bad: float) -> None:
    """Inputs of zero change nothing, unless the weights decay or the gradient is no number."""
    x, dy, w = normal(rng, rows, 83), normal(rng, rows, 97), normal(rng, 83 * 97)
    x[:, ::3] = 0.0
    x[:, 1::7] = -0.0
    if bad:
        dy[rows - 1, 90] = bad
    results = []
    for product in (None, (x, dy)):
        g = ops.gemm(x, dy, transpose_a=True).ravel()
        results.append(w.copy())
        ops.sgd_step(results[-1], g, np.float32([rate]), weight_decay=decay, product=product)
    np.testing.assert_array_equal(results[1], results[0])
    kept = np.flatnonzero((results[1] == w).reshape(83, 97).all(1))
    assert np.isin(np.arange(0, 83, 3), kept).all() == (decay == 0 and np.isfinite(rate) and bad == 0)


def test_a_product_has_the_size_of_the_weights() -> None:
    w = np.zeros(6, np.float32)
    for x, dy in (
        (np.zeros((2, 3)), np.zeros((2, 3))),
        (np.zeros((2, 3)), np.zeros((1, 2))),
        (np.zeros(3), np.zeros(2)),
    ):
        with pytest.raises(ValueError, match="optimizer step: expected a product of 6 values"):
            ops.sgd_step(w, w.copy(), np.float32([0.1]), product=(x, dy))
