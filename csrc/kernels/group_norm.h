// group_norm.h - groups of channels of each sample brought to mean 0 and variance 1, and the gradients of that.
#pragma once

#include "math.h"
#include "norm_backward.h"
#include "simd.h"

namespace {

using fastnn::GroupNormBackward;
using fastnn::GroupNormForward;

// sums[s][c] = the sum of term s over the positions of one sample, for every channel c: in float over some rows of them, then in
// double. make(table) is the term, which reads table[0][i] for column i: what of(c) says of its channel.
template <class Of, class Make, int Sums>
void channel_sums(index_t positions, index_t channels, const Of& of, const Make& make, double* const (&sums)[Sums]) {
  const FoldedRows view = folded_sample(positions, channels, kNormColumns);
  for (double* all : sums) {
    for (index_t c = 0; c < channels; ++c) all[c] = 0.0;
  }
  for (index_t column = 0; column < view.width; column += kNormColumns) {
    const index_t count = min_of(kNormColumns, view.width - column);
    alignas(64) float table[1][kNormColumns] = {}, totals[Sums][kNormColumns];
    spread_channels(column, count, channels, table[0], of);
    for (index_t row = 0; row < view.rows; row += kNormRows) {
      sum_block(NormBlock{view, row, min_of(row + kNormRows, view.rows), column, count}, make(table), totals);
      for (int s = 0; s < Sums; ++s) {
        for (index_t first = 0; first < count; first += channels) {
          const index_t some = min_of(channels, count - first);
          for (index_t i = 0; i < some; ++i) sums[s][column + i] += static_cast<double>(totals[s][first + i]);
        }
      }
    }
  }
}

// Per thread: sums in double and coefficients of every channel.
inline index_t group_slot(index_t channels) { return 8 * round_up(channels, kLineFloats); }

struct GroupSlot {
  double *sums, *more;
  float *center, *factor, *first, *second;

  GroupSlot(float* scratch, int slot, index_t channels) {
    const index_t stride = round_up(channels, kLineFloats);
    float* at = scratch + slot * group_slot(channels);
    sums = reinterpret_cast<double*>(at), more = sums + stride;
    center = at + 4 * stride, factor = center + stride, first = factor + stride, second = first + stride;
  }
};

// The sum over the channels of group g, in order.
inline double group_sum(const double* sums, index_t g, index_t width) {
  double sum = 0.0;
  for (index_t c = g * width; c < (g + 1) * width; ++c) sum += sums[c];
  return sum;
}

inline void group_norm_sample(const GroupNormForward& a, index_t n, const GroupSlot& s) {
  const index_t channels = a.groups * a.width;
  const float* x = a.x + n * a.positions * channels;
  float* y = a.y + n * a.positions * channels;
  const double count = static_cast<double>(a.positions * a.width);
  // From the first position on, so that a large mean costs no digits.
  channel_sums(
      a.positions, channels, [x](index_t c) { return x[c]; },
      [x](const float(*table)[kNormColumns]) { return ShiftedTerm{x, table[0]}; }, {s.sums});
  for (index_t c = 0; c < channels; ++c) s.sums[c] += static_cast<double>(a.positions) * static_cast<double>(x[c]);
  for (index_t g = 0; g < a.groups; ++g) {
    const float mean = static_cast<float>(group_sum(s.sums, g, a.width) / count);
    a.mean[n * a.groups + g] = mean;
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) s.center[c] = mean;
  }
  channel_sums(
      a.positions, channels, [&s](index_t c) { return s.center[c]; },
      [x](const float(*table)[kNormColumns]) { return SquareTerm{x, table[0]}; }, {s.sums});
  for (index_t g = 0; g < a.groups; ++g) {
    const float rstd = reciprocal_deviation(static_cast<float>(group_sum(s.sums, g, a.width) / count), a.epsilon);
    a.rstd[n * a.groups + g] = rstd;
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) {
      s.factor[c] = a.gamma ? a.gamma[c] * rstd : rstd;
      s.first[c] = a.beta ? a.beta[c] : 0.0f;
    }
  }
  const FoldedRows view = folded_sample(a.positions, channels, kApplyFold);
  const auto of = [&s](index_t c) { return Coefficients<3>{s.center[c], s.factor[c], s.first[c]}; };
  apply_to_rows<3>(view, channels, 0, view.rows, of, [=](index_t at, index_t n, const float(*table)[kApplyColumns]) {
    const float* __restrict from = x + at;
    float* __restrict to = y + at;
    const float* __restrict center = table[0], * __restrict factor = table[1], * __restrict shift = table[2];
    FASTNN_SIMD
    for (index_t i = 0; i < n; ++i) to[i] = mul_add(from[i] - center[i], factor[i], shift[i]);
  });
}

index_t group_norm_forward_scratch(const GroupNormForward& a) { return a.slots * group_slot(a.groups * a.width); }

void group_norm_forward(const GroupNormForward& a) {
  const double cycles = 2.0 * static_cast<double>(a.positions * a.groups * a.width);
  parallel_for(a.samples, cycles, a.slots, [&a](index_t begin, index_t end, int slot) {
    const GroupSlot scratch(a.scratch, slot, a.groups * a.width);
    for (index_t n = begin; n < end; ++n) group_norm_sample(a, n, scratch);
  });
}

// dx of a sample, and its parts of dgamma and dbeta.
inline void group_norm_sample_backward(const GroupNormBackward& a, index_t n, const GroupSlot& s, float* dgamma, float* dbeta) {
  const index_t channels = a.groups * a.width, offset = n * a.positions * channels;
  const float *x = a.x + offset, *dy = a.dy + offset;
  const double share = 1.0 / static_cast<double>(a.positions * a.width);
  for (index_t c = 0; c < channels; ++c) s.center[c] = a.mean[n * a.groups + c / a.width];
  channel_sums(
      a.positions, channels, [&s](index_t c) { return s.center[c]; },
      [=](const float(*table)[kNormColumns]) { return GradientTerm<NoRelu, false>{{}, x, dy, table, nullptr}; }, {s.more, s.sums});
  for (index_t c = 0; c < channels; ++c) dbeta[c] = static_cast<float>(s.more[c]);
  for (index_t g = 0; g < a.groups; ++g) {
    const float rstd = a.rstd[n * a.groups + g];
    double along = 0.0, slope = 0.0;
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) {
      const double gamma = a.gamma ? static_cast<double>(a.gamma[c]) : 1.0;
      along += gamma * static_cast<double>(dbeta[c]);
      slope += gamma * s.sums[c];
    }
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) {
      s.factor[c] = a.gamma ? a.gamma[c] * rstd : rstd;
      s.first[c] = rstd * static_cast<float>(share * along);
      s.second[c] = static_cast<float>(share * slope) * (rstd * rstd * rstd);
      dgamma[c] = static_cast<float>(s.sums[c] * static_cast<double>(rstd));
    }
  }
  const FoldedRows view = folded_sample(a.positions, channels, kApplyFold);
  const auto of = [&s](index_t c) { return Coefficients<4>{s.center[c], s.factor[c], s.first[c], s.second[c]}; };
  apply_to_rows<4>(view, channels, 0, view.rows, of, [=, &a](index_t at, index_t size, const float(*table)[kApplyColumns]) {
    const float* __restrict from = x + at, * __restrict above = dy + at;
    float* __restrict out = a.dx + offset + at;
    const float* __restrict center = table[0], * __restrict factor = table[1];
    const float* __restrict first = table[2], * __restrict second = table[3];
    FASTNN_SIMD
    for (index_t i = 0; i < size; ++i) {
      out[i] = mul_add(-(from[i] - center[i]), second[i], mul_add(factor[i], above[i], -first[i]));
    }
  });
}

index_t group_norm_backward_scratch(const GroupNormBackward& a) {
  const index_t channels = a.groups * a.width;
  return a.slots * group_slot(channels) + 2 * a.samples * round_up(channels, kLineFloats);
}

void group_norm_backward(const GroupNormBackward& a) {
  const index_t channels = a.groups * a.width, stride = round_up(channels, kLineFloats);
  float* parts = a.scratch + a.slots * group_slot(channels);
  const double cycles = 3.0 * static_cast<double>(a.positions * channels);
  parallel_for(a.samples, cycles, a.slots, [&](index_t begin, index_t end, int slot) {
    const GroupSlot scratch(a.scratch, slot, channels);
    for (index_t n = begin; n < end; ++n) {
      float* part = parts + 2 * n * stride;
      group_norm_sample_backward(a, n, scratch, part, part + stride);
    }
  });
  const auto join = [&](float* out, index_t offset) {
    for (index_t c = 0; out && c < channels; ++c) {
      double sum = 0.0;
      for (index_t n = 0; n < a.samples; ++n) sum += static_cast<double>(parts[2 * n * stride + offset + c]);
      out[c] = static_cast<float>(sum);
    }
  };
  join(a.dgamma, 0);
  join(a.dbeta, stride);
}

}  // namespace
