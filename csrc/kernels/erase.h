// erase.h - rectangles of images overwritten; rectangles at random.
#pragma once

#include "affine.h"
#include "merge.h"
#include "simd.h"

namespace {

using fastnn::Erase;
using fastnn::RandomRectangles;

// [begin, end) of an axis of n pixels whose numbers lie in [start, start + length).
inline void covered(double start, double length, index_t n, std::int32_t* begin, std::int32_t* end) {
  const auto first_from = [n](double v) {
    const index_t below = static_cast<index_t>(v);
    return static_cast<std::int32_t>(min_of(n, below + (static_cast<double>(below) < v)));
  };
  *begin = first_from(start), *end = first_from(start + length);
}

// [begin, end) of an axis of n pixels, `size` of them around the one that u chooses.
inline void centered(float u, index_t size, index_t n, std::int32_t* begin, std::int32_t* end) {
  const index_t first = static_cast<index_t>(static_cast<double>(u) * static_cast<double>(n)) - size / 2;
  *begin = static_cast<std::int32_t>(max_of(0, first)), *end = static_cast<std::int32_t>(min_of(n, first + size));
}

inline void random_rectangle(const RandomRectangles& a, const float* u, std::int32_t* r) {
  if (static_cast<double>(u[5]) >= between(a.chance, u[4])) {
    r[0] = r[1] = r[2] = r[3] = 0;
  } else if (a.shares) {
    const double H = static_cast<double>(a.H), W = static_cast<double>(a.W);
    const double height = __builtin_sqrt(between(a.area, u[0])) * H, width = __builtin_sqrt(between(a.area, u[1])) * W;
    covered(static_cast<double>(u[2]) * (H - height), height, a.H, r, r + 1);
    covered(static_cast<double>(u[3]) * (W - width), width, a.W, r + 2, r + 3);
  } else {
    centered(u[2], a.rows, a.H, r, r + 1);
    centered(u[3], a.columns, a.W, r + 2, r + 3);
  }
}

void random_rectangles(const RandomRectangles& a) {
  parallel_for(a.N, 150, [&a](index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) random_rectangle(a, a.u + 8 * n, a.rectangles + 4 * n);
  });
}

// Pixels [begin, end) of a row of y, which begins at element `at`.
inline void overwrite(const Erase& a, index_t at, index_t begin, index_t end) {
  if (a.noise) {
    const float scale = a.high - a.low;
    FASTNN_SIMD
    for (index_t i = at + begin * a.C; i < at + end * a.C; ++i) a.y[i] = mul_add(a.noise[i], scale, a.low);
    return;
  }
  for (index_t w = begin; w < end; ++w) copy_floats(a.value, a.y + at + w * a.C, a.C);
}

void erase(const Erase& a) {
  const index_t width = a.W * a.C;
  parallel_for(a.N * a.H, 20 + 0.5 * static_cast<double>(width), [&a, width](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const std::int32_t* r = a.rectangles + row / a.H * 4;
      const index_t h = row % a.H;
      copy_floats(a.x + row * width, a.y + row * width, width);
      if (r[0] <= h && h < r[1]) overwrite(a, row * width, max_of(r[2], 0), min_of(r[3], a.W));
    }
  });
}

}  // namespace
