"""Single batches like an earlier one take a shortcut past Python: never a stale setting, an unchecked array or a mixed-up state."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
from cases import LossCase, every_layer, every_loss, every_metric, every_optimizer
from gradcheck import normal
from test_replay import CHANGES, changeable
from tiny import Array, X, Y, assert_same, blobs, cnn, images, line, mlp, state
from tolerances import assert_bits

from fastnn import Model, Sequential, callbacks, config, layers, metrics, ops, optimizers, settings
from fastnn.layers import Dense, Input
from fastnn.training.batches import Shortcut


@contextmanager
def shortcuts() -> Iterator[list[str]]:
    """Collect which shortcuts were taken."""
    taken: list[str] = []

    def counted(name: str) -> Any:
        inner = getattr(Shortcut, name)

        def call(self: Shortcut, arrays: Any) -> Any:
            result = inner(self, arrays)
            if result is not None:
                taken.append(name)
            return result

        return call

    with mock.patch.multiple(Shortcut, score=counted("score"), predict=counted("predict")):
        yield taken


def steps(model: Sequential, x: Any, y: Any, count: int = 3, **more: Any) -> dict[str, Array]:
    """Do steps on single batches; return the state, and all that they returned."""
    seen = {}
    for i in range(count):
        seen[f"train {i}"] = np.array(model.train_on_batch(x, y, **more))
        seen[f"test {i}"] = np.array(model.test_on_batch(x, y, **more))
        seen[f"predict {i}"] = model.predict_on_batch(x)
    return state(model) | seen


# ---------------------------------------------------------------- what changes between two batches


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_honored(name: str) -> None:
    """The same after a change as a model that calls every layer from Python."""
    x, y = blobs(24)

    def run(run_eagerly: bool, change: Callable[[Sequential], Any] | None) -> tuple[dict[str, Array], list[str]]:
        isa, count = config.isa(), config.num_threads()
        model = changeable(run_eagerly)
        with shortcuts() as taken:
            steps(model, x, y)
            before = len(taken)
            if change is not None:
                change(model)
            after = steps(model, x, y, 4)
        config.set_isa(isa)
        config.set_num_threads(count)
        assert (before == 0 and not taken) if run_eagerly else (before >= 3 and len(taken) > before)
        return after, taken

    (eager, _), (recorded, _) = run(True, CHANGES[name]), run(False, CHANGES[name])
    assert_same(recorded, eager)
    if name not in ("threads", "instruction set"):
        unchanged, _ = run(False, None)
        assert any(not np.array_equal(recorded[key], unchanged[key]) for key in recorded)


def freeze(model: Sequential) -> None:
    model.trainable = False


def share(model: Sequential) -> None:
    """Let another model take a layer's parameters into its store, and train them."""
    other = Sequential([Input((16,)), model.layers[1]])
    other.compile("sgd", "mse")
    other.train_on_batch(np.ones((2, 16)), np.zeros((2, 8)))


def slope(model: Sequential) -> None:
    model.layers[2].activation.alpha = 0.7  # type: ignore[attr-defined]


def double(model: Sequential) -> None:
    layer = model.layers[0]
    layer.forward = lambda x, training=False: 2 * type(layer).forward(layer, x, training)  # type: ignore[method-assign]


def threshold(model: Sequential) -> None:
    model.metrics[0].threshold = 0.9  # type: ignore[attr-defined]


OTHER_CHANGES: dict[str, Callable[[Sequential], Any]] = {
    "frozen model": freeze,
    "shared layer": share,
    "slope of an activation": slope,
    "forward of an object": double,
    "threshold of a metric": threshold,
    "weight of the loss": lambda model: setattr(model.scores[0], "weight", 0.25),
    "another optimizer": lambda model: setattr(model, "optimizer", optimizers.SGD(0.3)),
    "compiled anew": lambda model: model.compile("sgd", "mae", metrics=["mse"]),
    "backend": lambda model: config.set_backend("numpy"),
    "another layer": lambda model: model.add(Dense(3, "tanh", kernel_initializer="ones")),
    "a layer less": lambda model: model.pop(),
}


@pytest.mark.parametrize("name", OTHER_CHANGES)
def test_other_changes_are_honored(name: str) -> None:
    x = normal(12, 5).astype(np.float32)
    y = (normal(12, 3, seed=1) > 0).astype(np.float32)

    def run(run_eagerly: bool, change: Callable[[Sequential], Any]) -> dict[str, Array]:
        config.set_seed(5)
        config.set_backend("native")
        leaky = layers.LeakyReLU(0.1)
        leaky.activation = type(leaky.activation)("leaky_relu", 0.1)
        parts = [Dense(16), Dense(8), leaky, Dense(3, "sigmoid"), Dense(3, "sigmoid")]
        model = Sequential([Input((5,)), *parts])
        model.compile("sgd", "mse", metrics=[metrics.BinaryAccuracy(threshold=0.5)], run_eagerly=run_eagerly)
        with shortcuts() as taken:
            steps(model, x, y)
            assert bool(taken) is not run_eagerly
            change(model)
            model.run_eagerly = run_eagerly
            return steps(model, x, y, 4)

    recorded, eager = run(False, OTHER_CHANGES[name]), run(True, OTHER_CHANGES[name])
    assert_same(recorded, eager)
    unchanged = run(False, lambda model: None)
    assert recorded.keys() != unchanged.keys() or any(
        not np.array_equal(recorded[key], unchanged[key]) for key in recorded
    )


def test_optimizers_in_turn() -> None:
    """Both were there before, so that nothing but the model's attribute changes."""
    chosen = optimizers.SGD(0.1), optimizers.SGD(0.3)
    model, other = line(chosen[0]), line(run_eagerly=True)
    for i in range(12):
        model.optimizer = chosen[i % 2]
        other.optimizer.learning_rate = (0.1, 0.3)[i % 2]  # type: ignore[union-attr]
        assert model.train_on_batch(X, Y) == other.train_on_batch(X, Y)
    assert [int(one.iterations[0]) for one in chosen] == [6, 6]


# ---------------------------------------------------------------- what is taken


def label_model() -> Sequential:
    config.set_seed(3)
    model = Sequential([Input((4,)), Dense(3, "softmax", name="last")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("x_type", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("y_type", ["int64", "int32", "uint8"])
def test_types_of_labels(x_type: str, y_type: str) -> None:
    """Every batch has new values; they are those of a model that was given float32 and int32 in the long way."""
    model, other = label_model(), label_model()
    other.run_eagerly = True
    with shortcuts() as taken:
        for i in range(6):
            x, y = (normal(7, 4, seed=i) * 9 + 99).astype(x_type), (np.arange(7) * (i + 1) % 3).astype(y_type)
            given = x.copy(), y.copy()
            got = model.train_on_batch(x, y)
            assert got == other.train_on_batch(x.astype(np.float32), y.astype(np.int32))
            assert np.array_equal(x, given[0])
            assert np.array_equal(y, given[1])
    assert len(taken) == 4
    assert_same(state(model), state(other))


@pytest.mark.filterwarnings("ignore:compile")  # cross-entropies of what is no probability
@every_loss
def test_truths(case: LossCase) -> None:
    """What a loss refuses is refused by the shortcut as well, with the same error; what it takes trains the same."""
    shape = (case.shape[1],) if len(case.shape) == 2 else case.shape[1:]

    def make(**options: Any) -> Sequential:
        config.set_seed(3)
        model = Sequential([Input((*shape[:-1], 4)), Dense(shape[-1])])
        model.compile("sgd", case.make(), **options)
        return model

    x, y = normal(case.shape[0], *shape[:-1], 4).astype(np.float32), case.y_true()
    for dtype in {y.dtype, np.dtype(np.float64), np.dtype(np.int64)}:
        model, other = make(), make(run_eagerly=True)
        truth = y.astype(dtype)
        assert_same(steps(model, x, truth), steps(other, x, truth))
        for value in (-1, -0.5, 1.5, 2, 2.5, 3, np.nan, np.inf, -np.inf, 1e300, 2**40):
            if dtype.kind == "i" and value not in (-1, 2, 3, 2**40):
                continue
            wrong = truth.copy()
            with np.errstate(over="ignore"):
                wrong.flat[-1] = value
            assert outcome(model, x, wrong) == outcome(other, x, wrong), f"{value} as {dtype}"
        assert_same(state(model), state(other))


def outcome(model: Sequential, *arrays: Any) -> Any:
    """Return what a test step gives: a loss or an error."""
    try:
        return str(model.test_on_batch(*arrays))
    except (TypeError, ValueError) as error:
        return type(error), str(error)


def test_arrays_that_are_not_like_the_others() -> None:
    x, y = normal(6, 4).astype(np.float32), np.arange(6) % 3
    wide = np.zeros((6, 8), np.float32)
    wide[:, ::2] = x
    shifted = np.zeros(6 * 4 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(6, 4)
    shifted[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    same = [wide[:, ::2], shifted, np.asfortranarray(x), x.astype(">f4"), x.tolist(), [x], frozen, x.view(Sub)]
    model, other = label_model(), label_model()
    other.run_eagerly = True
    steps(model, x, y)
    steps(other, x, y)
    expected = outcome(model, x, y)
    for one in same:
        assert outcome(model, one, y) == expected
        assert_bits(model.predict_on_batch(one), model.predict(x, verbose=0))
    for labels in (y.tolist(), y.astype(">i8"), y[:, None], np.repeat(y, 2)[::2], y.astype(float), [y]):
        assert outcome(model, x, labels) == expected
    refused = [
        (np.ma.masked_array(x, x > 0), y),
        (x, np.ma.masked_array(y, y > 0)),
        (x[:5], y),
        (x, y[:5]),
        (x[:, :3], y),
        (x[0], y),
        (x.astype(complex), y),
        (x[:0], y[:0]),
        (x, None),
        (None, y),
        (x, y.astype(str)),
        (x, np.eye(3)[y]),
        (x.astype(float) * 1e300, y),
    ]
    for arrays in refused:
        steps(model, x, y)
        steps(other, x, y)
        found = outcome(model, *arrays)
        assert found == outcome(other, *arrays)
        assert isinstance(found, tuple), "taken"
    assert_same(state(model), state(other))


class Sub(np.ndarray):
    """A subclass that says nothing of its own."""


def test_sample_weights() -> None:
    x, y = blobs(9)
    model, other = mlp(), mlp(run_eagerly=True)
    w = (np.arange(9) / 4).astype(np.float32)
    with shortcuts() as taken:
        for weights in (w, w[::-1].copy(), w.astype(np.float64), w[:, None], None, w, w):
            for _ in range(3):
                assert model.train_on_batch(x, y, weights) == other.train_on_batch(x, y, weights)
    assert taken
    for bad in (np.nan, np.inf):
        wrong = w.copy()
        wrong[3] = bad
        with pytest.raises(ValueError, match="finite sample_weight"):
            model.train_on_batch(x, y, wrong)
    by_class = {0: 2.0, 1: 0.5}
    assert model.train_on_batch(x, y, class_weight=by_class) == other.train_on_batch(x, y, class_weight=by_class)
    assert model.train_on_batch(x, y, return_dict=True) == other.train_on_batch(x, y, return_dict=True)
    assert_same(state(model), state(other))


def test_shapes_and_models_in_turn() -> None:
    """Batches of several sizes, of two models, each with its own shortcut."""
    pixels, corners = images(12)
    x, y = blobs(12)
    recorded, eager = (mlp(), cnn()), (mlp(run_eagerly=True), cnn(run_eagerly=True))
    with shortcuts() as taken:
        for i in range(15):
            n = (12, 1, 5)[i % 3]
            for one, other, a, b in zip(recorded, eager, (x, pixels), (y, corners)):
                assert one.train_on_batch(a[:n], b[:n]) == other.train_on_batch(a[:n], b[:n])
                assert_bits(one.predict_on_batch(a[:n]), other.predict_on_batch(a[:n]))
                assert_bits(one.predict(a, 5, verbose=0), other.predict(a, 5, verbose=0))
    assert len(taken) >= 2 * 2 * 3 * 3  # two models, two methods, three sizes, all but the first two times
    for one, other in zip(recorded, eager):
        assert_same(state(one), state(other))


def test_several_inputs_and_outputs_go_the_long_way() -> None:
    one, two = Input((3,)), Input((3,))
    model = Model([one, two], layers.add([Dense(2)(one), Dense(2)(two)]))
    model.compile("sgd", "mse")
    with shortcuts() as taken:
        losses_seen = [model.train_on_batch([X, X], Y) for _ in range(4)]
    assert not taken
    assert losses_seen[-1] < losses_seen[0]


# ---------------------------------------------------------------- who may take a shortcut


def test_a_layer_of_the_users_takes_none() -> None:
    """What it captures may lie anywhere."""
    outside = {"factor": 1.0}

    class Scale(layers.Layer):
        recordable: ClassVar[bool] = True

        def forward(self, x: Any, training: bool = False) -> Any:
            y = ops.empty(x.shape)
            ops.fill(y, outside["factor"])
            return ops.multiply(x, y)

        def backward(self, dy: Any) -> Any:
            return dy

        def step_key(self) -> tuple[Any, ...]:
            return (*super().step_key(), outside["factor"])

    model = Sequential([Input((3,)), Dense(2), Scale()])
    model.compile("sgd", "mse")
    with shortcuts() as taken:
        first = [model.test_on_batch(X, Y) for _ in range(4)]
        outside["factor"] = 5.0
        assert model.test_on_batch(X, Y) != first[-1]
    assert not taken


@every_layer
def test_layers_note_their_changes(case: Any) -> None:
    assert_noted(case.make())


@every_loss
def test_losses_note_their_changes(case: LossCase) -> None:
    assert_noted(case.make())


@every_metric
def test_metrics_note_their_changes(case: Any) -> None:
    assert_noted(case.make())


@every_optimizer
def test_optimizers_note_their_changes(case: Any) -> None:
    assert_noted(case.make())


def assert_noted(thing: Any) -> None:
    """Every attribute that is no scratch of a step is a setting."""
    assert settings.noted(thing)
    for name, value in dict(vars(thing)).items():
        before = settings.latest()
        setattr(thing, name, value)
        assert (settings.latest() is not before) is (name not in type(thing).unwatched), name


def test_a_training_step_changes_no_setting() -> None:
    """Else a model that is called by hand would send all others the long way."""
    model, (x, y) = cnn(run_eagerly=True), images(8)
    steps(model, x, y)
    before = settings.latest()
    steps(model, x, y)
    model.forward(x, training=True)
    model.optimizer.learning_rate = 0.3  # type: ignore[union-attr]
    assert settings.latest() is before


# ---------------------------------------------------------------- other uses of the model meanwhile


def test_inside_of_fit() -> None:
    """A callback's batches neither take a shortcut nor disturb the epoch."""
    x, y = blobs(48)

    def run(run_eagerly: bool) -> tuple[dict[str, Array], list[Any]]:
        model = mlp(run_eagerly=run_eagerly)
        steps(model, x[:5], y[:5])
        seen: list[Any] = []

        def look(batch: int, logs: Any) -> None:
            seen.append((model.test_on_batch(x[:5], y[:5]), model.predict_on_batch(x[:5]).tolist(), dict(logs)))

        with shortcuts() as taken:
            history = model.fit(x, y, 16, 2, verbose=0, callbacks=[callbacks.LambdaCallback(on_train_batch_end=look)])
            assert not taken
        return state(model) | {k: np.array(v) for k, v in history.history.items()}, seen

    (recorded, seen), (eager, expected) = run(False), run(True)
    assert_same(recorded, eager)
    assert seen == expected


def test_inside_of_evaluate() -> None:
    x, y = blobs(48)
    model = mlp()
    steps(model, x[:5], y[:5])
    expected = model.evaluate(x, y, 16, verbose=0)
    look = callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: model.test_on_batch(x[:5], y[:5]))
    assert model.evaluate(x, y, 16, verbose=0, callbacks=[look]) == expected


def test_while_another_thread_trains() -> None:
    x, y = blobs(48)
    model = mlp()
    steps(model, x, y)
    begun, asked = threading.Event(), threading.Event()

    def wait(epoch: int, logs: Any) -> None:
        begun.set()
        asked.wait(30)

    watch = callbacks.LambdaCallback(on_epoch_begin=wait)
    thread = threading.Thread(target=lambda: model.fit(x, y, 16, verbose=0, callbacks=[watch]))
    thread.start()
    try:
        assert begun.wait(30)
        for use in (lambda: model.train_on_batch(x, y), lambda: model.predict_on_batch(x)):
            with pytest.raises(RuntimeError, match="_on_batch: expected a model that no other thread trains"):
                use()
    finally:
        asked.set()
        thread.join(30)
    assert not thread.is_alive()


def test_threads_take_turns() -> None:
    """As many steps are done as were asked for, and predictions are those of whole models."""
    model = line()
    model.optimizer.learning_rate = 0.0  # type: ignore[union-attr]
    expected_loss, expected = model.train_on_batch(X, Y), model.predict_on_batch(X)
    steps(model, X, Y)
    start = int(model.optimizer.iterations[0])  # type: ignore[union-attr]
    wrong: list[Any] = []

    def run(i: int) -> None:
        for _ in range(300):
            if i % 2 and not np.array_equal(model.predict_on_batch(X.copy()), expected):
                wrong.append("predictions")
            if model.train_on_batch(X.copy(), Y.copy()) != expected_loss:
                wrong.append("loss")

    jobs = [threading.Thread(target=run, args=[i]) for i in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert not wrong
    assert int(model.optimizer.iterations[0]) == start + 1200  # type: ignore[union-attr]
