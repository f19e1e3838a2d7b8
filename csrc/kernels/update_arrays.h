// update_arrays.h - what an optimizer's step reads and writes, to be fetched while its gradient is made.
#pragma once

#include "update_source.h"

namespace {

// The arrays that a step reads and writes, from one of their elements on; null where there is none.
struct StepArrays {
  static constexpr int kCount = 4;
  float* array[kCount] = {};
  index_t row = 0;  // distance between rows of weights

  template <class Step>
  StepArrays(const Step& a, index_t at) : row(a.source.units) {
    int count = 0;
    const auto put = [&](float* p) {
      if (p && count < kCount) array[count++] = p + at;
    };
    if constexpr (requires { a.w; }) put(a.w);
    if constexpr (requires { a.m; }) put(a.m);
    if constexpr (requires { a.v; }) put(a.v);
    if constexpr (requires { a.a; }) put(a.a);
    if constexpr (requires { a.d; }) put(a.d);
    if constexpr (requires { a.z; }) put(a.z);
    if constexpr (requires { a.u; }) put(a.u);
    if constexpr (requires { a.vhat; }) put(a.vhat);
    if constexpr (requires { a.velocity; }) put(a.velocity);
    if constexpr (requires { a.mean; }) put(a.mean);
  }

  // A row of a panel.
  FASTNN_INLINE void fetch_row(index_t i) const {
    for (int j = 0; j < kCount && array[j]; ++j) {
      FASTNN_UNROLL
      for (int k = 0; k < kPanel; k += kLineFloats) __builtin_prefetch(array[j] + i * row + k, 1, 2);
    }
  }

  // The first n elements.
  FASTNN_INLINE void fetch(index_t n) const {
    for (int j = 0; j < kCount && array[j]; ++j) {
      for (index_t k = 0; k < n; k += kLineFloats) __builtin_prefetch(array[j] + k, 1, 2);
    }
  }
};

}  // namespace
