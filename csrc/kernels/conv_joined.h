// conv_joined.h - which pixels of dy are joined to which of dx by a filter, and the filter as input gradients read it.
#pragma once

#include "conv.h"

namespace {

// The input gradient dx, and what is done to it: f(dx + bias), or it is added to what is there, and a relu's slope.
struct Spreading {
  Conv2dShape s;
  const float* dy;
  const float* w;
  const float* relu_output;  // laid out like dx, or null
  const float* bias;         // C values, or null
  Activation activation;
  float alpha;
  float* dx;
  bool accumulate;
  Ahead* coming;  // as in a Convolution
};

// What one pixel of dy adds to dx in one row and group.
inline index_t spread(const Conv2dShape& s) { return s.S * (s.C / s.groups); }

// At distances `dilation` and `stride`: the taps of one place of dx are `step` apart, their places in dy `distance`.
struct Joint {
  index_t step, distance;

  Joint(index_t stride, index_t dilation) : step(stride), distance(dilation) {
    if (dilation == 1) return;  // most often: the divisions are for every row
    index_t common = dilation;  // greatest common divisor
    for (index_t rest = stride; rest > 0;) {
      const index_t next = common % rest;
      common = rest, rest = next;
    }
    step = stride / common, distance = dilation / common;
  }
};

// The rows of dy that are joined to row h of dx: filter row first + j step with row p - j down, j < count.
struct JoinedRows {
  index_t first, step, p, down, count;

  JoinedRows(const Conv2dShape& s, index_t h) : first(0), p(0), count(0) {
    const Joint joint(s.stride_h, s.dilation_h);
    step = joint.step, down = joint.distance;
    const index_t taps = min_of(step, s.R);
    while (first < taps && (h + s.pad_top - first * s.dilation_h) % s.stride_h != 0) ++first;
    if (first == taps) return;
    p = (h + s.pad_top - first * s.dilation_h) / s.stride_h;
    while (first < s.R && p >= s.P) first += step, p -= down;
    for (index_t r = first, row = p; r < s.R && row >= 0; r += step, row -= down) ++count;
  }
};

// Joins pixels w, w + stride_w, w + 2 stride_w, ... of dx to pixels of dy: the first of them with taps tap + k step, k < count, at
// pixels q - k left of dy; q may lie outside of the row.
struct JoinedPixels {
  index_t tap, step, q, left, count;

  JoinedPixels(const Conv2dShape& s, index_t w) : tap(0), q(0), count(0) {
    const Joint joint(s.stride_w, s.dilation_w);
    step = joint.step, left = joint.distance;
    while (tap < min_of(step, s.S) && (w + s.pad_left - tap * s.dilation_w) % s.stride_w != 0) ++tap;
    if (tap == min_of(step, s.S)) return;
    q = (w + s.pad_left - tap * s.dilation_w) / s.stride_w, count = ceil_div(s.S - tap, step);
  }
};

// Pixels of zeros beside a row of values, so that every pixel of dx collects from as many pixels of dy.
struct Margins {
  index_t left, right;

  explicit Margins(const Conv2dShape& s) : left(0), right(0) {
    for (index_t start = 0; start < min_of(s.stride_w, s.W); ++start) {
      const JoinedPixels joined(s, start);
      if (joined.count == 0) continue;
      left = max_of(left, (joined.count - 1) * joined.left - joined.q);
      right = max_of(right, joined.q + (s.W - 1 - start) / s.stride_w - (s.Q - 1));
    }
  }
};

// A part of dx that no pixel of dy is joined to.
inline void finish_unjoined(const Spreading& a, float* dx, index_t count) {
  if (!a.accumulate) return copy_or_zero(dx, nullptr, count);
  if (a.relu_output) apply_relu_slope(dx, a.relu_output + (dx - a.dx), count);
}

// Bias and activation of a row of dx.
inline void activate_pixels(const Spreading& a, float* row) {
  if (a.bias == nullptr && a.activation == Activation::linear) return;
  for (index_t w = 0; w < a.s.W; ++w) activate_row(row + w * a.s.C, a.s.C, a.bias, a.activation, a.alpha);
}

// What dx is made by as a convolution of dy at stride 1, with the filter turned around.
inline Conv2dShape turned_shape(const Conv2dShape& s) {
  Conv2dShape t = s;
  t.H = s.P, t.W = s.Q, t.C = s.K, t.P = s.H, t.Q = s.W, t.K = s.C;
  t.pad_top = (s.R - 1) * s.dilation_h - s.pad_top, t.pad_left = (s.S - 1) * s.dilation_w - s.pad_left;
  return t;
}

// w^T by group, panel of channels and tap, the last tap first.
inline void pack_turned_filter(float* to, const float* w, const Conv2dShape& s) {
  const index_t outputs = s.K / s.groups, channels = s.C / s.groups;
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t j = 0; j < channels; j += kPanel) {
      for (index_t tap = s.R * s.S - 1; tap >= 0; --tap, to += outputs * kPanel) {
        pack_panel(to, w + (tap * channels + j) * s.K + group * outputs, 1, s.K, outputs, min_of(kPanel, channels - j));
      }
    }
  }
}

// Twice the vectors that so many values fill on the widest instruction set: bits must not depend on the set.
inline index_t half_vectors(index_t values) { return ceil_div(values, 8); }

}  // namespace
