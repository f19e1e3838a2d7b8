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
};

using TransposedFunction = void (*)(const TransposedTile&);

template <int Rows>
FASTNN_INLINE void add_column(vsquare (&acc)[Rows], const float* a, vsquare column) {
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) acc[i] = multiply_add(a[i], column, acc[i]);
}

// Rows x (Squares * kSquare).
template <int Rows, int Squares>
void compute_transposed(const TransposedTile& t) {
  vsquare acc[Squares][Rows] = {};
  const index_t b_col = t.b_col, ldc = t.ldc;
  float* const c = t.c;
  if (t.load_c) {
    FASTNN_UNROLL
    for (int s = 0; s < Squares; ++s) {
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i) acc[s][i] = *reinterpret_cast<const vsquare_unaligned*>(c + i * ldc + s * kSquare);
    }
  }
  const index_t whole = t.k / kSquare * kSquare;
  const float *a = t.a, *b = t.b;
  for (index_t p = 0; p < whole; p += kSquare) {
    const float* rows = b;
    FASTNN_UNROLL
    for (int s = 0; s < Squares; ++s, rows = opaque(rows + kSquare * b_col)) {
      vsquare column[kSquare];
      load_transposed(rows, b_col, column);
      FASTNN_UNROLL
      for (int q = 0; q < kSquare; ++q) add_column<Rows>(acc[s], a + q * Rows, column[q]);
    }
    a += kSquare * Rows;
    b += kSquare;
  }
  for (index_t p = whole; p < t.k; ++p, a += Rows, ++b) {
    FASTNN_UNROLL
    for (int s = 0; s < Squares; ++s) {
      vsquare column;
      FASTNN_UNROLL
      for (int j = 0; j < kSquare; ++j) column[j] = b[(s * kSquare + j) * b_col];
      add_column<Rows>(acc[s], a, column);
    }
  }
  FASTNN_UNROLL
  for (int s = 0; s < Squares; ++s) {
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) *reinterpret_cast<vsquare_unaligned*>(c + i * ldc + s * kSquare) = acc[s][i];
  }
}

template <int Squares, int MaxRows>
struct TransposedTable {
  TransposedFunction function[MaxRows + 1] = {};
  constexpr TransposedTable() { put<MaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_transposed<Rows, Squares>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

// One square, or two, are too few chains for so few rows.
constexpr int kPairRows = 3, kQuadRows = 2;
constexpr TransposedTable<1, kMaxRows> kTransposedTiles;
constexpr TransposedTable<2, kPairRows> kTransposedPairs;
constexpr TransposedTable<4, kQuadRows> kTransposedQuads;

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
  // Rows of b whose distance is a multiple of four kilobytes evict each other from the cache if there are more than eight.
  if (all.b_col % 1024 != 0) {
    if (height <= kQuadRows) columns_by(4 * kSquare, kTransposedQuads.function[height]);
    if (height <= kPairRows) columns_by(2 * kSquare, kTransposedPairs.function[height]);
  }
  for (; j < n; j += kSquare) {
    tile.b = all.b + j * all.b_col, tile.c = all.c + j;
    if (n - j < kSquare) return multiply_last_columns(tile, height, n - j);
    kTransposedTiles.function[height](tile);
  }
}

}  // namespace
