// update_rows.h - a step whose gradient is a sum of few products, used where it is made: in registers.
#pragma once

#include "update.h"

namespace {

// Up to four terms: a row at a time, whose inputs stay in registers.
inline bool has_few_terms(const GradientSource& s) { return s.x && s.rows <= kFewTerms && !prepares(s); }

template <int Terms, class Rule>
inline void update_block(const GradientSource& s, index_t begin, index_t end, float* w, Rule rule) {
  bool rests = rule.rests();
  for (index_t j = 0; j < Terms * s.units && rests; ++j) rests = s.dy[j] - s.dy[j] == 0;
  for (index_t i = begin; i < end; ++i) {
    float x[Terms];
    bool zero = true;
    for (int p = 0; p < Terms; ++p) x[p] = s.x[p * s.inputs + i], zero = zero && x[p] == 0;
    if (!zero || !rests) few_terms_row<Terms>(x, s.dy, s.units, s.units, w + i * s.units, rule);
  }
}

// More terms, as long as the first-level cache holds dy: by tiles of four rows, each of which is read and written from end to end.
constexpr index_t kCachedGradients = 8192;
inline bool has_some_terms(const GradientSource& s) {
  return s.x && !prepares(s) && s.rows * s.units <= kCachedGradients && s.units >= 4 * kLanes && !is_made_first(s) &&
         !is_made_of_pieces(s);
}

// Accumulators, a row of dy and a broadcast value fit in the registers.
constexpr int kUpdateRows = 4, kUpdateVectors = (kRegisters - 1) / (kUpdateRows + 1);

// Rows x Vectors of w, from w on; x, dy: what their first term is multiplied by. Of the last vector `last` lanes are used, or all
// if Whole.
template <int Rows, int Vectors, bool Whole, class Rule>
inline void update_tile(const GradientSource& s, const float* x, const float* dy, float* w, int last, Rule rule) {
  const auto get = [last](const float* p, int j) {
    const float* at = p + j * kLanes;
    return Whole || j + 1 < Vectors ? load(at) : load_partial(at, last);
  };
  vfloat sum[Rows][Vectors] = {};
  for (index_t p = s.rows; p > 0; --p, x += s.inputs, dy += s.units) {
    vfloat row[Vectors];
    FASTNN_UNROLL
    for (int j = 0; j < Vectors; ++j) row[j] = get(dy, j);
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) sum[i][j] = multiply_add(x[i], row[j], sum[i][j]);
    }
  }
  FASTNN_UNROLL
  for (int i = 0; i < Rows; ++i, w += s.units) {
    FASTNN_UNROLL
    for (int j = 0; j < Vectors; ++j) {
      const vfloat updated = rule(get(w, j), sum[i][j]);
      Whole || j + 1 < Vectors ? store(w + j * kLanes, updated) : store_partial(w + j * kLanes, updated, last);
    }
  }
}

// So many rows of w, from row i on.
template <int Rows, class Rule>
inline void update_tiles(const GradientSource& s, index_t i, float* w, const Rule& rule) {
  const RowTiles tiles(ceil_div(s.units, kLanes), kUpdateVectors);  // of vectors
  for (index_t tile = 0; tile < tiles.count; ++tile) {
    const index_t first = tiles.start(tile) * kLanes;
    const int vectors = tiles.height(tile), last = static_cast<int>(min_of(kLanes, s.units - first - (vectors - 1) * kLanes));
    const auto run = [&]<int Vectors>(const auto& self) {
      if constexpr (Vectors > 1) {
        if (vectors < Vectors) return self.template operator()<Vectors - 1>(self);
      }
      const auto update = last == kLanes ? update_tile<Rows, Vectors, true, Rule> : update_tile<Rows, Vectors, false, Rule>;
      update(s, s.x + i, s.dy + first, w + i * s.units + first, last, rule);
    };
    run.template operator()<kUpdateVectors>(run);
  }
}

// w = rule(w, g), element by element, g of few terms or some. Inputs that are zero in few terms leave their row as it is, where
// nothing else would change it.
template <class Step, class Rule>
void update_rows(const Step& a, double cycles, const Rule& rule) {
  const GradientSource& s = a.source;
  const index_t rows = gradient_rows(s, a.slots);
  parallel_for(ceil_div(s.inputs, rows), rows * gradient_row_cycles(s, cycles), [&](index_t first, index_t last) {
    const index_t begin = first * rows, end = min_of(s.inputs, last * rows);
    if (has_few_terms(s)) return with_terms(s.rows, [&]<int Terms>() { update_block<Terms>(s, begin, end, a.w, rule); });
    index_t i = begin;
    for (; i + kUpdateRows <= end; i += kUpdateRows) update_tiles<kUpdateRows>(s, i, a.w, rule);
    for (; i < end; ++i) update_tiles<1>(s, i, a.w, rule);
  });
}

}  // namespace
