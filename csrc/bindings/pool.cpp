// pool.cpp - bindings of pooling.
#include "arrays.h"
#include "pool_shape.h"

namespace fastnn {
namespace {

void max_pool2d_forward(const py::array& x, const py::array& y, const py::array& index, Pair size, Pair strides, Pair pads) {
  const Pool2dShape s = pool_shape(x, y, size, strides, pads);
  launch("max_pool2d_forward", &Kernels::max_pool2d_forward,
         MaxPool2dForward{.s = s,
                          .x = in<float>(x, -1, "x"),
                          .y = out<float>(y, -1, "y"),
                          .index = narrow(s) ? out<std::uint8_t>(index, y.size(), "index") : nullptr,
                          .wide_index = narrow(s) ? nullptr : out<std::int32_t>(index, y.size(), "index")});
}

void max_pool2d_backward(const py::array& dy, const py::array& index, const MaybeArray& relu_y, const py::array& dx, Pair size,
                         Pair strides, Pair pads) {
  const Pool2dShape s = pool_shape(dx, dy, size, strides, pads);
  launch("max_pool2d_backward", &Kernels::max_pool2d_backward,
         MaxPool2dBackward{.s = s,
                           .dy = in<float>(dy, -1, "dy"),
                           .index = narrow(s) ? in<std::uint8_t>(index, dy.size(), "index") : nullptr,
                           .wide_index = narrow(s) ? nullptr : in<std::int32_t>(index, dy.size(), "index"),
                           .relu_y = in<float>(relu_y, dy.size(), "relu_y"),
                           .dx = out<float>(dx, -1, "dx")});
}

void avg_pool2d_forward(const py::array& x, const py::array& y, Pair size, Pair strides, Pair pads) {
  launch("avg_pool2d_forward", &Kernels::avg_pool2d_forward,
         AvgPool2dForward{pool_shape(x, y, size, strides, pads), in<float>(x, -1, "x"), out<float>(y, -1, "y")});
}

void avg_pool2d_backward(const py::array& dy, const py::array& dx, Pair size, Pair strides, Pair pads) {
  launch("avg_pool2d_backward", &Kernels::avg_pool2d_backward,
         AvgPool2dBackward{pool_shape(dx, dy, size, strides, pads), in<float>(dy, -1, "dy"), out<float>(dx, -1, "dx")});
}

// x (N, pixels, C), y (N, C).
void spatial_mean_forward(const py::array& x, const py::array& y) {
  const index_t N = dim(x, 0, "x"), pixels = dim(x, 1, "x"), C = dim(x, 2, "x");
  launch("spatial_mean_forward", &Kernels::spatial_mean_forward,
         SpatialMeanForward{in<float>(x, N * pixels * C, "x"), out<float>(y, N * C, "y"), N, pixels, C});
}

void spatial_mean_backward(const py::array& dy, const py::array& dx) {
  const index_t N = dim(dx, 0, "dx"), pixels = dim(dx, 1, "dx"), C = dim(dx, 2, "dx");
  launch("spatial_mean_backward", &Kernels::spatial_mean_backward,
         SpatialMeanBackward{in<float>(dy, N * C, "dy"), out<float>(dx, N * pixels * C, "dx"), N, pixels, C});
}

}  // namespace

void bind_pool(py::module_& m) {
  m.def("max_pool2d_forward", &max_pool2d_forward);
  m.def("max_pool2d_backward", &max_pool2d_backward);
  m.def("avg_pool2d_forward", &avg_pool2d_forward);
  m.def("avg_pool2d_backward", &avg_pool2d_backward);
  m.def("spatial_mean_forward", &spatial_mean_forward);
  m.def("spatial_mean_backward", &spatial_mean_backward);
}

}  // namespace fastnn
