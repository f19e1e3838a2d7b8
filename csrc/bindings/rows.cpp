// rows.cpp - bindings of activations, softmax, normalization and dropout.
#include "arrays.h"

namespace fastnn {
namespace {

// In the order of enum class Activation.
const char* const kActivationNames[] = {"linear",         "relu",        "relu6",      "leaky_relu", "elu",         "selu",
                                        "celu",           "exponential", "step",       "sign",       "hard_tanh",   "hard_sigmoid",
                                        "sparse_sigmoid", "sigmoid",     "tanh",       "softplus",   "gelu",        "gelu_tanh",
                                        "silu",           "mish",        "hard_silu",  "softsign",   "log_sigmoid", "tanh_shrink",
                                        "soft_shrink",    "hard_shrink", "squareplus", "sparse_plus"};

void activation_forward(const py::array& x, const py::array& y, const std::string& kind, float alpha) {
  launch("activation_forward", &Kernels::activation_forward,
         ActivationForward{in<float>(x, y.size(), "x"), out<float>(y, -1, "y"), y.size(), activation_from(kind), alpha});
}

void activation_backward(const py::array& dy, const MaybeArray& x, const MaybeArray& y, const py::array& dx,
                         const std::string& kind, float alpha, const MaybeArray& sums) {
  const index_t n = dy.size(), cols = sums ? sums->size() : 1;
  const Activation activation = activation_from(kind);
  require(activation <= Activation::tanh ? y.has_value() : x.has_value(), "the array that the derivative is taken from");
  require(cols > 0 ? n % cols == 0 : n == 0, "sums of as many elements as a row has");
  launch("activation_backward", &Kernels::activation_backward, &Kernels::activation_backward_scratch,
         ActivationBackward{.dy = in<float>(dy, n, "dy"),
                            .x = in<float>(x, n, "x"),
                            .y = in<float>(y, n, "y"),
                            .dx = out<float>(dx, n, "dx"),
                            .n = n,
                            .kind = activation,
                            .alpha = alpha,
                            .sums = cols > 0 ? out<float>(sums, -1, "sums") : nullptr,
                            .cols = cols,
                            .scratch = nullptr});
}

// x, y (rows, cols).
void softmax_forward(const py::array& x, const py::array& y) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch("softmax_forward", &Kernels::softmax_forward,
         SoftmaxForward{in<float>(x, rows * cols, "x"), out<float>(y, rows * cols, "y"), rows, cols});
}

void softmax_backward(const py::array& dy, const py::array& y, const py::array& dx) {
  const index_t rows = dim(y, 0, "y"), cols = dim(y, 1, "y");
  launch("softmax_backward", &Kernels::softmax_backward,
         SoftmaxBackward{in<float>(dy, rows * cols, "dy"), in<float>(y, rows * cols, "y"), out<float>(dx, rows * cols, "dx"), rows,
                         cols});
}

// x (rows, channels).
void batch_norm_forward(const py::array& x, const MaybeArray& gamma, const MaybeArray& beta, const py::array& y,
                        const py::array& mean, const py::array& rstd, const py::array& moving_mean,
                        const py::array& moving_variance, float momentum, float epsilon, const MaybeArray& residual, bool relu) {
  const index_t rows = dim(x, 0, "x"), channels = dim(x, 1, "x");
  require(rows >= 1, "at least one row");
  launch("batch_norm_forward", &Kernels::batch_norm_forward, &Kernels::batch_norm_forward_scratch,
         BatchNormForward{.x = in<float>(x, rows * channels, "x"),
                          .gamma = in<float>(gamma, channels, "gamma"),
                          .beta = in<float>(beta, channels, "beta"),
                          .y = out<float>(y, rows * channels, "y"),
                          .mean = out<float>(mean, channels, "mean"),
                          .rstd = out<float>(rstd, channels, "rstd"),
                          .moving_mean = out<float>(moving_mean, channels, "moving_mean"),
                          .moving_variance = out<float>(moving_variance, channels, "moving_variance"),
                          .residual = in<float>(residual, rows * channels, "residual"),
                          .rows = rows,
                          .channels = channels,
                          .momentum = momentum,
                          .epsilon = epsilon,
                          .relu = relu,
                          .scratch = nullptr});
}

void batch_norm_inference(const py::array& x, const MaybeArray& gamma, const MaybeArray& beta, const py::array& moving_mean,
                          const py::array& moving_variance, const py::array& y, const MaybeArray& mean, const MaybeArray& rstd,
                          float epsilon, const MaybeArray& residual, bool relu) {
  const index_t rows = dim(x, 0, "x"), channels = dim(x, 1, "x");
  launch("batch_norm_inference", &Kernels::batch_norm_inference,
         BatchNormInference{.x = in<float>(x, rows * channels, "x"),
                            .gamma = in<float>(gamma, channels, "gamma"),
                            .beta = in<float>(beta, channels, "beta"),
                            .moving_mean = in<float>(moving_mean, channels, "moving_mean"),
                            .moving_variance = in<float>(moving_variance, channels, "moving_variance"),
                            .y = out<float>(y, rows * channels, "y"),
                            .mean = out<float>(mean, channels, "mean"),
                            .rstd = out<float>(rstd, channels, "rstd"),
                            .residual = in<float>(residual, rows * channels, "residual"),
                            .rows = rows,
                            .channels = channels,
                            .epsilon = epsilon,
                            .relu = relu});
}

void batch_norm_backward(const py::array& x, const py::array& dy, const MaybeArray& more, const MaybeArray& gamma,
                         const MaybeArray& beta, const py::array& mean, const py::array& rstd, const MaybeArray& relu_y,
                         const MaybeArray& dx, const py::array& dgamma, const py::array& dbeta, const MaybeArray& dresidual,
                         bool fixed_statistics, bool relu) {
  const index_t rows = dim(x, 0, "x"), channels = dim(x, 1, "x");
  require(rows >= 1, "at least one row");
  launch("batch_norm_backward", &Kernels::batch_norm_backward, &Kernels::batch_norm_backward_scratch,
         BatchNormBackward{.x = in<float>(x, rows * channels, "x"),
                           .dy = in<float>(dy, rows * channels, "dy"),
                           .more = in<float>(more, rows * channels, "more"),
                           .gamma = in<float>(gamma, channels, "gamma"),
                           .beta = in<float>(beta, channels, "beta"),
                           .mean = in<float>(mean, channels, "mean"),
                           .rstd = in<float>(rstd, channels, "rstd"),
                           .relu_y = in<float>(relu_y, rows * channels, "relu_y"),
                           .dx = out<float>(dx, rows * channels, "dx"),
                           .dgamma = out<float>(dgamma, channels, "dgamma"),
                           .dbeta = out<float>(dbeta, channels, "dbeta"),
                           .dresidual = out<float>(dresidual, rows * channels, "dresidual"),
                           .rows = rows,
                           .channels = channels,
                           .fixed_statistics = fixed_statistics,
                           .relu = relu,
                           .scratch = nullptr});
}

void dropout_forward(const py::array& x, const py::array& y, float rate, std::uint64_t seed, std::uint32_t stream,
                     const py::array& counter, const py::array& kept) {
  launch("dropout_forward", &Kernels::dropout_forward,
         DropoutForward{in<float>(x, y.size(), "x"), out<float>(y, -1, "y"), y.size(), rate, seed, stream,
                        out<std::uint64_t>(counter, 1, "counter"), out<std::uint8_t>(kept, (y.size() + 7) / 8, "kept")});
}

void dropout_backward(const py::array& dy, const py::array& kept, const py::array& dx, float rate) {
  launch("dropout_backward", &Kernels::dropout_backward,
         DropoutBackward{in<float>(dy, dx.size(), "dy"), in<std::uint8_t>(kept, (dx.size() + 7) / 8, "kept"),
                         out<float>(dx, -1, "dx"), dx.size(), rate});
}

}  // namespace

Activation activation_from(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kActivationNames); ++i) {
    if (name == kActivationNames[i]) return static_cast<Activation>(i);
  }
  throw py::value_error("_core: expected the name of an activation, got '" + name + "'");
}

void bind_rows(py::module_& m) {
  m.def("activation_forward", &activation_forward);
  m.def("activation_backward", &activation_backward);
  m.def("softmax_forward", &softmax_forward);
  m.def("softmax_backward", &softmax_backward);
  m.def("batch_norm_forward", &batch_norm_forward);
  m.def("batch_norm_inference", &batch_norm_inference);
  m.def("batch_norm_backward", &batch_norm_backward);
  m.def("dropout_forward", &dropout_forward);
  m.def("dropout_backward", &dropout_backward);
}

}  // namespace fastnn
