"""Convolution layers: sizes, what the notes say of them, models made of them, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from errors import check
from gradcheck import normal
from tiny import Array, train
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers, ops
from fastnn.layers import (
    Conv1D,
    Conv1DTranspose,
    Conv2D,
    Conv2DTranspose,
    Conv3D,
    Conv3DTranspose,
    Dense,
    DepthwiseConv2D,
    Flatten,
    SeparableConv1D,
    SeparableConv2D,
)
from fastnn.utils import conv_output_size, receptive_field


def single(*shape: int, seed: int = 0) -> Array:
    return normal(*shape, seed=seed).astype(np.float32)


# ---------------------------------------------------------------- the notes


def test_filter_of_3_on_an_image_of_4() -> None:
    image, kernel = np.arange(16.0).reshape(1, 4, 4, 1), np.arange(1.0, 10.0).reshape(3, 3, 1, 1)
    for padding, size in ((0, 2), (1, 4)):
        layer = Conv2D(1, 3, padding=padding, use_bias=False)
        layer.build_for((None, 4, 4, 1))
        layer.kernel.assign(kernel)
        y = layer(image)
        assert y.shape == (1, size, size, 1)
        padded = np.pad(image[0, :, :, 0], padding)
        for p, q in np.ndindex(size, size):
            assert y[0, p, q, 0] == (padded[p : p + 3, q : q + 3] * kernel[:, :, 0, 0]).sum()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_size_of_the_output(stride: int) -> None:
    """(a - b) / c + 1 places, (a + 2 d - b) / c + 1 with padding; what is left over at the end is not used."""
    for a in range(1, 12):
        for b in range(1, 5):
            for d in range(3):
                if a + 2 * d < b:
                    with pytest.raises(ValueError, match="at least as large as the window"):
                        Conv1D(1, b, stride, d).compute_output_shape((None, a, 1))
                    continue
                shape = Conv1D(1, b, stride, d).compute_output_shape((None, a, 1))
                assert shape == (None, (a + 2 * d - b) // stride + 1, 1)


def test_output_size_by_counting() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        a, b, d, stride, dilation = (int(v) for v in rng.integers((1, 1, 0, 1, 1), (20, 6, 4, 5, 4)))
        last = dilation * (b - 1)
        places = sum(start + last < a + 2 * d for start in range(0, a + 2 * d, stride))
        if places:
            assert conv_output_size(a, b, d, stride, dilation) == places
        else:
            with pytest.raises(ValueError, match="conv_output_size: expected a window that fits into the padded input"):
                conv_output_size(a, b, d, stride, dilation)
    check(
        lambda: conv_output_size(4, 3, stride=0),
        ValueError,
        "conv_output_size: expected stride to be an integer >= 1, got 0",
    )


def test_receptive_field_by_hand_and_by_moving_pixels() -> None:
    x = Input((40, 40, 2))
    y = Conv2D(3, 3, activation="sigmoid", name="a")(x)  # 3, neighbors 1 apart
    y = Conv2D(3, (3, 5), strides=(2, 1), name="b")(y)  # 3 + 2 = 5 and 3 + 4 = 7, then 2 and 1 apart
    y = layers.AveragePooling2D(2, name="c")(y)  # 5 + 2 = 7 and 8, then 4 and 2 apart
    y = layers.Add(name="d")(
        [Conv2D(3, 3, padding="same", dilation_rate=(2, 1), name="e")(y), y]
    )  # 7 + 4 4 = 23, 8 + 2 2 = 12
    model = Model(x, Dense(1)(Flatten()(Conv2D(1, 1, name="f")(y))))
    fields = receptive_field(model)
    assert fields == {"a": (3, 3), "b": (5, 7), "c": (7, 8), "d": (23, 12), "e": (23, 12), "f": (23, 12)}
    features = Model(x, y)
    image = single(1, 40, 40, 2)
    middle = features.predict(image, verbose=0)[0, 4, 8]
    touched = np.zeros((40, 40), bool)
    for at in np.ndindex(40, 40):
        moved = image.copy()
        moved[0, at[0], at[1]] += 5
        touched[at] = (features.predict(moved, verbose=0)[0, 4, 8] != middle).any()
    spans = [int(np.ptp(np.flatnonzero(touched.any(axis=1 - axis)))) + 1 for axis in (0, 1)]
    assert tuple(spans) == fields["d"]


def test_receptive_field_of_a_transposed_convolution() -> None:
    model = Sequential(
        [
            Input((20, 2)),
            Conv1D(2, 3, strides=2, name="a"),
            Conv1DTranspose(2, 4, strides=2, name="b"),
            Conv1D(2, 3, name="c"),
        ]
    )
    assert receptive_field(model) == {"a": (3,), "b": (5,), "c": (7,)}


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
def test_transposed_is_the_adjoint(padding: str, strides: Any) -> None:
    """<conv(x), y> == <x, transposed(y)>, and the shapes go there and back."""
    x = single(2, 4 * strides[0], 5 * strides[1], 3)
    conv = Conv2D(6, (3, 4), strides, padding, use_bias=False)
    y = single(*conv(x).shape)
    transposed = Conv2DTranspose(3, (3, 4), strides, padding, use_bias=False)
    transposed.build_for((None, *y.shape[1:]))
    transposed.kernel.assign(conv.kernel.value)
    back = transposed(y)
    assert back.shape[1:] == transposed.compute_output_shape((None, *y.shape[1:]))[1:]
    if padding == "same":
        assert back.shape == x.shape
    reached = x[:, : back.shape[1], : back.shape[2]]  # by windows
    found, size = (
        float(np.vdot(reached.astype(np.float64), back)),
        float(np.linalg.norm(reached) * np.linalg.norm(back)),
    )
    assert float(np.vdot(conv(x).astype(np.float64), y)) == pytest.approx(found, abs=1e-6 * size)


def test_causal_convolution_sees_nothing_later() -> None:
    layer, x = Conv1D(4, 3, padding="causal", dilation_rate=2), single(1, 12, 3)
    before = layer(x)
    x[0, 7] += 1
    after = layer(x)
    assert before.shape == (1, 12, 4)
    assert_bits(after[:, :7], before[:, :7])
    changed = np.abs(after - before).max(axis=(0, 2)) > 0
    assert changed.tolist() == [t in (7, 9, 11) for t in range(12)]


def test_separable_is_depthwise_and_pointwise() -> None:
    x = single(2, 7, 6, 3)
    both = SeparableConv2D(5, (3, 2), (2, 1), "same", depth_multiplier=2, activation="tanh")
    y = both(x)
    apart, mixed = DepthwiseConv2D((3, 2), (2, 1), "same", 2, use_bias=False), Conv2D(5, 1, activation="tanh")
    mixed(apart(x))
    apart.set_weights([both.depthwise_kernel.value])
    mixed.set_weights([both.pointwise_kernel.value, single(5)])
    both.set_weights([*both.get_weights()[:2], mixed.get_weights()[1]])
    assert_bits(both(x), mixed(apart(x)))
    assert y.shape == (2, 4, 6, 5)


def test_axes_of_size_one() -> None:
    """A convolution over one axis is one over two axes of which one has a single row, and so on."""
    x = single(2, 9, 3)
    one, two, three = Conv1D(4, 3, 2), Conv2D(4, (1, 3), (1, 2)), Conv3D(4, (1, 1, 3), (1, 1, 2))
    y = one(x)
    for layer, image in ((two, x[:, None]), (three, x[:, None, None])):
        layer(image)
        for p, q in zip(layer.parameters, one.parameters, strict=True):
            p.assign(q.value.reshape(p.shape))
        assert_bits(layer(image).reshape(y.shape), y)


# ---------------------------------------------------------------- models


def sequences() -> Sequential:
    return Sequential(
        [
            Input((12, 3)),
            Conv1D(8, 3, padding="causal", activation="relu"),
            SeparableConv1D(8, 3, strides=2, activation="relu", depth_multiplier=2),
            Conv1D(6, 3, padding="same", groups=2, activation="relu"),
            Conv1DTranspose(4, 3, strides=2, activation="relu"),
            layers.DepthwiseConv1D(2, activation="relu"),
            Flatten(),
            Dense(3, "softmax"),
        ]
    )


def pictures() -> Sequential:
    return Sequential(
        [
            Input((8, 9, 3)),
            Conv2D(6, 3, activation="relu"),
            DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu"),
            SeparableConv2D(4, (2, 3), activation="relu"),
            Conv2DTranspose(5, 2, strides=2, output_padding=1, activation="relu"),
            Conv2D(5, 3, groups=5, strides=2, activation="relu"),
            layers.BatchNormalization(),
            Flatten(),
            Dense(3, "softmax"),
        ]
    )


def volumes() -> Sequential:
    return Sequential(
        [
            Input((5, 6, 7, 2)),
            Conv3D(4, 3, padding="same", activation="relu"),
            Conv3D(4, (1, 2, 2), strides=(1, 2, 1), activation="relu"),
            Conv3D(3, (2, 3, 3), dilation_rate=(2, 1, 1), activation="relu"),
            Conv3DTranspose(3, 2, strides=2, activation="relu"),
            Flatten(),
            Dense(3, "softmax"),
        ]
    )


MODELS: dict[str, Callable[[], Sequential]] = {"sequences": sequences, "pictures": pictures, "volumes": volumes}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def trained(make: Callable[[], Sequential], backend: str = "native", **options: Any) -> dict[str, Array]:
    config.set_seed(7)
    config.set_backend(backend)
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy", **options)
    x = single(40, *model.inputs[0].shape[1:])
    found = train(model, x, np.arange(40) % 3, epochs=2)
    config.set_backend("native")
    return found


@every_model
def test_replayed_and_eager_steps_have_the_same_bits(isa: str, make: Callable[[], Sequential]) -> None:
    config.set_num_threads(1)
    expected = trained(make, run_eagerly=True)
    for threads in (1, 2):
        config.set_num_threads(threads)
        found = trained(make)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_bits(found[name], value, f"{name}, {threads} threads")


@every_model
def test_kernels_and_twin_train_alike(make: Callable[[], Sequential]) -> None:
    native, twin = trained(make), trained(make, "numpy")
    for name, value in twin.items():
        np.testing.assert_allclose(native[name], value, rtol=1e-3, atol=2e-5, err_msg=name)


@every_model
def test_every_layer_is_recordable_and_takes_the_relu_before_it_where_it_can(make: Callable[[], Sequential]) -> None:
    model = make()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(single(4, *model.inputs[0].shape[1:]), np.arange(4) % 3)
    tape = next(reversed(model._steps._steps.values())).tape
    assert tape is not None
    slopes = tape.names().count("activation_backward")
    assert slopes == 2  # those before a transposed layer, and before Flatten or batch normalization


def test_free_sizes() -> None:
    """A fully convolutional model takes images of any size."""
    x = Input((None, None, 2))
    y = Conv2DTranspose(3, 2, strides=2)(SeparableConv2D(4, 3, strides=2, padding="same")(Conv2D(5, 3)(x)))
    assert y.shape == (None, None, None, 3)
    model = Model(x, y)
    for size in ((7, 9), (12, 4)):
        found = model.predict(single(3, *size, 2), verbose=0)
        assert found.shape == (3, *(2 * -(-(n - 2) // 2) for n in size), 3)
    with pytest.raises(
        ValueError, match=r"Conv2D 'conv2d.*': expected images at least as large as the window \(3, 3\)"
    ):
        model.predict(single(3, 2, 9, 2), verbose=0)


def test_no_gradient_is_computed_where_none_is_needed() -> None:
    kinds = [Conv1D(2, 3), Conv1DTranspose(2, 3), layers.DepthwiseConv1D(3), SeparableConv1D(2, 3)]
    for layer in kinds:
        layer.forward(single(2, 6, 3), training=True)
        layer.need_dx = False
        with ops.Tape() as tape:
            assert layer.backward(single(*layer.forward(single(2, 6, 3)).shape)) is None
        expected = 1 if isinstance(layer, SeparableConv1D) else 0  # between its two products
        assert tape.names().count("conv2d_backward_input") == expected
        layer.trainable = False
        with ops.Tape() as tape:
            assert layer.backward(single(*layer.forward(single(2, 6, 3)).shape)) is None
        assert not [name for name in tape.names() if "backward" in name]


def test_a_mean_over_a_convolution_without_batch_size_in_the_key() -> None:
    model = Sequential([Input((6, 5, 2)), DepthwiseConv2D(3), Flatten(), Dense(2)])
    model.compile("adam", "mse")
    x, y = single(10, 6, 5, 2), single(10, 2)
    losses = [model.train_on_batch(x[:n], y[:n]) for n in (10, 3, 10, 1)]
    assert np.isfinite(np.array(losses, np.float64)).all()


# ---------------------------------------------------------------- arguments and errors

ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "three sizes for two axes": (
        lambda: SeparableConv2D(3, (3, 3, 3), name="c"),
        ValueError,
        "SeparableConv2D 'c': expected kernel_size to be one integer or two, got (3, 3, 3) (tuple)",
    ),
    "two sizes for three axes": (
        lambda: Conv3D(3, (3, 3), name="c"),
        ValueError,
        "Conv3D 'c': expected kernel_size to be one integer or three, got (3, 3) (tuple)",
    ),
    "two sizes for one axis": (
        lambda: Conv1D(3, 3, strides=(1, 2), name="c"),
        ValueError,
        "Conv1D 'c': expected strides to be one integer, got (1, 2) (tuple)",
    ),
    "stride 0": (
        lambda: Conv2DTranspose(3, 3, strides=0, name="c"),
        ValueError,
        "Conv2DTranspose 'c': expected strides to be an integer >= 1, got 0",
    ),
    "half a pixel": (
        lambda: Conv1D(3, 2.5, name="c"),
        TypeError,
        "Conv1D 'c': expected kernel_size to be an integer >= 1, got 2.5 (float)",
    ),
    "a name for sizes": (
        lambda: Conv2D(3, "33", name="c"),
        ValueError,
        "Conv2D 'c': expected kernel_size to be one integer or two, got '33' (str)",
    ),
    "causal in two axes": (
        lambda: Conv2D(3, 3, padding="causal", name="c"),
        ValueError,
        "Conv2D 'c': expected padding to be one of 'valid', 'same', got 'causal'",
    ),
    "padding of other axes": (
        lambda: Conv3D(3, 3, padding=((1, 1), (1, 1)), name="c"),
        ValueError,
        "Conv3D 'c': expected padding to be (before, after) for each of 3 axes, got ((1, 1), (1, 1)) (tuple)",
    ),
    "output_padding": (
        lambda: Conv2DTranspose(3, 3, strides=(2, 1), output_padding=1, name="c"),
        ValueError,
        "Conv2DTranspose 'c': expected output_padding less than strides = (2, 1), got (1, 1)",
    ),
    "depth_multiplier": (
        lambda: DepthwiseConv2D(3, depth_multiplier=0, name="c"),
        ValueError,
        "DepthwiseConv2D 'c': expected depth_multiplier to be an integer >= 1, got 0",
    ),
    "no channel axis": (
        lambda: Sequential([Input((28,)), Conv1D(3, 3, name="c")]),
        ValueError,
        "Conv1D 'c': expected input of shape (N, ?, ?), got (N, 28); give the sequences a channel axis: x[..., None]",
    ),
    "free channels": (
        lambda: DepthwiseConv2D(3, name="c")(Input((5, 5, None))),
        ValueError,
        "DepthwiseConv2D 'c': expected a known number of channels, got (N, 5, 5, ?)",
    ),
    "too small": (
        lambda: Conv3D(3, 4, dilation_rate=(1, 2, 1), name="c")(Input((5, 6, 7, 2))),
        ValueError,
        "Conv3D 'c': expected volumes at least as large as the window (4, 4, 4) (dilation (1, 2, 1)), got input of shape "
        "(N, 5, 6, 7, 2); use padding='same' or fewer strided layers before it",
    ),
    "nothing left": (
        lambda: Conv1DTranspose(3, 2, padding=2, name="c")(Input((2, 2))),
        ValueError,
        "Conv1DTranspose 'c': expected less padding than the windows reach, got padding ((2, 2),) and input of shape "
        "(N, 2, 2); use padding='valid'",
    ),
    "groups": (
        lambda: Conv1D(4, 3, groups=2, name="c")(Input((5, 3))),
        ValueError,
        "Conv1D 'c': expected channels divisible by groups = 2, got (N, 5, 3)",
    ),
}


@pytest.mark.parametrize(("use", "error", "text"), ERRORS.values(), ids=ERRORS)
def test_errors(use: Callable[[], Any], error: type[Exception], text: str) -> None:
    check(use, error, text)
