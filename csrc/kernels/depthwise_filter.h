// depthwise_filter.h - filter gradient of a depthwise convolution.
//
// A tile keeps the sums of up to three filter rows for a vector of channels while it walks along rows of dy and x where they are.
// Few channels, several filters for each or unusual taps: as in depthwise.h there is a window, and vectors go on into the next
// pixels; every pixel of a pack has sums of its own. The sum over output rows is cut as in filter_chunks.h.
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

// sum[(r Taps + s) K + j] += the terms of `rows` rows of dy and the rows of x that they read, r < Rows, s < Taps, j < count.
struct RowsTile {
  const Conv2dShape& s;
  InnerPixels inner;
  const float* x;  // in column -pad_left
  const float* dy;
  index_t rows;
  float* sum;
  bool fetches;  // what the next row reads besides
  int count;
};

// The terms of one pixel, of which the taps in the range meet the image.
template <int Rows, int Taps, bool Whole>
FASTNN_INLINE void add_border_pixel(const RowsTile& t, const float* x, const float* dy, index_t q, vfloat (&acc)[Rows][Taps]) {
  const Conv2dShape& s = t.s;
  const TapRange taps(s, q);
  const vfloat value = load_channels<Whole>(dy + q * s.K, t.count);
  x += q * s.stride_w * s.C;
  FASTNN_UNROLL
  for (int tap = 0; tap < Taps; ++tap) {
    if (tap < taps.first || tap >= taps.last) continue;
    FASTNN_UNROLL
    for (int r = 0; r < Rows; ++r) {
      acc[r][tap] += load_channels<Whole>(x + (r * s.dilation_h * s.W + tap) * s.C, t.count) * value;
    }
  }
}

// The terms of `Pixels` pixels: a value of x is read once for all the taps that it meets, pixel by pixel for each of them.
template <int Pixels, int Rows, int Taps, int Stride, bool Whole>
FASTNN_INLINE void add_inner_pixels(const RowsTile& t, const float* x, const float* dy, index_t q, vfloat (&acc)[Rows][Taps]) {
  const index_t C = t.s.C, x_row = t.s.dilation_h * t.s.W * C;
  x += q * Stride * C, dy += q * C;
  vfloat value[Pixels];
  FASTNN_UNROLL
  for (int i = 0; i < Pixels; ++i) value[i] = load_channels<Whole>(dy + i * C, t.count);
  if (t.fetches) {
    const float *x_below = x + (Rows - 1) * x_row + t.s.W * C, *dy_below = dy + t.s.Q * C;
    for (index_t r = 0; r < t.s.stride_h; ++r, x_below += t.s.W * C) {
      FASTNN_UNROLL
      for (int i = 0; i < Pixels * Stride; ++i) __builtin_prefetch(x_below + i * C);
    }
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) __builtin_prefetch(dy_below + i * C);
  }
  FASTNN_UNROLL
  for (int r = 0; r < Rows; ++r) {
    FASTNN_UNROLL
    for (int place = 0; place < (Pixels - 1) * Stride + Taps; ++place) {
      vfloat v = load_channels<Whole>(x + r * x_row + place * C, t.count);
      keep_in_register(v);
      FASTNN_UNROLL
      for (int tap = 0; tap < Taps; ++tap) {
        const int i = (place - tap) / Stride;
        if (place >= tap && (place - tap) % Stride == 0 && i < Pixels) acc[r][tap] += v * value[i];
      }
    }
  }
}

template <int Rows, int Taps, int Stride, bool Whole>
void compute_rows_tile(const RowsTile& t) {
  constexpr int kPixels = 4;
  const Conv2dShape& s = t.s;
  vfloat acc[Rows][Taps];
  FASTNN_UNROLL
  for (int i = 0; i < Rows * Taps; ++i) acc[i / Taps][i % Taps] = load_channels<Whole>(t.sum + i * s.K, t.count);
  const float *x = t.x, *dy = t.dy;
  for (index_t row = t.rows; row > 0; --row, x += s.stride_h * s.W * s.C, dy += s.Q * s.K) {
    for (index_t q = 0; q < t.inner.begin; ++q) add_border_pixel<Rows, Taps, Whole>(t, x, dy, q, acc);
    index_t q = t.inner.begin;
    for (; q + kPixels <= t.inner.end; q += kPixels) add_inner_pixels<kPixels, Rows, Taps, Stride, Whole>(t, x, dy, q, acc);
    for (; q < t.inner.end; ++q) add_inner_pixels<1, Rows, Taps, Stride, Whole>(t, x, dy, q, acc);
    for (; q < s.Q; ++q) add_border_pixel<Rows, Taps, Whole>(t, x, dy, q, acc);
  }
  FASTNN_UNROLL
  for (int i = 0; i < Rows * Taps; ++i) {
    if (Whole) {
      store(t.sum + i * s.K, acc[i / Taps][i % Taps]);
    } else {
      store_partial(t.sum + i * s.K, acc[i / Taps][i % Taps], t.count);
    }
  }
}

// Of 1, 2, ... filter rows, `most` at most, for whole vectors and others; `most` is 0 where there are none.
struct RowsTiles {
  static constexpr int kMost = 3;
  int most;
  void (*whole[kMost + 1])(const RowsTile&);
  void (*some[kMost + 1])(const RowsTile&);
};

template <int Taps, int Stride>
inline RowsTiles rows_tiles_of() {
  constexpr int most = static_cast<int>(min_of(RowsTiles::kMost, (kRegisters - 6) / Taps));  // their sums are in registers
  RowsTiles tiles = {most, {}, {}};
  const auto put = [&tiles]<int Rows>() {
    if constexpr (Rows <= most) {
      tiles.whole[Rows] = compute_rows_tile<Rows, Taps, Stride, true>;
      tiles.some[Rows] = compute_rows_tile<Rows, Taps, Stride, false>;
    }
  };
  put.template operator()<1>(), put.template operator()<2>(), put.template operator()<3>();
  return tiles;
}

inline RowsTiles rows_tiles(const Conv2dShape& s) {
  if (s.dilation_w != 1) return {};
  if (s.stride_w == 1 && s.S == 3) return rows_tiles_of<3, 1>();
  if (s.stride_w == 1 && s.S == 5) return rows_tiles_of<5, 1>();
  if (s.stride_w == 1 && s.S == 7) return rows_tiles_of<7, 1>();
  if (s.stride_w == 2 && s.S == 3) return rows_tiles_of<3, 2>();
  return {};
}

// Sums over pixels depend on it, so it is the same for every instruction set.
inline index_t depthwise_filter_pack(const Conv2dShape& s) { return s.stride_w == 1 && s.K < kChannelsInPlace ? pack_of(s.K) : 1; }

// Whether x is read where it is.
inline bool filter_in_place(const Conv2dShape& s) { return in_place(s) && rows_tiles(s).most > 0; }

// A chunk's sums: R S rows of pack K values, and behind them the bias's.
inline index_t depthwise_filter_sums(const Conv2dBackwardFilter& a) {
  return round_up(a.s.R * a.s.S * depthwise_filter_pack(a.s) * a.s.K + (a.dbias ? a.s.K : 0), kLineFloats);
}

inline index_t depthwise_backward_filter_scratch(const Conv2dBackwardFilter& a) {
  return filter_chunk_count(a.s) * depthwise_filter_sums(a) + (filter_in_place(a.s) ? 0 : a.slots * depthwise_window_size(a.s));
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

// sum += what output rows [p0, p1) of image n contribute, read where they are; dy: of row p0. A vector of channels at a time goes
// through all rows that meet the same filter rows, so that its sums stay in registers.
inline void add_rows_in_place(const Conv2dShape& s, const float* x, const float* dy, index_t n, index_t p0, index_t p1,
                              float* sum) {
  const RowsTiles tiles = rows_tiles(s);
  const bool fetches = values(s) >= kManyValues;
  for (index_t p = p0; p < p1;) {
    const FilterRows rows(s, p);
    index_t end = p + 1;
    while (end < p1 && FilterRows(s, end) == rows) ++end;
    for (index_t r = rows.begin; r < rows.end;) {
      const index_t height = min_of(tiles.most, rows.end - r), h = p * s.stride_h - s.pad_top + r * s.dilation_h;
      RowsTile t = {.s = s,
                    .inner = InnerPixels(s),
                    .x = x + ((n * s.H + h) * s.W - s.pad_left) * s.C,
                    .dy = dy + (p - p0) * s.Q * s.K,
                    .rows = end - p,
                    .sum = sum + r * s.S * s.K,
                    .fetches = fetches && r + height == rows.end,
                    .count = 0};
      for (index_t j = 0; j < s.K; j += kLanes, t.x += kLanes, t.dy += kLanes, t.sum += kLanes) {
        t.count = static_cast<int>(min_of(kLanes, s.K - j));
        (t.count == kLanes ? tiles.whole : tiles.some)[height](t);
      }
      r += height;
    }
    p = end;
  }
}

inline void depthwise_backward_filter(const Conv2dBackwardFilter& a) {
  const Conv2dShape& s = a.s;
  const index_t filters = s.R * s.S, pack = depthwise_filter_pack(s), width = pack * s.K, size = depthwise_filter_sums(a);
  const index_t chunks = filter_chunk_count(s), chunk_rows = filter_chunk_rows(s), rows = depthwise_rows(s);
  const bool in_place = filter_in_place(s);
  const index_t own = in_place ? 0 : depthwise_window_size(s);
  const double cycles = chunk_rows * s.Q * flops_per_pixel(s) / kDepthwiseFlopsPerCycle;
  parallel_for(chunks, cycles, a.slots, [&](index_t begin, index_t end, int slot) {
    float* windows = a.scratch + chunks * size + slot * own;
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = a.scratch + chunk * size;
      copy_or_zero(sum, nullptr, size);
      const index_t stop = min_of(s.N * s.P, (chunk + 1) * chunk_rows);
      for (index_t row = chunk * chunk_rows; row < stop;) {
        const index_t n = row / s.P, p0 = row % s.P, p1 = min_of(min_of(s.P, p0 + rows), p0 + stop - row);
        const float* dy = a.dy + (row - p0) * s.Q * s.K;
        if (in_place) {
          add_rows_in_place(s, a.x, dy + p0 * s.Q * s.K, n, p0, p1, sum);
        } else {
          const Window x = depthwise_window(s, a.x, n, p0, p1, windows);
          for (index_t p = p0; p < p1; ++p) add_depthwise_row(s, x, dy + p * s.Q * s.K, p, sum);
        }
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
