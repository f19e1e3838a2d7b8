// depth.h - the third axis of a 3-D convolution: what the depth taps of an output slice read, side by side in its channels, and
// back.
#pragma once

#include "conv.h"

namespace {

using fastnn::DepthShape;
using fastnn::FoldDepth;
using fastnn::UnfoldDepth;

// Floats of a pixel of x, and of the pixel of y that holds all of its taps.
inline index_t shallow(const DepthShape& s) { return s.groups * s.channels; }
inline index_t deep(const DepthShape& s) { return s.taps * shallow(s); }

void unfold_depth(const UnfoldDepth& a) {
  const DepthShape& s = a.s;
  const index_t width = s.channels, step = s.taps * width;
  parallel_for(s.N * s.O, 0.5 * s.pixels * deep(s), [&](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) {
      const index_t n = item / s.O, o = item % s.O;
      for (index_t tap = 0; tap < s.taps; ++tap) {
        const index_t d = o * s.stride - s.pad + tap * s.dilation;
        const float* from = d >= 0 && d < s.D ? a.x + (n * s.D + d) * s.pixels * shallow(s) : nullptr;
        float* to = a.y + item * s.pixels * deep(s) + tap * width;
        for (index_t i = 0; i < s.pixels * s.groups; ++i) copy_or_zero(to + i * step, from ? from + i * width : nullptr, width);
      }
    }
  });
}

// y of one slice: the sum of what its taps have, tap by tap.
inline void fold_slice(const FoldDepth& a, index_t n, index_t d, float* y) {
  const DepthShape& s = a.s;
  const index_t width = s.channels, step = s.taps * width;
  copy_or_zero(y, nullptr, s.pixels * shallow(s));
  for (index_t tap = 0; tap < s.taps; ++tap) {
    const index_t place = d + s.pad - tap * s.dilation;
    if (place < 0 || place % s.stride != 0 || place / s.stride >= s.O) continue;
    const float* from = a.x + (n * s.O + place / s.stride) * s.pixels * deep(s) + tap * width;
    for (index_t i = 0; i < s.pixels * s.groups; ++i) {
      float* __restrict sum = y + i * width;
      const float* __restrict values = from + i * step;
      FASTNN_SIMD
      for (index_t c = 0; c < width; ++c) sum[c] += values[c];
    }
  }
}

void fold_depth(const FoldDepth& a) {
  const DepthShape& s = a.s;
  const index_t size = s.pixels * shallow(s);
  parallel_for(s.N * s.D, 0.5 * s.pixels * deep(s), [&](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) {
      float* y = a.y + item * size;
      fold_slice(a, item / s.D, item % s.D, y);
      if (a.relu_output) apply_relu_slope(y, a.relu_output + item * size, size);
      for (index_t i = 0; a.bias && i < s.pixels; ++i) activate_row(y + i * shallow(s), shallow(s), a.bias, a.activation, a.alpha);
      if (!a.bias && a.activation != Activation::linear) activate_row(y, size, nullptr, a.activation, a.alpha);
    }
  });
}

}  // namespace
