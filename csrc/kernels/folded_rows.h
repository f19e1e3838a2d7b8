// folded_rows.h - rows of few numbers seen as longer rows, and what is said of each of their columns.
#pragma once

#include "math.h"
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

// out[i] = of(channel of column first + i), i < count. Folded columns start at channel 0 and repeat.
template <class Of>
inline void spread_channels(index_t first, index_t count, index_t channels, float* __restrict out, const Of& of) {
  const index_t distinct = min_of(count, channels);
  FASTNN_SIMD
  for (index_t i = 0; i < distinct; ++i) out[i] = of(first + i);
  for (index_t i = distinct; i < count; ++i) out[i] = out[i - channels];
}

constexpr index_t kApplyFold = 512;      // columns that rows are folded to when coefficients are applied
constexpr index_t kApplyColumns = 1024;  // columns whose coefficients are on the stack at a time

// What is applied to the elements of one channel.
template <int Count>
struct Coefficients {
  float value[Count];
};

// table[k][i] = coefficient k of the channel of column + i, i < count; of(c) gives those of channel c.
template <int Count, class Of>
inline void fill_table(index_t column, index_t count, index_t channels, const Of& of, float (*__restrict table)[kApplyColumns]) {
  const index_t distinct = min_of(count, channels);
  FASTNN_SIMD
  for (index_t i = 0; i < distinct; ++i) {
    const Coefficients<Count> of_channel = of(column + i);
    FASTNN_UNROLL
    for (int k = 0; k < Count; ++k) table[k][i] = of_channel.value[k];
  }
  for (int k = 0; k < Count; ++k) {
    for (index_t i = distinct; i < count; ++i) table[k][i] = table[k][i - channels];
  }
}

// body(at, n, table) for runs of n elements that start at offset `at`; table[k][i] is coefficient k for element i. The rows
// [begin, end), by the calling thread.
template <int Count, class Of, class Body>
inline void apply_to_rows(const FoldedRows& view, index_t channels, index_t begin, index_t end, const Of& of, const Body& body) {
  alignas(64) float table[Count][kApplyColumns];
  for (index_t column = 0; column < view.width; column += kApplyColumns) {
    const index_t count = min_of(kApplyColumns, view.width - column);
    fill_table<Count>(column, count, channels, of, table);
    for (index_t row = begin; row < end; ++row) {
      body(row * view.width + column, min_of(count, view.width_of(row) - column), table);
    }
  }
}

}  // namespace
