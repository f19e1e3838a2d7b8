"""Normalization, noise, masks and functions within models: recorded as eager, on any number of threads; what each is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from numpy.typing import NDArray
from tiny import X, Y, assert_same, state
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers, losses, optimizers
from fastnn.layers import AlphaDropout, Dense, Dropout, Function, GaussianDropout, GaussianNoise, Masking, ReLU

Array = NDArray[Any]
Shape = tuple[int, ...]

LAYERS: list[tuple[str, dict[str, Any]]] = [
    ("LayerNormalization", {}),
    ("LayerNormalization", {"axis": [1, 2]}),
    ("LayerNormalization", {"axis": 1}),
    ("RMSNormalization", {}),
    ("UnitNormalization", {}),
    ("GroupNormalization", {"groups": 2}),
    ("Dropout", {"rate": 0.3, "noise_shape": (None, 1, None)}),
    ("SpatialDropout1D", {"rate": 0.3}),
    ("AlphaDropout", {"rate": 0.3}),
    ("GaussianDropout", {"rate": 0.3}),
    ("GaussianNoise", {"stddev": 0.3}),
    ("ActivityRegularization", {"l1": 0.01, "l2": 0.02}),
    ("Masking", {"mask_value": 0.5}),
]


def samples(n: int = 40) -> tuple[Array, Array]:
    return normal(n, 5, 6).astype(np.float32), normal(n, 5, 2, seed=1).astype(np.float32)


def trained(name: str, arguments: dict[str, Any], **compiled: Any) -> dict[str, Array]:
    config.set_seed(4)
    layer = getattr(layers, name)(**arguments)
    model = Sequential([Input((5, 6)), Dense(8, "tanh"), layer, Dense(2)])
    model.compile(optimizers.SGD(0.1, momentum=0.5), "mse", **compiled)
    x, y = samples()
    history = model.fit(x, y, 16, 2, verbose=0, validation_split=0.25)
    result = state(model) | {"loss": np.array(history.history["loss"]), "val": np.array(history.history["val_loss"])}
    result["batches"] = np.array([model.train_on_batch(x[:3], y[:3]) for _ in range(3)])
    return (
        result | {"predictions": model.predict(x[:7], verbose=0)} | {f"at last {k}": v for k, v in state(model).items()}
    )


@pytest.mark.parametrize(("name", "arguments"), LAYERS, ids=str)
def test_recorded_and_eager_give_the_same_bits(isa: str, name: str, arguments: dict[str, Any]) -> None:
    recorded = trained(name, arguments)
    assert_same(recorded, trained(name, arguments, run_eagerly=True))
    config.set_num_threads(2)
    assert_same(recorded, trained(name, arguments))


def test_changed_settings_are_honored() -> None:
    """A rate that is changed between batches counts in the next one."""
    x, y = samples()
    for layer, name in ((GaussianNoise(0.5), "stddev"), (GaussianDropout(0.5), "rate"), (AlphaDropout(0.5), "rate")):
        model = Sequential([Input((5, 6)), layer, Dense(2)])
        model.compile(optimizers.SGD(0.0), "mse")
        noisy = {model.train_on_batch(x, y) for _ in range(4)}
        assert len(noisy) == 4
        setattr(layer, name, 0.0)
        assert len({model.train_on_batch(x, y) for _ in range(4)}) == 1


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize(
    ("layer", "shape", "shared"),
    [
        (lambda: Dropout(0.5, (None, 1, None), seed=2), (3, 7, 5), (1,)),
        (lambda: Dropout(0.5, (1, None, 1), seed=2), (3, 7, 5), (0, 2)),
        (lambda: Dropout(0.5, (3, 1, 5), seed=2), (3, 7, 5), (1,)),
        (lambda: layers.SpatialDropout1D(0.5, seed=2), (3, 7, 5), (1,)),
        (lambda: layers.SpatialDropout2D(0.5, seed=2), (3, 7, 4, 5), (1, 2)),
        (lambda: layers.SpatialDropout2D(0.5, "channels_first", 2), (3, 5, 7, 4), (2, 3)),
        (lambda: layers.SpatialDropout3D(0.5, seed=2), (3, 2, 4, 3, 5), (1, 2, 3)),
    ],
)
def test_shared_decisions(isa: str, layer: Any, shape: Shape, shared: tuple[int, ...]) -> None:
    drop, x = layer(), np.abs(normal(*shape)).astype(np.float32) + 0.1
    y = drop(x, training=True)
    kept = y != 0
    np.testing.assert_allclose(y[kept], 2 * x[kept], rtol=1e-6)
    assert (kept == kept.any(axis=shared, keepdims=True)).all()
    assert 0 < kept.mean() < 1
    np.testing.assert_array_equal(drop.backward(np.ones_like(x)) != 0, kept)
    assert_bits(layer()(x, training=True), y)  # the same seed, the same mask
    assert (drop(x, training=True) != y).any()
    assert_bits(drop(x), x)


def test_noise_shapes_that_do_not_fit() -> None:
    for shape in ((None, 2, None), (None, 1), (4, 1, 5)):
        with pytest.raises(
            ValueError, match=r"Dropout 'd': expected an input that noise_shape .* fits, got shape \(3, 7, 5\)"
        ):
            Dropout(0.5, shape, name="d")(np.ones((3, 7, 5)), training=True)
    with pytest.raises(TypeError, match="expected noise_shape None or a tuple"):
        Dropout(0.5, 7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="each entry of noise_shape"):
        Dropout(0.5, (0, 1))
    for make in (AlphaDropout, GaussianDropout):
        with pytest.raises(ValueError, match=r"expected rate"):
            make(1.0)
    with pytest.raises(ValueError, match="expected stddev"):
        GaussianNoise(-0.1)


def test_what_dropout_does_to_a_single_neuron() -> None:
    """Half of the inputs dropped, the rest doubled: exactly what halving the weights does to the mean of the four sub-networks."""
    w, x = np.array([0.5, -1.5], np.float32), np.array([2.0, 3.0], np.float32)
    outputs = [(x * np.array(mask) * 2) @ (w / 2) for mask in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert np.mean(outputs) == x @ (w / 2)
    kept = Dropout(0.5, seed=1)(np.ones((1000, 100)), training=True) != 0
    assert abs(kept.mean() - 0.5) < 3 * (0.25 / kept.size) ** 0.5


def test_alpha_dropout_keeps_mean_and_deviation(isa: str) -> None:
    for rate in (0.05, 0.3, 0.7):
        y = AlphaDropout(rate, seed=1)(normal(2000, 200), training=True).astype(np.float64)
        assert y.mean() == pytest.approx(0, abs=0.01)
        assert y.std() == pytest.approx(1, abs=0.01)
        low = -1.6732632423543772 * 1.0507009873554805
        a = ((1 - rate) * (1 + rate * low**2)) ** -0.5
        dropped = a * low - a * low * rate
        assert np.isclose(y, dropped, atol=1e-4).mean() == pytest.approx(rate, abs=0.01)


def test_gaussian_noise_has_its_deviation(isa: str) -> None:
    ones = np.ones((2000, 200), np.float32)
    noise = GaussianNoise(0.25, seed=1)(ones, training=True).astype(np.float64) - 1
    assert noise.mean() == pytest.approx(0, abs=0.003)
    assert noise.std() == pytest.approx(0.25, rel=0.01)
    times = GaussianDropout(0.2, seed=1)(3 * ones, training=True).astype(np.float64) / 3
    assert times.mean() == pytest.approx(1, abs=0.005)
    assert times.std() == pytest.approx(0.5, rel=0.01)


# ---------------------------------------------------------------- normalization


def test_batches_have_mean_0_and_variance_1() -> None:
    x = (normal(50, 6) * 3 + 7).astype(np.float32)
    y = layers.BatchNormalization(epsilon=1e-7)(x, training=True)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(0), 1, rtol=1e-5)
    rows = layers.LayerNormalization(epsilon=1e-7)(x)
    np.testing.assert_allclose(rows.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(rows.var(1), 1, rtol=1e-5)
    squares = layers.RMSNormalization(epsilon=1e-7)(x)
    np.testing.assert_allclose((squares**2).mean(1), 1, rtol=1e-5)
    image = normal(4, 5, 6, 8)
    groups = layers.GroupNormalization(4, epsilon=1e-7)(image).reshape(4, 30, 4, 2)
    np.testing.assert_allclose(groups.mean((1, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(groups.var((1, 3)), 1, rtol=1e-5)


def test_wrong_axes_and_groups() -> None:
    for axis in (0, 3, [1, 1], [-3, 1], []):
        with pytest.raises(ValueError, match="LayerNormalization 'n': expected axis of an input of rank 3"):
            layers.LayerNormalization(axis, name="n")(np.ones((2, 3, 4)))
    with pytest.raises(
        ValueError, match=r"GroupNormalization 'g': expected channels divisible by groups = 3, got \(N, 4\)"
    ):
        layers.GroupNormalization(3, name="g")(np.ones((2, 4)))
    with pytest.raises(ValueError, match="expected groups"):
        layers.GroupNormalization(0)
    with pytest.raises(ValueError, match=r"expected normalized axes of known size, got \(N, \?, 3\)"):
        layers.LayerNormalization(1)(Input((None, 3)))
    model = Sequential([Input((None, 4)), layers.LayerNormalization(), Dense(1)])
    assert model.predict(np.ones((2, 7, 4)), verbose=0).shape == (2, 7, 1)
    with pytest.raises(TypeError, match="synchronized"):
        layers.BatchNormalization(synchronized=1)  # type: ignore[arg-type]
    assert layers.BatchNormalization(synchronized=True).built is False


# ---------------------------------------------------------------- masks


def masked_data() -> tuple[Array, Array, Array]:
    """Return sequences of which some times are left out, targets, and which are there."""
    x, y = samples(12)
    there = np.random.default_rng(2).random((12, 5)) > 0.4
    there[3] = False
    x[~there] = 0
    return x, y, there


def masked_model(loss: Any = "mse", **compiled: Any) -> Sequential:
    config.set_seed(3)
    model = Sequential(
        [
            Input((5, 6)),
            Masking(),
            Dense(4),
            ReLU(),
            layers.LayerNormalization(),
            Dropout(0.0),
            Dense(2, kernel_regularizer="l2"),
        ]
    )
    model.compile(optimizers.SGD(0.1), loss, **compiled)
    return model


def test_a_loss_is_the_mean_over_what_is_there(isa: str) -> None:
    x, y, there = masked_data()
    model = masked_model()
    errors = ((model.predict(x, verbose=0) - y) ** 2).mean(-1)
    penalty = sum(model.losses)
    assert model.test_on_batch(x, y) == pytest.approx(errors[there].mean() + penalty, rel=1e-5)
    weights = np.random.default_rng(1).random(12).astype(np.float32)
    weighted = (errors * weights[:, None])[there].sum() / there.sum()
    assert model.test_on_batch(x, y, weights) == pytest.approx(weighted + penalty, rel=1e-5)
    assert model.test_on_batch(x * 0, y) == pytest.approx(penalty, rel=1e-6)
    model.fit(x, y, 5, 3, verbose=0)
    eager = masked_model(run_eagerly=True)
    eager.fit(x, y, 5, 3, verbose=0)
    # Both draw the same batches: shuffling follows from the seed as well.
    for got, want in zip(model.get_weights(), eager.get_weights(), strict=True):
        assert_bits(got, want)


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean", "sum", "mean_with_sample_weight"])
@pytest.mark.parametrize("weighted", [False, True])
def test_masks_together_with_an_ignored_class(reduction: str, weighted: bool) -> None:
    x, _, there = masked_data()
    labels = np.random.default_rng(5).integers(-1, 2, (12, 5))
    model = masked_model(losses.SparseCategoricalCrossentropy(True, -1, reduction))
    z = model.predict(x, verbose=0).astype(np.float64)
    errors = np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, np.maximum(labels, 0)[..., None], -1)[..., 0]
    weights = np.random.default_rng(1).random(12).astype(np.float32) if weighted else np.ones(12, np.float32)
    counts = there & (labels >= 0)
    each = np.where(counts, weights[:, None], 0)
    divisor = {"sum": 1, "mean_with_sample_weight": each.sum()}.get(reduction, counts.sum())
    got = model.test_on_batch(x, labels, weights if weighted else None)
    assert got == pytest.approx((each * errors).sum() / divisor + sum(model.losses), rel=1e-5)


def test_a_mask_along_the_axis_of_a_loss_is_refused() -> None:
    model = Sequential([Input((5, 5)), Masking(), layers.PReLU(), layers.Maxout(1), layers.RReLU(seed=1)])
    model.compile("sgd", losses.CosineSimilarity(axis=1))
    x = np.ones((4, 5, 5), np.float32)
    with pytest.raises(ValueError, match=r"expected a mask of shape \(4,\), or of its first axes, got \(4, 5\)"):
        model.test_on_batch(x, x)
    model.compile("sgd", losses.CosineSimilarity())
    x[:, 2:] = 0
    assert model.test_on_batch(x, np.ones_like(x)) == pytest.approx(-1.0, rel=1e-6)


def test_what_is_left_out_changes_nothing() -> None:
    x, y, there = masked_data()
    results = []
    for change in (0.0, 5.0):
        model, targets = masked_model(), y.copy()
        targets[~there] += change
        model.fit(x, targets, 4, 2, verbose=0)
        results.append(state(model))
    assert_same(*results)


def test_masks_through_merges_and_where_they_end() -> None:
    x, y, there = masked_data()
    given, other = Input((5, 6)), Input((5, 6))
    both = layers.Add()([Masking()(given), Masking(mask_value=9.0)(other)])
    model = Model([given, other], Dense(2)(both))
    model.compile("sgd", "mse")
    second = x.copy()
    second[::2] = 9.0
    anything = there.copy()
    anything[1::2] = True
    errors = ((model.predict([x, second], verbose=0) - y) ** 2).mean(-1)
    assert model.test_on_batch([x, second], y) == pytest.approx(errors[anything].mean(), rel=1e-5)
    flat = Sequential([Input((5, 6)), Masking(), layers.Flatten(), Dense(2)])
    flat.compile("sgd", "mse")
    with pytest.warns(
        UserWarning, match="Flatten 'flatten.*' does not support masks: what comes after it sees all values"
    ):
        flat.test_on_batch(x, y[:, 0])
    norm = Sequential([Input((5, 6)), Masking(), layers.BatchNormalization(), Dense(2)])
    norm.compile("sgd", "mse")
    with pytest.raises(ValueError, match="expected an input without a mask in training, got one with a mask"):
        norm.train_on_batch(x, y)
    norm.test_on_batch(x, y)


@pytest.mark.parametrize("weights", [None, np.arange(1, 9, dtype=np.float32)])
def test_metrics_leave_masked_rows_out(weights: np.ndarray | None) -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((8, 5, 6)).astype(np.float32)
    y = rng.standard_normal((8, 5, 2)).astype(np.float32)
    there = rng.integers(0, 2, (8, 5)).astype(bool)
    x[~there] = 0
    model = Sequential([Input((5, 6)), Masking(), Dense(2)])
    model.compile("sgd", "mse", metrics=["mae"], weighted_metrics=["mse"])
    logs = model.evaluate(x, y, 3, sample_weight=weights, verbose=0, return_dict=True)
    error = model.predict(x, verbose=0) - y
    each = there * (1 if weights is None else weights[:, None])
    assert logs["mae"] == pytest.approx(np.abs(error).mean(-1)[there].mean(), rel=1e-5)
    assert logs["mse"] == pytest.approx((error**2).mean(-1)[there] @ each[there] / each.sum(), rel=1e-5)


# ---------------------------------------------------------------- functions


def test_a_function_trains_like_the_layer_it_is() -> None:
    results = []
    for layer in (Function(np.tanh, lambda dy, x, y: dy * (1 - y * y)), layers.Activation("tanh")):
        config.set_seed(2)
        model = Sequential([Input((3,)), Dense(4), layer, Dense(2)])
        model.compile("sgd", "mse")
        results.append(model.fit(X, Y, 4, 3, verbose=0, shuffle=False).history["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_a_function_says_that_it_is_python() -> None:
    model = Sequential([Input((3,)), Function(lambda x: x + 1), Dense(2)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="Function is written in Python"):
        model.fit(X, Y, verbose=1)


def test_shapes_of_functions() -> None:
    double = Function(lambda x: np.concatenate([x, x], -1), lambda dy, x, y: dy[:, :3] + dy[:, 3:], (6,))
    model = Sequential([Input((3,)), Dense(3), double, Dense(2)])
    model.compile("sgd", "mse")
    assert model.layers[1].compute_output_shape((None, 3)) == (None, 6)
    model.fit(X, Y, verbose=0)
    summed = Function(lambda x: x.sum(1), lambda dy, x, y: np.repeat(dy[:, None], 5, 1), lambda s: (s[0], *s[2:]))
    assert summed(Input((5, 4))).shape == (None, 4)
    wrong = Function(lambda x: x.sum(-1), name="f")
    with pytest.raises(
        ValueError, match=r"Function 'f': expected forward to return shape \(2, 3\), got \(2,\); say so in"
    ):
        wrong(np.ones((2, 3)))
    back = Function(lambda x: x, lambda dy, x, y: dy[0], name="f")
    back(np.ones((2, 3)), training=True)
    with pytest.raises(ValueError, match=r"Function 'f': expected backward to return shape \(2, 3\), got \(3,\)"):
        back.backward(np.ones((2, 3), np.float32))


def test_functions_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="expected forward to be a function, got 3"):
        Function(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected backward to be a function"):
        Function(np.tanh, "tanh")  # type: ignore[arg-type]
    blind = Function(np.sign, name="f")
    model = Sequential([Input((3,)), Dense(2), blind])
    model.compile("sgd", "mse")
    with pytest.raises(
        ValueError, match="Function 'f': expected a backward function, as layers before it learn, got None"
    ):
        model.fit(X, Y, verbose=0)
    with pytest.raises(
        TypeError, match="Function 'f': expected a layer that can be written to a file, got Python functions"
    ):
        model.save(tmp_path / "model.fastnn")


class BookRelu(layers.Layer):
    """A layer as textbooks write it, with a mask of its own."""

    def forward(self, x: Any, training: bool = False) -> Any:
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dy: Any) -> Any:
        dx = dy.copy()
        dx[self.mask] = 0
        return dx


def test_a_layer_of_a_textbook_keeps_its_own_mask() -> None:
    results = []
    for layer in (BookRelu(), ReLU()):
        config.set_seed(2)
        model = Sequential([Input((3,)), Dense(4), layer, Dense(2)])
        model.compile("sgd", "mse")
        results.append(model.fit(X, Y, 4, 3, verbose=0, shuffle=False).history["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)
