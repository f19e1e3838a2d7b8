// filter_chunks.h - how a filter gradient's sum over output rows is cut, and the bias's part of it.
#pragma once

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

// sum[k] += sum over pixels of dy[pixel, k].
inline void add_pixels(const float* dy, index_t pixels, index_t K, float* sum) {
  constexpr int kChains = 4;  // additions under way at a time
  for (index_t k = 0; k < K; k += kLanes) {
    const int count = static_cast<int>(min_of(kLanes, K - k));
    vfloat total[kChains] = {};
    for (index_t i = 0; i < pixels; i += kChains) {
      FASTNN_UNROLL
      for (int j = 0; j < kChains; ++j) {
        if (i + j < pixels) total[j] += load_partial(dy + (i + j) * K + k, count);
      }
    }
    store_partial(sum + k, load_partial(sum + k, count) + ((total[0] + total[1]) + (total[2] + total[3])), count);
  }
}

}  // namespace
