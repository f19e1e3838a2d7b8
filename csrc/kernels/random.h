// random.h - Philox4x32-10, dropout and uniform numbers.
//
// Philox is the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011): a keyed mixing of a counter, so that any thread can make any number by itself.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

// What stands in a counter beside the number of the block, and the key.
struct PhiloxStream {
  std::uint64_t seed;
  std::uint32_t stream, step;
};

constexpr int kNumbersPerBlock = 8;  // of 16 bits
constexpr int kBlocks = 32;
constexpr int kNumbers = kBlocks * kNumbersPerBlock;

// One 32-bit word of kWide blocks, each in the low half of 64 bits: so the products need no rearranging.
constexpr int kWide = kLanes / 2;
typedef std::uint64_t vwide __attribute__((vector_size(kLanes * 4)));

// multiply: the 64-bit products of the low halves. even_pairs, odd_pairs: a[i], b[i] for the even or the odd i, one after the
// other.
#if defined(__AVX512F__)
FASTNN_INLINE vwide multiply(vwide a, std::uint32_t factor) {
  return (vwide)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(factor));
}
FASTNN_INLINE vwide even_pairs(vwide a, vwide b) { return (vwide)_mm512_maskz_unpacklo_epi64(0xff, (__m512i)a, (__m512i)b); }
FASTNN_INLINE vwide odd_pairs(vwide a, vwide b) { return (vwide)_mm512_maskz_unpackhi_epi64(0xff, (__m512i)a, (__m512i)b); }
#elif defined(__AVX2__)
FASTNN_INLINE vwide multiply(vwide a, std::uint32_t factor) {
  return (vwide)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
}
FASTNN_INLINE vwide even_pairs(vwide a, vwide b) { return (vwide)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b); }
FASTNN_INLINE vwide odd_pairs(vwide a, vwide b) { return (vwide)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b); }
#elif defined(__SSE2__)
FASTNN_INLINE vwide multiply(vwide a, std::uint32_t factor) { return (vwide)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(factor)); }
FASTNN_INLINE vwide even_pairs(vwide a, vwide b) { return (vwide)_mm_unpacklo_epi64((__m128i)a, (__m128i)b); }
FASTNN_INLINE vwide odd_pairs(vwide a, vwide b) { return (vwide)_mm_unpackhi_epi64((__m128i)a, (__m128i)b); }
#else
FASTNN_INLINE vwide multiply(vwide a, std::uint32_t factor) { return (a & 0xffffffffu) * std::uint64_t{factor}; }
FASTNN_INLINE vwide even_pairs(vwide a, vwide b) { return vwide{a[0], b[0]}; }
FASTNN_INLINE vwide odd_pairs(vwide a, vwide b) { return vwide{a[1], b[1]}; }
#endif

constexpr int kGroups = 4;  // of kWide blocks at a time: a round is a chain of slow instructions

// The numbers of kGroups kWide blocks from `first` on, 16 bytes each. Lanes 2 i and 2 i + 1 of a group are its blocks i and
// kWide / 2 + i, which puts the blocks into order at the end. What the high halves are does not matter.
FASTNN_INLINE void philox_blocks(const PhiloxStream& s, std::uint64_t first, std::uint32_t* words) {
  vwide block = {}, c[kGroups][4];
  FASTNN_UNROLL
  for (int i = 0; i < kWide; ++i) block[i] = first + static_cast<std::uint64_t>(i % 2 * (kWide / 2) + i / 2);
  FASTNN_UNROLL
  for (int g = 0; g < kGroups; ++g, block += kWide) {
    c[g][0] = block, c[g][1] = block >> 32, c[g][2] = vwide{} + s.stream, c[g][3] = vwide{} + s.step;
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(s.seed), key1 = static_cast<std::uint32_t>(s.seed >> 32);
  FASTNN_UNROLL
  for (int round = 0; round < 10; ++round, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
    FASTNN_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      const vwide p0 = multiply(c[g][0], 0xD2511F53u), p1 = multiply(c[g][2], 0xCD9E8D57u);
      c[g][0] = (p1 >> 32) ^ c[g][1] ^ std::uint64_t{key0};
      c[g][1] = p1;
      c[g][2] = (p0 >> 32) ^ c[g][3] ^ std::uint64_t{key1};
      c[g][3] = p0;
    }
  }
  FASTNN_UNROLL
  for (int g = 0; g < kGroups; ++g, words += 2 * kLanes) {
    const vwide pair0 = (c[g][0] & 0xffffffffu) | c[g][1] << 32, pair1 = (c[g][2] & 0xffffffffu) | c[g][3] << 32;
    const vwide low = even_pairs(pair0, pair1), high = odd_pairs(pair0, pair1);
    __builtin_memcpy(words, &low, sizeof low);
    __builtin_memcpy(words + kLanes, &high, sizeof high);
  }
}

// The numbers of kBlocks blocks, two in a word; the low half comes first, as it does in memory on all our processors.
struct Numbers {
  std::uint32_t words[kNumbers / 2];
  FASTNN_INLINE Numbers(const PhiloxStream& s, std::uint64_t first) {
    for (int b = 0; b < kBlocks; b += kGroups * kWide) philox_blocks(s, first + static_cast<std::uint64_t>(b), words + 4 * b);
  }
  FASTNN_INLINE std::int32_t operator[](int i) const {
    typedef std::uint16_t half __attribute__((may_alias));
    return reinterpret_cast<const half*>(words)[i];
  }
};

FASTNN_INLINE void drop_numbers(const Numbers& numbers, std::int32_t threshold, float scale, const float* x, float* y, int n) {
  FASTNN_SIMD
  for (int i = 0; i < n; ++i) y[i] = select(numbers[i] >= threshold, x[i] * scale, 0.0f);
}

// y = scale x where the number of the element reaches the threshold, 0 elsewhere; y may be x.
inline void drop(const PhiloxStream& s, float rate, const float* x, float* y, index_t n) {
  const std::int32_t threshold = static_cast<std::int32_t>(rate * 65536.0f + 0.5f);
  const float scale = 65536.0f / static_cast<float>(65536 - threshold);
  parallel_for(ceil_div(n, kNumbers), 2.0 * kNumbers, [=, &s](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(s, static_cast<std::uint64_t>(i) * kBlocks);
      const index_t at = i * kNumbers;
      if (n - at >= kNumbers) {
        drop_numbers(numbers, threshold, scale, x + at, y + at, kNumbers);
      } else {
        drop_numbers(numbers, threshold, scale, x + at, y + at, static_cast<int>(n - at));
      }
    }
  });
}

// The step is advanced after the parallel part, by the calling thread alone.
void dropout_forward(const fastnn::DropoutForward& a) {
  const std::uint64_t step = a.counter[0];
  drop({a.seed, a.stream, static_cast<std::uint32_t>(step)}, a.rate, a.x, a.y, a.n);
  a.used[0] = step;
  a.counter[0] = step + 1;
}

void dropout_backward(const fastnn::DropoutBackward& a) {
  drop({a.seed, a.stream, static_cast<std::uint32_t>(a.used[0])}, a.rate, a.dy, a.dx, a.n);
}

void random_uniform(const fastnn::RandomUniform& a) {
  constexpr int kWords = kNumbers / 2;
  const std::uint64_t step = a.counter[0];
  const PhiloxStream s = {a.seed, a.stream, static_cast<std::uint32_t>(step)};
  parallel_for(ceil_div(a.n, kWords), 2.0 * kNumbers, [&a, &s](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(s, static_cast<std::uint64_t>(i) * kBlocks);
      float* u = a.u + i * kWords;
      const int n = static_cast<int>(min_of(kWords, a.n - i * kWords));
      FASTNN_SIMD
      for (int j = 0; j < n; ++j) u[j] = static_cast<float>(static_cast<std::int32_t>(numbers.words[j] >> 8)) * 0x1p-24f;
    }
  });
  a.counter[0] = step + 1;
}

}  // namespace
