"""Regularizers and constraints: values, gradients, names, and what they do to a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import in_float64, public_classes
from gradcheck import assert_gradient, normal
from numpy.typing import NDArray
from tiny import X, Y, assert_same, blobs, state
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, constraints, layers, optimizers, regularizers
from fastnn.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from fastnn.layers import BatchNormalization, Conv2D, Dense, Flatten
from fastnn.models import load_model
from fastnn.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer

Array = NDArray[Any]

REGULARIZERS = [
    L1(0.3),
    L2(0.2),
    L1L2(0.1, 0.4),
    L1L2(),
    OrthogonalRegularizer(0.5),
    OrthogonalRegularizer(2, "columns"),
]
CONSTRAINTS: list[Any] = [
    MaxNorm(0.5),
    MaxNorm(0.7, axis=[1]),
    NonNeg(),
    UnitNorm(),
    UnitNorm(1),
    MinMaxNorm(0.4, 0.6, 0.5),
]


class Fourth(Regularizer):
    """A penalty written in Python."""

    def __call__(self, x: Any) -> float:
        return 0.5 * float((np.asarray(x) ** 4).sum())

    def gradient(self, x: Any) -> Any:
        return 2 * np.asarray(x) ** 3


class Halves(Constraint):
    """A constraint written in Python."""

    def __call__(self, w: Any) -> Any:
        return np.round(np.asarray(w) * 2) / 2


# ---------------------------------------------------------------- by themselves


def test_every_public_class_is_tested() -> None:
    assert public_classes(regularizers, Regularizer) == sorted({type(r).__name__ for r in REGULARIZERS})
    assert public_classes(constraints, Constraint) == sorted({type(c).__name__ for c in CONSTRAINTS})


@pytest.mark.parametrize("regularizer", [*REGULARIZERS, Fourth()], ids=lambda r: type(r).__name__)
def test_gradient_is_the_slope(regularizer: Regularizer) -> None:
    x = normal(5, 7)
    with in_float64():
        assert_gradient(lambda z: float(regularizer(z)), x, np.asarray(regularizer.gradient(x)))
    native = regularizer.gradient(x.astype(np.float32))
    with in_float64():
        exact = regularizer.gradient(x)
    np.testing.assert_allclose(native, exact, rtol=1e-5, atol=1e-6)


def test_values() -> None:
    x = np.array([[-1.0, 2.0], [0.0, 3.0]])
    assert L1(0.5)(x) == pytest.approx(3.0)
    assert L2(0.5)(x) == pytest.approx(7.0)
    assert L1L2(l1=1e-5, l2=1e-4)(x) == pytest.approx(6e-5 + 14e-4)
    assert OrthogonalRegularizer(0.5)(x) == pytest.approx(0.5 * 2 / 5**0.5)
    np.testing.assert_allclose(L1(0.5).gradient(x), [[-0.5, 0.5], [0.0, 0.5]])
    assert OrthogonalRegularizer()(np.ones((1, 3))) == 0
    assert not OrthogonalRegularizer().gradient(np.ones((1, 3))).any()


@pytest.mark.parametrize("constraint", [*CONSTRAINTS, Halves()], ids=lambda c: type(c).__name__)
def test_constraints_return_or_project(constraint: Constraint) -> None:
    w = normal(5, 7).astype(np.float32)
    kept = w.copy()
    expected = constraint(w)
    assert_bits(w, kept)
    constraint.project(w)
    np.testing.assert_array_equal(w, expected)


def test_what_constraints_hold() -> None:
    w = normal(4, 3, 5, 6).astype(np.float32)
    norms = np.sqrt((w**2).sum((0, 1, 2)))
    np.testing.assert_allclose(np.sqrt((UnitNorm((0, 1, 2))(w) ** 2).sum((0, 1, 2))), 1, rtol=1e-6)
    low = MaxNorm(norms.mean(), axis=[0, 1, 2])(w)
    np.testing.assert_allclose(np.sqrt((low**2).sum((0, 1, 2))), np.minimum(norms, norms.mean()), rtol=1e-6)
    half = MinMaxNorm(1.0, 2.0, rate=0.5, axis=[0, 1, 2])(w)
    np.testing.assert_allclose(np.sqrt((half**2).sum((0, 1, 2))), (norms + np.clip(norms, 1, 2)) / 2, rtol=1e-6)
    np.testing.assert_array_equal(NonNeg()(w), np.maximum(w, 0))


@pytest.mark.parametrize(("module", "objects"), [(regularizers, REGULARIZERS), (constraints, CONSTRAINTS)])
def test_names_and_plain_data(module: Any, objects: list[Any]) -> None:
    for obj in objects:
        again = module.deserialize(json.loads(json.dumps(module.serialize(obj))))
        assert type(again) is type(obj)
        assert again.get_config() == obj.get_config()
        assert module.get(obj) is obj
        assert isinstance(module.get(type(obj)), type(obj))
    assert module.get(None) is None
    assert module.serialize(None) is None
    for wrong in (3, lambda w: w):
        with pytest.raises(TypeError, match="get: expected a"):
            module.get(wrong)
    with pytest.raises(TypeError, match=r"serialize: expected a .*; write a subclass of"):
        module.serialize(len)


def test_strings_and_their_defaults() -> None:
    for name in ("l1", "L1", "l2", "L2"):
        assert list(regularizers.get(name).get_config().values()) == [0.01]  # type: ignore[union-attr]
    assert regularizers.get("l1_l2").get_config() == {"l1": 0.0, "l2": 0.0}  # type: ignore[union-attr]
    assert regularizers.l2(0.01).l2 == 0.01
    assert regularizers.get("orthogonal_regularizer").get_config() == {"factor": 0.01, "mode": "rows"}  # type: ignore[union-attr]
    assert constraints.get("max_norm").get_config() == {"max_value": 2.0, "axis": 0}  # type: ignore[union-attr]
    assert constraints.get("min_max_norm").rate == 1.0  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"expected the name of a regularizer, got 'l3'; valid: L1"):
        regularizers.get("l3")
    with pytest.raises(ValueError, match=r"expected the name of a constraint, got 'maxnorm'; did you mean 'max_norm'"):
        constraints.get("maxnorm")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: L2(-1), "L2: expected l2"),
        (lambda: L1(float("nan")), "L1: expected l1"),
        (lambda: OrthogonalRegularizer(0.1, "both"), "expected mode to be one of"),
        (lambda: OrthogonalRegularizer()(np.ones(3)), r"OrthogonalRegularizer: expected a matrix, got shape \(3,\)"),
        (lambda: MaxNorm(-1), "MaxNorm: expected max_value"),
        (lambda: MinMaxNorm(2, 1), "MinMaxNorm: expected max_value"),
        (lambda: MinMaxNorm(rate=1.5), "MinMaxNorm: expected rate"),
        (lambda: MaxNorm(axis=3)(np.ones((2, 2))), "expected axes that name some of the 2"),
    ],
)
def test_wrong_arguments(make: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


# ---------------------------------------------------------------- in a model


def regularized(**compiled: Any) -> Sequential:
    """Return a model with every kind of penalty and constraint."""
    config.set_seed(7)
    first = Dense(
        8, "relu", kernel_regularizer=L1L2(0.01, 0.02), bias_regularizer="l2", activity_regularizer="l1",
        kernel_constraint=MaxNorm(0.8), bias_constraint="non_neg",
    )  # fmt: skip
    last = Dense(3, "softmax", kernel_regularizer="orthogonal_regularizer", kernel_constraint="unit_norm")
    norm = BatchNormalization(gamma_regularizer="l2", gamma_constraint="non_neg")
    model = Sequential([Input((5,)), first, norm, Dense(4, "relu"), last])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], **compiled)
    return model


def trained(model: Sequential, epochs: int = 3) -> dict[str, Array]:
    x, y = blobs(100)
    history = model.fit(x, y, 32, epochs, verbose=0, validation_split=0.2)
    result = state(model) | {name: np.array(values) for name, values in history.history.items()}
    result["evaluated"] = np.array(model.evaluate(x, y, 11, verbose=0))
    result["batch"] = np.array([model.train_on_batch(x[:9], y[:9]) for _ in range(4)])
    result["tested"] = np.array([model.test_on_batch(x[:9], y[:9]) for _ in range(3)])
    return result | {f"after {k}": v for k, v in state(model).items()}


def test_recorded_and_eager_give_the_same_bits(isa: str, threads: int) -> None:
    assert_same(trained(regularized()), trained(regularized(run_eagerly=True)))


def test_the_loss_that_is_reported_has_the_penalties(isa: str) -> None:
    kernel, bias = normal(3, 2).astype(np.float32), normal(2, seed=1).astype(np.float32)
    model = Sequential(
        [
            Input((3,)),
            Dense(2, kernel_regularizer=L1L2(0.1, 0.2), bias_regularizer=L1(0.3), activity_regularizer=L2(0.5)),
        ]
    )
    model.set_weights([kernel, bias])
    model.compile("sgd", "mse", metrics=["mae"])
    out = X @ kernel + bias
    of_weights = [0.1 * np.abs(kernel).sum() + 0.2 * (kernel**2).sum(), 0.3 * np.abs(bias).sum()]
    of_output = 0.5 * (out**2).sum() / len(X)
    expected = ((out - Y) ** 2).mean() + sum(of_weights) + of_output
    loss, error = model.evaluate(X, Y, verbose=0)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert error == pytest.approx(np.abs(out - Y).mean(), rel=1e-6)
    assert model.evaluate(X, Y, batch_size=3, verbose=0)[0] == pytest.approx(
        expected, rel=1e-6
    )  # an unequal last batch
    assert [model.test_on_batch(X, Y)[0] for _ in range(3)] == pytest.approx([expected] * 3, rel=1e-6)
    model(X)
    assert model.losses == pytest.approx([*of_weights, of_output], rel=1e-6)
    assert model.layers[0].losses == pytest.approx(of_weights, rel=1e-6)
    assert model.fit(X, Y, batch_size=10, verbose=0).history["loss"] == pytest.approx([expected], rel=1e-6)


def test_gradients_are_the_slopes_of_loss_and_penalties() -> None:
    model = regularized()
    x, dy = blobs(12)[0].astype(np.float64), normal(12, 3)
    for p in model.parameters:
        p.value, p.store = p.value.astype(np.float64), model.store if p.learns else p.store  # type: ignore[assignment]
        if p.grad is not None:
            p.grad = np.full(p.shape, np.nan)  # type: ignore[assignment]
    with in_float64():

        def value(_: Any = None) -> float:
            return float(np.vdot(dy, model.forward(x, training=True))) + sum(model.losses)

        value()
        model.backward(dy)
        found = {p.name: p.gradient.copy() for p in model.trainable_weights}
        for p in model.trainable_weights:
            kept = p.value

            def at(z: Array, p: Any = p) -> float:
                p.value = z
                return value()

            assert_gradient(at, kept, found[p.name])
            p.value = kept


def test_constraints_hold_after_every_step(isa: str) -> None:
    model, (x, y) = regularized(), blobs(100)
    for _ in range(3):
        model.fit(x, y, 32, verbose=0)
        first, norm, last = model.layers[0], model.layers[1], model.layers[-1]
        assert (np.sqrt((first.kernel.value**2).sum(0)) <= 0.8 * (1 + 1e-6)).all()
        assert first.bias.value.min() >= 0
        assert norm.gamma.value.min() >= 0
        np.testing.assert_allclose(np.sqrt((last.kernel.value**2).sum(0)), 1, rtol=1e-6)


def test_frozen_parameters_are_neither_penalized_nor_constrained() -> None:
    model, (x, y) = regularized(), blobs(60)
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    model.fit(x, y, 32, verbose=0)
    for old, new in zip(before, model.layers[0].get_weights(), strict=True):
        assert_bits(new, old)
    assert model.layers[0].losses == []


def test_parts_written_in_python_make_the_model_eager() -> None:
    def make(regularizer: Any, constraint: Any) -> Sequential:
        model = Sequential([Input((3,)), Dense(2, kernel_regularizer=regularizer, kernel_constraint=constraint)])
        model.set_weights([normal(3, 2, seed=2), normal(2, seed=3)])
        model.compile("sgd", "mse")
        return model

    class MyL2(L2):
        def __call__(self, x: Any) -> float:
            return 2 * float((np.asarray(x) ** 2).sum())

        def gradient(self, x: Any) -> Any:
            return 4 * np.asarray(x)

    class MyMax(MaxNorm):
        def __call__(self, w: Any) -> Any:
            return np.clip(w, -0.5, 0.5)

    model = make(MyL2(), MyMax())
    with pytest.warns(UserWarning, match="MyL2, MyMax is written in Python"):
        first = model.fit(X, Y, verbose=1).history["loss"][0]
    assert first == pytest.approx(make(L2(2.0), None).fit(X, Y, verbose=0).history["loss"][0])
    assert np.abs(model.layers[0].kernel.value).max() <= 0.5
    model = make(Fourth(), Halves())
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].kernel.value * 2 % 1, 0)


def test_a_changed_setting_is_honored() -> None:
    model = Sequential([Input((3,)), Dense(2, kernel_regularizer=L2(0.5))])
    model.compile(optimizers.SGD(0.0), "mse")
    losses = []
    for factor in (0.5, 0.0, 1.0):
        model.layers[0].kernel.regularizer.l2 = factor
        losses.append([model.test_on_batch(X, Y) for _ in range(3)][-1])
    square = float((model.layers[0].kernel.value ** 2).sum())
    assert losses[0] - losses[1] == pytest.approx(0.5 * square, rel=1e-5)
    assert losses[2] - losses[1] == pytest.approx(square, rel=1e-5)
    model.layers[0].kernel.constraint = NonNeg()
    model.train_on_batch(X, Y)
    assert model.layers[0].kernel.value.min() >= 0


def test_shared_layers_and_several_outputs() -> None:
    shared = Dense(3, "relu", kernel_regularizer=L2(0.1), activity_regularizer=L1(0.2), name="shared")
    a, b = Input((3,)), Input((3,))
    one, other = shared(a), shared(b)
    model = Model([a, b], [Dense(2, name="p")(one), Dense(2, name="q")(other)])
    model.compile("sgd", "mse", loss_weights=[1.0, 0.5])
    result = model.evaluate([X, -X], [Y, Y], verbose=0)
    model([X, -X])
    assert len(model.losses) == 3
    assert result[0] == pytest.approx(result[1] + 0.5 * result[2] + sum(model.losses), rel=1e-6)
    before = model.get_weights()
    model.fit([X, -X], [Y, Y], batch_size=10, verbose=0, shuffle=False)
    trained_weights = model.get_weights()
    eager = Model(model.inputs, model.outputs)
    eager.compile("sgd", "mse", loss_weights=[1.0, 0.5], run_eagerly=True)
    eager.set_weights(before)
    eager.fit([X, -X], [Y, Y], batch_size=10, verbose=0, shuffle=False)
    for got, want in zip(eager.get_weights(), trained_weights, strict=True):
        assert_bits(got, want)


def test_large_kernels_and_images_eager_and_recorded() -> None:
    """Kernels whose gradient the optimizer's step would make itself, if they had no penalty."""

    def make(**compiled: Any) -> Sequential:
        config.set_seed(3)
        conv = Conv2D(5, 3, kernel_regularizer="l2", kernel_constraint=MaxNorm(1, axis=[0, 1, 2]))
        dense = Dense(130, kernel_regularizer=L1(1e-3))
        model = Sequential([Input((9, 9, 2)), conv, Flatten(), dense, Dense(140), Dense(2)])
        model.compile("sgd", "mse", **compiled)
        return model

    x, y = normal(40, 9, 9, 2).astype(np.float32), normal(40, 2).astype(np.float32)
    results = []
    for eagerly in (False, True):
        model = make(run_eagerly=eagerly)
        model.fit(x, y, 16, 2, verbose=0)
        results.append(state(model))
    assert_same(*results)


def test_saving_keeps_them(tmp_path: Path) -> None:
    model = regularized()
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn")
    assert again.get_config() == model.get_config()
    assert again.losses == model.losses
    x, y = blobs(30)
    assert again.train_on_batch(x, y) == model.train_on_batch(x, y)
    for p, q in zip(model.weights, again.weights, strict=True):
        assert_bits(p.value, q.value)


def test_every_layer_takes_an_activity_regularizer() -> None:
    model = Sequential([Input((3,)), layers.Reshape((3,), activity_regularizer=L1(0.5))])
    model(X)
    assert model.losses == pytest.approx([0.5 * np.abs(X).sum() / len(X)], rel=1e-6)
    assert model.layers[0].get_config()["activity_regularizer"] == {"class_name": "L1", "config": {"l1": 0.5}}
    with pytest.raises(TypeError, match="Flatten: expected only known arguments, got 'kernel_regularizer'"):
        Flatten(kernel_regularizer="l2")


class AroundOne(Regularizer):
    """A penalty with a slope at 0."""

    def __call__(self, x: Any) -> float:
        return 0.2 * float(((np.asarray(x) - 1) ** 2).sum())

    def gradient(self, x: Any) -> Any:
        return 0.4 * (np.asarray(x) - 1)


@pytest.mark.parametrize("regularizer", [L1L2(0.2, 0.3), AroundOne()], ids=["native", "in Python"])
def test_penalties_between_layers_that_do_each_others_work(isa: str, regularizer: Regularizer) -> None:
    """A relu whose slope the next layer would take, a softmax that the loss would take over."""
    config.set_seed(5)
    first = Dense(6, "relu", activity_regularizer=regularizer)
    model = Sequential([Input((5,)), first, Dense(3, "softmax", activity_regularizer=L2(2.0))])
    model.compile(optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    x, y = blobs(60)
    before, probs = model.get_weights(), model(x)
    entropy = -np.log(probs[np.arange(60), y]).mean()
    assert model.test_on_batch(x, y) == pytest.approx(entropy + sum(model.losses), rel=1e-5)
    assert model.losses[1] == pytest.approx(2 * (probs**2).sum() / 60, rel=1e-5)
    model.train_on_batch(x, y)
    gradients = [old.astype(np.float64) - new for old, new in zip(before, model.get_weights(), strict=True)]
    for i, gradient in enumerate(gradients):
        v, losses = gradient / np.linalg.norm(gradient), []
        for step in (-1e-2, 1e-2):
            model.set_weights([w + step * v if j == i else w for j, w in enumerate(before)])
            losses.append(model.test_on_batch(x, y))
        assert (losses[1] - losses[0]) / 2e-2 == pytest.approx(np.linalg.norm(gradient), rel=1e-2)
