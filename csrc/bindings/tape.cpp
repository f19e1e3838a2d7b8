// tape.cpp - bindings of the tape, and the memory of new arrays.
#include "../tape.h"

#include <new>
#include <stdexcept>
#include <unordered_map>

#include "../blocks.h"
#include "arrays.h"

namespace fastnn {
namespace {

// Memory of arrays that are gone, kept for new ones of the same size: what comes fresh from the system costs a page fault every
// four kilobytes. Used with the GIL held.
class SpareBlocks {
 public:
  void* take(std::size_t bytes) {
    auto& spare = blocks_[bytes];
    if (spare.empty()) return allocate_block(bytes);
    void* block = spare.back();
    spare.pop_back();
    held_ -= bytes;
    return block;
  }

  void give(void* block, std::size_t bytes) {
    if (held_ + bytes > kMostBytes) return free_block(block, bytes);
    blocks_[bytes].push_back(block);
    held_ += bytes;
  }

 private:
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  std::unordered_map<std::size_t, std::vector<void*>> blocks_;
  std::size_t held_ = 0;
};

// Never destroyed: arrays may outlive every static object.
SpareBlocks& spare_blocks() {
  static auto* blocks = new SpareBlocks;
  return *blocks;
}

// The name of the capsules that are the bases of our arrays: those of others have another address.
constexpr char kOwner[] = "fastnn";

// Owner of a new array's memory, inside such a capsule.
struct Block {
  std::shared_ptr<Arena> arena;  // or null: memory of its own
  void* pointer;
  std::size_t bytes;

  ~Block() {
    if (arena) {
      arena->release(pointer, bytes);
    } else {
      spare_blocks().give(pointer, bytes);
    }
  }
};

void start(Tape& tape) {
  require(recorder() == nullptr, "no other tape recording on this thread");
  // Arrays that outlived the recording they are from may be inputs of this one: its buffers must not be where a replay of it
  // writes.
  require(tape.arena()->unused(), "an arena in which no array lies and that no tape runs over");
  tape.start();
}

void require_replay(const Tape& tape) {
  require(recorder() == nullptr, "no tape recording on this thread");
  require(!tape.plans(), "a tape that records, not one that only plans");
}

index_t run(Tape& tape, index_t steps, double seconds) {
  require_replay(tape);
  Arena& arena = *tape.arena();
  if (arena.running)
    throw std::runtime_error("_core: expected no step of this model in the middle of another, from a signal's handler");
  struct Running {
    bool& flag;
    explicit Running(bool& set) : flag(set) { flag = true; }
    ~Running() { flag = false; }
  } running(arena.running);
  bool raised = false;
  index_t done = 0;
  {
    WithoutGil release;
    done = tape.run(steps, seconds, [&] { return raised = release.with_gil([] { return PyErr_CheckSignals() != 0; }); });
  }
  if (raised) throw py::error_already_set();
  return done;
}

std::vector<double> profile(const Tape& tape, index_t steps) {
  require_replay(tape);
  require(steps >= 0, "steps >= 0");
  const WithoutGil release;
  return tape.profile(steps);
}

// (kernel, label, flops, bytes) of every record.
py::list calls(const Tape& tape) {
  py::list result;
  for (const Tape::Call& call : tape.calls()) {
    result.append(py::make_tuple(call.name, call.label, call.work.flops, call.work.bytes));
  }
  return result;
}

// The array must outlive the tape.
void guard(Tape& tape, const py::array& a) {
  tape.keep(a);
  tape.guard(const_cast<void*>(a.data()), static_cast<std::size_t>(a.nbytes()));
}

}  // namespace

void* Scratch::reuse(std::size_t bytes) {
  struct Buffer {
    void* pointer = nullptr;
    std::size_t bytes = 0;
    ~Buffer() { free_block(pointer, bytes); }
  };
  thread_local Buffer buffer;
  if (buffer.bytes < bytes) {
    free_block(buffer.pointer, buffer.bytes);
    buffer.pointer = nullptr;
    buffer.bytes = 0;
    buffer.pointer = allocate_block(bytes);
    buffer.bytes = bytes;
  }
  return buffer.pointer;
}

py::array empty(const std::vector<index_t>& shape, const py::dtype& dtype) {
  index_t bytes = dtype.itemsize();
  for (const index_t size : shape) {
    require(size >= 0, "dimensions >= 0");
    if (__builtin_mul_overflow(bytes, size, &bytes)) throw std::bad_alloc();
  }
  const auto length = static_cast<std::size_t>(std::max<index_t>(bytes, 1));
  auto block = std::make_unique<Block>();
  block->bytes = length;
  if (Tape* tape = recorder()) {
    block->pointer = tape->array(length);
    block->arena = tape->arena();
  } else {
    block->pointer = spare_blocks().take(length);
  }
  void* pointer = block->pointer;
  const py::capsule owner(block.release(), kOwner, [](void* p) { delete static_cast<Block*>(p); });
  return py::array(dtype, shape, pointer, owner);
}

void bind_tape(py::module_& m) {
  m.def("empty", &empty);
  // Whether an object is the base of an array from `empty`.
  m.def("is_owner",
        [](const py::object& base) { return PyCapsule_CheckExact(base.ptr()) && PyCapsule_GetName(base.ptr()) == kOwner; });
  // An array that a kernel finds by its address alone must live as long as the tape that records the call.
  m.def("keep", [](const py::object& owner) {
    if (Tape* tape = recorder()) tape->keep(owner);
  });
  m.def("stop_recording", [] {
    if (Tape* tape = recorder()) tape->stop();
  });
  m.def("recording", [] { return recorder() != nullptr; });
  // Whether the calls made now are only written down.
  m.def("planning", [] { return recorder() != nullptr && recorder()->plans(); });
  // The calls recorded from here on are made only in some steps: see Tape::only_every. None: in all of them.
  m.def("only_every", [](const MaybeArray& counter, index_t every) {
    require(every >= 1, "every >= 1");
    if (Tape* tape = recorder()) tape->only_every(in<index_t>(counter, 1, "counter"), every);
  });
  // Least bytes of a group's largest array for it to be computed depth first, from the next recording on; returns what it was.
  m.def("set_depth_first_bytes", &set_depth_first_bytes);
  // What the calls recorded from here on belong to; nothing where no tape records.
  m.def("label", [](const std::string& text) {
    if (Tape* tape = recorder()) tape->label(text);
  });
  py::class_<Arena, std::shared_ptr<Arena>>(m, "Arena")
      .def(py::init<>())
      .def_property_readonly("bytes", &Arena::bytes)
      .def_property_readonly("unused", &Arena::unused);
  py::class_<Tape, std::shared_ptr<Tape>>(m, "Tape")
      .def(py::init<std::shared_ptr<Arena>, bool>())
      .def("start", &start)
      .def("stop", &Tape::stop)
      .def("commit", &Tape::commit)
      .def("guard", &guard)
      .def("run", &run)
      .def("profile", &profile)
      .def("names", &Tape::names)
      .def("groups", &Tape::groups)
      .def_property_readonly("shares", &Tape::shares)
      .def("calls", &calls);
}

}  // namespace fastnn
