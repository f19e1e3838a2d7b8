// cores.cpp - one row per kind of core. docs/performance.md, "Kinds of cores", has the measurements.
#include "cores.h"

#include <cstring>
#include <iterator>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace fastnn {
namespace {

constexpr index_t kNever = index_t{1} << 60;

const Cores kGeneric = {.name = "generic",
                        .half_tiles = 128,
                        .followed_step = kNever,
                        .copied_rows = kNever,
                        .colliding_rows = kNever,
                        .gradient_block = 24576,
                        .slow_roots = false};
// From Golden Cove on: more registers to rename, so that whole tiles overlap, a first-level prefetcher that follows steps of up to
// 2 kB, and a third-level cache that is far away.
const Cores kIntel = {.name = "intel",
                      .half_tiles = 0,
                      .followed_step = 512,
                      .copied_rows = 96,
                      .colliding_rows = 48,
                      .gradient_block = 6144,
                      .slow_roots = true};

const Cores* const kAll[] = {&kGeneric, &kIntel};

bool made_by_intel() {
#if defined(__x86_64__)
  unsigned most, b, c, d;
  if (!__get_cpuid(0, &most, &b, &c, &d)) return false;
  char maker[12];
  std::memcpy(maker, &b, 4), std::memcpy(maker + 4, &d, 4), std::memcpy(maker + 8, &c, 4);
  return std::memcmp(maker, "GenuineIntel", 12) == 0;
#else
  return false;
#endif
}

const Cores* current = made_by_intel() ? &kIntel : &kGeneric;

}  // namespace

const Cores& cores() { return *current; }

const Cores* known_cores(int i) { return i < static_cast<int>(std::size(kAll)) ? kAll[i] : nullptr; }

bool use_cores(const char* name) {
  for (const Cores* each : kAll) {
    if (std::strcmp(name, each->name) == 0) {
      current = each;
      return true;
    }
  }
  return false;
}

}  // namespace fastnn
