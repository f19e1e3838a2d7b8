// activation.h - activations, forward and backward, and the epilogue of the products.
//
// To add one: a functor with value(x) and slope(x or y) here, its line in with_activation, its enumerator in
// ../kernels.h.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

using fastnn::Activation;

// Each functor has value(x), the factor of the backward pass, slope(y) or slope(x) as kSlopeOfOutput says, and kCycles,
// the estimated cost of one value.
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
  FASTNN_INLINE float slope(float y) const { return y > 0.0f ? 1.0f : 0.0f; }
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

// What the loops apply: y = f(x), or f(x + bias); dx = dy f'(at).
template <class F>
struct Value {
  F f;
  FASTNN_INLINE float operator()(float x) const { return f.value(x); }
  FASTNN_INLINE float operator()(float x, float bias) const { return f.value(x + bias); }
};

template <class F>
struct Slope {
  F f;
  FASTNN_INLINE float operator()(float dy, float at) const { return dy * f.slope(at); }
};

// body(functor) with the functor of `kind`: one branch per call, none per value.
template <class Body>
inline void with_activation(Activation kind, float alpha, const Body& body) {
  switch (kind) {
    case Activation::linear:
      return body(Linear{});
    case Activation::relu:
      return body(Relu{});
    case Activation::leaky_relu:
      return body(LeakyRelu{alpha});
    case Activation::elu:
      return body(Elu{alpha});
    case Activation::sigmoid:
      return body(Sigmoid{});
    case Activation::tanh:
      return body(Tanh{});
    case Activation::softplus:
      return body(Softplus{});
    case Activation::gelu:
      return body(Gelu{});
    case Activation::gelu_tanh:
      return body(GeluTanh{});
    case Activation::silu:
      return body(Silu{});
  }
}

// row[j] = f(row[j] + bias[j]); bias: n values, or null. The epilogue of products and convolutions.
inline void activate_row(float* row, index_t n, const float* bias, Activation kind, float alpha) {
  with_activation(kind, alpha, [=](auto f) {
    if (bias) {
      map(n, Value<decltype(f)>{f}, row, row, bias);
    } else {
      map(n, Value<decltype(f)>{f}, row, row);
    }
  });
}

void activation_forward(const fastnn::ActivationForward& a) {
  with_activation(a.kind, a.alpha, [&a](auto f) {
    parallel_elements(a.n, f.kCycles,
                      [&a, f](index_t begin, index_t end) { map(end - begin, Value<decltype(f)>{f}, a.y + begin, a.x + begin); });
  });
}

}  // namespace
