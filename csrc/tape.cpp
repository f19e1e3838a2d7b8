// tape.cpp - see tape.h.
#include "tape.h"

#include <algorithm>
#include <chrono>

#include "threads.h"

namespace fastnn {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr double kWatchSeconds = 0.02;  // between two looks for an interruption

std::size_t rounded(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment; }

using Clock = Tape::Clock;

double in_seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// What it takes to read the clock once: a good part of what a small kernel takes.
double clock_seconds() {
  double least = 1.0;
  for (int i = 0; i < 64; ++i) {
    const auto start = Clock::now();
    least = std::min(least, in_seconds(Clock::now() - start));
  }
  return least;
}

thread_local Tape* current_recorder = nullptr;

}  // namespace

Tape* recorder() { return current_recorder; }

Arena::~Arena() {
  for (const auto& [start, chunk] : chunks_) free_block(start, chunk.bytes);
}

// The smallest part of a hole that is large enough and apart from some blocks, of equal ones the first in the oldest chunk; null:
// there is none.
char* Arena::best_place(std::size_t bytes, const Holes& apart) const {
  char* best = nullptr;
  std::size_t least = 0;
  const auto offer = [&](char* begin, char* end) {
    const auto size = static_cast<std::size_t>(std::max<std::ptrdiff_t>(end - begin, 0));
    if (size < bytes) return;
    if (!best || size < least || (size == least && chunk_of(begin).number < chunk_of(best).number)) best = begin, least = size;
  };
  for (const auto& [hole, size] : holes_) {
    char *begin = hole, *const end = hole + size;
    for (const auto& [block, length] : apart) {
      if (block + length <= begin || block >= end) continue;
      offer(begin, block);
      begin = block + length;
    }
    offer(begin, end);
  }
  return best;
}

void* Arena::take(char* place, std::size_t bytes) {
  const auto hole = std::prev(holes_.upper_bound(place));
  const auto before = static_cast<std::size_t>(place - hole->first), after = hole->second - before - bytes;
  if (before > 0) {
    hole->second = before;
  } else {
    holes_.erase(hole);
  }
  if (after > 0) holes_.emplace(place + bytes, after);
  used_ += bytes;
  return place;
}

// A new hole. A request of a chunk's size or more gets memory of exactly its size.
char* Arena::grow(std::size_t bytes) {
  const std::size_t size = std::max(bytes, kChunk);
  char* chunk = static_cast<char*>(allocate_block(size));
  chunks_.emplace(chunk, Chunk{size, chunks_.size()});
  total_ += size;
  holes_.emplace(chunk, size);
  return chunk;
}

void* Arena::allocate(std::size_t bytes, int apart) {
  bytes = rounded(bytes);
  Holes given;
  for (int generation = 0; generation < apart; ++generation) {
    for (const auto& [block, length] : given_[generation]) given[block] = std::max(given[block], length);
  }
  char* place = best_place(bytes, given);
  return take(place ? place : grow(bytes), bytes);
}

void Arena::next_generation() {
  given_[1] = std::move(given_[0]);
  given_[0].clear();
  remembers_ = true;
}

void Arena::forget_generations() {
  for (Holes& given : given_) given.clear();
  remembers_ = false;
}

void Arena::release(void* block, std::size_t bytes) {
  char* start = static_cast<char*>(block);
  bytes = rounded(bytes);
  used_ -= bytes;
  if (remembers_) given_[0][start] = std::max(given_[0][start], bytes);
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
}

bool Arena::contains(const void* pointer) const {
  const char* p = static_cast<const char*>(pointer);
  auto chunk = chunks_.upper_bound(const_cast<char*>(p));
  if (chunk == chunks_.begin()) return false;
  --chunk;
  return p < chunk->first + chunk->second.bytes;
}

void Tape::start() {
  current_recorder = this;
  forget_sharing();
}

void Tape::stop() {
  if (current_recorder != this) return;
  current_recorder = nullptr;
  close_groups();
  plan_items();
  condition_ = {};
  shares_ = sharing_seen();
}

// The stages of the record added last go on with a group or begin others; without any large ones, the groups end. The group before
// the last one still takes stages that have nothing to do with the last, if they only wait for memory, as normalizations do:
// products hide that by themselves.
void Tape::group(std::vector<Stage> stages) {
  if (!std::any_of(stages.begin(), stages.end(), is_large)) return close_groups();
  for (Stage& stage : stages) {
    stage.record = records_.size() - 1;
    stage.offset = records_.back().offset;
    const bool past = open_ == 2 && stage.images == 0 && groups_.back().is_apart(stage);
    if (past && groups_[groups_.size() - 2].take(stage, arguments_.data())) continue;
    if (open_ > 0 && groups_.back().take(stage, arguments_.data())) continue;
    next_group();
    if (!groups_.back().take(stage, arguments_.data())) {
      groups_.pop_back(), --open_;
      close_groups();
    }
  }
}

// Ends the group before the last one, and begins another.
void Tape::next_group() {
  if (open_ == 2) groups_[groups_.size() - 2].close(), --open_;
  release_held();
  arena_->next_generation();
  groups_.emplace_back(), ++open_;
}

void Tape::close_groups() {
  for (; open_ > 0; --open_) groups_[groups_.size() - open_].close();
  release_held();
  arena_->forget_generations();
}

void Tape::release_held() {
  for (const Held& held : held_) arena_->release(held.block, held.bytes);
  held_.clear();
}

// Calls of a group are made at the same time: each needs its own.
void Tape::release_scratch(void* block, std::size_t bytes) {
  if (open_ > 0) {
    held_.push_back({block, bytes});
  } else {
    arena_->release(block, bytes);
  }
}

// Records in order; in place of those with a stage in a group that pays, such groups, and their other stages one by one.
void Tape::plan_items() {
  std::vector<bool> staged(records_.size(), false);
  for (const StageGroup& group : groups_) {
    for (const Stage& stage : group.stages()) staged[stage.record] = staged[stage.record] || group.pays();
  }
  std::vector<StageGroup> played;
  for (StageGroup& group : groups_) {
    if (group.pays()) {
      played.push_back(std::move(group));
      continue;
    }
    for (const Stage& stage : group.stages()) {
      if (!staged[stage.record]) continue;
      played.emplace_back();
      played.back().take(stage, arguments_.data());
      played.back().close();
    }
  }
  groups_ = std::move(played);
  items_.clear();
  std::size_t next = 0;  // group
  for (std::size_t i = 0; i < records_.size(); ++i) {
    if (!staged[i]) items_.push_back({false, i, i});
    for (; next < groups_.size() && groups_[next].stages().front().record <= i; ++next) {
      items_.push_back({true, next, groups_[next].stages().back().record});
    }
  }
}

void Tape::play(const Item& item, double* seconds) const {
  if (item.grouped) return groups_[item.index].play(arguments_.data(), seconds);
  const auto start = seconds ? Clock::now() : Clock::time_point();
  play(records_[item.index]);
  if (seconds) seconds[item.index] += in_seconds(Clock::now() - start);
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

// One step, from `now` to a new `now`: to look at the clock takes as long as a small kernel. False if the step was taken back.
// Short steps are not looked after while they run.
bool Tape::step(Clock::time_point& now, const std::function<bool()>& interrupted) {
  const auto start = now;
  const bool long_step = watches();
  double asked = 0;
  if (long_step) save_guarded();
  for (const Item& item : items_) {
    play(item, nullptr);
    if (!long_step || item.last + 1 >= commit_) continue;
    const double passed = in_seconds(Clock::now() - start);
    if (passed - asked < kWatchSeconds) continue;
    asked = passed;
    if (interrupted()) {
      restore_guarded();
      return false;
    }
  }
  now = Clock::now();
  last_step_ = in_seconds(now - start);
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
    auto now = start;
    while (r.done < r.steps && r.tape.step(now, r.interrupted)) {
      ++r.done;
      if (in_seconds(now - start) >= r.seconds) break;
    }
  };
  if (shares_) {
    with_team(steps_of, &run);
  } else {
    steps_of(&run);
  }
  return run.done;
}

void Tape::profile_into(std::vector<double>& seconds, index_t steps) const {
  const FlushDenormals flush;
  const double reading = clock_seconds();
  for (index_t step = 0; step < steps; ++step) {
    const std::size_t first = seconds.size();
    seconds.resize(first + records_.size(), -reading);
    for (const Item& item : items_) play(item, seconds.data() + first);
    for (std::size_t i = first; i < seconds.size(); ++i) seconds[i] = std::max(seconds[i], 0.0);
    const auto start = Clock::now();
    for (const Item& item : items_) play(item, nullptr);
    seconds.push_back(std::max(in_seconds(Clock::now() - start) - reading, 0.0));
  }
}

std::vector<double> Tape::profile(index_t steps) const {
  struct Run {
    const Tape& tape;
    index_t steps;
    std::vector<double> seconds;
  } run = {*this, steps, {}};
  run.seconds.reserve(static_cast<std::size_t>(steps) * (records_.size() + 1));
  const auto steps_of = [](void* context) {
    Run& r = *static_cast<Run*>(context);
    r.tape.profile_into(r.seconds, r.steps);
  };
  if (shares_) {
    with_team(steps_of, &run);
  } else {
    steps_of(&run);
  }
  return std::move(run.seconds);
}

std::vector<Tape::Call> Tape::calls() const {
  std::vector<Call> result;
  for (std::size_t i = 0; i < records_.size(); ++i) result.push_back({records_[i].name, notes_[i].label, notes_[i].work});
  return result;
}

std::vector<std::vector<std::size_t>> Tape::groups() const {
  std::vector<std::vector<std::size_t>> result;
  for (const Item& item : items_) {
    if (!item.grouped || groups_[item.index].stages().size() < 2) continue;
    result.emplace_back();
    for (const Stage& stage : groups_[item.index].stages()) result.back().push_back(stage.record);
  }
  return result;
}

std::vector<std::string> Tape::names() const {
  std::vector<std::string> result;
  for (const Record& record : records_) result.emplace_back(record.name);
  return result;
}

}  // namespace fastnn
