"""Pictures of models: what boxes say, where they lie, what they are joined to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastnn import Model, Sequential, layers
from fastnn.layers import Conv2D, Dense, Flatten, Input
from fastnn.utils import plot_model

pytest.importorskip("matplotlib")


def residual() -> Model:
    x = Input((4,), name="x")
    h = Dense(4, "relu", name="hidden")(x)
    return Model(x, Dense(2, name="out")(layers.Add(name="sum")([x, h])))


def boxes(figure: Any) -> dict[str, tuple[float, float]]:
    """Return the place of every text by its first line."""
    return {text.get_text().split("\n")[0]: text.get_position() for text in figure.axes[0].texts}


def arrows(figure: Any) -> int:
    return sum(type(patch).__name__ == "FancyArrowPatch" for patch in figure.axes[0].patches)


@pytest.mark.parametrize(("rankdir", "axis", "sign"), [("TB", 1, -1), ("BT", 1, 1), ("LR", 0, 1), ("RL", 0, -1)])
def test_directions(rankdir: str, axis: int, sign: int) -> None:
    figure = plot_model(residual(), None, show_layer_names=True, rankdir=rankdir)
    places = boxes(figure)
    order = ["x (InputLayer)", "hidden (Dense)", "sum (Add)", "out (Dense)"]
    assert set(places) == set(order)
    along = [sign * places[name][axis] for name in order]
    assert along == sorted(along)
    assert len(set(along)) == 4
    assert arrows(figure) == 4, "x goes to two"


def test_what_boxes_say() -> None:
    model = Sequential(
        [Input((6, 5, 2), name="image"), Conv2D(3, 2, activation="relu", name="conv"), Flatten(), Dense(2)]
    )
    model.layers[-1].trainable = False
    plain = plot_model(model, None)
    assert [text.get_text() for text in plain.axes[0].texts] == ["InputLayer", "Conv2D", "Flatten", "Dense"]
    full = plot_model(
        model, None, show_shapes=True, show_layer_names=True, show_layer_activations=True, show_trainable=True
    )
    texts = [text.get_text() for text in full.axes[0].texts]
    assert texts[0] == "image (InputLayer)\nout: (None, 6, 5, 2)"
    assert texts[1] == "conv (Conv2D)\nactivation: relu\nin: (None, 6, 5, 2)\nout: (None, 5, 4, 3)\ntrainable"
    assert texts[3].endswith("frozen")


def test_models_inside_are_drawn_in_frames_when_that_is_asked_for() -> None:
    inner = Sequential([Input((3,)), Dense(3, name="first"), residual_of(3)], name="inner")
    a, b = Input((3,), name="a"), Input((3,), name="b")
    model = Model([a, b], layers.Add(name="sum")([inner(a), inner(b)]))
    closed = plot_model(model, None, show_layer_names=True)
    assert [text.get_text() for text in closed.axes[0].texts].count("inner (Sequential)") == 2
    opened = plot_model(model, None, show_layer_names=True, expand_nested=True)
    texts = [text.get_text() for text in opened.axes[0].texts]
    assert texts.count("first (Dense)") == 2
    assert texts.count("hidden (Dense)") == 2
    assert "inner (Sequential)" not in texts
    assert "inner" in texts, "the frame's name"
    assert arrows(opened) == 2 * (1 + 1 + 2) + 2


def residual_of(width: int) -> Model:
    x = Input((width,))
    return Model(x, layers.Add(name="inner_sum")([x, Dense(width, name="hidden")(x)]), name="block")


def test_boxes_do_not_overlap() -> None:
    x = Input((5,))
    branches = [Dense(units, name=f"a_long_name_of_a_layer_{units}")(x) for units in range(1, 6)]
    model = Model(x, layers.Concatenate()(branches))
    figure = plot_model(model, None, show_layer_names=True, show_shapes=True)
    patches = [p.get_extents() for p in figure.axes[0].patches if type(p).__name__ == "FancyBboxPatch"]
    assert len(patches) == 7
    for i, one in enumerate(patches):
        assert not any(one.overlaps(other) for other in patches[:i])


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"model.{suffix}"
    plot_model(residual(), path, dpi=60)
    assert path.stat().st_size > 500


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="rankdir to be one of"):
        plot_model(residual(), None, rankdir="DOWN")
    with pytest.raises(TypeError, match="show_shapes to be True or False"):
        plot_model(residual(), None, show_shapes=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a built model"):
        plot_model(Sequential([Dense(3)]), None)
    with pytest.raises(ValueError, match="dpi"):
        plot_model(residual(), None, dpi=0)


@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_frames_and_names_do_not_overlap(rankdir: str) -> None:
    leaf = Sequential([Input((4,)), Dense(3, name="one"), Dense(3, name="two")], name="leaf")
    x = Input((4,))
    middle = Model(x, layers.Add(name="sum")([leaf(x), Dense(3, name="skip")(x)]), name="middle")
    a, b = Input((4,), name="a"), Input((4,), name="b")
    joined = layers.Concatenate(name="all")([middle(a), middle(b), Dense(2, name="loose")(b)])
    figure = plot_model(Model([a, b], joined), None, expand_nested=True, show_layer_names=True, rankdir=rankdir)
    figure.canvas.draw()
    patches = figure.axes[0].patches
    frames = [p.get_window_extent() for p in patches if p.get_linestyle() == "--"]
    assert len(frames) == 4
    inside = [[(f.x0 >= g.x0 and f.x1 <= g.x1 and f.y0 >= g.y0 and f.y1 <= g.y1) for g in frames] for f in frames]
    assert sum(map(sum, inside)) == 6, "each in itself, and each leaf in its middle"
    for i, f in enumerate(frames):
        for j, g in enumerate(frames):
            assert inside[i][j] or inside[j][i] or not f.overlaps(g)
    texts = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert not any(frame.overlaps(texts["loose (Dense)"]) for frame in frames)
    every = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(f.overlaps(g) for i, f in enumerate(every) for g in every[:i])
