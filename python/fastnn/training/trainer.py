"""The loop: fit, evaluate, predict, for any model with layers, forward and backward."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

import numpy as np

from fastnn import checks
from fastnn.training import data
from fastnn.training.callback import Callback
from fastnn.training.callback_list import CallbackList
from fastnn.training.compiled import Compiled
from fastnn.training.history import History
from fastnn.training.progress import ProgressBar
from fastnn.training.runner import Arrays, Runner
from fastnn.training.score import Logs
from fastnn.training.sources import Stream, is_stream

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


class Trainer(Runner):
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
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Collection[int] = 1,
        stratify: bool = False,
        balanced: bool = False,
        **unknown: Any,
    ) -> History:
        """Train for a number of epochs and return the history.

        Whole epochs over arrays run in C++ with the GIL released. Ctrl-C ends the training after the step it meets: fit returns,
        the model is as after that step, and `history.interrupted` is True.

        Args:
            x: samples (N, ...), a real dtype; uint8 and float32 are taken as they are, others become float32. For several inputs
                a list, or a dict by the inputs' names. Or batches: a generator, a data loader, a list, anything that yields
                (x, y) or (x, y, sample_weight), or has `__len__` and `__getitem__` that give such.
            y: targets as the loss wants them: class numbers (N,), one-hot rows (N, classes), values (N, D). For several outputs
                a list, or a dict by the outputs' names. None if x has batches.
            batch_size: samples per step, >= 1; None is 32. The last batch of an epoch may be smaller.
            epochs: number of the last epoch, counted from 1.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line per epoch.
            callbacks: `fastnn.callbacks` objects.
            validation_split: share of the samples, from the end, to validate on, in [0, 1).
            validation_data: (x, y), (x, y, sample_weight) or batches, to validate on after every epoch.
            shuffle: whether the order changes in every epoch; batches come as they come.
            class_weight: dict of class number to weight in the loss.
            sample_weight: weight of every sample in the loss, shape (N,), or of every loss, (N, T) for outputs (N, T, ...); for
                several outputs also a list or a dict.
            initial_epoch: number of epochs done before.
            steps_per_epoch: steps after which an epoch ends; the next one goes on with the samples that follow. None: all samples.
            validation_steps: steps after which a validation ends; None: all samples.
            validation_batch_size: None is batch_size.
            validation_freq: validate every so many epochs, or in these epochs, counted from 1.
            stratify: draw the samples of validation_split at random (from the model's shuffle_seed), each class in the same share.
            balanced: draw the samples so that every class comes equally often, in every batch and to within one. An epoch has as
                many draws as there are samples: those of rare classes come again, of the others some wait for a later epoch.

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
        checks.integer("fit", "epochs", epochs, 0)
        checks.integer("fit", "initial_epoch", initial_epoch, 0)
        checks.boolean("fit", "shuffle", shuffle)
        _limit("fit", "validation_batch_size", validation_batch_size)
        validates = _validates(validation_freq)
        share = checks.number("fit", "validation_split", validation_split, 0.0, below=1.0)
        rng = self._split_generator() if checks.boolean("fit", "stratify", stratify) else None
        source = self._source("fit", x, y, batch_size, sample_weight, steps_per_epoch, class_weight)
        at_once = validation_batch_size or batch_size
        validation = self._validation(validation_data, at_once, _limit("fit", "validation_steps", validation_steps))
        if share and validation is None:
            if isinstance(source, Stream):
                checks.fail("fit", "arrays for validation_split", "batches", "give validation_data")
            source.parts, held_out = data.split("fit", share, *source.parts, rng)
            source = Arrays(source.parts, source.batch_size, _limit("fit", "steps_per_epoch", steps_per_epoch))
            validation = Arrays(held_out, _batch_size("fit", at_once), validation_steps, onward=False)
        if isinstance(source, Arrays):
            source.shuffle = shuffle
        if checks.boolean("fit", "balanced", balanced):
            if isinstance(source, Stream):
                checks.fail("fit", "arrays for balanced=True", "batches", "balance them where they are made")
            source.balance("fit")
        self._tell_if_eager(verbose)
        every = CallbackList(
            callbacks, add_history=True, model=self, verbose=verbose, epochs=epochs, steps=_steps(source)
        )

        def train(epoch: int) -> Logs:
            bar = ProgressBar(_steps(source), self._rows_per_step(source), epoch, epochs, verbose)
            logs: Logs | None = None
            try:
                logs = self._train_epoch(source, every, bar, class_weight)
                if validation is not None and validates(epoch + 1):
                    logs |= self._validate(validation, every)
            finally:
                bar.close(logs)
            if isinstance(source, Stream) and source.ended and epoch + 1 < epochs:
                self._stop_for_want_of_data(source, epoch + 1, epochs)
            return logs

        return self._epochs(source, range(initial_epoch, epochs), train, every)

    def _stop_for_want_of_data(self, stream: Stream, epoch: int, epochs: int) -> None:
        self.stop_training = True
        if not stream.told:
            fix = "give steps_per_epoch, or an iterable that can start anew"
            checks.warn(f"fit: the data ended after epoch {epoch} of {epochs}; {fix}")

    def _epochs(
        self, source: Arrays | Stream, epochs: range, train: Callable[[int], Logs], callbacks: CallbackList
    ) -> History:
        """Train epoch after epoch until a callback or Ctrl-C ends it."""
        history = next(c for c in callbacks.callbacks if isinstance(c, History))
        self.history, self.stop_training, history.interrupted = history, False, False
        outer, self._trained_by = self._trained_by, threading.get_ident()
        before = self._trains_on
        self._trains_on = source if isinstance(source, Arrays) else None
        logs: Logs = {}
        try:
            self._resumed = None
            callbacks.on_train_begin()
            start = epochs.start if self._resumed is None else self._resumed[0]
            for epoch in range(start, epochs.stop):
                callbacks.on_epoch_begin(epoch)
                logs = train(epoch)
                callbacks.on_epoch_end(epoch, logs)
                if self.stop_training:
                    break
        except KeyboardInterrupt:
            history.interrupted = True
        finally:
            self._trained_by, self._trains_on = outer, before
        if len(epochs) and self.optimizer is not None:
            self.optimizer.finalize_variable_values(p for layer in self.leaf_layers for p in layer.trainable_weights)
        callbacks.on_train_end(logs)
        return history

    # --- what there is to run over ---

    def _source(
        self,
        who: str,
        x: Any,
        y: Any,
        batch_size: int | None,
        sample_weight: Any = None,
        steps: int | None = None,
        class_weight: Any = None,
        onward: bool = True,
    ) -> Arrays | Stream:
        """Return samples and truth, checked, or what yields them; the model is built for them."""
        name = "steps_per_epoch" if who == "fit" else "steps"
        steps = _limit(who, name, steps)
        if not is_stream(x, y):
            rows = _batch_size(who, batch_size)
            parts = self._training_arrays(x, y, sample_weight, class_weight, who)
            return Arrays(parts, rows, steps, onward=onward)
        if y is not None or sample_weight is not None or batch_size is not None:
            given = next(
                n for n, v in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)) if v is not None
            )
            checks.fail(who, f"no {given} beside batches", "one", "let each batch be (x, y) or (x, y, sample_weight)")
        stream = Stream(who, x, steps)
        self._training_arrays(*stream.first(), class_weight, who)
        return stream

    def _validation(self, validation_data: Any, batch_size: int | None, steps: int | None) -> Arrays | Stream | None:
        if validation_data is None:
            return None
        who = "fit: validation_data"
        pair = isinstance(validation_data, (tuple, list)) and len(validation_data) in (2, 3)
        if is_stream(validation_data) or (pair and is_stream(validation_data[0])):
            return self._source(
                who,
                validation_data[0] if pair and not is_stream(validation_data) else validation_data,
                None,
                None,
                steps=steps,
            )
        if not pair:
            checks.fail("fit", "validation_data=(x, y) or (x, y, sample_weight)", checks.describe(validation_data))
        x = self._samples(who, validation_data[0])
        data.some_samples(who, x[0])
        self.plan.check_values(x)
        self.check_shapes([part.shape for part in x])
        weight = validation_data[2] if len(validation_data) == 3 else None
        parts = x, *self._truth(who, x, validation_data[1], weight)
        return Arrays(parts, _batch_size("fit", batch_size), steps, onward=False)

    def _split_generator(self) -> np.random.Generator:
        """Return random numbers for a split: the same ones for every fit of a model."""
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(self.shuffle_seed, spawn_key=(0, 1))))

    def _rows_per_step(self, source: Arrays | Stream) -> int:
        return source.batch_size if isinstance(source, Arrays) else source.rows

    # --- epochs ---

    def _train_epoch(
        self, source: Arrays | Stream, callbacks: CallbackList, bar: ProgressBar, class_weight: Any
    ) -> Logs:
        """Train for an epoch."""

        def after(done: int, logs: Logs) -> None:
            callbacks.on_steps_end(done - 1, logs)
            bar.update(done, logs)

        return self._run_epoch("train", source, callbacks, after, class_weight)

    def _validate(self, source: Arrays | Stream, callbacks: CallbackList) -> Logs:
        callbacks.on_test_begin()
        logs = self._run_epoch("test", source, callbacks, _nothing)
        callbacks.on_test_end(logs)
        return {f"val_{name}": value for name, value in logs.items()}

    # --- evaluate, predict ---

    @exclusive
    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Return loss and metrics over samples.

        Args:
            x, y, sample_weight: as in `fit`.
            batch_size: samples per step; None is 32.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line.
            steps: steps after which to stop; None: all samples.
            callbacks: `fastnn.callbacks` objects.
            return_dict: return {"loss": ..., ...} instead of numbers.

        Returns:
            the loss, or [loss, metrics...] if there are metrics.
        """
        source = self._source("evaluate", x, y, batch_size, sample_weight, steps, onward=False)
        bar = ProgressBar(_steps(source), self._rows_per_step(source), None, None, verbose)
        every_callback = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=_steps(source))
        every_callback.on_test_begin()
        try:
            logs = self._run_epoch("test", source, every_callback, bar.update)
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
        steps: int | None = None,
        callbacks: Iterable[Callback] | Callback | None = None,
    ) -> Any:
        """Return the model's outputs for samples; every row depends on its own sample only, whatever the batch size.

        For several outputs they are a list or a dict, as the model was made.

        Args:
            x: samples (N, ...), or a list or dict for several inputs; N may be 0. Or batches of them, as in `fit`; truth and
                weights in batches are not looked at.
            batch_size: samples per step; None is 32.
            verbose: 0 silent, 1 or "auto" a progress bar, 2 one line.
            steps: steps after which to stop; None: all samples.
            callbacks: `fastnn.callbacks` objects.
        """
        limit = _limit("predict", "steps", steps)
        if is_stream(x):
            if batch_size is not None:
                checks.fail("predict", "no batch_size beside batches", batch_size)
            return self._predict_stream(Stream("predict", x, limit), verbose, callbacks)
        batch_size = _batch_size("predict", batch_size)
        samples = self._samples("predict", x)
        if limit is not None:
            samples = [part[: limit * batch_size] for part in samples]
        self._built_for(samples)
        if len(samples[0]) == 0:
            return self.output_structure.whole(self.forward_parts(samples))
        source = Arrays((samples, [], []), batch_size)
        bar = ProgressBar(source.steps, batch_size, None, None, verbose)
        every_callback = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=source.steps)
        every_callback.on_predict_begin()
        try:
            self._feed.load(samples)
            self._feed.collect(self._result_rows(samples))
            self._run("predict", source, every_callback, bar.update)
            results = self._feed.collected()
            self._output_rows[tuple(part.shape[1:] for part in samples)] = [result.shape[1:] for result in results]
        finally:
            bar.close()
        every_callback.on_predict_end()
        return self.output_structure.whole(results)

    def _predict_stream(self, stream: Stream, verbose: int | str, callbacks: Any) -> Any:
        """Return the outputs for all batches of a stream."""
        bar = ProgressBar(stream.length(), stream.rows, None, None, verbose)
        every_callback = CallbackList(callbacks, model=self, verbose=verbose, epochs=1, steps=stream.length())
        every_callback.on_predict_begin()
        try:
            batches = self._run_stream("predict", stream, every_callback, bar.update, None)
        finally:
            bar.close()
        every_callback.on_predict_end()
        return self.output_structure.whole([np.concatenate(parts) for parts in zip(*batches)])


def _limit(who: str, argument: str, steps: Any) -> int | None:
    """Return a number of steps, None for all."""
    return None if steps is None else checks.integer(who, argument, steps, 1)


def _batch_size(who: str, batch_size: Any) -> int:
    return 32 if batch_size is None else checks.integer(who, "batch_size", batch_size, 1)


def _steps(source: Arrays | Stream) -> int | None:
    """Return the steps of an epoch, None if nobody knows."""
    return source.steps if isinstance(source, Arrays) else source.length()


def _validates(freq: Any) -> Callable[[int], bool]:
    """Return whether to validate after an epoch, counted from 1."""
    if isinstance(freq, Collection) and not isinstance(freq, (str, bytes)):
        chosen = {checks.integer("fit", "validation_freq", epoch, 1) for epoch in freq}
        return lambda epoch: epoch in chosen
    every = checks.integer("fit", "validation_freq", freq, 1)
    return lambda epoch: epoch % every == 0
