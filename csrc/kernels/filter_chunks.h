// filter_chunks.h - how a filter gradient's sum over output rows is cut, and the bias's part of it.
#pragma once

#include "column_sums.h"
#include "conv_shape.h"

namespace {

using fastnn::Conv2dBackwardFilter;

constexpr index_t kFilterChunks = 16;

// Output rows (counted over N P) per chunk.
inline index_t filter_chunk_rows(const Conv2dShape& s, index_t most = kFilterChunks) {
  return max_of(1, ceil_div(s.N * s.P, most));
}
inline index_t filter_chunk_count(const Conv2dShape& s, index_t most = kFilterChunks) {
  return max_of(1, ceil_div(s.N * s.P, filter_chunk_rows(s, most)));
}

// sum[k] += sum over pixels of dy[pixel, k]: some channels at a time, or pixels of few channels seen as longer ones.
inline void add_pixels(const float* dy, index_t pixels, index_t K, float* sum) {
  constexpr index_t kColumns = 64;
  if (K == 0) return;
  float sums[kColumns + kLanes] = {};
  if (K <= kColumns) {
    const index_t width = kColumns / K * K, rows = pixels * K / width;
    add_rows(dy, rows, width, sums);
    for (index_t j = 0; j < pixels * K - rows * width; ++j) sums[j] += dy[rows * width + j];
    for (index_t first = 0; first < width; first += K) {
      for (index_t k = 0; k < K; ++k) sum[k] += sums[first + k];
    }
    return;
  }
  for (index_t k = 0, columns; k < K; k += columns) {
    columns = K - k >= 4 * kLanes ? 4 * kLanes : min_of(kLanes, K - k);
    copy_or_zero(sums, nullptr, columns);
    if (columns == 4 * kLanes) {
      add_vectors<4>(dy + k, pixels, K, sums);
    } else if (columns == kLanes) {
      add_vectors<1>(dy + k, pixels, K, sums);
    } else {
      for (index_t i = 0; i < pixels; ++i) {
        for (index_t j = 0; j < columns; ++j) sums[j] += dy[i * K + k + j];
      }
    }
    for (index_t j = 0; j < columns; ++j) sum[k + j] += sums[j];
  }
}

}  // namespace
