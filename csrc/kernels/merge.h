// merge.h - several arrays into one and back: sums, products and extrema element by element, concatenation; rows of length 1.
//
// The element-wise kernels are bound by memory: each reads every array once and writes once.
#pragma once

#include "math.h"
#include "simd.h"
#include "softmax.h"

namespace {

using fastnn::Add;
using fastnn::Concatenate;
using fastnn::ExtremumBackward;
using fastnn::Merge;
using fastnn::Split;

// body(Count<count>) for 1 <= count <= kMaxMerged: the number of arrays as a constant unrolls the loop over
// them inside of the loop over the elements.
template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

template <class Body>
void with_count(int count, const Body& body) {
  switch (count) {
    case 1:
      return body(Count<1>{});
    case 2:
      return body(Count<2>{});
    case 3:
      return body(Count<3>{});
    case 4:
      return body(Count<4>{});
    case 5:
      return body(Count<5>{});
    case 6:
      return body(Count<6>{});
    case 7:
      return body(Count<7>{});
    default:
      return body(Count<fastnn::kMaxMerged>{});
  }
}

constexpr double kMergeCycles = 0.2;  // of one element of one array

void add(const Add& a) {
  with_count(a.count, [&a](auto count) {
    constexpr int kCount = decltype(count)::value;
    parallel_elements(a.n, kMergeCycles * (kCount + 1), [&a](index_t begin, index_t end) {
      float* y = a.y;
      const float* x[kCount];
      float weight[kCount];  // copies: a store to y cannot have changed them
      for (int j = 0; j < kCount; ++j) {
        x[j] = a.x[j];
        weight[j] = a.weight[j];
      }
      FASTNN_SIMD
      for (index_t i = begin; i < end; ++i) {
        float sum = weight[0] * x[0][i];
        for (int j = 1; j < kCount; ++j) sum = mul_add(weight[j], x[j][i], sum);
        y[i] = sum;
      }
    });
  });
}

struct Times {
  FASTNN_INLINE float operator()(float a, float b) const { return a * b; }
};

struct Larger {
  FASTNN_INLINE float operator()(float a, float b) const { return b > a || b != b ? b : a; }
};

struct Smaller {
  FASTNN_INLINE float operator()(float a, float b) const { return b < a || b != b ? b : a; }
};

template <class Join>
void merge(const Merge& a, Join join) {
  with_count(a.count, [&a, join](auto count) {
    constexpr int kCount = decltype(count)::value;
    parallel_elements(a.n, kMergeCycles * (kCount + 1), [&a, join](index_t begin, index_t end) {
      float* y = a.y;
      const float* x[kCount];
      for (int j = 0; j < kCount; ++j) x[j] = a.x[j];
      FASTNN_SIMD
      for (index_t i = begin; i < end; ++i) {
        float value = x[0][i];
        for (int j = 1; j < kCount; ++j) value = join(value, x[j][i]);
        y[i] = value;
      }
    });
  });
}

void multiply(const Merge& a) { merge(a, Times{}); }
void maximum(const Merge& a) { merge(a, Larger{}); }
void minimum(const Merge& a) { merge(a, Smaller{}); }

void extremum_backward(const ExtremumBackward& a) {
  parallel_elements(a.n, 2 * kMergeCycles * (a.count + 1), [&a](index_t begin, index_t end) {
    constexpr index_t kBlock = 256;  // what none has taken yet, kept while all arrays are gone through
    float left[kBlock];
    for (index_t first = begin; first < end; first += kBlock) {
      const index_t n = min_of(kBlock, end - first);
      const float *y = a.y + first, *dy = a.dy + first;
      FASTNN_SIMD
      for (index_t i = 0; i < n; ++i) left[i] = dy[i];
      for (int j = 0; j < a.count; ++j) {
        const float* x = a.x[j] + first;
        float* dx = a.dx[j] + first;
        FASTNN_SIMD
        for (index_t i = 0; i < n; ++i) {
          const bool takes = x[i] == y[i];
          dx[i] = takes ? left[i] : 0.0f;
          left[i] = takes ? 0.0f : left[i];
        }
      }
      if (a.rest) __builtin_memcpy(a.rest + first, left, static_cast<std::size_t>(n) * sizeof(float));
    }
  });
}

inline void copy_floats(const float* x, float* y, index_t n) {
  if (n > 0) __builtin_memcpy(y, x, static_cast<std::size_t>(n) * sizeof(float));
}

// move(row, j, column) for every row and array j, whose part of the long rows begins at that column.
template <class Rows, class Move>
void for_parts(const Rows& a, const Move& move) {
  index_t columns[fastnn::kMaxMerged + 1] = {};
  for (int j = 0; j < a.count; ++j) columns[j + 1] = columns[j] + a.width[j];
  const double floats = static_cast<double>(columns[a.count]) / a.count;
  parallel_for(a.rows * a.count, 20 + 0.5 * floats, [&](index_t begin, index_t end) {
    index_t row = begin / a.count;
    int j = static_cast<int>(begin % a.count);
    for (index_t i = begin; i < end; ++i) {
      move(row, j, columns[j]);
      if (++j == a.count) ++row, j = 0;
    }
  });
}

void concatenate(const Concatenate& a) {
  for_parts(a, [&a](index_t row, int j, index_t column) {
    copy_floats(a.x[j] + row * a.width[j], a.y + row * a.y_step + column, a.width[j]);
  });
}

void split(const Split& a) {
  for_parts(a, [&a](index_t row, int j, index_t column) {
    copy_floats(a.x + row * a.x_step + column, a.y[j] + row * a.width[j], a.width[j]);
  });
}

// The sum of a b over a row.
inline float row_dot(const float* a, const float* b, index_t cols) {
  Chunk sum = {};
  for (index_t j = 0; j < cols; j += kChunk) {
    const Chunk p = load_chunk(a + j, cols - j, 0.0f), q = load_chunk(b + j, cols - j, 0.0f);
    FASTNN_SIMD
    for (int i = 0; i < kChunk; ++i) sum.v[i] = mul_add(p.v[i], q.v[i], sum.v[i]);
  }
  return total(sum);
}

constexpr float kSmallestSquare = 1e-12f, kLargestScale = 1e6f;

// A row whose sum of squares is beyond float32: y holds it scaled down, then divided by its length.
inline float unit_norm_large_row(const float* x, float* y, index_t cols) {
  constexpr float kSmall = 0x1p-70f;
  FASTNN_SIMD
  for (index_t j = 0; j < cols; ++j) y[j] = x[j] * kSmall;
  const float r = 1.0f / __builtin_sqrtf(row_dot(y, y, cols));
  FASTNN_SIMD
  for (index_t j = 0; j < cols; ++j) y[j] *= r;
  return r * kSmall;
}

void unit_norm_forward(const fastnn::UnitNormForward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 1.0), [&a](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const float* x = a.x + row * a.cols;
      float* y = a.y + row * a.cols;
      const float square = row_dot(x, x, a.cols);
      if (square == kInfinity) {
        a.r[row] = unit_norm_large_row(x, y, a.cols);
        continue;
      }
      const float r = square <= kSmallestSquare ? kLargestScale : 1.0f / __builtin_sqrtf(square);
      a.r[row] = r;
      FASTNN_SIMD
      for (index_t j = 0; j < a.cols; ++j) y[j] = x[j] * r;
    }
  });
}

void unit_norm_backward(const fastnn::UnitNormBackward& a) {
  parallel_for(a.rows, row_cycles(a.cols, 1.0), [&a](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) {
      const float *dy = a.dy + row * a.cols, *y = a.y + row * a.cols;
      float* dx = a.dx + row * a.cols;
      const float r = a.r[row], along = r == kLargestScale ? 0.0f : row_dot(dy, y, a.cols);
      FASTNN_SIMD
      for (index_t j = 0; j < a.cols; ++j) dx[j] = r * mul_add(-along, y[j], dy[j]);
    }
  });
}

}  // namespace
