// optim_parts.h - what optimizers do around their steps: norms and factors of gradients, rates, averages of weights.
#pragma once

#include "sums.h"
#include "update.h"

namespace {

using fastnn::ClipFactors;
using fastnn::Dot;
using fastnn::InverseNorm;
using fastnn::MovingAverage;
using fastnn::MuonMomentum;
using fastnn::PrepareGradient;
using fastnn::TakeRate;

index_t dot_scratch(const Dot& a) { return doubles(chunk_count(a.n)); }

void dot(const Dot& a) {
  a.sum[0] = chunked_sum(a.n, 0.6, reinterpret_cast<double*>(a.scratch), [&a](index_t i) { return exact_product(a.x[i], a.y[i]); });
}

void clip_factors(const ClipFactors& a) {
  const auto factor = [&a](double square) {
    const double norm = a.scale * __builtin_sqrt(square), limit = a.limit;
    return a.scale * (norm > limit ? limit / norm : norm == norm ? 1.0 : norm);
  };
  if (a.joint) {
    const double square = in_order(a.squares, a.count);
    a.factors[0] = static_cast<float>(factor(square) + (square - square));  // infinity - infinity is NaN
    return;
  }
  for (index_t i = 0; i < a.count; ++i) a.factors[i] = static_cast<float>(factor(a.squares[i]));
}

void inverse_norm(const InverseNorm& a) { a.factor[0] = static_cast<float>(1.0 / (__builtin_sqrt(a.square[0]) + a.epsilon)); }

void take_rate(const TakeRate& a) {
  const index_t place = a.counter[0] - a.first[0];
  a.rate[0] = a.rates[max_of(0, min_of(place, a.count - 1))];
}

void moving_average(const MovingAverage& a) {
  const float rest = a.iterations[0] == 0 ? 1.0f : static_cast<float>(1.0 - a.momentum);
  parallel_elements(a.n, 1.0, [&a, rest](index_t begin, index_t end) {
    const float* __restrict w = a.w;
    float* __restrict average = a.average;
    if (rest == 1.0f) {
      for (index_t i = begin; i < end; ++i) average[i] = w[i];
      return;
    }
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) average[i] = mul_add(w[i] - average[i], rest, average[i]);
  });
}

void prepare_gradient(const PrepareGradient& a) {
  update(a, 0.6, [&a](const float* __restrict g, index_t begin, index_t end) {
    float* __restrict y = a.y + begin;
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) y[i] = g[i];
  });
}

void muon_momentum(const MuonMomentum& a) {
  update(a, 1.0, [&a](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict mean = a.m + begin;
    float* __restrict u = a.u + begin;
    const float momentum = a.momentum, ahead = a.nesterov ? momentum : 1.0f, now = a.nesterov ? 1.0f : 0.0f;
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i], m = mul_add(momentum, mean[i], g);
      mean[i] = m;
      u[i] = mul_add(ahead, m, now * g);
    }
  });
}

}  // namespace
