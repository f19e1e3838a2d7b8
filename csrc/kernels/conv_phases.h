// conv_phases.h - input gradient of a convolution with strides, phase by phase.
//
// With strides (2, 2) a row of dx has two phases: the pixels of even columns meet some taps of a filter row, those of odd columns
// the others, and even and odd rows meet different filter rows. All pixels of a phase in one row are alike, neighbors of each other
// in dy, and so a tile of a convolution at stride 1 whose results lie strides apart. Rows of dy are copied between zeros if a
// filter reaches over their ends.
#pragma once

#include "conv_joined.h"

namespace {

// Pixels of a row's first phase.
inline index_t phase_pixels(const Conv2dShape& s) { return ceil_div(s.W, s.stride_w); }

// Whether tiles are high enough, there are no fewer taps than phases, and the channels fill their vectors as the taps of a filter
// row together would.
inline bool by_phases(const Conv2dShape& s) {
  if ((s.stride_h == 1 && s.stride_w == 1) || s.S < s.stride_w || min_of(s.Q, phase_pixels(s)) < kShortRow) return false;
  return 13 * phase_pixels(s) * s.S * half_vectors(s.C / s.groups) <= 14 * s.Q * half_vectors(spread(s));
}

// Rows of dy between zeros.
inline index_t phase_row_size(const Conv2dShape& s) {
  const Margins margins(s);
  return (margins.left + s.Q + margins.right) * s.K;
}

// Rows of dy that so many rows of dx read, at most.
inline index_t joined_rows(const Conv2dShape& s, index_t rows) { return (rows - 1 + (s.R - 1) * s.dilation_h) / s.stride_h + 1; }

// Rows of dx that are computed together.
inline index_t phase_rows(const Conv2dShape& s) {
  constexpr index_t kLeast = 4;  // of dy, lest those that two blocks read are copied too often
  const index_t rows = kWindowFloats / max_of(1, phase_row_size(s)) - joined_rows(s, 1);
  return max_of(1, min_of(s.H, max_of(kLeast, rows) * s.stride_h));
}

inline index_t phase_window_size(const Conv2dShape& s) {
  return round_up(joined_rows(s, phase_rows(s)) * phase_row_size(s), kLineFloats);
}

inline index_t turned_filter_size(const Conv2dShape& s) { return filter_panels_size(turned_shape(s)); }

// What the rows [h0, h1) of dx read: at(p) is row p of dy, beginning with its first pixel.
inline Window gradient_window(const Conv2dShape& s, const float* dy, index_t h0, index_t h1, float* scratch) {
  const Margins margins(s);
  const index_t row = s.Q * s.K, left = margins.left * s.K, right = margins.right * s.K, reach = (s.R - 1) * s.dilation_h;
  if (left + right == 0) return {dy, 0, row};
  const index_t first = ceil_div(max_of(0, h0 + s.pad_top - reach), s.stride_h),
                stop = min_of(s.P, (h1 - 1 + s.pad_top) / s.stride_h + 1);
  for (index_t p = first; p < stop; ++p) {
    float* to = scratch + (p - first) * (left + row + right);
    copy_or_zero(to, nullptr, left);
    copy_or_zero(to + left, dy + p * row, row);
    copy_or_zero(to + left + row, nullptr, right);
  }
  return {scratch + left, first, left + row + right};
}

// One phase of a row of dx of one group: pixels start, start + stride_w, ..., joined to `rows` of dy.
inline void convolve_phase(const Spreading& a, const float* packed, const Window& dy, const JoinedRows& rows,
                           const JoinedPixels& joined, index_t start, index_t group, float* dx) {
  const Conv2dShape& s = a.s;
  const index_t channels = s.C / s.groups, outputs = s.K / s.groups, tap = outputs * kPanel;
  const index_t pixels = ceil_div(s.W - start, s.stride_w), last_row = rows.count - 1, last = joined.count - 1;
  float* const first = dx + start * s.C + group * channels;
  if (joined.count == 0 || rows.count == 0) {
    for (index_t i = 0; i < pixels; ++i) finish_unjoined(a, first + i * s.stride_w * s.C, channels);
    return;
  }
  const index_t last_tap = (rows.first + last_row * rows.step) * s.S + joined.tap + last * joined.step;
  RunTile t = {};
  t.a_row = s.K, t.a_outer = rows.down * dy.stride, t.a_run = joined.left * s.K, t.a_col = 1;
  t.b_outer = rows.step * s.S * tap, t.b_run = joined.step * tap, t.b_row = kPanel;
  t.outer = rows.count, t.runs = joined.count, t.length = outputs, t.ldc = s.stride_w * s.C, t.load_c = a.accumulate;
  const float* from = dy.at(rows.p - last_row * rows.down) + (joined.q - last * joined.left) * s.K + group * outputs;
  for (index_t j = 0; j < channels; j += kPanel) {
    const index_t columns = min_of(kPanel, channels - j);
    t.b = packed + (j / kPanel * s.R * s.S + s.R * s.S - 1 - last_tap) * tap;
    const RowTiles tiles(pixels, columns <= kLanes ? kMaxThinRows : kMaxRows);
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      t.a = from + tiles.start(tile) * s.K;
      t.c = first + tiles.start(tile) * t.ldc + j;
      if (a.relu_output) t.relu_output = a.relu_output + (t.c - a.dx);
      run_tile(t, tiles.height(tile), columns);
    }
  }
}

// Rows [h0, h1) of dx of image n.
inline void convolve_phases_of(const Spreading& a, const float* packed, index_t n, index_t h0, index_t h1, float* windows) {
  const Conv2dShape& s = a.s;
  const index_t row = s.W * s.C;
  const bool fetches = values(s) >= kManyValues;
  const Window dy = gradient_window(s, a.dy + n * s.P * s.Q * s.K, h0, h1, windows);
  for (index_t start = 0; start < min_of(s.stride_w, s.W); ++start) {
    const JoinedPixels joined(s, start);
    for (index_t h = h0; h < h1; ++h) {
      float* dx = a.dx + (n * s.H + h) * row;
      const JoinedRows rows(s, h);
      if (fetches && start == 0) {
        fetch_pixels(dx + row, 1, row, row);
        if (a.relu_output) fetch_pixels(a.relu_output + (dx + row - a.dx), 1, row, row);
      }
      for (index_t group = 0; group < s.groups; ++group) {
        convolve_phase(a, packed + group * (turned_filter_size(s) / s.groups), dy, rows, joined, start, group, dx);
      }
    }
  }
  for (index_t h = h0; h < h1; ++h) activate_pixels(a, a.dx + (n * s.H + h) * row);
}

// windows: phase_window_size floats for each slot.
inline void convolve_phases(const Spreading& a, const float* packed, float* windows, int slots) {
  const Conv2dShape& s = a.s;
  const index_t rows = phase_rows(s), blocks = ceil_div(s.H, rows), size = phase_window_size(s);
  const double cycles = s.P * s.Q * flops_per_pixel(s) / blocks / kFlopsPerCycle;
  parallel_for(s.N * blocks, cycles, slots, [&](index_t begin, index_t end, int slot) {
    for (index_t item = begin; item < end; ++item) {
      const index_t n = item / blocks, h0 = item % blocks * rows;
      convolve_phases_of(a, packed, n, h0, min_of(s.H, h0 + rows), windows + slot * size);
    }
  });
}

}  // namespace
