// mask.h - which rows count.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::MaskRows;
using fastnn::MaskWeights;

void mask_rows(const MaskRows& a) {
  parallel_for(a.rows, 10.0 + static_cast<double>(a.cols), [&a](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const float* x = a.x + row * a.cols;
      float* y = a.y + row * a.cols;
      std::int32_t differs = 0;
      _Pragma("omp simd reduction(| : differs)") for (index_t j = 0; j < a.cols; ++j) differs |= x[j] != a.value;
      a.mask[row] = differs ? 1.0f : 0.0f;
      FASTNN_SIMD
      for (index_t j = 0; j < a.cols; ++j) y[j] = select(differs != 0, x[j], 0.0f);
    }
  });
}

void mask_weights(const MaskWeights& a) {
  index_t valid = 0;
  for (index_t i = 0; i < a.n; ++i) valid += a.mask[i] != 0.0f;
  const float share = !a.rescale ? 1.0f : valid ? static_cast<float>(static_cast<double>(a.n) / static_cast<double>(valid)) : 0.0f;
  FASTNN_SIMD
  for (index_t i = 0; i < a.n; ++i) {
    const float weight = a.weights ? a.weights[i] * share : share;
    a.out[i] = select(a.mask[i] != 0.0f, weight, 0.0f);
  }
}

}  // namespace
