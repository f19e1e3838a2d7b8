// conv_grid.h - the register tile of a filter gradient over several filter rows.
//
// One filter row of an image with one channel has few taps: too few chains to hide the latency of a multiply-add, and dy is read
// again for every filter row. A grid keeps Lines filter rows of Taps taps each. The chains are those of the tiles of single rows.
#pragma once

#include "conv_tile.h"

namespace {

// a[(l, i), (o, p)] = a + l a_line + i + o a_outer + p a_col for l < Lines, i < Taps; c has a row for each (l, i).
template <int Taps, int Lines, int Vectors, class Tail>
void compute_grid_tile(const RunTile& t) {
  constexpr int kWhole = Vectors * kLanes;
  const index_t s = t.a_line * sizeof(float), s3 = 3 * s, s5 = 5 * s, a_col = t.a_col, b_row = t.b_row, length = t.length;
  const int last = t.last;
  RunSums<Taps * Lines, Vectors, Tail> sums;
  sums.load_from(t.c, t.ldc, last);
  const float *a_outer = t.a, *b_outer = t.b;
  for (index_t o = t.outer; o > 0; --o, a_outer += t.a_outer, b_outer += t.b_outer) {
    t.fetch();
    const float *a = a_outer, *b = b_outer;
    for (index_t p = length; p > 0; --p, a += a_col, b += b_row) {
      vfloat row[Vectors + 1];
      FASTNN_UNROLL
      for (int j = 0; j < Vectors; ++j) row[j] = load(b + j * kLanes);
      const typename Tail::Vector row_tail = Tail::get(b + kWhole, last);
      FASTNN_UNROLL
      for (int l = 0; l < Lines; ++l) {
        FASTNN_UNROLL
        for (int i = 0; i < Taps; ++i) {
          const float value = row_of(a, l, s, s3, s5)[i];
          FASTNN_UNROLL
          for (int j = 0; j < Vectors; ++j) sums.acc[l * Taps + i][j] += value * row[j];
          if constexpr (Tail::kUsed) sums.tail[l * Taps + i] += value * row_tail;
        }
      }
    }
  }
  sums.store_to(t.c, t.ldc, last);
}

// Filter rows that one tile takes, of so many taps and columns: 2, 3 or 5 of those left, as there are registers for; 1 if a grid
// does not pay.
constexpr int kMostLines = 5;
constexpr int grid_lines(index_t taps, index_t columns, index_t left = kMostLines) {
  const index_t rows = columns <= kLanes ? kMaxThinRows : kMaxRows;
  if ((taps != 3 && taps != 5 && taps != 7) || columns > 2 * kLanes) return 1;
  const index_t lines = min_of(min_of(rows / taps, kMostLines), left);
  return static_cast<int>(lines == 4 ? 3 : max_of(1, lines));
}

template <int Taps, int Lines, int Vectors, class Tail>
constexpr RunTileFunction grid_function() {
  constexpr int kColumns = (Vectors + Tail::kUsed) * kLanes;
  if constexpr (Lines <= grid_lines(Taps, kColumns)) return compute_grid_tile<Taps, Lines, Vectors, Tail>;
  return nullptr;
}

// Of so many vectors before the last one.
template <int Taps, int Before>
struct GridTable {
  RunTileFunction full[kMostLines + 1] = {}, wide[kMostLines + 1] = {}, narrow[kMostLines + 1] = {};
  constexpr GridTable() { put<2>(), put<3>(), put<5>(); }
  template <int Lines>
  constexpr void put() {
    full[Lines] = grid_function<Taps, Lines, Before + 1, NoTail>();
    wide[Lines] = grid_function<Taps, Lines, Before, WideTail>();
    narrow[Lines] = grid_function<Taps, Lines, Before, NarrowTail>();
  }
  RunTileFunction pick(int lines, int last) const {
    return last == kLanes ? full[lines] : last <= kNarrowLanes ? narrow[lines] : wide[lines];
  }
};

template <int Before>
struct GridTables {
  GridTable<3, Before> three;
  GridTable<5, Before> five;
  GridTable<7, Before> seven;
  RunTileFunction pick(index_t taps, int lines, int last) const {
    return taps == 3 ? three.pick(lines, last) : taps == 5 ? five.pick(lines, last) : seven.pick(lines, last);
  }
};

constexpr GridTables<0> kOneVectorGrids;
constexpr GridTables<1> kTwoVectorGrids;

// Runs the tile for so many filter rows, 2, 3 or 5, at most grid_lines.
inline void run_grid(RunTile& t, index_t taps, int lines, index_t columns) {
  t.last = static_cast<int>((columns - 1) % kLanes + 1);
  (columns > kLanes ? kTwoVectorGrids.pick(taps, lines, t.last) : kOneVectorGrids.pick(taps, lines, t.last))(t);
}

}  // namespace
