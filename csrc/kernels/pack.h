// pack.h - operands of matrix products copied into the order in which the tiles read them.
//
// Panels of b lie side by side where they are used often enough to pay for the copy, or where b is transposed. Rows of a are
// copied into tile order where a long stride would make them collide in the cache.
#pragma once

#include "tile.h"

namespace {

// The columns of b, one panel after the other: packed (each panel k x kPanel, zeros behind the last column) or in place.
struct Panels {
  const float* data;
  index_t ld;  // row stride in place; unused when packed
  bool packed;
  index_t k, n;
  const std::int32_t* listed = nullptr;  // k rows in place, all others are left out

  const float* at(index_t panel) const { return packed ? data + panel * kPanel * k : data + panel * kPanel; }
  index_t row_stride() const { return packed ? kPanel : ld; }
  index_t count() const { return ceil_div(n, kPanel); }
  index_t columns(index_t panel) const { return min_of(kPanel, n - panel * kPanel); }
};

constexpr index_t packed_size(index_t k, index_t n) { return k * round_up(n, kPanel); }

// A square of a transposed copy: as many rows as the registers take at a time, four columns of them.
#if defined(__AVX__)
constexpr int kSquare = 8;
typedef float vsquare __attribute__((vector_size(32)));

// column[i][j] = at(j)[i] for i < 4. The rows j and j + 4 share a register from the start, so that the rest happens within its
// halves.
template <class At>
FASTNN_INLINE void load_transposed(const At& at, vsquare (&column)[4]) {
  vsquare row[4];
  FASTNN_UNROLL
  for (int j = 0; j < 4; ++j) {
    const __m256 low = _mm256_castps128_ps256(_mm_loadu_ps(at(j)));
    row[j] = _mm256_insertf128_ps(low, _mm_loadu_ps(at(j + 4)), 1);
  }
  const vsquare a = __builtin_shufflevector(row[0], row[1], 0, 8, 1, 9, 4, 12, 5, 13);
  const vsquare b = __builtin_shufflevector(row[2], row[3], 0, 8, 1, 9, 4, 12, 5, 13);
  const vsquare c = __builtin_shufflevector(row[0], row[1], 2, 10, 3, 11, 6, 14, 7, 15);
  const vsquare d = __builtin_shufflevector(row[2], row[3], 2, 10, 3, 11, 6, 14, 7, 15);
  column[0] = __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13);
  column[1] = __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
  column[2] = __builtin_shufflevector(c, d, 0, 1, 8, 9, 4, 5, 12, 13);
  column[3] = __builtin_shufflevector(c, d, 2, 3, 10, 11, 6, 7, 14, 15);
}

// column[i][j] = x[j x_step + i].
FASTNN_INLINE void load_transposed(const float* x, index_t x_step, vsquare (&column)[4]) {
  const float* const upper = opaque(x + 4 * x_step);
  load_transposed([=](int j) { return j < 4 ? x + j * x_step : upper + (j - 4) * x_step; }, column);
}

#if defined(__AVX512F__)
// The same of two squares, one below the other.
FASTNN_INLINE void load_transposed(const float* x, index_t x_step, vfloat (&column)[4]) {
  vsquare first[4], second[4];
  load_transposed(x, x_step, first);
  load_transposed(opaque(x + kSquare * x_step), x_step, second);
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) {
    column[i] = __builtin_shufflevector(first[i], second[i], 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
}
#endif
#else
constexpr int kSquare = 4;
typedef vquad vsquare;

template <class At>
FASTNN_INLINE void load_transposed(const At& at, vsquare (&column)[4]) {
  FASTNN_UNROLL
  for (int i = 0; i < 4; ++i) column[i] = vsquare{at(0)[i], at(1)[i], at(2)[i], at(3)[i]};
}
#endif

// put(i, j, v) for i < k, j < rows: v is x[j x_step + i], or a vector of them from j on. What is no multiple of a square, or of
// four columns, is covered by squares that overlap, if there is room for one.
template <class Put>
FASTNN_INLINE void transpose(const float* x, index_t x_step, index_t rows, index_t k, const Put& put) {
  const auto four_columns = [&]<class Square>(Square(&column)[4], index_t i, index_t j) {
    load_transposed(x + j * x_step + i, x_step, column);
    FASTNN_UNROLL
    for (int q = 0; q < 4; ++q) put(i + q, j, column[q]);
  };
  const auto all_columns = [&]<class Square>(Square(&column)[4], index_t j) {
    index_t i = 0;
    for (; i + 8 <= k; i += 8) four_columns(column, i, j), four_columns(column, i + 4, j);
    for (; i < k; i += 4) four_columns(column, min_of(i, k - 4), j);
  };
  index_t done = 0;
  if (k >= 4 && rows >= kSquare) {
    vsquare column[4];
    for (; done < rows; done += kSquare) all_columns(column, min_of(done, rows - kSquare));
  } else if (k >= 4 && rows >= 4) {
    vquad column[4];
    for (; done < rows; done += 4) all_columns(column, min_of(done, rows - 4));
  }
  for (index_t j = done; j < rows; ++j) {
    for (index_t i = 0; i < k; ++i) put(i, j, x[j * x_step + i]);
  }
}

// As stored anywhere.
template <class Vector>
struct Unaligned {
  typedef Vector type __attribute__((aligned(4), may_alias));
};

// y[i y_step + j] = x[j x_step + i] for i < k, j < rows.
inline void transpose_rows(const float* x, index_t x_step, float* y, index_t y_step, index_t rows, index_t k) {
  transpose(x, x_step, rows, k, [=]<class Value>(index_t i, index_t j, Value v) {
    *reinterpret_cast<typename Unaligned<Value>::type*>(y + i * y_step + j) = v;
  });
}

// Copies k x columns of b into one panel, zeros behind the last column.
inline void pack_panel(float* to, const float* b, index_t b_row, index_t b_col, index_t k, index_t columns) {
  if (b_col != 1) {
    if (b_row == 1) {
      transpose_rows(b, b_col, to, kPanel, columns, k);
    } else {
      for (index_t p = 0; p < k; ++p) {
        for (index_t j = 0; j < columns; ++j) to[p * kPanel + j] = b[p * b_row + j * b_col];
      }
    }
    for (index_t p = 0; p < k; ++p) {
      for (index_t j = columns; j < kPanel; ++j) to[p * kPanel + j] = 0.0f;
    }
    return;
  }
  for (index_t p = 0; p < k; ++p) {
    float* row = to + p * kPanel;
    const float* from = b + p * b_row;
    FASTNN_UNROLL
    for (int j = 0; j < kMaxVectors; ++j) {
      const index_t left = columns - j * kLanes;
      store(row + j * kLanes, left >= kLanes ? load(from + j * kLanes) : load_partial(from + j * kLanes, max_of(left, 0)));
    }
  }
}

// Copies the rows [begin, end) of k x n values of b into panels. The rows are contiguous, and read a few at a time all along, so
// that a wide b is read page by page.
constexpr index_t kPackedRun = 8;
inline void pack_panels(float* to, const float* b, index_t b_row, index_t k, index_t n, index_t begin, index_t end) {
  for (index_t p = begin; p < end; p += kPackedRun) {
    for (index_t j = 0; j < n; j += kPanel) {
      pack_panel(to + j * k + p * kPanel, b + p * b_row + j, b_row, 1, min_of(kPackedRun, end - p), min_of(kPanel, n - j));
    }
  }
}

// to[p * height + i] = a[i, p]: the rows of one tile, one column after the other.
inline void pack_rows(float* to, const float* a, index_t a_row, index_t a_col, int height, index_t k) {
  if (a_row != 1) return transpose_rows(a, a_row, to, height, height, k);
  // Whole vectors: what is too much belongs to the next columns of a, and is overwritten by the next columns of the copy. The last
  // columns have not enough behind them, in the copy, which may be narrower than a.
  const index_t excess = round_up(height, kLanes) - height, whole = max_of(0, k - ceil_div(excess, height));
  for (index_t p = 0; p < whole; ++p) {
    for (int i = 0; i < height; i += kLanes) store(to + p * height + i, load(a + p * a_col + i));
  }
  for (index_t p = whole; p < k; ++p) {
    for (int i = 0; i < height; i += kLanes) {
      const int count = static_cast<int>(min_of(kLanes, height - i));
      store_partial(to + p * height + i, load_partial(a + p * a_col + i, count), count);
    }
  }
}

}  // namespace
