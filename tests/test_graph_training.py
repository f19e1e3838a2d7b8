"""Training with several inputs and outputs: losses, weights, metrics, names in logs, kinds of data, error texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import Array
from errors import check
from gradcheck import normal
from tolerances import assert_bits, assert_close

from fastnn import Input, Model, config, losses, metrics, names
from fastnn.layers import Concatenate, Dense

N = 22
A, B = normal(N, 5).astype(np.float32), np.random.default_rng(1).integers(0, 3, (N, 3)).astype(np.uint8)
LABELS, VALUES, BITS = np.arange(N) % 3, normal(N, 2, seed=2).astype(np.float32), (np.arange(N) % 2)[:, None]
LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mse", "yes": "binary_crossentropy"}
WEIGHTS = {"kind": 2.0, "size": 0.5, "yes": 1.0}


@pytest.fixture(autouse=True)
def _names_from_the_start() -> None:
    names.clear_names()


def model_of(as_dict: bool = False, **compiled: Any) -> Model:
    """Return a model of two inputs and three outputs, compiled; its weights are always the same."""
    config.set_seed(3)
    a, b = Input((5,), name="a"), Input((3,), name="b")
    h = Concatenate()([Dense(4, "tanh")(a), b])
    ends = [Dense(3, "softmax", name="kind")(h), Dense(2, name="size")(h), Dense(1, "sigmoid", name="yes")(h)]
    model = Model([a, b], {t.name: t for t in ends} if as_dict else ends)
    model.shuffle_seed = 5
    model.compile("adam", **({"loss": LOSSES} | compiled))
    return model


def x_list() -> list[Array]:
    return [A, B]


def y_list() -> list[Array]:
    return [LABELS, VALUES, BITS]


def test_names_in_logs_are_those_of_keras() -> None:
    model = model_of(metrics={"kind": ["accuracy"], "yes": ["accuracy", "mae"]}, loss_weights=WEIGHTS)
    history = model.fit(x_list(), y_list(), 8, 2, verbose=0, validation_split=0.3).history
    expected = ["loss", "kind_loss", "size_loss", "yes_loss", "kind_accuracy", "yes_accuracy", "yes_mae"]
    assert model.metrics_names == expected
    assert list(history) == [*expected, *(f"val_{name}" for name in expected)]
    for prefix in ("", "val_"):
        for i in (0, 1):
            total = sum(WEIGHTS[name] * history[f"{prefix}{name}_loss"][i] for name in LOSSES)
            assert history[f"{prefix}loss"][i] == pytest.approx(total, rel=1e-12)
    result = model.evaluate(x_list(), y_list(), verbose=0, return_dict=True)
    assert list(result) == expected
    assert model.evaluate(x_list(), y_list(), verbose=0) == list(result.values())
    assert isinstance(model.metrics[0], metrics.SparseCategoricalAccuracy)
    assert isinstance(model.metrics[1], metrics.BinaryAccuracy)


def test_losses_and_metrics_are_those_of_the_outputs() -> None:
    model = model_of(metrics=[["accuracy"], None, "mse"], loss_weights=[2.0, 0.5, 1.0])
    kind, size, yes = model.predict(x_list(), verbose=0)
    logs = model.evaluate(x_list(), y_list(), 7, verbose=0, return_dict=True)
    assert_close(np.array(logs["kind_loss"]), losses.SparseCategoricalCrossentropy()(LABELS, kind), 1e-6)
    assert_close(np.array(logs["size_loss"]), losses.MeanSquaredError()(VALUES, size), 1e-6)
    assert_close(np.array(logs["yes_loss"]), losses.BinaryCrossentropy()(BITS, yes), 1e-6)
    assert logs["kind_accuracy"] == pytest.approx((kind.argmax(1) == LABELS).mean())
    assert logs["yes_mse"] == pytest.approx(((yes - BITS) ** 2).mean(), rel=1e-5)


def test_gradients_are_those_of_the_weighted_sum() -> None:
    """Against the explicit loop: forward, a loss and its gradient per output, one backward."""
    model, other = model_of(loss_weights=WEIGHTS), model_of()
    model.run_eagerly = True  # a recorded step does not store every gradient
    model.train_on_batch(x_list(), y_list())
    outputs = other.forward(x_list(), training=True)
    gradients = []
    for name, y, out in zip(LOSSES, y_list(), outputs, strict=True):
        loss = losses.get(LOSSES[name])
        loss.forward(y, out)
        gradients.append(np.float32(WEIGHTS[name]) * loss.backward())
    other.backward(gradients)
    for p, q in zip(model.weights, other.weights, strict=True):
        assert_close(p.gradient, q.gradient, 1e-5 * float(np.linalg.norm(q.gradient)), p.name)


def trained(model: Model, x: Any, y: Any, **options: Any) -> list[Array]:
    history = model.fit(x, y, 8, 3, verbose=0, validation_split=0.2, **options).history
    outputs = model.predict(x, 5, verbose=0)
    parts = list(outputs.values()) if isinstance(outputs, dict) else outputs
    return [*map(np.asarray, history.values()), *parts, *model.get_weights()]


def assert_all_bits(got: list[Array], expected: list[Array], what: str = "") -> None:
    for a, b in zip(got, expected, strict=True):
        assert_bits(a, b, what)


def test_lists_and_dicts_and_kinds_of_losses_are_the_same() -> None:
    expected = trained(model_of(loss_weights=WEIGHTS), x_list(), y_list())
    by_name = dict(zip(LOSSES, y_list(), strict=True))
    ways: dict[str, Callable[[], list[Array]]] = {
        "x by name": lambda: trained(model_of(loss_weights=WEIGHTS), {"b": B, "a": A}, y_list()),
        "y by name": lambda: trained(model_of(loss_weights=WEIGHTS), (A, B), by_name),
        "outputs by name": lambda: trained(model_of(as_dict=True, loss_weights=WEIGHTS), x_list(), by_name),
        "y of a dict as a list": lambda: trained(model_of(as_dict=True, loss_weights=WEIGHTS), x_list(), y_list()),
        "losses as a list": lambda: trained(
            model_of(loss=[losses.get(loss) for loss in LOSSES.values()], loss_weights=[2, 0.5, 1.0]),
            x_list(),
            y_list(),
        ),
        "other dtypes": lambda: trained(
            model_of(loss_weights=WEIGHTS),
            [A.astype(np.float64), B],
            [LABELS.astype(np.int8), VALUES, BITS.astype(bool)],
        ),
    }
    for name, way in ways.items():
        assert_all_bits(way(), expected, name)
    assert isinstance(model_of(as_dict=True).predict(x_list(), verbose=0), dict)


def test_one_loss_for_all_outputs() -> None:
    model = model_of(loss="mse")
    y = [normal(N, units) for units in (3, 2, 1)]
    assert model.fit(x_list(), y, verbose=0).history["kind_loss"][0] > 0
    assert [type(loss) for loss in model.loss] == [losses.MeanSquaredError] * 3


def test_sample_weights() -> None:
    weights = np.arange(N, dtype=np.float32) / N

    def logs(sample_weight: Any) -> dict[str, float]:
        return model_of().evaluate(x_list(), y_list(), verbose=0, sample_weight=sample_weight, return_dict=True)  # type: ignore[no-any-return]

    plain, of_all = logs(None), logs(weights)
    assert logs([weights] * 3) == of_all
    assert logs({"kind": weights, "size": weights, "yes": weights}) == of_all
    some = logs([weights, None, None])
    assert some["kind_loss"] == of_all["kind_loss"] != plain["kind_loss"]
    assert some["size_loss"] == plain["size_loss"] != of_all["size_loss"]


def test_replayed_and_eager_steps_and_threads_give_the_same_bits(isa: str) -> None:
    config.set_num_threads(1)
    wanted: dict[str, Any] = {"metrics": {"kind": ["accuracy"]}, "loss_weights": WEIGHTS}
    expected = trained(model_of(**wanted), x_list(), y_list())
    for threads, eager in ((1, True), (2, False), (2, True)):
        config.set_num_threads(threads)
        assert_all_bits(
            trained(model_of(run_eagerly=eager, **wanted), x_list(), y_list()), expected, f"{threads} {eager}"
        )
    config.set_backend("numpy")
    for twin, native in zip(trained(model_of(**wanted), x_list(), y_list()), expected, strict=True):
        assert_close(twin, native, 1e-4 * (1 + float(np.abs(native).max())))


def test_a_callback_may_use_the_model_within_an_epoch() -> None:
    from fastnn.callbacks import LambdaCallback

    expected = trained(model_of(), x_list(), y_list())
    model = model_of()
    seen: list[Any] = []

    def look(batch: int, logs: Any) -> None:
        seen.append(model.predict([A[:3], B[:3]], verbose=0))

    got = trained(model, x_list(), y_list(), callbacks=[LambdaCallback(on_train_batch_end=look)])
    assert len(seen) == 9
    assert_all_bits(got, expected)


def test_train_and_test_on_batch() -> None:
    model = model_of(metrics={"kind": "accuracy"})
    before = model.test_on_batch(x_list(), y_list(), return_dict=True)
    assert list(before) == model.metrics_names
    first = model.train_on_batch(x_list(), y_list(), return_dict=True)
    assert first == before
    for _ in range(20):
        model.train_on_batch(x_list(), y_list())
    assert model.test_on_batch(x_list(), y_list())[0] < first["loss"]
    assert [y.shape for y in model.predict_on_batch(x_list())] == [(N, 3), (N, 2), (N, 1)]


def test_wrong_data_and_arguments() -> None:
    model = model_of()
    names_of_y = "'kind', 'size', 'yes'"
    cases: list[tuple[Callable[[], Any], type[Exception], str]] = [
        (
            lambda: model.fit(A, y_list()),
            TypeError,
            "fit: expected x as a list of 2 or a dict with the keys 'a', 'b', got ndarray...",
        ),
        (
            lambda: model.fit([A], y_list()),
            ValueError,
            "fit: expected x as a list of 2 or a dict with the keys 'a', 'b', got 1",
        ),
        (lambda: model.fit({"a": A}, y_list()), ValueError, "fit: expected x with the keys 'a', 'b', got 'a'"),
        (
            lambda: model.fit({"a": A, "b": B, "c": B}, y_list()),
            ValueError,
            "fit: expected x with the keys 'a', 'b', got 'a', 'b', 'c'; ...",
        ),
        (
            lambda: model.fit([A, B[:5]], y_list()),
            ValueError,
            "fit: expected x and x['b'] of the same length, got 22 and 5 samples",
        ),
        (lambda: model.fit([A, np.full(N, "s")], y_list()), TypeError, "fit: expected x['b'] of a real dtype...x..."),
        (
            lambda: model.fit([A, B[:, 0]], y_list()),
            ValueError,
            "fit: expected x['b'] of shape (samples, ...), got shape (22,); ...",
        ),
        (
            lambda: model.fit([A, A], y_list()),
            ValueError,
            "Dense 'kind': expected input of shape (N, 7), got (N, 9); ...",
        ),
        (
            lambda: model.fit(x_list(), LABELS),
            TypeError,
            f"fit: expected y as a list of 3 or a dict with the keys {names_of_y}, got ...",
        ),
        (
            lambda: model.fit(x_list(), [LABELS, VALUES, BITS[:3]]),
            ValueError,
            "fit: expected x and y of the same length, got 22 and 3 samples",
        ),
        (
            lambda: model.fit(x_list(), [LABELS, BITS, BITS]),
            ValueError,
            "MeanSquaredError: expected y_true of shape (N, 2), that of ...",
        ),
        (
            lambda: model.fit(x_list(), y_list(), class_weight={0: 1.0}),
            ValueError,
            "fit: expected class_weight for one output only, got 3 ...",
        ),
        (
            lambda: model.fit(x_list(), y_list(), sample_weight=[BITS[:, 0]]),
            ValueError,
            "fit: expected sample_weight as a list of 3 or ...",
        ),
        (
            lambda: model_of(loss=["mse"]),
            ValueError,
            f"compile: expected loss as a list of 3 or a dict with the keys {names_of_y}, got 1",
        ),
        (
            lambda: model_of(loss={**LOSSES, "yess": "mse"}),
            ValueError,
            "compile: expected loss with the keys ...; did you mean 'yes'?",
        ),
        (lambda: model_of(loss=["mse", "mse", None]), TypeError, "loss: expected a name or a Loss, got None..."),
        (
            lambda: model_of(metrics=["accuracy"]),
            ValueError,
            "compile: expected metrics as a list of 3, one entry per output, or a dict ...",
        ),
        (
            lambda: model_of(metrics="accuracy"),
            TypeError,
            "compile: expected metrics as a list, got 'accuracy' (str); ...",
        ),
        (
            lambda: model_of(metrics={"kin": ["accuracy"]}),
            ValueError,
            "compile: expected metrics with keys among ...; did you mean 'kind'?",
        ),
        (lambda: model_of(metrics={"kind": ["accurac"]}), ValueError, "metric: expected name to be one of ..."),
        (lambda: model_of(loss_weights=[1.0, 2.0]), ValueError, "compile: expected loss_weights as a list of 3 ..."),
        (lambda: model_of(loss_weights=2.0), TypeError, "compile: expected loss_weights as a list of 3 ..."),
        (
            lambda: model_of(loss_weights=[1.0, 2.0, np.nan]),
            ValueError,
            "compile: expected loss_weights to be a finite number, got nan",
        ),
        (lambda: model.backward([VALUES]), ValueError, "Model 'functional': expected dy as a list of 3 ..."),
    ]
    same = metrics.MeanSquaredError()
    text = "compile: expected an object of its own for every output's metric, got the same one twice; give names"
    check(lambda: model_of(metrics=[None, same, [same, "mae"]]), ValueError, text)
    before = model.get_weights()
    for use, error, text in cases:
        check(use, error, text)
    assert_all_bits(model.get_weights(), before)
