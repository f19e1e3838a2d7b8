"""Data sets: the bundled digits, where files are looked for, downloads (simulated), and damaged files."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import hashlib
import http.server
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastnn.datasets import _files, cifar10, digits, fashion_mnist, mnist

Bytes = NDArray[np.uint8]
REAL_DATA = os.environ.get("FASTNN_DATA")
IDX_FILES = (_files.TRAIN_IMAGES, _files.TRAIN_LABELS, _files.TEST_IMAGES, _files.TEST_LABELS)


class Offline(ModuleType):
    """A pooch that has no network."""

    def __init__(self) -> None:
        super().__init__("pooch")
        self.urls: list[str] = []

    def retrieve(self, url: str, known_hash: str, fname: str, path: Path) -> str:
        self.urls.append(url)
        raise ConnectionError("no route to host")


class Mirrors(Offline):
    """A pooch whose last mirror is a folder."""

    def __init__(self, folder: Path, works: str) -> None:
        super().__init__()
        self.folder, self.works = folder, works

    def retrieve(self, url: str, known_hash: str, fname: str, path: Path) -> str:
        if not url.startswith(self.works):
            super().retrieve(url, known_hash, fname, path)
        self.urls.append(url)
        path.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / fname, path / fname)
        assert known_hash == "sha256:" + hashlib.sha256((path / fname).read_bytes()).hexdigest()
        return str(path / fname)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offline:
    """No FASTNN_DATA, an empty cache, no network."""
    pooch = Offline()
    monkeypatch.delenv("FASTNN_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "pooch", pooch)
    return pooch


def idx(array: Bytes) -> bytes:
    """Return an array as a compressed IDX file."""
    header = struct.pack(f">{1 + array.ndim}I", 0x0800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


def images(count: int, *shape: int) -> Bytes:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def labels(count: int) -> Bytes:
    return (np.arange(count) % 10).astype(np.uint8)


def write_idx(folder: Path) -> Path:
    """Write a small data set of 12 + 5 images; return its folder."""
    folder.mkdir(parents=True)
    arrays = (images(12, 28, 28), labels(12), images(5, 28, 28), labels(5))
    for name, array in zip(IDX_FILES, arrays, strict=True):
        (folder / name).write_bytes(idx(array))
    return folder


def publish(monkeypatch: pytest.MonkeyPatch, folder: Path, mirrors: tuple[str, ...]) -> None:
    """Let the published files of MNIST be those of a folder."""
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in IDX_FILES}
    changed = dataclasses.replace(mnist._PUBLISHED, sha256=digests, mirrors=mirrors)
    monkeypatch.setattr(mnist, "_PUBLISHED", changed)


# ---------------------------------------------------------------- digits


def test_digits_are_all_there_once() -> None:
    (x_train, y_train), (x_test, y_test) = digits.load_data()
    for array in (x_train, y_train, x_test, y_test):
        assert array.dtype == np.uint8
        assert array.flags.writeable
        assert array.flags.c_contiguous
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    assert x.shape == (1797, 8, 8)
    assert x.max() == 16
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    with np.load(Path(digits.__file__).with_name("digits.npz")) as stored:
        original = np.column_stack([stored["x"].reshape(-1, 64), stored["y"]])
    both = np.column_stack([x.reshape(-1, 64), y])
    np.testing.assert_array_equal(both[np.lexsort(both.T)], original[np.lexsort(original.T)])


@pytest.mark.parametrize("share", [0, 0.1, 0.2, 0.5])
def test_digits_split_has_the_same_share_of_each_digit(share: float) -> None:
    (_, y_train), (_, y_test) = digits.load_data(test_split=share)
    total = np.bincount(y_train, minlength=10) + np.bincount(y_test, minlength=10)
    assert np.bincount(y_test, minlength=10).tolist() == [round(share * int(n)) for n in total]


def test_digits_depend_on_the_seed_alone() -> None:
    def fingerprint(seed: int) -> str:
        parts = [array for split in digits.load_data(seed=seed) for array in split]
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]

    assert fingerprint(0) == fingerprint(0) == "e4914b8af7322d9c"  # on every machine, with every NumPy
    assert fingerprint(1) != fingerprint(0)


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.datasets")
    with np.load(Path(digits.__file__).with_name("digits.npz")) as stored:
        np.testing.assert_array_equal(stored["x"], sklearn.load_digits().images)
        np.testing.assert_array_equal(stored["y"], sklearn.load_digits().target)


def test_digits_arguments() -> None:
    with pytest.raises(ValueError, match=r"datasets\.digits: expected test_split to be .* >= 0 and < 1, got 1"):
        digits.load_data(test_split=1)
    with pytest.raises(ValueError, match="seed to be an integer >= 0, got -1"):
        digits.load_data(seed=-1)


# ---------------------------------------------------------------- where files are looked for


def test_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: Offline) -> None:
    for name, module in (("mnist", mnist), ("fashion-mnist", fashion_mnist)):
        write_idx(tmp_path / name)
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
        (x_train, y_train), (x_test, y_test) = module.load_data()
        np.testing.assert_array_equal(x_train, images(12, 28, 28))
        np.testing.assert_array_equal(y_train, labels(12))
        np.testing.assert_array_equal(x_test, images(5, 28, 28))
        np.testing.assert_array_equal(y_test, labels(5))
        assert x_train.dtype == y_train.dtype == np.uint8
        assert x_train.flags.writeable
    assert offline.urls == []


@pytest.mark.parametrize("setting", [None, "", "nowhere"])
def test_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str | None, offline: Offline) -> None:
    if setting is not None:
        monkeypatch.setenv("FASTNN_DATA", str(tmp_path / setting) if setting else "")
    with pytest.raises(OSError) as caught:
        mnist.load_data()
    text = str(caught.value)
    assert text.startswith("datasets.mnist: expected train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, ")
    folder = tmp_path / ("nowhere" if setting else "cache/fastnn") / "mnist"
    assert f"put {', '.join(IDX_FILES)} into {folder}, or set FASTNN_DATA" in text
    assert (f"FASTNN_DATA: {folder} is not there" if setting else "FASTNN_DATA is not set") in text
    assert f"cache: {tmp_path / 'cache/fastnn/mnist'} is not there" in text
    assert len(offline.urls) == 2  # the other files would fail in the same way
    for url in offline.urls:
        assert f"{url}: ConnectionError: no route to host" in text


def test_absent_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(OSError, match=r"pooch is not installed \(pip install 'fastnn\[data\]'\)"):
        fashion_mnist.load_data()
    with pytest.raises(OSError, match=r"cifar-10-binary\.tar\.gz into .*instead of them, train\.npz and test\.npz"):
        cifar10.load_data()


def test_only_the_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (write_idx(tmp_path / "mnist") / _files.TEST_LABELS).unlink()
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"^datasets.mnist: expected t10k-labels-idx1-ubyte.gz, got nothing"):
        mnist.load_data()


def test_download_from_the_next_mirror_then_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_idx(tmp_path / "published")
    publish(monkeypatch, folder, ("https://down.example/", "https://up.example/"))
    pooch = Mirrors(folder, works="https://up.example/")
    monkeypatch.setitem(sys.modules, "pooch", pooch)
    np.testing.assert_array_equal(mnist.load_data()[0][0], images(12, 28, 28))
    assert pooch.urls == [
        host + name for name in IDX_FILES for host in ("https://down.example/", "https://up.example/")
    ]
    monkeypatch.setitem(sys.modules, "pooch", None)  # neither network nor pooch is needed any more
    np.testing.assert_array_equal(mnist.load_data()[1][1], labels(5))


def test_damaged_cache_is_downloaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: Offline) -> None:
    folder = write_idx(tmp_path / "published")
    publish(monkeypatch, folder, ("https://up.example/",))
    cached = tmp_path / "cache/fastnn/mnist"
    shutil.copytree(folder, cached)
    (cached / _files.TRAIN_LABELS).write_bytes(idx(labels(12)[::-1]))
    with pytest.raises(OSError, match=f"cache: {cached / _files.TRAIN_LABELS} is damaged"):
        mnist.load_data()
    monkeypatch.setitem(sys.modules, "pooch", Mirrors(folder, works="https://up.example/"))
    np.testing.assert_array_equal(mnist.load_data()[0][1], labels(12))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serve the folder "published" on this machine; yields the address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    handler = functools.partial(Handler, directory=str(tmp_path / "published"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


def test_download_with_pooch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.delitem(sys.modules, "pooch")
    pytest.importorskip("pooch")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = write_idx(tmp_path / "published")
    publish(monkeypatch, folder, (server + "not-there/", server))
    np.testing.assert_array_equal(mnist.load_data()[0][0], images(12, 28, 28))
    assert sorted(path.name for path in (tmp_path / "cache/fastnn/mnist").iterdir()) == sorted(IDX_FILES)
    # A mirror that sends another file is passed over, and what it sent does not stay.
    shutil.rmtree(tmp_path / "cache")
    (folder / _files.TEST_IMAGES).write_bytes(idx(images(6, 28, 28)))
    with pytest.raises(OSError, match=r"t10k-images-idx3-ubyte.gz: ValueError: SHA256 hash of downloaded file"):
        mnist.load_data()
    assert not (tmp_path / "cache/fastnn/mnist" / _files.TEST_IMAGES).exists()


def test_import_needs_neither_pooch_nor_files() -> None:
    code = "import sys, fastnn.datasets; sys.exit('pooch' in sys.modules or 'requests' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


# ---------------------------------------------------------------- damaged files


def header(*numbers: int) -> bytes:
    return gzip.compress(struct.pack(f">{len(numbers)}I", *numbers) + bytes(784))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (_files.TRAIN_IMAGES, b"", "magic number 2051, got 0"),
        (_files.TRAIN_IMAGES, b"<html>404</html>", "intact .gz file, got BadGzipFile"),
        (_files.TRAIN_IMAGES, idx(images(12, 28, 28))[:-100], "intact .gz file, got EOFError"),
        (_files.TRAIN_IMAGES, idx(labels(12)), "magic number 2051, got 2049"),
        (_files.TRAIN_IMAGES, idx(images(12, 28, 27)), r"items of shape \(28, 28\), got \(28, 27\)"),
        (_files.TRAIN_IMAGES, header(2051, 2, 28, 28), "1568 bytes of data, got 784"),
        (_files.TRAIN_IMAGES, header(2051, 0, 28, 28), "1 to 1000000 samples, got 0"),
        (_files.TRAIN_IMAGES, header(2051, 2**32 - 1, 28, 28), "1 to 1000000 samples, got 4294967295"),
        (_files.TRAIN_IMAGES, header(2051, 999_999, 28, 28), "783999216 bytes of data, got 784"),
        (_files.TEST_LABELS, header(2049, 5), "5 bytes of data, got more"),
        (_files.TEST_LABELS, idx(labels(4)), "a label for each of 5 images, got 4"),
        (_files.TEST_LABELS, idx(labels(5) + 6), "labels from 0 to 9, got 10"),
    ],
)
def test_damaged_idx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes, expected: str) -> None:
    path = write_idx(tmp_path / "mnist") / name
    path.write_bytes(content)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=f"^datasets: expected {path} .*{expected}.*; it is damaged, or not the"):
        mnist.load_data()


def npz(x: Any, y: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=x, y=y)
    return stream.getvalue()


def archive(count: int, without: str = "", cut: int = 0) -> bytes:
    """Return a published archive with so many images in each file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for i, name in enumerate((*cifar10._BATCHES, cifar10._TEST_BATCH)):
            records = np.column_stack([labels(count), images(count + i, 3072)[:count]])
            content = records.tobytes()[: count * 3073 - cut]
            if name != without:
                info = tarfile.TarInfo("cifar-10-batches-bin/" + name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


# Each reader with a good file: (function of a path, content).
READERS: dict[str, tuple[Any, bytes]] = {
    "idx": (lambda path: _files.read_idx(path, (28, 28)), idx(images(3, 28, 28))),
    "npz": (cifar10._read_npz, npz(images(2, 3, 32, 32), labels(2))),
    "archive": (cifar10._read_archive, archive(1)),
}


def flat(result: Any) -> bytes:
    return result.tobytes() if isinstance(result, np.ndarray) else b"".join(flat(part) for part in result)


def outcome(read: Any, path: Path) -> bytes:
    """Return what is read, or what is raised."""
    try:
        return flat(read(path))
    except OSError as error:
        return b"OSError that names the file" if str(path) in str(error) else repr(error).encode()


@pytest.mark.parametrize("kind", READERS)
def test_random_damage_is_an_oserror_or_harmless(tmp_path: Path, kind: str) -> None:
    read, good = READERS[kind]
    path = tmp_path / kind
    path.write_bytes(good)
    right = flat(read(path))
    random = np.random.default_rng(0)
    versions = [good[:cut] for cut in random.integers(0, len(good), 60)]
    for position in [*range(60), *range(len(good) - 100, len(good)), *random.integers(0, len(good), 100)]:
        flipped = bytearray(good)
        flipped[position] ^= 1 << int(random.integers(8))
        versions.append(bytes(flipped))
    for version in [*versions, b"", good + b"more"]:
        path.write_bytes(version)
        # A flipped bit may be one that says nothing, such as the time in a gzip header.
        assert outcome(read, path) in (right, b"OSError that names the file")


# ---------------------------------------------------------------- CIFAR-10


def write_cifar(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def test_cifar10_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(7, 3, 32, 32)
    write_cifar(tmp_path / "cifar10", "train.npz", npz(x, labels(7)))
    write_cifar(tmp_path / "cifar10", "test.npz", npz(np.asfortranarray(x[:2]), labels(2)))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert x_train.shape == (7, 32, 32, 3)
    assert x_train.flags.c_contiguous
    assert x_train.dtype == np.uint8
    assert y_train.shape == (7, 1)
    assert y_train.dtype == np.uint8
    assert y_train.flags.writeable
    for c in range(3):
        np.testing.assert_array_equal(x_train[..., c], x[:, c])
        np.testing.assert_array_equal(x_test[..., c], x[:2, c])
    np.testing.assert_array_equal(y_train[:, 0], labels(7))
    np.testing.assert_array_equal(y_test[:, 0], labels(2))


def test_cifar10_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar10", "cifar-10-binary.tar.gz", archive(4))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    (x_train, y_train), (x_test, y_test) = cifar10.load_data()
    assert x_train.shape == (20, 32, 32, 3)
    assert y_train.shape == (20, 1)
    assert x_test.shape == (4, 32, 32, 3)
    assert y_test.shape == (4, 1)
    second = images(5, 3072)[:4].reshape(4, 3, 32, 32)
    np.testing.assert_array_equal(x_train[4:8], second.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(y_train[4:8, 0], labels(4))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (archive(4, without="data_batch_3.bin"), "to hold data_batch_3.bin, got an archive without"),
        (archive(4, cut=1), "records of 3073 bytes, got 12291 bytes"),
        (archive(4)[:-1000], "intact .tar.gz file"),
        (gzip.compress(b"no archive at all"), "intact .tar.gz file"),
    ],
)
def test_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str) -> None:
    write_cifar(tmp_path / "cifar10", "cifar-10-binary.tar.gz", content)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=f"expected .*cifar-10-binary.tar.gz .*{expected}"):
        cifar10.load_data()


def huge_npz() -> bytes:
    """Return an .npz file whose x.npy claims to have a million images."""
    array, result = io.BytesIO(), io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (1_000_000, 3, 32, 32)}
    np.lib.format.write_array_header_1_0(array, header)
    with zipfile.ZipFile(result, "w") as file:
        file.writestr("x.npy", array.getvalue() + bytes(100))
    return result.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            npz(images(2, 32, 32, 3), labels(2)),
            r"shape \(N, \*\(3, 32, 32\)\), got dtype uint8, shape \(2, 32, 32, 3\)",
        ),
        (npz(images(2, 3, 32, 32) / 255, labels(2)), "dtype uint8.*got dtype float64"),
        (npz(images(2, 3, 32, 32), labels(3)), "a label for each of 2 images, got 3"),
        (npz(np.array([{}, {}]), labels(2)), "dtype uint8.*got dtype object"),
        (huge_npz(), "3072000000 bytes of data, got 100"),
        (b"PK", "intact .npz file"),
    ],
)
def test_damaged_npz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, expected: str) -> None:
    write_cifar(tmp_path / "cifar10", "train.npz", npz(images(2, 3, 32, 32), labels(2)))
    write_cifar(tmp_path / "cifar10", "test.npz", content)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=f"expected .*test.npz .*{expected}"):
        cifar10.load_data()


def test_the_pickled_archive_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar10", "cifar-10-python.tar.gz", archive(1))
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    with pytest.raises(OSError, match=r"expected cifar-10-binary.tar.gz, got nothing"):
        cifar10.load_data()


# ---------------------------------------------------------------- real data


def nearest_mean_accuracy(data: tuple[tuple[Bytes, Bytes], tuple[Bytes, Bytes]]) -> float:
    """Return the accuracy of choosing the class whose mean image is nearest."""
    (x, y), (x_test, y_test) = data
    x, x_test = x.reshape(len(x), -1), x_test.reshape(len(x_test), -1)
    means = np.stack([x[y.ravel() == label].mean(0) for label in range(10)])
    distances = (means**2).sum(1) - 2 * x_test.astype(np.float64) @ means.T
    return float((distances.argmin(1) == y_test.ravel()).mean())


CASES = [
    SimpleNamespace(module=mnist, folder="mnist", train=60000, item=(28, 28), accuracy=0.8203),
    SimpleNamespace(module=fashion_mnist, folder="fashion-mnist", train=60000, item=(28, 28), accuracy=0.6768),
    SimpleNamespace(module=cifar10, folder="cifar10", train=None, item=(32, 32, 3), accuracy=0.2781),
]


@pytest.mark.skipif(not REAL_DATA, reason="FASTNN_DATA is not set: no real data")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder)
def test_real_data(monkeypatch: pytest.MonkeyPatch, case: Any) -> None:
    monkeypatch.setenv("FASTNN_DATA", REAL_DATA or "")
    if not Path(REAL_DATA or "", case.folder).expanduser().is_dir():
        pytest.skip(f"FASTNN_DATA has no folder {case.folder}")
    data = case.module.load_data()
    (x_train, y_train), (x_test, y_test) = data
    assert x_train.shape[1:] == case.item
    assert x_test.shape == (10000, *case.item)
    assert len(y_train) == len(x_train)
    assert case.train is None or len(x_train) == case.train
    assert np.bincount(y_test.ravel()).tolist() == [1000] * 10 or case.folder == "mnist"
    # 20,000 is the subset that the figure was published for.
    if case.train is not None or len(x_train) == 20000:
        assert nearest_mean_accuracy(data) == pytest.approx(case.accuracy, abs=5e-5)
