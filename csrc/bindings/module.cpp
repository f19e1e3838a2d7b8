// module.cpp - the extension module fastnn._core.
#include "../cores.h"
#include "arrays.h"

PYBIND11_MODULE(_core, m) {
  using namespace fastnn;
  m.doc() = "Kernels of fastnn, called through fastnn.ops.";
  m.attr("__version__") = FASTNN_VERSION;
  m.def("isa", [] { return std::string(kernels().isa); });
  m.def("lanes", [] { return kernels().lanes; });
  m.def("compiled_isas", &compiled_isas);
  m.def("available_isas", &available_isas);
  m.def("use_isa", &use);
  m.def("cores", [] { return std::string(cores().name); });
  m.def("known_cores", [] {
    std::vector<std::string> names;
    for (int i = 0; const Cores* each = known_cores(i); ++i) names.emplace_back(each->name);
    return names;
  });
  m.def("use_cores", [](const std::string& name) { return use_cores(name.c_str()); });
  m.def("num_threads", &num_threads);
  m.def("default_num_threads", &default_num_threads);
  m.def("set_num_threads", &set_num_threads);
  bind_losses(m);
  bind_products(m);
  bind_rectifiers(m);
  bind_regular(m);
  bind_rows(m);
  bind_pool(m);
  bind_merge(m);
  bind_shapes(m);
  bind_augment(m);
  bind_optim(m);
  bind_scores(m);
  bind_training(m);
  bind_tape(m);
  bind_replay(m);
}
