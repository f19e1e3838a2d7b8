// element_loss.h - losses that are a mean or a sum over a row of a function of one prediction and one target.
//
// To add one: a functor with terms(p, t) here, its line in elementwise_loss, its enumerator in ../kernels.h.
#pragma once

#include "activation.h"
#include "loss.h"
#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::ElementLoss;

// The losses of one prediction p and one target t: the value, its derivative by p, and what sigmoid_out gets.
struct Terms {
  float loss, slope, sigmoid;
};

struct SquaredError {
  static constexpr double kCycles = 1.0;
  float factor;  // 1 or 1/2
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float d = p - t;
    return {factor * d * d, 2.0f * factor * d, 0.0f};
  }
};

// -1, 0 or 1; a NaN stays.
FASTNN_INLINE float sign_of(float d) { return select(__builtin_fabsf(d) > 0.0f, __builtin_copysignf(1.0f, d), d); }

struct AbsoluteError {
  static constexpr double kCycles = 1.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float d = p - t;
    return {__builtin_fabsf(d), sign_of(d), 0.0f};
  }
};

constexpr float kSmallestShare = 1e-7f;  // what is divided by, or what a logarithm is taken of

struct AbsolutePercentageError {
  static constexpr double kCycles = 2.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float factor = 100.0f / larger(__builtin_fabsf(t), kSmallestShare), d = p - t;
    return {__builtin_fabsf(d) * factor, sign_of(d) * factor, 0.0f};
  }
};

struct SquaredLogarithmicError {
  static constexpr double kCycles = 6.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = select(p < kSmallestShare, kSmallestShare, p), u = select(t < kSmallestShare, kSmallestShare, t);
    const float d = log1p_f(q) - log1p_f(u);
    return {d * d, select(p <= kSmallestShare, 0.0f, 2.0f * d / (1.0f + q)), 0.0f};
  }
};

struct Huber {
  static constexpr double kCycles = 1.0;
  float delta;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float d = p - t, size = __builtin_fabsf(d);
    const float inner = select(size > delta, delta, size);  // a NaN stays
    return {inner * mul_add(-0.5f, inner, size), __builtin_copysignf(inner, d), 0.0f};
  }
};

// log(1 + (cosh d - 1)), cosh d - 1 = e^2 / (2 (1 + e)) with e = exp(|d|) - 1; far out |d| - log 2.
struct LogCosh {
  static constexpr double kCycles = 6.0;
  static constexpr float kFar = 10.0f, kLog2 = 0x1.62e43p-1f;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float d = p - t, size = __builtin_fabsf(d);
    const float e = expm1_f(select(size > kFar, kFar, size));
    const float near = log1p_f(e * e / (2.0f * (1.0f + e)));
    return {select(size > kFar, size - kLog2, near), tanh_f(d), 0.0f};
  }
};

struct Hinge {
  static constexpr double kCycles = 1.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float margin = mul_add(-t, p, 1.0f);
    return {select(margin <= 0.0f, 0.0f, margin), select(margin > 0.0f, -t, 0.0f), 0.0f};
  }
};

struct SquaredHinge {
  static constexpr double kCycles = 1.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float margin = mul_add(-t, p, 1.0f), above = select(margin <= 0.0f, 0.0f, margin);
    return {above * above, -2.0f * t * above, 0.0f};
  }
};

struct Poisson {
  static constexpr double kCycles = 3.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = p + kSmallestShare;
    const float log_part = select(t == 0.0f, 0.0f, t * log_f(q));
    return {p - log_part, 1.0f - t / q, 0.0f};
  }
};

struct KlDivergence {
  static constexpr double kCycles = 3.0;
  static FASTNN_INLINE float share(float p) {
    const float q = select(p < kSmallestShare, kSmallestShare, p);
    return select(q > 1.0f, 1.0f, q);
  }
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = share(p), u = share(t);
    return {u * log_f(u / q), select((p < kSmallestShare) | (p > 1.0f), 0.0f, -u / q), 0.0f};
  }
};

struct NegativeProduct {
  static constexpr double kCycles = 0.5;
  FASTNN_INLINE Terms terms(float p, float t) const { return {-t * p, -t, 0.0f}; }
};

struct BinaryCrossEntropy {
  static constexpr double kCycles = 6.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = clipped(p);
    const float loss = mul_add(-t, log_f(q), (t - 1.0f) * log1p_f(-q));
    return {loss, select(is_clipped(p), 0.0f, (q - t) / (q * (1.0f - q))), 0.0f};
  }
};

struct SigmoidCrossEntropy {
  static constexpr double kCycles = 6.0;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float above = select(p > 0.0f, p, 0.0f);
    const float sigmoid = sigmoid_f(p);
    return {mul_add(-p, t, above) + log1p_f(exp_f(-__builtin_fabsf(p))), sigmoid - t, sigmoid};
  }
};

// x^y for 0 <= x.
FASTNN_INLINE float power(float x, float y) {
  const float z = exp_f(y * log_f(x));
  return select(y == 0.0f, 1.0f, z);
}

struct BinaryFocal {
  static constexpr double kCycles = 10.0;
  float gamma, weight_one, weight_zero;

  FASTNN_INLINE float weight(float t) const { return mul_add(t, weight_one, (1.0f - t) * weight_zero); }

  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = clipped(p);
    const Terms entropy = BinaryCrossEntropy{}.terms(p, t);
    const float missing = mul_add(t, 1.0f - q, (1.0f - t) * q);
    const float focus = weight(t) * power(missing, gamma);
    const float slope = mul_add(gamma * (1.0f - 2.0f * t) / missing, entropy.loss, entropy.slope);
    return {focus * entropy.loss, select(is_clipped(p), 0.0f, focus * slope), 0.0f};
  }
};

// By the logit: m' = (1 - 2 t) p (1 - p). Where m is 0, so is p (1 - p), and their ratio 1.
struct SigmoidFocal {
  static constexpr double kCycles = 10.0;
  BinaryFocal on_probability;

  FASTNN_INLINE Terms terms(float z, float t) const {
    const Terms entropy = SigmoidCrossEntropy{}.terms(z, t);
    const SigmoidParts s = sigmoid_parts(z), opposite = sigmoid_parts(-z);
    const float missing = mul_add(t, opposite.value, (1.0f - t) * s.value);
    const float focus = on_probability.weight(t) * power(missing, on_probability.gamma);
    const float ratio = select(missing == 0.0f, 1.0f, s.slope / missing);
    const float slope = mul_add(on_probability.gamma * (1.0f - 2.0f * t) * ratio, entropy.loss, entropy.slope);
    return {focus * entropy.loss, focus * slope, entropy.sigmoid};
  }
};

struct CategoricalFocal {
  static constexpr double kCycles = 6.0;
  float alpha, gamma;
  FASTNN_INLINE Terms terms(float p, float t) const {
    const float q = clipped(p), rest = 1.0f - q, log_q = log_f(q);
    const float focus = alpha * t * power(rest, gamma);
    return {-focus * log_q, select(is_clipped(p), 0.0f, focus * (gamma * log_q / rest - 1.0f / q)), 0.0f};
  }
};

// sum += the losses of sixteen predictions, the first `present` of them; slope, sigmoid: or null.
template <class Loss>
FASTNN_INLINE void elementwise_loss_chunk(const Loss& l, const float* p, const float* t, float factor, std::int32_t present,
                                          Chunk& sum, float* slope, float* sigmoid) {
  Chunk slopes, sigmoids;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) {
    const Terms terms = l.terms(p[i], t[i]);
    sum.v[i] += select(i < present, terms.loss, 0.0f);
    slopes.v[i] = factor * terms.slope;
    sigmoids.v[i] = terms.sigmoid;
  }
  if (slope) store_chunk(slope, slopes, kChunk);
  if (sigmoid) store_chunk(sigmoid, sigmoids, kChunk);
}

template <class Loss>
inline void elementwise_loss_row(const fastnn::ElementwiseLoss& a, const Loss& l, index_t row) {
  const float weight = weight_of(a.weights, row), divisor = a.sum ? 1.0f : static_cast<float>(a.cols);
  const float factor = a.scale * weight / divisor;
  const index_t first = row * a.cols, start = last_chunk(a.cols), count = a.cols - start;
  float* slope = a.dpred ? a.dpred + first : nullptr;
  float* sigmoid = a.sigmoid_out ? a.sigmoid_out + first : nullptr;
  Chunk sum = {};
  for (index_t j = 0; j < start; j += kChunk) {
    elementwise_loss_chunk(l, a.pred + first + j, a.targets + first + j, factor, kChunk, sum, slope ? slope + j : nullptr,
                           sigmoid ? sigmoid + j : nullptr);
  }
  const Chunk p = load_chunk(a.pred + first + start, count, 0.0f), t = load_chunk(a.targets + first + start, count, 0.0f);
  Chunk last_slope, last_sigmoid;
  elementwise_loss_chunk(l, p.v, t.v, factor, static_cast<std::int32_t>(count), sum, last_slope.v, last_sigmoid.v);
  if (slope) store_chunk(slope + start, last_slope, count);
  if (sigmoid) store_chunk(sigmoid + start, last_sigmoid, count);
  a.losses[row] = weight * (total(sum) / divisor);
}

// Rows of one column, sixteen at a time; the same arithmetic.
template <class Loss>
inline void elementwise_loss_column(const fastnn::ElementwiseLoss& a, const Loss& l, index_t begin, index_t end) {
  Chunk weight;
  for (int i = 0; i < kChunk; ++i) weight.v[i] = 1.0f;
  for (index_t row = begin; row < end; row += kChunk) {
    const index_t count = end - row;
    const Chunk p = load_chunk(a.pred + row, count, 0.0f), t = load_chunk(a.targets + row, count, 0.0f);
    if (a.weights) weight = load_chunk(a.weights + row, count, 0.0f);
    Chunk loss, slope, sigmoid;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const Terms terms = l.terms(p.v[i], t.v[i]);
      loss.v[i] = weight.v[i] * terms.loss;
      slope.v[i] = a.scale * weight.v[i] * terms.slope;
      sigmoid.v[i] = terms.sigmoid;
    }
    store_chunk(a.losses + row, loss, count);
    if (a.dpred) store_chunk(a.dpred + row, slope, count);
    if (a.sigmoid_out) store_chunk(a.sigmoid_out + row, sigmoid, count);
  }
}

template <class Loss>
inline void elementwise_loss_of(const fastnn::ElementwiseLoss& a, const Loss& l) {
  const double cycles = a.cols == 1 ? Loss::kCycles : row_cycles(a.cols, Loss::kCycles);
  parallel_for(a.rows, cycles, [&a, l](index_t begin, index_t end) {
    if (a.cols == 1) return elementwise_loss_column(a, l, begin, end);
    for (index_t i = begin; i < end; ++i) elementwise_loss_row(a, l, i);
  });
}

void elementwise_loss(const fastnn::ElementwiseLoss& a) {
  const BinaryFocal focal{a.gamma, a.weight_one, a.weight_zero};
  switch (a.kind) {
    case ElementLoss::squared_error:
      return elementwise_loss_of(a, SquaredError{1.0f});
    case ElementLoss::half_squared_error:
      return elementwise_loss_of(a, SquaredError{0.5f});
    case ElementLoss::absolute_error:
      return elementwise_loss_of(a, AbsoluteError{});
    case ElementLoss::absolute_percentage_error:
      return elementwise_loss_of(a, AbsolutePercentageError{});
    case ElementLoss::squared_logarithmic_error:
      return elementwise_loss_of(a, SquaredLogarithmicError{});
    case ElementLoss::huber:
      return elementwise_loss_of(a, Huber{a.delta});
    case ElementLoss::log_cosh:
      return elementwise_loss_of(a, LogCosh{});
    case ElementLoss::hinge:
      return elementwise_loss_of(a, Hinge{});
    case ElementLoss::squared_hinge:
      return elementwise_loss_of(a, SquaredHinge{});
    case ElementLoss::poisson:
      return elementwise_loss_of(a, Poisson{});
    case ElementLoss::kl_divergence:
      return elementwise_loss_of(a, KlDivergence{});
    case ElementLoss::negative_product:
      return elementwise_loss_of(a, NegativeProduct{});
    case ElementLoss::binary_crossentropy:
      return elementwise_loss_of(a, BinaryCrossEntropy{});
    case ElementLoss::binary_focal:
      return elementwise_loss_of(a, focal);
    case ElementLoss::categorical_focal:
      return elementwise_loss_of(a, CategoricalFocal{a.weight_one, a.gamma});
    case ElementLoss::sigmoid_crossentropy:
      return elementwise_loss_of(a, SigmoidCrossEntropy{});
    case ElementLoss::sigmoid_focal:
      return elementwise_loss_of(a, SigmoidFocal{focal});
  }
}

}  // namespace
