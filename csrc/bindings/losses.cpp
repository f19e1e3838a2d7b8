// losses.cpp - bindings of losses on targets of the predictions' shape, and of what prepares targets and weights.
#include "arrays.h"

namespace fastnn {
namespace {

// In the order of enum class ElementLoss.
const char* const kElementLossNames[] = {"squared_error",
                                         "absolute_error",
                                         "half_squared_error",
                                         "absolute_percentage_error",
                                         "squared_logarithmic_error",
                                         "huber",
                                         "log_cosh",
                                         "hinge",
                                         "squared_hinge",
                                         "poisson",
                                         "kl_divergence",
                                         "negative_product",
                                         "binary_crossentropy",
                                         "binary_focal",
                                         "categorical_focal",
                                         "sigmoid_crossentropy",
                                         "sigmoid_focal"};

ElementLoss element_loss_from(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kElementLossNames); ++i) {
    if (name == kElementLossNames[i]) return static_cast<ElementLoss>(i);
  }
  throw py::value_error("_core: expected the name of an elementwise loss, got '" + name + "'");
}

// numbers: delta, gamma, weight_one, weight_zero.
void elementwise_loss(const std::string& kind, const py::array& y_pred, const py::array& y_true, const MaybeArray& weights,
                      const MaybeArray& sigmoid_out, const py::array& losses, const MaybeArray& dpred, float scale, bool sum,
                      const std::array<float, 4>& numbers) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred"), size = rows * cols;
  launch("elementwise_loss", &Kernels::elementwise_loss,
         ElementwiseLoss{.kind = element_loss_from(kind),
                         .pred = in<float>(y_pred, size, "y_pred"),
                         .targets = in<float>(y_true, size, "y_true"),
                         .weights = in<float>(weights, rows, "weights"),
                         .sigmoid_out = out<float>(sigmoid_out, size, "sigmoid_out"),
                         .losses = out<float>(losses, rows, "losses"),
                         .dpred = out<float>(dpred, size, "dpred"),
                         .rows = rows,
                         .cols = cols,
                         .scale = scale,
                         .sum = sum,
                         .delta = numbers[0],
                         .gamma = numbers[1],
                         .weight_one = numbers[2],
                         .weight_zero = numbers[3]});
}

void softmax_focal(const py::array& logits, const py::array& y_true, const MaybeArray& weights, const py::array& probs,
                   const py::array& losses, const MaybeArray& dlogits, float alpha, float gamma, float scale) {
  const index_t rows = dim(logits, 0, "logits"), cols = dim(logits, 1, "logits"), size = rows * cols;
  launch("softmax_focal", &Kernels::softmax_focal,
         SoftmaxFocal{in<float>(logits, size, "logits"), in<float>(y_true, size, "y_true"), in<float>(weights, rows, "weights"),
                      out<float>(probs, size, "probs"), out<float>(losses, rows, "losses"), out<float>(dlogits, size, "dlogits"),
                      rows, cols, alpha, gamma, scale});
}

void categorical_hinge(const py::array& y_pred, const py::array& y_true, const MaybeArray& weights, const py::array& losses,
                       const MaybeArray& dpred, float scale) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred"), size = rows * cols;
  launch("categorical_hinge", &Kernels::categorical_hinge,
         CategoricalHinge{in<float>(y_pred, size, "y_pred"), in<float>(y_true, size, "y_true"), in<float>(weights, rows, "weights"),
                          out<float>(losses, rows, "losses"), out<float>(dpred, size, "dpred"), rows, cols, scale});
}

void row_weights(const MaybeArray& weights, const MaybeArray& labels, std::int32_t ignored, bool mean_of_one, const py::array& y,
                 const MaybeArray& kept) {
  const index_t rows = y.size();
  require(labels.has_value() || !kept.has_value(), "labels to keep some of them");
  launch("row_weights", &Kernels::row_weights,
         RowWeights{.weights = in<float>(weights, rows, "weights"),
                    .labels = in<std::int32_t>(labels, rows, "labels"),
                    .ignored = ignored,
                    .mean_of_one = mean_of_one,
                    .y = out<float>(y, rows, "y"),
                    .kept = out<std::int32_t>(kept, rows, "kept"),
                    .rows = rows});
}

void smooth_targets(const py::array& t, const py::array& y, float keep, float share) {
  launch("smooth_targets", &Kernels::smooth_targets,
         SmoothTargets{in<float>(t, y.size(), "t"), out<float>(y, -1, "y"), y.size(), keep, share});
}

void signed_labels(const py::array& t, const py::array& y) {
  launch("signed_labels", &Kernels::signed_labels, SignedLabels{in<float>(t, y.size(), "t"), out<float>(y, -1, "y"), y.size()});
}

}  // namespace

void bind_losses(py::module_& m) {
  m.def("elementwise_loss", &elementwise_loss);
  m.def("softmax_focal", &softmax_focal);
  m.def("categorical_hinge", &categorical_hinge);
  m.def("row_weights", &row_weights);
  m.def("smooth_targets", &smooth_targets);
  m.def("signed_labels", &signed_labels);
}

}  // namespace fastnn
