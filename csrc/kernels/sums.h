// sums.h - column sums.
#pragma once

#include "simd.h"

namespace {

using fastnn::ColumnSums;

// Rows per partial sum: a function of the shape alone, at most kSumChunks sums.
constexpr index_t kSumChunks = 32, kSumRows = 64;
constexpr index_t sum_chunk_rows(index_t rows) { return max_of(kSumRows, ceil_div(rows, kSumChunks)); }

index_t column_sums_scratch(const ColumnSums& a) { return max_of(1, ceil_div(a.rows, sum_chunk_rows(a.rows))) * a.cols; }

// sum[j] = x[0, j] + x[1, j] + ... in this order, for so many rows of Vectors vectors, of the last of which `last` lanes are used.
template <int Vectors>
inline void sum_rows(const float* x, index_t step, index_t rows, float* sum, int last) {
  vfloat acc[Vectors] = {};
  for (index_t i = 0; i < rows; ++i, x += step) {
    FASTNN_UNROLL
    for (int j = 0; j < Vectors - 1; ++j) acc[j] += load(x + j * kLanes);
    acc[Vectors - 1] += load_partial(x + (Vectors - 1) * kLanes, last);
  }
  FASTNN_UNROLL
  for (int j = 0; j < Vectors - 1; ++j) store(sum + j * kLanes, acc[j]);
  store_partial(sum + (Vectors - 1) * kLanes, acc[Vectors - 1], last);
}

constexpr int kSumVectors = 8;

// The same for 1 <= cols <= Vectors * kLanes.
template <int Vectors>
inline void sum_columns(const float* x, index_t step, index_t rows, float* sum, index_t cols) {
  constexpr index_t kBefore = (Vectors - 1) * kLanes;
  if constexpr (Vectors > 1) {
    if (cols <= kBefore) return sum_columns<Vectors - 1>(x, step, rows, sum, cols);
  }
  sum_rows<Vectors>(x, step, rows, sum, static_cast<int>(cols - kBefore));
}

void column_sums(const ColumnSums& a) {
  const index_t step = sum_chunk_rows(a.rows), chunks = max_of(1, ceil_div(a.rows, step)), cols = a.cols;
  parallel_for(chunks, 0.3 * step * cols, [&](index_t begin, index_t end) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      const index_t first = chunk * step, rows = min_of(step, a.rows - first), block = kSumVectors * kLanes;
      for (index_t j = 0; j < cols; j += block) {
        sum_columns<kSumVectors>(a.x + first * cols + j, cols, rows, a.scratch + chunk * cols + j, min_of(block, cols - j));
      }
    }
  });
  for (index_t j = 0; j < cols; ++j) a.y[j] = 0.0f;
  for (index_t chunk = 0; chunk < chunks; ++chunk) {
    const float* __restrict sum = a.scratch + chunk * cols;
    FASTNN_SIMD
    for (index_t j = 0; j < cols; ++j) a.y[j] += sum[j];
  }
}

}  // namespace
