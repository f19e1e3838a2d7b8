"""Weights from files and dicts: by name, in order, what fits; of Keras and PyTorch; clones and JSON."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from graphs import GRAPHS, nested, shared
from safetensors.numpy import save_file
from tolerances import assert_bits

import fastnn
from fastnn import Model, Sequential, layers
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from fastnn.models import clone_model, load_pytorch_weights, model_from_json


def network(*names: str | None, units: int = 4) -> Sequential:
    """Return two Dense with a normalization between, named or counted up."""
    first, norm, last = names or (None,) * 3
    parts = [Dense(units, name=first), BatchNormalization(name=norm), Dense(2, name=last)]
    model = Sequential([Input((3,)), *parts])
    model.set_weights([normal(*p.shape, seed=i) for i, p in enumerate(model.weights)])
    return model


def assert_equal(model: Any, other: Any) -> None:
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert_bits(a, b)


def fresh(model: Sequential) -> Sequential:
    """Return a model of the same architecture with other weights."""
    other = clone_model(model)
    assert isinstance(other, Sequential)
    return other


# ---------------------------------------------------------------- our own files


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".weights"])
def test_round_trip(suffix: str, tmp_path: Path) -> None:
    model, path = network("a", "b", "c"), tmp_path / f"w{suffix}"
    model.save_weights(path)
    other = fresh(model)
    report = other.load_weights(path)
    assert report.complete
    assert report.loaded == tuple(p.name for p in model.weights)
    assert str(report) == "8 of 8 weights were set"
    assert_equal(model, other)
    with pytest.raises(FileExistsError, match="overwrite=False"):
        model.save_weights(path, overwrite=False)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name], "nothing is left beside it"
    if suffix == ".npz":
        assert set(np.load(path).files) == {p.name for p in model.weights}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_names_that_only_count_differently_go_by_order(suffix: str, tmp_path: Path) -> None:
    model, other = network(), network()  # "dense", "dense_1" and "dense_2", "dense_3", or later ones
    other.set_weights([w * 0 for w in other.get_weights()])
    model.save_weights(tmp_path / f"w{suffix}")
    assert other.load_weights(tmp_path / f"w{suffix}").complete
    assert_equal(model, other)
    with pytest.raises(ValueError, match=r"8 missing \['dense"):
        other.load_weights(tmp_path / f"w{suffix}", by_name=True)


def test_by_order(tmp_path: Path) -> None:
    path, model, other = tmp_path / "w.npz", network("a", "b", "c"), network("x", "y", "z")
    model.save_weights(path)
    with pytest.raises(ValueError, match=r"expected a file with the 8 weights of .* by_name=False goes by order"):
        other.load_weights(path)
    other.set_weights([w * 0 for w in other.get_weights()])
    assert other.load_weights(path, by_name=False).complete
    assert_equal(model, other)
    save_file({p.name: p.value for p in model.weights}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="expected weights in the order of the layers, got names in any order"):
        other.load_weights(tmp_path / "foreign.safetensors", by_name=False)
    fresh(model).load_weights(tmp_path / "foreign.safetensors")


def test_what_fits_is_taken_when_that_is_asked_for(tmp_path: Path) -> None:
    path, model = tmp_path / "w.safetensors", network("a", "b", "c")
    model.save_weights(path)
    wider = Sequential(
        [Input((3,)), Dense(4, name="a"), BatchNormalization(name="b"), Dense(7, name="c"), Dense(1, name="d")]
    )
    before = wider.get_weights()
    with pytest.raises(ValueError, match="2 missing"):
        wider.load_weights(path)
    same = Sequential([Input((3,)), Dense(4, name="a"), BatchNormalization(name="b"), Dense(7, name="c")])
    with pytest.raises(ValueError, match=r"Parameter 'c/kernel': expected a value of shape \(4, 7\), got \(4, 2\)"):
        same.load_weights(path)
    for w, v in zip(wider.get_weights(), before):
        assert_bits(w, v)
    with pytest.warns(
        UserWarning, match=r"load_weights: 6 of 10 weights were set; not in the source: d/kernel, d/bias;"
    ):
        report = wider.load_weights(path, skip_mismatch=True)
    assert report.loaded == ("a/kernel", "a/bias", "b/gamma", "b/beta", "b/moving_mean", "b/moving_variance")
    assert report.missing == ("d/kernel", "d/bias")
    assert report.unused == ()
    assert report.mismatched == (("c/kernel", (4, 2), (4, 7)), ("c/bias", (2,), (7,)))
    assert_bits(wider.get_weights()[0], model.get_weights()[0])
    for w, v in zip(wider.get_weights()[6:], before[6:], strict=True):
        assert_bits(w, v)
    small = Sequential([Input((3,)), Dense(4, name="a")])
    with pytest.warns(UserWarning, match="not in the model: b/gamma"):
        assert len(small.load_weights(path, skip_mismatch=True).unused) == 6


def test_a_dict() -> None:
    model = network("a", "b", "c")
    other = fresh(model)
    other.load_weights({f"sequential_7/{p.name}": p.value.astype(np.float64) for p in model.weights})
    assert_equal(model, other)
    with pytest.raises(ValueError, match="expected a dict with the 8 weights"):
        other.load_weights({"a/kernel": np.ones((3, 4))})
    with pytest.raises(TypeError, match="expected a path or a dict of arrays"):
        other.load_weights(model.get_weights())
    bad = {p.name: p.value for p in model.weights} | {"c/bias": np.array(["x", "y"])}
    before = other.get_weights()
    with pytest.raises(TypeError, match="real dtype"):
        other.load_weights(bad)
    for w, v in zip(other.get_weights(), before):
        assert_bits(w, v)


def _damaged_zip(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    at = content.index(b"NUMPY") + 140  # within the first array
    return content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage", [_damaged_zip, _flipped, lambda content: b"", lambda content: b"PK\x05\x06" + bytes(18)]
)
def test_damaged_archives(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path, model = tmp_path / "w.npz", network("a", "b", "c")
    model.save_weights(path)
    path.write_bytes(damage(path.read_bytes()))
    other = fresh(model)
    before = other.get_weights()
    with pytest.raises(ValueError, match="expected a"):
        other.load_weights(path)
    for w, v in zip(other.get_weights(), before):
        assert_bits(w, v)


def test_archives_carry_no_code(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        pickled = io.BytesIO()
        np.save(pickled, np.array([print], dtype=object), allow_pickle=True)
        archive.writestr("a/kernel.npy", pickled.getvalue())
    (tmp_path / "w.npz").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match=r"expected a .npz file of plain arrays, got a damaged or foreign file"):
        network("a", "b", "c").load_weights(tmp_path / "w.npz")


# ---------------------------------------------------------------- JSON and copies


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_json(make: Callable[[], Model]) -> None:
    model = make()
    again = model_from_json(model.to_json())
    assert type(again) is type(model)
    assert again.get_config() == model.get_config()
    again.set_weights(model.get_weights())
    assert model.to_json(indent=1).startswith("{\n")
    assert json.loads(model.to_json()) == json.loads(again.to_json())
    for wrong in ("", "[]", "{}", '{"class": "Model", "config": 3}', '{"class": "os.system", "config": {}}', "NaN"):
        with pytest.raises(ValueError, match="expected"):
            model_from_json(wrong)
    with pytest.raises(TypeError, match="a dict goes into from_config"):
        model_from_json({})  # type: ignore[arg-type]


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_clones(make: Callable[[], Model]) -> None:
    model = make()
    copy = clone_model(model)
    assert copy.get_config() == model.get_config()
    assert not {id(layer) for layer in copy.leaf_layers} & {id(layer) for layer in model.leaf_layers}
    assert len(copy.leaf_layers) == len(model.leaf_layers), "shared layers stay shared"
    copy.set_weights(model.get_weights())
    assert_equal(model, copy)


def test_clones_with_other_layers() -> None:
    model = shared()

    def wider(layer: layers.Layer) -> layers.Layer:
        config = layer.get_config()
        return type(layer).from_config({**config, "activation": "relu"} if isinstance(layer, Dense) else config)

    copy = clone_model(model, clone_function=wider)
    kinds = {layer.activation.name for layer in copy.leaf_layers if isinstance(layer, Dense)}
    assert kinds == {"relu"}
    assert clone_model(
        nested(), clone_function=lambda layer: type(layer).from_config(layer.get_config())
    ).count_params()
    with pytest.raises(TypeError, match="clone_function to return a layer"):
        clone_model(model, clone_function=lambda layer: None)


def test_inputs_of_the_same_name_in_a_model_and_in_one_inside_of_it(tmp_path: Path) -> None:
    x = Input((4,), name="x")
    inner = Model(x, Dense(2)(x), name="inner")
    y = Input((3,), name="x")
    model = Model(y, inner(Dense(4)(y)))
    for again in (model_from_json(model.to_json()), clone_model(model)):
        assert again.predict(np.ones((2, 3)), verbose=0).shape == (2, 2)
    model.save(tmp_path / "m.fastnn")
    data = normal(5, 3)
    assert_bits(
        fastnn.models.load_model(tmp_path / "m.fastnn").predict(data, verbose=0), model.predict(data, verbose=0)
    )


# ---------------------------------------------------------------- PyTorch


def torch_like(
    model: Model, order: Callable[[layers.Layer, Array], Array] = lambda layer, kernel: kernel
) -> dict[str, Array]:
    """Return weights as PyTorch would name and lay them out, numbered as in an nn.Sequential with other layers between."""
    names = {
        "kernel": "weight",
        "gamma": "weight",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    found: dict[str, Array] = {}
    for i, layer in enumerate(model.leaf_layers):
        for p in layer.weights:
            own = p.name.rpartition("/")[2]
            value = order(layer, p.numpy())
            if own == "kernel":
                value = value.T if value.ndim == 2 else value.transpose(3, 2, 0, 1)
            found[f"{3 * i}.{names.get(own, own)}"] = np.ascontiguousarray(value)
        if isinstance(layer, BatchNormalization):
            found[f"{3 * i}.num_batches_tracked"] = np.array(7)
    return found


def convolutions(*behind: Any, **first: Any) -> Sequential:
    model = Sequential(
        [
            Input((9, 7, 2)),
            Conv2D(4, (3, 2), **first),
            BatchNormalization(),
            MaxPooling2D(2),
            Flatten(),
            *behind,
            Dense(5),
        ]
    )
    model.set_weights([normal(*p.shape, seed=i) for i, p in enumerate(model.weights)])
    return model


@pytest.mark.parametrize("kind", ["dict", "npz", "safetensors"])
def test_a_convolutional_network(kind: str, tmp_path: Path) -> None:
    """A flattened image of PyTorch has its channels first; behind the first Dense nothing is different."""
    model = convolutions(Dropout(0.5), layers.ReLU(), Dense(6, "relu"), bias_initializer="ones")
    first = next(layer for layer in model.layers if isinstance(layer, Dense))

    def channels_first(layer: layers.Layer, value: Array) -> Array:
        return (
            value.reshape(3, 3, 4, 6).transpose(2, 0, 1, 3).reshape(36, 6)
            if layer is first and value.ndim == 2
            else value
        )

    source: Any = torch_like(model, channels_first)
    if kind == "npz":
        np.savez(tmp_path / "w.npz", **source)
        source = tmp_path / "w.npz"
    elif kind == "safetensors":
        save_file(source, tmp_path / "w.safetensors")  # "12" comes before "3" in there
        source = tmp_path / "w.safetensors"
    other = fresh(model)
    assert load_pytorch_weights(other, source).complete
    assert_equal(model, other)


def test_normalization_of_a_flattened_image() -> None:
    model = convolutions(BatchNormalization())
    flat = [layer for layer in model.layers if isinstance(layer, BatchNormalization)][1]
    perm = np.moveaxis(np.arange(36).reshape(3, 3, 4), -1, 0).ravel()

    def channels_first(layer: layers.Layer, value: Array) -> Array:
        return value[perm] if len(value) == 36 and (layer is flat or value.ndim == 2) else value

    other = fresh(model)
    load_pytorch_weights(other, torch_like(model, channels_first))
    assert_equal(model, other)


def test_images_whose_channels_come_first_are_flattened_alike() -> None:
    first = {"data_format": "channels_first"}
    model = Sequential([Input((2, 9, 7)), Conv2D(4, 3, **first), MaxPooling2D(2, **first), Flatten(), Dense(5)])
    other = fresh(model)
    load_pytorch_weights(other, torch_like(model))
    assert_equal(model, other)
    moved = Sequential([Input((2, 9, 7)), Conv2D(4, 3, **first), Flatten(**first), Dense(5)])
    copy = fresh(moved)
    dense = moved.layers[-1]
    load_pytorch_weights(
        copy,
        torch_like(
            moved,
            lambda layer, w: (
                w.reshape(7, 5, 4, 5).transpose(2, 0, 1, 3).reshape(140, 5) if layer is dense and w.ndim == 2 else w
            ),
        ),
    )
    assert_equal(moved, copy)


def test_images_straight_into_flatten() -> None:
    gray = Sequential([Input((4, 3, 1)), Flatten(), Dense(2)])
    other = fresh(gray)
    load_pytorch_weights(other, torch_like(gray))
    assert_equal(gray, other)
    colored = Sequential([Input((4, 3, 2)), Flatten(), Dense(2)])
    with pytest.raises(ValueError, match=r"got \(N, 4, 3, 2\) straight into Flatten .*flatten='channels_first'"):
        load_pytorch_weights(fresh(colored), torch_like(colored))
    other = fresh(colored)
    load_pytorch_weights(other, torch_like(colored), flatten="channels_last")
    assert_equal(colored, other)
    load_pytorch_weights(
        other,
        torch_like(
            colored, lambda layer, w: w.reshape(4, 3, 2, 2).transpose(2, 0, 1, 3).reshape(24, 2) if w.ndim == 2 else w
        ),
        flatten="channels_first",
    )
    assert_equal(colored, other)


def test_modules_by_name(tmp_path: Path) -> None:
    model = network("a", "b", "c")
    numbered = torch_like(model)
    modules = {"0": "fc1", "3": "bn", "6": "c"}  # "c" is the name of the layer, too
    named = {f"{modules[name.split('.')[0]]}.{name.split('.')[1]}": value for name, value in numbered.items()}
    other = fresh(model)
    load_pytorch_weights(other, named)
    assert_equal(model, other)
    save_file(named, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"modules in a known order, got \[.*names={module: layer}"):
        load_pytorch_weights(fresh(model), tmp_path / "w.safetensors")
    other = fresh(model)
    load_pytorch_weights(other, tmp_path / "w.safetensors", names={"fc1": "a", "bn": "b"})
    assert_equal(model, other)
    with pytest.raises(ValueError, match="a key of names to be one of"):
        load_pytorch_weights(other, named, names={"fc": "a"})
    with pytest.raises(ValueError, match="a layer in names to be one of"):
        load_pytorch_weights(other, named, names={"fc1": "aa"})


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    model = network("a", "b", "c")
    good = torch_like(model)
    other = fresh(model)
    before = other.get_weights()
    for change, text in (
        (
            {"0.weight": np.ones((3, 4))},
            r"'0.weight' that makes a kernel of shape \(3, 4\) for Dense 'a', got \(3, 4\), which",
        ),
        ({"9.weight": np.ones((3, 4))}, r"expected 3 modules with weights, one for each of \['a', 'b', 'c'\], got 4"),
        (
            {"0.weight_g": np.ones(3)},
            r"expected '0' with \['bias', 'weight'\] for Dense 'a', got \['bias', 'weight', 'weight_g'\]",
        ),
    ):
        with pytest.raises(ValueError, match=text):
            load_pytorch_weights(other, {**good, **change})
    with pytest.raises(ValueError, match=r"expected '0' with \['bias', 'weight'\]"):
        load_pytorch_weights(other, {name: value for name, value in good.items() if name != "0.bias"})
    for w, v in zip(other.get_weights(), before):
        assert_bits(w, v)
    mixing = Sequential([Input((9, 7, 2)), Conv2D(4, 3), layers.Reshape((5, -1)), Dense(2)])
    with pytest.raises(ValueError, match="expected Flatten behind images, got <Reshape"):
        load_pytorch_weights(mixing, torch_like(mixing))
    joined = Input((3, 3, 2))
    flat = Flatten()(Conv2D(3, 2)(joined))
    both = Model(joined, Dense(2)(layers.Concatenate()([flat, flat])))
    with pytest.raises(ValueError, match="Dense, BatchNormalization or an activation behind Flatten, got <Concatenate"):
        load_pytorch_weights(both, torch_like(both))


# ---------------------------------------------------------------- names of textbooks


def test_names_of_textbooks_in_any_order_and_file(tmp_path: Path) -> None:
    model = Sequential([Input((4,)), Dense(5), layers.ReLU(), Dense(3, use_bias=False)])
    given = {"W2": normal(5, 3), "b1": normal(5, seed=1), "W1": normal(4, 5, seed=2)}
    np.savez(tmp_path / "w.npz", **given)
    for source in (given, tmp_path / "w.npz"):
        model.set_weights([np.zeros(p.shape) for p in model.weights])
        assert model.load_weights(source).complete
        for p, name in zip(model.weights, ("W1", "b1", "W2")):
            np.testing.assert_array_equal(p.value, given[name].astype(np.float32))
    before = model.get_weights()
    for wrong, text in (
        ({**given, "b2": normal(3)}, "1 unknown"),
        ({"W1": given["W1"], "W2": given["W2"]}, "1 missing"),
        ({**given, "W1": normal(5, 4)}, r"shape \(4, 5\), got \(5, 4\)"),
    ):
        with pytest.raises(ValueError, match=text):
            model.load_weights(wrong)
    for p, value in zip(model.weights, before):
        np.testing.assert_array_equal(p.value, value)
