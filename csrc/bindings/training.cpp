// training.cpp - bindings of losses, metrics and data movement.
#include "arrays.h"

namespace fastnn {
namespace {

// Labels (int32, one a row) or targets (float32, rows x cols): whichever y_true is.
struct Truth {
  const std::int32_t* labels = nullptr;
  const float* targets = nullptr;
};

Truth truth_from(const py::array& y_true, index_t rows, index_t cols) {
  if (py::isinstance<py::array_t<std::int32_t>>(y_true)) return {in<std::int32_t>(y_true, rows, "y_true"), nullptr};
  return {nullptr, in<float>(y_true, rows * cols, "y_true")};
}

void softmax_cross_entropy(const py::array& logits, const py::array& y_true, const MaybeArray& weights, const MaybeArray& probs,
                           const py::array& losses, const MaybeArray& dlogits, float scale) {
  const index_t rows = dim(logits, 0, "logits"), cols = dim(logits, 1, "logits"), size = rows * cols;
  const Truth truth = truth_from(y_true, rows, cols);
  launch("softmax_cross_entropy", &Kernels::softmax_cross_entropy,
         SoftmaxCrossEntropy{in<float>(logits, size, "logits"), truth.labels, truth.targets, in<float>(weights, rows, "weights"),
                             out<float>(probs, size, "probs"), out<float>(losses, rows, "losses"),
                             out<float>(dlogits, size, "dlogits"), rows, cols, scale});
}

void cross_entropy(const py::array& probs, const py::array& y_true, const MaybeArray& weights, const py::array& losses,
                   const MaybeArray& dprobs, float scale) {
  const index_t rows = dim(probs, 0, "probs"), cols = dim(probs, 1, "probs"), size = rows * cols;
  const Truth truth = truth_from(y_true, rows, cols);
  launch("cross_entropy", &Kernels::cross_entropy,
         CrossEntropy{in<float>(probs, size, "probs"), truth.labels, truth.targets, in<float>(weights, rows, "weights"),
                      out<float>(losses, rows, "losses"), out<float>(dprobs, size, "dprobs"), rows, cols, scale});
}

void mean_update(const py::array& values, const MaybeArray& weights, const py::array& state, double scale) {
  const index_t n = values.size();
  launch("mean_update", &Kernels::mean_update,
         MeanUpdate{in<float>(values, -1, "values"), in<float>(weights, n, "weights"), out<double>(state, 2, "state"), n, scale});
}

void count_matches(const std::string& kind, const py::array& y_pred, const py::array& y_true, const MaybeArray& weights,
                   const py::array& state, float threshold) {
  const index_t rows = dim(y_pred, 0, "y_pred"), cols = dim(y_pred, 1, "y_pred");
  const Match match = kind == "sparse" ? Match::sparse : kind == "categorical" ? Match::categorical : Match::binary;
  const Truth truth = truth_from(y_true, rows, cols);
  require((match == Match::sparse) == (truth.labels != nullptr), "int32 labels for sparse, float32 targets for the other kinds");
  launch("count_matches", &Kernels::count_matches,
         CountMatches{match, in<float>(y_pred, rows * cols, "y_pred"), truth.labels, truth.targets,
                      in<float>(weights, rows, "weights"), out<double>(state, 2, "state"), rows, cols, threshold});
}

// source, order: uint64 cells holding addresses (see GatherRows); whoever fills them answers for the bounds.
void gather_rows(const py::array& source, const py::array& order, const py::array& position, const std::string& kind,
                 const py::array& result, float scale) {
  const index_t rows = dim(result, 0, "out"), row_size = rows ? result.size() / rows : 0;
  GatherRows args = {in<std::uint64_t>(source, 1, "source"),
                     in<std::uint64_t>(order, 1, "order"),
                     in<index_t>(position, 1, "position"),
                     Source::float32,
                     nullptr,
                     rows,
                     row_size,
                     scale};
  if (kind == "int32") {
    args.kind = Source::int32;
    args.out = out<std::int32_t>(result, -1, "out");
  } else {
    args.kind = kind == "uint8" ? Source::uint8 : Source::float32;
    args.out = out<float>(result, -1, "out");
  }
  launch("gather_rows", &Kernels::gather_rows, args);
}

void store_rows(const py::array& x, const py::array& target, const py::array& position) {
  const index_t rows = dim(x, 0, "rows");
  launch("store_rows", &Kernels::store_rows,
         StoreRows{in<float>(x, -1, "rows"), in<std::uint64_t>(target, 1, "target"), in<index_t>(position, 1, "position"), rows,
                   rows ? x.size() / rows : 0});
}

void advance(const py::array& counter, index_t by) {
  launch("advance", &Kernels::advance, Advance{out<index_t>(counter, 1, "counter"), by});
}

void permute(const py::array& x, const py::array& y, const std::vector<int>& axes) {
  const int rank = static_cast<int>(x.ndim());
  require(rank <= kMaxRank && static_cast<int>(axes.size()) == rank && y.ndim() == rank, "one axis per dimension, at most six");
  Permute args = {.x = in<float>(x, -1, "x"), .y = out<float>(y, x.size(), "y"), .rank = rank, .dims = {}, .strides = {}};
  for (int i = 0; i < rank; ++i) {
    require(axes[i] >= 0 && axes[i] < rank && y.shape(i) == x.shape(axes[i]), "axes that permute the shape");
    args.dims[i] = y.shape(i);
    args.strides[i] = x.strides(axes[i]) / static_cast<index_t>(sizeof(float));
  }
  launch("permute", &Kernels::permute, args);
}

void fill(const py::array& y, float value) { launch("fill", &Kernels::fill, Fill{out<float>(y, -1, "y"), y.size(), value}); }

void multiply_add_probe(const py::array& result, index_t rounds, int threads) {
  launch("multiply_add_probe", &Kernels::multiply_add_probe, MultiplyAddProbe{out<float>(result, threads, "out"), rounds, threads});
}

void triad_probe(const py::array& y, const py::array& x, const py::array& z, index_t rounds, int threads) {
  const index_t n = y.size();
  launch("triad_probe", &Kernels::triad_probe,
         TriadProbe{out<float>(y, n, "y"), in<float>(x, n, "x"), in<float>(z, n, "z"), n, rounds, threads});
}

}  // namespace

void bind_training(py::module_& m) {
  m.def("softmax_cross_entropy", &softmax_cross_entropy);
  m.def("cross_entropy", &cross_entropy);
  m.def("mean_update", &mean_update);
  m.def("count_matches", &count_matches);
  m.def("gather_rows", &gather_rows);
  m.def("store_rows", &store_rows);
  m.def("advance", &advance);
  m.def("permute", &permute);
  m.def("fill", &fill);
  m.def("multiply_add_probe", &multiply_add_probe);
  m.def("multiply_add_probe_flops", [] { return kernels().multiply_add_probe_flops(); });
  m.def("triad_probe", &triad_probe);
}

}  // namespace fastnn
