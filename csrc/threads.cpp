// threads.cpp - a team of OpenMP threads that shares work by ranges; fork safety; flush-to-zero inside our calls only.
//
// Each thread of a team starts with its own equal part of a job, cut into a few chunks, and then helps the others with what is
// left of theirs. So a job waits only for chunks that were taken, not for a thread that the system is not running, as a barrier
// would: on a machine with other work to do such a wait costs milliseconds. The parts are the same in every job of the same size,
// so a thread finds in its cache what it wrote before.
#include "threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastnn {
namespace {

constexpr int kMaxTeam = 128;
constexpr int kSpins = 2000;            // looks for work before giving way to other processes
constexpr double kChunkCycles = 30000;  // of a chunk worth taking from another thread
constexpr index_t kMaxChunks = 8;       // per thread and job

std::atomic<int> thread_count{0};
// libgomp's threads do not survive a fork, and a parallel region in the child would wait for them for ever.
std::atomic<bool> forked{false};

[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Looks again, at first at once, then after giving way.
class Patience {
 public:
  void wait() {
    if (++looks_ < kSpins) {
      pause_briefly();
    } else {
      sched_yield();
    }
  }

 private:
  int looks_ = 0;
};

thread_local bool inside = false;  // this thread runs a body: what that shares it does alone

class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}

  int threads() const { return threads_; }

  // The leader's: shares a job with the others and returns when it is done.
  void share(index_t n, double cycles, int lanes, RangeBody body, void* context) {
    const auto wanted = static_cast<index_t>(static_cast<double>(n) * cycles / lanes / kChunkCycles);
    const index_t chunks = std::clamp<index_t>(wanted, 1, std::min(kMaxChunks, n / lanes));
    job_ = {body, context, n, lanes, chunks};
    ++epoch_;
    finished_.store(0, std::memory_order_relaxed);
    for (int lane = 0; lane < lanes; ++lane) lanes_[lane].store(epoch_ << 32 | chunks, std::memory_order_release);
    current_.store(epoch_ << 32 | lanes, std::memory_order_release);
    work(0, epoch_, lanes);
    for (Patience patience; finished_.load(std::memory_order_acquire) < lanes * chunks;) patience.wait();
  }

  // The leader's: sends the others home.
  void dismiss() { dismissed_.store(true, std::memory_order_release); }

  // The others': takes part in every job until dismissed.
  void serve(int slot) {
    std::uint64_t seen = 0;
    for (Patience patience; !dismissed_.load(std::memory_order_acquire); patience.wait()) {
      const std::uint64_t now = current_.load(std::memory_order_acquire);
      if (now == seen) continue;
      seen = now;
      const int lanes = static_cast<int>(now & 0xffffffff);
      if (slot < lanes) work(slot, now >> 32, lanes);
      patience = Patience();
    }
  }

 private:
  struct Job {
    RangeBody body;
    void* context;
    index_t n;
    index_t lanes, chunks;
  };

  // Number of the job and, in the lower half, how many chunks of this part are left. Parts lie on cache lines of their own.
  struct alignas(128) Lane : std::atomic<std::uint64_t> {
    Lane() : std::atomic<std::uint64_t>(0) {}
  };

  // Does chunks of one job, the thread's own part first. A chunk taken keeps job_ as it is until it is reported as finished.
  void work(int slot, std::uint64_t epoch, int lanes) {
    for (int i = 0; i < lanes; ++i) {
      const int lane = (slot + i) % lanes;
      std::uint64_t state = lanes_[lane].load(std::memory_order_acquire);
      while (state >> 32 == epoch && (state & 0xffffffff) > 0) {
        if (!lanes_[lane].compare_exchange_weak(state, state - 1, std::memory_order_acq_rel)) continue;
        const index_t part = lane * job_.chunks + job_.chunks - static_cast<index_t>(state & 0xffffffff);
        const index_t all = job_.lanes * job_.chunks;
        inside = true;
        job_.body(job_.context, job_.n * part / all, job_.n * (part + 1) / all, slot);
        inside = false;
        finished_.fetch_add(1, std::memory_order_acq_rel);
        state = lanes_[lane].load(std::memory_order_acquire);
      }
    }
  }

  const int threads_;
  std::uint64_t epoch_ = 0;
  Job job_ = {};
  std::atomic<std::uint64_t> current_{0};
  std::atomic<bool> dismissed_{false};
  alignas(128) std::atomic<index_t> finished_{0};
  std::array<Lane, kMaxTeam> lanes_;
};

thread_local Team* leading = nullptr;  // the team that this thread leads
thread_local bool shared = false;      // this thread has had work worth sharing

bool alone() { return inside || forked || (leading == nullptr && omp_in_parallel()); }

}  // namespace

int default_num_threads() { return std::max(1, std::min(omp_get_max_threads(), omp_get_num_procs())); }

int num_threads() {
  const int count = thread_count.load(std::memory_order_relaxed);
  return count > 0 ? count : default_num_threads();
}

void set_num_threads(int count) { thread_count = std::max(1, count); }

bool sharing_seen() { return shared; }
void forget_sharing() { shared = false; }

void with_team(void (*body)(void* context), void* context) {
  const int threads = std::min(num_threads(), kMaxTeam);
  if (threads <= 1 || alone() || leading) return body(context);
  Team team(threads);
#pragma omp parallel num_threads(threads)
  {
    if (omp_get_thread_num() == 0) {
      leading = &team;
      body(context);
      leading = nullptr;
      team.dismiss();
    } else {
      const FlushDenormals flush;
      team.serve(omp_get_thread_num());
    }
  }
}

void parallel_ranges(index_t n, double cycles, int slots, RangeBody body, void* context) {
  if (n <= 0) return;
  struct Job {
    index_t n;
    double cycles;
    int lanes;
    RangeBody body;
    void* context;
  } job = {n, cycles, static_cast<int>(std::min<index_t>({n, slots, num_threads(), kMaxTeam})), body, context};
  if (job.lanes <= 1 || static_cast<double>(n) * cycles < kSerialCycles || alone()) return body(context, 0, n, 0);
  shared = true;
  if (leading && leading->threads() < job.lanes) job.lanes = leading->threads();
  const auto share = [](void* p) {
    const Job& s = *static_cast<Job*>(p);
    leading->share(s.n, s.cycles, s.lanes, s.body, s.context);
  };
  if (leading) return share(&job);
  with_team(share, &job);
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
