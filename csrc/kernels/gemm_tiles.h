// gemm_tiles.h - rows of a times panels of b, tile by tile, by the calling thread.
#pragma once

#include "pack.h"

namespace {

using fastnn::Gemm;

constexpr int kShortRows = kMaxRows > 8 ? kMaxRows / 2 : 4;
constexpr index_t kLongK = 128;  // beyond, the loads of a tile count for more than its ends

// A matrix cut into tiles of nearly equal height, so that no tile is a thin remainder.
struct RowTiles {
  index_t m, count, low, higher;  // `higher` tiles of low + 1 rows, then tiles of low rows
  explicit RowTiles(index_t rows, int height = kMaxRows)
      : m(rows), count(ceil_div(rows, height)), low(rows / max_of(count, 1)), higher(rows - low * count) {}
  index_t start(index_t tile) const { return tile * low + min_of(tile, higher); }
  int height(index_t tile) const { return static_cast<int>(start(tile + 1) - start(tile)); }
};

// While a tile that ends writes its rows, the next one starts: on some cores with half of the registers each if neither takes long.
// The least k and n take less time than calling a tile.
inline int tile_height(index_t k, index_t n) {
  return k >= 4 && k <= fastnn::cores().half_tiles && n > kLanes ? kShortRows : kMaxRows;
}

// Rows of a: the value (i, p) is data[i * row + p * col], one of the distances is 1.
struct LeftRows {
  const float* data;
  index_t row, col;
  bool followed = false;  // by others without a gap, too many for the second-level cache: they are fetched meanwhile

  LeftRows from(index_t i) const { return {data + i * row, row, col, followed}; }
};

// Sums so short leave no time to fetch rows for the next ones, and prefetchers follow.
constexpr index_t kShortSums = 32;
inline bool is_followed(index_t a_row, index_t a_col, index_t m, index_t k) {
  return a_col == 1 && a_row == k && k >= kShortSums && m * k > kCachedFloats;
}

// The tiles of a product with some panels of b. What they have in common is kept: short sums take little more time than calls.
struct TileProduct {
  const Panels b;
  const Epilogue epilogue;
  const bool far = !b.packed && b.k * b.ld > kCachedFloats;
  int height = 0;
  bool followed = false;
  Tile tile = {};

  TileProduct(const Panels& panels, index_t ldc, bool load_c, const Epilogue& last) : b(panels), epilogue(last) {
    tile.b_listed = b.listed, tile.b_row = b.row_stride(), tile.ldc = ldc, tile.k = b.k, tile.load_c = load_c;
    tile.relu = epilogue.activation == Activation::relu;
  }

  // The rows of the tiles to come.
  void take(const LeftRows& a, int rows) {
    tile.a = a.data, tile.a_row = a.row, tile.a_col = a.col, tile.ahead = nullptr;
    height = rows, followed = a.followed;
  }

  // One tile: c (height x columns at c) from the rows and `panels` panels.
  FASTNN_INLINE void multiply(index_t panel, int panels, float* c) {
    const index_t first = panel * kPanel, columns = panels == 1 ? b.columns(panel) : panels * kPanel;
    tile.b = b.at(panel), tile.c = c + first;
    if (epilogue.bias) tile.bias = epilogue.bias + first;
    if (far) {
      tile.ahead = tile.b + rows_ahead(b.ld) * b.ld, tile.ahead_row = b.ld;
    } else if (followed) {
      tile.ahead = panel == 0 ? tile.a + height * tile.a_row : nullptr, tile.ahead_row = height;
    }
    tile.last = static_cast<int>((columns - 1) % kLanes + 1);
    (panels == 1 ? tile_function(height, columns, tile.last, b.packed) : kWideTiles.function[height])(tile);
    if (epilogue.activation != Activation::linear && epilogue.activation != Activation::relu) {
      for (int i = 0; i < height; ++i) activate_row(tile.c + i * tile.ldc, columns, nullptr, epilogue.activation, epilogue.alpha);
    }
    if (epilogue.relu_output) {
      for (int i = 0; i < height; ++i) {
        float* row = tile.c + i * tile.ldc;
        apply_relu_slope(row, epilogue.relu_output + (row - epilogue.c), columns);
      }
    }
  }
};

// c (m x b.n) = rows of a times all panels, by the calling thread.
inline void multiply_rows(const LeftRows& a, const Panels& b, float* c, index_t ldc, index_t m, bool load_c,
                          const Epilogue& epilogue) {
  if (m == 0) return;
  const RowTiles rows(m, tile_height(b.k, b.n));
  TileProduct product(b, ldc, load_c, epilogue);
  for (index_t tile = 0; tile < rows.count; ++tile) {
    const index_t start = rows.start(tile);
    const int height = rows.height(tile), wide = b.packed ? 1 : wide_panels(height);
    product.take(a.from(start), height);
    for (index_t panel = 0; panel < b.count();) {
      const int panels = (panel + wide) * kPanel <= b.n ? wide : 1;
      product.multiply(panel, panels, c + start * ldc);
      panel += panels;
    }
  }
}

}  // namespace
