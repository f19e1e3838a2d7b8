// rectifier.h - rectifiers with more than one number: clipped, with learned slopes, with random slopes.
#pragma once

#include "activation.h"
#include "column_sums.h"
#include "math.h"
#include "random.h"
#include "simd.h"

namespace {

using fastnn::ClippedReluBackward;
using fastnn::ClippedReluForward;
using fastnn::PreluBackward;
using fastnn::PreluForward;
using fastnn::RandomReluBackward;
using fastnn::RandomReluForward;

struct ClippedRelu {
  float slope, max_value, threshold;
  FASTNN_INLINE float operator()(float x) const {
    const float above = select(x > max_value, max_value, x), below = slope * (x - threshold);
    return select(x > threshold, above, select(slope == 0.0f, select(x <= threshold, 0.0f, x), below));
  }
  FASTNN_INLINE float operator()(float dy, float x) const {
    const float above = select(x >= max_value, 0.0f, 1.0f);
    return dy * select(x > threshold, above, slope);
  }
};

void clipped_relu_forward(const ClippedReluForward& a) {
  const ClippedRelu f{a.slope, a.max_value, a.threshold};
  parallel_elements(a.n, 1.0, [&a, f](index_t begin, index_t end) { map(end - begin, f, a.y + begin, a.x + begin); });
}

void clipped_relu_backward(const ClippedReluBackward& a) {
  const ClippedRelu f{a.slope, a.max_value, a.threshold};
  parallel_elements(a.n, 1.0,
                    [&a, f](index_t begin, index_t end) { map(end - begin, f, a.dx + begin, a.dy + begin, a.x + begin); });
}

void prelu_forward(const PreluForward& a) {
  parallel_for(a.rows, 10.0 + static_cast<double>(a.cols), [&a](index_t begin, index_t end) {
    for (index_t i = begin * a.cols; i < end * a.cols; i += a.cols) {
      FASTNN_SIMD
      for (index_t j = 0; j < a.cols; ++j) a.y[i + j] = select(a.x[i + j] > 0.0f, a.x[i + j], a.alpha[j] * a.x[i + j]);
    }
  });
}

index_t prelu_backward_scratch(const PreluBackward& a) {
  return a.dalpha ? round_up(a.rows * a.cols, kLineFloats) + sum_scratch(a.rows, a.cols) : 0;
}

// dx of whole rows from element `first` on, and what each adds to dalpha; terms: or null.
inline void prelu_rows_backward(const PreluBackward& a, index_t first, index_t n, float* terms) {
  for (index_t i = first; i < first + n; i += a.cols) {
    FASTNN_SIMD
    for (index_t j = 0; j < a.cols; ++j) a.dx[i + j] = a.dy[i + j] * select(a.x[i + j] > 0.0f, 1.0f, a.alpha[j]);
    if (!terms) continue;
    FASTNN_SIMD
    for (index_t j = 0; j < a.cols; ++j) terms[i + j] = select(a.x[i + j] > 0.0f, 0.0f, a.dy[i + j] * a.x[i + j]);
  }
}

void prelu_backward(const PreluBackward& a) {
  if (!a.dalpha) {
    return parallel_for(a.rows, 10.0 + static_cast<double>(a.cols), [&a](index_t begin, index_t end) {
      prelu_rows_backward(a, begin * a.cols, (end - begin) * a.cols, nullptr);
    });
  }
  constexpr index_t kBlock = 2048;  // stays in the L1 cache until it is added up
  float* sums = a.scratch + round_up(a.rows * a.cols, kLineFloats);
  sum_columns(a.rows, a.cols, 1.5, kBlock, sums, a.dalpha, [&a](index_t first, index_t n) {
    prelu_rows_backward(a, first, n, a.scratch);
    return a.scratch + first;
  });
}

// f(slope, i) for every element i of a pass, with the slope that this element has where it is negative.
template <class F>
inline void with_random_slopes(const PhiloxStream& s, float lower, float upper, index_t n, const F& f) {
  const float step = (upper - lower) * 0x1p-16f, low = mul_add(0.5f, step, lower);
  parallel_for(ceil_div(n, kNumbers), 2.0 * kNumbers, [=, &s, &f](index_t begin, index_t end) {
    for (index_t block = begin; block < end; ++block) {
      const Numbers numbers(s, static_cast<std::uint64_t>(block) * kBlocks);
      const index_t at = block * kNumbers;
      const int count = static_cast<int>(min_of(kNumbers, n - at));
      FASTNN_SIMD
      for (int i = 0; i < count; ++i) f(mul_add(static_cast<float>(numbers[i]), step, low), at + i);
    }
  });
}

// The step is advanced after the parallel part, by the calling thread alone.
void random_relu_forward(const RandomReluForward& a) {
  const std::uint64_t step = a.counter[0];
  const PhiloxStream stream{a.seed, a.stream, static_cast<std::uint32_t>(step)};
  const float* x = a.x;
  float* y = a.y;
  with_random_slopes(stream, a.lower, a.upper, a.n,
                     [x, y](float slope, index_t i) { y[i] = select(x[i] > 0.0f, x[i], slope * x[i]); });
  a.used[0] = step;
  a.counter[0] = step + 1;
}

void random_relu_backward(const RandomReluBackward& a) {
  const PhiloxStream stream{a.seed, a.stream, static_cast<std::uint32_t>(a.used[0])};
  const float *dy = a.dy, *x = a.x;
  float* dx = a.dx;
  with_random_slopes(stream, a.lower, a.upper, a.n,
                     [dy, x, dx](float slope, index_t i) { dx[i] = dy[i] * select(x[i] > 0.0f, 1.0f, slope); });
}

}  // namespace
