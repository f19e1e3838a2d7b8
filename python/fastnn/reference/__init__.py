"""The NumPy twin: every kernel as a few lines of NumPy, to read, to check the C++ against, and to run without it.

The functions have the names and arguments of fastnn.ops. They compute in the dtype of their inputs: float32 like the
kernels, or float64, which is the oracle of the tests. Sums over a batch are added up in float64, because a float32 sum
stops growing. Inputs are not checked. Shape letters: N batch, H W image, C channels, K output channels, R S filter,
P Q output image, D features.
"""

from __future__ import annotations

from .conv import conv2d_backward_filter, conv2d_backward_input, conv2d_forward, conv2d_transpose_forward
from .conv3d import conv3d_backward_filter, conv3d_backward_input, conv3d_forward, conv3d_transpose_forward
from .data import advance, fill, gather_rows, permute, store_rows
from .dense import column_sums, dense_backward, dense_forward, gemm
from .element_losses import (
    ELEMENT_LOSSES,
    categorical_hinge,
    elementwise_loss,
    row_weights,
    sigmoid_cross_entropy,
    sigmoid_focal,
    signed_labels,
    smooth_targets,
    softmax_focal,
)
from .elementwise import (
    ACTIVATIONS,
    FROM_OUTPUT,
    activation_backward,
    activation_forward,
    softmax_backward,
    softmax_forward,
)
from .losses import (
    count_matches,
    cross_entropy,
    mean_update,
    softmax_cross_entropy,
)
from .merge import (
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
from .noise import apply_keep, gaussian_backward, gaussian_forward, random_keep
from .norm import batch_norm_backward, batch_norm_forward, batch_norm_inference
from .optim import adagrad_step, adam_step, momentum_step, prepare_gradient, rmsprop_step, sgd_step
from .optim_adaptive import adadelta_step, adamax_step, ftrl_step, lion_step, nadam_step
from .optim_parts import clip_factors, dot, inverse_norm, moving_average, take_rate
from .optim_whole import adafactor_step, lamb_step, muon_momentum
from .pool import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    global_average_pool2d_backward,
    global_average_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from .random import dropout_backward, dropout_forward
from .rectifiers import (
    clipped_relu_backward,
    clipped_relu_forward,
    log_softmax_backward,
    log_softmax_forward,
    prelu_backward,
    prelu_forward,
    random_relu_backward,
    random_relu_forward,
)
from .regular import clip_negative, clip_norms, mask_rows, mask_weights, penalty
from .rows import group_norm_backward, group_norm_forward, layer_norm_backward, layer_norm_forward
from .scores import ROW_SCORES, count_outcomes, count_pairs, keep_largest, moments_update, score_rows

__all__ = [
    "ACTIVATIONS",
    "ELEMENT_LOSSES",
    "FROM_OUTPUT",
    "ROW_SCORES",
    "activation_backward",
    "activation_forward",
    "adadelta_step",
    "adafactor_step",
    "adagrad_step",
    "adam_step",
    "adamax_step",
    "add",
    "advance",
    "apply_keep",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "batch_gemm",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "broadcast",
    "broadcast_backward",
    "categorical_hinge",
    "clip_factors",
    "clip_negative",
    "clip_norms",
    "clipped_relu_backward",
    "clipped_relu_forward",
    "column_sums",
    "concatenate",
    "conv2d_backward_filter",
    "conv2d_backward_input",
    "conv2d_forward",
    "conv2d_transpose_forward",
    "conv3d_backward_filter",
    "conv3d_backward_input",
    "conv3d_forward",
    "conv3d_transpose_forward",
    "count_matches",
    "count_outcomes",
    "count_pairs",
    "cross_entropy",
    "dense_backward",
    "dense_forward",
    "dot",
    "dropout_backward",
    "dropout_forward",
    "elementwise_loss",
    "extremum_backward",
    "fill",
    "ftrl_step",
    "gather_rows",
    "gaussian_backward",
    "gaussian_forward",
    "gemm",
    "global_average_pool2d_backward",
    "global_average_pool2d_forward",
    "group_norm_backward",
    "group_norm_forward",
    "inverse_norm",
    "keep_largest",
    "lamb_step",
    "layer_norm_backward",
    "layer_norm_forward",
    "lion_step",
    "log_softmax_backward",
    "log_softmax_forward",
    "mask_rows",
    "mask_weights",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "maximum",
    "mean_update",
    "minimum",
    "moments_update",
    "momentum_step",
    "moving_average",
    "multiply",
    "muon_momentum",
    "nadam_step",
    "penalty",
    "permute",
    "prelu_backward",
    "prelu_forward",
    "prepare_gradient",
    "random_keep",
    "random_relu_backward",
    "random_relu_forward",
    "rmsprop_step",
    "row_weights",
    "score_rows",
    "sgd_step",
    "sigmoid_cross_entropy",
    "sigmoid_focal",
    "signed_labels",
    "smooth_targets",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_focal",
    "softmax_forward",
    "split",
    "store_rows",
    "take_rate",
    "unit_norm_backward",
    "unit_norm_forward",
]
