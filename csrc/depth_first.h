// depth_first.h - records of a step that are computed depth first: some images through all of them, then the next.
//
// Layer by layer, a large array has left the caches by the time the next kernel reads it. So consecutive records that can be cut
// into images (ByImages in kernels.h) take a few images at a time from one to the next, every thread its own, while they are in
// the second-level cache; meanwhile the products fetch what the next images will read. Every image gets what it gets layer by
// layer, bit by bit, as a kernel's results do not depend on the cut.
//
// A record is one stage or several: the statistics of a normalization are one, what is done with them another. A group of stages
// runs `prepare` of all, then the images, then `finish` of all; so no stage may read or write what `finish` of an earlier one
// writes, and memory that two stages share must belong to the same image in both. Where that is not so a group ends.
#pragma once

#include <cstddef>
#include <vector>

#include "kernels.h"
#include "threads.h"

namespace fastnn {

// The functions of a ByImages, whatever the kernel's arguments.
struct StageKind {
  bool (*possible)(const void* entry, const void* args, index_t images, index_t units);
  void (*prepare)(const void* entry, const void* args);
  void (*images)(const void* entry, const void* args, const ImageRange& range);
  void (*finish)(const void* entry, const void* args, index_t images, index_t units);
};

// Memory that a stage reads, or writes.
struct Span {
  const char* begin;
  std::size_t bytes;
  bool written;

  bool overlaps(const Span& other) const { return begin < other.begin + other.bytes && other.begin < begin + bytes; }
  bool is(const Span& other) const { return begin == other.begin && bytes == other.bytes; }
};

struct Stage {
  const StageKind* kind;
  const void* entry;     // the ByImages
  std::size_t record;    // its number
  std::size_t offset;    // of its arguments in those of all records
  index_t images, rows;  // of the batch; images = 0: any number that divides the rows
  int slots;             // threads that scratch was sized for
  double fetching;       // the products behind which it fetches what is coming
  std::vector<Span> by_image, whole;
};

// What a kernel call is made of, if it can be cut; `args` are its own, with scratch.
std::vector<Stage> stages_of(const Conv2dForward& args);
std::vector<Stage> stages_of(const Conv2dBackwardInput& args);
std::vector<Stage> stages_of(const Conv2dBackwardFilter& args);
std::vector<Stage> stages_of(const BatchNormForward& args);
std::vector<Stage> stages_of(const BatchNormInference& args);
std::vector<Stage> stages_of(const BatchNormBackward& args);
template <class Args>
std::vector<Stage> stages_of(const Args&) {
  return {};
}

// Whether a stage's arrays are large enough for a group.
bool is_large(const Stage& stage);

// Stages that run together.
class StageGroup {
 public:
  // Whether the stage could be the next one; if so it is, from here on. `args`: of all records.
  bool take(const Stage& stage, const std::byte* args);

  // Whether the stage could come before all of them: they share no memory that it or they write.
  bool is_apart(const Stage& stage) const;

  // Decides how many images go together, and whether that pays, after the last stage.
  void close();

  // Whether that is faster than stage by stage.
  bool pays() const { return pays_; }
  const std::vector<Stage>& stages() const { return stages_; }

  // Runs all stages; adds to seconds[record] what each took, if not null.
  void play(const std::byte* args, double* seconds) const;

 private:
  // What the stages read or write by image, and the fetching before the first that does, 0 if that is too little.
  struct Array {
    Span span;
    double fetching;
  };

  bool fits(const Stage& stage, const std::byte* args) const;
  int share_of_coming(const ImageRange& range, double done, double part, Coming* share) const;
  void play_images(const std::byte* args, ImageRange range, double* seconds) const;
  void play_unit(const std::byte* args, index_t unit, int slot, double* seconds) const;
  void share_out(double all, const std::vector<double>& of_threads, double* seconds) const;

  std::vector<Stage> stages_;
  std::vector<Array> arrays_;
  index_t images_ = 0, units_ = 0, together_ = 0;
  int slots_ = kAnySlots;
  double unit_cycles_ = 0, fetching_ = 0;
  bool pays_ = false;
};

// Groups whose largest array has fewer bytes are not worth it: a cache holds them from one kernel to the next. Returns what it was.
std::size_t set_depth_first_bytes(std::size_t bytes);

}  // namespace fastnn
