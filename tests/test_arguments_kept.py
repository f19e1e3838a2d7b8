"""No argument is taken and dropped: what a constructor is given is in the object, in its parameters and in its configuration."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from cases import INITIALIZERS, LAYERS, LOSSES, METRICS, OPTIMIZERS, LayerCase
from gradcheck import normal

from fastnn import Sequential, callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers

FIRST_CASES = {case.cls: case for case in reversed(LAYERS)}
WITH_WEIGHTS = [case for case in FIRST_CASES.values() if getattr(layers, case.cls).weight_names]


def penalized(case: LayerCase) -> layers.Layer:
    """Return the layer of a case whose every weight, and whose output, has a penalty of its own and a constraint."""
    given: dict[str, Any] = {"activity_regularizer": regularizers.L1(0.25)}
    for i, weight in enumerate(getattr(layers, case.cls).weight_names):
        given[f"{weight}_regularizer"] = regularizers.L2(0.5 + i)
        given[f"{weight}_constraint"] = constraints.NonNeg()
    layer: layers.Layer = getattr(layers, case.cls)(**{**case.arguments, **given})
    return layer


@pytest.mark.parametrize("case", WITH_WEIGHTS, ids=str)
def test_every_weight_is_penalized_and_constrained(case: LayerCase) -> None:
    layer = penalized(case)
    x = normal(4, *case.shape).astype(np.float32) if case.cls != "Embedding" else np.arange(8).reshape(2, 4) % 3
    model = Sequential([layer])
    model.compile(optimizers.SGD(1e-3), "mse")
    y = model(x)
    learned = [p for p in layer.weights if p.learns]
    values = [normal(*p.shape, seed=i).astype(np.float32) for i, p in enumerate(learned)]
    for p, value in zip(learned, values):
        p.assign(value)
    expected = 0.0
    for p, value in zip(learned, values):
        name = p.name.rpartition("/")[2].replace("_kernel", "").replace("kernel", layer.weight_names[0])
        expected += (0.5 + layer.weight_names.index(name)) * float((value.astype(np.float64) ** 2).sum())
    y = model(x)
    activity = 0.25 * float(np.abs(y, dtype=np.float64).sum()) / len(x)
    assert sum(model.losses) == pytest.approx(expected + activity, rel=1e-5)
    assert any((value < 0).any() for value in values)
    model.train_on_batch(x, np.zeros_like(y))
    assert all((p.value >= 0).all() for p in learned)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert {f"{w}_constraint" for w in layer.weight_names} <= layer.get_config().keys()


NOT_DATA = {  # arguments that a configuration does not repeat, and why
    ("Embedding", "weights"): "initial values: the file has those of now",
    ("Normalization", "mean"): "a statistic, which is a weight once there",
    ("Normalization", "variance"): "a statistic, which is a weight once there",
    ("BatchNormalization", "synchronized"): "without effect",
}


def constructor_arguments(cls: type) -> set[str]:
    """Return the names of the arguments that a class spells out."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def config_of(module: Any, cls: str, arguments: dict[str, Any]) -> dict[str, Any]:
    made = getattr(module, cls)(**arguments)
    return dict(made.get_config())


EVERY = [
    *((layers, case.cls, case.arguments) for case in LAYERS),
    *((losses, case.cls, case.arguments) for case in LOSSES),
    *((module, case.cls, case.arguments) for module, cases in
      ((optimizers, OPTIMIZERS), (metrics, METRICS), (initializers, INITIALIZERS)) for case in cases),
]  # fmt: skip


@pytest.mark.parametrize(("module", "cls", "arguments"), EVERY, ids=lambda v: v if isinstance(v, str) else "")
def test_every_argument_is_in_the_configuration(module: Any, cls: str, arguments: dict[str, Any]) -> None:
    config = config_of(module, cls, arguments)
    known = {"dtype", *(name for owner, name in NOT_DATA if owner == cls)}  # there is one dtype
    ending = ("_regularizer", "_constraint", "_axes")  # written only where there is one
    expected = {a for a in constructor_arguments(getattr(module, cls)) if not a.endswith(ending)}
    assert expected - known - config.keys() == set()
    assert set(arguments) - known - config.keys() == set()
    made = getattr(module, cls).from_config(config)
    assert made.get_config() == config


@pytest.mark.parametrize(
    ("module", "cls", "given"),
    [(losses, "Huber", {"delta": 0.5}), (metrics, "BinaryAccuracy", {"threshold": 0.25}), (optimizers, "SGD", {"momentum": 0.5})],
)  # fmt: skip
def test_every_way_to_name_an_object(module: Any, cls: str, given: dict[str, Any]) -> None:
    """An object, its name, plain data with either spelling of the class's key; classes of one's own."""
    original = getattr(module, cls)
    made, argument = original(**given), next(iter(given))
    assert module.get(made) is made
    for what in (cls,) if module is optimizers else (cls, original):
        assert type(module.get(what)) is original
    for data in (module.serialize(made), {"class_name": cls, "config": given}):
        for again in (module.get(data), module.deserialize(data)):
            assert type(again) is original
            assert getattr(again, argument) == given[argument]
    own = type("Own", (original,), {})
    assert type(module.deserialize({"class_name": "Own", "config": given}, custom_objects={"Own": own})) is own
    assert type(module.deserialize("Own", {"Own": own})) is own
    for wrong in ({"config": {}}, {"class_name": cls, "config": 3}, 3):
        with pytest.raises(TypeError, match=rf"{module.__name__.rpartition('.')[2]}.deserialize: expected"):
            module.deserialize(wrong)


def test_compile_in_the_order_of_keras() -> None:
    """Optimizer, loss, weights of losses, metrics: as Keras 3 has them; a metric in the wrong place is told where it goes."""
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile("sgd", "mse", [0.5], ["mae"])
    assert [metric.name for metric in model.metrics] == ["mae"]
    x, y = normal(4, 3), normal(4, 2, seed=1)
    loss, _ = model.test_on_batch(x, y)
    assert loss == pytest.approx(0.5 * float(((model(x) - y) ** 2).mean()), rel=1e-5)
    with pytest.raises(
        TypeError, match=r"compile: expected loss_weights to be numbers, got \['mae'\]; metrics are given"
    ):
        model.compile("sgd", "mse", ["mae"])


def test_inputs_by_the_shape_of_a_batch() -> None:
    given = layers.Input(batch_shape=(None, 3, 2), name="x")
    assert given.shape == (None, 3, 2)
    layer = layers.InputLayer(batch_shape=(8, 5), dtype="int32")
    assert (layer.batch_size, layer.sample_shape) == (8, (None, 5))
    again = layers.InputLayer.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    for arguments in ({"shape": (3,), "batch_shape": (None, 3)}, {"batch_size": 2, "batch_shape": (2, 3)}):
        with pytest.raises(ValueError, match="Input: expected shape and batch_size, or batch_shape, got both"):
            layers.Input(**arguments)
    for batch_shape in (3, ()):
        with pytest.raises(TypeError, match="Input: expected batch_shape as a tuple that begins with the batch size"):
            layers.Input(batch_shape=batch_shape)
    with pytest.raises(TypeError, match="Input: expected shape to be a tuple"):
        layers.Input()


def test_termination_by_an_error() -> None:
    model = Sequential([layers.Input((3,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    x, y, ends = np.full((4, 3), 1e30, np.float32), np.zeros((4, 2)), []
    end = callbacks.LambdaCallback(on_train_end=lambda logs: ends.append(1))
    with pytest.raises(RuntimeError, match="TerminateOnNaN: expected a finite loss, got inf"):
        model.fit(x, y, callbacks=[callbacks.TerminateOnNaN(raise_error=True), end], verbose=0)
    assert not ends
