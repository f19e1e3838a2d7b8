// tape.h - a recorded step: kernel calls over fixed buffers, replayed without Python.
//
// While a tape records on a thread, every kernel call made there through launch() is run and appended to it: the function and a
// copy of its argument struct. Arrays made meanwhile come from the tape's arena. An array that Python lets go of while
// recording gives its memory back to later calls of the same recording; since a replay makes the same calls in the same order,
// that is all the planning the buffers of a step need.
#pragma once

#include <any>
#include <chrono>
#include <cstddef>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "blocks.h"
#include "depth_first.h"
#include "dispatch.h"
#include "kernels.h"
#include "work.h"

namespace fastnn {

// Aligned memory that grows by whole chunks and never moves. How much it holds depends on the sequence of calls alone, not on
// where the system puts the chunks. Tapes that never run at the same time may share one: a step writes before it reads.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // Aligned memory, apart from what so many generations have given back; throws std::bad_alloc.
  void* allocate(std::size_t bytes, int apart = 0);
  void release(void* block, std::size_t bytes);  // gives a block back to later allocations
  void next_generation();                        // remembers from here on what is given back, in two generations
  void forget_generations();                     // until the next
  bool contains(const void* pointer) const;
  std::size_t bytes() const { return total_; }            // memory held
  bool unused() const { return used_ == 0 && !running; }  // no block is out, and no tape uses it

  bool running = false;  // a tape runs over this memory; read and written with the GIL held

 private:
  struct Chunk {
    std::size_t bytes;
    std::size_t number;  // in the order they were made
  };
  using Holes = std::map<char*, std::size_t>;

  const Chunk& chunk_of(char* pointer) const { return std::prev(chunks_.upper_bound(pointer))->second; }
  char* best_place(std::size_t bytes, const Holes& apart) const;
  char* grow(std::size_t bytes);
  void* take(char* place, std::size_t bytes);

  Holes holes_;     // free memory by address
  Holes given_[2];  // what has been given back in this generation, and in the one before
  bool remembers_ = false;
  std::map<char*, Chunk> chunks_;
  std::size_t total_ = 0, used_ = 0;
};

class Tape {
 public:
  using Clock = std::chrono::steady_clock;

  // A tape that only plans takes the memory and keeps the calls, but does not make them.
  explicit Tape(std::shared_ptr<Arena> arena, bool plans = false) : arena_(std::move(arena)), plans_(plans) {}
  ~Tape() { stop(); }
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  template <class Args>
  void add(const char* name, void (*kernel)(const Args&), const Args& args) {
    static_assert(std::is_trivially_copyable_v<Args> && alignof(Args) <= 16);
    const std::size_t offset = (arguments_.size() + 15) / 16 * 16;
    arguments_.resize(offset + sizeof(Args));
    __builtin_memcpy(arguments_.data() + offset, &args, sizeof(Args));
    records_.push_back({name, &call<Args>, reinterpret_cast<void (*)()>(kernel), offset, condition_});
    notes_.push_back({label_, work_of(args)});
    group(condition_.counter ? std::vector<Stage>() : stages_of(args));
  }

  // Memory for an array, or for the scratch of the next call. The calls of a group take turns: nothing that one of them has let
  // go of can be scratch of another; nor does a small array end the group for the sake of a little memory.
  void* array(std::size_t bytes) { return bytes <= kSmallArray ? scratch(bytes) : arena_->allocate(bytes); }
  void* scratch(std::size_t bytes) { return arena_->allocate(bytes, bytes <= kSmallArray ? 2 : 1); }

  // Takes back the scratch of the call added last.
  void release_scratch(void* block, std::size_t bytes);

  // Says what the calls recorded from here on belong to.
  void label(std::string text) { label_ = std::move(text); }
  bool plans() const { return plans_; }

  // The calls recorded from here on are made only in steps where (counter[0] + 1) % every == 0; null ends that.
  void only_every(const index_t* counter, index_t every) { condition_ = {counter, every}; }

  // Whether a call recorded now is also made.
  bool makes() const { return !plans_ && condition_.holds(); }

  // Begins and ends the recording on this thread.
  void start();
  void stop();

  // What has been recorded so far can be undone: restoring the guarded memory takes the step back. What follows cannot.
  void commit() {
    close_groups();
    commit_ = records_.size();
  }

  // Memory that a step changes before its commit.
  void guard(void* pointer, std::size_t bytes) { guarded_.push_back({static_cast<std::byte*>(pointer), bytes}); }

  // Replays whole steps until `steps` are done or `seconds` have passed; returns how many were done, at least one unless
  // `interrupted`, asked every now and then, says so in the middle of a step before its commit: that step is then taken back.
  // The arena must not be in use by another run.
  index_t run(index_t steps, double seconds, const std::function<bool()>& interrupted);

  // Replays 2 `steps` steps, as run does: in turn one that is timed record by record, and one that is timed whole. Returns the
  // seconds of every record of the first and of the whole second step, then those of the next two, ...; what it takes to read the
  // clock is not in them. Records of a group share what the group takes, in proportion to what they take of each thread.
  std::vector<double> profile(index_t steps) const;

  // Whether the next step, as long as the last one was, will ask for interruptions.
  bool watches() const;

  // Keeps an owner of memory alive as long as the tape.
  void keep(std::any owner) { owners_.push_back(std::move(owner)); }

  // Whether some call in it has work worth sharing among threads.
  bool shares() const { return shares_; }

  std::vector<std::string> names() const;

  // The numbers of the records of each group whose calls are made depth first (depth_first.h).
  std::vector<std::vector<std::size_t>> groups() const;

  // A recorded call: its kernel, what it belongs to and what it has to do.
  struct Call {
    std::string name, label;
    Work work;
  };
  std::vector<Call> calls() const;
  const std::shared_ptr<Arena>& arena() const { return arena_; }

 private:
  static constexpr std::size_t kSmallArray = std::size_t{1} << 16;

  struct Condition {
    const index_t* counter = nullptr;
    index_t every = 1;
    bool holds() const { return !counter || (counter[0] + 1) % every == 0; }
  };

  struct Record {
    const char* name;
    void (*call)(void (*kernel)(), const std::byte* args);
    void (*kernel)();
    std::size_t offset;
    Condition condition;
  };

  template <class Args>
  static void call(void (*kernel)(), const std::byte* args) {
    reinterpret_cast<void (*)(const Args&)>(kernel)(*reinterpret_cast<const Args*>(args));
  }

  // About a record, beside it: a replay does not need it.
  struct Note {
    std::string label;
    Work work;
  };

  struct Guarded {
    std::byte* pointer;
    std::size_t bytes;
  };

  // What a step plays in turn: a record, or a group of stages. In records up to `last`.
  struct Item {
    bool grouped;
    std::size_t index, last;
  };

  void group(std::vector<Stage> stages);
  void close_groups();
  void next_group();
  void release_held();
  void plan_items();
  void play(const Item& item, double* seconds) const;

  void save_guarded();
  void restore_guarded();
  bool step(Clock::time_point& now, const std::function<bool()>& interrupted);

  void profile_into(std::vector<double>& seconds, index_t steps) const;

  void play(const Record& record) const {
    if (record.condition.holds()) record.call(record.kernel, arguments_.data() + record.offset);
  }

  struct Held {
    void* block;
    std::size_t bytes;
  };

  std::vector<Record> records_;
  std::vector<StageGroup> groups_;
  std::size_t open_ = 0;    // of them at the end: they may take another stage
  std::vector<Held> held_;  // scratch of the last one's calls
  std::vector<Item> items_;
  std::vector<Note> notes_;
  std::vector<std::byte> arguments_;
  std::vector<std::any> owners_;
  std::vector<Guarded> guarded_;
  std::vector<std::byte> saved_;
  std::size_t commit_ = 0;
  double last_step_ = 1.0;  // seconds
  bool shares_ = false;
  std::shared_ptr<Arena> arena_;
  bool plans_;
  std::string label_;
  Condition condition_;
};

// The tape that records on this thread, or null.
Tape* recorder();

}  // namespace fastnn
