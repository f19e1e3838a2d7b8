"""Pictures of benchmarks: bars of ratios, a roofline, curves over sizes. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn.bench.peers.results import OWN, PeersReport
from fastnn.bench.report import Report
from fastnn.bench.sweeps import Sweep
from fastnn.figures import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colors: told apart by the color-blind.
COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")
MARKERS = "osD^vPX*<>"
RATIO_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def draw(result: Report | PeersReport | Sweep, folder: Path) -> list[Path]:
    """Draw what a benchmark measured into a folder and return the files.

    Raises:
        ImportError: if matplotlib is not installed.
    """
    require_matplotlib("bench --pictures")
    if isinstance(result, Sweep):
        figures = {f"sweep_{result.kind}": sweep(result)}
    elif isinstance(result, PeersReport):
        points = [(c.name, c.flops, c.nbytes, c.median(OWN[0])) for c in result.comparisons if OWN[0] in c.programs]
        figures = {"roofline": roofline({"training steps": points}, result.peak, result.bandwidths, result.heading())}
        if any(c.best_peer for c in result.comparisons):
            figures["ratios"] = ratios(result)
    else:
        groups: dict[str, list[tuple[str, float, float, float]]] = {}
        for row in result.rows:
            if row.flops:
                family = "training steps" if row.group == "training step" else row.name.split("_")[0]
                groups.setdefault(family, []).append((row.name, row.flops, row.nbytes, row.seconds("fastnn")))
        figures = {"roofline": roofline(groups, result.peak, result.bandwidths, result.heading())}
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values()):
        figure.savefig(path, dpi=150)
    return paths


def ratios(report: PeersReport) -> Figure:
    """Return bars of every peer's time / fastnn's time, with their intervals; a panel for train_on_batch, one for fit."""
    found = [c for c in report.comparisons if c.best_peer]
    owns = [own for own in OWN if any(own in c.programs for c in found)]
    peers = list(dict.fromkeys(name for c in found for name in c.programs if name not in OWN))
    figure: Any = _figure(6.2 * len(owns), 1.6 + (0.22 * len(peers) + 0.2) * len(found), len(owns))
    height = 0.8 / len(peers)
    for panel, own in zip(figure.axes, owns):
        for i, peer in enumerate(peers):
            rows = [(y, c.ratio(peer, own)) for y, c in enumerate(found) if peer in c.programs and own in c.programs]
            centers = [y + (i - (len(peers) - 1) / 2) * height for y, _ in rows]
            values = [ratio.median for _, ratio in rows]
            errors = [[r.median - r.low for _, r in rows], [r.high - r.median for _, r in rows]]
            panel.barh(
                centers, np.subtract(values, 1), height, left=1, xerr=errors, color=COLORS[i % len(COLORS)],
                label=peer, ecolor="0.3", error_kw={"lw": 0.8},
            )  # fmt: skip
        panel.axvline(1, color="black", lw=1)
        panel.set_xscale("log")
        low, high = panel.get_xlim()
        ticks = [tick for tick in RATIO_TICKS if low <= tick <= high]
        panel.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
        panel.set_xticks([], minor=True)
        panel.set_ylim(len(found) - 0.5, -0.5)
        panel.set_yticks(range(len(found)), [c.name for c in found] if panel is figure.axes[0] else [])
        panel.grid(axis="x", color="0.9")
        panel.set_axisbelow(True)
        panel.set_xlabel(f"time / fastnn's {own.partition('.')[2]} (right of 1: fastnn is faster)")
    _title(figure, "One training step: other libraries against fastnn", report.heading())
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(peers), frameon=False
    )
    return figure  # type: ignore[no-any-return]


def roofline(
    groups: dict[str, list[tuple[str, float, float, float]]],
    peak: float,
    bandwidths: dict[str, float],
    heading: str = "",
) -> Figure:
    """Return GFLOP/s against flops per byte, under the measured peak and the bandwidths of a triad.

    Args:
        groups: by what they have in common: name, flops, bytes, seconds of each case.
        peak: flop/s.
        bandwidths: bytes/s by size of the arrays.
        heading: machine and versions.
    """
    figure: Any = _figure(9.5, 6.2, 1)
    panel = figure.axes[0]
    cases = [case for group in groups.values() for case in group]
    intensities = [flops / nbytes for _, flops, nbytes, _ in cases] or [1.0]
    rates = [flops / seconds for _, flops, _, seconds in cases] or [peak]
    x = np.geomspace(
        min(intensities) / 2, max(*intensities, 2 * peak / min(bandwidths.values(), default=peak)) * 2, 200
    )
    for i, (size, rate) in enumerate(bandwidths.items()):
        under = x * rate <= peak
        panel.plot(x[under], x[under] * rate / 1e9, color="0.55", lw=1, ls=("-", "--", "-.", ":")[i % 4],
                   label=f"triad of {size}: {rate / 1e9:.0f} GB/s")  # fmt: skip
    panel.axhline(peak / 1e9, color="black", lw=1.2, label=f"multiply-adds: {peak / 1e9:.0f} GFLOP/s")
    few = len(cases) <= 16
    for i, (group, members) in enumerate(groups.items()):
        if few:  # each has its own entry: labels at the points would run into each other
            for j, (name, flops, nbytes, seconds) in enumerate(members):
                color, marker = COLORS[(i + j) % len(COLORS)], MARKERS[(i + j) % len(MARKERS)]
                panel.plot(flops / nbytes, flops / seconds / 1e9, marker, color=color, label=name)
        else:
            xs, ys = zip(*((flops / nbytes, flops / seconds / 1e9) for _, flops, nbytes, seconds in members))
            panel.plot(xs, ys, MARKERS[i % len(MARKERS)], color=COLORS[i % len(COLORS)], label=group, alpha=0.8)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log", base=2)
    panel.set_ylim(min(rates) / 2e9, max(peak, *rates) * 1.4 / 1e9)
    panel.set_xlim(x[0], x[-1])
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.grid(color="0.9")
    panel.set_xlabel("flops of products / bytes that must be read and written")
    panel.set_ylabel("GFLOP/s")
    _title(figure, "fastnn under the machine's roofs", heading)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure  # type: ignore[no-any-return]


def sweep(result: Sweep) -> Figure:
    """Return two panels per curve: rates over sizes, and the time of one thread / that of more."""
    curves = result.curves
    several = len(result.threads) > 1 and 1 in result.threads
    figure: Any = _figure(5.2 * len(curves), 6.4 if several else 3.8, len(curves), rows=2 if several else 1)
    for i, (name, points) in enumerate(curves.items()):
        sizes = [point.size for point in points]
        panel = figure.axes[i]
        for threads, color, marker in zip(result.threads, COLORS, MARKERS):
            rates = [point.rate(threads) / 1e9 for point in points]
            panel.plot(sizes, rates, f"{marker}-", color=color, ms=4, label=_threads(threads))
            panel.axhline(result.peaks[threads] / 1e9, color=color, lw=0.8, ls=":")
            dips = [point for point in result.dips(threads) if point.curve == name]
            panel.plot(
                [p.size for p in dips], [p.rate(threads) / 1e9 for p in dips], "o", ms=11, mfc="none", color="red"
            )
        panel.set_title(name)
        panel.set_ylabel("GFLOP/s (dotted: peak)")
        panel.set_ylim(0)
        panel.legend(frameon=False)
        if several:
            gain = figure.axes[len(curves) + i]
            for threads, color, marker in list(zip(result.threads, COLORS, MARKERS))[1:]:
                speedups = [point.minima[1] / point.minima[threads] for point in points]
                gain.plot(sizes, speedups, f"{marker}-", color=color, ms=4, label=_threads(threads))
            gain.axhline(1, color="black", lw=1)
            gain.set_ylim(0)
            gain.set_ylabel("time of 1 thread / time")
        _sizes(figure.axes[i :: len(curves)], result.kind, sizes)
    _title(figure, f"A training step over {result.kind} sizes", result.heading())
    return figure  # type: ignore[no-any-return]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def _sizes(panels: Sequence[Axes], kind: str, sizes: Sequence[int]) -> None:
    """Label the sizes below panels, doubling ones at equal distances."""
    for panel in panels:
        panel.grid(color="0.9")
        panel.set_axisbelow(True)
        panel.set_xlabel("batch size" if kind == "batch" else "units per hidden layer")
        if kind == "batch":
            panel.set_xscale("log", base=2)
            panel.set_xticks(sizes, [str(size) for size in sizes])


def _figure(width: float, height: float, columns: int, rows: int = 1) -> Any:
    """Return a figure with panels that belongs to no window."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.subplots(rows, columns, squeeze=False)
    return figure


def _title(figure: Any, title: str, heading: str) -> None:
    """Write a title, and below it machine and versions."""
    lines = [line for line in heading.splitlines() if line]
    figure.suptitle("\n".join([title, *lines[:2]]), fontsize=9)
