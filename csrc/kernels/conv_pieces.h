// conv_pieces.h - convolutions by matrix tiles (AMX): output rows from image rows and a filter that are cut into pieces (pieces.h).
//
// The left of a tile's product are 16 positions of an output row, with the values that each of them meets in one image row: side by
// side in NHWC, positions at one distance, so that tiles are read from the image rows in place. A position is one output pixel,
// or two neighbors where a filter has so few outputs that those of two are the columns of a tile: what they meet together is
// hardly more than what one of them meets. Rows that are no multiple of a tile go on in the next row, where they save tiles: what
// is computed between them, beside the image, is left.
//
// The terms of an output are those of its filter rows in order, 32 at a time, as in pieces.h. Image rows with values that cannot be
// cut, or that are no numbers, are read as zeros; output rows that need them are made by multiply-adds.
#pragma once

#include "conv_shape.h"
#include "pieces.h"

namespace {

#if defined(__AMX_BF16__)

typedef std::uint16_t piece;

// What a tile's positions and terms are, by the shape alone.
struct PositionGrid {
  index_t pixels;           // of a position
  index_t distance;         // values between positions
  index_t run, steps;       // values that a position meets in an image row, and steps of terms
  index_t columns, panels;  // outputs of a position
  index_t across;           // positions of an output row
  index_t height;           // positions of a tile
  index_t between;          // if a tile's positions go on in the next row: positions between rows; or 0
  index_t pitch;            // values between image rows
  index_t margin;           // values behind the last image row that are terms of the last positions, or multiplied by zeros

  PositionGrid(const Conv2dShape& s, bool goes_on) {
    pixels = 2 * s.K <= kSide ? 2 : 1;
    distance = pixels * s.stride_w * s.C, run = (s.S + (pixels - 1) * s.stride_w) * s.C, columns = pixels * s.K;
    steps = ceil_div(run, kPieceTerms), panels = ceil_div(columns, kSide), across = ceil_div(s.Q, pixels);
    const index_t reach = (across * pixels - 1) * s.stride_w + s.S;  // pixels of an image row, from the padding on
    if (goes_on) {
      // The padding of a row is that of its neighbor, too.
      const index_t least = max_of(max_of(s.W + s.pad_left, reach - s.pad_left), across * pixels * s.stride_w);
      pitch = round_up(least, pixels * s.stride_w) * s.C;
      between = s.stride_h * pitch / distance, height = kTileSide;
    } else {
      pitch = round_up(max_of(s.W + s.pad_left, reach) * s.C + kPieceTerms, kPieceTerms), between = 0;
      height = ceil_div(across, ceil_div(across, kTileSide));
    }
    margin = max_of(0, reach * s.C + kPieceTerms - pitch);
  }

  index_t tiles(index_t rows) const {
    return between > 0 ? ceil_div((rows - 1) * between + across, kTileSide) : rows * ceil_div(across, height);
  }
  // Of two tiles at a time and all panels. Outputs that do not lie in y as in tiles are copied.
  index_t cycles(const Conv2dShape& s, index_t rows) const {
    const bool copied = between > 0 || columns % kTileSide != 0;
    return ceil_div(tiles(rows), 2) * panels * (s.R * steps * kPairs * 4 * kTileSide + (copied ? 700 : 100));
  }
};

// Output rows that are computed together: what they read stays in the second-level cache.
constexpr index_t kPieceValues = 12800;
inline index_t piece_block_rows(const Conv2dShape& s) { return block_rows(s, kPieceValues); }

inline PositionGrid position_grid(const Conv2dShape& s) {
  const PositionGrid apart(s, false), on(s, true);
  const index_t rows = piece_block_rows(s);
  return on.cycles(s, rows) < apart.cycles(s, rows) ? on : apart;
}

// Whether they take less time than vectors. Bits depend on it, and a pooled convolution may leave out rows and columns: so it
// counts those that are there without padding behind the image.
inline bool by_pieces(const Conv2dShape& whole) {
  constexpr index_t kFewChannels = 8, kFewColumns = 6;
  Conv2dShape s = whole;
  s.P = (s.H + s.pad_top - span(1, 1, s.R, s.dilation_h)) / s.stride_h + 1, s.Q = (s.W + s.pad_left - s.S) / s.stride_w + 1;
  if (!is_dense(s) || s.R * s.S == 1 || s.C < kFewChannels || s.K < kFewChannels || s.pad_top < 0 || s.pad_left < 0) return false;
  if (s.P < 1 || s.Q < kFewColumns) return false;
  const PositionGrid grid = position_grid(s);
  const index_t rows = piece_block_rows(s), blocks = ceil_div(s.P, rows);
  const index_t filter = s.R * grid.steps * grid.panels * kPieceTerms * kSide;
  const index_t cutting = (blocks * rows_read(s, rows) * s.W * s.C * 6 + filter * 8) / kLanes;
  const index_t vectors = s.P * s.Q * taps(s) * ceil_div(s.K, 8) * 8 / 32 * 5 / 4;
  return 5 * (blocks * grid.cycles(s, rows) + cutting) <= 4 * vectors;
}

// A filter in pieces: steps of two tiles side by side, for each panel and filter row.
struct PieceFilter {
  PositionGrid grid;
  bool fits;  // whether it can be cut

  float* steps() { return reinterpret_cast<float*>(this) + kHeader; }
  const float* steps() const { return reinterpret_cast<const float*>(this) + kHeader; }
  static const index_t kHeader;
};
constexpr index_t PieceFilter::kHeader = round_up(sizeof(PieceFilter) / sizeof(float), kLineFloats);

inline index_t piece_filter_size(const Conv2dShape& s) {
  const PositionGrid grid = position_grid(s);
  return PieceFilter::kHeader + grid.panels * s.R * grid.steps * kStepFloats;
}

// packed: by panel, tap and channel, as the register tiles read it.
inline void cut_filter(float* to, const float* packed, const Conv2dShape& s) {
  PieceFilter& filter = *reinterpret_cast<PieceFilter*>(to);
  filter = {position_grid(s), false};
  const PositionGrid& grid = filter.grid;
  const index_t K = s.K, C = s.C, k = taps(s);
  Magnitude magnitude;
  float* step = filter.steps();
  alignas(64) float rows[kPieceTerms * kSide];
  for (index_t panel = 0; panel < grid.panels; ++panel) {
    for (index_t r = 0; r < s.R; ++r) {
      for (index_t first = 0; first < grid.run; first += kPieceTerms, step += kStepFloats) {
        copy_or_zero(rows, nullptr, kPieceTerms * kSide);
        for (index_t i = 0; i < min_of(kPieceTerms, grid.run - first); ++i) {
          const index_t pixel = (first + i) / C, c = (first + i) % C;
          for (index_t j = 0; j < grid.pixels; ++j) {  // pixels of the position
            const index_t tap = pixel - j * s.stride_w;
            if (tap < 0 || tap >= s.S) continue;
            const float* from = packed + (panel * k + (r * s.S + tap) * C + c) * kPanel;
            copy_or_zero(rows + i * kSide + j * K, from, min_of(kSide, K - panel * kSide));
          }
        }
        for (int half = 0; half < 2; ++half) {
          for (int pair = 0; pair < kTileSide; ++pair) {
            const float* from = rows + 2 * pair * kSide + half * kTileSide;
            const vfloat low = load(from), high = load(from + kSide);
            magnitude.see(low), magnitude.see(high);
            vbits pieces[kPieces];
            cut_into_pieces(low, high, in_pairs, pieces);
            FASTNN_UNROLL
            for (int i = 0; i < kPieces; ++i) store(step + (2 * i + half) * kTileFloats + pair * kTileSide, (vfloat)pieces[i]);
          }
        }
      }
    }
  }
  filter.fits = magnitude.fits();
}

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

// Output rows [p0, p1) of an image.
struct OutputRows {
  const float* image = nullptr;
  index_t p0 = 0, p1 = 0;
  bool operator==(const OutputRows&) const = default;
};

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
        image_(of.image),
        pieces_(reinterpret_cast<piece*>(scratch)),
        fits_(scratch + kPieces * plane / 2) {
    if (rows_ > 0) begin_row();
  }

  // About so many units are left; cut(units()) cuts all.
  index_t units() const { return (rows_ - row_) * (values_ / kUnit + 1); }

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
      for (int i = 0; i < kPieces; ++i) _mm512_storeu_si512(to_ + i * plane_, (__m512i)pieces[i]);
      from_ += kUnit, to_ += kUnit, --whole_;
    }
  }

 private:
  static constexpr index_t kUnit = 2 * kLanes;

  void clear(index_t begin, index_t end) const {
    for (int i = 0; i < kPieces; ++i) {
      piece* const p = pieces_ + i * plane_ + row_ * pitch_;
      for (index_t j = begin; j < end; j += kUnit) store_pieces(p + j, vbits{}, min_of(kUnit, end - j));
    }
  }

  bool is_beside() const { return first_ + row_ < 0 || first_ + row_ >= height_; }

  void begin_row() {
    if (is_beside()) return clear(0, pitch_);
    clear(0, left_), clear(left_ + values_, pitch_);
    from_ = image_ + (first_ + row_) * values_, to_ = pieces_ + row_ * pitch_ + left_;
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
    row_ < rows_ ? begin_row() : clear(0, margin_);
  }

  const float* from_ = nullptr;
  piece* to_ = nullptr;
  index_t plane_ = 0, whole_ = 0;  // units of the row that are left
  Magnitude magnitude_ = {};
  index_t row_ = 0, rows_ = 0, first_ = 0, height_ = 0, left_ = 0, values_ = 0, pitch_ = 0, margin_ = 0;
  const float* image_ = nullptr;
  piece* pieces_ = nullptr;
  float* fits_ = nullptr;
};

// Two tiles of positions by a panel.
struct PositionTiles {
  const piece* a[2];
  index_t plane, distance, row;  // between pieces, positions, image rows of taps: values
  const float* b;
  index_t rows, steps;  // filter rows, steps of each
  float* c[2];
  index_t ldc[2];
  bool load_c;
  Ahead* ahead;
};

// meanwhile(): what is done while tiles are busy, kPairs times for each step; settle(): once, after the first step, when the tiles
// before have long been stored.
template <bool TwoRows, bool TwoColumns, class Meanwhile, class Settle>
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
    for (index_t step = 0; step < t.steps; ++step, b += kStepFloats) {
      const index_t at = step * kPieceTerms;
      // The vector units sleep after some 2100 cycles without work, and take 1000 to wake up when tiles are to be stored.
      asm volatile("vaddps %0, %0, %0" : "+v"(awake));
      t.ahead->fetch();
      take_left(0, at), take_right(2), add();
      take_right(1), add();
      take_left(1, at), add();
      take_right(0), add();
      take_left(2, at), add();
      take_left(0, at), add();
      if (r == 0 && step == 0) settle();
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
    return count_ == grid_->height && row_ < rows_ && fits_[row_] != 0.0f && (first_ + count_) * grid_->pixels <= s_->Q;
  }
  index_t pixels() const { return count_ * grid_->pixels; }

  // body(position of the tile, output() of it, pixels) for those that are wanted.
  template <class Body>
  void each(const Body& body) const {
    index_t row = row_, at = first_;
    for (index_t i = 0; i < count_ && row < rows_; ++i) {
      const index_t pixels = min_of(grid_->pixels, s_->Q - at * grid_->pixels);
      if (pixels > 0 && fits_[row] != 0.0f) body(i, (row * s_->Q + at * grid_->pixels) * s_->K, pixels);
      if (++at == grid_->between) at = 0, ++row;
    }
  }

  void next() {
    first_ += grid_->height;
    if (grid_->between == 0 && first_ >= grid_->across) first_ = 0, ++row_;
    while (grid_->between > 0 && first_ >= grid_->between) first_ -= grid_->between, ++row_;
    count();
  }

 private:
  void count() { count_ = grid_->between > 0 ? kTileSide : min_of(grid_->height, grid_->across - first_); }

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
    return ceil_div(filter.grid.tiles(rows), 2) * filter.grid.panels * s.R * filter.grid.steps;
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
      RowCut cut(s_, grid_, now, plane_, planes_[0]);
      cut.cut(cut.units());
    }
    const float* image_fits = planes_[0] + kPieces * plane_ / 2;
    for (index_t p = 0; p < rows; ++p) {
      fits_[p] = 1.0f;
      for (index_t r = 0; r < s_.R; ++r) fits_[p] *= image_fits[p * s_.stride_h + r * s_.dilation_h];
    }
    RowCut cut = next.image ? RowCut(s_, grid_, next, plane_, planes_[1]) : RowCut();
    const index_t parts = fetches(s_, filter_, rows) * kPairs, units = ceil_div(cut.units(), parts);
    configure_tiles(static_cast<int>(grid_.height));
    multiply(rows, accumulate, y, ahead, finish, [&] { cut.cut(units); });
    cut.cut(cut.units());
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

  template <class Finish, class Meanwhile>
  void multiply(index_t rows, bool accumulate, float* y, Ahead& ahead, const Finish& finish, const Meanwhile& meanwhile) {
    alignas(64) float edges[2][2 * kEdge];
    const index_t panel_floats = s_.R * grid_.steps * kStepFloats, ldc = grid_.columns;
    const piece* pieces = reinterpret_cast<const piece*>(planes_[0]);
    PositionTiles t = {};
    t.plane = plane_, t.distance = grid_.distance, t.row = s_.dilation_h * grid_.pitch;
    t.rows = s_.R, t.steps = grid_.steps, t.load_c = accumulate, t.ahead = &ahead;
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
          columns > kTileSide ? multiply_positions<true, true>(t, meanwhile, settle_before)
                              : multiply_positions<true, false>(t, meanwhile, settle_before);
        } else {
          columns > kTileSide ? multiply_positions<false, true>(t, meanwhile, settle_before)
                              : multiply_positions<false, false>(t, meanwhile, settle_before);
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

inline bool by_pieces(const Conv2dShape&) { return false; }
struct PieceFilter {};
inline index_t piece_filter_size(const Conv2dShape&) { return 0; }
inline index_t piece_block_rows(const Conv2dShape&) { return 0; }
inline index_t piece_rows_size(const Conv2dShape&, index_t) { return 0; }
inline void cut_filter(float*, const float*, const Conv2dShape&) {}

struct OutputRows {
  const float* image = nullptr;
  index_t p0 = 0, p1 = 0;
};

class PieceConvolution {
 public:
  PieceConvolution(const Conv2dShape&, const PieceFilter&, index_t, float*) {}
  static index_t fetches(const Conv2dShape&, const PieceFilter&, index_t) { return 0; }
  template <class Finish, class ByRow>
  void convolve(const OutputRows&, const OutputRows&, bool, float*, Ahead&, const Finish&, const ByRow&) {}
};

#endif

}  // namespace
