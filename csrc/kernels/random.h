// random.h - Philox4x32-10, dropout and uniform numbers.
//
// Philox is the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3"
// (SC 2011): a keyed mixing of a counter, so that any thread can make any number by itself.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

constexpr int kRounds = 10;

// What stands in a counter beside the number of the block, and the keys of the rounds.
struct PhiloxStream {
  std::uint32_t stream, step;
  std::uint64_t key[kRounds][2];

  PhiloxStream(std::uint64_t seed, std::uint32_t of_stream, std::uint32_t of_step) : stream(of_stream), step(of_step) {
    std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
    for (auto& round : key) {
      round[0] = key0, round[1] = key1;
      key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
  }
};

constexpr int kNumbersPerBlock = 8;  // of 16 bits
constexpr int kBlocks = 32;
constexpr int kNumbers = kBlocks * kNumbersPerBlock;

// One 32-bit word of kWide blocks, each in the low half of 64 bits: so the products need no rearranging.
constexpr int kWide = kLanes / 2;
typedef std::uint64_t vwide __attribute__((vector_size(kLanes * 4)));

// multiply: the 64-bit products of the low halves. join: a word from low, then one from high. mix: the exclusive or of all three.
// even_pairs, odd_pairs: a[i], b[i] for the even or the odd i, one after the other.
#if defined(__AVX512F__)
FASTNN_INLINE vwide multiply(vwide a, std::uint32_t factor) {
  return (vwide)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(factor));
}
FASTNN_INLINE vwide join(vwide low, vwide high) {
  return (vwide)_mm512_mask_shuffle_epi32((__m512i)low, 0xaaaa, (__m512i)high, _MM_PERM_CCAA);
}
FASTNN_INLINE vwide mix(vwide a, vwide b, vwide c) {
  return (vwide)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
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
#if !defined(__AVX512F__)
FASTNN_INLINE vwide join(vwide low, vwide high) { return (low & 0xffffffffu) | high << 32; }
FASTNN_INLINE vwide mix(vwide a, vwide b, vwide c) { return a ^ b ^ c; }
#endif

constexpr int kGroups = 4;  // of kWide blocks at a time: a round is a chain of slow instructions

constexpr std::uint32_t kFactor0 = 0xD2511F53u, kFactor1 = 0xCD9E8D57u;

// What the first two rounds make of the words that the blocks share.
struct SharedWords {
  std::uint64_t before, word0, word2, word3;

  SharedWords(const PhiloxStream& s, std::uint64_t block) {
    constexpr std::uint64_t kLow = 0xffffffffu;
    const std::uint64_t first = std::uint64_t{s.stream} * kFactor1;
    const std::uint64_t second = ((first >> 32) ^ (block >> 32) ^ s.key[0][0]) * kFactor0;
    before = s.step ^ s.key[0][1];
    word0 = (first & kLow) ^ s.key[1][0], word2 = (second >> 32) ^ s.key[1][1], word3 = second & kLow;
  }
};

// The numbers of kGroups kWide blocks from `first` on, 16 bytes each; the high word of their numbers is the same. Lanes 2 i and
// 2 i + 1 of a group are its blocks i and kWide / 2 + i, which puts the blocks into order at the end. What the high halves are
// does not matter.
FASTNN_INLINE void philox_blocks(const PhiloxStream& s, std::uint64_t first, std::uint32_t* words) {
  const SharedWords shared(s, first);
  const vwide zero = {};
  vwide order = {}, c[kGroups][4];
  FASTNN_UNROLL
  for (int i = 0; i < kWide; ++i) order[i] = static_cast<std::uint64_t>(i % 2 * (kWide / 2) + i / 2);
  vwide block = order + first;
  FASTNN_UNROLL
  for (int g = 0; g < kGroups; ++g, block += kWide) {
    const vwide p0 = multiply(block, kFactor0), p1 = multiply((p0 >> 32) ^ shared.before, kFactor1);
    c[g][0] = (p1 >> 32) ^ shared.word0, c[g][1] = p1;
    c[g][2] = p0 ^ shared.word2, c[g][3] = zero + shared.word3;
  }
  FASTNN_UNROLL
  for (int round = 2; round < kRounds; ++round) {
    const vwide key0 = zero + s.key[round][0], key1 = zero + s.key[round][1];
    FASTNN_UNROLL
    for (int g = 0; g < kGroups; ++g) {
      const vwide p0 = multiply(c[g][0], kFactor0), p1 = multiply(c[g][2], kFactor1);
      c[g][0] = mix(p1 >> 32, c[g][1], key0), c[g][1] = p1;
      c[g][2] = mix(p0 >> 32, c[g][3], key1), c[g][3] = p0;
    }
  }
  FASTNN_UNROLL
  for (int g = 0; g < kGroups; ++g, words += 2 * kLanes) {
    const vwide pair0 = join(c[g][0], c[g][1]), pair1 = join(c[g][2], c[g][3]);
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
  FASTNN_INLINE std::int32_t operator[](index_t i) const {
    typedef std::uint16_t half __attribute__((may_alias));
    return reinterpret_cast<const half*>(words)[i];
  }
};

// y = scale x where the number of the element reaches the threshold, 0 elsewhere, for up to kNumbers elements; y may be x. Bit i of
// `kept`, the lowest of a byte first: is element i kept? The bits beyond the n-th are 0.
FASTNN_INLINE void drop(const Numbers& numbers, std::int32_t threshold, float scale, const float* x, float* y, std::uint8_t* kept,
                        index_t n) {
  index_t i = 0;
#if defined(__AVX512BW__)
  // The comparison gives the bits that say which lanes are written; no number reaches 65536.
  const __m512i least = _mm512_set1_epi16(static_cast<short>(threshold));
  for (; i + 2 * kLanes <= n && threshold < 65536; i += 2 * kLanes) {
    const __mmask32 both = _mm512_cmpge_epu16_mask(_mm512_loadu_si512(numbers.words + i / 2), least);
    const __m512 factor = _mm512_set1_ps(scale);
    _mm512_storeu_ps(y + i, _mm512_maskz_mul_ps(static_cast<__mmask16>(both), _mm512_loadu_ps(x + i), factor));
    const __m512 more = _mm512_loadu_ps(x + i + kLanes);
    _mm512_storeu_ps(y + i + kLanes, _mm512_maskz_mul_ps(static_cast<__mmask16>(both >> kLanes), more, factor));
    __builtin_memcpy(kept + i / 8, &both, sizeof both);
  }
#elif defined(__SSE2__)
  const __m128i least = _mm_set1_epi16(static_cast<short>(threshold)), zero = _mm_setzero_si128();
  for (; i + 16 <= n && threshold < 65536; i += 16) {
    const __m128i* eight = reinterpret_cast<const __m128i*>(numbers.words) + i / 8;
    const __m128i low = _mm_cmpeq_epi16(_mm_subs_epu16(least, _mm_loadu_si128(eight)), zero);
    const __m128i high = _mm_cmpeq_epi16(_mm_subs_epu16(least, _mm_loadu_si128(eight + 1)), zero);
    const std::uint16_t both = static_cast<std::uint16_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
    __builtin_memcpy(kept + i / 8, &both, sizeof both);
#if defined(__AVX2__)
    store(y + i, (vfloat)((__m256i)(load(x + i) * scale) & _mm256_cvtepi16_epi32(low)));
    store(y + i + kLanes, (vfloat)((__m256i)(load(x + i + kLanes) * scale) & _mm256_cvtepi16_epi32(high)));
#else
    FASTNN_SIMD
    for (index_t j = i; j < i + 16; ++j) y[j] = select(numbers[j] >= threshold, x[j] * scale, 0.0f);
#endif
  }
#endif
  for (; i < n; i += 8) {
    unsigned byte = 0;
    for (index_t j = i; j < min_of(n, i + 8); ++j) {
      const bool stays = numbers[j] >= threshold;
      y[j] = select(stays, x[j] * scale, 0.0f);
      byte |= static_cast<unsigned>(stays) << (j - i);
    }
    kept[i / 8] = static_cast<std::uint8_t>(byte);
  }
}

// y = scale x where the element's bit is set, 0 elsewhere; y may be x.
FASTNN_INLINE void keep(const std::uint8_t* bits, float scale, const float* x, float* y, index_t n) {
  index_t i = 0;
#if defined(__AVX512F__)
  for (; i + kLanes <= n; i += kLanes) {
    __mmask16 kept;
    __builtin_memcpy(&kept, bits + i / 8, sizeof kept);
    _mm512_storeu_ps(y + i, _mm512_maskz_mul_ps(kept, _mm512_loadu_ps(x + i), _mm512_set1_ps(scale)));
  }
#endif
  constexpr std::uint32_t kBit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
  for (; i + 8 <= n; i += 8) {
    const std::uint32_t eight = bits[i / 8];
    FASTNN_SIMD
    for (int j = 0; j < 8; ++j) y[i + j] = select((eight & kBit[j]) != 0, x[i + j] * scale, 0.0f);
  }
  for (int j = 0; i < n; ++i, ++j) y[i] = select((bits[i / 8] & kBit[j]) != 0, x[i] * scale, 0.0f);
}

inline std::int32_t dropout_threshold(float rate) { return static_cast<std::int32_t>(rate * 65536.0f + 0.5f); }
inline float dropout_scale(std::int32_t threshold) { return 65536.0f / static_cast<float>(65536 - threshold); }

// The step is advanced after the parallel part, by the calling thread alone.
void dropout_forward(const fastnn::DropoutForward& a) {
  const std::int32_t threshold = dropout_threshold(a.rate);
  const float scale = dropout_scale(threshold);
  const PhiloxStream s(a.seed, a.stream, static_cast<std::uint32_t>(a.counter[0]));
  parallel_for(ceil_div(a.n, kNumbers), 2.0 * kNumbers, [=, &a, &s](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      const Numbers numbers(s, static_cast<std::uint64_t>(i) * kBlocks);
      const index_t at = i * kNumbers, n = a.n - at;
      if (n >= kNumbers) {
        drop(numbers, threshold, scale, a.x + at, a.y + at, a.kept + at / 8, kNumbers);
      } else {
        drop(numbers, threshold, scale, a.x + at, a.y + at, a.kept + at / 8, n);
      }
    }
  });
  a.counter[0] += 1;
}

void dropout_backward(const fastnn::DropoutBackward& a) {
  const float scale = dropout_scale(dropout_threshold(a.rate));
  parallel_elements(
      a.n, 0.5, [=, &a](index_t begin, index_t end) { keep(a.kept + begin / 8, scale, a.dy + begin, a.dx + begin, end - begin); });
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
