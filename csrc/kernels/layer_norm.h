// layer_norm.h - rows brought to mean 0 and variance 1, or to mean square 1, and the gradients of that.
#pragma once

#include "math.h"
#include "norm.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::LayerNormBackward;
using fastnn::LayerNormForward;

// A sum over a row is so many partial sums, of columns that far apart, which are combined in one order, whatever the width of a
// vector: with one for each lane alone an addition would wait for the one before.
template <int Columns>
struct RowSum {
  static_assert(Columns % kChunk == 0 && kChunk % kLanes == 0);
  static constexpr int kVectors = Columns / kLanes;
  vfloat part[kVectors] = {};

  FASTNN_INLINE float total() const {
    Chunk sum;
    FASTNN_UNROLL
    for (int i = 0; i < kChunk / kLanes; ++i) store(sum.v + i * kLanes, joined<kVectors>(i));
    return ::total(sum);
  }

 private:
  // The sum of the parts i, i + kChunk / kLanes, ..., pairwise.
  template <int Vectors>
  FASTNN_INLINE vfloat joined(int i) const {
    if constexpr (Vectors * kLanes == kChunk) {
      return part[i];
    } else {
      return joined<Vectors / 2>(i) + joined<Vectors / 2>(i + Vectors / 2);
    }
  }
};

// add(get, j, v) for the vectors of a row, j the first column and v the number of the partial sum; get(p, j) reads at p + j. What
// it adds in columns that do not exist is taken back.
template <int Columns, int Sums, class Add>
FASTNN_INLINE void sum_row(RowSum<Columns> (&sums)[Sums], index_t cols, const Add& add) {
  constexpr int kVectors = RowSum<Columns>::kVectors;
  const auto whole = [](const float* p, index_t j) { return load(p + j); };
  index_t j = 0;
  for (; j + Columns <= cols; j += Columns) {
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) add(whole, j + v * kLanes, v);
  }
  FASTNN_UNROLL
  for (int v = 0; v < kVectors; ++v, j += kLanes) {
    if (j + kLanes <= cols) {
      add(whole, j, v);
    } else if (j < cols) {
      const int count = static_cast<int>(cols - j);
      vfloat before[Sums];
      for (int s = 0; s < Sums; ++s) before[s] = sums[s].part[v];
      add([count](const float* p, index_t at) { return load_partial(p + at, count); }, j, v);
      for (int s = 0; s < Sums; ++s) sums[s].part[v] = first_lanes(sums[s].part[v], before[s], count);
    }
  }
}

// The mean is counted from the first element on, so that a large one costs no digits.
FASTNN_INLINE float row_mean(const float* x, index_t cols, float share) {
  RowSum<64> sum[1];
  const float first = x[0];
  sum_row(sum, cols, [&](auto get, index_t j, int v) { sum[0].part[v] += get(x, j) - first; });
  return first + share * sum[0].total();
}

FASTNN_INLINE float row_squares(const float* x, index_t cols, float mean) {
  RowSum<64> sum[1];
  sum_row(sum, cols, [&](auto get, index_t j, int v) {
    const vfloat d = get(x, j) - mean;
    sum[0].part[v] = multiply_add(d, d, sum[0].part[v]);
  });
  return sum[0].total();
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
  parallel_for(a.rows, row_cycles(a.cols, 1.0), [&a, scale, share](index_t begin, index_t end) {
    // Some rows take turns: what one waits for is time for the next.
    for_rows_together(begin, end, a.cols, [&a, scale, share](index_t first, index_t count) {
      const float* const x = a.x + first * a.cols;
      float *const mean = a.mean + first, *const rstd = a.rstd + first;
      for (index_t i = 0; i < count; ++i) mean[i] = a.centered ? row_mean(x + i * a.cols, a.cols, share) : 0.0f;
      for (index_t i = 0; i < count; ++i) {
        rstd[i] = reciprocal_deviation(share * row_squares(x + i * a.cols, a.cols, mean[i]), a.epsilon);
      }
      for (index_t i = 0; i < count; ++i) {
        scale(x + i * a.cols, a.y + (first + i) * a.cols, a.cols, mean[i], rstd[i], a.gamma, a.beta);
      }
    });
  });
}

// What a row of dx takes off g = gamma dy: along, and slope times (x - mean).
struct RowSlope {
  float along, slope;
};

template <bool Scale>
FASTNN_INLINE RowSlope row_slope(const LayerNormBackward& a, index_t row, float share) {
  const float *x = a.x + row * a.cols, *dy = a.dy + row * a.cols, *gamma = a.gamma;
  const float mean = a.mean[row], rstd = a.rstd[row];
  RowSum<32> sums[2];  // of g, and of g (x - mean)
  sum_row(sums, a.cols, [&](auto get, index_t j, int v) {
    vfloat g = get(dy, j);
    if constexpr (Scale) g *= get(gamma, j);
    sums[0].part[v] += g;
    sums[1].part[v] = multiply_add(g, get(x, j) - mean, sums[1].part[v]);
  });
  return {a.centered ? share * sums[0].total() : 0.0f, share * sums[1].total() * (rstd * rstd)};
}

// Rows of dx, and what they add to the sums of their chunk.
template <bool Scale, int Rows>
FASTNN_INLINE void layer_norm_rows(const LayerNormBackward& a, index_t first, float share, float* dgamma, float* dbeta) {
  RowSlope s[Rows];
  const float *x[Rows], *dy[Rows], *gamma = a.gamma;
  float *dx[Rows], mean[Rows], rstd[Rows];
  for (int i = 0; i < Rows; ++i) {
    const index_t row = first + i;
    s[i] = row_slope<Scale>(a, row, share);
    x[i] = a.x + row * a.cols, dy[i] = a.dy + row * a.cols, dx[i] = a.dx + row * a.cols;
    mean[i] = a.mean[row], rstd[i] = a.rstd[row];
  }
  FASTNN_SIMD
  for (index_t j = 0; j < a.cols; ++j) {
    float scale_sum = dgamma[j], shift_sum = dbeta[j];
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const float above = dy[i][j], centered = x[i][j] - mean[i], g = Scale ? gamma[j] * above : above;
      scale_sum = mul_add(above, centered * rstd[i], scale_sum);
      shift_sum += above;
      dx[i][j] = rstd[i] * mul_add(-centered, s[i].slope, g - s[i].along);
    }
    dgamma[j] = scale_sum;
    dbeta[j] = shift_sum;
  }
}

// Rows [row, stop), a few of them at a time.
template <bool Scale>
inline void layer_norm_chunk(const LayerNormBackward& a, index_t row, index_t stop, float share, float* dgamma, float* dbeta) {
  constexpr int kRows = 4;
  for (; row + kRows <= stop; row += kRows) layer_norm_rows<Scale, kRows>(a, row, share, dgamma, dbeta);
  for (; row < stop; ++row) layer_norm_rows<Scale, 1>(a, row, share, dgamma, dbeta);
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
      const index_t first = chunk * plan.step, stop = min_of(a.rows, first + plan.step);
      (a.gamma ? layer_norm_chunk<true> : layer_norm_chunk<false>)(a, first, stop, share, dgamma, dbeta);
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
