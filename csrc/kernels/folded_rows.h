// folded_rows.h - rows of few numbers seen as longer rows.
#pragma once

#include "simd.h"

namespace {

// Dense rows of few channels read as fewer, longer rows, so that vectors are full whatever the number of channels. The last
// row may be short. Depends on the shape alone.
struct FoldedRows {
  index_t fold, width, rows, last_width;

  FoldedRows(index_t x_rows, index_t channels, index_t max_width)
      : fold(max_of(1, max_width / channels)),
        width(channels * fold),
        rows(ceil_div(x_rows, fold)),
        last_width(x_rows * channels - (rows - 1) * width) {}

  index_t width_of(index_t row) const { return row + 1 < rows ? width : last_width; }
};

// A few rows are folded to fewer columns: setting them up takes longer than using them once. Lines of them, so that fewer columns
// stick out of the last one than there are channels (norm.h, sum_block).
inline FoldedRows folded_sample(index_t x_rows, index_t channels, index_t max_width) {
  return {x_rows, channels, min_of(max_width, max_of(kLineFloats, round_up(x_rows * channels / 8, kLineFloats)))};
}

}  // namespace
