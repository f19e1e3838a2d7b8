// layer_norm.h - rows brought to mean 0 and variance 1, or to mean square 1, and the gradients of that.
#pragma once

#include "math.h"
#include "norm.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::LayerNormBackward;
using fastnn::LayerNormForward;

// The sum of of(x[j], y[j]) over a row, or of of(x[j], 0) without y; of(0, 0) is what columns that do not exist give, and is 0.
template <class Of>
FASTNN_INLINE float row_sum(const float* x, const float* y, index_t cols, float fill, const Of& of) {
  Chunk sum = {};
  for (index_t j = 0; j < cols; j += kChunk) {
    const Chunk p = load_chunk(x + j, cols - j, fill);
    const Chunk q = y ? load_chunk(y + j, cols - j, 0.0f) : Chunk{};
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] = of(p.v[i], q.v[i], sum.v[i]);
  }
  return total(sum);
}

// y = (x - mean) rstd gamma + beta.
template <bool Scale, bool Shift>
FASTNN_INLINE void scale_row(const float* x, float* y, index_t cols, float mean, float rstd, const float* gamma,
                             const float* beta) {
  FASTNN_SIMD
  for (index_t j = 0; j < cols; ++j) {
    const float factor = Scale ? gamma[j] * rstd : rstd;
    y[j] = Shift ? mul_add(x[j] - mean, factor, beta[j]) : (x[j] - mean) * factor;
  }
}

void layer_norm_forward(const LayerNormForward& a) {
  auto scale = a.beta ? scale_row<false, true> : scale_row<false, false>;
  if (a.gamma) scale = a.beta ? scale_row<true, true> : scale_row<true, false>;
  const float share = 1.0f / static_cast<float>(a.cols);
  parallel_for(a.rows, row_cycles(a.cols, 2.0), [&a, scale, share](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const float* x = a.x + row * a.cols;
      float mean = 0.0f;
      if (a.centered) {  // from the first element on, so that a large mean costs no digits
        const float first = x[0];
        const auto rest = [first](float p, float, float sum) { return sum + (p - first); };
        mean = first + share * row_sum(x, nullptr, a.cols, first, rest);
      }
      const auto square = [mean](float p, float, float sum) { return mul_add(p - mean, p - mean, sum); };
      const float rstd = reciprocal_deviation(share * row_sum(x, nullptr, a.cols, mean, square), a.epsilon);
      a.mean[row] = mean;
      a.rstd[row] = rstd;
      scale(x, a.y + row * a.cols, a.cols, mean, rstd, a.gamma, a.beta);
    }
  });
}

// A row of dx, and what it adds to the sums of its chunk.
template <bool Scale>
FASTNN_INLINE void layer_norm_row(const LayerNormBackward& a, index_t row, float share, float* dgamma, float* dbeta) {
  const float *x = a.x + row * a.cols, *dy = a.dy + row * a.cols, *gamma = a.gamma;
  float* dx = a.dx + row * a.cols;
  const float mean = a.mean[row], rstd = a.rstd[row];
  Chunk first = {}, second = {};  // the sums of g = gamma dy, and of g (x - mean)
  for (index_t j = 0; j < a.cols; j += kChunk) {
    const Chunk p = load_chunk(x + j, a.cols - j, 0.0f), q = load_chunk(dy + j, a.cols - j, 0.0f);
    const Chunk factor = Scale ? load_chunk(gamma + j, a.cols - j, 0.0f) : Chunk{};
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const float g = Scale ? factor.v[i] * q.v[i] : q.v[i];
      first.v[i] += g;
      second.v[i] = mul_add(g, p.v[i] - mean, second.v[i]);
    }
  }
  const float along = a.centered ? share * total(first) : 0.0f, slope = share * total(second) * (rstd * rstd);
  FASTNN_SIMD
  for (index_t j = 0; j < a.cols; ++j) {
    const float centered = x[j] - mean, g = Scale ? gamma[j] * dy[j] : dy[j];
    dgamma[j] = mul_add(dy[j], centered * rstd, dgamma[j]);
    dbeta[j] += dy[j];
    dx[j] = rstd * mul_add(-centered, slope, g - along);
  }
}

// Rows are cut into at most 32 chunks, by their number alone, each with its own sums for dgamma and dbeta.
struct LayerNormPlan {
  static constexpr index_t kChunks = 32, kRows = 8;
  index_t step, chunks, stride;

  LayerNormPlan(index_t rows, index_t cols)
      : step(max_of(kRows, ceil_div(rows, kChunks))), chunks(ceil_div(rows, step)), stride(round_up(cols, kLineFloats)) {}

  index_t scratch() const { return 2 * chunks * stride; }
};

index_t layer_norm_backward_scratch(const LayerNormBackward& a) { return LayerNormPlan(a.rows, a.cols).scratch(); }

void layer_norm_backward(const LayerNormBackward& a) {
  const LayerNormPlan plan(a.rows, a.cols);
  const float share = 1.0f / static_cast<float>(a.cols);
  parallel_for(plan.chunks, static_cast<double>(plan.step) * row_cycles(a.cols, 2.5), [&](index_t begin, index_t end) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float *dgamma = a.scratch + 2 * chunk * plan.stride, *dbeta = dgamma + plan.stride;
      for (index_t j = 0; j < 2 * plan.stride; ++j) dgamma[j] = 0.0f;
      for (index_t row = chunk * plan.step; row < min_of(a.rows, (chunk + 1) * plan.step); ++row) {
        a.gamma ? layer_norm_row<true>(a, row, share, dgamma, dbeta) : layer_norm_row<false>(a, row, share, dgamma, dbeta);
      }
    }
  });
  const auto join = [&](float* out, index_t offset) {
    if (!out) return;
    parallel_elements(a.cols, 0.5 * static_cast<double>(plan.chunks), [&](index_t begin, index_t end) {
      for (index_t j = begin; j < end; ++j) out[j] = 0.0f;
      for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
        const float* sums = a.scratch + 2 * chunk * plan.stride + offset;
        FASTNN_SIMD
        for (index_t j = begin; j < end; ++j) out[j] += sums[j];
      }
    });
  };
  join(a.dgamma, 0);
  join(a.dbeta, plan.stride);
}

}  // namespace
