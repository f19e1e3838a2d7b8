// conv_input.h - input gradient of a 2-D convolution, and the transposed convolution, which is the same.
//
// At stride 1 it is most often a convolution again, of dy with the filter turned around, and with strides one for each phase
// (conv_phases.h). Else, with few channels or short rows, row h of dx is made from the rows of dy that some filter row r joins to
// it: the product of their pixels with w[r]^T, summed over r in a register tile, gives for every pixel q of dy the S C values that
// it adds to dx around its own place; then every pixel of dx collects its own. So no tap is multiplied in vain at a border, and
// there are S C columns to fill vectors with. Where rows are too short for a tile, its rows are images.
#pragma once

#include "conv_phases.h"
#include "depthwise_input.h"

namespace {

using fastnn::Conv2dTransposeForward;

constexpr index_t kShortGradientRow = 6;

// Images whose gradients are computed together.
inline index_t image_block(const Conv2dShape& s) { return s.Q >= kShortGradientRow ? 1 : max_of(1, min_of(s.N, kMaxRows)); }

// w^T by group, panel of columns (s, c), filter row and output channel.
inline index_t packed_rows_size(const Conv2dShape& s) { return s.R * packed_size(s.K / s.groups, spread(s)); }

inline void pack_rows_of_filter(float* to, const float* w, const Conv2dShape& s) {
  const index_t outputs = s.K / s.groups, columns = spread(s);
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t j = 0; j < columns; j += kPanel) {
      for (index_t r = 0; r < s.R; ++r, to += outputs * kPanel) {
        const float* from = w + (r * columns + j) * s.K + group * outputs;
        pack_panel(to, from, 1, s.K, outputs, min_of(kPanel, columns - j));
      }
    }
  }
}

// values[(q image_block + n), :] = what pixel q of image n0 + n adds to row h, for one group.
inline void spread_row(const Spreading& a, const float* packed, const JoinedRows& rows, index_t n0, index_t images, index_t group,
                       float* values) {
  const Conv2dShape& s = a.s;
  const index_t outputs = s.K / s.groups, width = spread(s), image = s.P * s.Q * s.K, block = image_block(s);
  const bool pixels = block == 1;  // rows of the tile
  const RowTiles tiles(pixels ? s.Q : images);
  RunTile t = {};
  t.a_row = pixels ? s.K : image, t.a_outer = -rows.down * s.Q * s.K, t.a_col = 1;
  t.b_outer = rows.step * outputs * kPanel, t.b_row = kPanel;
  t.outer = rows.count, t.runs = 1, t.length = outputs, t.ldc = width;
  const float* dy = a.dy + n0 * image + rows.p * s.Q * s.K + group * outputs;
  for (index_t j = 0; j < width; j += kPanel) {
    const index_t columns = min_of(kPanel, width - j);
    t.b = packed + (j * s.R + rows.first * kPanel) * outputs;
    for (index_t q = 0; q < (pixels ? 1 : s.Q); ++q) {
      for (index_t tile = 0; tile < tiles.count; ++tile) {
        t.a = dy + q * s.K + tiles.start(tile) * t.a_row;
        t.c = values + (q * block + tiles.start(tile)) * width + j;
        run_tile(t, tiles.height(tile), columns);
      }
    }
  }
}

// Some pixels of dx, dx_pixel floats apart: each the sum of so many values, `next` apart, the first `distance` behind that of the
// pixel before, and with `accumulate` of what is there.
template <class Last, int Pixels>
inline void collect_pixels(const float* values, index_t distance, index_t next, index_t count, const float* relu_output,
                           bool accumulate, float* dx, index_t dx_pixel, int lanes) {
  typename Last::Vector sum[Pixels] = {};
  if (accumulate) {
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) sum[i] = Last::get(dx + i * dx_pixel, lanes);
  }
  for (; count > 0; --count, values += next) {
    FASTNN_UNROLL
    for (int i = 0; i < Pixels; ++i) sum[i] += Last::get(values + i * distance, lanes);
  }
  FASTNN_UNROLL
  for (int i = 0; i < Pixels; ++i) {
    if (relu_output) sum[i] = behind_relu(sum[i], Last::get(relu_output + i * dx_pixel, lanes));
    Last::put(dx + i * dx_pixel, sum[i], lanes);
  }
}

// One row of dx of one image and group: every pixel collects what the pixels of dy, `distance` values apart, add to it.
inline void collect_row(const Spreading& a, const float* values, index_t distance, float* dx) {
  const Conv2dShape& s = a.s;
  const float* relu_output = a.relu_output ? a.relu_output + (dx - a.dx) : nullptr;
  const index_t channels = s.C / s.groups, dx_pixel = s.stride_w * s.C;
  constexpr int kTogether = 4;  // pixels
  for (index_t start = 0; start < min_of(s.stride_w, s.W); ++start) {
    const JoinedPixels joined(s, start);
    const index_t next = joined.left * distance - joined.step * channels, last = joined.count - 1;
    const float* first = values + (joined.q - last * joined.left) * distance + (joined.tap + last * joined.step) * channels;
    for (index_t w = start, pixels; w < s.W; w += pixels * s.stride_w, first += pixels * distance) {
      pixels = w + (kTogether - 1) * s.stride_w < s.W ? kTogether : 1;
      for (index_t c = 0; c < channels; c += kLanes) {
        const int lanes = static_cast<int>(min_of(kLanes, channels - c));
        const auto collect = lanes <= kNarrowLanes
                                 ? pixels > 1 ? collect_pixels<NarrowTail, kTogether> : collect_pixels<NarrowTail, 1>
                             : pixels > 1 ? collect_pixels<WideTail, kTogether>
                                          : collect_pixels<WideTail, 1>;
        const index_t at = w * s.C + c;
        const float* relu_at = relu_output ? relu_output + at : nullptr;
        collect(first + c, distance, next, joined.count, relu_at, a.accumulate, dx + at, dx_pixel, lanes);
      }
    }
  }
}

// Values of a row of dx, with their margins.
inline index_t values_size(const Conv2dShape& s) {
  const Margins margins(s);
  return round_up((margins.left + s.Q + margins.right) * image_block(s) * spread(s), kLineFloats);
}

// blocks: values_size floats for each slot.
inline void spread_and_collect(const Spreading& a, const float* packed, float* blocks, int slots) {
  const Conv2dShape& s = a.s;
  const index_t block = image_block(s), channels = s.C / s.groups, pixel = block * spread(s), size = values_size(s);
  const Margins margins(s);
  const double cycles = block * s.P * s.Q * flops_per_pixel(s) / s.H / kFlopsPerCycle;
  parallel_for(ceil_div(s.N, block) * s.H, cycles, slots, [&](index_t begin, index_t end, int slot) {
    float* values = blocks + slot * size + margins.left * pixel;
    copy_or_zero(values - margins.left * pixel, nullptr, margins.left * pixel);
    copy_or_zero(values + s.Q * pixel, nullptr, margins.right * pixel);
    for (index_t item = begin; item < end; ++item) {
      const index_t n0 = item / s.H * block, h = item % s.H, images = min_of(block, s.N - n0);
      const JoinedRows rows(s, h);
      for (index_t n = 0; n < images && rows.count == 0; ++n)
        finish_unjoined(a, a.dx + ((n0 + n) * s.H + h) * s.W * s.C, s.W * s.C);
      for (index_t group = 0; group < s.groups && rows.count > 0; ++group) {
        spread_row(a, packed + group * packed_rows_size(s), rows, n0, images, group, values);
        for (index_t n = 0; n < images; ++n) {
          collect_row(a, values + n * spread(s), pixel, a.dx + ((n0 + n) * s.H + h) * s.W * s.C + group * channels);
        }
      }
      for (index_t n = 0; n < images; ++n) activate_pixels(a, a.dx + ((n0 + n) * s.H + h) * s.W * s.C);
    }
  });
}

// Whether the turned convolution takes less time: it multiplies zeros beside the rows of dy, and its columns are but C; but there
// is nothing to collect, which was measured to cost about 8 %.
inline bool is_turned(const Conv2dShape& s) {
  const Conv2dShape t = turned_shape(s);
  if (s.stride_h != 1 || s.stride_w != 1 || t.pad_top < 0 || t.pad_left < 0) return false;
  if (is_pointwise(s)) return true;
  if (min_of(s.Q, s.W) < kShortRow) return false;
  return 13 * s.W * s.S * half_vectors(s.C / s.groups) <= 14 * s.Q * half_vectors(spread(s));
}

// Scratch begins with the packed filter; behind it lies what each slot needs.
inline bool packs_turned(const Conv2dShape& s) { return by_phases(s) || is_turned(s); }

inline index_t gradient_filter_size(const Conv2dShape& s) {
  if (!packs_turned(s)) return s.groups * packed_rows_size(s);
  return by_phases(s) ? turned_filter_size(s) : packed_filter_size(turned_shape(s));
}

inline void pack_gradient_filter(float* to, const float* w, const Conv2dShape& s) {
  packs_turned(s) ? pack_turned_filter(to, w, s) : pack_rows_of_filter(to, w, s);
  const Conv2dShape turned = turned_shape(s);
  if (!by_phases(s) && is_turned(s) && by_pieces(turned)) cut_filter(to + filter_panels_size(turned), to, turned);
}

inline index_t gradient_slot(const Conv2dShape& s) {
  if (by_phases(s)) return phase_window_size(s);
  return is_turned(s) ? convolution_slot(turned_shape(s)) : values_size(s);
}

inline index_t input_gradient_scratch(const Conv2dShape& s, int slots) {
  return gradient_filter_size(s) + slots * gradient_slot(s);
}

inline void packed_input_gradient(const Spreading& a, const float* packed, float* slot_scratch, int slots) {
  if (by_phases(a.s)) return convolve_phases(a, packed, slot_scratch, slots);
  if (!is_turned(a.s)) return spread_and_collect(a, packed, slot_scratch, slots);
  convolve({turned_shape(a.s), a.dy, a.bias, a.activation, a.alpha, a.relu_output, a.dx, a.accumulate, a.coming}, packed,
           slot_scratch, slots);
}

inline void input_gradient(const Spreading& a, float* scratch, int slots) {
  pack_gradient_filter(scratch, a.w, a.s);
  packed_input_gradient(a, scratch, scratch + gradient_filter_size(a.s), slots);
}

index_t conv2d_backward_input_scratch(const Conv2dBackwardInput& a) {
  return is_depthwise(a.s) ? depthwise_backward_input_scratch(a) : input_gradient_scratch(a.s, a.slots);
}

void conv2d_backward_input(const Conv2dBackwardInput& a) {
  if (is_depthwise(a.s)) return depthwise_backward_input(a);
  input_gradient({a.s, a.dy, a.w, a.relu_output, nullptr, Activation::linear, 0.0f, a.dx, a.accumulate, nullptr}, a.scratch,
                 a.slots);
}

bool conv2d_backward_input_possible(const Conv2dBackwardInput& a, index_t images, index_t) {
  return a.s.N == images && !is_depthwise(a.s);
}

bool conv2d_backward_input_fetches(const Conv2dBackwardInput& a) {
  return !by_phases(a.s) && is_turned(a.s) && by_rows(turned_shape(a.s));
}

void conv2d_backward_input_prepare(const Conv2dBackwardInput& a) { pack_gradient_filter(a.scratch, a.w, a.s); }

void conv2d_backward_input_images(const Conv2dBackwardInput& a, const ImageRange& range) {
  const Conv2dShape s = some_images(a.s, range), turned = turned_shape(s);
  const index_t dx = range.begin * s.H * s.W * s.C;
  ComingAhead coming(range, all_fetches(turned, packs_turned(s) && !by_phases(s) ? piece_filter(a.scratch, turned) : nullptr));
  packed_input_gradient({s, a.dy + range.begin * s.P * s.Q * s.K, a.w, a.relu_output ? a.relu_output + dx : nullptr, nullptr,
                         Activation::linear, 0.0f, a.dx + dx, a.accumulate, coming.first()},
                        a.scratch, a.scratch + gradient_filter_size(a.s) + range.slot * gradient_slot(a.s), 1);
}

index_t conv2d_transpose_forward_scratch(const Conv2dTransposeForward& a) { return input_gradient_scratch(a.s, a.slots); }

void conv2d_transpose_forward(const Conv2dTransposeForward& a) {
  input_gradient({a.s, a.x, a.w, nullptr, a.bias, a.activation, a.alpha, a.y, false, nullptr}, a.scratch, a.slots);
}

}  // namespace
