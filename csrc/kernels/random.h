// random.h - Philox4x32-10 and dropout.
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
constexpr int kBlocks = 16;
constexpr int kNumbers = kBlocks * kNumbersPerBlock;

// One 32-bit word of kLanes blocks.
typedef std::uint32_t vword __attribute__((vector_size(kLanes * 4)));

FASTNN_INLINE vword load_words(const std::uint32_t* p) { return (vword)load(reinterpret_cast<const float*>(p)); }
FASTNN_INLINE void store_words(std::uint32_t* p, vword v) { store(reinterpret_cast<float*>(p), (vfloat)v); }

struct Product {
  vword low, high;
};

// The halves of the 64-bit products. The instruction multiplies the even words, so the odd ones are shifted down first
// and the two results merged; of the plain loop a compiler makes about twice the work.
#if defined(__AVX512F__)
FASTNN_INLINE Product multiply(vword a, std::uint32_t factor) {
  const __m512i f = _mm512_set1_epi64(factor);
  const __m512i even = _mm512_maskz_mul_epu32(0xff, (__m512i)a, f);
  const __m512i odd = _mm512_maskz_mul_epu32(0xff, _mm512_maskz_srli_epi64(0xff, (__m512i)a, 32), f);
  return {(vword)_mm512_mask_shuffle_epi32(even, 0xaaaa, odd, _MM_PERM_CCAA),
          (vword)_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB)};
}
#elif defined(__AVX2__)
FASTNN_INLINE Product multiply(vword a, std::uint32_t factor) {
  const __m256i f = _mm256_set1_epi64x(factor);
  const __m256i even = _mm256_mul_epu32((__m256i)a, f);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), f);
  return {(vword)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa),
          (vword)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa)};
}
#else
FASTNN_INLINE Product multiply(vword a, std::uint32_t factor) {
  Product p;
  FASTNN_SIMD
  for (int i = 0; i < kLanes; ++i) {
    const std::uint64_t product = std::uint64_t{a[i]} * factor;
    p.low[i] = static_cast<std::uint32_t>(product);
    p.high[i] = static_cast<std::uint32_t>(product >> 32);
  }
  return p;
}
#endif

// words[4 b + w] is word w of block first + b, for kLanes blocks.
FASTNN_INLINE void philox_blocks(const PhiloxStream& s, std::uint64_t first, std::uint32_t* words) {
  std::uint32_t c[4][kLanes];
  FASTNN_SIMD
  for (int b = 0; b < kLanes; ++b) {
    const std::uint64_t block = first + static_cast<std::uint64_t>(b);
    c[0][b] = static_cast<std::uint32_t>(block);
    c[1][b] = static_cast<std::uint32_t>(block >> 32);
  }
  vword c0 = load_words(c[0]), c1 = load_words(c[1]), c2 = vword{} + s.stream, c3 = vword{} + s.step;
  std::uint32_t key0 = static_cast<std::uint32_t>(s.seed), key1 = static_cast<std::uint32_t>(s.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const Product p0 = multiply(c0, 0xD2511F53u), p1 = multiply(c2, 0xCD9E8D57u);
    c0 = p1.high ^ c1 ^ key0;
    c1 = p1.low;
    c2 = p0.high ^ c3 ^ key1;
    c3 = p0.low;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  store_words(c[0], c0);
  store_words(c[1], c1);
  store_words(c[2], c2);
  store_words(c[3], c3);
  FASTNN_SIMD
  for (int b = 0; b < kLanes; ++b) {
    for (int w = 0; w < 4; ++w) words[4 * b + w] = c[w][b];
  }
}

// The numbers of kBlocks blocks, two in a word; the low half comes first, as it does in memory on all our processors.
struct Numbers {
  std::uint32_t words[kNumbers / 2];
  FASTNN_INLINE Numbers(const PhiloxStream& s, std::uint64_t first) {
    for (int b = 0; b < kBlocks; b += kLanes) philox_blocks(s, first + static_cast<std::uint64_t>(b), words + 4 * b);
  }
  FASTNN_INLINE std::int32_t operator[](int i) const {
    typedef std::uint16_t half __attribute__((may_alias));
    return reinterpret_cast<const half*>(words)[i];
  }
};

FASTNN_INLINE void drop_numbers(const Numbers& numbers, std::int32_t threshold, float kept, const float* x, float* y, int n) {
  FASTNN_SIMD
  for (int i = 0; i < n; ++i) y[i] = select(numbers[i] >= threshold, x[i] / kept, 0.0f);
}

// y = x / (1 - threshold / 65536) where the number of the element reaches the threshold, 0 elsewhere; y may be x.
inline void drop(const PhiloxStream& s, float rate, const float* x, float* y, index_t n) {
  const std::int32_t threshold = static_cast<std::int32_t>(rate * 65536.0f + 0.5f);
  const float kept = 1.0f - static_cast<float>(threshold) / 65536.0f;
  parallel_for(ceil_div(n, kNumbers), 2.0 * kNumbers, [=, &s](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(s, static_cast<std::uint64_t>(i) * kBlocks);
      const index_t at = i * kNumbers;
      if (n - at >= kNumbers) {
        drop_numbers(numbers, threshold, kept, x + at, y + at, kNumbers);
      } else {
        drop_numbers(numbers, threshold, kept, x + at, y + at, static_cast<int>(n - at));
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

}  // namespace
