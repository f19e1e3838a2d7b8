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

// sum[k] += sum over pixels of dy[pixel, k]. Pixels of few channels are seen as longer ones, whose sums are added up in the end.
inline void add_pixels(const float* dy, index_t pixels, index_t K, float* sum) {
  constexpr index_t kColumns = 64;
  if (K == 0) return;
  if (K > kColumns) {
    index_t k = 0;
    for (; k + 4 * kLanes <= K; k += 4 * kLanes) add_vectors<4>(dy + k, pixels, K, sum + k);
    for (; k + kLanes <= K; k += kLanes) add_vectors<1>(dy + k, pixels, K, sum + k);
    for (index_t i = 0; i < pixels; ++i) {
      FASTNN_SIMD
      for (index_t j = k; j < K; ++j) sum[j] += dy[i * K + j];
    }
    return;
  }
  float sums[kColumns + kLanes] = {};
  const index_t width = kColumns / K * K, rows = pixels * K / width;
  add_rows(dy, rows, width, sums);
  for (index_t j = 0; j < pixels * K - rows * width; ++j) sums[j] += dy[rows * width + j];
  for (index_t first = 0; first < width; first += K) {
    for (index_t k = 0; k < K; ++k) sum[k] += sums[first + k];
  }
}

}  // namespace
