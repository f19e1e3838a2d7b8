// dense_finish.h - the end of sums that are made from pieces (pieces.h): rows times weights.
//
// Where a sum is no number or infinite, or all values of a row, or of a panel of weights, are so small that products of their
// pieces vanish, a chain of multiply-adds makes it: a matter of its row and its panel alone.
#pragma once

#include "gemm_tiles.h"
#include "pieces.h"

namespace {

// Smaller weights are in the second-level cache, where a single row takes half as long without pieces.
constexpr index_t kLeastWeights = 1 << 20, kLeastDenseTerms = 2 * kPieceTerms, kLeastDenseColumns = 2 * kSide;

#if defined(__AMX_BF16__)

inline bool is_dense_of_pieces(const Gemm& g) {
  return g.may_use_tiles && g.a_col == 1 && g.b_col == 1 && !g.accumulate && g.k >= kLeastDenseTerms && g.n >= kLeastDenseColumns &&
         g.k * g.n >= kLeastWeights;
}

// Whether any value is at least 2^-60, or all are zero: otherwise products of pieces could vanish that count.
inline bool is_large_enough(const float* values, index_t row, index_t rows, index_t columns) {
  constexpr std::uint32_t kLeast = (127u - 60) << 23;
  bool zero = true;
  for (index_t i = 0; i < rows; ++i) {
    for (index_t j = 0; j < columns; j += kLanes) {
      const vbits bits = (vbits)load_partial(values + i * row + j, static_cast<int>(min_of(kLanes, columns - j))) & 0x7fffffffu;
      if (_mm512_cmpge_epu32_mask((__m512i)bits, _mm512_set1_epi32(static_cast<int>(kLeast)))) return true;
      zero = zero && !_mm512_test_epi32_mask((__m512i)bits, (__m512i)bits);
    }
  }
  return zero;
}

// Sums of some rows and one panel of weights.
struct DenseBlock {
  float* made;  // in c, or an edge
  index_t ld, row, rows, column, columns;
  bool last, rows_fit;  // all terms are in it; no row is too small
};

class DenseFinish {
 public:
  explicit DenseFinish(const Gemm& g) : g_(g) {}

  // What is to be done with tiles when they have been stored.
  __attribute__((noinline)) void settle(const DenseBlock& block) const {
    if (!block.last) {
      if (block.made != place(block, 0)) settle_rows<false, false>(block);
      return;
    }
    g_.activation == Activation::relu ? settle_rows<true, true>(block) : settle_rows<true, false>(block);
  }

  bool rows_fit(index_t row, index_t rows) const {
    bool fit = true;
    for (index_t i = 0; i < rows; ++i) fit = fit && row_fits(row + i);
    return fit;
  }

 private:
  float* place(const DenseBlock& block, index_t i) const { return g_.c + (block.row + i) * g_.ldc + block.column; }

  template <bool Finish, bool Relu>
  void settle_rows(const DenseBlock& block) const {
    constexpr std::uint32_t kInfinity = 255u << 23;
    const int before = static_cast<int>(min_of(kLanes, block.columns)), last = static_cast<int>(block.columns) - kLanes;
    const float* const bias = Finish && g_.bias ? g_.bias + block.column : nullptr;
    const vfloat bias0 = bias ? load_partial(bias, before) : vfloat{},
                 bias1 = bias && last > 0 ? load_partial(bias + kLanes, last) : vfloat{};
    const bool fit = Finish && block.rows_fit && weights_fit(block);
    const auto finish = [&](vfloat v, vfloat b) {
      if (bias) v += b;
      return Relu ? (v < 0.0f ? vfloat{} : v) : v;
    };
    for (index_t i = 0; i < block.rows; ++i) {
      const float* const from = block.made + i * block.ld;
      float* const to = place(block, i);
      const vfloat v0 = load_partial(from, before), v1 = last > 0 ? load_partial(from + kLanes, last) : vfloat{};
      if (Finish) {
        const vbits bits0 = (vbits)v0 & 0x7fffffffu, bits1 = (vbits)v1 & 0x7fffffffu, most = bits0 > bits1 ? bits0 : bits1;
        const bool finite = !_mm512_cmpge_epu32_mask((__m512i)most, _mm512_set1_epi32(static_cast<int>(kInfinity)));
        if (!fit || !finite) {
          if (!finite || !weights_fit(block) || !row_fits(block.row + i)) {
            make_by_chain(block, i);
            continue;
          }
        }
      }
      store_partial(to, finish(v0, bias0), before);
      if (last > 0) store_partial(to + kLanes, finish(v1, bias1), last);
      if (Finish && !Relu) finish_row(to, block.columns, nullptr);
    }
  }

  // The rest of the epilogue.
  void finish_row(float* row, index_t columns, const float* bias) const {
    if (g_.activation != Activation::linear || bias) activate_row(row, columns, bias, g_.activation, g_.alpha);
    if (g_.relu_output) apply_relu_slope(row, g_.relu_output + (row - g_.c), columns);
  }

  bool weights_fit(const DenseBlock& block) const { return is_large_enough(g_.b + block.column, g_.b_row, g_.k, block.columns); }
  bool row_fits(index_t row) const { return is_large_enough(g_.a + row * g_.a_row, g_.a_row, 1, g_.k); }
  __attribute__((noinline)) void make_by_chain(const DenseBlock& block, index_t i) const {
    float* const to = place(block, i);
    const Panels b = {g_.b + block.column, g_.b_row, false, g_.k, block.columns};
    multiply_rows({g_.a + (block.row + i) * g_.a_row, g_.a_row, 1}, b, to, g_.ldc, 1, false, kNoEpilogue);
    finish_row(to, block.columns, g_.bias ? g_.bias + block.column : nullptr);
  }

  const Gemm& g_;
};

#else

inline bool is_dense_of_pieces(const Gemm&) { return false; }

#endif

}  // namespace
