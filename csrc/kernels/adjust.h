// adjust.h - contrast and brightness of images, one random factor an image.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::AdjustBackward;
using fastnn::AdjustForward;

// body(first element, factor, channel means or null) for every pixel.
template <class Body>
inline void for_each_pixel(const AdjustForward& a, const Body& body) {
  parallel_for(a.N * a.pixels, 5 + static_cast<double>(a.C), [&a, &body](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t n = i / a.pixels;
      body(i * a.C, mul_add(a.u[n], a.high - a.low, a.low), a.mean ? a.mean + n * a.C : nullptr);
    }
  });
}

// Before clipping.
FASTNN_INLINE float adjusted(float x, float factor, const float* mean, index_t c) {
  return mean ? mul_add(factor, x - mean[c], mean[c]) : x + factor;
}

void adjust_forward(const AdjustForward& a) {
  for_each_pixel(a, [&a](index_t at, float factor, const float* mean) {
    for (index_t c = 0; c < a.C; ++c) {
      const float z = adjusted(a.x[at + c], factor, mean, c), floored = z < a.lower ? a.lower : z;
      a.y[at + c] = floored > a.upper ? a.upper : floored;
    }
  });
}

void adjust_backward(const AdjustBackward& b) {
  const AdjustForward& a = b.f;
  for_each_pixel(a, [&a, &b](index_t at, float factor, const float* mean) {
    for (index_t c = 0; c < a.C; ++c) {
      const float z = adjusted(a.x[at + c], factor, mean, c);
      b.dz[at + c] = z < a.lower || z > a.upper ? 0.0f : b.dy[at + c];
    }
  });
}

}  // namespace
