// threads.h - the only door to threads. threads.cpp is the only file that makes any.
#pragma once

#include "kernels.h"

namespace fastnn {

constexpr int kAnySlots = 1 << 20;  // for what needs no memory of its own per thread

// body(context, begin, end, slot): do items [begin, end) as the thread numbered slot (0 <= slot < slots).
using RangeBody = void (*)(void* context, index_t begin, index_t end, int slot);

// Work below this many cycles is done by the calling thread: about what it costs to share it.
constexpr double kSerialCycles = 12000;

// Covers [0, n) by disjoint ranges and runs body on each (a thread may get several), on at most min(num_threads(), slots) threads.
// `cycles` is the estimated cost of one item on one core. Serial when the whole is cheap, inside a body, and while another thread
// shares its work.
// Which thread does which range, and how many ranges there are, changes from call to call: a result must not depend on it.
void parallel_ranges(index_t n, double cycles, int slots, RangeBody body, void* context);

// The same for items stage * steps + step, of which each comes after the one of the stage before: while a thread does step 2 of the
// first stage, another may do step 1 of the second. Each thread has a stage of its own: stages <= num_threads(), steps <=
// kMostSteps.
constexpr index_t kMostSteps = 32;
void parallel_stages(index_t stages, index_t steps, double cycles, RangeBody body, void* context);

// Runs body on the calling thread, which leads the others until body returns, unless another thread leads them already.
void with_team(void (*body)(void* context), void* context);

// Whether parallel_ranges has had work worth sharing on this thread since forget_sharing().
bool sharing_seen();
void forget_sharing();

int num_threads();
void set_num_threads(int count);  // count >= 1
int default_num_threads();        // processors this process may use, or OMP_NUM_THREADS

// While one of these lives, the calling thread reads and writes denormal numbers as zero. Restored on destruction.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  std::uint64_t saved_;
};

}  // namespace fastnn
