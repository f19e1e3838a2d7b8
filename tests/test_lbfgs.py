"""L-BFGS and its line search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import blobs

from fastnn import Sequential, config, models, optimizers
from fastnn.layers import Dense, Input
from fastnn.optimizers.line_search import Point, line_search
from fastnn.parameter import Parameter


def rosenbrock(p: Parameter, counts: list[int]) -> Any:
    def evaluate() -> float:
        counts.append(1)
        x, y = (float(v) for v in p.value)
        p.gradient[...] = [-400 * x * (y - x * x) - 2 * (1 - x), 200 * (y - x * x)]
        return 100 * (y - x * x) ** 2 + (1 - x) ** 2

    return evaluate


def test_rosenbrock(isa: str) -> None:
    p, counts = Parameter("p", np.array([-1.2, 1.0])), list[int]()
    optimizer = optimizers.LBFGS()
    optimizer.build([p])
    losses = [optimizer.minimize(rosenbrock(p, counts)) for _ in range(45)]
    np.testing.assert_allclose(p.value, [1, 1], atol=1e-4)
    assert (np.diff(losses) <= 1e-6).all()
    assert len(counts) < 150


def test_a_quadratic_takes_few_steps() -> None:
    n = 30
    a = normal(n, n)
    a = a @ a.T / n + np.eye(n)
    b = normal(n, seed=1)
    p, optimizer = Parameter("p", np.zeros(n)), optimizers.LBFGS(history=n)
    optimizer.build([p])

    def evaluate() -> float:
        x = p.value.astype(np.float64)
        p.gradient[...] = a @ x - b
        return float(x @ a @ x / 2 - b @ x)

    for _ in range(25):
        optimizer.minimize(evaluate)
    np.testing.assert_allclose(p.value, np.linalg.solve(a, b), atol=1e-4)


def classifier(**options: Any) -> Sequential:
    config.set_seed(2)
    model = Sequential([Input((5,)), Dense(8, "tanh"), Dense(3, activation="softmax")])
    model.compile(optimizers.LBFGS(**options), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_fit_on_a_full_batch(isa: str, threads: int) -> None:
    x, y = blobs(120)
    model = classifier()
    history = model.fit(x, y, batch_size=120, epochs=30, verbose=0).history
    assert history["loss"][-1] < 1e-3
    assert history["accuracy"][-1] == 1
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 30
    loss = model.evaluate(x, y, batch_size=120, verbose=0)[0]
    assert loss == pytest.approx(history["loss"][-1], rel=1e-5, abs=1e-7)  # the logs tell it after the step


def test_eager_recorded_and_single_batches_are_the_same() -> None:
    x, y = blobs(120)
    results = []
    for eager in (False, True):
        model = classifier()
        model.run_eagerly = eager
        model.fit(x, y, batch_size=120, epochs=6, shuffle=False, verbose=0)
        results.append(model.store.values.copy())
    model = classifier()
    for _ in range(6):
        model.train_on_batch(x, y)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], model.store.values)


def test_a_saved_training_goes_on(tmp_path: Any) -> None:
    x, y = blobs(60)
    model = classifier(history=4)
    model.fit(x, y, batch_size=60, epochs=6, verbose=0)
    model.save(tmp_path / "m.fastnn")
    again = models.load_model(tmp_path / "m.fastnn")
    for one in (model, again):
        one.fit(x, y, batch_size=60, epochs=4, verbose=0)
    np.testing.assert_array_equal(model.store.values, again.store.values)


def test_frozen_layers_and_errors_leave_weights_alone() -> None:
    x, y = blobs(60)
    model = classifier()
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    model.fit(x, y, batch_size=60, epochs=3, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before[0])

    p, calls = Parameter("p", np.array([-1.2, 1.0])), list[int]()
    optimizer, evaluate = optimizers.LBFGS(), rosenbrock(p, calls)
    optimizer.build([p])

    def failing() -> float:
        if len(calls) == 2:
            raise KeyboardInterrupt
        return float(evaluate())

    with pytest.raises(KeyboardInterrupt):
        optimizer.minimize(failing)
    np.testing.assert_array_equal(p.value, np.array([-1.2, 1.0], np.float32))
    assert optimizer.iterations[0] == 0


def test_a_loss_that_is_no_number_moves_nothing() -> None:
    p = Parameter("p", np.array([1.0, 2.0]))
    optimizer = optimizers.LBFGS(max_evaluations=4)
    optimizer.build([p])

    def evaluate() -> float:
        p.gradient[...] = 1.0
        return 0.0 if p.value.tolist() == [1.0, 2.0] else float("nan")

    assert optimizer.minimize(evaluate) == 0.0
    assert p.value.tolist() == [1.0, 2.0]


def test_what_does_not_fit() -> None:
    x, y = blobs(60)
    model = classifier()
    with pytest.raises(
        ValueError, match="LBFGS: expected all samples in one batch, got batch_size=32 for 60; give batch_size=60"
    ):
        model.fit(x, y, verbose=0)
    assert model.optimizer is not None
    with pytest.raises(TypeError, match="LBFGS: expected a loss that can be evaluated, got step"):
        model.optimizer.step()
    with pytest.raises(TypeError, match="only known arguments, got 'clipnorm'"):
        optimizers.LBFGS(clipnorm=1.0)
    with pytest.raises(ValueError, match=r"curvature to be a finite number > 0\.5"):
        optimizers.LBFGS(armijo=0.5, curvature=0.4)
    with pytest.raises(TypeError, match="an optimizer that evaluates the loss"):
        optimizers.SGD().minimize(lambda: 0.0)


@pytest.mark.parametrize("first", [1e-4, 0.1, 1.0, 50.0])
def test_line_search_ends_where_the_conditions_hold(first: float) -> None:
    def at(t: float) -> Point:
        return Point(
            t,
            (t - 3) ** 2 * (1 + 0.04 * np.sin(5 * t)),
            2 * (t - 3) * (1 + 0.04 * np.sin(5 * t)) + (t - 3) ** 2 * 0.2 * np.cos(5 * t),
        )

    start = at(0.0)
    found = line_search(at, start, first, armijo=1e-4, curvature=0.5, noise=0.0, most=40)
    assert found is not None
    assert found.value <= start.value + 1e-4 * found.step * start.slope
    assert abs(found.slope) <= 0.5 * abs(start.slope)


def test_line_search_gives_up() -> None:
    start = Point(0.0, 0.0, -1.0)
    assert (
        line_search(lambda t: Point(t, 1.0, -1.0), start, 1.0, armijo=1e-4, curvature=0.9, noise=0.0, most=10) is None
    )
