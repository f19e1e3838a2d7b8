// activation_kinds.h - the functions that activations apply, and their slopes.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

// Each functor has value(x), the factor of the backward pass, slope(y) or slope(x) as kSlopeOfOutput says, and kCycles,
// the estimated cost of one value. Relu has gradient(dy, y) instead: behind a unit that is off there is nothing, whatever dy is.
struct Linear {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const { return x; }
  FASTNN_INLINE float slope(float) const { return 1.0f; }
};

struct Relu {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const { return x < 0.0f ? 0.0f : x; }
  FASTNN_INLINE float gradient(float dy, float y) const { return select(y > 0.0f, dy, 0.0f); }
};

struct LeakyRelu {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  float alpha;
  FASTNN_INLINE float value(float x) const { return x > 0.0f ? x : alpha * x; }
  FASTNN_INLINE float slope(float y) const { return y > 0.0f ? 1.0f : alpha; }
};

struct Elu {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 1.5;
  float alpha;
  FASTNN_INLINE float value(float x) const { return select(x > 0.0f, x, alpha * expm1_f(x)); }
  FASTNN_INLINE float slope(float y) const { return y > 0.0f ? 1.0f : y + alpha; }
};

struct Selu {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 1.5;
  static constexpr float kScale = 0x1.0cfabep+0f, kScaleAlpha = 0x1.c212ccp+0f;
  FASTNN_INLINE float value(float x) const { return select(x > 0.0f, kScale * x, kScaleAlpha * expm1_f(x)); }
  FASTNN_INLINE float slope(float y) const { return y > 0.0f ? kScale : y + kScaleAlpha; }
};

struct Celu {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 2.0;
  float alpha;
  FASTNN_INLINE float value(float x) const { return select(x > 0.0f, x, alpha * expm1_f(x / alpha)); }
  FASTNN_INLINE float slope(float y) const { return y > 0.0f ? 1.0f : y / alpha + 1.0f; }
};

struct Exponential {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 1.0;
  FASTNN_INLINE float value(float x) const { return exp_f(x); }
  FASTNN_INLINE float slope(float y) const { return y; }
};

// Between two constants a line.
struct Ramp {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  float factor, shift, top = 1.0f, bottom = 0.0f;
  FASTNN_INLINE float value(float x) const {
    const float y = (x + shift) * factor;
    return y < bottom ? bottom : y > top ? top : y;
  }
  FASTNN_INLINE float slope(float y) const { return select((y > bottom) & (y < top), factor, 0.0f); }
};

struct Relu6 {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const { return x < 0.0f ? 0.0f : x > 6.0f ? 6.0f : x; }
  FASTNN_INLINE float slope(float y) const { return select((y > 0.0f) & (y < 6.0f), 1.0f, 0.0f); }
};

struct Step {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const { return x > 0.0f ? 1.0f : x <= 0.0f ? 0.0f : x; }
  FASTNN_INLINE float slope(float) const { return 0.0f; }
};

struct Sign {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x; }
  FASTNN_INLINE float slope(float) const { return 0.0f; }
};

struct Sigmoid {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 1.5;
  FASTNN_INLINE float value(float x) const { return sigmoid_f(x); }
  FASTNN_INLINE float slope(float y) const { return y * (1.0f - y); }
};

struct Tanh {
  static constexpr bool kSlopeOfOutput = true;
  static constexpr double kCycles = 1.5;
  FASTNN_INLINE float value(float x) const { return tanh_f(x); }
  FASTNN_INLINE float slope(float y) const { return mul_add(-y, y, 1.0f); }
};

struct Softplus {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 3.0;
  FASTNN_INLINE float value(float x) const {
    const float above = x > 0.0f ? x : 0.0f;
    return above + log1p_f(exp_f(-__builtin_fabsf(x)));
  }
  FASTNN_INLINE float slope(float x) const { return sigmoid_f(x); }
};

// x, or 0 where |x| is so large that what it is multiplied with has become 0: 0 times infinity must not arise.
FASTNN_INLINE float zero_far_out(float x) { return select(__builtin_fabsf(x) > 100.0f, 0.0f, x); }

struct Gelu {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 2.5;
  static FASTNN_INLINE float cdf(float x) { return mul_add(erf_f(x * 0x1.6a09e6p-1f), 0.5f, 0.5f); }
  FASTNN_INLINE float value(float x) const { return x * cdf(x); }
  FASTNN_INLINE float slope(float x) const {  // cdf + x times the density
    constexpr float kInvSqrt2Pi = 0x1.988454p-2f;
    return mul_add(zero_far_out(x) * kInvSqrt2Pi, exp_f(-0.5f * x * x), cdf(x));
  }
};

// sigmoid(x) and its slope s (1 - s), which has to be accurate where s is nearly 1 too.
struct SigmoidParts {
  float value, slope;
};

FASTNN_INLINE SigmoidParts sigmoid_parts(float x) {
  const float e = exp_f(-__builtin_fabsf(x));
  const float upper = 1.0f / (1.0f + e);
  const float lower = e * upper;
  return {select(x < 0.0f, lower, upper), lower * upper};
}

struct GeluTanh {  // (1 + tanh(u)) / 2 is sigmoid(2u)
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 2.0;
  static constexpr float kTwoSqrt2OverPi = 0x1.988454p+0f;
  static constexpr float kCubic = 0.044715f;
  static FASTNN_INLINE float twice_u(float x) { return kTwoSqrt2OverPi * x * mul_add(kCubic * x, x, 1.0f); }
  FASTNN_INLINE float value(float x) const { return x * sigmoid_f(twice_u(x)); }
  FASTNN_INLINE float slope(float x) const {
    const SigmoidParts s = sigmoid_parts(twice_u(x));
    const float z = zero_far_out(x);
    return mul_add(s.slope * kTwoSqrt2OverPi * z, mul_add(3.0f * kCubic * z, z, 1.0f), s.value);
  }
};

struct Silu {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 1.5;
  FASTNN_INLINE float value(float x) const { return x * sigmoid_f(x); }
  FASTNN_INLINE float slope(float x) const {
    const SigmoidParts s = sigmoid_parts(x);
    return mul_add(zero_far_out(x), s.slope, s.value);
  }
};

// tanh(log(1 + e)) = n / d with n = e^2 + 2 e and d = n + 2, e = exp(x); both times exp(-2x) for x > 0.
struct Mish {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 3.0;
  struct Gate {
    float value, rest;  // rest = 1 - value
  };
  static FASTNN_INLINE Gate gate(float x) {
    const float e = exp_f(-__builtin_fabsf(x));
    const float n = select(x > 0.0f, mul_add(2.0f, e, 1.0f), e * (e + 2.0f)), two = select(x > 0.0f, 2.0f * e * e, 2.0f);
    const float d = n + two;
    return {n / d, two / d};
  }
  FASTNN_INLINE float value(float x) const { return x * gate(x).value; }
  FASTNN_INLINE float slope(float x) const {
    const Gate g = gate(x);
    return mul_add(zero_far_out(x) * g.rest * (1.0f + g.value), sigmoid_f(x), g.value);
  }
};

struct HardSilu {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 1.0;
  static constexpr float kSixth = 0x1.555556p-3f, kThird = 0x1.555556p-2f;
  FASTNN_INLINE float value(float x) const {
    const float gate = select(x >= 3.0f, 1.0f, (x + 3.0f) * kSixth);
    return select(x <= -3.0f, 0.0f, x * gate);
  }
  FASTNN_INLINE float slope(float x) const { return select(x >= 3.0f, 1.0f, select(x <= -3.0f, 0.0f, mul_add(x, kThird, 0.5f))); }
};

struct Softsign {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 1.0;
  FASTNN_INLINE float value(float x) const {
    const float size = __builtin_fabsf(x);
    return select(size > 0x1p30f, __builtin_copysignf(1.0f, x), x / (1.0f + size));  // not infinity / infinity
  }
  FASTNN_INLINE float slope(float x) const {
    const float r = 1.0f / (1.0f + __builtin_fabsf(x));
    return r * r;
  }
};

struct LogSigmoid {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 3.0;
  FASTNN_INLINE float value(float x) const { return -Softplus{}.value(-x); }
  FASTNN_INLINE float slope(float x) const { return sigmoid_f(-x); }
};

struct TanhShrink {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 1.5;
  FASTNN_INLINE float value(float x) const { return x - tanh_f(x); }
  FASTNN_INLINE float slope(float x) const {
    const float y = tanh_f(x);
    return y * y;
  }
};

struct SoftShrink {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 0.5;
  float alpha;
  FASTNN_INLINE float value(float x) const { return select(__builtin_fabsf(x) <= alpha, 0.0f, x - __builtin_copysignf(alpha, x)); }
  FASTNN_INLINE float slope(float x) const { return select(__builtin_fabsf(x) <= alpha, 0.0f, 1.0f); }
};

struct HardShrink {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 0.5;
  float alpha;
  FASTNN_INLINE float value(float x) const { return select(__builtin_fabsf(x) <= alpha, 0.0f, x); }
  FASTNN_INLINE float slope(float x) const { return select(__builtin_fabsf(x) <= alpha, 0.0f, 1.0f); }
};

struct Squareplus {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 2.0;
  float alpha;
  FASTNN_INLINE float root(float x) const {
    const float size = __builtin_fabsf(x);
    return select(size > 0x1p60f, size, __builtin_sqrtf(mul_add(x, x, alpha)));
  }
  FASTNN_INLINE float value(float x) const {  // without a difference of nearly equal numbers below 0
    const float half = 0.5f * root(x) + 0.5f * __builtin_fabsf(x);
    return select(x < 0.0f, 0.25f * alpha / half, half);
  }
  FASTNN_INLINE float slope(float x) const { return value(x) / root(x); }
};

struct SparsePlus {
  static constexpr bool kSlopeOfOutput = false;
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE float value(float x) const {
    const float above = x + 1.0f;
    return select(x <= -1.0f, 0.0f, select(x < 1.0f, 0.25f * above * above, x));
  }
  FASTNN_INLINE float slope(float x) const { return select(x <= -1.0f, 0.0f, select(x < 1.0f, 0.5f * (x + 1.0f), 1.0f)); }
};

}  // namespace
