// products.cpp - bindings of matrix products and convolutions.
#include "arrays.h"

namespace fastnn {
namespace {

void gemm(const py::array& a, const py::array& b, const py::array& c, bool transpose_a, bool transpose_b, const MaybeArray& bias,
          const std::string& activation, float alpha, const MaybeArray& relu_output, bool skip_zeros, bool may_use_tiles) {
  const index_t m = dim(c, 0, "c"), n = dim(c, 1, "c"), k = dim(a, transpose_a ? 0 : 1, "a");
  launch("gemm", &Kernels::gemm, &Kernels::gemm_scratch,
         Gemm{.a = in<float>(a, m * k, "a"),
              .a_row = transpose_a ? 1 : k,
              .a_col = transpose_a ? m : 1,
              .b = in<float>(b, k * n, "b"),
              .b_row = transpose_b ? 1 : n,
              .b_col = transpose_b ? k : 1,
              .c = out<float>(c, m * n, "c"),
              .ldc = n,
              .m = m,
              .n = n,
              .k = k,
              .bias = in<float>(bias, n, "bias"),
              .activation = activation_from(activation),
              .alpha = alpha,
              .accumulate = false,
              .relu_output = in<float>(relu_output, m * n, "relu_output"),
              .skip_zeros = skip_zeros,
              .may_use_tiles = may_use_tiles,
              .scratch = nullptr,
              .slots = num_threads()});
}

void column_sums(const py::array& x, const py::array& y) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch("column_sums", &Kernels::column_sums, &Kernels::column_sums_scratch,
         ColumnSums{in<float>(x, rows * cols, "x"), out<float>(y, cols, "y"), rows, cols, nullptr, num_threads()});
}

using Pair = std::array<index_t, 2>;

// Shapes from x (N, H, W, C), w (R, S, C / groups, K) and y (N, P, Q, K); pads = (top, left).
Conv2dShape conv_shape(const std::vector<index_t>& x, const std::vector<index_t>& w, const std::vector<index_t>& y, Pair strides,
                       Pair pads, Pair dilation, index_t groups) {
  require(x.size() == 4 && w.size() == 4 && y.size() == 4, "arrays of rank 4");
  const Conv2dShape s = {.N = x[0],
                         .H = x[1],
                         .W = x[2],
                         .C = x[3],
                         .K = w[3],
                         .R = w[0],
                         .S = w[1],
                         .P = y[1],
                         .Q = y[2],
                         .stride_h = strides[0],
                         .stride_w = strides[1],
                         .pad_top = pads[0],
                         .pad_left = pads[1],
                         .dilation_h = dilation[0],
                         .dilation_w = dilation[1],
                         .groups = groups};
  require(y[0] == x[0] && y[3] == w[3], "y of x's batch size and w's channels");
  require(groups >= 1 && s.C == w[2] * groups && s.K % groups == 0, "channels that groups divide");
  require(s.stride_h >= 1 && s.stride_w >= 1 && s.dilation_h >= 1 && s.dilation_w >= 1, "strides and dilation >= 1");
  return s;
}

std::vector<index_t> shape_of(const py::array& a) { return {a.shape(), a.shape() + a.ndim()}; }

void conv2d_forward(const py::array& x, const py::array& w, const MaybeArray& bias, const py::array& y, Pair strides, Pair pads,
                    Pair dilation, index_t groups, const std::string& activation, float alpha) {
  const Conv2dShape s = conv_shape(shape_of(x), shape_of(w), shape_of(y), strides, pads, dilation, groups);
  launch("conv2d_forward", &Kernels::conv2d_forward, &Kernels::conv2d_forward_scratch,
         Conv2dForward{.s = s,
                       .x = in<float>(x, -1, "x"),
                       .w = in<float>(w, -1, "w"),
                       .bias = in<float>(bias, s.K, "bias"),
                       .y = out<float>(y, -1, "y"),
                       .activation = activation_from(activation),
                       .alpha = alpha,
                       .scratch = nullptr,
                       .slots = num_threads()});
}

void conv2d_backward_input(const py::array& dy, const py::array& w, const py::array& dx, Pair strides, Pair pads, Pair dilation,
                           index_t groups, const MaybeArray& relu_output, bool accumulate) {
  const Conv2dShape s = conv_shape(shape_of(dx), shape_of(w), shape_of(dy), strides, pads, dilation, groups);
  require(!accumulate || groups == 1, "groups = 1 where the gradient is added to another");
  launch("conv2d_backward_input", &Kernels::conv2d_backward_input, &Kernels::conv2d_backward_input_scratch,
         Conv2dBackwardInput{.s = s,
                             .dy = in<float>(dy, -1, "dy"),
                             .w = in<float>(w, -1, "w"),
                             .relu_output = in<float>(relu_output, dx.size(), "relu_output"),
                             .dx = out<float>(dx, -1, "dx"),
                             .accumulate = accumulate,
                             .scratch = nullptr,
                             .slots = num_threads()});
}

void conv2d_backward_filter(const py::array& x, const py::array& dy, const py::array& dw, const MaybeArray& dbias, Pair strides,
                            Pair pads, Pair dilation, index_t groups) {
  const Conv2dShape s = conv_shape(shape_of(x), shape_of(dw), shape_of(dy), strides, pads, dilation, groups);
  launch("conv2d_backward_filter", &Kernels::conv2d_backward_filter, &Kernels::conv2d_backward_filter_scratch,
         Conv2dBackwardFilter{.s = s,
                              .x = in<float>(x, -1, "x"),
                              .dy = in<float>(dy, -1, "dy"),
                              .dw = out<float>(dw, -1, "dw"),
                              .dbias = out<float>(dbias, s.K, "dbias"),
                              .scratch = nullptr,
                              .slots = num_threads()});
}

void conv2d_transpose_forward(const py::array& x, const py::array& w, const MaybeArray& bias, const py::array& y, Pair strides,
                              Pair pads, Pair dilation, index_t groups, const std::string& activation, float alpha) {
  const Conv2dShape s = conv_shape(shape_of(y), shape_of(w), shape_of(x), strides, pads, dilation, groups);
  launch("conv2d_transpose_forward", &Kernels::conv2d_transpose_forward, &Kernels::conv2d_transpose_forward_scratch,
         Conv2dTransposeForward{.s = s,
                                .x = in<float>(x, -1, "x"),
                                .w = in<float>(w, -1, "w"),
                                .bias = in<float>(bias, s.C, "bias"),
                                .y = out<float>(y, -1, "y"),
                                .activation = activation_from(activation),
                                .alpha = alpha,
                                .scratch = nullptr,
                                .slots = num_threads()});
}

// The shape for x (N, H, W, C), w (R, S, C / groups, K) and windows (N, P / rows, Q / columns, K).
MaxPooledConv2dShape pooled_shape(const std::vector<index_t>& x, const std::vector<index_t>& w, std::vector<index_t> windows,
                                  Pair size, Pair strides, Pair pads, Pair dilation, index_t groups) {
  require(windows.size() == 4 && windows[1] >= 1 && windows[2] >= 1, "arrays of rank 4, with windows");
  require(size[0] >= 1 && size[1] >= 1 && size[0] * size[1] <= 256, "windows of 1 to 256 pixels");
  windows[1] *= size[0], windows[2] *= size[1];
  return {conv_shape(x, w, windows, strides, pads, dilation, groups), size[0], size[1]};
}

MaxPooledGradient pooled_gradient(const py::array& dy, const py::array& index, const MaybeArray& relu_y) {
  return {in<float>(dy, -1, "dy"), in<std::uint8_t>(index, dy.size(), "index"), in<float>(relu_y, dy.size(), "relu_y")};
}

void max_pooled_conv2d_forward(const py::array& x, const py::array& w, const MaybeArray& bias, const py::array& y,
                               const py::array& index, Pair size, Pair strides, Pair pads, Pair dilation, index_t groups,
                               const std::string& activation, float alpha) {
  const MaxPooledConv2dShape shape = pooled_shape(shape_of(x), shape_of(w), shape_of(y), size, strides, pads, dilation, groups);
  launch("max_pooled_conv2d_forward", &Kernels::max_pooled_conv2d_forward, &Kernels::max_pooled_conv2d_forward_scratch,
         MaxPooledConv2dForward{.shape = shape,
                                .x = in<float>(x, -1, "x"),
                                .w = in<float>(w, -1, "w"),
                                .bias = in<float>(bias, shape.s.K, "bias"),
                                .y = out<float>(y, -1, "y"),
                                .index = out<std::uint8_t>(index, y.size(), "index"),
                                .activation = activation_from(activation),
                                .alpha = alpha,
                                .scratch = nullptr,
                                .slots = num_threads()});
}

void max_pooled_conv2d_backward_input(const py::array& dy, const py::array& index, const MaybeArray& relu_y, const py::array& w,
                                      const py::array& dx, Pair size, Pair strides, Pair pads, Pair dilation, index_t groups,
                                      const MaybeArray& relu_output) {
  launch("max_pooled_conv2d_backward_input", &Kernels::max_pooled_conv2d_backward_input,
         &Kernels::max_pooled_conv2d_backward_input_scratch,
         MaxPooledConv2dBackwardInput{
             .shape = pooled_shape(shape_of(dx), shape_of(w), shape_of(dy), size, strides, pads, dilation, groups),
             .gradient = pooled_gradient(dy, index, relu_y),
             .w = in<float>(w, -1, "w"),
             .relu_output = in<float>(relu_output, dx.size(), "relu_output"),
             .dx = out<float>(dx, -1, "dx"),
             .scratch = nullptr,
             .slots = num_threads()});
}

void max_pooled_conv2d_backward_filter(const py::array& x, const py::array& dy, const py::array& index, const MaybeArray& relu_y,
                                       const py::array& dw, const MaybeArray& dbias, Pair size, Pair strides, Pair pads,
                                       Pair dilation, index_t groups) {
  const MaxPooledConv2dShape shape = pooled_shape(shape_of(x), shape_of(dw), shape_of(dy), size, strides, pads, dilation, groups);
  launch("max_pooled_conv2d_backward_filter", &Kernels::max_pooled_conv2d_backward_filter,
         &Kernels::max_pooled_conv2d_backward_filter_scratch,
         MaxPooledConv2dBackwardFilter{.shape = shape,
                                       .x = in<float>(x, -1, "x"),
                                       .gradient = pooled_gradient(dy, index, relu_y),
                                       .dw = out<float>(dw, -1, "dw"),
                                       .dbias = out<float>(dbias, shape.s.K, "dbias"),
                                       .scratch = nullptr,
                                       .slots = num_threads()});
}

// Shapes from the slices (N, D, H, W, C) and the unfolded ones (N, O, H, W, taps C).
DepthShape depth_shape(const py::array& slices, const py::array& unfolded, index_t taps, index_t stride, index_t pad,
                       index_t dilation, index_t groups) {
  require(slices.ndim() == 5 && unfolded.ndim() == 5, "arrays of rank 5");
  require(taps >= 1 && stride >= 1 && dilation >= 1 && groups >= 1, "taps, stride, dilation and groups >= 1");
  require(slices.shape(4) % groups == 0 && unfolded.shape(4) == taps * slices.shape(4), "channels that groups and taps divide");
  for (const int axis : {0, 2, 3}) require(slices.shape(axis) == unfolded.shape(axis), "slices of the same size");
  return {.N = slices.shape(0),
          .D = slices.shape(1),
          .O = unfolded.shape(1),
          .pixels = slices.shape(2) * slices.shape(3),
          .groups = groups,
          .channels = slices.shape(4) / groups,
          .taps = taps,
          .stride = stride,
          .dilation = dilation,
          .pad = pad};
}

void unfold_depth(const py::array& x, const py::array& y, index_t taps, index_t stride, index_t pad, index_t dilation,
                  index_t groups) {
  launch("unfold_depth", &Kernels::unfold_depth,
         UnfoldDepth{depth_shape(x, y, taps, stride, pad, dilation, groups), in<float>(x, -1, "x"), out<float>(y, -1, "y")});
}

void fold_depth(const py::array& x, const MaybeArray& bias, const MaybeArray& relu_output, const py::array& y, index_t taps,
                index_t stride, index_t pad, index_t dilation, index_t groups, const std::string& activation, float alpha) {
  const DepthShape s = depth_shape(y, x, taps, stride, pad, dilation, groups);
  launch("fold_depth", &Kernels::fold_depth,
         FoldDepth{.s = s,
                   .x = in<float>(x, -1, "x"),
                   .bias = in<float>(bias, s.groups * s.channels, "bias"),
                   .relu_output = in<float>(relu_output, y.size(), "relu_output"),
                   .y = out<float>(y, -1, "y"),
                   .activation = activation_from(activation),
                   .alpha = alpha});
}

}  // namespace

void bind_products(py::module_& m) {
  m.def("gemm", &gemm);
  m.def("column_sums", &column_sums);
  m.def("conv2d_forward", &conv2d_forward);
  m.def("conv2d_backward_input", &conv2d_backward_input);
  m.def("conv2d_backward_filter", &conv2d_backward_filter);
  m.def("conv2d_transpose_forward", &conv2d_transpose_forward);
  m.def("max_pooled_conv2d_forward", &max_pooled_conv2d_forward);
  m.def("max_pooled_conv2d_backward_input", &max_pooled_conv2d_backward_input);
  m.def("max_pooled_conv2d_backward_filter", &max_pooled_conv2d_backward_filter);
  m.def("unfold_depth", &unfold_depth);
  m.def("fold_depth", &fold_depth);
}

}  // namespace fastnn
