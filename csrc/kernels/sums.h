// sums.h - column sums.
#pragma once

#include "simd.h"

namespace {

using fastnn::ColumnSums;

// Rows per partial sum: a function of the shape alone, at most kSumChunks sums.
constexpr index_t kSumChunks = 32, kSumRows = 64;
constexpr index_t sum_chunk_rows(index_t rows) { return max_of(kSumRows, ceil_div(rows, kSumChunks)); }

index_t column_sums_scratch(const ColumnSums& a) { return max_of(1, ceil_div(a.rows, sum_chunk_rows(a.rows))) * a.cols; }

void column_sums(const ColumnSums& a) {
  const index_t step = sum_chunk_rows(a.rows), chunks = max_of(1, ceil_div(a.rows, step)), cols = a.cols;
  parallel_for(chunks, 0.3 * step * cols, [&](index_t begin, index_t end) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* __restrict sum = a.scratch + chunk * cols;
      for (index_t j = 0; j < cols; ++j) sum[j] = 0.0f;
      for (index_t i = chunk * step; i < min_of(a.rows, (chunk + 1) * step); ++i) {
        const float* __restrict row = a.x + i * cols;
        FASTNN_SIMD
        for (index_t j = 0; j < cols; ++j) sum[j] += row[j];
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
