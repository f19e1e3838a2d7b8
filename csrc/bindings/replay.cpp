// replay.cpp - replays a recorded step on single batches: the arrays of a call are checked and pointed to without Python.
#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "arrays.h"

namespace fastnn {
namespace {

template <class From>
bool within(const From* values, index_t n, double low, double high) {
  bool all = true;
  for (index_t i = 0; i < n; ++i) all &= static_cast<double>(values[i]) >= low && static_cast<double>(values[i]) <= high;
  return all;  // NaN is not within
}

// Fills the buffer with the values as the step takes them, if all are within the limits.
template <class From, class To>
bool convert(const void* from, void* buffer, index_t n, double low, double high) {
  const auto* values = static_cast<const From*>(from);
  if (!within(values, n, low, high)) return false;
  auto* to = static_cast<To*>(buffer);
  for (index_t i = 0; i < n; ++i) to[i] = static_cast<To>(values[i]);
  return true;
}

// One array of a batch: what it has to be like, and the cell where the step looks for its address.
class Slot {
 public:
  // The next array is to have dtype and shape of `example`; the step takes it as `taken`, its values from low to high
  // if that is to be checked.
  Slot(py::array cell, const py::array& example, const py::dtype& taken, double low, double high, bool checked)
      : owner_(std::move(cell)),
        cell_(out<std::uint64_t>(owner_, 1, "cell")),
        dtype_(example.dtype()),
        shape_(example.shape(), example.shape() + example.ndim()),
        size_(example.size()),
        low_(low),
        high_(high),
        checked_(checked) {
    const py::dtype f32 = py::dtype::of<float>(), i32 = py::dtype::of<std::int32_t>();
    if (taken.is(i32)) {
      // Labels are copied, so that no other thread can change them between this check and their use as indices.
      if (dtype_.is(i32)) convert_ = &convert<std::int32_t, std::int32_t>;
      if (dtype_.is(py::dtype::of<std::int64_t>())) convert_ = &convert<std::int64_t, std::int32_t>;
      if (dtype_.is(py::dtype::of<std::uint8_t>())) convert_ = &convert<std::uint8_t, std::int32_t>;
    } else if (taken.is(f32) && dtype_.is(py::dtype::of<double>())) {
      convert_ = &convert<double, float>;
      low_ = std::max(low_, -static_cast<double>(FLT_MAX));
      high_ = std::min(high_, static_cast<double>(FLT_MAX));
    }
    require(convert_ || dtype_.is(taken), "a dtype that the step takes");
    require(convert_ || !checked_ || dtype_.is(f32), "limits for float32, or for what is converted");
    if (convert_) buffer_.resize(static_cast<std::size_t>(size_ * 4));
  }

  // Whether the array will do; the cell then holds the address of its values, or of converted ones.
  bool take(const py::handle& given) {
    if (Py_TYPE(given.ptr()) != py::detail::npy_api::get().PyArray_Type_) return false;
    const auto a = py::reinterpret_borrow<py::array>(given);
    constexpr int kPlain = static_cast<int>(py::array::c_style) | static_cast<int>(py::detail::npy_api::NPY_ARRAY_ALIGNED_);
    if ((a.flags() & kPlain) != kPlain || !a.dtype().is(dtype_)) return false;
    if (a.ndim() != static_cast<index_t>(shape_.size()) || !std::equal(shape_.begin(), shape_.end(), a.shape())) return false;
    const void* values = a.data();
    if (convert_) {
      if (!convert_(values, buffer_.data(), size_, low_, high_)) return false;
      values = buffer_.data();
    } else if (checked_ && !within(static_cast<const float*>(values), size_, low_, high_)) {
      return false;
    }
    *cell_ = reinterpret_cast<std::uintptr_t>(values);
    return true;
  }

  void clear() { *cell_ = 0; }

 private:
  py::array owner_;
  std::uint64_t* cell_;
  py::dtype dtype_;
  std::vector<index_t> shape_;
  index_t size_;
  double low_, high_;
  bool checked_;
  bool (*convert_)(const void* from, void* buffer, index_t n, double low, double high) = nullptr;
  std::vector<std::byte> buffer_;
};

class Replay {
 public:
  Replay(std::shared_ptr<Tape> tape, py::array position, py::array order_cell)
      : tape_(std::move(tape)),
        owners_{std::move(position), std::move(order_cell)},
        position_(out<std::int64_t>(owners_.first, 1, "position")),
        order_cell_(out<std::uint64_t>(owners_.second, 1, "order_cell")) {}

  void add(const py::array& cell, const py::array& example, const py::dtype& taken,
           const std::optional<std::pair<double, double>>& limits) {
    const auto [low, high] = limits.value_or(std::pair(-HUGE_VAL, HUGE_VAL));
    slots_.emplace_back(cell, example, taken, low, high, limits.has_value());
  }

  // Does one step on these arrays. False, with nothing done, if one of them is not as its example was, or if steps are so long that
  // Ctrl-C has to be looked for: a replay runs no Python, so nothing comes between the cells and their use.
  bool run(const py::args& arrays) {
    require(recorder() == nullptr, "no tape recording on this thread");
    if (arrays.size() != slots_.size() || tape_->watches()) return false;
    bool fit = true;
    for (std::size_t i = 0; fit && i < slots_.size(); ++i) fit = slots_[i].take(arrays[i]);
    if (fit) {
      *position_ = 0;
      *order_cell_ = 0;
      const WithoutGil release;
      tape_->run(1, 0.0, nullptr);
    }
    for (Slot& slot : slots_) slot.clear();
    return fit;
  }

 private:
  std::shared_ptr<Tape> tape_;
  std::pair<py::array, py::array> owners_;
  std::int64_t* position_;
  std::uint64_t* order_cell_;
  std::vector<Slot> slots_;
};

}  // namespace

void bind_replay(py::module_& m) {
  py::class_<Replay>(m, "Replay")
      .def(py::init<std::shared_ptr<Tape>, py::array, py::array>())
      .def("add", &Replay::add)
      .def("run", &Replay::run);
}

}  // namespace fastnn
