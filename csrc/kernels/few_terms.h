// few_terms.h - rows of sums of up to three products: too short for tiles, what they cost is reading and writing where they go.
#pragma once

#include "simd.h"

namespace {

constexpr index_t kFewTerms = 3;

// out[j] = rule(out[j], sum over p of a[p] b[p, j]), the sum with the bits of a tile.
template <int Terms, class Rule>
inline void few_terms_row(const float (&a)[Terms], const float* b, index_t b_row, index_t n, float* out, const Rule& rule) {
  const auto columns = [&](index_t j, auto get, auto put) {
    vfloat sum = {};
    FASTNN_UNROLL
    for (int p = 0; p < Terms; ++p) sum = multiply_add(a[p], get(b + p * b_row + j), sum);
    put(out + j, rule(get(out + j), sum));
  };
  const auto part = [&](index_t j, index_t count) {
    const int some = static_cast<int>(count);
    columns(j, [some](const float* p) { return load_partial(p, some); }, [some](float* p, vfloat v) { store_partial(p, v, some); });
  };
  // Stores that cross cache lines would take twice as long.
  const index_t before = n < 4 * kLanes ? 0 : (reinterpret_cast<std::size_t>(out) / sizeof(float)) % kLanes;
  index_t j = before ? kLanes - before : 0;
  if (j > 0) part(0, j);
  for (; j + kLanes <= n; j += kLanes) columns(j, load, store);
  if (j < n) part(j, n - j);
}

struct Replace {
  vfloat operator()(vfloat, vfloat sum) const { return sum; }
};

template <int Terms>
inline void multiply_few_terms(const float* a, index_t a_row, index_t a_col, const float* b, index_t b_row, float* c, index_t ldc,
                               index_t m, index_t n) {
  for (index_t i = 0; i < m; ++i) {
    float row[Terms];
    for (int p = 0; p < Terms; ++p) row[p] = a[i * a_row + p * a_col];
    few_terms_row<Terms>(row, b, b_row, n, c + i * ldc, Replace());
  }
}

// c (m x n) = a b with `terms` terms, by the calling thread.
inline void multiply_few_terms(const float* a, index_t a_row, index_t a_col, const float* b, index_t b_row, float* c, index_t ldc,
                               index_t m, index_t n, index_t terms) {
  const auto multiply = terms == 1 ? multiply_few_terms<1> : terms == 2 ? multiply_few_terms<2> : multiply_few_terms<3>;
  multiply(a, a_row, a_col, b, b_row, c, ldc, m, n);
}

}  // namespace
