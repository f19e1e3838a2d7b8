// update_source.h - where the gradient of an optimizer's step comes from: what is done to it, what a product is made of.
#pragma once

#include "gemm.h"
#include "math.h"

namespace {

using fastnn::GradientSource;

// Whether the gradient is anything but what is stored.
inline bool prepares(const GradientSource& s) { return s.factor || s.limit < kInfinity; }

// y = x scaled and cut; y may be x.
inline void prepare(const GradientSource& s, const float* x, float* y, index_t n) {
  const float factor = s.factor ? s.factor[0] : 1.0f, limit = s.limit;
  FASTNN_SIMD
  for (index_t i = 0; i < n; ++i) {
    const float g = x[i] * factor;
    y[i] = select(g > limit, limit, select(g < -limit, -limit, g));  // a NaN stays one
  }
}

// Of a row made and used, at `cycles` for each element's step.
inline double gradient_row_cycles(const GradientSource& s, double cycles) {
  return static_cast<double>(s.units) * (2.0 * s.rows / kFlopsPerCycle + cycles);
}

// Whether the matrix tiles make the product.
inline bool is_made_of_pieces(const GradientSource& s) { return s.x && is_made_of_pieces(s.inputs, s.units, s.rows); }

// dy as panels.
inline Panels packed_gradient(const GradientSource& s, float* to) {
  Panels dy = {s.dy, s.units, false, s.rows, s.units};
  parallel_for(dy.count(), 0.3 * s.rows * kPanel, [&](index_t begin, index_t end) {
    for (index_t panel = begin; panel < end; ++panel) {
      pack_panel(to + panel * kPanel * s.rows, s.dy + panel * kPanel, s.units, 1, s.rows, dy.columns(panel));
    }
  });
  dy.data = to, dy.packed = true;
  return dy;
}

}  // namespace
