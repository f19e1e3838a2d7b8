// column_sums.h - column sums, by themselves and of the gradient that an activation passes on.
#pragma once

#include "activation.h"
#include "folded_rows.h"
#include "simd.h"

namespace {

using fastnn::ActivationBackward;
using fastnn::ColumnSums;

// sum[j] += x[i, j] over the rows in order, for `Vectors` vectors of columns.
template <int Vectors>
inline void add_vectors(const float* x, index_t rows, index_t cols, float* sum) {
  vfloat total[Vectors];
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) total[v] = load(sum + v * kLanes);
  for (index_t i = 0; i < rows; ++i, x += cols) {
    FASTNN_UNROLL
    for (int v = 0; v < Vectors; ++v) total[v] += load(x + v * kLanes);
  }
  FASTNN_UNROLL
  for (int v = 0; v < Vectors; ++v) store(sum + v * kLanes, total[v]);
}

// sum[j] += x[i, j] over all rows in order. The last vector may stick out of its row: it reads the next one into lanes that nobody
// looks at, up to sum[round_up(cols, kLanes)]. The last row has no next one, nor has one that is narrower than what sticks out.
inline void add_rows(const float* x, index_t rows, index_t cols, float* sum) {
  const index_t spill = round_up(cols, kLanes) - cols, whole = max_of(0, rows - ceil_div(spill, cols));
  index_t j = 0;
  for (; j + 4 * kLanes <= cols + spill; j += 4 * kLanes) add_vectors<4>(x + j, whole, cols, sum + j);
  for (; j < cols; j += kLanes) add_vectors<1>(x + j, whole, cols, sum + j);
  for (index_t i = whole; i < rows; ++i) {
    FASTNN_SIMD
    for (index_t k = 0; k < cols; ++k) sum[k] += x[i * cols + k];
  }
}

// Short rows are folded to `width` columns of 64 or fewer, and the folded rows cut into chunks with a partial sum of each column,
// all by the shape alone.
struct SumPlan {
  static constexpr index_t kColumns = 64, kChunks = 32, kRows = 64;
  FoldedRows view;
  index_t step, chunks, stride;

  SumPlan(index_t rows, index_t cols)
      : view(rows, cols, kColumns),
        step(max_of(kRows, ceil_div(view.rows, kChunks))),
        chunks(ceil_div(view.rows, step)),
        stride(round_up(view.width, kLineFloats)) {}

  index_t scratch() const { return chunks * stride; }
};

// y = the column sums of rows x cols numbers of which block(first, n) gives n <= max(most, cols) from number `first` on, `cycles`
// each.
template <class Block>
void sum_columns(index_t rows, index_t cols, double cycles, index_t most, float* scratch, float* y, const Block& block) {
  for (index_t j = 0; j < cols; ++j) y[j] = 0.0f;
  if (rows * cols == 0) return;
  const SumPlan plan(rows, cols);
  const index_t width = plan.view.width, some = max_of(1, most / width);
  parallel_for(plan.chunks, cycles * static_cast<double>(plan.step * width), [&](index_t begin, index_t end) {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      float* sum = scratch + chunk * plan.stride;
      for (index_t j = 0; j < plan.stride; ++j) sum[j] = 0.0f;
      const index_t last = min_of(plan.view.rows, (chunk + 1) * plan.step);
      for (index_t i = chunk * plan.step; i < last; i += some) {
        const index_t count = min_of(some, last - i), n = (count - 1) * width + plan.view.width_of(i + count - 1);
        const float* x = block(i * width, n);
        const index_t full = n / width;
        add_rows(x, full, width, sum);
        for (index_t j = 0; j < n - full * width; ++j) sum[j] += x[full * width + j];
      }
    }
  });
  for (index_t chunk = 0; chunk < plan.chunks; ++chunk) {
    for (index_t first = 0; first < width; first += cols) {
      const float* __restrict sum = scratch + chunk * plan.stride + first;
      FASTNN_SIMD
      for (index_t j = 0; j < cols; ++j) y[j] += sum[j];
    }
  }
}

inline index_t sum_scratch(index_t rows, index_t cols) { return rows * cols == 0 ? 0 : SumPlan(rows, cols).scratch(); }

index_t column_sums_scratch(const ColumnSums& a) { return sum_scratch(a.rows, a.cols); }

void column_sums(const ColumnSums& a) {
  sum_columns(a.rows, a.cols, 0.3, a.rows * a.cols, a.scratch, a.y, [&a](index_t first, index_t) { return a.x + first; });
}

index_t activation_backward_scratch(const ActivationBackward& a) { return a.sums ? sum_scratch(a.n / a.cols, a.cols) : 0; }

void activation_backward(const ActivationBackward& a) {
  with_activation(a.kind, a.alpha, [&a](auto f) {
    const float* at = f.kSlopeOfOutput ? a.y : a.x;
    const auto range = [&a, f, at](index_t first, index_t n) {
      map(n, Slope<decltype(f)>{f}, a.dx + first, a.dy + first, at + first);
      return a.dx + first;
    };
    if (a.sums) {
      constexpr index_t kBlock = 2048;  // stays in the L1 cache until it is added up
      sum_columns(a.n / a.cols, a.cols, f.kCycles + 0.3, kBlock, a.scratch, a.sums, range);
    } else {
      parallel_elements(a.n, f.kCycles, [&range](index_t begin, index_t end) { range(begin, end - begin); });
    }
  });
}

}  // namespace
