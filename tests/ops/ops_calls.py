"""One call or more of every op, as data: run by the kernels or by the float64 twin, and large enough for several threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import config, ops, reference

Array = NDArray[Any]
Generator = np.random.Generator
Pair = tuple[int, int]

ALPHA = 0.3125  # a float32 number, so that kernel and twin have the same


def normal(rng: Generator, *shape: int) -> Array:
    """Return float32 normal numbers."""
    return rng.standard_normal(shape, np.float32)


def uniform(rng: Generator, low: float, high: float, *shape: int) -> Array:
    """Return float32 numbers in [low, high)."""
    return rng.uniform(low, high, shape).astype(np.float32)


def double(x: Any) -> Any:
    """Return a float64 copy of a float32 array, a copy of any other array, anything else as it is."""
    if not isinstance(x, np.ndarray):
        return x
    return x.astype(np.float64) if x.dtype == np.float32 else x.copy()


def arrays_in(result: Any) -> list[Array]:
    """Return the arrays in a nest of tuples."""
    if isinstance(result, tuple):
        return [x for part in result for x in arrays_in(part)]
    return [result] if isinstance(result, np.ndarray) else []


@dataclass(frozen=True)
class Call:
    """A call of an op; `written` says which of its arguments, by position, and options, by name, it writes to."""

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    written: tuple[int | str, ...] = ()

    def run(self, module: Any = ops, convert: Callable[[Any], Any] = lambda x: x) -> list[Array]:
        """Return what the function of `module` returns, and copies of its arguments that it has written to."""
        copies = [a.copy() if i in self.written and a is not None else a for i, a in enumerate(self.args)]
        given: dict[int | str, Any] = {i: convert(a) for i, a in enumerate(copies)}
        options = {k: convert(v.copy()) if k in self.written else v for k, v in self.options.items()}
        result = getattr(module, self.op)(*given.values(), **options)
        given.update(options)
        return [*arrays_in(result), *(given[i] for i in self.written if given[i] is not None)]

    def twin(self) -> list[Array]:
        """Return the same from the twin in float64."""
        return self.run(reference, double)


def recorded(step: Callable[[], Any]) -> ops.Tape:
    """Return a tape with this step, which has happened once."""
    tape = ops.Tape()
    with tape:
        step()
    return tape


def lanes() -> int:
    """Return how many floats a vector of the instruction set in use has."""
    return {"baseline": 4, "avx2": 8, "avx512": 16, "amx": 16}[config.isa()]


def product_calls(rng: Generator) -> dict[str, Call]:
    """Return products: in place, packed because of many rows, a packed because of its stride, cut at k, transposed."""
    a, b, tall = normal(rng, 67, 1030), normal(rng, 1030, 131), normal(rng, 300, 129)
    square, wide, bias = normal(rng, 256, 256), normal(rng, 256, 411), normal(rng, 411)
    return {
        "gemm": Call("gemm", (normal(rng, 17, 300), normal(rng, 300, 170))),
        "gemm of one row": Call("gemm", (normal(rng, 1, 300), normal(rng, 300, 600))),
        "gemm of few rows": Call("gemm", (normal(rng, 5, 300), normal(rng, 300, 613)), {"bias": normal(rng, 613)}),
        "gemm of few rows, transposed": Call(
            "gemm", (normal(rng, 5, 301), normal(rng, 613, 301)), {"transpose_b": True}
        ),
        "gemm of some rows, transposed": Call(
            "gemm", (normal(rng, 45, 509), normal(rng, 613, 509)), {"transpose_b": True}
        ),
        "gemm of few rows, b large": Call("gemm", (normal(rng, 9, 1030), normal(rng, 1030, 2051))),
        "gemm of many rows": Call("gemm", (tall, normal(rng, 129, 37)), {"activation": "relu"}),
        "gemm cut at k": Call("gemm", (a, b), {"bias": normal(rng, 131), "activation": "tanh"}),
        "gemm of a bad stride": Call("gemm", (square, wide), {"bias": bias}),
        "gemm that sums over rows": Call("gemm", (tall, normal(rng, 300, 170)), {"transpose_a": True}),
        "gemm transposed": Call("gemm", (square, wide.T.copy()), {"transpose_a": True, "transpose_b": True}),
        "column_sums": Call("column_sums", (normal(rng, 611, 203),)),
        "dense_forward": Call("dense_forward", (tall, normal(rng, 129, 70), normal(rng, 70), "gelu")),
        "dense_forward of large weights": Call(
            "dense_forward", (normal(rng, 75, 1030), normal(rng, 1030, 1055), normal(rng, 1055), "relu")
        ),
        "dense_forward of one row, large weights": Call(
            "dense_forward", (normal(rng, 1, 1030), normal(rng, 1030, 1055))
        ),
        "dense_backward": Call(
            "dense_backward",
            (
                tall,
                normal(rng, 129, 70),
                normal(rng, 300, 70),
                np.zeros((129, 70), np.float32),
                np.zeros(70, np.float32),
            ),
            written=(3, 4),
        ),
    }


def geometry(
    strides: Pair = (1, 1),
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> dict[str, Any]:
    """Return the options of a convolution."""
    return {"strides": strides, "padding": padding, "dilation": dilation, "groups": groups}


Convolution = tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]  # x shape, kernel shape, options


def random_convolution(rng: Generator, largest: int) -> Convolution:
    """Return any convolution of images up to largest x largest that has at least one output pixel."""
    while True:
        image, window, strides, dilation, before, after = (
            [int(v) for v in rng.integers(low, high, 2)]
            for low, high in ((1, largest + 1), (1, 5), (1, 4), (1, 4), (0, 4), (0, 4))
        )
        groups, padding = int(rng.choice([1, 1, 2, 3])), [(before[i], after[i]) for i in (0, 1)]
        places = [ops.conv_output_size(image[i], window[i], strides[i], padding[i], dilation[i]) for i in (0, 1)]
        if min(places) >= 1:
            depth, outputs = int(rng.integers(1, 7)), groups * int(rng.integers(1, lanes() + 3))
            options = geometry(two(strides), (padding[0], padding[1]), two(dilation), groups)
            return (int(rng.integers(1, 6)), *image, groups * depth), (*window, depth, outputs), options


def two(pair: list[int]) -> Pair:
    return pair[0], pair[1]


CONVOLUTIONS: dict[str, Convolution] = {
    "stride 1": ((5, 19, 23, 7), (3, 5, 7, 18), geometry(padding=((1, 1), (2, 2)))),
    "pointwise": ((5, 17, 19, 20), (1, 1, 20, 33), geometry()),
    "strided": ((7, 21, 18, 6), (3, 2, 6, 35), geometry((2, 3), ((0, 2), (1, 0)), (2, 1))),
    "groups": ((6, 15, 14, 12), (2, 3, 4, 18), geometry((1, 1), ((1, 0), (1, 2)), (1, 1), 3)),
    "depthwise": ((6, 37, 29, 19), (3, 3, 1, 19), geometry((1, 2), groups=19)),
    "large filter": ((3, 7, 6, 90), (3, 3, 90, 300), geometry(padding=((1, 1), (1, 1)))),
    "strided, long rows": ((3, 20, 27, 18), (3, 4, 18, 21), geometry((2, 2), ((1, 1), (2, 1)))),
    "one channel, few filters": ((8, 28, 27, 1), (5, 5, 1, 6), geometry(padding=((1, 0), (1, 0)))),
    "larger filter": ((2, 5, 4, 320), (3, 3, 320, 370), geometry(padding=((1, 1), (1, 1)))),
    "gradient by tiles": ((7, 17, 19, 21), (3, 3, 21, 45), geometry(padding=((0, 1), (2, 0)))),
    "matrix tiles": ((3, 13, 17, 33), (3, 3, 33, 40), geometry(padding=((1, 1), (1, 1)))),
    "matrix tiles, two pixels": ((3, 12, 29, 32), (3, 3, 32, 15), geometry(padding=((1, 1), (1, 1)))),
    "matrix tiles that go on": ((5, 9, 8, 65), (3, 3, 65, 70), geometry(padding=((1, 1), (1, 1)))),
    "gradient by tiles, columns in parts": ((6, 13, 14, 130), (3, 3, 130, 70), geometry(padding=((1, 1), (1, 1)))),
}


def convolution_calls(rng: Generator, cases: dict[str, Convolution] = CONVOLUTIONS) -> dict[str, Call]:
    """Return the three products of every convolution."""
    calls: dict[str, Call] = {}
    for label, (x_shape, kernel_shape, options) in cases.items():
        x, kernel, bias = normal(rng, *x_shape), normal(rng, *kernel_shape), normal(rng, kernel_shape[3])
        dy = normal(rng, *ops.conv2d_forward(x, kernel, **options).shape)
        gradients = np.zeros(kernel_shape, np.float32), np.zeros(bias.shape, np.float32)
        calls |= {
            f"conv2d_forward {label}": Call("conv2d_forward", (x, kernel, bias), {"activation": "relu", **options}),
            f"conv2d_backward_input {label}": Call("conv2d_backward_input", (dy, kernel, x_shape), options),
            f"conv2d_backward_filter {label}": Call("conv2d_backward_filter", (x, dy, *gradients), options, (2, 3)),
        }
        if options["groups"] == 1:
            onto = {"onto": normal(rng, *x_shape), "relu_output": x, **options}
            calls[f"conv2d_backward_input {label} onto another"] = Call(
                "conv2d_backward_input", (dy, kernel, x_shape), onto, ("onto",)
            )
    return calls


Pooling = tuple[tuple[int, ...], dict[str, Any]]  # x shape, options


def pool(size: Pair, strides: Pair, padding: tuple[Pair, Pair] = ((0, 0), (0, 0))) -> dict[str, Any]:
    """Return the options of a pooling."""
    return {"pool_size": size, "strides": strides, "padding": padding}


def random_pooling(rng: Generator, largest: int) -> Pooling:
    """Return any pooling of images up to largest x largest whose windows all meet the image."""
    while True:
        image, size, strides = ([int(v) for v in rng.integers(1, high, 2)] for high in (largest + 1, 5, 6))
        padding = [(int(rng.integers(0, size[i])), int(rng.integers(0, size[i]))) for i in (0, 1)]
        places = [ops.conv_output_size(image[i], size[i], strides[i], padding[i]) for i in (0, 1)]
        meets = all((places[i] - 1) * strides[i] - padding[i][0] < image[i] for i in (0, 1))
        if min(places) >= 1 and meets:
            shape = (int(rng.integers(1, 4)), *image, int(rng.integers(1, 2 * lanes() + 3)))
            return shape, pool(two(size), two(strides), (padding[0], padding[1]))


POOLS: dict[str, Pooling] = {
    "apart": ((6, 24, 26, 19), pool((2, 2), (2, 2))),
    "overlapping": ((6, 21, 17, 18), pool((3, 2), (2, 1), ((1, 1), (0, 1)))),
    "gaps": ((7, 45, 50, 19), pool((2, 3), (3, 4), ((0, 1), (1, 0)))),
    "three wide": ((6, 22, 26, 20), pool((3, 3), (2, 2))),
    "large windows": ((3, 40, 37, 10), pool((17, 16), (2, 5))),
}


def pool_calls(rng: Generator, cases: dict[str, Pooling] = POOLS) -> dict[str, Call]:
    """Return pooling over windows that lie side by side, overlap, or leave gaps."""
    calls: dict[str, Call] = {}
    for label, (shape, options) in cases.items():
        x = normal(rng, *shape)
        y, index = ops.max_pool2d_forward(x, **options)
        dy = normal(rng, *y.shape)
        calls |= {
            f"max_pool2d_forward {label}": Call("max_pool2d_forward", (x,), options),
            f"max_pool2d_backward {label}": Call("max_pool2d_backward", (dy, index, shape), options),
            f"max_pool2d_backward {label} behind a relu": Call("max_pool2d_backward", (dy, index, shape, y), options),
            f"avg_pool2d_forward {label}": Call("avg_pool2d_forward", (x,), options),
            f"avg_pool2d_backward {label}": Call("avg_pool2d_backward", (dy, shape), options),
        }
    image, dy = normal(rng, 11, 13, 17, 35), normal(rng, 11, 35)
    return calls | {
        "global_average_pool2d_forward": Call("global_average_pool2d_forward", (image,)),
        "global_average_pool2d_backward": Call("global_average_pool2d_backward", (dy, image.shape)),
    }


def row_calls(rng: Generator, rows: int = 331, cols: int = 151) -> dict[str, Call]:
    """Return activations, softmax and dropout."""
    x, dy = normal(rng, rows, cols), normal(rng, rows, cols)
    y, counter = np.tanh(x), np.array([7], np.uint64)
    calls = {
        f"activation_forward {kind}": Call("activation_forward", (x, kind, ALPHA)) for kind in reference.ACTIVATIONS
    }
    calls |= {
        f"activation_backward {kind}": Call("activation_backward", (dy, x, y, kind, ALPHA))
        for kind in reference.ACTIVATIONS
    }
    sums = np.zeros(cols, np.float32)
    calls |= {
        f"activation_backward {kind} sums": Call("activation_backward", (dy, x, y, kind, ALPHA, sums), written=(5,))
        for kind in ("linear", "relu", "gelu")
    }
    return calls | {
        "softmax_forward": Call("softmax_forward", (x,)),
        "softmax_backward": Call("softmax_backward", (dy, ops.softmax_forward(x))),
        "dropout_forward": Call("dropout_forward", (x, 0.375, 2**40 + 1, 5, counter), written=(4,)),
        "dropout_backward": Call("dropout_backward", (dy, np.packbits(dy > 0), 0.375)),
    }


def rectifier_calls(rng: Generator, rows: int = 331, cols: int = 151) -> dict[str, Call]:
    """Return log-softmax, and rectifiers with more than one number."""
    x, dy, alpha = normal(rng, rows, cols), normal(rng, rows, cols), normal(rng, cols)
    narrow, slopes, counter = normal(rng, 21 * rows, 3), normal(rng, 3), np.array([7], np.uint64)
    clipping, random = (0.25, 1.5, 0.125), (0.125, 0.375, 2**40 + 1, 5)
    return {
        "log_softmax_forward": Call("log_softmax_forward", (x,)),
        "log_softmax_backward": Call("log_softmax_backward", (dy, ops.log_softmax_forward(x))),
        "clipped_relu_forward": Call("clipped_relu_forward", (x, *clipping)),
        "clipped_relu_backward": Call("clipped_relu_backward", (dy, x, *clipping)),
        "prelu_forward": Call("prelu_forward", (x, alpha)),
        "prelu_forward narrow": Call("prelu_forward", (narrow, slopes)),
        "prelu_backward": Call("prelu_backward", (dy, x, alpha)),
        "prelu_backward sums": Call("prelu_backward", (dy, x, alpha, np.zeros(cols, np.float32)), written=(3,)),
        "prelu_backward narrow": Call(
            "prelu_backward", (narrow[::-1].copy(), narrow, slopes, np.zeros(3, np.float32)), written=(3,)
        ),
        "random_relu_forward": Call("random_relu_forward", (x, *random, counter), written=(5,)),
        "random_relu_backward": Call("random_relu_backward", (dy, x, *random, counter)),
    }


def norm_calls(rng: Generator, shape: tuple[int, ...] = (9, 8, 7, 70)) -> dict[str, Call]:
    """Return batch normalization and its gradients."""
    channels = shape[-1]
    x, gamma, beta, mean = normal(rng, *shape), *(normal(rng, channels) for _ in range(3))
    variance, options = uniform(rng, 0.5, 2.0, channels), {"epsilon": 0.125}
    gradients = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    forward, backward = (x, gamma, beta, mean, variance), (x, normal(rng, *shape), gamma, mean, variance, *gradients)
    added: dict[str, Any] = {"residual": normal(rng, *shape), "relu": True}
    output, more = {"relu": True, "relu_y": normal(rng, *shape)}, (*backward, np.zeros(shape, np.float32))
    return {
        "batch_norm_forward": Call("batch_norm_forward", forward, {"momentum": 0.75, **options}, written=(3, 4)),
        "batch_norm_forward relu": Call(
            "batch_norm_forward", forward, {"momentum": 0.75, **options, "relu": True}, (3, 4)
        ),
        "batch_norm_forward added": Call("batch_norm_forward", forward, {"momentum": 0.75, **options, **added}, (3, 4)),
        "batch_norm_inference": Call("batch_norm_inference", forward, options),
        "batch_norm_inference added": Call("batch_norm_inference", forward, {**options, **added}),
        "batch_norm_backward relu": Call("batch_norm_backward", backward, {"relu": True, "beta": beta}, (5, 6)),
        "batch_norm_backward added": Call("batch_norm_backward", more, output, (5, 6, 7)),
        "batch_norm_backward two parts": Call(
            "batch_norm_backward", more, {**output, "more": normal(rng, *shape)}, (5, 6, 7)
        ),
        "batch_norm_backward fixed relu": Call(
            "batch_norm_backward", more, {**output, "fixed_statistics": True}, (5, 6, 7)
        ),
        "batch_norm_backward": Call("batch_norm_backward", backward, written=(5, 6)),
        "batch_norm_backward fixed": Call("batch_norm_backward", backward, {"fixed_statistics": True}, (5, 6)),
    }


def loss_calls(rng: Generator, rows: int = 523, cols: int = 37) -> dict[str, Call]:
    """Return losses on labels, on targets, with and without weights, and the counters of the metrics."""
    logits, weights = normal(rng, rows, cols), uniform(rng, 0.0, 2.0, rows)
    probs, targets = ops.softmax_forward(logits), ops.softmax_forward(normal(rng, rows, cols))
    labels, state, scale = rng.integers(0, cols, rows).astype(np.int32), np.array([3.0, 5.0]), {"scale": 0.25}
    column, truth = uniform(rng, 0.1, 0.9, 17 * rows, 1), uniform(rng, 0.0, 1.0, 17 * rows, 1)
    return {
        "softmax_cross_entropy labels": Call("softmax_cross_entropy", (logits, labels), scale),
        "softmax_cross_entropy targets": Call("softmax_cross_entropy", (logits, targets, weights), scale),
        "cross_entropy labels": Call("cross_entropy", (probs, labels, weights), scale),
        "cross_entropy targets": Call("cross_entropy", (probs, targets), scale),
        "squared_error": Call("elementwise_loss", ("squared_error", logits, targets, weights), scale),
        "absolute_error": Call("elementwise_loss", ("absolute_error", logits, targets), scale),
        "binary_crossentropy": Call("elementwise_loss", ("binary_crossentropy", column, truth), scale),
        "sigmoid_cross_entropy": Call("sigmoid_cross_entropy", (logits, targets, weights), scale),
        "mean_update": Call("mean_update", (logits, state), written=(1,)),
        "count sparse": Call("count_matches", ("sparse", logits, labels, state), written=(3,)),
        "count categorical": Call("count_matches", ("categorical", logits, targets, state), written=(3,)),
        "count binary": Call("count_matches", ("binary", probs, targets, state, 0.03125), written=(3,)),
    }


def element_loss_calls(rng: Generator, rows: int = 523, cols: int = 37) -> dict[str, Call]:
    """Return the losses of one prediction and one target, of whole rows, and what prepares targets and weights."""
    values, probs, truth = (
        normal(rng, rows, cols),
        uniform(rng, 0.1, 0.9, rows, cols),
        uniform(rng, 0.1, 0.9, rows, cols),
    )
    weights, labels = uniform(rng, 0.0, 2.0, rows), rng.integers(-1, 5, rows).astype(np.int32)
    scale: dict[str, Any] = {"scale": 0.25}
    many = uniform(rng, 0.0, 1.0, 20 * rows, cols)
    focal = {**scale, "gamma": 1.5, "class_weights": (0.25, 0.75)}
    calls = {
        f"elementwise_loss {kind}": Call(
            "elementwise_loss", (kind, probs, truth, weights), {**focal, "delta": 0.25, "sum_rows": i % 2 == 0}
        )
        for i, kind in enumerate(reference.ELEMENT_LOSSES)
    }
    return calls | {
        "sigmoid_focal": Call("sigmoid_focal", (values, truth, weights), focal),
        "softmax_focal": Call("softmax_focal", (values, truth, weights), {**scale, "alpha": 0.25, "gamma": 1.5}),
        "categorical_hinge": Call("categorical_hinge", (values, truth, weights), scale),
        "row_weights": Call("row_weights", (rows, weights), {"mean_of_one": True}),
        "row_weights labels": Call("row_weights", (rows, weights), {"labels": labels, "ignored": -1}),
        "smooth_targets": Call("smooth_targets", (many, 0.75, 0.125)),
        "signed_labels": Call("signed_labels", ((many > 0.5).astype(np.float32),)),
        "signed_labels others": Call("signed_labels", (many,)),
    }


def score_calls(rng: Generator, rows: int = 1523, cols: int = 37) -> dict[str, Call]:
    """Return what metrics are made of: every number per row, counts, the largest of rows."""
    pred, truth = uniform(rng, 0.0625, 0.9375, rows, cols), uniform(rng, 0.0625, 0.9375, rows, cols)
    labels, weights = rng.integers(0, cols, rows).astype(np.int32), uniform(rng, 0.0, 2.0, rows)
    levels, counts = np.array([0.25, 0.5], np.float32), np.zeros((1, 2, 3))
    kinds = [kind for kind in reference.ROW_SCORES if kind != "unlike_label"]
    return {
        **{f"score {kind}": Call("score_rows", (kind, pred, truth), {"k": 3, "smoothing": 0.0625}) for kind in kinds},
        **{f"score {kind} labels": Call("score_rows", (kind, pred, labels), {"k": 3}) for kind in reference.ROW_SCORES},
        "count_outcomes": Call("count_outcomes", (pred, labels, levels, counts, weights), written=(3,)),
        "keep_largest": Call("keep_largest", (pred, 3)),
        "count_pairs": Call("count_pairs", (pred, labels, np.zeros(cols**2 + 1)), {"classes": cols}, (2,)),
        "moments_update": Call("moments_update", (pred, truth, np.zeros((4, cols)), weights), written=(2,)),
    }


def optimizer_calls(rng: Generator, n: int = 30011) -> dict[str, Call]:
    """Return one step of every optimizer in every variant."""
    w, g, a, b = (normal(rng, n) for _ in range(4))
    v, c = a * a + 0.5, b * b
    lr, t, decay = np.array([0.0625], np.float32), np.array([4]), {"weight_decay": 0.125}
    rmsprop = {"rho": 0.875, "momentum": 0.5, "epsilon": 0.0625}
    adam = {"beta_1": 0.875, "beta_2": 0.96875, "epsilon": 0.0625}
    return {
        "sgd_step": Call("sgd_step", (w, g, lr), decay, (0,)),
        "momentum_step": Call("momentum_step", (w, g, a, lr), {"momentum": 0.875}, (0, 2)),
        "nesterov": Call("momentum_step", (w, g, a, lr), {"momentum": 0.875, "nesterov": True, **decay}, (0, 2)),
        "adagrad_step": Call("adagrad_step", (w, g, c, lr), {"epsilon": 0.0625, **decay}, (0, 2)),
        "rmsprop_step": Call("rmsprop_step", (w, g, v, None, None, lr), {**rmsprop, **decay}, (0, 2)),
        "rmsprop momentum": Call("rmsprop_step", (w, g, v, None, b, lr), rmsprop, (0, 2, 4)),
        "rmsprop centered": Call("rmsprop_step", (w, g, v, a / 4, b, lr), rmsprop, (0, 2, 3, 4)),
        "adam_step": Call("adam_step", (w, g, a, c, None, lr, t), {**adam, **decay}, (0, 2, 3)),
        "amsgrad": Call("adam_step", (w, g, a, c, v, lr, t), adam, (0, 2, 3, 4)),
    }


def adaptive_calls(rng: Generator, n: int = 30011) -> dict[str, Call]:
    """Return one step of the optimizers that come in one variant or two, with gradients that are scaled and cut for some."""
    w, g, a, b = (normal(rng, n) for _ in range(4))
    c, d, lr, t = a * a + 0.5, b * b, np.array([0.0625], np.float32), np.array([4])
    decay, factor = {"weight_decay": 0.125}, np.array([0.5], np.float32)
    moments = {"beta_1": 0.875, "beta_2": 0.96875, "epsilon": 0.0625}
    ftrl = {"l1": 0.5, "l2": 0.25, "shrinkage": 0.125, "beta": 0.5}
    adafactor = {"beta_2_decay": -0.5, "epsilon_1": 0.0625, "epsilon_2": 0.0625, "clip_threshold": 0.5, **decay}
    wide, wide_g, row, column = normal(rng, 3 * n), normal(rng, 3 * n), d + 1, normal(rng, 3) ** 2
    return {
        "adadelta_step": Call("adadelta_step", (w, g, c, d, lr), {"rho": 0.875, "epsilon": 0.0625, **decay}, (0, 2, 3)),
        "adamax_step": Call("adamax_step", (w, g, a, c, lr, t), {**moments, **decay}, (0, 2, 3)),
        "nadam_step": Call("nadam_step", (w, g, a, c, lr, t), {**moments, **decay}, (0, 2, 3)),
        "lamb_step": Call("lamb_step", (w, g, a, c, lr, t), {**moments, **decay, "limit": 0.5}, (0, 2, 3)),
        "lion_step": Call("lion_step", (w, g, a, lr), {"beta_1": 0.75, "beta_2": 0.875, "factor": factor}, (0, 2)),
        "ftrl_step": Call("ftrl_step", (w, g, c, a, lr), {"power": -0.5, **ftrl, **decay}, (0, 2, 3)),
        "ftrl of any power": Call("ftrl_step", (w, g, c, a, lr), {"power": -0.75, **ftrl}, (0, 2, 3)),
        "adafactor_step": Call("adafactor_step", (w, g, None, c, lr, t), {"shape": (n,), **adafactor}, (0, 3)),
        "adafactor of a matrix": Call(
            "adafactor_step", (wide, wide_g, row, column, lr, t), {"shape": (n, 3), **adafactor}, (0, 2, 3)
        ),
        "adafactor of matrices": Call(
            "adafactor_step",
            (wide, wide_g, np.ones(3, np.float32), row, lr, t),
            {"shape": (1, 3, n), **adafactor},
            (0, 2, 3),
        ),
        "sgd scaled and cut": Call("sgd_step", (w, g, lr), {"factor": factor, "limit": 0.25, **decay}, (0,)),
    }


def around_optimizer_calls(rng: Generator, n: int = 70011) -> dict[str, Call]:
    """Return what optimizers do around their steps."""
    g, m, u = (normal(rng, n) for _ in range(3))
    total, factor, squares = np.zeros(1), np.array([0.5], np.float32), np.array([4.0, 0.25, 9.0])
    none, t = np.zeros(1, np.float32), np.array([4])
    return {
        "muon_momentum": Call("muon_momentum", (g, m, u), {"momentum": 0.75, "factor": factor}, (1, 2)),
        "muon without nesterov": Call("muon_momentum", (g, m, u), {"momentum": 0.75, "nesterov": False}, (1, 2)),
        "prepare_gradient": Call("prepare_gradient", (g,), {"factor": factor, "limit": 0.5}),
        "dot": Call("dot", (g, m, total), written=(2,)),
        "clip_factors": Call("clip_factors", (squares, np.zeros(3, np.float32)), {"limit": 1.5, "scale": 0.5}, (1,)),
        "clip_factors joint": Call("clip_factors", (squares, none), {"limit": 1.5, "joint": True}, (1,)),
        "inverse_norm": Call("inverse_norm", (squares[:1], none), {"epsilon": 0.5}, (1,)),
        "take_rate": Call("take_rate", (np.arange(4, dtype=np.float32), np.array([2]), t, none), written=(3,)),
        "moving_average": Call("moving_average", (g, m, t), {"momentum": 0.75}, (1,)),
    }


def data_calls(rng: Generator, rows: int = 211, cols: int = 279) -> dict[str, Call]:
    """Return the ops that move data."""
    order, start, count = rng.permutation(rows), np.array([rows // 8]), rows - rows // 8
    numbers = rng.integers(-(2**31), 2**31, (rows, cols)).astype(np.int32)
    floats, pixels = normal(rng, rows, cols), numbers.astype(np.uint8)
    return {
        "gather_rows float32": Call("gather_rows", (floats, order, start, count)),
        "gather_rows scaled": Call("gather_rows", (floats, order, start, count), {"scale": 0.75}),
        "gather_rows uint8": Call("gather_rows", (pixels, None, start, count), {"scale": 1 / 256}),
        "gather_rows int32": Call("gather_rows", (numbers, order, start, count)),
        "store_rows": Call("store_rows", (floats[:count], np.zeros_like(floats), start), written=(1,)),
        "advance": Call("advance", (np.array([2**40]), 3), written=(0,)),
        "permute": Call("permute", (normal(rng, 3, rows, 2, cols), (0, 3, 2, 1))),
        "fill": Call("fill", (np.zeros((rows, cols), np.float32), 0.375), written=(0,)),
    }


def merge_calls(rng: Generator, rows: int = 211, cols: int = 279) -> dict[str, Call]:
    """Return what joins several arrays and takes them apart, also more of them than a kernel takes at once."""
    a, b, c = (normal(rng, rows, cols) for _ in range(3))
    many = [normal(rng, rows, cols) for _ in range(11)]
    unit, r = ops.unit_norm_forward(a)
    column, wide = normal(rng, rows, 1, 2), normal(rng, rows, cols, 2)
    left, right = normal(rng, 4, rows, 17), normal(rng, 4, 17, cols)
    return {
        "add": Call("add", (a, b)),
        "add weighted": Call("add", (a, b, c), {"weights": (0.25, -1.0, 3.0)}),
        "add many": Call("add", tuple(many)),
        "multiply": Call("multiply", (a, b, c)),
        "multiply many": Call("multiply", tuple(many)),
        "maximum": Call("maximum", (a, b)),
        "minimum": Call("minimum", tuple(many)),
        "extremum_backward": Call("extremum_backward", (c, np.maximum(a, b), a, b)),
        "extremum_backward many": Call("extremum_backward", (c, np.min(many, 0), *many)),
        "concatenate": Call("concatenate", (a, normal(rng, rows, 1), b)),
        "concatenate many": Call("concatenate", tuple(many), {"axis": 0}),
        "split": Call("split", (a, (1, cols - 1), 1)),
        "broadcast": Call("broadcast", (column, (rows, cols, 2))),
        "broadcast_backward": Call("broadcast_backward", (wide, (rows, 1, 2))),
        "batch_gemm": Call("batch_gemm", (left, right)),
        "unit_norm_forward": Call("unit_norm_forward", (a,)),
        "unit_norm_backward": Call("unit_norm_backward", (b, unit, r)),
    }


def all_calls() -> dict[str, Call]:
    """Return label -> call; every op is there at least once, with the same numbers every time."""
    from pooled_calls import pooled_calls  # here, because these are made of what this module has
    from regular_calls import regular_calls
    from shape_calls import augment_calls, shape_calls
    from window_calls import DEPTHWISE, transposed_calls, volume_calls

    rng = np.random.default_rng(7)
    calls: dict[str, Call] = {}
    for make in (product_calls, convolution_calls, pool_calls, row_calls, rectifier_calls):
        calls |= make(rng)
    for make in (
        norm_calls,
        loss_calls,
        element_loss_calls,
        score_calls,
        optimizer_calls,
        adaptive_calls,
        around_optimizer_calls,
        data_calls,
        merge_calls,
        regular_calls,
        shape_calls,
        augment_calls,
    ):
        calls |= make(rng)
    calls |= convolution_calls(rng, {f"depthwise, {label}": case for label, case in DEPTHWISE.items()})
    return calls | transposed_calls(rng, CONVOLUTIONS) | volume_calls(rng) | pooled_calls(rng)


SERIAL = (
    "mask_weights",
    "mean_update",
    "row_weights",
    "advance",
    "count_outcomes",
    "count_pairs",
    "moments_update",
    "clip_factors",
    "inverse_norm",
    "take_rate",
)  # the ops that never use a second thread
