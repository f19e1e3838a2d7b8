// pool.h - max and average pooling of NHWC images, each channel by itself: geometry, lanes, the forward pass.
#pragma once

#include "pool_joined.h"

namespace {

using fastnn::AvgPool2dForward;
using fastnn::MaxPool2dForward;
using fastnn::Pool2dShape;

// body<whole>(c, count) for the vectors of channels of a pixel. Elements [0, room) from its channel 0 may be read and written.
// A thread writes its pixels in the order of memory, so a last vector may spill into the next pixel, which is written afterwards:
// there are partial vectors only at the end of what a thread owns, however few the channels.
template <int L, class Body>
inline void for_each_vector(index_t channels, index_t room, const Body& body) {
  for (index_t c = 0; c < channels; c += L) {
    if (c + L <= room) {
      body.template operator()<true>(c, L);
    } else {
      body.template operator()<false>(c, static_cast<int>(min_of(L, channels - c)));
    }
  }
}

// The positions [begin, end) of a window that lie inside of the image.
struct PoolSpan {
  index_t begin, end;

  index_t size() const { return end - begin; }
};

inline PoolSpan window_span(index_t out, index_t stride, index_t pad, index_t size, index_t limit) {
  return {max_of(out * stride - pad, 0), min_of(out * stride - pad + size, limit)};
}
inline PoolSpan window_rows(const Pool2dShape& s, index_t p) { return window_span(p, s.stride_h, s.pad_top, s.R, s.H); }
inline PoolSpan window_columns(const Pool2dShape& s, index_t q) { return window_span(q, s.stride_w, s.pad_left, s.S, s.W); }

// The outputs of a row whose windows are complete in width.
inline PoolSpan complete_columns(const Pool2dShape& s) {
  const index_t begin = ceil_div(s.pad_left, s.stride_w), slack = s.W + s.pad_left - s.S;
  return {begin, slack < 0 ? begin : max_of(begin, min_of(slack / s.stride_w + 1, s.Q))};
}

inline double pool_row_cycles(const Pool2dShape& s) {
  return static_cast<double>(s.Q * (ceil_div(s.C, kLanes) * s.R * s.S * 2 + 5));
}

// The part of a window inside of the image: rows x columns pixels, the first of them at offset `first`, where the window itself
// has position `position` = r S + s.
struct PoolWindow {
  index_t first, rows, columns, position, row_step, channels, S;

  index_t last() const { return first + (rows - 1) * row_step + (columns - 1) * channels; }
};

// body(offset, position) for the pixels of a window after the first. Size x Size of them, or 0: size known at run time.
template <int Size, class Body>
inline void for_each_other_pixel(const PoolWindow& w, const Body& body) {
  if constexpr (Size > 0) {
    FASTNN_UNROLL
    for (int i = 1; i < Size * Size; ++i) body(i / Size * w.row_step + i % Size * w.channels, i);
  } else {
    for (index_t r = 0; r < w.rows; ++r) {
      for (index_t s = r == 0; s < w.columns; ++s) body(r * w.row_step + s * w.channels, w.position + r * w.S + s);
    }
  }
}

// Fetches what windows of Size x Size pixels that begin two rows below those at x read and those do not: lines at x and `next`
// values further. The prefetchers of the processor lose rows that are read side by side at the end of each.
template <int Size>
inline void fetch_below(const float* x, index_t row_step, index_t next) {
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) __builtin_prefetch(x + (Size + i / 2) * row_step + i % 2 * next);
}

// Outputs [q, end) of a row, whose windows are complete, whole vectors everywhere.
template <int L, bool One, int Size, class Op>
inline void pool_run(Op op, PoolWindow w, index_t step, index_t out, index_t count, bool fetches) {
  const index_t channels = w.channels;
  for (index_t i = 0; i < count; ++i, w.first += step, out += channels) {
    for (index_t c = 0; c < (One ? 1 : channels); c += L) {
      if (Size > 0 && fetches) fetch_below<Size>(op.x + w.first + c, w.row_step, channels);
      op.template window<L, Size, true>(w, w.first + c, L, out + c);
    }
  }
}

// As many of `count` outputs of a row as can be joined, of windows that begin at w.first and are two pixels apart; x ends at x_end,
// y for this thread at y_end. Returns how many.
template <class Windows, class Op>
inline index_t pool_joined(const Windows& joined, const Op& op, const PoolWindow& w, index_t out, index_t count, index_t x_end,
                           index_t y_end, bool fetches) {
  index_t i = 0;
  if constexpr (kJoinsWindows) {
    for (; i + joined.count() <= count; i += joined.count()) {
      const index_t first = w.first + 2 * i * w.channels, to = out + i * w.channels;
      if (first + w.row_step + joined.kRead > x_end || to + joined.kWritten > y_end) break;
      if (fetches) fetch_below<2>(op.x + first, w.row_step, kLineFloats);
      vfloat pixel[4];
      joined.load_pixels(op.x + first, pixel[0], pixel[1]);
      joined.load_pixels(op.x + first + w.row_step, pixel[2], pixel[3]);
      if (!op.joined(pixel, to)) break;
    }
  }
  return i;
}

// One row of output pixels. op.window<lanes, size, whole>(window, offset, count, out) does one vector; y ends at y_end for this
// thread.
template <int L, bool One, class Op>
inline void pool_forward_row(const Pool2dShape& s, const Op& op, const JoinedWindows& joined, PoolSpan complete, index_t n,
                             index_t p, index_t y_end) {
  const PoolSpan h = window_rows(s, p);
  const index_t row = n * s.P + p, image = n * s.H * s.W, x_end = s.N * s.H * s.W * s.C, spill = round_up(s.C, L) - s.C;
  const bool whole_row = (row + 1) * s.Q * s.C + spill <= y_end && (image + h.end * s.W) * s.C + spill <= x_end;
  const index_t top = h.begin - (p * s.stride_h - s.pad_top), step = s.stride_w * s.C;
  const index_t size = s.R == s.S && h.size() == s.R ? s.S : 0;
  const bool fetches = s.stride_h == 2 && s.stride_w == 2 && x_end >= Op::kLeastFetched;
  for (index_t q = 0; q < s.Q; ++q) {
    const PoolSpan w = window_columns(s, q);
    const index_t left = w.begin - (q * s.stride_w - s.pad_left);
    index_t out = (row * s.Q + q) * s.C;
    PoolWindow window{(image + h.begin * s.W + w.begin) * s.C, h.size(), w.size(), top * s.S + left, s.W * s.C, s.C, s.S};
    if (whole_row && complete.begin <= q && q < complete.end) {
      index_t count = complete.end - q;
      if (size == 2 && s.stride_w == 2 && s.C <= kMostJoined) {
        const index_t done = pool_joined(joined, op, window, out, count, x_end, y_end, fetches);
        window.first += done * step, out += done * s.C, count -= done;
      }
      if (size == 2) {
        pool_run<L, One, 2>(op, window, step, out, count, fetches);
      } else if (size == 3) {
        pool_run<L, One, 3>(op, window, step, out, count, fetches);
      } else {
        pool_run<L, One, 0>(op, window, step, out, count, fetches);
      }
      q = complete.end - 1;
      continue;
    }
    for_each_vector<L>(s.C, min_of(y_end - out, x_end - window.last()), [&]<bool whole>(index_t c, int count) {
      op.template window<L, 0, whole>(window, window.first + c, count, out + c);
    });
  }
}

template <class Op>
void pool_forward(const Pool2dShape& shape, const Op& operation) {
  with_lanes(shape.C, [&]<int L, bool One>() {
    parallel_for(shape.N * shape.P, pool_row_cycles(shape), [&](index_t begin, index_t end) {
      const Pool2dShape s = shape;
      const Op op = operation;
      const JoinedWindows joined(s.C);
      const PoolSpan complete = complete_columns(s);
      index_t n = begin / s.P, p = begin % s.P;
      for (index_t row = begin; row < end; ++row) {
        pool_forward_row<L, One>(s, op, joined, complete, n, p, end * s.Q * s.C);
        if (++p == s.P) p = 0, ++n;
      }
    });
  });
}

template <class Index>
struct MaxWindow {
  static constexpr index_t kLeastFetched = 1 << 18;  // values of x from which on fetching pays: the second-level cache
  const float* x;
  float* y;
  Index* index;

  template <int L, int Size, bool Whole>
  inline void window(const PoolWindow& w, index_t first, int count, index_t out) const {
    using Ints = typename Lanes<L>::Ints;
    auto best = load_channels<L, Whole>(x + first, count), sum = best;
    Ints where = Ints{} + static_cast<std::int32_t>(w.position);
    for_each_other_pixel<Size>(w, [&](index_t offset, index_t position) {
      const auto v = load_channels<L, Whole>(x + first + offset, count);
      const Ints better = v > best;
      best = better ? v : best;
      where = better ? Ints{} + static_cast<std::int32_t>(position) : where;
      sum += v;
    });
    if (has_nan(sum)) [[unlikely]] {  // so has the window, or two infinities
      return window_with_nan<L, Whole>(*this, w, first, count, out);
    }
    store_channels<L, Whole>(y + out, best, count);
    store_positions<L, Whole>(index + out, where, count);
  }

  // The windows whose pixels these are, in order; false if there may be a NaN, and nothing done.
  bool joined(const vfloat (&pixel)[4], index_t out) const {
    using Ints = Lanes<kLanes>::Ints;
    vfloat best = pixel[0], sum = pixel[0];
    Ints where = {};
    FASTNN_UNROLL
    for (int i = 1; i < 4; ++i) {
      const Ints better = pixel[i] > best;
      best = better ? pixel[i] : best;
      where = better ? Ints{} + i : where;
      sum += pixel[i];
    }
    if (has_nan((typename Lanes<kLanes>::Floats)sum)) return false;
    store(y + out, best);
    store_positions<kLanes, true>(index + out, where, kLanes);
    return true;
  }

 private:
  // The same where the first NaN wins.
  template <int L, bool Whole>
  static __attribute__((noinline)) void window_with_nan(MaxWindow op, PoolWindow w, index_t first, int count, index_t out) {
    using Ints = typename Lanes<L>::Ints;
    auto best = load_channels<L, Whole>(op.x + first, count);
    Ints where = Ints{} + static_cast<std::int32_t>(w.position);
    for_each_other_pixel<0>(w, [&](index_t offset, index_t position) {
      const auto v = load_channels<L, Whole>(op.x + first + offset, count);
      const Ints better = ~(v <= best) & (best == best);
      best = better ? v : best;
      where = better ? Ints{} + static_cast<std::int32_t>(position) : where;
    });
    store_channels<L, Whole>(op.y + out, best, count);
    store_positions<L, Whole>(op.index + out, where, count);
  }
};

struct MeanWindow {
  static constexpr index_t kLeastFetched = 1 << 22;  // in the third-level cache the processor looks far enough ahead itself
  const float* x;
  float* y;

  template <int L, int Size, bool Whole>
  inline void window(const PoolWindow& w, index_t first, int count, index_t out) const {
    const index_t pixels = Size ? Size * Size : w.rows * w.columns;
    auto sum = load_channels<L, Whole>(x + first, count);
    for_each_other_pixel<Size>(w, [&](index_t offset, index_t) { sum += load_channels<L, Whole>(x + first + offset, count); });
    store_channels<L, Whole>(y + out, sum * (1.0f / static_cast<float>(pixels)), count);
  }

  bool joined(const vfloat (&pixel)[4], index_t out) const {
    store(y + out, (((pixel[0] + pixel[1]) + pixel[2]) + pixel[3]) * 0.25f);
    return true;
  }
};

void max_pool2d_forward(const MaxPool2dForward& a) {
  a.index ? pool_forward(a.s, MaxWindow<std::uint8_t>{a.x, a.y, a.index})
          : pool_forward(a.s, MaxWindow<std::int32_t>{a.x, a.y, a.wide_index});
}

void avg_pool2d_forward(const AvgPool2dForward& a) { pool_forward(a.s, MeanWindow{a.x, a.y}); }

}  // namespace
