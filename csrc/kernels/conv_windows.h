// conv_windows.h - filter gradient of a convolution whose output is pooled, window by window.
//
// Of the outputs in a window one counts, for every filter another one: three quarters of the gradients at the outputs are zero. So
// dw of a filter is the sum, over the windows, of what lies under the filter at its largest output. A tile keeps filter rows of a
// few filters in registers for all windows of a block; what it reads is in the first-level cache, a vector for each multiply-add.
#pragma once

#include "filter_chunks.h"
#include "gemm.h"

namespace {

using fastnn::MaxPooledConv2dBackwardFilter;
using fastnn::MaxPooledConv2dShape;
using fastnn::MaxPooledGradient;

// Lanes and registers of the widest instruction set: bits must not depend on the set.
constexpr index_t kMostLanes = 16, kMostVectors = 30;
constexpr int kMostRegisters = 32;
constexpr index_t kPlaces = 256;
constexpr index_t kWindowValues = 6144;    // of a block of windows: 24 kB
constexpr index_t kWindowImage = 1 << 15;  // values under a row of windows, at most: 128 kB
constexpr int kTileRows = 5;

inline index_t run_of(const Conv2dShape& s) { return s.S * s.C; }  // values under a filter row

// Values of a row of an image, as far as the filters reach.
inline index_t reached_width(const Conv2dShape& s) { return span(s.Q, s.stride_w, s.S, s.dilation_w) * s.C; }

// What a filter row takes in an array of sums or weights.
inline index_t padded_run(const Conv2dShape& s) { return round_up(run_of(s), kMostLanes); }

// Vectors of the widest instruction set under a filter, those of half the width being whole ones.
inline index_t filter_vectors(const Conv2dShape& s) { return s.R * ceil_div(run_of(s), kMostLanes); }

// Whether it takes less time than to go through all outputs. A multiply-add that reads a vector takes about as long as one and a
// half of a dense tile, to find the place of an output as long as three.
inline bool by_windows(const MaxPooledConv2dShape& a) {
  const Conv2dShape& s = a.s;
  const index_t under = span(a.rows, s.stride_h, s.R, s.dilation_h) * reached_width(s);
  if (!is_dense(s) || under > kWindowImage || s.R * s.Q == 0) return false;
  const index_t tiles = ceil_div(filter_vectors(s), kMostVectors);
  return s.K * (8 * filter_vectors(s) + 16 * tiles) < a.rows * a.columns * ceil_div(s.K, kMostLanes) * (5 * taps(s) + 24);
}

// Some filters' sums over some windows: of filter f what lies at x + start[window] + place[index[window, f]], times
// value[window, f], is added to sum[f, filter row, value of the row].
struct WindowSums {
  const float* x;
  index_t x_row;  // between filter rows
  const std::int32_t* start;
  const std::int32_t* place;
  const std::uint8_t* index;
  const float* value;
  index_t windows, filters;  // of the arrays
  float* sum;
  index_t sum_filter, sum_row;
};

using WindowFunction = void (*)(const WindowSums&);

template <class Vector, int Rows, int Vectors, int Filters>
void add_windows(const WindowSums& t) {
  typedef Vector Stored __attribute__((aligned(4), may_alias));
  constexpr int kWidth = sizeof(Vector) / sizeof(float);
  Vector acc[Filters][Rows][Vectors];
  const auto at = [&t](int f, int r, int v) {
    return reinterpret_cast<Stored*>(t.sum + f * t.sum_filter + r * t.sum_row + v * kWidth);
  };
  FASTNN_UNROLL
  for (int f = 0; f < Filters; ++f) {
    FASTNN_UNROLL
    for (int r = 0; r < Rows; ++r) {
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) acc[f][r][v] = *at(f, r, v);
    }
  }
  const index_t x_row = t.x_row, filters = t.filters;
  const float* value = t.value;
  const std::uint8_t* index = t.index;
  const std::int32_t* const place = t.place;
  for (index_t window = 0; window < t.windows; ++window, value += filters, index += filters) {
    const float* const x = t.x + t.start[window];
    FASTNN_UNROLL
    for (int f = 0; f < Filters; ++f) {
      const float* row = x + place[index[f]];
      FASTNN_UNROLL
      for (int r = 0; r < Rows; ++r, row += x_row) {
        FASTNN_UNROLL
        for (int v = 0; v < Vectors; ++v) {
          acc[f][r][v] = multiply_add(value[f], *reinterpret_cast<const Stored*>(row + v * kWidth), acc[f][r][v]);
        }
      }
    }
  }
  FASTNN_UNROLL
  for (int f = 0; f < Filters; ++f) {
    FASTNN_UNROLL
    for (int r = 0; r < Rows; ++r) {
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) *at(f, r, v) = acc[f][r][v];
    }
  }
}

// Vectors of a row that a tile of so many rows has registers for, and filters of a tile.
constexpr int kMostTileVectors = 10;
constexpr int tile_vectors(int rows, int registers = kRegisters) {
  return (registers - 2) / rows > kMostTileVectors ? kMostTileVectors : (registers - 2) / rows;
}
constexpr int tile_filters(int rows, int vectors) {
  const int most = (kRegisters - 2) / (rows * vectors);
  return most > 8 ? 8 : most;
}

template <class Vector, int MostVectors>
struct WindowTable {
  WindowFunction one[kTileRows + 1][MostVectors + 1] = {}, several[kTileRows + 1][MostVectors + 1] = {};
  constexpr WindowTable() { put_rows<kTileRows>(); }
  template <int Rows>
  constexpr void put_rows() {
    put<Rows, (MostVectors < tile_vectors(Rows) ? MostVectors : tile_vectors(Rows))>();
    if constexpr (Rows > 1) put_rows<Rows - 1>();
  }
  template <int Rows, int Vectors>
  constexpr void put() {
    one[Rows][Vectors] = add_windows<Vector, Rows, Vectors, 1>;
    several[Rows][Vectors] = add_windows<Vector, Rows, Vectors, tile_filters(Rows, Vectors)>;
    if constexpr (Vectors > 1) put<Rows, Vectors - 1>();
  }

  // All filters, `rows` filter rows of `vectors` vectors; meanwhile fetches what lies ahead.
  void operator()(const WindowSums& all, index_t rows, index_t vectors, Ahead& ahead) const {
    constexpr index_t kWidth = sizeof(Vector) / sizeof(float);
    const RowTiles high(rows, kTileRows);
    for (index_t i = 0; i < high.count; ++i) {
      const int height = high.height(i);
      const RowTiles wide(vectors, static_cast<int>(min_of(MostVectors, tile_vectors(height))));
      for (index_t j = 0; j < wide.count; ++j) {
        const int width = wide.height(j), together = tile_filters(height, width);
        WindowSums t = all;
        t.x += high.start(i) * all.x_row + wide.start(j) * kWidth;
        t.sum += high.start(i) * all.sum_row + wide.start(j) * kWidth;
        for (index_t f = 0, filters; f < all.filters; f += filters) {
          filters = f + together <= all.filters ? together : 1;
          ahead.fetch();
          (filters > 1 ? several : one)[height][width](t);
          t.index += filters, t.value += filters, t.sum += filters * all.sum_filter;
        }
      }
    }
  }
};

#if defined(__AVX512F__)
constexpr WindowTable<vhalf, 1> kHalfWindows;
#endif
constexpr WindowTable<vfloat, kMostTileVectors> kWindows;

inline void add_all_windows(const Conv2dShape& s, const WindowSums& t, Ahead& ahead) {
#if defined(__AVX512F__)
  if (run_of(s) <= kHalfLanes) return kHalfWindows(t, s.R, 1, ahead);
#endif
  kWindows(t, s.R, ceil_div(run_of(s), kLanes), ahead);
}

// Rows of windows in a block.
inline index_t window_rows_of(const MaxPooledConv2dShape& a) {
  const index_t image = a.rows * a.s.stride_h * reached_width(a.s), values = a.s.Q / a.columns * a.s.K;
  return max_of(1, min_of(kWindowFloats / image, kWindowValues / values));
}

// Where the filter lies at the outputs of a window, from where it lies at the first.
inline void find_places(const MaxPooledConv2dShape& a, std::int32_t* place) {
  for (index_t i = 0; i < a.rows * a.columns; ++i) {
    const index_t row = i / a.columns * a.s.stride_h, column = i % a.columns * a.s.stride_w;
    place[i] = static_cast<std::int32_t>(row * reached_width(a.s) + column * a.s.C);
  }
}

// Where some rows of windows begin.
inline void find_windows(const MaxPooledConv2dShape& a, index_t rows, std::int32_t* start) {
  const Conv2dShape& s = a.s;
  const index_t width = reached_width(s);
  for (index_t p = 0; p < rows; ++p) {
    for (index_t q = 0; q < s.Q / a.columns; ++q) {
      *start++ = static_cast<std::int32_t>(p * a.rows * s.stride_h * width + q * a.columns * s.stride_w * s.C);
    }
  }
}

// The gradients at `count` windows and filters from the first on, 0 behind a relu that is off.
inline void take_gradients(const MaxPooledGradient& g, index_t first, index_t count, float* value) {
  const float* const dy = g.dy + first;
  if (!g.relu_y) return copy_or_zero(value, dy, count);
  const float* const relu_y = g.relu_y + first;
  FASTNN_SIMD
  for (index_t i = 0; i < count; ++i) value[i] = relu_y[i] > 0.0f ? dy[i] : 0.0f;
}

// A block of rows of windows: what lies under the filter at their outputs, zeros outside of the image, and the gradients.
class WindowBlock {
 public:
  explicit WindowBlock(const MaxPooledConv2dShape& a)
      : a_(a), columns_(a.s.Q / a.columns), width_(reached_width(a.s)), rows_(window_rows_of(a)) {
    find_places(a, place_);
  }

  index_t rows() const { return rows_; }  // of windows, at most
  index_t size() const { return round_up(image_rows(rows_) * width_ + kMostLanes + rows_ * columns_ * (a_.s.K + 1), kMostLanes); }

  // sum += the part of rows [p0, p1) of the windows of image n; behind the filter's sums the bias's, if they are wanted.
  void add(const MaxPooledConv2dBackwardFilter& g, index_t n, index_t p0, index_t p1, float* scratch, float* sum) const {
    const Conv2dShape& s = a_.s;
    float* const value = scratch + image_rows(rows_) * width_ + kMostLanes;
    auto* const start = reinterpret_cast<std::int32_t*>(value + rows_ * columns_ * s.K);
    copy_image(g.x + n * s.H * s.W * s.C, p0, p1, scratch);
    const index_t windows = (p1 - p0) * columns_, first = (n * (s.P / a_.rows) + p0) * columns_ * s.K;
    find_windows(a_, p1 - p0, start);
    take_gradients(g.gradient, first, windows * s.K, value);
    Ahead ahead = input_ahead(s, g.x, n, p0 * a_.rows, p1 * a_.rows, ceil_div(s.K, 3), fetches_ahead(s));  // about as many tiles
    add_all_windows(s,
                    {scratch, s.dilation_h * width_, start, place_, g.gradient.index + first, value, windows, s.K, sum,
                     s.R * padded_run(s), padded_run(s)},
                    ahead);
    if (g.dbias) add_pixels(value, windows, s.K, sum + s.K * s.R * padded_run(s));
  }

 private:
  index_t image_rows(index_t rows) const { return span(rows * a_.rows, a_.s.stride_h, a_.s.R, a_.s.dilation_h); }

  void copy_image(const float* image, index_t p0, index_t p1, float* to) const {
    const Conv2dShape& s = a_.s;
    const index_t begin = max_of(0, min_of(s.pad_left, width_ / s.C)), end = max_of(begin, min_of(width_ / s.C, s.W + s.pad_left));
    const index_t first = p0 * a_.rows * s.stride_h - s.pad_top;
    for (index_t h = first; h < first + image_rows(p1 - p0); ++h, to += width_) {
      const bool inside = h >= 0 && h < s.H;
      copy_or_zero(to, nullptr, begin * s.C);
      copy_or_zero(to + begin * s.C, inside ? image + (h * s.W + begin - s.pad_left) * s.C : nullptr, (end - begin) * s.C);
      copy_or_zero(to + end * s.C, nullptr, width_ - end * s.C);
    }
    copy_or_zero(to, nullptr, kMostLanes);
  }

  MaxPooledConv2dShape a_;
  index_t columns_, width_, rows_;
  std::int32_t place_[kPlaces] = {};  // of an index that is none: the first
};

// Each chunk's sums.
inline index_t window_sums_size(const MaxPooledConv2dBackwardFilter& a) {
  return round_up(a.shape.s.K * (a.shape.s.R * padded_run(a.shape.s) + (a.dbias ? 1 : 0)), kMostLanes);
}

// Rows of windows, counted over all images, in a chunk, and how many chunks there are.
inline index_t window_chunk_rows(const MaxPooledConv2dShape& a) {
  return max_of(1, ceil_div(a.s.N * (a.s.P / a.rows), kFilterChunks));
}
inline index_t window_chunks(const MaxPooledConv2dShape& a) {
  return max_of(1, ceil_div(a.s.N * (a.s.P / a.rows), window_chunk_rows(a)));
}

inline index_t windows_scratch(const MaxPooledConv2dBackwardFilter& a) {
  return window_chunks(a.shape) * window_sums_size(a) + a.slots * WindowBlock(a.shape).size();
}

inline void filter_gradient_by_windows(const MaxPooledConv2dBackwardFilter& a) {
  const Conv2dShape& s = a.shape.s;
  const WindowBlock block(a.shape);
  const index_t rows = s.P / a.shape.rows, all = s.N * rows, chunk_rows = window_chunk_rows(a.shape),
                chunks = window_chunks(a.shape);
  const index_t size = window_sums_size(a), filter = s.K * s.R * padded_run(s);
  float* blocks = a.scratch + chunks * size;
  const double cycles = static_cast<double>(chunk_rows * (s.Q / a.shape.columns) * s.K * (filter_vectors(s) + 2));
  parallel_for(chunks, cycles, a.slots, [&](index_t begin, index_t end, int slot) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = a.scratch + chunk * size;
      copy_or_zero(sum, nullptr, size);
      const index_t stop = min_of(all, (chunk + 1) * chunk_rows);
      for (index_t row = chunk * chunk_rows; row < stop;) {
        const index_t n = row / rows, p0 = row % rows, p1 = min_of(min_of(rows, p0 + block.rows()), p0 + stop - row);
        block.add(a, n, p0, p1, blocks + slot * block.size(), sum);
        row += p1 - p0;
      }
    }
  });
  parallel_elements(size, 0.3 * chunks, [&](index_t first, index_t last) {
    for (index_t chunk = 1; chunk < chunks; ++chunk) {
      const float* __restrict sum = a.scratch + chunk * size;
      FASTNN_SIMD
      for (index_t i = first; i < last; ++i) a.scratch[i] += sum[i];
    }
  });
  const index_t run = run_of(s), padded = padded_run(s);
  for (index_t r = 0; r < s.R; ++r) transpose_rows(a.scratch + r * padded, s.R * padded, a.dw + r * run * s.K, s.K, s.K, run);
  for (index_t k = 0; a.dbias && k < s.K; ++k) a.dbias[k] = a.scratch[filter + k];
}

}  // namespace
