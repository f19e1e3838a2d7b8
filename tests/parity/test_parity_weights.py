"""Weights of Keras's and PyTorch's own models give the same outputs here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import LONG, Array, assert_near, has, keras, normal, numpy_of

import fastnn
from fastnn.models import load_pytorch_weights

IMAGES = normal(6, 13, 11, 3)


def convolutional(package: Any, first: bool = False) -> Any:
    """Return a network of a package, fastnn or keras."""
    layers, data_format = package.layers, "channels_first" if first else "channels_last"
    return package.Sequential(
        [
            package.Input((3, 13, 11) if first else (13, 11, 3)),
            layers.Conv2D(6, (3, 2), activation="relu", data_format=data_format),
            layers.BatchNormalization(axis=1 if first else -1),
            layers.MaxPooling2D(2, data_format=data_format),
            layers.Conv2D(4, 2, padding="same", strides=2, data_format=data_format),
            layers.Flatten(data_format=data_format),
            layers.Dense(9, activation="tanh"),
            layers.Dense(5, activation="softmax"),
        ]
    )


def graph(package: Any) -> Any:
    """Return a network with branches and a model inside, called twice."""
    layers = package.layers
    tower = package.Sequential(
        [package.Input((3,)), layers.Dense(4, activation="relu"), layers.BatchNormalization()], name="tower"
    )
    a, b = package.Input((3,), name="a"), package.Input((3,), name="b")
    right = layers.Dense(4, name="right")(tower(b))
    left = layers.Dense(4, name="left")(tower(a))
    return package.Model([a, b], layers.Dense(2, name="last")(layers.Concatenate(name="both")([left, right])))


def randomized(model: Any) -> Any:
    """Give a model of Keras random weights, variances positive ones."""
    weights = model.get_weights()
    model.set_weights(
        [np.abs(normal(*w.shape, seed=i)) / np.sqrt(max(w.shape[0], 1)) + 0.05 for i, w in enumerate(weights)]
    )
    return model


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
@pytest.mark.parametrize("first", [False, True])
def test_files_of_keras(suffix: str, first: bool, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    theirs, path = randomized(convolutional(keras(), first)), tmp_path / f"m{suffix}"
    theirs.save_weights(path) if suffix == ".weights.h5" else theirs.save(path)
    ours = convolutional(fastnn, first)
    assert ours.load_weights(path).complete
    x = np.moveaxis(IMAGES, -1, 1) if first else IMAGES
    assert_near(ours.predict(x, verbose=0), numpy_of(theirs(x)), LONG, "output")


def test_graphs_of_keras_by_their_layers_names(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    theirs, path = randomized(graph(keras())), tmp_path / "m.weights.h5"
    theirs.save_weights(path)
    ours = graph(fastnn)
    assert ours.load_weights(path).complete
    x = [normal(5, 3), normal(5, 3, seed=1)]
    assert_near(ours.predict(x, verbose=0), numpy_of(theirs(x)), LONG, "output")
    renamed = fastnn.Model(ours.inputs, fastnn.layers.Dense(2, name="other")(ours.get_layer("both").output))
    with pytest.raises(ValueError, match="in a graph with branches the order of layers may differ"):
        renamed.load_weights(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    ours, path = convolutional(fastnn), tmp_path / "m.weights.h5"
    before = ours.get_weights()
    path.write_bytes(b"no file of that kind")
    with pytest.raises(
        ValueError, match="expected a file of weights written by Keras 3, got a damaged or foreign file"
    ):
        ours.load_weights(path)
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/hostname", "/")
    with pytest.raises(ValueError, match="got a link in place of 'layers'"):
        ours.load_weights(path)
    theirs = randomized(convolutional(keras()))
    theirs.save_weights(path)
    small = fastnn.Sequential([fastnn.Input((13, 11, 3)), fastnn.layers.Conv2D(6, (3, 2))])
    with pytest.raises(ValueError, match="0 missing"):
        small.load_weights(path)
    content = path.read_bytes()
    for cut in (100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(ValueError, match="expected"):
            ours.load_weights(path)
    for w, v in zip(ours.get_weights(), before):
        np.testing.assert_array_equal(w, v)


def test_paths_of_keras_variables() -> None:
    theirs = randomized(graph(keras()))
    ours = graph(fastnn)
    with_paths: dict[str, Array] = {v.path: numpy_of(v.value) for v in theirs.weights}
    names = {
        layer.name: other.name for layer, other in zip(ours.get_layer("tower").layers, theirs.get_layer("tower").layers)
    }
    for layer in ours.get_layer("tower").layers:
        for p in layer.weights:
            p.name = f"{names[layer.name]}/{p.name.split('/')[1]}"
    assert ours.load_weights(with_paths, by_name=True).complete
    x = [normal(5, 3), normal(5, 3, seed=1)]
    assert_near(ours.predict(x, verbose=0), numpy_of(theirs(x)), LONG, "output")


@pytest.mark.skipif(not has("torch"), reason="needs torch")
@pytest.mark.parametrize("kind", ["state_dict", "npz", "safetensors"])
def test_a_network_of_pytorch(kind: str, tmp_path: Path) -> None:
    import torch
    from safetensors.numpy import save_file
    from torch import nn

    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Conv2d(3, 6, (3, 2), padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 4, 2, stride=2, groups=2, bias=False),
        nn.Tanh(),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.BatchNorm1d(36),
        nn.Linear(36, 9),
        nn.ReLU(),
        nn.Linear(9, 5),
    )
    theirs(torch.tensor(np.moveaxis(IMAGES, -1, 1).copy()))  # moves the statistics
    theirs.eval()
    layers = fastnn.layers
    ours = fastnn.Sequential(
        [
            fastnn.Input((13, 11, 3)),
            layers.Conv2D(6, (3, 2), padding=1),
            layers.BatchNormalization(epsilon=1e-5),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2, strides=2, groups=2, use_bias=False, activation="tanh"),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.BatchNormalization(epsilon=1e-5),
            layers.Dense(9, activation="relu"),
            layers.Dense(5),
        ]
    )
    source: Any = theirs.state_dict()
    arrays = {name: value.numpy() for name, value in source.items()}
    if kind == "npz":
        source = tmp_path / "w.npz"
        np.savez(source, **arrays)
    elif kind == "safetensors":
        source = tmp_path / "w.safetensors"
        save_file(arrays, source)
    assert load_pytorch_weights(ours, source).complete
    expected = theirs(torch.tensor(np.moveaxis(IMAGES, -1, 1).copy())).detach().numpy()
    assert_near(ours.predict(IMAGES, verbose=0), expected, LONG, "output")
