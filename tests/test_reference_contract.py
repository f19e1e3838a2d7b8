"""What holds for every function of the NumPy twin: dtypes, precision, empty batches, inputs left alone."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import normal

from fastnn import reference as ref
from fastnn.reference.shapes import Taps

# float32 against float64 on numbers of size 1: some tens of roundings of 6e-8.
SINGLE = {"rtol": 2e-5, "atol": 2e-5}


class Inputs:
    """Arrays of one dtype and batch size n: what a function reads is read-only, so that writing to it is an error."""

    def __init__(self, n, dtype):
        self.n, self.dtype = n, dtype
        self.rows, self.kernel, self.bias = self.read(n, 3), self.read(3, 2), self.read(2)
        self.image, self.filters, self.out = self.read(n, 4, 5, 2), self.read(3, 2, 2, 2), self.read(n, 2, 4, 2)
        self.dy, self.truth = self.read(n, 2), self.read(n, 3, seed=1)
        self.probs, self.gamma = self.read(n, 3, low=0.1, high=0.9), self.read(2, low=0.5, high=2)
        self.a, self.b, self.c, self.w = (self.written(3, 2) for _ in range(4))

    def read(self, *shape, seed=0, low=-np.inf, high=np.inf):
        x = np.clip(normal(*shape, seed=seed), low, high).astype(self.dtype)
        x.flags.writeable = False
        return x

    def written(self, *shape):
        return np.full(shape, 0.5, self.dtype)


CONV = {"strides": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}
POOL = {"pool_size": (3, 2), "strides": (1, 1)}
NORM = {"momentum": 0.9, "epsilon": 0.1}


def dense_calls(i):
    dfilters = i.written(3, 2, 2, 2)
    return {
        "gemm": lambda: ref.gemm(i.rows, i.kernel, bias=i.bias, activation="elu", alpha=0.5),
        "column_sums": lambda: ref.column_sums(i.rows),
        "dense_forward": lambda: ref.dense_forward(i.rows, i.kernel, i.bias, "gelu"),
        "dense_backward": lambda: (ref.dense_backward(i.rows, i.kernel, i.dy, i.a, i.b[0]), i.a, i.b),
        "conv2d_forward": lambda: ref.conv2d_forward(i.image, i.filters, i.bias, activation="silu"),
        "conv2d_backward_input": lambda: ref.conv2d_backward_input(i.out, i.filters, i.image.shape, **CONV),
        "conv2d_backward_filter": lambda: (
            ref.conv2d_backward_filter(i.image, i.out, dfilters, i.a[0], **CONV),
            dfilters,
            i.a,
        ),
    }


def window_calls(i):
    volume, kernel, dkernel = i.image[:, None], i.filters[None], i.written(1, 3, 2, 2, 2)
    size, out, pooled = i.image.shape[1:3], i.out[:, None], {"pool_size": (1, 2), **CONV}
    y, index = ref.max_pooled_conv2d_forward(i.image, i.filters, **pooled)
    dy = i.read(*y.shape, seed=2)
    return {
        "conv2d_transpose_forward": lambda: ref.conv2d_transpose_forward(i.out, i.filters, size, i.bias, **CONV),
        "max_pooled_conv2d_forward": lambda: ref.max_pooled_conv2d_forward(i.image, i.filters, i.bias, **pooled),
        "max_pooled_conv2d_backward_input": lambda: ref.max_pooled_conv2d_backward_input(
            dy, index, None, i.filters, i.image.shape, **pooled
        ),
        "max_pooled_conv2d_backward_filter": lambda: (
            ref.max_pooled_conv2d_backward_filter(i.image, dy, index, None, dkernel[0], i.a[0], **pooled),
            dkernel,
            i.a,
        ),
        "conv3d_forward": lambda: ref.conv3d_forward(volume, kernel, i.bias, activation="tanh"),
        "conv3d_backward_input": lambda: ref.conv3d_backward_input(out, kernel, volume.shape),
        "conv3d_backward_filter": lambda: (ref.conv3d_backward_filter(volume, out, dkernel, i.a[0]), dkernel, i.a),
        "conv3d_transpose_forward": lambda: ref.conv3d_transpose_forward(out, kernel, (1, *size), i.bias),
    }


def layer_calls(i):
    shape, dy, index = i.image.shape, i.read(*i.image.shape, seed=1), ref.max_pool2d_forward(i.image, **POOL)[1]
    counter = np.array([3], np.uint64)
    return {
        "max_pool2d_forward": lambda: ref.max_pool2d_forward(i.image, **POOL),
        "max_pool2d_backward": lambda: ref.max_pool2d_backward(i.out, index, shape, **POOL),
        "avg_pool2d_forward": lambda: ref.avg_pool2d_forward(i.image, **POOL),
        "avg_pool2d_backward": lambda: ref.avg_pool2d_backward(i.out, shape, **POOL),
        "global_average_pool2d_forward": lambda: ref.global_average_pool2d_forward(i.image),
        "global_average_pool2d_backward": lambda: ref.global_average_pool2d_backward(i.dy, shape),
        "activation_forward": lambda: [ref.activation_forward(i.rows, kind, 0.3) for kind in ref.ACTIVATIONS],
        "activation_backward": lambda: [
            ref.activation_backward(i.truth, i.rows, i.probs, kind, 0.3) for kind in ref.ACTIVATIONS
        ],
        "softmax_forward": lambda: ref.softmax_forward(i.rows),
        "softmax_backward": lambda: ref.softmax_backward(i.truth, i.probs),
        "batch_norm_forward": lambda: (
            ref.batch_norm_forward(i.image, i.gamma, i.bias, i.a[0], i.b[0], **NORM),
            i.a,
            i.b,
        ),
        "batch_norm_inference": lambda: ref.batch_norm_inference(i.image, None, i.bias, i.bias, i.gamma, epsilon=0.1),
        "batch_norm_backward": lambda: (
            ref.batch_norm_backward(i.image, dy, i.gamma, i.bias, i.gamma, i.a[0], i.b[0]),
            i.a,
            i.b,
        ),
        "dropout_forward": lambda: ref.dropout_forward(i.rows, 0.3, 1, 2, counter.copy()),
        "dropout_backward": lambda: ref.dropout_backward(i.rows, np.packbits(i.rows > 0), 0.3),
    }


def rectifier_calls(i):
    counter, slopes, random = np.array([3], np.uint64), np.zeros(i.rows.shape[1], i.dtype), (0.1, 0.4, 1, 2)
    weights, labels = i.probs[:, 0], np.zeros(i.n, np.int32)
    focal = {"gamma": 1.5, "scale": 0.3}
    return {
        "log_softmax_forward": lambda: ref.log_softmax_forward(i.rows),
        "log_softmax_backward": lambda: ref.log_softmax_backward(i.truth, i.rows),
        "clipped_relu_forward": lambda: [ref.clipped_relu_forward(i.rows, slope, 0.5, 0.1) for slope in (0.0, 0.3)],
        "clipped_relu_backward": lambda: ref.clipped_relu_backward(i.truth, i.rows, 0.3, 0.5, 0.1),
        "prelu_forward": lambda: ref.prelu_forward(i.rows, i.read(3)),
        "prelu_backward": lambda: (ref.prelu_backward(i.truth, i.rows, i.read(3), slopes), slopes),
        "random_relu_forward": lambda: ref.random_relu_forward(i.rows, *random, counter.copy()),
        "random_relu_backward": lambda: ref.random_relu_backward(i.truth, i.rows, *random, counter),
        "sigmoid_focal": lambda: ref.sigmoid_focal(i.rows, i.truth, weights, class_weights=(0.3, 0.7), **focal),
        "softmax_focal": lambda: ref.softmax_focal(i.rows, i.truth, weights, alpha=0.3, **focal),
        "categorical_hinge": lambda: ref.categorical_hinge(i.rows, i.truth, weights, scale=0.3),
        "row_weights": lambda: [
            ref.row_weights(i.n, weights, mean_of_one=m, labels=labels, ignored=1) for m in (False, True)
        ],
        "smooth_targets": lambda: ref.smooth_targets(i.truth, 0.9, 0.1),
        "signed_labels": lambda: ref.signed_labels(i.truth),
    }


def training_calls(i):
    state, weights, labels = np.zeros(2), i.probs[:, 0], np.zeros(i.n, np.int32)
    lr, position, decay = np.array([0.1], i.dtype), np.array([0]), {"epsilon": 0.1, "weight_decay": 0.1}
    a, b, c, w, g = i.a, i.b, i.c, i.w, i.kernel
    return {
        "softmax_cross_entropy": lambda: ref.softmax_cross_entropy(i.rows, labels, weights, scale=0.3),
        "cross_entropy": lambda: ref.cross_entropy(i.probs, i.truth, weights, scale=0.3),
        "elementwise_loss": lambda: [
            ref.elementwise_loss(kind, i.probs, i.probs[:, ::-1], weights, scale=0.3) for kind in ref.ELEMENT_LOSSES
        ],
        "sigmoid_cross_entropy": lambda: ref.sigmoid_cross_entropy(i.rows, i.truth, weights, scale=0.3),
        "mean_update": lambda: ref.mean_update(i.rows, state),
        "count_matches": lambda: ref.count_matches("categorical", i.rows, i.truth, state),
        "sgd_step": lambda: (ref.sgd_step(w, g, lr, weight_decay=0.1), w),
        "momentum_step": lambda: (ref.momentum_step(w, g, a, lr, momentum=0.9, nesterov=True), w, a),
        "adagrad_step": lambda: (ref.adagrad_step(w, g, a, lr, **decay), w, a),
        "rmsprop_step": lambda: (ref.rmsprop_step(w, g, a, b, c, lr, rho=0.9, momentum=0.9, **decay), w, a, b, c),
        "adam_step": lambda: (
            ref.adam_step(w, g, a, b, c, lr, np.array([3]), beta_1=0.9, beta_2=0.99, **decay),
            w, a, b, c,
        ),
        "gather_rows": lambda: ref.gather_rows(i.rows, np.arange(i.n), position, i.n, scale=0.1),
        "store_rows": lambda: (ref.store_rows(g, a, position), a),
        "advance": lambda: ref.advance(np.array([3]), 2),
        "permute": lambda: ref.permute(i.image, (0, 3, 1, 2)),
        "fill": lambda: (ref.fill(a, 0.1), a),
    }  # fmt: skip


def optimizer_calls(i):
    lr, t, g = np.array([0.1], i.dtype), np.array([3]), i.kernel
    moments = {"beta_1": 0.9, "beta_2": 0.99, "epsilon": 0.1, "weight_decay": 0.1}
    factor, squares, rates = np.array([0.5], i.dtype), np.array([4.0]), np.arange(3).astype(i.dtype)
    adafactor = {"beta_2_decay": -0.8, "epsilon_1": 0.1, "epsilon_2": 0.1, "clip_threshold": 0.5, "weight_decay": 0.1}
    ftrl = {"power": -0.5, "l1": 0.1, "l2": 0.2, "shrinkage": 0.3, "beta": 0.4}
    a, b, w = i.a, i.b, i.w
    return {
        "prepare_gradient": lambda: ref.prepare_gradient(g, factor=factor, limit=0.3),
        "adadelta_step": lambda: (ref.adadelta_step(w, g, a, b, lr, rho=0.9, epsilon=0.1), w, a, b),
        "adafactor_step": lambda: (
            ref.adafactor_step(w, g, a[:, 0].copy(), b[0], lr, t, shape=(3, 2), **adafactor),
            ref.adafactor_step(w, g, None, a, lr, t, shape=(6,), **adafactor),
            w, a, b,
        ),
        "adamax_step": lambda: (ref.adamax_step(w, g, a, b, lr, t, **moments), w, a, b),
        "ftrl_step": lambda: (ref.ftrl_step(w, g, a, b, lr, **ftrl), w, a, b),
        "lamb_step": lambda: (ref.lamb_step(w, g, a, b, lr, t, **moments), w, a, b),
        "lion_step": lambda: (ref.lion_step(w, g, a, lr, beta_1=0.9, beta_2=0.99), w, a),
        "nadam_step": lambda: (ref.nadam_step(w, g, a, b, lr, t, **moments), w, a, b),
        "muon_momentum": lambda: (ref.muon_momentum(g, a, b, momentum=0.9), a, b),
        "dot": lambda: ref.dot(g, a, np.zeros(1)),
        "clip_factors": lambda: (ref.clip_factors(squares, factor, limit=0.5), factor),
        "inverse_norm": lambda: (ref.inverse_norm(squares, factor, epsilon=0.1), factor),
        "take_rate": lambda: (ref.take_rate(rates, np.array([2]), t, factor), factor),
        "moving_average": lambda: (ref.moving_average(w, a, t, momentum=0.9), a),
    }  # fmt: skip


def score_calls(i):
    labels, levels, counts = np.zeros(i.n, np.int32), np.array([0.5], np.float32), np.zeros((1, 2, 2))
    return {
        "score_rows": lambda: [ref.score_rows(kind, i.probs, labels, k=1) for kind in ref.ROW_SCORES],
        "count_outcomes": lambda: ref.count_outcomes(i.probs, labels, levels, counts, i.probs[:, 0]),
        "keep_largest": lambda: np.maximum(ref.keep_largest(i.rows, 2), 0),
        "count_pairs": lambda: ref.count_pairs(i.probs, labels, np.zeros(10), classes=3),
        "moments_update": lambda: ref.moments_update(i.probs, i.truth, np.zeros((4, 3))),
    }


def merge_calls(i):
    top, pairs = np.maximum(i.rows, i.truth), (i.read(i.n, 4, 3), i.read(i.n, 3, 2))
    unit, r = ref.unit_norm_forward(i.probs)
    return {
        "add": lambda: (ref.add(i.rows, i.truth, weights=(0.5, -1.0)), ref.add(i.a, i.b, out=i.a)),
        "multiply": lambda: ref.multiply(i.rows, i.truth),
        "maximum": lambda: ref.maximum(i.rows, i.truth),
        "minimum": lambda: ref.minimum(i.rows, i.truth),
        "extremum_backward": lambda: ref.extremum_backward(i.probs, top, i.rows, i.truth),
        "concatenate": lambda: ref.concatenate(i.rows, i.dy),
        "split": lambda: ref.split(i.rows, (1, 2)),
        "broadcast": lambda: ref.broadcast(i.dy[:, None], (i.n, 4, 2)),
        "broadcast_backward": lambda: ref.broadcast_backward(i.image, (i.n, 1, 5, 1)),
        "batch_gemm": lambda: ref.batch_gemm(*pairs),
        "unit_norm_forward": lambda: ref.unit_norm_forward(i.probs),
        "unit_norm_backward": lambda: ref.unit_norm_backward(i.truth, unit, r),
    }


def regular_calls(i):
    counter, image = np.array([3], np.uint64), i.read(*i.image.shape, seed=1)
    mean, rstd = i.read(i.n), i.read(i.n, low=0.5, high=2)
    means, rstds = i.read(i.n, 2), i.read(i.n, 2, low=0.5, high=2)
    return {
        "penalty": lambda: ref.penalty(i.rows, 0.1, 0.2, np.zeros(2), dy=i.truth, need_gradient=True),
        "clip_norms": lambda: (ref.clip_norms(i.a, (0,), 0.1, 0.2), i.a),
        "clip_negative": lambda: (ref.clip_negative(i.b), i.b),
        "layer_norm_forward": lambda: ref.layer_norm_forward(i.dy, i.gamma, i.bias, epsilon=0.1),
        "layer_norm_backward": lambda: (
            ref.layer_norm_backward(i.dy, i.read(i.n, 2, seed=1), i.gamma, mean, rstd, i.a[0], i.b[0]),
            i.a,
            i.b,
        ),
        "group_norm_forward": lambda: ref.group_norm_forward(i.image, i.gamma, i.bias, 2, epsilon=0.1),
        "group_norm_backward": lambda: (
            ref.group_norm_backward(i.image, image, i.gamma, means, rstds, i.a[0], i.b[0]),
            i.a,
            i.b,
        ),
        "random_keep": lambda: ref.random_keep((3, 4), 0.5, 1, 2, counter.copy()).astype(i.dtype),
        "apply_keep": lambda: ref.apply_keep(i.rows, np.eye(1, 3).astype(i.dtype), 0.3, 0.2, 0.1),
        "gaussian_forward": lambda: ref.gaussian_forward(i.rows, 0.3, 1, 2, counter.copy()),
        "gaussian_backward": lambda: ref.gaussian_backward(i.rows, 0.3, 1, 2, counter),
        "mask_rows": lambda: ref.mask_rows(i.rows, 0.5),
        "mask_weights": lambda: ref.mask_weights(i.rows, i.probs),
    }


def shape_calls(i):
    index = ref.max_pool2d_forward(i.image, **POOL)[1]
    half = Taps(np.array([0, 2, 2, 3]), np.array([0, 1, 1]), np.array([0.5, 0.25, 1.0], np.float32))
    ids, table_gradient = np.arange(i.n), i.written(5, 2)
    return {
        "crop_pad": lambda: ref.crop_pad(i.image[:, None], (-1, 1, -2), (2, 2, 9), 0.5),
        "resample2d": lambda: ref.resample2d(i.image, half, half),
        "max_unpool2d_backward": lambda: ref.max_unpool2d_backward(i.image, index, **POOL),
        "embedding_forward": lambda: ref.embedding_forward(ids, i.kernel),
        "embedding_backward": lambda: (ref.embedding_backward(ids, i.dy, table_gradient), table_gradient),
    }


def augment_calls(i):
    counter, u = np.array([3], np.uint64), i.read(i.n, 8, low=0.1, high=0.9)
    m = ref.random_affine(u.astype(np.float32), (4, 5), (3, 4), angle=(-0.2, 0.2), zoom_rows=(0.7, 1.5))
    rectangles = np.tile(np.array([1, 3, 0, 4], np.int32), (i.n, 1))
    flat, share = i.image.reshape(i.n, 20, 2), i.read(i.n, low=0.1, high=0.9)
    adjust = (flat, i.dy, share, (0.5, 2.0), (-1.0, 1.5))
    # Numbers at random are float32, matrices float64, whatever the images are.
    return {
        "random_uniform": lambda: ref.random_uniform((i.n, 3), 1, 2, counter.copy()).astype(i.dtype),
        "random_affine": lambda: ref.random_affine(u, (4, 5), (3, 4), angle=(-0.2, 0.2)).astype(i.dtype),
        "random_rectangles": lambda: ref.random_rectangles(u, (4, 5), area=(0.1, 0.5)),
        "affine2d_forward": lambda: ref.affine2d_forward(i.image, m, (3, 4), border="reflect"),
        "affine2d_backward": lambda: ref.affine2d_backward(i.read(i.n, 3, 4, 2), m, (4, 5), border="wrap"),
        "erase": lambda: ref.erase(i.image, rectangles, i.bias, i.image, limits=(-1.0, 2.0)),
        "adjust_forward": lambda: ref.adjust_forward(*adjust),
        "adjust_backward": lambda: ref.adjust_backward(i.read(i.n, 20, 2, seed=3), *adjust),
    }


def calls(n, dtype):
    """Return name -> call of every function of the twin."""
    i = Inputs(n, dtype)
    parts = (
        dense_calls,
        window_calls,
        layer_calls,
        rectifier_calls,
        training_calls,
        score_calls,
        optimizer_calls,
        merge_calls,
        regular_calls,
        shape_calls,
        augment_calls,
    )
    return {name: call for part in parts for name, call in part(i).items()}


def floats(result):
    """Return the floating arrays in a nest of tuples and lists."""
    if isinstance(result, tuple | list):
        return [x for part in result for x in floats(part)]
    return [result] if isinstance(result, np.ndarray) and result.dtype.kind == "f" else []


FUNCTIONS = [name for name in ref.__all__ if callable(getattr(ref, name))]


def test_every_function_has_a_call():
    assert sorted(calls(2, np.float32)) == sorted(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_stays_float32_and_is_close_to_float64(name):
    single, double = (floats(calls(4, dtype)[name]()) for dtype in (np.float32, np.float64))
    assert {x.dtype for x in single} <= {np.dtype(np.float32)}
    assert {x.dtype for x in double} <= {np.dtype(np.float64)}
    for x32, x64 in zip(single, double, strict=True):
        assert x32.flags.c_contiguous
        np.testing.assert_allclose(x32, x64, **SINGLE)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_empty_batch(name):
    full, empty = (floats(calls(n, np.float32)[name]()) for n in (1, 0))
    for x1, x0 in zip(full, empty, strict=True):
        assert x0.shape in (x1.shape, (0, *x1.shape[1:]))
        assert np.isfinite(x0).all()
