// probe.h - what this machine can do at most: the roofs that benchmarks measure against.
#pragma once

#include "simd.h"

namespace {

using fastnn::MultiplyAddProbe;
using fastnn::TriadProbe;

constexpr int kProbeChains = kMaxRows * kMaxVectors;  // as many as a register tile has

// The chains start from different values: equal ones would be computed once.
inline float multiply_add_chains(index_t rounds) {
  vfloat chain[kProbeChains], factor = {}, term = {};
  for (int i = 0; i < kLanes; ++i) factor[i] = 0.999f, term[i] = 0.001f;
  FASTNN_UNROLL
  for (int i = 0; i < kProbeChains; ++i) chain[i] = term * static_cast<float>(i + 1);
  for (index_t r = 0; r < rounds; ++r) {
    FASTNN_UNROLL
    for (int i = 0; i < kProbeChains; ++i) chain[i] = chain[i] * factor + term;
  }
  vfloat sum = {};
  FASTNN_UNROLL
  for (int i = 0; i < kProbeChains; ++i) sum += chain[i];
  return sum[0];
}

void multiply_add_probe(const MultiplyAddProbe& a) {
  parallel_for(a.threads, 1e9, a.threads, [&a](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; ++i) a.out[i] = multiply_add_chains(a.rounds);
  });
}

index_t multiply_add_probe_flops() { return index_t{2} * kProbeChains * kLanes; }

void triad_probe(const TriadProbe& a) {
  parallel_for(a.threads, 1e9, a.threads, [&a](index_t begin, index_t end, int) {
    float* __restrict y = a.y;
    const float* __restrict x = a.x;
    const float* __restrict z = a.z;
    const index_t first = a.n * begin / a.threads, last = a.n * end / a.threads;
    for (index_t r = 0; r < a.rounds; ++r) {
      FASTNN_SIMD
      for (index_t i = first; i < last; ++i) y[i] = x[i] + 0.5f * z[i];
      asm volatile("" : : "r"(y) : "memory");  // every round is done
    }
  });
}

}  // namespace
