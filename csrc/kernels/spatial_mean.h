// spatial_mean.h - the mean over all pixels of an image, each channel by itself.
#pragma once

#include "simd.h"

namespace {

using fastnn::SpatialMeanBackward;
using fastnn::SpatialMeanForward;

constexpr index_t kMeanPixels = 64;  // pixels in a partial sum

// sums += those of `Blocks` partial sums one after the other, each over kMeanPixels pixels, or over the last ones; they take turns,
// as an addition waits for the one before. get(pixel, v) reads a vector.
template <int Vectors, int Blocks, class Get>
FASTNN_INLINE void add_blocks(vfloat (&sums)[Vectors], index_t start, index_t pixels, const Get& get) {
  vfloat part[Blocks][Vectors] = {};
  for (index_t i = start; i < min_of(start + kMeanPixels, pixels); ++i) {
    FASTNN_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      FASTNN_UNROLL
      for (int v = 0; v < Vectors; ++v) part[b][v] += get(i + b * kMeanPixels, v);
    }
  }
  FASTNN_UNROLL
  for (int b = 0; b < Blocks; ++b) {
    FASTNN_UNROLL
    for (int v = 0; v < Vectors; ++v) sums[v] += part[b][v];
  }
}

// y = mean over the pixels of `Vectors` vectors of channels, of which `count` channels are wanted. The other lanes of the first
// `whole` pixels may be read.
template <int Vectors>
inline void mean_over_pixels(const float* x, index_t pixels, index_t whole, index_t channels, int count, float* y) {
  constexpr int kBlocks = 4 / Vectors;
  vfloat sums[Vectors] = {};
  const auto get = [=](index_t i, int v) { return load(x + i * channels + v * kLanes); };
  const auto get_some = [=](index_t i, int) { return i < whole ? load(x + i * channels) : load_partial(x + i * channels, count); };
  index_t start = 0;
  for (; start + kBlocks * kMeanPixels <= whole; start += kBlocks * kMeanPixels) {
    add_blocks<Vectors, kBlocks>(sums, start, whole, get);
  }
  for (; start < pixels; start += kMeanPixels) {
    if (count < kLanes) {
      add_blocks<Vectors, 1>(sums, start, pixels, get_some);
    } else {
      add_blocks<Vectors, 1>(sums, start, pixels, get);
    }
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
      for (; c + 2 * kLanes <= a.C; c += 2 * kLanes) mean_over_pixels<2>(x + c, a.pixels, a.pixels, a.C, kLanes, y + c);
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
