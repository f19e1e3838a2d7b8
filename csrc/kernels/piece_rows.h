// piece_rows.h - image rows cut into pieces, as tiles read them (piece_grid.h), a few values at a time.
//
// Rows with values that cannot be cut, or that are no numbers, become zeros; output rows that need them are made by multiply-adds.
#pragma once

#include "piece_grid.h"

namespace {

// Output rows [p0, p1) of an image.
struct OutputRows {
  const float* image = nullptr;
  index_t p0 = 0, p1 = 0;
  bool operator==(const OutputRows&) const = default;
};

#if defined(__AMX_BF16__)

typedef std::uint16_t piece;

// A piece of all image rows is a plane. Behind the last row lies what tiles read in vain.
inline index_t plane_size(const Conv2dShape& s, const PositionGrid& grid, index_t rows) {
  const index_t behind = max_of(grid.margin, kTileSide * grid.distance + grid.steps * kPieceTerms);
  return round_up(rows_read(s, rows) * grid.pitch + behind, kPieceTerms);
}

// The planes of so many output rows, and whether each image row fits, in floats.
inline index_t planes_size(const Conv2dShape& s, const PositionGrid& grid, index_t rows) {
  return round_up(kPieces * plane_size(s, grid, rows) / 2 + rows_read(s, rows), kLineFloats);
}

// Scratch for so many output rows: planes of theirs and of the next ones, and whether each output row fits.
inline index_t piece_rows_size(const Conv2dShape& s, index_t rows) {
  return 2 * planes_size(s, position_grid(s), rows) + round_up(rows, kLineFloats);
}

inline void store_pieces(piece* to, vbits v, index_t count) {
  _mm512_mask_storeu_epi16(to, static_cast<__mmask32>((1ull << count) - 1), (__m512i)v);
}

// The image rows that output rows read, cut into pieces a few values at a time, to be done while tiles are multiplied. A row of
// values that cannot be cut becomes zeros.
class RowCut {
 public:
  RowCut() = default;
  RowCut(const Conv2dShape& s, const PositionGrid& grid, const OutputRows& of, index_t plane, float* scratch)
      : plane_(plane),
        rows_(rows_read(s, of.p1 - of.p0)),
        first_(of.p0 * s.stride_h - s.pad_top),
        height_(s.H),
        left_(s.pad_left * s.C),
        values_(s.W * s.C),
        pitch_(grid.pitch),
        margin_(grid.margin),
        channels_(s.C),
        paired_(grid.layout == Layout::paired),
        image_(of.image),
        pieces_(reinterpret_cast<piece*>(scratch)),
        fits_(scratch + kPieces * plane / 2) {
    if (rows_ > 0) begin_row();
  }

  void cut_all() { paired_ ? cut<true>(units()) : cut<false>(units()); }

  // About so many units are left.
  index_t units() const { return (rows_ - row_) * (values_ / kUnit + 1); }

  template <bool Paired>
  FASTNN_INLINE void cut(index_t units) {
    for (; units > 0; --units) {
      if (whole_ == 0) {
        if (row_ < rows_) next_row();
        continue;
      }
      const vfloat low = load(from_), high = load(from_ + kLanes);
      magnitude_.see(low), magnitude_.see(high);
      vbits pieces[kPieces];
      cut_into_pieces(low, high, in_order, pieces);
      FASTNN_UNROLL
      for (int i = 0; i < kPieces; ++i) {
        _mm512_storeu_si512(to_ + i * plane_, (__m512i)pieces[i]);
        if (Paired && beside_ != 0) _mm512_storeu_si512(to_ + i * plane_ + beside_, (__m512i)pieces[i]);
      }
      from_ += kUnit, to_ += kUnit, --whole_;
      if (Paired && (at_ += kUnit) == channels_) at_ = 0, to_ += channels_;
    }
  }

 private:
  static constexpr index_t kUnit = 2 * kLanes;

  void clear_at(piece* from, index_t count) const {
    for (int i = 0; i < kPieces; ++i) {
      for (index_t j = 0; j < count; j += kUnit) store_pieces(from + i * plane_ + j, vbits{}, min_of(kUnit, count - j));
    }
  }
  // Values [begin, end) of the row; paired: whole pixels.
  void clear(index_t begin, index_t end) const {
    piece* const row = pieces_ + row_ * pitch_;
    if (!paired_) return clear_at(row + begin, end - begin);
    for (index_t j = begin; j < end; j += channels_) {
      clear_at(row + 2 * j, channels_);
      if (row_ > 0) clear_at(row + 2 * j + channels_ - pitch_, channels_);
    }
  }
  index_t row_values() const { return paired_ ? pitch_ / 2 : pitch_; }

  bool is_beside() const { return first_ + row_ < 0 || first_ + row_ >= height_; }

  void begin_row() {
    if (is_beside()) return clear(0, row_values());
    clear(0, left_), clear(left_ + values_, row_values());
    from_ = image_ + (first_ + row_) * values_, to_ = pieces_ + row_ * pitch_ + (paired_ ? 2 : 1) * left_;
    beside_ = paired_ && row_ > 0 ? channels_ - pitch_ : 0;
    whole_ = values_ / kUnit, magnitude_ = {};
  }

  // The rest of a row, and the beginning of the next one.
  __attribute__((noinline)) void next_row() {
    bool fits = true;
    if (!is_beside()) {
      if (const index_t rest = values_ % kUnit; rest > 0) {
        const vfloat low = load_partial(from_, static_cast<int>(min_of(kLanes, rest)));
        const vfloat high = load_partial(from_ + kLanes, static_cast<int>(max_of(0, rest - kLanes)));
        magnitude_.see(low), magnitude_.see(high);
        vbits pieces[kPieces];
        cut_into_pieces(low, high, in_order, pieces);
        for (int i = 0; i < kPieces; ++i) store_pieces(to_ + i * plane_, pieces[i], rest);
      }
      fits = magnitude_.fits();
      if (!fits) clear(left_, left_ + values_);
    }
    fits_[row_++] = fits ? 1.0f : 0.0f;
    row_ < rows_ ? begin_row() : clear_at(pieces_ + row_ * pitch_, margin_);
  }

  const float* from_ = nullptr;
  piece* to_ = nullptr;
  index_t beside_ = 0;                      // from there to where the row lies beside the one above, or 0
  index_t plane_ = 0, whole_ = 0, at_ = 0;  // units of the row that are left; values of a pixel that are done
  Magnitude magnitude_ = {};
  index_t row_ = 0, rows_ = 0, first_ = 0, height_ = 0, left_ = 0, values_ = 0, pitch_ = 0, margin_ = 0, channels_ = 0;
  bool paired_ = false;
  const float* image_ = nullptr;
  piece* pieces_ = nullptr;
  float* fits_ = nullptr;
};

#else

inline index_t piece_rows_size(const Conv2dShape&, index_t) { return 0; }

#endif

}  // namespace
