// conv_sliding.h - register tiles of convolutions in which a value of the image meets all taps of a filter row.
//
// With few filters a tile has one vector of them, and each multiply-add reads a value of its own: more than the first-level cache
// gives, as pixels of 16 channels lie in the same part of every line. But with stride 1 a value meets S taps, for S pixels side by
// side. Read once and multiplied with all of them, it takes a third (3 taps) or a fifth (5 taps) of the loads.
#pragma once

#include "conv_tile.h"

namespace {

// Whether taps of a filter row meet values side by side, and are as many as there are such tiles for.
inline bool shares_values(const Conv2dShape& s) { return s.stride_w == 1 && s.dilation_w == 1 && (s.S == 3 || s.S == 5); }

// Forward: Rows pixels side by side. k is in the order (o, p, r) here: filter row, channel, tap; t.runs is Taps, t.a_run = t.a_row.
template <int Rows, int Vectors, class Tail, int Taps>
void compute_sliding_tile(const RunTile& t) {
  constexpr int kWhole = Vectors * kLanes, kColumns = Vectors + Tail::kUsed, kGroups = (Rows + Taps - 1 + kGroup - 1) / kGroup;
  constexpr bool kTapsHeld = (Rows + Taps) * kColumns + 1 <= kRegisters;
  RunSums<Rows, Vectors, Tail> sums = {};
  const index_t s = t.a_row * sizeof(float), s3 = 3 * s, s5 = 5 * s, b_run = t.b_run, b_row = t.b_row;
  const int last = t.last;
  if (t.load_c) sums.load_from(t.c, t.ldc, last);
  const float *a_outer = t.a, *b_outer = t.b;
  for (index_t o = t.outer; o > 0; --o, a_outer += t.a_outer, b_outer += t.b_outer) {
    const float *a[kGroups], *b = b_outer;
    a[0] = a_outer;
    FASTNN_UNROLL
    for (int g = 1; g < kGroups; ++g) a[g] = a[g - 1] + kGroup * t.a_row;
    for (index_t p = t.length; p > 0; --p) {
      vfloat row[Taps][Vectors + 1];
      typename Tail::Vector row_tail[Taps];
      const auto read_tap = [&](int r) {
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) row[r][j] = load(b + r * b_run + j * kLanes);
        row_tail[r] = Tail::get(b + r * b_run + kWhole, last);
      };
      const auto multiply = [&](float value, int i, int r) {
        FASTNN_UNROLL
        for (int j = 0; j < Vectors; ++j) sums.acc[i][j] += value * row[r][j];
        if constexpr (Tail::kUsed) sums.tail[i] += value * row_tail[r];
      };
      const auto value_at = [&](int i) { return *row_of(a[i / kGroup], i % kGroup, s, s3, s5); };
      if constexpr (kTapsHeld) {
        FASTNN_UNROLL
        for (int r = 0; r < Taps; ++r) read_tap(r);
        FASTNN_UNROLL
        for (int i = 0; i < Rows + Taps - 1; ++i) {
          const float value = value_at(i);
          FASTNN_UNROLL
          for (int r = 0; r < Taps; ++r) {
            if (i - r >= 0 && i - r < Rows) multiply(value, i - r, r);
          }
        }
      } else {
        FASTNN_UNROLL
        for (int r = 0; r < Taps; ++r) {
          read_tap(r);
          FASTNN_UNROLL
          for (int i = 0; i < Rows; ++i) multiply(value_at(i + r), i, r);
          FASTNN_UNROLL
          for (int g = 0; g < kGroups; ++g) a[g] = opaque(a[g]);  // values are read again: there are no registers for them
        }
      }
      FASTNN_UNROLL
      for (int g = 0; g < kGroups; ++g) ++a[g];
      b += b_row;
    }
  }
  sums.finish(t);
}

constexpr index_t kSlidingColumns = 16;  // filters for which such tiles are taken, whatever the vectors: the order of k is another

// The most pixels of such a tile.
constexpr int most_sliding_rows(index_t columns, index_t taps) {
  return static_cast<int>(columns > kLanes ? kMaxRows : min_of(16, kRegisters - 1 - taps));
}

template <int Taps>
struct SlidingTiles {
  static constexpr int kVectors = min_of(kMaxVectors, ceil_div(kSlidingColumns, kLanes));
  template <int Vectors, class Tail>
  static constexpr int kRows = most_sliding_rows((Vectors + Tail::kUsed) * kLanes, Taps);
  template <int Rows, int Vectors, class Tail>
  static constexpr RunTileFunction kFunction = compute_sliding_tile<Rows, Vectors, Tail, Taps>;
};

// Runs the tile for so many taps, rows and columns (at most a panel, and kSlidingColumns).
inline void run_sliding_tile(RunTile& t, index_t taps, int rows, index_t columns) {
  taps == 3 ? run_tile<SlidingTiles<3>>(t, rows, columns) : run_tile<SlidingTiles<5>>(t, rows, columns);
}

// The gradient of Channels channels of Taps taps of a filter row.
template <int Channels, class Column, int Taps>
struct SlidingSums {
  typedef typename Column::Vector Vector;
  Vector acc[Taps][Channels], dy[Taps];  // dy[s]: of the pixel s to the left of this one

  FASTNN_INLINE void shift() {
    FASTNN_UNROLL
    for (int s = Taps - 1; s > 0; --s) dy[s] = dy[s - 1];
  }
  // A column of the image whose taps [first, stop) meet pixels of dy.
  FASTNN_INLINE void add(const float* a, int first, int stop) {
    FASTNN_UNROLL
    for (int i = 0; i < Channels; ++i) {
      FASTNN_UNROLL
      for (int s = 0; s < Taps; ++s) {
        if (s >= first && s < stop) acc[s][i] += a[i] * dy[s];
      }
    }
  }
};

// c[(s, i)], at c + s c_run + i ldc, += the sum of a[o a_outer + (p + s) a_col + i] b[o b_outer + p b_row]; length >= Taps - 1. The
// chains are those of the tiles of conv_tile.h.
template <int Channels, class Column, int Taps>
void compute_sliding_gradient(const RunTile& t) {
  const index_t c_run = t.c_run, ldc = t.ldc, a_col = t.a_col, b_row = t.b_row, length = t.length;
  const int last = t.last;
  SlidingSums<Channels, Column, Taps> sums = {};
  FASTNN_UNROLL
  for (int s = 0; s < Taps; ++s) {
    const float* c = opaque(t.c + s * c_run);
    FASTNN_UNROLL
    for (int i = 0; i < Channels; ++i, c = opaque(c + ldc)) sums.acc[s][i] = Column::get(c, last);
  }
  const float *a_outer = t.a, *b_outer = t.b;
  for (index_t o = t.outer; o > 0; --o, a_outer += t.a_outer, b_outer += t.b_outer) {
    t.fetch();
    const float *a = a_outer, *b = b_outer;
    FASTNN_UNROLL
    for (int j = 1; j < Taps; ++j, a += a_col, b += b_row) {
      sums.shift();
      sums.dy[0] = Column::get(b, last);
      sums.add(a, 0, j);
    }
    for (index_t p = length - (Taps - 1); p > 0; --p, a += a_col, b += b_row) {
      sums.shift();
      sums.dy[0] = Column::get(b, last);
      sums.add(a, 0, Taps);
    }
    FASTNN_UNROLL
    for (int j = 1; j < Taps; ++j, a += a_col) {
      sums.shift();
      sums.add(a, j, Taps);
    }
  }
  FASTNN_UNROLL
  for (int s = 0; s < Taps; ++s) {
    float* c = opaque(t.c + s * c_run);
    FASTNN_UNROLL
    for (int i = 0; i < Channels; ++i, c = opaque(c + ldc)) Column::put(c, sums.acc[s][i], last);
  }
}

// The most channels of such a tile: what there are registers for.
constexpr int most_sliding_channels(index_t taps) { return static_cast<int>((kRegisters - 1 - taps) / taps); }

struct FullColumn {
  typedef vfloat Vector;
  static Vector get(const float* p, int) { return load(p); }
  static void put(float* p, Vector v, int) { store(p, v); }
};

template <int Taps>
struct SlidingGradientTable {
  static constexpr int kChannels = most_sliding_channels(Taps);
  RunTileFunction full[kChannels + 1] = {}, wide[kChannels + 1] = {}, narrow[kChannels + 1] = {};
  constexpr SlidingGradientTable() { put<kChannels>(); }
  template <int Channels>
  constexpr void put() {
    full[Channels] = compute_sliding_gradient<Channels, FullColumn, Taps>;
    wide[Channels] = compute_sliding_gradient<Channels, WideTail, Taps>;
    narrow[Channels] = compute_sliding_gradient<Channels, NarrowTail, Taps>;
    if constexpr (Channels > 1) put<Channels - 1>();
  }
  RunTileFunction pick(int channels, int last) const {
    return last == kLanes ? full[channels] : last <= kNarrowLanes ? narrow[channels] : wide[channels];
  }
};

template <int Taps>
constexpr SlidingGradientTable<Taps> kSlidingGradients;

// Runs the tile for so many taps, channels (at most most_sliding_channels) and columns (at most a vector).
inline void run_sliding_gradient(RunTile& t, index_t taps, int channels, index_t columns) {
  t.last = static_cast<int>(columns);
  (taps == 3 ? kSlidingGradients<3>.pick(channels, t.last) : kSlidingGradients<5>.pick(channels, t.last))(t);
}

}  // namespace
