"""Metrics in models: recorded and eager steps, weights, names, saving; what no case of the contract tests says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import METRICS, ObjectCase
from gradcheck import normal
from tiny import X, Y, assert_same, blobs, line, mlp, train
from tolerances import assert_bits

from fastnn import Sequential, config, layers, metrics
from fastnn.models import load_model
from fastnn.recordable import is_recordable

CLASSES = [1, 0, 0, 1, 2, 2, 0, 1, 1, 0]

# Metrics of three classes from a softmax, of class numbers; of yes or no from a sigmoid; of values.
OF_CLASSES: list[Any] = [
    "accuracy", "ce", "acc", metrics.SparseTopKCategoricalAccuracy(2), metrics.TopKCategoricalAccuracy(2, "top2"),
    metrics.Precision(top_k=2), metrics.Recall([0.6, 0.2]), metrics.Precision(class_id=1, name="of_1"),
    metrics.F1Score("macro"), metrics.FBetaScore(None, 2.0, 0.4), metrics.AUC(30), metrics.AUC(30, "PR", name="pr"),
    metrics.AUC(30, multi_label=True, label_weights=[1, 2, 3], name="each"), metrics.Perplexity(),
    metrics.Perplexity(mask_token_id=2, name="masked"), metrics.SparseCategoricalCrossentropy(ignore_class=0),
    metrics.MeanIoU(3, sparse_y_pred=False), metrics.ConfusionMatrix(3), metrics.CategoricalHinge(),
    metrics.SensitivityAtSpecificity(0.5), metrics.MeanSquaredError("brier"),
]  # fmt: skip
OF_YES: list[Any] = [
    "accuracy", "ce", "auc", "precision", "recall", metrics.BinaryIoU(), metrics.TruePositives(), "hinge", "f1_score",
    metrics.BinaryCrossentropy(label_smoothing=0.1, name="smooth"), metrics.BinaryCrossentropy(from_logits=True),
]  # fmt: skip
OF_VALUES: list[Any] = [
    "mse", "rmse", "mae", "mape", "msle", "log_cosh_error", "logcosh", "cosine_similarity", "r2_score", "poisson",
    "pearson_correlation", "concordance_correlation",
    metrics.R2Score(None, name="each"), "kld", "squared_hinge", metrics.Accuracy(),
]  # fmt: skip


def copies(some: list[Any]) -> list[Any]:
    """Return new objects: a metric counts for one model."""
    return [m if isinstance(m, str) else metrics.deserialize(metrics.serialize(m)) for m in some]


def several(metric: Any) -> bool:
    """Return whether a metric's result is an array."""
    return not isinstance(metric, str) and metric.name in ("recall", "fbeta_score", "confusion_matrix", "each")


def model_of(wanted: list[Any], **compiled: Any) -> tuple[Sequential, Any, Any]:
    """Return a model with these metrics, weighted and not, and its data."""
    kind = "classes" if wanted is OF_CLASSES else "yes" if wanted is OF_YES else "values"
    x, truth = blobs(48)
    last = {"classes": (3, "softmax"), "yes": (1, "sigmoid"), "values": (2, "softplus")}[kind]
    loss = {"classes": "sparse_categorical_crossentropy", "yes": "binary_crossentropy", "values": "mse"}[kind]
    y: Any = {"classes": truth, "yes": (truth > 0)[:, None], "values": np.abs(normal(48, 2, seed=3)) + 0.5}[kind]
    config.set_seed(3)
    model = Sequential([layers.Input((5,)), layers.Dense(7, "tanh"), layers.Dense(*last)])
    model.compile("adam", loss, metrics=copies(wanted), weighted_metrics=copies(wanted), **compiled)
    return model, x, y


@pytest.mark.parametrize("wanted", [OF_CLASSES, OF_YES, OF_VALUES], ids=["classes", "yes or no", "values"])
def test_recorded_and_eager_steps_agree(isa: str, wanted: list[Any]) -> None:
    weights = np.abs(normal(48, seed=8)).astype(np.float32)
    logs = []
    for eagerly in (False, True):
        model, x, y = model_of(wanted, run_eagerly=eagerly)
        history = model.fit(x, y, 10, 3, sample_weight=weights, verbose=0).history
        values = {name: np.array(value) for name, value in history.items()}
        values |= {
            f"evaluated {k}": np.array(v) for k, v in model.evaluate(x, y, 9, verbose=0, return_dict=True).items()
        }
        for i in range(4):
            one = model.test_on_batch(x[i:], y[i:], weights[i:], return_dict=True)
            values |= {f"batch {i} {k}": np.array(v) for k, v in one.items()}
        logs.append(values)
        assert len(model.metrics_names) == len(set(model.metrics_names)) == 1 + 2 * len(wanted)
    assert_same(*logs)


@pytest.mark.parametrize("wanted", [OF_CLASSES, OF_YES, OF_VALUES], ids=["classes", "yes or no", "values"])
def test_metrics_of_a_model_are_those_of_its_predictions(isa: str, wanted: list[Any]) -> None:
    model, x, y = model_of(wanted)
    weights = np.abs(normal(48, seed=8)).astype(np.float32)
    got = model.evaluate(x, y, 7, sample_weight=weights, verbose=0)[1:]
    pred, count = model.predict(x, verbose=0), len(wanted)
    for i, metric in enumerate(copies(wanted) + copies(wanted)):
        columns = pred.shape[1]
        one = metrics.get(metric, labels=columns == 3, columns=columns)
        expected = one(y, pred) if i < count else one(y, pred, sample_weight=weights)
        np.testing.assert_allclose(got[i], expected, rtol=1e-6, err_msg=one.name)


@pytest.mark.parametrize("case", [c for c in METRICS if c.cls not in ("Mean", "Sum")], ids=str)
def test_a_weight_counts_samples(case: ObjectCase) -> None:
    """A weight of 2 is two samples, a weight of 0 none."""
    y_true, y_pred = (np.asarray(a) for a in case.extra[:2])
    repeats = np.arange(len(y_true)) % 3 + (len(y_true) < 2)
    weighted, repeated = case.make(), case.make()
    expected = repeated(np.repeat(y_true, repeats, 0), np.repeat(y_pred, repeats, 0))
    assert weighted(y_true, y_pred, sample_weight=repeats) == pytest.approx(expected, rel=1e-6)
    weighted.reset_state()
    assert weighted.result() == 0


def test_weights_of_means() -> None:
    assert metrics.Mean()([1.0, 2.0, 6.0], sample_weight=[1, 1, 2]) == 15 / 4
    assert metrics.Sum()([1.0, 2.0, 6.0], sample_weight=[1, 1, 2]) == 15
    assert metrics.MeanSquaredError()(np.zeros((2, 3, 2)), np.ones((2, 3, 2)), [1, 3]) == 1
    with pytest.raises(ValueError, match="mean: expected sample_weight of 3 values, or one per sample, got"):
        metrics.Mean()([1.0, 2.0, 6.0], sample_weight=[1, 1])


def test_confusion_matrix() -> None:
    matrix = metrics.ConfusionMatrix(3)
    matrix.update_state([0, 1, 1], [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.2, 0.7]])
    matrix.update_state(np.eye(3)[[2, 1]].argmax(1), [[0.0, 0.1, 0.9], [0.0, 1.0, 0.0]], sample_weight=[1, 2])
    assert matrix.result().tolist() == [[1, 0, 0], [1, 2, 1], [0, 0, 1]]
    given = {"sparse_y_true": False, "sparse_y_pred": True, "ignore_class": 1}
    numbers = metrics.deserialize(metrics.serialize(metrics.ConfusionMatrix(3, **given)))
    assert numbers(np.eye(3)[[0, 1, 2, 2]], [0, 1, 2, 0]).tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    with pytest.raises(ValueError, match=r"confusion_matrix: expected y_true of 2 rows of 3 targets, got shape \(3,\)"):
        numbers.update_state([1.0, 2.0, 0.0], [0, 1])


def test_functions_of_the_user() -> None:
    def worst(y_true: Any, y_pred: Any, power: int = 1) -> Any:
        return np.abs(y_true - y_pred).max(axis=-1) ** power

    model = line(metrics=[metrics.MeanMetricWrapper(worst, power=2)])
    with pytest.warns(UserWarning, match="MeanMetricWrapper is written in Python"):
        history = model.fit(X, Y, epochs=2, verbose=2).history
    assert list(history) == ["loss", "worst"]
    expected = np.abs(model.predict(X, verbose=0) - Y).max(1) ** 2
    assert model.evaluate(X, Y, 3, verbose=0)[1] == pytest.approx(expected.mean(), rel=1e-6)
    with pytest.raises(TypeError, match="MeanMetricWrapper: expected fn to be a function, got 3"):
        metrics.MeanMetricWrapper(3)  # type: ignore[arg-type]


def test_saving_leaves_code_of_the_user_out(tmp_path: Path) -> None:
    own = metrics.MeanMetricWrapper(lambda t, p: (t - p).mean(-1), name="own")
    model = line(metrics=["mae", own], weighted_metrics=[metrics.AUC(curve="PR")])
    with pytest.warns(UserWarning, match="save: the metrics own are functions and not saved"):
        model.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    assert again.metrics_names == ["loss", "mae", "auc"]
    assert again.metrics[1].get_config() == metrics.AUC(curve="PR").get_config()


def test_weighted_metrics_and_class_weight() -> None:
    x, y = blobs(30)
    model = mlp(weighted_metrics=["accuracy"])
    model.optimizer.learning_rate = 0.0  # type: ignore[union-attr]
    logs = model.fit(x, y, 30, class_weight={0: 2.0, 1: 0.0}, verbose=0).history
    assert list(logs) == ["loss", "accuracy", "weighted_accuracy"]
    right = model.predict(x, verbose=0).argmax(1) == y
    weights = np.array([2.0, 0.0, 1.0])[y]
    evaluated = model.evaluate(x, y, sample_weight=weights, verbose=0)
    assert evaluated[1] == pytest.approx(right.mean())
    assert evaluated[2] == pytest.approx((weights * right).sum() / weights.sum())


def test_without_weights_weighted_metrics_are_the_others() -> None:
    x, y = blobs(30)
    model = mlp(weighted_metrics=["accuracy"])
    logs = model.fit(x, y, 7, 2, verbose=0).history
    assert logs["accuracy"] == logs["weighted_accuracy"]


def test_changed_settings_are_seen() -> None:
    """A recorded step has captured k, thresholds, classes: another value is another step."""
    x, y = blobs(30)
    top = metrics.SparseTopKCategoricalAccuracy(k=1)
    model = mlp()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=[top])
    before = [model.evaluate(x, y, 10, verbose=0)[1] for _ in range(2)]
    top.k = 3
    assert before[0] == before[1] < model.evaluate(x, y, 10, verbose=0)[1] == 1.0


def test_a_model_with_many_metrics_trains_as_one_without() -> None:
    x, y = blobs(40)
    with_many, without = mlp(), mlp()
    with_many.compile(
        "adam", "sparse_categorical_crossentropy", metrics=copies([m for m in OF_CLASSES if not several(m)])
    )
    states = [train(model, x, y) for model in (with_many, without)]
    for name in ("history loss", "history val_loss", "predictions"):
        assert_bits(states[0][name], states[1][name])


def test_labels_out_of_range_are_refused() -> None:
    for one in (metrics.Precision(), metrics.TopKCategoricalAccuracy(2), metrics.Perplexity()):
        with pytest.raises(ValueError, match=f"{one.name}: expected class numbers from 0 to 2, got 0 to 3"):
            one(np.array([0, 3]), np.full((2, 3), 1 / 3))
    matrix = metrics.ConfusionMatrix(3)
    matrix.update_state([0, 3], np.eye(3)[:2])
    with pytest.raises(
        ValueError, match="confusion_matrix: expected class numbers from 0 to 2, got others, of weight 1"
    ):
        matrix.result()


WRONG: dict[str, tuple[Any, str]] = {
    "threshold": (lambda: metrics.Precision(thresholds=[]), "Precision: expected at least one threshold"),
    "top_k": (lambda: metrics.Recall(top_k=0), "Recall: expected top_k to be an integer >= 1"),
    "class": (lambda: metrics.Recall(class_id=3)([1], [[0.1, 0.9]]), "recall: expected class_id below the 2 columns"),
    "curve": (lambda: metrics.AUC(curve="ROCK"), "AUC: expected curve to be one of .*got 'ROCK'"),
    "thresholds": (
        lambda: metrics.AUC(thresholds=[2.0]),
        r"AUC: expected thresholds to be a finite number >= 0 and <= 1",
    ),
    "labels": (lambda: metrics.AUC(num_labels=3), "AUC: expected multi_label=True with num_labels"),
    "average": (lambda: metrics.F1Score("median"), "F1Score: expected average to be one of"),
    "beta": (lambda: metrics.FBetaScore(beta=0), "FBetaScore: expected beta to be a finite number > 0"),
    "classes": (lambda: metrics.MeanIoU(0), "MeanIoU: expected num_classes to be an integer >= 1"),
    "target": (lambda: metrics.IoU(2, [2]), "IoU: expected target_class_ids to be an integer >= 0 and <= 1"),
    "columns": (lambda: metrics.ConfusionMatrix(3)([1], [[0.1, 0.9]]), "expected y_pred of 3 columns"),
    "axis": (
        lambda: metrics.CosineSimilarity(axis=0)([[1.0]], [[1.0]]),
        "cosine_similarity: expected axis of a sample",
    ),
    "aggregation": (lambda: metrics.R2Score("mean"), "R2Score: expected class_aggregation to be one of"),
    "dtype": (lambda: metrics.Mean(dtype="int7"), "Mean: expected dtype to be one of"),
    "share": (lambda: metrics.PrecisionAtRecall(1.5), "PrecisionAtRecall: expected recall to be a finite number"),
}


@pytest.mark.parametrize(("call", "text"), WRONG.values(), ids=WRONG)
def test_wrong_arguments(call: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call()


def test_adjusted_scores_of_columns() -> None:
    y_true, y_pred = normal(9, 3), normal(9, 3, seed=1)
    plain = metrics.R2Score(class_aggregation=None)(y_true, y_pred)
    adjusted = metrics.R2Score(class_aggregation=None, num_regressors=2)(y_true, y_pred)
    np.testing.assert_allclose(adjusted, 1 - (1 - plain) * 8 / 6, rtol=1e-6)


def test_columns_may_not_change_in_the_middle() -> None:
    for one in (metrics.F1Score(), metrics.R2Score(), metrics.AUC(multi_label=True)):
        one.update_state(np.eye(3), np.eye(3) * 0.8)
        with pytest.raises(ValueError, match=f"{one.name}: expected y_pred of 3 columns, as before, got 2"):
            one.update_state(np.eye(2), np.eye(2) * 0.8)
        one.reset_state()
        one.update_state(np.eye(2), np.eye(2) * 0.8)


def test_exact_counts_beyond_float32() -> None:
    """2^24 + 1 samples: a float32 count would stop growing."""
    metric = metrics.TruePositives()
    metric.state[0, 1, 1] = 2.0**24
    for _ in range(3):
        metric.update_state([1.0], [0.9])
    assert metric.result() == 2**24 + 3


def test_area_is_that_of_all_pairs() -> None:
    """With many thresholds: the share of pairs that are in the right order, ties half."""
    said = np.round(np.abs(np.sin(np.arange(200.0))), 2)
    truth = (np.cos(np.arange(200.0) * 3) + said) > 0.5
    yes, no = said[truth], said[~truth]
    pairs = (yes[:, None] > no).mean() + (yes[:, None] == no).mean() / 2
    assert metrics.AUC(20001)(truth, said) == pytest.approx(pairs, abs=1e-12)


def test_every_metric_can_be_recorded() -> None:
    """None of the package makes a model go through Python, but for functions of the user's."""
    for case in METRICS:
        assert is_recordable(case.make()), case
    assert not is_recordable(metrics.MeanMetricWrapper(len))
