// dense_few.h - one or two rows times weights, the same sums as of matrix tiles (pieces.h), by multiply-adds.
//
// For so few rows tiles would be mostly empty, and to store the pieces of weights would take longer than to use them at once. All
// weights of a step are read in the order of memory, kPieceTerms rows side by side.
#pragma once

#include "dense_finish.h"

namespace {

constexpr index_t kFewDenseRows = 2;

#if defined(__AMX_BF16__)

inline bool has_few_dense_rows(const Gemm& g) { return g.m <= kFewDenseRows; }

// The pieces of the rows, as float32: of each step kPieceTerms first ones, second and third ones of each row.
constexpr index_t kRowPieces = kPieces * kPieceTerms;
inline index_t few_dense_scratch(const Gemm& g) { return g.m * ceil_div(g.k, kPieceTerms) * kRowPieces; }
inline void cut_few_rows(const Gemm& g) {
  float* to = g.scratch;
  for (index_t p0 = 0; p0 < g.k; p0 += kPieceTerms) {
    for (index_t i = 0; i < g.m; ++i, to += kRowPieces) {
      for (index_t half = 0; half < kPieceTerms; half += kLanes) {
        const index_t left = g.k - p0 - half;
        vfloat v = {};
        if (left > 0) v = load_partial(g.a + i * g.a_row + p0 + half, static_cast<int>(min_of(kLanes, left)));
        for (index_t piece = 0; piece < kPieces; ++piece) {
          const vfloat part = piece + 1 < kPieces ? (vfloat)(((vbits)v + 0x8000u) & kUpperHalf) : v;
          store(to + piece * kPieceTerms + half, part);
          v -= part;
        }
      }
    }
  }
}

inline bool are_zero(const float* values, index_t n) {
  vbits any = {};
  for (index_t i = 0; i < n; i += kLanes) any |= (vbits)load(values + i) & 0x7fffffffu;
  return !_mm512_test_epi32_mask((__m512i)any, (__m512i)any);
}

// What is added to one vector of columns by a step: for each pair of pieces two chains, of which the second has the terms from
// kTileSide on. The pairs' order is that of the tiles.
template <int Rows>
struct FewChains {
  static constexpr int kLefts[kPairs] = {0, 0, 1, 1, 2, 0}, kRights[kPairs] = {2, 1, 1, 0, 0, 0};
  vfloat sum[2][Rows][kPairs] = {};

  FASTNN_INLINE void add(int chain, const float* x, vfloat w) {
    vfloat pieces[kPieces];
    FASTNN_UNROLL
    for (int i = 0; i < kPieces; ++i) {
      pieces[i] = i + 1 < kPieces ? (vfloat)((vbits)w & kUpperHalf) : w;
      w -= pieces[i];
    }
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTNN_UNROLL
      for (int q = 0; q < kPairs; ++q) {
        sum[chain][i][q] = multiply_add(x[i * kRowPieces + kLefts[q] * kPieceTerms], pieces[kRights[q]], sum[chain][i][q]);
      }
    }
  }
  FASTNN_INLINE vfloat add_to(vfloat y, int row) const {
    FASTNN_UNROLL
    for (int q = 0; q < kPairs; ++q) y += sum[0][row][q] + sum[1][row][q];
    return y;
  }
};

constexpr index_t kFewAhead = 8 * kLineFloats;  // of a row of weights, fetched meanwhile

// Columns [begin, end).
template <int Rows>
void multiply_few_dense(const Gemm& g, index_t begin, index_t end) {
  for (index_t p0 = 0; p0 < g.k; p0 += kPieceTerms) {
    const index_t terms = min_of(kPieceTerms, g.k - p0);
    const float* const x = g.scratch + p0 * Rows * kPieces;
    if (p0 > 0 && g.skip_zeros && are_zero(x, Rows * kRowPieces)) continue;
    for (index_t j = begin; j < end; j += kLanes) {
      const int count = static_cast<int>(min_of(kLanes, end - j));
      FewChains<Rows> chains;
      const float* w = g.b + p0 * g.b_row + j;
      for (index_t p = 0; p < min_of(kTileSide, terms); ++p, w += g.b_row) {
        const float* const second = w + kTileSide * g.b_row;
        chains.add(0, x + p, load_partial(w, count));
        __builtin_prefetch(w + kFewAhead, 0, 3);
        if (p + kTileSide >= terms) continue;
        chains.add(1, x + p + kTileSide, load_partial(second, count));
        __builtin_prefetch(second + kFewAhead, 0, 3);
      }
      for (int i = 0; i < Rows; ++i) {
        float* const c = g.c + i * g.ldc + j;
        store_partial(c, chains.add_to(p0 > 0 ? load_partial(c, count) : vfloat{}, i), count);
      }
    }
  }
}

inline void few_dense_rows(const Gemm& g) {
  cut_few_rows(g);
  const DenseFinish finish(g);
  const bool rows_fit = finish.rows_fit(0, g.m);
  // One run of columns for each thread: the longer they are, the better prefetchers follow.
  const index_t panels = ceil_div(g.n, kSide), runs = min_of(panels, fastnn::num_threads());
  parallel_for(runs, 0.5 * static_cast<double>(g.k * g.n) / static_cast<double>(runs), [&](index_t begin, index_t end) {
    const index_t j0 = begin * panels / runs * kSide, j1 = min_of(g.n, end * panels / runs * kSide);
    g.m == 1 ? multiply_few_dense<1>(g, j0, j1) : multiply_few_dense<2>(g, j0, j1);
    for (index_t j = j0; j < j1; j += kSide) {
      finish.settle({g.c + j, g.ldc, 0, g.m, j, min_of(kSide, j1 - j), true, rows_fit});
    }
  });
}

#endif

}  // namespace
