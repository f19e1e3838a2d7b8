"""TensorBoard: logs in the files that TensorBoard reads, written without it."""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks
from fastnn.training.callback import Callback, Logs


def _crc_table() -> list[int]:
    """Return the table of CRC-32C (Castagnoli), the checksum of the records."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    value &= 2**64 - 1  # negative numbers are ten bytes
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | float | str | bytes | NDArray[np.float64]) -> bytes:
    """Return a field of a protocol buffer: int64, double, string or message, packed doubles."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else value.tobytes()
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _scalar(tag: str, value: float) -> bytes:
    return _field(1, _field(1, tag) + _varint(2 << 3 | 5) + struct.pack("<f", value))


def _histogram(tag: str, values: NDArray[Any], bins: int = 30) -> bytes:
    x = np.asarray(values, np.float64).reshape(-1)
    x = x[np.isfinite(x)]
    if not x.size:
        return b""
    counts, edges = np.histogram(x, bins)
    numbers = (float(x.min()), float(x.max()), float(x.size), float(x.sum()), float((x * x).sum()))
    data = b"".join(_field(i, number) for i, number in enumerate(numbers, 1))
    data += _field(6, edges[1:].astype("<f8")) + _field(7, counts.astype("<f8"))
    return _field(1, _field(1, tag) + _field(5, data))


class EventFile:
    """A file of events, made when the first one is written. Opened for each: none is left open after an exception.

    Args:
        folder: where to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path: Path | None = None

    def write(self, step: int, summary: bytes) -> None:
        """Append an event with these values."""
        events = [_field(1, time.time()) + _field(2, step) + _field(5, summary)]
        if self._path is None:
            os.makedirs(self.folder, exist_ok=True)
            second, rest = divmod(time.time_ns(), 10**9)
            self._path = Path(self.folder, f"events.out.tfevents.{second:010d}.fastnn.{os.getpid()}.{rest}")
            events.insert(0, _field(1, time.time()) + _field(3, "brain.Event:2"))
        with self._path.open("ab") as stream:
            stream.write(b"".join(map(_record, events)))


def _record(event: bytes) -> bytes:
    """Return an event with its length and both checksums."""
    length = struct.pack("<Q", len(event))
    sums = [struct.pack("<I", _masked_crc(part)) for part in (length, event)]
    return length + sums[0] + event + sums[1]


class TensorBoard(Callback):
    """Writes losses, metrics and the learning rate to files for TensorBoard (``tensorboard --logdir logs``), without needing it.

    Training goes to the folder train, validation to validation, as "epoch_loss" and so on.

    Args:
        log_dir: folder of this run; default "logs".
        histogram_freq: every how many epochs histograms of all weights are written; default 0, never.
        write_graph, write_images, profile_batch, embeddings_freq, embeddings_metadata: taken as Keras has them; only what says
            no (or True for write_graph) is possible, since there is no such graph.
        write_steps_per_second: write steps per second of every epoch; default False.
        update_freq: "epoch" (default); "batch", or an integer >= 1: also every so many batches, as "batch_loss" and so on (then
            the training goes step by step).

    Raises:
        OSError: the files cannot be written.

    >>> import os, tempfile
    >>> from fastnn import callbacks
    >>> folder = tempfile.mkdtemp()
    >>> board = callbacks.TensorBoard(folder)
    >>> board.on_train_begin()
    >>> board.on_epoch_end(0, {"loss": 0.5, "val_loss": 0.75})
    >>> sorted(os.listdir(folder))
    ['train', 'validation']
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        who = "TensorBoard"
        if not isinstance(log_dir, (str, os.PathLike)):
            checks.fail_type(who, "log_dir to be a string or path", checks.describe(log_dir))
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = checks.integer(who, "histogram_freq", histogram_freq, 0)
        checks.boolean(who, "write_graph", write_graph)
        self.write_steps_per_second = checks.boolean(who, "write_steps_per_second", write_steps_per_second)
        given = {"write_images": write_images, "profile_batch": profile_batch, "embeddings_freq": embeddings_freq}
        for name, value in {**given, "embeddings_metadata": embeddings_metadata}.items():
            if value:
                checks.fail(who, f"no {name}", repr(value), "model.profile() and plot helpers show that")
        if isinstance(update_freq, str):
            name = checks.one_of(who, "update_freq (if not an integer)", update_freq, ("epoch", "batch"))
            self.every = 1 if name == "batch" else 0
        else:
            self.every = checks.integer(who, "update_freq", update_freq, 1)
        self._files: dict[str, EventFile] = {}
        self._batches = self._steps = 0
        self._begin = 0.0

    def wants_batches(self, phase: str) -> bool:
        return phase == "train" and self.every > 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        self._files = {kind: EventFile(os.path.join(self.log_dir, kind)) for kind in ("train", "validation")}

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._begin, self._steps = time.perf_counter(), 0

    def on_steps_end(self, batch: int, logs: Logs | None = None) -> None:
        self._steps = batch + 1

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.every and self._batches % self.every == 0:
            self._write("train", self._batches, {f"batch_{name}": value for name, value in (logs or {}).items()})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = dict(logs or {})
        train = {f"epoch_{name}": value for name, value in logs.items() if not name.startswith("val_")}
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None:
            train["epoch_learning_rate"] = optimizer.learning_rate
        if self.write_steps_per_second and self._steps:
            train["epoch_steps_per_second"] = self._steps / max(time.perf_counter() - self._begin, 1e-9)
        self._write("train", epoch, train)
        validation = {f"epoch_{name[4:]}": value for name, value in logs.items() if name.startswith("val_")}
        self._write("validation", epoch, validation)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for p in self.model.weights:
                self._files["train"].write(epoch, _histogram(p.name, p.value))

    def _write(self, kind: str, step: int, values: Logs) -> None:
        """Write numbers; an array becomes one per element."""
        summary = b"".join(_scalar(tag, number) for tag, number in _numbers(values))
        if summary:
            self._files[kind].write(step, summary)


def _numbers(values: Logs) -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            yield name, float(array)
        else:
            yield from ((f"{name}/{i}", float(number)) for i, number in enumerate(array.reshape(-1)))
