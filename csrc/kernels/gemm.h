// gemm.h - matrix products from register tiles.
//
// Every output element is one chain of multiply-adds in the order of k, whatever the tile, the block or the thread. k is cut into
// blocks; the next block takes c back into the accumulators and goes on with the chain. (Matrix tiles make other sums of the
// products of large weights, and of some that sum over rows: dense_pieces.h, piece_products.h.)
//
// Few rows: each thread goes through its columns alone, with wide tiles and b in place. More rows: a block of b that stays in the
// second-level cache serves all rows; the threads share its tiles out, or where b is wide, its columns.
#pragma once

#include "dense_pieces.h"
#include "few_columns.h"
#include "few_terms.h"
#include "listed.h"
#include "piece_products.h"
#include "turned.h"

namespace {

constexpr index_t kBlockK = 384;          // k of a block, at most: a packed panel of it is 48 kB with AVX-512
constexpr index_t kBlockN = 16 * kPanel;  // columns of a block: packed, 768 kB, inside the second-level cache
constexpr index_t kTransposedRows = 16;   // up to here a transposed b is not copied
constexpr index_t kTransposedMore =
    kLanes > kSquare ? 2 * kMaxRows : kTransposedRows;  // or here, if whole vectors of columns can be used
constexpr index_t kBlockFloats = 1 << 17;               // of a transposed b: half of the second-level cache
constexpr index_t kInPlaceRows = kMaxRows > 8 ? 512 : 48, kInPlaceFloats = 3 << 18;  // three megabytes
constexpr index_t kFarFloats = 1 << 21;     // b is larger than what the address translation buffers reach
constexpr index_t kFarRows = 2 * kMaxRows;  // up to here low tiles take such a b as it lies
constexpr index_t kManyRows = 1024;         // beyond, a block of b is used so often that it does not matter which thread copied it
constexpr index_t kGroupPanels = 8;   // of columns that a thread computes alone, at least: rows of a are copied for each group
constexpr index_t kCostlyCopy = 256;  // up to here fewer suffice, as copying b takes a good part of the time
constexpr double kFlopsPerCycle = 2.0 * kLanes;

// Whether rows of b cross cache lines, or evict each other, and b is as large and read as often as some cores need for a copy to
// pay.
constexpr index_t kCopiedFloats = 1 << 17, kCopiedPanels = 8;
inline bool pays_to_copy(const Gemm& g) {
  const bool collide = g.b_row % 1024 == 0, cross = g.b_row % kLineFloats != 0;
  const index_t rows = collide ? fastnn::cores().colliding_rows : cross ? fastnn::cores().copied_rows : g.m + 1;
  return kMaxRows > 8 && g.m >= rows && g.n >= kCopiedPanels * kPanel && g.k * g.n >= kCopiedFloats;
}

// Whether more rows than the tiles of few take b as it lies: a copy pays only if it is read often, sooner with low tiles, and later
// if threads make it together and read it from each other's caches.
inline bool fits_in_place(const Gemm& g) {
  if (pays_to_copy(g)) return false;
  if (g.m <= kInPlaceRows) return kMaxRows > 8 || g.m <= kFarRows || g.k * g.b_row <= kFarFloats;
  return g.slots > 1 && g.k * g.n <= kInPlaceFloats && (kRegisters > 16 || g.n <= 8 * kPanel);
}

// Whether rows of a at that distance evict each other from the first-level cache, or columns are too far apart to be fetched in
// time.
inline bool collide(index_t stride) { return stride >= 1024 || stride % 256 == 0; }
inline bool are_far_apart(index_t columns) { return collide(columns) || columns > fastnn::cores().followed_step; }

// How a product is cut: by its shape, and by the number of threads where that does not change the order of a sum.
struct GemmPlan {
  index_t block_k, block_n, pack_rows;
  index_t groups;  // of columns, each copied and computed by one thread; or 1
  bool transposed, few_rows, streamed, pack_b, pack_a;
  int height;         // of a tile, at most
  const Gemm* asked;  // for, if this is the product turned around, or null

  explicit GemmPlan(const Gemm& g, const Gemm* turned_from = nullptr) : asked(turned_from) {
    const bool vectors = g.b_col % kEvictingStride != 0 && g.n >= 2 * kPanel && g.k >= 2 * kPanel;
    transposed = !asked && g.b_row == 1 && g.b_col != 1 && g.m <= (vectors ? kTransposedMore : kTransposedRows) && g.n >= kSquare;
    const bool far = g.k * g.b_row > kFarFloats;
    few_rows = !asked && g.b_col == 1 && g.m <= kMaxRows;
    height = tile_height(g.k, g.n);
    streamed = few_rows && far && g.m < kFetchedRows;
    pack_a = transposed;
    pack_rows = transposed ? g.m : kMaxRows;
    pack_b = false;
    groups = 1;
    block_k = g.k;
    block_n = round_up(g.n, kPanel);
    if (transposed) return;
    const bool collides = g.n > 4 * kPanel && (g.a_row == 1 ? are_far_apart(g.a_col) : collide(g.a_row));
    if (few_rows) {
      if (!far || streamed) return;
      block_k = ceil_div(g.k, ceil_div(g.k, kBlockK));
      pack_a = collides;
    } else {
      pack_b = g.b_col != 1 || !fits_in_place(g);
      block_k = ceil_div(g.k, ceil_div(g.k, kBlockK));
      block_n = min_of(block_n, kBlockN);
      pack_a = collides;
      if ((pack_b || far) && g.slots > 1 && g.m <= kManyRows) {
        const index_t panels = ceil_div(g.n, kPanel), each = panels / g.slots;
        const index_t least = g.m > kCostlyCopy ? kGroupPanels : g.b_col != 1 ? kGroupPanels / 4 : kGroupPanels / 2;
        groups = each >= 2 * kGroupPanels ? 2 * g.slots : each >= least ? g.slots : 1;
        if (groups > 1) block_n = min_of(block_n, ceil_div(panels, groups) * kPanel);
      }
      // So few rows do not evict each other.
      if ((g.a_row % 512 == 0 && !pack_a) || (g.ldc % 512 == 0 && g.k <= kLongK)) height = kShortRows;
    }
  }
  index_t packed_b() const { return pack_b ? packed_size(block_k, block_n) : 0; }
  index_t packed_a() const { return pack_a ? round_up(block_k * pack_rows, kLineFloats) : 0; }
};

static_assert(kListedRows < kFetchedRows, "the list has the scratch memory for itself: neither a nor b is copied");
inline index_t copies_scratch(const Gemm& g, const GemmPlan& plan) {
  return (plan.groups > 1 ? g.slots : 1) * plan.packed_b() + g.slots * plan.packed_a();
}

// Sums over rows: c = a^T b, as the gradient of weights is.
inline bool is_made_of_pieces(const Gemm& g) {
  const bool plain = !g.bias && !g.accumulate && !g.relu_output && g.activation == Activation::linear;
  return g.a_row == 1 && g.b_col == 1 && plain && is_made_of_pieces(g.m, g.n, g.k);
}
inline PieceProduct piece_product(const Gemm& g) { return {g.a, g.a_col, g.b, g.b_row, g.m, g.n, g.k}; }

inline void gemm_of_pieces(const Gemm& g) {
  const auto place = [&g](const PieceBlock& b, int, index_t) -> Place { return {g.c + b.first * g.ldc + b.start, g.ldc}; };
  const auto fetch = [](const PieceBlock&, index_t, index_t) {};
  const auto use = [](const PieceBlock&, const float*, index_t, index_t) {};
  multiply_pieces(piece_product(g), g.scratch, g.slots, 0, place, fetch, use);
}

index_t gemm_scratch(const Gemm& g) {
  if (g.k == 0) return 0;
  if (is_dense_of_pieces(g)) return dense_scratch(g);
  if (is_made_of_pieces(g)) return pieces_scratch(piece_product(g), g.slots);
  if (turns(g)) return turned_size(g) + copies_scratch(g, GemmPlan(turned(g), &g));
  if (has_few_columns(g)) return g.slots * few_columns_slot(g);
  if (has_few_transposed_columns(g)) return turned_size(g) + gemm_scratch(turned(g));
  return may_list(g) ? list_size(g) : copies_scratch(g, GemmPlan(g));
}

// The epilogue of the columns from j0 on: at the end of the chains.
inline Epilogue epilogue_of(const Gemm& g, index_t j0, bool last) {
  return last ? Epilogue{g.bias ? g.bias + j0 : nullptr, g.activation, g.alpha, g.relu_output, g.c} : kNoEpilogue;
}

// Cost of a column: its products, or reading b.
inline double cycles_of(const Gemm& g, double cycles_per_element) {
  const double products = 2.0 * static_cast<double>(g.m) / kFlopsPerCycle;
  return static_cast<double>(g.k) * (products > cycles_per_element ? products : cycles_per_element);
}

// A pipeline: each thread reads rows of b of its own, the same that it takes where the product is with the transposed b and where
// an optimizer updates b. Otherwise half of b would travel between the caches of the threads every time, which costs more than the
// pipeline's start and end unless the products take long.
constexpr index_t kMostStages = 4, kStagedFloats = 1 << 15;
constexpr index_t kBandRows = 48;                            // of a step, about
constexpr index_t kStagedRows = 256, kKeptFloats = 1 << 19;  // more than a band only if the caches can keep b, and c is smaller
inline index_t stage_count(const Gemm& g, const GemmPlan& plan) {
  const bool kept =
      g.m <= kBandRows ? g.k * g.b_row <= kFarFloats : g.m <= kStagedRows && g.k * g.n <= kKeptFloats && 2 * g.k >= 3 * g.m;
  const bool pays = kept && g.n >= 4 * kPanel && g.k >= 2 * kPanel && g.k * g.n >= kStagedFloats;
  const index_t stages = min_of(g.slots, fastnn::num_threads());
  return pays && g.b_col == 1 && !plan.pack_a && !plan.pack_b && stages <= kMostStages ? stages : 1;
}

// Steps that the columns are cut into, equal ones, so that none waits for a longer one; and many, as no stage begins before the
// first step of the one before. Tiles of few rows hold several panels.
constexpr index_t kMostParts = 12, kFewPartsRows = 8, kFewParts = 8;
inline index_t parts_of_columns(index_t m, index_t panels, index_t most) {
  if (m < kFewPartsRows && panels >= 8) return min_of(min_of(kFewParts, most), panels / 2);
  return ceil_div(panels, ceil_div(panels, min_of(kMostParts, most)));
}

inline void gemm_staged(const Gemm& g, const Listed& listed, index_t stages) {
  const index_t panels = ceil_div(g.n, kPanel);
  const RowTiles tiles(g.m);
  const index_t bands = min_of(tiles.count, ceil_div(g.m, kBandRows));
  const index_t parts = parts_of_columns(g.m, panels, fastnn::kMostSteps / bands);
  const double cycles = cycles_of(g, 0.15) * g.n / (stages * bands * parts);
  parallel_stages(stages, bands * parts, cycles, [&](index_t stage, index_t step, int) {
    const index_t band = step / parts, part = step % parts;
    const index_t i0 = tiles.start(band * tiles.count / bands), i1 = tiles.start((band + 1) * tiles.count / bands);
    const index_t j0 = part * panels / parts * kPanel, j1 = min_of(g.n, (part + 1) * panels / parts * kPanel);
    const index_t p0 = stage * g.k / stages, p1 = (stage + 1) * g.k / stages;
    const SomeTerms t = terms_of(g, listed, p0, p1, j0, j1);
    multiply_rows(t.a.from(i0), t.b, g.c + i0 * g.ldc + j0, g.ldc, i1 - i0, p0 > 0 || g.accumulate, epilogue_of(g, j0, p1 == g.k));
  });
}

// A block of b in place: columns [j0, j0 + n), terms from p0 on.
inline Panels block_of(const Gemm& g, const GemmPlan& plan, index_t j0, index_t n, index_t p0) {
  return {g.b + p0 * g.b_row + j0 * g.b_col, g.b_row, false, min_of(plan.block_k, g.k - p0), n};
}

// Rows of a, in place or copied.
inline LeftRows rows_of(const Gemm& g, const GemmPlan& plan, index_t start, int height, index_t p0, index_t k, float* packed) {
  const float* a = g.a + start * g.a_row + p0 * g.a_col;
  if (!plan.pack_a) return {a, g.a_row, g.a_col, is_followed(g.a_row, g.a_col, g.m, k)};
  pack_rows(packed, a, g.a_row, g.a_col, height, k);
  return {packed, 1, height};
}

// Up to three rows times a b that no cache holds: eight rows of b at a time, from end to end, as the prefetchers follow best.
constexpr index_t kStreamedColumns = 1024;  // of c, to stay in the first-level cache
constexpr int kStreamedTerms = 8;

template <int Rows>
inline void stream_rows(const SomeTerms& t, float* c, index_t ldc, bool accumulate) {
  const auto terms = [&]<int Terms>(index_t p) {
    float a[Rows][Terms];
    const float* b[Terms];
    for (int q = 0; q < Terms; ++q) {
      b[q] = t.b.data + (t.b.listed ? t.b.listed[p + q] : p + q) * t.b.ld;
      for (int i = 0; i < Rows; ++i) a[i][q] = t.a.data[i * t.a.row + (p + q) * t.a.col];
    }
    add_few_terms<Rows, Terms>(a, b, t.b.n, c, ldc);
  };
  for (int i = 0; i < Rows && !accumulate; ++i) {
    for (index_t j = 0; j < t.b.n; ++j) c[i * ldc + j] = 0.0f;
  }
  index_t p = 0;
  for (; p + kStreamedTerms <= t.b.k; p += kStreamedTerms) terms.template operator()<kStreamedTerms>(p);
  for (; p + kFewTerms <= t.b.k; p += kFewTerms) terms.template operator()<kFewTerms>(p);
  if (p < t.b.k) with_terms(t.b.k - p, [&]<int Terms>() { terms.template operator()<Terms>(p); });
}

inline void gemm_streamed(const Gemm& g, const Listed& listed) {
  parallel_for(ceil_div(g.n, kPanel), kPanel * cycles_of(g, 0.15), [&](index_t begin, index_t end) {
    for (index_t j0 = begin * kPanel; j0 < min_of(g.n, end * kPanel); j0 += kStreamedColumns) {
      const index_t n = min_of(min_of(g.n, end * kPanel) - j0, kStreamedColumns);
      const SomeTerms t = terms_of(g, listed, 0, g.k, j0, j0 + n);
      const auto stream = g.m == 1 ? stream_rows<1> : g.m == 2 ? stream_rows<2> : stream_rows<3>;
      stream(t, g.c + j0, g.ldc, g.accumulate);
      const Epilogue last = epilogue_of(g, j0, true);
      for (index_t i = 0; i < g.m; ++i) {
        float* row = g.c + i * g.ldc + j0;
        activate_row(row, n, last.bias, last.activation, last.alpha);
        if (last.relu_output) apply_relu_slope(row, last.relu_output + (row - last.c), n);
      }
    }
  });
}

// Few rows: the columns are shared out.
inline void gemm_few_rows(const Gemm& g, const GemmPlan& plan, const Listed& listed) {
  const double cycles = kPanel * cycles_of(g, 0.15);
  parallel_for(ceil_div(g.n, kPanel), cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    const index_t j0 = begin * kPanel, j1 = min_of(g.n, end * kPanel);
    for (index_t p0 = 0; p0 < g.k; p0 += plan.block_k) {
      const index_t p1 = min_of(g.k, p0 + plan.block_k);
      SomeTerms t = terms_of(g, listed, p0, p1, j0, j1);
      if (plan.pack_a) {
        t.a = rows_of(g, plan, 0, static_cast<int>(g.m), p0, p1 - p0, g.scratch + slot * plan.packed_a());
      }
      multiply_rows(t.a, t.b, g.c + j0, g.ldc, g.m, p0 > 0 || g.accumulate, epilogue_of(g, j0, p1 == g.k));
    }
  });
}

// Not so many rows and a transposed b: the columns are shared out, and those that stay in the cache together serve all rows.
inline void gemm_transposed(const Gemm& g, const GemmPlan& plan) {
  const RowTiles rows(g.m);
  const double cycles = kSquare * cycles_of(g, 0.4);
  const index_t block = rows.count == 1 ? g.n : round_up(max_of(1, kBlockFloats / g.k), 4 * kSquare);
  parallel_for(ceil_div(g.n, kSquare), cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    float* packed = g.scratch + slot * plan.packed_a();
    for (index_t tile = 0; tile < rows.count; ++tile) {
      const index_t start = rows.start(tile);
      pack_rows(packed + start * g.k, g.a + start * g.a_row, g.a_row, g.a_col, rows.height(tile), g.k);
    }
    const index_t stop = min_of(g.n, end * kSquare);
    if (g.m == 1 && g.relu_output && !g.bias && !g.accumulate && g.activation == Activation::linear) {
      const index_t first = begin * kSquare;
      const TransposedTile row = {packed, g.b + first * g.b_col, g.b_col, g.c + first, g.ldc, g.k, false};
      return multiply_wanted(row, g.relu_output + first, stop - first);
    }
    for (index_t first = begin * kSquare; first < stop; first += block) {
      const index_t n = min_of(block, stop - first);
      for (index_t tile = 0; tile < rows.count; ++tile) {
        const index_t start = rows.start(tile);
        const int height = rows.height(tile);
        float* c = g.c + start * g.ldc + first;
        multiply_transposed({packed + start * g.k, g.b + first * g.b_col, g.b_col, c, g.ldc, g.k, g.accumulate}, height, n);
        for (int i = 0; i < height; ++i) {
          float* row = c + i * g.ldc;
          activate_row(row, n, g.bias ? g.bias + first : nullptr, g.activation, g.alpha);
          if (g.relu_output) apply_relu_slope(row, g.relu_output + (row - g.c), n);
        }
      }
    }
  });
}

// Fetches the lines of c that the next tile will need.
inline void prefetch_tile(const float* c, index_t ldc, int height) {
  for (int i = 0; i < height; ++i) {
    for (index_t j = 0; j < kPanel; j += kLineFloats) __builtin_prefetch(c + i * ldc + j, 1);
  }
}

// Of the columns [j0, j0 + b.n) and b.k terms of the sums: the tiles [begin, end), counted row by row.
inline void multiply_block(const Gemm& g, const GemmPlan& plan, const Panels& b, index_t j0, index_t p0, index_t begin, index_t end,
                           float* packed) {
  const bool load_c = p0 > 0 || g.accumulate, last = p0 + b.k == g.k;
  const Epilogue epilogue = epilogue_of(g, j0, last);
  TileProduct product(b, g.ldc, load_c, epilogue);
  const RowTiles rows(g.m, plan.height);
  const index_t panels = b.count();
  const bool fetches_c = b.k > kLongK || (panels > 1 && g.m * g.ldc > kCachedFloats);
  for (index_t item = begin; item < end;) {
    const index_t tile = item / panels, start = rows.start(tile), stop = min_of(end, (tile + 1) * panels);
    const int height = rows.height(tile);
    product.take(rows_of(g, plan, start, height, p0, b.k, packed), height);
    float* c = g.c + start * g.ldc + j0;
    for (; item < stop; ++item) {
      const index_t panel = item - tile * panels;
      if (fetches_c) prefetch_tile(panel + 1 < panels ? c + (panel + 1) * kPanel : c + height * g.ldc, g.ldc, height);
      product.multiply(panel, 1, c);
      if (plan.asked && last) {
        store_turned(*plan.asked, c + panel * kPanel, g.ldc, j0 + panel * kPanel, b.columns(panel), start, height);
      }
    }
  }
}

// What a block is copied by: a few rows where they are contiguous, else panels.
inline index_t parts_of(const Gemm& g, const Panels& b) { return g.b_col == 1 ? ceil_div(b.k, kPackedRun) : b.count(); }
inline void copy_parts(const Gemm& g, const Panels& b, float* to, index_t begin, index_t end) {
  if (g.b_col == 1) return pack_panels(to, b.data, g.b_row, b.k, b.n, begin * kPackedRun, min_of(b.k, end * kPackedRun));
  for (index_t j = begin; j < end; ++j) {
    pack_panel(to + j * kPanel * b.k, b.data + j * kPanel * g.b_col, g.b_row, g.b_col, b.k, b.columns(j));
  }
}

// The threads copy a block together and share its tiles out.
inline void gemm_shared(const Gemm& g, const GemmPlan& plan) {
  float* packed_a = g.scratch + plan.packed_b();
  const index_t tiles = RowTiles(g.m, plan.height).count;
  for (index_t j0 = 0; j0 < g.n; j0 += plan.block_n) {
    for (index_t p0 = 0; p0 < g.k; p0 += plan.block_k) {
      Panels b = block_of(g, plan, j0, min_of(plan.block_n, g.n - j0), p0);
      if (plan.pack_b) {
        const index_t parts = parts_of(g, b);
        parallel_for(parts, 0.25 * static_cast<double>(b.k * b.n / parts),
                     [&](index_t begin, index_t end) { copy_parts(g, b, g.scratch, begin, end); });
        b.data = g.scratch, b.packed = true;
      }
      const double cycles = 2.0 * b.k * plan.height * kPanel / kFlopsPerCycle;
      parallel_for(tiles * b.count(), cycles, g.slots, [&](index_t begin, index_t end, int slot) {
        multiply_block(g, plan, b, j0, p0, begin, end, packed_a + slot * plan.packed_a());
      });
    }
  }
}

// Each thread computes all rows of its own columns: nothing that one thread copies is read by another.
inline void gemm_by_columns(const Gemm& g, const GemmPlan& plan) {
  const index_t panels = ceil_div(g.n, kPanel), tiles = RowTiles(g.m, plan.height).count;
  const double cycles = cycles_of(g, 0) * g.n / plan.groups;
  parallel_for(plan.groups, cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    float* packed_b = g.scratch + slot * (plan.packed_b() + plan.packed_a());
    for (index_t group = begin; group < end; ++group) {
      const index_t stop = min_of(g.n, (group + 1) * panels / plan.groups * kPanel);
      for (index_t j0 = group * panels / plan.groups * kPanel; j0 < stop; j0 += plan.block_n) {
        for (index_t p0 = 0; p0 < g.k; p0 += plan.block_k) {
          Panels b = block_of(g, plan, j0, min_of(plan.block_n, stop - j0), p0);
          if (plan.pack_b) {
            copy_parts(g, b, packed_b, 0, parts_of(g, b));
            b.data = packed_b, b.packed = true;
          }
          multiply_block(g, plan, b, j0, p0, 0, tiles * b.count(), packed_b + plan.packed_b());
        }
      }
    }
  });
}

// Rows are shared out.
inline bool has_few_terms(const Gemm& g) {
  return g.k <= kFewTerms && g.b_col == 1 && g.n >= 4 * kPanel && !g.bias && !g.accumulate && g.activation == Activation::linear &&
         !g.relu_output;
}
inline void gemm_few_terms(const Gemm& g) {
  parallel_for(g.m, 0.5 * static_cast<double>(g.n), [&g](index_t begin, index_t end) {
    multiply_few_terms(g.a + begin * g.a_row, g.a_row, g.a_col, g.b, g.b_row, g.c + begin * g.ldc, g.ldc, end - begin, g.n, g.k);
  });
}

// k == 0: every sum is empty.
inline void gemm_empty(const Gemm& g) {
  if (g.accumulate) return;
  for (index_t i = 0; i < g.m; ++i) {
    float* row = g.c + i * g.ldc;
    for (index_t j = 0; j < g.n; ++j) row[j] = 0.0f;
    activate_row(row, g.n, g.bias, g.activation, g.alpha);
    if (g.relu_output) apply_relu_slope(row, g.relu_output + (row - g.c), g.n);
  }
}

inline void gemm_in_blocks(const Gemm& g, const GemmPlan& plan) {
  plan.groups > 1 ? gemm_by_columns(g, plan) : gemm_shared(g, plan);
}

void gemm(const Gemm& g) {
  if (g.m == 0 || g.n == 0) return;
  if (g.k == 0) return gemm_empty(g);
  if (is_dense_of_pieces(g)) return dense_of_pieces(g);
  if (is_made_of_pieces(g)) return gemm_of_pieces(g);
  if (turns(g)) {
    const Gemm t = turned(g);
    return gemm_in_blocks(t, GemmPlan(t, &g));
  }
  if (has_few_columns(g)) return gemm_few_columns(g);
  if (has_few_transposed_columns(g)) {
    const Gemm t = turned(g);
    gemm(t);
    return turn_back(g, t.c);
  }
  if (has_few_terms(g)) return gemm_few_terms(g);
  const GemmPlan plan(g);
  if (plan.transposed) return gemm_transposed(g, plan);
  const Listed listed = may_list(g) ? list_terms(g) : Listed{};
  if (const index_t stages = stage_count(g, plan); stages > 1) return gemm_staged(g, listed, stages);
  if (plan.streamed) return gemm_streamed(g, listed);
  if (plan.few_rows) return gemm_few_rows(g, plan, listed);
  gemm_in_blocks(g, plan);
}

}  // namespace
