// sums.h - long sums in double: chunks of a fixed length, one result each, added up in order.
#pragma once

#include "simd.h"

namespace {

constexpr index_t kChunkFloats = 4096;
constexpr int kSumLanes = 16;  // of every instruction set, so that all add up in the same order

inline index_t chunk_count(index_t n) { return ceil_div(n, kChunkFloats); }

// The floats of scratch that `count` doubles take.
inline index_t doubles(index_t count) { return round_up(2 * count, kLineFloats); }

// Sum of term(i) for begin <= i < end, each a double.
template <class Term>
inline double lane_sum(index_t begin, index_t end, const Term& term) {
  double lane[kSumLanes] = {};
  index_t i = begin;
  for (; i + kSumLanes <= end; i += kSumLanes) {
    FASTNN_SIMD
    for (int l = 0; l < kSumLanes; ++l) lane[l] += term(i + l);
  }
  for (int l = 0; i + l < end; ++l) lane[l] += term(i + l);
  for (int width = kSumLanes / 2; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  }
  return lane[0];
}

inline double in_order(const double* x, index_t n) {
  double sum = 0;
  for (index_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// The same of n terms, shared among threads; `parts` has room for chunk_count(n).
template <class Term>
double chunked_sum(index_t n, double cycles, double* parts, const Term& term) {
  parallel_for(chunk_count(n), kChunkFloats * cycles, [&](index_t begin, index_t end) {
    for (index_t c = begin; c < end; ++c) parts[c] = lane_sum(c * kChunkFloats, min_of(n, (c + 1) * kChunkFloats), term);
  });
  return in_order(parts, chunk_count(n));
}

// x y, exactly.
inline double exact_product(float x, float y) { return static_cast<double>(x) * static_cast<double>(y); }

}  // namespace
