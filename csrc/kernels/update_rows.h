// update_rows.h - a step whose gradient is a sum of up to three products, used where it is made: in registers.
#pragma once

#include "update.h"

namespace {

// Short rows would be partial vectors for the most part.
inline bool has_few_terms(const GradientSource& s) { return s.x && s.rows <= kFewTerms && s.units >= 4 * kLanes && !prepares(s); }

// One row of w; x: its values, one for each term.
template <int Terms, class Rule>
inline void update_row(const float (&x)[Terms], const float* dy, index_t units, float* w, const Rule& rule) {
  const auto columns = [&](index_t j, auto get, auto put) {
    vfloat sum = {};
    FASTNN_UNROLL
    for (int p = 0; p < Terms; ++p) sum = multiply_add(x[p], get(dy + p * units + j), sum);
    put(w + j, rule(get(w + j), sum));
  };
  const auto part = [&](index_t j, index_t count) {
    const int n = static_cast<int>(count);
    columns(j, [n](const float* p) { return load_partial(p, n); }, [n](float* p, vfloat v) { store_partial(p, v, n); });
  };
  // Stores that cross cache lines would take twice as long.
  const index_t before = (reinterpret_cast<std::size_t>(w) / sizeof(float)) % kLanes;
  index_t j = min_of(units, (kLanes - before) % kLanes);
  if (j > 0) part(0, j);
  for (; j + kLanes <= units; j += kLanes) columns(j, load, store);
  if (j < units) part(j, units - j);
}

template <int Terms, class Rule>
inline void update_block(const GradientSource& s, index_t begin, index_t end, float* w, const Rule& rule) {
  bool rests = rule.rests();
  for (index_t j = 0; j < Terms * s.units && rests; ++j) rests = s.dy[j] - s.dy[j] == 0;
  for (index_t i = begin; i < end; ++i) {
    float x[Terms];
    bool zero = true;
    for (int p = 0; p < Terms; ++p) x[p] = s.x[p * s.inputs + i], zero = zero && x[p] == 0;
    if (!zero || !rests) update_row<Terms>(x, s.dy, s.units, w + i * s.units, rule);
  }
}

// w = rule(w, g), element by element. Inputs that are zero leave their row as it is, where nothing else would change it.
template <class Step, class Rule>
void update_rows(const Step& a, double cycles, const Rule& rule) {
  const GradientSource& s = a.source;
  const index_t rows = gradient_rows(s);
  const double row_cycles = static_cast<double>(s.units) * (2.0 * s.rows / kFlopsPerCycle + cycles);
  parallel_for(ceil_div(s.inputs, rows), rows * row_cycles, [&](index_t first, index_t last) {
    const index_t begin = first * rows, end = min_of(s.inputs, last * rows);
    if (s.rows == 1) return update_block<1>(s, begin, end, a.w, rule);
    if (s.rows == 2) return update_block<2>(s, begin, end, a.w, rule);
    update_block<3>(s, begin, end, a.w, rule);
  });
}

}  // namespace
