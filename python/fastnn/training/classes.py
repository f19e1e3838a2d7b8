"""predict_classes: class numbers in the place of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.checks import Float32
from fastnn.layers.core import ActivatedLayer
from fastnn.recordable import keeps_step
from fastnn.training.trainer import Trainer

KEEP_THE_ORDER = ("softmax", "log_softmax")  # within a row: its largest value stays the largest


class Classifying(Trainer):
    """A model that says which class a sample belongs to."""

    def predict_classes(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        threshold: float = 0.5,
    ) -> Any:
        """Return the number of the class of every sample: argmax over the last axis of the output.

        A last softmax is left out, as it does not change which value is the largest. An output of one value is 1 above `threshold`,
        else 0.

        Args:
            x, batch_size, verbose, steps: as `predict` takes them.
            threshold: for an output of one value: 0.5 for a probability, 0 for a logit or a score.

        Returns:
            int64, the shape of the output without its last axis; for several outputs a list or dict, as the model was made.

        Raises:
            ValueError: for a NaN in an output, which has no class, and for samples that do not fit.

        Example:
            >>> import numpy as np
            >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3, "softmax")])
            >>> model.set_weights([np.array([[1, 0, 0], [0, 0, 2]]), np.zeros(3)])
            >>> model.predict_classes(np.array([[1.0, 0.0], [1.0, 1.0]]), verbose=0).tolist()
            [0, 2]
        """
        limit = checks.number("predict_classes", "threshold", threshold)
        with self.exclusively("predict_classes"), self._without_softmax():
            outputs = self.predict(x, batch_size, verbose, steps)
            parts = self.output_structure.parts("predict_classes", "output", outputs)
            return self.output_structure.whole([_classes(part, limit) for part in parts])

    @contextmanager
    def _without_softmax(self) -> Iterator[None]:
        """Leave the last softmax of every output out that nothing else reads."""
        last = [self.plan.last_layer(i) for i in range(len(self.output_structure))] if self.built else []
        left_out = [
            layer
            for layer in last
            if isinstance(layer, ActivatedLayer)
            and layer.activation.kind in KEEP_THE_ORDER
            and not layer.activity_regularizer
            and keeps_step(layer)
        ]
        for layer in left_out:
            layer.skip_activation = True
        try:
            yield
        finally:
            for layer in left_out:
                layer.skip_activation = False


def _classes(output: Float32, threshold: float) -> NDArray[np.int64]:
    """Return the class numbers of rows of scores."""
    if np.isnan(output).any():
        checks.fail("predict_classes", "outputs that are numbers", "NaN", "look at the samples and the weights")
    if output.shape[-1] == 1:
        return (output[..., 0] > threshold).astype(np.int64)
    best: NDArray[np.int64] = output.argmax(axis=-1)
    return best
