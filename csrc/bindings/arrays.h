// arrays.h - NumPy array -> pointer, after the checks that protect memory; scratch; launching a kernel. No arithmetic here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

#include "../dispatch.h"
#include "../kernels.h"
#include "../tape.h"
#include "../threads.h"

namespace fastnn {

namespace py = pybind11;

// While one of these lives, the calling thread does without the GIL.
class WithoutGil {
 public:
  WithoutGil() : state_(PyEval_SaveThread()) {}
  ~WithoutGil() { take_back(); }
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

  // body() with the GIL.
  template <class Body>
  auto with_gil(const Body& body) {
    take_back();
    const auto result = body();
    state_ = PyEval_SaveThread();
    return result;
  }

 private:
  // A daemon thread that asks for the GIL while the interpreter ends never returns. CPython before 3.14 ends the thread by
  // unwinding its stack, which would run destructors of Python objects without the GIL, and end the process at the first one that
  // must not throw; so the thread rests here until the process ends, as 3.14 itself has it.
  void take_back() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }

  PyThreadState* state_;
};

template <class T>
const T* checked(const py::array& a, index_t size, const char* name, bool writable) {
  const bool right = py::isinstance<py::array_t<T>>(a) && (a.flags() & py::array::c_style) &&
                     reinterpret_cast<std::uintptr_t>(a.data()) % alignof(T) == 0;
  if (!right) throw py::type_error(std::string("_core: expected ") + name + " as an aligned, C-contiguous array of its type");
  if (size >= 0 && a.size() != size) {
    throw py::value_error(std::string("_core: expected ") + name + " of " + std::to_string(size) + " elements, got " +
                          std::to_string(a.size()));
  }
  if (writable && !a.writeable()) throw py::value_error(std::string("_core: expected ") + name + " to be writeable");
  // Memory that is not the arena's must outlive the tape.
  if (Tape* tape = recorder(); tape && a.size() > 0 && !tape->arena()->contains(a.data())) tape->keep(a);
  return static_cast<const T*>(a.data());
}

// An input of exactly `size` elements (-1: any).
template <class T>
const T* in(const py::array& a, index_t size, const char* name) {
  return checked<T>(a, size, name, false);
}

template <class T>
T* out(const py::array& a, index_t size, const char* name) {
  return const_cast<T*>(checked<T>(a, size, name, true));
}

using MaybeArray = std::optional<py::array>;

template <class T>
const T* in(const MaybeArray& a, index_t size, const char* name) {
  return a ? in<T>(*a, size, name) : nullptr;
}

template <class T>
T* out(const MaybeArray& a, index_t size, const char* name) {
  return a ? out<T>(*a, size, name) : nullptr;
}

inline index_t dim(const py::array& a, int axis, const char* name) {
  if (axis >= a.ndim()) throw py::value_error(std::string("_core: expected ") + name + " of higher rank");
  return a.shape(axis);
}

inline void require(bool condition, const char* what) {
  if (!condition) throw py::value_error(std::string("_core: expected ") + what);
}

// A block of memory for one kernel call: the arena's while recording, else the calling thread's own, which grows and is kept.
class Scratch {
 public:
  explicit Scratch(index_t floats) : bytes_(static_cast<std::size_t>(floats) * sizeof(float)), tape_(recorder()) {
    pointer_ = static_cast<float*>(tape_ ? tape_->scratch(bytes_) : reuse(bytes_));
  }
  ~Scratch() {
    if (tape_) tape_->release_scratch(pointer_, bytes_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  float* get() const { return pointer_; }

 private:
  static void* reuse(std::size_t bytes);

  std::size_t bytes_;
  Tape* tape_;
  float* pointer_;
};

// Runs a kernel of the table in use, appends it to the recording tape if there is one.
template <class Args>
void launch(const char* name, void (*Kernels::*entry)(const Args&), const Args& args) {
  const auto kernel = kernels().*entry;
  if (Tape* tape = recorder()) {
    tape->add(name, kernel, args);
    if (!tape->makes()) return;
  }
  const WithoutGil release;
  const FlushDenormals flush;
  kernel(args);
}

// The same for a kernel with scratch.
template <class Args>
void launch(const char* name, void (*Kernels::*entry)(const Args&), index_t (*Kernels::*size)(const Args&), Args args) {
  const Scratch scratch((kernels().*size)(args));
  args.scratch = scratch.get();
  launch(name, entry, args);
}

Activation activation_from(const std::string& name);

// A new array: from the recording tape's arena, or aligned memory of its own.
py::array empty(const std::vector<index_t>& shape, const py::dtype& dtype);

void bind_losses(py::module_& m);
void bind_products(py::module_& m);
void bind_rectifiers(py::module_& m);
void bind_regular(py::module_& m);
void bind_rows(py::module_& m);
void bind_pool(py::module_& m);
void bind_merge(py::module_& m);
void bind_shapes(py::module_& m);
void bind_augment(py::module_& m);
void bind_optim(py::module_& m);
void bind_scores(py::module_& m);
void bind_training(py::module_& m);
void bind_tape(py::module_& m);
void bind_replay(py::module_& m);

}  // namespace fastnn
