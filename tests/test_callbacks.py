"""Callbacks, history and progress bar, driven by a fake trainer and a fake model."""

from __future__ import annotations

import csv
import inspect
import io
import math
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import pytest

from fastnn import callbacks
from fastnn.training import callback as implementation
from fastnn.training.progress import ProgressBar

HOOKS = [name for name in vars(callbacks.Callback) if name.startswith("on_")]


def takes_index(hook: str) -> bool:
    """Return whether a method takes an epoch or a batch before the logs."""
    return len(inspect.signature(getattr(callbacks.Callback, hook)).parameters) == 3


class Model:
    """What callbacks use of a model; its weight is the number of the epoch."""

    def __init__(self) -> None:
        self.stop_training = False
        self.weights = [-1]
        self.saved: list[tuple[str, str, int]] = []
        self.history: Any = None

    def get_weights(self) -> list[int]:
        return list(self.weights)

    def set_weights(self, weights: list[int]) -> None:
        self.weights = list(weights)

    def save(self, path: str) -> None:
        self.saved.append(("model", path, self.weights[0]))

    def save_weights(self, path: str) -> None:
        self.saved.append(("weights", path, self.weights[0]))


def train(callback: callbacks.Callback, values: list[float], name: str = "val_loss", batches: int = 0) -> Model:
    """Run epochs whose logs hold these values, as fit does; return the model."""
    model = Model()
    callback.set_model(model)
    callback.set_params({"verbose": 0, "epochs": len(values), "steps": batches})
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        model.weights = [epoch]
        callback.on_epoch_begin(epoch, {})
        for batch in range(batches):
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, {"loss": 0.5, name: value})
        callback.on_epoch_end(epoch, {"loss": 0.5, name: value})
        if model.stop_training:
            break
    callback.on_train_end({})
    return model


# ---------------------------------------------------------------- base class and list


def test_every_hook_can_be_called_and_does_nothing() -> None:
    callback = callbacks.Callback()
    for hook in HOOKS:
        index = [0] * takes_index(hook)
        assert getattr(callback, hook)(*index) is None
        assert getattr(callback, hook)(*index, logs={}) is None
    assert callback.model is None
    assert callback.params is None


def test_older_batch_names_are_called() -> None:
    seen = []

    class Old(callbacks.Callback):
        def on_batch_begin(self, batch: int, logs: Any = None) -> None:
            seen.append(("begin", batch))

        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(("end", batch))

    train(Old(), [0.5], batches=2)
    assert seen == [("begin", 0), ("end", 0), ("begin", 1), ("end", 1)]


@pytest.mark.parametrize("phase", ["train", "test", "predict"])
def test_wants_batches(phase: str) -> None:
    assert not callbacks.Callback().wants_batches(phase)
    assert not callbacks.CallbackList([callbacks.History(), callbacks.EarlyStopping()]).wants_batches(phase)
    for hook in implementation.BATCH_HOOKS[phase]:
        overriding = type("Overriding", (callbacks.Callback,), {hook: lambda self, batch, logs=None: None})()
        assert overriding.wants_batches(phase)
        assert callbacks.CallbackList([callbacks.History(), overriding]).wants_batches(phase)
        assert callbacks.LambdaCallback(**{hook: print}).wants_batches(phase)
        for other in {"train", "test", "predict"} - {phase}:
            assert not overriding.wants_batches(other)


def test_callbacks_that_leave_the_trainer_fast() -> None:
    fast = [
        callbacks.History(),
        callbacks.EarlyStopping(),
        callbacks.ModelCheckpoint("x"),
        callbacks.CSVLogger("x"),
        callbacks.TerminateOnNaN(),
        callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
    ]
    assert not callbacks.CallbackList(fast).wants_batches("train")
    saving = callbacks.ModelCheckpoint("x", save_freq=10)
    assert saving.wants_batches("train")
    assert not saving.wants_batches("test")


def test_list_calls_every_hook_of_every_callback_in_order() -> None:
    seen: list[Any] = []

    def recorder(label: str) -> callbacks.Callback:
        class Recorder(callbacks.Callback):
            pass

        for hook in HOOKS:
            if takes_index(hook):
                setattr(Recorder, hook, lambda self, at, logs=None, hook=hook: seen.append((label, hook, at, logs)))
            else:
                setattr(Recorder, hook, lambda self, logs=None, hook=hook: seen.append((label, hook, None, logs)))
        return Recorder()

    both = callbacks.CallbackList([recorder("a"), recorder("b")])
    for hook in HOOKS:
        index = {"epoch" if "epoch" in hook else "batch": 3} if takes_index(hook) else {}
        at = 3 if index else None
        getattr(both, hook)(**index, logs={"loss": 1.0})
        getattr(both, hook)(*index.values())  # the logs are then empty, not None
        assert seen == [(label, hook, at, logs) for logs in ({"loss": 1.0}, {}) for label in "ab"]
        seen.clear()


def test_list_shares_logs_and_passes_model_and_params() -> None:
    class Adds(callbacks.Callback):  # without a constructor
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["learning_rate"] = 0.1

    class OwnConstructor(callbacks.Callback):
        def __init__(self) -> None:  # does not call that of Callback
            self.x = 1

    both = callbacks.CallbackList([Adds(), OwnConstructor()], add_history=True, model=(model := Model()), epochs=3)
    assert [type(callback).__name__ for callback in both.callbacks] == ["Adds", "OwnConstructor", "History"]
    assert all(callback.params == {"epochs": 3} for callback in both.callbacks)
    assert all(callback.model is model for callback in both.callbacks[:2])
    both.on_train_begin()
    both.on_epoch_end(0, {"loss": 1.0})
    history = both.callbacks[-1]
    assert history.model is None  # a model keeps its history, which must not keep the model
    assert vars(history)["history"] == {"loss": [1.0], "learning_rate": [0.1]}
    mine = callbacks.History()
    assert callbacks.CallbackList(mine, add_history=True).callbacks == [mine]
    assert callbacks.CallbackList().callbacks == []


def test_list_refuses_other_things() -> None:
    with pytest.raises(TypeError, match=r"callbacks: expected Callback objects, got .*make an object of the class"):
        callbacks.CallbackList([callbacks.EarlyStopping])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"callbacks: expected Callback objects, got .*subclass Callback"):
        callbacks.CallbackList([print])  # type: ignore[list-item]


# ---------------------------------------------------------------- History, LambdaCallback


def test_history() -> None:
    history = callbacks.History()
    train(history, [3.0, 2.0, 1.0])
    assert history.epoch == [0, 1, 2]
    assert history.history == {"loss": [0.5] * 3, "val_loss": [3.0, 2.0, 1.0]}
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 0}


def test_lambda_callback() -> None:
    seen: list[Any] = []
    names = ["on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end"]
    names += ["on_train_batch_begin", "on_train_batch_end"]
    functions = {name: lambda *arguments, name=name: seen.append((name, *arguments[:-1])) for name in names}
    train(callbacks.LambdaCallback(**functions), [0.5], batches=1)
    assert seen == [
        ("on_train_begin",),
        ("on_epoch_begin", 0),
        ("on_train_batch_begin", 0),
        ("on_train_batch_end", 0),
        ("on_epoch_end", 0),
        ("on_train_end",),
    ]


def test_lambda_callback_errors() -> None:
    with pytest.raises(TypeError, match="only known arguments, got 'on_epoch_ends'; did you mean 'on_epoch_end'"):
        callbacks.LambdaCallback(on_epoch_ends=print)
    with pytest.raises(TypeError, match="LambdaCallback: expected on_epoch_end to be a function, got 3"):
        callbacks.LambdaCallback(on_epoch_end=3)  # type: ignore[arg-type]


# ---------------------------------------------------------------- EarlyStopping


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({}, [3, 2, 1], 3),
        ({}, [3, 3, 3], 2),
        ({}, [3, 4, 1], 2),
        ({"patience": 1}, [3, 4, 1, 0.5], 2),
        ({"patience": 2}, [3, 4, 2, 4, 4, 4], 5),
        ({"patience": 2, "min_delta": 0.5}, [3, 2.6, 2.4, 2.3, 2.2, 2.1], 5),
        ({"patience": 2, "min_delta": -0.5}, [3, 2.6, 2.4, 2.3, 2.2, 2.1], 5),
        ({"mode": "max"}, [1, 2, 1.5, 3], 3),
        ({"patience": 1, "start_from_epoch": 3}, [1, 2, 3, 4, 5, 6], 5),
        ({"patience": 2, "baseline": 1.0}, [3, 3, 3, 3], 2),
        ({"patience": 2, "baseline": 2.0}, [3, 1, 4, 4, 4], 4),
        ({"patience": 1}, [math.nan, 2, 1, 3], 4),
        ({"patience": 2}, [2, math.nan, 1, math.nan, math.nan, 1], 5),
    ],
)
def test_early_stopping(arguments: dict[str, Any], values: list[float], epochs: int) -> None:
    model = train(callbacks.EarlyStopping(**arguments), values)
    assert model.weights == [epochs - 1]
    assert model.stop_training or epochs == len(values)


@pytest.mark.parametrize(
    ("values", "best", "stopped"),
    [([3, 1, 2, 2, 0], 1, True), ([3, 2, 1, 1.5], 2, False), ([3, 2, 1], 2, False), ([math.nan] * 4, 0, True)],
)
def test_best_weights_are_restored_whether_it_stopped_or_not(values: list[float], best: int, stopped: bool) -> None:
    callback = callbacks.EarlyStopping(patience=2, restore_best_weights=True)
    for _ in range(2):  # the second training knows nothing of the first
        model = train(callback, values)
        assert model.weights == [best]
        assert callback.best_epoch == best
        assert model.stop_training == stopped


def test_best_weights_below_the_baseline() -> None:
    model = train(callbacks.EarlyStopping(patience=3, baseline=0.1, restore_best_weights=True), [3, 1, 2, 4, 5])
    assert model.weights == [1]


def test_without_restoring_no_weights_are_copied() -> None:
    callback = callbacks.EarlyStopping(patience=1)
    train(callback, [3, 1, 2])
    assert callback.best_weights is None
    assert callback.best == 1
    assert callback.best_epoch == 1
    assert callback.stopped_epoch == 2


def test_early_stopping_prints(capsys: pytest.CaptureFixture[str]) -> None:
    train(callbacks.EarlyStopping(restore_best_weights=True, verbose=1), [3, 1, 2])
    assert capsys.readouterr().out == (
        "Epoch 3: early stopping\nRestoring model weights from the end of the best epoch: 2.\n"
    )


@pytest.mark.parametrize(
    ("monitor", "rising"),
    [
        ("acc", True),
        ("val_accuracy", True),
        ("sparse_categorical_accuracy", True),
        ("auc", True),
        ("val_auc_1", True),
        ("val_pearson_correlation", True),
        ("concordance_correlation_2", True),
        ("precision", True),
        ("recall", True),
        ("f1_score", True),
        ("r2_score", True),
        ("loss", False),
        ("val_loss", False),
        ("mean_absolute_error", False),
        ("false_positives", False),
    ],
)
def test_auto_mode(monitor: str, rising: bool) -> None:
    values = [1.0, 2.0, 3.0] if rising else [3.0, 2.0, 1.0]
    assert not train(callbacks.EarlyStopping(monitor), values, monitor).stop_training
    assert train(callbacks.EarlyStopping(monitor), values[::-1], monitor).stop_training


@pytest.mark.parametrize(
    "callback", [callbacks.EarlyStopping("val_acc"), callbacks.ModelCheckpoint("x", "val_acc", save_best_only=True)]
)
def test_missing_monitor_warns_once(callback: callbacks.Callback) -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match="'val_acc' in the logs") as caught:
            model = train(callback, [3, 4, 5])
        assert len(caught) == 1
        assert not model.stop_training
        assert model.saved == []
        text = f"{type(callback).__name__}: expected 'val_acc' in the logs, got loss, val_loss; monitor one of these"
        assert text in str(caught[0].message)


@pytest.mark.parametrize("kind", [callbacks.EarlyStopping, lambda **a: callbacks.ModelCheckpoint("x", **a)])
def test_unknown_mode(kind: Any) -> None:
    with pytest.raises(
        ValueError, match="expected mode to be one of 'auto', 'min', 'max', got 'maxi'; did you mean 'max'"
    ):
        kind(mode="maxi")


def test_early_stopping_errors() -> None:
    with pytest.raises(ValueError, match="EarlyStopping: expected patience to be an integer >= 0, got -1"):
        callbacks.EarlyStopping(patience=-1)
    with pytest.raises(TypeError, match="EarlyStopping: expected monitor to be the name"):
        callbacks.EarlyStopping(monitor=3)  # type: ignore[arg-type]


# ---------------------------------------------------------------- ModelCheckpoint


def test_checkpoint_every_epoch(tmp_path: Path) -> None:
    path = tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.model"
    model = train(callbacks.ModelCheckpoint(path), [3, 1.234])
    folder = tmp_path / "new"
    assert model.saved == [("model", f"{folder}/01-3.00.model", 0), ("model", f"{folder}/02-1.23.model", 1)]
    assert folder.is_dir()


def test_checkpoint_best_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "best")
    callback = callbacks.ModelCheckpoint(path, save_best_only=True, save_weights_only=True, verbose=1)
    model = train(callback, [3, 4, math.nan, 1])
    assert model.saved == [("weights", path, 0), ("weights", path, 3)]
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss improved to 3.00000",
        f"Epoch 1: saving model to {path}",
        "Epoch 2: val_loss did not improve from 3.00000",
        "Epoch 3: val_loss did not improve from 3.00000",
        "Epoch 4: val_loss improved from 3.00000 to 1.00000",
        f"Epoch 4: saving model to {path}",
    ]
    assert train(callback, [2, 0.5]).saved == [("weights", path, 1)]  # the best outlives a training


def test_checkpoint_threshold_and_mode(tmp_path: Path) -> None:
    path = str(tmp_path / "best")
    callback = callbacks.ModelCheckpoint(path, "accuracy", save_best_only=True, initial_value_threshold=0.5)
    assert [saved[2] for saved in train(callback, [0.4, 0.6, 0.5, 0.7], "accuracy").saved] == [1, 3]


def test_checkpoint_every_so_many_batches(tmp_path: Path) -> None:
    path = str(tmp_path / "{epoch}-{batch}")
    model = train(callbacks.ModelCheckpoint(path, save_freq=4), [3, 2, 1], batches=3)
    assert [Path(saved[1]).name for saved in model.saved] == ["2-1", "3-2"]


def test_checkpoint_that_failed_is_not_the_best(tmp_path: Path) -> None:
    callback = callbacks.ModelCheckpoint(str(tmp_path / "best"), save_best_only=True)

    class Full(Model):
        def save(self, path: str) -> None:
            raise OSError("disk full")

    callback.set_model(Full())
    with pytest.raises(OSError, match="disk full"):
        callback.on_epoch_end(0, {"val_loss": 1.0})
    assert callback.best is None
    assert [saved[2] for saved in train(callback, [2.0]).saved] == [0]


@pytest.mark.parametrize("path", ["{val_acc}", "{}", "{loss:d}", "{loss", "{loss.x}", "{loss[0]}"])
def test_checkpoint_wrong_placeholders(path: str) -> None:
    with pytest.raises(ValueError, match="placeholders of filepath among epoch, loss, val_loss, with number formats"):
        train(callbacks.ModelCheckpoint(path), [3])


def test_checkpoint_errors() -> None:
    with pytest.raises(ValueError, match=r"ModelCheckpoint: expected save_freq .* 'epoch', got 'batch'"):
        callbacks.ModelCheckpoint("x", save_freq="batch")
    with pytest.raises(ValueError, match="ModelCheckpoint: expected save_freq to be an integer >= 1, got 0"):
        callbacks.ModelCheckpoint("x", save_freq=0)
    with pytest.raises(TypeError, match="ModelCheckpoint: expected filepath to be a string or path"):
        callbacks.ModelCheckpoint(3)  # type: ignore[arg-type]


# ---------------------------------------------------------------- CSVLogger


def rows(path: Path, separator: str = ",") -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream, delimiter=separator))


def test_csv_logger(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.csv"
    for _ in range(2):  # the second training overwrites the first
        train(callbacks.CSVLogger(path, separator=";"), [1 / 3, 2])
        lines = rows(path, ";")
        assert lines == [["epoch", "loss", "val_loss"], ["0", "0.5", repr(1 / 3)], ["1", "0.5", "2"]]


def test_csv_logger_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    callback = callbacks.CSVLogger(path)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 3.0, "accuracy": 0.1})
    assert rows(path) == [["epoch", "accuracy", "loss", "val_accuracy", "val_loss"], ["0", "0.1", "3.0", "NA", "NA"]]
    callback.on_epoch_end(1, {"loss": 2.0, "accuracy": 0.2, "val_loss": 2.5, "val_accuracy": 0.3})
    assert rows(path)[2] == ["1", "0.2", "2.0", "0.3", "2.5"]


def test_csv_logger_append(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    for _ in range(2):
        train(callbacks.CSVLogger(path, append=True), [2])
    assert rows(path) == [["epoch", "loss", "val_loss"], ["0", "0.5", "2"], ["0", "0.5", "2"]]
    with pytest.raises(ValueError, match=r"CSVLogger: expected the columns of .*: epoch, loss, val_loss, got also auc"):
        train(callbacks.CSVLogger(path, append=True), [2], "auc")


def test_csv_logger_errors(tmp_path: Path) -> None:
    for separator in ("", ",,", '"', "\n"):
        with pytest.raises(ValueError, match="CSVLogger: expected separator to be one character"):
            callbacks.CSVLogger("x", separator)
    with pytest.raises(OSError):
        train(callbacks.CSVLogger(tmp_path), [1])


# ---------------------------------------------------------------- TerminateOnNaN


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_terminate_on_nan(loss: float, capsys: pytest.CaptureFixture[str]) -> None:
    callback = callbacks.TerminateOnNaN()
    callback.set_model(model := Model())
    callback.on_steps_end(99, {"loss": 1.0})
    callback.on_steps_end(3, {})
    callback.on_epoch_end(0, {"loss": 1.0})
    assert not model.stop_training
    callback.on_steps_end(199, {"loss": loss})
    assert model.stop_training
    callback.on_epoch_end(1, {"loss": loss})
    assert capsys.readouterr().out == "Batch 199: Invalid loss, terminating training\n"


def test_terminate_on_nan_at_the_end_of_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    assert train(callbacks.TerminateOnNaN(), [1, math.nan, 1], "loss").stop_training
    assert capsys.readouterr().out == "Epoch 2: Invalid loss, terminating training\n"


# ---------------------------------------------------------------- progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(stream: io.StringIO, verbose: int | str, steps: int = 1000, total: int | None = 1000) -> str:
    """Show one epoch; return what was written."""
    bar = ProgressBar(total, 32, 1, 5, verbose, stream)
    for step in range(1, steps + 1):
        bar.update(step, {"loss": 0.5, "accuracy": 0.25})
    bar.close({"loss": 0.25, "accuracy": 0.98765, "val_loss": 1e-5})
    bar.close()
    return stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_silent(stream: type[io.StringIO]) -> None:
    assert run(stream(), 0) == ""


@pytest.mark.parametrize(
    ("stream", "verbose"), [(io.StringIO, 1), (io.StringIO, "auto"), (io.StringIO, 2), (Terminal, 2)]
)
def test_one_line_an_epoch(stream: type[io.StringIO], verbose: int | str) -> None:
    text = run(stream(), verbose)
    assert text.count("\n") == 1
    assert "\r" not in text
    parts = text.rstrip("\n").split(" - ")
    assert parts[:2] == ["Epoch 2/5", "1000/1000 steps"]
    assert parts[3].endswith(" samples/s")
    assert parts[4:] == ["loss: 0.2500", "accuracy: 0.9877", "val_loss: 1.0000e-05"]


@pytest.mark.parametrize("verbose", [1, "auto", True])
def test_bar(verbose: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    # A millisecond passes at each look at the clock: 1000 steps take a second, that is ten redraws.
    monkeypatch.setattr("time.perf_counter", lambda: next(clock) / 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = run(Terminal(), verbose)
    assert 8 <= text.count("\r") <= 14
    assert text.endswith("\n")
    assert text.count("\n") == 1
    last = text.rstrip().split("\r")[-1]
    assert "Epoch 2/5: 100%" in last
    assert "1000/1000" in last
    assert " samples/s" in last
    assert "loss: 0.2500, accuracy: 0.9877, val_loss: 1.0000e-05" in last
    middle = text.split("\r")[4]
    assert " left, " in middle
    assert "samples/s, loss: 0.5000, accuracy: 0.2500" in middle


def test_unknown_number_of_steps() -> None:
    assert "Epoch 2/5 - 7 steps - " in run(io.StringIO(), 1, 7, None)
    assert "Epoch 2/5: 7 steps [" in run(Terminal(), 1, 7, None)


def test_without_epochs_and_without_logs() -> None:
    stream = io.StringIO()
    bar = ProgressBar(3, 32, None, None, stream=stream)
    bar.update(3)
    bar.close()
    assert stream.getvalue().startswith("3/3 steps - ")
    assert stream.getvalue().endswith(" samples/s\n")


def test_an_epoch_that_fails_at_once_prints_nothing() -> None:
    stream = io.StringIO()
    ProgressBar(3, 32, 0, 1, stream=stream).close()
    assert stream.getvalue() == ""


def test_no_bar_outlives_its_epoch() -> None:
    tqdm = pytest.importorskip("tqdm.std").tqdm
    before = len(tqdm._instances)
    run(Terminal(), 1)
    assert len(tqdm._instances) == before
    assert tqdm.monitor is None


def test_without_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    bar = ProgressBar(10, 32, 0, 1)
    bar.update(10, {"loss": 1.0})
    bar.close()


def test_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipywidgets")
    shell = type("ZMQInteractiveShell", (), {})()
    shown: list[Any] = []
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    module = pytest.importorskip("tqdm.notebook")
    monkeypatch.setattr(module, "display", shown.append)
    bar = ProgressBar(10, 32, 0, 1)
    bar.update(10, {"loss": 1.0})
    bar.close({"loss": 0.5})
    (box,) = shown
    assert box.children[1].value == 10
    assert "loss:" in box.children[2].value


def test_wrong_verbose() -> None:
    with pytest.raises(ValueError, match=r"fit: expected verbose to be 0 .* got 3"):
        ProgressBar(1, 1, 0, 1, verbose=3)
