// conv_pixels_filter.h - filter gradient of a convolution with a single channel and few filters: vectors of neighboring pixels.
//
// dw[r, s, k] is the sum over pixels of x[p + r, q + s] dy[p, q, k]. A vector of filters would be partly empty, and as a filter row
// has few values there would be too few sums under way. So dy is copied filter by filter, and the pixels of a row are summed up
// lane by lane, kPixelSums of them on every instruction set; the sums of the lanes are added up when all rows are done.
#pragma once

#include "conv_shape.h"
#include "gemm_tiles.h"

namespace {

constexpr index_t kPixelSums = 16, kPixelSumParts = kPixelSums / kLanes;
constexpr index_t kQuickPlanes = 4, kMostPlanes = 6, kManyTaps = 25,
                  kPlaneFloats = 6144;  // of dy, copied: 24 kB, to stay in the first-level cache
constexpr index_t kLeastPixels = 4096;
constexpr int kMostPixelTaps = 5;

// With fewer pixels adding up the lanes takes too long, with fewer products for each value copying dy.
inline bool gradient_by_pixels(const Conv2dShape& s) {
  if (s.C != 1 || s.K == 0 || !is_dense(s) || s.stride_w != 1 || s.Q < kPixelSums || out_pixels(s) < kLeastPixels) return false;
  return s.K <= kQuickPlanes || (s.K <= kMostPlanes && s.R * s.S >= kManyTaps);
}

// Scratch of a thread: the lanes' sums, and output rows of dy.
inline index_t pixel_sums_size(const Conv2dShape& s) { return s.R * s.S * s.K * kPixelSums; }
inline index_t plane_row(const Conv2dShape& s) { return round_up(s.Q, kPixelSums); }
inline index_t plane_rows(const Conv2dShape& s) { return min_of(s.P, max_of(1, kPlaneFloats / (plane_row(s) * s.K))); }
inline index_t pixel_scratch(const Conv2dShape& s) {
  return gradient_by_pixels(s) ? round_up(pixel_sums_size(s) + s.K * plane_rows(s) * plane_row(s), kLineFloats) : 0;
}

// Some taps of a filter row, of some filters.
struct PixelSums {
  const float* x;  // of the first tap
  index_t x_row;
  const float* planes;
  index_t plane, plane_row;
  index_t rows, Q;
  float* sums;
  index_t tap_sums;  // between two taps'
};

template <int Taps, int Filters>
void add_pixel_products(const PixelSums& t) {
  for (index_t part = 0; part < kPixelSumParts; ++part) {
    float* const sums = t.sums + part * kLanes;
    vfloat acc[Taps][Filters];
    FASTNN_UNROLL
    for (int s = 0; s < Taps; ++s) {
      FASTNN_UNROLL
      for (int k = 0; k < Filters; ++k) acc[s][k] = load(sums + s * t.tap_sums + k * kPixelSums);
    }
    const index_t Q = t.Q, whole = Q < part * kLanes + kLanes ? 0 : 1 + (Q - part * kLanes - kLanes) / kPixelSums;
    const int last = static_cast<int>(min_of(kLanes, Q - part * kLanes - whole * kPixelSums));
    const float *x = t.x + part * kLanes, *dy[Filters];
    FASTNN_UNROLL
    for (int k = 0; k < Filters; ++k) dy[k] = t.planes + k * t.plane + part * kLanes;
    // What is behind the row's last pixel is not read: beside a dy of 0 it could still be no number.
    const auto add = [&](index_t q, const auto& load_pixels) {
      vfloat values[Filters];
      FASTNN_UNROLL
      for (int k = 0; k < Filters; ++k) values[k] = load(dy[k] + q);
      FASTNN_UNROLL
      for (int s = 0; s < Taps; ++s) {
        vfloat pixels = load_pixels(x + q + s);
        keep_in_register(pixels);  // most lie in two cache lines
        FASTNN_UNROLL
        for (int k = 0; k < Filters; ++k) acc[s][k] += pixels * values[k];
      }
    };
    for (index_t row = t.rows; row > 0; --row) {
      for (index_t v = 0; v < whole; ++v) add(v * kPixelSums, [](const float* p) { return load(p); });
      if (last > 0) add(whole * kPixelSums, [last](const float* p) { return load_partial(p, last); });
      x += t.x_row;
      FASTNN_UNROLL
      for (int k = 0; k < Filters; ++k) dy[k] += t.plane_row;
    }
    FASTNN_UNROLL
    for (int s = 0; s < Taps; ++s) {
      FASTNN_UNROLL
      for (int k = 0; k < Filters; ++k) store(sums + s * t.tap_sums + k * kPixelSums, acc[s][k]);
    }
  }
}

// Filters whose sums, with a vector of dy each, fit into the registers.
constexpr int most_planes(int taps) { return (kRegisters - 2) / (taps + 1); }

struct PixelProducts {
  using Function = void (*)(const PixelSums&);
  Function function[kMostPixelTaps + 1][kMostPlanes + 1] = {};
  constexpr PixelProducts() { put<kMostPixelTaps, min_of(kMostPlanes, most_planes(kMostPixelTaps))>(); }
  template <int Taps, int Filters>
  constexpr void put() {
    function[Taps][Filters] = add_pixel_products<Taps, Filters>;
    if constexpr (Filters > 1) {
      put<Taps, Filters - 1>();
    } else if constexpr (Taps > 1) {
      put<Taps - 1, min_of(kMostPlanes, most_planes(Taps - 1))>();
    }
  }
};

constexpr PixelProducts kPixelProducts;

// planes[k, q] = dy[q, k]. Of fewer than four filters the next pixels' values are read, too, where there are any.
inline void copy_planes(const float* dy, index_t K, float* planes, index_t plane, index_t Q) {
  if (K >= 4) return transpose_rows(dy, K, planes, plane, Q, K);
  const index_t whole = Q - 4;
  transpose(dy, K, whole, 4, [=]<class Value>(index_t k, index_t q, Value v) {
    if (k < K) *reinterpret_cast<typename Unaligned<Value>::type*>(planes + k * plane + q) = v;
  });
  transpose_rows(dy + whole * K, K, planes + whole, plane, Q - whole, K);
}

// The lanes' sums += what output rows [p0, p1) of one image contribute; dy: their first one.
inline void add_plane_rows(const Conv2dShape& s, const Window& x, const float* dy, index_t p0, index_t p1, float* sums,
                           float* planes) {
  const index_t row = plane_row(s), plane = plane_rows(s) * row;
  for (index_t p = 0; p < p1 - p0; ++p) {
    for (index_t k = 0; k < s.K; ++k) copy_or_zero(planes + k * plane + (p + 1) * row - kPixelSums, nullptr, kPixelSums);
    copy_planes(dy + p * s.Q * s.K, s.K, planes + p * row, plane, s.Q);
  }
  for (index_t r = 0; r < s.R; ++r) {
    index_t begin = p0, end = p1;
    clip_rows(s, r, begin, end);
    if (begin >= end) continue;
    const float* const pixels = x.at(begin * s.stride_h - s.pad_top + r * s.dilation_h);
    const RowTiles taps(s.S, kMostPixelTaps);
    for (index_t tile = 0; tile < taps.count; ++tile) {
      const index_t first = taps.start(tile);
      const int height = taps.height(tile);
      const RowTiles filters(s.K, most_planes(height));
      for (index_t group = 0; group < filters.count; ++group) {
        const index_t k = filters.start(group);
        const PixelSums part = {.x = pixels + first,
                                .x_row = s.stride_h * x.stride,
                                .planes = planes + k * plane + (begin - p0) * row,
                                .plane = plane,
                                .plane_row = row,
                                .rows = end - begin,
                                .Q = s.Q,
                                .sums = sums + ((r * s.S + first) * s.K + k) * kPixelSums,
                                .tap_sums = s.K * kPixelSums};
        kPixelProducts.function[height][filters.height(group)](part);
      }
    }
  }
}

inline void add_pixel_rows(const Conv2dShape& s, const Window& x, const float* dy, index_t p0, index_t p1, float* scratch) {
  const index_t step = plane_rows(s);
  for (index_t p = p0; p < p1; p += step) {
    add_plane_rows(s, x, dy + p * s.Q * s.K, p, min_of(p1, p + step), scratch, scratch + pixel_sums_size(s));
  }
}

// dw += the lanes' sums, in a fixed order.
inline void add_pixel_sums(const Conv2dShape& s, const float* sums, float* dw) {
  for (index_t i = 0; i < s.R * s.S * s.K; ++i, sums += kPixelSums) {
    vquad quad[4];
    FASTNN_UNROLL
    for (int j = 0; j < 4; ++j) quad[j] = *reinterpret_cast<const vquad_unaligned*>(sums + 4 * j);
    const vquad sum = (quad[0] + quad[2]) + (quad[1] + quad[3]);
    dw[i] += (sum[0] + sum[2]) + (sum[1] + sum[3]);
  }
}

}  // namespace
