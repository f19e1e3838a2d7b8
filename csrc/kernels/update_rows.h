// update_rows.h - a step whose gradient is a sum of up to four products, used where it is made: in registers.
#pragma once

#include "update.h"

namespace {

inline bool has_few_terms(const GradientSource& s) { return s.x && s.rows <= kFewTerms && !prepares(s); }

template <int Terms, class Rule>
inline void update_block(const GradientSource& s, index_t begin, index_t end, float* w, const Rule& rule) {
  bool rests = rule.rests();
  for (index_t j = 0; j < Terms * s.units && rests; ++j) rests = s.dy[j] - s.dy[j] == 0;
  for (index_t i = begin; i < end; ++i) {
    float x[Terms];
    bool zero = true;
    for (int p = 0; p < Terms; ++p) x[p] = s.x[p * s.inputs + i], zero = zero && x[p] == 0;
    if (!zero || !rests) few_terms_row<Terms>(x, s.dy, s.units, s.units, w + i * s.units, rule);
  }
}

// w = rule(w, g), element by element. Inputs that are zero leave their row as it is, where nothing else would change it.
template <class Step, class Rule>
void update_rows(const Step& a, double cycles, const Rule& rule) {
  const GradientSource& s = a.source;
  const index_t rows = gradient_rows(s, a.slots);
  parallel_for(ceil_div(s.inputs, rows), rows * gradient_row_cycles(s, cycles), [&](index_t first, index_t last) {
    const index_t begin = first * rows, end = min_of(s.inputs, last * rows);
    with_terms(s.rows, [&]<int Terms>() { update_block<Terms>(s, begin, end, a.w, rule); });
  });
}

}  // namespace
