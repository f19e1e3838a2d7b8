// update.h - what an optimizer's step runs over: a stored gradient as it is, or one that is scaled, cut or made block by block.
#pragma once

#include "update_pieces.h"
#include "update_wide.h"

namespace {

constexpr index_t kGradientFloats = 4096;                         // of a block, about: 16 kB, to stay in the first-level cache
constexpr index_t kHighRows = 4 * kMaxRows, kHighFloats = 16384;  // at most, for the second-level one

// Rows of the gradient in a block; a block begins on a cache line wherever the matrix does. With many terms high tiles repay blocks
// beyond the first-level cache, and every thread gets as many blocks.
inline index_t gradient_rows(const GradientSource& p, index_t threads) {
  index_t line = kLineFloats;
  while (line > 1 && line / 2 * p.units % kLineFloats == 0) line /= 2;
  const index_t cached = max_of(1, kGradientFloats / p.units);
  if (p.rows < kMaxRows) return round_up(min_of(cached, p.inputs), line);
  const index_t most = max_of(max_of(kMaxRows, cached), min_of(kHighRows, kHighFloats / p.units));
  const index_t blocks = threads * ceil_div(p.inputs, threads * most);
  return round_up(min_of(p.inputs, max_of(kMaxRows, ceil_div(p.inputs, blocks))), line);
}

inline bool packs_gradient(const GradientSource& p) { return p.rows >= kMaxRows && p.inputs > 8 * kMaxRows; }

// Whether rows of x are copied for a block.
inline bool packs_inputs(const GradientSource& p) {
  const bool pays =
      p.units > 4 * kPanel ? are_far_apart(p.inputs) : p.units > 2 * kPanel && p.inputs > fastnn::cores().followed_step;
  return packs_gradient(p) && pays;
}

// Scratch of a thread: rows of x, and a block.
inline index_t packed_inputs_size(const GradientSource& s, index_t rows) {
  return packs_inputs(s) ? round_up(rows * s.rows, kLineFloats) : 0;
}
inline index_t block_scratch(const GradientSource& s, index_t rows) {
  return packed_inputs_size(s, rows) + round_up(rows * s.units, kLineFloats);
}

// Of few units the whole gradient is made first: as a product it is better turned around.
inline Gemm gradient_product(const GradientSource& s, float* g, int slots) {
  Gemm p = {};
  p.a = s.x, p.a_row = 1, p.a_col = s.inputs;
  p.b = s.dy, p.b_row = s.units, p.b_col = 1;
  p.c = g, p.ldc = s.units;
  p.m = s.inputs, p.n = s.units, p.k = s.rows;
  p.scratch = g ? g + round_up(s.inputs * s.units, kLineFloats) : nullptr, p.slots = slots;
  return p;
}
inline bool is_made_first(const GradientSource& s) { return has_few_transposed_columns(gradient_product(s, nullptr, 1)); }

template <class Step>
index_t step_scratch(const Step& a) {
  const GradientSource& s = a.source;
  if (is_made_of_pieces(s)) return update_pieces_scratch(s, a.slots);
  if (s.x && is_made_first(s)) {
    return round_up(s.inputs * s.units, kLineFloats) + gemm_scratch(gradient_product(s, nullptr, a.slots));
  }
  if (s.x && is_wide(s)) return packed_size(s.rows, s.units) + a.slots * wide_scratch(s);
  if (s.x) return (packs_gradient(s) ? packed_size(s.rows, s.units) : 0) + a.slots * block_scratch(s, gradient_rows(s, a.slots));
  return prepares(s) ? a.slots * kGradientFloats : 0;
}

// Rows [first, first + count) of the gradient; packed: scratch.
inline void make_gradient(const GradientSource& s, const Panels& dy, index_t first, index_t count, float* packed, float* g) {
  const float* x = s.x + first;
  if (s.rows <= kFewTerms) return multiply_few_terms(x, 1, s.inputs, s.dy, s.units, g, s.units, count, s.units, s.rows);
  if (!packs_inputs(s)) return multiply_rows({x, 1, s.inputs}, dy, g, s.units, count, false, kNoEpilogue);
  pack_rows(packed, x, 1, s.inputs, static_cast<int>(count), s.rows);
  multiply_rows({packed, 1, count}, dy, g, s.units, count, false, kNoEpilogue);
}

// The steps of `update` for a gradient that is a product.
template <class Step, class Range>
void update_from_product(const Step& a, double cycles, const Range& range) {
  const GradientSource& s = a.source;
  if (is_made_of_pieces(s)) return update_from_pieces(a, cycles, range);
  if (is_made_first(s)) {
    float* g = a.scratch;
    gemm(gradient_product(s, g, a.slots));
    return parallel_elements(s.inputs * s.units, cycles, [&](index_t begin, index_t end) {
      if (prepares(s)) prepare(s, g + begin, g + begin, end - begin);
      range(g + begin, begin, end);
    });
  }
  if (is_wide(s)) return update_from_wide_product(a, cycles, range);
  const index_t rows = gradient_rows(s, a.slots);
  Panels dy = {s.dy, s.units, false, s.rows, s.units};
  float* blocks = a.scratch;
  if (packs_gradient(s)) {
    dy = packed_gradient(s, a.scratch);
    blocks += packed_size(s.rows, s.units);
  }
  parallel_for(ceil_div(s.inputs, rows), rows * gradient_row_cycles(s, cycles), a.slots, [&](index_t begin, index_t end, int slot) {
    float* packed = blocks + slot * block_scratch(s, rows);
    float* g = packed + packed_inputs_size(s, rows);
    for (index_t first = begin * rows; first < min_of(s.inputs, end * rows); first += rows) {
      const index_t count = min_of(rows, s.inputs - first);
      make_gradient(s, dy, first, count, packed, g);
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
