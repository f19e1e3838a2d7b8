"""Parts and tools that users write themselves: what is wrong with them is said, and what is right goes into files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import QUARTETS as X
from tiny import YES, binary

import fastnn
from fastnn import constraints, layers, losses, metrics, models, ops, optimizers, regularizers

# ---------------------------------------------------------------- parts of one's own


def test_call_may_hand_training_on_but_not_look_at_it() -> None:
    class Net(fastnn.Model):
        def __init__(self, looks: bool) -> None:
            super().__init__()
            self.looks = looks
            self.drop, self.out = layers.Dropout(0.5), layers.Dense(1)

        def call(self, inputs: Any, training: Any = False) -> Any:
            if self.looks and training:
                return self.out(inputs)
            return self.out(self.drop(inputs, training=training))

    net = Net(looks=False)
    net.build((None, 4))
    assert (net(X) == net(X)).all()
    assert (net(X, training=True) != net(X, training=True)).any()
    net.compile("sgd", "mse")
    net.fit(X, YES, verbose=0)
    with pytest.raises(TypeError, match="call: expected no question whether this is training"):
        Net(looks=True).build((None, 4))


def test_steps_of_ones_own_are_refused_and_not_left_out() -> None:
    with pytest.raises(TypeError, match="Mine: expected a model class without steps of its own, got train_step; write"):

        class Mine(fastnn.Model):
            def train_step(self, data: Any) -> dict[str, float]:
                return {}


class Half(layers.Dense):
    """Half of what a dense layer gives, made behind its activation."""

    def forward(self, x: Any, training: bool = False) -> Any:
        return 0.5 * super().forward(x, training)

    def backward(self, dy: Any) -> Any:
        return super().backward(0.5 * dy)


class RecordableHalf(layers.Dense):
    recordable = True

    def forward(self, x: Any, training: bool = False) -> Any:
        return ops.add(super().forward(x, training), weights=[0.5])

    def backward(self, dy: Any) -> Any:
        return super().backward(ops.add(dy, weights=[0.5]))


@pytest.mark.parametrize("kind", [Half, RecordableHalf])
def test_a_loss_sees_what_a_layer_of_the_users_makes_of_a_softmax(kind: type[layers.Dense]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((9, 4), np.float32), np.arange(9) % 3
    model = fastnn.Sequential([layers.Input((4,)), layers.Dense(5, activation="relu"), kind(3, activation="softmax")])
    model.compile(optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    p = model.predict(x, verbose=0)
    np.testing.assert_allclose(p.sum(1), 0.5, rtol=1e-6)
    loss = -np.log(p[np.arange(9), y]).mean()
    assert model.evaluate(x, y, verbose=0) == pytest.approx(loss, rel=1e-5)
    assert model.train_on_batch(x, y) == pytest.approx(loss, rel=1e-5)


class Tripled(losses.SparseCategoricalCrossentropy):
    def evaluate(self, *given: Any, **options: Any) -> Any:
        values, gradient = super().evaluate(*given, **options)
        return 3 * values, None if gradient is None else 3 * gradient


class TripledBinary(losses.BinaryCrossentropy):
    def evaluate(self, *given: Any, **options: Any) -> Any:
        values, gradient = super().evaluate(*given, **options)
        return 3 * values, None if gradient is None else 3 * gradient


class KnowsLogits(Tripled):
    def evaluate_fused(self, *given: Any, **options: Any) -> Any:
        y_pred, values, gradient = losses.SparseCategoricalCrossentropy.evaluate_fused(self, *given, **options)
        return y_pred, 3 * values, None if gradient is None else 3 * gradient


@pytest.mark.parametrize("kind", [Tripled, TripledBinary, KnowsLogits])
def test_a_loss_of_the_users_is_not_passed_by(kind: type[losses.Loss]) -> None:
    rng = np.random.default_rng(0)
    x, binary = rng.standard_normal((9, 4), np.float32), kind is TripledBinary
    y = (np.arange(9) % 2).reshape(-1, 1) if binary else np.arange(9) % 3

    def trained(loss: losses.Loss, rate: float) -> list[Any]:
        fastnn.utils.set_random_seed(0)
        last = layers.Dense(1, activation="sigmoid") if binary else layers.Dense(3, activation="softmax")
        model = fastnn.Sequential([layers.Input((4,)), last])
        model.compile(optimizers.SGD(rate), loss)
        values = [model.evaluate(x, y, verbose=0), model.train_on_batch(x, y)]
        return [*values, *model.get_weights()]

    tripled, plain = trained(kind(), 0.01), trained(kind.__mro__[1 if kind is not KnowsLogits else 2](), 0.03)
    assert tripled[:2] == pytest.approx([3 * value for value in plain[:2]], rel=1e-5)
    for a, b in zip(tripled[2:], plain[2:]):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_an_optimizer_of_the_users_finds_all_gradients() -> None:
    class Signs(optimizers.SGD):
        recordable = True

        def update(self, w: Any, g: Any, slots: Any) -> None:
            super().update(w, g, slots)

    assert optimizers.SGD(0.1).takes_products
    assert not Signs(0.1).takes_products


def test_classes_are_those_of_a_layer_of_the_users() -> None:
    class FirstFavored(layers.Dense):
        def forward(self, x: Any, training: bool = False) -> Any:
            return super().forward(x, training) + np.float32([0.3, 0, 0])

    fastnn.utils.set_random_seed(0)
    model = fastnn.Sequential([layers.Input((4,)), FirstFavored(3, activation="softmax")])
    x = np.random.default_rng(0).standard_normal((200, 4), np.float32)
    assert (model.predict_classes(x, verbose=0) == model.predict(x, verbose=0).argmax(1)).all()


def test_a_layer_of_the_users_may_change_the_gradient_of_its_kernel() -> None:
    class Doubled(layers.Dense):
        recordable = True

        def backward(self, dy: Any) -> Any:
            dx = super().backward(dy)
            ops.add(self.kernel.gradient, self.kernel.gradient, out=self.kernel.gradient)
            return dx

    def kernel(layer: layers.Dense, rate: float) -> Any:
        model = fastnn.Sequential([layers.Input((4,)), layer])
        model.compile(optimizers.SGD(rate), "mse")
        layer.kernel.assign(np.eye(4, 2, dtype=np.float32))
        for _ in range(2):
            model.train_on_batch(X, np.ones((len(X), 2), np.float32))
        return np.array(layer.kernel.value)

    doubled = kernel(Doubled(2, use_bias=False), 0.01)
    np.testing.assert_allclose(doubled, kernel(layers.Dense(2, use_bias=False), 0.02), rtol=1e-5)


def test_a_weight_needs_no_name() -> None:
    class Scale(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.factor = self.add_weight(shape=(input_shape[-1],), initializer="ones", trainable=True)
            self.offset = self.add_weight(initializer="zeros")

    layer = Scale(name="s")
    layer.build((None, 4))
    assert [(w.name, w.shape) for w in layer.weights] == [("s/weight", (4,)), ("s/weight_1", ())]
    with pytest.raises(TypeError, match=r"expected the name of a weight as a string, got \(4,\) .*; write shape="):
        layer.add_weight((4,))  # type: ignore[arg-type]


@pytest.mark.parametrize("base", [layers.Layer, losses.Loss, metrics.Metric, optimizers.Optimizer])
def test_a_forgotten_super_is_named(base: type) -> None:
    class Mine(base):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.factor = 2.0

    with pytest.raises(AttributeError, match="'Mine' object has no attribute 'name'; call super"):
        Mine().name  # noqa: B018
    with pytest.raises(AttributeError, match=r"has no attribute 'nmae'$"):
        layers.Dense(3).nmae  # type: ignore[attr-defined] # noqa: B018


class Bent(layers.Layer):
    """A layer that returns what it is told."""

    def __init__(self, y: Any = None, dx: Any = None) -> None:
        super().__init__(name="bent")
        self.y, self.dx = y, dx

    def forward(self, x: Any, training: bool = False) -> Any:
        return x if self.y is None else self.y

    def backward(self, dy: Any) -> Any:
        return self.dx(dy)


@pytest.mark.parametrize(
    ("bent", "error", "says"),
    [
        (Bent(dx=lambda dy: None), TypeError, r"backward to return the gradient of its input, got None \(NoneType\)"),
        (Bent(dx=lambda dy: dy[:, :2]), ValueError, r"a gradient of the input's shape \(20, 4\), got \(20, 2\)"),
        (Bent(dx=lambda dy: dy[:3]), ValueError, r"a gradient of the input's shape \(20, 4\), got \(3, 4\)"),
        (Bent(y="y"), TypeError, r"forward to return an array, got 'y' \(str\)"),
    ],
)
def test_what_a_layer_returns_is_looked_at(bent: Bent, error: type[Exception], says: str) -> None:
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(4), bent, layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    with pytest.raises(error, match=f"Bent 'bent': expected .*{says}"):
        model.fit(X, YES, verbose=0)


def test_a_layer_with_call_alone() -> None:
    class Keras(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(TypeError, match="a forward method, got Keras; Keras's call is forward here, with a backward"):
        Keras()(X)


class Own(regularizers.Regularizer):
    def __call__(self, x: Any) -> float:
        return float((x**2).sum())

    def gradient(self, x: Any) -> Any:
        return 2 * x

    def get_config(self) -> dict[str, Any]:
        return {}


class Small(constraints.Constraint):
    def __call__(self, w: Any) -> Any:
        return np.clip(w, -0.1, 0.1)


class Falling(optimizers.schedules.LearningRateSchedule):
    def rate(self, steps: Any) -> Any:
        return 0.1 / (1 + steps)

    def get_config(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("registered", [False, True])
def test_small_parts_in_files(tmp_path: Path, registered: bool) -> None:
    classes = (Own, Small, Falling)
    given: Any = {cls.__name__: cls for cls in classes}
    if registered:
        given = None
        for cls in classes:
            fastnn.utils.register_keras_serializable("habits")(cls)
    dense = layers.Dense(3, kernel_regularizer=Own(), kernel_constraint=Small())
    model = fastnn.Sequential([fastnn.Input((4,)), dense, layers.Dense(1)])
    model.compile(optimizers.SGD(Falling()), "mse")
    model.fit(X, YES, epochs=2, batch_size=8, verbose=0)
    model.save(tmp_path / "m.fastnn")
    again = models.load_model(tmp_path / "m.fastnn", custom_objects=given)
    assert again.fit(X, YES, verbose=0).history == model.fit(X, YES, verbose=0).history
    assert all((a == b).all() for a, b in zip(again.get_weights(), model.get_weights()))


# ---------------------------------------------------------------- tools


def test_gradients_are_checked_where_there_are_some() -> None:
    """With truth of zeros a categorical cross-entropy has no gradient, and no bug would be found."""
    for loss in ("categorical_crossentropy", "sparse_categorical_crossentropy", "kl_divergence"):
        model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(3, activation="softmax")])
        model.compile("sgd", loss)
        check = model.check_gradients()
        assert check.ok
        assert check.rows[-1].norm > 0.01


def test_every_fold_needs_a_model_of_its_own() -> None:
    model = binary()
    for workers in (1, 2):
        with pytest.raises((ValueError, RuntimeError), match=r"expected a .*model"):
            fastnn.cross_validate(lambda: model, X, YES, k=3, workers=workers)


def test_a_picture_with_dtypes() -> None:
    pytest.importorskip("matplotlib")
    figure = fastnn.utils.plot_model(binary(), None, show_shapes=True, show_dtype=True)
    assert "dtype: float32" in figure.axes[0].texts[-1].get_text()
    with pytest.raises(TypeError, match=r"plot_model: expected a model, got 3 \(int\)"):
        fastnn.utils.plot_model(3)  # type: ignore[arg-type]
