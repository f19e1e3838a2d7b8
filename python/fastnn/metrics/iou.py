"""Confusion matrices, and the overlap of regions computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, ops
from fastnn.metrics.base import Metric, labels, predictions, weights_of
from fastnn.metrics.outcomes import quotient

MOST_CLASSES = 2**16  # whose matrix is 32 GiB


class ConfusionMatrix(Metric):
    """How often each class (row) was taken for each (column), by weight.

    Args:
        num_classes: number of classes.
        name: the key in logs.
        dtype: see `Metric`.
        ignore_class: a class number whose samples are left out, or None.
        sparse_y_true: whether y_true has class numbers; False: rows whose largest target tells the class.
        sparse_y_pred: whether y_pred has class numbers; False: rows whose largest prediction tells the class.

    Raises:
        ValueError: from `result`, if a batch had numbers that are no class.

    Example:
        >>> matrix = fastnn.metrics.ConfusionMatrix(2)
        >>> matrix([0, 1, 1], [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]).tolist()
        [[1.0, 0.0], [1.0, 1.0]]
    """

    recordable: ClassVar[bool] = True
    threshold: float | None = None

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        who = type(self).__name__
        self.num_classes = checks.integer(who, "num_classes", num_classes, 1, MOST_CLASSES)
        self.ignore_class = None if ignore_class is None else checks.integer(who, "ignore_class", ignore_class)
        self.sparse_y_true = checks.boolean(who, "sparse_y_true", sparse_y_true)
        self.sparse_y_pred = checks.boolean(who, "sparse_y_pred", sparse_y_pred)
        self.state = np.zeros(self.num_classes**2 + 1)  # the last: what is no class

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Take a batch into account."""
        pred = predictions(self.name, y_pred if self.sparse_y_pred else self._with_axis_last(y_pred))
        if self.sparse_y_pred or self.threshold is not None:
            pred = pred.reshape(-1, 1)
        elif pred.shape[1] != self.num_classes:
            checks.fail(self.name, f"y_pred of {self.num_classes} columns, one per class", pred.shape[1])
        ops.count_pairs(
            pred,
            self._truth(y_true if self.sparse_y_true else self._with_axis_last(y_true), len(pred)),
            self.state,
            weights_of(self.name, sample_weight, len(pred)),
            classes=self.num_classes,
            ignored=self.ignore_class,
            threshold=self.threshold,
        )

    def _truth(self, y_true: Any, rows: int) -> NDArray[Any]:
        """Return class numbers (rows,) or (rows, 1), or targets (rows, classes)."""
        given = y_true if isinstance(y_true, np.ndarray) else checks.array(self.name, "y_true", y_true)
        if given.dtype.kind in "iu" and given.size == rows:
            return labels(self.name, given, rows)
        truth = ops.as_float32(self.name, "y_true", given)
        columns = 1 if self.sparse_y_true else self.num_classes
        if truth.size != rows * columns:
            rule = f"y_true of {rows} {'class numbers' if columns == 1 else f'rows of {columns} targets'}"
            checks.fail(self.name, rule, f"shape {truth.shape}", "sparse_y_true says which of the two")
        return truth.reshape(rows, columns)

    def matrix(self) -> NDArray[np.float64]:
        """Return the counts (classes, classes), truth by prediction, over all batches since the last reset."""
        if self.state[-1]:
            rule = f"class numbers from 0 to {self.num_classes - 1}"
            checks.fail(self.name, rule, f"others, of weight {self.state[-1]:g}", "set num_classes or ignore_class")
        return self.state[:-1].reshape(self.num_classes, self.num_classes).copy()

    def result(self) -> Any:
        """Return the counts (classes, classes), truth by prediction, over all batches since the last reset."""
        return self.matrix()

    def step_key(self) -> tuple[Any, ...]:
        """Return what a recorded step has captured of this metric's settings."""
        return (*super().step_key(), self.sparse_y_true, self.sparse_y_pred, self.ignore_class, self.threshold)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {
            "num_classes": self.num_classes,
            "ignore_class": self.ignore_class,
            "sparse_y_true": self.sparse_y_true,
            "sparse_y_pred": self.sparse_y_pred,
            **super().get_config(),
        }


class IoU(ConfusionMatrix):
    """Overlap of where a class should be and where it is said to be: TP / (TP + FP + FN), mean over some classes.

    Classes that occur in neither are left out of the mean.

    Args:
        num_classes: number of classes.
        target_class_ids: the classes whose mean is the result.
        name: the key in logs.
        dtype: see `Metric`.
        ignore_class: a class number whose samples are left out, or None.
        sparse_y_true: whether y_true has class numbers; False: rows whose largest target tells the class.
        sparse_y_pred: whether y_pred has class numbers; False: rows whose largest prediction tells the class.
        axis: of the classes, where an array has one; in a model that of the loss.

    Example:
        >>> round(fastnn.metrics.IoU(num_classes=2, target_class_ids=[0])([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, sparse_y_true, sparse_y_pred)
        who = type(self).__name__
        self._choose_axis(axis)
        given = checks.several(who, "target_class_ids", target_class_ids)
        ids = [checks.integer(who, "target_class_ids", i, 0, self.num_classes - 1) for i in given]
        if not ids:
            checks.fail(who, "at least one of target_class_ids", "none")
        self.target_class_ids = ids

    def result(self) -> float:
        """Return the mean overlap over all batches since the last reset."""
        counts = self.matrix()
        both = np.diag(counts)
        either = counts.sum(axis=0) + counts.sum(axis=1) - both
        shares, there = quotient(both, either)[self.target_class_ids], either[self.target_class_ids] > 0
        return float(shares[there].mean()) if there.any() else 0.0

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"target_class_ids": self.target_class_ids, **super().get_config(), "axis": self.axis}


class BinaryIoU(IoU):
    """`IoU` of yes and no, a prediction of at least the threshold saying yes.

    Args:
        target_class_ids: [0], [1] or both, whose mean is the result.
        threshold: between no and yes.
        name: the key in logs.
        dtype: see `Metric`.

    Example:
        >>> round(fastnn.metrics.BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
        0.3333
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = checks.number(type(self).__name__, "threshold", threshold)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {"target_class_ids": self.target_class_ids, "threshold": self.threshold, "name": self.name}


class MeanIoU(IoU):
    """Mean of the `IoU` of all classes that occur.

    Args:
        num_classes: number of classes.
        name: the key in logs.
        dtype: see `Metric`.
        ignore_class: a class number whose samples are left out, or None.
        sparse_y_true: whether y_true has class numbers; False: rows whose largest target tells the class.
        sparse_y_pred: whether y_pred has class numbers; False: rows whose largest prediction tells the class.
        axis: of the classes, where an array has one; in a model that of the loss.

    Example:
        >>> round(fastnn.metrics.MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        count = checks.integer(type(self).__name__, "num_classes", num_classes, 1, MOST_CLASSES)
        super().__init__(count, range(count), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {key: value for key, value in super().get_config().items() if key != "target_class_ids"}


class OneHotIoU(IoU):
    """`IoU` of one-hot truth (N, ..., classes).

    Args:
        num_classes: number of classes.
        target_class_ids: the classes whose mean is the result.
        name: the key in logs.
        dtype: see `Metric`.
        ignore_class: a class number whose samples are left out, or None.
        sparse_y_pred: whether y_pred has class numbers; False: rows whose largest prediction tells the class.
        axis: of the classes, where an array has one; in a model that of the loss.

    Example:
        >>> metric = fastnn.metrics.OneHotIoU(num_classes=2, target_class_ids=[1])
        >>> metric([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
        0.5
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {key: value for key, value in super().get_config().items() if key != "sparse_y_true"}


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` of one-hot truth (N, ..., classes).

    Args:
        num_classes: number of classes.
        name: the key in logs.
        dtype: see `Metric`.
        ignore_class: a class number whose samples are left out, or None.
        sparse_y_pred: whether y_pred has class numbers; False: rows whose largest prediction tells the class.
        axis: of the classes, where an array has one; in a model that of the loss.

    Example:
        >>> fastnn.metrics.OneHotMeanIoU(num_classes=2)([[0, 1], [1, 0]], [[0.2, 0.8], [0.3, 0.7]])
        0.25
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this metric again."""
        return {key: value for key, value in super().get_config().items() if key != "sparse_y_true"}
