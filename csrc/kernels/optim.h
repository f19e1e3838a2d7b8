// optim.h - optimizer steps: one pass over all parameters, element by element, in place.
#pragma once

#include "simd.h"

namespace {

using fastnn::AdagradStep;
using fastnn::AdamStep;
using fastnn::MomentumStep;
using fastnn::RmspropStep;
using fastnn::SgdStep;

// Weights that are decayed, then updated while they are still in the L1 cache.
constexpr index_t kDecayBlock = 1024;

// w -= w * decay, then body(begin, end), over all of [0, n). No decay at all when it is 0: an infinite weight stays infinite.
template <class Body>
void update_weights(float* w, index_t n, float decay, double cycles, const Body& body) {
  parallel_for(n, cycles, [=, &body](index_t begin, index_t end) {
    if (decay == 0) return body(begin, end);
    for (index_t start = begin; start < end; start += kDecayBlock) {
      const index_t stop = min_of(start + kDecayBlock, end);
      FASTNN_SIMD
      for (index_t i = start; i < stop; ++i) w[i] -= w[i] * decay;
      body(start, stop);
    }
  });
}

void sgd_step(const SgdStep& a) {
  const float lr = a.lr[0];
  update_weights(a.w, a.n, a.weight_decay * lr, 1.0, [&a, lr](index_t begin, index_t end) {
    float* __restrict w = a.w;
    const float* __restrict g = a.g;
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) w[i] -= lr * g[i];
  });
}

template <bool Nesterov>
void momentum_range(const MomentumStep& a, float lr, index_t begin, index_t end) {
  float* __restrict w = a.w;
  float* __restrict velocity = a.v;
  const float* __restrict g = a.g;
  const float momentum = a.momentum;
  FASTNN_SIMD
  for (index_t i = begin; i < end; ++i) {
    const float step = lr * g[i];
    const float v = momentum * velocity[i] - step;
    velocity[i] = v;
    w[i] += Nesterov ? momentum * v - step : v;
  }
}

void momentum_step(const MomentumStep& a) {
  const float lr = a.lr[0];
  const auto range = a.nesterov ? momentum_range<true> : momentum_range<false>;
  update_weights(a.w, a.n, a.weight_decay * lr, 1.5,
                 [&a, lr, range](index_t begin, index_t end) { range(a, lr, begin, end); });
}

void adagrad_step(const AdagradStep& a) {
  const float lr = a.lr[0];
  update_weights(a.w, a.n, a.weight_decay * lr, 2.0, [&a, lr](index_t begin, index_t end) {
    float* __restrict w = a.w;
    float* __restrict sum = a.a;
    const float* __restrict g = a.g;
    const float epsilon = a.epsilon;
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) {
      const float s = sum[i] + g[i] * g[i];
      sum[i] = s;
      w[i] -= lr * g[i] / __builtin_sqrtf(s + epsilon);
    }
  });
}

template <bool Centered, bool Momentum>
void rmsprop_range(const RmspropStep& a, float lr, index_t begin, index_t end) {
  float* __restrict w = a.w;
  float* __restrict square = a.v;
  float* __restrict mean = a.mean;
  float* __restrict velocity = a.velocity;
  const float* __restrict gradient = a.g;
  const float rho = a.rho, rest = static_cast<float>(1.0 - a.rho), momentum = a.momentum, epsilon = a.epsilon;
  FASTNN_SIMD
  for (index_t i = begin; i < end; ++i) {
    const float g = gradient[i];
    const float v = rho * square[i] + rest * (g * g);
    square[i] = v;
    float d = v;
    if constexpr (Centered) {
      const float m = rho * mean[i] + rest * g;
      mean[i] = m;
      d = v - m * m;
      d = d < 0 ? 0 : d;  // a variance; only rounding makes it negative, and epsilon may be too small to outweigh that
    }
    float u = lr * g / __builtin_sqrtf(d + epsilon);
    if constexpr (Momentum) {
      u = momentum * velocity[i] + u;
      velocity[i] = u;
    }
    w[i] -= u;
  }
}

void rmsprop_step(const RmspropStep& a) {
  const float lr = a.lr[0];
  auto range = a.velocity ? rmsprop_range<false, true> : rmsprop_range<false, false>;
  if (a.mean) range = a.velocity ? rmsprop_range<true, true> : rmsprop_range<true, false>;
  update_weights(a.w, a.n, a.weight_decay * lr, 2.5,
                 [&a, lr, range](index_t begin, index_t end) { range(a, lr, begin, end); });
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
template <bool Amsgrad>
void adam_range(const AdamStep& a, float factor, index_t begin, index_t end) {
  float* __restrict w = a.w;
  float* __restrict first = a.m;
  float* __restrict second = a.v;
  float* __restrict largest = a.vhat;
  const float* __restrict gradient = a.g;
  const float rest_1 = static_cast<float>(1 - a.beta_1), rest_2 = static_cast<float>(1 - a.beta_2);
  const float epsilon = a.epsilon;
  FASTNN_SIMD
  for (index_t i = begin; i < end; ++i) {
    const float g = gradient[i];
    const float m = first[i] + (g - first[i]) * rest_1;
    float v = second[i] + (g * g - second[i]) * rest_2;
    first[i] = m;
    second[i] = v;
    if constexpr (Amsgrad) {
      v = largest[i] > v ? largest[i] : v;
      largest[i] = v;
    }
    w[i] -= factor * m / (__builtin_sqrtf(v) + epsilon);
  }
}

void adam_step(const AdamStep& a) {
  const float lr = a.lr[0];
  const index_t t = a.iterations[0] + 1;
  const double correction_1 = 1 - integer_power(a.beta_1, t), correction_2 = 1 - integer_power(a.beta_2, t);
  const float factor = static_cast<float>(lr * __builtin_sqrt(correction_2) / correction_1);
  const auto range = a.vhat ? adam_range<true> : adam_range<false>;
  update_weights(a.w, a.n, a.weight_decay * lr, 3.0,
                 [&a, factor, range](index_t begin, index_t end) { range(a, factor, begin, end); });
}

}  // namespace
