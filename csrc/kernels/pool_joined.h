// pool_joined.h - windows of 2 x 2 pixels side by side whose channels are so few that one vector holds several of them.
#pragma once

#include "pool_lanes.h"

namespace {

#if defined(__AVX512F__)
constexpr bool kJoinsWindows = true;
constexpr index_t kMostJoined = kLanes / 2;  // channels

// Forward: as many windows as a vector has channels for.
class JoinedWindows {
 public:
  explicit JoinedWindows(index_t channels) : count_(kLanes / max_of(channels, 1)) {
    std::int32_t place[kLanes] = {};
    for (index_t i = 0, lane = 0; i < count_; ++i) {
      for (index_t c = 0; c < channels; ++c) place[lane++] = static_cast<std::int32_t>(2 * i * channels + c);
    }
    left_ = _mm512_loadu_si512(place);
    right_ = _mm512_add_epi32(left_, _mm512_set1_epi32(static_cast<int>(channels)));
  }

  index_t count() const { return count_; }
  static constexpr index_t kRead = 2 * kLanes, kWritten = kLanes;  // values from the first on, of a row and of the result

  // The left and the right pixels of a row of the windows that begin at x.
  void load_pixels(const float* x, vfloat& left, vfloat& right) const {
    const __m512 low = (__m512)load(x), high = (__m512)load(x + kLanes);
    left = (vfloat)_mm512_permutex2var_ps(low, left_, high);
    right = (vfloat)_mm512_permutex2var_ps(low, right_, high);
  }

 private:
  index_t count_;
  __m512i left_, right_;
};

// Backward: as many windows as a vector has pairs of pixels for.
class JoinedPairs {
 public:
  explicit JoinedPairs(index_t channels) : count_(kLanes / max_of(2 * channels, 1)) {
    std::int32_t place[kLanes] = {};
    std::uint8_t byte[kLanes] = {}, column[kLanes] = {};
    for (index_t i = 0, lane = 0; i < count_; ++i) {
      for (int side = 0; side < 2; ++side) {
        for (index_t c = 0; c < channels; ++c, ++lane) {
          place[lane] = static_cast<std::int32_t>(i * channels + c);
          byte[lane] = static_cast<std::uint8_t>(place[lane]);
          column[lane] = static_cast<std::uint8_t>(side);
        }
      }
    }
    place_ = _mm512_loadu_si512(place);
    byte_ = _mm_loadu_si128(reinterpret_cast<const __m128i*>(byte));
    column_ = _mm_loadu_si128(reinterpret_cast<const __m128i*>(column));
  }

  index_t count() const { return count_; }
  static constexpr index_t kRead = kLanes, kWritten = kLanes;

  // Every window's values at both of its pixels of a row.
  vfloat spread(vfloat values) const { return (vfloat)_mm512_maskz_permutexvar_ps(0xffff, place_, (__m512)values); }
  // The same where the window's position is that of the pixel: `position`, or one more on the right; 0 elsewhere.
  vfloat spread_where(vfloat values, const std::uint8_t* index, index_t position) const {
    const __m128i at = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(index)), byte_);
    const __m128i here = _mm_add_epi8(column_, _mm_set1_epi8(static_cast<char>(position)));
    return (vfloat)_mm512_maskz_permutexvar_ps(_mm_cmpeq_epi8_mask(at, here), place_, (__m512)values);
  }

 private:
  index_t count_;
  __m512i place_;
  __m128i byte_, column_;
};
#else
// Nothing is joined: permutations of floats from memory take too long.
constexpr bool kJoinsWindows = false;
constexpr index_t kMostJoined = 0;
struct JoinedWindows {
  explicit JoinedWindows(index_t) {}
};
struct JoinedPairs {
  explicit JoinedPairs(index_t) {}
};
#endif

}  // namespace
