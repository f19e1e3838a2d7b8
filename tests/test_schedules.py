"""Learning-rate schedules: their values, what optimizers make of them, recorded and step by step."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
from tiny import assert_same, blobs, mlp, train

from fastnn import callbacks, ops, optimizers
from fastnn.optimizers import schedules
from fastnn.optimizers.schedules import LearningRateSchedule

CASES: dict[str, tuple[LearningRateSchedule, dict[int, float]]] = {  # values worked out by hand
    "exponential": (schedules.ExponentialDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.1 * math.sqrt(0.5), 20: 0.025}),
    "exponential stairs": (schedules.ExponentialDecay(0.1, 10, 0.5, staircase=True), {9: 0.1, 10: 0.05, 29: 0.025}),
    "inverse time": (schedules.InverseTimeDecay(0.1, 10, 0.5), {0: 0.1, 5: 0.08, 20: 0.05}),
    "inverse time stairs": (schedules.InverseTimeDecay(0.1, 10, 0.5, True), {9: 0.1, 10: 0.1 / 1.5, 20: 0.05}),
    "polynomial": (schedules.PolynomialDecay(0.5, 10, 0.1, power=2.0), {0: 0.5, 5: 0.2, 10: 0.1, 99: 0.1}),
    "polynomial cycle": (
        schedules.PolynomialDecay(0.5, 10, 0.1, cycle=True),
        {0: 0.5, 5: 0.3, 10: 0.1, 11: 0.1 + 0.4 * 9 / 20, 20: 0.1, 21: 0.1 + 0.4 * 9 / 30},
    ),
    "piecewise": (
        schedules.PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.1]),
        {0: 1.0, 10: 1.0, 11: 0.5, 20: 0.5, 21: 0.1},
    ),
    "step": (schedules.StepDecay(0.4, every=10, factor=0.5), {0: 0.4, 9: 0.4, 10: 0.2, 25: 0.1}),
    "cosine": (schedules.CosineDecay(0.2, 100, alpha=0.1), {0: 0.2, 50: 0.2 * 0.55, 100: 0.02, 500: 0.02}),
    "cosine warm": (
        schedules.CosineDecay(0.0, 100, warmup_target=0.2, warmup_steps=10),
        {0: 0.0, 5: 0.1, 10: 0.2, 60: 0.1, 110: 0.0},
    ),
    "restarts": (
        schedules.CosineDecayRestarts(0.4, 10, m_mul=0.5),
        {0: 0.4, 5: 0.2, 10: 0.2, 20: 0.1, 30: 0.1, 50: 0.05, 70: 0.05},
    ),
    "restarts of one length": (
        schedules.CosineDecayRestarts(0.4, 10, t_mul=1.0, m_mul=0.5, alpha=0.5),
        {0: 0.4, 5: 0.3, 10: 0.3, 20: 0.25},
    ),
    "warm-up": (schedules.WarmUp(0.5, 4, 0.1), {0: 0.1, 1: 0.2, 4: 0.5, 9: 0.5}),
    "warm-up of a schedule": (
        schedules.WarmUp(schedules.StepDecay(0.4, 10, 0.5), 5),
        {0: 0.0, 1: 0.08, 5: 0.4, 14: 0.4, 15: 0.2},
    ),
    "triangular": (schedules.CyclicalLearningRate(0.1, 0.5, 4), {0: 0.1, 2: 0.3, 4: 0.5, 6: 0.3, 8: 0.1, 12: 0.5}),
    "triangular2": (
        schedules.CyclicalLearningRate(0.1, 0.5, 4, "triangular2"),
        {0: 0.1, 4: 0.5, 8: 0.1, 12: 0.3, 20: 0.2},
    ),
    "exp_range": (
        schedules.CyclicalLearningRate(0.1, 0.5, 4, "exp_range", gamma=0.5),
        {0: 0.1, 2: 0.1 + 0.4 * 0.5 / 4, 4: 0.1 + 0.4 / 16, 8: 0.1},
    ),
    "one cycle": (
        schedules.OneCycle(0.5, 11, pct_start=4 / 11, div_factor=5.0, final_div_factor=10.0),
        {0: 0.1, 3: 0.5, 10: 0.01, 50: 0.01},
    ),
    "one cycle straight": (
        schedules.OneCycle(0.5, 11, 5 / 11, "linear", div_factor=5.0, final_div_factor=10.0),
        {0: 0.1, 2: 0.3, 4: 0.5, 7: 0.255, 10: 0.01},
    ),
}
every_schedule = pytest.mark.parametrize("name", CASES)


@every_schedule
def test_values(name: str) -> None:
    schedule, table = CASES[name]
    for step, rate in table.items():
        assert schedule(step) == pytest.approx(rate, rel=1e-12, abs=1e-15)
    steps = np.array(sorted(table))
    np.testing.assert_allclose(schedule(steps), [table[s] for s in sorted(table)], rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(schedule.values(3, 20), [schedule(s) for s in range(3, 23)])
    assert (schedule.values(0, 200) >= 0).all()


@every_schedule
def test_configuration(name: str) -> None:
    schedule, _ = CASES[name]
    again = schedules.deserialize(json.loads(json.dumps(schedules.serialize(schedule))))
    assert type(again) is type(schedule)
    np.testing.assert_array_equal(again.values(0, 100), schedule.values(0, 100))
    assert repr(again) == repr(schedule)
    optimizer = optimizers.Adam(schedule)
    other = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert other.get_config() == optimizer.get_config()
    assert other.learning_rate == schedule(0)


def test_every_schedule_has_a_case() -> None:
    made = {type(schedule).__name__ for schedule, _ in CASES.values()}
    assert made | {"LearningRateSchedule", "serialize", "deserialize"} == set(schedules.__all__)


def test_restarts_begin_on_time() -> None:
    schedule = schedules.CosineDecayRestarts(1.0, 7, t_mul=3.0)
    begins = [7 * (3**i - 1) // 2 for i in range(12)]
    np.testing.assert_allclose([schedule(step) for step in begins], 1.0, rtol=1e-6)
    assert all(schedule(step - 1) < 0.2 for step in begins[1:])


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "steps": (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), ValueError, "decay_steps to be a finite number > 0"),
    "rate": (lambda: schedules.CosineDecay(-1, 10), ValueError, "initial_learning_rate to be a finite number >= 0"),
    "counts": (lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]), ValueError, "expected 3 values"),
    "falling": (lambda: schedules.PiecewiseConstantDecay([2, 1], [1, 1, 1]), ValueError, "boundaries that rise"),
    "mode": (lambda: schedules.CyclicalLearningRate(0.1, 0.2, 3, "square"), ValueError, "mode to be one of"),
    "unknown class": (
        lambda: schedules.deserialize({"class_name": "Cosine", "config": {}}),
        ValueError,
        "class_name to be one of",
    ),
    "no method": (lambda: LearningRateSchedule()(0), TypeError, "with a method rate"),
    "negative": (lambda: optimizers.SGD(Falling()).learning_rate, ValueError, r"finite learning rates >= 0 .*step 0"),
}


class Falling(LearningRateSchedule):
    def __call__(self, step: Any) -> float:
        return -1.0 - float(step)


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


# ---------------------------------------------------------------- in an optimizer


class Inverse(LearningRateSchedule):
    """A schedule of the user's."""

    def __init__(self, first: float) -> None:
        self.first = first

    def __call__(self, step: Any) -> float:
        return self.first / (1 + float(step))


SCHEDULES: dict[str, Any] = {
    "cosine": lambda: schedules.CosineDecay(0.3, 9),
    "written in Python": lambda: Inverse(0.3),
    "function": lambda: lambda: 0.1,
}


@pytest.mark.parametrize("kind", SCHEDULES)
def test_replayed_rates_are_those_of_each_step(kind: str, threads: int) -> None:
    x, y = blobs(71)
    eager = train(mlp(optimizers.SGD(SCHEDULES[kind](), momentum=0.5), run_eagerly=True), x, y)
    assert_same(train(mlp(optimizers.SGD(SCHEDULES[kind](), momentum=0.5)), x, y), eager)
    # The same with numbers set by hand before every step.
    by_hand = mlp(optimizers.SGD(1.0, momentum=0.5))
    scheduled = mlp(optimizers.SGD(SCHEDULES[kind](), momentum=0.5))
    given = SCHEDULES[kind]()
    for step in range(12):
        assert by_hand.optimizer is not None
        by_hand.optimizer.learning_rate = given() if kind == "function" else given(step)
        assert scheduled.train_on_batch(x[:20], y[:20]) == by_hand.train_on_batch(x[:20], y[:20])
    np.testing.assert_array_equal(scheduled.store.values, by_hand.store.values)


def test_many_steps_follow_each_other_without_python() -> None:
    x, y = blobs(400)
    model = mlp(optimizers.SGD(schedules.CosineDecay(0.1, 5000)))
    model.fit(x, y, 1, verbose=0)
    with mock.patch.object(ops.Tape, "run", autospec=True, side_effect=ops.Tape.run) as run:
        model.fit(x, y, 1, epochs=4, verbose=0)
    assert run.call_count < 40  # 1600 steps
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 2000


def test_a_schedule_with_more_steps_than_the_table() -> None:
    x, y = blobs(64)
    rates = schedules.InverseTimeDecay(0.5, 100, 1.0)
    models = [mlp(optimizers.SGD(rates), run_eagerly=eager) for eager in (False, True)]
    for model in models:
        model.fit(x, y, 4, epochs=80, verbose=0)  # 1280 steps
    np.testing.assert_array_equal(models[0].store.values, models[1].store.values)


def test_changes_are_honored() -> None:
    x, y = blobs(32)
    schedule = Inverse(0.3)
    model, other = mlp(optimizers.SGD(schedule)), mlp(optimizers.SGD(0.3))
    assert model.optimizer is not None
    assert other.optimizer is not None
    model.train_on_batch(x, y)
    schedule.first = 0.8
    model.train_on_batch(x, y)
    other.train_on_batch(x, y)
    other.optimizer.learning_rate = 0.4
    other.train_on_batch(x, y)
    np.testing.assert_array_equal(model.store.values, other.store.values)
    model.optimizer.iterations[0] = 100  # back and forth
    assert model.optimizer.learning_rate == pytest.approx(0.8 / 101)
    model.train_on_batch(x, y)
    other.optimizer.learning_rate = 0.8 / 101
    other.train_on_batch(x, y)
    np.testing.assert_array_equal(model.store.values, other.store.values)
    with pytest.raises(TypeError, match="expected a schedule or function as learning_rate, as it was made with one"):
        model.optimizer.learning_rate = 0.1
    other.optimizer.learning_rate = schedules.StepDecay(0.2, 1)  # the recorded step reads elsewhere from now on
    other.train_on_batch(x, y)
    assert other.optimizer.learning_rate == pytest.approx(0.2 * 0.1**4)


def test_schedules_count_calls_where_gradients_are_accumulated() -> None:
    x, y = blobs(32)
    model = mlp(optimizers.SGD(Inverse(0.3), gradient_accumulation_steps=3))
    for _ in range(3):
        model.train_on_batch(x, y)
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 1
    assert model.optimizer.learning_rate == pytest.approx(0.3 / 4)


def test_a_saved_schedule_goes_on(tmp_path: Any) -> None:
    from fastnn import models

    x, y = blobs(48)
    model = mlp(optimizers.Adam(schedules.CosineDecay(0.1, 20)))
    model.fit(x, y, 16, verbose=0)
    model.save(tmp_path / "m.fastnn")
    again = models.load_model(tmp_path / "m.fastnn")
    for one in (model, again):
        one.fit(x, y, 16, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.store.values, again.store.values)
    assert again.optimizer.learning_rate == model.optimizer.learning_rate  # type: ignore[union-attr]


# ---------------------------------------------------------------- as a callback, as a picture


def test_a_schedule_of_epochs() -> None:
    x, y = blobs(32)
    model = mlp(optimizers.SGD(1.0))
    callback = callbacks.ScheduledLearningRate(schedules.StepDecay(0.5, every=2, factor=0.5))
    history = model.fit(x, y, epochs=4, callbacks=[callback], verbose=0).history
    assert history["learning_rate"] == [0.5, 0.5, 0.25, 0.25]


def test_a_schedule_of_steps() -> None:
    x, y = blobs(64)
    model, other = mlp(optimizers.SGD(1.0)), mlp(optimizers.SGD(schedules.CosineDecay(0.1, 10)))
    callback = callbacks.ScheduledLearningRate(schedules.CosineDecay(0.1, 10), unit="step")
    model.fit(x, y, 16, epochs=3, callbacks=[callback], verbose=0)
    other.fit(x, y, 16, epochs=3, verbose=0)
    np.testing.assert_array_equal(model.store.values, other.store.values)
    with pytest.raises(TypeError, match="unit='step'"):
        callbacks.ScheduledLearningRate(lambda step: 0.1, unit="step")
    with pytest.raises(TypeError, match="expected a schedule or a function"):
        callbacks.ScheduledLearningRate(0.1)  # type: ignore[arg-type]


def test_plot() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    with mock.patch.object(pyplot, "show"):
        ax = CASES["one cycle"][0].plot(30)
    line = ax.lines[0]
    np.testing.assert_allclose(line.get_ydata(), CASES["one cycle"][0].values(0, 30))
    pyplot.close("all")
