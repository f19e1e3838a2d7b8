// conv_tile.h - the register tile of convolutions: a product whose k runs over places that are not side by side.
//
// A convolution is a product of pixels and taps whose left matrix is never stored. Of a tile of it,
//   a[i, (o, r, p)] = a + i a_row + o a_outer + r a_run + p a_col,    b[(o, r, p)] = b + o b_outer + r b_run + p b_row,
// for o < outer, r < runs, p < length: in the forward pass i counts output pixels of a row, o filter rows, r taps that are not
// neighbors in memory, p values that are; in the filter's gradient i counts taps, o output rows, p the pixels of a row.
// The products are added up in this order, one chain fma(a, b, acc) per element, whatever the tile.
#pragma once

#include "conv_shape.h"
#include "gemm.h"

namespace {

struct RunTile {
  const float* a;
  index_t a_row, a_outer, a_run, a_col;
  index_t a_line;  // of a grid (conv_grid.h): between its lines
  const float* b;
  index_t b_outer, b_run, b_row;
  index_t outer, runs, length;
  float* c;
  index_t ldc;
  index_t c_run;      // of a gradient that slides (conv_sliding.h): between its taps
  bool load_c;        // start from c instead of 0
  const float* bias;  // of the panel's first column, or null
  bool relu;
  const float* relu_output;  // the place of c in what c's relu derivative is taken of, or null
  Ahead *a_ahead, *b_ahead;  // of a gradient: fetched at every step of o
  int last;                  // columns used of the last vector, 1..kLanes: set by run_tile

  void fetch() const {
    if (a_ahead) a_ahead->fetch(), b_ahead->fetch();
  }
};

using RunTileFunction = void (*)(const RunTile&);

// The last vector of a panel, if it is not full: a whole one, or one half as wide where the instruction set has both, for that may
// cost half as much.
struct NoTail {
  static constexpr bool kUsed = false;
  typedef vfloat Vector;
  static Vector get(const float*, int) { return Vector{}; }
  static void put(float*, Vector, int) {}
};

struct WideTail {
  static constexpr bool kUsed = true;
  typedef vfloat Vector;
  static Vector get(const float* p, int count) { return load_partial(p, count); }
  static void put(float* p, Vector v, int count) { store_partial(p, v, count); }
};

#if defined(__AVX512F__)
struct NarrowTail {
  static constexpr bool kUsed = true;
  typedef float Vector __attribute__((vector_size(32)));
  static __mmask8 mask(int count) { return static_cast<__mmask8>((1u << count) - 1); }
  static Vector get(const float* p, int count) { return (Vector)_mm256_maskz_loadu_ps(mask(count), p); }
  static void put(float* p, Vector v, int count) { _mm256_mask_storeu_ps(p, mask(count), (__m256)v); }
};
constexpr int kNarrowLanes = 8;
#else
using NarrowTail = WideTail;
constexpr int kNarrowLanes = 0;
#endif

// Rows of a in groups: one moving pointer serves seven rows, at distances that the address unit makes of three registers.
constexpr int kGroup = 7;
inline const float* row_of(const float* p, int i, index_t s, index_t s3, index_t s5) {
  const char* q = reinterpret_cast<const char*>(p);
  const index_t offset = i == 0 ? 0 : i == 1 ? s : i == 2 ? 2 * s : i == 3 ? s3 : i == 4 ? 4 * s : i == 5 ? s5 : 2 * s3;
  return reinterpret_cast<const float*>(q + offset);
}

// The sums of Rows x (Vectors whole vectors and a tail).
template <int Rows, int Vectors, class Tail>
struct RunSums {
  static constexpr int kWhole = Vectors * kLanes;
  vfloat acc[Rows][Vectors + 1];  // the last column is not used
  typename Tail::Vector tail[Rows];

  FASTNN_INLINE void load_from(const float* c, index_t ldc, int last) {
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i, c = opaque(c + ldc)) {
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) acc[i][j] = load(c + j * kLanes);
      if constexpr (Tail::kUsed) tail[i] = Tail::get(c + kWhole, last);
    }
  }
  FASTNN_INLINE void store_to(float* c, index_t ldc, int last) const {
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i, c = opaque(c + ldc)) {
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) store(c + j * kLanes, acc[i][j]);
      if constexpr (Tail::kUsed) Tail::put(c + kWhole, tail[i], last);
    }
  }
  // Adds the bias, applies the relu or takes its derivative, and stores.
  FASTNN_INLINE void finish(const RunTile& t) {
    if (t.bias) {
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i) {
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[i][j] += load(t.bias + j * kLanes);
        if constexpr (Tail::kUsed) tail[i] += Tail::get(t.bias + kWhole, t.last);
      }
    }
    if (t.relu) {
      const vfloat zero = {};
      const typename Tail::Vector zero_tail = {};
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i) {
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[i][j] = acc[i][j] < zero ? zero : acc[i][j];
        if constexpr (Tail::kUsed) tail[i] = tail[i] < zero_tail ? zero_tail : tail[i];
      }
    }
    if (const float* y = t.relu_output) {
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i, y = opaque(y + t.ldc)) {
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) acc[i][j] = behind_relu(acc[i][j], load(y + j * kLanes));
        if constexpr (Tail::kUsed) tail[i] = behind_relu(tail[i], Tail::get(y + kWhole, t.last));
      }
    }
    store_to(t.c, t.ldc, t.last);
  }
};

// Rows x (Vectors whole vectors and a tail of which t.last lanes are used).
template <int Rows, int Vectors, class Tail>
void compute_run_tile(const RunTile& t) {
  constexpr int kWhole = Vectors * kLanes;
  RunSums<Rows, Vectors, Tail> sums = {};
  auto& acc = sums.acc;
  auto& tail = sums.tail;
  if (t.load_c) sums.load_from(t.c, t.ldc, t.last);
  constexpr int kGroups = (Rows + kGroup - 1) / kGroup;
  const index_t s = t.a_row * sizeof(float), s3 = 3 * s, s5 = 5 * s, a_col = t.a_col, b_row = t.b_row, length = t.length;
  const int last = t.last;
  const float *a_outer = t.a, *b_outer = t.b;
  for (index_t o = t.outer; o > 0; --o, a_outer += t.a_outer, b_outer += t.b_outer) {
    t.fetch();
    const float *a_run = a_outer, *b_run = b_outer;
    for (index_t r = t.runs; r > 0; --r, a_run += t.a_run, b_run += t.b_run) {
      const float *a[kGroups], *b = b_run;
      a[0] = a_run;
      FASTNN_UNROLL
      for (int g = 1; g < kGroups; ++g) a[g] = a[g - 1] + kGroup * t.a_row;
      for (index_t p = length; p > 0; --p) {
        vfloat row[Vectors + 1];
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
        const typename Tail::Vector row_tail = Tail::get(b + kWhole, last);
        FASTNN_UNROLL
        for (int i = 0; i < Rows; ++i) {
          const float value = *row_of(a[i / kGroup], i % kGroup, s, s3, s5);
          FASTNN_UNROLL
          for (int j = 0; j < Vectors; ++j) acc[i][j] += value * row[j];
          if constexpr (Tail::kUsed) tail[i] += value * row_tail;
        }
        FASTNN_UNROLL
        for (int g = 0; g < kGroups; ++g) a[g] += a_col;
        b += b_row;
      }
    }
  }
  sums.finish(t);
}

// Tiles of a single vector have room for twice the rows, which pays where few products share the cost of a tile.
constexpr int kMaxThinRows = 2 * kMaxRows;
constexpr index_t kFewProducts = 64;
inline int most_rows(index_t columns, index_t products) {
  return columns <= kLanes && products < kFewProducts ? kMaxThinRows : kMaxRows;
}

// The tiles of this file; a kind says how many vectors and rows its tiles have, and which function makes one.
struct RunTiles {
  static constexpr int kVectors = kMaxVectors;
  template <int Vectors, class Tail>
  static constexpr int kRows = Vectors + Tail::kUsed > 1 ? kMaxRows : kMaxThinRows;
  template <int Rows, int Vectors, class Tail>
  static constexpr RunTileFunction kFunction = compute_run_tile<Rows, Vectors, Tail>;
};

template <class Kind, int Vectors, class Tail>
struct RunTileTable {
  static constexpr int kRows = Kind::template kRows<Vectors, Tail>;
  RunTileFunction function[kRows + 1] = {};
  constexpr RunTileTable() { put<kRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = Kind::template kFunction<Rows, Vectors, Tail>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

// For panels with so many vectors before the last one.
template <class Kind, int Before>
struct RunTileTables {
  RunTileTable<Kind, Before + 1, NoTail> full;
  RunTileTable<Kind, Before, WideTail> wide;
  RunTileTable<Kind, Before, NarrowTail> narrow;

  RunTileFunction pick(int rows, int last) const {
    if (last == kLanes) return full.function[rows];
    return last <= kNarrowLanes ? narrow.function[rows] : wide.function[rows];
  }
};

template <class Kind, int Before>
constexpr RunTileTables<Kind, Before> kRunTiles;

// Runs the tile for so many rows and columns (at most a panel, and the kind's vectors).
template <class Kind = RunTiles>
inline void run_tile(RunTile& t, int rows, index_t columns) {
  t.last = static_cast<int>((columns - 1) % kLanes + 1);
  const index_t before = (columns - 1) / kLanes;
  if constexpr (Kind::kVectors > 2) {
    if (before == 2) return kRunTiles<Kind, 2>.pick(rows, t.last)(t);
  }
  if constexpr (Kind::kVectors > 1) {
    if (before == 1) return kRunTiles<Kind, 1>.pick(rows, t.last)(t);
  }
  kRunTiles<Kind, 0>.pick(rows, t.last)(t);
}

}  // namespace
