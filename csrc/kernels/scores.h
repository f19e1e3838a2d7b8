// scores.h - what metrics are made of: a number per row, counts by threshold, confusion matrices, moments of columns.
//
// Sums over a row are in double, eight partial sums added in order, whatever the instruction set.
#pragma once

#include "element_loss.h"
#include "loss.h"
#include "math.h"
#include "metrics.h"
#include "simd.h"

namespace {

using fastnn::CountOutcomes;
using fastnn::CountPairs;
using fastnn::KeepLargest;
using fastnn::MomentsUpdate;
using fastnn::RowScore;
using fastnn::ScoreRows;

constexpr int kTerms = 8;

// What the truth says of the columns of a row: targets as they are, or a one at the label; then smoothed.
struct TruthRow {
  const float* targets;
  std::int32_t label;
  float keep, share;  // t (1 - s), and what smoothing adds

  float operator[](index_t j) const {
    const float t = targets ? targets[j] : static_cast<float>(j == label);
    return mul_add(t, keep, share);
  }
};

inline TruthRow truth_row(const ScoreRows& a, index_t i) {
  const float classes =
      a.kind == RowScore::categorical_crossentropy || a.kind == RowScore::softmax_crossentropy ? static_cast<float>(a.cols) : 2.0f;
  return {a.targets ? a.targets + i * a.cols : nullptr, a.labels ? a.labels[i] : -1, 1.0f - a.smoothing, a.smoothing / classes};
}

// The sum of f(p, t) over a row. Every block of eight is computed whole, so that a column sees the same arithmetic anywhere.
template <class F>
double row_sum(const float* p, const TruthRow& t, index_t cols, const F& f) {
  double partial[kTerms] = {};
  for (index_t j = 0; j < cols; j += kTerms) {
    const index_t count = min_of(kTerms, cols - j);
    float ps[kTerms] = {}, ts[kTerms] = {}, values[kTerms];
    for (index_t k = 0; k < count; ++k) {
      ps[k] = p[j + k];
      ts[k] = t[j + k];
    }
    FASTNN_SIMD
    for (int k = 0; k < kTerms; ++k) values[k] = f(ps[k], ts[k]);
    for (index_t k = 0; k < count; ++k) partial[k] += static_cast<double>(values[k]);
  }
  double sum = 0.0;
  for (int k = 0; k < kTerms; ++k) sum += partial[k];
  return sum;
}

// The sum of a loss over a row.
template <class Loss>
double loss_sum(const float* p, const TruthRow& t, index_t cols, const Loss& loss) {
  return row_sum(p, t, cols, [&loss](float x, float y) { return loss.terms(x, y).loss; });
}

// Hinges take 0 for -1.
template <class Loss>
double hinge_sum(const float* p, const TruthRow& t, index_t cols, const Loss& loss) {
  return row_sum(p, t, cols, [&loss](float x, float y) { return loss.terms(x, select(y == 0.0f, -1.0f, y)).loss; });
}

inline double categorical_hinge_of(const float* p, const TruthRow& t, index_t cols) {
  const double right = row_sum(p, t, cols, [](float x, float y) { return x * y; });
  float wrong = -kInfinity;
  for (index_t j = 0; j < cols; ++j) {
    const float value = (1.0f - t[j]) * p[j];
    wrong = wrong > value ? wrong : value;  // keeps a NaN that comes last; one that came before is in `right`
  }
  const double value = static_cast<double>(wrong) - right + 1.0;
  return value < 0.0 ? 0.0 : value;
}

inline double cosine_of(const float* p, const TruthRow& t, index_t cols) {
  double product = 0.0, left = 0.0, right = 0.0;
  for (index_t j = 0; j < cols; ++j) {
    const double x = static_cast<double>(p[j]), y = static_cast<double>(t[j]);
    product += x * y;
    left += x * x;
    right += y * y;
  }
  constexpr double kLeast = 1e-14;  // of a squared length
  return product / __builtin_sqrt((left > kLeast ? left : kLeast) * (right > kLeast ? right : kLeast));
}

// Means, variances and the covariance of a row's predictions and truth; those of a constant row are exactly 0.
struct RowMoments {
  double p_mean, t_mean, p_variance, t_variance, covariance;
};

inline RowMoments row_moments(const float* p, const TruthRow& t, index_t cols) {
  const double count = static_cast<double>(cols);
  double p_sum = 0.0, t_sum = 0.0;
  for (index_t j = 0; j < cols; ++j) {
    p_sum += static_cast<double>(p[j]);
    t_sum += static_cast<double>(t[j]);
  }
  RowMoments m{p_sum / count, t_sum / count, 0.0, 0.0, 0.0};
  for (index_t j = 0; j < cols; ++j) {
    const double x = static_cast<double>(p[j]) - m.p_mean, y = static_cast<double>(t[j]) - m.t_mean;
    m.p_variance += x * x / count;
    m.t_variance += y * y / count;
    m.covariance += x * y / count;
  }
  return m;
}

inline double pearson_of(const float* p, const TruthRow& t, index_t cols) {
  const RowMoments m = row_moments(p, t, cols);
  const double deviations = __builtin_sqrt(m.p_variance * m.t_variance);
  return deviations == 0.0 ? 0.0 : m.covariance / deviations;
}

inline double concordance_of(const float* p, const TruthRow& t, index_t cols) {
  const RowMoments m = row_moments(p, t, cols);
  const double shift = m.p_mean - m.t_mean;
  return 2.0 * m.covariance / (m.p_variance + m.t_variance + shift * shift + 1e-7);
}

// Is the prediction at the label, or at the first maximum of the targets, one of the k largest? A NaN is larger than all.
inline double top_k_of(const ScoreRows& a, const float* p, const TruthRow& t) {
  const index_t at = t.targets ? first_maximum(t.targets, a.cols) : t.label;
  if (at < 0 || at >= a.cols || !(p[at] == p[at])) return 0.0;
  index_t above = 0;
  for (index_t j = 0; j < a.cols; ++j) above += !(p[j] <= p[at]);
  return above < a.k ? 1.0 : 0.0;
}

inline double softmax_crossentropy_of(const float* p, const TruthRow& t, index_t cols) {
  float top = p[0];
  for (index_t j = 1; j < cols; ++j) top = p[j] > top ? p[j] : top;
  const float log_sum = log_f(static_cast<float>(row_sum(p, t, cols, [top](float x, float) { return exp_f(x - top); })));
  return row_sum(p, t, cols, [top, log_sum](float x, float y) { return select(y == 0.0f, 0.0f, y * (log_sum - (x - top))); });
}

inline double sum_of(const ScoreRows& a, const float* p, const TruthRow& t) {
  switch (a.kind) {
    case RowScore::equal:
      return row_sum(p, t, a.cols, [](float x, float y) { return x == y ? 1.0f : 0.0f; });
    case RowScore::squared_error:
      return loss_sum(p, t, a.cols, SquaredError{1.0f});
    case RowScore::absolute_error:
      return loss_sum(p, t, a.cols, AbsoluteError{});
    case RowScore::absolute_percentage_error:
      return loss_sum(p, t, a.cols, AbsolutePercentageError{});
    case RowScore::squared_logarithmic_error:
      return loss_sum(p, t, a.cols, SquaredLogarithmicError{});
    case RowScore::log_cosh:
      return loss_sum(p, t, a.cols, LogCosh{});
    case RowScore::hinge:
      return hinge_sum(p, t, a.cols, Hinge{});
    case RowScore::squared_hinge:
      return hinge_sum(p, t, a.cols, SquaredHinge{});
    case RowScore::poisson:
      return loss_sum(p, t, a.cols, Poisson{});
    case RowScore::binary_crossentropy:
      return loss_sum(p, t, a.cols, BinaryCrossEntropy{});
    case RowScore::sigmoid_crossentropy:
      return loss_sum(p, t, a.cols, SigmoidCrossEntropy{});
    case RowScore::kl_divergence:
      return loss_sum(p, t, a.cols, KlDivergence{});
    case RowScore::categorical_crossentropy:
      return row_sum(p, t, a.cols, [](float x, float y) { return select(y == 0.0f, 0.0f, -y * log_f(clipped(x))); });
    case RowScore::softmax_crossentropy:
      return softmax_crossentropy_of(p, t, a.cols);
    case RowScore::categorical_hinge:
      return categorical_hinge_of(p, t, a.cols);
    case RowScore::cosine_similarity:
      return cosine_of(p, t, a.cols);
    case RowScore::pearson_correlation:
      return pearson_of(p, t, a.cols);
    case RowScore::concordance_correlation:
      return concordance_of(p, t, a.cols);
    case RowScore::top_k:
      return top_k_of(a, p, t);
    case RowScore::unlike_label:
      return t.label != a.k ? 1.0 : 0.0;
  }
  return 0.0;
}

void score_rows(const ScoreRows& a) {
  const bool mean = a.kind < RowScore::kl_divergence;
  const double divisor = mean ? static_cast<double>(a.cols) : 1.0;
  parallel_for(a.rows, row_cycles(a.cols, 8.0), [&a, divisor](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      a.values[i] = static_cast<float>(sum_of(a, a.pred + i * a.cols, truth_row(a, i)) / divisor);
    }
  });
}

// How many of the rising thresholds lie below p; none for a NaN.
inline index_t thresholds_below(const CountOutcomes& a, float p) {
  index_t low = 0, high = a.count;
  while (low < high) {
    const index_t middle = (low + high) / 2;
    if (a.thresholds[middle] < p) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// In order, by one thread: counts with weights are sums of doubles.
void count_outcomes(const CountOutcomes& a) {
  const index_t first = a.column < 0 ? 0 : a.column, last = a.column < 0 ? a.cols : a.column + 1, bins = a.count + 1;
  for (index_t i = 0; i < a.rows; ++i) {
    const double weight = a.weights ? static_cast<double>(a.weights[i]) : 1.0;
    for (index_t j = first; j < last; ++j) {
      const bool positive = a.labels ? a.labels[i] == j : a.targets[i * a.cols + j] > 0.5f;
      const index_t group = a.by_column ? j - first : 0;
      const double factor = a.column_weights ? static_cast<double>(a.column_weights[j]) : 1.0;
      a.state[(2 * group + positive) * bins + thresholds_below(a, a.pred[i * a.cols + j])] += weight * factor;
    }
  }
}

// Is element j of a row one of its k largest, the first of equal ones first? A NaN never is.
inline bool is_kept(const float* row, index_t cols, index_t j, index_t k) {
  if (!(row[j] == row[j])) return false;
  index_t before = 0;
  for (index_t other = 0; other < cols; ++other) before += row[other] > row[j] || (row[other] == row[j] && other < j);
  return before < k;
}

void keep_largest(const KeepLargest& a) {
  parallel_for(a.rows, row_cycles(a.cols, 1.0) * static_cast<double>(a.cols), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const float* row = a.x + i * a.cols;
      for (index_t j = 0; j < a.cols; ++j) a.y[i * a.cols + j] = is_kept(row, a.cols, j, a.k) ? row[j] : -kInfinity;
    }
  });
}

// A class number that was given as a float; -1 for what is none.
inline index_t class_of_value(float value, index_t classes) {
  if (!(value >= 0.0f && value < static_cast<float>(classes))) return -1;
  const index_t number = static_cast<index_t>(value);
  return static_cast<float>(number) == value ? number : -1;
}

inline index_t class_of_row(const float* row, index_t cols, index_t classes) {
  return cols == 1 ? class_of_value(row[0], classes) : first_maximum(row, cols);
}

inline bool is_ignored(const CountPairs& a, index_t i) {
  if (!a.has_ignored) return false;
  if (a.labels) return a.labels[i] == a.ignored;
  const float* row = a.targets + i * a.target_cols;
  return a.target_cols == 1 ? row[0] == static_cast<float>(a.ignored) : first_maximum(row, a.target_cols) == a.ignored;
}

void count_pairs(const CountPairs& a) {
  for (index_t i = 0; i < a.rows; ++i) {
    if (is_ignored(a, i)) continue;
    const index_t truth = a.labels ? a.labels[i] : class_of_row(a.targets + i * a.target_cols, a.target_cols, a.classes);
    const float* row = a.pred + i * a.cols;
    const index_t guess = a.binary ? (row[0] >= a.threshold) : class_of_row(row, a.cols, a.classes);
    const bool known = truth >= 0 && truth < a.classes && guess >= 0 && guess < a.classes;
    a.state[known ? truth * a.classes + guess : a.classes * a.classes] += a.weights ? static_cast<double>(a.weights[i]) : 1.0;
  }
}

// Mean and squared deviations grow value by value (Welford), so that a large mean takes no digits from them.
void moments_update(const MomentsUpdate& a) {
  double *weight = a.state, *mean = weight + a.cols, *deviations = mean + a.cols, *errors = deviations + a.cols;
  for (index_t i = 0; i < a.rows; ++i) {
    const double w = a.weights ? static_cast<double>(a.weights[i]) : 1.0;
    if (w == 0.0) continue;
    for (index_t j = 0; j < a.cols; ++j) {
      const double t = static_cast<double>(a.targets[i * a.cols + j]), p = static_cast<double>(a.pred[i * a.cols + j]);
      const double before = t - mean[j];
      weight[j] += w;
      mean[j] += before * (w / weight[j]);
      deviations[j] += w * before * (t - mean[j]);
      errors[j] += w * (t - p) * (t - p);
    }
  }
}

}  // namespace
