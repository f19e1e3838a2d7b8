"""The training step in fastnn through what everybody calls: `train_on_batch`, or `fit`."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import __version__, config, losses, optimizers
from fastnn.bench import workloads
from fastnn.bench.workloads import Workload
from fastnn.checks import Float32

CHECKED_STEPS = 3
CHECK_RATE = 0.01  # of plain gradient descent


class FastnnSteps:
    """A workload in fastnn.

    Args:
        workload: what to train.
        variant: "train_on_batch", on one batch over and over, or "fit", whose calls are epochs over many.
        threads: of the kernels.
    """

    def __init__(self, workload: Workload, variant: str, threads: int) -> None:
        config.set_num_threads(threads)
        model = workloads.build_model(workload)
        assert model.optimizer is not None
        model.optimizer.learning_rate = workloads.LEARNING_RATE
        samples = workload.batch * (workload.steps if variant == "fit" else 1)
        self.model, self.variant, self.batch = model, variant, workload.batch
        self.steps_per_call = workload.steps if variant == "fit" else 1
        self.x, self.y = workloads.data(workload, samples)

    @staticmethod
    def versions() -> dict[str, str]:
        """Return what is timed."""
        return {"fastnn": __version__, "numpy": np.__version__}

    def run(self, calls: int) -> None:
        """Do so many steps, or epochs."""
        if self.variant == "train_on_batch":
            for _ in range(calls):
                self.model.train_on_batch(self.x, self.y)
        elif self.model.fit(self.x, self.y, batch_size=self.batch, epochs=calls, verbose=0).interrupted:
            raise KeyboardInterrupt


def expected(workload: Workload) -> tuple[list[Float32], list[Float32], list[float], list[bool]]:
    """Return what peers are checked against: weights, those after a step of gradient descent, the losses of steps with the
    workload's optimizer from the same weights, and which weights are trained; without dropout, whose masks differ."""
    model = workloads.build_model(workload, dropout=False)
    x, y = workloads.data(workload, workload.batch)
    start = model.get_weights()
    model.compile(optimizers.SGD(CHECK_RATE), losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(x, y)
    after = model.get_weights()
    model = workloads.build_model(workload, dropout=False)
    values: list[Any] = [model.train_on_batch(x, y) for _ in range(CHECKED_STEPS)]
    trained = {id(p) for p in model.trainable_weights}
    return start, after, [float(value) for value in values], [id(p) in trained for p in model.parameters]
