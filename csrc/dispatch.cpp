// dispatch.cpp - one row per instruction set, plainest first. Compiled with the baseline flags.
#include "dispatch.h"

#include <atomic>

#if defined(FASTNN_HAS_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace fastnn {

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif
#if defined(FASTNN_HAS_AMX)
extern const Kernels kernels_amx;
#endif

namespace {

struct Row {
  const Kernels* table;
  bool (*runs)();
};

#if defined(__x86_64__)
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
}
#endif

#if defined(FASTNN_HAS_AMX)
// Whether there are matrix tiles for bfloat16, and Linux lets this process and what it forks use them: it keeps no memory for them
// unless it is asked.
bool has_amx() {
  constexpr unsigned kTiles = 1u << 24, kBfloat16 = 1u << 22;
  constexpr long kAskPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  if (!has_avx512() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTiles) == 0 || (d & kBfloat16) == 0) return false;
  static const bool allowed = syscall(SYS_arch_prctl, kAskPermission, kTileData) == 0;
  return allowed;
}
#endif

// __builtin_cpu_supports also asks whether the operating system saves the registers.
const Row kRows[] = {
    {&kernels_baseline, [] { return true; }},
#if defined(__x86_64__)
    {&kernels_avx2, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
    {&kernels_avx512, has_avx512},
#endif
#if defined(FASTNN_HAS_AMX)
    {&kernels_amx, has_amx},
#endif
};

const Kernels* best() {
  const Kernels* found = nullptr;
  for (const Row& row : kRows) {
    if (row.runs()) found = row.table;
  }
  return found;
}

std::atomic<const Kernels*> current{best()};

std::vector<std::string> names(bool only_available) {
  std::vector<std::string> result;
  for (const Row& row : kRows) {
    if (!only_available || row.runs()) result.emplace_back(row.table->isa);
  }
  return result;
}

}  // namespace

const Kernels& kernels() { return *current.load(std::memory_order_relaxed); }
std::vector<std::string> compiled_isas() { return names(false); }
std::vector<std::string> available_isas() { return names(true); }

bool use(const std::string& isa) {
  for (const Row& row : kRows) {
    if (isa == row.table->isa && row.runs()) {
      current = row.table;
      return true;
    }
  }
  return false;
}

}  // namespace fastnn
