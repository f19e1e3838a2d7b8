// optim_adaptive.h - optimizer steps in which every weight has a step size of its own: one pass, element by element, in place.
#pragma once

#include "optim.h"

namespace {

using fastnn::AdadeltaStep;
using fastnn::AdamaxStep;
using fastnn::FtrlStep;
using fastnn::LionStep;
using fastnn::NadamStep;

void adadelta_step(const AdadeltaStep& a) {
  update(a, 3.0, [&a](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict squares = a.a + begin;
    float* __restrict steps = a.d + begin;
    const float lr = a.lr[0], decay = a.weight_decay * lr, epsilon = a.epsilon;
    const float rho = static_cast<float>(a.rho), rest = static_cast<float>(1.0 - a.rho);
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i];
      const float s = rho * squares[i] + rest * (g * g);
      const float u = __builtin_sqrtf(steps[i] + epsilon) * g / __builtin_sqrtf(s + epsilon);
      squares[i] = s;
      steps[i] = rho * steps[i] + rest * (u * u);
      w[i] = decayed(w[i], decay) - lr * u;
    }
  });
}

void adamax_step(const AdamaxStep& a) {
  const float factor = static_cast<float>(a.lr[0] / (1 - integer_power(a.beta_1, a.iterations[0] + 1)));
  update(a, 2.5, [&a, factor](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict first = a.m + begin;
    float* __restrict norm = a.u + begin;
    const float decay = a.weight_decay * a.lr[0], epsilon = a.epsilon;
    const float rest = static_cast<float>(1 - a.beta_1), beta_2 = static_cast<float>(a.beta_2);
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i], size = __builtin_fabsf(g), old = beta_2 * norm[i];
      const float m = first[i] + (g - first[i]) * rest;
      const float u = select(old > size, old, size);
      first[i] = m;
      norm[i] = u;
      w[i] = decayed(w[i], decay) - factor * m / (u + epsilon);
    }
  });
}

// The momentum of Nadam in step t, and the product of those of steps 1 to t. The factors 1 - 0.96^s / 2 differ from 1 in double up
// to step 1000 or so only.
inline double nadam_momentum(double beta, index_t t) { return beta * (1 - 0.5 * integer_power(0.96, t)); }

inline double nadam_product(double beta, index_t t) {
  double power = 1, product = integer_power(beta, t);
  for (index_t s = 1; s <= min_of(t, 1000); ++s) {
    power *= 0.96;
    product *= 1 - 0.5 * power;
  }
  return product;
}

void nadam_step(const NadamStep& a) {
  const index_t t = a.iterations[0] + 1;
  const double now = nadam_momentum(a.beta_1, t), next = nadam_momentum(a.beta_1, t + 1), product = nadam_product(a.beta_1, t);
  const float of_mean = static_cast<float>(next / (1 - product * next)),
              of_gradient = static_cast<float>((1 - now) / (1 - product));
  const float correction = static_cast<float>(1 / (1 - integer_power(a.beta_2, t)));
  update(a, 3.5, [=, &a](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict first = a.m + begin;
    float* __restrict second = a.v + begin;
    const float lr = a.lr[0], decay = a.weight_decay * lr, epsilon = a.epsilon;
    const float rest_1 = static_cast<float>(1 - a.beta_1), rest_2 = static_cast<float>(1 - a.beta_2);
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i];
      const float m = first[i] + (g - first[i]) * rest_1;
      const float v = second[i] + (g * g - second[i]) * rest_2;
      first[i] = m;
      second[i] = v;
      w[i] = decayed(w[i], decay) - lr * (of_mean * m + of_gradient * g) / (__builtin_sqrtf(v * correction) + epsilon);
    }
  });
}

void lion_step(const LionStep& a) {
  update(a, 2.0, [&a](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict mean = a.m + begin;
    const float lr = a.lr[0], decay = a.weight_decay * lr;
    const float beta_1 = static_cast<float>(a.beta_1), beta_2 = static_cast<float>(a.beta_2);
    const float rest_1 = static_cast<float>(1.0 - a.beta_1), rest_2 = static_cast<float>(1.0 - a.beta_2);
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i];
      const float c = mul_add(beta_1, mean[i], rest_1 * g);
      const float sign = select(c > 0, 1.0f, select(c < 0, -1.0f, c));  // 0 and NaN stay what they are
      mean[i] = mul_add(beta_2, mean[i], rest_2 * g);
      w[i] = decayed(w[i], decay) - lr * sign;
    }
  });
}

// x^p for x >= 0, p >= 0.
struct PowerOfHalf {
  FASTNN_INLINE float operator()(float x) const { return __builtin_sqrtf(x); }
};
struct AnyPower {
  float p;
  FASTNN_INLINE float operator()(float x) const { return select(p == 0, 1.0f, exp_f(p * log_f(x))); }
};

template <class Power>
void ftrl_range(const FtrlStep& a, Power power, const float* __restrict gradient, index_t begin, index_t end) {
  float* __restrict w = a.w + begin;
  float* __restrict squares = a.a + begin;
  float* __restrict linear = a.z + begin;
  const float lr = a.lr[0], decay = a.weight_decay * lr, l1 = a.l1;
  const float shrinkage = 2 * a.shrinkage, fixed = 2 * a.l2 + a.beta / lr;
  FASTNN_SIMD
  for (index_t i = 0; i < end - begin; ++i) {
    const float g = gradient[i], old = decayed(w[i], decay), sum = mul_add(g, g, squares[i]);
    const float root = power(sum);
    const float z = linear[i] + (mul_add(shrinkage, old, g) - (root - power(squares[i])) / lr * old);
    const float divisor = root / lr + fixed;
    const float kept = select(z > l1, l1, select(z < -l1, -l1, z));
    squares[i] = sum;
    linear[i] = z;
    w[i] = select(divisor == 0, old, (kept - z) / divisor);
  }
}

void ftrl_step(const FtrlStep& a) {
  if (a.lr[0] == 0) return;
  if (a.power == -0.5f) {
    update(a, 5.0, [&a](const float* g, index_t begin, index_t end) { ftrl_range(a, PowerOfHalf{}, g, begin, end); });
  } else {
    update(a, 12.0, [&a](const float* g, index_t begin, index_t end) { ftrl_range(a, AnyPower{-a.power}, g, begin, end); });
  }
}

}  // namespace
