// piece_grid.h - which convolutions are made by matrix tiles, what their tiles hold, and their filters in pieces.
//
// The left of a tile's product are 16 positions of an output row, with the values that each of them meets in one image row: side by
// side in NHWC, positions at one distance, so that tiles are read from the image rows in place. A position is one output pixel,
// or two neighbors where a filter has so few outputs that those of two are the columns of a tile: what they meet together is
// hardly more than what one of them meets. Where it saves tiles, those go on in the next output row, and what is computed between
// rows, beside the image, is left; or they have the same columns of two rows.
//
// The terms of an output are those of its filter rows in order, 32 at a time, as in pieces.h.
#pragma once

#include "conv_shape.h"
#include "pieces.h"

namespace {

#if defined(__AMX_BF16__)

// Where the positions of a tile are. By themselves: in one output row. One row after the other: they go on in the next row.
// Two rows side by side: the same columns of two rows, in turns.
enum class Layout { apart, on, paired };

// What a tile's positions and terms are, by the shape alone.
struct PositionGrid {
  Layout layout;
  index_t pixels;           // of a position
  index_t distance;         // values between positions
  index_t run, columns;     // values that a position meets in an image row; its outputs
  index_t taps, tap;        // runs of those values that lie side by side, and values between them
  index_t steps;            // of terms, of each of those
  index_t panels;           // of columns
  index_t across, between;  // positions of an output row, and from the first one of a row to that of the next
  index_t height;           // positions of a tile
  index_t pitch;            // values between image rows
  index_t margin;           // values behind the last image row that are terms of the last positions, or multiplied by zeros

  PositionGrid(const Conv2dShape& s, Layout how) : layout(how) {
    pixels = 2 * s.K <= kSide ? 2 : 1;
    distance = pixels * s.stride_w * s.C, run = (s.S + (pixels - 1) * s.stride_w) * s.C, columns = pixels * s.K;
    taps = 1, tap = 0, steps = ceil_div(run, kPieceTerms), panels = ceil_div(columns, kSide), across = ceil_div(s.Q, pixels);
    const index_t reach = (across * pixels - 1) * s.stride_w + s.S;  // pixels of an image row, from the padding on
    if (how == Layout::on) {
      // The padding of a row is that of its neighbor, too.
      const index_t least = max_of(max_of(s.W + s.pad_left, reach - s.pad_left), across * pixels * s.stride_w);
      pitch = round_up(least, pixels * s.stride_w) * s.C;
      between = s.stride_h * pitch / distance, height = kTileSide;
    } else if (how == Layout::apart) {
      pitch = round_up(max_of(s.W + s.pad_left, reach) * s.C + kPieceTerms, kPieceTerms);
      between = across, height = ceil_div(across, ceil_div(across, kTileSide));
    } else {
      // An image row lies beside the one below and the one above: row after row there are two of them, pixel by pixel.
      taps = s.S, tap = 2 * s.C, steps = s.C / kPieceTerms;
      pitch = 2 * max_of(s.W + s.pad_left, reach) * s.C;
      between = across, height = 2 * across;
    }
    margin = how == Layout::paired ? 0 : max_of(0, reach * s.C + kPieceTerms - pitch);
  }

  // Terms must be the same as of rows apart.
  static bool can_be_paired(const Conv2dShape& s) {
    return s.stride_h == 1 && s.stride_w == 1 && 2 * s.K > kSide && 2 * s.Q <= kTileSide && s.C % kPieceTerms == 0;
  }

  index_t filter_steps(const Conv2dShape& s) const { return s.R * taps * steps; }
  index_t tiles(index_t rows) const {
    if (layout == Layout::paired) return ceil_div(rows, 2);
    return layout == Layout::on ? ceil_div((rows - 1) * between + across, kTileSide) : rows * ceil_div(across, height);
  }
  // Of two tiles at a time and all panels. Outputs that do not lie in y as in tiles are copied.
  index_t cycles(const Conv2dShape& s, index_t rows) const {
    const bool copied = layout != Layout::apart || columns % kTileSide != 0;
    return ceil_div(tiles(rows), 2) * panels * (filter_steps(s) * kPairs * 4 * kTileSide + (copied ? 700 : 100));
  }
};

// Output rows that are computed together: what they read stays in the second-level cache.
constexpr index_t kPieceValues = 12800;
inline index_t piece_block_rows(const Conv2dShape& s) { return block_rows(s, kPieceValues); }

inline PositionGrid position_grid(const Conv2dShape& s) {
  PositionGrid best(s, Layout::apart);
  const index_t rows = piece_block_rows(s);
  const auto try_out = [&](Layout layout) {
    const PositionGrid grid(s, layout);
    if (grid.cycles(s, rows) < best.cycles(s, rows)) best = grid;
  };
  try_out(Layout::on);
  if (PositionGrid::can_be_paired(s)) try_out(Layout::paired);
  return best;
}

// Whether they take less time than vectors. Bits depend on it, and a pooled convolution may leave out rows and columns: so it
// counts those that are there with as much padding behind the image as before it.
inline bool by_pieces(const Conv2dShape& whole) {
  constexpr index_t kFewChannels = 8, kFewColumns = 6;
  Conv2dShape s = whole;
  s.P = (s.H + 2 * s.pad_top - span(1, 1, s.R, s.dilation_h)) / s.stride_h + 1;
  s.Q = (s.W + 2 * s.pad_left - s.S) / s.stride_w + 1;
  if (!is_dense(s) || s.R * s.S == 1 || s.C < kFewChannels || s.K < kFewChannels || s.pad_top < 0 || s.pad_left < 0) return false;
  if (s.P < 1 || s.Q < kFewColumns) return false;
  const PositionGrid grid = position_grid(s);
  const index_t rows = piece_block_rows(s), blocks = ceil_div(s.P, rows);
  const index_t filter = grid.filter_steps(s) * grid.panels * kPieceTerms * kSide;
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
  return PieceFilter::kHeader + grid.panels * grid.filter_steps(s) * kStepFloats;
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

#else

inline bool by_pieces(const Conv2dShape&) { return false; }
struct PieceFilter {};
inline index_t piece_filter_size(const Conv2dShape&) { return 0; }
inline index_t piece_block_rows(const Conv2dShape&) { return 0; }
inline void cut_filter(float*, const float*, const Conv2dShape&) {}

#endif

}  // namespace
