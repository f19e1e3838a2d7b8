// transposed.h - products of few rows with a transposed b: squares of b are transposed in registers and used at once, because
// copying all of b would cost more than the product.
#pragma once

#include "pack.h"

namespace {

// What a transposed tile computes: c (rows x columns) = a b, by the chains of tile.h. a is packed (pack_rows), element (p, j) of b
// is b[p + j * b_col].
struct TransposedTile {
  const float* a;
  const float* b;
  index_t b_col;
  float* c;
  index_t ldc;
  index_t k;
  bool load_c;
  index_t ahead = 0;  // how far ahead rows of b are fetched, or 0
};

using TransposedFunction = void (*)(const TransposedTile&);

template <int Rows, class Vector>
FASTNN_INLINE void add_column(Vector (&acc)[Rows], const float* a, Vector column) {
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) acc[i] = multiply_add(a[i], column, acc[i]);
}

// Rows x (Count * the lanes of a vector), Step terms of each vector in turn.
template <int Rows, int Count, class Vector, int Step>
void compute_transposed(const TransposedTile& t) {
  typedef typename Unaligned<Vector>::type Stored;
  constexpr int kWidth = sizeof(Vector) / sizeof(float);
  Vector acc[Count][Rows] = {};
  const index_t b_col = t.b_col, ldc = t.ldc;
  if (t.load_c) {
    FASTNN_UNROLL
    for (int s = 0; s < Count; ++s) {
      const float* c = opaque(t.c + s * kWidth);
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i, c = opaque(c + ldc)) acc[s][i] = *reinterpret_cast<const Stored*>(c);
    }
  }
  const index_t whole = t.k / 4 * 4, stepped = t.k / Step * Step;
  const float *a = t.a, *b = t.b;
  const auto add_terms = [&](int terms) {
    const float* rows = b;
    FASTNN_UNROLL
    for (int s = 0; s < Count; ++s, rows = opaque(rows + kWidth * b_col)) {
      FASTNN_UNROLL
      for (int p = 0; p < terms; p += 4) {
        Vector column[4];
        load_transposed(rows + p, b_col, column);
        FASTNN_UNROLL
        for (int q = 0; q < 4; ++q) add_column<Rows>(acc[s], a + (p + q) * Rows, column[q]);
      }
    }
    a += terms * Rows;
    b += terms;
  };
  index_t p = 0;
  if (t.ahead) {
    for (const float* ahead = b + t.ahead; p + kLineFloats <= t.k; p += kLineFloats, ahead += kLineFloats) {
      const float* next = ahead;
      FASTNN_UNROLL
      for (int j = 0; j < Count * kWidth; ++j, next = opaque(next + b_col)) __builtin_prefetch(next, 0, 2);
      FASTNN_UNROLL
      for (int q = 0; q < kLineFloats; q += Step) add_terms(Step);
    }
  }
  for (; p < stepped; p += Step) add_terms(Step);
  for (; p < whole; p += 4) add_terms(4);
  for (; p < t.k; ++p, a += Rows, ++b) {
    FASTNN_UNROLL
    for (int s = 0; s < Count; ++s) {
      Vector column;
      FASTNN_UNROLL
      for (int j = 0; j < kWidth; ++j) column[j] = b[(s * kWidth + j) * b_col];
      add_column<Rows>(acc[s], a, column);
    }
  }
  FASTNN_UNROLL
  for (int s = 0; s < Count; ++s) {
    float* c = opaque(t.c + s * kWidth);
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i, c = opaque(c + ldc)) *reinterpret_cast<Stored*>(c) = acc[s][i];
  }
}

// Four terms of each vector in turn: more of one would fill the schedulers with a single chain.
constexpr int kUsualStep = 4;
// But where rows of b evict each other all that a cache line has is used at once.
constexpr int kLineStep = kLineFloats;

template <int Count, int MaxRows, class Vector = vsquare, int Step = kUsualStep>
struct TransposedTable {
  TransposedFunction function[MaxRows + 1] = {};
  constexpr TransposedTable() { put<MaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_transposed<Rows, Count, Vector, Step>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

// One square, or two, are too few chains for so few rows. With more rows a value of a is best used for a whole vector.
constexpr int kPairRows = 3, kQuadRows = 2;
constexpr index_t kNearFloats = 1 << 20;   // four megabytes of b
constexpr index_t kEvictingStride = 1024;  // rows so far apart evict each other from the cache if there are more than eight of them
constexpr TransposedTable<1, kMaxRows> kTransposedTiles;
constexpr TransposedTable<2, kPairRows> kTransposedPairs;
constexpr TransposedTable<2, kPairRows, vsquare, kLineStep> kTransposedLines;
constexpr TransposedTable<4, kQuadRows> kTransposedQuads;
#if defined(__AVX512F__)
constexpr TransposedTable<1, kMaxRows, vfloat> kTransposedVectors;
#endif

// Fewer columns than a square, at the end of b: a square that ends there, of which these are kept.
inline void multiply_last_columns(TransposedTile tile, int height, index_t columns) {
  float square[kMaxRows * kSquare] = {};
  const TransposedTile all = tile;
  float* kept = square + kSquare - columns;
  for (int i = 0; i < height && all.load_c; ++i) {
    for (index_t j = 0; j < columns; ++j) kept[i * kSquare + j] = all.c[i * all.ldc + j];
  }
  tile.b -= (kSquare - columns) * tile.b_col;
  tile.c = square, tile.ldc = kSquare, tile.load_c = true;
  kTransposedTiles.function[height](tile);
  for (int i = 0; i < height; ++i) {
    for (index_t j = 0; j < columns; ++j) all.c[i * all.ldc + j] = kept[i * kSquare + j];
  }
}

// c (height x n) = a b for a packed a of one tile. Before b there are so many columns more that at least a square can be read.
inline void multiply_transposed(const TransposedTile& all, int height, index_t n) {
  TransposedTile tile = all;
  index_t j = 0;
  const auto columns_by = [&](int width, TransposedFunction function) {
    for (; j + width <= n; j += width) {
      tile.b = all.b + j * all.b_col, tile.c = all.c + j;
      function(tile);
    }
  };
  const bool apart = all.b_col % kEvictingStride != 0;
  // Half of that distance suffices for twice as many rows; and prefetchers follow fewer better from afar.
  if (height <= kQuadRows && all.b_col % (kEvictingStride / 2) != 0 && all.k * n <= kNearFloats) {
    columns_by(4 * kSquare, kTransposedQuads.function[height]);
  }
#if defined(__AVX512F__)
  if (height >= kPairRows && apart) columns_by(kLanes, kTransposedVectors.function[height]);
#endif
  if (height <= kPairRows) columns_by(2 * kSquare, apart ? kTransposedPairs.function[height] : kTransposedLines.function[height]);
  for (; j < n; j += kSquare) {
    tile.b = all.b + j * all.b_col, tile.c = all.c + j;
    if (n - j < kSquare) return multiply_last_columns(tile, height, n - j);
    kTransposedTiles.function[height](tile);
  }
}

// One row, some columns: sum[j] = sum over p of a[p] column[j][p].
template <int Count, int Step>
void compute_listed(const float* a, const float* const* column, index_t k, float* sum) {
  vsquare acc[Count][1] = {};
  const index_t whole = k / 4 * 4, stepped = k / Step * Step;
  const auto add_terms = [&](index_t first, int terms) {
    FASTNN_UNROLL
    for (int s = 0; s < Count; ++s) {
      FASTNN_UNROLL
      for (int i = 0; i < terms; i += 4) {
        const index_t p = first + i;
        vsquare part[4];
        load_transposed([=](int j) { return column[s * kSquare + j] + p; }, part);
        FASTNN_UNROLL
        for (int q = 0; q < 4; ++q) add_column<1>(acc[s], a + p + q, part[q]);
      }
    }
  };
  for (index_t p = 0; p < stepped; p += Step) add_terms(p, Step);
  for (index_t p = stepped; p < whole; p += 4) add_terms(p, 4);
  for (index_t p = whole; p < k; ++p) {
    FASTNN_UNROLL
    for (int s = 0; s < Count; ++s) {
      vsquare part;
      FASTNN_UNROLL
      for (int j = 0; j < kSquare; ++j) part[j] = column[s * kSquare + j][p];
      add_column<1>(acc[s], a + p, part);
    }
  }
  FASTNN_UNROLL
  for (int s = 0; s < Count; ++s) *reinterpret_cast<Unaligned<vsquare>::type*>(sum + s * kSquare) = acc[s][0];
}

// c (1 x n) = a b where wanted[j] > 0, 0 elsewhere; a is one row.
inline void multiply_wanted(const TransposedTile& t, const float* wanted, index_t n) {
  constexpr index_t kMost = 4 * kSquare;
  const index_t most = t.b_col % (kEvictingStride / 2) != 0 ? kMost : kMost / 2;
  const auto compute_half = t.b_col % kEvictingStride != 0 ? compute_listed<2, kUsualStep> : compute_listed<2, kLineStep>;
  const float* column[kMost];
  index_t place[kMost];
  index_t count = 0;
  const auto flush = [&] {
    const index_t width = count > kMost / 2 ? kMost : count > kSquare ? kMost / 2 : kSquare;
    for (index_t j = count; j < width; ++j) column[j] = column[0];
    float sum[kMost];
    (width == kMost    ? compute_listed<4, kUsualStep>
     : width > kSquare ? compute_half
                       : compute_listed<1, kUsualStep>)(t.a, column, t.k, sum);
    for (index_t j = 0; j < count; ++j) t.c[place[j]] = sum[j];
    count = 0;
  };
  for (index_t j = 0; j < n; ++j) {
    t.c[j] = 0.0f;
    if (!(wanted[j] > 0.0f)) continue;
    column[count] = t.b + j * t.b_col, place[count] = j;
    if (++count == most) flush();
  }
  if (count > 0) flush();
}

}  // namespace
