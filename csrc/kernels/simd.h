// simd.h - the vector type of this instruction set, its register-tile sizes, and the loop helpers every kernel uses.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "../cores.h"
#include "../kernels.h"
#include "../threads.h"

#define FASTNN_UNROLL _Pragma("GCC unroll 64")
#define FASTNN_SIMD _Pragma("omp simd")

namespace {

using fastnn::index_t;
using fastnn::kAnySlots;

// kMaxRows x (kMaxVectors * kLanes) is the largest register tile: its accumulators, one row of b and one broadcast value fit in the
// 32 (AVX-512, NEON) or 16 registers.
#if defined(__AVX512F__)
constexpr int kRegisters = 32, kLanes = 16, kMaxRows = 14, kMaxVectors = 2;
#elif defined(__AVX2__)
constexpr int kRegisters = 16, kLanes = 8, kMaxRows = 6, kMaxVectors = 2;
#elif defined(__aarch64__)
constexpr int kRegisters = 32, kLanes = 4, kMaxRows = 8, kMaxVectors = 3;
#else
constexpr int kRegisters = 16, kLanes = 4, kMaxRows = 4, kMaxVectors = 2;
#endif

typedef float vfloat __attribute__((vector_size(kLanes * 4)));
typedef float vfloat_unaligned __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

inline vfloat load(const float* p) { return *reinterpret_cast<const vfloat_unaligned*>(p); }
inline void store(float* p, vfloat v) { *reinterpret_cast<vfloat_unaligned*>(p) = v; }

// a b + c for every lane, rounded once where the instruction set can: written out, because compilers may split a contracted a * b +
// c again where they expect that to be faster.
// A scalar is broadcast by name: vfloat{} + a would be an addition, as 0 + -0 is not -0.
#if defined(__AVX512F__)
inline vfloat multiply_add(vfloat a, vfloat b, vfloat c) { return (vfloat)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
inline vfloat multiply_add(float a, vfloat b, vfloat c) { return multiply_add((vfloat)_mm512_set1_ps(a), b, c); }
#elif defined(__FMA__)
inline vfloat multiply_add(vfloat a, vfloat b, vfloat c) { return (vfloat)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
inline vfloat multiply_add(float a, vfloat b, vfloat c) { return multiply_add((vfloat)_mm256_set1_ps(a), b, c); }
#else
inline vfloat multiply_add(vfloat a, vfloat b, vfloat c) { return a * b + c; }
inline vfloat multiply_add(float a, vfloat b, vfloat c) { return a * b + c; }
#endif

// The first `count` lanes (0 <= count <= kLanes); the others read as 0 and are not written. Never touches memory beyond them.
#if defined(__AVX512F__)
inline vfloat load_partial(const float* p, int count) {
  return (vfloat)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), p);
}
inline void store_partial(float* p, vfloat v, int count) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << count) - 1), (__m512)v);
}
#elif defined(__AVX2__)
inline __m256i lane_mask(int count) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}
inline vfloat load_partial(const float* p, int count) { return (vfloat)_mm256_maskload_ps(p, lane_mask(count)); }
inline void store_partial(float* p, vfloat v, int count) { _mm256_maskstore_ps(p, lane_mask(count), (__m256)v); }
#else
inline vfloat load_partial(const float* p, int count) {
  vfloat v = {};
  for (int i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
inline void store_partial(float* p, vfloat v, int count) {
  for (int i = 0; i < count; ++i) p[i] = v[i];
}
#endif

// body(i, get, put) for whole vectors of [0, n), then for the rest, of which get and put touch nothing beyond the end.
template <class Body>
inline void for_vectors(index_t n, const Body& body) {
  index_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, load, store);
  if (i == n) return;
  const int some = static_cast<int>(n - i);
  body(i, [some](const float* p) { return load_partial(p, some); }, [some](float* p, vfloat v) { store_partial(p, v, some); });
}

// The first `count` lanes of v, the others of `rest`.
inline vfloat first_lanes(vfloat v, vfloat rest, int count) {
  typedef std::int32_t vint __attribute__((vector_size(kLanes * 4)));
  vint lane = {};
  FASTNN_UNROLL
  for (int i = 0; i < kLanes; ++i) lane[i] = i;
  return lane < count ? v : rest;
}

typedef float vquad __attribute__((vector_size(16)));
typedef float vquad_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

// column[i][j] = x[j x_step + i] for 4 x 4 elements.
inline void load_transposed(const float* x, index_t x_step, vquad (&column)[4]) {
  vquad row[4];
  FASTNN_UNROLL
  for (int j = 0; j < 4; ++j) row[j] = *reinterpret_cast<const vquad_unaligned*>(x + j * x_step);
  const vquad a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5), b = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const vquad c = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7), d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  column[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  column[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  column[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  column[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// y[i y_step + j] = x[j x_step + i] for 4 x 4 elements.
inline void transpose_quad(const float* x, index_t x_step, float* y, index_t y_step) {
  vquad column[4];
  load_transposed(x, x_step, column);
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) *reinterpret_cast<vquad_unaligned*>(y + i * y_step) = column[i];
}

constexpr index_t ceil_div(index_t a, index_t b) { return (a + b - 1) / b; }
constexpr index_t round_up(index_t a, index_t b) { return ceil_div(a, b) * b; }
constexpr index_t min_of(index_t a, index_t b) { return a < b ? a : b; }
constexpr index_t max_of(index_t a, index_t b) { return a > b ? a : b; }

constexpr index_t kCachedFloats = 1 << 18;  // the second-level cache has no room for more
constexpr index_t kHugeFloats = 1 << 22;    // no cache holds them

// body(begin, end, slot) over [0, n); see parallel_ranges.
template <class Body>
void parallel_for(index_t n, double cycles, int slots, const Body& body) {
  fastnn::parallel_ranges(
      n, cycles, slots,
      [](void* context, index_t begin, index_t end, int slot) { (*static_cast<const Body*>(context))(begin, end, slot); },
      const_cast<Body*>(&body));
}

// body(stage, step, slot) of all stages and steps; see parallel_stages.
template <class Body>
void parallel_stages(index_t stages, index_t steps, double cycles, const Body& body) {
  struct Context {
    const Body& body;
    index_t steps;
  } context = {body, steps};
  fastnn::parallel_stages(
      stages, steps, cycles,
      [](void* c, index_t begin, index_t end, int slot) {
        const Context& all = *static_cast<const Context*>(c);
        for (index_t item = begin; item < end; ++item) all.body(item / all.steps, item % all.steps, slot);
      },
      &context);
}

// body(begin, end) over [0, n), for bodies without scratch.
template <class Body>
void parallel_for(index_t n, double cycles, const Body& body) {
  parallel_for(n, cycles, kAnySlots, [&body](index_t begin, index_t end, int) { body(begin, end); });
}

// body(begin, end) over the elements of arrays that begin on a cache line, cut at cache lines only: a vector that crosses one
// costs twice as much, and a line that two threads write to travels between them.
constexpr index_t kLineFloats = 16;
template <class Body>
void parallel_elements(index_t n, double cycles, const Body& body) {
  parallel_for(ceil_div(n, kLineFloats), kLineFloats * cycles,
               [&body, n](index_t begin, index_t end) { body(begin * kLineFloats, min_of(n, end * kLineFloats)); });
}

}  // namespace
