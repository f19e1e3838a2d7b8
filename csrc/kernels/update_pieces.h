// update_pieces.h - steps whose gradient is a product made by matrix tiles: while they make a block, the step is taken with the
// block before, and the weights, and what else the optimizer keeps of them, are fetched for the next one.
#pragma once

#include "update_arrays.h"

namespace {

inline PieceProduct gradient_of_pieces(const GradientSource& s) {
  return {s.x, s.inputs, s.dy, s.units, s.inputs, s.units, s.rows};
}

// Of a thread: two blocks.
inline index_t piece_block_size(const PieceProduct& p) { return kSide * PieceRanges(p).most_columns(); }

inline index_t update_pieces_scratch(const GradientSource& s, int slots) {
  const PieceProduct p = gradient_of_pieces(s);
  return slots * 2 * piece_block_size(p) + pieces_scratch(p, slots);
}

// range(g, begin, end) as in update.
template <class Step, class Range>
void update_from_pieces(const Step& a, double cycles, const Range& range) {
  const GradientSource& s = a.source;
  const PieceProduct p = gradient_of_pieces(s);
  const index_t size = piece_block_size(p);
  const auto place = [&](const PieceBlock& block, int slot, index_t number) -> Place {
    return {a.scratch + (2 * slot + number) * size, block.columns};
  };
  // run(place in the block, begin, end) for the weights that belong to a part of a block.
  const auto weights = [&s](const PieceBlock& block, index_t begin, index_t end, const auto& run) {
    const index_t corner = block.first * s.units + block.start;
    if (block.columns == s.units) return run(begin, corner + begin, corner + end);
    for (index_t i = begin, stop; i < end; i = stop) {
      const index_t row = i / block.columns, at = corner + row * (s.units - block.columns);
      stop = min_of(end, (row + 1) * block.columns);
      run(i, at + i, at + stop);
    }
  };
  const auto fetch = [&](const PieceBlock& block, index_t begin, index_t end) {
    weights(block, begin, end, [&a](index_t, index_t first, index_t last) { StepArrays(a, first).fetch(last - first); });
  };
  const auto use = [&](const PieceBlock& block, float* g, index_t begin, index_t end) {
    if (prepares(s)) prepare(s, g + begin, g + begin, end - begin);
    weights(block, begin, end, [&](index_t i, index_t first, index_t last) { range(g + i, first, last); });
  };
  multiply_pieces(p, a.scratch + a.slots * 2 * size, a.slots, cycles, place, fetch, use);
}

}  // namespace
