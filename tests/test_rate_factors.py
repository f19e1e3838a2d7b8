"""multiply_learning_rate: as if these parameters had an optimizer of their own; recorded, saved, and the errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits, assert_close

from fastnn import Input, Sequential, config, optimizers
from fastnn.layers import Dense
from fastnn.models import load_model
from fastnn.optimizers import Optimizer
from fastnn.parameter import Parameter

Make = Callable[..., Optimizer]
EVERY: dict[str, Make] = {
    "SGD": lambda rate: optimizers.SGD(rate, momentum=0.9, weight_decay=0.1),
    "Nesterov, clipped": lambda rate: optimizers.SGD(rate, momentum=0.9, nesterov=True, clipnorm=0.5),
    "Adam": lambda rate: optimizers.Adam(rate, amsgrad=True),
    "AdamW": lambda rate: optimizers.AdamW(rate, clipvalue=0.1),
    "Adagrad": lambda rate: optimizers.Adagrad(rate),
    "Adadelta": lambda rate: optimizers.Adadelta(rate),
    "Adafactor": lambda rate: optimizers.Adafactor(rate, relative_step=False),
    "Adamax": lambda rate: optimizers.Adamax(rate),
    "RMSprop": lambda rate: optimizers.RMSprop(rate, centered=True, momentum=0.5),
    "Nadam": lambda rate: optimizers.Nadam(rate, gradient_accumulation_steps=2),
    "Ftrl": lambda rate: optimizers.Ftrl(rate, l1_regularization_strength=0.01),
    "Lion": lambda rate: optimizers.Lion(rate),
    "Lamb": lambda rate: optimizers.Lamb(rate),
    "Muon": lambda rate: optimizers.Muon(rate, adam_lr_ratio=0.5),
    "schedule": lambda rate: optimizers.SGD(optimizers.schedules.ExponentialDecay(rate, 2, 0.5)),
}  # fmt: skip


class Sign(Optimizer):
    """An optimizer written in Python."""

    def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
        w -= np.float32(self.learning_rate) * np.sign(g)


def parameters() -> list[Parameter]:
    return [Parameter("a/kernel", normal(5, 3)), Parameter("a/bias", normal(3)), Parameter("b/kernel", normal(3, 7))]


def moved(make: Make, rate: float, factor: float | None) -> list[Array]:
    """Return the parameters after some steps, those of layer a at a rate of their own."""
    ps, optimizer = parameters(), make(rate)
    optimizer.build(ps)
    if factor is not None:
        optimizer.multiply_learning_rate(factor, var_names=["^a/"])
    for step in range(5):
        optimizer.apply([normal(*p.shape, seed=10 * step + i) for i, p in enumerate(ps)], ps)
    assert optimizer.lr[0] == np.float32(optimizer.learning_rate) or optimizer.calls[0] == 5
    return [p.numpy() for p in ps]


@pytest.mark.parametrize("make", [*EVERY.values(), Sign], ids=[*EVERY, "Python"])
def test_they_move_as_with_an_optimizer_of_another_rate(make: Make) -> None:
    plain, faster, both = moved(make, 0.02, None), moved(make, 0.08, None), moved(make, 0.02, 4.0)
    for got, want in zip(both, [*faster[:2], plain[2]]):
        assert_close(got, want, 1e-6)
    assert np.abs(both[0] - plain[0]).max() > 1e-4


def test_the_last_factor_that_fits_holds_and_others_are_left_alone() -> None:
    ps, optimizer = parameters(), optimizers.SGD(0.5)
    optimizer.multiply_learning_rate(3.0, var_names=["kernel"])
    optimizer.multiply_learning_rate(0.0, var_list=ps[:1])
    assert [optimizer.rate_factors.of(p) for p in ps] == [0.0, 1.0, 3.0]
    optimizer.build(ps)
    optimizer.apply([np.ones(p.shape) for p in ps])
    for p, before, step in zip(ps, parameters(), (0.0, 0.5, 1.5)):
        assert_bits(p.value, before.value - np.float32(step))


def model(factor: float | None = 5.0, optimizer: Optimizer | None = None, **options: Any) -> Sequential:
    config.set_seed(2)
    made = Sequential(
        [Input((6,)), Dense(9, "tanh", name="first"), Dense(70, "tanh", name="middle"), Dense(2, name="last")]
    )
    made.compile(optimizer or optimizers.Adam(0.01), "mse", **options)
    if factor is not None:
        made.optimizer.multiply_learning_rate(factor, var_list=made.get_layer("first").weights)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_replayed_and_eager_steps_agree(make: Make) -> None:
    x, y = normal(50, 6), normal(50, 2, seed=1)
    results = []
    for eager in (False, True):
        one = model(optimizer=make(0.01), run_eagerly=eager)
        one.fit(x, y, 8, epochs=3, verbose=0)
        results.append(one.get_weights())
    for a, b in zip(*results):
        assert_bits(a, b)


def test_a_factor_holds_from_the_next_step_on() -> None:
    x, y = normal(16, 6), normal(16, 2, seed=1)
    one, other = model(None, optimizers.SGD(0.1)), model(0.0, optimizers.SGD(0.1))
    for _ in range(4):
        one.train_on_batch(x, y)
    before = one.get_layer("first").get_weights()
    one.optimizer.multiply_learning_rate(0.0, var_names=["first/"])  # type: ignore[union-attr]
    last = one.get_layer("last").get_weights()
    for _ in range(3):
        one.train_on_batch(x, y)
    for got, want in zip(one.get_layer("first").get_weights(), before):
        assert_bits(got, want)
    assert (one.get_layer("last").get_weights()[0] != last[0]).any()
    start = other.get_layer("first").get_weights()
    other.fit(x, y, epochs=3, verbose=0)
    for got, want in zip(other.get_layer("first").get_weights(), start):
        assert_bits(got, want)


def test_ten_sigmoids_learn_with_larger_rates_in_front() -> None:
    """Against vanishing gradients: where plain descent does not move the first layers, rates that grow to the front do."""
    x = normal(200, 5)
    y = (x[:, :1] * x[:, 1:2] > 0).astype(np.float32)

    def first_moved(boosted: bool) -> float:
        config.set_seed(0)
        hidden = [Dense(20, "sigmoid", name=f"h{i}") for i in range(6)]
        deep = Sequential([Input((5,)), *hidden, Dense(1, "sigmoid")])
        deep.compile(optimizers.SGD(0.5), "binary_crossentropy")
        for i in range(6 if boosted else 0):
            deep.optimizer.multiply_learning_rate(4.0 ** (6 - i), var_names=[f"^h{i}/"])  # type: ignore[union-attr]
        before = hidden[0].get_weights()[0]
        deep.fit(x, y, 20, epochs=5, verbose=0)
        return float(np.abs(hidden[0].get_weights()[0] - before).max())

    assert first_moved(True) > 100 * first_moved(False)


def test_saved_and_loaded(tmp_path: Path) -> None:
    x, y = normal(16, 6), normal(16, 2, seed=1)
    one = model()
    one.fit(x, y, verbose=0)
    one.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    for each in (one, again):
        each.fit(x, y, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(one.get_weights(), again.get_weights()):
        assert_bits(a, b)
    data = json.loads(json.dumps(optimizers.serialize(one.optimizer)))  # type: ignore[arg-type]
    assert optimizers.deserialize(data).rate_factors.rules == one.optimizer.rate_factors.rules  # type: ignore[union-attr]


def test_an_error_within_an_update_leaves_the_rate_as_it_was() -> None:
    class Failing(Optimizer):
        def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
            raise RuntimeError

    ps, optimizer = parameters(), Failing(0.5)
    optimizer.build(ps)
    optimizer.multiply_learning_rate(3.0, var_names=["a/"])
    with pytest.raises(RuntimeError):
        optimizer.apply([np.ones(p.shape) for p in ps])
    assert (optimizer.learning_rate, optimizer.lr[0]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("give", "error", "text"),
    [
        (lambda o: o.multiply_learning_rate(-1.0, var_names=["a"]), ValueError, "SGD: expected factor to be a finite number"),
        (lambda o: o.multiply_learning_rate(float("nan"), var_names=["a"]), ValueError, "finite number >= 0"),
        (lambda o: o.multiply_learning_rate(2.0), ValueError, "expected var_list or var_names .*, got neither"),
        (lambda o: o.multiply_learning_rate(2.0, var_names="a"), TypeError, r"var_names as a list, got 'a'; write \['a'\]"),
        (lambda o: o.multiply_learning_rate(2.0, var_names=["("]), ValueError, "regular expressions, got '\\('"),
        (
            lambda o: optimizers.LBFGS().multiply_learning_rate(2.0, var_names=["a"]),
            ValueError,
            "LBFGS: expected an optimizer that updates by parameters",
        ),
    ],
)  # fmt: skip
def test_errors(give: Callable[[Optimizer], None], error: type[Exception], text: str) -> None:
    optimizer = optimizers.SGD(0.1)
    with pytest.raises(error, match=text):
        give(optimizer)
    assert not optimizer.rate_factors.rules
