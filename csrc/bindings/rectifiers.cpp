// rectifiers.cpp - bindings of log-softmax and of rectifiers with more than one number.
#include "arrays.h"

namespace fastnn {
namespace {

// x, y (rows, cols).
void log_softmax_forward(const py::array& x, const py::array& y) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch("log_softmax_forward", &Kernels::log_softmax_forward,
         LogSoftmaxForward{in<float>(x, rows * cols, "x"), out<float>(y, rows * cols, "y"), rows, cols});
}

void log_softmax_backward(const py::array& dy, const py::array& y, const py::array& dx) {
  const index_t rows = dim(y, 0, "y"), cols = dim(y, 1, "y"), size = rows * cols;
  launch("log_softmax_backward", &Kernels::log_softmax_backward,
         LogSoftmaxBackward{in<float>(dy, size, "dy"), in<float>(y, size, "y"), out<float>(dx, size, "dx"), rows, cols});
}

void clipped_relu_forward(const py::array& x, const py::array& y, float slope, float max_value, float threshold) {
  launch("clipped_relu_forward", &Kernels::clipped_relu_forward,
         ClippedReluForward{in<float>(x, y.size(), "x"), out<float>(y, -1, "y"), y.size(), slope, max_value, threshold});
}

void clipped_relu_backward(const py::array& dy, const py::array& x, const py::array& dx, float slope, float max_value,
                           float threshold) {
  const index_t n = dx.size();
  launch(
      "clipped_relu_backward", &Kernels::clipped_relu_backward,
      ClippedReluBackward{in<float>(dy, n, "dy"), in<float>(x, n, "x"), out<float>(dx, n, "dx"), n, slope, max_value, threshold});
}

// x (rows, cols), alpha (cols).
void prelu_forward(const py::array& x, const py::array& alpha, const py::array& y) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch(
      "prelu_forward", &Kernels::prelu_forward,
      PreluForward{in<float>(x, rows * cols, "x"), in<float>(alpha, cols, "alpha"), out<float>(y, rows * cols, "y"), rows, cols});
}

void prelu_backward(const py::array& dy, const py::array& x, const py::array& alpha, const py::array& dx,
                    const MaybeArray& dalpha) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x"), size = rows * cols;
  launch("prelu_backward", &Kernels::prelu_backward, &Kernels::prelu_backward_scratch,
         PreluBackward{in<float>(dy, size, "dy"), in<float>(x, size, "x"), in<float>(alpha, cols, "alpha"),
                       out<float>(dx, size, "dx"), out<float>(dalpha, cols, "dalpha"), rows, cols, nullptr});
}

void random_relu_forward(const py::array& x, const py::array& y, float lower, float upper, std::uint64_t seed, std::uint32_t stream,
                         const py::array& counter, const py::array& used) {
  launch("random_relu_forward", &Kernels::random_relu_forward,
         RandomReluForward{in<float>(x, y.size(), "x"), out<float>(y, -1, "y"), y.size(), lower, upper, seed, stream,
                           out<std::uint64_t>(counter, 1, "counter"), out<std::uint64_t>(used, 1, "used")});
}

void random_relu_backward(const py::array& dy, const py::array& x, const py::array& dx, float lower, float upper,
                          std::uint64_t seed, std::uint32_t stream, const py::array& used) {
  const index_t n = dx.size();
  launch("random_relu_backward", &Kernels::random_relu_backward,
         RandomReluBackward{in<float>(dy, n, "dy"), in<float>(x, n, "x"), out<float>(dx, n, "dx"), n, lower, upper, seed, stream,
                            in<std::uint64_t>(used, 1, "used")});
}

}  // namespace

void bind_rectifiers(py::module_& m) {
  m.def("log_softmax_forward", &log_softmax_forward);
  m.def("log_softmax_backward", &log_softmax_backward);
  m.def("clipped_relu_forward", &clipped_relu_forward);
  m.def("clipped_relu_backward", &clipped_relu_backward);
  m.def("prelu_forward", &prelu_forward);
  m.def("prelu_backward", &prelu_backward);
  m.def("random_relu_forward", &random_relu_forward);
  m.def("random_relu_backward", &random_relu_backward);
}

}  // namespace fastnn
