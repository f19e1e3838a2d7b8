// conv_windows.h - filter gradient of a convolution whose output is pooled, window by window.
//
// Of the outputs in a window one counts, for every filter another one. Where the values under a filter row fill a vector, dw of one
// filter is a few vectors, and a window adds to them what lies under the filter at its largest output: with few filters that is far
// less work than to go through all outputs, of which three quarters have no gradient.
#pragma once

#include "filter_chunks.h"
#include "gemm.h"

namespace {

using fastnn::MaxPooledConv2dBackwardFilter;
using fastnn::MaxPooledConv2dShape;

// The lanes of the widest instruction set: bits must not depend on the set.
constexpr index_t kRunValues = 16;  // under a filter row, at most
constexpr index_t kFilterLanes = 16;
constexpr index_t kPlaces = 256;
constexpr index_t kWindowValues = 6144;  // of a block of windows: 24 kB

// Whether there are fewer multiply-adds of vectors than with all outputs; finding the place of an output takes as long as two.
inline bool by_windows(const MaxPooledConv2dShape& a) {
  const Conv2dShape& s = a.s;
  if (!is_dense(s) || s.S * s.C > kRunValues || (s.R != 3 && s.R != 5 && s.R != 7)) return false;
  return s.K * (s.R + 2) < a.rows * a.columns * taps(s) * ceil_div(s.K, kFilterLanes);
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
  index_t windows, filters;  // all filters, of which the pointers are at the first
  float* sum;
};

template <class Vector, int Vectors, int Rows, int Filters>
void add_windows(const WindowSums& t) {
  typedef Vector Stored __attribute__((aligned(4), may_alias));
  constexpr int kWidth = sizeof(Vector) / sizeof(float);
  Vector acc[Filters][Rows][Vectors];
  const auto at = [&t](int f, int r, int v) { return reinterpret_cast<Stored*>(t.sum + (f * Rows + r) * kRunValues + v * kWidth); };
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

constexpr int filters_at_once(int vectors) {
  const int most = (kRegisters - 2) / vectors;
  return most < 1 ? 1 : most > 8 ? 8 : most;
}

// By filters, as many as there are registers for.
template <class Vector, int Vectors, int Rows>
struct WindowTable {
  static constexpr int kFilters = filters_at_once(Rows * Vectors);
  using Function = void (*)(const WindowSums&);
  Function function[kFilters + 1] = {};
  constexpr WindowTable() { put<kFilters>(); }
  template <int Filters>
  constexpr void put() {
    function[Filters] = add_windows<Vector, Vectors, Rows, Filters>;
    if constexpr (Filters > 1) put<Filters - 1>();
  }
  void operator()(const WindowSums& all) const {
    const RowTiles groups(all.filters, kFilters);
    WindowSums t = all;
    for (index_t i = 0; i < groups.count; ++i) {
      const index_t first = groups.start(i);
      t.index = all.index + first, t.value = all.value + first, t.sum = all.sum + first * Rows * kRunValues;
      function[groups.height(i)](t);
    }
  }
};

template <class Vector, int Vectors>
inline void add_windows_of(index_t rows, const WindowSums& t) {
  constexpr WindowTable<Vector, Vectors, 3> kThree;
  constexpr WindowTable<Vector, Vectors, 5> kFive;
  constexpr WindowTable<Vector, Vectors, 7> kSeven;
  rows == 3 ? kThree(t) : rows == 5 ? kFive(t) : kSeven(t);
}

inline void add_all_windows(const Conv2dShape& s, const WindowSums& t) {
#if defined(__AVX512F__)
  s.S* s.C <= kHalfLanes ? add_windows_of<vhalf, 1>(s.R, t) : add_windows_of<vfloat, 1>(s.R, t);
#else
  s.S* s.C <= kRunValues / 2 ? add_windows_of<vfloat, kRunValues / 2 / kLanes>(s.R, t)
                             : add_windows_of<vfloat, kRunValues / kLanes>(s.R, t);
#endif
}

// A block of rows of windows: what lies under the filter at their outputs, zeros outside of the image, and the gradients.
class WindowBlock {
 public:
  explicit WindowBlock(const MaxPooledConv2dShape& a)
      : a_(a),
        columns_(a.s.Q / a.columns),
        width_(span(a.s.Q, a.s.stride_w, a.s.S, a.s.dilation_w) * a.s.C),
        rows_(max_of(1, min_of(kWindowFloats / (a.rows * a.s.stride_h * width_), kWindowValues / (columns_ * a.s.K)))) {
    for (index_t i = 0; i < a.rows * a.columns; ++i) {
      place_[i] = static_cast<std::int32_t>(i / a.columns * a.s.stride_h * width_ + i % a.columns * a.s.stride_w * a.s.C);
    }
  }

  index_t rows() const { return rows_; }  // of windows, at most
  index_t size() const { return image_rows(rows_) * width_ + kRunValues + rows_ * columns_ * (a_.s.K + 1); }

  // sum += the part of rows [p0, p1) of the windows of image n; behind the filter's sums the bias's, if they are wanted.
  void add(const MaxPooledConv2dBackwardFilter& g, index_t n, index_t p0, index_t p1, float* scratch, float* sum) const {
    const Conv2dShape& s = a_.s;
    float* const value = scratch + image_rows(rows_) * width_ + kRunValues;
    auto* const start = reinterpret_cast<std::int32_t*>(value + rows_ * columns_ * s.K);
    copy_image(g.x + n * s.H * s.W * s.C, p0, p1, scratch);
    const index_t windows = (p1 - p0) * columns_, first = (n * (s.P / a_.rows) + p0) * columns_ * s.K;
    for (index_t p = 0, i = 0; p < p1 - p0; ++p) {
      for (index_t q = 0; q < columns_; ++q) {
        start[i++] = static_cast<std::int32_t>(p * a_.rows * s.stride_h * width_ + q * a_.columns * s.stride_w * s.C);
      }
    }
    const float* const dy = g.gradient.dy + first;
    const float* const relu_y = g.gradient.relu_y ? g.gradient.relu_y + first : nullptr;
    FASTNN_SIMD
    for (index_t i = 0; i < windows * s.K; ++i) value[i] = !relu_y || relu_y[i] > 0.0f ? dy[i] : 0.0f;
    add_all_windows(s, {scratch, s.dilation_h * width_, start, place_, g.gradient.index + first, value, windows, s.K, sum});
    if (g.dbias) add_pixels(value, windows, s.K, sum + s.K * s.R * kRunValues);
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
    copy_or_zero(to, nullptr, kRunValues);
  }

  MaxPooledConv2dShape a_;
  index_t columns_, width_, rows_;
  std::int32_t place_[kPlaces] = {};  // of an index that is none: the first
};

// Each chunk's sums.
inline index_t window_sums_size(const MaxPooledConv2dBackwardFilter& a) {
  return a.shape.s.K * (a.shape.s.R * kRunValues + (a.dbias ? 1 : 0));
}

inline index_t windows_scratch(const MaxPooledConv2dBackwardFilter& a) {
  return kFilterChunks * window_sums_size(a) + a.slots * WindowBlock(a.shape).size();
}

inline void filter_gradient_by_windows(const MaxPooledConv2dBackwardFilter& a) {
  const Conv2dShape& s = a.shape.s;
  const WindowBlock block(a.shape);
  const index_t rows = s.P / a.shape.rows, all = s.N * rows, chunk_rows = max_of(1, ceil_div(all, kFilterChunks));
  const index_t chunks = ceil_div(all, chunk_rows), size = window_sums_size(a), filter = s.K * s.R * kRunValues;
  float* blocks = a.scratch + kFilterChunks * size;
  const double cycles = static_cast<double>(chunk_rows * (s.Q / a.shape.columns) * s.K * (s.R + 2)) / 2;
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
  const auto total = [&](index_t at) {
    float sum = 0;
    for (index_t chunk = 0; chunk < chunks; ++chunk) sum += a.scratch[chunk * size + at];
    return sum;
  };
  const index_t run = s.S * s.C;
  for (index_t r = 0; r < s.R; ++r) {
    for (index_t i = 0; i < run; ++i) {
      for (index_t k = 0; k < s.K; ++k) a.dw[(r * run + i) * s.K + k] = total((k * s.R + r) * kRunValues + i);
    }
  }
  for (index_t k = 0; a.dbias && k < s.K; ++k) a.dbias[k] = total(filter + k);
}

}  // namespace
