// loss.h - cross-entropies with their gradients.
#pragma once

#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

// The target row of a classification: one-hot from a label, or as given. Beyond its last column it is 0.
struct LabelTarget {
  std::int32_t label;
  FASTNN_INLINE Chunk chunk(index_t j, index_t) const {
    const std::int32_t at = label - static_cast<std::int32_t>(j);
    Chunk t;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) t.v[i] = select(i == at, 1.0f, 0.0f);
    return t;
  }
};

struct RowTarget {
  const float* row;
  FASTNN_INLINE Chunk chunk(index_t j, index_t cols) const { return load_chunk(row + j, cols - j, 0.0f); }
};

// body(i, target) for each row, with the target that the struct names.
template <class Args, class Body>
inline void for_each_target(const Args& a, double cycles, const Body& body) {
  parallel_for(a.rows, cycles, [&a, &body](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      if (a.labels) {
        body(i, LabelTarget{a.labels[i]});
      } else {
        body(i, RowTarget{a.targets + i * a.cols});
      }
    }
  });
}

FASTNN_INLINE float weight_of(const float* weights, index_t i) { return weights ? weights[i] : 1.0f; }

// -sum of t log p for logits x, and the sum of t. log p = (x - top) - log_sum; a column with t = 0 does not count,
// whatever x is.
struct Entropy {
  float loss, target_sum;
};

FASTNN_INLINE float entropy_term(float t, float z, float log_sum, float top) {
  const float term = t * (log_sum - (z - top));
  return select(t == 0.0f, 0.0f, term);
}

FASTNN_INLINE Entropy row_entropy(const float* x, index_t cols, float top, float log_sum, const RowTarget& target) {
  Chunk loss = {}, sum = {};
  const auto add = [&loss, &sum, log_sum, top](const float* z, const float* t) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      loss.v[i] += entropy_term(t[i], z[i], log_sum, top);
      sum.v[i] += t[i];
    }
  };
  const index_t start = last_chunk(cols);
  for (index_t j = 0; j < start; j += kChunk) add(x + j, target.row + j);
  add(load_chunk(x + start, cols - start, 0.0f).v, target.chunk(start, cols).v);
  return {total(loss), total(sum)};
}

FASTNN_INLINE Entropy row_entropy(const float* x, index_t, float top, float log_sum, const LabelTarget& target) {
  return {log_sum - (x[target.label] - top), 1.0f};
}

// One chunk of a row, of which `count` columns exist: p = exps * norm and factor (p target_sum - t).
struct ChunkOutput {
  float norm, factor, target_sum;

  FASTNN_INLINE void write(const Chunk& exps, const Chunk& t, float* probs, float* dlogits, index_t count) const {
    Chunk p, d;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      p.v[i] = exps.v[i] * norm;
      d.v[i] = factor * mul_add(p.v[i], target_sum, -t.v[i]);
    }
    if (probs) store_chunk(probs, p, count);
    if (dlogits) store_chunk(dlogits, d, count);
  }
};

// The exps of all chunks but the last wait in the output rows for their sums. target_of(row) is a RowTarget or a LabelTarget.
template <class TargetOf>
inline void softmax_cross_entropy_rows(const fastnn::SoftmaxCrossEntropy& a, index_t first, index_t rows,
                                       const TargetOf& target_of) {
  const index_t cols = a.cols, begin = first * cols;
  const float* x = a.logits + begin;
  float* probs = a.probs ? a.probs + begin : nullptr;
  float* dlogits = a.dlogits ? a.dlogits + begin : nullptr;
  float* exps = probs ? probs : dlogits;
  const ExpRows e(x, exps, rows, cols);
  float log_sum[kExpRows], norm[kExpRows];
  FASTNN_SIMD
  for (int i = 0; i < kExpRows; ++i) {
    log_sum[i] = log_f(e.sum[i]);
    norm[i] = 1.0f / e.sum[i];
  }
  for (index_t i = 0; i < rows; ++i) {
    const index_t at = i * cols, start = e.start;
    const auto target = target_of(first + i);
    const Entropy entropy = row_entropy(x + at, cols, e.top[i], log_sum[i], target);
    const float weight = weight_of(a.weights, first + i);
    a.losses[first + i] = weight * entropy.loss;
    if (!exps) continue;
    const ChunkOutput output{norm[i], a.scale * weight, entropy.target_sum};
    for (index_t j = 0; j < start; j += kChunk) {
      output.write(load_chunk(exps + at + j, kChunk, 0.0f), target.chunk(j, cols), probs ? probs + at + j : nullptr,
                   dlogits ? dlogits + at + j : nullptr, kChunk);
    }
    output.write(e.last[i], target.chunk(start, cols), probs ? probs + at + start : nullptr,
                 dlogits ? dlogits + at + start : nullptr, cols - start);
  }
}

// The targets of up to sixteen rows of at most sixteen columns: 1 where the label is, or as given.
struct NarrowLabels {
  static constexpr bool kOneHot = true;
  std::int32_t label[kChunk] = {};

  NarrowLabels(const fastnn::SoftmaxCrossEntropy& a, index_t first, index_t rows) {
    for (index_t i = 0; i < rows; ++i) label[i] = a.labels[first + i];
  }
  FASTNN_INLINE float at(index_t j, int i) const { return select(label[i] == static_cast<std::int32_t>(j), 1.0f, 0.0f); }
};

struct NarrowTargets {
  static constexpr bool kOneHot = false;
  NarrowRows rows;

  NarrowTargets(const fastnn::SoftmaxCrossEntropy& a, index_t first, index_t count)
      : rows(a.targets + first * a.cols, count, a.cols) {}
  FASTNN_INLINE float at(index_t j, int i) const { return rows.column[j].v[i]; }
};

// The losses of rows of logits x, without their weights, and the sums of the targets.
template <class Targets>
FASTNN_INLINE void narrow_entropy(const NarrowRows& x, const Targets& t, const Chunk& top, const Chunk& sum, Chunk& loss,
                                  Chunk& target_sum) {
  NarrowRows terms(x.rows, x.cols);
  Chunk log_sum;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) {
    log_sum.v[i] = log_f(sum.v[i]);
    target_sum.v[i] = 1.0f;
  }
  for (index_t j = 0; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      terms.column[j].v[i] = entropy_term(t.at(j, i), x.column[j].v[i], log_sum.v[i], top.v[i]);
    }
  }
  loss = row_totals(terms);
  if constexpr (!Targets::kOneHot) target_sum = row_totals(t.rows);
}

template <class Targets>
inline void softmax_cross_entropy_narrow(const fastnn::SoftmaxCrossEntropy& a, index_t first, index_t rows) {
  const NarrowRows x(a.logits + first * a.cols, rows, a.cols);
  const Targets t(a, first, rows);
  const Chunk top = row_maxima(x);
  NarrowRows p(rows, a.cols), d(rows, a.cols);
  const Chunk sum = exp_rows(x, top, p);
  Chunk norm, loss, target_sum, factor = {};
  narrow_entropy(x, t, top, sum, loss, target_sum);
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) norm.v[i] = 1.0f / sum.v[i];
  for (index_t i = 0; i < rows; ++i) {
    const float weight = weight_of(a.weights, first + i);
    a.losses[first + i] = weight * loss.v[i];
    factor.v[i] = a.scale * weight;
  }
  for (index_t j = 0; j < a.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      p.column[j].v[i] *= norm.v[i];
      d.column[j].v[i] = factor.v[i] * mul_add(p.column[j].v[i], target_sum.v[i], -t.at(j, i));
    }
  }
  if (a.probs) p.write(a.probs + first * a.cols);
  if (a.dlogits) d.write(a.dlogits + first * a.cols);
}

void softmax_cross_entropy(const fastnn::SoftmaxCrossEntropy& a) {
  const auto rows = [&a](index_t i, index_t count) {
    a.labels ? softmax_cross_entropy_rows(a, i, count, [&a](index_t row) { return LabelTarget{a.labels[row]}; })
             : softmax_cross_entropy_rows(a, i, count, [&a](index_t row) { return RowTarget{a.targets + row * a.cols}; });
  };
  const auto narrow = [&a](index_t i, index_t count) {
    a.labels ? softmax_cross_entropy_narrow<NarrowLabels>(a, i, count) : softmax_cross_entropy_narrow<NarrowTargets>(a, i, count);
  };
  parallel_for(a.rows, row_cycles(a.cols, 3.0), [&](index_t begin, index_t end) {
    if (a.cols > kChunk) return for_rows_together(begin, end, a.cols, rows);
    for_narrow_rows(begin, end, narrow, [&rows](index_t i) { rows(i, 1); });
  });
}

// Probabilities are kept this far from 0 and 1.
constexpr float kClip = 1e-7f;
FASTNN_INLINE float clipped(float p) {
  const float q = select(p < kClip, kClip, p);
  return select(q > 1.0f - kClip, 1.0f - kClip, q);
}
FASTNN_INLINE bool is_clipped(float p) { return (p < kClip) | (p > 1.0f - kClip); }

// sum of t log q.
FASTNN_INLINE float row_log_likelihood(const float* p, index_t cols, const RowTarget& target) {
  Chunk sum = {};
  for (index_t j = 0; j < cols; j += kChunk) {
    const Chunk q = load_chunk(p + j, cols - j, 1.0f), t = target.chunk(j, cols);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] = mul_add(t.v[i], log_f(clipped(q.v[i])), sum.v[i]);
  }
  return total(sum);
}

FASTNN_INLINE float row_log_likelihood(const float* p, index_t, const LabelTarget& target) {
  return log_f(clipped(p[target.label]));
}

template <class Target>
inline void cross_entropy_row(const fastnn::CrossEntropy& a, index_t row, const Target& target) {
  const float* p = a.probs + row * a.cols;
  const float weight = weight_of(a.weights, row);
  a.losses[row] = -weight * row_log_likelihood(p, a.cols, target);
  if (!a.dprobs) return;
  const float factor = -a.scale * weight;
  for (index_t j = 0; j < a.cols; j += kChunk) {
    const Chunk q = load_chunk(p + j, a.cols - j, 1.0f), t = target.chunk(j, a.cols);
    Chunk d;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) d.v[i] = select(is_clipped(q.v[i]), 0.0f, factor * t.v[i] / q.v[i]);
    store_chunk(a.dprobs + row * a.cols + j, d, a.cols - j);
  }
}

void cross_entropy(const fastnn::CrossEntropy& a) {
  for_each_target(a, row_cycles(a.cols, 3.0), [&a](index_t i, const auto& target) { cross_entropy_row(a, i, target); });
}

}  // namespace
