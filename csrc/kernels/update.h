// update.h - what an optimizer's step runs over: a stored gradient as it is, or one that is scaled, cut or made block by block.
#pragma once

#include "gemm.h"
#include "math.h"

namespace {

using fastnn::GradientSource;

constexpr index_t kGradientFloats = 4096;  // of a block, about: 16 kB, to stay in the first-level cache

// Rows of the gradient in a block; a block begins on a cache line wherever the matrix does.
inline index_t gradient_rows(const GradientSource& p) {
  index_t line = kLineFloats;
  while (line > 1 && line / 2 * p.units % kLineFloats == 0) line /= 2;
  const index_t least = p.rows < kMaxRows ? 1 : kLineFloats;  // few rows make low tiles, which only many products repay
  return round_up(min_of(max_of(kGradientFloats / p.units, least), p.inputs), line);
}

// Of a row made and used, at `cycles` for each element's step.
inline double gradient_row_cycles(const GradientSource& s, double cycles) {
  return static_cast<double>(s.units) * (2.0 * s.rows / kFlopsPerCycle + cycles);
}

inline bool packs_gradient(const GradientSource& p) { return p.rows >= kMaxRows && p.inputs > 8 * kMaxRows; }

// Whether the gradient is anything but what is stored.
inline bool prepares(const GradientSource& s) { return s.factor || s.limit < kInfinity; }

// y = x scaled and cut; y may be x.
inline void prepare(const GradientSource& s, const float* x, float* y, index_t n) {
  const float factor = s.factor ? s.factor[0] : 1.0f, limit = s.limit;
  FASTNN_SIMD
  for (index_t i = 0; i < n; ++i) {
    const float g = x[i] * factor;
    y[i] = select(g > limit, limit, select(g < -limit, -limit, g));  // a NaN stays one
  }
}

template <class Step>
index_t step_scratch(const Step& a) {
  const GradientSource& s = a.source;
  if (s.x) return (packs_gradient(s) ? packed_size(s.rows, s.units) : 0) + a.slots * gradient_rows(s) * s.units;
  return prepares(s) ? a.slots * kGradientFloats : 0;
}

// Rows [first, first + count) of the gradient.
inline void make_gradient(const GradientSource& s, const Panels& dy, index_t first, index_t count, float* g) {
  if (s.rows <= kFewTerms) return multiply_few_terms(s.x + first, 1, s.inputs, s.dy, s.units, g, s.units, count, s.units, s.rows);
  multiply_rows(s.x + first, 1, s.inputs, dy, g, s.units, count, false, kNoEpilogue);
}

// The steps of `update` for a gradient that is a product.
template <class Step, class Range>
void update_from_product(const Step& a, double cycles, const Range& range) {
  const GradientSource& s = a.source;
  const index_t rows = gradient_rows(s);
  Panels dy = {s.dy, s.units, false, s.rows, s.units};
  float* blocks = a.scratch;
  if (packs_gradient(s)) {
    parallel_for(dy.count(), 0.3 * s.rows * kPanel, [&](index_t begin, index_t end) {
      for (index_t panel = begin; panel < end; ++panel) {
        pack_panel(a.scratch + panel * kPanel * s.rows, s.dy + panel * kPanel, s.units, 1, s.rows, dy.columns(panel));
      }
    });
    dy.data = a.scratch, dy.packed = true;
    blocks += packed_size(s.rows, s.units);
  }
  parallel_for(ceil_div(s.inputs, rows), rows * gradient_row_cycles(s, cycles), a.slots, [&](index_t begin, index_t end, int slot) {
    float* g = blocks + slot * rows * s.units;
    for (index_t first = begin * rows; first < min_of(s.inputs, end * rows); first += rows) {
      const index_t count = min_of(rows, s.inputs - first);
      make_gradient(s, dy, first, count, g);
      if (prepares(s)) prepare(s, g, g, count * s.units);
      range(g, first * s.units, (first + count) * s.units);
    }
  });
}

// range(g, begin, end): the step of elements [begin, end), whose gradient begins at g, at `cycles` each.
template <class Step, class Range>
void update(const Step& a, double cycles, const Range& range) {
  const GradientSource& s = a.source;
  if (s.x) return update_from_product(a, cycles, range);
  if (!prepares(s)) {
    return parallel_elements(a.n, cycles, [&](index_t begin, index_t end) { range(a.g + begin, begin, end); });
  }
  constexpr index_t kBlock = kGradientFloats;
  parallel_for(ceil_div(a.n, kBlock), kBlock * (cycles + 0.5), a.slots, [&](index_t begin, index_t end, int slot) {
    float* g = a.scratch + slot * kBlock;
    for (index_t first = begin * kBlock; first < min_of(a.n, end * kBlock); first += kBlock) {
      const index_t count = min_of(kBlock, a.n - first);
      prepare(s, a.g + first, g, count);
      range(g, first, first + count);
    }
  });
}

}  // namespace
