// gemm_tiles.h - rows of a times panels of b, tile by tile, by the calling thread.
#pragma once

#include "pack.h"

namespace {

constexpr int kShortRows = kMaxRows > 8 ? kMaxRows / 2 : 4;
constexpr index_t kLongK = 128;             // beyond, the loads of a tile count for more than its ends
constexpr index_t kCachedFloats = 1 << 18;  // b is found in the second-level cache

// A matrix cut into tiles of nearly equal height, so that no tile is a thin remainder.
struct RowTiles {
  index_t m, count, low, higher;  // `higher` tiles of low + 1 rows, then tiles of low rows
  explicit RowTiles(index_t rows, int height = kMaxRows)
      : m(rows), count(ceil_div(rows, height)), low(rows / max_of(count, 1)), higher(rows - low * count) {}
  index_t start(index_t tile) const { return tile * low + min_of(tile, higher); }
  int height(index_t tile) const { return static_cast<int>(start(tile + 1) - start(tile)); }
};

// While a tile that ends writes its rows, the next one starts: with half of the registers each if neither takes long. The least k
// and n take less time than calling a tile.
inline int tile_height(index_t k, index_t n) { return k >= 4 && k <= kLongK && n > kLanes ? kShortRows : kMaxRows; }

// One tile: c (height x columns at c) from rows of a and `panels` panels.
inline void multiply_tile(const float* a, index_t a_row, index_t a_col, const Panels& b, index_t panel, int panels, float* c,
                          index_t ldc, int height, bool load_c, const Epilogue& epilogue) {
  const index_t first = panel * kPanel, columns = panels == 1 ? b.columns(panel) : panels * kPanel;
  const Tile tile = {.a = a,
                     .a_row = a_row,
                     .a_col = a_col,
                     .b = b.at(panel),
                     .b_listed = b.listed,
                     .b_row = b.row_stride(),
                     .b_ahead = b.packed || b.k * b.ld <= kCachedFloats ? 0 : rows_ahead(b.ld) * b.ld,
                     .c = c + first,
                     .ldc = ldc,
                     .k = b.k,
                     .load_c = load_c,
                     .bias = epilogue.bias ? epilogue.bias + first : nullptr,
                     .relu = epilogue.activation == Activation::relu,
                     .last = static_cast<int>((columns - 1) % kLanes + 1)};
  (panels == 1 ? tile_function(height, columns, tile.last, b.packed) : kWideTiles.function[height])(tile);
  if (epilogue.activation != Activation::linear && epilogue.activation != Activation::relu) {
    for (int i = 0; i < height; ++i) activate_row(tile.c + i * ldc, columns, nullptr, epilogue.activation, epilogue.alpha);
  }
  if (epilogue.relu_output) {
    for (int i = 0; i < height; ++i) {
      float* row = tile.c + i * ldc;
      apply_relu_slope(row, epilogue.relu_output + (row - epilogue.c), columns);
    }
  }
}

// c (m x b.n) = rows of a times all panels, by the calling thread.
inline void multiply_rows(const float* a, index_t a_row, index_t a_col, const Panels& b, float* c, index_t ldc, index_t m,
                          bool load_c, const Epilogue& epilogue) {
  if (m == 0) return;
  const RowTiles rows(m, tile_height(b.k, b.n));
  for (index_t tile = 0; tile < rows.count; ++tile) {
    const index_t start = rows.start(tile);
    const int height = rows.height(tile), wide = b.packed ? 1 : wide_panels(height);
    for (index_t panel = 0; panel < b.count();) {
      const int panels = (panel + wide) * kPanel <= b.n ? wide : 1;
      multiply_tile(a + start * a_row, a_row, a_col, b, panel, panels, c + start * ldc, ldc, height, load_c, epilogue);
      panel += panels;
    }
  }
}

}  // namespace
