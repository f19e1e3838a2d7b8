// random.h - Philox4x32-10 and dropout.
//
// Philox is the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011):
// a keyed mixing of a counter, so that any thread can make any number by itself.
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

// A 32-bit word of several blocks, one in the low half of each lane; the high halves hold rubbish.
constexpr int kPairLanes = kLanes / 2;
typedef std::uint64_t vpair __attribute__((vector_size(kLanes * 4)));

// The 64-bit products of the low halves. A compiler makes three times as many instructions of a plain multiplication.
inline vpair multiply_low(vpair a, std::uint32_t factor) {
#if defined(__AVX512F__)
  return (vpair)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (vpair)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
#else
  vpair product;
  for (int i = 0; i < kPairLanes; ++i) product[i] = (a[i] & 0xffffffffu) * factor;
  return product;
#endif
}

// words[4 b + w] is word w of block first + b, for kPairLanes blocks.
inline void philox_blocks(const PhiloxStream& s, std::uint64_t first, std::uint32_t* words) {
  vpair c0, c2 = vpair{} + s.stream, c3 = vpair{} + s.step;
  FASTNN_UNROLL
  for (int b = 0; b < kPairLanes; ++b) c0[b] = first + static_cast<std::uint64_t>(b);
  vpair c1 = c0 >> 32;
  std::uint32_t key0 = static_cast<std::uint32_t>(s.seed), key1 = static_cast<std::uint32_t>(s.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const vpair p0 = multiply_low(c0, 0xD2511F53u), p1 = multiply_low(c2, 0xCD9E8D57u);
    c0 = (p1 >> 32) ^ c1 ^ key0;
    c1 = p1;
    c2 = (p0 >> 32) ^ c3 ^ key1;
    c3 = p0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  for (int b = 0; b < kPairLanes; ++b) {
    words[4 * b] = static_cast<std::uint32_t>(c0[b]);
    words[4 * b + 1] = static_cast<std::uint32_t>(c1[b]);
    words[4 * b + 2] = static_cast<std::uint32_t>(c2[b]);
    words[4 * b + 3] = static_cast<std::uint32_t>(c3[b]);
  }
}

// The numbers of kBlocks blocks, two in a word; the low half comes first, as it does in memory on all our processors.
struct Numbers {
  std::uint32_t words[kNumbers / 2];
  Numbers(const PhiloxStream& s, std::uint64_t first) {
    for (int b = 0; b < kBlocks; b += kPairLanes) philox_blocks(s, first + static_cast<std::uint64_t>(b), words + 4 * b);
  }
  std::int32_t operator[](int i) const {
    typedef std::uint16_t half __attribute__((may_alias));
    return reinterpret_cast<const half*>(words)[i];
  }
};

inline void drop_numbers(const Numbers& numbers, std::int32_t threshold, float kept, const float* x, float* y, int n) {
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
