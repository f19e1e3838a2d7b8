"""Graphs as plain data and in files: round trips, going on training, damaged descriptions."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from graphs import GRAPHS, nested, parts_of, shared, siamese, training_graph
from tiny import images
from tolerances import assert_bits

from fastnn import Model, Sequential, config, files
from fastnn.layers import Concatenate, Dense
from fastnn.layers.budget import weight_budget
from fastnn.models import load_model
from fastnn.summary import Style

every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


def batch(model: Model, n: int = 4) -> Any:
    return model.input_structure.whole([normal(n, *t.shape[1:], seed=i) for i, t in enumerate(model.inputs)])


def assert_same(model: Model, again: Model) -> None:
    assert again.get_config() == model.get_config()
    assert type(again) is type(model)
    assert [p.name for p in again.weights] == [p.name for p in model.weights]
    for got, want in zip(parts_of(again(batch(model))), parts_of(model(batch(model))), strict=True):
        assert_bits(got, want)


@every_graph
def test_configuration_round_trip(make: Callable[[], Model]) -> None:
    model = make()
    again = Model.from_config(json.loads(json.dumps(model.get_config())))
    again.set_weights(model.get_weights())
    assert_same(model, again)
    rows = [Style(expand_nested=True).table(m.summary_entries()) for m in (model, again)]
    assert rows[0] == rows[1]


@every_graph
def test_save_and_load(make: Callable[[], Model], tmp_path: Path) -> None:
    model = make()
    model.layers[1].trainable = False
    model.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    assert_same(model, again)
    assert again.layers[1].trainable is False
    model.save_weights(tmp_path / "w.fastnn")
    fresh = Model.from_config(model.get_config())
    fresh.load_weights(tmp_path / "w.fastnn")
    assert_same(model, fresh)


def test_a_sequential_round_trip() -> None:
    model = Sequential([Dense(3, input_shape=(4,)), Dense(2)])
    again = Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    assert_same(model, again)
    assert not Sequential.from_config(Sequential([Dense(3)]).get_config()).built


def test_shared_layers_are_shared_again() -> None:
    for make in (shared, siamese):
        model = make()
        again = Model.from_config(model.get_config())
        assert again.count_params() == model.count_params()
        assert len(again.leaf_layers) == len(model.leaf_layers)


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    x, y = images(40)
    config.set_seed(2)
    model = training_graph()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, 16, 2, verbose=0)
    model.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    for one in (model, again):
        one.fit(x, y, 16, 2, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert_bits(a, b)
    assert again.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_several_losses_and_metrics_are_kept(tmp_path: Path) -> None:
    model = GRAPHS["several"]()
    model.compile(
        "rmsprop",
        loss={"first": "categorical_crossentropy", "second": "mse", "third": "binary_crossentropy"},
        metrics={"first": ["accuracy"], "third": "mae"},
        loss_weights=[1.0, 0.25, 3.0],
    )
    x = batch(model, 12)
    y = [np.eye(3)[np.arange(12) % 3], normal(12, 2), np.arange(12)[:, None] % 2]
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    assert again.evaluate(x, y, verbose=0, return_dict=True) == model.evaluate(x, y, verbose=0, return_dict=True)
    for one in (model, again):
        one.fit(x, y, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        assert_bits(a, b)


class Halved(Dense):
    """A layer of a user's."""


def test_custom_layers(tmp_path: Path) -> None:
    x = nested().inputs[0]
    model = Model(x, Halved(2)(Concatenate()([x, Halved(3)(x)])))
    model.save(tmp_path / "m.fastnn")
    with pytest.raises(ValueError, match="expected layers of classes it knows, got 'Halved'"):
        load_model(tmp_path / "m.fastnn")
    assert_same(model, load_model(tmp_path / "m.fastnn", custom_objects={"Halved": Halved}))
    assert_same_config(model, Model.from_config(model.get_config(), {"Halved": Halved}))


def assert_same_config(model: Model, again: Model) -> None:
    assert again.get_config() == model.get_config()


# ---------------------------------------------------------------- damaged descriptions

WRONG = [None, -1, 0, 7, 2**70, 1.5, "x", "", [], {}, [[]], [0, 0], [[99, 0]], True]


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in nested lists and dicts."""
    if path:
        yield path
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield from places(data[key], (*path, key))


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a copy with another value at a path; ... takes the entry away."""
    result = copy.deepcopy(data)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return result


@pytest.mark.parametrize("make", [siamese, nested, GRAPHS["several"]])
def test_damaged_descriptions_are_refused_or_read(make: Callable[[], Model]) -> None:
    model = make()
    data = model.get_config()
    refused: dict[str, str] = {}
    for path in places(data):
        for value in (*WRONG, ...):
            try:
                with weight_budget(model.count_params()):  # as in a file
                    read = Model.from_config(changed(data, path, value))
            except ValueError as error:
                refused[f"{path} {value}"] = str(error)
            else:
                assert isinstance(read, Model)  # another name, another number of units, ...
    assert len(refused) > 500
    assert {where: text for where, text in refused.items() if ": expected " not in text} == {}


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    model = siamese()
    model.save(tmp_path / "m.fastnn")
    tensors, description = files.read(tmp_path / "m.fastnn")
    arrays: dict[str, Array] = dict(tensors)
    for key in ("calls", "inputs", "outputs", "layers", "name"):
        broken = copy.deepcopy(description)
        del broken["model"][key], broken["crc32"]
        files.write(tmp_path / "broken.fastnn", arrays, broken, True)
        with pytest.raises(ValueError, match=r"load '.*broken\.fastnn': expected a description written by fastnn"):
            load_model(tmp_path / "broken.fastnn")
    for cls in ("Modell", "Sequential", 3, None):
        broken = {**copy.deepcopy(description), "class": cls}
        del broken["crc32"]
        files.write(tmp_path / "broken.fastnn", arrays, broken, True)
        with pytest.raises(ValueError, match="expected"):
            load_model(tmp_path / "broken.fastnn")
    content = (tmp_path / "m.fastnn").read_bytes()
    for at in range(8, len(content), 97):
        damaged = bytearray(content)
        damaged[at] ^= 4
        (tmp_path / "broken.fastnn").write_bytes(damaged)
        with pytest.raises(ValueError, match="expected"):
            load_model(tmp_path / "broken.fastnn")
