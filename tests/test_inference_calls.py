"""Calls on symbolic tensors with training=False: what they compute in training, what learns through them, what is saved."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array, LayerCase, every_layer, in_float64
from errors import check
from gradcheck import assert_gradient, normal
from tiny import images
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers, names
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout
from fastnn.models import clone_model, load_model


def states(model: Any) -> list[Array]:
    """Return copies of what training changes besides the parameters: counters and moving statistics."""
    counters = [np.copy(c) for layer in model.leaf_layers for c in layer.counters.values()]
    return counters + [p.numpy() for layer in model.leaf_layers for p in layer.parameters if not p.learns]


def assert_same(found: list[Array], expected: list[Array]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert_bits(a, b)


# ---------------------------------------------------------------- layers


@every_layer
def test_a_training_pass_is_one_of_inference(case: LayerCase) -> None:
    """The same bits, no counter and no statistic changed, and the gradients are the slopes of what inference computes."""
    layer, x = case.make(), Input(case.shape)
    model = Model(x, layer(x, training=False))
    for part in (layer, *layer.parameters):  # penalties are no part of the output
        vars(part).update({name: None for name in ("regularizer", "activity_regularizer") if name in vars(part)})
    values, before = case.batch(), states(model)
    expected = model.forward(values)
    assert_bits(model.forward(values, training=True), expected)
    assert_same(states(model), before)
    dy, doubles = normal(*expected.shape, seed=9), values.astype(np.float64)
    for p in layer.parameters:
        p.value = p.value.astype(np.float64)  # type: ignore[assignment]
        p.grad = None if p.grad is None else np.full(p.shape, np.nan)  # type: ignore[assignment]
    with in_float64():
        model.forward(doubles, training=True)
        dx = model.backward(dy)
        claimed = [p.gradient.copy() for p in layer.trainable_weights]
        assert_gradient(lambda z: float(np.vdot(dy, model.forward(z))), doubles, dx)
        for p, gradient in zip(layer.trainable_weights, claimed, strict=True):
            kept = p.value

            def of_parameter(z: Array, p: Any = p) -> float:
                p.value = z
                return float(np.vdot(dy, model.forward(doubles)))

            assert_gradient(of_parameter, kept, gradient)
            p.value = kept


class Halved(layers.Layer):
    """A layer of a user's that halves its input in training, unless it is to do as in inference."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.factor = 0.5 if training and not self.inference else 1.0
        return x * np.float32(self.factor)

    def backward(self, dy: Any) -> Any:
        return dy * np.float32(1.0 if self.inference else 0.5)


def test_a_layer_of_the_users_is_told() -> None:
    x, layer = Input((3,)), Halved()
    model = Model(x, [layer(x), layer(x, training=False)])
    values = normal(2, 3).astype(np.float32)
    plain, inferred = model.forward(values, training=True)
    assert_bits(plain, values / 2)
    assert_bits(inferred, values)
    assert_bits(model.backward([np.ones((2, 3)), np.ones((2, 3))]), np.full((2, 3), 1.5, np.float32))
    assert not layer.inference


def test_it_is_taken_back_after_an_error() -> None:
    class Failing(Halved):
        def forward(self, x: Any, training: bool = False) -> Any:
            if training:
                raise OverflowError
            return x

    x, layer = Input((3,)), Failing()
    model = Model(x, layer(x, training=False))
    with pytest.raises(OverflowError):
        model.forward(np.ones((1, 3)), training=True)
    assert not layer.inference


# ---------------------------------------------------------------- models


def pictures(count: int) -> tuple[Array, Array]:
    """Return images with values up to 1, and their labels."""
    x, y = images(count)
    return x.astype(np.float32) / 255, y


def base() -> Sequential:
    config.set_seed(1)
    parts = [
        layers.RandomFlip("horizontal"),
        Conv2D(4, 3, padding=1),
        BatchNormalization(momentum=0.5),
        layers.ReLU(),
        layers.SpatialDropout2D(0.5),
        layers.GlobalAveragePooling2D(),
        Dropout(0.5),
    ]
    return Sequential([Input((9, 9, 2)), *parts], name="base")


def transfer(body: Sequential, **compiled: Any) -> Model:
    x = Input((9, 9, 2))
    model = Model(x, Dense(4, activation="softmax", name="head")(body(x, training=False)))
    model.compile("adam", "sparse_categorical_crossentropy", **compiled)
    return model


@pytest.mark.parametrize("eager", [False, True])
def test_a_frozen_base_keeps_its_bits_and_its_outputs(eager: bool) -> None:
    body = base()
    body.trainable = False
    model = transfer(body, run_eagerly=eager)
    x, y = pictures(40)
    body.get_layer(index=2).moving_mean.assign(normal(4))
    weights, counters, outputs = body.get_weights(), states(body), body.predict(x, verbose=0)
    history = model.fit(x, y, 8, 15, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert_same(body.get_weights() + states(body), weights + counters)
    assert_bits(body.predict(x, verbose=0), outputs)
    head = Sequential([Input((4,)), clone_model(model).get_layer("head")])
    head.set_weights(model.get_layer("head").get_weights())
    assert_bits(head.predict(outputs, verbose=0), model.predict(x, verbose=0))


def test_a_head_learns_on_a_base_what_it_learns_on_the_bases_outputs() -> None:
    """With the base in the model or its outputs as data: the same steps."""
    body = base()
    body.trainable = False
    x, y = pictures(40)
    features = body.predict(x, verbose=0)
    model = transfer(body)
    alone = Sequential([Input((4,)), Dense(4, activation="softmax")])
    alone.set_weights(model.get_layer("head").get_weights())
    alone.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, 8, 4, shuffle=False, verbose=0)
    alone.fit(features, y, 8, 4, shuffle=False, verbose=0)
    assert_same(model.get_layer("head").get_weights(), alone.get_weights())


def test_tuning_learns_all_but_the_statistics() -> None:
    body = base()
    model = transfer(body)
    x, y = pictures(40)
    before, weights = states(body), body.get_weights()
    model.fit(x, y, 8, 2, verbose=0)
    assert_same(states(body), before)
    kinds = [p.name.rpartition("/")[2] for p in body.weights]
    changed = [kind for kind, w, v in zip(kinds, weights, body.get_weights(), strict=True) if (w != v).any()]
    assert changed == ["kernel", "bias", "gamma", "beta"]
    assert model.check_gradients(x, y).ok
    model.train_on_batch(x[:8], y[:8])
    body.compile("sgd", "mse")
    body.fit(x, np.ones((40, 4)), verbose=0)  # by itself it is trained as any other
    assert any((a != b).any() for a, b in zip(states(body), before, strict=True))


def both_ways() -> Model:
    """A model and its layers called in training and as in inference, one model inside of the other."""
    x = Input((9, 9, 2))
    body, norm = base(), BatchNormalization(momentum=0.5)
    deep = Sequential([Input((9, 9, 2)), body, Dense(4)], name="deep")
    y = layers.Concatenate()([body(x), body(x, training=False), deep(x, training=False), deep(x)])
    z = layers.add([norm(Dense(4)(y)), norm(Dense(4)(y), training=False)])
    z = layers.ReLU()(layers.add([BatchNormalization(momentum=0.5)(z, training=False), Dense(4)(y)]))
    return Model(x, Dense(4, activation="softmax")(z))


def test_replayed_and_eager_steps_and_threads_give_the_same_bits(isa: str) -> None:
    x, y = pictures(43)

    def trained(eager: bool, threads: int) -> list[Array]:
        config.set_num_threads(threads)
        config.set_seed(3)
        names.clear_names()
        model = both_ways()
        model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=eager)
        loss = model.fit(x, y, 16, 3, verbose=0).history["loss"]
        return [np.asarray(loss), *model.get_weights(), *states(model), model.predict(x, verbose=0)]

    expected = trained(False, 1)
    for eager, threads in ((True, 1), (False, 2), (True, 2)):
        assert_same(trained(eager, threads), expected)


def test_a_layer_called_both_ways_is_what_it_is_alone() -> None:
    """Dropout drops in one of its calls, counts one pass, and its gradient is that of both."""
    x, drop = Input((50,)), Dropout(0.5, seed=1)
    model = Model(x, [drop(x), drop(x, training=False)])
    values = np.ones((2, 50), np.float32)
    dropped, plain = model.forward(values, training=True)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert_bits(plain, values)
    assert int(drop.counter[0]) == 1
    assert_bits(model.backward([values, 3 * values]), dropped + 3)


def test_normalization_with_a_sum_and_a_relu() -> None:
    """One kernel makes the three; it uses the moving statistics then."""
    x = Input((4, 4, 3))
    norm = BatchNormalization(momentum=0.5)
    model = Model(x, layers.ReLU()(layers.add([norm(x, training=False), x])))
    norm.set_weights([normal(3), normal(3, seed=1), normal(3, seed=2), np.abs(normal(3, seed=3)) + 0.5])
    values, before = normal(5, 4, 4, 3).astype(np.float32), states(model)
    assert_bits(model.forward(values, training=True), model.forward(values))
    assert_same(states(model), before)
    assert not norm.inference


def test_masks_pass_and_need_no_statistics() -> None:
    """In training statistics of a masked batch are refused; those of before may be used."""
    x = Input((4, 3))
    norm = BatchNormalization()
    model = Model(x, Dense(1)(norm(layers.Masking()(x), training=False)))
    model.compile("sgd", "mse")
    values = normal(6, 4, 3).astype(np.float32)
    values[:, 2:] = 0
    first = model.evaluate(values, np.ones((6, 4, 1)), verbose=0)
    assert model.train_on_batch(values, np.ones((6, 4, 1))) == pytest.approx(first, rel=1e-6)


# ---------------------------------------------------------------- descriptions


def saved(model: Model, folder: Path) -> Any:
    model.save(folder / "m.fastnn")
    return load_model(folder / "m.fastnn")


COPIES: dict[str, Callable[[Model, Path], Any]] = {
    "saved": saved,
    "cloned": lambda model, folder: clone_model(model),
    "described": lambda model, folder: Model.from_config(model.get_config()),
    "copied": lambda model, folder: copy.deepcopy(model),
    "pickled": lambda model, folder: pickle.loads(pickle.dumps(model)),  # noqa: S301 - written a moment ago
    "inside": lambda model, folder: Model.from_config(Model(x := Input((6,)), model(x)).get_config()),
    "extracted": lambda model, folder: Model(model.inputs, model.output),
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_copies_know_it(make: Callable[[Model, Path], Any], tmp_path: Path) -> None:
    x = Input((6,))
    inner = Sequential([Input((6,)), Dropout(0.5), BatchNormalization()], name="inner")
    drop = Dropout(0.5)
    y = layers.add([inner(x, training=False), drop(x, training=False)])
    model = make(Model(x, [y, drop(x)]), tmp_path)
    values = normal(5, 6).astype(np.float32)
    inferred, plain = model.forward(values, training=True)
    assert_bits(inferred, model.forward(values)[0])
    assert (plain == 0).any()


def test_models_without_it_are_described_as_before() -> None:
    x = Input((3,))
    assert all(call.keys() == {"layer", "inputs"} for call in Model(x, Dense(2)(x)).get_config()["calls"])
    described = Model(x, Dense(2)(x, training=False)).get_config()
    assert described["calls"][1]["training"] is False
    described["calls"][1]["training"] = True
    check(lambda: Model.from_config(described), ValueError, "load_model: expected training=None or False...")


class Tuned(Model):
    """A model of a user's that says it of one layer, and hands on what it was given to another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Dropout(0.5), Dropout(0.5)

    def call(self, x: Any, training: Any = None) -> Any:
        return [self.first(x, training=False), self.second(x, training=training)]


def test_a_model_with_a_call() -> None:
    model = Tuned()
    model.build((None, 50))
    values = np.ones((2, 50), np.float32)
    first, second = model.forward(values, training=True)
    assert_bits(first, values)
    assert (second == 0).any()


def test_it_is_not_to_be_true() -> None:
    x = Input((3,))
    model = Model(x, Dense(2)(x))
    text = "...: expected training=None or False for symbolic tensors, got True; fit and train_on_batch run it in training..."
    check(lambda: Dense(2)(x, training=True), ValueError, "Dense" + text)
    check(lambda: model(x, training=True), ValueError, "Model" + text)
    check(lambda: Dense(2)(x, training="no"), TypeError, "Dense...: expected training...")  # type: ignore[arg-type]
    assert model(x, training=None).shape == (None, 2)
