// affine.h - images turned, zoomed, moved and flipped, one matrix an image; matrices at random.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::Affine2dBackward;
using fastnn::Affine2dForward;
using fastnn::Affine2dShape;
using fastnn::Border;
using fastnn::RandomAffine;

FASTNN_INLINE double mul_add_double(double a, double b, double c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

constexpr int kFractionBits = 24;
constexpr std::int64_t kOnePixel = std::int64_t{1} << kFractionBits;

// v as a multiple of 2^-24; whatever is further away than any image reaches stays there.
inline std::int64_t fixed_point(double v) {
  constexpr double kFarthest = 0x1p38;
  const double bounded = v < -kFarthest ? -kFarthest : v < kFarthest ? v : kFarthest;
  const double scaled = mul_add_double(bounded, 0x1p24, 0.5);
  const std::int64_t towards_zero = static_cast<std::int64_t>(scaled);
  return towards_zero - (static_cast<double>(towards_zero) > scaled);
}

inline std::int64_t modulo(std::int64_t i, std::int64_t n) {
  const std::int64_t rest = i % n;
  return rest < 0 ? rest + n : rest;
}

// The pixel that stands for pixel i of a row of n, -1 for the constant beyond the border.
inline index_t inside(std::int64_t i, index_t n, Border border) {
  if (i >= 0 && i < n) return i;
  switch (border) {
    case Border::constant:
      return -1;
    case Border::nearest:
      return i < 0 ? 0 : n - 1;
    case Border::wrap:
      return modulo(i, n);
    case Border::reflect: {
      const std::int64_t at = modulo(i, 2 * n);
      return min_of(at, 2 * n - 1 - at);
    }
    default: {
      if (n == 1) return 0;
      const std::int64_t at = modulo(i, 2 * n - 2);
      return min_of(at, 2 * n - 2 - at);
    }
  }
}

// The pixels of one axis that make up a value, and their shares.
struct AxisTaps {
  index_t at[2];
  float weight[2];

  AxisTaps(double place, index_t n, Border border, bool linear) {
    const std::int64_t fixed = fixed_point(place);
    if (linear) {
      const std::int64_t below = fixed >> kFractionBits;
      const float share = static_cast<float>(fixed & (kOnePixel - 1)) * 0x1p-24f;
      at[0] = inside(below, n, border), at[1] = inside(below + 1, n, border);
      weight[0] = 1.0f - share, weight[1] = share;
    } else {
      const std::int64_t size = fixed < 0 ? -fixed : fixed, rounded = (size + kOnePixel / 2) >> kFractionBits;
      at[0] = inside(fixed < 0 ? -rounded : rounded, n, border), at[1] = -1;
      weight[0] = 1.0f, weight[1] = 0.0f;
    }
  }
};

// body(offset of the pixel in the image or -1, weight) for what makes up the value at pixel (p, q) of image n.
template <class Body>
inline void for_each_tap(const Affine2dShape& s, const double* m, index_t p, index_t q, const Body& body) {
  const double row = static_cast<double>(p), column = static_cast<double>(q);
  const AxisTaps h(mul_add_double(m[1], column, mul_add_double(m[0], row, m[2])), s.H, s.border, s.bilinear);
  const AxisTaps w(mul_add_double(m[4], column, mul_add_double(m[3], row, m[5])), s.W, s.border, s.bilinear);
  for (int i = 0; i < 2; ++i) {
    for (int j = 0; j < 2; ++j) {
      const float weight = h.weight[i] * w.weight[j];
      if (weight == 0.0f) continue;
      body(h.at[i] < 0 || w.at[j] < 0 ? -1 : (h.at[i] * s.W + w.at[j]) * s.C, weight);
    }
  }
}

inline double affine_pixel_cycles(const Affine2dShape& s) { return 40 + 2.0 * static_cast<double>(s.C); }

void affine2d_forward(const Affine2dForward& a) {
  const Affine2dShape& s = a.s;
  parallel_for(s.N * s.P, static_cast<double>(s.Q) * affine_pixel_cycles(s), [&a, &s](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const index_t n = i / s.P, p = i % s.P;
      const float* x = a.x + n * s.H * s.W * s.C;
      for (index_t q = 0; q < s.Q; ++q) {
        float* y = a.y + (i * s.Q + q) * s.C;
        for (index_t c = 0; c < s.C; ++c) y[c] = 0.0f;
        for_each_tap(s, s.matrices + 6 * n, p, q, [&](index_t offset, float weight) {
          FASTNN_SIMD
          for (index_t c = 0; c < s.C; ++c) y[c] = mul_add(weight, offset < 0 ? a.value : x[offset + c], y[c]);
        });
      }
    }
  });
}

// An image at a time, its pixels in order: what several of them add to one pixel is added in the same order by any thread.
void affine2d_backward(const Affine2dBackward& a) {
  const Affine2dShape& s = a.s;
  parallel_for(s.N, static_cast<double>(s.P * s.Q) * affine_pixel_cycles(s), [&a, &s](index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) {
      float* dx = a.dx + n * s.H * s.W * s.C;
      for (index_t i = 0; i < s.H * s.W * s.C; ++i) dx[i] = 0.0f;
      for (index_t i = 0; i < s.P * s.Q; ++i) {
        const float* dy = a.dy + (n * s.P * s.Q + i) * s.C;
        for_each_tap(s, s.matrices + 6 * n, i / s.Q, i % s.Q, [&](index_t offset, float weight) {
          if (offset < 0) return;
          FASTNN_SIMD
          for (index_t c = 0; c < s.C; ++c) dx[offset + c] = mul_add(weight, dy[c], dx[offset + c]);
        });
      }
    }
  });
}

struct SineCosine {
  double sine, cosine;
};

// Of an angle in turns: Taylor's series within an eighth of a turn of the nearest quarter, to the last place of a double; quarters
// are exact.
inline SineCosine sine_cosine(double turns) {
  const double quarters = turns * 4,
               rounded = static_cast<double>(static_cast<std::int64_t>(quarters + (quarters < 0 ? -0.5 : 0.5)));
  const double angle = (quarters - rounded) * 1.57079632679489661923, square = angle * angle;
  double sine = 1, cosine = 1;
  for (int i = 16; i > 0; i -= 2) {
    sine = mul_add_double(-square / static_cast<double>(i * (i + 1)), sine, 1.0);
    cosine = mul_add_double(-square / static_cast<double>(i * (i - 1)), cosine, 1.0);
  }
  sine *= angle;
  switch (modulo(static_cast<std::int64_t>(rounded), 4)) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

inline double between(const double* range, float u) {
  return mul_add_double(static_cast<double>(u), range[1] - range[0], range[0]);
}

inline void random_matrix(const RandomAffine& a, const float* u, double* m) {
  const double H = static_cast<double>(a.H), W = static_cast<double>(a.W);
  if (a.crop) {
    const double rows = static_cast<double>(a.H - a.P + 1), columns = static_cast<double>(a.W - a.Q + 1);
    m[0] = m[4] = 1, m[1] = m[3] = 0;
    m[2] = static_cast<double>(static_cast<std::int64_t>(static_cast<double>(u[5]) * rows));
    m[5] = static_cast<double>(static_cast<std::int64_t>(static_cast<double>(u[6]) * columns));
    return;
  }
  const double up = a.flip_rows && u[0] < 0.5f ? -1 : 1, side = a.flip_columns && u[1] < 0.5f ? -1 : 1;
  const SineCosine turn = sine_cosine(between(a.angle, u[2]));
  const double rows = between(a.zoom_rows, u[3]), columns = a.together ? rows : between(a.zoom_columns, u[4]);
  m[0] = rows * turn.cosine * up;
  m[1] = rows * turn.sine * side;
  m[3] = -columns * turn.sine * up;
  m[4] = columns * turn.cosine * side;
  const double p = (static_cast<double>(a.P) - 1) / 2, q = (static_cast<double>(a.Q) - 1) / 2;
  m[2] = mul_add_double(-m[0], p, mul_add_double(-m[1], q, mul_add_double(-between(a.shift_rows, u[5]), H, (H - 1) / 2)));
  m[5] = mul_add_double(-m[3], p, mul_add_double(-m[4], q, mul_add_double(-between(a.shift_columns, u[6]), W, (W - 1) / 2)));
}

void random_affine(const RandomAffine& a) {
  parallel_for(a.N, 300, [&a](index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) random_matrix(a, a.u + 8 * n, a.m + 6 * n);
  });
}

}  // namespace
