// gemm.h - matrix products from register tiles.
//
// A tile keeps rows x vectors accumulators in registers for the whole k loop: each step loads one row of b (a panel at most
// kPanel columns wide) and multiplies it by one broadcast value per row of a. Every output element is therefore the chain
// fma(a_p, b_p, acc) for p = 0, 1, ..., whatever the tile, the block or the thread: its bits depend on its row of a and its
// column of b alone. k is cut at kBlockK; the next block takes c back into the accumulators and goes on with the chain.
//
// Panels of b are copied side by side (packed) where they are used often enough to pay for it, or where b is transposed.
// Rows of a are copied into tile order where a long stride would make them collide in the cache.
#pragma once

#include "activation.h"
#include "simd.h"

namespace {

using fastnn::Activation;
using fastnn::Gemm;

constexpr index_t kPanel = kMaxVectors * kLanes;
constexpr index_t kBlockK = 512;          // k of a block: a packed panel of it is 64 kB with AVX-512
constexpr index_t kBlockN = 12 * kPanel;  // columns of a block: packed, 768 kB, inside the second-level cache
constexpr double kFlopsPerCycle = 2.0 * kLanes;

// What is done to a finished tile: bias and relu in registers, any other activation on the stored rows.
struct Epilogue {
  const float* bias;  // or null
  Activation activation;
  float alpha;
};

constexpr Epilogue kNoEpilogue = {nullptr, Activation::linear, 0.0f};

struct Tile {
  const float* a;
  index_t a_row, a_col;
  const float* b;
  index_t b_row;  // distance between rows of the panel
  float* c;
  index_t ldc;
  index_t k;
  bool load_c;        // start from c instead of 0
  const float* bias;  // of the panel's first column, or null
  bool relu;
  int last;  // columns used of the last vector, 1..kLanes
};

using TileFunction = void (*)(const Tile&);

// Partial: the last vector of the panel is not full, and b must not be read beyond it (PartialLoad) or is padded with zeros.
template <int Rows, int Vectors, bool Partial, bool PartialLoad>
void compute_tile(const Tile& t) {
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
  // Rows of a in groups of three: one moving pointer serves three rows at the offsets 0, s, 2 s, which the address unit adds for
  // free.
  constexpr int kGroups = (Rows + 2) / 3;
  const float* a[kGroups];
  FASTNN_UNROLL
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * t.a_row;
  const index_t s = t.a_row;
  const index_t a_col = t.a_col;
  const float* b = t.b;
  for (index_t p = 0; p < t.k; ++p) {
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
    b += t.b_row;
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

// One function per tile height, so that no row is computed in vain.
template <int Vectors, bool Partial, bool PartialLoad>
struct TileTable {
  TileFunction function[kMaxRows + 1] = {};
  constexpr TileTable() { put<kMaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_tile<Rows, Vectors, Partial, PartialLoad>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

template <int Vectors>
struct TileTables {
  TileTable<Vectors, false, false> full;
  TileTable<Vectors, true, false> padded;
  TileTable<Vectors, true, true> exact;
};

constexpr TileTables<1> kOneVector;
constexpr TileTables<2> kTwoVectors;
#if defined(__aarch64__)
constexpr TileTables<3> kThreeVectors;
#endif

template <int Vectors>
TileFunction pick(const TileTables<Vectors>& tables, int rows, bool partial, bool packed) {
  if (!partial) return tables.full.function[rows];
  return packed ? tables.padded.function[rows] : tables.exact.function[rows];
}

inline TileFunction tile_function(int rows, index_t columns, bool packed) {
  const bool partial = columns % kLanes != 0;
  const int vectors = static_cast<int>(ceil_div(columns, kLanes));
#if defined(__aarch64__)
  if (vectors == 3) return pick(kThreeVectors, rows, partial, packed);
#endif
  return vectors == 2 ? pick(kTwoVectors, rows, partial, packed) : pick(kOneVector, rows, partial, packed);
}

// The columns of b, one panel after the other: packed (each panel k x kPanel, zeros behind the last column) or in place.
struct Panels {
  const float* data;
  index_t ld;  // row stride in place; unused when packed
  bool packed;
  index_t k, n;

  const float* at(index_t panel) const { return packed ? data + panel * kPanel * k : data + panel * kPanel; }
  index_t row_stride() const { return packed ? kPanel : ld; }
  index_t count() const { return ceil_div(n, kPanel); }
  index_t columns(index_t panel) const { return min_of(kPanel, n - panel * kPanel); }
};

constexpr index_t packed_size(index_t k, index_t n) { return k * round_up(n, kPanel); }

// Copies k x columns of b into one panel, zeros behind the last column.
inline void pack_panel(float* to, const float* b, index_t b_row, index_t b_col, index_t k, index_t columns) {
  if (b_col == 1) {
    for (index_t p = 0; p < k; ++p) {
      float* row = to + p * kPanel;
      const float* from = b + p * b_row;
      if (columns == kPanel) {
        FASTNN_UNROLL
        for (int j = 0; j < kMaxVectors; ++j) store(row + j * kLanes, load(from + j * kLanes));
      } else {
        for (index_t j = 0; j < columns; ++j) row[j] = from[j];
        for (index_t j = columns; j < kPanel; ++j) row[j] = 0.0f;
      }
    }
    return;
  }
  const index_t k4 = b_row == 1 ? k / 4 * 4 : 0, j4 = columns / 4 * 4;
  for (index_t p = 0; p < k4; p += 4) {
    for (index_t j = 0; j < j4; j += 4) transpose_quad(b + j * b_col + p, b_col, to + p * kPanel + j, kPanel);
  }
  for (index_t p = 0; p < k; ++p) {
    for (index_t j = p < k4 ? j4 : 0; j < columns; ++j) to[p * kPanel + j] = b[p * b_row + j * b_col];
    for (index_t j = columns; j < kPanel; ++j) to[p * kPanel + j] = 0.0f;
  }
}

// A matrix cut into tiles of nearly equal height, so that no tile is a thin remainder.
struct RowTiles {
  index_t m, count;
  explicit RowTiles(index_t rows, int most = kMaxRows) : m(rows), count(ceil_div(rows, most)) {}
  index_t start(index_t tile) const { return tile * (m / count) + min_of(tile, m % count); }
  int height(index_t tile) const { return static_cast<int>(start(tile + 1) - start(tile)); }
};

// One tile: c (height x columns at c) from rows of a and one panel.
inline void multiply_tile(const float* a, index_t a_row, index_t a_col, const Panels& b, index_t panel, float* c, index_t ldc,
                          int height, bool load_c, const Epilogue& epilogue) {
  const index_t columns = b.columns(panel), first = panel * kPanel;
  const Tile tile = {.a = a,
                     .a_row = a_row,
                     .a_col = a_col,
                     .b = b.at(panel),
                     .b_row = b.row_stride(),
                     .c = c + first,
                     .ldc = ldc,
                     .k = b.k,
                     .load_c = load_c,
                     .bias = epilogue.bias ? epilogue.bias + first : nullptr,
                     .relu = epilogue.activation == Activation::relu,
                     .last = static_cast<int>((columns - 1) % kLanes + 1)};
  tile_function(height, columns, b.packed)(tile);
  if (epilogue.activation != Activation::linear && epilogue.activation != Activation::relu) {
    for (int i = 0; i < height; ++i) activate_row(tile.c + i * ldc, columns, nullptr, epilogue.activation, epilogue.alpha);
  }
}

// c (m x b.n) = rows of a times all panels, by the calling thread.
inline void multiply_rows(const float* a, index_t a_row, index_t a_col, const Panels& b, float* c, index_t ldc, index_t m,
                          bool load_c, const Epilogue& epilogue) {
  if (m == 0) return;
  const RowTiles rows(m);
  for (index_t tile = 0; tile < rows.count; ++tile) {
    const index_t start = rows.start(tile);
    for (index_t panel = 0; panel < b.count(); ++panel) {
      multiply_tile(a + start * a_row, a_row, a_col, b, panel, c + start * ldc, ldc, rows.height(tile), load_c, epilogue);
    }
  }
}

// to[p * height + i] = a[i, p]: the rows of one tile, one column after the other.
inline void pack_rows(float* to, const float* a, index_t a_row, index_t a_col, int height, index_t k) {
  if (a_row == 1) {
    for (index_t p = 0; p < k; ++p) {
      for (int i = 0; i < height; i += kLanes) {
        const int count = static_cast<int>(min_of(kLanes, height - i));
        store_partial(to + p * height + i, load_partial(a + p * a_col + i, count), count);
      }
    }
    return;
  }
  const index_t k4 = a_col == 1 ? k / 4 * 4 : 0;
  const int i4 = height / 4 * 4;
  for (int i = 0; i < i4; i += 4) {
    for (index_t p = 0; p < k4; p += 4) transpose_quad(a + i * a_row + p, a_row, to + p * height + i, height);
  }
  for (int i = 0; i < height; ++i) {
    const float* from = a + i * a_row;
    for (index_t p = i < i4 ? k4 : 0; p < k; ++p) to[p * height + i] = from[p * a_col];
  }
}

// How a product is cut; a function of its shape alone.
struct GemmPlan {
  index_t block_k, block_n;
  bool pack_b, pack_a;

  explicit GemmPlan(const Gemm& g) {
    block_k = g.k <= 2 * kBlockK ? max_of(g.k, 1) : kBlockK;
    block_n = min_of(round_up(g.n, kPanel), block_k > kBlockK ? kBlockN / 2 : kBlockN);
    pack_b = g.b_col != 1 || g.m > 8 * kMaxRows;
    const index_t stride = g.a_row == 1 ? g.a_col : g.a_row;
    pack_a = g.m > kMaxRows && g.n > 4 * kPanel && (stride >= 1024 || stride % 256 == 0);
  }
  index_t packed_b() const { return pack_b ? packed_size(block_k, block_n) : 0; }
  index_t packed_a() const { return pack_a ? block_k * kMaxRows : 0; }
};

index_t gemm_scratch(const Gemm& g) {
  const GemmPlan plan(g);
  return plan.packed_b() + g.slots * plan.packed_a();
}

// One block: all rows, columns [j0, j0 + b.n) and b.k terms of the sums.
inline void gemm_block(const Gemm& g, const GemmPlan& plan, const Panels& b, index_t j0, index_t p0, float* packed_rows) {
  const bool last = p0 + b.k == g.k;
  const Epilogue epilogue = last ? Epilogue{g.bias ? g.bias + j0 : nullptr, g.activation, g.alpha} : kNoEpilogue;
  const bool load_c = p0 > 0 || g.accumulate;
  const RowTiles rows(g.m);
  const index_t panels = b.count();
  const double cycles = 2.0 * b.k * kMaxRows * kPanel / kFlopsPerCycle;
  parallel_for(rows.count * panels, cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    float* packed = packed_rows + slot * plan.packed_a();
    index_t packed_tile = -1;
    for (index_t item = begin; item < end; ++item) {
      const index_t tile = item / panels, start = rows.start(tile);
      const int height = rows.height(tile);
      const float* a = g.a + start * g.a_row + p0 * g.a_col;
      index_t a_row = g.a_row, a_col = g.a_col;
      if (plan.pack_a) {
        if (packed_tile != tile) pack_rows(packed, a, a_row, a_col, height, b.k);
        packed_tile = tile;
        a = packed, a_row = 1, a_col = height;
      }
      multiply_tile(a, a_row, a_col, b, item % panels, g.c + start * g.ldc + j0, g.ldc, height, load_c, epilogue);
    }
  });
}

// k == 0: every sum is empty.
inline void gemm_empty(const Gemm& g) {
  if (g.accumulate) return;
  for (index_t i = 0; i < g.m; ++i) {
    float* row = g.c + i * g.ldc;
    for (index_t j = 0; j < g.n; ++j) row[j] = 0.0f;
    activate_row(row, g.n, g.bias, g.activation, g.alpha);
  }
}

void gemm(const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0) return gemm_empty(g);
  const GemmPlan plan(g);
  float* packed_b = g.scratch;
  float* packed_a = g.scratch + plan.packed_b();
  for (index_t j0 = 0; j0 < g.n; j0 += plan.block_n) {
    const index_t n = min_of(plan.block_n, g.n - j0);
    for (index_t p0 = 0; p0 < g.k; p0 += plan.block_k) {
      const float* from = g.b + p0 * g.b_row + j0 * g.b_col;
      Panels b = {from, g.b_row, false, min_of(plan.block_k, g.k - p0), n};
      if (plan.pack_b) {
        parallel_for(b.count(), 0.3 * b.k * kPanel, [&](index_t begin, index_t end) {
          for (index_t panel = begin; panel < end; ++panel) {
            pack_panel(packed_b + panel * kPanel * b.k, from + panel * kPanel * g.b_col, g.b_row, g.b_col, b.k, b.columns(panel));
          }
        });
        b.data = packed_b, b.packed = true;
      }
      gemm_block(g, plan, b, j0, p0, packed_a);
    }
  }
}

}  // namespace
