// activation.h - activations, forward and backward, and the epilogue of the products.
//
// To add one: a functor with value(x) and slope(x or y) in activation_kinds.h, its line in with_activation, its enumerator in
// ../kernels.h.
#pragma once

#include "activation_kinds.h"
#include "math.h"
#include "simd.h"

namespace {

using fastnn::Activation;

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
  FASTNN_INLINE float operator()(float dy, float at) const {
    if constexpr (requires { f.gradient(dy, at); }) {
      return f.gradient(dy, at);
    } else {
      return dy * f.slope(at);
    }
  }
};

// body(functor) with the functor of `kind`: one branch per call, none per value.
template <class Body>
inline void with_activation(Activation kind, float alpha, const Body& body) {
  switch (kind) {
    case Activation::linear:
      return body(Linear{});
    case Activation::relu:
      return body(Relu{});
    case Activation::relu6:
      return body(Relu6{});
    case Activation::leaky_relu:
      return body(LeakyRelu{alpha});
    case Activation::elu:
      return body(Elu{alpha});
    case Activation::selu:
      return body(Selu{});
    case Activation::celu:
      return body(Celu{alpha});
    case Activation::exponential:
      return body(Exponential{});
    case Activation::step:
      return body(Step{});
    case Activation::sign:
      return body(Sign{});
    case Activation::hard_tanh:
      return body(Ramp{1.0f, 0.0f, 1.0f, -1.0f});
    case Activation::hard_sigmoid:
      return body(Ramp{0x1.555556p-3f, 3.0f});
    case Activation::sparse_sigmoid:
      return body(Ramp{0.5f, 1.0f});
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
    case Activation::mish:
      return body(Mish{});
    case Activation::hard_silu:
      return body(HardSilu{});
    case Activation::softsign:
      return body(Softsign{});
    case Activation::log_sigmoid:
      return body(LogSigmoid{});
    case Activation::tanh_shrink:
      return body(TanhShrink{});
    case Activation::soft_shrink:
      return body(SoftShrink{alpha});
    case Activation::hard_shrink:
      return body(HardShrink{alpha});
    case Activation::squareplus:
      return body(Squareplus{alpha});
    case Activation::sparse_plus:
      return body(SparsePlus{});
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

// dx times the derivative of the relu that gave y: the other epilogue.
inline void apply_relu_slope(float* dx, const float* y, index_t n) { map(n, Slope<Relu>{}, dx, dx, y); }

void activation_forward(const fastnn::ActivationForward& a) {
  with_activation(a.kind, a.alpha, [&a](auto f) {
    parallel_elements(a.n, f.kCycles,
                      [&a, f](index_t begin, index_t end) { map(end - begin, Value<decltype(f)>{f}, a.y + begin, a.x + begin); });
  });
}

}  // namespace
