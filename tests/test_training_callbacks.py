"""Callbacks in a real training: when each method is called, with which logs, and what stops a training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tiny import X, Y, line
from tolerances import assert_bits

from fastnn import callbacks, config, optimizers

HOOKS = [name for name in vars(callbacks.Callback) if name.startswith("on_") and "steps" not in name]


class Recorder(callbacks.Callback):
    """Writes down every call: (hook, index or None, logs)."""

    def __init__(self, *hooks: str) -> None:
        self.calls: list[tuple[str, int | None, dict[str, float]]] = []
        for hook in hooks:
            setattr(self, hook, lambda *args, hook=hook: self.note(hook, *args))

    def note(self, hook: str, *args: Any) -> None:
        *index, logs = args
        self.calls.append((hook.removeprefix("on_"), *(index or [None]), dict(logs)))

    def order(self) -> list[Any]:
        return [hook if index is None else (hook, index) for hook, index, _ in self.calls]

    def logs(self, hook: str) -> list[dict[str, float]]:
        return [logs for name, _, logs in self.calls if name == hook]


def batches(phase: str, *indices: int) -> list[Any]:
    return [(f"{phase}_batch_{end}", i) for i in indices for end in ("begin", "end")]


EVERYTHING = [h for h in HOOKS if h not in ("on_batch_begin", "on_batch_end")]


def test_order_of_fit() -> None:
    seen = Recorder(*EVERYTHING)
    line().fit(X, Y, 4, epochs=2, validation_data=(X[:5], Y[:5]), validation_batch_size=3, callbacks=[seen], verbose=0)
    validation = ["test_begin", *batches("test", 0, 1), "test_end"]
    epochs = [
        part
        for epoch in (0, 1)
        for part in (("epoch_begin", epoch), *batches("train", 0, 1, 2), *validation, ("epoch_end", epoch))
    ]
    assert seen.order() == ["train_begin", *epochs, "train_end"]


def test_order_of_evaluate_and_predict() -> None:
    for use, phase in ((line().evaluate, "test"), (line().predict, "predict")):
        seen = Recorder(*EVERYTHING)
        use(X, **({"y": Y} if phase == "test" else {}), batch_size=4, callbacks=[seen], verbose=0)
        assert seen.order() == [f"{phase}_begin", *batches(phase, 0, 1, 2), f"{phase}_end"]


def test_logs_are_averages_so_far() -> None:
    """Also what no batch hook sees: on_steps_end tells the same, after any number of steps."""
    model = line(optimizers.SGD(0.0), metrics=["mae"])
    each = np.abs(model.predict(X, verbose=0) - Y).mean(1), ((model.predict(X, verbose=0) - Y) ** 2).mean(1)
    seen = Recorder(*HOOKS)
    model.fit(X, Y, 4, validation_split=0.2, shuffle=False, callbacks=seen, verbose=0)
    for n, logs in zip((4, 8), seen.logs("train_batch_end"), strict=True):
        assert list(logs) == ["loss", "mae"]
        assert logs["mae"] == pytest.approx(each[0][:n].mean(), rel=1e-5)
        assert logs["loss"] == pytest.approx(each[1][:n].mean(), rel=1e-5)
    (epoch,) = seen.logs("epoch_end")
    assert list(epoch) == ["loss", "mae", "val_loss", "val_mae"]
    assert epoch["val_mae"] == pytest.approx(each[0][8:].mean(), rel=1e-5)
    assert seen.logs("test_end")[0] == {"loss": epoch["val_loss"], "mae": epoch["val_mae"]}
    assert seen.logs("train_batch_begin") == [{}, {}]

    runs: list[tuple[int, dict[str, float]]] = []
    steps = callbacks.LambdaCallback(on_steps_end=lambda batch, logs: runs.append((batch, dict(logs))))
    history = model.fit(X, Y, 4, shuffle=False, callbacks=[steps], verbose=0).history
    assert runs[-1][0] == 2
    assert [i for i, _ in runs] == sorted({i for i, _ in runs})
    assert runs[-1][1] == {name: values[0] for name, values in history.items()}


@pytest.mark.parametrize("hook", ["on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"])
def test_batch_hooks_do_not_change_the_training(hook: str) -> None:
    runs = []
    for hooks in ((), (hook,)):
        config.set_seed(1)
        model, seen = line("adam", metrics=["mae"]), Recorder(*hooks)
        history = model.fit(X, Y, 4, epochs=3, callbacks=[seen], verbose=0).history
        assert len(seen.calls) == 9 * len(hooks)
        runs.append((history, model.get_weights()[0]))
    assert runs[0][0] == runs[1][0]
    assert_bits(runs[0][1], runs[1][1])


def test_model_and_params_are_known() -> None:
    model, seen = line(), callbacks.Callback()
    model.fit(X, Y, 4, epochs=2, callbacks=[seen], verbose=0)
    assert seen.model is model
    assert seen.params == {"verbose": 0, "epochs": 2, "steps": 3}


def test_a_callback_may_be_given_alone_and_an_old_history_be_used_again() -> None:
    history = callbacks.History()
    model = line()
    assert model.fit(X, Y, callbacks=history, verbose=0) is history
    assert model.fit(X, Y, epochs=2, callbacks=[history], verbose=0) is history
    assert len(history.history["loss"]) == 3


# ---------------------------------------------------------------- stopping


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end", "on_steps_end", "on_epoch_begin"])
def test_stop_training(hook: str) -> None:
    model = line()

    def stop(index: int, logs: Any) -> None:
        if index == 1:
            model.stop_training = True

    options: dict[str, Any] = {hook: stop, "on_train_batch_begin": lambda batch, logs: None}
    history = model.fit(X, Y, 4, epochs=5, callbacks=callbacks.LambdaCallback(**options), verbose=0)
    assert model.optimizer is not None
    done = {"on_train_batch_end": 2, "on_steps_end": 2, "on_epoch_end": 6, "on_epoch_begin": 3}
    assert model.optimizer.iterations[0] == done[hook]
    assert history.epoch == ([0] if done[hook] < 6 and hook != "on_epoch_begin" else [0, 1])
    assert not history.interrupted
    history = model.fit(X, Y, 4, epochs=2, verbose=0)  # the wish is forgotten
    assert history.epoch == [0, 1]


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_interrupt_in_a_callback_ends_the_training(hook: str) -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    model, seen = line(), Recorder("on_train_end")
    breaking = callbacks.LambdaCallback(**{hook: interrupt})  # type: ignore[arg-type]
    history = model.fit(X, Y, 4, epochs=3, callbacks=[breaking, seen], verbose=0)
    assert history.interrupted
    assert seen.order() == ["train_end"]
    assert not model.fit(X, Y, 4, verbose=0).interrupted


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_test_batch_end", "on_epoch_end"]
)
def test_an_error_in_a_callback_comes_out_and_leaves_a_model_that_works(hook: str) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("mine")

    model = line("adam")
    breaking = callbacks.LambdaCallback(**{hook: fail})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="mine"):
        model.fit(X, Y, 4, validation_split=0.2, callbacks=[breaking], verbose=0)
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, 4, epochs=20, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < before


def test_loss_that_is_no_number_stops_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    model = line(optimizers.SGD(1e20))
    history = model.fit(X, Y, 4, epochs=50, callbacks=[callbacks.TerminateOnNaN()], verbose=0)
    assert len(history.epoch) < 5
    assert not np.isfinite(history.history["loss"][-1])
    assert "Invalid loss, terminating training" in capsys.readouterr().out


def test_early_stopping_restores_the_best_weights() -> None:
    model = line(optimizers.SGD(0.01))
    weights: list[Any] = []

    def worsen(epoch: int, logs: Any) -> None:
        weights.append(model.get_weights())
        if epoch == 3:
            model.optimizer.learning_rate = 2.0  # type: ignore[union-attr]

    stopping = callbacks.EarlyStopping("loss", patience=2, restore_best_weights=True)
    watch = callbacks.LambdaCallback(on_epoch_end=worsen)
    history = model.fit(X, Y, epochs=50, callbacks=[watch, stopping], shuffle=False, verbose=0)
    # After epoch 3 the steps are far too long: epoch 4 still begins with good weights, epochs 5 and 6 are worse.
    assert stopping.best_epoch == 4
    assert len(history.epoch) == 7
    for w, best in zip(model.get_weights(), weights[4], strict=True):
        assert_bits(w, best)


def test_history_ends_with_what_callbacks_add() -> None:
    class Adds(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["learning rate"] = self.model.optimizer.learning_rate

    history = line(optimizers.SGD(0.5)).fit(X, Y, epochs=2, callbacks=[Adds()], verbose=0)
    assert history.history["learning rate"] == [0.5, 0.5]
