// column_sums.h - column sums, by themselves and of the gradient that an activation passes on.
#pragma once

#include "activation.h"
#include "simd.h"

namespace {

using fastnn::ActivationBackward;
using fastnn::ColumnSums;

// Rows per partial sum: a function of the shape alone, at most kSumChunks sums.
constexpr index_t kSumChunks = 32, kSumRows = 64;
constexpr index_t sum_chunk_rows(index_t rows) { return max_of(kSumRows, ceil_div(rows, kSumChunks)); }
constexpr index_t sum_chunks(index_t rows) { return max_of(1, ceil_div(rows, sum_chunk_rows(rows))); }

// sum[j] += x[i, j] over the rows in order, for `Vectors` vectors of columns from j on.
template <int Vectors>
inline void add_whole(const float* x, index_t rows, index_t cols, float* sum) {
  vfloat total[Vectors];
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) total[v] = load(sum + v * kLanes);
  for (index_t i = 0; i < rows; ++i, x += cols) {
    FASTNN_UNROLL
    for (int v = 0; v < Vectors; ++v) total[v] += load(x + v * kLanes);
  }
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) store(sum + v * kLanes, total[v]);
}

// The same for `count` < kLanes columns. A vector that sticks out reads the next rows into lanes that nobody looks at, up to `end`.
inline void add_part(const float* x, index_t rows, index_t cols, float* sum, int count, const float* end) {
  vfloat total = load_partial(sum, count);
  index_t i = 0;
  for (; i < rows && end - x >= kLanes; ++i, x += cols) total += load(x);
  for (; i < rows; ++i, x += cols) total += load_partial(x, count);
  store_partial(sum, total, count);
}

// sum[j] += x[i, j] over all rows in order.
inline void add_rows(const float* x, index_t rows, index_t cols, float* sum) {
  const float* end = x + rows * cols;
  index_t j = 0;
  for (; j + 4 * kLanes <= cols; j += 4 * kLanes) add_whole<4>(x + j, rows, cols, sum + j);
  for (; j + kLanes <= cols; j += kLanes) add_whole<1>(x + j, rows, cols, sum + j);
  if (j < cols) add_part(x + j, rows, cols, sum + j, static_cast<int>(cols - j), end);
}

// y = the column sums of rows x cols numbers of which block(first, count) gives the rows from `first` on, `cycles` each. Blocks of
// rows stay in the L1 cache, so that the block may write them.
template <class Block>
void sum_columns(index_t rows, index_t cols, double cycles, float* scratch, float* y, const Block& block) {
  constexpr index_t kBlockFloats = 2048;
  const index_t step = sum_chunk_rows(rows), chunks = sum_chunks(rows), some = max_of(1, kBlockFloats / max_of(cols, 1));
  parallel_for(chunks, cycles * static_cast<double>(step * cols), [&](index_t begin, index_t end) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = scratch + chunk * cols;
      for (index_t j = 0; j < cols; ++j) sum[j] = 0.0f;
      const index_t last = min_of(rows, (chunk + 1) * step);
      for (index_t i = chunk * step; i < last; i += some) {
        const index_t count = min_of(some, last - i);
        add_rows(block(i, count), count, cols, sum);
      }
    }
  });
  for (index_t j = 0; j < cols; ++j) y[j] = 0.0f;
  for (index_t chunk = 0; chunk < chunks; ++chunk) {
    const float* __restrict sum = scratch + chunk * cols;
    FASTNN_SIMD
    for (index_t j = 0; j < cols; ++j) y[j] += sum[j];
  }
}

index_t column_sums_scratch(const ColumnSums& a) { return sum_chunks(a.rows) * a.cols; }

void column_sums(const ColumnSums& a) {
  sum_columns(a.rows, a.cols, 0.3, a.scratch, a.y, [&a](index_t first, index_t) { return a.x + first * a.cols; });
}

index_t activation_backward_scratch(const ActivationBackward& a) { return a.sums ? sum_chunks(a.n / a.cols) * a.cols : 0; }

void activation_backward(const ActivationBackward& a) {
  with_activation(a.kind, a.alpha, [&a](auto f) {
    const float* at = f.kSlopeOfOutput ? a.y : a.x;
    const auto range = [&a, f, at](index_t first, index_t n) {
      map(n, Slope<decltype(f)>{f}, a.dx + first, a.dy + first, at + first);
      return a.dx + first;
    };
    if (a.sums) {
      const index_t cols = a.cols;
      sum_columns(a.n / cols, cols, f.kCycles + 0.3, a.scratch, a.sums,
                  [&range, cols](index_t first, index_t count) { return range(first * cols, count * cols); });
    } else {
      parallel_elements(a.n, f.kCycles, [&range](index_t begin, index_t end) { range(begin, end - begin); });
    }
  });
}

}  // namespace
