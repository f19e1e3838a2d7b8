// conv_spread.h - input gradient of a convolution whose output is pooled, window by window.
//
// In a window every filter has one output with a gradient. The filters that have theirs at the same place of a window are added up
// in registers, times their gradients, and then to the pixels under the filter there: a vector of weights is read for each
// multiply-add, but only for outputs that have a gradient. A block of filters, whose weights stay in the first-level cache, goes
// over the windows of a block; the image's gradient is collected beside the threads' other images, with room for what lies in the
// padding.
#pragma once

#include "conv_windows.h"

namespace {

using fastnn::MaxPooledConv2dBackwardInput;

constexpr index_t kMostPlaces = 16;        // of a window
constexpr index_t kSpreadImage = 1 << 17;  // values of an image's gradient, at most: 512 kB
constexpr index_t kTogether = 32;          // filters, at most
constexpr index_t kWeightVectors = 384;    // of a block of filters under a tile: 24 kB
constexpr index_t kUsualVectors = 18;      // of a tile

// Filters that are added up together.
inline index_t filters_together(const Conv2dShape& s) {
  return min_of(kTogether, kWeightVectors / max_of(1, min_of(filter_vectors(s), kUsualVectors)));
}

// Rows of an image, as far as the filters reach.
inline index_t reached_height(const Conv2dShape& s) { return span(s.P, s.stride_h, s.R, s.dilation_h); }

// Whether it takes less time than to multiply all outputs. Once for each block of filters and place of a window sums are written,
// and the processor does not see the end of the list of filters coming.
inline bool spreads_windows(const MaxPooledConv2dShape& a) {
  const Conv2dShape& s = a.s;
  const index_t places = a.rows * a.columns, vectors = filter_vectors(s), blocks = ceil_div(s.K, filters_together(s));
  if (!is_dense(s) || places > kMostPlaces || reached_width(s) * reached_height(s) > kSpreadImage) return false;
  return 4 * (s.K * (vectors + 6) + blocks * places * (3 * vectors + 24)) < 5 * places * s.K * vectors;
}

// Some filters' gradients at some windows: of filter f value[window, f] times w[f, filter row, value of the row] is added to what
// lies at x + start[window] + place, where the window's largest output of f is: that of the places in whose list, a mask, f is.
struct SpreadSums {
  const float* w;
  index_t w_filter, w_row;
  const std::int32_t* start;
  const std::int32_t* place;
  index_t places;
  const std::uint32_t* lists;  // windows x places
  const float* value;
  index_t windows, filters;  // filters of the array
  float* x;
  index_t x_row;
};

// The filters of one list at one place.
struct PlaceSums {
  const float* w;
  std::uint32_t list;
  const float* value;
  float* x;
  int last;
};

template <int Rows, int Vectors>
FASTNN_INLINE void add_place(const SpreadSums& t, const PlaceSums& p) {
  const index_t w_filter = t.w_filter, w_row = t.w_row, x_row = t.x_row;
  vfloat acc[Rows][Vectors] = {};
  std::uint32_t left = p.list;
  do {
    const int f = __builtin_ctz(left);
    left &= left - 1;
    const float* row = p.w + f * w_filter;
    FASTNN_UNROLL
    for (int r = 0; r < Rows; ++r, row += w_row) {
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) acc[r][v] = multiply_add(p.value[f], load(row + v * kLanes), acc[r][v]);
    }
  } while (left != 0);
  float* row = p.x;
  FASTNN_UNROLL
  for (int r = 0; r < Rows; ++r, row += x_row) {
    FASTNN_UNROLL
    for (int v = 0; v < Vectors - 1; ++v) store(row + v * kLanes, load(row + v * kLanes) + acc[r][v]);
    float* const end = row + (Vectors - 1) * kLanes;
    if (p.last == kLanes) {
      store(end, load(end) + acc[r][Vectors - 1]);
    } else {
      store_partial(end, load_partial(end, p.last) + acc[r][Vectors - 1], p.last);
    }
  }
}

// body(list, value, x) for every place of every window where there is something to add.
template <class Body>
FASTNN_INLINE void for_each_place(const SpreadSums& t, const Body& body) {
  const std::uint32_t* list = t.lists;
  const float* value = t.value;
  for (index_t window = 0; window < t.windows; ++window, value += t.filters) {
    for (index_t place = 0; place < t.places; ++place, ++list) {
      if (*list != 0) body(*list, value, t.x + t.start[window] + t.place[place]);
    }
  }
}

// A tile of the widest instruction set: `rows` filter rows of `run` values. Pixels get their sums in the order of the tiles, then
// of the windows, so bits would depend on the set if each had tiles of its own.
#if defined(__AVX512F__)
template <int Rows, int Vectors>
void spread_windows(const SpreadSums& t, int last) {
  for_each_place(
      t, [&](std::uint32_t list, const float* value, float* x) { add_place<Rows, Vectors>(t, {t.w, list, value, x, last}); });
}
using SpreadFunction = void (*)(const SpreadSums&, int);
template <int Rows, int Vectors>
constexpr SpreadFunction kSpreadFunction = spread_windows<Rows, Vectors>;
#else
template <int Rows, int Vectors>
void add_place_of(const SpreadSums& t, const PlaceSums& p) {
  add_place<Rows, Vectors>(t, p);
}
using SpreadFunction = void (*)(const SpreadSums&, const PlaceSums&);
template <int Rows, int Vectors>
constexpr SpreadFunction kSpreadFunction = add_place_of<Rows, Vectors>;
#endif

struct SpreadTable {
  SpreadFunction function[kTileRows + 1][kMostTileVectors + 1] = {};
  constexpr SpreadTable() { put_rows<kTileRows>(); }
  template <int Rows>
  constexpr void put_rows() {
    put<Rows, tile_vectors(Rows)>();
    if constexpr (Rows > 1) put_rows<Rows - 1>();
  }
  template <int Rows, int Vectors>
  constexpr void put() {
    function[Rows][Vectors] = kSpreadFunction<Rows, Vectors>;
    if constexpr (Vectors > 1) put<Rows, Vectors - 1>();
  }

  void tile(const SpreadSums& t, int rows, index_t run) const {
    const index_t vectors = ceil_div(run, kLanes);
    const int last = static_cast<int>(run - (vectors - 1) * kLanes);
#if defined(__AVX512F__)
    function[rows][vectors](t, last);
#else
    const RowTiles wide(vectors, tile_vectors(rows));
    for_each_place(t, [&](std::uint32_t list, const float* value, float* x) {
      for (index_t j = 0; j < wide.count; ++j) {
        const index_t at = wide.start(j) * kLanes;
        function[rows][wide.height(j)](t, {t.w + at, list, value, x + at, j + 1 < wide.count ? kLanes : last});
      }
    });
#endif
  }

  // `rows` filter rows of `run` values.
  void operator()(const SpreadSums& all, index_t rows, index_t run) const {
    const index_t vectors = ceil_div(run, kMostLanes);
    const RowTiles high(rows, kTileRows);
    for (index_t i = 0; i < high.count; ++i) {
      const int height = high.height(i);
      const RowTiles wide(vectors, tile_vectors(height, kMostRegisters));
      for (index_t j = 0; j < wide.count; ++j) {
        const index_t at = wide.start(j) * kMostLanes;
        SpreadSums t = all;
        t.x += high.start(i) * all.x_row + at;
        t.w += high.start(i) * all.w_row + at;
        tile(t, height, min_of(run - at, wide.height(j) * kMostLanes));
      }
    }
  }
};

constexpr SpreadTable kSpread;

// Of `count` filters, those whose output with a gradient lies at each place of the window.
inline void list_filters(const std::uint8_t* index, const float* value, index_t count, index_t places, std::uint32_t* lists) {
#if defined(__AVX512F__)
  const __mmask32 all = count == 32 ? ~__mmask32{0} : (__mmask32{1} << count) - 1;
  const __m256i at = _mm256_maskz_loadu_epi8(all, index);
  const __m512 zero = _mm512_setzero_ps();
  const auto low = static_cast<__mmask16>(all), high = static_cast<__mmask16>(all >> 16);
  const __mmask32 some = _mm512_mask_cmp_ps_mask(low, _mm512_maskz_loadu_ps(low, value), zero, _CMP_NEQ_UQ);
  const __mmask32 more = _mm512_mask_cmp_ps_mask(high, _mm512_maskz_loadu_ps(high, value + 16), zero, _CMP_NEQ_UQ);
  const __mmask32 wanted = some | more << 16;
  for (index_t i = 0; i < places; ++i) {
    lists[i] = _mm256_mask_cmpeq_epi8_mask(wanted, at, _mm256_set1_epi8(static_cast<char>(i)));
  }
#else
  for (index_t i = 0; i < places; ++i) lists[i] = 0;
  for (index_t f = 0; f < count; ++f) {
    if (index[f] < places) lists[index[f]] |= static_cast<std::uint32_t>(value[f] != 0.0f) << f;
  }
#endif
}

// w by filter, filter row and padded run.
inline index_t spread_weights(const Conv2dShape& s) { return s.K * s.R * padded_run(s); }

inline void pack_spread_weights(float* to, const float* w, const Conv2dShape& s) {
  const index_t run = run_of(s), padded = padded_run(s);
  copy_or_zero(to, nullptr, spread_weights(s));
  for (index_t r = 0; r < s.R; ++r) transpose_rows(w + r * run * s.K, s.K, to + r * padded, s.R * padded, run, s.K);
}

// One image's gradient.
class SpreadImage {
 public:
  explicit SpreadImage(const MaxPooledConv2dShape& a)
      : a_(a), rows_(window_rows_of(a)), width_(reached_width(a.s)), height_(reached_height(a.s)), places_(a.rows * a.columns) {
    find_places(a, place_);
  }

  index_t size() const {
    const index_t windows = rows_ * (a_.s.Q / a_.columns);
    return round_up(width_ * height_ + kMostLanes, kMostLanes) + round_up(windows * (a_.s.K + 1 + places_), kMostLanes);
  }

  void make(const MaxPooledConv2dBackwardInput& g, index_t n, const float* weights, float* scratch) const {
    const Conv2dShape& s = a_.s;
    const index_t columns = s.Q / a_.columns, rows = s.P / a_.rows;
    float* const value = scratch + round_up(width_ * height_ + kMostLanes, kMostLanes);
    auto* const start = reinterpret_cast<std::int32_t*>(value + rows_ * columns * s.K);
    auto* const lists = reinterpret_cast<std::uint32_t*>(start + rows_ * columns);
    const RowTiles blocks(s.K, static_cast<int>(filters_together(s)));
    copy_or_zero(scratch, nullptr, width_ * height_);
    for (index_t p0 = 0; p0 < rows; p0 += rows_) {
      const index_t p1 = min_of(rows, p0 + rows_), windows = (p1 - p0) * columns, first = (n * rows + p0) * columns * s.K;
      find_windows(a_, p1 - p0, start);
      take_gradients(g.gradient, first, windows * s.K, value);
      for (index_t block = 0; block < blocks.count; ++block) {
        const index_t f = blocks.start(block);
        for (index_t i = 0; i < windows; ++i) {
          const std::uint8_t* index = g.gradient.index + first + i * s.K + f;
          list_filters(index, value + i * s.K + f, blocks.height(block), places_, lists + i * places_);
        }
        SpreadSums t = {.w = weights + f * s.R * padded_run(s),
                        .w_filter = s.R * padded_run(s),
                        .w_row = padded_run(s),
                        .start = start,
                        .place = place_,
                        .places = places_,
                        .lists = lists,
                        .value = value + f,
                        .windows = windows,
                        .filters = s.K,
                        .x = scratch + p0 * a_.rows * s.stride_h * width_,
                        .x_row = s.dilation_h * width_};
        kSpread(t, s.R, run_of(s));
      }
    }
    copy_out(scratch, g.relu_output ? g.relu_output + n * s.H * s.W * s.C : nullptr, g.dx + n * s.H * s.W * s.C);
  }

 private:
  // The part of the image that the filters reach; what lies in the padding is dropped.
  void copy_out(const float* from, const float* relu_output, float* dx) const {
    const Conv2dShape& s = a_.s;
    const index_t begin = max_of(0, -s.pad_left), end = max_of(begin, min_of(s.W, width_ / s.C - s.pad_left));
    for (index_t h = 0; h < s.H; ++h, dx += s.W * s.C) {
      const index_t row = h + s.pad_top;
      const bool reached = row >= 0 && row < height_;
      copy_or_zero(dx, nullptr, begin * s.C);
      copy_or_zero(dx + begin * s.C, reached ? from + row * width_ + (begin + s.pad_left) * s.C : nullptr, (end - begin) * s.C);
      copy_or_zero(dx + end * s.C, nullptr, (s.W - end) * s.C);
      if (relu_output) apply_relu_slope(dx, relu_output + h * s.W * s.C, s.W * s.C);
    }
  }

  MaxPooledConv2dShape a_;
  index_t rows_;  // of windows, in a block
  index_t width_, height_, places_;
  std::int32_t place_[kMostPlaces];
};

inline index_t spread_scratch(const MaxPooledConv2dBackwardInput& a) {
  return spread_weights(a.shape.s) + a.slots * SpreadImage(a.shape).size();
}

inline void input_gradient_by_windows(const MaxPooledConv2dBackwardInput& a) {
  const Conv2dShape& s = a.shape.s;
  const SpreadImage image(a.shape);
  pack_spread_weights(a.scratch, a.w, s);
  const double windows = static_cast<double>((s.P / a.shape.rows) * (s.Q / a.shape.columns));
  parallel_for(s.N, windows * s.K * (filter_vectors(s) + 4), a.slots, [&](index_t begin, index_t end, int slot) {
    for (index_t n = begin; n < end; ++n) image.make(a, n, a.scratch, a.scratch + spread_weights(s) + slot * image.size());
  });
}

}  // namespace
