// update.h - what an optimizer's step runs over: a stored gradient, or one that is made block by block and never stored.
#pragma once

#include "gemm.h"

namespace {

using fastnn::GradientProduct;

constexpr index_t kGradientFloats = 4096;  // of a block, about: 16 kB, to stay in the first-level cache

// Rows of the gradient in a block; a block begins on a cache line wherever the matrix does.
inline index_t gradient_rows(const GradientProduct& p) {
  index_t line = kLineFloats;
  while (line > 1 && line / 2 * p.units % kLineFloats == 0) line /= 2;
  const index_t least = p.rows < kMaxRows ? 1 : kLineFloats;  // few rows make low tiles, which only many products repay
  return round_up(min_of(max_of(kGradientFloats / p.units, least), p.inputs), line);
}

inline bool packs_gradient(const GradientProduct& p) { return p.rows >= kMaxRows && p.inputs > 8 * kMaxRows; }

template <class Step>
index_t step_scratch(const Step& a) {
  const GradientProduct& p = a.product;
  if (!p.x) return 0;
  return (packs_gradient(p) ? packed_size(p.rows, p.units) : 0) + a.slots * gradient_rows(p) * p.units;
}

// range(g, begin, end): the step of elements [begin, end), whose gradient begins at g, at `cycles` each.
template <class Step, class Range>
void update(const Step& a, double cycles, const Range& range) {
  const GradientProduct& p = a.product;
  if (!p.x) return parallel_elements(a.n, cycles, [&](index_t begin, index_t end) { range(a.g + begin, begin, end); });
  const index_t rows = gradient_rows(p);
  Panels dy = {p.dy, p.units, false, p.rows, p.units};
  float* blocks = a.scratch;
  if (packs_gradient(p)) {
    parallel_for(dy.count(), 0.3 * p.rows * kPanel, [&](index_t begin, index_t end) {
      for (index_t panel = begin; panel < end; ++panel) {
        pack_panel(a.scratch + panel * kPanel * p.rows, p.dy + panel * kPanel, p.units, 1, p.rows, dy.columns(panel));
      }
    });
    dy.data = a.scratch, dy.packed = true;
    blocks += packed_size(p.rows, p.units);
  }
  const double row_cycles = static_cast<double>(p.units) * (2.0 * p.rows / kFlopsPerCycle + cycles);
  parallel_for(ceil_div(p.inputs, rows), rows * row_cycles, a.slots, [&](index_t begin, index_t end, int slot) {
    float* g = blocks + slot * rows * p.units;
    for (index_t first = begin * rows; first < min_of(p.inputs, end * rows); first += rows) {
      const index_t count = min_of(rows, p.inputs - first);
      multiply_rows(p.x + first, 1, p.inputs, dy, g, p.units, count, false, kNoEpilogue);
      range(g, first * p.units, (first + count) * p.units);
    }
  });
}

}  // namespace
