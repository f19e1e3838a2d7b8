"""Classes of the user's in files: layers, losses, metrics, optimizers, initializers, given or registered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array
from tiny import assert_same, state
from tolerances import assert_bits

import fastnn
from fastnn import Model, Sequential, custom, initializers, layers, losses, metrics, optimizers
from fastnn.layers import Dense, Input
from fastnn.models import load_model, model_from_json
from fastnn.utils import custom_object_scope, get_custom_objects, register_keras_serializable

X = np.random.default_rng(0).random((20, 3), np.float32)
Y = X[:, :2] * 2


@pytest.fixture(autouse=True)
def _nothing_registered() -> Iterator[None]:
    before = dict(custom._registered)
    yield
    custom._registered.clear()
    custom._registered.update(before)


class Doubled(layers.Layer):
    def forward(self, x: Any, training: bool = False) -> Array:
        return np.float32(2) * x

    def backward(self, dy: Array) -> Array:
        return np.float32(2) * dy


class Cubic(losses.Loss):
    def __init__(self, factor: float = 1.0, **base: Any) -> None:
        super().__init__(**base)
        self.factor = factor

    def evaluate(self, y_true: Any, y_pred: Any, weights: Any, scale: float, need_gradient: bool = True) -> Any:
        error = y_pred - y_true
        each = self.factor * (np.abs(error) ** 3).mean(-1)
        return each.astype(np.float32), (3 * self.factor * scale * error * np.abs(error) / 2).astype(np.float32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


class Largest(metrics.Metric):
    def update_state(self, y_true: Any, y_pred: Any) -> None:
        self.state[:] = max(self.state[0], float(np.abs(y_pred - y_true).max())), 1


class Sign(optimizers.Optimizer):
    def slot_values(self) -> dict[str, float]:
        return {"last": 0.0}

    def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
        slots["last"][...] = np.sign(g)
        w -= self.learning_rate * slots["last"]


class Fifth(initializers.Initializer):
    def __call__(self, shape: Any, dtype: Any = None) -> Array:
        return np.full(shape, 0.2, np.float32)


OWN: dict[str, Any] = {cls.__name__: cls for cls in (Doubled, Cubic, Largest, Sign, Fifth)}


def model_of_own_parts() -> Sequential:
    model = Sequential([Input((3,)), Dense(2, kernel_initializer=Fifth(), name="d"), Doubled(name="twice")])
    model.compile(Sign(0.01), Cubic(0.5), metrics=[Largest("largest"), "mae"])
    return model


def test_all_kinds_of_parts_go_on_training(tmp_path: Path) -> None:
    path, model = tmp_path / "m.fastnn", model_of_own_parts()
    first = model.fit(X, Y, 5, 2, verbose=0).history
    model.save(path)
    again = load_model(path, custom_objects=OWN)
    assert (type(again.optimizer), type(again.loss), type(again.metrics[0])) == (Sign, Cubic, Largest)
    assert isinstance(again.loss, Cubic)
    assert again.loss.factor == 0.5
    assert_same(state(again), state(model))
    for m in (model, again):
        m.fit(X, Y, 5, epochs=4, initial_epoch=2, verbose=0)
    assert_same(state(again), state(model))
    assert first["loss"][0] > again.history.history["loss"][-1]  # type: ignore[union-attr]


@pytest.mark.parametrize("missing", OWN)
def test_what_is_missing_is_named(missing: str, tmp_path: Path) -> None:
    path, model = tmp_path / "m.fastnn", model_of_own_parts()
    model.fit(X, Y, verbose=0)
    model.save(path)
    some = {name: cls for name, cls in OWN.items() if name != missing}
    with pytest.raises(ValueError, match=f"got '{missing}'"):
        load_model(path, custom_objects=some)
    if missing in ("Cubic", "Largest", "Sign"):
        with pytest.raises(ValueError, match=rf"custom_objects={{'{missing}': {missing}}}, or compile=False"):
            load_model(path, custom_objects=some)
        assert load_model(path, custom_objects=some, compile=False).optimizer is None
    with pytest.raises(TypeError, match="custom_objects: expected a dict of classes by name"):
        load_model(path, custom_objects=[Doubled])  # type: ignore[arg-type]


def test_a_scope_ends() -> None:
    text = model_of_own_parts().to_json()
    with custom_object_scope({"Doubled": Doubled}), custom_object_scope({"Fifth": Fifth}):
        assert model_from_json(text).get_weights()[0][0, 0] == np.float32(0.2)
        assert set(get_custom_objects()) >= {"Doubled", "Fifth"}
    assert "Fifth" not in get_custom_objects()
    with pytest.raises(ValueError, match="expected"):
        model_from_json(text)
    assert model_from_json(text, custom_objects=OWN).count_params() == 8


def test_registered_classes(tmp_path: Path) -> None:
    for cls in OWN.values():
        assert register_keras_serializable("mine")(cls) is cls
    path, model = tmp_path / "m.fastnn", model_of_own_parts()
    model.fit(X, Y, verbose=0)
    model.save(path)
    again = load_model(path)
    assert_bits(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert type(again.layers[1]) is Doubled
    assert "mine>Doubled" in model.to_json()
    register_keras_serializable("mine")(Doubled)  # the same again
    with pytest.raises(ValueError, match="expected a name that is not taken, got 'mine>Doubled'"):
        register_keras_serializable("mine", name="Doubled")(Cubic)


def test_descriptions_that_are_no_plain_data(tmp_path: Path) -> None:
    class Odd(Doubled):
        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "function": print}

    model = Sequential([Input((3,)), Odd()])
    for use in (lambda: model.save(tmp_path / "m.fastnn"), model.to_json):
        with pytest.raises(TypeError, match="described by plain data, got Object of type builtin_function_or_method"):
            use()
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- subclasses of models


class Residual(Model):
    """A model whose graph is what its call does."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.hidden = Dense(units, "relu")
        self.back = Dense(3)
        self.out = Dense(2)
        self.calls = 0

    def call(self, inputs: Any) -> Any:
        self.calls += 1
        h = self.back(self.hidden(inputs))
        return self.out((h + inputs) * h - inputs)


def by_hand(model: Residual, x: Array) -> Array:
    h = model.back(model.hidden(x))
    return np.asarray(model.out((h + x) * h - x))


def test_a_model_with_a_call() -> None:
    model = Residual()
    assert not model.built
    assert model.name.startswith("residual")
    model.compile("adam", "mse")
    history = model.fit(X, Y, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert model.calls == 1, "the graph is made once"
    assert_bits(np.asarray(model(X)), by_hand(model, X))
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert "multiply" in lines[0]
    assert f"Total params: {(3 + 1) * 4 + (4 + 1) * 3 + (3 + 1) * 2}" in lines[0]


def test_ways_to_build_one() -> None:
    built = Residual()
    built.build((None, 3))
    assert built.count_params() == 39
    called = Residual()
    called(X)
    inside = Residual()
    outer = Sequential([Input((3,)), inside, Dense(1)])
    assert inside.built
    assert outer.predict(X, verbose=0).shape == (20, 1)
    with pytest.raises(ValueError, match="expected a built model"):
        Residual().summary()
    with pytest.raises(TypeError, match="input_shape of a batch as a tuple"):
        Residual().build(3)
    with pytest.raises(ValueError, match=r"Add 'add.*': expected inputs of the same shape"):
        Residual()(np.ones((2, 3, 4, 5)))(X)

    class Two(Model):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = Dense(2, name="left"), Dense(3, name="right")

        def call(self, inputs: Any) -> Any:
            return [self.left(inputs["a"]), self.right(inputs["b"])]

    two = Two()
    two.build({"a": (None, 3), "b": (None, 4)})
    two.compile("sgd", ["mse", "mae"])
    two.fit({"a": X, "b": np.ones((20, 4))}, [Y, np.ones((20, 3))], verbose=0)
    with pytest.raises(ValueError, match="expected an array for a model that is not built, got a dict; several inputs"):
        Two().predict({"a": X, "b": X}, verbose=0)

    class Listed(Sequential):
        def call(self, inputs: Any) -> Any:
            return inputs

    with pytest.raises(TypeError, match=r"got a class with a call; derive it from fastnn.Model"):
        Listed([Dense(2)])
    late = Two()
    late.compile("sgd", "mse")
    with pytest.raises(ValueError, match="losses of 2 outputs, got 1; give build the inputs' shapes before compile"):
        late.build({"a": (None, 3), "b": (None, 4)})


def test_a_model_with_a_call_in_a_file(tmp_path: Path) -> None:
    """It is written as its graph; with a get_config of its own as its class."""
    path, model = tmp_path / "m.fastnn", Residual()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.save(path)
    again = load_model(path)
    assert type(again) is Model
    assert_bits(again.predict(X, verbose=0), model.predict(X, verbose=0))
    for m in (model, again):
        m.fit(X, Y, verbose=0)
    assert_bits(again.predict(X, verbose=0), model.predict(X, verbose=0))

    class Described(Residual):
        def get_config(self) -> dict[str, Any]:
            return {"units": self.hidden.units}

    own = Described(7)
    own.compile("adam", "mse")
    own.fit(X, Y, verbose=0)
    own.save(path)
    with pytest.raises(
        ValueError, match=r"got 'Described'; pass your own class as custom_objects={'Described': Described}"
    ):
        load_model(path)
    read = load_model(path, custom_objects={"Described": Described})
    assert isinstance(read, Described)
    assert read.hidden.units == 7
    outer = Sequential([Input((3,)), own, Dense(1)])
    outer.save(path)
    inside = load_model(path, custom_objects={"Described": Described})
    assert_bits(inside.predict(X, verbose=0), outer.predict(X, verbose=0))


def test_values_cannot_be_looked_at() -> None:
    class Deciding(Model):
        def call(self, inputs: Any) -> Any:
            return inputs if inputs else inputs + inputs

    class Computing(Model):
        def call(self, inputs: Any) -> Any:
            return np.exp(inputs)

    class Scaling(Model):
        def call(self, inputs: Any) -> Any:
            return inputs**2.0

    for cls in (Deciding, Computing, Scaling):
        with pytest.raises(TypeError):
            cls()(X)
    with pytest.raises(TypeError, match="expected an array of numbers, got a symbolic tensor, which has none yet"):
        Deciding()(X)
    with pytest.raises(TypeError, match="a subclass may write call"):
        fastnn.Model()


@pytest.mark.parametrize(
    ("module", "base"),
    [(losses, losses.MeanSquaredError), (metrics, metrics.Mean), (optimizers, optimizers.SGD)],
    ids=["losses", "metrics", "optimizers"],
)
def test_a_scope_gives_classes_to_every_family(module: Any, base: type) -> None:
    mine = type("Mine", (base,), {})
    with pytest.raises(ValueError, match=r"Mine|mine"):
        module.deserialize({"class_name": "Mine", "config": {}})
    with custom_object_scope({"Mine": mine}):
        assert type(module.deserialize({"class_name": "Mine", "config": {}})) is mine
        assert type(module.deserialize("Mine")) is mine
    assert type(module.deserialize({"class_name": "Mine", "config": {}}, {"Mine": mine})) is mine
