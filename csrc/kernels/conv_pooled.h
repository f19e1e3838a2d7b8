// conv_pooled.h - a convolution and the max pooling of its output as one, forward and backward.
//
// The output of a convolution is four times as large as what a pooling leaves of it, and so are their gradients: most often too
// large for the caches. Here a block of output rows is computed, pooled while the first-level caches hold it, and forgotten; in the
// filter's gradient a block of rows is made from the gradients at the windows where it is used, or none (conv_windows.h). Rows and
// columns that are in no window are not computed at all. Where rows are so short that the convolution does not go row by row, the
// output is made whole.
#pragma once

#include "conv_filter.h"
#include "conv_input.h"
#include "conv_spread.h"
#include "pool_backward.h"

namespace {

using fastnn::MaxPooledConv2dBackwardInput;
using fastnn::MaxPooledConv2dForward;

constexpr index_t kPooledFloats = 6144;      // of a block of output rows, about: 24 kB
constexpr index_t kBehindRows = 2 * kLanes;  // values behind a block of rows that vectors may reach into

inline index_t output_size(const Conv2dShape& s) { return round_up(s.N * s.P * s.Q * s.K, kLineFloats); }

// The pooling of `images` images of `rows` output rows.
inline Pool2dShape pool_of(const MaxPooledConv2dShape& a, index_t images, index_t rows) {
  return {images, rows, a.s.Q, a.s.K, a.rows, a.columns, rows / a.rows, a.s.Q / a.columns, a.rows, a.columns, 0, 0};
}

inline bool pools_blocks(const Conv2dShape& s) { return by_rows(s) && !is_depthwise(s); }

// Output rows of a block: whole windows.
inline index_t pooled_block_rows(const MaxPooledConv2dShape& a) {
  const index_t rows = min_of(block_rows(a.s), kPooledFloats / max_of(a.s.Q * a.s.K, 1));
  return max_of(rows / a.rows, 1) * a.rows;
}

inline index_t pooled_block_size(const MaxPooledConv2dShape& a) {
  return round_up(pooled_block_rows(a) * a.s.Q * a.s.K + kBehindRows, kLineFloats);
}

inline index_t pooled_block_scratch(const MaxPooledConv2dShape& a) { return block_scratch(a.s, pooled_block_rows(a)); }

inline Conv2dForward unpooled(const MaxPooledConv2dForward& a, float* y, float* scratch) {
  return {a.shape.s, a.x, a.w, a.bias, y, a.activation, a.alpha, scratch, a.slots};
}

index_t max_pooled_conv2d_forward_scratch(const MaxPooledConv2dForward& a) {
  const Conv2dShape& s = a.shape.s;
  if (!pools_blocks(s)) return output_size(s) + conv2d_forward_scratch(unpooled(a, nullptr, nullptr));
  return packed_filter_size(s) + a.slots * (pooled_block_scratch(a.shape) + pooled_block_size(a.shape));
}

// The windows of `rows` output rows at out, whose results begin at y[first]; y ends at y[end] for this thread. Vectors may reach
// into the row behind them.
inline void pool_block(const MaxPooledConv2dForward& a, const float* out, index_t rows, index_t first, index_t end) {
  const Pool2dShape pool = pool_of(a.shape, 1, rows), reach = pool_of(a.shape, 1, rows + 1);
  const MaxWindow<std::uint8_t> op = {out, a.y + first, a.index + first};
  const JoinedWindows joined(pool.C);
  const PoolSpan complete = complete_columns(pool);
  with_lanes(pool.C, [&]<int L, bool One>() {
    for (index_t p = 0; p < pool.P; ++p) pool_forward_row<L, One>(reach, op, joined, complete, 0, p, end - first);
  });
}

void max_pooled_conv2d_forward(const MaxPooledConv2dForward& a) {
  const Conv2dShape& s = a.shape.s;
  if (!pools_blocks(s)) {
    conv2d_forward(unpooled(a, a.scratch, a.scratch + output_size(s)));
    return max_pool2d_forward({pool_of(a.shape, s.N, s.P), a.scratch, a.y, a.index, nullptr});
  }
  pack_filter(a.scratch, a.w, s);
  const index_t rows = pooled_block_rows(a.shape), blocks = ceil_div(s.P, rows), row = s.Q * s.K;
  const index_t block_floats = pooled_block_scratch(a.shape), slot_floats = block_floats + pooled_block_size(a.shape);
  const auto y_of = [&](index_t item) {  // where the results of a block begin
    return (item / blocks * s.P + item % blocks * rows) * row / (a.shape.rows * a.shape.columns);
  };
  const Convolution conv = {s, a.x, a.bias, a.activation, a.alpha, nullptr, nullptr, false, nullptr};
  float* slots = a.scratch + packed_filter_size(s);
  const PieceFilter* pieces = piece_filter(a.scratch, s);
  parallel_for(s.N * blocks, rows * s.Q * flops_per_pixel(s) / kFlopsPerCycle, a.slots, [&](index_t begin, index_t end, int slot) {
    float *const scratch = slots + slot * slot_floats, *const out = scratch + block_floats;
    const Blocks some = {conv, a.scratch, pieces, rows, end, scratch};
    const auto pool = [&](index_t block) { pool_block(a, out, some.stop(block) - some.begin(block), y_of(block), y_of(end)); };
    some.convolve(begin, [&](index_t) { return out; }, pool);
  });
}

// Rows of the gradients at the outputs of the convolution.
class OutputGradients {
 public:
  OutputGradients(const MaxPooledConv2dShape& a, const MaxPooledGradient& g)
      : pool_(pool_of(a, a.s.N, a.s.P)), gradient_(g), columns_(pool_) {}

  // Rows [p0, p1) of image n, and kBehindRows values behind them.
  void write(index_t n, index_t p0, index_t p1, float* rows) const {
    with_lanes(pool_.C, [&]<int L, bool One>() {
      gradient_.relu_y
          ? write_rows<L, One>(MaxGradient<std::uint8_t, true>{gradient_.dy, gradient_.index, gradient_.relu_y}, n, p0, p1, rows)
          : write_rows<L, One>(MaxGradient<std::uint8_t, false>{gradient_.dy, gradient_.index, nullptr}, n, p0, p1, rows);
    });
  }

  MaxPool2dBackward whole(float* dx) const { return {pool_, gradient_.dy, gradient_.index, nullptr, gradient_.relu_y, dx}; }

 private:
  template <int L, bool One, class Op>
  void write_rows(const Op& op, index_t n, index_t p0, index_t p1, float* rows) const {
    const Pool2dShape& s = pool_;
    const index_t image = s.P * s.Q * s.C, row = s.W * s.C, end = (p1 - p0) * row + kBehindRows;
    for (index_t h = p0; h < p1; ++h) {
      const WindowsOver over = windows_over(h, s.stride_h, 0, s.R, s.H, s.P);
      gather_row<L, One>(GradientRow{s, over, n * image, s.N * image, (h - p0) * row, end, h}, op, columns_, rows);
    }
  }

  Pool2dShape pool_;
  MaxPooledGradient gradient_;
  GradientColumns columns_;
};

inline Conv2dBackwardInput unpooled(const MaxPooledConv2dBackwardInput& a, const float* dy, float* scratch) {
  return {a.shape.s, dy, a.w, a.relu_output, a.dx, false, scratch, a.slots};
}

index_t max_pooled_conv2d_backward_input_scratch(const MaxPooledConv2dBackwardInput& a) {
  if (spreads_windows(a.shape)) return spread_scratch(a);
  return output_size(a.shape.s) + conv2d_backward_input_scratch(unpooled(a, nullptr, nullptr));
}

void max_pooled_conv2d_backward_input(const MaxPooledConv2dBackwardInput& a) {
  if (spreads_windows(a.shape)) return input_gradient_by_windows(a);
  max_pool2d_backward(OutputGradients(a.shape, a.gradient).whole(a.scratch));
  conv2d_backward_input(unpooled(a, a.scratch, a.scratch + output_size(a.shape.s)));
}

// Output rows of a block: their gradients stay in the second-level cache. Tiles take pairs of rows.
inline index_t gradient_block_rows(const Conv2dShape& s) {
  const index_t floats = min_of(filter_block_floats(s), kFilterGradientFloats);
  const index_t rows = max_of(min_of(block_rows(s, floats), 4 * kPooledFloats / max_of(s.Q * s.K, 1)), 1);
  return by_winograd(s) ? round_up(rows, 2) : rows;
}

inline index_t gradient_block_size(const Conv2dShape& s) {
  return round_up(gradient_block_rows(s) * s.Q * s.K + kBehindRows, kLineFloats);
}

inline Conv2dBackwardFilter unpooled(const MaxPooledConv2dBackwardFilter& a, const float* dy, float* scratch) {
  return {a.shape.s, a.x, dy, a.dw, a.dbias, scratch, a.slots};
}

index_t max_pooled_conv2d_backward_filter_scratch(const MaxPooledConv2dBackwardFilter& a) {
  if (by_windows(a.shape)) return windows_scratch(a);
  const Conv2dShape& s = a.shape.s;
  const index_t rest = conv2d_backward_filter_scratch(unpooled(a, nullptr, nullptr));
  return (is_depthwise(s) ? output_size(s) : a.slots * gradient_block_size(s)) + rest;
}

void max_pooled_conv2d_backward_filter(const MaxPooledConv2dBackwardFilter& a) {
  if (by_windows(a.shape)) return filter_gradient_by_windows(a);
  const Conv2dShape& s = a.shape.s;
  const OutputGradients gradients(a.shape, a.gradient);
  if (is_depthwise(s)) {
    max_pool2d_backward(gradients.whole(a.scratch));
    return conv2d_backward_filter(unpooled(a, a.scratch, a.scratch + output_size(s)));
  }
  const index_t size = gradient_block_size(s);
  const auto dy_of = [&](index_t n, index_t p0, index_t p1, int slot) {
    float* rows = a.scratch + slot * size;
    gradients.write(n, p0, p1, rows);
    return rows - p0 * s.Q * s.K;
  };
  filter_gradient(unpooled(a, nullptr, a.scratch + a.slots * size), gradient_block_rows(s), dy_of);
}

}  // namespace
