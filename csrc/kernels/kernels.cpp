// kernels.cpp - the table of one instruction set. Compiled several times; see README.md.
#include "../kernels.h"

#include "activation.h"
#include "adjust.h"
#include "affine.h"
#include "column_sums.h"
#include "conv.h"
#include "conv_filter.h"
#include "conv_input.h"
#include "conv_pooled.h"
#include "crop.h"
#include "data.h"
#include "depth.h"
#include "element_loss.h"
#include "embedding.h"
#include "erase.h"
#include "gemm.h"
#include "group_norm.h"
#include "layer_norm.h"
#include "log_softmax.h"
#include "loss.h"
#include "mask.h"
#include "merge.h"
#include "metrics.h"
#include "noise.h"
#include "norm.h"
#include "norm_backward.h"
#include "optim.h"
#include "optim_adaptive.h"
#include "optim_parts.h"
#include "optim_whole.h"
#include "penalty.h"
#include "pool.h"
#include "pool_backward.h"
#include "probe.h"
#include "random.h"
#include "rectifier.h"
#include "resample.h"
#include "row_loss.h"
#include "scores.h"
#include "softmax.h"
#include "spatial_mean.h"
#include "targets.h"
#include "unpool.h"

namespace fastnn {

extern const Kernels FASTNN_TABLE;
const Kernels FASTNN_TABLE = {
    .isa = FASTNN_ISA_NAME,
    .lanes = kLanes,
    .gemm = gemm,
    .gemm_scratch = gemm_scratch,
    .column_sums = column_sums,
    .column_sums_scratch = column_sums_scratch,
    .conv2d_forward = conv2d_forward,
    .conv2d_forward_scratch = conv2d_forward_scratch,
    .conv2d_backward_input = conv2d_backward_input,
    .conv2d_backward_input_scratch = conv2d_backward_input_scratch,
    .conv2d_backward_filter = conv2d_backward_filter,
    .conv2d_backward_filter_scratch = conv2d_backward_filter_scratch,
    .conv2d_forward_by_images = {conv2d_forward_possible, conv2d_forward_fetches, conv2d_forward_prepare, conv2d_forward_images,
                                 nullptr},
    .conv2d_backward_input_by_images = {conv2d_backward_input_possible, conv2d_backward_input_fetches,
                                        conv2d_backward_input_prepare, conv2d_backward_input_images, nullptr},
    .conv2d_backward_filter_by_images = {conv2d_backward_filter_possible, conv2d_backward_filter_fetches, nullptr,
                                         conv2d_backward_filter_images, conv2d_backward_filter_finish},
    .conv2d_transpose_forward = conv2d_transpose_forward,
    .conv2d_transpose_forward_scratch = conv2d_transpose_forward_scratch,
    .unfold_depth = unfold_depth,
    .fold_depth = fold_depth,
    .max_pool2d_forward = max_pool2d_forward,
    .max_pool2d_backward = max_pool2d_backward,
    .avg_pool2d_forward = avg_pool2d_forward,
    .avg_pool2d_backward = avg_pool2d_backward,
    .max_pooled_conv2d_forward = max_pooled_conv2d_forward,
    .max_pooled_conv2d_forward_scratch = max_pooled_conv2d_forward_scratch,
    .max_pooled_conv2d_backward_input = max_pooled_conv2d_backward_input,
    .max_pooled_conv2d_backward_input_scratch = max_pooled_conv2d_backward_input_scratch,
    .max_pooled_conv2d_backward_filter = max_pooled_conv2d_backward_filter,
    .max_pooled_conv2d_backward_filter_scratch = max_pooled_conv2d_backward_filter_scratch,
    .spatial_mean_forward = spatial_mean_forward,
    .spatial_mean_backward = spatial_mean_backward,
    .activation_forward = activation_forward,
    .activation_backward = activation_backward,
    .activation_backward_scratch = activation_backward_scratch,
    .softmax_forward = softmax_forward,
    .softmax_backward = softmax_backward,
    .log_softmax_forward = log_softmax_forward,
    .log_softmax_backward = log_softmax_backward,
    .clipped_relu_forward = clipped_relu_forward,
    .clipped_relu_backward = clipped_relu_backward,
    .prelu_forward = prelu_forward,
    .prelu_backward = prelu_backward,
    .prelu_backward_scratch = prelu_backward_scratch,
    .random_relu_forward = random_relu_forward,
    .random_relu_backward = random_relu_backward,
    .batch_norm_forward = batch_norm_forward,
    .batch_norm_forward_scratch = batch_norm_forward_scratch,
    .batch_norm_inference = batch_norm_inference,
    .batch_norm_backward = batch_norm_backward,
    .batch_norm_backward_scratch = batch_norm_backward_scratch,
    .batch_norm_forward_statistics = {batch_norm_possible<BatchNormForward>, nullptr, nullptr, batch_norm_forward_statistics,
                                      batch_norm_forward_finish},
    .batch_norm_forward_apply = {batch_norm_possible<BatchNormForward>, nullptr, nullptr, batch_norm_apply<BatchNormForward>,
                                 nullptr},
    .batch_norm_inference_by_images = {batch_norm_possible<BatchNormInference>, nullptr, batch_norm_inference_prepare,
                                       batch_norm_apply<BatchNormInference>, nullptr},
    .batch_norm_backward_sums = {batch_norm_possible<BatchNormBackward>, nullptr, nullptr, batch_norm_backward_sums,
                                 batch_norm_backward_finish},
    .batch_norm_backward_apply = {batch_norm_possible<BatchNormBackward>, nullptr, nullptr, batch_norm_backward_apply, nullptr},
    .dropout_forward = dropout_forward,
    .dropout_backward = dropout_backward,
    .softmax_cross_entropy = softmax_cross_entropy,
    .cross_entropy = cross_entropy,
    .elementwise_loss = elementwise_loss,
    .softmax_focal = softmax_focal,
    .categorical_hinge = categorical_hinge,
    .row_weights = row_weights,
    .smooth_targets = smooth_targets,
    .signed_labels = signed_labels,
    .mean_update = mean_update,
    .count_matches = count_matches,
    .score_rows = score_rows,
    .count_outcomes = count_outcomes,
    .keep_largest = keep_largest,
    .count_pairs = count_pairs,
    .moments_update = moments_update,
    .sgd_step = sgd_step,
    .sgd_step_scratch = step_scratch,
    .momentum_step = momentum_step,
    .momentum_step_scratch = step_scratch,
    .adagrad_step = adagrad_step,
    .adagrad_step_scratch = step_scratch,
    .rmsprop_step = rmsprop_step,
    .rmsprop_step_scratch = step_scratch,
    .adadelta_step = adadelta_step,
    .adadelta_step_scratch = step_scratch,
    .adam_step = adam_step,
    .adam_step_scratch = step_scratch,
    .adamax_step = adamax_step,
    .adamax_step_scratch = step_scratch,
    .nadam_step = nadam_step,
    .nadam_step_scratch = step_scratch,
    .lamb_step = lamb_step,
    .lamb_step_scratch = lamb_step_scratch,
    .lion_step = lion_step,
    .lion_step_scratch = step_scratch,
    .ftrl_step = ftrl_step,
    .ftrl_step_scratch = step_scratch,
    .adafactor_step = adafactor_step,
    .adafactor_step_scratch = adafactor_step_scratch,
    .muon_momentum = muon_momentum,
    .muon_momentum_scratch = step_scratch,
    .prepare_gradient = prepare_gradient,
    .prepare_gradient_scratch = step_scratch,
    .dot = dot,
    .dot_scratch = dot_scratch,
    .clip_factors = clip_factors,
    .inverse_norm = inverse_norm,
    .take_rate = take_rate,
    .moving_average = moving_average,
    .gather_rows = gather_rows,
    .store_rows = store_rows,
    .advance = advance,
    .permute = permute,
    .fill = fill,
    .add = add,
    .multiply = multiply,
    .maximum = maximum,
    .minimum = minimum,
    .extremum_backward = extremum_backward,
    .concatenate = concatenate,
    .split = split,
    .unit_norm_forward = unit_norm_forward,
    .unit_norm_backward = unit_norm_backward,
    .crop_pad = crop_pad,
    .resample2d = resample2d,
    .resample2d_scratch = resample2d_scratch,
    .affine2d_forward = affine2d_forward,
    .affine2d_backward = affine2d_backward,
    .random_affine = random_affine,
    .random_uniform = random_uniform,
    .random_rectangles = random_rectangles,
    .erase = erase,
    .adjust_forward = adjust_forward,
    .adjust_backward = adjust_backward,
    .embedding_forward = embedding_forward,
    .embedding_backward = embedding_backward,
    .max_unpool2d_backward = max_unpool2d_backward,
    .penalty = penalty,
    .penalty_scratch = penalty_scratch,
    .clip_norms = clip_norms,
    .layer_norm_forward = layer_norm_forward,
    .layer_norm_backward = layer_norm_backward,
    .layer_norm_backward_scratch = layer_norm_backward_scratch,
    .group_norm_forward = group_norm_forward,
    .group_norm_forward_scratch = group_norm_forward_scratch,
    .group_norm_backward = group_norm_backward,
    .group_norm_backward_scratch = group_norm_backward_scratch,
    .random_keep = random_keep,
    .apply_keep = apply_keep,
    .gaussian_forward = gaussian_forward,
    .gaussian_backward = gaussian_backward,
    .mask_rows = mask_rows,
    .mask_weights = mask_weights,
    .multiply_add_probe = multiply_add_probe,
    .multiply_add_probe_flops = multiply_add_probe_flops,
    .triad_probe = triad_probe,
};

}  // namespace fastnn
