// conv_tile.h - the register tile of convolutions: a product whose k runs over places that are not side by side.
//
// A convolution is a product of pixels and taps whose left matrix is never stored. Of a tile of it,
//   a[i, (o, r, p)] = a + i a_row + o a_outer + r a_run + p a_col,    b[(o, r, p)] = b + o b_outer + r b_run + p b_row,
// for o < outer, r < runs, p < length: in the forward pass i counts output pixels of a row, o filter rows, r taps that are not
// neighbors in memory, p values that are; in the filter's gradient i counts taps, o output rows, p the pixels of a row.
// The products are added up in this order, one chain fma(a, b, acc) per element, whatever the tile.
#pragma once

#include "gemm.h"

namespace {

struct RunTile {
  const float* a;
  index_t a_row, a_outer, a_run, a_col;
  const float* b;
  index_t b_outer, b_run, b_row;
  index_t outer, runs, length;
  float* c;
  index_t ldc;
  bool load_c;        // start from c instead of 0
  const float* bias;  // of the panel's first column, or null
  bool relu;
  int last;  // columns used of the last vector, 1..kLanes
};

using RunTileFunction = void (*)(const RunTile&);

// Partial: the last vector is not full; PartialLoad: and b ends there.
template <int Rows, int Vectors, bool Partial, bool PartialLoad>
void compute_run_tile(const RunTile& t) {
  vfloat acc[Rows][Vectors] = {};
  if (t.load_c) {
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) {
        const float* from = t.c + i * t.ldc + j * kLanes;
        acc[i][j] = Partial && j == Vectors - 1 ? load_partial(from, t.last) : load(from);
      }
    }
  }
  constexpr int kGroups = (Rows + 2) / 3;  // rows of a in groups of three, as in compute_tile
  const index_t s = t.a_row, a_col = t.a_col, b_row = t.b_row, length = t.length;
  for (index_t o = 0; o < t.outer; ++o) {
    for (index_t r = 0; r < t.runs; ++r) {
      const float* a[kGroups];
      const float* first = t.a + o * t.a_outer + r * t.a_run;
      FASTNN_UNROLL
      for (int g = 0; g < kGroups; ++g) a[g] = first + 3 * g * s;
      const float* b = t.b + o * t.b_outer + r * t.b_run;
      for (index_t p = 0; p < length; ++p) {
        vfloat row[Vectors];
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) {
          row[j] = PartialLoad && j == Vectors - 1 ? load_partial(b + j * kLanes, t.last) : load(b + j * kLanes);
        }
        FASTNN_UNROLL
        for (int i = 0; i < Rows; ++i) {
          const float value = a[i / 3][(i % 3) * s];
          FASTNN_UNROLL
          for (int j = 0; j < Vectors; ++j) acc[i][j] += value * row[j];
        }
        FASTNN_UNROLL
        for (int g = 0; g < kGroups; ++g) a[g] += a_col;
        b += b_row;
      }
    }
  }
  if (t.bias) {
    FASTNN_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      const bool part = Partial && j == Vectors - 1;
      const vfloat bias = part ? load_partial(t.bias + j * kLanes, t.last) : load(t.bias + j * kLanes);
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i) acc[i][j] += bias;
    }
  }
  if (t.relu) {
    const vfloat zero = {};
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] < zero ? zero : acc[i][j];
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      float* to = t.c + i * t.ldc + j * kLanes;
      if (Partial && j == Vectors - 1) {
        store_partial(to, acc[i][j], t.last);
      } else {
        store(to, acc[i][j]);
      }
    }
  }
}

template <int Vectors, bool Partial, bool PartialLoad>
struct RunTileTable {
  RunTileFunction function[kMaxRows + 1] = {};
  constexpr RunTileTable() { put<kMaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_run_tile<Rows, Vectors, Partial, PartialLoad>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

template <int Vectors>
struct RunTileTables {
  RunTileTable<Vectors, false, false> full;
  RunTileTable<Vectors, true, false> padded;
  RunTileTable<Vectors, true, true> exact;
};

constexpr RunTileTables<1> kOneVectorRuns;
constexpr RunTileTables<2> kTwoVectorRuns;
#if defined(__aarch64__)
constexpr RunTileTables<3> kThreeVectorRuns;
#endif

template <int Vectors>
RunTileFunction pick_runs(const RunTileTables<Vectors>& tables, int rows, bool partial, bool packed) {
  if (!partial) return tables.full.function[rows];
  return packed ? tables.padded.function[rows] : tables.exact.function[rows];
}

// The tile for so many rows and columns of b (at most a panel), which is padded with zeros if packed.
inline RunTileFunction run_tile_function(int rows, index_t columns, bool packed) {
  const bool partial = columns % kLanes != 0;
  const int vectors = static_cast<int>(ceil_div(columns, kLanes));
#if defined(__aarch64__)
  if (vectors == 3) return pick_runs(kThreeVectorRuns, rows, partial, packed);
#endif
  return vectors == 2 ? pick_runs(kTwoVectorRuns, rows, partial, packed) : pick_runs(kOneVectorRuns, rows, partial, packed);
}

}  // namespace
