// conv_pieces.h - convolutions by matrix tiles (AMX): output rows from image rows and a filter that are cut into pieces (pieces.h).
//
// While the tiles of some output rows are multiplied, the vector units cut what the next ones read (piece_rows.h), and finish what
// the tiles before have made.
#pragma once

#include "piece_rows.h"

namespace {

#if defined(__AMX_BF16__)

// Two tiles of positions by a panel.
struct PositionTiles {
  const piece* a[2];
  index_t plane, distance, row;  // between pieces, positions, image rows of taps: values
  const float* b;
  index_t rows, taps, tap, steps;  // filter rows, runs of terms in each and values between them, steps of each run
  float* c[2];
  index_t ldc[2];
  bool load_c;
  Ahead* ahead;
};

// meanwhile(): what is done while tiles are busy, kPairs times for each step; settle(): once, after the first step, when the tiles
// before have long been stored.
template <bool Paired, bool TwoRows, bool TwoColumns, class Meanwhile, class Settle>
inline void multiply_positions(const PositionTiles& t, const Meanwhile& meanwhile, const Settle& settle) {
  constexpr index_t kBytes = 64;
  const index_t below = t.ldc[0] * static_cast<index_t>(sizeof(float)), below1 = t.ldc[1] * static_cast<index_t>(sizeof(float));
  asm volatile("" ::: "memory");  // what tiles read has been written: not all compilers know
  if (t.load_c) {
    _tile_loadd(0, t.c[0], below);
    if (TwoColumns) _tile_loadd(1, t.c[0] + kTileSide, below);
    if (TwoRows) _tile_loadd(2, t.c[1], below1);
    if (TwoRows && TwoColumns) _tile_loadd(3, t.c[1] + kTileSide, below1);
  } else {
    _tile_zero(0);
    if (TwoColumns) _tile_zero(1);
    if (TwoRows) _tile_zero(2);
    if (TwoRows && TwoColumns) _tile_zero(3);
  }
  const piece *a0 = t.a[0], *a1 = t.a[1];
  const index_t distance = t.distance * static_cast<index_t>(sizeof(piece)), plane = t.plane;
  const float* b = t.b;
  const auto take_left = [&](int i, index_t at) {
    _tile_loadd(4, a0 + i * plane + at, distance);
    if (TwoRows) _tile_loadd(5, a1 + i * plane + at, distance);
  };
  const auto take_right = [&](int i) {
    _tile_loadd(6, b + 2 * i * kTileFloats, kBytes);
    if (TwoColumns) _tile_loadd(7, b + (2 * i + 1) * kTileFloats, kBytes);
  };
  const auto add = [&] {
    _tile_dpbf16ps(0, 4, 6);
    if (TwoColumns) _tile_dpbf16ps(1, 4, 7);
    if (TwoRows) _tile_dpbf16ps(2, 5, 6);
    if (TwoRows && TwoColumns) _tile_dpbf16ps(3, 5, 7);
    meanwhile();
  };
  vfloat awake = {};
  for (index_t r = 0; r < t.rows; ++r, a0 += t.row, a1 += t.row) {
    index_t at = 0, left = Paired ? t.steps : 0;
    for (index_t step = 0; step < t.taps * t.steps; ++step, at += kPieceTerms) {
      // The vector units sleep after some 2100 cycles without work, and take 1000 to wake up when tiles are to be stored.
      asm volatile("vaddps %0, %0, %0" : "+v"(awake));
      t.ahead->fetch();
      take_left(0, at), take_right(2), add();
      take_right(1), add();
      take_left(1, at), add();
      take_right(0), add();
      take_left(2, at), add();
      take_left(0, at), add();
      if (b == t.b) settle();
      b += kStepFloats;
      if (Paired && --left == 0) at += t.tap - t.steps * kPieceTerms, left = t.steps;
    }
  }
  _tile_stored(0, t.c[0], below);
  if (TwoColumns) _tile_stored(1, t.c[0] + kTileSide, below);
  if (TwoRows) _tile_stored(2, t.c[1], below1);
  if (TwoRows && TwoColumns) _tile_stored(3, t.c[1] + kTileSide, below1);
  asm volatile("" ::: "memory");
}

// The outputs of one tile and panel that are wanted, tile after tile.
class TilePlaces {
 public:
  TilePlaces(const Conv2dShape& s, const PositionGrid& grid, index_t rows, const float* row_fits)
      : s_(&s), grid_(&grid), rows_(rows), fits_(row_fits) {
    count();
  }

  // Values from the first image row on.
  index_t input() const { return row_ * s_->stride_h * grid_->pitch + first_ * grid_->distance; }
  // Of y, from its first row and column on.
  index_t output() const { return (row_ * s_->Q + first_ * grid_->pixels) * s_->K; }
  // Whether all of a tile is wanted.
  bool whole() const {
    return grid_->layout != Layout::paired && count_ == grid_->height && row_ < rows_ && fits_[row_] != 0.0f &&
           (first_ + count_) * grid_->pixels <= s_->Q;
  }
  index_t pixels() const { return count_ * grid_->pixels; }

  // body(position of the tile, output() of it, pixels) for those that are wanted.
  template <class Body>
  void each(const Body& body) const {
    const auto one = [&](index_t i, index_t row, index_t at) {
      const index_t pixels = min_of(grid_->pixels, s_->Q - at * grid_->pixels);
      if (pixels > 0 && row < rows_ && fits_[row] != 0.0f) body(i, (row * s_->Q + at * grid_->pixels) * s_->K, pixels);
    };
    index_t row = row_, at = first_;
    if (grid_->layout == Layout::paired) {
      for (index_t i = 0; i < count_; i += 2, ++at) one(i, row, at), one(i + 1, row + 1, at);
      return;
    }
    for (index_t i = 0; i < count_; ++i) {
      one(i, row, at);
      if (++at == grid_->between) at = 0, ++row;
    }
  }

  void next() {
    first_ += grid_->height;
    if (grid_->layout == Layout::apart && first_ >= grid_->across) first_ = 0, ++row_;
    if (grid_->layout == Layout::paired) first_ = 0, row_ += 2;
    while (grid_->layout == Layout::on && first_ >= grid_->between) first_ -= grid_->between, ++row_;
    count();
  }

 private:
  void count() { count_ = grid_->layout == Layout::apart ? min_of(grid_->height, grid_->across - first_) : grid_->height; }

  const Conv2dShape* s_;
  const PositionGrid* grid_;
  index_t rows_;
  const float* fits_;
  index_t row_ = 0, first_ = 0, count_ = 0;
};

// Convolutions of one thread, which cut what the next output rows read while they multiply.
class PieceConvolution {
 public:
  PieceConvolution(const Conv2dShape& s, const PieceFilter& filter, index_t most_rows, float* scratch)
      : s_(s),
        filter_(filter),
        grid_(filter.grid),
        plane_(plane_size(s, grid_, most_rows)),
        planes_{scratch, scratch + planes_size(s, grid_, most_rows)},
        fits_(planes_[1] + planes_size(s, grid_, most_rows)) {}

  // How often steps of a tile fetch what lies ahead.
  static index_t fetches(const Conv2dShape& s, const PieceFilter& filter, index_t rows) {
    return ceil_div(filter.grid.tiles(rows), 2) * filter.grid.panels * filter.grid.filter_steps(s);
  }

  // Output rows to y, and to be done next, or none. finish(y, pixels, k, columns): columns [k, k + columns) of pixels in a row
  // have been made; by_row(p): makes an output row by multiply-adds.
  template <class Finish, class ByRow>
  void convolve(const OutputRows& now, const OutputRows& next, bool accumulate, float* y, Ahead& ahead, const Finish& finish,
                const ByRow& by_row) {
    const index_t rows = now.p1 - now.p0;
    if (!filter_.fits) {
      for (index_t p = now.p0; p < now.p1; ++p) by_row(p);
      return;
    }
    if (!(ready_ == now)) {
      RowCut(s_, grid_, now, plane_, planes_[0]).cut_all();
    }
    const float* image_fits = planes_[0] + kPieces * plane_ / 2;
    for (index_t p = 0; p < rows; ++p) {
      fits_[p] = 1.0f;
      for (index_t r = 0; r < s_.R; ++r) fits_[p] *= image_fits[p * s_.stride_h + r * s_.dilation_h];
    }
    RowCut cut = next.image ? RowCut(s_, grid_, next, plane_, planes_[1]) : RowCut();
    const index_t parts = fetches(s_, filter_, rows) * kPairs, units = ceil_div(cut.units(), parts);
    configure_tiles(static_cast<int>(grid_.height));
    if (grid_.layout == Layout::paired) {
      multiply<true>(rows, accumulate, y, ahead, finish, [&] { cut.cut<true>(units); });
    } else {
      multiply<false>(rows, accumulate, y, ahead, finish, [&] { cut.cut<false>(units); });
    }
    cut.cut_all();
    _tile_release();
    for (index_t p = 0; p < rows; ++p) {
      if (fits_[p] == 0.0f) by_row(now.p0 + p);
    }
    ready_ = next;
    float* const other = planes_[0];
    planes_[0] = planes_[1], planes_[1] = other;
  }

 private:
  // Tiles that have been multiplied, two at most, of one panel.
  struct Made {
    int count;
    TilePlaces places[2];
    bool whole[2];  // it is where it belongs, or in an edge
    float *y, *edges;
    index_t first, columns;
  };

  // Puts edges where they belong.
  template <class Finish>
  void settle(const Made& made, const Finish& finish) const {
    const index_t first = made.first, columns = made.columns;
    const index_t k = grid_.pixels > 1 ? 0 : first, outputs = grid_.pixels > 1 ? s_.K : columns;
    for (int i = 0; i < made.count; ++i) {
      if (made.whole[i]) {
        finish(made.y + made.places[i].output() + first, made.places[i].pixels(), k, outputs);
        continue;
      }
      const float* edge = made.edges + i * kEdge;
      made.places[i].each([&](index_t position, index_t at, index_t pixels) {
        float* const to = made.y + at + first;
        copy_or_zero(to, edge + position * kSide, min_of(columns, pixels * s_.K));
        finish(to, pixels, k, outputs);
      });
    }
  }

  template <bool Paired, class Finish, class Meanwhile>
  void multiply(index_t rows, bool accumulate, float* y, Ahead& ahead, const Finish& finish, const Meanwhile& meanwhile) {
    alignas(64) float edges[2][2 * kEdge];
    const index_t panel_floats = grid_.filter_steps(s_) * kStepFloats, ldc = grid_.columns;
    const piece* pieces = reinterpret_cast<const piece*>(planes_[0]);
    PositionTiles t = {};
    t.plane = plane_, t.distance = grid_.distance, t.row = s_.dilation_h * grid_.pitch;
    t.rows = s_.R, t.taps = grid_.taps, t.tap = grid_.tap, t.steps = grid_.steps, t.load_c = accumulate, t.ahead = &ahead;
    const TilePlaces begin(s_, grid_, rows, fits_);
    Made now = {0, {begin, begin}, {}, y, edges[0], 0, 0}, before = now;
    now.places[1].next();
    for (index_t left = grid_.tiles(rows); left > 0; left -= 2) {
      now.count = left > 1 ? 2 : 1;
      for (int i = 0; i < now.count; ++i) t.a[i] = pieces + now.places[i].input();
      t.b = filter_.steps();
      for (index_t first = 0; first < grid_.columns; first += kSide, t.b += panel_floats) {
        const index_t columns = min_of(kSide, grid_.columns - first);
        const bool direct = columns == kSide || columns == kTileSide;
        now.first = first, now.columns = columns, now.edges = before.edges == edges[0] ? edges[1] : edges[0];
        for (int i = 0; i < now.count; ++i) {
          now.whole[i] = direct && now.places[i].whole();
          float* const edge = now.edges + i * kEdge;
          t.c[i] = now.whole[i] ? y + now.places[i].output() + first : edge, t.ldc[i] = now.whole[i] ? ldc : kSide;
          if (now.whole[i] || !accumulate) continue;
          now.places[i].each([&](index_t position, index_t at, index_t pixels) {
            copy_or_zero(edge + position * kSide, y + at + first, min_of(columns, pixels * s_.K));
          });
        }
        const auto settle_before = [&] { settle(before, finish); };
        if (now.count > 1) {
          columns > kTileSide ? multiply_positions<Paired, true, true>(t, meanwhile, settle_before)
                              : multiply_positions<Paired, true, false>(t, meanwhile, settle_before);
        } else {
          columns > kTileSide ? multiply_positions<Paired, false, true>(t, meanwhile, settle_before)
                              : multiply_positions<Paired, false, false>(t, meanwhile, settle_before);
        }
        before = now;
      }
      for (TilePlaces& place : now.places) place.next(), place.next();
    }
    settle(before, finish);
  }

  static constexpr index_t kEdge = kTileSide * kSide;
  const Conv2dShape& s_;
  const PieceFilter& filter_;
  const PositionGrid& grid_;
  const index_t plane_;
  float *planes_[2], *const fits_;
  OutputRows ready_;
};

#else

class PieceConvolution {
 public:
  PieceConvolution(const Conv2dShape&, const PieceFilter&, index_t, float*) {}
  static index_t fetches(const Conv2dShape&, const PieceFilter&, index_t) { return 0; }
  template <class Finish, class ByRow>
  void convolve(const OutputRows&, const OutputRows&, bool, float*, Ahead&, const Finish&, const ByRow&) {}
};

#endif

}  // namespace
