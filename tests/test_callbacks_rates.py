"""Callbacks of whole trainings: learning rates, backups, averages, files for TensorBoard, the progress bar."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny import Array, X, Y, assert_same, blobs, cnn, images, line, mlp, state
from tolerances import assert_bits

from fastnn import callbacks, config, optimizers
from fastnn.training.events import _crc_table, _masked_crc


def run(callback: Any, losses: list[float], rate: float = 1.0) -> list[float]:
    """Return the learning rate after every epoch with these losses."""
    callback.set_model(SimpleNamespace(optimizer=optimizers.SGD(rate), stop_training=False))
    callback.on_train_begin()
    rates = []
    for epoch, loss in enumerate(losses):
        logs = {"loss": loss}
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, logs)
        rates.append(callback.model.optimizer.learning_rate)
    return rates


@pytest.mark.parametrize(
    ("options", "losses", "expected"),
    [
        ({"patience": 2}, [1, 1, 1, 1, 1], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1}, [1, 0.5, 0.6, 0.4, 0.4], [1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "cooldown": 2}, [1, 1, 1, 1, 1, 1], [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
        ({"patience": 1, "min_lr": 0.3}, [1, 1, 1, 1], [1, 0.5, 0.3, 0.3]),
        ({"patience": 1, "min_delta": 0.2}, [1, 0.9, 0.7], [1, 0.5, 0.5]),
        ({"patience": 1, "mode": "max"}, [1, 2, 1, 3], [1, 1, 0.5, 0.5]),
        ({"patience": 0}, [1, 1, 1], [1, 0.5, 0.25]),
        ({"patience": 1}, [1, np.nan, 1], [1, 0.5, 0.25]),
    ],
)
def test_reduce_on_plateau(options: dict[str, Any], losses: list[float], expected: list[float]) -> None:
    plateau = callbacks.ReduceLROnPlateau("loss", factor=0.5, **options)
    for _ in range(2):  # a second training begins anew
        np.testing.assert_allclose(run(plateau, losses), expected, rtol=1e-6)


def test_learning_rates_are_in_the_history(capsys: pytest.CaptureFixture[str]) -> None:
    plateau = callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=100, factor=0.5, verbose=1)
    history = line(optimizers.SGD(0.5)).fit(X, Y, epochs=3, callbacks=[plateau], verbose=0).history
    assert history["learning_rate"] == [0.5, 0.5, 0.25]
    assert "Epoch 2: ReduceLROnPlateau reducing learning rate to 0.25." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda epoch, rate: rate / 2, [0.5, 0.25, 0.125]),
        (lambda epoch: 0.5 if epoch < 2 else 0.25, [0.5, 0.5, 0.25]),
        (lambda epoch, rate=3.0: np.float32(rate), [1, 1, 1]),
        (type("Schedule", (), {"__call__": lambda self, step: 1 / 2**step})(), [1, 0.5, 0.25]),
    ],
)
def test_learning_rate_scheduler(schedule: Any, expected: list[float]) -> None:
    assert run(callbacks.LearningRateScheduler(schedule), [1, 1, 1]) == expected
    history = line(optimizers.SGD(1.0)).fit(
        X, Y, epochs=3, callbacks=[callbacks.LearningRateScheduler(schedule)], verbose=0
    )
    assert history.history["learning_rate"] == expected


def test_wrong_arguments(tmp_path: Path) -> None:
    for call, error, text in (
        (lambda: callbacks.ReduceLROnPlateau(factor=1.0), ValueError, "ReduceLROnPlateau: expected factor"),
        (lambda: callbacks.ReduceLROnPlateau(patience=-1), ValueError, "ReduceLROnPlateau: expected patience"),
        (lambda: callbacks.LearningRateScheduler(0.1), TypeError, "LearningRateScheduler: expected schedule"),
        (lambda: run(callbacks.LearningRateScheduler(lambda e: "a"), [1]), TypeError, "what schedule returns"),
        (lambda: run(callbacks.LearningRateScheduler(lambda e: -1.0), [1]), ValueError, "what schedule returns"),
        (lambda: callbacks.BackupAndRestore(""), TypeError, "BackupAndRestore: expected backup_dir"),
        (lambda: callbacks.BackupAndRestore(tmp_path, save_freq="batch"), ValueError, "expected save_freq"),
        (lambda: callbacks.BackupAndRestore(tmp_path, save_freq=0), ValueError, "expected save_freq"),
        (lambda: callbacks.TensorBoard(update_freq=0), ValueError, "expected update_freq"),
        (lambda: callbacks.TensorBoard(write_images=True), ValueError, "TensorBoard: expected no write_images"),
        (lambda: callbacks.SwapEMAWeights("yes"), TypeError, "SwapEMAWeights: expected swap_on_epoch"),
    ):
        with pytest.raises(error, match=text):
            call()  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------- backups


class Killed(Exception):
    """The process ends."""


class Kill(callbacks.Callback):
    """Ends the training after so many steps, or epochs."""

    def __init__(self, steps: int = 0, epochs: int = 0) -> None:
        self.steps, self.epochs, self.done = steps, epochs, 0
        if steps:
            self.on_train_batch_end = self.count  # type: ignore[method-assign]

    def count(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.done == self.steps:
            raise Killed

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 == self.epochs:
            raise Killed


def everything(model: Any, history: Any) -> dict[str, Array]:
    last = {f"last {name}": np.array(values[-1]) for name, values in history.history.items()}
    return state(model) | last


FIT = {"validation_split": 0.2, "batch_size": 8, "verbose": 0}


@pytest.mark.parametrize("make", ["mlp", "cnn"])
@pytest.mark.parametrize(
    ("options", "backup", "kill"),
    [
        ({}, {}, {"epochs": 3}),
        ({"shuffle": False}, {"double_checkpoint": True}, {"epochs": 2}),
        ({"steps_per_epoch": 3}, {}, {"epochs": 3}),
        ({}, {"save_freq": 3}, {"steps": 10}),
        ({"steps_per_epoch": 7}, {"save_freq": 5}, {"steps": 13}),
        ({}, {"save_freq": 1}, {"steps": 9}),
    ],
    ids=["epochs", "not shuffled", "steps", "batches", "batches of steps", "every batch"],
)
def test_a_training_that_was_cut_off_goes_on(
    make: str, options: dict[str, Any], backup: dict[str, Any], kill: dict[str, Any], tmp_path: Path
) -> None:
    """Bit for bit, in another process: model, seed and names are made anew."""
    x, y = blobs(40) if make == "mlp" else images(40)
    fit = {**FIT, **options, "epochs": 5}

    def model(seed: int) -> Any:
        made = mlp() if make == "mlp" else cnn()
        config.set_seed(seed)  # what comes from the seed after this is taken from the backup
        return made

    names = [layer.name for layer in model(1).layers]
    first = model(1)
    whole = everything(first, first.fit(x, y, **fit))
    cut = model(1)
    for layer, name in zip(cut.layers, names, strict=True):
        layer.name = name
    saving = callbacks.BackupAndRestore(tmp_path / "backup", **backup)
    with pytest.raises(Killed):
        cut.fit(x, y, **fit, callbacks=[saving, Kill(**kill)])
    assert (tmp_path / "backup" / "latest.fastnn").exists()
    again = model(1)
    parameters = [(a.name, b.name) for a, b in zip(cut.parameters, again.parameters, strict=True)]
    for p, (name, _) in zip(again.parameters, parameters, strict=True):
        p.name = name
    for layer, other in zip(again.layers, cut.layers, strict=True):
        layer.name = other.name
    again.shuffle_seed = 12345
    history = again.fit(x, y, **fit, callbacks=[callbacks.BackupAndRestore(tmp_path / "backup", **backup)])
    assert history.epoch[-1] == 4
    assert_same(
        everything(again, history), {k: whole[w] for k, w in zip(everything(again, history), whole, strict=True)}
    )
    assert not (tmp_path / "backup").exists()


def test_ctrl_c_keeps_the_backup(tmp_path: Path) -> None:
    def interrupt(epoch: int, logs: Any) -> None:
        raise KeyboardInterrupt

    model = line()
    backup = callbacks.BackupAndRestore(tmp_path / "b")
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[backup, callbacks.LambdaCallback(on_epoch_end=interrupt)])
    assert history.interrupted
    assert model.fit(X, Y, epochs=3, verbose=0, callbacks=[backup]).epoch == [1, 2]
    assert not (tmp_path / "b").exists()


def test_a_damaged_backup(tmp_path: Path) -> None:
    model = line("adam")
    backup = callbacks.BackupAndRestore(tmp_path, double_checkpoint=True, delete_checkpoint=False)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[backup])
    path = tmp_path / "latest.fastnn"
    content = path.read_bytes()
    path.write_bytes(content[:-3])
    assert model.fit(X, Y, epochs=4, verbose=0, callbacks=[backup]).epoch == [1, 2, 3]  # from the one before
    for file in tmp_path.iterdir():
        file.write_bytes(content[:100])
    before = state(model)
    with pytest.raises(ValueError, match="a file written by fastnn"):
        model.fit(X, Y, epochs=9, verbose=0, callbacks=[backup])
    assert_same(state(model), before)


def test_a_backup_of_another_model(tmp_path: Path) -> None:
    backup = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    line().fit(X, Y, verbose=0, callbacks=[backup])
    x, y = blobs(20)
    with pytest.raises(ValueError, match=r"BackupAndRestore: expected the backup of a model with the \d+ arrays of"):
        mlp().fit(x, y, verbose=0, callbacks=[backup])
    line().save(tmp_path / "latest.fastnn")
    with pytest.raises(ValueError, match="BackupAndRestore: expected a file that it wrote, got one of kind 'model'"):
        line().fit(X, Y, verbose=0, callbacks=[backup])


def test_nothing_is_left_to_do(tmp_path: Path) -> None:
    model = line()
    backup = callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[backup])
    before = state(model)
    assert model.fit(X, Y, epochs=2, verbose=0, callbacks=[backup]).epoch == []
    assert_same(state(model), before)


# ---------------------------------------------------------------- averages


@pytest.mark.parametrize("on_epoch", [False, True])
def test_averages_are_evaluated(on_epoch: bool) -> None:
    model, plain = (line(optimizers.SGD(0.01, use_ema=True, ema_momentum=0.5)) for _ in range(2))
    swap = callbacks.SwapEMAWeights(swap_on_epoch=on_epoch)
    seen: list[Any] = []
    look = callbacks.LambdaCallback(on_test_begin=lambda logs: seen.append(model.store.values.copy()))
    plain.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    model.fit(X, Y, epochs=2, shuffle=False, validation_data=(X, Y), callbacks=[swap, look], verbose=0)
    average = plain.optimizer.slots["average"]  # type: ignore[union-attr]
    assert_bits(seen[-1], average)
    assert not np.array_equal(seen[0], seen[1])
    assert_bits(model.store.values, average)  # fit ends with the averages in the place of the weights
    assert_bits(plain.store.values, average)


def test_averages_need_an_optimizer_that_has_them() -> None:
    with pytest.raises(ValueError, match="SwapEMAWeights: expected an optimizer with use_ema=True, got SGD"):
        line().fit(X, Y, validation_data=(X, Y), callbacks=[callbacks.SwapEMAWeights()], verbose=0)


# ---------------------------------------------------------------- files for TensorBoard


def test_checksum() -> None:
    """CRC-32C of "123456789" is 0xE3069283, masked as the records have it."""
    assert len(_crc_table()) == 256
    crc = 0xE3069283
    assert _masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder: Path) -> list[bytes]:
    """Return the events of the only file of a folder, after verifying its checksums."""
    (path,) = folder.iterdir()
    content, found = path.read_bytes(), []
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        assert struct.unpack("<I", content[8:12])[0] == _masked_crc(content[:8])
        assert struct.unpack("<I", content[12 + size : 16 + size])[0] == _masked_crc(content[12 : 12 + size])
        found.append(content[12 : 12 + size])
        content = content[16 + size :]
    return found


def test_tensorboard_files(tmp_path: Path) -> None:
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=2, write_steps_per_second=True)
    history = line(metrics=["mae"]).fit(X, Y, 4, 2, validation_data=(X, Y), callbacks=[board], verbose=0).history
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    assert b"brain.Event:2" in train[0]
    assert len(train) == 1 + 3 + 2 * (1 + 2)  # of batches 2, 4, 6; of each epoch the numbers and two histograms
    assert len(validation) == 1 + 2
    text = b"".join(train)
    for tag in (b"batch_loss", b"epoch_mae", b"epoch_learning_rate", b"epoch_steps_per_second", b"kernel"):
        assert tag in text
    for event, loss in zip(validation[1:], history["val_loss"], strict=True):
        assert struct.pack("<f", loss) in event


def test_tensorboard_reads_them(tmp_path: Path) -> None:
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1)
    history = line().fit(X, Y, epochs=3, callbacks=[board], verbose=0).history
    read = loading.EventAccumulator(str(tmp_path / "train"))
    read.Reload()
    np.testing.assert_allclose([e.value for e in read.Scalars("epoch_loss")], history["loss"], rtol=1e-6)
    assert [e.step for e in read.Scalars("epoch_loss")] == [0, 1, 2]
    assert len(read.Histograms(read.Tags()["histograms"][0])) == 3


# ---------------------------------------------------------------- the bar


def test_progbar_logger(capsys: pytest.CaptureFixture[str]) -> None:
    line().fit(X, Y, 4, 2, callbacks=[callbacks.ProgbarLogger()], verbose=0)
    lines = capsys.readouterr().out.strip().splitlines()
    assert [text[:22] for text in lines] == ["Epoch 1/2 - 3/3 steps ", "Epoch 2/2 - 3/3 steps "]
    line().fit(X, Y, 4, 2, callbacks=[callbacks.ProgbarLogger()], verbose=2)
    assert len(capsys.readouterr().out.strip().splitlines()) == 2  # fit's own
