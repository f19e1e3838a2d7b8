// scores.cpp - bindings of what metrics are made of.
#include "arrays.h"

namespace fastnn {
namespace {

// In the order of enum class RowScore.
const char* const kRowScoreNames[] = {"equal",
                                      "squared_error",
                                      "absolute_error",
                                      "absolute_percentage_error",
                                      "squared_logarithmic_error",
                                      "log_cosh",
                                      "hinge",
                                      "squared_hinge",
                                      "poisson",
                                      "binary_crossentropy",
                                      "sigmoid_crossentropy",
                                      "kl_divergence",
                                      "categorical_crossentropy",
                                      "softmax_crossentropy",
                                      "categorical_hinge",
                                      "cosine_similarity",
                                      "pearson_correlation",
                                      "concordance_correlation",
                                      "top_k",
                                      "unlike_label"};

RowScore row_score_from(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kRowScoreNames); ++i) {
    if (name == kRowScoreNames[i]) return static_cast<RowScore>(i);
  }
  throw py::value_error("_core: expected the name of a row score, got '" + name + "'");
}

// The labels or targets that y_true is.
const std::int32_t* labels_in(const py::array& y_true, index_t rows) {
  return py::isinstance<py::array_t<std::int32_t>>(y_true) ? in<std::int32_t>(y_true, rows, "y_true") : nullptr;
}

const float* targets_in(const py::array& y_true, index_t size) {
  return py::isinstance<py::array_t<std::int32_t>>(y_true) ? nullptr : in<float>(y_true, size, "y_true");
}

void score_rows(const std::string& kind, const py::array& y_pred, const py::array& y_true, const py::array& values, float smoothing,
                index_t k) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred");
  const RowScore score = row_score_from(kind);
  require(cols > 0 || rows == 0, "at least one column");
  require(score != RowScore::unlike_label || labels_in(y_true, rows), "int32 labels for unlike_label");
  launch("score_rows", &Kernels::score_rows,
         ScoreRows{score, in<float>(y_pred, rows * cols, "y_pred"), labels_in(y_true, rows), targets_in(y_true, rows * cols),
                   out<float>(values, rows, "values"), rows, cols, k, smoothing});
}

void count_outcomes(const py::array& y_pred, const py::array& y_true, const py::array& thresholds, const py::array& state,
                    const MaybeArray& weights, const MaybeArray& column_weights, index_t column, bool by_column) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred"), count = thresholds.size();
  require(column < cols, "column to be one of y_pred");
  const index_t groups = !by_column ? 1 : column < 0 ? cols : 1;
  launch("count_outcomes", &Kernels::count_outcomes,
         CountOutcomes{in<float>(y_pred, rows * cols, "y_pred"), labels_in(y_true, rows), targets_in(y_true, rows * cols),
                       in<float>(weights, rows, "weights"), in<float>(column_weights, cols, "column_weights"),
                       in<float>(thresholds, -1, "thresholds"), out<double>(state, 2 * groups * (count + 1), "state"), rows, cols,
                       column, count, by_column});
}

void keep_largest(const py::array& x, const py::array& y, index_t k) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch("keep_largest", &Kernels::keep_largest,
         KeepLargest{in<float>(x, rows * cols, "x"), out<float>(y, rows * cols, "y"), rows, cols, k});
}

void count_pairs(const py::array& y_pred, const py::array& y_true, const py::array& state, const MaybeArray& weights,
                 index_t classes, const std::optional<index_t>& ignored, const std::optional<float>& threshold) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred");
  const std::int32_t* labels = labels_in(y_true, rows);
  const index_t target_cols = labels ? 0 : dim(y_true, 1, "y_true");
  require(rows == 0 || (cols > 0 && (labels || target_cols > 0)), "at least one column");
  launch(
      "count_pairs", &Kernels::count_pairs,
      CountPairs{in<float>(y_pred, rows * cols, "y_pred"), labels, targets_in(y_true, rows * target_cols),
                 in<float>(weights, rows, "weights"), out<double>(state, classes * classes + 1, "state"), rows, cols, target_cols,
                 classes, ignored.value_or(0), ignored.has_value(), threshold.has_value(), threshold.value_or(0.0f)});
}

void moments_update(const py::array& y_pred, const py::array& y_true, const py::array& state, const MaybeArray& weights) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred");
  launch("moments_update", &Kernels::moments_update,
         MomentsUpdate{in<float>(y_pred, rows * cols, "y_pred"), in<float>(y_true, rows * cols, "y_true"),
                       in<float>(weights, rows, "weights"), out<double>(state, 4 * cols, "state"), rows, cols});
}

}  // namespace

void bind_scores(py::module_& m) {
  m.def("score_rows", &score_rows);
  m.def("count_outcomes", &count_outcomes);
  m.def("keep_largest", &keep_largest);
  m.def("count_pairs", &count_pairs);
  m.def("moments_update", &moments_update);
}

}  // namespace fastnn
