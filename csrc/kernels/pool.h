// pool.h - max, average and global-average pooling of NHWC images, each channel by itself.
#pragma once

#include "simd.h"

namespace {

using fastnn::AvgPool2dBackward;
using fastnn::AvgPool2dForward;
using fastnn::MaxPool2dBackward;
using fastnn::MaxPool2dForward;
using fastnn::Pool2dShape;
using fastnn::SpatialMeanBackward;
using fastnn::SpatialMeanForward;

typedef std::int32_t vindex __attribute__((vector_size(kLanes * 4)));
typedef std::int32_t vindex_unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

// A vector of channels, whole or its first `count` lanes.
template <bool Whole>
inline vfloat load_channels(const float* p, int count) {
  return Whole ? load(p) : load_partial(p, count);
}

template <bool Whole>
inline void store_channels(float* p, vfloat v, int count) {
  Whole ? store(p, v) : store_partial(p, v, count);
}

template <bool Whole>
inline vindex load_indices(const std::int32_t* p, int count) {
  if constexpr (Whole) return *reinterpret_cast<const vindex_unaligned*>(p);
  vindex v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}

template <bool Whole>
inline void store_indices(std::int32_t* p, vindex v, int count) {
  if constexpr (Whole) {
    *reinterpret_cast<vindex_unaligned*>(p) = v;
  } else {
    for (int i = 0; i < count; ++i) p[i] = v[i];
  }
}

// body<whole>(c, count) for the vectors of channels of a pixel. Elements [0, room) from its channel 0 may be read and written.
// A thread writes its pixels in the order of memory, so a last vector may spill into the next pixel, which is written afterwards:
// there are partial vectors only at the end of what a thread owns, however few the channels.
template <class Body>
inline void for_each_vector(index_t channels, index_t room, const Body& body) {
  for (index_t c = 0; c < channels; c += kLanes) {
    if (c + kLanes <= room) {
      body.template operator()<true>(c, kLanes);
    } else {
      body.template operator()<false>(c, static_cast<int>(min_of(kLanes, channels - c)));
    }
  }
}

// The positions [begin, end) of a window that lie inside of the image.
struct PoolSpan {
  index_t begin, end;

  index_t size() const { return end - begin; }
  bool contains(index_t at) const { return begin <= at && at < end; }
};

inline PoolSpan window_span(index_t out, index_t stride, index_t pad, index_t size, index_t limit) {
  return {max_of(out * stride - pad, 0), min_of(out * stride - pad + size, limit)};
}
inline PoolSpan window_rows(const Pool2dShape& s, index_t p) { return window_span(p, s.stride_h, s.pad_top, s.R, s.H); }
inline PoolSpan window_columns(const Pool2dShape& s, index_t q) { return window_span(q, s.stride_w, s.pad_left, s.S, s.W); }

// The outputs of a row whose windows are complete in width.
inline PoolSpan complete_columns(const Pool2dShape& s) {
  const index_t begin = ceil_div(s.pad_left, s.stride_w), slack = s.W + s.pad_left - s.S;
  return {begin, slack < 0 ? begin : min_of(slack / s.stride_w + 1, s.Q)};
}

inline double pool_row_cycles(const Pool2dShape& s) {
  return static_cast<double>(s.Q * (ceil_div(s.C, kLanes) * s.R * s.S * 2 + 5));
}

// A window inside of the image: rows x columns pixels; first is the offset of its first element, pixel = h W + w.
struct PoolWindow {
  index_t first, pixel, rows, columns, width, channels;

  index_t last() const { return first + ((rows - 1) * width + columns - 1) * channels; }
};

// `count` windows of a row, stride pixels apart, whole vectors everywhere. Size x Size windows, or 0: size known at run time.
template <int Size, class Op>
inline void pool_run(Op op, PoolWindow w, index_t stride, index_t out, index_t count) {
  for (index_t i = 0; i < count; ++i) {
    for (index_t c = 0; c < w.channels; c += kLanes) op.template window<Size, true>(w, c, kLanes, out + c);
    w.first += stride * w.channels;
    w.pixel += stride;
    out += w.channels;
  }
}

// One row of output pixels. op.window<size, whole>(window, channel, count, out) does one vector; y ends at y_end for this thread.
template <class Op>
inline void pool_forward_row(const Pool2dShape& s, const Op& op, index_t row, index_t y_end) {
  const PoolSpan h = window_rows(s, row % s.P), complete = complete_columns(s);
  const index_t image = row / s.P * s.H * s.W, x_end = s.N * s.H * s.W * s.C, spill = round_up(s.C, kLanes) - s.C;
  const bool whole_row = (row + 1) * s.Q * s.C + spill <= y_end && (image + h.end * s.W) * s.C + spill <= x_end;
  const index_t size = h.size() == s.S ? s.S : 0;
  for (index_t q = 0; q < s.Q; ++q) {
    const PoolSpan w = window_columns(s, q);
    const index_t pixel = h.begin * s.W + w.begin, out = (row * s.Q + q) * s.C;
    const PoolWindow window{(image + pixel) * s.C, pixel, h.size(), w.size(), s.W, s.C};
    if (whole_row && complete.contains(q)) {
      const index_t count = complete.end - q;
      if (size == 2) {
        pool_run<2>(op, window, s.stride_w, out, count);
      } else if (size == 3) {
        pool_run<3>(op, window, s.stride_w, out, count);
      } else {
        pool_run<0>(op, window, s.stride_w, out, count);
      }
      q = complete.end - 1;
      continue;
    }
    for_each_vector(s.C, min_of(y_end - out, x_end - window.last()),
                    [&]<bool whole>(index_t c, int count) { op.template window<0, whole>(window, c, count, out + c); });
  }
}

template <class Op>
void pool_forward(const Pool2dShape& shape, const Op& operation) {
  parallel_for(shape.N * shape.P, pool_row_cycles(shape), [&](index_t begin, index_t end) {
    const Pool2dShape s = shape;
    const Op op = operation;
    for (index_t row = begin; row < end; ++row) pool_forward_row(s, op, row, end * s.Q * s.C);
  });
}

struct MaxWindow {
  const float* x;
  float* y;
  std::int32_t* index;

  template <int Size, bool Whole>
  inline void window(const PoolWindow& w, index_t c, int count, index_t out) const {
    const index_t rows = Size ? Size : w.rows, columns = Size ? Size : w.columns;
    vfloat best = load_channels<Whole>(x + w.first + c, count);
    vindex where = vindex{} + static_cast<std::int32_t>(w.pixel);
    for (index_t r = 0; r < rows; ++r) {
      for (index_t s = 0; s < columns; ++s) {
        const index_t step = r * w.width + s;
        const vfloat v = load_channels<Whole>(x + w.first + step * w.channels + c, count);
        const vindex better = ~(v <= best) & (best == best);  // larger, or the first NaN
        best = better ? v : best;
        where = better ? vindex{} + static_cast<std::int32_t>(w.pixel + step) : where;
      }
    }
    store_channels<Whole>(y + out, best, count);
    store_indices<Whole>(index + out, where, count);
  }
};

struct MeanWindow {
  const float* x;
  float* y;

  template <int Size, bool Whole>
  inline void window(const PoolWindow& w, index_t c, int count, index_t out) const {
    const index_t rows = Size ? Size : w.rows, columns = Size ? Size : w.columns;
    vfloat sum = {};
    for (index_t r = 0; r < rows; ++r) {
      for (index_t s = 0; s < columns; ++s) {
        sum += load_channels<Whole>(x + w.first + (r * w.width + s) * w.channels + c, count);
      }
    }
    store_channels<Whole>(y + out, sum * (1.0f / static_cast<float>(rows * columns)), count);
  }
};

void max_pool2d_forward(const MaxPool2dForward& a) { pool_forward(a.s, MaxWindow{a.x, a.y, a.index}); }
void avg_pool2d_forward(const AvgPool2dForward& a) { pool_forward(a.s, MeanWindow{a.x, a.y}); }

// What a window gives to a pixel: add<whole>(sum so far, lanes to use, offset in dy, count, pixel, 1 / pixels of the window).
struct MaxGradient {
  const float* dy;
  const std::int32_t* index;

  template <bool Whole>
  inline vfloat add(vfloat sum, vindex lanes, index_t at, int count, index_t pixel, float) const {
    const vindex mine = load_indices<Whole>(index + at, count) == static_cast<std::int32_t>(pixel);
    return sum + (vfloat)((vindex)load_channels<Whole>(dy + at, count) & lanes & mine);
  }
};

struct MeanGradient {
  const float* dy;

  template <bool Whole>
  inline vfloat add(vfloat sum, vindex lanes, index_t at, int count, index_t, float share) const {
    return sum + (vfloat)((vindex)load_channels<Whole>(dy + at, count) & lanes) * share;
  }
};

// What a thread writes of dx: up to dx_end. `tail` has the lanes of the last vector of channels that are channels.
struct Scatter {
  Pool2dShape s;
  float* dx;
  index_t dx_end, dy_end;
  vindex tail;

  Scatter(const Pool2dShape& shape, float* to, index_t end)
      : s(shape), dx(to), dx_end(end), dy_end(s.N * s.P * s.Q * s.C), tail(vindex{} - 1) {
    for (int i = 0; i < kLanes; ++i) tail[i] = -(i < s.C - (ceil_div(s.C, kLanes) - 1) * kLanes);
  }
  vindex lanes(index_t c) const { return c + kLanes > s.C ? tail : vindex{} - 1; }
};

// One image row under `count` windows of full width, whole vectors everywhere; the windows do not overlap, what is between them
// gets 0. S = 0: any size and stride.
template <int S, class Op>
inline void store_run(const Scatter& t, Op op, index_t at, index_t pixel, index_t count, float share, float* to) {
  const index_t channels = t.s.C, stride = S ? S : t.s.stride_w, size = S ? S : t.s.S;
  for (; count > 0; --count, at += channels) {
    for (index_t i = 0; i < stride; ++i, ++pixel, to += channels) {
      for (index_t c = 0; c < channels; c += kLanes) {
        store(to + c, i < size ? op.template add<true>(vfloat{}, vindex{} - 1, at + c, kLanes, pixel, share) : vfloat{});
      }
    }
  }
}

// The same for windows that overlap: added to what is there. A load just after a store that overlaps it in part is slow, so this
// goes through the columns of the windows, and `skip` windows at a time; columns from the right, so that every pixel still
// gets its windows from left to right.
template <class Op>
inline void add_run(const Scatter& t, Op op, index_t at, index_t pixel, index_t count, float share, float* to) {
  const index_t channels = t.s.C, stride = t.s.stride_w, skip = ceil_div(kLanes, stride * channels);
  for (index_t i = t.s.S - 1; i >= 0; --i) {
    for (index_t first = 0; first < skip; ++first) {
      for (index_t q = first; q < count; q += skip) {
        float* p = to + (q * stride + i) * channels;
        const index_t from = at + q * channels, here = pixel + q * stride + i;
        for (index_t c = 0; c < channels; c += kLanes) {
          store(p + c, op.template add<true>(load(p + c), t.lanes(c), from + c, kLanes, here, share));
        }
      }
    }
  }
}

// What output `out` of `outs` writes when windows do not overlap: from its window to the next one, the last one to the edge.
inline PoolSpan owned_span(index_t out, index_t outs, index_t stride, index_t pad, index_t limit) {
  return {max_of(out * stride - pad, 0), out + 1 == outs ? limit : (out + 1) * stride - pad};
}

// Row h of an image under row `row` of output pixels.
template <bool Add, class Op>
inline void scatter_row(const Scatter& t, const Op& op, index_t row, index_t h) {
  const Pool2dShape& s = t.s;
  const PoolSpan rows = window_rows(s, row % s.P), complete = complete_columns(s);
  const index_t begin = (row / s.P * s.H + h) * s.W * s.C, spill = round_up(s.C, kLanes) - s.C;
  const bool whole_row = begin + s.W * s.C + spill <= t.dx_end && (row + 1) * s.Q * s.C + spill <= t.dy_end;
  for (index_t q = 0; q < s.Q; ++q) {
    const PoolSpan columns = window_columns(s, q);
    const PoolSpan own = Add ? columns : owned_span(q, s.Q, s.stride_w, s.pad_left, s.W);
    const index_t at = (row * s.Q + q) * s.C;
    const float share = 1.0f / static_cast<float>(rows.size() * columns.size());
    const index_t run = min_of(complete.end, s.Q - !Add) - q;  // the last window may own more or fewer pixels than the others
    if (whole_row && rows.contains(h) && complete.contains(q) && run > 0) {
      float* to = t.dx + begin + own.begin * s.C;
      const index_t pixel = h * s.W + own.begin;
      if (Add) {
        add_run(t, op, at, pixel, run, share, to);
      } else if (s.S == 2 && s.stride_w == 2) {
        store_run<2>(t, op, at, pixel, run, share, to);
      } else {
        store_run<0>(t, op, at, pixel, run, share, to);
      }
      q += run - 1;
      continue;
    }
    for (index_t w = own.begin; w < own.end; ++w) {
      const bool inside = rows.contains(h) && columns.contains(w);
      const index_t to = begin + w * s.C;
      for_each_vector(s.C, min_of(t.dx_end - to, t.dy_end - at), [&]<bool whole>(index_t c, int count) {
        vfloat sum = {};
        if (Add) sum = load_channels<whole>(t.dx + to + c, count);
        if (inside) sum = op.template add<whole>(sum, t.lanes(c), at + c, count, h * s.W + w, share);
        store_channels<whole>(t.dx + to + c, sum, count);
      });
    }
  }
}

// dx where windows do not overlap: every row of output pixels writes the image rows it owns, every element once.
template <class Op>
void pool_backward_apart(const Pool2dShape& s, const Op& operation, float* dx) {
  parallel_for(s.N * s.P, pool_row_cycles(s), [&, dx](index_t begin, index_t end) {
    const auto rows_of = [&s](index_t row) { return owned_span(row % s.P, s.P, s.stride_h, s.pad_top, s.H); };
    const Scatter t(s, dx, ((end - 1) / s.P * s.H + rows_of(end - 1).end) * s.W * s.C);
    const Op op = operation;
    for (index_t row = begin; row < end; ++row) {
      const PoolSpan own = rows_of(row);
      for (index_t h = own.begin; h < own.end; ++h) scatter_row<false>(t, op, row, h);
    }
  });
}

// dx where windows overlap: every image row adds up the rows of windows that cover it, in order.
template <class Op>
void pool_backward_overlapping(const Pool2dShape& s, const Op& operation, float* dx) {
  parallel_for(s.N * s.H, pool_row_cycles(s), [&, dx](index_t begin, index_t end) {
    const index_t row_size = s.W * s.C;
    const Scatter t(s, dx, end * row_size);
    const Op op = operation;
    for (index_t row = begin; row < end; ++row) {
      const index_t h = row % s.H, first = max_of(0, ceil_div(h + s.pad_top - s.R + 1, s.stride_h));
      __builtin_memset(dx + row * row_size, 0, static_cast<std::size_t>(row_size) * sizeof(float));
      for (index_t p = first; p < min_of(s.P, (h + s.pad_top) / s.stride_h + 1); ++p) {
        scatter_row<true>(t, op, row / s.H * s.P + p, h);
      }
    }
  });
}

template <class Op>
void pool_backward(const Pool2dShape& s, const Op& op, float* dx) {
  if (s.C == 0) return;
  const bool apart = s.stride_h >= s.R && s.stride_w >= s.S && s.P > 0 && s.Q > 0;
  apart ? pool_backward_apart(s, op, dx) : pool_backward_overlapping(s, op, dx);
}

void max_pool2d_backward(const MaxPool2dBackward& a) { pool_backward(a.s, MaxGradient{a.dy, a.index}, a.dx); }
void avg_pool2d_backward(const AvgPool2dBackward& a) { pool_backward(a.s, MeanGradient{a.dy}, a.dx); }

constexpr index_t kMeanPixels = 64;  // pixels in a partial sum

// y = mean over the pixels of `Vectors` vectors of channels, of which `count` channels are wanted. The other lanes of the first
// `whole` pixels may be read.
template <int Vectors>
inline void mean_over_pixels(const float* x, index_t pixels, index_t whole, index_t channels, int count, float* y) {
  vfloat sums[Vectors] = {};
  for (index_t start = 0; start < pixels; start += kMeanPixels) {
    vfloat part[Vectors] = {};
    for (index_t i = start; i < min_of(start + kMeanPixels, pixels); ++i) {
      const float* pixel = x + i * channels;
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) part[v] += i < whole ? load(pixel + v * kLanes) : load_partial(pixel, count);
    }
    FASTNN_UNROLL
    for (int v = 0; v < Vectors; ++v) sums[v] += part[v];
  }
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) {
    const vfloat mean = sums[v] / static_cast<float>(pixels);
    count < kLanes ? store_partial(y, mean, count) : store(y + v * kLanes, mean);
  }
}

void spatial_mean_forward(const SpatialMeanForward& a) {
  if (a.C == 0) return;
  parallel_for(a.N, static_cast<double>(ceil_div(a.C, kLanes) * a.pixels) * 2, [&a](index_t begin, index_t end) {
    const index_t size = a.pixels * a.C, spill = round_up(a.C, kLanes) - a.C;
    for (index_t n = begin; n < end; ++n) {
      const float* x = a.x + n * size;
      float* y = a.y + n * a.C;
      const index_t readable = ((a.N - n) * size - spill) / a.C, whole = max_of(0, min_of(readable, a.pixels));
      index_t c = 0;
      for (; c + 4 * kLanes <= a.C; c += 4 * kLanes) mean_over_pixels<4>(x + c, a.pixels, a.pixels, a.C, kLanes, y + c);
      for (; c < a.C; c += kLanes) {
        const int count = static_cast<int>(min_of(kLanes, a.C - c));
        mean_over_pixels<1>(x + c, a.pixels, whole, a.C, count, y + c);
      }
    }
  });
}

void spatial_mean_backward(const SpatialMeanBackward& a) {
  const index_t size = a.pixels * a.C;
  if (size == 0) return;
  const index_t run = max_of(1, 1024 / a.C) * a.C;
  parallel_for(a.N, 0.5 * static_cast<double>(size), [=, &a](index_t begin, index_t end) {
    for (index_t n = begin; n < end; ++n) {
      float* dx = a.dx + n * size;
      for (index_t c = 0; c < a.C; ++c) dx[c] = a.dy[n * a.C + c] / static_cast<float>(a.pixels);
      // Copy the first pixel, then the first two, ..., then runs that stay in the L1 cache.
      for (index_t done = a.C; done < size;) {
        const index_t count = min_of(min_of(done, run), size - done);
        __builtin_memcpy(dx + done, dx, static_cast<std::size_t>(count) * sizeof(float));
        done += count;
      }
    }
  });
}

}  // namespace
