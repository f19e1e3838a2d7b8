// softmax.h - softmax rows, forward and backward, and the chunks of a row that the losses share with them.
#pragma once

#include "math.h"
#include "narrow_rows.h"
#include "simd.h"

namespace {

// A row is worked on in chunks (narrow_rows.h) of 16 columns on every instruction set, and a sum over it is 16 partial sums that
// are combined in one order: what comes out depends on the row alone, not on its neighbours, the threads or the width of a vector.
// The chunk at p, of which `count` columns exist (16 or more: all); the others read as `fill`.
FASTNN_INLINE void read_chunk(Chunk& c, const float* p, index_t count, float fill) {
  int i = 0;
  for (; i < kChunk && i + kLanes <= count; i += kLanes) store(c.v + i, load(p + i));
  if (i == kChunk) return;
  const int present = static_cast<int>(count);
  store(c.v + i, load_partial(p + i, present - i));
  for (i += kLanes; i < kChunk; i += kLanes) store(c.v + i, vfloat{});
  FASTNN_SIMD
  for (int k = 0; k < kChunk; ++k) c.v[k] = select(k < present, c.v[k], fill);
}

FASTNN_INLINE Chunk load_chunk(const float* p, index_t count, float fill) {
  Chunk c;
  read_chunk(c, p, count, fill);
  return c;
}

// Writes the columns that exist.
FASTNN_INLINE void store_chunk(float* p, const Chunk& c, index_t count) {
  int i = 0;
  for (; i < kChunk && i + kLanes <= count; i += kLanes) store(p + i, load(c.v + i));
  if (i < kChunk && i < count) store_partial(p + i, load(c.v + i), static_cast<int>(count) - i);
}

// The sum of the 16, added in one order everywhere: columns 8 apart, then 4, 2 and 1 apart.
FASTNN_INLINE float total(const Chunk& c) {
  typedef float vquad __attribute__((vector_size(16), may_alias));
  const vquad* q = reinterpret_cast<const vquad*>(c.v);
  const vquad s = (q[0] + q[2]) + (q[1] + q[3]);
  return (s[0] + s[2]) + (s[1] + s[3]);
}

FASTNN_INLINE float largest(const Chunk& c) {
  float top = c.v[0];
  _Pragma("omp simd reduction(max : top)") for (int i = 0; i < kChunk; ++i) top = larger(c.v[i], top);
  return top;
}

// Where the last chunk of a row starts. It has 1 to 16 columns and is kept in a local variable from pass to pass, so
// that a row of at most 16 columns is read and written once.
FASTNN_INLINE index_t last_chunk(index_t cols) { return (cols - 1) / kChunk * kChunk; }

// The largest value of a row whose last chunk, padded with -infinity, is `last`. A NaN need not win: its exp is a NaN
// too.
FASTNN_INLINE float row_max(const float* x, index_t start_of_last, const Chunk& last) {
  Chunk top, more;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) top.v[i] = more.v[i] = larger(last.v[i], -kInfinity);
  index_t j = 0;
  for (; j + 2 * kChunk <= start_of_last; j += 2 * kChunk) {  // a maximum waits for the one before: two chains of them
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) top.v[i] = larger(x[j + i], top.v[i]);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) more.v[i] = larger(x[j + kChunk + i], more.v[i]);
  }
  if (j < start_of_last) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) top.v[i] = larger(x[j + i], top.v[i]);
  }
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) top.v[i] = larger(more.v[i], top.v[i]);
  return largest(top);
}

// e = exp(x - top) and its sum; the last chunk is replaced in place and not written to e. e may be x, or null.
FASTNN_INLINE float exp_row(const float* x, float* e, index_t start_of_last, float top, Chunk& last) {
  Chunk sum;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) sum.v[i] = last.v[i] = exp_f(last.v[i] - top);
  for (index_t j = 0; j < start_of_last; j += kChunk) {
    Chunk here;
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) here.v[i] = exp_f(x[j + i] - top);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] += here.v[i];
    if (e) store_chunk(e + j, here, kChunk);
  }
  return total(sum);
}

// Up to kExpRows rows whose passes take turns: the maximum, the sum and the logarithm of a row are chains of instructions, and
// what the next row needs does not wait for them. Their exps wait in e, but for those of the last chunks; e may be x, or null.
constexpr int kExpRows = 8;
constexpr index_t kExpFloats = 1 << 12;  // of x and e, as many each, in the first-level cache

struct ExpRows {
  index_t rows, cols, start;
  Chunk last[kExpRows];
  float top[kExpRows] = {}, sum[kExpRows] = {};

  FASTNN_INLINE ExpRows(const float* x, float* e, index_t row_count, index_t column_count)
      : rows(row_count), cols(column_count), start(last_chunk(column_count)) {
    for (index_t i = 0; i < rows; ++i) {
      read_chunk(last[i], x + i * cols + start, cols - start, -kInfinity);
      top[i] = row_max(x + i * cols, start, last[i]);
    }
    for (index_t i = 0; i < rows; ++i) sum[i] = exp_row(x + i * cols, e ? e + i * cols : nullptr, start, top[i], last[i]);
  }
};

// body(first, count) for all rows in [begin, end), as many at a time as ExpRows takes.
template <class Body>
inline void for_rows_together(index_t begin, index_t end, index_t cols, const Body& body) {
  const index_t most = max_of(index_t{1}, min_of(kExpRows, kExpFloats / max_of(index_t{1}, cols)));
  for (index_t i = begin; i < end; i += most) body(i, min_of(most, end - i));
}

inline void softmax_rows(const float* x, float* y, index_t rows, index_t cols) {
  ExpRows e(x, y, rows, cols);
  const index_t start = e.start;
  for (index_t i = 0; i < rows; ++i) {
    const float scale = 1.0f / e.sum[i];
    float* row = y + i * cols;
    for (index_t j = 0; j < start; j += kChunk) {
      FASTNN_SIMD
      for (int k = 0; k < kChunk; ++k) row[j + k] *= scale;
    }
    FASTNN_SIMD
    for (int k = 0; k < kChunk; ++k) e.last[i].v[k] *= scale;
    store_chunk(row + start, e.last[i], cols - start);
  }
}

inline void softmax_row_backward(const float* dy, const float* y, float* dx, index_t cols) {
  const index_t start = last_chunk(cols);
  Chunk last_dy = load_chunk(dy + start, cols - start, 0.0f);
  const Chunk last_y = load_chunk(y + start, cols - start, 0.0f);
  Chunk sum;
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) sum.v[i] = last_dy.v[i] * last_y.v[i];
  for (index_t j = 0; j < start; j += kChunk) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] = mul_add(dy[j + i], y[j + i], sum.v[i]);
  }
  const float mean = total(sum);
  for (index_t j = 0; j < start; j += kChunk) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) dx[j + i] = y[j + i] * (dy[j + i] - mean);
  }
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) last_dy.v[i] = last_y.v[i] * (last_dy.v[i] - mean);
  store_chunk(dx + start, last_dy, cols - start);
}

// Estimated cycles of a row: its reductions, and what a column costs.
FASTNN_INLINE double row_cycles(index_t cols, double per_column) { return 40.0 + per_column * static_cast<double>(cols); }

inline void softmax_narrow_rows(const float* x, float* y, index_t rows, index_t cols) {
  NarrowRows e(x, rows, cols);
  Chunk scale = exp_rows(e, row_maxima(e), e);
  FASTNN_SIMD
  for (int i = 0; i < kChunk; ++i) scale.v[i] = 1.0f / scale.v[i];
  for (index_t j = 0; j < cols; ++j) {
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) e.column[j].v[i] *= scale.v[i];
  }
  e.write(y);
}

void softmax_forward(const fastnn::SoftmaxForward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 2.0), [&a](index_t begin, index_t end) {
    const auto rows = [&a](index_t i, index_t count) { softmax_rows(a.x + i * a.cols, a.y + i * a.cols, count, a.cols); };
    const auto narrow = [&a](index_t i, index_t count) { softmax_narrow_rows(a.x + i * a.cols, a.y + i * a.cols, count, a.cols); };
    if (a.cols > kChunk) return for_rows_together(begin, end, a.cols, rows);
    for_narrow_rows(begin, end, narrow, [&rows](index_t i) { rows(i, 1); });
  });
}

void softmax_backward(const fastnn::SoftmaxBackward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 1.0), [&a](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      softmax_row_backward(a.dy + i * a.cols, a.y + i * a.cols, a.dx + i * a.cols, a.cols);
    }
  });
}

}  // namespace
