// depthwise.h - convolution of every channel by itself (groups == C), K / C filters for each: forward.
//
// A vector holds neighboring output channels, and a tile some pixels of an output row. Every element is the chain fma(x, w, acc)
// over the taps that meet the image, row by row, whatever the tile. With a filter for each of at least 16 channels rows are read
// where they are, and the rows below are fetched meanwhile. Else they are copied, with zeros beside them: where channels are few,
// vectors go on into the next pixels, `pack` of them being one with that many times the channels and the weights repeated; where a
// channel has several filters, its values are repeated.
#pragma once

#include "conv_shape.h"
#include "depthwise_tile.h"

namespace {

using fastnn::Conv2dForward;

inline bool is_depthwise(const Conv2dShape& s) { return s.groups > 1 && s.groups == s.C; }

constexpr index_t kQuad = 4;
constexpr double kDepthwiseFlopsPerCycle = kFlopsPerCycle / 4;  // bound by loads

// How many pixels' channels fill vectors, the widest there are, to seven eighths: the same for every instruction set, for sums
// over them must be.
inline index_t pack_of(index_t channels) {
  constexpr index_t kWidest = 16;
  index_t pixels = 1;
  while (8 * pixels * channels < 7 * round_up(pixels * channels, kWidest)) ++pixels;
  return pixels;
}

// y[n, p, q, :] at n image + p row + q column is the depthwise convolution of x with shape s.
struct Depthwise {
  Conv2dShape s;  // C channels, each repeated K / C times
  const float* x;
  const float* w;     // R S rows of packed_channels values
  const float* bias;  // packed_channels values, or null
  Activation activation;
  float alpha;
  index_t sums;              // so many neighboring channels of the result are added up: K / sums are left
  const float* relu_output;  // laid out like y, or null
  float* y;
  index_t image, row, column;
  index_t pack;
};

inline index_t packed_channels(index_t channels, index_t pack) { return round_up(pack * channels, kLanes); }

// One row of packed weights: those of all channels, for every pixel of a pack.
inline void pack_channels(float* to, const float* w, index_t channels, index_t pack) {
  const index_t width = packed_channels(channels, pack);
  for (index_t i = 0; i < pack; ++i) copy_or_zero(to + i * channels, w, channels);
  copy_or_zero(to + pack * channels, nullptr, width - pack * channels);
}

// What a block of output rows reads: 128 kB, for the second-level cache. A row is not used often enough to pay for being copied
// once for every few output rows.
constexpr index_t kDepthwiseFloats = 32768;
inline index_t depthwise_rows(const Conv2dShape& s) { return block_rows(s, kDepthwiseFloats); }

// The columns of the image that an output row reads.
inline index_t read_columns(const Conv2dShape& s) { return span(s.Q, s.stride_w, s.S, s.dilation_w); }

inline index_t repeated_size(const Conv2dShape& s) {
  if (s.C == s.K) return 0;
  return round_up(span(depthwise_rows(s), s.stride_h, s.R, s.dilation_h) * read_columns(s) * s.K + kQuad, kLineFloats);
}

// The window of a block of output rows.
inline index_t depthwise_window_size(const Conv2dShape& s) { return window_size(s, kDepthwiseFloats) + repeated_size(s); }

// to[i times + m] = from[i] for i < n, m < times; up to kQuad values behind the last one are overwritten.
inline void repeat_values(float* to, const float* from, index_t n, index_t times) {
  for (index_t i = 0; i < n; ++i, to += times) {
    const vquad value = {from[i], from[i], from[i], from[i]};
    for (index_t m = 0; m < times; m += kQuad) *reinterpret_cast<vquad_unaligned*>(to + m) = value;
  }
}

// The window of output rows [p0, p1) with every channel repeated K / C times.
inline Window depthwise_window(const Conv2dShape& s, const float* x, index_t n, index_t p0, index_t p1, float* scratch) {
  const Window once = window(s, x, n, p0, p1, scratch);
  if (s.C == s.K) return once;
  const index_t stop = min_of(s.H, (p1 - 1) * s.stride_h - s.pad_top + (s.R - 1) * s.dilation_h + 1), times = s.K / s.C;
  const index_t values = read_columns(s) * s.C;
  float* repeated = scratch + window_size(s, kDepthwiseFloats);
  for (index_t h = once.first; h < stop; ++h)
    repeat_values(repeated + (h - once.first) * values * times, once.at(h), values, times);
  return {repeated, once.first, values * times};
}

inline index_t summed_size(const Depthwise& a) { return a.sums == 1 ? 0 : round_up(a.s.Q * a.s.K, kLineFloats); }

// What a thread needs.
inline index_t depthwise_slot(const Depthwise& a) { return depthwise_window_size(a.s) + summed_size(a); }

// y[q, c] = sum of values[q, c sums + m] over m, times the slope of a relu.
inline void sum_channels(const Depthwise& a, const float* values, float* y) {
  const index_t channels = a.s.K / a.sums;
  for (index_t q = 0; q < a.s.Q; ++q) {
    float* to = y + q * a.column;
    const float* relu_output = a.relu_output ? a.relu_output + (to - a.y) : nullptr;
    for (index_t c = 0; c < channels; ++c, values += a.sums) {
      float sum = values[0];
      for (index_t m = 1; m < a.sums; ++m) sum += values[m];
      to[c] = relu_output ? select(relu_output[c] > 0.0f, sum, 0.0f) : sum;
    }
  }
}

// A tile of output row p at y, which reads image rows from h on, x_row values apart, at `x`.
inline ChannelTile row_tile(const Depthwise& a, const FilterRows& rows, const float* x, index_t x_row, float* y) {
  const Conv2dShape& s = a.s;
  const index_t width = packed_channels(s.K, a.pack);
  ChannelTile t = {};
  t.x = x;
  t.x_pixel = a.pack * s.stride_w * s.K, t.x_outer = s.dilation_h * x_row, t.x_tap = s.dilation_w * s.K;
  t.w = a.w + rows.begin * s.S * width, t.w_outer = s.S * width, t.w_tap = width;
  t.outer = rows.end - rows.begin, t.taps = s.S;
  t.bias = a.bias, t.relu = a.activation == Activation::relu;
  t.y = y, t.y_pixel = a.pack * a.column;
  if (a.relu_output) t.relu_output = a.relu_output + (y - a.y);
  return t;
}

inline void activate_depthwise(const Depthwise& a, float* y) {
  if (a.activation == Activation::linear || a.activation == Activation::relu) return;
  activate_row(y, a.s.Q * a.s.K, nullptr, a.activation, a.alpha);
}

// Output row p of image n from its window; `sums`: summed_size values.
inline void depthwise_row(const Depthwise& a, const Window& x, index_t n, index_t p, float* sums) {
  const Conv2dShape& s = a.s;
  const FilterRows rows(s, p);
  float* y = a.y + n * a.image + p * a.row;
  ChannelTile t = row_tile(a, rows, x.at(p * s.stride_h - s.pad_top + rows.begin * s.dilation_h), x.stride, y);
  if (a.sums > 1) {
    t.y = sums, t.y_pixel = a.pack * s.K, t.relu_output = nullptr;
    run_channel_row(t, s.Q, s.K, a.pack);
    return sum_channels(a, sums, y);
  }
  run_channel_row(t, s.Q, s.K, a.pack);
  activate_depthwise(a, y);
}

// Whether rows are read where they are, by tiles of all channels: then nothing is packed, there is no window, and what would be
// multiplied with a zero beside the image is left out. So it is the same for every instruction set: zeros have signs.
constexpr index_t kChannelsInPlace = 16;
inline bool in_place(const Conv2dShape& s) { return s.C == s.K && s.K >= kChannelsInPlace; }

// The taps of a filter row that meet the image in output column q.
struct TapRange {
  index_t first, last;
  TapRange(const Conv2dShape& s, index_t q) {
    const index_t w = q * s.stride_w - s.pad_left;
    first = min_of(s.S, ceil_div(max_of(0, -w), s.dilation_w));
    last = max_of(first, min_of(s.S, ceil_div(max_of(0, s.W - w), s.dilation_w)));
  }
};

// The output columns where all of them do.
struct InnerPixels {
  index_t begin, end;
  explicit InnerPixels(const Conv2dShape& s) {
    const index_t slack = s.W + s.pad_left - span(1, 1, s.S, s.dilation_w);
    end = slack < 0 ? 0 : min_of(s.Q, slack / s.stride_w + 1);
    begin = min_of(end, ceil_div(max_of(0, s.pad_left), s.stride_w));
  }
};

// Output pixels [q, end) of a row, of which some taps lie beside the image.
inline void border_pixels(const Conv2dShape& s, const ChannelTile& row, index_t q, index_t end) {
  for (; q < end; ++q) {
    const TapRange taps(s, q);
    ChannelTile t = at_pixel(row, q);
    t.x += taps.first * t.x_tap, t.w += taps.first * t.w_tap, t.taps = taps.last - taps.first;
    compute_border_pixel(t, s.K);
  }
}

// Output row p of image n, read where it is.
inline void row_in_place(const Depthwise& a, index_t n, index_t p) {
  const Conv2dShape& s = a.s;
  const FilterRows rows(s, p);
  const index_t h = p * s.stride_h - s.pad_top + rows.begin * s.dilation_h, x_row = s.W * s.C;
  float* y = a.y + n * a.image + p * a.row;
  const ChannelTile row = row_tile(a, rows, a.x + (n * s.H + h) * x_row - s.pad_left * s.C, x_row, y);
  TileAhead ahead = {};
  if (values(s) >= kManyValues) {
    ahead = {s.stride_h, (row.outer - 1) * row.x_outer + x_row, x_row, s.stride_w, s.C, a.row};
  }
  const InnerPixels inner(s);
  border_pixels(s, row, 0, inner.begin);
  const RowTiles tiles(inner.end - inner.begin, kChannelPixels);
  const AllChannels* functions = all_channels(s.S, s.stride_w, s.dilation_w);
  for (index_t i = 0; i < tiles.count; ++i) {
    functions[tiles.height(i)](at_pixel(row, inner.begin + tiles.start(i)), s.K, ahead);
  }
  border_pixels(s, row, inner.end, s.Q);
  activate_depthwise(a, y);
}

// Output rows p of all images, of all parts that have one.
inline void rows_in_place(const Depthwise* parts, index_t count) {
  const Conv2dShape& s = parts[0].s;
  index_t rows = 0;
  double flops = 0;
  for (index_t i = 0; i < count; ++i) {
    rows = max_of(rows, parts[i].s.P);
    flops += static_cast<double>(parts[i].s.Q) * flops_per_pixel(parts[i].s);
  }
  parallel_for(s.N * rows, flops / kDepthwiseFlopsPerCycle, [=](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) {
      for (index_t i = 0; i < count; ++i) {
        if (item % rows < parts[i].s.P) row_in_place(parts[i], item / rows, item % rows);
      }
    }
  });
}

inline void convolve_depthwise(const Depthwise& a, float* scratch, int slots) {
  const Conv2dShape& s = a.s;
  const index_t rows = depthwise_rows(s), blocks = ceil_div(s.P, rows), size = depthwise_slot(a);
  const double cycles = rows * s.Q * flops_per_pixel(s) / kDepthwiseFlopsPerCycle;
  parallel_for(s.N * blocks, cycles, slots, [&](index_t begin, index_t end, int slot) {
    float* own = scratch + slot * size;
    for (index_t item = begin; item < end; ++item) {
      const index_t n = item / blocks, p0 = item % blocks * rows, p1 = min_of(s.P, p0 + rows);
      const Window x = depthwise_window(s, a.x, n, p0, p1, own);
      for (index_t p = p0; p < p1; ++p) depthwise_row(a, x, n, p, own + size - summed_size(a));
    }
  });
}

// Packing needs pixels that lie side by side in x and y, and is for few channels.
inline Depthwise depthwise_of(const Conv2dForward& a) {
  const Conv2dShape& s = a.s;
  Depthwise d = {};
  d.s = s, d.x = a.x, d.activation = a.activation, d.alpha = a.alpha, d.sums = 1;
  d.y = a.y, d.image = s.P * s.Q * s.K, d.row = s.Q * s.K, d.column = s.K;
  d.pack = s.stride_w == 1 && !in_place(s) ? pack_of(s.K) : 1;
  return d;
}

inline index_t depthwise_forward_scratch(const Conv2dForward& a) {
  const Depthwise d = depthwise_of(a);
  return (a.s.R * a.s.S + 1) * packed_channels(a.s.K, d.pack) + (in_place(a.s) ? 0 : a.slots * depthwise_slot(d));
}

inline void depthwise_forward(const Conv2dForward& a) {
  const Conv2dShape& s = a.s;
  Depthwise d = depthwise_of(a);
  const index_t width = packed_channels(s.K, d.pack), filters = s.R * s.S;
  for (index_t tap = 0; tap < filters; ++tap) pack_channels(a.scratch + tap * width, a.w + tap * s.K, s.K, d.pack);
  float* bias = a.scratch + filters * width;
  if (a.bias) pack_channels(bias, a.bias, s.K, d.pack);
  d.w = a.scratch, d.bias = a.bias ? bias : nullptr;
  if (in_place(s)) return rows_in_place(&d, 1);
  convolve_depthwise(d, bias + width, a.slots);
}

}  // namespace
