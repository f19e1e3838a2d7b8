// depthwise_tile.h - tiles of a depthwise convolution: some pixels of an output row by a vector of channels, or by all of them.
//
// Every element is the chain fma(x, w, acc) over the taps that meet the image, row by row, whatever the tile.
#pragma once

#include "conv_tile.h"

namespace {

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

// What is fetched for the tile below: `rows` rows x_row values apart, the first one x values behind the tile's, of `pixels` pixels
// of so many channels for each of the tile's; and y, so many values behind the tile's. No rows: nothing.
struct TileAhead {
  index_t rows, x, x_row, pixels, channels, y;
};

template <bool Whole>
FASTNN_INLINE vfloat load_channels(const float* p, int count) {
  return Whole ? load(p) : load_partial(p, count);
}

// f, and the result is written.
template <int Pixels, bool Whole>
FASTNN_INLINE void finish_channels(const ChannelTile& t, vfloat (&acc)[Pixels]) {
  const index_t y_pixel = t.y_pixel;
  const int count = t.count;
  const vfloat zero = {};
  if (t.bias) {
    const vfloat bias = load(t.bias);
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) acc[i] += bias;
  }
  if (t.relu) {
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) acc[i] = acc[i] < zero ? zero : acc[i];
  }
  if (t.relu_output) {
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) acc[i] = behind_relu(acc[i], load_channels<Whole>(t.relu_output + i * y_pixel, count));
  }
  FASTNN_UNROLL
  for (int i = 0; i < Pixels; ++i) {
    if (Whole) {
      store(t.y + i * y_pixel, acc[i]);
    } else {
      store_partial(t.y + i * y_pixel, acc[i], count);
    }
  }
}

template <int Pixels, bool Whole>
void compute_channel_tile(const ChannelTile& t) {
  vfloat acc[Pixels] = {};
  const index_t x_pixel = t.x_pixel;
  const int count = t.count;
  for (index_t o = 0; o < t.outer; ++o) {
    const float *x = t.x + o * t.x_outer, *w = t.w + o * t.w_outer;
    for (index_t r = t.taps; r > 0; --r, x += t.x_tap, w += t.w_tap) {
      const vfloat weight = load(w);
      FASTNN_UNROLL
      for (int i = 0; i < Pixels; ++i) acc[i] += load_channels<Whole>(x + i * x_pixel, count) * weight;
    }
  }
  finish_channels<Pixels, Whole>(t, acc);
}

constexpr int kChannelPixels = kLanes == 16 ? 14 : 8;  // as many as there are registers for

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

// The tile `j` channels further.
FASTNN_INLINE ChannelTile at_channel(ChannelTile t, index_t j) {
  t.x += j, t.w += j, t.y += j;
  if (t.bias) t.bias += j;
  if (t.relu_output) t.relu_output += j;
  return t;
}

// The tile at pixel q, of a row's beginning.
FASTNN_INLINE ChannelTile at_pixel(ChannelTile t, index_t q) {
  t.x += q * t.x_pixel, t.y += q * t.y_pixel;
  if (t.relu_output) t.relu_output += q * t.y_pixel;
  return t;
}

// A tile at pixel `pixel`, counted in packs, and channel j, of a row's beginning.
inline void run_channel_tile(const ChannelTile& row, index_t pixel, int pixels, index_t j, index_t count) {
  ChannelTile t = at_channel(at_pixel(row, pixel), j);
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

// Lines that tiles a little later read and write.
template <int Pixels>
FASTNN_INLINE void fetch_tile(const ChannelTile& t, const TileAhead& ahead) {
  for (index_t r = 0; r < ahead.rows; ++r) {
    const float* x = t.x + ahead.x + r * ahead.x_row;
    for (index_t i = 0; i < Pixels * ahead.pixels; ++i) __builtin_prefetch(x + i * ahead.channels);
  }
  FASTNN_UNROLL
  for (int i = 0; i < Pixels; ++i) __builtin_prefetch(t.y + ahead.y + i * t.y_pixel, 1);
}

// acc[i] += the terms of one filter row: a value is read once for all the taps that it meets, as pixels are Stride taps apart.
template <int Pixels, int Taps, int Stride>
FASTNN_INLINE void slide(const float* x, index_t x_tap, const float* w, index_t w_tap, vfloat (&acc)[Pixels]) {
  vfloat weight[Taps];
  FASTNN_UNROLL
  for (int s = 0; s < Taps; ++s) weight[s] = load(w + s * w_tap);
  FASTNN_UNROLL
  for (int place = 0; place < (Pixels - 1) * Stride + Taps; ++place, x += x_tap) {
    vfloat value = load(x);
    keep_in_register(value);
    FASTNN_UNROLL
    for (int s = 0; s < Taps; ++s) {
      const int i = (place - s) / Stride;
      if (place >= s && (place - s) % Stride == 0 && i < Pixels) acc[i] += value * weight[s];
    }
  }
}

// All `channels`, at least a vector of them, of pixels Stride taps apart, of which a row has Taps; 0: known at run time. The last
// vector may begin within the one before: its results are written twice.
template <int Pixels, int Taps, int Stride>
void compute_all_channels(const ChannelTile& all, index_t channels, const TileAhead& ahead) {
  for (index_t j = 0; j < channels; j += kLanes) {
    const ChannelTile t = at_channel(all, min_of(j, channels - kLanes));
    if (ahead.rows > 0) fetch_tile<Pixels>(t, ahead);
    if constexpr (Taps == 0) {
      compute_channel_tile<Pixels, true>(t);
    } else {
      vfloat acc[Pixels] = {};
      for (index_t o = 0; o < t.outer; ++o) {
        slide<Pixels, Taps, Stride>(t.x + o * t.x_outer, t.x_tap, t.w + o * t.w_outer, t.w_tap, acc);
      }
      finish_channels<Pixels, true>(t, acc);
    }
  }
}

// One pixel, of which some taps may lie beside the image: the others are t.taps.
inline void compute_border_pixel(const ChannelTile& all, index_t channels) {
  constexpr int kVectors = 4;
  index_t j = 0;
  for (; j + kVectors * kLanes <= channels; j += kVectors * kLanes) {
    const ChannelTile t = at_channel(all, j);
    vfloat acc[kVectors] = {};
    for (index_t o = 0; o < t.outer; ++o) {
      const float *x = t.x + o * t.x_outer, *w = t.w + o * t.w_outer;
      for (index_t s = t.taps; s > 0; --s, x += t.x_tap, w += t.w_tap) {
        FASTNN_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[v] += load(x + v * kLanes) * load(w + v * kLanes);
      }
    }
    FASTNN_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      vfloat one[1] = {acc[v]};
      finish_channels<1, true>(at_channel(t, v * kLanes), one);
    }
  }
  for (; j < channels; j += kLanes) compute_channel_tile<1, true>(at_channel(all, min_of(j, channels - kLanes)));
}

using AllChannels = void (*)(const ChannelTile&, index_t channels, const TileAhead&);

template <int Taps, int Stride>
struct AllChannelsTable {
  AllChannels function[kChannelPixels + 1] = {};
  constexpr AllChannelsTable() { put<kChannelPixels>(); }
  template <int Pixels>
  constexpr void put() {
    function[Pixels] = compute_all_channels<Pixels, Taps, Stride>;
    if constexpr (Pixels > 1) put<Pixels - 1>();
  }
};

template <int Taps, int Stride>
constexpr AllChannelsTable<Taps, Stride> kAllChannels;

// The tiles of 1, 2, ... pixels for so many taps, `dilation` values apart, and strides.
inline const AllChannels* all_channels(index_t taps, index_t stride, index_t dilation) {
  if (dilation != 1) return kAllChannels<0, 0>.function;
  if (stride == 1 && taps == 2) return kAllChannels<2, 1>.function;
  if (stride == 1 && taps == 3) return kAllChannels<3, 1>.function;
  if (stride == 1 && taps == 5) return kAllChannels<5, 1>.function;
  if (stride == 1 && taps == 7) return kAllChannels<7, 1>.function;
  if (stride == 2 && taps == 3) return kAllChannels<3, 2>.function;
  if (stride == 2 && taps == 5) return kAllChannels<5, 2>.function;
  return kAllChannels<0, 0>.function;
}

}  // namespace
