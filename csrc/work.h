// work.h - what a kernel call has to do at least, from its argument struct: one function per struct of kernels.h.
//
// flops: those of products and convolutions, a multiply-add being two, windows that reach into the padding counted whole; 0 for
// what is bound by memory. bytes: every array of the call's size, read or written, once; what is read again because no cache holds
// it is not in it.
#pragma once

#include "kernels.h"

namespace fastnn {

struct Work {
  double flops;
  double bytes;
};

namespace work {

constexpr double kFloat = sizeof(float);

inline double product(index_t a, index_t b) { return static_cast<double>(a) * static_cast<double>(b); }

// `count` arrays of n floats.
inline Work arrays(index_t n, int count) { return {0, kFloat * count * static_cast<double>(n)}; }

// 1 for an array that is there, 0 for one that is null.
inline int has(const void* array) { return array != nullptr; }

template <class T>
int count_of(T* const* arrays, int count) {
  int there = 0;
  for (int j = 0; j < count; ++j) there += has(arrays[j]);
  return there;
}

inline double inputs(const Conv2dShape& s) { return product(s.N * s.H, s.W * s.C); }
inline double outputs(const Conv2dShape& s) { return product(s.N * s.P, s.Q * s.K); }

// x, w and y, each read or written once.
inline Work conv(const Conv2dShape& s) {
  const double taps = product(s.R * s.S, s.C / s.groups), w = taps * static_cast<double>(s.K);
  return {2 * outputs(s) * taps, kFloat * (inputs(s) + outputs(s) + w)};
}

// Both sides of an unfolding.
inline Work depth(const DepthShape& s) {
  const double pixel = product(s.N * s.pixels, s.groups * s.channels);
  return {0, kFloat * pixel * static_cast<double>(s.D + s.O * s.taps)};
}

// y and the index, or what is there of their gradients, in place of the convolution's output. Forward every output is needed;
// backward only one of each window has a gradient.
inline Work pooled_conv(const MaxPooledConv2dShape& p, bool backward, bool relu_y) {
  const Conv2dShape& s = p.s;
  const double windows = outputs(s) / product(p.rows, p.columns), taps = product(s.R * s.S, s.C / s.groups);
  const double w = taps * static_cast<double>(s.K), bytes = kFloat * (inputs(s) + windows + w) + windows;
  return {2 * (backward ? windows : outputs(s)) * taps, bytes + (relu_y ? kFloat * windows : 0)};
}

// x, y and the indices: one byte each, or an int32.
inline Work max_pool(const Pool2dShape& s, bool wide) {
  const double y = product(s.N * s.P, s.Q * s.C);
  return {0, kFloat * (product(s.N * s.H, s.W * s.C) + y) + (wide ? 4 : 1) * y};
}

inline Work avg_pool(const Pool2dShape& s) { return {0, kFloat * (product(s.N * s.H, s.W * s.C) + product(s.N * s.P, s.Q * s.C))}; }

inline Work spatial_mean(index_t N, index_t pixels, index_t C) { return {0, kFloat * product(N * C, pixels + 1)}; }

inline index_t total(const index_t* width, int count) {
  index_t sum = 0;
  for (int j = 0; j < count; ++j) sum += width[j];
  return sum;
}

}  // namespace work

inline Work work_of(const Gemm& a) {
  const double c = work::product(a.m, a.n) * (a.accumulate ? 2 : 1);
  const double bias = a.bias ? static_cast<double>(a.n) : 0;
  return {2 * work::product(a.m, a.n) * static_cast<double>(a.k),
          work::kFloat * (work::product(a.m, a.k) + work::product(a.k, a.n) + c + bias)};
}

inline Work work_of(const ColumnSums& a) { return work::arrays((a.rows + 1) * a.cols, 1); }

inline Work work_of(const Conv2dForward& a) {
  Work result = work::conv(a.s);
  if (a.bias) result.bytes += work::kFloat * static_cast<double>(a.s.K);
  return result;
}

inline Work work_of(const Conv2dBackwardInput& a) {
  Work result = work::conv(a.s);
  if (a.relu_output) result.bytes += work::kFloat * work::inputs(a.s);
  if (a.accumulate) result.bytes += work::kFloat * work::inputs(a.s);
  return result;
}

inline Work work_of(const Conv2dBackwardFilter& a) {
  Work result = work::conv(a.s);
  if (a.dbias) result.bytes += work::kFloat * static_cast<double>(a.s.K);
  return result;
}

inline Work work_of(const Conv2dTransposeForward& a) {
  Work result = work::conv(a.s);
  if (a.bias) result.bytes += work::kFloat * static_cast<double>(a.s.C);
  return result;
}

inline Work work_of(const UnfoldDepth& a) { return work::depth(a.s); }

inline Work work_of(const FoldDepth& a) {
  Work result = work::depth(a.s);
  if (a.relu_output) result.bytes += work::kFloat * work::product(a.s.N * a.s.D, a.s.pixels * a.s.groups * a.s.channels);
  return result;
}

inline Work work_of(const MaxPool2dForward& a) { return work::max_pool(a.s, a.wide_index); }

inline Work work_of(const MaxPool2dBackward& a) {
  Work result = work::max_pool(a.s, a.wide_index);
  if (a.relu_y) result.bytes += work::kFloat * work::product(a.s.N * a.s.P, a.s.Q * a.s.C);
  return result;
}

inline Work work_of(const MaxPooledConv2dForward& a) {
  Work result = work::pooled_conv(a.shape, false, false);
  if (a.bias) result.bytes += work::kFloat * static_cast<double>(a.shape.s.K);
  return result;
}

inline Work work_of(const MaxPooledConv2dBackwardInput& a) {
  Work result = work::pooled_conv(a.shape, true, a.gradient.relu_y != nullptr);
  if (a.relu_output) result.bytes += work::kFloat * work::inputs(a.shape.s);
  return result;
}

inline Work work_of(const MaxPooledConv2dBackwardFilter& a) {
  Work result = work::pooled_conv(a.shape, true, a.gradient.relu_y != nullptr);
  if (a.dbias) result.bytes += work::kFloat * static_cast<double>(a.shape.s.K);
  return result;
}

inline Work work_of(const AvgPool2dForward& a) { return work::avg_pool(a.s); }
inline Work work_of(const AvgPool2dBackward& a) { return work::avg_pool(a.s); }
inline Work work_of(const SpatialMeanForward& a) { return work::spatial_mean(a.N, a.pixels, a.C); }
inline Work work_of(const SpatialMeanBackward& a) { return work::spatial_mean(a.N, a.pixels, a.C); }

inline Work work_of(const ActivationForward& a) { return work::arrays(a.n, 2); }
inline Work work_of(const ActivationBackward& a) { return work::arrays(a.n, 2 + work::has(a.x) + work::has(a.y)); }
inline Work work_of(const SoftmaxForward& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const SoftmaxBackward& a) { return work::arrays(a.rows * a.cols, 3); }

inline Work work_of(const LogSoftmaxForward& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const LogSoftmaxBackward& a) { return work::arrays(a.rows * a.cols, 3); }
inline Work work_of(const ClippedReluForward& a) { return work::arrays(a.n, 2); }
inline Work work_of(const ClippedReluBackward& a) { return work::arrays(a.n, 3); }
inline Work work_of(const PreluForward& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const PreluBackward& a) { return work::arrays(a.rows * a.cols, 3); }
inline Work work_of(const RandomReluForward& a) { return work::arrays(a.n, 2); }
inline Work work_of(const RandomReluBackward& a) { return work::arrays(a.n, 3); }

inline Work work_of(const BatchNormForward& a) { return work::arrays(a.rows * a.channels, 2 + work::has(a.residual)); }
inline Work work_of(const BatchNormInference& a) { return work::arrays(a.rows * a.channels, 2 + work::has(a.residual)); }

inline Work work_of(const BatchNormBackward& a) {
  return work::arrays(a.rows * a.channels, 2 + work::has(a.more) + work::has(a.relu_y) + work::has(a.dx) + work::has(a.dresidual));
}

inline Work work_of(const DropoutForward& a) { return work::arrays(a.n, 2); }  // the bits are a 64th of it: not counted
inline Work work_of(const DropoutBackward& a) { return work::arrays(a.n, 2); }

inline Work work_of(const SoftmaxCrossEntropy& a) {
  return work::arrays(a.rows * a.cols, 1 + work::has(a.targets) + work::has(a.probs) + work::has(a.dlogits));
}

inline Work work_of(const CrossEntropy& a) { return work::arrays(a.rows * a.cols, 1 + work::has(a.targets) + work::has(a.dprobs)); }

inline Work work_of(const ElementwiseLoss& a) {
  return work::arrays(a.rows * a.cols, 2 + work::has(a.sigmoid_out) + work::has(a.dpred));
}

inline Work work_of(const SoftmaxFocal& a) { return work::arrays(a.rows * a.cols, 3 + work::has(a.dlogits)); }
inline Work work_of(const CategoricalHinge& a) { return work::arrays(a.rows * a.cols, 2 + work::has(a.dpred)); }
inline Work work_of(const RowWeights& a) {
  return work::arrays(a.rows, 1 + work::has(a.weights) + work::has(a.labels) + work::has(a.kept));
}
inline Work work_of(const SmoothTargets& a) { return work::arrays(a.n, 2); }
inline Work work_of(const SignedLabels& a) { return work::arrays(a.n, 2); }

inline Work work_of(const MeanUpdate& a) { return work::arrays(a.n, 1 + work::has(a.weights)); }
inline Work work_of(const CountMatches& a) { return work::arrays(a.rows * a.cols, 1 + work::has(a.targets)); }

inline Work work_of(const ScoreRows& a) { return work::arrays(a.rows * a.cols, 1 + work::has(a.targets)); }
inline Work work_of(const CountOutcomes& a) { return work::arrays(a.rows * (a.column < 0 ? a.cols : 1), 1 + work::has(a.targets)); }
inline Work work_of(const KeepLargest& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const CountPairs& a) { return work::arrays(a.rows * (a.cols + a.target_cols), 1); }
inline Work work_of(const MomentsUpdate& a) { return work::arrays(a.rows * a.cols, 2); }

// A step over `streams` arrays; a product takes the place of the gradient that is read.
template <class Step>
Work work_of_step(const Step& a, int streams) {
  const GradientSource& s = a.source;
  if (!s.x) return work::arrays(a.n, streams);
  const double rows = static_cast<double>(s.rows);
  return {2 * rows * static_cast<double>(a.n),
          work::arrays(a.n, streams - 1).bytes + 4 * rows * static_cast<double>(s.inputs + s.units)};
}

inline Work work_of(const SgdStep& a) { return work_of_step(a, 3); }
inline Work work_of(const MomentumStep& a) { return work_of_step(a, 5); }
inline Work work_of(const AdagradStep& a) { return work_of_step(a, 5); }
inline Work work_of(const RmspropStep& a) { return work_of_step(a, 5 + 2 * work::has(a.mean) + 2 * work::has(a.velocity)); }
inline Work work_of(const AdadeltaStep& a) { return work_of_step(a, 7); }
inline Work work_of(const AdamStep& a) { return work_of_step(a, 7 + 2 * work::has(a.vhat)); }
inline Work work_of(const AdamaxStep& a) { return work_of_step(a, 7); }
inline Work work_of(const NadamStep& a) { return work_of_step(a, 7); }
inline Work work_of(const LambStep& a) { return work_of_step(a, 7); }
inline Work work_of(const LionStep& a) { return work_of_step(a, 5); }
inline Work work_of(const FtrlStep& a) { return work_of_step(a, 7); }
inline Work work_of(const AdafactorStep& a) { return work::arrays(a.n, 3 + 2 * !a.row); }
inline Work work_of(const MuonMomentum& a) { return work_of_step(a, 4); }
inline Work work_of(const PrepareGradient& a) { return work_of_step(a, 2); }
inline Work work_of(const Dot& a) { return work::arrays(a.n, a.x == a.y ? 1 : 2); }
inline Work work_of(const ClipFactors& a) { return work::arrays(a.count, 3); }
inline Work work_of(const InverseNorm&) { return work::arrays(1, 3); }
inline Work work_of(const TakeRate&) { return work::arrays(1, 2); }
inline Work work_of(const MovingAverage& a) { return work::arrays(a.n, 3); }

inline Work work_of(const GatherRows& a) {
  const double source = a.kind == Source::uint8 ? 1 : 4;
  return {0, (source + 4) * work::product(a.rows, a.row_size)};
}

inline Work work_of(const StoreRows& a) { return work::arrays(a.rows * a.row_size, 2); }
inline Work work_of(const Advance&) { return {0, 2 * sizeof(index_t)}; }

inline Work work_of(const Permute& a) {
  double n = 1;
  for (int axis = 0; axis < a.rank; ++axis) n *= static_cast<double>(a.dims[axis]);
  return {0, 2 * work::kFloat * n};
}

inline Work work_of(const Add& a) { return work::arrays(a.n, a.count + 1); }
inline Work work_of(const Merge& a) { return work::arrays(a.n, a.count + 1); }

inline Work work_of(const ExtremumBackward& a) {
  return work::arrays(a.n, a.count + 2 + work::count_of(a.dx, a.count) + work::has(a.rest));
}

inline Work work_of(const Concatenate& a) { return work::arrays(a.rows * work::total(a.width, a.count), 2); }
inline Work work_of(const Split& a) { return work::arrays(a.rows * work::total(a.width, a.count), 2); }
inline Work work_of(const UnitNormForward& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const UnitNormBackward& a) { return work::arrays(a.rows * a.cols, 3); }
inline Work work_of(const Penalty& a) { return work::arrays(a.n, 1 + work::has(a.dy) + work::has(a.dx)); }
inline Work work_of(const ClipNorms& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const LayerNormForward& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const LayerNormBackward& a) { return work::arrays(a.rows * a.cols, 3); }
inline Work work_of(const GroupNormForward& a) { return work::arrays(a.samples * a.positions * a.groups * a.width, 2); }
inline Work work_of(const GroupNormBackward& a) { return work::arrays(a.samples * a.positions * a.groups * a.width, 3); }
inline Work work_of(const RandomKeep& a) { return work::arrays(a.n, 1); }
inline Work work_of(const ApplyKeep& a) { return work::arrays(a.outer * (2 * a.repeat + 1) * a.inner, 1); }
inline Work work_of(const GaussianForward& a) { return work::arrays(a.n, 2); }
inline Work work_of(const GaussianBackward& a) { return work::arrays(a.n, 2); }
inline Work work_of(const MaskRows& a) { return work::arrays(a.rows * a.cols, 2); }
inline Work work_of(const MaskWeights& a) { return work::arrays(a.n, 2 + work::has(a.weights)); }
inline Work work_of(const Fill& a) { return work::arrays(a.n, 1); }

inline Work work_of(const CropPad& a) {
  const index_t in = a.size[0] * a.size[1] * a.size[2], out = a.out[0] * a.out[1] * a.out[2];
  return {0, work::kFloat * work::product(a.N * a.C, in + out)};
}

inline Work work_of(const Resample2d& a) { return {0, work::kFloat * work::product(a.N * a.C, a.H * a.W + a.P * a.Q)}; }

namespace work {

inline Work affine(const Affine2dShape& s) { return {0, kFloat * product(s.N * s.C, s.H * s.W + s.P * s.Q)}; }

}  // namespace work

inline Work work_of(const Affine2dForward& a) { return work::affine(a.s); }
inline Work work_of(const Affine2dBackward& a) { return work::affine(a.s); }
inline Work work_of(const RandomAffine& a) { return work::arrays(a.N, 8 + 2 * 6); }
inline Work work_of(const RandomUniform& a) { return work::arrays(a.n, 1); }
inline Work work_of(const RandomRectangles& a) { return work::arrays(a.N, 8 + 4); }
inline Work work_of(const Erase& a) { return work::arrays(a.N * a.H * a.W * a.C, 2 + work::has(a.noise)); }
inline Work work_of(const AdjustForward& a) { return work::arrays(a.N * a.pixels * a.C, 2); }
inline Work work_of(const AdjustBackward& a) { return work::arrays(a.f.N * a.f.pixels * a.f.C, 3); }
inline Work work_of(const EmbeddingForward& a) { return {0, work::kFloat * work::product(a.n, 1 + 2 * a.D)}; }
inline Work work_of(const EmbeddingBackward& a) {
  return {0, work::kFloat * (work::product(a.n, 1 + a.D) + work::product(a.V, a.D))};
}
inline Work work_of(const MaxUnpool2dBackward& a) { return work::max_pool(a.s, a.wide_index); }

inline Work work_of(const MultiplyAddProbe& a) { return work::arrays(a.threads, 1); }
inline Work work_of(const TriadProbe& a) { return work::arrays(a.n * a.rounds, 3); }

}  // namespace fastnn
