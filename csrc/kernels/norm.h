// norm.h - batch normalization of rows x channels: sums over rows, statistics, application.
#pragma once

#include "folded_rows.h"
#include "math.h"
#include "simd.h"

namespace {

using fastnn::BatchNormForward;
using fastnn::BatchNormInference;
using fastnn::ImageRange;

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

  struct Chunks {
    index_t begin, end;
  };
  Chunks all() const { return {0, chunks}; }

  // Those that end with the images of a range, and begin in its unit.
  Chunks done_with(const ImageRange& range) const {
    const index_t image = rows / range.count, first = fastnn::unit_begin(range.count, range.units, range.unit) * image;
    return {max_of(range.begin * image / chunk_rows, ceil_div(first, chunk_rows)),
            range.end == range.count ? chunks : range.end * image / chunk_rows};
  }

  // body(chunks) for those that lie in more than one unit.
  template <class Body>
  void for_each_between(index_t images, index_t units, const Body& body) const {
    index_t next = 0;
    for (index_t unit = 1; unit < units; ++unit) {
      const index_t row = fastnn::unit_begin(images, units, unit) * (rows / images), chunk = row / chunk_rows;
      if (row % chunk_rows == 0 || chunk < next) continue;
      next = chunk + 1;
      body(Chunks{chunk, next});
    }
  }

  index_t scratch() const { return 2 * chunks * channels; }
  index_t rows_of(index_t chunk) const { return min_of(chunk_rows, rows - chunk * chunk_rows); }
  const float* first_row(const float* x, index_t chunk) const { return x + chunk * chunk_rows * channels; }

  // body(chunk, block) for all pieces of some chunks.
  template <class Body>
  void for_each_block(const Chunks& some, double cycles_per_element, const Body& body) const {
    const double elements = static_cast<double>(min_of(view.rows, kNormRows) * min_of(view.width, kNormColumns));
    parallel_for(max_of(0, some.end - some.begin) * blocks, elements * cycles_per_element, [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        const index_t chunk = some.begin + i / blocks, row = chunk * kNormRows, column = i % blocks * kNormColumns;
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

// Per chunk and channel: the sum of x - x0, x0 being the chunk's first row, then the sum of squares around the chunk's own center.
// Starting from x0 keeps all digits of the deviations when the mean is much larger than they are; x is read from memory once.
void chunk_statistics(const NormPlan& plan, const NormPlan::Chunks& some, const float* x, float* sums, float* squares) {
  plan.for_each_block(some, 0.4, [&](index_t chunk, const NormBlock& b) {
    const index_t channels = plan.channels, rows = plan.rows_of(chunk);
    alignas(64) float center[kNormColumns] = {}, totals[1][kNormColumns];
    const float* x0 = plan.first_row(x, chunk);
    float* chunk_sums = sums + chunk * channels;
    spread_channels(b.column, b.count, channels, center, [=](index_t c) { return x0[c]; });
    sum_block(b, ShiftedTerm{x, center}, totals);
    fold_columns(totals[0], b.count, channels, chunk_sums + b.column);
    spread_channels(b.column, b.count, channels, center, [=](index_t c) { return chunk_center(x0[c], chunk_sums[c], rows); });
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
    const float *chunk_sums = sums + chunk * plan.channels + first, *x0 = plan.first_row(x, chunk) + first;
    const double rows = static_cast<double>(plan.rows_of(chunk));
    FASTNN_SIMD
    for (index_t i = 0; i < count; ++i) average[i] += chunk_sums[i] + rows * (static_cast<double>(x0[i]) - x[first + i]);
  }
  const double all_rows = static_cast<double>(plan.rows);
  for (index_t i = 0; i < count; ++i) average[i] /= all_rows;
  for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const index_t rows = plan.rows_of(chunk);
    const double weight = static_cast<double>(rows), inverse = 1 / weight;
    const float *chunk_sums = sums + chunk * plan.channels + first, *x0 = plan.first_row(x, chunk) + first;
    const float* chunk_squares = squares + chunk * plan.channels + first;
    FASTNN_SIMD
    for (index_t i = 0; i < count; ++i) {
      const double start = static_cast<double>(x0[i]) - x[first + i], m = start + chunk_sums[i] * inverse;
      const double center = static_cast<double>(chunk_center(x0[i], chunk_sums[i], rows)) - x[first + i];
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

// What the chunks' sums come to.
void finish_statistics(const NormPlan& plan, const BatchNormForward& a, const float* sums, const float* squares) {
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
}

// y of the rows [begin, end).
void normalize_rows(const BatchNormForward& a, index_t begin, index_t end) {
  const index_t at = begin * a.channels;
  normalize(a.x + at, a.y + at, end - begin, a.channels, {a.residual ? a.residual + at : nullptr, a.relu}, [&a](index_t c) {
    return Coefficients<3>{a.mean[c], a.gamma ? a.gamma[c] * a.rstd[c] : a.rstd[c], a.beta ? a.beta[c] : 0.0f};
  });
}

void batch_norm_forward(const BatchNormForward& a) {
  if (a.channels == 0) return;
  const NormPlan plan(a.rows, a.channels);
  float* squares = a.scratch + plan.chunks * a.channels;
  chunk_statistics(plan, plan.all(), a.x, a.scratch, squares);
  finish_statistics(plan, a, a.scratch, squares);
  normalize_rows(a, 0, a.rows);
}

template <class Args>
bool batch_norm_possible(const Args& a, index_t images, index_t) {
  return a.channels > 0 && a.rows > 0 && a.rows % images == 0;
}

void batch_norm_forward_statistics(const BatchNormForward& a, const ImageRange& range) {
  const NormPlan plan(a.rows, a.channels);
  chunk_statistics(plan, plan.done_with(range), a.x, a.scratch, a.scratch + plan.chunks * a.channels);
}

void batch_norm_forward_finish(const BatchNormForward& a, index_t images, index_t units) {
  const NormPlan plan(a.rows, a.channels);
  float* squares = a.scratch + plan.chunks * a.channels;
  plan.for_each_between(images, units, [&](const auto& some) { chunk_statistics(plan, some, a.x, a.scratch, squares); });
  finish_statistics(plan, a, a.scratch, squares);
}

inline float moving_rstd(const BatchNormInference& a, index_t c) { return reciprocal_deviation(a.moving_variance[c], a.epsilon); }

void batch_norm_inference_prepare(const BatchNormInference& a) {
  for (index_t c = 0; a.mean && c < a.channels; ++c) a.mean[c] = a.moving_mean[c];
  for (index_t c = 0; a.rstd && c < a.channels; ++c) a.rstd[c] = moving_rstd(a, c);
}

void normalize_rows(const BatchNormInference& a, index_t begin, index_t end) {
  const index_t at = begin * a.channels;
  normalize(a.x + at, a.y + at, end - begin, a.channels, {a.residual ? a.residual + at : nullptr, a.relu}, [&a](index_t c) {
    const float rstd = moving_rstd(a, c);
    return Coefficients<3>{a.moving_mean[c], a.gamma ? a.gamma[c] * rstd : rstd, a.beta ? a.beta[c] : 0.0f};
  });
}

void batch_norm_inference(const BatchNormInference& a) {
  if (a.channels == 0) return;
  batch_norm_inference_prepare(a);
  normalize_rows(a, 0, a.rows);
}

// Of a BatchNormForward or a BatchNormInference.
template <class Args>
void batch_norm_apply(const Args& a, const ImageRange& range) {
  const index_t image = a.rows / range.count;
  normalize_rows(a, range.begin * image, range.end * image);
}

}  // namespace
