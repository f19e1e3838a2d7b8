// dispatch.cpp - one row per instruction set, plainest first. Compiled with the baseline flags.
#include "dispatch.h"

#include <atomic>

namespace fastnn {

extern const Kernels kernels_baseline;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

namespace {

struct Row {
  const Kernels* table;
  bool (*runs)();
};

// __builtin_cpu_supports also asks whether the operating system saves the registers.
const Row kRows[] = {
    {&kernels_baseline, [] { return true; }},
#if defined(__x86_64__)
    {&kernels_avx2, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
    {&kernels_avx512,
     [] {
       return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
     }},
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
