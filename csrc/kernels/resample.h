// resample.h - images whose rows and columns are mixed by two sparse matrices: resizing of every kind, and its gradients.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::Resample2d;

// y = w x, or y + w x.
inline void weigh(const float* x, float w, float* y, index_t n, bool first) {
  if (first) {
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) y[i] = w * x[i];
  } else {
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) y[i] = mul_add(w, x[i], y[i]);
  }
}

// The rows of an image that make up row p, added up in `mixed`; a single row of weight 1 is used where it lies. null if there is
// none.
inline const float* mix_rows(const Resample2d& a, const float* image, index_t p, float* mixed) {
  const index_t begin = a.rows.start[p], end = a.rows.start[p + 1], width = a.W * a.C;
  if (begin == end) return nullptr;
  if (end - begin == 1 && a.rows.weight[begin] == 1.0f) return image + a.rows.column[begin] * width;
  for (index_t i = begin; i < end; ++i) weigh(image + a.rows.column[i] * width, a.rows.weight[i], mixed, width, i == begin);
  return mixed;
}

inline void mix_columns(const Resample2d& a, const float* row, float* y) {
  for (index_t q = 0; q < a.Q; ++q, y += a.C) {
    const index_t begin = a.columns.start[q], end = a.columns.start[q + 1];
    for (index_t j = begin; j < end; ++j) weigh(row + a.columns.column[j] * a.C, a.columns.weight[j], y, a.C, j == begin);
    for (index_t c = 0; begin == end && c < a.C; ++c) y[c] = 0.0f;
  }
}

index_t resample2d_scratch(const Resample2d& a) { return a.slots * round_up(a.W * a.C, kLineFloats); }

void resample2d(const Resample2d& a) {
  const index_t room = round_up(a.W * a.C, kLineFloats);
  const double cycles = 20 + 10.0 * static_cast<double>(a.Q) + static_cast<double>((a.W + a.Q) * a.C);
  parallel_for(a.N * a.P, cycles, a.slots, [&a, room](index_t begin, index_t end, int slot) {
    for (index_t i = begin; i < end; ++i) {
      const float* row = mix_rows(a, a.x + i / a.P * a.H * a.W * a.C, i % a.P, a.scratch + slot * room);
      float* y = a.y + i * a.Q * a.C;
      if (row) {
        mix_columns(a, row, y);
      } else {
        for (index_t j = 0; j < a.Q * a.C; ++j) y[j] = 0.0f;
      }
    }
  });
}

}  // namespace
