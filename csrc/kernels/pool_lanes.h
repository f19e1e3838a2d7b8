// pool_lanes.h - a few channels of a pixel as one vector, and the positions in windows that go with them.
#pragma once

#include "simd.h"

namespace {

// `L` channels: with few of them a narrow vector, of which more lanes are used.
template <int L>
struct Lanes {
  typedef float Floats __attribute__((vector_size(L * 4)));
  typedef float FloatsAnywhere __attribute__((vector_size(L * 4), aligned(4), may_alias));
  typedef std::int32_t Ints __attribute__((vector_size(L * 4)));
  typedef std::uint8_t Bytes __attribute__((vector_size(L)));
};

// body<lanes, one>() with the lanes for so many channels, and whether one vector has all of them.
template <class Body>
inline void with_lanes(index_t channels, const Body& body) {
  if constexpr (kLanes > 4) {
    if (channels <= 4) return body.template operator()<4, true>();
  }
  if constexpr (kLanes > 8) {
    if (channels <= 8) return body.template operator()<8, true>();
  }
  if (channels <= kLanes) return body.template operator()<kLanes, true>();
  body.template operator()<kLanes, false>();
}

// All lanes, or the first `count`; the others read as 0 and are not written.
template <int L, bool Whole>
inline typename Lanes<L>::Floats load_channels(const float* p, int count) {
  using Floats = typename Lanes<L>::Floats;
  if constexpr (Whole) {
    return *reinterpret_cast<const typename Lanes<L>::FloatsAnywhere*>(p);
  } else if constexpr (L == kLanes) {
    return (Floats)load_partial(p, count);
  } else {
    Floats v = {};
    for (int i = 0; i < L && i < count; ++i) v[i] = p[i];
    return v;
  }
}

template <int L, bool Whole>
inline void store_channels(float* p, typename Lanes<L>::Floats v, int count) {
  if constexpr (Whole) {
    *reinterpret_cast<typename Lanes<L>::FloatsAnywhere*>(p) = v;
  } else if constexpr (L == kLanes) {
    store_partial(p, (vfloat)v, count);
  } else {
    for (int i = 0; i < L && i < count; ++i) p[i] = v[i];
  }
}

// Is one of the lanes a NaN?
#if defined(__SSE2__)
inline bool has_nan(__m128 v) { return _mm_movemask_ps(_mm_cmpunord_ps(v, v)) != 0; }
#if defined(__AVX2__)
inline bool has_nan(__m256 v) { return _mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)) != 0; }
#endif
#if defined(__AVX512F__)
inline bool has_nan(__m512 v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0; }
#endif
#else
template <class Floats>
inline bool has_nan(Floats v) {
  std::int32_t any = 0;
  for (std::size_t i = 0; i < sizeof v / sizeof v[0]; ++i) any |= v[i] != v[i];
  return any != 0;
}
#endif

// Positions inside of a window: 32 bits each in a vector, bytes or 32 bits in memory. Of a plain conversion the compiler makes
// several times the instructions.
template <int L>
inline typename Lanes<L>::Bytes narrowed(typename Lanes<L>::Ints v) {
  typename Lanes<L>::Bytes bytes;
#if defined(__SSE2__)
  __m128i packed;
  if constexpr (L == 4) packed = _mm_packs_epi32((__m128i)v, (__m128i)v);
#if defined(__AVX2__)
  if constexpr (L == 8) packed = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
#endif
#if defined(__AVX512F__)
  if constexpr (L == 16) {
    packed = _mm512_maskz_cvtepi32_epi8(0xffff, (__m512i)v);
    asm("" : "+v"(packed));  // not fused with a store: that instruction is slow
    return (typename Lanes<L>::Bytes)packed;
  }
#endif
  packed = _mm_packus_epi16(packed, packed);
  __builtin_memcpy(&bytes, &packed, sizeof bytes);
#else
  bytes = __builtin_convertvector(v, typename Lanes<L>::Bytes);
#endif
  return bytes;
}

#if !defined(__AVX512F__)
template <int L>
inline typename Lanes<L>::Ints widened(typename Lanes<L>::Bytes bytes) {
#if defined(__SSE2__)
  __m128i packed = {};
  __builtin_memcpy(&packed, &bytes, sizeof bytes);
  if constexpr (L == 4) {
    const __m128i zero = {};
    return (typename Lanes<L>::Ints)_mm_unpacklo_epi16(_mm_unpacklo_epi8(packed, zero), zero);
  }
#if defined(__AVX2__)
  if constexpr (L == 8) return (typename Lanes<L>::Ints)_mm256_cvtepu8_epi32(packed);
#endif
#else
  return __builtin_convertvector(bytes, typename Lanes<L>::Ints);
#endif
}
#endif

// Whole, or `count` of them; the others read as 0 and are not written.
template <int L, bool Whole>
inline void store_positions(std::int32_t* p, typename Lanes<L>::Ints v, int count) {
  store_channels<L, Whole>(reinterpret_cast<float*>(p), (typename Lanes<L>::Floats)v, count);
}

template <int L, bool Whole>
inline void store_positions(std::uint8_t* p, typename Lanes<L>::Ints v, int count) {
  const auto bytes = narrowed<L>(v);
  if constexpr (Whole) {
    __builtin_memcpy(p, &bytes, sizeof bytes);
  } else {
    for (int i = 0; i < L && i < count; ++i) p[i] = bytes[i];
  }
}

// The numbers at p where the position at `index` is the given one, 0 elsewhere.
template <int L, bool Whole>
inline typename Lanes<L>::Floats load_where(const float* p, const std::int32_t* index, index_t position, int count) {
  using Ints = typename Lanes<L>::Ints;
  const Ints at = (Ints)load_channels<L, Whole>(reinterpret_cast<const float*>(index), count);
  const Ints here = at == static_cast<std::int32_t>(position);
  return (typename Lanes<L>::Floats)((Ints)load_channels<L, Whole>(p, count) & here);
}

template <int L, bool Whole>
inline typename Lanes<L>::Floats load_where(const float* p, const std::uint8_t* index, index_t position, int count) {
  using Floats = typename Lanes<L>::Floats;
  typename Lanes<L>::Bytes bytes = {};
  if constexpr (Whole) {
    __builtin_memcpy(&bytes, index, sizeof bytes);
  } else {
    for (int i = 0; i < L && i < count; ++i) bytes[i] = index[i];
  }
#if defined(__AVX512F__)
  __m128i packed = {};
  __builtin_memcpy(&packed, &bytes, sizeof bytes);
  std::uint32_t here = _mm_cmpeq_epi8_mask(packed, _mm_set1_epi8(static_cast<char>(position)));
  if constexpr (!Whole) here &= (1u << count) - 1;
  if constexpr (L == 16) return (Floats)_mm512_maskz_loadu_ps(static_cast<__mmask16>(here), p);
  if constexpr (L == 8) return (Floats)_mm256_maskz_loadu_ps(static_cast<__mmask8>(here), p);
  if constexpr (L == 4) return (Floats)_mm_maskz_loadu_ps(static_cast<__mmask8>(here), p);
#else
  using Ints = typename Lanes<L>::Ints;
  const Ints here = widened<L>(bytes) == static_cast<std::int32_t>(position);
  return (Floats)((Ints)load_channels<L, Whole>(p, count) & here);
#endif
}

}  // namespace
