"""Every layer that Keras has, too: its options and shapes, drawn from at random by test_parity_layers.py.

The lists need no other package, so that test_parity_complete.py can tell what is missing without them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from harness import BACKEND, LONG, Arguments, Array, Shape

from fastnn import activations

Shapes = Shape | list[Shape]
Options = dict[str, Sequence[Any]]


@dataclass(frozen=True)
class LayerCase:
    """What a layer is compared over.

    Args:
        shapes: of a sample (a list of shapes for several inputs), or functions from the arguments to such a shape.
        options: values to draw from, by argument.
        count: of configurations.
        valid: tells which values go together.
        lacking: tells what Keras on PyTorch does not have, or otherwise than on JAX.
        prepare: turns normal numbers into an input.
        check: more arguments of `harness.check_layer`.
    """

    shapes: Sequence[Shapes | Callable[[Arguments], Shapes]]
    options: Options = field(default_factory=dict)
    count: int = 6
    valid: Callable[[Arguments], bool] = lambda arguments: True
    lacking: Callable[[Arguments], bool] = lambda arguments: False
    prepare: Callable[[Array, Arguments], Array] | None = None
    check: dict[str, Any] = field(default_factory=dict)

    def allows(self, arguments: Arguments) -> bool:
        """Tell whether Keras can be compared with, on what it computes on here."""
        return self.valid(arguments) and not (BACKEND == "torch" and self.lacking(arguments))


FORMATS = ["channels_last", "channels_first"]
FLAGS = [False, True]
# Keras has no step and no sign; its tanh returns float32 whatever it is given, and is compared with PyTorch's.
NAMED = [name for name in activations.NAMES if name not in ("step", "sign", "gelu_tanh", "tanh")]
# Keras takes a softmax over the last axis, whatever the layout of the images is.
POINTWISE = [None, *(name for name in NAMED if "softmax" not in name and name not in ("hard_shrink", "sparse_sigmoid"))]


def image(*sizes: int, channels: int = 4) -> Callable[[Arguments], Shape]:
    """Return the shape of such an image in the layout that the arguments name."""

    def shape(arguments: Arguments) -> Shape:
        return (channels, *sizes) if arguments.get("data_format") == "channels_first" else (*sizes, channels)

    return shape


# ---------------------------------------------------------------- convolutions

SIZES: dict[int, Shape] = {1: (11,), 2: (9, 11), 3: (6, 7, 6)}
KERNELS: dict[int, list[Any]] = {1: [1, 2, 4, (3,)], 2: [1, 2, (3, 2), (2, 5)], 3: [1, 2, (3, 2, 1), (1, 2, 3)]}
STEPS: dict[int, list[Any]] = {1: [1, 1, 2, (3,)], 2: [1, 1, 2, (1, 3)], 3: [1, 1, 2, (1, 2, 3)]}
HOLES: dict[int, list[Any]] = {1: [1, 1, 2, (3,)], 2: [1, 1, 2, (2, 1)], 3: [1, 1, 2, (2, 1, 2)]}


def one_of_both(arguments: Arguments) -> bool:
    """Tell whether Keras takes the arguments: a stride or a dilation, and an output padding below the stride."""
    more = arguments.get("output_padding")
    strides = arguments["strides"]
    smallest = strides if isinstance(strides, int) else min(strides)
    return (strides == 1 or arguments["dilation_rate"] == 1) and (more is None or more < smallest)


def convolution(rank: int, paddings: Sequence[str] = ("valid", "same"), **more: Sequence[Any]) -> LayerCase:
    options: Options = {
        "kernel_size": KERNELS[rank],
        "strides": STEPS[rank],
        "padding": paddings,
        "data_format": FORMATS,
        "dilation_rate": HOLES[rank],
        "activation": POINTWISE,
        "use_bias": [True, True, False],
        **more,
    }
    check = {"tolerance": 2e-6, "steps": 10}
    return LayerCase([image(*SIZES[rank])], options, 12, one_of_both, check=check)


FILTERS: dict[str, Sequence[Any]] = {"filters": [2, 6], "groups": [1, 2]}
TRANSPOSED: dict[str, Sequence[Any]] = {"filters": [1, 3], "output_padding": [None, 0, 1]}
SEPARABLE: dict[str, Sequence[Any]] = {"filters": [1, 5], "depth_multiplier": [1, 2, 3]}
CONVOLUTIONS = {
    "Conv1D": convolution(1, ("valid", "same", "causal"), **FILTERS),
    "Conv2D": convolution(2, **FILTERS),
    "Conv3D": convolution(3, **FILTERS),
    "Conv1DTranspose": convolution(1, **TRANSPOSED),
    "Conv2DTranspose": convolution(2, **TRANSPOSED),
    "Conv3DTranspose": convolution(3, **TRANSPOSED),
    "DepthwiseConv1D": convolution(1, depth_multiplier=[1, 2, 3]),
    "DepthwiseConv2D": convolution(2, depth_multiplier=[1, 2, 3]),
    "SeparableConv1D": convolution(1, **SEPARABLE),
    "SeparableConv2D": convolution(2, **SEPARABLE),
}

# ---------------------------------------------------------------- pooling and shapes

POOLS: dict[int, list[Any]] = {1: [1, 2, (3,)], 2: [1, 2, (3, 2)], 3: [1, 2, (3, 2, 1)]}
POOL_STEPS: dict[int, list[Any]] = {1: [None, 1, (3,)], 2: [None, 1, (2, 3)], 3: [None, 1, (2, 1, 3)]}


def pooling(rank: int, average: bool = False) -> LayerCase:
    options: Options = {
        "pool_size": POOLS[rank],
        "strides": POOL_STEPS[rank],
        "padding": ["valid", "same"],
        "data_format": FORMATS,
    }
    shape = image(*range(7, 7 + rank), channels=3)
    # Keras on PyTorch averages over copies of the border, too: test_average_over_a_border in test_parity_torch.py.
    return LayerCase([shape], options, 10, lacking=lambda c: average and c["padding"] == "same")


def global_pooling(rank: int) -> LayerCase:
    return LayerCase([image(*range(3, 3 + rank))], {"data_format": FORMATS, "keepdims": FLAGS}, 4)


def sides(rank: int, *values: Any) -> list[Any]:
    """Return numbers of pixels to add or cut: of all sides, by axis, by side."""
    return [1, 2, tuple(range(rank)), tuple((i, 2 - i % 2) for i in range(rank)), *values]


POOLING = {f"MaxPooling{rank}D": pooling(rank) for rank in (1, 2, 3)}
POOLING |= {f"AveragePooling{rank}D": pooling(rank, average=True) for rank in (1, 2, 3)}
POOLING |= {f"Global{kind}Pooling{rank}D": global_pooling(rank) for rank in (1, 2, 3) for kind in ("Max", "Average")}

METHODS = ["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"]


def beyond_bilinear(arguments: Arguments) -> bool:
    """Tell what Keras on PyTorch has another curve for (-0.75 for -0.5), or none; test_parity_torch.py has the curve."""
    return arguments["interpolation"] in METHODS[2:]


SHAPES = {
    "ZeroPadding1D": LayerCase([image(5)], {"padding": [1, 2, (2, 1)], "data_format": FORMATS}),
    "ZeroPadding2D": LayerCase([image(5, 4)], {"padding": sides(2), "data_format": FORMATS}),
    "ZeroPadding3D": LayerCase([image(3, 4, 2)], {"padding": sides(3), "data_format": FORMATS}),
    "Cropping1D": LayerCase([(7, 3)], {"cropping": [1, 2, (2, 1), (0, 3)]}),
    "Cropping2D": LayerCase([image(5, 7)], {"cropping": sides(2), "data_format": FORMATS}),
    "Cropping3D": LayerCase([image(6, 5, 7)], {"cropping": sides(3), "data_format": FORMATS}),
    "UpSampling1D": LayerCase([(5, 3), (1, 2)], {"size": [1, 2, 3]}),
    "UpSampling2D": LayerCase(
        [image(3, 5), image(4, 1)],
        {"size": [2, 3, (1, 4), (3, 1)], "data_format": FORMATS, "interpolation": METHODS},
        10,
        lacking=beyond_bilinear,
    ),
    "UpSampling3D": LayerCase([image(3, 2, 4)], {"size": [1, 2, (3, 1, 2)], "data_format": FORMATS}),
    "Flatten": LayerCase([(5,), (3, 2, 5), (4, 1)], {"data_format": [None, *FORMATS]}),
    "Reshape": LayerCase([(3, 10), (2, 3, 5), (30,)], {"target_shape": [(5, -1, 2), (30,), (-1,), (3, 10)]}),
    "Permute": LayerCase([(3, 4, 5)], {"dims": [(3, 1, 2), (1, 2, 3), (2, 1, 3), (3, 2, 1)]}),
    "RepeatVector": LayerCase([(3,), (1,)], {"n": [1, 4]}, 4),
    "CenterCrop": LayerCase(
        [image(7, 8, channels=3)], {"height": [2, 7, 9], "width": [3, 8, 12], "data_format": FORMATS}
    ),
    "Resizing": LayerCase(
        [image(7, 5, channels=3), image(4, 11, channels=2)],
        {
            "height": [2, 6, 13],
            "width": [3, 7, 12],
            "interpolation": METHODS,
            "crop_to_aspect_ratio": [False, False, True],
            "pad_to_aspect_ratio": [False, False, True],
            "fill_mode": ["constant"],
            "fill_value": [0.0, 0.5],
            "antialias": FLAGS,
            "data_format": FORMATS,
        },
        24,
        # The two ratios exclude each other, and of equally near pixels either may be taken.
        lambda c: (
            not (c["crop_to_aspect_ratio"] and c["pad_to_aspect_ratio"])
            and (c["interpolation"] != "nearest" or not (c["antialias"] or c["crop_to_aspect_ratio"]))
        ),
        beyond_bilinear,
    ),
}

# ---------------------------------------------------------------- dense, activations, normalization, noise


def rows_of_zeros(x: Array, arguments: Arguments) -> Array:
    """Return x with some rows made of the value that is masked."""
    x[::2, 1::2] = arguments["mask_value"]
    return x


def ids(x: Array, arguments: Arguments) -> Array:
    """Return whole numbers below the number of rows."""
    return (np.abs(100 * x).astype(np.int64) % arguments["input_dim"]).astype(np.int64)


CENTERED: Options = {"epsilon": [1e-3, 1e-5, 0.1], "center": [True, True, False], "scale": [True, True, False]}
CORE = {
    "Dense": LayerCase(
        [(7,), (1,), (3, 4)], {"units": [1, 5, 17], "activation": [None, *NAMED], "use_bias": [True, False]}, 36
    ),
    "Activation": LayerCase([(3, 5)], {"activation": NAMED}, 2 * len(NAMED)),
    "Identity": LayerCase([(4, 3), (5,)], {}, 2),
    "ReLU": LayerCase([(4, 9)], {"max_value": [None, 1.25], "negative_slope": [0.0, 0.2], "threshold": [0.0, 0.4]}, 8),
    "LeakyReLU": LayerCase([(4, 9), (3,)], {"negative_slope": [0.3, 0.01, 0.0]}),
    "ELU": LayerCase([(4, 9), (3,)], {"alpha": [1.0, 0.5, 1.7]}),
    "PReLU": LayerCase([(4, 5, 2)], {"shared_axes": [None, [1, 2], [2], [1, 3], [1, 2, 3]]}),
    "Softmax": LayerCase([(4, 3, 5)], {"axis": [-1, 1, 2, (1, 2), (2, 3)]}),
    "Embedding": LayerCase(
        [(1,), (7,), (2, 3)], {"input_dim": [3, 13], "output_dim": [1, 5], "mask_zero": FLAGS}, prepare=ids
    ),
    "Masking": LayerCase([(4, 3), (5, 1)], {"mask_value": [0.0, -1.5]}, 4, prepare=rows_of_zeros),
    "ActivityRegularization": LayerCase([(5,), (2, 3)], {"l1": [0.0, 0.1], "l2": [0.0, 0.3]}, 4),
    "BatchNormalization": LayerCase(
        [(6,), (4, 5, 3), (3, 4, 5)],
        {"momentum": [0.99, 0.5], "axis": [-1, 1], **CENTERED, "synchronized": [False]},
        12,
        check={"tolerance": 3e-6, "batch": 7, "steps": 20},
    ),
    "LayerNormalization": LayerCase(
        [(4, 5, 3), (2, 3, 7)],
        {"axis": [-1, 1, 2, (1, 2), (2, 3), (1, 2, 3)], **CENTERED},
        12,
        # Keras on PyTorch fails on axes that are not the last: test_other_axes in test_parity_torch.py.
        lacking=lambda c: c["axis"] in (1, 2, (1, 2)),
        check={"tolerance": 4e-6},
    ),
    "GroupNormalization": LayerCase(
        [(6, 4, 12), (12, 6)],
        {"groups": [1, 2, 3, -1], "axis": [-1, 1], **CENTERED},
        12,
        check={"tolerance": LONG},  # a group of one pixel has variance 0, and 1 / epsilon is multiplied
    ),
    "RMSNormalization": LayerCase(
        [(4, 5, 3), (2, 3, 7)],
        {"axis": [-1, 3, (2, 3), (1, 2, 3)], "epsilon": [1e-6, 1e-3, 0.1]},
        8,
        check={"tolerance": 4e-6},
    ),
    "UnitNormalization": LayerCase([(4, 5, 3)], {"axis": [-1, 1, (1, 2), (2, 3)]}, 4, check={"tolerance": 3e-6}),
}
# What is drawn in training are other numbers: without it they are the same, and the table of test_parity_complete.py says what
# tests the rest.
ASIDE = {"training": False}
NOISE = {
    "Dropout": LayerCase([(6, 5), (4, 3, 2)], {"rate": [0.0, 0.3]}, 4, check=ASIDE),
    "AlphaDropout": LayerCase([(6, 5)], {"rate": [0.0, 0.3], "noise_shape": [None, [None, 1, 5]]}, 4, check=ASIDE),
    "GaussianDropout": LayerCase([(6, 5)], {"rate": [0.1, 0.3]}, 2, check=ASIDE),
    "GaussianNoise": LayerCase([(6, 5)], {"stddev": [0.0, 0.3]}, 2, check=ASIDE),
    "SpatialDropout1D": LayerCase([(6, 5)], {"rate": [0.0, 0.3]}, 2, check=ASIDE),
    "SpatialDropout2D": LayerCase([(6, 5, 2)], {"rate": [0.0, 0.3], "data_format": FORMATS}, 4, check=ASIDE),
    "SpatialDropout3D": LayerCase([(6, 5, 3, 2)], {"rate": [0.0, 0.3], "data_format": FORMATS}, 4, check=ASIDE),
    "RandomFlip": LayerCase([(6, 5, 3)], {"mode": ["horizontal", "vertical"], "data_format": FORMATS}, 2, check=ASIDE),
}

# ---------------------------------------------------------------- images, at a factor that is one number


FILLS: Options = {
    "fill_mode": ["constant", "nearest", "reflect", "wrap"],
    "interpolation": ["nearest", "bilinear"],
    "fill_value": [0.0, 0.5],
}
FACTORS = [(a, a) for a in (-0.45, -0.213, 0.107, 0.4)]
COORDINATES = {"tolerance": 2e-5}  # Keras computes the places of pixels in float32
IMAGES = {
    "RandomRotation": LayerCase([(7, 5, 2), (6, 11, 1)], {"factor": FACTORS, **FILLS}, 12, check=COORDINATES),
    "RandomZoom": LayerCase(
        [(7, 5, 2), (6, 11, 1)],
        {"height_factor": FACTORS, "width_factor": [None, *FACTORS], **FILLS},
        12,
        check=COORDINATES,
    ),
    "RandomTranslation": LayerCase(
        [image(7, 5, channels=2), image(6, 11, channels=1)],
        {"height_factor": FACTORS, "width_factor": FACTORS, **FILLS, "data_format": FORMATS},
        12,
        check=COORDINATES,
    ),
    "RandomBrightness": LayerCase(
        [(5, 6, 2)], {"factor": [(-0.3, -0.3), (0.2, 0.2)], "value_range": [(-1, 0.75), (0, 255)]}, 4
    ),
    "Rescaling": LayerCase(
        [(4, 3), (2, 5, 3)], {"scale": [0.3, -2.0, [0.3, 2.0, -1.0]], "offset": [0.0, -0.7, [0.0, 1.0, 2.0]]}
    ),
    "Normalization": LayerCase(
        [(4, 3), (4, 5, 3)],
        {
            "axis": [-1, -1, None, 1],
            "mean": [0.5, -1.0, [1.0, 2.0, 3.0]],
            "variance": [0.3, 4.0, [0.5, 1.0, 2.0]],
            "invert": FLAGS,
        },
        12,
        lambda c: (
            isinstance(c["mean"], list) == isinstance(c["variance"], list)
            and (c["axis"] == -1 or isinstance(c["mean"], float))
        ),
    ),
}

# ---------------------------------------------------------------- merging

ALIKE: list[Any] = [[(3, 2), (3, 2)], [(4, 3)] * 5, [(4, 1, 3), (1, 2, 3), (4, 2, 1)]]
JOINED: dict[int, list[Shape]] = {
    -1: [(3, 2), (3, 5), (3, 1)], 1: [(2, 3), (5, 3)], -2: [(2, 3, 4)] * 3, 2: [(2, 3, 4), (2, 1, 4)],
}  # fmt: skip
DOTTED: dict[Any, list[Shape]] = {
    1: [(5,), (5,)], (2, 1): [(4, 5), (5, 3)], (1, 2): [(5, 4), (3, 5)], -1: [(4, 5), (3, 5)], 2: [(4, 5), (3, 5)],
}  # fmt: skip
MERGES = {cls: LayerCase(ALIKE, count=3) for cls in ("Add", "Average", "Multiply", "Maximum", "Minimum")}
MERGES["Subtract"] = LayerCase([[(3, 5), (3, 5)], [(1, 5), (4, 1)]], count=2)
MERGES["Concatenate"] = LayerCase([lambda c: JOINED[c["axis"]]], {"axis": list(JOINED)}, 4)
MERGES["Dot"] = LayerCase([lambda c: DOTTED[c["axes"]]], {"axes": list(DOTTED), "normalize": FLAGS}, 10)

LAYERS: dict[str, LayerCase] = {**CORE, **CONVOLUTIONS, **POOLING, **SHAPES, **NOISE, **IMAGES, **MERGES}
