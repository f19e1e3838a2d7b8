// log_softmax.h - the logarithm of softmax rows, forward and backward.
#pragma once

#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::LogSoftmaxBackward;
using fastnn::LogSoftmaxForward;

inline void log_softmax_rows(const float* x, float* y, index_t rows, index_t cols) {
  const ExpRows e(x, nullptr, rows, cols);
  for (index_t i = 0; i < rows; ++i) {
    const float top = e.top[i], log_sum = log_f(e.sum[i]);
    FASTNN_SIMD
    for (index_t j = i * cols; j < (i + 1) * cols; ++j) y[j] = (x[j] - top) - log_sum;
  }
}

inline void log_softmax_row_backward(const float* dy, const float* y, float* dx, index_t cols) {
  Chunk sum = {};
  for (index_t j = 0; j < cols; j += kChunk) {
    const Chunk d = load_chunk(dy + j, cols - j, 0.0f);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] += d.v[i];
  }
  const float all = total(sum);
  for (index_t j = 0; j < cols; j += kChunk) {
    Chunk d = load_chunk(dy + j, cols - j, 0.0f);
    const Chunk log_p = load_chunk(y + j, cols - j, 0.0f);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) d.v[i] = mul_add(-exp_f(log_p.v[i]), all, d.v[i]);
    store_chunk(dx + j, d, cols - j);
  }
}

void log_softmax_forward(const LogSoftmaxForward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 2.0), [&a](index_t begin, index_t end) {
    for_rows_together(begin, end, a.cols,
                      [&a](index_t i, index_t count) { log_softmax_rows(a.x + i * a.cols, a.y + i * a.cols, count, a.cols); });
  });
}

void log_softmax_backward(const LogSoftmaxBackward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 2.0), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      log_softmax_row_backward(a.dy + i * a.cols, a.y + i * a.cols, a.dx + i * a.cols, a.cols);
    }
  });
}

}  // namespace
