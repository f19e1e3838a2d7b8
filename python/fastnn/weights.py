"""Weights alone, to and from files and dicts: by name or in order, all or what fits."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks, files, keras_files
from fastnn.files import FileName, Tensors
from fastnn.parameter import Parameter, assign_all

if TYPE_CHECKING:
    from fastnn.models.base import BaseModel

PREFIX = "weights/"  # of the weights' names in a file of ours
TEXTBOOK = {"kernel": "W", "bias": "b"}  # and the number of the layer


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did. Print it for a sentence.

    Attributes:
        loaded: the names of the weights that were set.
        missing: of those that the source does not have.
        unused: what else the source has.
        mismatched: (name, shape in the source, shape in the model) of those that do not fit.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing was left out on either side."""
        return not (self.missing or self.unused or self.mismatched)

    def __str__(self) -> str:
        lines = [
            f"{len(self.loaded)} of {len(self.loaded) + len(self.missing) + len(self.mismatched)} weights were set"
        ]
        if self.missing:
            lines.append(f"not in the source: {', '.join(self.missing)}")
        if self.mismatched:
            shapes = (f"{name} {theirs} instead of {ours}" for name, theirs, ours in self.mismatched)
            lines.append(f"of another shape: {', '.join(shapes)}")
        if self.unused:
            lines.append(f"not in the model: {', '.join(self.unused)}")
        return "; ".join(lines)


@dataclass(frozen=True)
class Source:
    """Named arrays, and whether their order is that in which they were saved."""

    arrays: Mapping[str, Any]
    ordered: bool
    kind: str = "a file"


# --- writing ---


def named_weights(model: BaseModel) -> Tensors:
    """Return a model's weights under the names that they have in a file of ours."""
    return {PREFIX + p.name: p.value for p in model.parameters}


def save_weights(model: BaseModel, filepath: FileName, overwrite: bool = True) -> None:
    """Write a model's parameters by name; see `BaseModel.save_weights`."""
    if Path(filepath).suffix != ".npz":
        files.write(filepath, named_weights(model), {"kind": "weights"}, overwrite)
        return
    content = io.BytesIO()
    np.savez(content, **{p.name: p.value for p in model.parameters})  # type: ignore[arg-type]
    files.write_atomically(filepath, content.getvalue(), overwrite)


# --- reading ---


def source_of(model: BaseModel, source: Any) -> Source:
    """Return what a file or a dict has."""
    if isinstance(source, Mapping):
        return Source({str(name): value for name, value in source.items()}, True, "a dict")
    if not isinstance(source, (str, os.PathLike)):
        checks.fail_type(
            "load_weights", "a path or a dict of arrays", checks.describe(source), "set_weights takes a list"
        )
    path = Path(source)
    if path.suffix == ".npz":
        return Source(_read_npz(path), True)
    if path.suffix in (".h5", ".hdf5", ".keras"):
        return Source(keras_files.read(path, model), True)
    foreign = files.read_foreign(path)
    if foreign is not None:
        return Source(foreign, False)
    tensors, description = files.read(path)
    order = [name for name in description["crc32"] if name.startswith(PREFIX)]  # the library sorts the tensors
    return Source({name.removeprefix(PREFIX): tensors[name] for name in order}, True)


def _read_npz(path: Path) -> Tensors:
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            if damaged := archive.testzip():  # NumPy does not look at the checksums
                raise ValueError(f"the checksum of '{damaged}' is wrong")
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, KeyError, NotImplementedError) as error:
        files.corrupt(path, f"a damaged or foreign file ({error})", "a .npz file of plain arrays")


def load_weights(model: BaseModel, source: Any, skip_mismatch: bool = False, by_name: bool | None = None) -> LoadReport:
    """Set a model's parameters; see `BaseModel.load_weights`."""
    checks.boolean("load_weights", "skip_mismatch", skip_mismatch)
    if by_name is not None:
        checks.boolean("load_weights", "by_name", by_name)
    given = source_of(model, source)
    parameters = model.parameters
    found = _matched(parameters, given, by_name)
    report = _compared(parameters, given, found)
    if not skip_mismatch and (report.missing or report.unused):
        _fail(model.name, given, report)
    fits = [p for p in parameters if p.name in (report.loaded if skip_mismatch else found)]
    assign_all("load_weights", fits, [given.arrays[found[p.name]] for p in fits])
    if not report.complete:
        checks.warn(f"load_weights: {report}")
    return report


def _matched(parameters: Sequence[Parameter], given: Source, by_name: bool | None) -> dict[str, str]:
    """Return the source's name of every parameter that it has."""
    names, theirs = [p.name for p in parameters], list(given.arrays)
    if by_name is False:
        if not given.ordered:
            fix = "a safetensors file of another program is sorted by name: use by_name=True, or a .npz file"
            checks.fail("load_weights", "weights in the order of the layers", "names in any order", fix)
        return dict(zip(names, theirs))
    tails = ["/".join(name.split("/")[-2:]).removesuffix(":0") for name in theirs]  # as TensorFlow numbers outputs
    known = dict(zip(tails, theirs)) if len(set(tails)) == len(tails) else {}
    found = {name: name if name in given.arrays else known.get(name, "") for name in names}
    found = {name: key for name, key in found.items() if key}
    if by_name is None and not found:
        found = _by_textbook(names, theirs)
    if by_name is None and given.ordered and len(found) < len(names) and _counted(tails) == _counted(names):
        return dict(zip(names, theirs))
    return found


def _by_textbook(names: Sequence[str], theirs: Sequence[str]) -> dict[str, str]:
    """Return the source's names where these are W1, b1, W2, ...: kernel and bias of the first layer with a kernel, and so on."""
    if not all(re.fullmatch(r"[Wb][1-9][0-9]*", name) for name in theirs):
        return {}
    layers = [name.removesuffix("/kernel") for name in names if name.endswith("/kernel")]
    called = {f"{layer}/{own}": f"{letter}{i}" for i, layer in enumerate(layers, 1) for own, letter in TEXTBOOK.items()}
    return {name: called[name] for name in names if called.get(name) in theirs}


def _counted(names: Sequence[str]) -> list[str]:
    """Return names without the numbers that layers of a class are counted by: those depend on what was made before."""
    return [re.sub(r"(_\d+)?(?=/)", "", name, count=1) for name in names]


def _compared(parameters: Sequence[Parameter], given: Source, found: Mapping[str, str]) -> LoadReport:
    shapes = {p.name: np.shape(given.arrays[found[p.name]]) for p in parameters if p.name in found}
    return LoadReport(
        loaded=tuple(p.name for p in parameters if shapes.get(p.name) == p.shape),
        missing=tuple(p.name for p in parameters if p.name not in shapes),
        unused=tuple(sorted(set(given.arrays) - set(found.values()), key=list(given.arrays).index)),
        mismatched=tuple(
            (p.name, shapes[p.name], p.shape) for p in parameters if shapes.get(p.name, p.shape) != p.shape
        ),
    )


def _fail(name: str, given: Source, report: LoadReport) -> None:
    missing, unused = list(report.missing), list(report.unused)
    count = len(report.loaded) + len(missing) + len(report.mismatched)
    checks.fail(
        "load_weights",
        f"{given.kind} with the {count} weights of '{name}'",
        f"{len(given.arrays)}: {len(missing)} missing {missing[:5]}, {len(unused)} unknown {unused[:5]}",
        "build the same layers with the same names; skip_mismatch=True takes what fits, by_name=False goes by order",
    )


def assign(model: BaseModel, tensors: Tensors, who: str) -> None:
    """Set a model's parameters from the tensors of its own file, all or none."""
    stored = {name.removeprefix(PREFIX): t for name, t in tensors.items() if name.startswith(PREFIX)}
    names = [p.name for p in model.parameters]
    missing, extra = [n for n in names if n not in stored], [n for n in stored if n not in names]
    if missing or extra:
        checks.fail(
            who,
            f"a file with the {len(names)} weights of '{model.name}'",
            f"{len(stored)}: {len(missing)} missing {missing[:5]}, {len(extra)} unknown {extra[:5]}",
            "build the same layers with the same names",
        )
    model.set_weights([stored[name] for name in names])
