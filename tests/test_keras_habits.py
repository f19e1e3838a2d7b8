"""What Keras users write without a second thought: every form of an argument that they know gives the same numbers."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import QUARTETS as X
from tiny import YES, binary

import fastnn
from fastnn import callbacks, checks, layers, losses, metrics, models, optimizers

RNG = np.random.default_rng(0)


def by_time() -> fastnn.Sequential:
    fastnn.config.set_seed(1)
    model = fastnn.Sequential([fastnn.Input((None, 3)), layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"], weighted_metrics=["accuracy"])
    return model


def distance(y_true: Any, y_pred: Any) -> Any:
    return np.abs(y_true - y_pred)


# ---------------------------------------------------------------- metrics


def test_a_function_or_a_class_is_a_metric(tmp_path: Path) -> None:
    asked = [distance, losses.mean_squared_error, metrics.Recall, functools.partial(distance), "mae", "mse"]
    model = binary(metrics=asked)
    logs = model.evaluate(X, YES, verbose=0, return_dict=True)
    assert list(logs) == ["loss", "distance", "mean_squared_error", "recall", "mean_metric_wrapper", "mae", "mse"]
    np.testing.assert_allclose([logs["distance"], logs["mean_metric_wrapper"]], logs["mae"], rtol=1e-6)
    np.testing.assert_allclose(logs["mean_squared_error"], logs["mse"], rtol=1e-6)
    with pytest.warns(UserWarning, match="the metrics distance, mean_metric_wrapper are functions and not saved"):
        model.save(tmp_path / "m.fastnn")
    assert models.load_model(tmp_path / "m.fastnn").metrics_names == [
        "loss",
        "mean_squared_error",
        "recall",
        "mae",
        "mse",
    ]


def test_metrics_keep_the_name_that_they_were_asked_for_by() -> None:
    asked = ["MAE", "AUC", "Precision", "precision", "root_mean_squared_error", "acc"]
    history = binary(metrics=asked).fit(X, YES, verbose=0).history
    assert list(history) == ["loss", *asked]


def test_a_weighted_metric_beside_the_plain_one() -> None:
    model = binary(metrics=["acc"], weighted_metrics=["acc", "mae"])
    weights = np.arange(20.0)
    logs = model.evaluate(X, YES, sample_weight=weights, verbose=0, return_dict=True)
    assert list(logs) == ["loss", "acc", "weighted_acc", "mae"]
    right = (model.predict(X, verbose=0) > 0.5) == (YES > 0.5)
    np.testing.assert_allclose(logs["acc"], right.mean(), rtol=1e-6)
    np.testing.assert_allclose(logs["weighted_acc"], (right[:, 0] * weights).sum() / weights.sum(), rtol=1e-6)


def test_monitors_know_that_more_auc_is_better_in_either_spelling() -> None:
    assert callbacks.EarlyStopping("val_AUC").rising
    assert callbacks.EarlyStopping("val_auc").rising
    assert not callbacks.EarlyStopping("val_loss").rising


# ---------------------------------------------------------------- weights of losses


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_a_weight_for_every_time(shape: tuple[int, ...]) -> None:
    model = by_time()
    x, y = RNG.random((6, 5, 3), np.float32), RNG.integers(0, 2, (6, 5))
    weights = RNG.random((6, 5))
    given = weights.reshape(shape)
    loss, plain, weighted = model.evaluate(x, y, sample_weight=given, verbose=0)
    p = model.predict(x, verbose=0)
    each = -np.log(np.take_along_axis(p, y[..., None], -1))[..., 0]
    right = p.argmax(-1) == y
    expected = (weights * each).mean(), right.mean(), (weights * right).sum() / weights.sum()
    np.testing.assert_allclose((loss, plain, weighted), expected, rtol=1e-5)
    of_batch = by_time().train_on_batch(x, y, sample_weight=given)
    np.testing.assert_allclose(of_batch, expected, rtol=1e-5)
    trained, other = by_time(), by_time()
    trained.fit(x, y, sample_weight=given, validation_data=(x, y, given), batch_size=4, epochs=2, verbose=0)
    other.fit(x, y, sample_weight=weights, batch_size=4, epochs=2, verbose=0)
    for a, b in zip(trained.get_weights(), other.get_weights()):
        assert (a == b).all()


def test_a_weight_for_every_sample_of_any_length() -> None:
    x, y, weights = RNG.random((6, 5, 3), np.float32), RNG.integers(0, 2, (6, 5)), RNG.random(6)
    expected = by_time().evaluate(x, y, sample_weight=np.repeat(weights[:, None], 5, 1), verbose=0)
    assert by_time().evaluate(x, y, sample_weight=weights, verbose=0) == expected
    with pytest.raises(ValueError, match=r"expected sample_weight of shape \(6,\) or \(6, 5\), got \(5, 6\)"):
        by_time().evaluate(x, y, sample_weight=np.ones((5, 6)), verbose=0)


def test_class_weight_by_names_of_classes_is_refused() -> None:
    for wrong in ({"0": 1.0}, [1.0, 2.0], "balanced"):
        with pytest.raises(
            TypeError, match=r"expected class_weight as a dict of class number to weight, got .*; write"
        ):
            binary().fit(X, YES, class_weight=wrong, verbose=0)


# ---------------------------------------------------------------- the rest


def test_input_dim() -> None:
    model = fastnn.Sequential([layers.Dense(3, input_dim=4), layers.Dense(2)])
    assert model.input_shape == (None, 4)
    assert model.count_params() == 15 + 8
    with pytest.raises(TypeError, match="Dense: expected input_dim to be an integer >= 1, got '4'"):
        layers.Dense(3, input_dim="4")  # type: ignore[arg-type]


def test_the_end_of_a_training_gets_the_last_logs() -> None:
    seen: list[dict[str, float]] = []
    watch = callbacks.LambdaCallback(on_train_end=lambda logs: seen.append(dict(logs)))
    history = binary(metrics=["mae"]).fit(X, YES, epochs=2, validation_split=0.2, callbacks=[watch], verbose=0).history
    assert seen == [{name: values[-1] for name, values in history.items()}]


@pytest.mark.parametrize(("x", "says"), [(None, "None"), (lambda: iter(()), "call the function")])
def test_no_samples(x: Any, says: str) -> None:
    for method in (lambda: binary().fit(x, verbose=0), lambda: binary().predict(x, verbose=0)):
        with pytest.raises(TypeError, match=f"expected samples x, got .*{says}"):
            method()


def test_one_sample_is_no_batch() -> None:
    with pytest.raises(ValueError, match=r"expected x of shape \(samples, ...\), got shape \(4,\); .* x\[None\]"):
        binary().predict(X[0], verbose=0)


def test_errors_say_how_to_give_an_optimizer() -> None:
    with pytest.raises(TypeError, match=r"got <class .*; make an object of the class: Adam\(\)"):
        optimizers.get(optimizers.Adam)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected a name or an Optimizer, got 3 \(int\); write 'adam' or Adam"):
        optimizers.get(3)  # type: ignore[arg-type]


def test_an_unknown_name_is_listed_once() -> None:
    with pytest.raises(ValueError, match=r"expected mode to be one of 'a', 'b', got 'zzz'$"):
        checks.one_of("f", "mode", "zzz", ("a", "b"))


def test_warnings_point_to_the_line_of_the_user(tmp_path: Path) -> None:
    def batches() -> Any:
        yield X, YES

    model = binary(metrics=[distance])
    calls = [
        lambda: model.fit(X, YES, verbose=2),  # written in Python
        lambda: model.fit(batches(), epochs=2, verbose=0),  # ended
        lambda: model.fit(batches(), steps_per_epoch=3, verbose=0),  # in the middle of an epoch
        lambda: model.fit(X, YES, callbacks=callbacks.EarlyStopping(), verbose=0),  # no val_loss
        lambda: model.save(tmp_path / "m.fastnn"),  # a function
        lambda: optimizers.SGD(nesterov=True),
    ]
    for call in calls:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            call()
        assert [w.filename for w in caught] == [__file__]


# ---------------------------------------------------------------- names


def test_variables() -> None:
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    for thing in (model, *model.layers):
        for kind in ("", "trainable_", "non_trainable_"):
            assert getattr(thing, f"{kind}variables") == getattr(thing, f"{kind}weights")
    kernel = model.layers[0].kernel
    assert kernel.path == kernel.name == f"{model.layers[0].name}/kernel"


def test_a_parameter_is_an_array_to_numpy() -> None:
    kernel = layers.Dense(3, kernel_initializer="ones")
    kernel.build((None, 4))
    array = np.array(kernel.kernel)
    assert array.shape == (4, 3)
    assert array.dtype == np.float32
    assert np.asarray(kernel.kernel, np.float64).dtype == np.float64
    assert np.sum(kernel.kernel) == 12
    array[...] = 0
    assert kernel.kernel.value.all()
    with pytest.raises(ValueError, match="`value` is the array itself"):
        kernel.kernel.__array__(copy=False)


def test_other_names_of_classes() -> None:
    assert fastnn.initializers.he_normal is fastnn.initializers.HeNormal  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="has no attribute 'he_narmal'"):
        _ = fastnn.initializers.he_narmal  # type: ignore[attr-defined]


def test_a_layer_as_an_activation() -> None:
    dense = layers.Dense(3, activation=layers.LeakyReLU(negative_slope=0.1), kernel_initializer="ones")
    assert dense(np.array([[-1.0, 0.0]])).tolist() == [[pytest.approx(-0.1)] * 3]
    again = layers.Dense.from_config(dense.get_config())
    assert again.activation.parameters == dense.activation.parameters
    for other in (layers.PReLU(), layers.Dense(3)):
        with pytest.raises(TypeError, match="activation: expected a name or an Activation"):
            layers.Dense(3, activation=other)


def test_initials_are_understood() -> None:
    with pytest.raises(TypeError, match="Adam: expected only known arguments, got 'lr'; did you mean 'learning_rate'"):
        optimizers.Adam(lr=0.1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Dense: expected only known arguments, got 'xyzw'; valid: .*") as raised:
        layers.Dense(3, xyzw=1)
    names = str(raised.value).rpartition(": ")[2].split(", ")
    assert len(set(names)) == len(names)
    assert "base" not in names
    assert "kernel_constraint" in names


def test_clear_session() -> None:
    fastnn.utils.clear_session()
    assert [layers.Dense(3).name for _ in range(2)] == ["dense", "dense_1"]
    fastnn.utils.clear_session()
    assert layers.Dense(3).name == "dense"


# ---------------------------------------------------------------- tensors, weights


def test_tensors_and_numbers(tmp_path: Path) -> None:
    x = fastnn.Input((4,))
    model = fastnn.Model(x, [x + 1, 2 + x, x - 1, 1 - x, x * 3, np.float32(3) * x, x / 4, -x])
    values = model.predict(X, verbose=0)
    for got, expected in zip(values, [X + 1, 2 + X, X - 1, 1 - X, X * 3, 3 * X, X / 4, -X], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    model.save(tmp_path / "m.fastnn")
    assert (models.load_model(tmp_path / "m.fastnn").predict(X, verbose=0)[3] == values[3]).all()
    trained = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(3)])
    h = trained.output * 2 - 1
    graph = fastnn.Model(trained.inputs, h / 2)
    graph.compile("sgd", "mse")
    assert graph.check_gradients().ok
    for wrong in (lambda: x + "a", lambda: x**2, lambda: 1 / x, lambda: x + X):
        with pytest.raises(TypeError):
            wrong()


def test_several_tensors_are_one_argument() -> None:
    a, b = fastnn.Input((3,)), fastnn.Input((3,))
    with pytest.raises(TypeError, match=r"Concatenate 'c': expected its inputs as one argument, got two; write layer"):
        layers.Concatenate(name="c")(a, b)


def test_trainable_is_yes_or_no() -> None:
    layer = layers.Dense(3, name="d")
    with pytest.raises(TypeError, match=r"Dense 'd': expected trainable to be True or False, got 'no' \(str\)"):
        layer.trainable = "no"  # type: ignore[assignment]
    assert layer.trainable


def test_names_of_weights_as_tensorflow_writes_them() -> None:
    model = fastnn.Sequential([fastnn.Input((4,)), layers.Dense(3, name="d")])
    report = model.load_weights({"d/kernel:0": np.ones((4, 3)), "d/bias:0": np.zeros(3)})
    assert report.complete
    assert model.predict(np.ones((1, 4)), verbose=0).tolist() == [[4.0] * 3]


def test_nothing_is_no_array() -> None:
    with pytest.raises(TypeError, match=r"Dense 'd': expected input of a real dtype .*, got None$"):
        layers.Dense(3, name="d")(None)


class Rows(fastnn.utils.PyDataset):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ends = 0

    def __len__(self) -> int:
        return 3

    def __getitem__(self, i: int) -> Any:
        return X[8 * i : 8 * i + 8], YES[8 * i : 8 * i + 8]

    def on_epoch_end(self) -> None:
        self.ends += 1


def test_batches_of_a_dataset_class() -> None:
    data = Rows(workers=2, use_multiprocessing=True)
    model, other = binary(), binary()
    history = model.fit(data, epochs=2, validation_data=Rows(), verbose=0).history
    expected = other.fit(X, YES, batch_size=8, epochs=2, shuffle=False, validation_data=(X, YES), verbose=0).history
    assert history["loss"] == expected["loss"]
    np.testing.assert_allclose(history["val_loss"], expected["val_loss"], rtol=1e-6)
    assert data.ends == 2
    assert data.num_batches == 3
    assert (model.predict(data, verbose=0) == model.predict(X, verbose=0)).all()
    assert fastnn.utils.Sequence is fastnn.utils.PyDataset
    with pytest.raises(TypeError, match="PyDataset: expected a class with __len__"):
        model.fit(fastnn.utils.PyDataset(), verbose=0)


def test_what_layers_and_models_say_of_themselves() -> None:
    layer = layers.Dense(2)
    assert (layer.dtype, layer.compute_dtype) == ("float32", "float32")
    model = fastnn.Sequential([fastnn.Input(batch_shape=(None, 3)), layer])
    assert (model.dtype, model.compiled, model.input_shape) == ("float32", False, (None, 3))
    model.compile("sgd", "mse")
    assert (model.compiled, model.metrics_names) == (True, ["loss"])
