// data.h - moving data: gathering the rows of a batch, permuting axes, filling, counting.
#pragma once

#include "simd.h"

namespace {

using fastnn::Advance;
using fastnn::Fill;
using fastnn::GatherRows;
using fastnn::kMaxRank;
using fastnn::Permute;
using fastnn::Source;
using fastnn::StoreRows;

void advance(const Advance& a) { a.counter[0] += a.by; }

void fill(const Fill& a) {
  parallel_elements(a.n, 0.3, [&a](index_t begin, index_t end) {
    float* __restrict y = a.y;
    const float value = a.value;
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) y[i] = value;
  });
}

// y = x scale, n elements.
struct ScaledCopy {
  float scale;

  template <class X>
  inline void operator()(const X* __restrict x, float* __restrict y, index_t n) const {
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) y[i] = static_cast<float>(x[i]) * scale;
  }
};

// y = x, bit by bit. Arrays without elements may be null.
struct ExactCopy {
  template <class X>
  inline void operator()(const X* x, X* y, index_t n) const {
    if (n > 0) __builtin_memcpy(y, x, static_cast<std::size_t>(n) * sizeof(X));
  }
};

constexpr index_t kRowsAhead = 4, kBytesAhead = 1024;  // what is asked for of rows that will be needed soon

// Rows of X to rows of Y by copy(x, y, n). Rows in order are one run; shuffled ones come from anywhere in memory, where the
// processor cannot guess them in time.
template <class X, class Y, class Copy>
void gather(const GatherRows& a, const Copy& copy) {
  const X* source = reinterpret_cast<const X*>(a.source[0]);
  const index_t* order = reinterpret_cast<const index_t*>(a.order[0]);
  const index_t first = a.position[0], size = a.row_size;
  const index_t ahead = min_of(size * static_cast<index_t>(sizeof(X)), kBytesAhead);
  Y* out = static_cast<Y*>(a.out);
  parallel_for(a.rows, 20 + static_cast<double>(size), [=](index_t begin, index_t end) {
    if (!order) return copy(source + (first + begin) * size, out + begin * size, (end - begin) * size);
    for (index_t i = begin; i < end; ++i) {
      if (i + kRowsAhead < end) {
        const char* next = reinterpret_cast<const char*>(source + order[first + i + kRowsAhead] * size);
        for (index_t byte = 0; byte < ahead; byte += 64) __builtin_prefetch(next + byte);
      }
      copy(source + order[first + i] * size, out + i * size, size);
    }
  });
}

void gather_rows(const GatherRows& a) {
  if (a.kind == Source::int32) {
    gather<std::int32_t, std::int32_t>(a, ExactCopy{});
  } else if (a.kind == Source::uint8) {
    gather<std::uint8_t, float>(a, ScaledCopy{a.scale});
  } else if (a.scale == 1) {
    gather<float, float>(a, ExactCopy{});
  } else {
    gather<float, float>(a, ScaledCopy{a.scale});
  }
}

void store_rows(const StoreRows& a) {
  float* to = reinterpret_cast<float*>(a.target[0]) + a.position[0] * a.row_size;
  parallel_for(a.rows, 20 + static_cast<double>(a.row_size), [=](index_t begin, index_t end) {
    ExactCopy{}(a.x + begin * a.row_size, to + begin * a.row_size, (end - begin) * a.row_size);
  });
}

// One axis of a permutation: its length and the steps it takes through x and y.
struct Axis {
  index_t size, x_step, y_step;
};

// The axes of a permutation from the outside in, without those of length 1, neighbors that are one run in x merged.
struct Axes {
  int rank = 0;
  Axis axis[kMaxRank];

  explicit Axes(const Permute& a) {
    for (int i = 0; i < a.rank; ++i) {
      if (a.dims[i] == 1) continue;
      if (rank > 0 && axis[rank - 1].x_step == a.strides[i] * a.dims[i]) {
        axis[rank - 1].size *= a.dims[i];
        axis[rank - 1].x_step = a.strides[i];
      } else {
        axis[rank++] = {a.dims[i], a.strides[i], 0};
      }
    }
    index_t step = 1;
    for (int i = rank - 1; i >= 0; step *= axis[i--].size) axis[i].y_step = step;
  }

  index_t size() const {
    index_t n = 1;
    for (int i = 0; i < rank; ++i) n *= axis[i].size;
    return n;
  }

  Axis take(int i) {
    const Axis taken = axis[i];
    for (--rank; i < rank; ++i) axis[i] = axis[i + 1];
    return taken;
  }

  // The axis to copy together with the innermost one: that which is contiguous in x, else the longest. -1 if there is none.
  int best() const {
    int found = -1;
    for (int i = 0; i < rank; ++i) {
      if (axis[i].x_step == 1) return i;
      if (found < 0 || axis[i].size >= axis[found].size) found = i;
    }
    return found;
  }
};

// y[i y_step + j] = x[i x_row + j x_step], element by element.
inline void copy_strided(const float* x, index_t x_row, index_t x_step, float* y, index_t y_step, index_t rows, index_t columns) {
  for (index_t i = 0; i < rows; ++i) {
    for (index_t j = 0; j < columns; ++j) y[i * y_step + j] = x[i * x_row + j * x_step];
  }
}

// The same where x_row is 1.
inline void transpose(const float* x, index_t x_step, float* y, index_t y_step, index_t rows, index_t columns) {
  const index_t quad_rows = rows / 4 * 4, quad_columns = columns / 4 * 4;
  for (index_t i = 0; i < quad_rows; i += 4) {
    for (index_t j = 0; j < quad_columns; j += 4) transpose_quad(x + j * x_step + i, x_step, y + i * y_step + j, y_step);
  }
  copy_strided(x + quad_columns * x_step, 1, x_step, y + quad_columns, y_step, quad_rows, columns - quad_columns);
  copy_strided(x + quad_rows, 1, x_step, y + quad_rows * y_step, y_step, rows - quad_rows, columns);
}

constexpr index_t kPermuteTile = 32;  // rows and columns copied at a time: both sides of a transpose stay in the L1 cache

// y[i rows.y_step + j] = x[i rows.x_step + j columns.x_step]; the columns are contiguous in y.
inline void copy_plane(const float* x, float* y, const Axis& rows, const Axis& columns) {
  if (columns.x_step == 1) {
    for (index_t i = 0; i < rows.size; ++i) ExactCopy{}(x + i * rows.x_step, y + i * rows.y_step, columns.size);
    return;
  }
  for (index_t first = 0; first < columns.size; first += kPermuteTile) {
    const index_t count = min_of(kPermuteTile, columns.size - first);
    const float* from = x + first * columns.x_step;
    if (rows.x_step == 1) {
      transpose(from, columns.x_step, y + first, rows.y_step, rows.size, count);
    } else {
      copy_strided(from, rows.x_step, columns.x_step, y + first, rows.y_step, rows.size, count);
    }
  }
}

void permute(const Permute& a) {
  Axes outer(a);
  const index_t size = outer.size();
  if (size == 0) return;
  const Axis columns = outer.rank > 0 ? outer.take(outer.rank - 1) : Axis{1, 1, 1};
  const Axis rows = outer.rank > 0 ? outer.take(outer.best()) : Axis{1, 0, 0};
  const index_t tiles = ceil_div(rows.size, kPermuteTile), items = outer.size() * tiles;
  parallel_for(items, static_cast<double>(size / items), [&](index_t begin, index_t end) {
    for (index_t item = begin; item < end; ++item) {
      const index_t first = item % tiles * kPermuteTile;
      const float* x = a.x + first * rows.x_step;
      float* y = a.y + first * rows.y_step;
      index_t rest = item / tiles;
      for (int i = outer.rank - 1; i >= 0; --i) {
        x += rest % outer.axis[i].size * outer.axis[i].x_step;
        y += rest % outer.axis[i].size * outer.axis[i].y_step;
        rest /= outer.axis[i].size;
      }
      copy_plane(x, y, {min_of(kPermuteTile, rows.size - first), rows.x_step, rows.y_step}, columns);
    }
  });
}

}  // namespace
