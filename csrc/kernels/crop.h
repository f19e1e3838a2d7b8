// crop.h - cropping and padding sequences, images and volumes.
#pragma once

#include "merge.h"
#include "simd.h"

namespace {

using fastnn::CropPad;

inline void set_floats(float* y, index_t n, float value) {
  FASTNN_SIMD
  for (index_t i = 0; i < n; ++i) y[i] = value;
}

// One row of y: along the innermost axis what lies inside of x is one run.
inline void crop_pad_row(const CropPad& a, index_t row) {
  const index_t width = a.out[2] * a.C;
  float* y = a.y + row * width;
  const index_t j = row % a.out[1] + a.offset[1], i = row / a.out[1] % a.out[0] + a.offset[0], n = row / (a.out[0] * a.out[1]);
  const index_t begin = min_of(max_of(-a.offset[2], 0), a.out[2]), end = max_of(begin, min_of(a.size[2] - a.offset[2], a.out[2]));
  if (i < 0 || i >= a.size[0] || j < 0 || j >= a.size[1] || begin == end) return set_floats(y, width, a.value);
  const float* x = a.x + (((n * a.size[0] + i) * a.size[1] + j) * a.size[2] + begin + a.offset[2]) * a.C;
  set_floats(y, begin * a.C, a.value);
  copy_floats(x, y + begin * a.C, (end - begin) * a.C);
  set_floats(y + end * a.C, (a.out[2] - end) * a.C, a.value);
}

void crop_pad(const CropPad& a) {
  const double cycles = 20 + 0.5 * static_cast<double>(a.out[2] * a.C);
  parallel_for(a.N * a.out[0] * a.out[1], cycles, [&a](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) crop_pad_row(a, row);
  });
}

}  // namespace
