// shapes.cpp - bindings of cropping, padding, resizing, unpooling and embeddings.
#include "arrays.h"
#include "pool_shape.h"

namespace fastnn {
namespace {

using Triple = std::array<index_t, 3>;

// x (N, D, H, W, C), y (N, O, P, Q, C).
void crop_pad(const py::array& x, const py::array& y, Triple offset, float value) {
  require(x.ndim() == 5 && y.ndim() == 5, "arrays of rank 5");
  require(x.shape(0) == y.shape(0) && x.shape(4) == y.shape(4), "y of x's batch size and channels");
  CropPad args = {.x = in<float>(x, -1, "x"),
                  .y = out<float>(y, -1, "y"),
                  .N = x.shape(0),
                  .C = x.shape(4),
                  .size = {},
                  .out = {},
                  .offset = {},
                  .value = value};
  for (int i = 0; i < 3; ++i) {
    args.size[i] = x.shape(i + 1);
    args.out[i] = y.shape(i + 1);
    args.offset[i] = offset[i];
  }
  launch("crop_pad", &Kernels::crop_pad, args);
}

using Sparse = std::tuple<py::array, py::array, py::array>;  // start, column, weight

// A matrix of so many rows and columns; an entry outside of it would read outside of the image.
Taps taps_from(const Sparse& matrix, index_t rows, index_t columns) {
  const auto& [start, column, weight] = matrix;
  const Taps taps = {in<std::int32_t>(start, rows + 1, "start"), in<std::int32_t>(column, -1, "column"),
                     in<float>(weight, column.size(), "weight")};
  require(taps.start[0] == 0 && taps.start[rows] == column.size(), "start from 0 to the number of entries");
  for (index_t i = 0; i < rows; ++i) require(taps.start[i] <= taps.start[i + 1], "start in order");
  for (index_t i = 0; i < column.size(); ++i) require(taps.column[i] >= 0 && taps.column[i] < columns, "columns of the matrix");
  return taps;
}

// x (N, H, W, C), y (N, P, Q, C).
void resample2d(const py::array& x, const py::array& y, const Sparse& rows, const Sparse& columns) {
  require(x.ndim() == 4 && y.ndim() == 4, "arrays of rank 4");
  require(x.shape(0) == y.shape(0) && x.shape(3) == y.shape(3), "y of x's batch size and channels");
  launch("resample2d", &Kernels::resample2d, &Kernels::resample2d_scratch,
         Resample2d{.x = in<float>(x, -1, "x"),
                    .y = out<float>(y, -1, "y"),
                    .rows = taps_from(rows, y.shape(1), x.shape(1)),
                    .columns = taps_from(columns, y.shape(2), x.shape(2)),
                    .N = x.shape(0),
                    .H = x.shape(1),
                    .W = x.shape(2),
                    .C = x.shape(3),
                    .P = y.shape(1),
                    .Q = y.shape(2),
                    .scratch = nullptr,
                    .slots = num_threads()});
}

void max_unpool2d_backward(const py::array& dy, const py::array& index, const py::array& dx, Pair size, Pair strides, Pair pads) {
  const Pool2dShape s = pool_shape(dy, dx, size, strides, pads);
  launch("max_unpool2d_backward", &Kernels::max_unpool2d_backward,
         MaxUnpool2dBackward{.s = s,
                             .dy = in<float>(dy, -1, "dy"),
                             .index = narrow(s) ? in<std::uint8_t>(index, dx.size(), "index") : nullptr,
                             .wide_index = narrow(s) ? nullptr : in<std::int32_t>(index, dx.size(), "index"),
                             .dx = out<float>(dx, -1, "dx")});
}

// table (V, D), y as many rows of D as there are ids.
void embedding_forward(const py::array& ids, const py::array& table, const py::array& y) {
  const index_t n = ids.size(), V = dim(table, 0, "table"), D = dim(table, 1, "table");
  launch("embedding_forward", &Kernels::embedding_forward,
         EmbeddingForward{in<float>(ids, n, "ids"), in<float>(table, V * D, "table"), out<float>(y, n * D, "y"), n, V, D});
}

void embedding_backward(const py::array& ids, const py::array& dy, const py::array& dtable) {
  const index_t n = ids.size(), V = dim(dtable, 0, "dtable"), D = dim(dtable, 1, "dtable");
  launch("embedding_backward", &Kernels::embedding_backward,
         EmbeddingBackward{in<float>(ids, n, "ids"), in<float>(dy, n * D, "dy"), out<float>(dtable, V * D, "dtable"), n, V, D});
}

}  // namespace

void bind_shapes(py::module_& m) {
  m.def("crop_pad", &crop_pad);
  m.def("resample2d", &resample2d);
  m.def("max_unpool2d_backward", &max_unpool2d_backward);
  m.def("embedding_forward", &embedding_forward);
  m.def("embedding_backward", &embedding_backward);
}

}  // namespace fastnn
