// tile.h - the register tile of matrix products.
//
// A tile keeps rows x vectors accumulators in registers for the whole k loop: each step loads one row of b and multiplies it by one
// broadcast value per row of a. Every output element is therefore the chain fma(a_p, b_p, acc) for p = 0, 1, ..., whatever the
// tile: its bits depend on its row of a and its column of b alone.
//
// The usual tile is kMaxRows high and a panel wide. Few rows need more vectors instead: otherwise there are too few chains to hide
// the latency of a multiply-add, and too short runs of b for the prefetchers.
#pragma once

#include "activation.h"
#include "simd.h"

#define FASTNN_INLINE inline __attribute__((always_inline))

namespace {

using fastnn::Activation;

constexpr index_t kPanel = kMaxVectors * kLanes;

// dx times the derivative of the relu that gave y, as apply_relu_slope.
template <class Vector>
inline Vector behind_relu(Vector dx, Vector y) {
  const Vector zero = {};
  return y > zero ? dx : zero;
}

// What is done to a finished tile: bias and relu in registers, any other activation or a relu's derivative on the stored rows.
struct Epilogue {
  const float* bias;  // or null
  Activation activation;
  float alpha;
  const float* relu_output;  // laid out like c, or null
  const float* c;
};

constexpr Epilogue kNoEpilogue = {nullptr, Activation::linear, 0.0f, nullptr, nullptr};

struct Tile {
  const float* a;
  index_t a_row, a_col;  // one of them is 1
  const float* b;
  const std::int32_t* b_listed;  // the rows of the panel that are used, or null
  index_t b_row;                 // distance between rows of the panel
  const float* ahead;            // what is fetched meanwhile, as much at every step as a row of b has here, or null
  index_t ahead_row;             // distance between the parts
  float* c;
  index_t ldc;
  index_t k;
  bool load_c;        // start from c instead of 0
  const float* bias;  // of the tile's first column, or null
  bool relu;
  int last;  // columns used of the last vector, 1..kLanes
};

using TileFunction = void (*)(const Tile&);

// The last vector of a tile: whole; partial, with b padded by zeros or not to be read beyond its end; or of half the width, which
// may cost half as much.
struct WholeVector {
  typedef vfloat Vector;
  static Vector get_b(const float* p, int) { return load(p); }
  static Vector get(const float* p, int) { return load(p); }
  static void put(float* p, Vector v, int) { store(p, v); }
};

struct PartialVector {
  typedef vfloat Vector;
  static Vector get_b(const float* p, int count) { return load_partial(p, count); }
  static Vector get(const float* p, int count) { return load_partial(p, count); }
  static void put(float* p, Vector v, int count) { store_partial(p, v, count); }
};

struct PaddedVector : PartialVector {
  static Vector get_b(const float* p, int) { return load(p); }
};

#if defined(__AVX512F__)
constexpr int kHalfLanes = 8;
typedef float vhalf __attribute__((vector_size(32)));

inline vhalf multiply_add(float a, vhalf b, vhalf c) { return (vhalf)_mm256_fmadd_ps(_mm256_set1_ps(a), (__m256)b, (__m256)c); }

struct HalfVector {
  typedef vhalf Vector;
  static __mmask8 mask(int count) { return static_cast<__mmask8>((1u << count) - 1); }
  static Vector get_b(const float* p, int count) { return get(p, count); }
  static Vector get(const float* p, int count) { return (Vector)_mm256_maskz_loadu_ps(mask(count), p); }
  static void put(float* p, Vector v, int count) { _mm256_mask_storeu_ps(p, mask(count), (__m256)v); }
};
#else
constexpr int kHalfLanes = 0;
using HalfVector = PartialVector;
#endif

// The same pointer, of which the compiler knows nothing: it would keep one for every row of a matrix, more than there are
// registers.
template <class T>
FASTNN_INLINE T* opaque(T* pointer) {
  asm("" : "+r"(pointer));
  return pointer;
}

// Keeps a value that is used often from being loaded again for every use.
template <class Vector>
FASTNN_INLINE void keep_in_register(Vector& v) {
#if defined(__aarch64__)
  asm("" : "+w"(v));
#else
  asm("" : "+v"(v));
#endif
}

// The accumulators of Rows x (Before whole vectors and a last one).
template <int Rows, int Before, class Last>
struct Accumulators {
  vfloat sum[Rows][Before + 1];  // the last column is not used
  typename Last::Vector last[Rows];
};

// Rows of b that are far from each other are on other pages, where the prefetchers do not follow: they are fetched by hand, into
// the second-level cache, as a few of them at the same offset of a page are all that the first one holds. With fewer rows of a
// there is no time for it, and the prefetchers follow the wider rows of b.
constexpr int kFetchedRows = 4;
// With rows 16 kB apart more would evict each other from the second-level cache, too.
inline index_t rows_ahead(index_t b_row) { return b_row % 4096 == 0 ? 32 : 64; }

template <int Columns>
FASTNN_INLINE void fetch_row(const float* row) {
  FASTNN_UNROLL
  for (int j = 0; j < Columns; j += kLineFloats) __builtin_prefetch(row + j, 0, 2);
  __builtin_prefetch(row + Columns - 1, 0, 2);  // a line more if it does not begin with one
}

// One step of the chains. Rows of a go in groups of three: one moving pointer serves three rows at the offsets 0, s, 2 s, which the
// address unit adds for free.
template <int Rows>
constexpr int kPointers = (Rows + 2) / 3;

template <int Rows, int Before, class Last>
FASTNN_INLINE void add_step(Accumulators<Rows, Before, Last>& acc, const float* const (&a)[kPointers<Rows>], index_t a_row,
                            const float* b, int count) {
  vfloat row[Before + 1];
  FASTNN_UNROLL
  for (int j = 0; j < Before; ++j) {
    row[j] = load(b + j * kLanes);
    if constexpr (Rows > 1) keep_in_register(row[j]);
  }
  typename Last::Vector row_last = Last::get_b(b + Before * kLanes, count);
  if constexpr (Rows > 1) keep_in_register(row_last);
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) {
    const float value = a[i / 3][(i % 3) * a_row];
    FASTNN_UNROLL
    for (int j = 0; j < Before; ++j) acc.sum[i][j] = multiply_add(value, row[j], acc.sum[i][j]);
    acc.last[i] = multiply_add(value, row_last, acc.last[i]);
  }
}

// k steps.
template <int Rows, int Before, class Last>
FASTNN_INLINE void add_products(Accumulators<Rows, Before, Last>& acc, const Tile& t, index_t a_row, index_t a_col) {
  const float* a[kPointers<Rows>];
  FASTNN_UNROLL
  for (int g = 0; g < kPointers<Rows>; ++g) a[g] = t.a + 3 * g * a_row;
  const float* b = t.b;
  const float* ahead = t.ahead;
  const index_t ahead_row = t.ahead_row;
  const bool fetches = Rows >= kFetchedRows && ahead;
  const int count = t.last;
  for (index_t p = t.k; p > 0; --p) {
    if (fetches) {
      fetch_row<(Before + 1) * kLanes>(ahead);
      ahead += ahead_row;
    }
    add_step(acc, a, a_row, b, count);
    FASTNN_UNROLL
    for (int g = 0; g < kPointers<Rows>; ++g) a[g] += a_col;
    b += t.b_row;
  }
}

// The same with the rows of b that are listed, and a packed.
constexpr int kListedRows = 3;

template <int Rows, int Before, class Last>
FASTNN_INLINE void add_listed_products(Accumulators<Rows, Before, Last>& acc, const Tile& t) {
  const int count = t.last;
  for (index_t p = 0; p < t.k; ++p) add_step(acc, {t.a + p * Rows}, 1, t.b + t.b_listed[p] * t.b_row, count);
}

// The products of a tile. The constant stride spares the inner loop a register.
template <int Rows, int Before, class Last>
FASTNN_INLINE void add_all_products(Accumulators<Rows, Before, Last>& acc, const Tile& t) {
  if constexpr (Rows <= kListedRows) {
    if (t.b_listed) return add_listed_products(acc, t);
  }
  if (t.a_row == 1) return add_products(acc, t, 1, t.a_col);
  add_products(acc, t, t.a_row, 1);
}

template <int Rows, int Before, class Last>
FASTNN_INLINE void add_bias(Accumulators<Rows, Before, Last>& acc, const float* bias, int count) {
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < Before; ++j) acc.sum[i][j] += load(bias + j * kLanes);
    acc.last[i] += Last::get(bias + Before * kLanes, count);
  }
}

template <int Rows, int Before, class Last>
FASTNN_INLINE void apply_relu(Accumulators<Rows, Before, Last>& acc) {
  const vfloat zero = {};
  const typename Last::Vector zero_last = {};
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i) {
    FASTNN_UNROLL
    for (int j = 0; j < Before; ++j) acc.sum[i][j] = acc.sum[i][j] < zero ? zero : acc.sum[i][j];
    acc.last[i] = acc.last[i] < zero_last ? zero_last : acc.last[i];
  }
}

template <int Rows, int Before, class Last>
void compute_tile(const Tile& t) {
  Accumulators<Rows, Before, Last> acc = {};
  const int count = t.last;
  const bool relu = t.relu;
  if (t.load_c) {
    const float* row = t.c;
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i, row = opaque(row + t.ldc)) {
      FASTNN_UNROLL
      for (int j = 0; j < Before; ++j) acc.sum[i][j] = load(row + j * kLanes);
      acc.last[i] = Last::get(row + Before * kLanes, count);
    }
  }
  add_all_products(acc, t);
  if (t.bias) add_bias(acc, t.bias, count);
  if (relu) apply_relu(acc);
  float* row = t.c;
  const index_t ldc = t.ldc;
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i, row = opaque(row + ldc)) {
    FASTNN_UNROLL
    for (int j = 0; j < Before; ++j) store(row + j * kLanes, acc.sum[i][j]);
    Last::put(row + Before * kLanes, acc.last[i], count);
  }
}

// One function per tile height, so that no row is computed in vain.
template <int Before, class Last>
struct TileTable {
  TileFunction function[kMaxRows + 1] = {};
  constexpr TileTable() { put<kMaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_tile<Rows, Before, Last>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

// For tiles with so many vectors before the last one.
template <int Before>
struct TileTables {
  TileTable<Before, WholeVector> whole;
  TileTable<Before, PaddedVector> padded;
  TileTable<Before, PartialVector> partial;
  TileTable<Before, HalfVector> half;

  TileFunction pick(int rows, int last, bool packed) const {
    if (last == kLanes) return whole.function[rows];
    if (last <= kHalfLanes) return half.function[rows];
    return packed ? padded.function[rows] : partial.function[rows];
  }
};

constexpr TileTables<0> kOneVector;
constexpr TileTables<1> kTwoVectors;
#if defined(__aarch64__)
constexpr TileTables<2> kThreeVectors;
#endif

// For a tile of so many columns, at most a panel; last: columns of the last vector.
inline TileFunction tile_function(int rows, index_t columns, int last, bool packed) {
  const index_t before = (columns - 1) / kLanes;
#if defined(__aarch64__)
  if (before == 2) return kThreeVectors.pick(rows, last, packed);
#endif
  return before == 1 ? kTwoVectors.pick(rows, last, packed) : kOneVector.pick(rows, last, packed);
}

// Panels in a tile of few rows: as many as the registers hold together with a row of them and a broadcast value, at most four.
constexpr int wide_panels(int rows) {
  for (int panels = 4; panels > 1; --panels) {
    const int vectors = panels * kMaxVectors;
    if (rows * vectors + (rows > 1 ? vectors : 1) + 1 <= kRegisters) return panels;
  }
  return 1;
}

struct WideTileTable {
  TileFunction function[kMaxRows + 1] = {};
  constexpr WideTileTable() { put<kMaxRows>(); }
  template <int Rows>
  constexpr void put() {
    if constexpr (wide_panels(Rows) > 1) function[Rows] = compute_tile<Rows, wide_panels(Rows) * kMaxVectors - 1, WholeVector>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

constexpr WideTileTable kWideTiles;

}  // namespace
