"""What fit, evaluate and predict run over: batches from generators and loaders, steps, splits, validation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import Array, X, Y, assert_same, blobs, line, mlp, state
from tolerances import assert_bits

from fastnn import Input, Model, callbacks, config, layers, utils


class Loader:
    """Batches that can be iterated over again and again, as torch's DataLoader has them: lists, not tuples."""

    def __init__(self, *arrays: Any, size: int = 4) -> None:
        self.arrays, self.size, self.passes = arrays, size, 0

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // self.size)

    def __iter__(self) -> Iterator[Any]:
        self.passes += 1
        for i in range(0, len(self.arrays[0]), self.size):
            yield [a[i : i + self.size] for a in self.arrays]


class Indexed:
    """Batches by number, as Keras's PyDataset has them."""

    def __init__(self, *arrays: Any, size: int = 4) -> None:
        self.loader, self.ended = Loader(*arrays, size=size), 0

    def __len__(self) -> int:
        return len(self.loader)

    def __getitem__(self, i: int) -> Any:
        return tuple(a[4 * i : 4 * i + 4] for a in self.loader.arrays)

    def on_epoch_end(self) -> None:
        self.ended += 1


class Tensor:
    """An array of another package."""

    def __init__(self, values: Array) -> None:
        self.values = values

    def detach(self) -> Tensor:
        return self

    def cpu(self) -> Array:
        return self.values

    def __array__(self, *args: Any, **kwargs: Any) -> Array:
        raise RuntimeError("detach first")


def forever(*arrays: Any, size: int = 4) -> Iterator[Any]:
    while True:
        yield from (tuple(part) for part in Loader(*arrays, size=size))


def trained(x: Any, y: Any = None, epochs: int = 3, **options: Any) -> dict[str, Array]:
    model = line("adam", metrics=["mae"])
    history = model.fit(x, y, epochs=epochs, verbose=0, **options).history
    return state(model) | {k: np.array(v) for k, v in history.items()}


SOURCES: dict[str, Any] = {
    "loader": lambda: Loader(X, Y),
    "indexed": lambda: Indexed(X, Y),
    "list of batches": lambda: [tuple(b) for b in Loader(X, Y)],
}


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_batches_train_as_arrays_do(isa: str, make: Any) -> None:
    assert_same(trained(make()), trained(X, Y, batch_size=4, shuffle=False))


def test_generators_need_to_know_where_an_epoch_ends() -> None:
    expected = trained(X, Y, batch_size=4, shuffle=False)
    assert_same(trained(forever(X, Y), steps_per_epoch=3), expected)
    with pytest.warns(UserWarning, match="fit: the data ended after epoch 1 of 3; give steps_per_epoch"):
        once = trained(tuple(b) for b in Loader(X, Y))
    assert_same(once, trained(X, Y, 1, batch_size=4, shuffle=False))
    with pytest.warns(
        UserWarning, match="fit: the data ended after 1 of 2 steps; give an iterable that can start anew"
    ):
        short = trained((tuple(b) for b in Loader(X, Y)), steps_per_epoch=2)
    assert len(short["loss"]) == 2


def test_an_epoch_of_fewer_steps_goes_on_where_the_last_one_stopped() -> None:
    """Of arrays and of batches; six epochs of two steps are four passes over three batches."""
    loader = Loader(X, Y)
    expected = trained(forever(X, Y), epochs=6, steps_per_epoch=2)
    assert_same(trained(loader, epochs=6, steps_per_epoch=2), expected)
    assert loader.passes == 4
    assert_same(trained(X, Y, epochs=6, steps_per_epoch=2, batch_size=4, shuffle=False), expected)
    longer = trained(X, Y, epochs=2, steps_per_epoch=6, batch_size=4, shuffle=False)
    assert_same({k: longer[k] for k in state(line("adam"))}, {k: expected[k] for k in state(line("adam"))})


def test_shuffled_steps_see_every_sample_once_a_pass() -> None:
    seen: list[float] = []
    x = np.arange(10, dtype=np.float32)[:, None]
    model = line()
    model = type(model)([layers.Input((1,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["mae"])
    model.optimizer.learning_rate = 0.0  # type: ignore[union-attr]
    watch = callbacks.LambdaCallback(on_train_batch_end=lambda i, logs: seen.append(logs["mae"] * (i + 1) * 2))
    model.fit(x, np.zeros((10, 1)), 2, 5, steps_per_epoch=2, callbacks=[watch], verbose=0)
    sums = np.array(seen).reshape(5, 2)
    batches = np.concatenate([sums[:, :1], sums[:, 1:] - sums[:, :1]], 1).reshape(-1)
    assert np.allclose([batches[:5].sum(), batches[5:].sum()], 45)


def test_weights_in_batches() -> None:
    weights = np.arange(10) / 4
    expected = trained(X, Y, batch_size=4, shuffle=False, sample_weight=weights)
    assert_same(trained(Loader(X, Y, weights)), expected)
    x, labels = blobs(24)
    runs = []
    for source in ((x, labels, {"batch_size": 5, "shuffle": False}), (Loader(x, labels, size=5), None, {})):
        model = mlp()
        model.fit(*source[:2], epochs=2, class_weight={1: 3.0}, verbose=0, **source[2])
        runs.append(state(model))
    assert_same(*runs)


def test_tensors_of_other_packages() -> None:
    source = [(Tensor(x), Tensor(y)) for x, y in Loader(X, Y)]

    class Again:
        def __iter__(self) -> Iterator[Any]:
            return iter(source)

    assert_same(trained(Again()), trained(X, Y, batch_size=4, shuffle=False))


def test_several_inputs_and_outputs() -> None:
    a, b = Input((3,)), Input((2,))
    x = layers.Concatenate()([a, b])
    model = Model([a, b], [layers.Dense(2)(x), layers.Dense(1)(x)])
    model.compile("sgd", "mse")
    data = [([X[i : i + 5], Y[i : i + 5]], [Y[i : i + 5], X[i : i + 5, :1]]) for i in (0, 5)]
    before = model.evaluate([X, Y], [Y, X[:, :1]], verbose=0)
    np.testing.assert_allclose(model.evaluate(data, verbose=0), before, rtol=1e-6)
    model.fit(data, epochs=20, verbose=0)
    assert model.evaluate(data, verbose=0)[0] < before[0]
    for got, expected in zip(model.predict(data, verbose=0), model.predict([X, Y], verbose=0), strict=True):
        assert_bits(got, expected)


def test_evaluate_and_predict_batches() -> None:
    model = line(metrics=["mae"])
    assert model.evaluate(Loader(X, Y), verbose=0) == model.evaluate(X, Y, 4, verbose=0)
    assert model.evaluate(X, Y, 4, steps=2, verbose=0) == model.evaluate(X[:8], Y[:8], 4, verbose=0)
    assert model.evaluate(forever(X, Y), steps=2, verbose=0) == model.evaluate(X[:8], Y[:8], 4, verbose=0)
    expected = model.predict(X, 4, verbose=0)
    for source in (Loader(X, Y), [(x, y) for x, y in Loader(X, Y)], (x for x, _ in Loader(X, Y))):
        assert_bits(model.predict(source, verbose=0), expected)
    assert_bits(model.predict(X, 4, steps=2, verbose=0), expected[:8])
    assert_bits(model.predict(forever(X), steps=2, verbose=0), expected[:8])
    assert_bits(model.predict([tuple(row) for row in X.tolist()], verbose=0), expected)  # samples, no batches


def test_a_model_is_built_for_its_first_batch() -> None:
    config.set_seed(1)
    model = type(line())([layers.Dense(2)])
    model.compile("sgd", "mse")
    loader = Loader(X, Y)
    assert len(model.fit(loader, verbose=0).history["loss"]) == 1
    assert loader.passes == 1  # the batch that was looked at is the first of the epoch
    assert model.input_shape == (None, 3)


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize(("freq", "expected"), [(1, 5), (2, 2), (3, 1), ([1, 4], 2), ({5}, 1), (6, 0)])
def test_validation_freq(freq: Any, expected: int) -> None:
    history = line().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=freq, verbose=0).history
    assert len(history.get("val_loss", [])) == expected


def test_validation_steps_and_batches() -> None:
    model = line()
    model.optimizer.learning_rate = 0.0  # type: ignore[union-attr]

    def validated(validation_data: Any, **options: Any) -> float:
        history = model.fit(X, Y, 4, 2, validation_data=validation_data, verbose=0, **options).history["val_loss"]
        assert history[0] == history[1]
        return history[0]  # type: ignore[no-any-return]

    first = model.evaluate(X[:6], Y[:6], 3, verbose=0)
    assert validated((X, Y), validation_steps=2, validation_batch_size=3) == first
    assert validated((X, Y), validation_steps=99) == model.evaluate(X, Y, 4, verbose=0)
    assert validated(Loader(X, Y)) == model.evaluate(X, Y, 4, verbose=0)
    assert validated(forever(X[:6], Y[:6], size=3), validation_steps=2) == first
    with pytest.raises(ValueError, match="fit: validation_data: expected at least one batch of samples, got"):
        model.fit(X, Y, epochs=3, validation_data=(tuple(b) for b in Loader(X, Y)), verbose=0)


def test_validation_split_by_class(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = normal(60, 5).astype(np.float32), np.repeat([0, 1, 2], [30, 20, 10])
    for y in (labels, np.eye(3)[labels]):
        model, seen = mlp(), []
        model.compile("sgd", "categorical_crossentropy" if y.ndim > 1 else "sparse_categorical_crossentropy")
        original = model._run_epoch

        def watch(mode: str, source: Any, *rest: Any, original: Any = original, seen: Any = seen) -> Any:
            seen.append(source.parts)
            return original(mode, source, *rest)

        monkeypatch.setattr(model, "_run_epoch", watch)
        model.fit(x, y, validation_split=0.2, stratify=True, verbose=0)
        (x_train, _, _), (x_out, (truth,), _) = seen
        assert np.bincount(truth if truth.ndim == 1 else truth.argmax(1)).tolist() == [6, 4, 2]
        assert_bits(np.sort(np.concatenate([x_train[0], x_out[0]]), 0), np.sort(x, 0))


def test_train_test_split() -> None:
    y = np.repeat([0, 1, 2], [50, 30, 20])
    a, b, ya, yb = utils.train_test_split(np.arange(100), y, test_size=0.3, stratify=y, seed=3)
    assert np.bincount(yb).tolist() == [15, 9, 6]
    assert sorted([*a, *b]) == list(range(100))
    assert (y[a] == ya).all()
    again = utils.train_test_split(np.arange(100), y, test_size=0.3, stratify=y, seed=3)
    assert_bits(again[1], b)
    assert (utils.train_test_split(np.arange(100), test_size=0.3, seed=4)[1] != b).any()
    assert utils.train_test_split(np.arange(5), test_size=0.4, shuffle=False)[1].tolist() == [3, 4]
    for call, text in (
        (lambda: utils.train_test_split(), "at least one array"),
        (lambda: utils.train_test_split(X, y), "arrays of 10 samples"),
        (lambda: utils.train_test_split(X, test_size=1.0), "test_size to be a finite number"),
        (lambda: utils.train_test_split(X[:1]), "test_size that leaves samples"),
        (lambda: utils.train_test_split(X, stratify=Y[:, 0]), "classes for stratify, got fractions"),
        (lambda: utils.train_test_split(X, stratify=y), "stratify of 10 samples"),
    ):
        with pytest.raises(ValueError, match=f"train_test_split: expected {text}"):
            call()  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------- what does not fit


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "y": ({"x": Loader(X, Y), "y": Y}, "fit: expected no y beside batches"),
    "set": ({"x": {1, 2}, "y": Y}, "fit: expected no y beside batches"),
    "batch_size": ({"x": Loader(X, Y), "batch_size": 4}, "fit: expected no batch_size beside batches"),
    "weights": ({"x": Loader(X, Y), "sample_weight": np.ones(10)}, "fit: expected no sample_weight beside batches"),
    "split": ({"x": Loader(X, Y), "validation_split": 0.1}, "fit: expected arrays for validation_split"),
    "parts": ({"x": iter([(X, Y, None, None)])}, r"fit: expected batches \(x, y\) or \(x, y, sample_weight\)"),
    "no y": ({"x": iter([X])}, "fit: expected targets y"),
    "nothing": ({"x": iter([])}, "fit: expected at least one batch"),
    "empty": ({"x": iter([(X[:0], Y[:0])])}, "fit: expected at least one sample"),
    "other length": ({"x": iter([(X, Y[:3])])}, "fit: expected x and y of the same length"),
    "steps": ({"x": X, "y": Y, "steps_per_epoch": 0}, "fit: expected steps_per_epoch to be an integer >= 1"),
    "validation": (
        {"x": X, "y": Y, "validation_data": (X, Y), "validation_steps": 0},
        "fit: expected validation_steps",
    ),
    "freq": ({"x": X, "y": Y, "validation_freq": [0]}, "fit: expected validation_freq"),
    "stratify": ({"x": X, "y": Y, "validation_split": 0.2, "stratify": True}, "fit: expected .*classes|fit: expected"),
}


@pytest.mark.parametrize(("options", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(options: dict[str, Any], text: str) -> None:
    model = line()
    before = model.get_weights()
    if options.get("stratify"):
        options = {**options, "y": Y[:, :1]}
        model = type(model)([layers.Input((3,)), layers.Dense(1)])
        model.compile("sgd", "mse")
        before = model.get_weights()
    with pytest.raises(ValueError, match=text):
        model.fit(**options, verbose=0)
    for got, expected in zip(model.get_weights(), before, strict=True):
        assert_bits(got, expected)


def test_a_wrong_batch_in_the_middle_leaves_a_model_that_works() -> None:
    model = line()
    with pytest.raises(ValueError, match="MeanSquaredError: expected y_true of shape"):
        model.fit([(X, Y), (X, Y[:, :1])], verbose=0)
    assert np.isfinite(model.evaluate(X, Y, verbose=0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(X, Y, verbose=0)


def test_arguments_that_mean_nothing_here_are_taken() -> None:
    line(jit_compile=True, steps_per_execution=4, auto_scale_loss=False).fit(X, Y, verbose=0)
