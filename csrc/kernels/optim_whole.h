// optim_whole.h - optimizer steps that look at a whole parameter before they change it.
#pragma once

#include "optim.h"
#include "sums.h"

namespace {

using fastnn::AdafactorStep;
using fastnn::LambStep;

index_t lamb_step_scratch(const LambStep& a) { return doubles(2 * chunk_count(a.n)) + step_scratch(a); }

void lamb_step(const LambStep& given) {
  LambStep a = given;
  const index_t t = a.iterations[0] + 1, chunks = chunk_count(a.n);
  double* parts = reinterpret_cast<double*>(a.scratch);
  a.scratch += doubles(2 * chunks);
  const float of_m = static_cast<float>(1 / (1 - integer_power(a.beta_1, t)));
  const float of_v = static_cast<float>(1 / (1 - integer_power(a.beta_2, t)));
  const float lr = a.lr[0], decay = a.weight_decay * lr, epsilon = a.epsilon;
  update(a, 3.0, [&a, decay](const float* __restrict gradient, index_t begin, index_t end) {
    float* __restrict w = a.w + begin;
    float* __restrict first = a.m + begin;
    float* __restrict second = a.v + begin;
    const float rest_1 = static_cast<float>(1 - a.beta_1), rest_2 = static_cast<float>(1 - a.beta_2);
    FASTNN_SIMD
    for (index_t i = 0; i < end - begin; ++i) {
      const float g = gradient[i];
      first[i] = mul_add(g - first[i], rest_1, first[i]);
      second[i] = mul_add(mul_add(g, g, -second[i]), rest_2, second[i]);
      w[i] = decayed(w[i], decay);
    }
  });
  const auto step = [=](index_t i) { return of_m * a.m[i] / (__builtin_sqrtf(of_v * a.v[i]) + epsilon); };
  const double w_square = chunked_sum(a.n, 0.6, parts, [&a](index_t i) { return exact_product(a.w[i], a.w[i]); });
  const double u_square = chunked_sum(a.n, 3.0, parts + chunks, [&](index_t i) { return exact_product(step(i), step(i)); });
  const bool trusted = w_square > 0 && u_square > 0;
  const float rate = static_cast<float>(trusted ? lr * __builtin_sqrt(w_square / u_square) : lr);
  parallel_elements(a.n, 3.0, [=](index_t begin, index_t end) {
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) a.w[i] = mul_add(-rate, step(i), a.w[i]);
  });
}

// A stretch of a parameter whose v is factor column: a row of a matrix, or a part of a vector, where the factor is 1.
struct AdafactorPiece {
  index_t first, count;
  float factor;
  const float* column;
};

// Where the sums of Adafactor's passes lie in its scratch.
struct AdafactorSums {
  static constexpr index_t kRows = 64;
  index_t weight_chunks, pieces, row_chunks, columns, blocks;
  double* all;

  explicit AdafactorSums(const AdafactorStep& a)
      : weight_chunks(chunk_count(a.n)),
        pieces(a.row ? a.blocks * a.rows : weight_chunks),
        row_chunks(a.row ? ceil_div(a.rows, kRows) : 0),
        columns(a.blocks * row_chunks * a.cols),
        blocks(a.blocks),
        all(reinterpret_cast<double*>(a.scratch)) {}

  index_t size() const { return doubles(weight_chunks + pieces + columns + blocks); }
  double* weights() const { return all; }
  double* by_piece() const { return all + weight_chunks; }
  double* by_column() const { return by_piece() + pieces; }
  double* row_mean() const { return by_column() + columns; }

  AdafactorPiece piece(const AdafactorStep& a, index_t p) const {
    if (!a.row) return {p * kChunkFloats, min_of(kChunkFloats, a.n - p * kChunkFloats), 1.0f, a.column + p * kChunkFloats};
    const index_t block = p / a.rows;
    return {p * a.cols, a.cols, static_cast<float>(a.row[p] / row_mean()[block]), a.column + block * a.cols};
  }
};

index_t adafactor_step_scratch(const AdafactorStep& a) { return AdafactorSums(a).size(); }

// The running means over the rows and the columns of every matrix.
inline void update_factors(const AdafactorStep& a, const AdafactorSums& sums, double share) {
  const float* g = a.g;
  const double epsilon = a.epsilon_1, keep = 1 - share, cols = static_cast<double>(a.cols), rows = static_cast<double>(a.rows);
  parallel_for(a.blocks * a.rows, 0.6 * cols, [&](index_t begin, index_t end) {
    for (index_t r = begin; r < end; ++r) {
      const double sum = lane_sum(r * a.cols, (r + 1) * a.cols, [&](index_t i) { return exact_product(g[i], g[i]) + epsilon; });
      a.row[r] = static_cast<float>(keep * a.row[r] + share * (sum / cols));
    }
  });
  parallel_for(a.blocks * sums.row_chunks, 0.6 * AdafactorSums::kRows * cols, [&](index_t begin, index_t end) {
    for (index_t c = begin; c < end; ++c) {
      double* __restrict part = sums.by_column() + c * a.cols;
      const index_t block = c / sums.row_chunks, from = c % sums.row_chunks * AdafactorSums::kRows;
      for (index_t j = 0; j < a.cols; ++j) part[j] = 0;
      for (index_t r = from; r < min_of(a.rows, from + AdafactorSums::kRows); ++r) {
        const float* __restrict x = g + (block * a.rows + r) * a.cols;
        FASTNN_SIMD
        for (index_t j = 0; j < a.cols; ++j) part[j] += exact_product(x[j], x[j]) + epsilon;
      }
    }
  });
  for (index_t block = 0; block < a.blocks; ++block) {
    const double* part = sums.by_column() + block * sums.row_chunks * a.cols;
    for (index_t j = 0; j < a.cols; ++j) {
      double sum = 0;
      for (index_t c = 0; c < sums.row_chunks; ++c) sum += part[c * a.cols + j];
      float& column = a.column[block * a.cols + j];
      column = static_cast<float>(keep * column + share * (sum / rows));
    }
    const float* row = a.row + block * a.rows;
    sums.row_mean()[block] = lane_sum(0, a.rows, [row](index_t i) { return static_cast<double>(row[i]); }) / rows;
  }
}

inline void update_vector(const AdafactorStep& a, double share) {
  const float rest = static_cast<float>(share), epsilon = a.epsilon_1, keep = static_cast<float>(1 - share);
  parallel_elements(a.n, 1.0, [=, &a](index_t begin, index_t end) {
    const float* __restrict g = a.g;
    float* __restrict v = a.column;
    FASTNN_SIMD
    for (index_t i = begin; i < end; ++i) v[i] = mul_add(keep, v[i], rest * mul_add(g[i], g[i], epsilon));
  });
}

void adafactor_step(const AdafactorStep& a) {
  if (a.n == 0) return;
  const AdafactorSums sums(a);
  const double t = static_cast<double>(a.iterations[0] + 1), share = __builtin_pow(t, a.beta_2_decay);
  const float lr = a.lr[0], decay = a.weight_decay * lr;
  const double n = static_cast<double>(a.n), root = 1 / __builtin_sqrt(t), rate = lr < root ? lr : root;
  const double w_square = chunked_sum(a.n, 0.8, sums.weights(), [&](index_t i) {
    const float w = decayed(a.w[i], decay);
    return exact_product(w, w);
  });
  if (a.row) {
    update_factors(a, sums, share);
  } else {
    update_vector(a, share);
  }
  const double cycles = 4.0 * n / static_cast<double>(sums.pieces);
  const auto step = [&a](const AdafactorPiece& p, index_t i) { return a.g[p.first + i] / __builtin_sqrtf(p.factor * p.column[i]); };
  parallel_for(sums.pieces, cycles, [&](index_t begin, index_t end) {
    for (index_t c = begin; c < end; ++c) {
      const AdafactorPiece p = sums.piece(a, c);
      sums.by_piece()[c] = lane_sum(0, p.count, [&](index_t i) { return exact_product(step(p, i), step(p, i)); });
    }
  });
  const double w_rms = __builtin_sqrt(w_square / n), u_rms = __builtin_sqrt(in_order(sums.by_piece(), sums.pieces) / n);
  const double size = (w_rms > a.epsilon_2 ? w_rms : a.epsilon_2) * rate, excess = u_rms / a.clip_threshold;
  const float factor = static_cast<float>(size / (excess < 1 ? 1 : excess));
  parallel_for(sums.pieces, cycles, [&](index_t begin, index_t end) {
    for (index_t c = begin; c < end; ++c) {
      const AdafactorPiece p = sums.piece(a, c);
      float* w = a.w + p.first;
      FASTNN_SIMD
      for (index_t i = 0; i < p.count; ++i) w[i] = mul_add(-factor, step(p, i), decayed(w[i], decay));
    }
  });
}

}  // namespace
