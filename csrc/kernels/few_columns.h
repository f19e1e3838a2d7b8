// few_columns.h - products of few columns, turned around: c^T = b^T a^T.
//
// The lanes of a vector are rows of c, as c has fewer columns than lanes. Rows of a are transposed in registers, or where a is
// transposed anyway, read as they lie. The chain of every element is the same.
#pragma once

#include "gemm_tiles.h"
#include "transposed.h"
#include "turned.h"

namespace {

constexpr index_t kFewColumns = kLanes > 8 ? 10 : kLanes * 3 / 4;  // beyond, empty lanes cost less than transposing
static_assert(kFewColumns <= kMaxRows);
constexpr index_t kColumnBlock = 256;  // rows of c that are turned back at a time
constexpr index_t kColumnRun = 4 * kSquare;

// Rows that do not fill a vector cost as much as those that do.
inline bool has_few_columns(const Gemm& g) {
  const bool full = g.m % kLanes == 0 || (g.m >= kLanes && g.m >= kSquare * g.n);
  const bool cached = g.n * g.k <= kCachedFloats / 2;  // all of b is read for each few rows of a
  return g.n <= kFewColumns && full && cached && g.a_col == 1 && g.a_row != 1 && !g.accumulate;
}
inline index_t few_columns_slot(const Gemm& g) { return round_up(g.n * g.k, kLineFloats) + g.n * kColumnBlock; }

// Rows [first, first + count) of c from c^T, whose rows are kColumnBlock apart.
inline void store_few_columns(const Gemm& g, float* turned, index_t first, index_t count) {
  for (index_t j = 0; j < g.n; ++j) {
    float* const column = turned + j * kColumnBlock;
    if (g.bias) {
      const float bias = g.bias[j];
      for (index_t i = 0; i < count; ++i) column[i] += bias;
    }
    activate_row(column, count, nullptr, g.activation, g.alpha);
  }
  store_turned(g, turned, kColumnBlock, first, count, 0, static_cast<int>(g.n));
}

// Fetching is a gain of up to three times where a comes from memory, and costs up to a tenth, with very few columns a fifth, where
// the third-level cache still has it. Few rows of a that are long are followed by the prefetchers.
constexpr index_t kFetchedAhead = 32;
inline index_t few_columns_ahead(const Gemm& g) {
  const bool few = g.n <= kPairRows;
  const bool fetches = g.m * g.k > (few ? kHugeFloats / 2 : 2 * kCachedFloats) && !(few && g.a_row % kEvictingStride == 0);
  return fetches ? kFetchedAhead * g.a_row : 0;
}

inline void gemm_few_columns(const Gemm& g) {
  const index_t ahead = few_columns_ahead(g);
  const double cycles = 0.1 * static_cast<double>(kColumnRun * g.k * max_of(g.n, 4));
  parallel_for(ceil_div(g.m, kColumnRun), cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    float* const packed = g.scratch + slot * few_columns_slot(g);
    float* const block = packed + round_up(g.n * g.k, kLineFloats);
    const int columns = static_cast<int>(g.n);
    pack_rows(packed, g.b, g.b_col, g.b_row, columns, g.k);
    const index_t stop = min_of(g.m, end * kColumnRun);
    for (index_t first = begin * kColumnRun; first < stop; first += kColumnBlock) {
      const index_t count = min_of(kColumnBlock, stop - first);
      multiply_transposed({packed, g.a + first * g.a_row, g.a_row, block, kColumnBlock, g.k, false, ahead}, columns, count);
      store_few_columns(g, block, first, count);
    }
  });
}

// A transposed a is read as it lies: b^T has few rows, so the product of few rows makes c^T.
constexpr index_t kLeastTurnedTerms = 16;
inline bool has_few_transposed_columns(const Gemm& g) {
  return g.n <= kMaxRows && g.m >= kTurnedColumns && g.k >= kLeastTurnedTerms && g.a_row == 1 && g.a_col != 1 &&
         g.m * g.n <= kCachedFloats && !g.bias && g.activation == Activation::linear && !g.accumulate;
}

inline void turn_back(const Gemm& g, const float* turned) {
  parallel_for(ceil_div(g.m, kColumnRun), 0.5 * static_cast<double>(kColumnRun * g.n), [&g, turned](index_t begin, index_t end) {
    const index_t first = begin * kColumnRun, count = min_of(g.m, end * kColumnRun) - first;
    store_turned(g, turned + first, turned_row(g), first, count, 0, static_cast<int>(g.n));
  });
}

}  // namespace
