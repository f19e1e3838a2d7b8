// penalty.h - what regularizers add to a loss and to a gradient; constraints on the norms of a matrix's columns.
#pragma once

#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::ClipNorms;
using fastnn::Penalty;

constexpr index_t kPenaltyChunk = 1024;  // elements with a sum of their own, added up in float

// l1 |x| + l2 x^2 over n elements.
inline float penalty_sum(const float* x, index_t n, float l1, float l2) {
  Chunk sum = {};
  for (index_t j = 0; j < n; j += kChunk) {
    const Chunk c = load_chunk(x + j, n - j, 0.0f);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] += mul_add(l2 * c.v[i], c.v[i], l1 * __builtin_fabsf(c.v[i]));
  }
  return total(sum);
}

template <bool Added>
void penalty_slope(const Penalty& a, index_t begin, index_t end) {
  const float* __restrict x = a.x + begin;
  const float* dy = Added ? a.dy + begin : nullptr;
  float* dx = a.dx + begin;
  const float l1 = a.scale * a.l1, l2 = 2.0f * a.scale * a.l2;
  FASTNN_SIMD
  for (index_t i = 0; i < end - begin; ++i) {
    const float first = select(x[i] > 0.0f, l1, select(x[i] < 0.0f, -l1, 0.0f));
    dx[i] = mul_add(l2, x[i], Added ? dy[i] + first : first);
  }
}

index_t penalty_scratch(const Penalty& a) { return ceil_div(a.n, kPenaltyChunk); }

void penalty(const Penalty& a) {
  const index_t chunks = ceil_div(a.n, kPenaltyChunk);
  parallel_for(chunks, 1.5 * kPenaltyChunk, [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t first = i * kPenaltyChunk, last = min_of(a.n, first + kPenaltyChunk);
      if (a.state) a.scratch[i] = penalty_sum(a.x + first, last - first, a.l1, a.l2);
      if (a.dx) a.dy ? penalty_slope<true>(a, first, last) : penalty_slope<false>(a, first, last);
    }
  });
  if (!a.state) return;
  double sum = 0.0;
  for (index_t i = 0; i < chunks; ++i) sum += static_cast<double>(a.scratch[i]);
  a.state[0] += a.rows * static_cast<double>(a.scale) * sum;
  a.state[1] += a.count;
}

// Sixteen columns at a time, whose squares are added up in double: weights have rows by the thousands.
void clip_norms(const ClipNorms& a) {
  parallel_for(ceil_div(a.cols, kLineFloats), 3.0 * kLineFloats * static_cast<double>(a.rows), [&a](index_t begin, index_t end) {
    for (index_t block = begin; block < end; ++block) {
      float* w = a.w + block * kLineFloats;
      const index_t count = min_of(kLineFloats, a.cols - block * kLineFloats);
      double squares[kLineFloats] = {};
      float factor[kLineFloats];
      for (index_t row = 0; row < a.rows; ++row) {
        FASTNN_SIMD
        for (index_t j = 0; j < count; ++j) {
          const double v = static_cast<double>(w[row * a.cols + j]);
          squares[j] += v * v;
        }
      }
      for (index_t j = 0; j < count; ++j) {
        const float norm = static_cast<float>(__builtin_sqrt(squares[j]));
        const float raised = norm < a.low ? a.low : norm, clipped = raised > a.high ? a.high : raised;
        factor[j] = mul_add(a.rate, clipped, (1.0f - a.rate) * norm) / (1e-7f + norm);
      }
      for (index_t row = 0; row < a.rows; ++row) {
        FASTNN_SIMD
        for (index_t j = 0; j < count; ++j) w[row * a.cols + j] *= factor[j];
      }
    }
  });
}

}  // namespace
