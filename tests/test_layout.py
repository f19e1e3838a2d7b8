"""Who may know whom: the imports of the package and the includes of the C++ follow the picture in docs/design.md."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnn

PACKAGE = Path(fastnn.__file__).parent
CSRC = Path(__file__).parent.parent / "csrc"

# From the ground up: a part may import those before it, and itself. Folders stand for all that is in them.
ORDER = (
    "_core",
    "reference",
    "names",
    "checks",
    "custom",
    "figures",
    "files",
    "structure",
    "graph",
    "recordable",
    "settings",
    "config",
    "initializers",
    "ops",
    "registry",
    "constraints",
    "regularizers",
    "parameter",
    "axes",
    "activations",
    "layers",
    "chains",
    "order",
    "plan",
    "losses",
    "metrics",
    "optimizers",
    "summary",
    "profiling",
    "training",
    "keras_files",
    "weights",
    "pytorch",
    "saving",
    "backup",
    "models",
    "rbm",
    "tune",
    "callbacks",
    "by_hand",
    "datasets",
    "plotting",
    "diagram",
    "utils",
    "__init__",
    "bench",
    "demo",
    "cli",
    "__main__",
)
# What lies low enough to be imported, but is none of a part's business.
FORBIDDEN = {
    "config": {"ops", "reference", "names"},
    "initializers": {"ops", "reference", "layers"},
    "layers": {"reference", "recordable"},
    "losses": {"layers", "parameter", "reference"},
    "metrics": {"layers", "parameter", "reference", "optimizers"},
    "optimizers": {"layers", "losses", "metrics", "reference"},
    "training": {"reference", "initializers"},
    "callbacks": {"layers", "models"},
    "datasets": {"ops", "layers", "models", "training"},
    "ops": {"parameter", "layers", "initializers"},
}
CORE_IMPORTERS = {"ops", "config", "__init__"}
THIRD_PARTY = {"numpy", "safetensors", "tqdm"}
OPTIONAL = {
    "matplotlib": {"bench", "diagram", "figures", "optimizers", "plotting", "tune"},
    "pooch": {"datasets"},
    "threadpoolctl": {"bench"},
    "torch": {"bench"},
    "jax": {"bench"},
    "h5py": {"keras_files"},
    "IPython": set(),
    "sklearn": set(),
}


def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name without "fastnn."."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


MODULES = modules()


def is_package(name: str) -> bool:
    return (PACKAGE / name.replace(".", "/")).is_dir()


def statements(name: str) -> Iterator[tuple[ast.stmt, bool]]:
    """Yield the import statements of a module, and whether they run when it is imported."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[ast.stmt, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child, at_import
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            inner = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or typing_only
            yield from walk(child, at_import and not inner)

    return walk(MODULES[name], True)


def imports(name: str, only_at_import: bool = False) -> set[str]:
    """Return the dotted names of what a module imports; those of the package as in MODULES, "fastnn" for its __init__."""
    found: set[str] = set()
    for node, at_import in statements(name):
        if only_at_import and not at_import:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        assert isinstance(node, ast.ImportFrom)
        base = node.module or ""
        if node.level:
            package = name.split(".") if is_package(name) else name.split(".")[:-1]
            inside = package[: len(package) - node.level + 1]
            base = ".".join(["fastnn", *inside, *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            known = full.removeprefix("fastnn.") in MODULES or full == "fastnn._core"
            found.add(full if base.startswith("fastnn") and known else base)
    return {part.removeprefix("fastnn.") if part != "fastnn" else "__init__" for part in found}


def part_of(name: str) -> str:
    return name.split(".")[0]


def ours(name: str) -> set[str]:
    """Return what a module imports of the package, at import time or later."""
    return {part for part in imports(name) if part in MODULES or part == "_core"}


def test_the_parser_sees_imports() -> None:
    assert {"_core", "checks", "config", "reference"} <= ours("ops.base")
    assert "numpy" in imports("ops.base")
    assert "reference.common" in ours("reference.conv")  # a relative one
    assert "models.base" in ours("saving")
    assert "models" not in imports("saving", only_at_import=True)  # for the type checker only
    assert "layers.spatial" in ours("layers.pooling")


def test_every_part_has_its_place() -> None:
    assert {part_of(name) for name in MODULES} | {"_core"} == set(ORDER)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_downward(name: str) -> None:
    part = part_of(name)
    at_import = {part_of(other) for other in imports(name, only_at_import=True) if other in MODULES or other == "_core"}
    above = {other for other in at_import if ORDER.index(other) > ORDER.index(part)}
    assert not above, f"{name} imports {above}, which lies above it"
    forbidden = {part_of(other) for other in ours(name)} & FORBIDDEN.get(part, set())
    assert not forbidden, f"{name} must not know {forbidden}"


def test_layers_never_see_optimizers_or_training() -> None:
    for name in MODULES:
        known = {part_of(other) for other in ours(name)}
        if part_of(name) == "layers":
            assert not known & {"optimizers", "training", "models", "saving", "losses", "metrics"}, name
        if part_of(name) == "optimizers":
            assert not known & {"layers", "training", "models", "losses", "metrics"}, name


def test_only_ops_and_config_know_the_extension_module() -> None:
    found = {part_of(name) for name in MODULES if "_core" in ours(name)}
    assert found == CORE_IMPORTERS
    (version,) = [n for n, _ in statements("__init__") if isinstance(n, ast.ImportFrom) and n.module == "fastnn._core"]
    assert isinstance(version, ast.ImportFrom)
    assert [alias.name for alias in version.names] == ["__version__"]


def test_the_twin_imports_numpy_only() -> None:
    for name in MODULES:
        if part_of(name) == "reference":
            outside = {other.split(".")[0] for other in imports(name) if other not in MODULES}
            assert outside <= {"__future__", "collections", "math", "typing", "numpy"}, name
            assert {part_of(other) for other in ours(name)} <= {"reference"}, name


@pytest.mark.parametrize("name", MODULES)
def test_third_parties(name: str) -> None:
    for other in imports(name) - set(MODULES) - {"_core"}:
        top = other.split(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top in OPTIONAL:
            assert part_of(name) in OPTIONAL[top], f"{name} imports {top}"
            assert other not in imports(name, only_at_import=True), f"{name} imports {other} before it is used"
        else:
            assert top in THIRD_PARTY, f"{name} imports {top}"


def test_no_circles() -> None:
    """A module that is imported never waits for one that is waiting for it."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for other in sorted(imports(name, only_at_import=True) & set(MODULES)):
            visit(other, (*path, name))
        done.add(name)

    for name in MODULES:
        visit(name, ())


# ---------------------------------------------------------------- C++

needs_sources = pytest.mark.skipif(not CSRC.exists(), reason="the tests run without a checkout around them")


def includes(path: Path) -> set[str]:
    """Return what a file includes: <name> for system headers, else the path from csrc/."""
    found = set()
    for bracket, name in re.findall(
        r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        found.add(f"<{name}>" if bracket == "<" else str((path.parent / name).resolve().relative_to(CSRC)))
    return found


@needs_sources
def test_includes_of_kernels() -> None:
    rules = (CSRC / "kernels" / "README.md").read_text(encoding="utf-8")
    for path in (CSRC / "kernels").iterdir():
        if path.suffix not in (".h", ".cpp"):
            continue
        system = {name for name in includes(path) if name.startswith("<")}
        assert system <= {"<cstddef>", "<cstdint>", "<immintrin.h>", "<arm_neon.h>"}, path.name
        assert all(f"`{name}`" in rules for name in system), f"{path.name}: the README's list of headers"
        if path.name != "simd.h":
            assert not any(name.endswith(("intrin.h>", "neon.h>")) for name in system), path.name
        others = {name for name in includes(path) if not name.startswith("<")}
        assert {name for name in others if not name.startswith("kernels/")} <= {"cores.h", "kernels.h", "threads.h"}, (
            path.name
        )


@needs_sources
def test_includes_of_the_rest() -> None:
    allowed = {
        "blocks.h": set(),
        "blocks.cpp": {"blocks.h"},
        "cores.h": {"kernels.h"},
        "cores.cpp": {"cores.h"},
        "kernels.h": set(),
        "threads.h": {"kernels.h"},
        "threads.cpp": {"threads.h"},
        "dispatch.h": {"kernels.h"},
        "dispatch.cpp": {"dispatch.h"},
        "work.h": {"kernels.h"},
        "depth_first.h": {"kernels.h", "threads.h"},
        "depth_first.cpp": {"depth_first.h", "dispatch.h", "work.h"},
        "tape.h": {"blocks.h", "depth_first.h", "dispatch.h", "kernels.h", "work.h"},
        "tape.cpp": {"tape.h", "threads.h"},
    }
    assert {path.name for path in CSRC.iterdir() if path.suffix in (".h", ".cpp")} == set(allowed)
    for name, expected in allowed.items():
        found = includes(CSRC / name)
        assert {other for other in found if not other.startswith("<")} <= expected, name
        if name not in ("threads.cpp", "threads.h"):
            assert not found & {"<omp.h>", "<pthread.h>", "<thread>"}, name
        assert not any("pybind11" in other or "Python.h" in other for other in found), name
    for path in (CSRC / "bindings").iterdir():
        others = {other for other in includes(path) if not other.startswith("<")}
        assert {o for o in others if not o.startswith("bindings/")} <= {
            "blocks.h",
            "cores.h",
            "dispatch.h",
            "kernels.h",
            "tape.h",
            "threads.h",
        }
        assert not {"<omp.h>", "<thread>", "<pthread.h>"} & set(includes(path)), path.name


@needs_sources
def test_only_one_file_knows_of_threads() -> None:
    for path in [*CSRC.rglob("*.h"), *CSRC.rglob("*.cpp")]:
        text = path.read_text(encoding="utf-8")
        parallel = re.findall(r"\bomp (?!simd)\w+|\bomp_\w+\(|\bpthread_\w+\(|\bstd::(?:j?thread|async)\b", text)
        assert not parallel or path.name == "threads.cpp", f"{path.name}: {parallel}"
        if path.parent.name == "kernels":
            assert not re.search(r"\bstd::(?!size_t|int\d+_t|uint\d+_t|numeric_limits)\w+", text), path.name
            assert not re.search(
                r"\b(new|delete|malloc|free|throw|static_assert\(false)\b(?=[ (])", strip_comments(text)
            ), path.name


def strip_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


@needs_sources
def test_every_kernel_file_is_in_the_map() -> None:
    rules = (CSRC / "kernels" / "README.md").read_text(encoding="utf-8")
    for path in (CSRC / "kernels").glob("*.h"):
        assert f"`{path.name}`" in rules, f"{path.name} is missing in csrc/kernels/README.md"


# ---------------------------------------------------------------- one name all the way


@needs_sources
def test_ops_and_twin_have_the_names_of_the_kernels() -> None:
    table = (CSRC / "kernels.h").read_text(encoding="utf-8")
    for name in fastnn.reference.__all__:
        function = getattr(fastnn.reference, name)
        if callable(function):
            assert hasattr(fastnn.ops, name), name
    composed = {
        "dense_forward", "dense_backward", "sigmoid_cross_entropy", "sigmoid_focal",
        "global_average_pool2d_forward", "global_average_pool2d_backward",
        "broadcast", "broadcast_backward", "batch_gemm", "clip_negative",
        "conv3d_forward", "conv3d_backward_input", "conv3d_backward_filter", "conv3d_transpose_forward",
    }  # fmt: skip
    twins = {name for name in fastnn.reference.__all__ if callable(getattr(fastnn.reference, name))}
    for name in twins - composed:
        assert re.search(rf"\(\*{name}\)", table), f"{name} is not in the table of kernels"
