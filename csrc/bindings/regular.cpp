// regular.cpp - bindings of regularizers, constraints, normalization of rows and groups, noise and masks.
#include "arrays.h"

namespace fastnn {
namespace {

void penalty(const py::array& x, const MaybeArray& dy, const MaybeArray& dx, float l1, float l2, float scale,
             const MaybeArray& state, double rows, double count) {
  const index_t n = x.size();
  launch("penalty", &Kernels::penalty, &Kernels::penalty_scratch,
         Penalty{.x = in<float>(x, n, "x"),
                 .dy = in<float>(dy, n, "dy"),
                 .dx = out<float>(dx, n, "dx"),
                 .n = n,
                 .l1 = l1,
                 .l2 = l2,
                 .scale = scale,
                 .state = out<double>(state, 2, "state"),
                 .rows = rows,
                 .count = count,
                 .scratch = nullptr});
}

// w (rows, cols).
void clip_norms(const py::array& w, index_t rows, float low, float high, float rate) {
  require(rows >= 1 && w.size() % rows == 0, "w of whole rows");
  launch("clip_norms", &Kernels::clip_norms, ClipNorms{out<float>(w, -1, "w"), rows, w.size() / rows, low, high, rate});
}

void layer_norm_forward(const py::array& x, const MaybeArray& gamma, const MaybeArray& beta, const py::array& y,
                        const py::array& mean, const py::array& rstd, float epsilon, bool centered) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  require(cols >= 1, "at least one column");
  launch("layer_norm_forward", &Kernels::layer_norm_forward,
         LayerNormForward{.x = in<float>(x, rows * cols, "x"),
                          .gamma = in<float>(gamma, cols, "gamma"),
                          .beta = in<float>(beta, cols, "beta"),
                          .y = out<float>(y, rows * cols, "y"),
                          .mean = out<float>(mean, rows, "mean"),
                          .rstd = out<float>(rstd, rows, "rstd"),
                          .rows = rows,
                          .cols = cols,
                          .epsilon = epsilon,
                          .centered = centered});
}

void layer_norm_backward(const py::array& x, const py::array& dy, const MaybeArray& gamma, const py::array& mean,
                         const py::array& rstd, const py::array& dx, const MaybeArray& dgamma, const MaybeArray& dbeta,
                         bool centered) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  require(cols >= 1, "at least one column");
  launch("layer_norm_backward", &Kernels::layer_norm_backward, &Kernels::layer_norm_backward_scratch,
         LayerNormBackward{.x = in<float>(x, rows * cols, "x"),
                           .dy = in<float>(dy, rows * cols, "dy"),
                           .gamma = in<float>(gamma, cols, "gamma"),
                           .mean = in<float>(mean, rows, "mean"),
                           .rstd = in<float>(rstd, rows, "rstd"),
                           .dx = out<float>(dx, rows * cols, "dx"),
                           .dgamma = out<float>(dgamma, cols, "dgamma"),
                           .dbeta = out<float>(dbeta, cols, "dbeta"),
                           .rows = rows,
                           .cols = cols,
                           .centered = centered,
                           .scratch = nullptr});
}

// x (samples, positions, channels).
struct Groups {
  index_t samples, positions, groups, width, size;

  Groups(const py::array& x, index_t count) : samples(dim(x, 0, "x")), positions(dim(x, 1, "x")), groups(count) {
    const index_t channels = dim(x, 2, "x");
    require(groups >= 1 && positions >= 1 && channels >= groups && channels % groups == 0,
            "channels that are a multiple of groups");
    width = channels / groups;
    size = samples * positions * channels;
  }
};

void group_norm_forward(const py::array& x, const MaybeArray& gamma, const MaybeArray& beta, const py::array& y,
                        const py::array& mean, const py::array& rstd, index_t groups, float epsilon) {
  const Groups s(x, groups);
  launch("group_norm_forward", &Kernels::group_norm_forward, &Kernels::group_norm_forward_scratch,
         GroupNormForward{.x = in<float>(x, s.size, "x"),
                          .gamma = in<float>(gamma, s.groups * s.width, "gamma"),
                          .beta = in<float>(beta, s.groups * s.width, "beta"),
                          .y = out<float>(y, s.size, "y"),
                          .mean = out<float>(mean, s.samples * s.groups, "mean"),
                          .rstd = out<float>(rstd, s.samples * s.groups, "rstd"),
                          .samples = s.samples,
                          .positions = s.positions,
                          .groups = s.groups,
                          .width = s.width,
                          .epsilon = epsilon,
                          .scratch = nullptr,
                          .slots = num_threads()});
}

void group_norm_backward(const py::array& x, const py::array& dy, const MaybeArray& gamma, const py::array& mean,
                         const py::array& rstd, const py::array& dx, const MaybeArray& dgamma, const MaybeArray& dbeta,
                         index_t groups) {
  const Groups s(x, groups);
  launch("group_norm_backward", &Kernels::group_norm_backward, &Kernels::group_norm_backward_scratch,
         GroupNormBackward{.x = in<float>(x, s.size, "x"),
                           .dy = in<float>(dy, s.size, "dy"),
                           .gamma = in<float>(gamma, s.groups * s.width, "gamma"),
                           .mean = in<float>(mean, s.samples * s.groups, "mean"),
                           .rstd = in<float>(rstd, s.samples * s.groups, "rstd"),
                           .dx = out<float>(dx, s.size, "dx"),
                           .dgamma = out<float>(dgamma, s.groups * s.width, "dgamma"),
                           .dbeta = out<float>(dbeta, s.groups * s.width, "dbeta"),
                           .samples = s.samples,
                           .positions = s.positions,
                           .groups = s.groups,
                           .width = s.width,
                           .scratch = nullptr,
                           .slots = num_threads()});
}

void random_keep(const py::array& keep, float rate, std::uint64_t seed, std::uint32_t stream, const py::array& counter) {
  launch("random_keep", &Kernels::random_keep,
         RandomKeep{out<float>(keep, -1, "keep"), keep.size(), rate, seed, stream, out<std::uint64_t>(counter, 1, "counter")});
}

// x (outer, repeat, inner), keep (outer, inner).
void apply_keep(const py::array& x, const py::array& keep, const py::array& y, index_t outer, index_t repeat, index_t inner,
                float scale, float shift, float fill) {
  require(outer >= 0 && repeat >= 0 && inner >= 0, "sizes >= 0");
  const index_t size = outer * repeat * inner;
  launch("apply_keep", &Kernels::apply_keep,
         ApplyKeep{in<float>(x, size, "x"), in<float>(keep, outer * inner, "keep"), out<float>(y, size, "y"), outer, repeat, inner,
                   scale, shift, fill});
}

void gaussian_forward(const py::array& x, const py::array& y, float stddev, bool multiply, std::uint64_t seed, std::uint32_t stream,
                      const py::array& counter, const py::array& used) {
  launch("gaussian_forward", &Kernels::gaussian_forward,
         GaussianForward{in<float>(x, y.size(), "x"), out<float>(y, -1, "y"), y.size(), stddev, multiply, seed, stream,
                         out<std::uint64_t>(counter, 1, "counter"), out<std::uint64_t>(used, 1, "used")});
}

void gaussian_backward(const py::array& dy, const py::array& dx, float stddev, std::uint64_t seed, std::uint32_t stream,
                       const py::array& used) {
  launch("gaussian_backward", &Kernels::gaussian_backward,
         GaussianBackward{in<float>(dy, dx.size(), "dy"), out<float>(dx, -1, "dx"), dx.size(), stddev, seed, stream,
                          in<std::uint64_t>(used, 1, "used")});
}

// x (rows, cols).
void mask_rows(const py::array& x, const py::array& y, const py::array& mask, float value) {
  const index_t rows = dim(x, 0, "x"), cols = dim(x, 1, "x");
  launch(
      "mask_rows", &Kernels::mask_rows,
      MaskRows{in<float>(x, rows * cols, "x"), out<float>(y, rows * cols, "y"), out<float>(mask, rows, "mask"), rows, cols, value});
}

void mask_weights(const py::array& mask, const MaybeArray& weights, const py::array& result, bool rescale) {
  const index_t n = mask.size();
  launch("mask_weights", &Kernels::mask_weights,
         MaskWeights{in<float>(mask, n, "mask"), in<float>(weights, n, "weights"), out<float>(result, n, "result"), n, rescale});
}

}  // namespace

void bind_regular(py::module_& m) {
  m.def("penalty", &penalty);
  m.def("clip_norms", &clip_norms);
  m.def("layer_norm_forward", &layer_norm_forward);
  m.def("layer_norm_backward", &layer_norm_backward);
  m.def("group_norm_forward", &group_norm_forward);
  m.def("group_norm_backward", &group_norm_backward);
  m.def("random_keep", &random_keep);
  m.def("apply_keep", &apply_keep);
  m.def("gaussian_forward", &gaussian_forward);
  m.def("gaussian_backward", &gaussian_backward);
  m.def("mask_rows", &mask_rows);
  m.def("mask_weights", &mask_weights);
}

}  // namespace fastnn
