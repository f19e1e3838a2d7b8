// pool_backward.h - the gradients of max and average pooling: every image row collects what the windows over it give, so that
// every element of dx is written once, in the order of memory.
#pragma once

#include "pool.h"

namespace {

using fastnn::AvgPool2dBackward;
using fastnn::MaxPool2dBackward;

// What the window at offset `at` of dy gives to its pixel `position`: with kShared, times the share of a pixel, 1 / pixels of the
// window.
template <class Index, bool Relu>
struct MaxGradient {
  static constexpr bool kShared = false, kJoins = sizeof(Index) == 1;
  const float* dy;
  const Index* index;
  const float* relu_y;

  template <int L, bool Whole>
  inline typename Lanes<L>::Floats gift(index_t at, int count, index_t position) const {
    using Floats = typename Lanes<L>::Floats;
    using Ints = typename Lanes<L>::Ints;
    const Floats v = load_where<L, Whole>(dy + at, index + at, position, count);
    if constexpr (!Relu) return v;
    const Ints open = load_channels<L, Whole>(relu_y + at, count) > 0.0f;
    return (Floats)((Ints)v & open);
  }

  // The same for the windows from `at` on, at both of their pixels of a row, the left one being `position`.
  template <class Pairs>
  vfloat joined(const Pairs& pairs, index_t at, index_t position) const {
    vfloat v = load(dy + at);
    if constexpr (Relu) v = load(relu_y + at) > 0.0f ? v : vfloat{};
    return pairs.spread_where(v, index + at, position);
  }
};

struct MeanGradient {
  static constexpr bool kShared = true, kJoins = true;
  const float* dy;

  template <int L, bool Whole>
  inline typename Lanes<L>::Floats gift(index_t at, int count, index_t) const {
    return load_channels<L, Whole>(dy + at, count);
  }

  template <class Pairs>
  vfloat joined(const Pairs& pairs, index_t at, index_t) const {
    return pairs.spread(load(dy + at));
  }
};

// The windows over one row or column of the image: `count` of them from `first` on. It is row or column `position` of the first,
// and `stride` less of each following one.
struct WindowsOver {
  index_t first, count, position;
  bool complete;  // all of them lie inside of the image
};

// a / stride; the usual strides without a division, which takes as long as several vectors.
inline index_t by_stride(index_t a, index_t stride) { return stride == 1 ? a : stride == 2 ? a >> 1 : a / stride; }

inline WindowsOver windows_over(index_t at, index_t stride, index_t pad, index_t size, index_t limit, index_t outs) {
  const index_t first = max_of(0, by_stride(at + pad - size + stride, stride)), end = min_of(outs, by_stride(at + pad, stride) + 1);
  const index_t begin = first * stride - pad;
  return {first, max_of(0, end - first), at - begin, begin >= 0 && (end - 1) * stride - pad + size <= limit};
}

// What is the same for all rows: the outputs from `begin` to `end` have complete windows over all pixels from their first one on.
struct GradientColumns {
  index_t begin, end;
  index_t first, last;  // pixels
  bool threes;          // 3-wide windows 2 apart, all complete, without padding on the left
  JoinedPairs pairs;

  explicit GradientColumns(const Pool2dShape& s) : pairs(s.C) {
    const PoolSpan complete = complete_columns(s);
    threes = s.S == 3 && s.stride_w == 2 && s.pad_left == 0 && complete.size() == s.Q;
    begin = complete.begin + ceil_div(s.S, s.stride_w) - 1, end = complete.end;
    first = begin * s.stride_w - s.pad_left, last = end * s.stride_w - s.pad_left;
    if (last > s.W) end = begin;
  }
};

// An image row, the windows over it, and what may be written of dx and read of dy.
struct GradientRow {
  const Pool2dShape& s;
  WindowsOver rows;
  index_t dy_image, dy_end, dx_begin, dx_end, h;

  index_t dy_at(index_t j, index_t q) const { return dy_image + ((rows.first + j) * s.Q + q) * s.C; }
  float share() const { return 1.0f / static_cast<float>(s.R * s.S); }
  float share(index_t p, index_t q) const {
    return 1.0f / static_cast<float>(window_rows(s, p).size() * window_columns(s, q).size());
  }
};

// A pixel: where it is in dx and its first window in dy, and the columns of windows over it.
struct GradientPixel {
  index_t to, at;
  WindowsOver columns;

  GradientPixel(const GradientRow& t, index_t w)
      : to(t.dx_begin + w * t.s.C), columns(windows_over(w, t.s.stride_w, t.s.pad_left, t.s.S, t.s.W, t.s.Q)) {
    at = t.dy_at(0, columns.first);
  }
};

// One vector of a pixel under Rows x Columns windows, or 0: as many as there are.
template <int L, bool Whole, int Rows, int Columns, class Op>
inline typename Lanes<L>::Floats gather_gifts(const GradientRow& t, const Op& op, const GradientPixel& p, index_t c, int count) {
  const index_t rows = Rows ? Rows : t.rows.count, columns = Rows ? Columns : p.columns.count;
  typename Lanes<L>::Floats sum = {};
  for (index_t j = 0; j < rows; ++j) {
    for (index_t k = 0; k < columns; ++k) {
      const index_t position = (t.rows.position - j * t.s.stride_h) * t.s.S + p.columns.position - k * t.s.stride_w;
      sum += op.template gift<L, Whole>(p.at + (j * t.s.Q + k) * t.s.C + c, count, position);
    }
  }
  return Op::kShared ? sum * t.share() : sum;
}

// The same where the windows have different shares.
template <int L, bool Whole, class Op>
inline typename Lanes<L>::Floats gather_shares(const GradientRow& t, const Op& op, const GradientPixel& p, index_t c, int count) {
  typename Lanes<L>::Floats sum = {};
  for (index_t j = 0; j < t.rows.count; ++j) {
    for (index_t k = 0; k < p.columns.count; ++k) {
      const auto v = op.template gift<L, Whole>(p.at + (j * t.s.Q + k) * t.s.C + c, count, 0);
      sum += v * t.share(t.rows.first + j, p.columns.first + k);
    }
  }
  return sum;
}

template <int L, int Rows, int Columns, class Op>
inline void gather_pixel_of(const GradientRow& t, const Op& op, const GradientPixel& p, index_t room, float* dx) {
  for_each_vector<L>(t.s.C, room, [&]<bool whole>(index_t c, int count) {
    store_channels<L, whole>(dx + p.to + c, gather_gifts<L, whole, Rows, Columns>(t, op, p, c, count), count);
  });
}

// The pixel in column w, whatever is over it.
template <int L, class Op>
inline void gather_pixel(const GradientRow& t, const Op& op, float* dx, index_t w) {
  const GradientPixel p(t, w);
  const index_t rows = t.rows.count, columns = p.columns.count;
  const index_t last = rows > 0 ? t.dy_at(rows - 1, p.columns.first + columns - 1) : 0;
  const index_t room = min_of(t.dx_end - p.to, t.dy_end - last);
  if (Op::kShared && !(t.rows.complete && p.columns.complete)) {
    for_each_vector<L>(t.s.C, room, [&]<bool whole>(index_t c, int count) {
      store_channels<L, whole>(dx + p.to + c, gather_shares<L, whole>(t, op, p, c, count), count);
    });
  } else if (rows == 1 && columns == 1) {
    gather_pixel_of<L, 1, 1>(t, op, p, room, dx);
  } else if (rows == 2 && columns == 1) {
    gather_pixel_of<L, 2, 1>(t, op, p, room, dx);
  } else {
    gather_pixel_of<L, 0, 0>(t, op, p, room, dx);
  }
}

// Windows in a row: Size x Size pixels `Stride` apart (0: known at run time), `Rows` of them over the image row (0: as many as
// there are), and those from `From` to `To` (-1: all) before the one that begins at a pixel.
template <int Rows, int Size, int Stride, int From, int To>
struct Run {};

// The pixels between the first columns of windows q and `end`, whole vectors everywhere, complete windows over them.
template <int L, bool One, int Rows, int Size, int Stride, int From, int To, class Op>
inline void gather_run(Run<Rows, Size, Stride, From, To>, const GradientRow& t, Op op, float* to, index_t q, index_t end) {
  const index_t channels = t.s.C, size = Size ? Size : t.s.S, stride = Size ? Stride : t.s.stride_w;
  const index_t rows = Rows ? Rows : t.rows.count, dy_step = t.s.Q * channels, position_step = t.s.stride_h * size;
  const index_t first = t.rows.position * size, farthest = To < 0 ? ceil_div(size, stride) - 1 : To;
  const float share = t.share();
  for (index_t at = t.dy_at(0, q); q < end; ++q, at += channels) {
    FASTNN_UNROLL
    for (index_t i = 0; i < stride; ++i, to += channels) {
      for (index_t c = 0; c < (One ? 1 : channels); c += L) {
        typename Lanes<L>::Floats sum = {};
        FASTNN_UNROLL
        for (index_t j = 0; j < rows; ++j) {
          FASTNN_UNROLL
          for (index_t k = farthest; k >= From; --k) {
            const index_t column = i + k * stride;
            if (column >= size) continue;
            sum += op.template gift<L, true>(at + j * dy_step - k * channels + c, L, first - j * position_step + column);
          }
        }
        store_channels<L, true>(to + c, Op::kShared ? sum * share : sum, L);
      }
    }
  }
}

// Most pixels of a row of 3-wide windows 2 apart, without padding on the left: all but one on the right if their number is odd.
// Returns how many.
template <int L, bool One, int Rows, class Op>
inline index_t gather_threes(const GradientRow& t, const Op& op, float* to) {
  const Pool2dShape& s = t.s;
  const index_t pixel = s.C, Q = s.Q;
  gather_run<L, One>(Run<Rows, 3, 2, 0, 0>{}, t, op, to, 0, 1);
  gather_run<L, One>(Run<Rows, 3, 2, 0, 1>{}, t, op, to + 2 * pixel, 1, Q);
  if (2 * Q + 2 > s.W) return 2 * Q;
  gather_run<L, One>(Run<Rows, 3, 2, 1, 1>{}, t, op, to + 2 * Q * pixel, Q, Q + 1);
  return 2 * Q + 2;
}

// As many of the windows from q to `end` as can be joined, of 2 x 2 pixels two apart; the first begins at dx[to]. Returns the next.
template <class Pairs, class Op>
inline index_t gather_joined(Pairs pairs, const GradientRow& t, Op op, float* dx, index_t to, index_t q, index_t end) {
  if constexpr (kJoinsWindows && Op::kJoins) {
    const index_t count = pairs.count(), step = count * t.s.C, position = 2 * t.rows.position;
    const index_t last = min_of(t.dy_end - pairs.kRead, t.dy_at(0, end - count));
    const float share = t.share();
    for (index_t at = t.dy_at(0, q); at <= last && to + pairs.kWritten <= t.dx_end; at += step, to += 2 * step, q += count) {
      const vfloat sum = vfloat{} + op.joined(pairs, at, position);
      store(dx + to, Op::kShared ? sum * share : sum);
    }
  }
  return q;
}

// The pixels of a row from a certain one on whose windows are all complete, or fewer; returns the end.
template <int L, bool One, class Op>
inline index_t gather_complete(const GradientRow& t, const Op& op, const GradientColumns& columns, float* dx) {
  const Pool2dShape& s = t.s;
  float* row = dx + t.dx_begin;
  if (columns.threes && t.rows.count == 1) return gather_threes<L, One, 1>(t, op, row);
  if (columns.threes && t.rows.count == 2) return gather_threes<L, One, 2>(t, op, row);
  index_t q = columns.begin;
  const index_t end = columns.end;
  if (q >= end) return 0;
  for (index_t w = 0; w < columns.first; ++w) gather_pixel<L>(t, op, dx, w);
  row += columns.first * s.C;
  if (s.S == 2 && s.stride_w == 2 && t.rows.count == 1) {
    if (s.C <= kMostJoined) q = gather_joined(columns.pairs, t, op, dx, t.dx_begin + columns.first * s.C, q, end);
    row += 2 * (q - columns.begin) * s.C;
    gather_run<L, One>(Run<1, 2, 2, 0, 0>{}, t, op, row, q, end);
  } else {
    gather_run<L, One>(Run<0, 0, 0, 0, -1>{}, t, op, row, q, end);
  }
  return columns.last;
}

template <int L, bool One, class Op>
inline void gather_row(const GradientRow& t, const Op& op, const GradientColumns& columns, float* dx) {
  const Pool2dShape& s = t.s;
  const index_t spill = round_up(s.C, L) - s.C;
  const bool whole = t.dx_begin + s.W * s.C + spill <= t.dx_end && t.dy_at(t.rows.count, 0) + spill <= t.dy_end;
  index_t w = whole && (!Op::kShared || t.rows.complete) ? gather_complete<L, One>(t, op, columns, dx) : 0;
  for (; w < s.W; ++w) gather_pixel<L>(t, op, dx, w);
}

template <class Op>
void pool_backward(const Pool2dShape& shape, const Op& operation, float* dx) {
  if (shape.C == 0) return;
  with_lanes(shape.C, [&]<int L, bool One>() {
    parallel_for(shape.N * shape.H, pool_row_cycles(shape), [&](index_t begin, index_t end) {
      const Pool2dShape s = shape;
      const Op op = operation;
      const GradientColumns columns(s);
      index_t n = begin / s.H, h = begin % s.H;
      for (index_t row = begin; row < end; ++row) {
        const index_t row_size = s.W * s.C;
        const WindowsOver over = windows_over(h, s.stride_h, s.pad_top, s.R, s.H, s.P);
        const GradientRow t{s, over, n * s.P * s.Q * s.C, s.N * s.P * s.Q * s.C, row * row_size, end * row_size, h};
        gather_row<L, One>(t, op, columns, dx);
        if (++h == s.H) h = 0, ++n;
      }
    });
  });
}

// Large windows that have no pixel in common: zeros, and what goes to one pixel of each.
constexpr index_t kScatteredPixels = 16;
inline bool is_scattered(const Pool2dShape& s) {
  const bool apart = (s.P == 1 || s.stride_h >= s.R) && (s.Q == 1 || s.stride_w >= s.S);
  return apart && s.R * s.S >= kScatteredPixels && s.pad_top == 0 && s.pad_left == 0;
}

template <class Index>
void scatter_max(const MaxPool2dBackward& a, const Index* index) {
  const Pool2dShape& s = a.s;
  const index_t bands = max_of(1, s.P), row_size = s.W * s.C;  // a band has the pixels of a row of windows and what is below them
  const double cycles = (0.2 * static_cast<double>(s.H * row_size) + 4.0 * static_cast<double>(s.P * s.Q * s.C)) / bands;
  parallel_for(s.N * bands, cycles, [=, &a, &s](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) {
      const index_t n = item / bands, p = item % bands, top = p * s.stride_h, below = p + 1 < bands ? top + s.stride_h : s.H;
      float* dx = a.dx + (n * s.H + top) * row_size;
      __builtin_memset(dx, 0, static_cast<std::size_t>((below - top) * row_size) * sizeof(float));
      if (s.P == 0) continue;
      index_t at = item * s.Q * s.C;
      for (index_t q = 0; q < s.Q; ++q) {
        float* corner = dx + q * s.stride_w * s.C;
        for (index_t c = 0; c < s.C; ++c, ++at) {
          const index_t place = index[at], h = place / s.S, w = place - h * s.S;
          if (place < 0 || h >= s.R || top + h >= s.H || q * s.stride_w + w >= s.W) continue;  // no place in the window
          const bool open = !a.relu_y || a.relu_y[at] > 0.0f;
          corner[(h * s.W + w) * s.C + c] = open ? 0.0f + a.dy[at] : 0.0f;
        }
      }
    }
  });
}

template <class Index>
void max_pool_backward_of(const MaxPool2dBackward& a, const Index* index) {
  if (is_scattered(a.s)) return scatter_max(a, index);
  a.relu_y ? pool_backward(a.s, MaxGradient<Index, true>{a.dy, index, a.relu_y}, a.dx)
           : pool_backward(a.s, MaxGradient<Index, false>{a.dy, index, nullptr}, a.dx);
}

void max_pool2d_backward(const MaxPool2dBackward& a) {
  a.index ? max_pool_backward_of(a, a.index) : max_pool_backward_of(a, a.wide_index);
}

void avg_pool2d_backward(const AvgPool2dBackward& a) { pool_backward(a.s, MeanGradient{a.dy}, a.dx); }

}  // namespace
