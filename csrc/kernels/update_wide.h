// update_wide.h - steps whose gradient is a product, with more weights than the caches hold.
//
// A block of the gradient is made by tiles and used while it is in the cache. The weights, and what else the optimizer keeps of
// them, come from memory, so the tiles fetch them, a row of the tile at a time: what a step takes from memory takes no time of its
// own.
#pragma once

#include "update_arrays.h"

namespace {

// Whether dy does not stay in the second-level cache from one block to the next, or the weights in none from one step to the next;
// with few rows there is no time to fetch them.
constexpr index_t kWideGradients = 1 << 17, kWideWeights = 3 << 20, kFetchingRows = 24;
inline bool is_wide(const GradientSource& s) {
  return s.rows * s.units > kWideGradients ? s.rows >= kMaxRows : s.inputs * s.units > kWideWeights && s.rows >= kFetchingRows;
}

constexpr index_t kWideRows = 4 * kMaxRows, kWideColumns = 4 * kPanel;  // of a block, at most

// Scratch of a thread: rows of x as tiles read them, and a block.
inline index_t wide_rows_size(const GradientSource& s) { return round_up(kWideRows * s.rows, kLineFloats); }
inline index_t wide_scratch(const GradientSource& s) { return wide_rows_size(s) + kWideRows * kWideColumns; }

// A tile of whole vectors, of a packed a. It also fetches the arrays, a few rows at a time: all at once would be more than can be
// on the way.
constexpr index_t kFetchingTerms = 8;  // between two fetches, at least

template <int Rows>
void compute_fetching_tile(const Tile& t, const StepArrays& arrays) {
  Accumulators<Rows, kMaxVectors - 1, WholeVector> acc = {};
  Tile part = t;
  const index_t parts = max_of(1, min_of(Rows, t.k / kFetchingTerms));
  for (index_t i = 0, row = 0; i < parts; ++i) {
    for (; row < (i + 1) * Rows / parts; ++row) arrays.fetch_row(row);
    const index_t begin = i * t.k / parts, end = (i + 1) * t.k / parts;
    part.k = end - begin, part.a = t.a + begin * Rows, part.b = t.b + begin * kPanel;
    add_products(acc, part, 1, Rows);
  }
  float* c = t.c;
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i, c = opaque(c + t.ldc)) {
    FASTNN_UNROLL
    for (int j = 0; j < kMaxVectors - 1; ++j) store(c + j * kLanes, acc.sum[i][j]);
    store(c + (kMaxVectors - 1) * kLanes, acc.last[i]);
  }
}

struct FetchingTiles {
  void (*function[kMaxRows + 1])(const Tile&, const StepArrays&) = {};
  constexpr FetchingTiles() { put<kMaxRows>(); }
  template <int Rows>
  constexpr void put() {
    function[Rows] = compute_fetching_tile<Rows>;
    if constexpr (Rows > 1) put<Rows - 1>();
  }
};

constexpr FetchingTiles kFetchingTiles;

// A block of the gradient, g (tiles.m x dy.n), from packed rows of x.
inline void make_wide_block(const Panels& dy, const float* x, const RowTiles& tiles, float* g, const StepArrays& arrays) {
  TileProduct product(dy, dy.n, false, kNoEpilogue);
  for (index_t panel = 0; panel < dy.count(); ++panel) {
    const bool whole = dy.columns(panel) == kPanel;
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      const index_t start = tiles.start(tile);
      const int height = tiles.height(tile);
      const float* a = x + start * dy.k;
      float* c = g + start * dy.n;
      if (whole) {
        StepArrays here = arrays;
        for (float*& array : here.array) array += array ? start * arrays.row + panel * kPanel : 0;
        Tile t = {};
        t.a = a, t.b = dy.at(panel), t.b_row = kPanel, t.c = c + panel * kPanel, t.ldc = dy.n, t.k = dy.k;
        kFetchingTiles.function[height](t, here);
      } else {
        product.take({a, 1, height}, height);
        product.multiply(panel, 1, c);
      }
    }
  }
}

// range(g, begin, end) as in update.
template <class Step, class Range>
void update_from_wide_product(const Step& a, double cycles, const Range& range) {
  const GradientSource& s = a.source;
  const Panels dy = packed_gradient(s, a.scratch);
  const RowTiles blocks(s.inputs, kWideRows);
  float* scratch = a.scratch + packed_size(s.rows, s.units);
  parallel_for(blocks.count, kWideRows * gradient_row_cycles(s, cycles), a.slots, [&](index_t begin, index_t end, int slot) {
    float* x = scratch + slot * wide_scratch(s);
    float* g = x + wide_rows_size(s);
    for (index_t block = begin; block < end; ++block) {
      const index_t first = blocks.start(block);
      const RowTiles tiles(blocks.height(block));
      for (index_t tile = 0; tile < tiles.count; ++tile) {
        const index_t start = tiles.start(tile);
        pack_rows(x + start * s.rows, s.x + first + start, 1, s.inputs, tiles.height(tile), s.rows);
      }
      for (index_t j0 = 0; j0 < s.units; j0 += kWideColumns) {
        const index_t columns = min_of(kWideColumns, s.units - j0), corner = first * s.units + j0;
        make_wide_block({dy.at(j0 / kPanel), kPanel, true, s.rows, columns}, x, tiles, g, StepArrays(a, corner));
        if (prepares(s)) prepare(s, g, g, tiles.m * columns);
        for (index_t i = 0; i < tiles.m; ++i) range(g + i * columns, corner + i * s.units, corner + i * s.units + columns);
      }
    }
  });
}

}  // namespace
