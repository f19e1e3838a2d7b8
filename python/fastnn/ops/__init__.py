"""One function per kernel: check shapes, allocate, call. The only package (with config) that knows the extension module.

Every function that computes has a twin of the same name and signature in `fastnn.reference`, which runs instead while the backend
is "numpy". Arrays are float32 and C-contiguous; images are (N, H, W, C), filters (R, S, C / groups, K). While a tape records, the
calls made here become its records.
"""

from fastnn.ops.base import NO_PADDING, Padding, Pair, as_float32, empty, in_doubles, zeros
from fastnn.ops.conv import conv2d_backward_filter, conv2d_backward_input, conv2d_forward, conv_output_size
from fastnn.ops.data import advance, fill, gather_cells, gather_rows, permute, store_cells, store_rows
from fastnn.ops.dense import column_sums, dense_backward, dense_forward, gemm
from fastnn.ops.elementwise import activation_backward, activation_forward, softmax_backward, softmax_forward
from fastnn.ops.losses import (
    count_matches,
    cross_entropy,
    elementwise_loss,
    mean_update,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
)
from fastnn.ops.machine import bandwidth_roof, measure_bandwidth, measure_peak, peak_roof
from fastnn.ops.merge import (
    add,
    batch_gemm,
    broadcast,
    broadcast_backward,
    concatenate,
    extremum_backward,
    maximum,
    minimum,
    multiply,
    split,
    unit_norm_backward,
    unit_norm_forward,
)
from fastnn.ops.norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    dropout_backward,
    dropout_forward,
)
from fastnn.ops.optim import adagrad_step, adam_step, momentum_step, rmsprop_step, sgd_step
from fastnn.ops.pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    global_average_pool2d_backward,
    global_average_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from fastnn.ops.recording import Arena, Call, Replay, Tape, label, planning, recording, stop_recording
from fastnn.ops.scores import count_outcomes, count_pairs, keep_largest, moments_update, score_rows

__all__ = [
    "NO_PADDING",
    "Arena",
    "Call",
    "Padding",
    "Pair",
    "Replay",
    "Tape",
    "activation_backward",
    "activation_forward",
    "adagrad_step",
    "adam_step",
    "add",
    "advance",
    "as_float32",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "bandwidth_roof",
    "batch_gemm",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "broadcast",
    "broadcast_backward",
    "column_sums",
    "concatenate",
    "conv2d_backward_filter",
    "conv2d_backward_input",
    "conv2d_forward",
    "conv_output_size",
    "count_matches",
    "count_outcomes",
    "count_pairs",
    "cross_entropy",
    "dense_backward",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "elementwise_loss",
    "empty",
    "extremum_backward",
    "fill",
    "gather_cells",
    "gather_rows",
    "gemm",
    "global_average_pool2d_backward",
    "global_average_pool2d_forward",
    "in_doubles",
    "keep_largest",
    "label",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "maximum",
    "mean_update",
    "measure_bandwidth",
    "measure_peak",
    "minimum",
    "moments_update",
    "momentum_step",
    "multiply",
    "peak_roof",
    "permute",
    "planning",
    "recording",
    "rmsprop_step",
    "score_rows",
    "sgd_step",
    "sigmoid_cross_entropy",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_forward",
    "split",
    "stop_recording",
    "store_cells",
    "store_rows",
    "unit_norm_backward",
    "unit_norm_forward",
    "zeros",
]
