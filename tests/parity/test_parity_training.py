"""Whole small models trained side by side with Keras: the same losses, the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from harness import BACKEND, LONG, Array, assert_near, keras, normal, numpy_of

import fastnn

IMAGES = normal(40, 10, 9, 2)
LABELS = (np.abs(IMAGES.sum((1, 2, 3))).astype(np.int64)) % 4


def same_training(
    build: Callable[[Any], Any],
    x: Any,
    y: Any,
    loss: str,
    optimizer: Callable[[Any], Any],
    tolerance: float = LONG,
    **options: Any,
) -> None:
    """Check the logs of every epoch and all weights, from the same random weights on."""
    found = []
    for package in (fastnn, keras()):
        model = build(package)
        start = [normal(*w.shape, seed=7 + i) for i, w in enumerate(model.get_weights())]
        scaled = [w / np.sqrt(np.prod(w.shape[:-1])) if w.ndim > 1 else np.abs(w) + np.float32(0.1) for w in start]
        model.set_weights(scaled)
        model.compile(optimizer(package.optimizers), loss)
        logs = model.fit(x, y, shuffle=False, verbose=0, **options).history
        found.append((logs, model.get_weights(), model.predict(x, verbose=0)))
    (ours, weights, outputs), (theirs, wanted, expected) = found
    assert set(ours) == set(theirs)
    for name, values in theirs.items():
        assert_near(ours[name], values, tolerance, name)
    for i, (w, want) in enumerate(zip(weights, wanted, strict=True)):
        assert_near(w, want, 5 * tolerance, f"weight {i}", 1.0)
    assert_near(outputs, numpy_of(expected), 5 * tolerance, "predictions")


def convolutional(package: Any) -> Any:
    layers = package.layers
    return package.Sequential(
        [
            package.Input((10, 9, 2)),
            layers.Conv2D(6, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.Activation("relu"),
            layers.MaxPooling2D(2),
            # A bias has no slope where a filter is positive everywhere, and Adam makes steps of its roundings.
            layers.Conv2D(8, 3, activation="relu", use_bias=False),
            layers.BatchNormalization(momentum=0.8),
            layers.Dropout(0.0),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )


def residual(package: Any) -> Any:
    layers = package.layers
    inputs = package.Input((10, 9, 2))
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="gelu")(inputs)
    y = layers.SeparableConv2D(6, 3, padding="same")(x)
    y = layers.LayerNormalization()(y)
    x = layers.Add()([x, y])
    left, right = layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)
    return package.Model(inputs, layers.Dense(4, activation="softmax")(layers.Concatenate()([left, right])))


def encoder(package: Any, last: str | None = "softmax") -> Any:
    layers = package.layers
    return package.Sequential(
        [
            package.Input((10, 9, 2)),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.GroupNormalization(2),
            layers.LeakyReLU(),
            layers.AveragePooling2D(2),
            layers.UpSampling2D(2),
            layers.Conv2DTranspose(3, 3, activation="silu"),
            layers.Flatten(),
            layers.Dense(4, activation=last),
        ]
    )


def transferred(package: Any, trainable: bool = False) -> Any:
    """Lower layers called with training=False: nothing is dropped there, and the statistics stay.

    A class with a call, for `fit` of a graph of Keras's runs them in training all the same.
    """
    layers = package.layers
    base = package.Sequential(
        [
            package.Input((10, 9, 2)),
            layers.Conv2D(6, 3, padding="same"),
            layers.BatchNormalization(momentum=0.8),
            layers.Activation("relu"),
            layers.SpatialDropout2D(0.5),
            layers.GaussianNoise(0.5),
            layers.GlobalAveragePooling2D(),
        ]
    )
    base.trainable = trainable

    class Transferred(package.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.base = base
            self.hidden, self.norm = layers.Dense(8, activation="tanh"), layers.BatchNormalization(momentum=0.8)
            self.head = layers.Dense(4, activation="softmax")

        def call(self, x: Any, training: Any = None) -> Any:
            return self.head(self.norm(self.hidden(self.base(x, training=False)), training=training))

    model = Transferred()
    model(np.zeros((1, 10, 9, 2), np.float32))
    return model


def tuned(package: Any) -> Any:
    return transferred(package, trainable=True)


# So slowly that no probability is below 1e-7, where Keras's slope ends.
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"learning_rate": 0.002, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {"learning_rate": 0.003, "amsgrad": True, "global_clipnorm": 1.0}),
    ("RMSprop", {"learning_rate": 0.002, "momentum": 0.5, "use_ema": True, "ema_momentum": 0.9}),
]


@pytest.mark.parametrize(("cls", "arguments"), OPTIMIZERS, ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("build", [convolutional, residual, encoder, transferred, tuned])
def test_twenty_steps_of_a_network_for_images(build: Callable[[Any], Any], cls: str, arguments: dict[str, Any]) -> None:
    """Five epochs of four batches, each epoch's loss."""
    same_training(
        build,
        IMAGES,
        LABELS,
        "sparse_categorical_crossentropy",
        lambda optimizers: getattr(optimizers, cls)(**arguments),
        tolerance=LONG,
        batch_size=10,
        epochs=5,
    )


def rectified(package: Any) -> Any:
    layers = package.layers
    convolution = [layers.Conv2D(6, 3, activation="relu"), layers.BatchNormalization()]
    return package.Sequential([package.Input((10, 9, 2)), *convolution, layers.Flatten(), layers.Dense(4)])


def headless(package: Any) -> Any:
    return encoder(package, None)


@pytest.mark.parametrize("build", [headless, rectified])
@pytest.mark.parametrize("cls", ["SGD", "Adam"])
def test_losses_of_logits(build: Callable[[Any], Any], cls: str) -> None:
    """The loss of each of twenty quick steps, some of them large: from logits Keras clips nothing."""
    arguments = {"SGD": {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True}, "Adam": {"learning_rate": 0.003}}[
        cls
    ]
    losses, start = [], []
    for package in (fastnn, keras()):
        model = build(package)
        start = start or [normal(*w.shape, seed=7 + i) / 4 + (w == 1) for i, w in enumerate(model.get_weights())]
        model.set_weights(start)
        loss = package.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(getattr(package.optimizers, cls)(**arguments), loss)
        found = []
        for step in range(20):
            rows = slice(10 * (step % 4), 10 * (step % 4) + 10)
            model.reset_metrics()
            found.append(float(model.train_on_batch(IMAGES[rows], LABELS[rows])))
        losses.append(found)
    assert_near(*losses, LONG, "losses of steps")


def test_losses_of_single_steps() -> None:
    """The loss before each of twenty steps."""
    losses, models = [], []
    for package in (fastnn, keras()):
        model = convolutional(package)
        model.set_weights(
            models[0] if models else [normal(*w.shape, seed=7) / 4 + (w == 1) for w in model.get_weights()]
        )
        models.append(model.get_weights())
        model.compile(package.optimizers.Adam(0.002), "sparse_categorical_crossentropy")
        found = []
        for step in range(20):
            rows = slice(8 * (step % 5), 8 * (step % 5) + 8)
            if package is not fastnn:
                model.reset_metrics()  # whose loss is a running mean otherwise
            found.append(float(model.train_on_batch(IMAGES[rows], LABELS[rows])))
        losses.append(found)
    assert_near(*losses, LONG, "losses of steps")


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "nadam", "adamw"])
@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy"])
def test_fit(optimizer: str, loss: str) -> None:
    """Five epochs of ten batches, the last one odd, with validation."""
    x, sparse = normal(77, 9), loss.startswith("sparse")
    y = (np.abs(x[:, 0] * 3).astype(np.int64) % 4) if sparse else np.tanh(x[:, :4])

    def build(package: Any) -> Any:
        layers = package.layers
        first = [package.Input((9,)), layers.Dense(16, activation="tanh"), layers.BatchNormalization()]
        return package.Sequential([*first, layers.Dense(4, activation="softmax" if sparse else None)])

    same_training(
        build,
        x,
        y,
        loss,
        lambda optimizers: optimizers.get(optimizer),
        batch_size=8,
        epochs=5,
        validation_data=(x[:9], y[:9]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_training_with_penalties_and_constraints(seed: int) -> None:
    """Of layers that do each other's work, with those of weights and of outputs: the same reported losses."""
    rng = np.random.default_rng(seed)
    first: dict[str, Any] = {
        "kernel_regularizer": ("L1L2", {"l1": 0.01, "l2": 0.02}), "bias_regularizer": ("L2", {"l2": 0.03}),
        "activity_regularizer": ("L2", {"l2": 0.05}), "kernel_constraint": ("MaxNorm", {"max_value": 0.9}),
        "bias_constraint": ("NonNeg", {}),
    }  # fmt: skip
    last: dict[str, Any] = {
        "kernel_regularizer": ("OrthogonalRegularizer", {"factor": 0.1}), "activity_regularizer": ("L1", {"l1": 0.01}),
        "kernel_constraint": ("UnitNorm", {}),
    }  # fmt: skip
    kept = {name: value for name, value in first.items() if rng.integers(2)}

    def build(package: Any) -> Any:
        def made(chosen: dict[str, Any]) -> dict[str, Any]:
            modules = {name: package.regularizers if "regularizer" in name else package.constraints for name in chosen}
            return {name: getattr(modules[name], cls)(**arguments) for name, (cls, arguments) in chosen.items()}

        layers = package.layers
        return package.Sequential(
            [
                package.Input((5,)),
                layers.Dense(8, activation="relu", **made(kept)),
                layers.BatchNormalization(gamma_regularizer="l2"),
                layers.ActivityRegularization(0.01, 0.02),
                layers.Dense(3, activation="softmax", **made(last)),
            ]
        )

    x, y = normal(40, 5, seed=seed), rng.integers(0, 3, 40)
    same_training(
        build,
        x,
        y,
        "sparse_categorical_crossentropy",
        lambda optimizers: optimizers.SGD(0.1, momentum=0.5),
        2 * LONG,
        batch_size=16,
        epochs=4,
        validation_data=(x[:9], y[:9]),
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["mse", "mae", "binary_crossentropy"])
def test_masked_training(loss: str, weighted: bool) -> None:
    """Times that are left out, with and without weights of samples."""
    if weighted and BACKEND == "torch":
        pytest.skip("Keras on PyTorch fails on a mask together with weights of samples")
    rng = np.random.default_rng(3)
    x, y = normal(20, 5, 4), (rng.random((20, 5, 2)) > 0.5).astype(np.float32)
    x[rng.random((20, 5)) > 0.6] = 0
    weights = rng.random((20, 1)).astype(np.float32) if weighted else None

    def build(package: Any) -> Any:
        layers = package.layers
        middle = [layers.Masking(), layers.Dense(6, "tanh"), layers.LayerNormalization(), layers.ReLU()]
        return package.Sequential([package.Input((5, 4)), *middle, layers.Dense(2, "sigmoid")])

    same_training(
        build, x, y, loss, lambda optimizers: optimizers.SGD(0.1), batch_size=8, epochs=2, sample_weight=weights
    )


def test_several_inputs_and_outputs() -> None:
    """Losses with weights of their own, a shared layer and a model inside."""
    a, b = normal(30, 4), normal(30, 4, seed=1)
    targets: list[Array] = [np.tanh(a[:, :2]), (b[:, :1] > 0).astype(np.float32)]
    found = []
    for package in (fastnn, keras()):
        layers = package.layers
        tower = package.Sequential([package.Input((4,)), layers.Dense(5, activation="relu")])
        left, right = package.Input((4,), name="a"), package.Input((4,), name="b")
        both = layers.Concatenate()([tower(left), tower(right)])
        outputs = [layers.Dense(2, name="x")(both), layers.Dense(1, activation="sigmoid", name="y")(both)]
        model = package.Model([left, right], outputs)
        model.set_weights([normal(*w.shape, seed=i) / 2 for i, w in enumerate(model.get_weights())])
        model.compile(package.optimizers.Adam(0.01), ["mse", "binary_crossentropy"], loss_weights=[1.0, 0.3])
        logs = model.fit([a, b], targets, batch_size=10, epochs=5, shuffle=False, verbose=0).history
        found.append((logs["loss"], model.get_weights()))
    assert_near(found[0][0], found[1][0], LONG, "losses")
    for i, (w, want) in enumerate(zip(found[0][1], found[1][1], strict=True)):
        assert_near(w, want, 5 * LONG, f"weight {i}", 1.0)
