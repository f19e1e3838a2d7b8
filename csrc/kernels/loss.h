// loss.h - losses with their gradients, running means, and the counting of right answers.
#pragma once

#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::ElementLoss;
using fastnn::Match;

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

FASTNN_INLINE Entropy row_entropy(const float* x, index_t cols, float top, float log_sum, const RowTarget& target) {
  Chunk loss = {}, sum = {};
  for (index_t j = 0; j < cols; j += kChunk) {
    const Chunk z = load_chunk(x + j, cols - j, 0.0f), t = target.chunk(j, cols);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const float term = t.v[i] * (log_sum - (z.v[i] - top));
      loss.v[i] += select(t.v[i] == 0.0f, 0.0f, term);
      sum.v[i] += t.v[i];
    }
  }
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

// The exps of all chunks but the last wait in the output row for their sum.
template <class Target>
inline void softmax_cross_entropy_row(const fastnn::SoftmaxCrossEntropy& a, index_t row, const Target& target) {
  const index_t cols = a.cols, start = last_chunk(cols);
  const float* x = a.logits + row * cols;
  float* probs = a.probs ? a.probs + row * cols : nullptr;
  float* dlogits = a.dlogits ? a.dlogits + row * cols : nullptr;
  float* exps = probs ? probs : dlogits;

  Chunk last = load_chunk(x + start, cols - start, -kInfinity);
  const float top = row_max(x, start, last);
  const float sum = exp_row(x, exps, start, top, last);
  const Entropy entropy = row_entropy(x, cols, top, log_f(sum), target);
  const float weight = weight_of(a.weights, row);
  a.losses[row] = weight * entropy.loss;
  if (!exps) return;

  const ChunkOutput output{1.0f / sum, a.scale * weight, entropy.target_sum};
  for (index_t j = 0; j < start; j += kChunk) {
    output.write(load_chunk(exps + j, kChunk, 0.0f), target.chunk(j, cols), probs ? probs + j : nullptr,
                 dlogits ? dlogits + j : nullptr, kChunk);
  }
  output.write(last, target.chunk(start, cols), probs ? probs + start : nullptr, dlogits ? dlogits + start : nullptr, cols - start);
}

void softmax_cross_entropy(const fastnn::SoftmaxCrossEntropy& a) {
  for_each_target(a, row_cycles(a.cols, 3.0), [&a](index_t i, const auto& target) { softmax_cross_entropy_row(a, i, target); });
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

// The losses of one prediction p and one target t: the value, its derivative by p, and what sigmoid_out gets.
struct Terms {
  float loss, slope, sigmoid;
};

struct SquaredError {
  static constexpr double kCycles = 1.0;
  static FASTNN_INLINE Terms terms(float p, float t) {
    const float d = p - t;
    return {d * d, 2.0f * d, 0.0f};
  }
};

struct AbsoluteError {
  static constexpr double kCycles = 1.0;
  static FASTNN_INLINE Terms terms(float p, float t) {
    const float d = p - t;
    const float sign = __builtin_copysignf(1.0f, d);
    return {__builtin_fabsf(d), select(__builtin_fabsf(d) > 0.0f, sign, d), 0.0f};
  }
};

struct BinaryCrossEntropy {
  static constexpr double kCycles = 6.0;
  static FASTNN_INLINE Terms terms(float p, float t) {
    const float q = clipped(p);
    const float loss = mul_add(-t, log_f(q), (t - 1.0f) * log1p_f(-q));
    return {loss, select(is_clipped(p), 0.0f, (q - t) / (q * (1.0f - q))), 0.0f};
  }
};

struct SigmoidCrossEntropy {
  static constexpr double kCycles = 6.0;
  static FASTNN_INLINE Terms terms(float p, float t) {
    const float above = select(p > 0.0f, p, 0.0f);
    const float sigmoid = sigmoid_f(p);
    return {mul_add(-p, t, above) + log1p_f(exp_f(-__builtin_fabsf(p))), sigmoid - t, sigmoid};
  }
};

template <class Loss>
inline void elementwise_loss_row(const fastnn::ElementwiseLoss& a, index_t row) {
  const float weight = weight_of(a.weights, row), cols = static_cast<float>(a.cols);
  const float factor = a.scale * weight / cols;
  Chunk sum = {};
  for (index_t j = 0; j < a.cols; j += kChunk) {
    const index_t at = row * a.cols + j, count = a.cols - j;
    const std::int32_t present = static_cast<std::int32_t>(min_of(count, kChunk));
    const Chunk p = load_chunk(a.pred + at, count, 0.0f), t = load_chunk(a.targets + at, count, 0.0f);
    Chunk slope, sigmoid;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const Terms terms = Loss::terms(p.v[i], t.v[i]);
      sum.v[i] += select(i < present, terms.loss, 0.0f);
      slope.v[i] = factor * terms.slope;
      sigmoid.v[i] = terms.sigmoid;
    }
    if (a.dpred) store_chunk(a.dpred + at, slope, count);
    if (a.sigmoid_out) store_chunk(a.sigmoid_out + at, sigmoid, count);
  }
  a.losses[row] = weight * (total(sum) / cols);
}

// Rows of one column, sixteen at a time; the same arithmetic.
template <class Loss>
inline void elementwise_loss_column(const fastnn::ElementwiseLoss& a, index_t begin, index_t end) {
  Chunk weight;
  for (int i = 0; i < kChunk; ++i) weight.v[i] = 1.0f;
  for (index_t row = begin; row < end; row += kChunk) {
    const index_t count = end - row;
    const Chunk p = load_chunk(a.pred + row, count, 0.0f), t = load_chunk(a.targets + row, count, 0.0f);
    if (a.weights) weight = load_chunk(a.weights + row, count, 0.0f);
    Chunk loss, slope, sigmoid;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const Terms terms = Loss::terms(p.v[i], t.v[i]);
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
inline void elementwise_loss_of(const fastnn::ElementwiseLoss& a) {
  const double cycles = a.cols == 1 ? Loss::kCycles : row_cycles(a.cols, Loss::kCycles);
  parallel_for(a.rows, cycles, [&a](index_t begin, index_t end) {
    if (a.cols == 1) return elementwise_loss_column<Loss>(a, begin, end);
    for (index_t i = begin; i < end; ++i) elementwise_loss_row<Loss>(a, i);
  });
}

void elementwise_loss(const fastnn::ElementwiseLoss& a) {
  switch (a.kind) {
    case ElementLoss::squared_error:
      return elementwise_loss_of<SquaredError>(a);
    case ElementLoss::absolute_error:
      return elementwise_loss_of<AbsoluteError>(a);
    case ElementLoss::binary_crossentropy:
      return elementwise_loss_of<BinaryCrossEntropy>(a);
    case ElementLoss::sigmoid_crossentropy:
      return elementwise_loss_of<SigmoidCrossEntropy>(a);
  }
}

// In double, because a running sum of floats stops growing; eight partial sums, added in order.
void mean_update(const fastnn::MeanUpdate& a) {
  constexpr int kPartial = 8;
  double partial[kPartial] = {};
  index_t i = 0;
  for (; i + kPartial <= a.n; i += kPartial) {
    FASTNN_SIMD
    for (int k = 0; k < kPartial; ++k) partial[k] += static_cast<double>(a.values[i + k]);
  }
  for (int k = 0; i < a.n; ++i, ++k) partial[k] += static_cast<double>(a.values[i]);
  double sum = 0.0;
  for (int k = 0; k < kPartial; ++k) sum += partial[k];
  a.state[0] += a.scale * sum;
  a.state[1] += static_cast<double>(a.n);
}

// Is `at` the first of the largest values? A row with a NaN has none.
inline bool is_first_maximum(const float* row, index_t cols, index_t at) {
  const float top = row[at];
  index_t beaten = 0;
  _Pragma("omp simd reduction(+ : beaten)") for (index_t j = 0; j < at; ++j) beaten += row[j] < top;
  _Pragma("omp simd reduction(+ : beaten)") for (index_t j = at; j < cols; ++j) beaten += row[j] <= top;
  return beaten == cols;
}

inline index_t first_maximum(const float* row, index_t cols) {
  index_t at = 0;
  float top = row[0];
  for (index_t j = 1; j < cols; ++j) {
    if (row[j] > top) {
      top = row[j];
      at = j;
    }
  }
  return at;
}

// Rows [begin, end) whose largest prediction stands where the label or the target row says.
inline index_t count_argmax(const fastnn::CountMatches& a, index_t begin, index_t end) {
  index_t count = 0;
  for (index_t i = begin; i < end; ++i) {
    const float* pred = a.pred + i * a.cols;
    if (a.kind == Match::sparse) {
      count += is_first_maximum(pred, a.cols, a.labels[i]);
    } else {
      const float* target = a.targets + i * a.cols;
      const index_t at = first_maximum(target, a.cols);
      count += is_first_maximum(target, a.cols, at) && is_first_maximum(pred, a.cols, at);
    }
  }
  return count;
}

inline index_t count_binary(const fastnn::CountMatches& a, index_t begin, index_t end) {
  const float *pred = a.pred, *target = a.targets, threshold = a.threshold;
  index_t different = 0;
  _Pragma("omp simd reduction(+ : different)") for (index_t i = begin; i < end; ++i) different +=
      (pred[i] > threshold) != (target[i] > threshold);
  return end - begin - different;
}

// Counts are whole numbers: their sum is the same however the rows are shared out.
void count_matches(const fastnn::CountMatches& a) {
  constexpr int kSlots = 64;
  index_t counts[kSlots] = {};
  parallel_for(a.rows, row_cycles(a.cols, 1.0), kSlots, [&a, &counts](index_t begin, index_t end, int slot) {
    const bool binary = a.kind == Match::binary;
    counts[slot] += binary ? count_binary(a, begin * a.cols, end * a.cols) : count_argmax(a, begin, end);
  });
  index_t count = 0;
  for (int slot = 0; slot < kSlots; ++slot) count += counts[slot];
  a.state[0] += static_cast<double>(count);
  a.state[1] += static_cast<double>(a.kind == Match::binary ? a.rows * a.cols : a.rows);
}

}  // namespace
