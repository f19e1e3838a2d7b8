// unpool.h - the gradient of putting values where the largest ones of windows were.
#pragma once

#include "simd.h"

namespace {

using fastnn::MaxUnpool2dBackward;

template <class Index>
void pick(const MaxUnpool2dBackward& a, const Index* index) {
  const fastnn::Pool2dShape& s = a.s;
  parallel_for(s.N * s.P, 12.0 * static_cast<double>(s.Q * s.C), [&a, &s, index](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const float* image = a.dy + row / s.P * s.H * s.W * s.C;
      for (index_t q = 0; q < s.Q; ++q) {
        const index_t at = (row * s.Q + q) * s.C, top = row % s.P * s.stride_h - s.pad_top, left = q * s.stride_w - s.pad_left;
        for (index_t c = 0; c < s.C; ++c) {
          const index_t place = static_cast<index_t>(index[at + c]), h = top + place / s.S, w = left + place % s.S;
          const bool inside = h >= 0 && h < s.H && w >= 0 && w < s.W;
          a.dx[at + c] = inside ? image[(h * s.W + w) * s.C + c] : 0.0f;
        }
      }
    }
  });
}

void max_unpool2d_backward(const MaxUnpool2dBackward& a) { a.index ? pick(a, a.index) : pick(a, a.wide_index); }

}  // namespace
