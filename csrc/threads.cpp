// threads.cpp - a pool of threads that shares work by ranges; fork and exit safety; flush-to-zero inside our calls only.
//
// One thread at a time leads the pool. It publishes a job; each thread starts with its own equal part of it, cut into a few chunks,
// and then helps the others with what is left of theirs. So the leader waits only for chunks that were taken, never for a thread
// that the system is not running: on a machine with other work to do such a wait costs milliseconds. The parts are the same in
// every job of the same size, so a thread finds in its cache what it wrote before.
//
// A worker looks for the next job for a while, then parks. To wake it costs the leader several microseconds, so work that is worth
// sharing with a worker that is awake may not be worth waking it.
#include "threads.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <thread>
#include <type_traits>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace fastnn {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr int kMaxTeam = 128;
constexpr double kLaneCycles = kSerialCycles / 2;  // of a part worth a thread
constexpr double kChunkCycles = 30000;             // of a chunk worth taking from another thread
constexpr index_t kMaxChunks = 8;                  // per thread and job
constexpr double kKeptCycles = 400000;             // of a part so short that its thread does all of it
constexpr double kWakeCycles = 150000;             // of work worth waking the workers for
constexpr microseconds kLookOut(100);              // how long a worker looks for work before it parks
constexpr microseconds kGiveWay(10);               // how often a thread that waits lets other processes run
constexpr int kLooks = 64;                         // between two looks at the clock
constexpr microseconds kPatience(20);              // with threads that have begun such a part
constexpr microseconds kStall(100);                // of waiting for a chunk longer than it can last: its thread is not running
constexpr double kSlowestCycle = 4;                // nanoseconds, as estimates of cycles may be far too low
constexpr int kRest = 8;                           // times a stall: how long the leader then works alone
constexpr milliseconds kLongestRest(200);

thread_local bool inside = false;   // this thread runs a body: what that shares it does alone
thread_local bool leading = false;  // this thread leads the pool
thread_local bool shared = false;   // this thread has had work worth sharing

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Between two looks at something that another thread will change: pauses, and lets other processes run now and then.
class Wait {
 public:
  // How long this has lasted, as of the last look at the clock: it is looked at only in the longer waits.
  Clock::duration operator()() {
    pause_briefly();
    if (++looks_ % kLooks != 0) return waited_;
    if (looks_ == kLooks) start_ = Clock::now();
    waited_ = Clock::now() - start_;
    if (waited_ - gave_way_ >= kGiveWay) {
      sched_yield();
      gave_way_ = Clock::now() - start_;
    }
    return waited_;
  }

 private:
  Clock::time_point start_;
  Clock::duration waited_{0}, gave_way_{0};
  unsigned looks_ = 0;
};

struct Job {
  RangeBody body;
  void* context;
  index_t n;
  int lanes;
  index_t chunks;  // per lane
  bool staged;     // each chunk comes after the same one of the lane before
  bool kept;       // what a thread has begun the others leave to it
};

class Pool {
 public:
  // Whether the caller leads from now on: nobody else did.
  bool lead() { return !led_.load(std::memory_order_relaxed) && !led_.exchange(true, std::memory_order_acquire); }
  void resign() { led_.store(false, std::memory_order_release); }

  // The leader's: does a job with the workers that are at hand, or alone.
  void share(const Job& job, double cycles) {
    const double all = static_cast<double>(job.n) * cycles;
    const int lanes = job.lanes;
    if (resting() || !gather(lanes - 1, all)) return job.body(job.context, 0, job.n, 0);
    job_ = job;
    ++epoch_;
    finished_.store(0, std::memory_order_relaxed);
    const std::uint64_t left = pack(job_.chunks) | (job.kept ? kFresh : 0);
    for (int lane = 0; lane < lanes; ++lane) lanes_[lane].store(left, std::memory_order_release);
    current_.store(pack(lanes), std::memory_order_release);
    work(0, epoch_, lanes);
    finish(all / static_cast<double>(job_.lanes * job_.chunks), lanes);
  }

  // Threads that could not be made may be tried again.
  void hire_again() { most_.store(kMaxTeam - 1, std::memory_order_relaxed); }

 private:
  // Number of the job in the upper bits; below, how many chunks of this part are left, and of a job whose parts are kept whether
  // the part has been begun. Parts lie on cache lines of their own.
  struct alignas(128) Lane : std::atomic<std::uint64_t> {
    constexpr Lane() : std::atomic<std::uint64_t>(0) {}
  };
  struct alignas(128) Parked : std::atomic<int> {
    constexpr Parked() : std::atomic<int>(0) {}
  };
  struct Hand {
    pthread_t thread;
    int avoids = -1;  // the processor
  };
  static constexpr int kShift = 8;
  static constexpr std::uint64_t kMask = (1u << kShift) - 1;
  static constexpr std::uint64_t kBegun = 0x80, kFresh = 0x40, kLeft = 0x3f;
  static_assert(kMaxTeam <= kMask && kMaxChunks <= kMostSteps && kMostSteps <= kLeft);

  std::uint64_t pack(index_t count) const { return epoch_ << kShift | static_cast<std::uint64_t>(count); }

  // Whether a thread that was not running has kept the leader waiting lately.
  bool resting() {
    if (rest_until_ == Clock::time_point()) return false;
    if (Clock::now() < rest_until_) return true;
    rest_until_ = Clock::time_point();
    return false;
  }

  // Whether there is any worker awake; tries to have so many.
  bool gather(int wanted, double cycles) {
    wanted = std::min(wanted, most_.load(std::memory_order_relaxed));
    if (awake_.load(std::memory_order_relaxed) < wanted && worth_waking(cycles)) {
      for (int slot = 1; slot <= std::min(wanted, workers_); ++slot) wake(slot);
      while (workers_ < wanted && hire(workers_ + 1)) ++workers_;
    }
    return awake_.load(std::memory_order_relaxed) > 0;
  }

  // Jobs that follow each other as fast as workers look for them count together: one waking would serve all.
  bool worth_waking(double cycles) {
    const auto now = Clock::now();
    if (now - missed_at_ > kLookOut) missed_ = 0;
    missed_ += cycles;
    missed_at_ = now;
    if (missed_ < kWakeCycles) return false;
    missed_ = 0;
    return true;
  }

  void wake(int slot) {
    if (parked_[slot].load(std::memory_order_relaxed) == 0) return;
    keep_apart(slot);
    awake_.fetch_add(1, std::memory_order_relaxed);
    parked_[slot].store(0, std::memory_order_release);
    parked_[slot].notify_one();
  }

  // Makes a worker; false if the system has no thread to give.
  bool hire(int slot) {
    sigset_t blocked, before;
    sigfillset(&blocked);  // the signals of the process are for the threads of Python; what a thread does itself hits it as ever
    for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP}) sigdelset(&blocked, own);
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return false;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    pthread_t& thread = hands_[slot].thread;
    const bool made = pthread_create(&thread, &attributes, &Pool::enter, reinterpret_cast<void*>(std::intptr_t{slot})) == 0;
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (made) {
      awake_.fetch_add(1, std::memory_order_relaxed);
      keep_apart(slot);
    } else {
      most_.store(slot - 1, std::memory_order_relaxed);
    }
    return made;
  }

  // Keeps a worker off the processor that the leader is on. The system likes to wake a thread where the one that wakes it is, and
  // then takes milliseconds to see that the two are in each other's way.
  void keep_apart([[maybe_unused]] int slot) {
#if defined(__linux__)
    Hand& hand = hands_[slot];
    const int here = sched_getcpu();
    if (here < 0 || here >= CPU_SETSIZE || here == hand.avoids) return;
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    CPU_CLR(here, &allowed);
    if (CPU_COUNT(&allowed) > 0 && pthread_setaffinity_np(hand.thread, sizeof allowed, &allowed) == 0) hand.avoids = here;
#endif
  }

  static void* enter(void* slot);

  // A worker's life. It ends with the process.
  [[noreturn]] void serve(int slot) {
    for (std::uint64_t seen = 0;;) {
      seen = next_job(slot, seen);
      const int lanes = static_cast<int>(seen & kMask);
      if (slot < lanes) work(slot, seen >> kShift, lanes);
    }
  }

  std::uint64_t next_job(int slot, std::uint64_t seen) {
    for (Wait wait;;) {
      const std::uint64_t now = current_.load(std::memory_order_acquire);
      if (now != seen) return now;
      if (wait() < kLookOut) continue;
      parked_[slot].store(1, std::memory_order_relaxed);
      awake_.fetch_sub(1, std::memory_order_relaxed);
      // A job that comes up just now is done without this worker: nobody waits for one that has taken no chunk.
      parked_[slot].wait(1, std::memory_order_acquire);
      wait = Wait();
    }
  }

  // Does chunks of one job, the thread's own part first. A chunk taken keeps job_ as it is until it is reported as finished.
  // helping: also of parts that are kept by others.
  void work(int slot, std::uint64_t epoch, int lanes, bool helping = false) {
    for (int i = 0; i < lanes; ++i) {
      const int lane = (slot + i) % lanes;
      std::uint64_t state = lanes_[lane].load(std::memory_order_acquire);
      const bool others = i > 0 && !helping && (state & kBegun) != 0;
      while (!others && state >> kShift == epoch && (state & kLeft) > 0) {
        const std::uint64_t begun = (state & kFresh) != 0 ? state - kFresh + kBegun : state;
        if (!lanes_[lane].compare_exchange_weak(state, begun - 1, std::memory_order_acq_rel)) continue;
        const index_t part = lane * job_.chunks + job_.chunks - static_cast<index_t>(state & kLeft);
        const index_t all = job_.lanes * job_.chunks;
        if (job_.staged && lane > 0) await(part - job_.chunks, epoch);
        inside = true;
        job_.body(job_.context, job_.n * part / all, job_.n * (part + 1) / all, slot);
        inside = false;
        if (job_.staged) done_[part].store(epoch, std::memory_order_release);
        finished_.fetch_add(1, std::memory_order_acq_rel);
        state = lanes_[lane].load(std::memory_order_acquire);
      }
    }
  }

  // Waits for a chunk of a staged job. Some thread has taken it: each takes the chunks of a lane in order, the leader beginning
  // with the first lane.
  void await(index_t part, std::uint64_t epoch) const {
    for (Wait wait; done_[part].load(std::memory_order_acquire) != epoch;) wait();
  }

  // Waits for the chunks that others have taken, or keep. If that lasts much longer than a chunk does, a thread that took one is
  // not running, for the machine is busy: the leader then does without help for a while.
  void finish(double chunk_cycles, int lanes) {
    const index_t all = job_.lanes * job_.chunks;
    Clock::duration waited(0);
    bool patient = true;
    for (Wait wait; finished_.load(std::memory_order_acquire) < all;) {
      waited = wait();
      if (!patient || waited < kPatience) continue;
      patient = false;
      work(0, epoch_, lanes, true);
      wait = Wait();
    }
    if (waited < kStall) return;
    const auto stall = waited - nanoseconds(static_cast<std::int64_t>(kSlowestCycle * chunk_cycles));
    if (stall > kStall) rest_until_ = Clock::now() + std::min<Clock::duration>(kRest * stall, kLongestRest);
  }

  std::atomic<bool> led_{false};
  std::atomic<int> most_{kMaxTeam - 1};  // workers that the system is believed to allow
  int workers_ = 0;                      // the leader's, as all that is not atomic
  std::uint64_t epoch_ = 0;
  double missed_ = 0;  // cycles done alone for want of workers
  Clock::time_point missed_at_, rest_until_;
  alignas(128) std::atomic<int> awake_{0};
  alignas(128) std::atomic<index_t> finished_{0};
  alignas(128) Job job_ = {};
  alignas(128) std::atomic<std::uint64_t> current_{0};
  std::array<Lane, kMaxTeam> lanes_;
  std::array<std::atomic<std::uint64_t>, kMaxTeam * kMostSteps> done_{};  // the last staged job in which the chunk was done
  std::array<Parked, kMaxTeam> parked_;
  std::array<Hand, kMaxTeam> hands_{};
};

// Workers may use it as long as the process lives.
constinit Pool pool;
static_assert(std::is_trivially_destructible_v<Pool>);

void* Pool::enter(void* slot) {
  const FlushDenormals flush;
  pool.serve(static_cast<int>(reinterpret_cast<std::intptr_t>(slot)));
}

// The calling thread leads while this lives, if no other does.
class Lead {
 public:
  Lead() { leading = pool.lead(); }
  ~Lead() {
    if (leading) pool.resign();
    leading = false;
  }
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;
};

// Shares a job out, unless another thread leads the pool.
void share_out(const Job& job, double cycles) {
  shared = true;
  if (leading) return pool.share(job, cycles);
  const Lead lead;
  if (!leading) return job.body(job.context, 0, job.n, 0);
  pool.share(job, cycles);
}

// Only the thread that forks lives on in the child: its pool is a new one, whatever the old one was doing.
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, [] {
  std::construct_at(&pool);
  leading = false;
});

int processors() {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// OMP_NUM_THREADS may be a list, one number for each level of nesting; what is no number >= 1 is ignored.
int threads_at_start() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  const long wanted = text ? std::strtol(text, nullptr, 10) : 0;
  const int most = std::max(1, processors());
  return wanted >= 1 ? static_cast<int>(std::min<long>(wanted, most)) : most;
}

const int default_count = threads_at_start();
std::atomic<int> thread_count{default_count};

}  // namespace

int default_num_threads() { return default_count; }
int num_threads() { return thread_count.load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  thread_count = std::max(1, count);
  pool.hire_again();
}

bool sharing_seen() { return shared; }
void forget_sharing() { shared = false; }

void with_team(void (*body)(void* context), void* context) {
  if (num_threads() <= 1 || inside || leading) return body(context);
  const Lead lead;
  body(context);
}

void parallel_ranges(index_t n, double cycles, int slots, RangeBody body, void* context) {
  if (n <= 0) return;
  if (n == 1 || static_cast<double>(n) * cycles < kSerialCycles || inside) return body(context, 0, n, 0);
  const auto worthwhile = static_cast<index_t>(static_cast<double>(n) * cycles / kLaneCycles);
  const int lanes = static_cast<int>(std::min<index_t>({n, slots, num_threads(), kMaxTeam, worthwhile}));
  if (lanes <= 1) return body(context, 0, n, 0);
  const auto wanted = static_cast<index_t>(static_cast<double>(n) * cycles / lanes / kChunkCycles);
  const index_t chunks = std::clamp<index_t>(wanted, 1, std::min(kMaxChunks, n / lanes));
  const bool kept = static_cast<double>(n) * cycles < lanes * kKeptCycles;
  share_out({body, context, n, lanes, chunks, false, kept}, cycles);
}

void parallel_stages(index_t stages, index_t steps, double cycles, RangeBody body, void* context) {
  const index_t n = stages * steps;
  if (n <= 0) return;
  if (stages == 1 || static_cast<double>(n) * cycles < kSerialCycles || inside || stages > std::min(num_threads(), kMaxTeam))
    return body(context, 0, n, 0);
  share_out({body, context, n, static_cast<int>(stages), steps, true, true}, cycles);
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
