// depthwise_filter.h - filter gradient of a depthwise convolution.
//
// A tile keeps the sums of some taps for a vector of channels while it walks along a row of dy. As in depthwise.h vectors go on
// into the next pixels where channels are few; every pixel of a pack has sums of its own. The sum over output rows is cut as in
// filter_chunks.h.
#pragma once

#include "depthwise.h"
#include "filter_chunks.h"

namespace {

constexpr int kTileTaps = 9;

// sum[i][j] += sum over q < pixels of x[i][q x_pixel + j] dy[q dy_pixel + j], i < Taps, j < count.
struct TapTile {
  const float* x[kTileTaps];
  index_t x_pixel;
  const float* dy;
  index_t dy_pixel, pixels;
  float* sum[kTileTaps];
  int count;
};

template <int Taps, bool Whole>
void compute_tap_tile(const TapTile& t) {
  const int count = t.count;
  const index_t x_pixel = t.x_pixel;
  vfloat acc[Taps];
  FASTNN_UNROLL
  for (int i = 0; i < Taps; ++i) acc[i] = load_channels<Whole>(t.sum[i], count);
  const float* dy = t.dy;
  index_t at = 0;
  for (index_t q = t.pixels; q > 0; --q, dy += t.dy_pixel, at += x_pixel) {
    const vfloat value = load_channels<Whole>(dy, count);
    FASTNN_UNROLL
    for (int i = 0; i < Taps; ++i) acc[i] += load_channels<Whole>(t.x[i] + at, count) * value;
  }
  FASTNN_UNROLL
  for (int i = 0; i < Taps; ++i) {
    if (Whole) {
      store(t.sum[i], acc[i]);
    } else {
      store_partial(t.sum[i], acc[i], count);
    }
  }
}

template <bool Whole>
struct TapTileTable {
  void (*function[kTileTaps + 1])(const TapTile&) = {};
  constexpr TapTileTable() { put<kTileTaps>(); }
  template <int Taps>
  constexpr void put() {
    function[Taps] = compute_tap_tile<Taps, Whole>;
    if constexpr (Taps > 1) put<Taps - 1>();
  }
};

constexpr TapTileTable<true> kWholeTaps;
constexpr TapTileTable<false> kSomeTaps;

// The same for channels j on, `count` of them, of `pixels` packs from `first` on.
inline void run_tap_tile(TapTile t, int taps, index_t first, index_t pixels, index_t j, index_t count) {
  if (pixels == 0 || count <= 0) return;
  for (int i = 0; i < taps; ++i) t.x[i] += first * t.x_pixel + j, t.sum[i] += j;
  t.dy += first * t.dy_pixel + j, t.pixels = pixels;
  t.count = static_cast<int>(min_of(kLanes, count));
  (t.count == kLanes ? kWholeTaps.function[taps] : kSomeTaps.function[taps])(t);
}

inline index_t depthwise_filter_pack(const Conv2dShape& s) { return s.stride_w == 1 ? pack_of(s.K) : 1; }

// A chunk's sums: R S rows of pack K values, and behind them the bias's.
inline index_t depthwise_filter_sums(const Conv2dBackwardFilter& a) {
  return a.s.R * a.s.S * depthwise_filter_pack(a.s) * a.s.K + (a.dbias ? a.s.K : 0);
}

inline index_t depthwise_backward_filter_scratch(const Conv2dBackwardFilter& a) {
  return filter_chunk_count(a.s) * depthwise_filter_sums(a) + a.slots * depthwise_window_size(a.s);
}

// sum += what output row p of an image contributes.
inline void add_depthwise_row(const Conv2dShape& s, const Window& x, const float* dy, index_t p, float* sum) {
  const FilterRows rows(s, p);
  const index_t pack = depthwise_filter_pack(s), width = pack * s.K, taps = (rows.end - rows.begin) * s.S;
  const index_t whole = s.Q / pack, left = s.Q % pack * s.K;
  TapTile t = {};
  t.x_pixel = pack * s.stride_w * s.K, t.dy = dy, t.dy_pixel = width;
  for (index_t first = 0; first < taps; first += kTileTaps) {
    const int count = static_cast<int>(min_of(kTileTaps, taps - first));
    for (int i = 0; i < count; ++i) {
      const index_t r = rows.begin + (first + i) / s.S, tap = (first + i) % s.S;
      t.x[i] = x.at(p * s.stride_h - s.pad_top + r * s.dilation_h) + tap * s.dilation_w * s.K;
      t.sum[i] = sum + (r * s.S + tap) * width;
    }
    for (index_t j = 0; j < width; j += kLanes) {
      run_tap_tile(t, count, 0, whole, j, width - j);
      run_tap_tile(t, count, whole, 1, j, left - j);
    }
  }
}

inline void depthwise_backward_filter(const Conv2dBackwardFilter& a) {
  const Conv2dShape& s = a.s;
  const index_t filters = s.R * s.S, pack = depthwise_filter_pack(s), width = pack * s.K, size = depthwise_filter_sums(a);
  const index_t chunks = filter_chunk_count(s), chunk_rows = filter_chunk_rows(s), rows = depthwise_rows(s);
  const index_t own = depthwise_window_size(s);
  const double cycles = chunk_rows * s.Q * flops_per_pixel(s) / kDepthwiseFlopsPerCycle;
  parallel_for(chunks, cycles, a.slots, [&](index_t begin, index_t end, int slot) {
    float* windows = a.scratch + chunks * size + slot * own;
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = a.scratch + chunk * size;
      copy_or_zero(sum, nullptr, size);
      const index_t stop = min_of(s.N * s.P, (chunk + 1) * chunk_rows);
      for (index_t row = chunk * chunk_rows; row < stop;) {
        const index_t n = row / s.P, p0 = row % s.P, p1 = min_of(min_of(s.P, p0 + rows), p0 + stop - row);
        const Window x = depthwise_window(s, a.x, n, p0, p1, windows);
        for (index_t p = p0; p < p1; ++p) add_depthwise_row(s, x, a.dy + (n * s.P + p) * s.Q * s.K, p, sum);
        if (a.dbias) add_pixels(a.dy + row * s.Q * s.K, (p1 - p0) * s.Q, s.K, sum + filters * width);
        row += p1 - p0;
      }
    }
  });
  // dw[tap, k]: over the chunks, and in each over the pixels of a pack.
  const auto combine = [&](float* __restrict to, index_t offset, index_t pixels) {
    copy_or_zero(to, nullptr, s.K);
    for (index_t chunk = 0; chunk < chunks; ++chunk) {
      for (index_t i = 0; i < pixels; ++i) {
        const float* __restrict sum = a.scratch + chunk * size + offset + i * s.K;
        FASTNN_SIMD
        for (index_t k = 0; k < s.K; ++k) to[k] += sum[k];
      }
    }
  };
  parallel_for(filters, 0.3 * chunks * width, [&](index_t begin, index_t end) {
    for (index_t tap = begin; tap < end; ++tap) combine(a.dw + tap * s.K, tap * width, pack);
  });
  if (a.dbias) combine(a.dbias, filters * width, 1);
}

}  // namespace
