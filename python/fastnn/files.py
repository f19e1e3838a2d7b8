"""Files of tensors: safetensors with a JSON description, each with a checksum, written so that a crash leaves the old or the new.

The file is written beside its target, flushed to the disk and renamed. No code is in it, none is run.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as parse_safetensors
from safetensors.numpy import save as format_safetensors

from fastnn import checks

FileName = str | os.PathLike[str]
Tensors = dict[str, NDArray[Any]]

FORMAT = "fastnn-model-1"
LARGEST_HEADER = 16 * 2**20  # bytes


def write_atomically(filepath: FileName, content: bytes, overwrite: bool = True) -> None:
    """Write a file so that at any moment either the old or the new one is there, whole, also after a loss of power."""
    if not isinstance(filepath, (str, os.PathLike)):
        checks.fail_type("save", "filepath to be a string or path", checks.describe(filepath))
    path = Path(filepath)
    if path.exists() and not overwrite:
        raise FileExistsError(checks.message("save", "a path without a file, as overwrite=False", str(path)))
    if path.exists() and not path.is_file():  # a folder, or a device, which must not become a file
        raise OSError(checks.message("save", "the path of a file", f"{str(path)!r}, which is none", "add a file name"))
    if path.suffix in (".keras", ".h5", ".hdf5"):
        checks.fail("save", "a path ending in .fastnn", str(path), "the file is a safetensors file, not a Keras one")
    folder = path.parent
    _remove_strays(folder, path.name)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.{os.getpid()}-", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder_handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(folder_handle)
    finally:
        os.close(folder_handle)


def _remove_strays(folder: Path, name: str) -> None:
    """Remove what saves to this name left unfinished when their process was killed."""
    for stray in folder.iterdir():
        match = re.fullmatch(re.escape(f".{name}.") + r"(\d+)-\w+\.part", stray.name)
        if match and not _runs(int(match[1])):
            stray.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _checksum(array: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(array).tobytes())


def write(filepath: FileName, tensors: Tensors, description: dict[str, Any], overwrite: bool) -> None:
    """Write tensors and a description, each with its checksum."""
    tensors = {name: np.asarray(t, order="C") for name, t in tensors.items()}  # a number stays one
    description = {**description, "crc32": {name: _checksum(t) for name, t in tensors.items()}}
    text = json.dumps(description, allow_nan=False)
    metadata = {"format": FORMAT, "description": text, "crc32": str(zlib.crc32(text.encode()))}
    write_atomically(filepath, format_safetensors(tensors, metadata), overwrite)


def corrupt(path: Path | str, reason: str, rule: str = "a file written by fastnn") -> NoReturn:
    """Raise for a file that is damaged or of another kind."""
    checks.fail(f"load '{path}'", rule, reason, "restore it from a backup or save it again")


def _strict_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"the number {name}")


def parse_json(source: Path | str, text: str) -> dict[str, Any]:
    """Return the object that strict JSON describes."""
    try:
        result = json.loads(text, object_pairs_hook=_strict_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        corrupt(source, f"a description that is not strict JSON ({error})")
    if not isinstance(result, dict):
        corrupt(source, "a description that is no object")
    return result


def parse(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Return the tensors of any safetensors file, and the strings beside them."""
    content = path.read_bytes()
    header_size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or header_size > min(len(content) - 8, LARGEST_HEADER):
        corrupt(path, f"{len(content)} bytes that are not a safetensors file, or a part of one")
    try:
        tensors: Tensors = dict(parse_safetensors(content))
        header = parse_json(path, content[8 : 8 + header_size].decode())
    except (SafetensorError, UnicodeDecodeError, KeyError) as error:
        corrupt(path, f"a damaged file, or one with a dtype that NumPy has not ({error})")
    return tensors, header.get("__metadata__", {})


def read(filepath: FileName) -> tuple[Tensors, dict[str, Any]]:
    """Return tensors and description of a file that `write` wrote, after verifying every checksum."""
    path = Path(filepath)
    tensors, metadata = parse(path)
    if metadata.get("format") != FORMAT:
        corrupt(path, f"a safetensors file of format {metadata.get('format', 'unknown')!r}")
    text = metadata.get("description", "")
    if str(zlib.crc32(text.encode())) != metadata.get("crc32"):
        corrupt(path, "a description whose checksum is wrong")
    description = parse_json(path, text)
    if {name: _checksum(t) for name, t in tensors.items()} != description.get("crc32"):
        corrupt(path, "tensors whose checksums are wrong")
    return tensors, description


def read_foreign(filepath: FileName) -> Tensors | None:
    """Return the tensors of a safetensors file that another program wrote; None for one of ours."""
    tensors, metadata = parse(Path(filepath))
    return None if {"crc32", "description"} & metadata.keys() or metadata.get("format") == FORMAT else tensors


@contextmanager
def described(who: str) -> Iterator[None]:
    """Turn what a wrong description makes fail into the one error."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = f"one that does not fit this version ({type(error).__name__}: {error})"
        checks.fail(who, "a description written by fastnn", reason, "restore it from a backup or save it again")
