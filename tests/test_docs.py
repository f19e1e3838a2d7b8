"""The examples of every docstring, and those of the README, run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any

import pytest

import fastnn

MODULES = sorted(
    m.name for m in pkgutil.walk_packages(fastnn.__path__, "fastnn.") if not m.name.endswith(("._core", "__main__"))
)
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["fastnn", *MODULES])
def test_examples_of_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fastnn.config.set_seed(0)
    module = importlib.import_module(name)
    # The module's own names are not there: an example must import what it uses, as its reader must.
    finder, runner, output = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(verbose=False), []
    for test in finder.find(module, name, module, globs={"fastnn": fastnn, "__name__": "__main__"}):
        runner.run(test, out=output.append, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


def test_public_list() -> None:
    for name in fastnn.__all__:
        assert getattr(fastnn, name) is not None
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", fastnn.__version__)
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", []):
            assert hasattr(module, public), f"{name}.{public}"
        assert module.__doc__, name


def python_blocks(path: Path) -> list[str]:
    """Return the Python programs of a Markdown file."""
    return re.findall(r"^```python\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


README = ROOT / "README.md"


@pytest.mark.skipif(not README.exists(), reason="the tests run without a checkout around them")
def test_programs_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, *fragments = python_blocks(README)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program, str(README), "exec"), names)  # noqa: S102 - our own file
    assert names["model"].evaluate(names["x_test"], names["y_test"], verbose=0)[1] > 0.9
    # What stands further down is about a model, a loss and an optimizer that the reader has.
    loss, optimizer = fastnn.losses.SparseCategoricalCrossentropy(), fastnn.optimizers.SGD()
    optimizer.build(names["model"].store)
    names |= {"loss": loss, "optimizer": optimizer, "x_batch": names["x_train"][:32], "y_batch": names["y_train"][:32]}
    for fragment in fragments:
        exec(compile(fragment, str(README), "exec"), names)  # noqa: S102 - our own file


@pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the tests run without a checkout around them")
@pytest.mark.parametrize("name", [path.name for path in sorted((ROOT / "docs").glob("*.md")) if python_blocks(path)])
def test_programs_of_the_documentation(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs of a file run one after the other, each with the names of those before."""
    monkeypatch.chdir(tmp_path)
    path = ROOT / "docs" / name
    names: dict[str, Any] = {"__name__": "__main__"}
    for program in python_blocks(path):
        exec(compile(program, str(path), "exec"), names)  # noqa: S102 - our own file


@pytest.mark.skipif(not (ROOT / "examples").exists(), reason="the tests run without a checkout around them")
def test_example_with_the_loop_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "explicit_loop.py"
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own file
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert float(lines[-1].rsplit(" ", 1)[1]) > 0.93


@pytest.mark.skipif(not (ROOT / "examples").exists(), reason="the tests run without a checkout around them")
def test_example_of_an_optimizer(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "custom_optimizer.py"
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own file
    assert float(capsys.readouterr().out.rsplit(" ", 1)[1]) > 0.93


@pytest.mark.skipif(not (ROOT / "examples").exists(), reason="the tests run without a checkout around them")
def test_example_of_pre_training(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "examples" / "rbm_pretraining.py"
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), {"__name__": "__main__"})  # noqa: S102 - our own file
    random, *errors, pretrained = capsys.readouterr().out.splitlines()
    assert len(errors) == 4
    assert float(random.rsplit(" ", 1)[1]) < 0.3
    assert float(pretrained.rsplit(" ", 1)[1]) > 0.7
