// threads.cpp - OpenMP behind parallel_ranges; fork safety; flush-to-zero inside our calls only.
#include "threads.h"

#include <omp.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastnn {
namespace {

std::atomic<int> thread_count{0};
// libgomp's threads do not survive a fork, and a parallel region in the child would wait for them for ever.
std::atomic<bool> forked{false};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

}  // namespace

int default_num_threads() { return std::max(1, std::min(omp_get_max_threads(), omp_get_num_procs())); }

int num_threads() {
  const int count = thread_count.load(std::memory_order_relaxed);
  return count > 0 ? count : default_num_threads();
}

void set_num_threads(int count) { thread_count = std::max(1, count); }

void parallel_ranges(index_t n, double cycles, int slots, RangeBody body, void* context) {
  if (n <= 0) return;
  const index_t most = std::min<index_t>({n, slots, num_threads()});
  if (most <= 1 || static_cast<double>(n) * cycles < kSerialCycles || forked || omp_in_parallel()) {
    body(context, 0, n, 0);
    return;
  }
#pragma omp parallel num_threads(static_cast<int>(most))
  {
    const FlushDenormals flush;
    const index_t team = omp_get_num_threads(), slot = omp_get_thread_num();
    const index_t begin = n * slot / team, end = n * (slot + 1) / team;
    if (begin < end) body(context, begin, end, static_cast<int>(slot));
  }
}

#if defined(__x86_64__)

FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) {
  constexpr unsigned kFlushToZero = 1u << 15, kDenormalsAreZero = 1u << 6;
  _mm_setcsr(static_cast<unsigned>(saved_) | kFlushToZero | kDenormalsAreZero);
}
FlushDenormals::~FlushDenormals() { _mm_setcsr(static_cast<unsigned>(saved_)); }

#elif defined(__aarch64__)

FlushDenormals::FlushDenormals() {
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  constexpr std::uint64_t kFlushToZero = 1ull << 24;
  asm volatile("msr fpcr, %0" : : "r"(saved_ | kFlushToZero));
}
FlushDenormals::~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }

#else

FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() {}

#endif

}  // namespace fastnn
