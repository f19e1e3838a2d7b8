// conv_shape.h - the geometry of a convolution: what output rows read, with zeros beside the image.
#pragma once

#include "simd.h"

namespace {

using fastnn::Conv2dShape;
using fastnn::ImageRange;

inline index_t taps(const Conv2dShape& s) { return s.R * s.S * (s.C / s.groups); }
inline index_t out_pixels(const Conv2dShape& s) { return s.N * s.P * s.Q; }
inline index_t out_rows(const Conv2dShape& s) { return s.N * s.P; }

// The same of fewer images.
inline Conv2dShape some_images(const Conv2dShape& whole, const ImageRange& range) {
  Conv2dShape s = whole;
  s.N = range.end - range.begin;
  return s;
}

// The left matrix is x itself.
inline bool is_pointwise(const Conv2dShape& s) {
  return s.R == 1 && s.S == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.P == s.H &&
         s.Q == s.W;
}

inline double flops_per_pixel(const Conv2dShape& s) { return 2.0 * taps(s) * s.K; }

inline void copy_or_zero(float* __restrict to, const float* __restrict from, index_t n) {
  if (from) {
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) to[i] = from[i];
  } else {
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) to[i] = 0.0f;
  }
}

// The values of a filter row lie side by side in the image.
inline bool is_dense(const Conv2dShape& s) { return s.dilation_w == 1 && s.groups == 1; }

constexpr index_t kWindowFloats = 6400;  // what a block of output rows reads: 25 kB, to stay in the first-level cache

inline index_t span(index_t count, index_t stride, index_t taps, index_t dilation) {
  return (count - 1) * stride + (taps - 1) * dilation + 1;
}

// Whether a filter reaches over the left or right border, so that rows must be copied to get zeros beside them.
inline bool reaches_out(const Conv2dShape& s) {
  return s.pad_left > 0 || span(s.Q, s.stride_w, s.S, s.dilation_w) - s.pad_left > s.W;
}

inline index_t window_row(const Conv2dShape& s) {
  return reaches_out(s) ? span(s.Q, s.stride_w, s.S, s.dilation_w) * s.C : s.W * s.C;
}

// Output rows that are computed together, reading about `floats` values. All blocks of an image but the last have as many, and the
// last has few less: a filter gradient is read and written for every block.
inline index_t block_rows(const Conv2dShape& s, index_t floats = kWindowFloats) {
  const index_t rows = floats / max_of(1, window_row(s)) - (s.R - 1) * s.dilation_h;
  const index_t most = max_of(1, 1 + (rows - 1) / s.stride_h);
  return ceil_div(max_of(1, s.P), ceil_div(max_of(1, s.P), most));
}

// A copy of what so many output rows read, where they need one.
inline index_t rows_read(const Conv2dShape& s, index_t rows) { return span(rows, s.stride_h, s.R, s.dilation_h); }
inline index_t window_size_of(const Conv2dShape& s, index_t rows) {
  return reaches_out(s) ? round_up(rows_read(s, rows) * window_row(s), kLineFloats) : 0;
}
inline index_t window_size(const Conv2dShape& s, index_t floats = kWindowFloats) {
  return window_size_of(s, block_rows(s, floats));
}

// What will be needed soon, fetched into the second-level cache a part at a time while tiles are computed, so that its latency
// hides behind their multiply-adds: floats [at, stop) of an array.
struct Ahead {
  const float* array = nullptr;
  index_t at = 0, stop = 0, part = 0;
  Ahead* more = nullptr;  // of another array

  void fetch() {
    for (Ahead* a = this; a; a = a->more) {
      const index_t end = min_of(a->stop, a->at + a->part);
      for (; a->at < end; a->at += kLineFloats) __builtin_prefetch(a->array + a->at, 0, 2);
    }
  }
};

// What the images after those of a range will read, in so many parts.
class ComingAhead {
 public:
  ComingAhead(const ImageRange& range, index_t parts) {
    for (; count_ < range.coming_count; ++count_) {
      const fastnn::Coming& c = range.coming[count_];
      list_[count_] = {c.first, 0, c.floats, round_up(ceil_div(c.floats, max_of(1, parts)), kLineFloats), nullptr};
      if (count_ > 0) list_[count_ - 1].more = &list_[count_];
    }
  }
  Ahead* first() { return count_ > 0 ? list_ : nullptr; }

 private:
  Ahead list_[fastnn::kMostComing];
  index_t count_ = 0;
};

// Fetches so many pixels of some columns, to be written soon.
inline void fetch_pixels(const float* pixel, index_t count, index_t distance, index_t columns) {
  if (distance <= kLineFloats) columns = count * distance, count = 1;
  for (index_t i = 0; i < count; ++i, pixel += distance) {
    for (index_t j = 0; j < columns; j += kLineFloats) __builtin_prefetch(pixel + j, 1);
  }
}

// What output rows [p0, p1) of one image read: at(h) is the row of input row h, beginning with column -pad_left.
struct Window {
  const float* rows;
  index_t first, stride;
  const float* at(index_t h) const { return rows + (h - first) * stride; }
};

inline Window window(const Conv2dShape& s, const float* x, index_t n, index_t p0, index_t p1, float* scratch) {
  const index_t first = max_of(0, p0 * s.stride_h - s.pad_top);
  const index_t stop = min_of(s.H, (p1 - 1) * s.stride_h - s.pad_top + (s.R - 1) * s.dilation_h + 1);
  const index_t width = window_row(s);
  const float* image = x + n * s.H * s.W * s.C;
  if (!reaches_out(s)) return {image + first * width - s.pad_left * s.C, first, width};
  // The image lies in columns [begin, end) of the window.
  const index_t columns = width / s.C, begin = min_of(max_of(0, s.pad_left), columns);
  const index_t end = max_of(begin, min_of(columns, s.W + s.pad_left));
  for (index_t h = first; h < stop; ++h) {
    float* to = scratch + (h - first) * width;
    copy_or_zero(to, nullptr, begin * s.C);
    copy_or_zero(to + begin * s.C, image + (h * s.W + begin - s.pad_left) * s.C, (end - begin) * s.C);
    copy_or_zero(to + end * s.C, nullptr, (columns - end) * s.C);
  }
  return {scratch, first, width};
}

// Fetching ahead pays where much is computed with every value, and the arrays are larger than the second-level caches.
constexpr index_t kProductsPerValue = 40, kManyValues = 1 << 19;
inline index_t values(const Conv2dShape& s) { return s.N * (s.H * s.W * s.C + s.P * s.Q * s.K); }  // of x and y
inline bool fetches_ahead(const Conv2dShape& s) {
  return taps(s) * s.K >= kProductsPerValue * (s.C + s.K) && values(s) >= kManyValues;
}

// Channels from which on a pixel's lines are read one by one: the prefetchers do not follow.
constexpr index_t kWidePixel = 64;
inline bool is_huge(const Conv2dShape& s) { return values(s) >= kHugeFloats; }

// What the next as many output rows read besides, in so many parts.
inline Ahead input_ahead(const Conv2dShape& s, const float* x, index_t n, index_t p0, index_t p1, index_t parts, bool fetches) {
  if (!fetches) return {};
  const index_t row = s.W * s.C, rows = (p1 - p0) * s.stride_h;
  const index_t h = n * s.H + min_of(s.H, max_of(0, (p1 - 1) * s.stride_h - s.pad_top + (s.R - 1) * s.dilation_h + 1));
  return {x, h * row, min_of(s.N * s.H, h + rows) * row, ceil_div(rows * row, parts)};
}

// The output rows of [begin, end) from which filter row r meets the image.
inline void clip_rows(const Conv2dShape& s, index_t r, index_t& begin, index_t& end) {
  while (begin < end && begin * s.stride_h - s.pad_top + r * s.dilation_h < 0) ++begin;
  while (begin < end && (end - 1) * s.stride_h - s.pad_top + r * s.dilation_h >= s.H) --end;
}

// The filter rows [begin, end) that meet the image from output row p.
struct FilterRows {
  index_t begin, end;
  FilterRows(const Conv2dShape& s, index_t p) {
    const index_t h = p * s.stride_h - s.pad_top;
    begin = h >= 0 ? 0 : min_of(s.R, ceil_div(-h, s.dilation_h));
    end = max_of(begin, h >= s.H ? 0 : min_of(s.R, ceil_div(s.H - h, s.dilation_h)));
  }
  bool operator==(const FilterRows&) const = default;
};

}  // namespace
