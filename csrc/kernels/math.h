// math.h - exp, log, tanh, sigmoid, erf and their kin on floats, and the loop that applies a function to an array.
//
// Every function is branch-free, so that a FASTNN_SIMD loop over it becomes vector code on every instruction set; the
// same operations in the same order give the same bits wherever there is a fused multiply-add. Errors are below 3 units
// in the last place (the worst of all 2^32 inputs stands above each function), a NaN comes out as a NaN, and what is
// too small for a normal float may come out as 0. The polynomials are minimax fits made for this file (weighted least
// squares on Chebyshev nodes).
#pragma once

#include "simd.h"

// A loop becomes vector code only if what it calls is part of it; that is not left to the compiler's limits on size.
#define FASTNN_INLINE inline __attribute__((always_inline))

namespace {

constexpr float kInfinity = __builtin_inff();
constexpr float kSmallestNormal = 0x1p-126f;

FASTNN_INLINE std::uint32_t bits_of(float x) { return __builtin_bit_cast(std::uint32_t, x); }
FASTNN_INLINE std::int32_t signed_bits(float x) { return __builtin_bit_cast(std::int32_t, x); }
FASTNN_INLINE float float_of(std::uint32_t bits) { return __builtin_bit_cast(float, bits); }

// condition ? a : b without a jump, whatever the compiler thinks of the code around it.
FASTNN_INLINE float select(bool condition, float a, float b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return float_of((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

// a b + c: rounded once where the instruction exists. Spelled out, so that the compiler has no choice of what to fuse.
FASTNN_INLINE float mul_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

constexpr float kLog2e = 0x1.715476p+0f;
constexpr float kLn2High = 0x1.62e4p-1f;  // so few bits that n * kLn2High is exact
constexpr float kLn2Low = 0x1.7f7d1cp-20f;
constexpr float kRound = 0x1.8p+23f;  // adding it rounds to an integer, which then stands in the low bits

FASTNN_INLINE std::int32_t smaller(std::int32_t a, std::int32_t b) { return a < b ? a : b; }

// x = n ln 2 + r with |r| <= ln(2) / 2; `shifted` has n + bias in its low bits, fraction is exp(r) - 1. n stops at 128;
// beyond, r and the fraction grow up to infinity.
struct ExpParts {
  std::uint32_t shifted;
  float fraction;
};

FASTNN_INLINE ExpParts exp_parts(float x, float bias) {
  const float zero = kRound + bias;
  const std::int32_t shifted = smaller(signed_bits(zero + 128.0f), signed_bits(mul_add(x, kLog2e, zero)));
  const float n = float_of(static_cast<std::uint32_t>(shifted)) - zero;
  const float r = mul_add(n, -kLn2Low, mul_add(n, -kLn2High, x)), r2 = r * r;
  const float low = mul_add(0x1.5554bp-3f, r, 0x1.fffffep-2f), high = mul_add(0x1.1227bp-7f, r, 0x1.555674p-5f);
  const float p = mul_add(mul_add(0x1.6bebf4p-10f, r2, high), r2, low);
  return {static_cast<std::uint32_t>(shifted), mul_add(r2, p, r)};
}

// Worst error 1.1 ulp. 2^n is applied in two halves, because n goes from -150 to 128.
FASTNN_INLINE float exp_f(float x) {
  const ExpParts e = exp_parts(x, 254.0f);
  const std::uint32_t half = e.shifted >> 1;
  const float scale = float_of(half << 23);
  const float y = mul_add(e.fraction, scale, scale) * float_of((e.shifted - half) << 23);
  return select(x < -104.0f, 0.0f, y);
}

// exp(x) - 1 for x > -80, accurate near 0 too; scaled by 2^(n-1) and then doubled, because n goes up to 128.
FASTNN_INLINE float expm1_bounded(float x) {
  const ExpParts e = exp_parts(x, 126.0f);
  const float scale = float_of(e.shifted << 23);
  return 2.0f * mul_add(e.fraction, scale, scale - 0.5f);
}

// Worst error 1.7 ulp.
FASTNN_INLINE float expm1_f(float x) {
  const float y = expm1_bounded(x);
  return select(x < -20.0f, -1.0f, y);
}

// c0 + c1 x + ... + c7 x^7 as pairs, pairs of pairs and so on: term after term each would wait for the one before.
FASTNN_INLINE float polynomial(float x, float x2, float c0, float c1, float c2, float c3, float c4, float c5, float c6, float c7) {
  const float low = mul_add(mul_add(c3, x, c2), x2, mul_add(c1, x, c0));
  const float high = mul_add(mul_add(c7, x, c6), x2, mul_add(c5, x, c4));
  return mul_add(high, x2 * x2, low);
}

// log(2^exponent (1 + f)) for sqrt(1/2) <= 1 + f <= sqrt(2).
FASTNN_INLINE float log_of_parts(float exponent, float f) {
  const float square = f * f;
  const float p = polynomial(f, square, 0x1.555554p-2f, -0x1.000226p-2f, 0x1.99a008p-3f, -0x1.547244p-3f, 0x1.22da1ap-3f,
                             -0x1.0d8548p-3f, 0x1.055b82p-3f, -0x1.38b59ep-4f);
  const float low = mul_add(exponent, kLn2Low, mul_add(square, -0.5f, square * f * p));
  return mul_add(exponent, kLn2High, f + low);
}

// x = 2^exponent m with sqrt(1/2) <= m < sqrt(2), for normal x > 0.
struct LogParts {
  std::int32_t exponent;
  float m;
};

FASTNN_INLINE LogParts log_parts(float x) {
  constexpr std::uint32_t kSqrtHalf = 0x3f3504f3;
  const std::uint32_t offset = bits_of(x) - kSqrtHalf;
  return {static_cast<std::int32_t>(offset) >> 23, float_of((offset & 0x7fffff) + kSqrtHalf)};
}

// Worst error 0.9 ulp. Denormal numbers count as 0.
FASTNN_INLINE float log_f(float x) {
  const LogParts parts = log_parts(x);
  float y = log_of_parts(static_cast<float>(parts.exponent), parts.m - 1.0f);
  y = select(x < kSmallestNormal, -kInfinity, y);
  y = select(x < 0.0f, __builtin_nanf(""), y);
  return select(x < kInfinity, y, x);
}

// log(1 + x) for x > -1, accurate near 0 too; worst error 1.5 ulp. What 1 + x rounds away is added to the fraction.
FASTNN_INLINE float log1p_f(float x) {
  const float u = 1.0f + x;
  const LogParts parts = log_parts(u);
  const float lost = x - (u - 1.0f);
  const float scale = float_of(0x3f800000u - (static_cast<std::uint32_t>(parts.exponent) << 23));
  const float f = mul_add(lost, select(u < 0x1p25f, scale, 0.0f), parts.m - 1.0f);
  const float y = log_of_parts(static_cast<float>(parts.exponent), f);
  return select(x < kInfinity, y, x);
}

// Worst error 2.5 ulp; relative accuracy is kept for x far below 0.
FASTNN_INLINE float sigmoid_f(float x) { return 1.0f / (1.0f + exp_f(-x)); }

// Worst error 2.7 ulp.
FASTNN_INLINE float tanh_f(float x) {
  const float a = __builtin_fabsf(x);
  const float e = expm1_bounded(2.0f * a);
  const float y = e / (2.0f + e);
  return __builtin_copysignf(select(a > 10.0f, 1.0f, y), x);
}

// Worst error 2.0 ulp. erf(a) = 1 - exp(-z), z = a + a p(a), with the polynomial p fitted on [0, 4].
FASTNN_INLINE float erf_f(float x) {
  const float a = __builtin_fabsf(x);
  const float square = a * a;
  const float rest = polynomial(a, square, 0x1.45f2fap-1f, 0x1.a4fa5ep-4f, -0x1.39cdc6p-6f, -0x1.506012p-13f, 0x1.b5005ap-10f,
                                -0x1.4bc9fcp-11f, 0x1.ed6c84p-14f, -0x1.3696dep-17f);
  const float p = mul_add(rest, a, 0x1.06eba8p-3f);
  const float y = -expm1_bounded(-mul_add(a, p, a));
  return __builtin_copysignf(select(a > 4.0f, 1.0f, y), x);
}

// One vector of y = f(x...), element by element.
template <class F, class... X>
FASTNN_INLINE void map_vector(const F& f, float* y, const X*... x) {
  FASTNN_SIMD
  for (int i = 0; i < kLanes; ++i) y[i] = f(x[i]...);
}

// The last few values of an array, padded with zeros to a whole vector. There is at least one: the compiler has to be
// told, or it makes a slow version for none.
struct Padded {
  float values[kLanes];
  FASTNN_INLINE Padded(const float* p, index_t count) {
    if (count < 1 || count > kLanes) __builtin_unreachable();
    store(values, load_partial(p, static_cast<int>(count)));
  }
};

// y[i] = f(x[i]...) for i < n; y may be one of the x. The rest that fills no vector is padded, so that an element sees
// the same instructions wherever it stands: its bits depend neither on n nor on where an array is cut.
template <class F, class... X>
FASTNN_INLINE void map(index_t n, const F& f, float* y, const X*... x) {
  index_t i = 0;
  for (; i + kLanes <= n; i += kLanes) map_vector(f, y + i, (x + i)...);
  if (i == n) return;
  float rest[kLanes];
  map_vector(f, rest, Padded(x + i, n - i).values...);
  store_partial(y + i, load(rest), static_cast<int>(n - i));
}

}  // namespace
