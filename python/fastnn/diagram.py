"""A picture of a model: boxes for layers, lines for what flows between them. Needs matplotlib, imported when it is drawn."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastnn import checks
from fastnn.figures import require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fastnn.models.model import Model

FILL = {"InputLayer": "#dbe9f6", "": "#f4f4f4"}
CHARACTER, LINE, MARGIN = 0.085, 0.19, 0.12  # inches
GAP = 0.45  # between boxes, in inches
DIRECTIONS = ("TB", "BT", "LR", "RL")  # from top to bottom, ...


Group = tuple[tuple[str, int], ...]


@dataclass
class Box:
    """A call of a layer, or a place that a line passes through on its way along other boxes.

    Attributes:
        lines: of text; none for a mere place.
        kind: class of the layer.
        sources: numbers of the boxes that its inputs come from.
        rank: how many boxes at most lie before it.
        group: names and numbers of the models' calls that it is drawn inside of.
        center: where it is, in inches.
        thickness: of the boxes that a place lies beside.
    """

    lines: list[str]
    kind: str
    sources: list[int]
    group: Group = ()
    rank: int = 0
    center: tuple[float, float] = (0.0, 0.0)
    thickness: float = 0.0

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        if not self.lines:
            return MARGIN, MARGIN
        return max(map(len, self.lines)) * CHARACTER + 2 * MARGIN, len(self.lines) * LINE + 2 * MARGIN


@dataclass
class Diagram:
    """The boxes of a model and where they lie.

    Args:
        show_shapes: write the shapes of inputs and outputs.
        show_dtype: write the outputs' dtype.
        show_layer_names: write the layers' names.
        show_layer_activations: write activations.
        show_trainable: write whether layers learn.
        expand_nested: draw the layers of models inside of the model.
        direction: "TB", "BT", "LR" or "RL".
    """

    show_shapes: bool
    show_dtype: bool
    show_layer_names: bool
    show_layer_activations: bool
    show_trainable: bool
    expand_nested: bool
    direction: str
    boxes: list[Box] = field(default_factory=list)
    lines: list[list[int]] = field(default_factory=list)  # each from a box, past others, to another

    def add(self, model: Model, given: Sequence[int] | None = None, group: Group = ()) -> list[int]:
        """Add the boxes of a model; `given`: those that its inputs come from. Return the boxes of its outputs."""
        made = [
            [given[i] if given is not None else self._box(tensor.node, [], group)]
            for i, tensor in enumerate(model.inputs)
        ]
        calls, outputs = model.wiring()
        for node, places in calls:
            sources = [made[call][output] for call, output in places]
            if self.expand_nested and hasattr(node.layer, "wiring"):
                inner: Any = node.layer
                made.append(self.add(inner, sources, (*group, (inner.name, len(self.boxes)))))
            else:
                made.append([self._box(node, sources, group)] * len(node.shapes))
        return [made[call][output] for call, output in outputs]

    def _box(self, node: Any, sources: list[int], group: Group) -> int:
        layer = node.layer
        kind = type(layer).__name__
        lines = [f"{layer.name} ({kind})" if self.show_layer_names else kind]
        if self.show_layer_activations and hasattr(layer, "activation"):
            lines.append(f"activation: {layer.activation.name}")
        if self.show_shapes:
            given = ", ".join(str(tensor.shape) for tensor in node.inputs)
            lines += [f"in: {given}"] if given else []
            lines.append(f"out: {', '.join(map(str, node.shapes))}")
        lines += ["dtype: float32"] if self.show_dtype else []
        if self.show_trainable and layer.count_params():
            lines.append("trainable" if layer.trainable else "frozen")
        rank = 1 + max((self.boxes[i].rank for i in sources), default=-1)
        self.boxes.append(Box(lines, kind, sources, group, rank))
        return len(self.boxes) - 1

    def _lead_lines(self) -> None:
        """Give a line that goes past other boxes a place of its own beside each."""
        for number, box in enumerate(list(self.boxes)):
            for source in box.sources:
                line, frames = [source], list(zip(self.boxes[source].group, box.group))
                common = tuple(a for i, (a, _) in enumerate(frames) if all(x == y for x, y in frames[: i + 1]))
                for rank in range(self.boxes[source].rank + 1, box.rank):
                    self.boxes.append(Box([], "", [line[-1]], common, rank))
                    line.append(len(self.boxes) - 1)
                self.lines.append([*line, number])

    def lay_out(self) -> tuple[float, float]:
        """Place the boxes: those of a rank side by side, below what they come from as far as there is room; return the size."""
        self._lead_lines()
        across, along = (0, 1) if self.direction in ("TB", "BT") else (1, 0)
        ranks: dict[int, list[Box]] = {}
        for box in self.boxes:
            ranks.setdefault(box.rank, []).append(box)
        place = 0.0
        for rank in sorted(ranks):
            row = sorted(
                ranks[rank], key=lambda box: self._wanted(box, across)
            )  # calls in order where they want the same place
            thickness = max(box.size[along] for box in row)
            start = -(sum(box.size[across] for box in row) + GAP * (len(row) - 1)) / 2
            for box in row:
                box.thickness = thickness
                middle = start + box.size[across] / 2
                start += box.size[across] + GAP
                position = (middle, place + thickness / 2)
                box.center = position if across == 0 else (position[1], position[0])
            place += thickness + GAP
        if any(box.group for box in self.boxes):
            self._arrange(self.boxes, 0, across)
        if self.direction in ("TB", "RL"):  # the axes go up and to the right
            for box in self.boxes:
                x, y = box.center
                box.center = (x, -y) if across == 0 else (-x, y)
        edges = [[box.center[i] + side * box.size[i] / 2 for box in self.boxes for side in (-1, 1)] for i in (0, 1)]
        return max(edges[0]) - min(edges[0]), max(edges[1]) - min(edges[1])

    def _arrange(self, boxes: Sequence[Box], depth: int, across: int) -> float:
        """Give models that lie beside each other or other boxes a column each, in the order there was; return the width."""
        columns: dict[Group, list[Box]] = {}
        for box in boxes:
            columns.setdefault(box.group[: depth + 1] if len(box.group) > depth else (), []).append(box)
        others = columns.pop((), [])
        bands: list[tuple[range, list[list[Box]]]] = []  # ranks, and the models that lie in them
        for column in sorted(columns.values(), key=lambda column: min(box.rank for box in column)):
            first, last = min(box.rank for box in column), max(box.rank for box in column)
            if bands and first in bands[-1][0]:
                bands[-1] = range(bands[-1][0].start, max(bands[-1][0].stop, last + 1)), [*bands[-1][1], column]
            else:
                bands.append((range(first, last + 1), [column]))
        width = 0.0
        for ranks, within in bands:
            beside = [box for box in others if box.rank in ranks]
            others = [box for box in others if box.rank not in ranks]
            parts = sorted([*within, *([beside] if beside else [])], key=lambda part: _middle(part, across))
            widths = [self._arrange(part, depth + 1, across) for part in parts]
            width = max(width, _side_by_side(parts, widths, across))
        for rank in {box.rank for box in others}:
            row = sorted((box for box in others if box.rank == rank), key=lambda box: box.center[across])
            width = max(width, _side_by_side([[box] for box in row], [box.size[across] for box in row], across))
        return width

    def _wanted(self, box: Box, across: int) -> float:
        centers = [self.boxes[i].center[across] for i in box.sources]
        return sum(centers) / len(centers) if centers else 0.0


def _middle(boxes: Sequence[Box], across: int) -> float:
    return sum(box.center[across] for box in boxes) / len(boxes)


def _side_by_side(parts: Sequence[Sequence[Box]], widths: Sequence[float], across: int) -> float:
    """Move parts, each arranged around its middle, beside each other around 0; return the width of all."""
    total = sum(widths) + GAP * (len(parts) - 1)
    start = -total / 2
    for part, width in zip(parts, widths):
        edges = [box.center[across] + side * box.size[across] / 2 for box in part for side in (-1, 1)]
        shift = start + width / 2 - (min(edges) + max(edges)) / 2
        for box in part:
            x, y = box.center
            box.center = (x + shift, y) if across == 0 else (x, y + shift)
        start += width + GAP
    return total


def plot_model(
    model: Model,
    to_file: str | os.PathLike[str] | None = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: int = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
) -> Figure:
    """Draw a model as boxes and arrows.

    Args:
        model: built.
        to_file: file to write (.png, .svg, .pdf), folders that do not exist are made; None: only return the figure.
        show_shapes: write the shapes of inputs and outputs.
        show_dtype: write the dtype of outputs.
        show_layer_names: write the layers' names, not their classes alone.
        rankdir: "TB" top to bottom, "BT", "LR" left to right, "RL".
        expand_nested: draw the layers of models inside of the model, in a frame.
        dpi: dots per inch of the file.
        show_layer_activations: write the activations.
        show_trainable: write which layers learn.

    Returns:
        the matplotlib Figure.

    Raises:
        ImportError: if matplotlib is not installed.
        ValueError: for a model that is not built, and for wrong arguments.
        OSError: if the file cannot be written.

    Example:
        >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(2, name="out")])
        >>> figure = fastnn.utils.plot_model(model, None, show_shapes=True, show_layer_names=True)
        >>> print(figure.axes[0].texts[1].get_text())
        out (Dense)
        in: (None, 3)
        out: (None, 2)
    """
    require_matplotlib("plot_model")
    who = "plot_model"
    if not hasattr(model, "wiring"):
        checks.fail_type(who, "a model", checks.describe(model))
    flags = {
        "show_shapes": show_shapes,
        "show_dtype": show_dtype,
        "show_layer_names": show_layer_names,
        "show_layer_activations": show_layer_activations,
        "show_trainable": show_trainable,
        "expand_nested": expand_nested,
    }
    for name, flag in flags.items():
        checks.boolean(who, name, flag)
    checks.integer(who, "dpi", dpi, 10, 2000)
    checks.one_of(who, "rankdir", rankdir, list(DIRECTIONS))
    diagram = Diagram(
        show_shapes,
        show_dtype,
        show_layer_names,
        show_layer_activations,
        show_trainable,
        expand_nested,
        direction=rankdir,
    )
    diagram.add(model)
    width, height = diagram.lay_out()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width + 4 * MARGIN, height + 4 * MARGIN), dpi=dpi)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    _draw(axes, diagram)
    if to_file is not None:
        os.makedirs(os.path.dirname(os.fspath(to_file)) or ".", exist_ok=True)
        figure.savefig(to_file)
    return figure


def _draw(axes: Axes, diagram: Diagram) -> None:
    """Draw frames, boxes and arrows."""
    from matplotlib.patches import FancyBboxPatch

    along = 1 if diagram.direction in ("TB", "BT") else 0
    for group in sorted({box.group[:i] for box in diagram.boxes for i in range(1, len(box.group) + 1)}, key=len):
        inside = [box for box in diagram.boxes if box.group[: len(group)] == group]
        room = MARGIN * (0.3 + 0.4 / len(group))
        low, high = (
            [extreme(b.center[i] + s * b.size[i] / 2 for b in inside) + s * room for i in (0, 1)]
            for extreme, s in ((min, -1), (max, 1))
        )
        patch = FancyBboxPatch(
            (low[0], low[1]),
            high[0] - low[0],
            high[1] - low[1],
            "round,pad=0.06",
            fill=False,
            linestyle="--",
            color="#666666",
        )
        axes.add_patch(patch)
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        left = low[0] + sum(0.07 * len(name) + 0.1 for name, _ in group[:-1])  # beside the names of the frames around
        axes.text(left, high[1] + 0.08, group[-1][0], fontsize=7, color="#444444", va="bottom", bbox=plate, zorder=4)
    for line in diagram.lines:
        _arrow(axes, [diagram.boxes[number] for number in line], along)
    for box in filter(lambda box: box.lines, diagram.boxes):
        corner = (box.center[0] - box.size[0] / 2, box.center[1] - box.size[1] / 2)
        style: dict[str, Any] = {"facecolor": FILL.get(box.kind, FILL[""]), "linewidth": 0.8, "zorder": 2}
        axes.add_patch(FancyBboxPatch(corner, *box.size, "round,pad=0", edgecolor="black", **style))
        axes.text(*box.center, "\n".join(box.lines), ha="center", va="center", fontsize=9, family="monospace", zorder=3)
    axes.set_aspect("equal")
    axes.axis("off")
    xs, ys = ([b.center[i] + s * b.size[i] / 2 for b in diagram.boxes for s in (-1, 1)] for i in (0, 1))
    axes.set_xlim(min(xs) - 2 * MARGIN, max(xs) + 2 * MARGIN)
    axes.set_ylim(min(ys) - 2 * MARGIN, max(ys) + 2 * MARGIN)


def _arrow(axes: Axes, boxes: Sequence[Box], along: int) -> None:
    """Draw a line from the side of the first box, past others, to the side of the last one, with a head there."""
    from matplotlib.patches import FancyArrowPatch, PathPatch
    from matplotlib.path import Path

    direction = 1 if boxes[-1].center[along] > boxes[0].center[along] else -1
    points: list[tuple[float, float]] = []
    for i, box in enumerate(boxes):
        half = (box.size[along] if box.lines else box.thickness) / 2
        for side in (-1, 1):
            if (i, side) not in ((0, -1), (len(boxes) - 1, 1)):  # not before the first, nor behind the last
                point = [*box.center]
                point[along] += side * direction * half
                points.append((point[0], point[1]))
    if len(points) > 2:
        axes.add_patch(PathPatch(Path(points[:-1]), fill=False, linewidth=0.9, zorder=1))
    style: dict[str, Any] = {"arrowstyle": "-|>", "color": "black", "linewidth": 0.9, "mutation_scale": 9, "zorder": 1}
    axes.add_patch(FancyArrowPatch(points[-2], points[-1], shrinkA=0, shrinkB=0, **style))
