// conv.h - 2-D convolution: forward, input gradient, filter gradient.
//
// A convolution is the product (pixels x taps) (taps x K) with taps = R S C / groups. The left matrix is never stored: a few
// output pixels at a time are gathered into a scratch block that stays in the first-level cache (in NHWC the S C values of one
// filter row lie side by side) and multiplied there with the packed filter.
//
// The input gradient of a stride-1 convolution is a convolution of dy with the filter flipped and its channels exchanged; any
// other is the product dy w^T, a few pixels at a time, added back into the image. The filter gradient is cut into at most
// kFilterChunks runs of output rows, each with its own sum, combined in order.
#pragma once

#include "conv_tile.h"

namespace {

using fastnn::Conv2dBackwardFilter;
using fastnn::Conv2dBackwardInput;
using fastnn::Conv2dForward;
using fastnn::Conv2dShape;

constexpr index_t kGatherFloats = 6144;  // scratch block per thread: 24 kB
constexpr index_t kFilterChunks = 16;

inline index_t taps(const Conv2dShape& s) { return s.R * s.S * (s.C / s.groups); }
inline index_t out_pixels(const Conv2dShape& s) { return s.N * s.P * s.Q; }

// Output pixels gathered at a time.
inline index_t pixel_block(const Conv2dShape& s) {
  return max_of(kMaxRows, min_of(kGatherFloats / max_of(taps(s), 1), 512) / kMaxRows * kMaxRows);
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

// One filter row of one pixel: S x channels values, zero outside of the image.
inline void gather_filter_row(float* to, const float* row, const Conv2dShape& s, index_t w0, index_t channels) {
  const bool dense = s.dilation_w == 1 && channels == s.C;
  if (dense && row && w0 >= 0 && w0 + s.S <= s.W) return copy_or_zero(to, row + w0 * s.C, s.S * s.C);
  for (index_t k = 0; k < s.S; ++k) {
    const index_t w = w0 + k * s.dilation_w;
    copy_or_zero(to + k * channels, row && w >= 0 && w < s.W ? row + w * s.C : nullptr, channels);
  }
}

// The left matrix's rows for output pixels [first, first + count) (counted over N P Q), group channels at x + channel.
inline void gather_pixels(float* to, const float* x, const Conv2dShape& s, index_t first, index_t count, index_t group) {
  const index_t channels = s.C / s.groups, width = taps(s);
  index_t q = first % s.Q, p = first / s.Q % s.P, n = first / (s.Q * s.P);
  for (index_t i = 0; i < count; ++i, to += width) {
    const index_t h0 = p * s.stride_h - s.pad_top, w0 = q * s.stride_w - s.pad_left;
    for (index_t r = 0; r < s.R; ++r) {
      const index_t h = h0 + r * s.dilation_h;
      const float* row = h >= 0 && h < s.H ? x + (n * s.H + h) * s.W * s.C + group * channels : nullptr;
      gather_filter_row(to + r * s.S * channels, row, s, w0, channels);
    }
    if (++q == s.Q) {
      q = 0;
      if (++p == s.P) p = 0, ++n;
    }
  }
}

// The filter of every group as packed panels, one group behind the other.
inline index_t packed_filter_size(const Conv2dShape& s) { return s.groups * packed_size(taps(s), s.K / s.groups); }

inline Panels filter_panels(const float* packed, const Conv2dShape& s, index_t group) {
  const index_t k = taps(s), n = s.K / s.groups;
  return {packed + group * packed_size(k, n), kPanel, true, k, n};
}

inline void pack_filter(float* to, const float* w, const Conv2dShape& s) {
  const index_t k = taps(s), n = s.K / s.groups;
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t j = 0; j < n; j += kPanel) {
      pack_panel(to + group * packed_size(k, n) + j * k, w + group * n + j, s.K, 1, k, min_of(kPanel, n - j));
    }
  }
}

// --- rows of an image with zeros beside them ---

constexpr index_t kWindowFloats = 6144;  // what a block of output rows reads: 24 kB, to stay in the first-level cache

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

// Output rows that are computed together.
inline index_t block_rows(const Conv2dShape& s) {
  const index_t rows = kWindowFloats / max_of(1, window_row(s)) - (s.R - 1) * s.dilation_h;
  return max_of(1, min_of(s.P, 1 + (rows - 1) / s.stride_h));
}

inline index_t window_size(const Conv2dShape& s) {
  return reaches_out(s) ? span(block_rows(s), s.stride_h, s.R, s.dilation_h) * window_row(s) : 0;
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
  // Columns [begin, end) of x lie at column pad_left + begin of the window.
  const index_t begin = max_of(0, -s.pad_left), end = min_of(s.W, width / s.C - s.pad_left);
  for (index_t h = first; h < stop; ++h) {
    float* to = scratch + (h - first) * width;
    copy_or_zero(to, nullptr, (s.pad_left + begin) * s.C);
    copy_or_zero(to + (s.pad_left + begin) * s.C, image + (h * s.W + begin) * s.C, (end - begin) * s.C);
    copy_or_zero(to + (s.pad_left + end) * s.C, nullptr, width - (s.pad_left + end) * s.C);
  }
  return {scratch, first, width};
}

// The filter rows [begin, end) that meet the image from output row p.
struct FilterRows {
  index_t begin, end;
  FilterRows(const Conv2dShape& s, index_t p) {
    const index_t h = p * s.stride_h - s.pad_top;
    begin = h >= 0 ? 0 : min_of(s.R, ceil_div(-h, s.dilation_h));
    end = max_of(begin, h >= s.H ? 0 : min_of(s.R, ceil_div(s.H - h, s.dilation_h)));
  }
};

// The values of a filter row lie side by side in the image.
inline bool is_dense(const Conv2dShape& s) { return s.dilation_w == 1 && s.groups == 1; }

// One output row of one group from its window.
inline void convolve_row(const Conv2dForward& a, const Window& x, const Panels& b, index_t p, index_t group, float* y) {
  const Conv2dShape& s = a.s;
  const index_t channels = s.C / s.groups, outputs = s.K / s.groups;
  const FilterRows rows(s, p);
  const float* first = x.at(p * s.stride_h - s.pad_top + rows.begin * s.dilation_h) + group * channels;
  RunTile t = {};
  t.a_row = s.stride_w * s.C, t.a_outer = s.dilation_h * x.stride, t.a_run = s.dilation_w * s.C, t.a_col = 1;
  t.b_outer = s.S * channels * kPanel, t.b_run = channels * kPanel, t.b_row = kPanel;
  t.outer = rows.end - rows.begin, t.runs = is_dense(s) ? 1 : s.S, t.length = is_dense(s) ? s.S * s.C : channels;
  t.ldc = s.K, t.relu = a.activation == Activation::relu;
  const RowTiles tiles(s.Q);
  for (index_t panel = 0; panel < b.count(); ++panel) {
    const index_t columns = b.columns(panel), column = group * outputs + panel * kPanel;
    t.b = b.at(panel) + rows.begin * t.b_outer;
    t.bias = a.bias ? a.bias + column : nullptr;
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      const index_t q = tiles.start(tile);
      t.a = first + q * t.a_row;
      t.c = y + q * s.K + column;
      run_tile(t, tiles.height(tile), columns);
    }
  }
  if (a.activation == Activation::linear || a.activation == Activation::relu) return;
  for (index_t q = 0; q < s.Q; ++q) activate_row(y + q * s.K + group * outputs, outputs, nullptr, a.activation, a.alpha);
}

// Row by row, unless rows are so short that tiles must hold pixels of several.
constexpr index_t kShortRow = 6;
inline bool by_rows(const Conv2dShape& s) { return s.Q >= kShortRow && !is_pointwise(s); }

index_t conv2d_forward_scratch(const Conv2dForward& a) {
  return packed_filter_size(a.s) + a.slots * (by_rows(a.s) ? window_size(a.s) : pixel_block(a.s) * taps(a.s));
}

inline void forward_by_rows(const Conv2dForward& a, const float* packed, float* windows) {
  const Conv2dShape& s = a.s;
  const index_t rows = block_rows(s), blocks = ceil_div(s.P, rows), size = window_size(s);
  parallel_for(s.N * blocks, rows * s.Q * flops_per_pixel(s) / kFlopsPerCycle, a.slots,
               [&](index_t begin, index_t end, int slot) {
                 for (index_t item = begin; item < end; ++item) {
                   const index_t n = item / blocks, p0 = item % blocks * rows, p1 = min_of(s.P, p0 + rows);
                   const Window x = window(s, a.x, n, p0, p1, windows + slot * size);
                   for (index_t p = p0; p < p1; ++p) {
                     for (index_t group = 0; group < s.groups; ++group) {
                       convolve_row(a, x, filter_panels(packed, s, group), p, group, a.y + (n * s.P + p) * s.Q * s.K);
                     }
                   }
                 }
               });
}

inline void forward_by_pixels(const Conv2dForward& a, const float* packed, float* gathered) {
  const Conv2dShape& s = a.s;
  const index_t width = taps(s), block = pixel_block(s), pixels = out_pixels(s), outputs = s.K / s.groups;
  parallel_for(ceil_div(pixels, block), block * flops_per_pixel(s) / kFlopsPerCycle, a.slots,
               [&](index_t begin, index_t end, int slot) {
                 float* left = gathered + slot * block * width;
                 for (index_t item = begin; item < end; ++item) {
                   const index_t first = item * block, count = min_of(block, pixels - first);
                   for (index_t group = 0; group < s.groups; ++group) {
                     const Panels b = filter_panels(packed, s, group);
                     const Epilogue epilogue = {a.bias ? a.bias + group * outputs : nullptr, a.activation, a.alpha};
                     float* out = a.y + first * s.K + group * outputs;
                     if (is_pointwise(s)) {
                       multiply_rows(a.x + first * s.C + group * width, s.C, 1, b, out, s.K, count, false, epilogue);
                     } else {
                       gather_pixels(left, a.x, s, first, count, group);
                       multiply_rows(left, width, 1, b, out, s.K, count, false, epilogue);
                     }
                   }
                 }
               });
}

void conv2d_forward(const Conv2dForward& a) {
  float* rest = a.scratch + packed_filter_size(a.s);
  pack_filter(a.scratch, a.w, a.s);
  if (by_rows(a.s)) {
    forward_by_rows(a, a.scratch, rest);
  } else {
    forward_by_pixels(a, a.scratch, rest);
  }
}

// The convolution that computes dx from dy when the stride is 1.
inline Conv2dShape flipped_shape(const Conv2dShape& s) {
  return {.N = s.N,
          .H = s.P,
          .W = s.Q,
          .C = s.K,
          .K = s.C,
          .R = s.R,
          .S = s.S,
          .P = s.H,
          .Q = s.W,
          .stride_h = 1,
          .stride_w = 1,
          .pad_top = s.dilation_h * (s.R - 1) - s.pad_top,
          .pad_left = s.dilation_w * (s.S - 1) - s.pad_left,
          .dilation_h = s.dilation_h,
          .dilation_w = s.dilation_w,
          .groups = 1};
}

inline bool flips(const Conv2dShape& s) { return s.stride_h == 1 && s.stride_w == 1 && s.groups == 1; }

// to[R-1-r, S-1-s, k, c] = w[r, s, c, k].
inline void flip_filter(float* to, const float* w, const Conv2dShape& s) {
  for (index_t tap = 0; tap < s.R * s.S; ++tap) {
    float* out = to + (s.R * s.S - 1 - tap) * s.K * s.C;
    const float* in = w + tap * s.C * s.K;
    for (index_t k = 0; k < s.K; ++k) {
      for (index_t c = 0; c < s.C; ++c) out[k * s.C + c] = in[c * s.K + k];
    }
  }
}

// dx of one image, from the product dy w^T a block of pixels at a time. Each dx element receives its terms in the order of
// output pixels, then taps.
inline void scatter_pixels(float* dx, const float* columns, const Conv2dShape& s, index_t first, index_t count, index_t group) {
  const index_t channels = s.C / s.groups, width = taps(s);
  for (index_t i = 0; i < count; ++i, columns += width) {
    const index_t p = (first + i) / s.Q, q = (first + i) % s.Q;
    for (index_t tap = 0; tap < s.R * s.S; ++tap) {
      const index_t h = p * s.stride_h - s.pad_top + tap / s.S * s.dilation_h;
      const index_t w = q * s.stride_w - s.pad_left + tap % s.S * s.dilation_w;
      if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
      float* __restrict to = dx + (h * s.W + w) * s.C + group * channels;
      const float* __restrict from = columns + tap * channels;
      FASTNN_SIMD
      for (index_t c = 0; c < channels; ++c) to[c] += from[c];
    }
  }
}

// Panels of w^T of one group: K / groups rows, taps columns.
inline index_t packed_transpose_size(const Conv2dShape& s) { return s.groups * packed_size(s.K / s.groups, taps(s)); }

inline void scatter_images(const Conv2dBackwardInput& a, float* packed, float* columns) {
  const Conv2dShape& s = a.s;
  const index_t width = taps(s), block = pixel_block(s), pixels = s.P * s.Q, inputs = s.K / s.groups;
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t j = 0; j < width; j += kPanel) {
      float* to = packed + group * packed_size(inputs, width) + j * inputs;
      pack_panel(to, a.w + group * inputs + j * s.K, 1, s.K, inputs, min_of(kPanel, width - j));
    }
  }
  parallel_for(s.N, pixels * flops_per_pixel(s) / kFlopsPerCycle, a.slots, [&](index_t begin, index_t end, int slot) {
    float* left = columns + slot * block * width;
    for (index_t n = begin; n < end; ++n) {
      float* dx = a.dx + n * s.H * s.W * s.C;
      copy_or_zero(dx, nullptr, s.H * s.W * s.C);
      for (index_t first = 0; first < pixels; first += block) {
        const index_t count = min_of(block, pixels - first);
        for (index_t group = 0; group < s.groups; ++group) {
          const Panels b = {packed + group * packed_size(inputs, width), kPanel, true, inputs, width};
          multiply_rows(a.dy + (n * pixels + first) * s.K + group * inputs, s.K, 1, b, left, width, count, false, kNoEpilogue);
          scatter_pixels(dx, left, s, first, count, group);
        }
      }
    }
  });
}

index_t conv2d_backward_input_scratch(const Conv2dBackwardInput& a) {
  const Conv2dShape& s = a.s;
  if (!flips(s)) return packed_transpose_size(s) + a.slots * pixel_block(s) * taps(s);
  const Conv2dForward forward = {.s = flipped_shape(s),
                                 .x = nullptr,
                                 .w = nullptr,
                                 .bias = nullptr,
                                 .y = nullptr,
                                 .activation = Activation::linear,
                                 .alpha = 0.0f,
                                 .scratch = nullptr,
                                 .slots = a.slots};
  return s.R * s.S * s.C * s.K + conv2d_forward_scratch(forward);
}

void conv2d_backward_input(const Conv2dBackwardInput& a) {
  const Conv2dShape& s = a.s;
  if (!flips(s)) return scatter_images(a, a.scratch, a.scratch + packed_transpose_size(s));
  flip_filter(a.scratch, a.w, s);
  conv2d_forward({.s = flipped_shape(s),
                  .x = a.dy,
                  .w = a.scratch,
                  .bias = nullptr,
                  .y = a.dx,
                  .activation = Activation::linear,
                  .alpha = 0.0f,
                  .scratch = a.scratch + s.R * s.S * s.C * s.K,
                  .slots = a.slots});
}

// Output rows (counted over N P) per chunk.
inline index_t filter_chunk_rows(const Conv2dShape& s) { return max_of(1, ceil_div(s.N * s.P, kFilterChunks)); }
inline index_t filter_chunk_count(const Conv2dShape& s) { return max_of(1, ceil_div(s.N * s.P, filter_chunk_rows(s))); }

index_t conv2d_backward_filter_scratch(const Conv2dBackwardFilter& a) {
  return filter_chunk_count(a.s) * taps(a.s) * a.s.K + a.slots * window_size(a.s);
}

// sum += what output rows [p0, p1) of one image contribute, group by group.
inline void add_filter_rows(const Conv2dBackwardFilter& a, const Window& x, index_t n, index_t p0, index_t p1, float* sum) {
  const Conv2dShape& s = a.s;
  const index_t channels = s.C / s.groups, outputs = s.K / s.groups;
  const index_t runs = is_dense(s) ? 1 : s.S, length = is_dense(s) ? s.S * s.C : channels;
  const RowTiles tiles(length);
  RunTile t = {};
  t.a_row = 1, t.a_outer = s.stride_h * x.stride, t.a_col = s.stride_w * s.C;
  t.b_outer = s.Q * s.K, t.b_row = s.K, t.runs = 1, t.length = s.Q, t.ldc = s.K, t.load_c = true;
  for (index_t r = 0; r < s.R; ++r) {
    index_t begin = p0, end = p1;  // the rows from which filter row r meets the image
    while (begin < end && begin * s.stride_h - s.pad_top + r * s.dilation_h < 0) ++begin;
    while (begin < end && (end - 1) * s.stride_h - s.pad_top + r * s.dilation_h >= s.H) --end;
    t.outer = end - begin;
    if (t.outer == 0) continue;
    const float* row = x.at(begin * s.stride_h - s.pad_top + r * s.dilation_h);
    const float* dy = a.dy + (n * s.P + begin) * s.Q * s.K;
    for (index_t group = 0; group < s.groups; ++group) {
      for (index_t k = 0; k < outputs; k += kPanel) {
        const index_t columns = min_of(kPanel, outputs - k);
        t.b = dy + group * outputs + k;
        for (index_t run = 0; run < runs; ++run) {
          for (index_t tile = 0; tile < tiles.count; ++tile) {
            const index_t i = tiles.start(tile);
            t.a = row + run * s.dilation_w * s.C + group * channels + i;
            t.c = sum + ((r * s.S + run) * channels + i) * s.K + group * outputs + k;
            run_tile(t, tiles.height(tile), columns);
          }
        }
      }
    }
  }
}

void conv2d_backward_filter(const Conv2dBackwardFilter& a) {
  const Conv2dShape& s = a.s;
  const index_t size = taps(s) * s.K, chunks = filter_chunk_count(s), chunk_rows = filter_chunk_rows(s), rows = block_rows(s);
  float* windows = a.scratch + chunks * size;
  parallel_for(chunks, chunk_rows * s.Q * flops_per_pixel(s) / kFlopsPerCycle, a.slots, [&](index_t begin, index_t end, int slot) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = a.scratch + chunk * size;
      copy_or_zero(sum, nullptr, size);
      const index_t stop = min_of(s.N * s.P, (chunk + 1) * chunk_rows);
      for (index_t row = chunk * chunk_rows; row < stop;) {
        const index_t n = row / s.P, p0 = row % s.P, p1 = min_of(min_of(s.P, p0 + rows), p0 + stop - row);
        add_filter_rows(a, window(s, a.x, n, p0, p1, windows + slot * window_size(s)), n, p0, p1, sum);
        row += p1 - p0;
      }
    }
  });
  parallel_elements(size, 0.3 * chunks, [&](index_t begin, index_t end) {
    float* __restrict dw = a.dw;
    copy_or_zero(dw + begin, a.scratch + begin, end - begin);
    for (index_t chunk = 1; chunk < chunks; ++chunk) {
      const float* __restrict sum = a.scratch + chunk * size;
      FASTNN_SIMD
      for (index_t i = begin; i < end; ++i) dw[i] += sum[i];
    }
  });
}

}  // namespace
