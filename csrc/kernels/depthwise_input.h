// depthwise_input.h - input gradient of a depthwise convolution: a sum of convolutions of dy of stride 1, one for every place of a
// row and of a column between two strides: the taps that lead there, the last one first.
#pragma once

#include "depthwise.h"

namespace {

using fastnn::Conv2dBackwardInput;

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
  d.pack = (s.stride_w == 1 || d.sums > 1) && !in_place(s) ? pack_of(s.K) : 1;
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

constexpr index_t kGradientParts = 16;

// Are all parts computed together, row by row, so that a row of dy is read for all of them?
inline bool parts_in_place(const Conv2dShape& s) { return in_place(s) && s.stride_h * s.stride_w <= kGradientParts; }

inline index_t depthwise_backward_input_scratch(const Conv2dBackwardInput& a) {
  index_t size = 0;
  for_each_part(a.s, [&](const Depthwise& d, index_t, const auto&, const auto&) { size = max_of(size, depthwise_slot(d)); });
  return depthwise_weights(a.s) + (parts_in_place(a.s) ? 0 : a.slots * size);
}

// Rows of packed weights for the taps of a part, in their order.
inline void pack_part(float* to, const float* w, const Depthwise& d, const JoinedTaps& rows, const JoinedTaps& columns, index_t S) {
  const index_t K = d.s.K;
  for (index_t i = 0; i < rows.count; ++i) {
    for (index_t j = 0; j < columns.count; ++j, to += packed_channels(K, d.pack)) {
      const index_t tap = (rows.last - i * rows.step) * S + columns.last - j * columns.step;
      pack_channels(to, w + tap * K, K, d.pack);
    }
  }
}

inline void depthwise_backward_input(const Conv2dBackwardInput& a) {
  const Conv2dShape& s = a.s;
  index_t reached = 0;  // pixels of an image
  for_each_part(s, [&](const Depthwise& d, index_t, const auto&, const auto&) { reached += d.s.P * d.s.Q; });
  if (reached < s.H * s.W) {
    parallel_elements(s.N * s.H * s.W * s.C, 0.2,
                      [&](index_t begin, index_t end) { copy_or_zero(a.dx + begin, nullptr, end - begin); });
  }
  const bool together = parts_in_place(s);
  Depthwise parts[kGradientParts];
  index_t count = 0;
  float* weights = a.scratch;
  for_each_part(s, [&](Depthwise d, index_t first, const JoinedTaps& rows, const JoinedTaps& columns) {
    pack_part(weights, a.w, d, rows, columns, s.S);
    d.x = a.dy, d.w = weights, d.y = a.dx + first;
    d.relu_output = a.relu_output ? a.relu_output + first : nullptr;
    if (together) {
      parts[count++] = d;
      weights += rows.count * columns.count * packed_channels(s.K, d.pack);
    } else {
      convolve_depthwise(d, a.scratch + depthwise_weights(s), a.slots);
    }
  });
  if (count > 0) rows_in_place(parts, count);
}

}  // namespace
