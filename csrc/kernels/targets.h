// targets.h - targets and weights on their way into a loss: smoothed, signed, without the class that is ignored.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::RowWeights;
using fastnn::SignedLabels;
using fastnn::SmoothTargets;

// The sum is added up in double and in order; a batch has few rows.
void row_weights(const RowWeights& a) {
  double sum = 0.0;
  for (index_t i = 0; i < a.rows; ++i) {
    const bool counts = !a.labels || a.labels[i] != a.ignored;
    a.y[i] = counts ? (a.weights ? a.weights[i] : 1.0f) : 0.0f;
    if (a.kept) a.kept[i] = counts ? a.labels[i] : 0;
    sum += static_cast<double>(a.y[i]);
  }
  if (!a.mean_of_one) return;
  const float factor = sum == 0.0 ? 0.0f : static_cast<float>(static_cast<double>(a.rows) / sum);
  FASTNN_SIMD
  for (index_t i = 0; i < a.rows; ++i) a.y[i] *= factor;
}

void smooth_targets(const SmoothTargets& a) {
  parallel_elements(a.n, 0.5, [&a](index_t begin, index_t end) {
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) a.y[i] = mul_add(a.t[i], a.keep, a.share);
  });
}

void signed_labels(const SignedLabels& a) {
  index_t others = 0;
  _Pragma("omp simd reduction(+ : others)") for (index_t i = 0; i < a.n; ++i) others += (a.t[i] != 0.0f) & (a.t[i] != 1.0f);
  const float scale = others ? 1.0f : 2.0f, shift = others ? 0.0f : -1.0f;
  parallel_elements(a.n, 0.5, [&a, scale, shift](index_t begin, index_t end) {
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) a.y[i] = mul_add(a.t[i], scale, shift);
  });
}

}  // namespace
