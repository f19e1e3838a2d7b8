// conv_pixels.h - output rows of a convolution with a single channel and few filters: vectors of neighboring pixels, for a vector
// of filters would be partly empty. The chains of multiply-adds are those of conv_tile.h.
#pragma once

#include "conv_shape.h"
#include "conv_tile.h"

namespace {

constexpr index_t kMostFilters = kRegisters > 16 ? 7 : 6;  // with eight the vectors of a tile are full

// Pixels are neighbors in x, too, and there is a vector of them.
inline bool by_pixel_vectors(const Conv2dShape& s) {
  return s.C == 1 && s.groups == 1 && s.K > 0 && s.K <= kMostFilters && s.stride_w == 1 && s.Q >= kLanes;
}

// An output row: y (Q x filters) from `rows` rows of x, `x_row` apart, under as many rows of a packed filter.
struct PixelRow {
  const float* x;
  index_t x_row, dilation;
  const float* w;
  index_t rows, taps;
  const float* bias;  // or null
  bool relu;
  float* y;
  index_t Q;
};

#if defined(__AVX512F__)
// Where the vectors of an interleaved result come from: of every two filters, and which lanes they have in it.
template <int Filters>
struct Interleaving {
  std::int32_t place[Filters][kLanes] = {};
  std::uint16_t lanes[Filters][Filters / 2 + 1] = {};
  constexpr Interleaving() {
    for (int i = 0; i < Filters * kLanes; ++i) {
      const int pixel = i / Filters, filter = i % Filters;
      place[i / kLanes][i % kLanes] = pixel + filter % 2 * kLanes;
      lanes[i / kLanes][filter / 2] |= static_cast<std::uint16_t>(1u << i % kLanes);
    }
  }
};

template <int Filters>
constexpr Interleaving<Filters> kInterleaving;

// y[pixel, filter] = sums[filter][pixel].
template <int Filters>
FASTNN_INLINE void store_interleaved(const vfloat (&sums)[Filters], float* y) {
  constexpr const Interleaving<Filters>& from = kInterleaving<Filters>;
  FASTNN_UNROLL
  for (int i = 0; i < Filters; ++i) {
    const __m512i place = _mm512_loadu_si512(from.place[i]);
    __m512 row = {};
    FASTNN_UNROLL
    for (int f = 0; f < Filters; f += 2) {
      const __m512 both = _mm512_permutex2var_ps((__m512)sums[f], place, (__m512)sums[f + 1 < Filters ? f + 1 : f]);
      row = f == 0 ? both : _mm512_mask_blend_ps(from.lanes[i][f / 2], row, both);
    }
    store(y + i * kLanes, (vfloat)row);
  }
}
#else
template <int Filters>
FASTNN_INLINE void store_interleaved(const vfloat (&sums)[Filters], float* y) {
  float rows[Filters][kLanes];
  FASTNN_UNROLL
  for (int f = 0; f < Filters; ++f) store(rows[f], sums[f]);
  transpose_rows(rows[0], kLanes, y, Filters, Filters, kLanes);
}
#endif

// The pixels from each of the starts on.
template <int Filters, int Vectors>
inline void convolve_pixels(const PixelRow& t, const index_t (&start)[Vectors]) {
  vfloat acc[Filters][Vectors] = {};
  const float *x = t.x, *w = t.w;
  for (index_t r = t.rows; r > 0; --r, x += t.x_row) {
    const float* tap = x;
    for (index_t s = t.taps; s > 0; --s, tap += t.dilation, w += kPanel) {
      vfloat pixels[Vectors];
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) pixels[v] = load(tap + start[v]);
      FASTNN_UNROLL
      for (int f = 0; f < Filters; ++f) {
        FASTNN_UNROLL
        for (int v = 0; v < Vectors; ++v) acc[f][v] = multiply_add(w[f], pixels[v], acc[f][v]);
      }
    }
  }
  const vfloat zero = {};
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    vfloat sums[Filters];
    FASTNN_UNROLL
    for (int f = 0; f < Filters; ++f) {
      vfloat sum = acc[f][v];
      if (t.bias) sum += t.bias[f];
      sums[f] = t.relu ? (sum < zero ? zero : sum) : sum;
    }
    store_interleaved<Filters>(sums, t.y + start[v] * Filters);
  }
}

// The last vector ends with the row; what it shares with the one before is computed twice.
template <int Filters>
inline void convolve_pixel_row(const PixelRow& t) {
  const index_t last = t.Q - kLanes;
  for (index_t q = 0; q < t.Q; q += 2 * kLanes) {
    const index_t first = min_of(q, last), second = min_of(q + kLanes, last);
    if (first == second) return convolve_pixels<Filters, 1>(t, {first});
    convolve_pixels<Filters, 2>(t, {first, second});
  }
}

struct PixelRowTable {
  using Function = void (*)(const PixelRow&);
  Function function[kMostFilters + 1] = {};
  constexpr PixelRowTable() { put<kMostFilters>(); }
  template <int Filters>
  constexpr void put() {
    function[Filters] = convolve_pixel_row<Filters>;
    if constexpr (Filters > 1) put<Filters - 1>();
  }
};

constexpr PixelRowTable kPixelRows;

}  // namespace
