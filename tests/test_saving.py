"""Files: round trips, training that goes on bit for bit, damaged and foreign files, crashes while saving."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import ObjectCase, every_optimizer
from safetensors.numpy import load_file
from tiny import Array, X, Y, assert_same, blobs, cnn, images, line, mlp, state
from tolerances import assert_bits

from fastnn import Sequential, config, layers, losses, metrics, optimizers
from fastnn.layers import Dense, Input
from fastnn.models import load_model

# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_training_goes_on_bit_for_bit(kind: str, tmp_path: Path) -> None:
    make, (x, y) = (mlp, blobs(71)) if kind == "mlp" else (cnn, images(47))
    whole = make()
    expected = whole.fit(x, y, 16, epochs=4, verbose=0).history
    part = make()
    first = part.fit(x, y, 16, epochs=2, verbose=0).history
    part.save(tmp_path / "model.fastnn")
    config.set_seed(999)  # nothing of the process is needed
    again = load_model(tmp_path / "model.fastnn")
    second = again.fit(x, y, 16, epochs=4, initial_epoch=2, verbose=0).history
    assert {name: first[name] + second[name] for name in first} == expected
    assert_same(state(again), state(whole))


@every_optimizer
def test_optimizer_state_is_kept(case: ObjectCase, tmp_path: Path) -> None:
    model = line(case.make())
    model.fit(X, Y, 4, 2, verbose=0)
    assert model.optimizer is not None
    model.optimizer.learning_rate = 0.0625
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn")
    assert type(again.optimizer) is type(model.optimizer)
    assert again.optimizer is not None
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert_same(state(again), state(model))
    for m in (model, again):
        m.fit(X, Y, 4, 2, verbose=0)
    assert_same(state(again), state(model))


def test_what_was_compiled_is_kept(tmp_path: Path) -> None:
    loss = losses.CategoricalCrossentropy(from_logits=True, reduction="sum")
    model = Sequential([Input((5,)), Dense(3)], name="mine")
    model.compile("adam", loss, metrics=["accuracy", metrics.BinaryAccuracy("half", threshold=0.25)])
    x, y = blobs(30)
    model.fit(x, np.eye(3)[y], verbose=0)
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn")
    assert again.name == "mine"
    assert again.loss is not None
    assert again.loss.get_config() == loss.get_config()
    expected = model.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True)
    assert again.evaluate(x, np.eye(3)[y], verbose=0, return_dict=True) == expected
    plain = load_model(tmp_path / "model.fastnn", compile=False)
    assert plain.optimizer is None
    assert_bits(plain.predict(x, verbose=0), model.predict(x, verbose=0))


def test_models_that_were_not_trained(tmp_path: Path) -> None:
    path = tmp_path / "model.fastnn"
    Sequential([Input((3,)), Dense(2)], name="m").save(path)
    assert load_model(path).optimizer is None
    compiled = line()
    compiled.save(path)
    assert load_model(path).fit(X, Y, verbose=0).epoch == [0]
    frozen = cnn()
    frozen.layers[0].trainable = False
    frozen.save(path)
    again = load_model(path)
    assert [layer.trainable for layer in again.layers] == [layer.trainable for layer in frozen.layers]


def test_weights_by_name(tmp_path: Path) -> None:
    path, model, other = tmp_path / "weights.safetensors", cnn(), cnn()
    for a, b in zip(other.layers, model.layers, strict=True):
        for p, q in zip(a.parameters, b.parameters, strict=True):
            p.name = q.name
            p.value += 1
    model.save_weights(path)
    other.load_weights(path)
    for w, v in zip(other.get_weights(), model.get_weights(), strict=True):
        assert_bits(w, v)
    stored = load_file(path)  # plain safetensors: other programs can read it
    assert {name.removeprefix("weights/") for name in stored} == {p.name for p in model.weights}
    model.save(path)
    other.load_weights(path)  # the weights of a whole model
    model.save_weights(path)
    with pytest.raises(ValueError, match=r"load_model: expected a file written by save, got one of kind 'weights'"):
        load_model(path)


def test_weights_of_other_layers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    Sequential([Input((3,)), Dense(2, name="a"), Dense(2, name="b")]).save_weights(path)
    model = Sequential([Input((3,)), Dense(2, name="a"), Dense(2, name="c")])
    before = model.get_weights()
    with pytest.raises(ValueError) as error:
        model.load_weights(path)
    text = str(error.value)
    assert text.startswith("load_weights: expected a file with the 4 weights of 'sequential")
    assert "2 missing ['c/kernel', 'c/bias'], 2 unknown ['b/" in text
    shaped = Sequential([Input((3,)), Dense(4, name="a"), Dense(2, name="b")])
    with pytest.raises(ValueError, match=r"Parameter 'a/kernel': expected a value of shape \(3, 4\), got \(3, 2\)"):
        shaped.load_weights(path)
    for w, v in zip(model.get_weights(), before, strict=True):
        assert_bits(w, v)


# ---------------------------------------------------------------- classes of ones own


class Scaled(layers.Layer):
    def __init__(self, factor: float = 1.0, **base: Any) -> None:
        super().__init__(**base)
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight("shift", (input_shape[-1],), "ones")

    def forward(self, x: Any, training: bool = False) -> Array:
        return np.asarray(self.factor * x + self.shift.value, np.float32)

    def backward(self, dy: Array) -> Array:
        self.shift.gradient[...] = dy.sum(0)
        return self.factor * dy

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def test_custom_objects(tmp_path: Path) -> None:
    path, model = tmp_path / "model.fastnn", Sequential([Input((3,)), Dense(2), Scaled(2.5)])
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(path)
    again = load_model(path, custom_objects={"Scaled": Scaled})
    assert_bits(again.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ValueError, match=r"pass your own class as custom_objects={'Scaled': Scaled}"):
        load_model(path)


def test_hyperparameters_are_in_two_groups() -> None:
    model = Sequential([Input((5,)), Dense(4, "relu", name="hidden"), layers.Dropout(0.25, name="drop"), Dense(3)])
    assert model.hyperparameters()["algorithm"] == {}
    model.compile(optimizers.Adam(0.125, beta_1=0.5), losses.CategoricalCrossentropy(True), metrics=["accuracy"])
    x, y = blobs(30)
    model.fit(x, np.eye(3)[y], batch_size=10, epochs=2, verbose=0)
    found = model.hyperparameters()
    assert set(found) == {"algorithm", "model"}
    algorithm = found["algorithm"]
    assert (algorithm["optimizer"]["class"], algorithm["epochs"], algorithm["steps"]) == ("Adam", 2, 3)
    assert algorithm["optimizer"]["config"]["learning_rate"] == 0.125
    assert algorithm["optimizer"]["config"]["beta_1"] == 0.5
    assert algorithm["loss"]["config"]["from_logits"] is True
    assert list(found["model"]) == [layer.name for layer in model.layers]
    assert found["model"]["hidden"]["config"]["activation"] == "relu"
    assert found["model"]["drop"]["config"]["rate"] == 0.25
    assert json.loads(json.dumps(found)) == found
