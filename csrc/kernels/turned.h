// turned.h - products with a transposed b, turned around: c^T = b^T a^T.
//
// The rows of b are then what the rows of a are to a tile, and a is copied into panels, which is smaller: b would be transposed for
// as few rows of a. The lanes of a vector are rows of a. The chain of every element is the same.
#pragma once

#include "gemm_tiles.h"
#include "transposed.h"

namespace {

// What it saves is the copy of b, or where rows of b evict each other from the cache, reading their lines anew for each square of
// them. What it costs are empty lanes, the copy of a and transposing c. Of more rows b is used often enough.
constexpr index_t kFewTurnedRows = 10, kMostTurnedRows = 128, kTurnedColumns = 2 * kPanel;
inline bool turns(const Gemm& g) {
  if (g.b_row != 1 || g.b_col == 1 || g.bias || g.activation != Activation::linear || g.accumulate) return false;
  if (g.m > kMostTurnedRows || g.n < kTurnedColumns) return false;
  const index_t empty = round_up(g.m, kLanes) - g.m;
  const bool full = g.b_col % kEvictingStride == 0 ? g.m > kFewTurnedRows && 2 * empty <= g.m : 8 * empty <= g.m;
  return full && g.m * (g.k + 2 * g.n) <= g.k * g.n;
}

// c^T, in scratch memory: a tile of it is transposed as soon as it is done.
inline index_t turned_row(const Gemm& g) { return round_up(g.m, kLanes); }
inline index_t turned_size(const Gemm& g) { return round_up(g.n * turned_row(g), kLineFloats); }

inline Gemm turned(const Gemm& g) {
  Gemm t = {};
  t.a = g.b, t.a_row = g.b_col, t.a_col = g.b_row;
  t.b = g.a, t.b_row = g.a_col, t.b_col = g.a_row;
  t.c = g.scratch, t.ldc = turned_row(g);
  t.m = g.n, t.n = g.m, t.k = g.k;
  t.scratch = g.scratch ? g.scratch + turned_size(g) : nullptr, t.slots = g.slots;
  return t;
}

// Of c the rows from `row` on, and `height` columns from `column` on, from a tile of c^T whose rows are tile_row apart.
inline void store_turned(const Gemm& g, const float* tile, index_t tile_row, index_t row, index_t rows, index_t column,
                         int height) {
  const index_t ldc = g.ldc;
  float* const c = g.c + row * ldc + column;
  if (!g.relu_output) return transpose_rows(tile, tile_row, c, ldc, height, rows);
  const float* const y = g.relu_output + row * ldc + column;
  transpose(tile, tile_row, height, rows, [=]<class Value>(index_t i, index_t j, Value v) {
    typedef typename Unaligned<Value>::type Stored;
    *reinterpret_cast<Stored*>(c + i * ldc + j) = behind_relu(v, *reinterpret_cast<const Stored*>(y + i * ldc + j));
  });
}

}  // namespace
