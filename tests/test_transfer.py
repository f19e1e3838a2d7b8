"""Models inside of models, parts of models, frozen layers: what is shared, what learns, what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits

from fastnn import Model, Sequential, config, layers
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input
from fastnn.models import clone_model, load_model

X = normal(24, 6, 5, 2).astype(np.float32)
Y = np.arange(24) % 3


def base() -> Sequential:
    """Return the lower layers of an image classifier."""
    config.set_seed(1)
    parts = [
        Conv2D(4, 3, activation="relu", name="conv"),
        BatchNormalization(name="norm", momentum=0.5),
        Flatten(name="flat"),
    ]
    return Sequential([Input((6, 5, 2)), *parts], name="base")


def classifier(body: Sequential, functional: bool) -> Model:
    head = [Dense(8, "relu", name="hidden"), Dropout(0.2, seed=1, name="drop"), Dense(3, "softmax", name="out")]
    if not functional:
        return Sequential([Input((6, 5, 2)), body, *head])
    x = Input((6, 5, 2))
    y = body(x)
    for layer in head:
        y = layer(y)
    return Model(x, y)


def bits(model: Any) -> dict[str, Array]:
    return {p.name: p.numpy() for p in model.weights}


def changed(model: Any, before: dict[str, Array]) -> set[str]:
    """Return the names of the layers of which a bit changed."""
    return {p.name.split("/")[0] for p in model.weights if p.value.tobytes() != before[p.name].tobytes()}


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_a_frozen_model_inside_keeps_its_bits(functional: bool, run_eagerly: bool) -> None:
    """Its normalization uses the moving statistics, as outside training; thawed, everything learns again."""
    body = base()
    body.trainable = False
    assert not any(layer.trainable for layer in body.layers)
    model = classifier(body, functional)
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=run_eagerly)
    assert [p.name for p in model.trainable_weights] == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    before = bits(model)
    model.fit(X, Y, 8, 2, verbose=0)
    assert changed(model, before) == {"hidden", "out"}
    assert_bits(body(X, training=True), body(X))
    body.trainable = True  # also without compile: it holds from the next step on
    model.fit(X, Y, 8, 1, verbose=0)
    assert changed(model, before) == {"conv", "norm", "hidden", "out"}
    body.trainable = False
    before = bits(model)
    model.fit(X, Y, 8, 1, verbose=0)
    assert changed(model, before) == {"hidden", "out"}
    model.trainable = False
    before = bits(model)
    model.fit(X, Y, 8, 1, verbose=0)
    assert changed(model, before) == set()


def test_lower_layers_into_a_new_model() -> None:
    """The first k layers are frozen and shared, the head is new; then all of it is tuned."""
    old = classifier(base(), functional=False)
    old.compile("sgd", "sparse_categorical_crossentropy")
    old.fit(X, Y, 8, 1, verbose=0)
    lower = Sequential([Input((6, 5, 2)), *old.layers[0].layers, old.get_layer("hidden")], name="lower")
    for layer in lower.layers:
        layer.trainable = False
    new = Sequential([Input((6, 5, 2)), lower, Dense(2, "softmax", name="new")])
    new.compile("adam", "sparse_categorical_crossentropy")
    before, expected = bits(lower), old.predict(X, verbose=0)
    new.fit(X, Y % 2, 8, 3, verbose=0)
    assert changed(lower, before) == set()
    assert_bits(old.predict(X, verbose=0), expected)
    lower.trainable = True
    new.compile("sgd", "sparse_categorical_crossentropy")
    new.fit(X, Y % 2, 8, 1, verbose=0)
    assert changed(lower, before) == {"conv", "norm", "hidden"}
    assert (old.predict(X, verbose=0) != expected).any(), "the old model has the same layers"


def test_layers_copied_by_weights_into_a_new_model() -> None:
    old = classifier(base(), functional=True)
    new = clone_model(old)
    for layer, source in zip(new.layers[:-1], old.layers[:-1], strict=True):
        layer.set_weights(source.get_weights())
    features = [Model(m.inputs, m.get_layer("hidden").output) for m in (old, new)]
    assert_bits(features[0].predict(X, verbose=0), features[1].predict(X, verbose=0))


@pytest.mark.parametrize("functional", [False, True])
def test_a_part_of_a_model_extracts_features(functional: bool) -> None:
    """It has the weights of the model itself: no copy, before and after training."""
    model = classifier(base(), functional)
    model.compile("adam", "sparse_categorical_crossentropy")
    part = Model(model.inputs, model.get_layer("hidden").output)
    both = Model(model.inputs, {"hidden": model.get_layer("hidden").output, "out": model.output})
    for _ in range(2):
        hidden = part.predict(X, verbose=0)
        assert hidden.shape == (24, 8)
        found = both.predict(X, verbose=0)
        assert_bits(found["hidden"], hidden)
        assert_bits(found["out"], model.predict(X, verbose=0))
        assert_bits(found["out"], np.asarray(model.get_layer("out")(hidden)))
        model.fit(X, Y, 8, 1, verbose=0)
    assert (part.predict(X, verbose=0) != hidden).any()


def test_features_go_into_a_classifier_of_another_package() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    model = classifier(base(), functional=False)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, 8, 30, verbose=0)
    features = Model(model.inputs, model.get_layer("hidden").output).predict(X, verbose=0)
    fitted = linear_model.LogisticRegression(C=100.0, max_iter=2000).fit(features, Y)
    assert fitted.score(features, Y) > 0.8


def test_weights_shared_between_models_are_saved_once_and_shared_again(tmp_path: Path) -> None:
    body = Sequential([Input((4,)), Dense(3, "tanh", name="inner")], name="tower")
    a, b = Input((4,), name="a"), Input((4,), name="b")
    deep = Sequential([Input((4,)), body, Dense(3, name="after")], name="deep")
    model = Model([a, b], layers.Subtract(name="difference")([body(a), deep(b)]))
    model.compile("sgd", "mse")
    x = [normal(10, 4), normal(10, 4, seed=1)]
    model.fit(x, np.ones((10, 3)), verbose=0)
    assert [p.name for p in model.weights] == ["inner/kernel", "inner/bias", "after/kernel", "after/bias"]
    model.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    assert again.get_layer("tower") is again.get_layer("deep").layers[0]
    for m in (model, again):
        m.fit(x, np.ones((10, 3)), epochs=2, verbose=0)
    for w, v in zip(model.get_weights(), again.get_weights(), strict=True):
        assert_bits(w, v)
