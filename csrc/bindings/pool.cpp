// pool.cpp - bindings of pooling.
#include "arrays.h"

namespace fastnn {
namespace {

using Pair = std::array<index_t, 2>;

// Shapes from x (N, H, W, C) and y (N, P, Q, C); pads = (top, left). Every window must meet the image.
Pool2dShape pool_shape(const py::array& x, const py::array& y, Pair size, Pair strides, Pair pads) {
  require(x.ndim() == 4 && y.ndim() == 4, "arrays of rank 4");
  const Pool2dShape s = {.N = x.shape(0),
                         .H = x.shape(1),
                         .W = x.shape(2),
                         .C = x.shape(3),
                         .R = size[0],
                         .S = size[1],
                         .P = y.shape(1),
                         .Q = y.shape(2),
                         .stride_h = strides[0],
                         .stride_w = strides[1],
                         .pad_top = pads[0],
                         .pad_left = pads[1]};
  require(y.shape(0) == s.N && y.shape(3) == s.C, "y of x's batch size and channels");
  require(s.R >= 1 && s.S >= 1 && s.stride_h >= 1 && s.stride_w >= 1, "window and strides >= 1");
  require(s.pad_top >= 0 && s.pad_left >= 0 && s.pad_top < s.R && s.pad_left < s.S, "padding smaller than the window");
  require((s.P - 1) * s.stride_h - s.pad_top < s.H && (s.Q - 1) * s.stride_w - s.pad_left < s.W, "windows that meet the image");
  return s;
}

// An index of bytes where the positions in a window fit, else of int32.
bool narrow(const Pool2dShape& s) { return s.R * s.S <= 256; }

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
