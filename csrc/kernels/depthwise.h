// depthwise.h - convolution of every channel by itself (groups == C), K / C filters for each: forward, input gradient.
//
// A vector holds neighboring output channels, and a tile some pixels of an output row. Where channels are few, vectors go on into
// the next pixels: `pack` of them are one with that many times the channels and the weights repeated. Every element is the chain
// fma(x, w, acc) over the taps that meet the image, row by row, whatever the tile. Where a channel has several filters, its values
// are repeated in a copy of the image rows.
//
// The input gradient is a sum of convolutions of dy of stride 1, one for every place of a row and of a column between two strides:
// the taps that lead there, the last one first.
#pragma once

#include "conv_shape.h"
#include "conv_tile.h"

namespace {

using fastnn::Conv2dBackwardInput;
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

// y[i, j] = f(sum over o, r of x[i x_pixel + o x_outer + r x_tap + j] w[o w_outer + r w_tap + j] + bias[j]), i < Pixels, j < count.
struct ChannelTile {
  const float* x;
  index_t x_pixel, x_outer, x_tap;
  const float* w;  // whole vectors
  index_t w_outer, w_tap;
  index_t outer, taps;
  float* y;
  index_t y_pixel;
  const float* bias;  // whole vectors, or null
  bool relu;
  const float* relu_output;  // the place of y in what y's relu derivative is taken of, or null
  int count;
};

template <bool Whole>
FASTNN_INLINE vfloat load_channels(const float* p, int count) {
  return Whole ? load(p) : load_partial(p, count);
}

template <int Pixels, bool Whole>
void compute_channel_tile(const ChannelTile& t) {
  vfloat acc[Pixels] = {};
  const index_t x_pixel = t.x_pixel, y_pixel = t.y_pixel;
  const int count = t.count;
  for (index_t o = 0; o < t.outer; ++o) {
    const float *x = t.x + o * t.x_outer, *w = t.w + o * t.w_outer;
    for (index_t r = t.taps; r > 0; --r, x += t.x_tap, w += t.w_tap) {
      const vfloat weight = load(w);
      FASTNN_UNROLL
      for (int i = 0; i < Pixels; ++i) acc[i] += load_channels<Whole>(x + i * x_pixel, count) * weight;
    }
  }
  const vfloat zero = {}, bias = t.bias ? load(t.bias) : zero;
  FASTNN_UNROLL
  for (int i = 0; i < Pixels; ++i) {
    if (t.bias) acc[i] += bias;
    if (t.relu) acc[i] = acc[i] < zero ? zero : acc[i];
    if (t.relu_output) acc[i] = behind_relu(acc[i], load_channels<Whole>(t.relu_output + i * y_pixel, count));
    if (Whole) {
      store(t.y + i * y_pixel, acc[i]);
    } else {
      store_partial(t.y + i * y_pixel, acc[i], count);
    }
  }
}

constexpr int kChannelPixels = 8;

template <bool Whole>
struct ChannelTileTable {
  void (*function[kChannelPixels + 1])(const ChannelTile&) = {};
  constexpr ChannelTileTable() { put<kChannelPixels>(); }
  template <int Pixels>
  constexpr void put() {
    function[Pixels] = compute_channel_tile<Pixels, Whole>;
    if constexpr (Pixels > 1) put<Pixels - 1>();
  }
};

constexpr ChannelTileTable<true> kWholeChannels;
constexpr ChannelTileTable<false> kSomeChannels;

// A tile at pixel `pixel`, counted in packs, and channel j; `bias` and `t` are those of the row's beginning.
inline void run_channel_tile(ChannelTile t, index_t pixel, int pixels, index_t j, index_t count) {
  t.x += pixel * t.x_pixel + j, t.w += j, t.y += pixel * t.y_pixel + j;
  if (t.bias) t.bias += j;
  if (t.relu_output) t.relu_output += pixel * t.y_pixel + j;
  t.count = static_cast<int>(min_of(kLanes, count));
  (t.count == kLanes ? kWholeChannels.function[pixels] : kSomeChannels.function[pixels])(t);
}

// A row of `pixels` pixels.
inline void run_channel_row(const ChannelTile& t, index_t pixels, index_t channels, index_t pack) {
  const index_t width = pack * channels, left = pixels % pack * channels;
  const RowTiles tiles(pixels / pack, kChannelPixels);
  for (index_t j = 0; j < width; j += kLanes) {
    for (index_t tile = 0; tile < tiles.count; ++tile) run_channel_tile(t, tiles.start(tile), tiles.height(tile), j, width - j);
    if (j < left) run_channel_tile(t, tiles.m, 1, j, left - j);
  }
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
  return s.C == s.K ? 0 : span(depthwise_rows(s), s.stride_h, s.R, s.dilation_h) * read_columns(s) * s.K + kQuad;
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

inline index_t summed_size(const Depthwise& a) { return a.sums == 1 ? 0 : a.s.Q * a.s.K; }

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

// Output row p of image n from its window; `sums`: summed_size values.
inline void depthwise_row(const Depthwise& a, const Window& x, index_t n, index_t p, float* sums) {
  const Conv2dShape& s = a.s;
  const FilterRows rows(s, p);
  const index_t width = packed_channels(s.K, a.pack);
  float* y = a.y + n * a.image + p * a.row;
  ChannelTile t = {};
  t.x = x.at(p * s.stride_h - s.pad_top + rows.begin * s.dilation_h);
  t.x_pixel = a.pack * s.stride_w * s.K, t.x_outer = s.dilation_h * x.stride, t.x_tap = s.dilation_w * s.K;
  t.w = a.w + rows.begin * s.S * width, t.w_outer = s.S * width, t.w_tap = width;
  t.outer = rows.end - rows.begin, t.taps = s.S;
  t.bias = a.bias, t.relu = a.activation == Activation::relu;
  if (a.sums > 1) {
    t.y = sums, t.y_pixel = a.pack * s.K;
    run_channel_row(t, s.Q, s.K, a.pack);
    return sum_channels(a, sums, y);
  }
  t.y = y, t.y_pixel = a.pack * a.column;
  if (a.relu_output) t.relu_output = a.relu_output + (y - a.y);
  run_channel_row(t, s.Q, s.K, a.pack);
  if (a.activation != Activation::linear && a.activation != Activation::relu)
    activate_row(y, s.Q * s.K, nullptr, a.activation, a.alpha);
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

// Packing needs pixels that lie side by side in x and y.
inline Depthwise depthwise_of(const Conv2dForward& a) {
  const Conv2dShape& s = a.s;
  Depthwise d = {};
  d.s = s, d.x = a.x, d.activation = a.activation, d.alpha = a.alpha, d.sums = 1;
  d.y = a.y, d.image = s.P * s.Q * s.K, d.row = s.Q * s.K, d.column = s.K;
  d.pack = s.stride_w == 1 ? pack_of(s.K) : 1;
  return d;
}

inline index_t depthwise_forward_scratch(const Conv2dForward& a) {
  const Depthwise d = depthwise_of(a);
  return (a.s.R * a.s.S + 1) * packed_channels(a.s.K, d.pack) + a.slots * depthwise_slot(d);
}

inline void depthwise_forward(const Conv2dForward& a) {
  const Conv2dShape& s = a.s;
  Depthwise d = depthwise_of(a);
  const index_t width = packed_channels(s.K, d.pack), filters = s.R * s.S;
  for (index_t tap = 0; tap < filters; ++tap) pack_channels(a.scratch + tap * width, a.w + tap * s.K, s.K, d.pack);
  float* bias = a.scratch + filters * width;
  if (a.bias) pack_channels(bias, a.bias, s.K, d.pack);
  d.w = a.scratch, d.bias = a.bias ? bias : nullptr;
  convolve_depthwise(d, bias + width, a.slots);
}

// Along one axis, the taps that join places `place`, place + stride, ... of dx with places of dy: `last`, last - step, ..., count
// of them, reading dy from -pad on at distances `down`.
struct JoinedTaps {
  index_t last, step, count, down, pad;

  JoinedTaps(index_t stride, index_t dilation, index_t taps, index_t pad_before, index_t place)
      : last(0), step(1), count(0), down(1), pad(0) {
    index_t common = dilation, rest = stride;  // greatest common divisor
    while (rest > 0) {
      const index_t next = common % rest;
      common = rest, rest = next;
    }
    step = stride / common, down = dilation / common;
    index_t first = 0;
    while (first < taps && (place + pad_before - first * dilation) % stride != 0) ++first;
    if (first == taps) return;
    count = 1 + (taps - 1 - first) / step;
    last = first + (count - 1) * step;
    pad = (count - 1) * down - (place + pad_before - first * dilation) / stride;
  }
};

// The part of dx at rows h, h + stride_h, ... and columns w, w + stride_w, ..., without its arrays.
inline Depthwise part_of(const Conv2dShape& s, const JoinedTaps& rows, const JoinedTaps& columns, index_t h, index_t w) {
  Depthwise d = {};
  d.s = {.N = s.N,
         .H = s.P,
         .W = s.Q,
         .C = s.K,
         .K = s.K,
         .R = rows.count,
         .S = columns.count,
         .P = ceil_div(s.H - h, s.stride_h),
         .Q = ceil_div(s.W - w, s.stride_w),
         .stride_h = 1,
         .stride_w = 1,
         .pad_top = rows.pad,
         .pad_left = columns.pad,
         .dilation_h = rows.down,
         .dilation_w = columns.down,
         .groups = s.K};
  d.activation = Activation::linear, d.sums = s.K / s.C;
  d.image = s.H * s.W * s.C, d.row = s.stride_h * s.W * s.C, d.column = s.stride_w * s.C;
  d.pack = s.stride_w == 1 || d.sums > 1 ? pack_of(s.K) : 1;
  return d;
}

// body(part, its first place in an image of dx, rows, columns) for every part that some tap leads to.
template <class Body>
void for_each_part(const Conv2dShape& s, const Body& body) {
  for (index_t h = 0; h < min_of(s.stride_h, s.H); ++h) {
    const JoinedTaps rows(s.stride_h, s.dilation_h, s.R, s.pad_top, h);
    for (index_t w = 0; w < min_of(s.stride_w, s.W) && rows.count > 0; ++w) {
      const JoinedTaps columns(s.stride_w, s.dilation_w, s.S, s.pad_left, w);
      if (columns.count > 0) body(part_of(s, rows, columns, h, w), (h * s.W + w) * s.C, rows, columns);
    }
  }
}

inline index_t depthwise_weights(const Conv2dShape& s) { return s.R * s.S * packed_channels(s.K, pack_of(s.K)); }

inline index_t depthwise_backward_input_scratch(const Conv2dBackwardInput& a) {
  index_t size = 0;
  for_each_part(a.s, [&](const Depthwise& d, index_t, const auto&, const auto&) { size = max_of(size, depthwise_slot(d)); });
  return depthwise_weights(a.s) + a.slots * size;
}

inline void depthwise_backward_input(const Conv2dBackwardInput& a) {
  const Conv2dShape& s = a.s;
  index_t reached = 0;  // pixels of an image
  for_each_part(s, [&](const Depthwise& d, index_t, const auto&, const auto&) { reached += d.s.P * d.s.Q; });
  if (reached < s.H * s.W) {
    parallel_elements(s.N * s.H * s.W * s.C, 0.2,
                      [&](index_t begin, index_t end) { copy_or_zero(a.dx + begin, nullptr, end - begin); });
  }
  for_each_part(s, [&](Depthwise d, index_t first, const JoinedTaps& rows, const JoinedTaps& columns) {
    float* to = a.scratch;
    for (index_t i = 0; i < rows.count; ++i) {
      for (index_t j = 0; j < columns.count; ++j, to += packed_channels(s.K, d.pack)) {
        const index_t tap = (rows.last - i * rows.step) * s.S + columns.last - j * columns.step;
        pack_channels(to, a.w + tap * s.K, s.K, d.pack);
      }
    }
    d.x = a.dy, d.w = a.scratch, d.y = a.dx + first;
    d.relu_output = a.relu_output ? a.relu_output + first : nullptr;
    convolve_depthwise(d, a.scratch + depthwise_weights(s), a.slots);
  });
}

}  // namespace
