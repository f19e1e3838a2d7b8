// augment.cpp - bindings of random changes of images.
#include "arrays.h"

namespace fastnn {
namespace {

using Range = std::array<double, 2>;
using Sizes = std::array<index_t, 2>;

Border border_from(const std::string& name) {
  if (name == "constant") return Border::constant;
  if (name == "nearest") return Border::nearest;
  if (name == "reflect") return Border::reflect;
  if (name == "mirror") return Border::mirror;
  require(name == "wrap", "a known border");
  return Border::wrap;
}

// x (N, H, W, C), y (N, P, Q, C), matrices (N, 6).
Affine2dShape affine_shape(const py::array& x, const py::array& y, const py::array& matrices, const std::string& border,
                           bool bilinear) {
  require(x.ndim() == 4 && y.ndim() == 4, "arrays of rank 4");
  require(x.shape(0) == y.shape(0) && x.shape(3) == y.shape(3), "y of x's batch size and channels");
  require((x.shape(1) > 0 && x.shape(2) > 0) || y.size() == 0, "images of at least one pixel");
  return {.N = x.shape(0),
          .H = x.shape(1),
          .W = x.shape(2),
          .C = x.shape(3),
          .P = y.shape(1),
          .Q = y.shape(2),
          .matrices = in<double>(matrices, 6 * x.shape(0), "matrices"),
          .border = border_from(border),
          .bilinear = bilinear};
}

void affine2d_forward(const py::array& x, const py::array& matrices, const py::array& y, const std::string& border, bool bilinear,
                      float value) {
  launch("affine2d_forward", &Kernels::affine2d_forward,
         Affine2dForward{affine_shape(x, y, matrices, border, bilinear), in<float>(x, -1, "x"), out<float>(y, -1, "y"), value});
}

void affine2d_backward(const py::array& dy, const py::array& matrices, const py::array& dx, const std::string& border,
                       bool bilinear) {
  launch("affine2d_backward", &Kernels::affine2d_backward,
         Affine2dBackward{affine_shape(dx, dy, matrices, border, bilinear), in<float>(dy, -1, "dy"), out<float>(dx, -1, "dx")});
}

void random_uniform(const py::array& u, std::uint64_t seed, std::uint32_t stream, const py::array& counter) {
  launch("random_uniform", &Kernels::random_uniform,
         RandomUniform{out<float>(u, -1, "u"), u.size(), seed, stream, out<std::uint64_t>(counter, 1, "counter")});
}

void set_range(double* range, const Range& given) { range[0] = given[0], range[1] = given[1]; }

// u (N, 8), m (N, 6).
void random_affine(const py::array& u, const py::array& m, Sizes in_size, Sizes out_size, std::array<bool, 2> flips, Range angle,
                   Range zoom_rows, Range zoom_columns, bool together, Range shift_rows, Range shift_columns, bool crop) {
  const index_t n = dim(u, 0, "u");
  RandomAffine args = {.u = in<float>(u, 8 * n, "u"),
                       .m = out<double>(m, 6 * n, "m"),
                       .N = n,
                       .H = in_size[0],
                       .W = in_size[1],
                       .P = out_size[0],
                       .Q = out_size[1],
                       .flip_rows = flips[0],
                       .flip_columns = flips[1],
                       .together = together,
                       .crop = crop,
                       .angle = {},
                       .zoom_rows = {},
                       .zoom_columns = {},
                       .shift_rows = {},
                       .shift_columns = {}};
  set_range(args.angle, angle);
  set_range(args.zoom_rows, zoom_rows);
  set_range(args.zoom_columns, zoom_columns);
  set_range(args.shift_rows, shift_rows);
  set_range(args.shift_columns, shift_columns);
  launch("random_affine", &Kernels::random_affine, args);
}

// u (N, 8), rectangles (N, 4); area or size, the other one none.
void random_rectangles(const py::array& u, const py::array& rectangles, Sizes image, const std::optional<Range>& area,
                       const std::optional<Sizes>& size, Range chance) {
  const index_t n = dim(u, 0, "u");
  RandomRectangles args = {.u = in<float>(u, 8 * n, "u"),
                           .rectangles = out<std::int32_t>(rectangles, 4 * n, "rectangles"),
                           .N = n,
                           .H = image[0],
                           .W = image[1],
                           .shares = area.has_value(),
                           .area = {},
                           .chance = {},
                           .rows = size ? (*size)[0] : 0,
                           .columns = size ? (*size)[1] : 0};
  require(area.has_value() != size.has_value(), "an area or a size");
  if (area) set_range(args.area, *area);
  set_range(args.chance, chance);
  launch("random_rectangles", &Kernels::random_rectangles, args);
}

// x (N, H, W, C), rectangles (N, 4) inside of the images.
void erase(const py::array& x, const py::array& rectangles, const py::array& value, const MaybeArray& noise, const py::array& y,
           float low, float high) {
  require(x.ndim() == 4, "x of rank 4");
  launch("erase", &Kernels::erase,
         Erase{.x = in<float>(x, -1, "x"),
               .rectangles = in<std::int32_t>(rectangles, 4 * x.shape(0), "rectangles"),
               .value = in<float>(value, x.shape(3), "value"),
               .noise = in<float>(noise, x.size(), "noise"),
               .y = out<float>(y, x.size(), "y"),
               .N = x.shape(0),
               .H = x.shape(1),
               .W = x.shape(2),
               .C = x.shape(3),
               .low = low,
               .high = high});
}

// x (N, pixels, C), mean (N, C), u (N).
AdjustForward adjustment(const py::array& x, const MaybeArray& mean, const py::array& u, Range range, Range limits) {
  const index_t n = dim(x, 0, "x"), pixels = dim(x, 1, "x"), c = dim(x, 2, "x");
  return {.x = in<float>(x, n * pixels * c, "x"),
          .mean = in<float>(mean, n * c, "mean"),
          .u = in<float>(u, n, "u"),
          .y = nullptr,
          .N = n,
          .pixels = pixels,
          .C = c,
          .low = static_cast<float>(range[0]),
          .high = static_cast<float>(range[1]),
          .lower = static_cast<float>(limits[0]),
          .upper = static_cast<float>(limits[1])};
}

void adjust_forward(const py::array& x, const MaybeArray& mean, const py::array& u, const py::array& y, Range range, Range limits) {
  AdjustForward args = adjustment(x, mean, u, range, limits);
  args.y = out<float>(y, x.size(), "y");
  launch("adjust_forward", &Kernels::adjust_forward, args);
}

void adjust_backward(const py::array& dy, const py::array& x, const MaybeArray& mean, const py::array& u, const py::array& dz,
                     Range range, Range limits) {
  launch("adjust_backward", &Kernels::adjust_backward,
         AdjustBackward{adjustment(x, mean, u, range, limits), in<float>(dy, x.size(), "dy"), out<float>(dz, x.size(), "dz")});
}

}  // namespace

void bind_augment(py::module_& m) {
  m.def("affine2d_forward", &affine2d_forward);
  m.def("affine2d_backward", &affine2d_backward);
  m.def("random_uniform", &random_uniform);
  m.def("random_affine", &random_affine);
  m.def("random_rectangles", &random_rectangles);
  m.def("erase", &erase);
  m.def("adjust_forward", &adjust_forward);
  m.def("adjust_backward", &adjust_backward);
}

}  // namespace fastnn
