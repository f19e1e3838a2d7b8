// optim.h - optimizer steps: one pass over parameters, element by element, in place.
#pragma once

#include "roots.h"
#include "update_rows.h"

namespace {

using fastnn::AdagradStep;
using fastnn::AdamStep;
using fastnn::MomentumStep;
using fastnn::RmspropStep;
using fastnn::SgdStep;

// The first part of every step; without decay an infinite weight stays infinite.
inline float decayed(float w, float decay) { return decay == 0 ? w : w - w * decay; }

// As below for a gradient of up to four terms, which needs no place in memory: the most of what a step costs with a batch of one.
struct SgdRule {
  float lr, decay;
  vfloat operator()(vfloat w, vfloat g) const {
    const vfloat kept = decay == 0 ? w : multiply_add(-decay, w, w);
    return multiply_add(-lr, g, kept);
  }
  // Whether a gradient of zero changes nothing: not where the learning rate is no number.
  bool rests() const { return decay == 0 && lr - lr == 0; }
};

void sgd_step(const SgdStep& a) {
  if (has_few_terms(a.source) || has_some_terms(a.source)) return update_rows(a, 1.0, SgdRule{a.lr[0], a.weight_decay * a.lr[0]});
  update(a, 1.0, [&a](const float* __restrict g, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    const float lr = a.lr[0], decay = a.weight_decay * lr;
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) w[i] = decayed(w[i], decay) - lr * g[i];
  });
}

template <bool Nesterov>
void momentum_range(const MomentumStep& a, const float* __restrict g, index_t begin, index_t end) {
  float* __restrict w = a.w + begin;
  float* __restrict velocity = a.v + begin;
  const float lr = a.lr[0], decay = a.weight_decay * lr, momentum = a.momentum;
  FASTNN_SIMD
  for (index_t i = 0; i < end - begin; ++i) {
    const float step = lr * g[i];
    const float v = momentum * velocity[i] - step;
    velocity[i] = v;
    w[i] = decayed(w[i], decay) + (Nesterov ? momentum * v - step : v);
  }
}

void momentum_step(const MomentumStep& a) {
  const auto range = a.nesterov ? momentum_range<true> : momentum_range<false>;
  update(a, 1.5, [&a, range](const float* g, index_t begin, index_t end) { range(a, g, begin, end); });
}

void adagrad_step(const AdagradStep& a) {
  update(a, 2.0, [&a](const float* __restrict g, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict sum = a.a + begin;
    const float lr = a.lr[0], decay = a.weight_decay * lr;
    const float inside = a.outside ? 0 : a.epsilon, outside = a.outside ? a.epsilon : 0;
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float s = sum[i] + g[i] * g[i];
      sum[i] = s;
      w[i] = decayed(w[i], decay) - lr * g[i] / (__builtin_sqrtf(s + inside) + outside);
    }
  });
}

template <bool Centered, bool Momentum>
void rmsprop_range(const RmspropStep& a, const float* __restrict gradient, index_t begin, index_t end) {
  float* __restrict w = a.w + begin;
  float* __restrict square = a.v + begin;
  float* __restrict mean = a.mean ? a.mean + begin : nullptr;
  float* __restrict velocity = a.velocity ? a.velocity + begin : nullptr;
  const float lr = a.lr[0], decay = a.weight_decay * lr, momentum = a.momentum;
  const float inside = a.outside ? 0 : a.epsilon, outside = a.outside ? a.epsilon : 0;
  const float rho = static_cast<float>(a.rho), rest = static_cast<float>(1.0 - a.rho);
  FASTNN_SIMD
  for (index_t i = 0; i < end - begin; ++i) {
    const float g = gradient[i];
    const float v = rho * square[i] + rest * (g * g);
    square[i] = v;
    float d = v;
    if constexpr (Centered) {
      const float m = rho * mean[i] + rest * g;
      mean[i] = m;
      d = v - m * m;
      d = d < 0 ? 0 : d;  // a variance: only rounding makes it negative, by more than epsilon if gradients are large
    }
    float u = lr * g / (__builtin_sqrtf(d + inside) + outside);
    if constexpr (Momentum) {
      u = momentum * velocity[i] + u;
      velocity[i] = u;
    }
    w[i] = decayed(w[i], decay) - u;
  }
}

void rmsprop_step(const RmspropStep& a) {
  auto range = a.velocity ? rmsprop_range<false, true> : rmsprop_range<false, false>;
  if (a.mean) range = a.velocity ? rmsprop_range<true, true> : rmsprop_range<true, false>;
  update(a, 2.5, [&a, range](const float* g, index_t begin, index_t end) { range(a, g, begin, end); });
}

// base^exponent, exponent >= 0, by repeated squaring.
inline double integer_power(double base, index_t exponent) {
  double result = 1;
  for (; exponent > 0; exponent >>= 1, base *= base) {
    if (exponent & 1) result *= base;
  }
  return result;
}

// `factor` is the learning rate with both bias corrections.
template <bool Amsgrad, class Root>
void adam_range(const AdamStep& a, float factor, const float* gradient, index_t begin, index_t end) {
  float *w = a.w + begin, *first = a.m + begin, *second = a.v + begin, *largest = Amsgrad ? a.vhat + begin : nullptr;
  const float decay = a.weight_decay * a.lr[0];
  const float rest_1 = static_cast<float>(1 - a.beta_1), rest_2 = static_cast<float>(1 - a.beta_2), epsilon = a.epsilon;
  for_vectors(end - begin, [=](index_t i, auto get, auto put) {
    const vfloat g = get(gradient + i), m0 = get(first + i), v0 = get(second + i), w0 = get(w + i);
    const vfloat m = multiply_add(rest_1, g - m0, m0);
    vfloat v = multiply_add(rest_2, multiply_add(g, g, -v0), v0);
    put(first + i, m);
    put(second + i, v);
    if constexpr (Amsgrad) {
      const vfloat most = get(largest + i);
      v = most > v ? most : v;
      put(largest + i, v);
    }
    const vfloat kept = decay == 0 ? w0 : multiply_add(-decay, w0, w0);
    put(w + i, kept - factor * m / (Root::of(v) + epsilon));
  });
}

void adam_step(const AdamStep& a) {
  const index_t t = a.iterations[0] + 1;
  const double correction_1 = 1 - integer_power(a.beta_1, t), correction_2 = 1 - integer_power(a.beta_2, t);
  const float factor = static_cast<float>(a.lr[0] * __builtin_sqrt(correction_2) / correction_1);
  // While tiles make the gradient the divider has time, and other instructions have not.
  const bool slow = fastnn::cores().slow_roots && !is_made_of_pieces(a.source);
  const auto range = a.vhat ? (slow ? adam_range<true, RefinedRoot> : adam_range<true, Root>)
                            : (slow ? adam_range<false, RefinedRoot> : adam_range<false, Root>);
  update(a, 3.0, [&a, factor, range](const float* g, index_t begin, index_t end) { range(a, factor, g, begin, end); });
}

}  // namespace
