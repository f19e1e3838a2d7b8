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

// How the sum is cut: into runs of output rows, by the shape alone, and each into parts of every group's columns, whole panels of
// them. A filter of few columns keeps some runs, for the threads. Runs of so many images that one more is no matter have whole
// ones.
struct FilterCut {
  static constexpr index_t kSums = 1 << 20, kColumns = 32, kPieces = 8, kManyImages = 4;
  index_t chunks, chunk_rows, parts, part_columns, images, image_rows, rows;

  // The first output row of a chunk.
  index_t begin(index_t chunk) const {
    return images > 0 ? fastnn::unit_begin(images, chunks, chunk) * image_rows : min_of(rows, chunk * chunk_rows);
  }

  explicit FilterCut(const Conv2dShape& s) : image_rows(s.P), rows(out_rows(s)) {
    const index_t outputs = s.K / s.groups, least = ceil_div(kPieces, max_of(1, ceil_div(outputs, kColumns)));
    const index_t most = min_of(kFilterChunks, max_of(least, kSums / max_of(1, taps(s) * s.K)));
    images = s.N >= kManyImages * most ? s.N : 0;
    chunks = images > 0 ? most : filter_chunk_count(s, most), chunk_rows = filter_chunk_rows(s, most);
    const index_t panels = max_of(1, ceil_div(outputs, kPanel));
    part_columns = ceil_div(panels, min_of(panels, ceil_div(kFilterChunks, most))) * kPanel;
    parts = max_of(1, ceil_div(outputs, part_columns));
  }
};

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
