// pool_shape.h - the geometry of a pooling, from its arrays.
#pragma once

#include "arrays.h"

namespace fastnn {

using Pair = std::array<index_t, 2>;

// Shapes from x (N, H, W, C) and y (N, P, Q, C); pads = (top, left). Every window must meet the image.
inline Pool2dShape pool_shape(const py::array& x, const py::array& y, Pair size, Pair strides, Pair pads) {
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
inline bool narrow(const Pool2dShape& s) { return s.R * s.S <= 256; }

}  // namespace fastnn
