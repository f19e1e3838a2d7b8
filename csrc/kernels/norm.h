// norm.h - batch normalization of rows x channels: sums over rows, statistics, application.
#pragma once

#include "folded_rows.h"
#include "math.h"
#include "simd.h"

namespace {

using fastnn::BatchNormForward;
using fastnn::BatchNormInference;

constexpr index_t kNormRows = 128;    // rows of a chunk: short float sums, later combined in double
constexpr index_t kNormColumns = 64;  // columns that a sum works on at a time; a multiple of kLanes

// The terms of the sums, for F = vfloat or float. add(offset in the arrays, column in the block, one total per sum).
template <class F>
inline F read_as(const float* p) {
  if constexpr (sizeof(F) == sizeof(float)) {
    return *p;
  } else {
    return load(p);
  }
}

template <class F>
inline void write_as(float* p, F value) {
  if constexpr (sizeof(F) == sizeof(float)) {
    *p = value;
  } else {
    store(p, value);
  }
}

struct ShiftedTerm {  // x - shift
  static constexpr int kSums = 1;
  const float* x;
  const float* shift;

  template <class F>
  inline void add(index_t at, index_t column, F* totals) const {
    totals[0] += read_as<F>(x + at) - read_as<F>(shift + column);
  }
};

struct SquareTerm {  // (x - center)^2
  static constexpr int kSums = 1;
  const float* x;
  const float* center;

  template <class F>
  inline void add(index_t at, index_t column, F* totals) const {
    const F d = read_as<F>(x + at) - read_as<F>(center + column);
    totals[0] += d * d;
  }
};

// Up to kNormColumns columns of one chunk of rows.
struct NormBlock {
  const FoldedRows& view;
  index_t row_begin, row_end, column, count;
};

// totals[s][i] = sum of term s over the rows [row_begin, row_end), for `Vectors` vectors of columns from `first` on.
template <int Vectors, class Term>
inline void sum_vectors(const NormBlock& b, index_t row_end, index_t first, const Term& term, float (*totals)[kNormColumns]) {
  vfloat sums[Vectors][Term::kSums] = {};
  for (index_t row = b.row_begin; row < row_end; ++row) {
    const index_t at = row * b.view.width + b.column + first;
    FASTNN_UNROLL
    for (int v = 0; v < Vectors; ++v) term.add(at + v * kLanes, first + v * kLanes, sums[v]);
  }
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    FASTNN_UNROLL
    for (int s = 0; s < Term::kSums; ++s) store(totals[s] + first + v * kLanes, sums[v][s]);
  }
}

// totals[s][i] = sum of term s over the rows of the block. A vector that sticks out of its row reads the start of the next
// one into lanes that nobody looks at, which is there and long enough: fewer columns stick out than there are channels. The
// last row of the array has no next one and goes column by column.
template <class Term>
void sum_block(const NormBlock& b, const Term& term, float (*totals)[kNormColumns]) {
  const index_t row_end = min_of(b.row_end, b.view.rows - 1), columns = round_up(b.count, kLanes);
  index_t first = 0;
  for (; first + 4 * kLanes <= columns; first += 4 * kLanes) sum_vectors<4>(b, row_end, first, term, totals);
  for (; first + 2 * kLanes <= columns; first += 2 * kLanes) sum_vectors<2>(b, row_end, first, term, totals);
  for (; first < columns; first += kLanes) sum_vectors<1>(b, row_end, first, term, totals);
  if (row_end == b.row_end) return;
  const index_t count = min_of(b.count, b.view.last_width - b.column);
  for (index_t i = 0; i < count; ++i) {
    float last[Term::kSums] = {};
    term.add(row_end * b.view.width + b.column + i, i, last);
    for (int s = 0; s < Term::kSums; ++s) totals[s][i] += last[s];
  }
}

// out[c] = the sum of the columns that belong to channel c.
inline void fold_columns(const float* totals, index_t count, index_t channels, float* out) {
  for (index_t c = 0; c < min_of(count, channels); ++c) {
    double sum = 0;
    for (index_t i = c; i < count; i += channels) sum += totals[i];
    out[c] = static_cast<float>(sum);
  }
}

// Chunks of rows x blocks of columns: the pieces of work of a sum over rows, one partial result per chunk and channel.
struct NormPlan {
  FoldedRows view;
  index_t chunks, blocks, chunk_rows, rows, channels;

  NormPlan(index_t x_rows, index_t x_channels)
      : view(x_rows, x_channels, kNormColumns),
        chunks(ceil_div(view.rows, kNormRows)),
        blocks(ceil_div(view.width, kNormColumns)),
        chunk_rows(kNormRows * view.fold),
        rows(x_rows),
        channels(x_channels) {}

  index_t scratch() const { return 2 * chunks * channels; }
  index_t rows_of(index_t chunk) const { return min_of(chunk_rows, rows - chunk * chunk_rows); }

  // body(chunk, block) for all pieces.
  template <class Body>
  void for_each_block(double cycles_per_element, const Body& body) const {
    const double elements = static_cast<double>(min_of(view.rows, kNormRows) * min_of(view.width, kNormColumns));
    parallel_for(chunks * blocks, elements * cycles_per_element, [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t chunk = i / blocks, row = chunk * kNormRows, column = i % blocks * kNormColumns;
        body(chunk, NormBlock{view, row, min_of(row + kNormRows, view.rows), column, min_of(kNormColumns, view.width - column)});
      }
    });
  }

  // body(first, count) for ranges of at most kNormColumns channels.
  template <class Body>
  void for_each_channel_range(const Body& body) const {
    parallel_for(channels, static_cast<double>(chunks) * 2, [&](index_t begin, index_t end) {
      for (index_t c = begin; c < end; c += kNormColumns) body(c, min_of(kNormColumns, end - c));
    });
  }
};

// About the mean of a chunk of `rows` values, from the sum of their differences to x0.
inline float chunk_center(float x0, float sum, index_t rows) { return x0 + sum / static_cast<float>(rows); }

// Per chunk and channel: the sum of x - x[0], then the sum of squares around the chunk's own center. Starting from the first
// row keeps all digits of the deviations when the mean is much larger than they are; x is read from memory once.
void chunk_statistics(const NormPlan& plan, const float* x, float* sums, float* squares) {
  plan.for_each_block(0.4, [&](index_t chunk, const NormBlock& b) {
    const index_t channels = plan.channels, rows = plan.rows_of(chunk);
    alignas(64) float center[kNormColumns] = {}, totals[1][kNormColumns];
    float* chunk_sums = sums + chunk * channels;
    spread_channels(b.column, b.count, channels, center, [=](index_t c) { return x[c]; });
    sum_block(b, ShiftedTerm{x, center}, totals);
    fold_columns(totals[0], b.count, channels, chunk_sums + b.column);
    spread_channels(b.column, b.count, channels, center, [=](index_t c) { return chunk_center(x[c], chunk_sums[c], rows); });
    sum_block(b, SquareTerm{x, center}, totals);
    fold_columns(totals[0], b.count, channels, squares + chunk * channels + b.column);
  });
}

// Joins the chunks in order. With m the mean of a chunk,
//   sum (x - mean)^2 = sum (x - center)^2 + rows ((m - mean)^2 - (m - center)^2);
// m, mean and center are counted from x[0] here.
void join_statistics(const NormPlan& plan, const float* x, const float* sums, const float* squares, float* mean, float* variance,
                     index_t first, index_t count) {
  double average[kNormColumns] = {}, square[kNormColumns] = {};
  for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const float* chunk_sums = sums + chunk * plan.channels + first;
    FASTNN_SIMD
    for (index_t i = 0; i < count; ++i) average[i] += chunk_sums[i];
  }
  const double all_rows = static_cast<double>(plan.rows);
  for (index_t i = 0; i < count; ++i) average[i] /= all_rows;
  for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const index_t rows = plan.rows_of(chunk);
    const double weight = static_cast<double>(rows), inverse = 1 / weight;
    const float* chunk_sums = sums + chunk * plan.channels + first;
    const float* chunk_squares = squares + chunk * plan.channels + first;
    FASTNN_SIMD
    for (index_t i = 0; i < count; ++i) {
      const float x0 = x[first + i];
      const double m = chunk_sums[i] * inverse, center = static_cast<double>(chunk_center(x0, chunk_sums[i], rows)) - x0;
      square[i] += chunk_squares[i] + weight * ((m - average[i]) * (m - average[i]) - (m - center) * (m - center));
    }
  }
  for (index_t i = 0; i < count; ++i) {
    mean[i] = static_cast<float>(x[first + i] + average[i]);
    variance[i] = static_cast<float>(square[i] < 0 ? 0 : square[i] / all_rows);
  }
}

// Forward and backward, so that both agree on what a relu behind it lets through.
template <class F>
FASTNN_INLINE F normalized(F centered, F scale, F offset) {
  return centered * scale + offset;
}

inline float reciprocal_deviation(float variance, float epsilon) { return 1.0f / __builtin_sqrtf(variance + epsilon); }

// The same for all rows.
template <int Count, class Of, class Body>
void apply_by_channel(index_t rows, index_t channels, double cycles, const Of& of, const Body& body) {
  const FoldedRows view(rows, channels, kApplyFold);
  parallel_for(view.rows, cycles * static_cast<double>(view.width),
               [&](index_t begin, index_t end) { apply_to_rows<Count>(view, channels, begin, end, of, body); });
}

// What follows the normalization.
struct NormEpilogue {
  const float* residual;  // or null
  bool relu;
};

// y = (x - mean) scale + offset, then the epilogue; of(c) = {mean, scale, offset}.
template <bool Residual, bool Relu, class Of>
void normalize_with(const float* x, float* y, index_t rows, index_t channels, const float* residual, const Of& of) {
  apply_by_channel<3>(rows, channels, 0.5, of, [=](index_t at, index_t n, const float(*table)[kApplyColumns]) {
    const float* __restrict from = x + at;
    const float* __restrict more = residual + (Residual ? at : 0);
    float* __restrict to = y + at;
    const float* __restrict mean = table[0], * __restrict scale = table[1], * __restrict offset = table[2];
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) {
      float z = normalized(from[i] - mean[i], scale[i], offset[i]);
      if constexpr (Residual) z += more[i];
      to[i] = Relu && z < 0.0f ? 0.0f : z;
    }
  });
}

template <class Of>
void normalize(const float* x, float* y, index_t rows, index_t channels, const NormEpilogue& epilogue, const Of& of) {
  const float* residual = epilogue.residual;
  if (residual) {
    epilogue.relu ? normalize_with<true, true>(x, y, rows, channels, residual, of)
                  : normalize_with<true, false>(x, y, rows, channels, residual, of);
  } else {
    epilogue.relu ? normalize_with<false, true>(x, y, rows, channels, residual, of)
                  : normalize_with<false, false>(x, y, rows, channels, residual, of);
  }
}

index_t batch_norm_forward_scratch(const BatchNormForward& a) {
  return a.channels == 0 ? 0 : NormPlan(a.rows, a.channels).scratch();
}

void batch_norm_forward(const BatchNormForward& a) {
  if (a.channels == 0) return;
  const NormPlan plan(a.rows, a.channels);
  float* sums = a.scratch;
  float* squares = sums + plan.chunks * a.channels;
  chunk_statistics(plan, a.x, sums, squares);
  plan.for_each_channel_range([&](index_t first, index_t count) {
    float variance[kNormColumns];
    join_statistics(plan, a.x, sums, squares, a.mean + first, variance, first, count);
    const float rest = static_cast<float>(1.0 - a.momentum);
    for (index_t i = 0; i < count; ++i) {
      const index_t c = first + i;
      a.rstd[c] = reciprocal_deviation(variance[i], a.epsilon);
      a.moving_mean[c] = a.momentum * a.moving_mean[c] + rest * a.mean[c];
      a.moving_variance[c] = a.momentum * a.moving_variance[c] + rest * variance[i];
    }
  });
  normalize(a.x, a.y, a.rows, a.channels, {a.residual, a.relu}, [&a](index_t c) {
    return Coefficients<3>{a.mean[c], a.gamma ? a.gamma[c] * a.rstd[c] : a.rstd[c], a.beta ? a.beta[c] : 0.0f};
  });
}

void batch_norm_inference(const BatchNormInference& a) {
  if (a.channels == 0) return;
  const auto rstd = [&a](index_t c) { return reciprocal_deviation(a.moving_variance[c], a.epsilon); };
  for (index_t c = 0; a.mean && c < a.channels; ++c) a.mean[c] = a.moving_mean[c];
  for (index_t c = 0; a.rstd && c < a.channels; ++c) a.rstd[c] = rstd(c);
  normalize(a.x, a.y, a.rows, a.channels, {a.residual, a.relu}, [&a, &rstd](index_t c) {
    return Coefficients<3>{a.moving_mean[c], a.gamma ? a.gamma[c] * rstd(c) : rstd(c), a.beta ? a.beta[c] : 0.0f};
  });
}

}  // namespace
