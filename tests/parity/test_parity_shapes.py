"""Layers that change shapes or images, against Keras and PyTorch: random configurations, forward and gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import harness
import numpy as np
import pytest

from fastnn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore")  # those of the other libraries

Array = np.ndarray[Any, Any]

CLOSE = 1e-6  # of the largest number: short sums in float32 against float64
COORDINATES = 2e-5  # the same where Keras computes places of pixels in float32

METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")
NOT_ON_TORCH = "Keras on PyTorch has another bicubic curve (-0.75 for -0.5) and no lanczos"


@pytest.fixture
def keras() -> Any:
    """Keras in float64 on whatever it runs here."""
    return harness.keras()


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def assert_same(got: Array, want: Any, what: str, limit: float = CLOSE) -> None:
    want = np.asarray(want)
    assert got.shape == want.shape, what
    np.testing.assert_allclose(
        got, want, rtol=0, atol=limit * max(1.0, float(np.abs(want).max(initial=0))), err_msg=what
    )


def compare(keras: Any, name: str, x: Array, limit: float = CLOSE, training: bool = False, **arguments: Any) -> None:
    """Compare a layer of the same name and arguments: output, and gradient for a random one of the output."""
    what = f"{name} {x.shape} {arguments}"
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(layers, name)(**arguments)
    mode = {"training": True} if training else {}
    compare_function(lambda z: theirs(z, **mode), ours, x, what, limit)
    assert tuple(theirs.compute_output_shape(x.shape))[1:] == tuple(ours.compute_output_shape(x.shape))[1:], what


def compare_function(
    theirs: Callable[[Any], Any], ours: layers.Layer, x: Array, what: str, limit: float = CLOSE
) -> None:
    """Compare a layer with a function of Keras's tensors: output, and gradient for a random one of the output."""
    got = ours.forward(x, training=True)
    dy = normal(np.random.default_rng(1), *got.shape)

    def objective(values: list[Any]) -> tuple[Any, Any]:
        y = theirs(values[0] * 1.0)  # some layers of the peer write into what they are given
        assert tuple(y.shape) == got.shape, what
        return harness.keras().ops.sum(y * harness.tensor(dy)), y

    want, (slope,) = harness.gradients(objective)([x])
    assert_same(got, harness.numpy_of(want), what, limit)
    dx = ours.backward(dy)
    assert dx is not None
    assert_same(dx, slope, f"gradient of {what}", limit)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_pooling(keras: Any, rank: int, kind: str) -> None:
    rng = np.random.default_rng([rank, len(kind)])
    paddings = ["valid", "same"]
    if kind == "Average" and harness.BACKEND == "torch":
        paddings = ["valid"]  # Keras on PyTorch averages over copies of the border as well, on JAX it does not
    for _ in range(5):
        size = tuple(int(v) for v in rng.integers(4, 9, rank))
        pool = tuple(int(v) for v in rng.integers(1, 4, rank))
        strides = tuple(int(v) for v in rng.integers(1, 4, rank))
        compare(
            keras,
            f"{kind}Pooling{rank}D",
            normal(rng, 2, *size, 3),
            pool_size=pool,
            strides=strides,
            padding=str(rng.choice(paddings)),
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_global_pooling(keras: Any, rank: int, data_format: str) -> None:
    x = normal(np.random.default_rng(rank), 2, *range(3, 4 + rank))
    for kind, keepdims in itertools.product(("Max", "Average"), (True, False)):
        compare(keras, f"Global{kind}Pooling{rank}D", x, data_format=data_format, keepdims=keepdims)


def test_unpooling_of_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    for pool, size in ((2, (6, 8)), (3, (7, 9)), ((2, 3), (5, 7))):
        image = normal(rng, 3, *size, 4)
        y, index = torch.nn.functional.max_pool2d(torch.tensor(image).permute(0, 3, 1, 2), pool, return_indices=True)
        values = torch.tensor(normal(rng, *y.shape), requires_grad=True)
        want = torch.nn.functional.max_unpool2d(values, index, pool, output_size=size)
        layer = layers.MaxUnpooling2D(pool)
        ours = values.detach().permute(0, 2, 3, 1).numpy()
        got = layer.forward([ours, image], training=True)
        assert_same(got, want.detach().permute(0, 2, 3, 1), str(pool))
        dy = normal(rng, *got.shape)
        want.backward(torch.tensor(dy).permute(0, 3, 1, 2))
        assert values.grad is not None
        assert_same(layer.backward(dy)[0], values.grad.permute(0, 2, 3, 1), f"gradient {pool}")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (4, 1)])
def test_bilinear_upsampling_of_torch(size: tuple[int, int], align_corners: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(6)
    for factors in ((2, 2), (1, 3), (4, 1)):
        x = normal(rng, 2, *size, 3)
        theirs = torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
        want = torch.nn.functional.interpolate(
            theirs, scale_factor=factors, mode="bilinear", align_corners=align_corners
        )
        layer = layers.UpSampling2D(factors, interpolation="bilinear", align_corners=align_corners)
        got = layer.forward(x, training=True)
        assert_same(got, want.detach().permute(0, 2, 3, 1), str(factors))
        dy = normal(rng, *got.shape)
        want.backward(torch.tensor(dy, dtype=torch.float64).permute(0, 3, 1, 2))
        assert theirs.grad is not None
        dx = layer.backward(dy)
        assert_same(dx, theirs.grad.permute(0, 2, 3, 1), f"gradient {factors}")


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_borders_and_upsampling(keras: Any, data_format: str) -> None:
    rng = np.random.default_rng(7)
    layout = {"data_format": data_format}
    for _ in range(2):
        x = {rank: normal(rng, 2, *(int(v) for v in rng.integers(4, 8, rank + 1))) for rank in (1, 2, 3)}
        pads = {rank: tuple(tuple(int(v) for v in rng.integers(0, 2, 2)) for _ in range(rank)) for rank in (2, 3)}
        for rank in (2, 3):
            compare(keras, f"ZeroPadding{rank}D", x[rank], padding=pads[rank], **layout)
            compare(keras, f"Cropping{rank}D", x[rank], cropping=pads[rank], **layout)
            factors = tuple(int(v) for v in rng.integers(1, 4, rank))
            compare(keras, f"UpSampling{rank}D", x[rank], size=factors, **layout)
        for method in ("bilinear",) if harness.BACKEND == "torch" else METHODS[1:]:
            compare(keras, "UpSampling2D", x[2], size=factors[:2], interpolation=method, **layout)
        compare(keras, "ZeroPadding1D", x[1], padding=(2, 1), **layout)
        compare(keras, "Flatten", x[2], **layout)
    compare(keras, "Cropping1D", x[1], cropping=(1, 2))
    compare(keras, "UpSampling1D", x[1], size=3)


def test_reshaping(keras: Any) -> None:
    rng = np.random.default_rng(8)
    compare(keras, "Permute", normal(rng, 2, 3, 4, 5), dims=(3, 1, 2))
    compare(keras, "RepeatVector", normal(rng, 2, 3), n=4)
    compare(keras, "Reshape", normal(rng, 2, 3, 4), target_shape=(2, -1, 3))


def test_embedding(keras: Any) -> None:
    rng = np.random.default_rng(9)
    for length in (1, 7):
        theirs, ours = keras.layers.Embedding(13, 5, mask_zero=True), layers.Embedding(13, 5, mask_zero=True)
        ids, table = rng.integers(0, 13, (6, length)), normal(rng, 13, 5)
        theirs.build((None, length))
        theirs.set_weights([table])
        ours(ids)
        ours.set_weights([table])
        got = ours.forward(ids, training=True)
        dy = normal(rng, *got.shape)

        def objective(values: list[Any], layer: Any = theirs, z: Array = ids, slope: Array = dy) -> tuple[Any, Any]:
            y = layer.stateless_call(values, [], harness.tensor(z))[0]
            return keras.ops.sum(y * harness.tensor(slope)), y

        want, (slope,) = harness.gradients(objective)([table])
        assert_same(got, harness.numpy_of(want), "output")
        ours.backward(dy)
        assert_same(ours.embeddings.gradient, slope, "gradient")
        np.testing.assert_array_equal(
            ours.compute_mask(ids), harness.numpy_of(theirs.compute_mask(harness.tensor(ids)))
        )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_resizing(keras: Any, method: str, data_format: str) -> None:
    if method in METHODS[2:] and harness.BACKEND == "torch":
        pytest.skip(NOT_ON_TORCH)
    rng = np.random.default_rng(10)
    for _ in range(3):
        x = normal(rng, 2, *(int(v) for v in rng.integers(3, 13, 3)))
        new = {"height": int(rng.integers(2, 14)), "width": int(rng.integers(2, 14))}
        more = [
            {},
            {"antialias": True},
            {"crop_to_aspect_ratio": True},
            {"pad_to_aspect_ratio": True, "fill_value": 0.5},
        ]
        for options in more[: 1 if method == "nearest" else None]:
            compare(keras, "Resizing", x, CLOSE, interpolation=method, data_format=data_format, **new, **options)
        if method == "bilinear":
            compare(keras, "CenterCrop", x, data_format=data_format, **new)


def test_scales(keras: Any) -> None:
    rng = np.random.default_rng(11)
    x = normal(rng, 6, 4, 3)
    compare(keras, "Rescaling", x, scale=0.3, offset=-0.7)
    compare(keras, "Rescaling", x, scale=[0.3, 2.0, -1.0], offset=[0.0, 1.0, 2.0])
    data = 3 * normal(rng, 50, 4, 3) + 2
    for axis, invert in itertools.product((-1, 1, (1, 2), None), (False, True)):
        theirs, ours = (
            module.layers.Normalization(axis=axis, invert=invert) for module in (keras, __import__("fastnn"))
        )
        theirs.adapt(data)
        ours.adapt(data)
        assert_same(ours(x), harness.numpy_of(theirs(x)), f"{axis} {invert}")
    for axis, mean in ((-1, [1.0, 2.0, 3.0]), (1, 0.5), (None, 2.0)):
        compare(keras, "Normalization", x, axis=axis, mean=mean, variance=np.square(mean) + 0.5)


# Both libraries do the same to every image where the range of the random factor is one number.


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "reflect", "wrap"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
def test_maps(keras: Any, fill_mode: str, interpolation: str) -> None:
    rng = np.random.default_rng(12)
    options = {"fill_mode": fill_mode, "interpolation": interpolation, "fill_value": 0.5}
    for _ in range(2):
        x = normal(rng, 2, *(int(v) for v in rng.integers(4, 12, 2)), 2)
        a, b = (round(float(v), 3) for v in rng.uniform(-0.45, 0.45, 2))
        compare(keras, "RandomRotation", x, COORDINATES, True, factor=(a, a), **options)
        compare(keras, "RandomZoom", x, COORDINATES, True, height_factor=(a, a), width_factor=(b, b), **options)
        compare(keras, "RandomTranslation", x, COORDINATES, True, height_factor=(a, a), width_factor=(b, b), **options)
    first = {"data_format": "channels_first", **options}
    compare(keras, "RandomTranslation", x, COORDINATES, True, height_factor=(a, a), width_factor=(b, b), **first)


def test_brightness_and_contrast(keras: Any) -> None:
    rng = np.random.default_rng(13)
    x = normal(rng, 3, 5, 6, 2)
    for f in (-0.3, 0.2):
        compare(keras, "RandomBrightness", x, training=True, factor=(f, f), value_range=(-1, 0.75))
    u = rng.uniform(0, 1, 3).astype(np.float32)
    theirs = keras.layers.RandomContrast(0.5, value_range=(-1, 0.75))
    chosen = {"contrast_factor": harness.tensor((0.5 + u).reshape(3, 1, 1, 1))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "random_uniform", lambda *_: u)
        layer = layers.RandomContrast(0.5, value_range=(-1, 0.75))
        compare_function(lambda z: theirs.transform_images(z, chosen), layer, x, "contrast")


def test_erased_places(keras: Any) -> None:
    """The same numbers choose the same rectangle."""
    rng = np.random.default_rng(14)
    layer = keras.layers.RandomErasing(scale=(0.1, 0.4), fill_value=0)
    u = rng.uniform(0, 1, (200, 8)).astype(np.float32)
    u[:, 4:6] = 0
    share = np.sqrt(0.1 + u[:, :2] * 0.3)
    starts = u[:, 2:4] * ([9, 7] - share * [9, 7])
    ends = starts + share * [9, 7]
    corners = [starts[:, 1], ends[:, 1], starts[:, 0], ends[:, 0]]
    want = harness.numpy_of(
        layer._generate_batch_mask((200, 9, 7, 1), [harness.tensor(np.asarray(c, np.float32)) for c in corners])
    )
    got = np.zeros((200, 9, 7, 1), bool)
    for i, (top, bottom, left, right) in enumerate(ops.random_rectangles(u, (9, 7), area=(0.1, 0.4))):
        got[i, top:bottom, left:right] = True
    assert (got == want).mean() > 0.999  # a corner within rounding of a pixel may fall on either side
