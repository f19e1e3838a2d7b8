"""Sweeps over sizes and the pictures of benchmarks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from fastnn import config
from fastnn.bench import machine, sweeps
from fastnn.bench.report import Report, Roof, Row
from fastnn.bench.sweeps import Point, Sweep
from fastnn.bench.timing import Timing
from fastnn.cli import main


def a_sweep(one, two, kind="batch"):
    """Return a sweep of points that take so many seconds with one thread and with two."""
    points = [Point("mlp", 2**i, 1e9, {1: 2 * a, 2: 2 * b}, {1: a, 2: b}) for i, (a, b) in enumerate(zip(one, two))]
    return Sweep(kind, machine.describe(), "2026-01-02", [1, 2], {1: 1e9, 2: 2e9}, points)


def test_dips_are_sizes_slower_than_both_neighbors():
    sweep = a_sweep([1.0, 1.2, 1.0, 2.0, 3.0, 3.2], [1.0] * 6)
    assert [point.size for point in sweep.dips(1)] == [2]
    assert sweep.dips(2) == []
    assert "Sizes at less than 90% of the rate of both neighbors, threads 1: mlp 2." in sweep.notes()
    assert "Sizes at less than 90% of the rate of both neighbors, threads 2: none." in sweep.notes()


def test_where_two_threads_are_slower_is_said():
    sweep = a_sweep([1.0, 1.0, 1.0], [0.5, 1.01, 1.5])
    assert sweep.notes()[-1] == "More threads slower than one: mlp 4 (2 threads 1.50x)."
    assert a_sweep([1.0], [0.6]).notes()[-1] == "More threads slower than one: never."


def test_json_and_markdown_have_the_whole_curve():
    sweep = a_sweep([1.0, 1.2, 1.0], [0.5, 1.5, 0.6])
    data = json.loads(json.dumps(sweep.data(), allow_nan=False))
    assert [point["size"] for point in data["points"]] == [1, 2, 4]
    assert data["slower_than_one_thread"] == [["mlp", 2, 2]]
    table = [line for line in sweep.markdown().splitlines() if line.startswith("|")]
    assert table[2] == "| mlp 1 | 2.00 s | 1.0 GFLOP/s | 100% | 1.00 s | 2.0 GFLOP/s | 100% |"
    assert {line.count("|") for line in table} == {8}


def test_sizes_are_those_that_are_promised():
    batch, width = sweeps.networks("batch"), sweeps.networks("width")
    assert [size for curve, size, _ in batch if curve == "lenet"] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert [size for _, size, _ in width] == list(range(8, 513, 8))
    assert all(workload.batch == size for _, size, workload in batch)
    assert [layer.units for layer in width[2][2].build(False)] == [24, 24, 10]


def test_run_times_every_size_with_each_number_of_threads():
    lines, before = [], config.num_threads()
    sweep = sweeps.run("width", threads=[1, 2], seconds=0.01, quick=True, show=lines.append)
    assert [point.size for point in sweep.points] == [8 + 64 * i for i in range(8)]
    assert all(0 < point.minima[n] <= point.medians[n] for point in sweep.points for n in (1, 2))
    assert len(lines) == 1 + 8 + 1
    assert config.num_threads() == before


@pytest.mark.parametrize("kind", ["batch", "width"])
def test_pictures_of_sweeps(kind, tmp_path):
    pytest.importorskip("matplotlib")
    from fastnn.bench import pictures

    sweep = a_sweep([1.0, 1.2, 1.0], [0.5, 1.5, 0.6], kind)
    assert pictures.draw(sweep, tmp_path) == [tmp_path / f"sweep_{kind}.png"]
    assert (tmp_path / f"sweep_{kind}.png").read_bytes().startswith(b"\x89PNG")
    figure = pictures.sweep(sweep)
    rates, speedups = figure.axes
    assert list(rates.lines[0].get_ydata()) == pytest.approx([1, 1 / 1.2, 1])
    assert list(speedups.lines[0].get_ydata()) == pytest.approx([2, 0.8, 1 / 0.6])


def test_roofline_has_every_case_that_multiplies_and_the_roofs():
    pytest.importorskip("matplotlib")
    from fastnn.bench import pictures

    figure = pictures.roofline({"gemm": [("a", 4e9, 1e9, 2.0), ("b", 1e9, 1e9, 1.0)]}, 8e9, {"32 kB": 2e9})
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert (lines["a"].get_xdata()[0], lines["a"].get_ydata()[0]) == (4.0, 2.0)
    assert (lines["b"].get_xdata()[0], lines["b"].get_ydata()[0]) == (1.0, 1.0)
    roof = lines["triad of 32 kB: 2 GB/s"]
    assert max(roof.get_ydata()) <= 8
    assert roof.get_ydata()[0] / roof.get_xdata()[0] == pytest.approx(2)
    assert lines["multiply-adds: 8 GFLOP/s"].get_ydata()[0] == 8


def test_picture_of_the_plain_benchmark(tmp_path):
    pytest.importorskip("matplotlib")
    from fastnn.bench import pictures

    timing = {"fastnn": Timing([1.0], 1)}
    rows = [Row("kernel", f"gemm {i}", timing, 1, Roof("peak", 1, 1, 1), 1e9 * (i + 1), 1e8) for i in range(20)]
    rows.append(Row("kernel", "relu", timing, 1, Roof("memory", 1, 1, 1), 0.0, 1e8))
    result = Report(machine.describe(), "2026-01-02", 1e11, rows=rows, bandwidths={"32 kB": 1e10})
    assert pictures.draw(result, tmp_path) == [tmp_path / "roofline.png"]


def test_without_matplotlib_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit) as error:
        main(["bench", "--sweep", "batch", "--pictures", str(tmp_path / "new")])
    assert error.value.code == 2
    assert "pip install 'fastnn[plot]'" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_command_sweeps_and_writes(tmp_path, capsys):
    json_file, markdown = tmp_path / "s.json", tmp_path / "s.md"
    arguments = ["--sweep", "batch", "--quick", "--threads", "1", "--seconds", "0.01"]
    assert main(["bench", *arguments, "--json", str(json_file), "--markdown", str(markdown)]) == 0
    assert json.loads(json_file.read_text())["threads"] == [1]
    assert "| mlp500 1 |" in Path(markdown).read_text()
    assert "GFLOP/s" in capsys.readouterr().out
