// merge.cpp - bindings of what merges several arrays and takes them apart.
#include "arrays.h"

namespace fastnn {
namespace {

using Arrays = std::vector<py::array>;

int count_of(const Arrays& arrays) {
  require(!arrays.empty() && arrays.size() <= kMaxMerged, "one to eight arrays");
  return static_cast<int>(arrays.size());
}

void add(const Arrays& x, const std::vector<float>& weights, const py::array& y) {
  require(weights.size() == x.size(), "one weight per array");
  Add args = {.x = {}, .weight = {}, .count = count_of(x), .y = out<float>(y, -1, "y"), .n = y.size()};
  for (int j = 0; j < args.count; ++j) {
    args.x[j] = in<float>(x[j], args.n, "x");
    args.weight[j] = weights[j];
  }
  launch("add", &Kernels::add, args);
}

void merge(const char* name, void (*Kernels::*entry)(const Merge&), const Arrays& x, const py::array& y) {
  Merge args = {.x = {}, .count = count_of(x), .y = out<float>(y, -1, "y"), .n = y.size()};
  for (int j = 0; j < args.count; ++j) args.x[j] = in<float>(x[j], args.n, "x");
  launch(name, entry, args);
}

void multiply(const Arrays& x, const py::array& y) { merge("multiply", &Kernels::multiply, x, y); }
void maximum(const Arrays& x, const py::array& y) { merge("maximum", &Kernels::maximum, x, y); }
void minimum(const Arrays& x, const py::array& y) { merge("minimum", &Kernels::minimum, x, y); }

void extremum_backward(const py::array& dy, const py::array& y, const Arrays& x, const Arrays& dx, const MaybeArray& rest) {
  const index_t n = dy.size();
  ExtremumBackward args = {.x = {},
                           .count = count_of(x),
                           .y = in<float>(y, n, "y"),
                           .dy = in<float>(dy, n, "dy"),
                           .dx = {},
                           .rest = out<float>(rest, n, "rest"),
                           .n = n};
  require(dx.size() == x.size(), "as many dx as x");
  for (int j = 0; j < args.count; ++j) {
    args.x[j] = in<float>(x[j], n, "x");
    args.dx[j] = out<float>(dx[j], n, "dx");
  }
  launch("extremum_backward", &Kernels::extremum_backward, args);
}

// The widths of rows of arrays of `rows` rows; together they must lie within [offset, step).
template <class Args>
void set_widths(Args& args, const Arrays& arrays, index_t step, index_t offset) {
  args.count = count_of(arrays);
  require(args.rows >= 1 && offset >= 0, "at least one row, offset >= 0");
  for (int j = 0; j < args.count; ++j) {
    require(arrays[j].size() % args.rows == 0, "arrays of whole rows");
    args.width[j] = arrays[j].size() / args.rows;
    offset += args.width[j];
  }
  require(offset <= step, "rows wide enough for all arrays");
}

// x side by side into the rows of y (rows, step), from column `offset` on.
void concatenate(const Arrays& x, const py::array& y, index_t rows, index_t offset) {
  Concatenate args = {};
  args.rows = rows;
  args.y_step = rows > 0 ? y.size() / rows : 0;
  set_widths(args, x, args.y_step, offset);
  args.y = out<float>(y, rows * args.y_step, "y") + offset;
  for (int j = 0; j < args.count; ++j) args.x[j] = in<float>(x[j], -1, "x");
  launch("concatenate", &Kernels::concatenate, args);
}

// The rows of x (rows, step), from column `offset` on, apart into y.
void split(const py::array& x, const Arrays& y, index_t rows, index_t offset) {
  Split args = {};
  args.rows = rows;
  args.x_step = rows > 0 ? x.size() / rows : 0;
  set_widths(args, y, args.x_step, offset);
  args.x = in<float>(x, rows * args.x_step, "x") + offset;
  for (int j = 0; j < args.count; ++j) args.y[j] = out<float>(y[j], -1, "y");
  launch("split", &Kernels::split, args);
}

// y = x repeated along the axes where x has size 1.
void broadcast(const py::array& x, const py::array& y) {
  const int rank = static_cast<int>(x.ndim());
  require(rank <= kMaxRank && y.ndim() == rank, "arrays of the same rank, at most six");
  Permute args = {.x = in<float>(x, -1, "x"), .y = out<float>(y, -1, "y"), .rank = rank, .dims = {}, .strides = {}};
  for (int i = 0; i < rank; ++i) {
    require(x.shape(i) == y.shape(i) || x.shape(i) == 1, "axes of the same size, or of size 1 in x");
    args.dims[i] = y.shape(i);
    args.strides[i] = x.shape(i) == y.shape(i) ? x.strides(i) / static_cast<index_t>(sizeof(float)) : 0;
  }
  launch("permute", &Kernels::permute, args);
}

void unit_norm_forward(const py::array& x, const py::array& y, const py::array& r) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x"), size = rows * cols;
  launch("unit_norm_forward", &Kernels::unit_norm_forward,
         UnitNormForward{in<float>(x, size, "x"), out<float>(y, size, "y"), out<float>(r, rows, "r"), rows, cols});
}

void unit_norm_backward(const py::array& dy, const py::array& y, const py::array& r, const py::array& dx) {
  const index_t rows = dim(y, 0, "y"), cols = dim(y, 1, "y"), size = rows * cols;
  launch("unit_norm_backward", &Kernels::unit_norm_backward,
         UnitNormBackward{in<float>(dy, size, "dy"), in<float>(y, size, "y"), in<float>(r, rows, "r"), out<float>(dx, size, "dx"),
                          rows, cols});
}

}  // namespace

void bind_merge(py::module_& m) {
  m.def("add", &add);
  m.def("multiply", &multiply);
  m.def("maximum", &maximum);
  m.def("minimum", &minimum);
  m.def("extremum_backward", &extremum_backward);
  m.def("concatenate", &concatenate);
  m.def("split", &split);
  m.def("broadcast", &broadcast);
  m.def("unit_norm_forward", &unit_norm_forward);
  m.def("unit_norm_backward", &unit_norm_backward);
}

}  // namespace fastnn
