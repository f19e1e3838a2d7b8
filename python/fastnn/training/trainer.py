"""The loop: fit, evaluate, predict, for any model with layers, forward and backward."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.training import data
from fastnn.training.callback import Callback
from fastnn.training.callback_list import CallbackList
from fastnn.training.compiled import Compiled
from fastnn.training.history import History
from fastnn.training.progress import ProgressBar
from fastnn.training.score import Logs

P = ParamSpec("P")
T = TypeVar("T")


def _nothing(done: int, logs: Logs) -> None:
    """Do nothing after a run of steps."""


def exclusive(method: Callable[P, T]) -> Callable[P, T]:
    """Run a method of a model under `Compiled.exclusively`."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        model = args[0]
        assert isinstance(model, Compiled)
        with model.exclusively(method.__name__):
            return method(*args, **kwargs)

    return call


class Trainer(Compiled):
    """The public training methods of a model."""

    # --- fit ---

    @exclusive
    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        **unknown: Any,
    ) -> History:
        """Train for a number of epochs and return the history.

        Whole epochs run in C++ with the GIL released. Ctrl-C ends the training after the step it meets: fit returns, the model is
        as after that step, and `history.interrupted` is True.

        Args:
            x: samples (N, ...), a real dtype; uint8 and float32 are taken as they are, others become float32. For several inputs
                a list, or a dict by the inputs' names.
            y: targets as the loss wants them: class numbers (N,), one-hot rows (N, classes), values (N, D). For several outputs
                a list, or a dict by the outputs' names.
            batch_size: samples per step, >= 1; None is 32. The last batch of an epoch may be smaller.
            epochs: number of the last epoch, counted from 1.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line per epoch.
            callbacks: `fastnn.callbacks` objects.
            validation_split: share of the samples, from the end, to validate on, in [0, 1).
            validation_data: (x, y) or (x, y, sample_weight) to validate on after every epoch.
            shuffle: whether the order changes in every epoch.
            class_weight: dict of class number to weight in the loss.
            sample_weight: weight of every sample in the loss, shape (N,); for several outputs also a list or a dict.
            initial_epoch: number of epochs done before.
            validation_batch_size: None is batch_size.
            validation_freq: validate every so many epochs.

        Returns:
            History: `.history` has "loss", the metrics, and the same with "val_".

        Raises:
            ValueError: for arrays or arguments that do not fit; TypeError for wrong dtypes and unknown arguments.
        """
        if "nb_epoch" in unknown:
            checks.fail_type("fit", "the argument epochs", "nb_epoch", "nb_epoch is Keras 1's name for it")
        checks.unknown_arguments(
            "fit", unknown, [a for a in self.fit.__annotations__ if a not in ("return", "unknown")]
        )
        batch_size = 32 if batch_size is None else checks.integer("fit", "batch_size", batch_size, 1)
        checks.integer("fit", "epochs", epochs, 0)
        checks.integer("fit", "initial_epoch", initial_epoch, 0)
        every = checks.integer("fit", "validation_freq", validation_freq, 1)
        checks.boolean("fit", "shuffle", shuffle)
        if validation_batch_size is not None:
            checks.integer("fit", "validation_batch_size", validation_batch_size, 1)
        share = checks.number("fit", "validation_split", validation_split, 0.0, below=1.0)
        samples, truth, weights = self._training_arrays(x, y, sample_weight, class_weight)
        validation = self._validation_arrays(validation_data)
        if share and validation is None:
            (samples, truth, weights), validation = data.split("fit", share, samples, truth, weights)
        self._tell_if_eager(verbose)

        steps = -(-len(samples[0]) // batch_size)
        every_callback = CallbackList(
            callbacks, add_history=True, model=self, verbose=verbose, epochs=epochs, steps=steps
        )

        def train(epoch: int) -> Logs:
            bar = ProgressBar(steps, batch_size, epoch, epochs, verbose)
            logs: Logs | None = None
            try:
                logs = self._epoch(samples, truth, weights, batch_size, shuffle, every_callback, bar)
                if validation is not None and (epoch + 1) % every == 0:
                    logs |= self._validate(validation, validation_batch_size or batch_size, every_callback)
            finally:
                bar.close(logs)
            return logs

        return self._epochs(range(initial_epoch, epochs), train, every_callback)

    def _epochs(self, epochs: range, train: Callable[[int], Logs], callbacks: CallbackList) -> History:
        """Train epoch after epoch until a callback or Ctrl-C ends it."""
        history = next(c for c in callbacks.callbacks if isinstance(c, History))
        self.history, self.stop_training, history.interrupted = history, False, False
        outer, self._trained_by = self._trained_by, threading.get_ident()
        try:
            callbacks.on_train_begin()
            for epoch in epochs:
                callbacks.on_epoch_begin(epoch)
                callbacks.on_epoch_end(epoch, train(epoch))
                if self.stop_training:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            self._trained_by = outer
        callbacks.on_train_end()
        return history

    def _samples(self, who: str, x: Any) -> list[NDArray[Any]]:
        """Return what is given for the inputs, in order, after checking each array."""
        if len(self.input_structure) == 1:
            if self.built:
                x = data.unwrapped(x, lambda array: array.ndim == self.input_ranks()[0])
            return [data.inputs(who, part) for part in self.input_structure.parts(who, "x", x)]
        parts = self.input_structure.parts(who, "x", x)
        names = [f"x['{name}']" for name in self.input_structure.names]
        samples = [data.inputs(who, part, name) for part, name in zip(parts, names)]
        for name, part in zip(names[1:], samples[1:]):
            data.same_length(who, len(samples[0]), **{name: part})
        return samples

    def input_ranks(self) -> list[int]:
        """Return the number of axes of every input."""
        raise self._missing("input_ranks")

    def _training_arrays(self, x: Any, y: Any, sample_weight: Any, class_weight: Any) -> tuple[Any, Any, Any]:
        """Return x, y and weights as the feed takes them, after all checks."""
        samples = self._samples("fit", x)
        data.some_samples("fit", samples[0])
        self._ready("fit", samples)
        return samples, *self._truth("fit", samples, y, sample_weight, class_weight)

    def _truth(
        self, who: str, x: list[NDArray[Any]], y: Any, sample_weight: Any, class_weight: Any = None
    ) -> tuple[Any, Any]:
        """Return truth and weights for every output."""
        if y is None:
            checks.fail(who, "targets y", "None")
        n = len(x[0])
        if len(self._scores) > 1 and class_weight is not None:
            checks.fail(who, "class_weight for one output only", f"{len(self._scores)} outputs", "give sample_weight")
        if len(self._scores) == 1:
            y = data.unwrapped(y, lambda array: array.ndim > 0 and len(array) == n != 1)
        truths = self.output_structure.parts(who, "y", y)
        single = sample_weight is None or len(self._scores) == 1 or isinstance(sample_weight, np.ndarray)
        given = (
            [sample_weight] * len(truths)
            if single
            else self.output_structure.parts(who, "sample_weight", sample_weight)
        )
        result, weights = [], []
        for score, shape, part, weight in zip(self._scores, self.output_shapes, truths, given):
            truth = score.loss.prepare(part, shape)
            data.same_length(who, n, y=truth)
            weight = data.sample_weights(who, n, truth, weight, class_weight)
            if weight is not None and len(shape) > 2:
                rows = int(np.prod([s or 1 for s in score.loss.losses_shape(shape)[1:]]))
                weight = np.repeat(weight[:, None], rows, 1)
            result.append(truth)
            weights.append(weight)
        return result, weights

    def _validation_arrays(self, validation_data: Any) -> tuple[Any, Any, Any] | None:
        if validation_data is None:
            return None
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            checks.fail("fit", "validation_data=(x, y) or (x, y, sample_weight)", checks.describe(validation_data))
        x = self._samples("fit: validation_data", validation_data[0])
        data.some_samples("fit: validation_data", x[0])
        self.check_shapes([part.shape for part in x])
        weight = validation_data[2] if len(validation_data) == 3 else None
        return x, *self._truth("fit: validation_data", x, validation_data[1], weight)

    def _order(self, n: int) -> NDArray[np.int64]:
        """Return the next epoch's order of the samples."""
        seed = np.random.SeedSequence(self.shuffle_seed, spawn_key=(self.epochs_shuffled,))
        self.epochs_shuffled += 1
        return np.random.Generator(np.random.Philox(seed)).permutation(n)

    def _epoch(
        self, x: Any, y: Any, weights: Any, batch_size: int, shuffle: bool, callbacks: CallbackList, bar: ProgressBar
    ) -> Logs:
        """Train on every sample once."""
        self.refresh()
        self.reset_metrics()
        self._feed.load(x, y, weights, self._order(len(x[0])) if shuffle else None)

        def after(done: int, logs: Logs) -> None:
            callbacks.on_steps_end(done - 1, logs)
            bar.update(done, logs)

        self._run("train", len(x[0]), batch_size, callbacks, after)
        return self._logs()

    def _validate(self, arrays: tuple[Any, Any, Any], batch_size: int, callbacks: CallbackList) -> Logs:
        callbacks.on_test_begin()
        logs = self._test(arrays, batch_size, callbacks, None)
        callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}

    def _test(
        self, arrays: tuple[Any, Any, Any], batch_size: int, callbacks: CallbackList, bar: ProgressBar | None
    ) -> Logs:
        """Return loss and metrics over arrays."""
        self.refresh()
        self.reset_metrics()
        self._feed.load(*arrays)
        self._run("test", len(arrays[0][0]), batch_size, callbacks, _nothing if bar is None else bar.update)
        return self._logs()

    # --- evaluate, predict ---

    @exclusive
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        callbacks: Iterable[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Return loss and metrics over samples.

        Args:
            x, y, sample_weight: as in `fit`.
            batch_size: samples per step; None is 32.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line.
            callbacks: `fastnn.callbacks` objects.
            return_dict: return {"loss": ..., ...} instead of numbers.

        Returns:
            the loss, or [loss, metrics...] if there are metrics.
        """
        batch_size = 32 if batch_size is None else checks.integer("evaluate", "batch_size", batch_size, 1)
        samples = self._samples("evaluate", x)
        data.some_samples("evaluate", samples[0])
        self._ready("evaluate", samples)
        arrays = samples, *self._truth("evaluate", samples, y, sample_weight)
        bar = ProgressBar(-(-len(samples[0]) // batch_size), batch_size, None, None, verbose)
        every_callback = CallbackList(
            callbacks, model=self, verbose=verbose, epochs=1, steps=-(-len(samples[0]) // batch_size)
        )
        every_callback.on_test_begin()
        try:
            logs = self._test(arrays, batch_size, every_callback, bar)
        finally:
            bar.close()
        every_callback.on_test_end(logs)
        return self._result([logs[name] for name in self.metrics_names], return_dict)

    def _result(self, values: list[float], return_dict: bool) -> Any:
        """Return what evaluate returns, of the loss and the metrics."""
        if return_dict:
            return dict(zip(self.metrics_names, values))
        return values if len(values) > 1 else values[0]

    @exclusive
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        callbacks: Iterable[Callback] | Callback | None = None,
    ) -> Any:
        """Return the model's outputs for samples; every row depends on its own sample only, whatever the batch size.

        For several outputs they are a list or a dict, as the model was made.

        Args:
            x: samples (N, ...), or a list or dict for several inputs; N may be 0.
            batch_size: samples per step; None is 32.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line.
            callbacks: `fastnn.callbacks` objects.
        """
        batch_size = 32 if batch_size is None else checks.integer("predict", "batch_size", batch_size, 1)
        samples = self._samples("predict", x)
        self._built_for(samples)
        n = len(samples[0])
        if n == 0:
            return self.output_structure.whole(self.forward_parts(samples))
        bar = ProgressBar(-(-len(samples[0]) // batch_size), batch_size, None, None, verbose)
        every_callback = CallbackList(
            callbacks, model=self, verbose=verbose, epochs=1, steps=-(-len(samples[0]) // batch_size)
        )
        every_callback.on_predict_begin()
        try:
            self._feed.load(samples)
            key = tuple(part.shape[1:] for part in samples)
            expected: Any = self._output_rows.get(key)
            if expected is None:
                expected = [shape[1:] for shape in self.compute_output_shapes([part.shape for part in samples])]
            self._feed.collect(expected)
            self._run("predict", n, batch_size, every_callback, bar.update)
            results = self._feed.collected()
            self._output_rows[key] = [result.shape[1:] for result in results]
        finally:
            bar.close()
        every_callback.on_predict_end()
        return self.output_structure.whole(results)
