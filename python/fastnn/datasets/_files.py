"""The files of the data sets: where they are looked for, how they are downloaded, how they are checked.

A file is looked for in ``$FASTNN_DATA/<data set>/``, then in the cache folder (``$XDG_CACHE_HOME/fastnn`` or
``~/.cache/fastnn``), and is otherwise downloaded into the cache folder. A file of the cache or of a download must have
the published SHA-256. A file in ``FASTNN_DATA`` is the user's own (perhaps recompressed, perhaps a subset): its
structure and its own checksums are checked, but not its SHA-256.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn.checks import message

Bytes = NDArray[np.uint8]
Split = tuple[Bytes, Bytes]

MAX_SAMPLES = 1_000_000  # a header that announces more is not one of these data sets
BLOCK = 1 << 20
TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class Published:
    """What is known of the published files of one data set."""

    name: str  # of the folder
    sha256: dict[str, str]  # file name -> hexadecimal digest
    mirrors: tuple[str, ...]  # a file's address is a mirror followed by its name
    instead: str = ""  # what may be in the folder of FASTNN_DATA instead of the published files

    @property
    def who(self) -> str:
        """Return the name of the data set in error messages."""
        return "datasets." + self.name.replace("-", "_")


def own_folder(name: str) -> Path | None:
    """Return the folder of a data set below ``FASTNN_DATA``, whether it exists or not; None if that is not set."""
    root = os.environ.get("FASTNN_DATA")
    return Path(os.path.expanduser(root), name) if root else None


def cache_folder(name: str) -> Path:
    """Return the folder of a data set in the cache, whether it exists or not."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(root, "fastnn", name)


def locate(published: Published) -> dict[str, Path]:
    """Return where each published file is, after downloading those that are in neither folder.

    Raises:
        OSError: a file is in neither folder and could not be downloaded; says what was tried, and what to do.
    """
    tried: list[str] = []
    paths = {name: _find(published, name, tried) for name in published.sha256}
    missing = [name for name, path in paths.items() if path is None]
    for name in missing:
        paths[name] = _download(published, name, tried)
        if paths[name] is None:  # one that fails is enough: the others would wait for the same dead mirrors
            _not_found(published, missing[missing.index(name) :], tried)
    return {name: path for name, path in paths.items() if path is not None}


def _find(published: Published, name: str, tried: list[str]) -> Path | None:
    """Return the path of a file that is in one of the two folders; add to ``tried`` where it was not."""
    own = own_folder(published.name)
    if own is None:
        _note(tried, "FASTNN_DATA is not set")
    elif (own / name).is_file():
        return own / name
    else:
        _note(tried, f"FASTNN_DATA: {own} " + ("lacks a file" if own.is_dir() else "is not there"))
    cached = cache_folder(published.name) / name
    if not cached.is_file():
        _note(tried, f"cache: {cached.parent} " + ("lacks a file" if cached.parent.is_dir() else "is not there"))
    elif _sha256(cached) == published.sha256[name]:
        return cached
    else:
        _note(tried, f"cache: {cached} is damaged (its SHA-256 is not the published one)")
    return None


def _download(published: Published, name: str, tried: list[str]) -> Path | None:
    """Download a file into the cache from the first mirror that has it; add to ``tried`` what went wrong."""
    try:
        import pooch
    except ImportError:
        tried.append("no download, because pooch is not installed (pip install 'fastnn[data]')")
        return None
    for mirror in published.mirrors:
        digest, folder = "sha256:" + published.sha256[name], cache_folder(published.name)
        try:
            return Path(pooch.retrieve(mirror + name, known_hash=digest, fname=name, path=folder))
        except Exception as error:  # whatever stack of network, disk and hash raised: the next mirror may do
            tried.append(f"{mirror}{name}: {type(error).__name__}: {str(error)[:120]}")
    return None


def _not_found(published: Published, missing: list[str], tried: list[str]) -> NoReturn:
    """Raise the OSError for files that cannot be had."""
    own, files = own_folder(published.name), ", ".join(missing)
    fix = (
        f"put {files} into {own or cache_folder(published.name)}, "
        f"or set FASTNN_DATA to a folder in which {published.name}/ holds the files"
    )
    if published.instead:
        fix += f" (or, instead of them, {published.instead})"
    raise OSError(message(published.who, files, f"nothing (tried: {'; '.join(tried)})", fix))


def _note(tried: list[str], text: str) -> None:
    """Add a text once: several files may be missing from one folder."""
    if text not in tried:
        tried.append(text)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    import hashlib  # here and below: importing the package does not pay for them

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Damaged(OSError):
    """A file has the wrong content."""


def damaged(path: Path, expected: str, got: object) -> NoReturn:
    """Raise the OSError for a file with the wrong content."""
    fix = "it is damaged, or not the published file: replace it"
    raise Damaged(message("datasets", f"{path} {expected}", got, fix))


@contextmanager
def intact(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reader raises on damaged bytes into the OSError that names the file."""
    try:
        yield
    except (Damaged, MemoryError):
        raise
    except Exception as error:  # zlib, struct, zipfile, tarfile and NumPy have a dozen kinds between them
        damaged(path, f"to be an intact {kind} file", f"{type(error).__name__}: {error}")


class Readable(Protocol):
    """What is read from: an open file, or a member of a compressed one."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


def read_at_most(stream: Readable, limit: int) -> bytearray:
    """Return up to ``limit`` bytes, read in blocks: a wrong size in a header then cannot ask for more than there is."""
    data = bytearray()
    while len(data) < limit and (block := stream.read(min(BLOCK, limit - len(data)))):
        data += block
    return data


def read_items(path: Path, stream: Readable, shape: tuple[int, ...], order: str = "C") -> Bytes:
    """Return the rest of a stream as an array of uint8; raise unless it has exactly that size."""
    size = int(np.prod(shape, dtype=np.int64))
    data = read_at_most(stream, size + 1)  # one more than there should be also makes gzip verify its checksum
    if len(data) != size:
        damaged(path, f"to hold {size} bytes of data", "more" if len(data) > size else len(data))
    return np.frombuffer(data, np.uint8).reshape(shape, order="F" if order == "F" else "C")


def check_count(path: Path, count: int) -> None:
    """Raise unless a number of samples is plausible."""
    if not 1 <= count <= MAX_SAMPLES:
        damaged(path, f"to hold 1 to {MAX_SAMPLES} samples", count)


def check_labels(path: Path, labels: Bytes, count: int) -> None:
    """Raise unless there are ``count`` labels, all from 0 to 9."""
    if len(labels) != count:
        damaged(path, f"to hold a label for each of {count} images", len(labels))
    if labels.max() > 9:
        damaged(path, "to hold labels from 0 to 9", int(labels.max()))


def read_idx(path: Path, item_shape: tuple[int, ...]) -> Bytes:
    """Return the array of shape (N, \\*item_shape) that is in a compressed IDX file.

    IDX: a big-endian magic number (0x0800 for uint8, plus the number of axes), the length of each axis, the data.
    """
    import gzip

    axes = 1 + len(item_shape)
    with path.open("rb") as file, intact(path, ".gz"), gzip.open(file) as stream:
        header = np.frombuffer(stream.read(4 * (1 + axes)).ljust(4 * (1 + axes), b"\0"), ">u4").tolist()
        if header[0] != 0x0800 + axes:
            damaged(path, f"to start with the IDX magic number {0x0800 + axes}", header[0])
        check_count(path, header[1])
        if tuple(header[2:]) != item_shape:
            damaged(path, f"to hold items of shape {item_shape}", tuple(header[2:]))
        return read_items(path, stream, (header[1], *item_shape))


def load_idx(published: Published) -> tuple[Split, Split]:
    """Return ((x_train, y_train), (x_test, y_test)) from the four IDX files of a data set of 28 x 28 images."""
    paths = locate(published)
    splits: list[Split] = []
    for images, labels in ((TRAIN_IMAGES, TRAIN_LABELS), (TEST_IMAGES, TEST_LABELS)):
        x, y = read_idx(paths[images], (28, 28)), read_idx(paths[labels], ())
        check_labels(paths[labels], y, len(x))
        splits.append((x, y))
    return splits[0], splits[1]
