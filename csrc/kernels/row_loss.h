// row_loss.h - losses of a row as a whole: focal cross-entropy on logits, categorical hinge.
#pragma once

#include "element_loss.h"
#include "loss.h"
#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::CategoricalHinge;
using fastnn::SoftmaxFocal;

// Of one column: its loss, and h, what it adds to the gradients: d logit_k = h_k - p_k sum of h.
struct FocalTerm {
  float loss, h;
};

// p = exp(log_p). Where 1 - p is 0, log p / (1 - p) is -1. What t = 0 has no part in stays out, whatever p is.
FASTNN_INLINE FocalTerm focal_term(float p, float log_p, float t, float alpha, float gamma) {
  const float rest = 1.0f - p;
  const float focus = alpha * t * power(select(rest < 0.0f, 0.0f, rest), gamma);
  const float ratio = select(rest <= 0.0f, -1.0f, select(p == 0.0f, 0.0f, p * log_p / rest));
  const bool counts = t != 0.0f;
  return {select(counts, -focus * log_p, 0.0f), select(counts, focus * mul_add(gamma, ratio, -1.0f), 0.0f)};
}

// Sixteen columns of a row: their h, their probabilities in place of their exps, what they add to loss and sum.
struct FocalRow {
  float norm, log_sum, top, alpha, gamma;
  Chunk loss = {}, h_sum = {};

  FASTNN_INLINE Chunk add(const Chunk& x, const Chunk& t, Chunk& exps) {
    Chunk h;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      exps.v[i] *= norm;
      const FocalTerm term = focal_term(exps.v[i], (x.v[i] - top) - log_sum, t.v[i], alpha, gamma);
      loss.v[i] += term.loss;
      h_sum.v[i] += h.v[i] = term.h;
    }
    return h;
  }
};

inline void softmax_focal_rows(const SoftmaxFocal& a, index_t first, index_t rows) {
  const index_t cols = a.cols, begin = first * cols;
  const ExpRows e(a.logits + begin, a.probs + begin, rows, cols);
  for (index_t i = 0; i < rows; ++i) {
    const index_t at = begin + i * cols;
    const float *x = a.logits + at, *t = a.targets + at;
    float* probs = a.probs + at;
    float* d = a.dlogits ? a.dlogits + at : nullptr;
    store_chunk(probs + e.start, e.last[i], cols - e.start);

    FocalRow focal{.norm = 1.0f / e.sum[i], .log_sum = log_f(e.sum[i]), .top = e.top[i], .alpha = a.alpha, .gamma = a.gamma};
    for (index_t j = 0; j < cols; j += kChunk) {
      Chunk p = load_chunk(probs + j, cols - j, 0.0f);
      const Chunk h = focal.add(load_chunk(x + j, cols - j, 0.0f), load_chunk(t + j, cols - j, 0.0f), p);
      store_chunk(probs + j, p, cols - j);
      if (d) store_chunk(d + j, h, cols - j);
    }
    const float weight = weight_of(a.weights, first + i), factor = a.scale * weight, h_sum = total(focal.h_sum);
    a.losses[first + i] = weight * total(focal.loss);
    if (!d) continue;
    FASTNN_SIMD
    for (index_t j = 0; j < cols; ++j) d[j] = factor * mul_add(-probs[j], h_sum, d[j]);
  }
}

void softmax_focal(const SoftmaxFocal& a) {
  parallel_for(a.rows, row_cycles(a.cols, 12.0), [&a](index_t begin, index_t end) {
    for_rows_together(begin, end, a.cols, [&a](index_t i, index_t count) { softmax_focal_rows(a, i, count); });
  });
}

inline float other_score(float p, float t) { return (1.0f - t) * p; }

inline void categorical_hinge_row(const CategoricalHinge& a, index_t row) {
  const float *p = a.pred + row * a.cols, *t = a.targets + row * a.cols;
  Chunk right = {}, others;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) others.v[i] = -kInfinity;
  for (index_t j = 0; j < a.cols; j += kChunk) {
    const Chunk q = load_chunk(p + j, a.cols - j, 0.0f), u = load_chunk(t + j, a.cols - j, 0.0f);
    const std::int32_t present = static_cast<std::int32_t>(min_of(kChunk, a.cols - j));
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      right.v[i] = mul_add(u.v[i], q.v[i], right.v[i]);
      others.v[i] = select(i < present, larger(other_score(q.v[i], u.v[i]), others.v[i]), others.v[i]);
    }
  }
  const float top = largest(others), margin = top - total(right) + 1.0f, weight = weight_of(a.weights, row);
  a.losses[row] = weight * (margin <= 0.0f ? 0.0f : margin);
  if (!a.dpred) return;
  const float factor = margin > 0.0f ? a.scale * weight : 0.0f;
  float* d = a.dpred + row * a.cols;
  FASTNN_SIMD
  for (index_t j = 0; j < a.cols; ++j) d[j] = -factor * t[j];
  for (index_t j = 0; j < a.cols; ++j) {
    if (other_score(p[j], t[j]) != top) continue;
    d[j] = factor * (1.0f - 2.0f * t[j]);
    break;
  }
}

void categorical_hinge(const CategoricalHinge& a) {
  parallel_for(a.rows, row_cycles(a.cols, 3.0), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) categorical_hinge_row(a, i);
  });
}

}  // namespace
