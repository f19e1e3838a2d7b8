// optim.cpp - bindings of the optimizers' steps and of what they do around them.
#include "arrays.h"

namespace fastnn {
namespace {

// What a gradient is made of: x (rows, inputs) and dy (rows, units) of a product, or None; one factor, or None; a limit.
struct GivenGradient {
  std::optional<std::pair<py::array, py::array>> product;
  MaybeArray factor;
  float limit;
};

GradientSource source_of(const GivenGradient& s, index_t n) {
  GradientSource result = {.x = nullptr, .dy = nullptr, .rows = 0, .inputs = 0, .units = 0, .factor = nullptr, .limit = s.limit};
  result.factor = in<float>(s.factor, 1, "factor");
  if (!s.product) return result;
  const auto& [x, dy] = *s.product;
  result.rows = dim(x, 0, "x"), result.inputs = dim(x, 1, "x"), result.units = dim(dy, 1, "dy");
  require(result.inputs * result.units == n && result.units > 0, "a product of the gradient's size");
  result.x = in<float>(x, result.rows * result.inputs, "x");
  result.dy = in<float>(dy, result.rows * result.units, "dy");
  return result;
}

// What every step is given.
struct Common {
  py::array w, g, lr;
  float weight_decay;
  GivenGradient source;
};

Update update_of(const Common& c) {
  const index_t n = c.w.size();
  return {out<float>(c.w, n, "w"), in<float>(c.g, n, "g"), n,       in<float>(c.lr, 1, "lr"),
          c.weight_decay,          source_of(c.source, n), nullptr, num_threads()};
}

void sgd_step(const Common& c) { launch("sgd_step", &Kernels::sgd_step, &Kernels::sgd_step_scratch, SgdStep{update_of(c)}); }

void momentum_step(const Common& c, const py::array& v, float momentum, bool nesterov) {
  launch("momentum_step", &Kernels::momentum_step, &Kernels::momentum_step_scratch,
         MomentumStep{update_of(c), out<float>(v, c.w.size(), "v"), momentum, nesterov});
}

void adagrad_step(const Common& c, const py::array& a, float epsilon, bool outside) {
  launch("adagrad_step", &Kernels::adagrad_step, &Kernels::adagrad_step_scratch,
         AdagradStep{update_of(c), out<float>(a, c.w.size(), "a"), epsilon, outside});
}

void rmsprop_step(const Common& c, const py::array& v, const MaybeArray& mean, const MaybeArray& velocity, double rho,
                  float momentum, float epsilon, bool outside) {
  const index_t n = c.w.size();
  launch("rmsprop_step", &Kernels::rmsprop_step, &Kernels::rmsprop_step_scratch,
         RmspropStep{update_of(c), out<float>(v, n, "v"), out<float>(mean, n, "mean"), out<float>(velocity, n, "velocity"), rho,
                     momentum, epsilon, outside});
}

void adadelta_step(const Common& c, const py::array& a, const py::array& d, double rho, float epsilon) {
  const index_t n = c.w.size();
  launch("adadelta_step", &Kernels::adadelta_step, &Kernels::adadelta_step_scratch,
         AdadeltaStep{update_of(c), out<float>(a, n, "a"), out<float>(d, n, "d"), rho, epsilon});
}

void adam_step(const Common& c, const py::array& m, const py::array& v, const MaybeArray& vhat, const py::array& iterations,
               double beta_1, double beta_2, float epsilon) {
  const index_t n = c.w.size();
  launch("adam_step", &Kernels::adam_step, &Kernels::adam_step_scratch,
         AdamStep{update_of(c), out<float>(m, n, "m"), out<float>(v, n, "v"), out<float>(vhat, n, "vhat"),
                  in<index_t>(iterations, 1, "iterations"), beta_1, beta_2, epsilon});
}

// The steps that keep two arrays and count.
template <class Step>
void two_moments(const char* name, void (*Kernels::*entry)(const Step&), index_t (*Kernels::*size)(const Step&), const Common& c,
                 const py::array& first, const py::array& second, const char* second_name, const py::array& iterations,
                 double beta_1, double beta_2, float epsilon) {
  const index_t n = c.w.size();
  launch(name, entry, size,
         Step{update_of(c), out<float>(first, n, "m"), out<float>(second, n, second_name), in<index_t>(iterations, 1, "iterations"),
              beta_1, beta_2, epsilon});
}

void adamax_step(const Common& c, const py::array& m, const py::array& u, const py::array& iterations, double beta_1, double beta_2,
                 float epsilon) {
  two_moments("adamax_step", &Kernels::adamax_step, &Kernels::adamax_step_scratch, c, m, u, "u", iterations, beta_1, beta_2,
              epsilon);
}

void nadam_step(const Common& c, const py::array& m, const py::array& v, const py::array& iterations, double beta_1, double beta_2,
                float epsilon) {
  two_moments("nadam_step", &Kernels::nadam_step, &Kernels::nadam_step_scratch, c, m, v, "v", iterations, beta_1, beta_2, epsilon);
}

void lamb_step(const Common& c, const py::array& m, const py::array& v, const py::array& iterations, double beta_1, double beta_2,
               float epsilon) {
  two_moments("lamb_step", &Kernels::lamb_step, &Kernels::lamb_step_scratch, c, m, v, "v", iterations, beta_1, beta_2, epsilon);
}

void lion_step(const Common& c, const py::array& m, double beta_1, double beta_2) {
  launch("lion_step", &Kernels::lion_step, &Kernels::lion_step_scratch,
         LionStep{update_of(c), out<float>(m, c.w.size(), "m"), beta_1, beta_2});
}

void ftrl_step(const Common& c, const py::array& a, const py::array& z, float power, float l1, float l2, float shrinkage,
               float beta) {
  const index_t n = c.w.size();
  launch("ftrl_step", &Kernels::ftrl_step, &Kernels::ftrl_step_scratch,
         FtrlStep{update_of(c), out<float>(a, n, "a"), out<float>(z, n, "z"), power, l1, l2, shrinkage, beta});
}

// row: blocks x rows values, or None for a vector, whose v is the column.
void adafactor_step(const Common& c, const MaybeArray& row, const py::array& column, index_t blocks, index_t rows, index_t cols,
                    const py::array& iterations, double beta_2_decay, float epsilon_1, float epsilon_2, float clip_threshold) {
  require(blocks * rows * cols == c.w.size() && (row || blocks * rows == 1), "blocks of rows x cols weights");
  require(!c.source.product && !c.source.factor, "a gradient that is ready");
  launch("adafactor_step", &Kernels::adafactor_step, &Kernels::adafactor_step_scratch,
         AdafactorStep{update_of(c), out<float>(row, blocks * rows, "row"), out<float>(column, blocks * cols, "column"), blocks,
                       rows, cols, in<index_t>(iterations, 1, "iterations"), beta_2_decay, epsilon_1, epsilon_2, clip_threshold});
}

void muon_momentum(const py::array& g, const py::array& m, const py::array& u, const GivenGradient& source, float momentum,
                   bool nesterov) {
  const index_t n = m.size();
  launch("muon_momentum", &Kernels::muon_momentum, &Kernels::muon_momentum_scratch,
         MuonMomentum{in<float>(g, n, "g"), out<float>(m, n, "m"), out<float>(u, n, "u"), n, momentum, nesterov,
                      source_of(source, n), nullptr, num_threads()});
}

void prepare_gradient(const py::array& g, const py::array& y, const GivenGradient& source) {
  const index_t n = y.size();
  launch("prepare_gradient", &Kernels::prepare_gradient, &Kernels::prepare_gradient_scratch,
         PrepareGradient{in<float>(g, n, "g"), out<float>(y, n, "y"), n, source_of(source, n), nullptr, num_threads()});
}

void dot(const py::array& x, const py::array& y, const py::array& sum) {
  const index_t n = x.size();
  launch("dot", &Kernels::dot, &Kernels::dot_scratch,
         Dot{in<float>(x, n, "x"), in<float>(y, n, "y"), out<double>(sum, 1, "sum"), n, nullptr});
}

void clip_factors(const py::array& squares, const py::array& factors, float scale, float limit, bool joint) {
  const index_t count = squares.size();
  launch("clip_factors", &Kernels::clip_factors,
         ClipFactors{in<double>(squares, count, "squares"), out<float>(factors, joint ? 1 : count, "factors"), count, scale, limit,
                     joint});
}

void inverse_norm(const py::array& square, const py::array& factor, float epsilon) {
  launch("inverse_norm", &Kernels::inverse_norm,
         InverseNorm{in<double>(square, 1, "square"), out<float>(factor, 1, "factor"), epsilon});
}

void take_rate(const py::array& rates, const py::array& first, const py::array& counter, const py::array& rate) {
  require(rates.size() > 0, "rates");
  launch("take_rate", &Kernels::take_rate,
         TakeRate{in<float>(rates, -1, "rates"), in<index_t>(first, 1, "first"), in<index_t>(counter, 1, "counter"),
                  out<float>(rate, 1, "rate"), rates.size()});
}

void moving_average(const py::array& w, const py::array& average, const py::array& iterations, double momentum) {
  const index_t n = w.size();
  launch("moving_average", &Kernels::moving_average,
         MovingAverage{in<float>(w, n, "w"), out<float>(average, n, "average"), in<index_t>(iterations, 1, "iterations"), n,
                       momentum});
}

}  // namespace

void bind_optim(py::module_& m) {
  py::class_<GivenGradient>(m, "Gradient")
      .def(py::init([](std::optional<std::pair<py::array, py::array>> product, MaybeArray factor, float limit) {
        return GivenGradient{std::move(product), std::move(factor), limit};
      }));
  py::class_<Common>(m, "Common")
      .def(py::init([](py::array w, py::array g, py::array lr, float weight_decay, GivenGradient source) {
        return Common{std::move(w), std::move(g), std::move(lr), weight_decay, std::move(source)};
      }));
  m.def("sgd_step", &sgd_step);
  m.def("momentum_step", &momentum_step);
  m.def("adagrad_step", &adagrad_step);
  m.def("rmsprop_step", &rmsprop_step);
  m.def("adadelta_step", &adadelta_step);
  m.def("adam_step", &adam_step);
  m.def("adamax_step", &adamax_step);
  m.def("nadam_step", &nadam_step);
  m.def("lamb_step", &lamb_step);
  m.def("lion_step", &lion_step);
  m.def("ftrl_step", &ftrl_step);
  m.def("adafactor_step", &adafactor_step);
  m.def("muon_momentum", &muon_momentum);
  m.def("prepare_gradient", &prepare_gradient);
  m.def("dot", &dot);
  m.def("clip_factors", &clip_factors);
  m.def("inverse_norm", &inverse_norm);
  m.def("take_rate", &take_rate);
  m.def("moving_average", &moving_average);
}

}  // namespace fastnn
