// few_terms.h - rows of sums of up to four products: too short for tiles, what they cost is reading and writing where they go.
#pragma once

#include "simd.h"

namespace {

constexpr int kFewTerms = 4;

// body<terms>() with the number of terms as a constant.
template <int Least = 1, class Body>
inline void with_terms(index_t terms, const Body& body) {
  if constexpr (Least < kFewTerms) {
    if (terms > Least) return with_terms<Least + 1>(terms, body);
  }
  body.template operator()<Least>();
}

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

// c (Rows x n) += a b, the chains going on: each row of b, at b[p], is read from end to end.
template <int Rows, int Terms>
inline void add_few_terms(const float (&a)[Rows][Terms], const float* const (&b)[Terms], index_t n, float* c, index_t ldc) {
  const auto columns = [&](index_t j, auto get, auto put) {
    vfloat sum[Rows];
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) sum[i] = get(c + i * ldc + j);
    FASTNN_UNROLL
    for (int p = 0; p < Terms; ++p) {
      const vfloat row = get(b[p] + j);
      FASTNN_UNROLL
      for (int i = 0; i < Rows; ++i) sum[i] = multiply_add(a[i][p], row, sum[i]);
    }
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) put(c + i * ldc + j, sum[i]);
  };
  for_vectors(n, columns);
}

// c (m x n) = a b with `terms` terms, by the calling thread.
inline void multiply_few_terms(const float* a, index_t a_row, index_t a_col, const float* b, index_t b_row, float* c, index_t ldc,
                               index_t m, index_t n, index_t terms) {
  with_terms(terms, [&]<int Terms>() {
    for (index_t i = 0; i < m; ++i) {
      float row[Terms];
      for (int p = 0; p < Terms; ++p) row[p] = a[i * a_row + p * a_col];
      few_terms_row<Terms>(row, b, b_row, n, c + i * ldc, Replace());
    }
  });
}

}  // namespace
