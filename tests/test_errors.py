"""Bad input is refused with a text that names who refuses it, what was expected, what came and how to mend it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from errors import check
from tiny import X, Y, line
from tolerances import assert_bits

from fastnn import Sequential
from fastnn.layers import Conv2D, Dense, Flatten, Input
from fastnn.models import load_model

LABELS = np.arange(10) % 3


def classifier(loss: str = "sparse_categorical_crossentropy") -> Sequential:
    model = Sequential([Input((3,)), Dense(3, activation="softmax", name="last")])
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


REAL = "of a real dtype (bool, integers, float16/32/64)"
CONVERT = "; convert it first, e.g. x.astype('float32')"


# ---------------------------------------------------------------- samples

SAMPLES: dict[str, tuple[Any, type[Exception], str]] = {
    "one axis": (
        np.zeros(10),
        ValueError,
        "fit: expected x of shape (samples, ...), got shape (10,); give one feature an axis, x.reshape(-1, 1), or ...",
    ),
    "number": (5.0, ValueError, "fit: expected x of shape (samples, ...), got shape (); ..."),
    "features": (np.zeros((10, 4)), ValueError, "Dense 'last': expected input of shape (N, 3), got (..., 4); ..."),
    "axes": (np.zeros((10, 3, 1)), ValueError, "Dense 'last': expected input of shape (N, 3), got (..., 3, 1); ..."),
    "nothing": (np.zeros((0, 3)), ValueError, "fit: expected at least one sample, got x of shape (0, 3)"),
    "None": (None, TypeError, "fit: expected samples x, got None (NoneType)"),
    "complex": (np.zeros((10, 3), complex), TypeError, f"fit: expected x {REAL}, got dtype complex128{CONVERT}"),
    "object": (np.full((10, 3), None), TypeError, f"fit: expected x {REAL}, got dtype object{CONVERT}"),
    "strings": (np.full((10, 3), "a"), TypeError, f"fit: expected x {REAL}, got dtype <U1{CONVERT}"),
    "bytes": (np.full((10, 3), b"a"), TypeError, f"fit: expected x {REAL}, got dtype |S1{CONVERT}"),
    "dates": (np.zeros((10, 3), "M8[s]"), TypeError, f"fit: expected x {REAL}, got dtype datetime64[s]{CONVERT}"),
    "records": (np.zeros((10, 3), "f4,f4"), TypeError, f"fit: expected x {REAL}, got dtype [...{CONVERT}"),
    "masked": (
        np.ma.masked_equal(X, 0),
        TypeError,
        "fit: expected x to be a plain array, got a masked array; fill it first: x.filled(value)",
    ),
    "uneven rows": (
        [[1, 2, 3], [4, 5]],
        ValueError,
        "fit: expected x to be a rectangular array, got ...; give all rows the same length",
    ),
    "too large": (
        np.full((10, 3), 1e39),
        ValueError,
        "fit: expected x within the range of float32 (3.4e38), got larger values; scale the data",
    ),
}


@pytest.mark.parametrize(("x", "error", "text"), SAMPLES.values(), ids=SAMPLES)
def test_samples(x: Any, error: type[Exception], text: str) -> None:
    model = classifier()
    before = model.get_weights()
    check(lambda: model.fit(x, LABELS, verbose=0), error, text)
    for name, use in {
        "evaluate": lambda: model.evaluate(x, LABELS, verbose=0),
        "fit": lambda: model.train_on_batch(x, LABELS),
        "predict": lambda: model.predict(x, verbose=0),
    }.items():
        if text.startswith("fit: expected at least one sample") and name == "predict":
            assert use().shape == (0, 3)
        else:
            check(use, error, text.replace("fit:", f"{name}:"))
    for w, old in zip(model.get_weights(), before, strict=True):
        assert_bits(w, old)
    model.fit(X, LABELS, verbose=0)


# ---------------------------------------------------------------- targets

SPARSE = "SparseCategoricalCrossentropy: expected "
ONE_HOT = "CategoricalCrossentropy: expected "

TARGETS: dict[str, tuple[str, Any, type[Exception], str]] = {
    "none": ("sparse", None, ValueError, "fit: expected targets y, got None"),
    "fewer": ("sparse", LABELS[:9], ValueError, "fit: expected x and y of the same length, got 10 and 9 samples"),
    "more": ("mse", np.zeros((11, 3)), ValueError, "fit: expected x and y of the same length, got 10 and 11 samples"),
    "label too large": (
        "sparse",
        LABELS + 1,
        ValueError,
        SPARSE + "labels from 0 to 2, got labels from 1 to 3; number the classes from 0 and give the last layer ...",
    ),
    "negative label": ("sparse", LABELS - 1, ValueError, SPARSE + "labels from 0 to 2, got labels from -1 to 1; ..."),
    "fractions": (
        "sparse",
        LABELS + 0.5,
        ValueError,
        SPARSE + "integer labels, got fractions such as 0.5; is this a regression?",
    ),
    "NaN label": (
        "sparse",
        np.where(LABELS > 1, np.nan, LABELS),
        ValueError,
        SPARSE + "labels without NaN, got 3 NaN; drop those samples",
    ),
    "infinite label": (
        "sparse",
        np.where(LABELS > 1, np.inf, LABELS),
        ValueError,
        SPARSE + "labels from 0 to 2, got ...",
    ),
    "one-hot for labels": (
        "sparse",
        np.eye(3)[LABELS],
        ValueError,
        SPARSE
        + "integer labels of shape (N,), got shape (10, 3); one-hot targets go with categorical_crossentropy, ...",
    ),
    "axes": (
        "sparse",
        np.zeros((10, 3, 1)),
        ValueError,
        SPARSE + "integer labels of shape (N,), got shape (10, 3, 1)...",
    ),
    "words": ("sparse", np.full(10, "cat"), TypeError, SPARSE + f"y_true {REAL}, got dtype <U3{CONVERT}"),
    "bool labels": ("sparse one", LABELS > 0, ValueError, SPARSE + "labels from 0 to 0, got labels from 0 to 1; ..."),
    "labels for one-hot": (
        "categorical",
        LABELS,
        ValueError,
        ONE_HOT + "y_true of shape (N, 3), that of the predictions, got (10,); for integer labels use sparse_...",
    ),
    "too many columns": (
        "categorical",
        np.eye(4)[LABELS],
        ValueError,
        ONE_HOT + "y_true of shape (N, 3), ..., got (10, 4)...",
    ),
    "NaN target": (
        "mse",
        np.full((10, 3), np.nan),
        ValueError,
        "MeanSquaredError: expected y_true without NaN, got 30 NaN; drop or fill those samples",
    ),
    "wrong columns": (
        "mae",
        np.zeros((10, 2)),
        ValueError,
        "MeanAbsoluteError: expected y_true of shape (N, 3), that of the predictions, got (10, 2); give the last layer ...",
    ),
    "beyond yes and no": (
        "binary",
        np.eye(3)[LABELS] * 2,
        ValueError,
        "BinaryCrossentropy: expected y_true within [0, 1], got values from 0 to 2; use labels 0 and 1",
    ),
    "complex": ("mse", np.zeros((10, 3), complex), TypeError, f"MeanSquaredError: expected y_true {REAL}, got ..."),
    "masked": (
        "mse",
        np.ma.masked_equal(X, 0),
        TypeError,
        "MeanSquaredError: expected y_true to be a plain array, ...",
    ),
}
LOSS_NAMES = {"sparse": "sparse_categorical_crossentropy", "categorical": "categorical_crossentropy"}


@pytest.mark.filterwarnings("ignore:compile")  # a categorical loss behind a sigmoid
@pytest.mark.parametrize(("loss", "y", "error", "text"), TARGETS.values(), ids=TARGETS)
def test_targets(loss: str, y: Any, error: type[Exception], text: str) -> None:
    name = LOSS_NAMES.get(loss.split()[0], "binary_crossentropy" if loss == "binary" else loss)
    model = Sequential([Input((3,)), Dense(1 if "one" in loss else 3, activation="sigmoid")])
    model.compile("sgd", name)
    before = model.get_weights()
    check(lambda: model.fit(X, y, verbose=0), error, text)
    check(lambda: model.evaluate(X, y, verbose=0), error, text.replace("fit:", "evaluate:"))
    good = LABELS * 0 if loss.startswith("sparse") else np.zeros((10, 3))
    check(
        lambda: model.fit(X, good, validation_data=(X, y), verbose=0),
        error,
        text.replace("fit:", "fit: validation_data:"),
    )
    for w, old in zip(model.get_weights(), before, strict=True):
        assert_bits(w, old)


# ---------------------------------------------------------------- options of fit

OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch size 0": ({"batch_size": 0}, ValueError, "fit: expected batch_size to be an integer >= 1, got 0"),
    "batch size": ({"batch_size": 2.5}, TypeError, "fit: expected batch_size to be an integer >= 1, got 2.5 (float)"),
    "epochs": ({"epochs": -1}, ValueError, "fit: expected epochs to be an integer >= 0, got -1"),
    "initial epoch": (
        {"initial_epoch": "1"},
        TypeError,
        "fit: expected initial_epoch to be an integer >= 0, got '1' (str)",
    ),
    "split 1": (
        {"validation_split": 1.0},
        ValueError,
        "fit: expected validation_split to be a finite number >= 0 and < 1, got 1.0",
    ),
    "split too large": (
        {"validation_split": 0.99},
        ValueError,
        "fit: expected validation_split that leaves samples ...",
    ),
    "frequency": ({"validation_freq": 0}, ValueError, "fit: expected validation_freq to be an integer >= 1, got 0"),
    "validation size 0": (
        {"validation_data": (X, Y), "validation_batch_size": 0},
        ValueError,
        "fit: expected validation_batch_size to be an integer >= 1, got 0",
    ),
    "validation size": (
        {"validation_data": (X, Y), "validation_batch_size": -3},
        ValueError,
        "fit: expected validation_batch_size to be an integer >= 1, got -3",
    ),
    "validation samples only": (
        {"validation_data": X},
        ValueError,
        "fit: expected validation_data=(x, y) or (x, y, sample_weight), got ndarray of shape (10, 3), dtype float32",
    ),
    "no validation samples": (
        {"validation_data": (X[:0], Y[:0])},
        ValueError,
        "fit: validation_data: expected at least one sample, got x of shape (0, 3)",
    ),
    "validation features": (
        {"validation_data": (X[:, :2], Y)},
        ValueError,
        "Dense '...': expected input of shape (N, 3), got ...",
    ),
    "validation length": (
        {"validation_data": (X, Y[:4])},
        ValueError,
        "fit: validation_data: expected x and y of the same length, got 10 and 4 samples",
    ),
    "weights": ({"sample_weight": np.ones(9)}, ValueError, "fit: expected sample_weight of shape (10,), got (9,)"),
    "NaN weight": (
        {"sample_weight": np.full(10, np.nan)},
        ValueError,
        "fit: expected finite sample_weight, got NaN or infinity",
    ),
    "weight words": (
        {"sample_weight": ["a"] * 10},
        TypeError,
        f"fit: expected sample_weight {REAL}, got dtype <U1{CONVERT}",
    ),
    "class weight list": (
        {"class_weight": [1, 2]},
        TypeError,
        "fit: expected class_weight as a dict of class number to weight, got [1, 2] (list); write ...",
    ),
    "callbacks": (
        {"callbacks": [print]},
        TypeError,
        "callbacks: expected Callback objects, got ...; subclass Callback",
    ),
    "callback class": (
        {"callbacks": [type("Mine", (), {})]},
        TypeError,
        "callbacks: expected Callback objects, got ...; make an object of the class: EarlyStopping()",
    ),
    "callback number": ({"callbacks": 5}, TypeError, "callbacks: expected ..., got 5 (int)..."),
    "old name": (
        {"nb_epoch": 5},
        TypeError,
        "fit: expected the argument epochs, got nb_epoch; nb_epoch is Keras 1's name for it",
    ),
    "unknown": (
        {"batchsize": 5},
        TypeError,
        "fit: expected only known arguments, got 'batchsize'; did you mean 'batch_size'...",
    ),
    "verbose": (
        {"verbose": 7},
        ValueError,
        "fit: expected verbose to be 0 (silent), 1 or 'auto' (bar) or 2 ..., got 7",
    ),
    "shuffle": ({"shuffle": "batch"}, TypeError, "fit: expected shuffle to be True or False, got 'batch' (str)"),
}


@pytest.mark.parametrize(("options", "error", "text"), OPTIONS.values(), ids=OPTIONS)
def test_options_of_fit(options: dict[str, Any], error: type[Exception], text: str) -> None:
    model = line()
    before = model.get_weights()
    check(lambda: model.fit(X, Y, **{"verbose": 0, **options}), error, text)
    for w, old in zip(model.get_weights(), before, strict=True):
        assert_bits(w, old)
    model.fit(X, Y, verbose=0)


def test_class_weights() -> None:
    model = classifier()
    text = "fit: expected class_weight[1] to be a finite number >= 0, got -2.0"
    check(lambda: model.fit(X, LABELS, class_weight={0: 1, 1: -2, 2: 3}, verbose=0), ValueError, text)


def test_options_of_evaluate_and_predict() -> None:
    model = line()
    for name, use in {"evaluate": lambda n: model.evaluate(X, Y, n), "predict": lambda n: model.predict(X, n)}.items():
        check(lambda use=use: use(0), ValueError, f"{name}: expected batch_size to be an integer >= 1, got 0")
        check(lambda use=use: use("8"), TypeError, f"{name}: expected batch_size to be an integer >= 1, got '8' (str)")
    for options in ({"batchsize": 3}, {"step": 2}):
        for method in (model.evaluate, model.predict):
            with pytest.raises(TypeError, match=rf"{next(iter(options))}"):
                method(X, **options)
    check(lambda: model.predict_on_batch(None), TypeError, "predict: expected samples x, got None (NoneType)")
    check(
        lambda: model.predict_on_batch(3), ValueError, "predict: expected x of shape (samples, ...), got shape (); ..."
    )


# ---------------------------------------------------------------- models


def test_what_is_not_compiled() -> None:
    model = Sequential([Input((3,)), Dense(2)])
    text = "expected a compiled model with a loss, got none; call model.compile(optimizer='sgd', loss='mse') first"
    for name, use in {"fit": model.fit, "evaluate": model.evaluate}.items():
        check(lambda use=use: use(X, Y, verbose=0), ValueError, f"{name}: {text}")
    check(lambda: model.train_on_batch(X, Y), ValueError, f"...: {text}")
    model.compile("adam")
    check(lambda: model.fit(X, Y, verbose=0), ValueError, f"fit: {text}")
    assert model.predict(X, verbose=0).shape == (10, 2)


def test_images_without_channels() -> None:
    text = "Conv2D 'c': expected input of shape (N, ?, ?, ?), got (N, 28, 28); give the images a channel axis: x[..., None]"
    check(lambda: Sequential([Input((28, 28)), Conv2D(3, 3, name="c"), Flatten()]), ValueError, text)


def test_paths() -> None:
    for use in (line().save, line().save_weights, line().load_weights, load_model):
        with pytest.raises((TypeError, ValueError), match="expected "):
            use(5)  # type: ignore[arg-type]
