// noise.h - random noise of layers besides plain dropout: decisions that several elements share, normal numbers.
#pragma once

#include "folded_rows.h"
#include "math.h"
#include "random.h"
#include "simd.h"

namespace {

using fastnn::ApplyKeep;
using fastnn::GaussianBackward;
using fastnn::GaussianForward;
using fastnn::RandomKeep;

void random_keep(const RandomKeep& a) {
  const std::uint64_t step = a.counter[0];
  const PhiloxStream stream = {a.seed, a.stream, static_cast<std::uint32_t>(step)};
  const std::int32_t threshold = static_cast<std::int32_t>(a.rate * 65536.0f + 0.5f);
  parallel_for(ceil_div(a.n, kNumbers), 2.0 * kNumbers, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(stream, static_cast<std::uint64_t>(i) * kBlocks);
      float* keep = a.keep + i * kNumbers;
      const int count = static_cast<int>(min_of(kNumbers, a.n - i * kNumbers));
      FASTNN_SIMD
      for (int j = 0; j < count; ++j) keep[j] = select(numbers[j] >= threshold, 1.0f, 0.0f);
    }
  });
  a.counter[0] = step + 1;
}

// y = scale x + shift where kept, fill elsewhere, over n elements with a decision each, or one for all of them.
template <bool Shared>
FASTNN_INLINE void keep_row(const ApplyKeep& a, const float* __restrict keep, const float* __restrict x, float* __restrict y,
                            index_t n) {
  const float scale = a.scale, shift = a.shift, fill = a.fill;
  FASTNN_SIMD
  for (index_t j = 0; j < n; ++j) y[j] = select(keep[Shared ? 0 : j] != 0.0f, mul_add(x[j], scale, shift), fill);
}

// A decision is about `repeat` neighbors.
inline void apply_to_runs(const ApplyKeep& a) {
  parallel_for(a.outer, 10.0 + static_cast<double>(a.repeat), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) keep_row<true>(a, a.keep + i, a.x + i * a.repeat, a.y + i * a.repeat, a.repeat);
  });
}

// Decisions about `inner` columns of `repeat` rows.
inline void apply_to_columns(const ApplyKeep& a) {
  const FoldedRows view = folded_sample(a.repeat, a.inner, kApplyFold);
  parallel_for(a.outer * view.rows, 10.0 + static_cast<double>(view.width), [&a, &view](index_t begin, index_t end) {
    for (index_t i = begin; i < end;) {
      const index_t outer = i / view.rows, first = i % view.rows, stop = min_of(view.rows, first + end - i);
      const float *keep = a.keep + outer * a.inner, *x = a.x + outer * a.repeat * a.inner;
      float* y = a.y + outer * a.repeat * a.inner;
      apply_to_rows<1>(
          view, a.inner, first, stop, [keep](index_t c) { return Coefficients<1>{keep[c]}; },
          [&a, x, y](index_t at, index_t n, const float(*table)[kApplyColumns]) {
            keep_row<false>(a, table[0], x + at, y + at, n);
          });
      i += stop - first;
    }
  });
}

void apply_keep(const ApplyKeep& a) {
  if (a.outer == 0 || a.repeat == 0 || a.inner == 0) return;
  if (a.repeat == 1) {
    return parallel_elements(a.outer * a.inner, 1.0, [&a](index_t begin, index_t end) {
      keep_row<false>(a, a.keep + begin, a.x + begin, a.y + begin, end - begin);
    });
  }
  a.inner == 1 ? apply_to_runs(a) : apply_to_columns(a);
}

// The number that a standard normal variable exceeds with probability p = (bits + 1/2) 2^-32, 31 bits: rational approximations near
// the middle and in the tail (Wichura, "Algorithm AS 241", 1988, in its form for 7 digits), computed both, as there are no jumps.
FASTNN_INLINE float normal_above(std::int32_t bits) {
  const float p = (static_cast<float>(bits) + 0.5f) * 0x1p-32f;
  const float q = (static_cast<float>(0x7fffffff - bits) + 0.5f) * 0x1p-32f;  // 1/2 - p
  const float r = mul_add(-q, q, 0.180625f);
  const float above = mul_add(mul_add(mul_add(59.109374720f, r, 159.29113202f), r, 50.434271938f), r, 3.3871327179f);
  const float below = mul_add(mul_add(mul_add(67.187563600f, r, 78.757757664f), r, 17.895169469f), r, 1.0f);
  const float t = __builtin_sqrtf(-log_f(p)) - 1.6f;
  const float tail_above = mul_add(mul_add(mul_add(0.17023821103f, t, 1.3067284816f), t, 2.7568153900f), t, 1.4234372777f);
  const float tail_below = mul_add(mul_add(0.12021132975f, t, 0.73700164250f), t, 1.0f);
  return select(q <= 0.425f, q * (above / below), tail_above / tail_below);
}

FASTNN_INLINE float normal_of(std::uint32_t word) {
  const float z = normal_above(static_cast<std::int32_t>(word & 0x7fffffffu));
  return select(static_cast<std::int32_t>(word) < 0, -z, z);
}

constexpr int kWords = kNumbers / 2;  // of 32 bits: a normal number each

// y = x + stddev z, or x (1 + stddev z).
template <bool Multiply>
FASTNN_INLINE void add_normals(const Numbers& numbers, float stddev, const float* x, float* y, int n) {
  FASTNN_SIMD
  for (int i = 0; i < n; ++i) {
    const float z = normal_of(numbers.words[i]);
    y[i] = Multiply ? x[i] * mul_add(stddev, z, 1.0f) : mul_add(stddev, z, x[i]);
  }
}

template <bool Multiply>
void gaussian(const PhiloxStream& stream, float stddev, const float* x, float* y, index_t n) {
  parallel_for(ceil_div(n, kWords), 12.0 * kWords, [=, &stream](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(stream, static_cast<std::uint64_t>(i) * kBlocks);
      const index_t at = i * kWords;
      add_normals<Multiply>(numbers, stddev, x + at, y + at, static_cast<int>(min_of(kWords, n - at)));
    }
  });
}

void gaussian_forward(const GaussianForward& a) {
  const std::uint64_t step = a.counter[0];
  const PhiloxStream stream = {a.seed, a.stream, static_cast<std::uint32_t>(step)};
  a.multiply ? gaussian<true>(stream, a.stddev, a.x, a.y, a.n) : gaussian<false>(stream, a.stddev, a.x, a.y, a.n);
  a.used[0] = step;
  a.counter[0] = step + 1;
}

void gaussian_backward(const GaussianBackward& a) {
  gaussian<true>({a.seed, a.stream, static_cast<std::uint32_t>(a.used[0])}, a.stddev, a.dy, a.dx, a.n);
}

}  // namespace
