// narrow_rows.h - rows of at most 16 columns, sixteen rows at a time: a vector is one column of all of them, so that what is
// computed for a row is computed for sixteen. The bits are those of the rows one by one in softmax.h.
#pragma once

#include "math.h"
#include "simd.h"

namespace {

constexpr int kChunk = 16;       // columns, or here rows, that are worked on at a time, on every instruction set
constexpr index_t kFewRows = 4;  // fewer are done one by one

struct Chunk {
  alignas(64) float v[kChunk];
};

FASTNN_INLINE float larger(float a, float b) { return a > b ? a : b; }

// column[j].v[i] is element j of row i. Only `rows` of the rows and `cols` of the columns exist; a column that does not is 0.
struct NarrowRows {
  Chunk column[kChunk];
  index_t rows, cols;

  NarrowRows(index_t row_count, index_t column_count) : rows(row_count), cols(column_count) {
    for (index_t j = rows < kChunk ? 0 : cols; j < kChunk; ++j) column[j] = Chunk{};
  }

  NarrowRows(const float* x, index_t row_count, index_t column_count) : NarrowRows(row_count, column_count) {
    copy([=, this](index_t i, index_t j) { transpose_quad(x + i * cols + j, cols, column[j].v + i, kChunk); },
         [=, this](index_t i, index_t j) { column[j].v[i] = x[i * cols + j]; });
  }

  void write(float* y) const {
    copy([=, this](index_t i, index_t j) { transpose_quad(column[j].v + i, kChunk, y + i * cols + j, cols); },
         [=, this](index_t i, index_t j) { y[i * cols + j] = column[j].v[i]; });
  }

 private:
  // quad(i, j) for squares of 4 x 4 elements, the last columns maybe twice, one(i, j) for single ones.
  template <class Quad, class One>
  FASTNN_INLINE void copy(const Quad& quad, const One& one) const {
    const index_t quad_rows = cols < 4 ? 0 : rows / 4 * 4;
    for (index_t i = 0; i < quad_rows; i += 4) {
      for (index_t j = 0; j < cols; j += 4) quad(i, min_of(j, cols - 4));
    }
    for (index_t i = quad_rows; i < rows; ++i) {
      for (index_t j = 0; j < cols; ++j) one(i, j);
    }
  }
};

// The sum of each row, in the order of total().
FASTNN_INLINE Chunk row_totals(const NarrowRows& x) {
  Chunk sum;
  const Chunk* c = x.column;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) {
    const float a = (c[0].v[i] + c[8].v[i]) + (c[4].v[i] + c[12].v[i]), b = (c[1].v[i] + c[9].v[i]) + (c[5].v[i] + c[13].v[i]);
    const float d = (c[2].v[i] + c[10].v[i]) + (c[6].v[i] + c[14].v[i]), e = (c[3].v[i] + c[11].v[i]) + (c[7].v[i] + c[15].v[i]);
    sum.v[i] = (a + d) + (b + e);
  }
  return sum;
}

// The largest value of each row; a NaN need not win.
FASTNN_INLINE Chunk row_maxima(const NarrowRows& x) {
  Chunk top;
  for (int i = 0; i < kChunk; ++i) top.v[i] = -kInfinity;
  for (index_t j = 0; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) top.v[i] = larger(x.column[j].v[i], top.v[i]);
  }
  return top;
}

// e = exp(x - top), e may be x; returns the sums of the rows.
FASTNN_INLINE Chunk exp_rows(const NarrowRows& x, const Chunk& top, NarrowRows& e) {
  for (index_t j = 0; j < x.cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) e.column[j].v[i] = exp_f(x.column[j].v[i] - top.v[i]);
  }
  return row_totals(e);
}

// body(first, count) for up to sixteen rows at a time, one(i) for rows by themselves.
template <class Body, class One>
inline void for_narrow_rows(index_t begin, index_t end, const Body& body, const One& one) {
  index_t i = begin;
  for (; end - i >= kFewRows; i += min_of(kChunk, end - i)) body(i, min_of(kChunk, end - i));
  for (; i < end; ++i) one(i);
}

}  // namespace
