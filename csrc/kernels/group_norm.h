// group_norm.h - groups of channels of each sample brought to mean 0 and variance 1, and the gradients of that.
#pragma once

#include "math.h"
#include "norm.h"
#include "simd.h"

namespace {

using fastnn::GroupNormBackward;
using fastnn::GroupNormForward;

constexpr index_t kGroupColumns = 64;  // channels that a sum works on at a time
constexpr index_t kGroupRows = 128;    // positions added up in float; these sums are added up in double

// sums[c] = the sum over the positions of one sample, for every channel c; of(index, c, sum) returns the sum with one term more.
template <class Of>
void channel_sums(index_t positions, index_t channels, double* sums, const Of& of) {
  for (index_t first = 0; first < channels; first += kGroupColumns) {
    const index_t count = min_of(kGroupColumns, channels - first);
    for (index_t j = 0; j < count; ++j) sums[first + j] = 0.0;
    for (index_t begin = 0; begin < positions; begin += kGroupRows) {
      float part[kGroupColumns] = {};
      for (index_t p = begin; p < min_of(positions, begin + kGroupRows); ++p) {
        FASTNN_SIMD
        for (index_t j = 0; j < count; ++j) part[j] = of(p * channels + first + j, first + j, part[j]);
      }
      for (index_t j = 0; j < count; ++j) sums[first + j] += static_cast<double>(part[j]);
    }
  }
}

// Per thread: sums in double and coefficients of every channel.
inline index_t group_slot(index_t channels) { return 6 * round_up(channels, kLineFloats); }

struct GroupSlot {
  double* sums;
  float *center, *factor, *first, *second;

  GroupSlot(float* scratch, int slot, index_t channels) {
    const index_t stride = round_up(channels, kLineFloats);
    float* at = scratch + slot * group_slot(channels);
    sums = reinterpret_cast<double*>(at);
    center = at + 2 * stride, factor = center + stride, first = factor + stride, second = first + stride;
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
  channel_sums(a.positions, channels, s.sums, [x](index_t at, index_t c, float sum) { return sum + (x[at] - x[c]); });
  for (index_t c = 0; c < channels; ++c) s.sums[c] += static_cast<double>(a.positions) * static_cast<double>(x[c]);
  for (index_t g = 0; g < a.groups; ++g) {
    const float mean = static_cast<float>(group_sum(s.sums, g, a.width) / count);
    a.mean[n * a.groups + g] = mean;
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) s.center[c] = mean;
  }
  const float* center = s.center;
  channel_sums(a.positions, channels, s.sums, [x, center](index_t at, index_t c, float sum) {
    const float d = x[at] - center[c];
    return mul_add(d, d, sum);
  });
  for (index_t g = 0; g < a.groups; ++g) {
    const float rstd = reciprocal_deviation(static_cast<float>(group_sum(s.sums, g, a.width) / count), a.epsilon);
    a.rstd[n * a.groups + g] = rstd;
    for (index_t c = g * a.width; c < (g + 1) * a.width; ++c) {
      s.factor[c] = a.gamma ? a.gamma[c] * rstd : rstd;
      s.first[c] = a.beta ? a.beta[c] : 0.0f;
    }
  }
  for (index_t p = 0; p < a.positions; ++p) {
    const float* __restrict row = x + p * channels;
    float* __restrict out = y + p * channels;
    FASTNN_SIMD
    for (index_t c = 0; c < channels; ++c) out[c] = mul_add(row[c] - s.center[c], s.factor[c], s.first[c]);
  }
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
  channel_sums(a.positions, channels, s.sums, [dy](index_t at, index_t, float sum) { return sum + dy[at]; });
  for (index_t c = 0; c < channels; ++c) dbeta[c] = static_cast<float>(s.sums[c]);
  const float* center = s.center;
  channel_sums(a.positions, channels, s.sums,
               [=](index_t at, index_t c, float sum) { return mul_add(dy[at], x[at] - center[c], sum); });
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
  for (index_t p = 0; p < a.positions; ++p) {
    const float* __restrict row = x + p * channels, * __restrict above = dy + p * channels;
    float* __restrict out = a.dx + offset + p * channels;
    FASTNN_SIMD
    for (index_t c = 0; c < channels; ++c) {
      out[c] = mul_add(-(row[c] - s.center[c]), s.second[c], mul_add(s.factor[c], above[c], -s.first[c]));
    }
  }
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
