"""CIFAR-10: 60,000 color photographs of 32 x 32 pixels in 10 classes (A. Krizhevsky, University of Toronto, 2009).

The published archive is read in its binary version: the one "for Python" is a pickle, and unpickling runs code.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

import numpy as np

from fastnn.datasets import _files

_ARCHIVE = "cifar-10-binary.tar.gz"
_PUBLISHED = _files.Published(
    name="cifar10",
    sha256={_ARCHIVE: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
    instead="train.npz and test.npz, each with x uint8 (N, 3, 32, 32) and y uint8 (N,)",
)
_BATCHES = ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin")
_TEST_BATCH = "test_batch.bin"
_IMAGE = (3, 32, 32)
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes


def load_data() -> tuple[_files.Split, _files.Split]:
    """Load CIFAR-10 from ``$FASTNN_DATA/cifar10/`` or the cache; else download it (170 MB, needs ``fastnn[data]``).

    The folder of ``FASTNN_DATA`` may hold ``train.npz`` and ``test.npz`` (each ``x`` uint8 (N, 3, 32, 32) and ``y``
    uint8 (N,); subsets are fine) or the published ``cifar-10-binary.tar.gz``. The classes 0..9 are airplane,
    automobile, bird, cat, deer, dog, frog, horse, ship and truck.

    Returns:
        ``((x_train, y_train), (x_test, y_test))``, all uint8: images of shape (50000, 32, 32, 3) and (10000, 32, 32, 3)
        with values 0..255, labels of shape (50000, 1) and (10000, 1) with values 0..9.

    Raises:
        OSError: the files are nowhere and cannot be downloaded, or one of them is damaged.

    >>> from fastnn.datasets import cifar10
    >>> (x_train, y_train), (x_test, y_test) = cifar10.load_data()  # doctest: +SKIP
    >>> x_test.shape, y_test.shape  # doctest: +SKIP
    ((10000, 32, 32, 3), (10000, 1))
    """
    own = _files.own_folder(_PUBLISHED.name)
    if own is not None and (own / "train.npz").is_file() and (own / "test.npz").is_file():
        return _read_npz(own / "train.npz"), _read_npz(own / "test.npz")
    return _read_archive(_files.locate(_PUBLISHED)[_ARCHIVE])


def _split(path: Path, x: _files.Bytes, y: _files.Bytes) -> _files.Split:
    """Return images (N, 3, 32, 32) as (N, 32, 32, 3) and their labels as (N, 1)."""
    _files.check_labels(path, y, len(x))
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)), y.reshape(-1, 1).copy()


def _read_npz(path: Path) -> _files.Split:
    """Return images and labels of an .npz file with arrays x and y."""
    import zipfile

    with path.open("rb") as file, _files.intact(path, ".npz"), zipfile.ZipFile(file) as archive:
        x = _read_npy(path, archive.open("x.npy"), _IMAGE)
        y = _read_npy(path, archive.open("y.npy"), ())
    return _split(path, x, y)


def _read_npy(path: Path, stream: IO[bytes], item_shape: tuple[int, ...]) -> _files.Bytes:
    """Return the array of an .npy file; its header is checked first, so that a wrong shape costs no memory."""
    with stream:
        if np.lib.format.read_magic(stream) != (1, 0):
            _files.damaged(path, "to hold arrays in .npy format 1.0", "another version")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        if dtype != np.uint8 or not shape or tuple(shape[1:]) != item_shape:
            rule = f"to hold an array of dtype uint8, shape (N, *{item_shape})"
            _files.damaged(path, rule, f"dtype {dtype}, shape {shape}")
        _files.check_count(path, shape[0])
        return _files.read_items(path, stream, shape, "F" if fortran else "C")


def _read_archive(path: Path) -> tuple[_files.Split, _files.Split]:
    """Return the training and test splits of the published archive; nothing is unpacked to disk."""
    import gzip
    import tarfile

    records: dict[str, _files.Bytes] = {}
    with (
        path.open("rb") as file,
        _files.intact(path, ".tar.gz"),
        gzip.open(file) as stream,
        tarfile.open(fileobj=stream, mode="r:") as archive,
    ):
        for member in archive:
            name = member.name.rpartition("/")[2]
            source = archive.extractfile(member) if name in (*_BATCHES, _TEST_BATCH) else None
            if source is not None:
                count, rest = divmod(member.size, _RECORD)
                if rest:
                    _files.damaged(path, f"to hold {name} with records of {_RECORD} bytes", f"{member.size} bytes")
                _files.check_count(path, count)
                records[name] = _files.read_items(path, source, (count, _RECORD))
        while stream.read(_files.BLOCK):  # to the end, where gzip verifies its checksum
            pass
    missing = [name for name in (*_BATCHES, _TEST_BATCH) if name not in records]
    if missing:
        _files.damaged(path, f"to hold {', '.join(missing)}", "an archive without")
    train = np.concatenate([records.pop(name) for name in _BATCHES])
    return _split_records(path, train), _split_records(path, records[_TEST_BATCH])


def _split_records(path: Path, records: _files.Bytes) -> _files.Split:
    """Return images and labels of records (N, 3073)."""
    return _split(path, records[:, 1:].reshape(-1, *_IMAGE), records[:, 0])
