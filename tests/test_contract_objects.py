"""What holds for every loss, optimizer, metric and initializer, and for the documentation of all public classes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import (
    INITIALIZERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    Array,
    LossCase,
    ObjectCase,
    every_initializer,
    every_loss,
    every_metric,
    every_optimizer,
    in_float64,
    public_classes,
)
from gradcheck import assert_gradient, normal
from tolerances import GRADIENT, assert_bits, assert_close

from fastnn import Sequential, config, initializers, layers, losses, metrics, optimizers
from fastnn.models import load_model
from fastnn.names import snake_case
from fastnn.parameter import Parameter, ParameterStore

PUBLIC = {
    layers: layers.Layer,
    losses: losses.Loss,
    metrics: metrics.Metric,
    optimizers: optimizers.Optimizer,
    initializers: initializers.Initializer,
}
CLASSES = [getattr(module, name) for module, base in PUBLIC.items() for name in [*public_classes(module, base)]]


@pytest.mark.parametrize(
    ("module", "cases"),
    [(losses, LOSSES), (metrics, METRICS), (optimizers, OPTIMIZERS), (initializers, INITIALIZERS)],
    ids=["losses", "metrics", "optimizers", "initializers"],
)
def test_every_public_class_has_a_case(module: Any, cases: list[Any]) -> None:
    # Code of the user's and an array: in test_metrics.py; what does no step by itself: in test_lbfgs.py.
    elsewhere = {"MeanMetricWrapper", "ConfusionMatrix", "LBFGS"}
    assert sorted({*public_classes(module, PUBLIC[module])} - elsewhere) == sorted({case.cls for case in cases})


@pytest.mark.parametrize("cls", [*CLASSES, *PUBLIC.values()], ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_documentation(cls: type) -> None:
    text = inspect.getdoc(cls) or ""
    assert ">>> " in (cls.__doc__ or ""), "no example"
    arguments = [
        p for p in inspect.signature(cls).parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    inherited = {"name", "trainable", "dtype", "input_shape"}  # described by the base classes
    for p in arguments:
        assert p.name in text or p.name in inherited, f"argument {p.name} is not described"
    for name, value in vars(cls).items():
        if callable(value) and not name.startswith("_") and not isinstance(value, type):
            assert inspect.getdoc(getattr(cls, name)), f"{name} has no docstring"


@pytest.mark.parametrize("module", [*PUBLIC, config])
def test_public_functions_have_docstrings(module: Any) -> None:
    for name, value in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("_") and value.__module__.startswith(module.__name__):
            assert inspect.getdoc(value), name


# ---------------------------------------------------------------- losses


def parts(case: LossCase, y_pred: Array, reduction: str = "sum_over_batch_size") -> tuple[Array, Array]:
    loss = case.make(reduction=reduction)
    value = loss.forward(case.y_true(), y_pred)
    return np.asarray(value), loss.backward()


@every_loss
def test_loss_gradient_is_the_slope(case: LossCase) -> None:
    y_pred = case.y_pred().astype(np.float64)
    with in_float64():
        for reduction in ("sum_over_batch_size", "sum"):
            _, slope = parts(case, y_pred, reduction)

            def value(z: Array, reduction: str = reduction) -> float:
                each = case.make(reduction="none")(case.y_true(), z)
                return float(each.sum() / (case.counted() if reduction == "sum_over_batch_size" else 1))

            assert_gradient(value, y_pred, slope)


@every_loss
def test_loss_of_kernels_and_twin_agree(isa: str, case: LossCase) -> None:
    y_pred = case.y_pred()
    value, slope = parts(case, y_pred)
    with in_float64():
        exact, exact_slope = parts(case, y_pred.astype(np.float64))
    assert value.dtype == slope.dtype == np.float32
    assert_close(value, exact, GRADIENT * abs(exact))
    assert_close(slope, exact_slope, GRADIENT * float(np.linalg.norm(exact_slope)))
    config.set_backend("numpy")
    assert_close(parts(case, y_pred)[0], exact, GRADIENT * abs(exact))


@every_loss
def test_loss_reductions_and_weights(case: LossCase) -> None:
    y_true, y_pred, n = case.y_true(), case.y_pred(), case.shape[0]
    each = case.make(reduction="none")(y_true, y_pred)
    assert each.shape == case.make().losses_shape(case.shape)
    assert float(case.make()(y_true, y_pred)) == pytest.approx(each.sum(dtype=np.float64) / case.counted(), rel=1e-6)
    assert float(case.make(reduction="sum")(y_true, y_pred)) == pytest.approx(each.sum(dtype=np.float64), rel=1e-6)
    assert float(case.make().forward(y_true, y_pred)) == float(case.make()(y_true, y_pred))
    weights = np.arange(n) + 0.5
    weighted = weights.reshape(-1, *(1 for _ in each.shape[1:])) * each
    for given in (weights, weights[:, None], weights.tolist()):
        assert float(case.make()(y_true, y_pred, given)) == pytest.approx(weighted.sum() / case.counted(), rel=1e-6)
    loss = case.make()
    loss.forward(y_true, y_pred, weights)
    slope = parts(case, y_pred)[1] * weights.reshape(-1, *(1 for _ in case.shape[1:]))
    np.testing.assert_allclose(loss.backward(), slope, rtol=1e-5, atol=1e-8)


@every_loss
def test_loss_input_kinds(case: LossCase) -> None:
    y_true, y_pred = case.y_true(), case.y_pred()
    y_true.flags.writeable = y_pred.flags.writeable = False
    copies = y_true.copy(), y_pred.copy()
    expected = parts(case, y_pred)
    for kind in (
        np.asfortranarray,
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.repeat(a, 2, -1)[..., ::2],
    ):
        loss = case.make()
        assert loss.forward(kind(y_true), kind(y_pred)) == expected[0]
        assert_bits(loss.backward(), expected[1])
    assert case.make()(y_true.tolist(), y_pred.tolist()) == expected[0]
    assert case.make()(y_true.astype(np.float64), y_pred.astype(np.float64)) == expected[0]
    assert_bits(y_true, copies[0])
    assert_bits(y_pred, copies[1])
    with pytest.raises(TypeError, match=f"{case.cls}: expected y_pred of a real dtype .* got dtype complex64"):
        case.make()(y_true, y_pred.astype(np.complex64))
    with pytest.raises(TypeError, match=f"{case.cls}: expected y_true of a real dtype .* got dtype .*U"):
        case.make()(y_true.astype(str), y_pred)


@every_loss
def test_loss_refuses_what_does_not_fit(case: LossCase) -> None:
    y_true, y_pred, loss = case.y_true(), case.y_pred(), case.make()
    with pytest.raises(ValueError, match=rf"{case.cls}: expected forward\(y_true, y_pred\) before backward"):
        loss.backward()
    with pytest.raises(ValueError, match=f"{case.cls}: expected y_true and y_pred of the same length"):
        loss(y_true[:-1], y_pred)
    with pytest.raises(ValueError, match=f"{case.cls}: expected y_pred of at least one sample"):
        loss(y_true[:0], y_pred[:0])
    with pytest.raises(ValueError, match=f"{case.cls}: expected .* of shape"):
        loss(np.zeros((*case.shape, 2)), y_pred)
    with pytest.raises(ValueError, match=r"expected sample_weight of shape \(\d,\), got \(3, 2\)"):
        loss(y_true, y_pred, np.ones((3, 2)))
    nan = y_true.astype(np.float32)
    nan.flat[1] = np.nan
    with pytest.raises(ValueError, match=f"{case.cls}: expected .* without NaN, got 1 NaN"):
        loss(nan, y_pred)
    with pytest.raises(ValueError, match=r"expected reduction to be one of .* got 'summ'; did you mean 'sum'"):
        case.make(reduction="summ")


@every_loss
def test_loss_configuration_and_names(case: LossCase) -> None:
    loss = case.make(reduction="sum", name="mine")
    again = losses.deserialize(json.loads(json.dumps(losses.serialize(loss))))
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()
    assert again.name == "mine"
    assert again(case.y_true(), case.y_pred()) == loss(case.y_true(), case.y_pred())
    for name in (case.cls, snake_case(case.cls)):
        assert type(losses.get(name)) is type(loss)
    assert losses.get(loss) is loss
    function = getattr(losses, snake_case(case.cls))
    each = case.make(reduction="none")(case.y_true(), case.y_pred())
    assert_bits(function(case.y_true(), case.y_pred(), **case.arguments), each)


FUSED = [case for case in LOSSES if case.make().fuses and "from_logits" not in case.arguments]


@pytest.mark.parametrize("case", FUSED, ids=str)
def test_loss_that_takes_over_the_activation(isa: str, case: LossCase) -> None:
    loss, logits = case.make(), normal(*case.shape, seed=5).astype(np.float32)
    activation = layers.Activation(loss.fuses)
    probabilities = activation.forward(logits, training=True)
    truth = loss.prepare(case.y_true(), (None, *case.shape[1:]))
    fused, each, slope = loss.evaluate_fused(truth, logits, None, 0.25)
    assert_close(fused, probabilities, 1e-6)
    by_hand, outer = loss.evaluate(truth, probabilities, None, 0.25)
    np.testing.assert_allclose(each, by_hand, rtol=1e-5)
    assert outer is not None
    assert slope is not None
    np.testing.assert_allclose(slope, activation.backward(outer), rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- optimizers


def small_store() -> ParameterStore:
    shapes = {"a/kernel": (3, 5), "a/bias": (5,), "b/kernel": (5, 2)}
    return ParameterStore([Parameter(n, normal(*s, seed=1).astype(np.float32)) for n, s in shapes.items()])


def steps(case: ObjectCase, count: int = 5) -> list[Array]:
    """Return the parameters after some steps with other gradients each."""
    store, optimizer = small_store(), case.make()
    optimizer.build(store)
    for t in range(count):
        for p in store.parameters:
            p.gradient[...] = normal(*p.shape, seed=50 + t)
        optimizer.step()
    assert optimizer.iterations[0] == count
    return [p.numpy() for p in store.parameters]


@every_optimizer
def test_optimizer_of_kernels_and_twin_agree(isa: str, case: ObjectCase) -> None:
    start, native = [p.numpy() for p in small_store().parameters], steps(case)
    config.set_backend("numpy")
    for got, expected, before in zip(native, steps(case), start, strict=True):
        assert_close(got, expected, 1e-5 * float(np.abs(expected).max()))
        assert np.linalg.norm(got - before) > 0.01


@every_optimizer
def test_optimizer_configuration_and_names(case: ObjectCase) -> None:
    optimizer = case.make()
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert type(again) is type(optimizer)
    assert again.get_config() == optimizer.get_config()
    settings = optimizer.get_config()
    for name, value in case.arguments.items():
        approximate = pytest.approx(value, rel=1e-6) if isinstance(value, float) else value
        assert settings[name] == approximate  # the learning rate is a float32
    other = ObjectCase(optimizers, case.cls, settings)
    for got, expected in zip(steps(other), steps(case), strict=True):
        assert_bits(got, expected)
    for name in (case.cls, case.cls.lower()):
        assert type(optimizers.get(name)) is type(optimizer)
    assert optimizers.get(optimizer) is optimizer
    assert repr(optimizer).startswith(f"{case.cls}(learning_rate=0.")


@every_optimizer
def test_optimizer_refuses_what_does_not_fit(case: ObjectCase) -> None:
    cls = type(case.make())
    with pytest.raises(
        TypeError, match=rf"{case.cls}: expected only known arguments, got 'learning_rat'; did you mean"
    ):
        cls(**{**case.arguments, "learning_rat": 0.1})
    with pytest.raises(ValueError, match=f"{case.cls}: expected learning_rate to be a finite number >= 0, got -1"):
        cls(learning_rate=-1)
    with pytest.raises(ValueError, match=f"{case.cls}: expected learning_rate to be a finite number >= 0, got nan"):
        cls(learning_rate=float("nan"))
    with pytest.raises(TypeError, match=f"{case.cls}: expected learning_rate to be a finite number >= 0, got '0.1'"):
        cls(learning_rate="0.1")
    with pytest.raises(ValueError, match=f"{case.cls}: expected build"):
        cls().step()
    optimizer = case.make()
    optimizer.learning_rate = 0.5
    with pytest.raises(ValueError, match="learning_rate"):
        optimizer.learning_rate = float("inf")
    assert optimizer.learning_rate == 0.5


@every_optimizer
def test_optimizer_leaves_what_is_not_active_alone(isa: str, case: ObjectCase) -> None:
    store, optimizer = small_store(), case.make()
    optimizer.build(store)
    store.grads[...] = 1
    before = [p.numpy() for p in store.parameters]
    optimizer.step(lambda p: p.name != "a/bias")
    for p, old in zip(store.parameters, before, strict=True):
        assert np.array_equal(p.value, old) == (p.name == "a/bias")
    start, stop = store.offsets[1], store.offsets[2]
    for name, slot in optimizer.slots.items():
        assert slot.size != store.size or (slot[start:stop] == optimizer.slot_values()[name]).all()


@pytest.mark.parametrize(
    "case", [c for c in OPTIMIZERS if c.cls != "Ftrl"], ids=str
)  # which moves weights by more than gradients
def test_optimizer_decay_spares_what_is_excluded(case: ObjectCase) -> None:
    arguments = {**case.arguments, "weight_decay": 0.5, "learning_rate": 0.1}
    if case.cls == "Muon":
        arguments["adam_weight_decay"] = 0.5
    store, optimizer = small_store(), getattr(optimizers, case.cls)(**arguments)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(store)
    before = [p.numpy() for p in store.parameters]
    optimizer.step()  # gradients are 0: nothing but the decay
    for p, old in zip(store.parameters, before, strict=True):
        factor = 1.0 if "bias" in p.name else 1 - 0.1 * 0.5
        np.testing.assert_allclose(p.value, factor * old, rtol=1e-6)


# ---------------------------------------------------------------- metrics


@every_metric
def test_metric_counts(isa: str, case: ObjectCase) -> None:
    y_true, y_pred, value = case.extra
    metric = case.make()
    assert metric.result() == 0
    assert metric(y_true, y_pred) == pytest.approx(value, rel=1e-6)
    metric.reset_state()
    for i in range(len(y_true)):  # one sample at a time
        metric.update_state(y_true[i : i + 1], None if y_pred is None else y_pred[i : i + 1])
    assert metric.result() == pytest.approx(value, rel=1e-6)
    config.set_backend("numpy")
    assert case.make()(y_true, y_pred) == pytest.approx(value, rel=1e-6)
    assert case.make()(np.asarray(y_true)[::-1], None if y_pred is None else np.asarray(y_pred)[::-1]) == pytest.approx(
        value, rel=1e-6
    )


@every_metric
def test_metric_configuration_and_names(case: ObjectCase) -> None:
    metric = case.make()
    again = metrics.deserialize(json.loads(json.dumps(metrics.serialize(metric))))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert metric.name == case.arguments.get("name", metric.default_name or snake_case(case.cls))
    needed = [p for p in inspect.signature(type(metric)).parameters.values() if p.default is p.empty]
    if needed:
        with pytest.raises(ValueError, match=f"metric: expected an object {case.cls}"):
            metrics.get(snake_case(case.cls))
    elif case.cls != "Accuracy":  # by that name the one that fits is meant
        assert type(metrics.get(snake_case(case.cls))) is type(metric)
    assert metrics.get(metric) is metric
    if case.cls not in ("Mean", "Sum"):
        y_true, y_pred, _ = case.extra
        with pytest.raises(ValueError, match=f"{metric.name}: expected "):
            metric.update_state(np.concatenate([y_true, y_true]), y_pred)


def test_accuracy_is_the_one_that_fits() -> None:
    assert type(metrics.get("accuracy", labels=True, columns=3)) is metrics.SparseCategoricalAccuracy
    assert type(metrics.get("accuracy", columns=3)) is metrics.CategoricalAccuracy
    assert type(metrics.get("acc", columns=1)) is metrics.BinaryAccuracy
    assert metrics.get("acc", columns=1).name == "acc"


# ---------------------------------------------------------------- initializers


@every_initializer
def test_initializer_in_a_layer_and_a_file(case: ObjectCase, tmp_path: Path) -> None:
    made = case.make()
    shape, weights = case.extra or (3, 4), {"kernel_initializer": made, "bias_initializer": "ones"}
    layer = layers.Conv1D(4, 7, **weights) if case.extra else layers.Dense(4, **weights)
    model = Sequential([layers.Input((9, 1) if case.extra else (3,)), layer])
    assert_bits(layer.kernel.value, made(shape))
    assert (layer.get_weights()[1] == 1).all()
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn").layers[0]
    assert again.get_config() == layer.get_config()
    settings = again.get_config()["kernel_initializer"]
    assert settings == {"class_name": case.cls, "config": made.get_config()}
    by_name = layers.Dense(4, kernel_initializer=snake_case(case.cls))
    assert type(by_name.kernel_initializer) is type(made)
