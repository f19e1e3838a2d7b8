// metrics.h - running means and the counting of right answers.
#pragma once

#include "math.h"
#include "narrow_rows.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::Match;

// In double, because a running sum of floats stops growing; eight partial sums, added in order.
template <class Term>
double sum_in_double(index_t n, const Term& term) {
  constexpr int kPartial = 8;
  double partial[kPartial] = {};
  index_t i = 0;
  for (; i + kPartial <= n; i += kPartial) {
    FASTNN_SIMD
    for (int k = 0; k < kPartial; ++k) partial[k] += term(i + k);
  }
  for (int k = 0; i < n; ++i, ++k) partial[k] += term(i);
  double sum = 0.0;
  for (int k = 0; k < kPartial; ++k) sum += partial[k];
  return sum;
}

// The product of two floats is exact in double, so that it makes no difference whether it is fused with the sum.
void mean_update(const fastnn::MeanUpdate& a) {
  const float *values = a.values, *weights = a.weights;
  if (!weights) {
    a.state[0] += a.scale * sum_in_double(a.n, [values](index_t i) { return static_cast<double>(values[i]); });
    a.state[1] += static_cast<double>(a.n);
    return;
  }
  const auto weighted = [values, weights](index_t i) { return static_cast<double>(values[i]) * static_cast<double>(weights[i]); };
  a.state[0] += a.scale * sum_in_double(a.n, weighted);
  a.state[1] += sum_in_double(a.n, [weights](index_t i) { return static_cast<double>(weights[i]); });
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

// The same for up to sixteen narrow rows: 1 or 0 each.
FASTNN_INLINE void are_first_maxima(const NarrowRows& x, const std::int32_t* at, std::int32_t* are) {
  Chunk top = {};
  for (index_t j = 0; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) top.v[i] = select(at[i] == static_cast<std::int32_t>(j), x.column[j].v[i], top.v[i]);
  }
  for (index_t j = 0; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const bool less = x.column[j].v[i] < top.v[i], equal = x.column[j].v[i] == top.v[i];
      are[i] &= less | (equal & (static_cast<std::int32_t>(j) >= at[i]));
    }
  }
}

FASTNN_INLINE void first_maxima(const NarrowRows& x, std::int32_t* at) {
  Chunk top = x.column[0];
  for (index_t j = 1; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) {
      const bool better = x.column[j].v[i] > top.v[i];
      top.v[i] = select(better, x.column[j].v[i], top.v[i]);
      at[i] = better ? static_cast<std::int32_t>(j) : at[i];
    }
  }
}

inline index_t count_narrow(const fastnn::CountMatches& a, index_t first, index_t rows) {
  std::int32_t at[kChunk] = {}, right[kChunk];
  for (int i = 0; i < kChunk; ++i) right[i] = i < rows;
  if (a.kind == Match::sparse) {
    for (index_t i = 0; i < rows; ++i) {
      at[i] = a.labels[first + i];
      right[i] = at[i] >= 0 && at[i] < a.cols;
    }
  } else {
    const NarrowRows targets(a.targets + first * a.cols, rows, a.cols);
    first_maxima(targets, at);
    are_first_maxima(targets, at, right);
  }
  are_first_maxima(NarrowRows(a.pred + first * a.cols, rows, a.cols), at, right);
  index_t count = 0;
  for (int i = 0; i < kChunk; ++i) count += right[i];
  return count;
}

inline bool is_match(const fastnn::CountMatches& a, index_t i) {
  const float* pred = a.pred + i * a.cols;
  if (a.kind == Match::sparse) {
    const index_t label = a.labels[i];
    return label >= 0 && label < a.cols && is_first_maximum(pred, a.cols, label);
  }
  const float* target = a.targets + i * a.cols;
  const index_t at = first_maximum(target, a.cols);
  return is_first_maximum(target, a.cols, at) && is_first_maximum(pred, a.cols, at);
}

// Rows [begin, end) whose largest prediction stands where the label or the target row says.
inline index_t count_argmax(const fastnn::CountMatches& a, index_t begin, index_t end) {
  index_t count = 0;
  const auto row = [&a, &count](index_t i) { count += is_match(a, i); };
  const auto rows = [&a, &count](index_t first, index_t n) { count += count_narrow(a, first, n); };
  if (0 < a.cols && a.cols <= kChunk) {
    for_narrow_rows(begin, end, rows, row);
  } else {
    for (index_t i = begin; i < end; ++i) row(i);
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

// Row by row, in order: sums of weights are no whole numbers.
inline void count_weighted(const fastnn::CountMatches& a) {
  const bool binary = a.kind == Match::binary;
  double count = 0.0, total = 0.0;
  for (index_t i = 0; i < a.rows; ++i) {
    const double weight = static_cast<double>(a.weights[i]);
    const index_t right = binary ? count_binary(a, i * a.cols, (i + 1) * a.cols) : count_argmax(a, i, i + 1);
    count += weight * static_cast<double>(right);
    total += weight * (binary ? static_cast<double>(a.cols) : 1.0);
  }
  a.state[0] += count;
  a.state[1] += total;
}

// Counts are whole numbers: their sum is the same however the rows are shared out.
void count_matches(const fastnn::CountMatches& a) {
  if (a.weights) return count_weighted(a);
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
