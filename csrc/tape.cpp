// tape.cpp - see tape.h.
#include "tape.h"

#include <algorithm>
#include <chrono>
#include <new>

#include "threads.h"

namespace fastnn {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr double kWatchSeconds = 0.02;  // between two looks for an interruption

std::size_t rounded(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment; }

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

thread_local Tape* current_recorder = nullptr;

}  // namespace

Tape* recorder() { return current_recorder; }

Arena::~Arena() {
  for (const auto& [start, size] : chunks_) ::operator delete(start, std::align_val_t{kAlignment});
}

void* Arena::take(std::map<char*, std::size_t>::iterator hole, std::size_t bytes) {
  char* block = hole->first;
  const std::size_t rest = hole->second - bytes;
  holes_.erase(hole);
  if (rest > 0) holes_.emplace(block + bytes, rest);
  ++blocks_;
  return block;
}

void* Arena::allocate(std::size_t bytes) {
  bytes = rounded(bytes);
  auto best = holes_.end();
  for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
    if (hole->second >= bytes && (best == holes_.end() || hole->second < best->second)) best = hole;
  }
  if (best != holes_.end()) return take(best, bytes);
  // A request of a chunk's size or more gets memory of exactly its size.
  const std::size_t size = std::max(bytes, kChunk);
  char* chunk = static_cast<char*>(::operator new(size, std::align_val_t{kAlignment}));
  chunks_.emplace(chunk, size);
  total_ += size;
  return take(holes_.emplace(chunk, size).first, bytes);
}

void Arena::release(void* block, std::size_t bytes) {
  char* start = static_cast<char*>(block);
  bytes = rounded(bytes);
  auto next = holes_.lower_bound(start);
  const bool chunk_begins = chunks_.contains(start);
  if (next != holes_.begin() && !chunk_begins) {
    auto before = std::prev(next);
    if (before->first + before->second == start) {
      start = before->first;
      bytes += before->second;
      holes_.erase(before);
    }
  }
  if (next != holes_.end() && start + bytes == next->first && !chunks_.contains(next->first)) {
    bytes += next->second;
    holes_.erase(next);
  }
  holes_.emplace(start, bytes);
  --blocks_;
}

bool Arena::contains(const void* pointer) const {
  const char* p = static_cast<const char*>(pointer);
  auto chunk = chunks_.upper_bound(const_cast<char*>(p));
  if (chunk == chunks_.begin()) return false;
  --chunk;
  return p < chunk->first + chunk->second;
}

// Shares no memory with arrays that outlived the recording they are from: they may be inputs of this one.
void Tape::start() {
  if (!arena_->empty()) arena_ = std::make_shared<Arena>();
  current_recorder = this;
  forget_sharing();
}

void Tape::stop() {
  if (current_recorder != this) return;
  current_recorder = nullptr;
  shares_ = sharing_seen();
}

void Tape::save_guarded() {
  saved_.clear();
  for (const Guarded& g : guarded_) saved_.insert(saved_.end(), g.pointer, g.pointer + g.bytes);
}

void Tape::restore_guarded() {
  const std::byte* from = saved_.data();
  for (const Guarded& g : guarded_) {
    std::copy(from, from + g.bytes, g.pointer);
    from += g.bytes;
  }
}

bool Tape::watches() const { return last_step_ > kWatchSeconds; }

// One step; false if it was taken back. Short steps are not looked after while they run.
bool Tape::step(const std::function<bool()>& interrupted) {
  const auto start = Clock::now();
  const bool long_step = watches();
  double asked = 0;
  if (long_step) save_guarded();
  for (std::size_t i = 0; i < records_.size(); ++i) {
    play(records_[i]);
    if (!long_step || i + 1 >= commit_) continue;
    const double now = seconds_since(start);
    if (now - asked < kWatchSeconds) continue;
    asked = now;
    if (interrupted()) {
      restore_guarded();
      return false;
    }
  }
  last_step_ = seconds_since(start);
  return true;
}

index_t Tape::run(index_t steps, double seconds, const std::function<bool()>& interrupted) {
  struct Run {
    Tape& tape;
    index_t steps;
    double seconds;
    const std::function<bool()>& interrupted;
    index_t done;
  } run = {*this, steps, seconds, interrupted, 0};
  const auto steps_of = [](void* context) {
    Run& r = *static_cast<Run*>(context);
    const FlushDenormals flush;
    const auto start = Clock::now();
    while (r.done < r.steps && r.tape.step(r.interrupted)) {
      ++r.done;
      if (seconds_since(start) >= r.seconds) break;
    }
  };
  if (shares_) {
    with_team(steps_of, &run);
  } else {
    steps_of(&run);
  }
  return run.done;
}

std::vector<std::pair<std::string, double>> Tape::profile() const {
  const FlushDenormals flush;
  std::vector<std::pair<std::string, double>> result;
  result.reserve(records_.size());
  for (const Record& record : records_) {
    const auto start = Clock::now();
    play(record);
    result.emplace_back(record.name, seconds_since(start));
  }
  return result;
}

std::vector<std::string> Tape::names() const {
  std::vector<std::string> result;
  for (const Record& record : records_) result.emplace_back(record.name);
  return result;
}

}  // namespace fastnn
