"""Files that are damaged, foreign or lie about themselves; folders that refuse; crashes while saving."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from safetensors.numpy import save_file
from tiny import X, Y, assert_same, line, state

from fastnn import Sequential, files
from fastnn.models import load_model


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    model = line("adam")
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "small.fastnn")
    return tmp_path / "small.fastnn"


# ---------------------------------------------------------------- damaged and foreign files


def load_or_refuse(path: Path) -> Sequential | None:
    """Return the model, or None if the file was refused as one not, or no longer, written by fastnn."""
    try:
        return load_model(path)
    except ValueError as refusal:
        text = str(refusal)
    assert text.startswith(("load '", "load_model: ")), text
    assert ": expected " in text
    return None


def test_truncated_at_every_length(small_file: Path) -> None:
    content = small_file.read_bytes()
    for length in range(len(content)):
        small_file.write_bytes(content[:length])
        assert load_or_refuse(small_file) is None, f"{length} of {len(content)} bytes"
    for more in (b"\0", b" ", content[:8], content):
        small_file.write_bytes(content + more)
        assert load_or_refuse(small_file) is None, "longer than it was"


def test_a_flipped_bit_in_every_byte(small_file: Path) -> None:
    content, damaged = small_file.read_bytes(), bytearray(small_file.read_bytes())
    expected = load_model(small_file)
    for at in range(len(content)):
        for bit in {0, 5, at % 8}:
            damaged[at] ^= 1 << bit
            small_file.write_bytes(damaged)
            model = load_or_refuse(small_file)
            if model is not None:  # not every byte has a meaning, but none may change one
                assert_same(state(model), state(expected))
                assert model.get_config() == expected.get_config()
            damaged[at] = content[at]


FOREIGN: dict[str, Callable[[Path], Any]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("weights = [1, 2, 3]\n" * 20),
    "zeros": lambda path: path.write_bytes(bytes(1000)),
    "noise": lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)),
    "json": lambda path: path.write_text(json.dumps({"layers": []})),
    "npz": lambda path: np.savez(f"{path}.npz", weights=np.ones(3)) or os.replace(f"{path}.npz", path),
    "safetensors": lambda path: save_file({"weights/dense/kernel": np.ones((3, 2), np.float32)}, path),
    "safetensors with a note": lambda path: save_file({"a": np.ones(3)}, path, {"format": "pt", "description": "{}"}),
    "length only": lambda path: path.write_bytes((2**62).to_bytes(8, "little")),
    "long header": lambda path: path.write_bytes((2**27).to_bytes(8, "little") + b"{" + b" " * 1000),
}


@pytest.mark.parametrize("write", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(write: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "model.fastnn"
    write(path)
    model = line()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"load '.*model.fastnn': expected a file written by fastnn, got "):
        load_model(path)
    # Weights may come from other programs, if they are the right ones.
    with pytest.raises(
        ValueError, match=r"load.*: expected a file (written by fastnn|with the 2 weights of '.*'), got "
    ):
        model.load_weights(path)
    for w, v in zip(model.get_weights(), before):
        np.testing.assert_array_equal(w, v)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for load in (load_model, line().load_weights):
        with pytest.raises(FileNotFoundError):
            load(tmp_path / "none.fastnn")
        with pytest.raises(OSError):
            load(tmp_path)


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Write the file again, whole and with right checksums, but with another description."""
    tensors, description = files.read(path)
    change(description)
    files.write(path, tensors, description, True)


def units(count: int) -> Callable[[dict[str, Any]], Any]:
    return lambda d: d["model"]["layers"][0]["config"].update(units=count)


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no model": lambda d: d.pop("model"),
    "no layers": lambda d: d["model"].pop("layers"),
    "layers of another kind": lambda d: d["model"].update(layers=3),
    "layer without a class": lambda d: d["model"]["layers"][0].pop("class"),
    "base class": lambda d: d["model"]["layers"][0].update({"class": "Layer"}),
    "function for a class": lambda d: d["model"]["layers"][0].update({"class": "Input"}),
    "name for an integer": lambda d: d["model"]["layers"][0]["config"].update(units="many"),
    "unknown argument": lambda d: d["model"]["layers"][0]["config"].update(unit=2),
    "other size": units(7),
    "negative size": units(-1),
    "huge size": units(10**12),
    "shape of another kind": lambda d: d["model"].update(input_shape="abc"),
    "huge shape": lambda d: d["model"].update(input_shape=[None, 2**62]),
    "unknown optimizer": lambda d: d["training"]["optimizer"].update({"class": "Magic"}),
    "optimizer with other slots": lambda d: d["training"]["optimizer"].update({"class": "Adagrad", "config": {}}),
    "unknown loss": lambda d: d["training"]["loss"].update({"class": "Magic"}),
    "seed of another kind": lambda d: d["training"].update(shuffle_seed="x"),
    "negative seed": lambda d: d["training"].update(shuffle_seed=-1),
    "no training": lambda d: d.pop("training"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_descriptions_that_do_not_fit_are_refused(small_file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    rewritten(small_file, change)
    with pytest.raises((ValueError, TypeError), match="expected "):
        load_model(small_file)


@pytest.mark.parametrize(
    "change", [units(10**8), units(10**12), lambda d: d["model"].update(input_shape=[None, 10**9])]
)
def test_a_huge_layer_is_refused_before_its_memory_is_taken(
    small_file: Path, change: Callable[[dict[str, Any]], Any]
) -> None:
    rewritten(small_file, change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected "):
            load_model(small_file)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- writing


def test_overwrite(tmp_path: Path) -> None:
    path, model = tmp_path / "model.fastnn", line()
    model.save(path)
    old = path.read_bytes()
    model.fit(X, Y, verbose=0)
    for save in (model.save, model.save_weights):
        with pytest.raises(FileExistsError, match="save: expected a path without a file, as overwrite=False, got "):
            save(path, overwrite=False)
    assert path.read_bytes() == old
    model.save(str(path))
    assert path.read_bytes() != old
    assert os.listdir(tmp_path) == ["model.fastnn"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = line()
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "no folder" / "model.fastnn", tmp_path / "file" / "model.fastnn", tmp_path):
        with pytest.raises(OSError):
            model.save(path)
    for name in ("model.keras", "model.h5"):
        with pytest.raises(ValueError, match=r"save: expected a path ending in \.fastnn, got "):
            model.save(tmp_path / name)
    path = tmp_path / "model.fastnn"
    model.save(path)
    old = path.read_bytes()
    model.fit(X, Y, verbose=0)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    for function in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, full)
            with pytest.raises(OSError, match="No space left"):
                model.save(path)
        assert path.read_bytes() == old
        assert sorted(os.listdir(tmp_path)) == ["file", "model.fastnn"]


def test_a_device_stays_one(tmp_path: Path) -> None:
    """A save renames its file to the path, which must not replace what is no file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(OSError, match=r"save: expected the path of a file, got .* which is none; add a file name"):
            line().save(path)
    assert pipe.is_fifo()
    with pytest.raises(TypeError, match=r"save: expected filepath to be a string or path, got None \(NoneType\)"):
        line().save(None)  # type: ignore[arg-type]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError):
        line().save(tmp_path / "model.fastnn")


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny import blobs, mlp
model, (x, y) = mlp(hidden=4000), blobs(32)
while True:
    model.train_on_batch(x, y)
    model.save(sys.argv[2])
    print(model.optimizer.iterations[0], flush=True)
"""


@pytest.mark.parametrize("name", ["model.fastnn", "model[1].fastnn"])
def test_killed_while_saving(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for round_ in range(4):
        command = [sys.executable, "-c", KILLED, os.path.dirname(__file__), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(3):
                child.stdout.readline()
            time.sleep(0.003 * round_)
            child.send_signal(signal.SIGKILL)
            saved = child.stdout.read().split()
        model = load_model(path)
        assert model.optimizer is not None
        assert model.optimizer.iterations[0] >= int(saved[-1] if saved else 3)
        model.fit(normal(8, 5), np.zeros(8), verbose=0)
    model.save(path)
    assert os.listdir(tmp_path) == [name], "what killed processes left behind"


def test_saving_leaves_the_unfinished_files_of_others_alone(tmp_path: Path) -> None:
    others = [".other.fastnn.abcdefgh.part", ".m.fastnn.abcdefgh.part", "model.fastnn.abcdefgh.part"]
    for other in others:
        (tmp_path / other).write_bytes(b"being written")
    for name in ("*", "m", "model.fastnn"):
        line().save(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "*", "m", "model.fastnn"])


def test_two_processes_may_save_to_one_path(tmp_path: Path) -> None:
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from tiny import mlp
model = mlp(hidden=3000)
for _ in range(40):
    model.save(sys.argv[2])
"""
    command = [sys.executable, "-c", script, os.path.dirname(__file__), str(tmp_path / "model.fastnn")]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for child in children:
        assert child.communicate(timeout=60)[1] == ""
        assert child.returncode == 0
    load_model(tmp_path / "model.fastnn")
    assert os.listdir(tmp_path) == ["model.fastnn"]
