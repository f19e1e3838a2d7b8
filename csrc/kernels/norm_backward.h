// norm_backward.h - the gradients of batch normalization, and of a relu behind it.
#pragma once

#include "norm.h"

namespace {

using fastnn::BatchNormBackward;

// The gradient of what was normalized, from that of y: dy itself, or with a relu dy where it let something through. of(dy, offset
// in the arrays, x - mean, and with kOfInput the scale and the offset of the column), for F = vfloat or float.
struct NoRelu {
  static constexpr bool kOfInput = false;
  template <class F>
  FASTNN_INLINE F of(F dy, index_t, F, F, F) const {
    return dy;
  }
};

struct ReluOfOutput {
  static constexpr bool kOfInput = false;
  const float* y;

  template <class F>
  FASTNN_INLINE F of(F dy, index_t at, F, F, F) const {
    return read_as<F>(y + at) > 0.0f ? dy : F{};
  }
};

struct ReluOfInput {
  static constexpr bool kOfInput = true;
  template <class F>
  FASTNN_INLINE F of(F dy, index_t, F centered, F scale, F offset) const {
    return normalized(centered, scale, offset) > 0.0f ? dy : F{};
  }
};

// The same for the sum of dy and more.
template <class Relu>
struct OfSum {
  static constexpr bool kOfInput = Relu::kOfInput;
  Relu relu;
  const float* more;

  template <class F>
  FASTNN_INLINE F of(F dy, index_t at, F centered, F scale, F offset) const {
    return relu.template of<F>(dy + read_as<F>(more + at), at, centered, scale, offset);
  }
};

template <class Relu>
inline OfSum<Relu> of_sum(const Relu& relu, const float* more) {
  return {relu, more};
}

// dy and dy (x - mean), behind the relu; with Keep this dy is also kept.
template <class Relu, bool Keep>
struct GradientTerm {
  static constexpr int kSums = 2;
  Relu relu;
  const float* x;
  const float* dy;
  const float (*table)[kNormColumns];  // mean, scale, offset
  float* kept;

  template <class F>
  inline void add(index_t at, index_t column, F* totals) const {
    const F centered = read_as<F>(x + at) - read_as<F>(table[0] + column);
    F scale = {}, offset = {};
    if constexpr (Relu::kOfInput) scale = read_as<F>(table[1] + column), offset = read_as<F>(table[2] + column);
    const F g = relu.template of<F>(read_as<F>(dy + at), at, centered, scale, offset);
    if constexpr (Keep) write_as<F>(kept + at, g);
    totals[0] += g;
    totals[1] += g * centered;
  }
};

inline float scale_of(const BatchNormBackward& a, index_t c) { return a.gamma ? a.gamma[c] * a.rstd[c] : a.rstd[c]; }
inline float offset_of(const BatchNormBackward& a, index_t c) { return a.beta ? a.beta[c] : 0.0f; }

// Per chunk and channel: the sum of dy and that of dy (x - mean).
template <bool Keep, class Relu>
void chunk_gradients(const NormPlan& plan, const NormPlan::Chunks& some, const BatchNormBackward& a, const Relu& relu) {
  float *dy_sums = a.scratch, *product_sums = dy_sums + plan.chunks * plan.channels;
  plan.for_each_block(some, 0.4, [&](index_t chunk, const NormBlock& b) {
    alignas(64) float table[3][kNormColumns] = {}, totals[2][kNormColumns];
    spread_channels(b.column, b.count, plan.channels, table[0], [&a](index_t c) { return a.mean[c]; });
    if constexpr (Relu::kOfInput) {
      spread_channels(b.column, b.count, plan.channels, table[1], [&a](index_t c) { return scale_of(a, c); });
      spread_channels(b.column, b.count, plan.channels, table[2], [&a](index_t c) { return offset_of(a, c); });
    }
    sum_block(b, GradientTerm<Relu, Keep>{relu, a.x, a.dy, table, a.dresidual}, totals);
    const index_t out = chunk * plan.channels + b.column;
    fold_columns(totals[0], b.count, plan.channels, dy_sums + out);
    fold_columns(totals[1], b.count, plan.channels, product_sums + out);
  });
}

// Joins the chunks in order: dbeta = sum dy, dgamma = rstd sum dy (x - mean).
void join_gradients(const NormPlan& plan, const BatchNormBackward& a, index_t first, index_t count) {
  const float *dy_sums = a.scratch, *product_sums = dy_sums + plan.chunks * plan.channels;
  double dbeta[kNormColumns] = {}, dgamma[kNormColumns] = {};
  for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
    const index_t at = chunk * plan.channels + first;
    FASTNN_SIMD
    for (index_t i = 0; i < count; ++i) {
      dbeta[i] += dy_sums[at + i];
      dgamma[i] += product_sums[at + i];
    }
  }
  for (index_t i = 0; i < count; ++i) {
    a.dbeta[first + i] = static_cast<float>(dbeta[i]);
    a.dgamma[first + i] = static_cast<float>(dgamma[i] * a.rstd[first + i]);
  }
}

// dx = scale (dy - dy_mean - (x - mean) slope), or scale dy with fixed statistics, and what goes to the residual: dy. Of the rows
// [begin, end).
template <bool Fixed, bool Residual, class Relu>
void apply_gradient(const BatchNormBackward& a, const Relu& relu, index_t begin, index_t end) {
  const float inverse = static_cast<float>(1.0 / static_cast<double>(a.rows));
  constexpr int kCount = Relu::kOfInput ? 5 : 4;
  const auto of = [&a, inverse](index_t c) {
    Coefficients<kCount> all{a.mean[c], scale_of(a, c), a.dbeta[c] * inverse, a.dgamma[c] * inverse * a.rstd[c]};
    if constexpr (Relu::kOfInput) all.value[4] = offset_of(a, c);
    return all;
  };
  const index_t from = begin * a.channels;
  apply_by_channel<kCount>(
      end - begin, a.channels, 0.6, of, [&a, relu, from](index_t i0, index_t n, const float(*table)[kApplyColumns]) {
        const index_t at = from + i0;
        const float* __restrict x = a.x + at;
        const float* __restrict dy = a.dy + at;
        float* __restrict dx = a.dx + at;
        float* __restrict dresidual = a.dresidual + (Residual ? at : 0);
        const float* __restrict mean = table[0], * __restrict scale = table[1];
        const float* __restrict dy_mean = table[2], * __restrict slope = table[3], * __restrict offset = table[kCount - 1];
        const Relu here = relu;
        FASTNN_SIMD
        for (index_t i = 0; i < n; ++i) {
          const float centered = x[i] - mean[i];
          const float g = here.template of<float>(dy[i], at + i, centered, scale[i], offset[i]);
          if constexpr (Residual) dresidual[i] = g;
          dx[i] = Fixed ? scale[i] * g : scale[i] * (g - dy_mean[i] - centered * slope[i]);
        }
      });
}

template <bool Residual, class Relu>
void apply_gradient(const BatchNormBackward& a, const Relu& relu, index_t begin, index_t end) {
  a.fixed_statistics ? apply_gradient<true, Residual>(a, relu, begin, end) : apply_gradient<false, Residual>(a, relu, begin, end);
}

template <class Body>
void behind_relu_of(const BatchNormBackward& a, const Body& body) {
  if (a.relu_y) return body(ReluOfOutput{a.relu_y});
  a.relu ? body(ReluOfInput{}) : body(NoRelu{});
}

// body(what is between dy and the normalization).
template <class Body>
void with_relu(const BatchNormBackward& a, const Body& body) {
  behind_relu_of(a, [&](const auto& relu) { a.more ? body(of_sum(relu, a.more)) : body(relu); });
}

// Where no vector sticks out of its row, what goes to the residual is written with the sums, and read in place of all that it is
// made of.
bool keeps_gradient(const NormPlan& plan, const BatchNormBackward& a) {
  return a.dx && a.dresidual && plan.view.width % kLanes == 0;
}

void sum_gradients(const NormPlan& plan, const NormPlan::Chunks& some, const BatchNormBackward& a) {
  with_relu(a, [&](const auto& relu) {
    keeps_gradient(plan, a) ? chunk_gradients<true>(plan, some, a, relu) : chunk_gradients<false>(plan, some, a, relu);
  });
}

void finish_gradients(const NormPlan& plan, const BatchNormBackward& a) {
  plan.for_each_channel_range([&](index_t first, index_t count) { join_gradients(plan, a, first, count); });
}

void apply_rows(const NormPlan& plan, const BatchNormBackward& a, index_t begin, index_t end) {
  if (!a.dx) return;
  if (keeps_gradient(plan, a)) {
    BatchNormBackward kept = a;
    kept.dy = a.dresidual;
    return apply_gradient<false>(kept, NoRelu(), begin, end);
  }
  with_relu(a, [&](const auto& relu) {
    a.dresidual ? apply_gradient<true>(a, relu, begin, end) : apply_gradient<false>(a, relu, begin, end);
  });
}

index_t batch_norm_backward_scratch(const BatchNormBackward& a) {
  return a.channels == 0 ? 0 : NormPlan(a.rows, a.channels).scratch();
}

void batch_norm_backward(const BatchNormBackward& a) {
  if (a.channels == 0) return;
  const NormPlan plan(a.rows, a.channels);
  sum_gradients(plan, plan.all(), a);
  finish_gradients(plan, a);
  apply_rows(plan, a, 0, a.rows);
}

void batch_norm_backward_sums(const BatchNormBackward& a, const ImageRange& range) {
  const NormPlan plan(a.rows, a.channels);
  sum_gradients(plan, plan.done_with(range), a);
}

void batch_norm_backward_finish(const BatchNormBackward& a, index_t images, index_t units) {
  const NormPlan plan(a.rows, a.channels);
  plan.for_each_between(images, units, [&](const auto& some) { sum_gradients(plan, some, a); });
  finish_gradients(plan, a);
}

void batch_norm_backward_apply(const BatchNormBackward& a, const ImageRange& range) {
  const index_t image = a.rows / range.count;
  apply_rows(NormPlan(a.rows, a.channels), a, range.begin * image, range.end * image);
}

}  // namespace
