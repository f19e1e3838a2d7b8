// embedding.h - rows of a table by number, and the gradient of the table.
#pragma once

#include "crop.h"
#include "merge.h"
#include "simd.h"

namespace {

using fastnn::EmbeddingBackward;
using fastnn::EmbeddingForward;

// The row that an id names, -1 if it names none.
inline index_t row_of(float id, index_t rows) {
  if (!(id >= 0.0f && id < static_cast<float>(rows))) return -1;
  const index_t row = static_cast<index_t>(id);
  return static_cast<float>(row) == id ? row : -1;
}

void embedding_forward(const EmbeddingForward& a) {
  parallel_for(a.n, 20 + 0.5 * static_cast<double>(a.D), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t row = row_of(a.ids[i], a.V);
      if (row < 0) {
        set_floats(a.y + i * a.D, a.D, __builtin_nanf(""));
      } else {
        copy_floats(a.table + row * a.D, a.y + i * a.D, a.D);
      }
    }
  });
}

// A thread has some columns of all rows: each sum is made by one thread, in the order of the ids.
void embedding_backward(const EmbeddingBackward& a) {
  const double cycles = kLineFloats * 0.3 * static_cast<double>(a.V) + 10.0 * static_cast<double>(a.n);
  parallel_for(ceil_div(a.D, kLineFloats), cycles, [&a](index_t begin, index_t end) {
    const index_t first = begin * kLineFloats, width = min_of(a.D, end * kLineFloats) - first;
    for (index_t v = 0; v < a.V; ++v) set_floats(a.dtable + v * a.D + first, width, 0.0f);
    for (index_t i = 0; i < a.n; ++i) {
      const index_t row = row_of(a.ids[i], a.V);
      if (row < 0) continue;
      const float* dy = a.dy + i * a.D + first;
      float* sum = a.dtable + row * a.D + first;
      FASTNN_SIMD
      for (index_t d = 0; d < width; ++d) sum[d] += dy[d];
    }
  });
}

}  // namespace
