// listed.h - products of few rows of which many terms are zero in all of them: those rows of b are not read. An image, or what a
// relu lets through, has many; each is a row of the weights, and with a batch of one reading the weights is what a product costs.
#pragma once

#include "gemm_tiles.h"

namespace {

// Some terms of a product.
struct SomeTerms {
  LeftRows a;
  Panels b;
};

// The terms that are not zero, in order: a packed, and which rows of b go with it.
struct Listed {
  const float* a = nullptr;
  const std::int32_t* rows = nullptr;
  index_t count = 0;

  index_t position(index_t row) const {
    index_t low = 0;
    for (index_t high = count; low < high;) {
      const index_t middle = (low + high) / 2;
      if (rows[middle] < row)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }
};

constexpr index_t kListedColumns = 2 * kPanel;  // of b, at least: with fewer the list takes as long as reading them

inline bool may_list(const Gemm& g) {
  return g.skip_zeros && g.m <= kListedRows && g.b_col == 1 && g.n >= kListedColumns && g.k < (index_t{1} << 31);
}
inline index_t list_size(const Gemm& g) { return g.k * (g.m + 1); }

template <int Rows>
inline index_t list_rows(const Gemm& g, float* a, std::int32_t* rows) {
  index_t count = 0;
  for (index_t p = 0; p < g.k; ++p) {
    bool zero = true;
    FASTNN_UNROLL
    for (int i = 0; i < Rows; ++i) {
      const float value = g.a[i * g.a_row + p * g.a_col];
      a[count * Rows + i] = value;
      zero = zero & (value == 0.0f);
    }
    rows[count] = static_cast<std::int32_t>(p);
    count += !zero;
  }
  return count;
}

// None where less than an eighth of the terms is zero.
inline Listed list_terms(const Gemm& g) {
  auto* rows = reinterpret_cast<std::int32_t*>(g.scratch + g.k * g.m);
  const auto list = g.m == 1 ? list_rows<1> : g.m == 2 ? list_rows<2> : list_rows<3>;
  const index_t count = list(g, g.scratch, rows);
  if (count > g.k - g.k / 8) return {};
  return {g.scratch, rows, count};
}

// The terms [p0, p1) of the columns [j0, j1).
inline SomeTerms terms_of(const Gemm& g, const Listed& listed, index_t p0, index_t p1, index_t j0, index_t j1) {
  if (!listed.rows) return {{g.a + p0 * g.a_col, g.a_row, g.a_col}, {g.b + p0 * g.b_row + j0, g.b_row, false, p1 - p0, j1 - j0}};
  const index_t first = listed.position(p0), count = listed.position(p1) - first;
  return {{listed.a + first * g.m, 1, g.m}, {g.b + j0, g.b_row, false, count, j1 - j0, listed.rows + first}};
}

}  // namespace
