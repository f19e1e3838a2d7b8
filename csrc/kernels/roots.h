// roots.h - square roots of vectors, correctly rounded.
#pragma once

#include "simd.h"

namespace {

// By the processor's own instruction.
struct Root {
  static inline vfloat of(vfloat x) {
#if defined(__AVX512F__)
    return (vfloat)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);  // GCC 12 warns of the register that the plain form leaves open
#elif defined(__AVX2__)
    return (vfloat)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
    return (vfloat)_mm_sqrt_ps((__m128)x);
#else
    for (int i = 0; i < kLanes; ++i) x[i] = __builtin_sqrtf(x[i]);
    return x;
#endif
  }
};

// From an estimate of 14 bits by multiply-adds, where dividing units are slow: y = 1 / sqrt(x), g = x y and h = y / 2 are refined
// once (Goldschmidt), then x - g^2, which is exact, corrects the last bit (Markstein, IBM J. Res. Dev. 34, 1990). The same as the
// instruction's for all x of two binades, and so for all others but those whose remainder is no normal number.
#if defined(__AVX512F__)
struct RefinedRoot {
  static inline vfloat of(vfloat x) {
    const __m512 value = (__m512)x, half = _mm512_set1_ps(0.5f);
    const __m512i least = _mm512_set1_epi32(0x0d800000), range = _mm512_set1_epi32(0x7f7fffff - 0x0d800000);  // 2^-100, the largest
    const __mmask16 usual = _mm512_cmple_epu32_mask(_mm512_sub_epi32(_mm512_castps_si512(value), least), range);
    const __m512 y = _mm512_maskz_rsqrt14_ps(0xffff, value);
    __m512 g = _mm512_mul_ps(value, y), h = _mm512_mul_ps(half, y);
    const __m512 r = _mm512_fnmadd_ps(g, h, half);
    g = _mm512_fmadd_ps(g, r, g), h = _mm512_fmadd_ps(h, r, h);
    const __m512 root = _mm512_maskz_fmadd_ps(usual, _mm512_fnmadd_ps(g, g, value), h, g);
    // What was never used has a root of zero, too; anything else is rare.
    if (usual != 0xffff && _mm512_mask_cmp_ps_mask(static_cast<__mmask16>(~usual), value, _mm512_setzero_ps(), _CMP_NEQ_UQ)) {
      return Root::of(x);
    }
    return (vfloat)root;
  }
};
#else
using RefinedRoot = Root;
#endif

}  // namespace
