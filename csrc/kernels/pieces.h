// pieces.h - float32 values as three bfloat16 pieces, multiplied by matrix tiles (AMX): these take bfloat16 values and add in
// float32, sixteen times as many as the vector units.
//
// A value is the sum of three pieces of eight bits, exactly. Of the nine products of the pieces of two values the six largest are
// added up; what is left out is below 2^-23 of the product (2^-22 if pieces are cut off, not rounded), about what each multiply-add
// of a chain may round away. The order
// of a sum depends on its number of terms alone: 32 terms at a time, of which two chains of 16 are begun anew for each pair of
// pieces.
#pragma once

#include "gemm_tiles.h"

namespace {

constexpr index_t kPieceTerms = 32, kTileSide = 16, kSide = 2 * kTileSide;  // of a tile; of a block of four
constexpr int kPieces = 3, kPairs = 6;                                      // of pieces that are multiplied
constexpr index_t kTileFloats = kTileSide * kPieceTerms / 2;
constexpr index_t kStepFloats = 2 * kPieces * kTileFloats;  // of two tiles side by side, for so many terms

#if defined(__AMX_BF16__)

// Gives the calling thread its tile registers, of 64 bytes a row: six of so many rows, which are on the left and sums, of which the
// lower ones (2, 3 and 5) may have others, and two of 16, on the right. To be followed by _tile_release().
inline void configure_tiles(int height = kTileSide, int second = 0) {
  struct {
    std::uint8_t palette, first, unused[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  } shape = {};
  shape.palette = 1;
  for (int i = 0; i < 8; ++i) {
    const bool lower = second > 0 && (i == 2 || i == 3 || i == 5);
    shape.row_bytes[i] = 64, shape.rows[i] = static_cast<std::uint8_t>(i >= 6 ? kTileSide : lower ? second : height);
  }
  asm volatile("" : : "r"(&shape) : "memory");  // all of it is read: not all compilers know
  _tile_loadconfig(&shape);
}

typedef std::uint32_t vbits __attribute__((vector_size(64)));

// Upper halves of the words of two vectors: as pairs in words, or those of the first vector before those of the second.
constexpr std::uint32_t kUpperHalf = 0xffff0000u;
inline vbits in_pairs(vbits low, vbits high) { return (high & kUpperHalf) | (low >> 16); }
inline vbits in_order(vbits first, vbits second) {
  typedef std::uint16_t vhalves __attribute__((vector_size(64)));
  return (vbits)__builtin_shufflevector((vhalves)first, (vhalves)second, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31,
                                        33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63);
}

// The pieces of two vectors, joined. All but the last are rounded to nearest; the last one has no more than eight bits left.
template <class Join>
FASTNN_INLINE void cut_into_pieces(vfloat low, vfloat high, const Join& join, vbits (&pieces)[kPieces]) {
  FASTNN_UNROLL
  for (int i = 0; i < kPieces; ++i) {
    vbits l = (vbits)low, h = (vbits)high;
    if (i + 1 < kPieces) {
      l = (l + 0x8000u) & kUpperHalf, h = (h + 0x8000u) & kUpperHalf;
      low -= (vfloat)l, high -= (vfloat)h;
    }
    pieces[i] = join(l, h);
  }
}

// The largest absolute values of vectors, as bits, and whether no piece, and no product of pieces that counts, overflows or
// vanishes: with zeros only, too.
struct Magnitude {
  vbits largest = {};

  FASTNN_INLINE void see(vfloat v) {
    const vbits bits = (vbits)v & 0x7fffffffu;
    largest = largest > bits ? largest : bits;
  }
  bool fits() const {
    constexpr std::uint32_t kLeast = (127u - 60) << 23, kMost = (127u + 60) << 23;  // 2^-60, 2^60
    std::uint32_t most = 0;
    for (int i = 0; i < kLanes; ++i) most = largest[i] > most ? largest[i] : most;
    return most == 0 || (most >= kLeast && most <= kMost);
  }
};

// Up to kSide columns of k rows, cut into pieces: tiles for the right of a product, pairs of terms below each other, or for the
// left, where they are side by side. In small units, to be done while tiles are multiplied.
struct PieceCut {
  const float* from;
  index_t row, k, columns;
  float* to;
  float* pairs;  // for the left: room for kPieces tiles, to be turned; or null
  Magnitude magnitude = {};

  // The next unit.
  index_t step = 0;
  int half = 0, unit = 0;

  int tile_units() const { return kTileSide + (pairs ? kPieces : 0); }
  index_t units() const { return ceil_div(k, kPieceTerms) * ceil_div(columns, kTileSide) * tile_units(); }

  // The next units, up to so many.
  void cut(index_t count) {
    for (; count > 0 && step * kPieceTerms < k; --count) {
      unit < kTileSide ? cut_pair() : turn(unit - kTileSide);
      if (++unit < tile_units()) continue;
      unit = 0;
      if (++half * kTileSide < columns) continue;
      half = 0, ++step;
    }
  }

  // Fetches rows [begin, end), which prefetchers do not follow if they are far apart.
  void fetch(index_t begin, index_t end) const {
    for (index_t i = begin; i < end; ++i) {
      for (index_t j = 0; j < columns; j += kLineFloats) __builtin_prefetch(from + i * row + j, 0, 2);
    }
  }

  bool fits() const { return magnitude.fits(); }

 private:
  float* tile_of(int piece) const { return to + step * kStepFloats + (2 * piece + half) * kTileFloats; }

  // Two rows of a step.
  void cut_pair() {
    const int count = static_cast<int>(min_of(kTileSide, columns - half * kTileSide));
    const auto get = [&](index_t p) { return p < k ? load_partial(from + p * row + half * kTileSide, count) : vfloat{}; };
    const vfloat low = get(step * kPieceTerms + unit), high = get(step * kPieceTerms + unit + kTileSide);
    magnitude.see(low), magnitude.see(high);
    vbits pieces[kPieces];
    cut_into_pieces(low, high, in_pairs, pieces);
    FASTNN_UNROLL
    for (int i = 0; i < kPieces; ++i) store((pairs ? pairs + i * kTileFloats : tile_of(i)) + unit * kTileSide, (vfloat)pieces[i]);
  }

  void turn(int piece) const {
    transpose_rows(pairs + piece * kTileFloats, kTileSide, tile_of(piece), kTileSide, kTileSide, kTileSide);
  }
};

// What the vector units do while the tiles are busy, part by part.
struct Meanwhile {
  void (*part)(void* context, index_t number);
  void* context;
};

// c, of which rows x columns are written, from two panels: up to four tiles, numbers 0 to 3; 4 and 5 are on the left, 6 and 7 on
// the right. There are kPairs parts for each step, from number `part` on.
template <bool TwoRows, bool TwoColumns>
void multiply_panels(const float* a, const float* b, index_t steps, float* c, index_t ldc, int rows, int columns,
                     const Meanwhile& meanwhile, index_t part) {
  constexpr index_t kBytes = 64;
  _tile_zero(0);
  if (TwoColumns) _tile_zero(1);
  if (TwoRows) _tile_zero(2);
  if (TwoRows && TwoColumns) _tile_zero(3);
  const auto take_left = [&](int piece) {
    _tile_loadd(4, a + 2 * piece * kTileFloats, kBytes);
    if (TwoRows) _tile_loadd(5, a + (2 * piece + 1) * kTileFloats, kBytes);
  };
  const auto take_right = [&](int piece) {
    _tile_loadd(6, b + 2 * piece * kTileFloats, kBytes);
    if (TwoColumns) _tile_loadd(7, b + (2 * piece + 1) * kTileFloats, kBytes);
  };
  const auto add = [&] {
    _tile_dpbf16ps(0, 4, 6);
    if (TwoColumns) _tile_dpbf16ps(1, 4, 7);
    if (TwoRows) _tile_dpbf16ps(2, 5, 6);
    if (TwoRows && TwoColumns) _tile_dpbf16ps(3, 5, 7);
    if (meanwhile.part) meanwhile.part(meanwhile.context, part++);
  };
  asm volatile("" ::: "memory");  // the panels have been written: not all compilers know that tiles read them
  for (index_t step = 0; step < steps; ++step, a += kStepFloats, b += kStepFloats) {
    take_left(0), take_right(2), add();
    take_right(1), add();
    take_left(1), add();
    take_right(0), add();
    take_left(2), add();
    take_left(0), add();
  }
  alignas(64) float edge[kSide * kSide];
  const bool whole = rows == (TwoRows ? kSide : kTileSide) && columns == (TwoColumns ? kSide : kTileSide);
  float* to = whole ? c : edge;
  const index_t ld = whole ? ldc : kSide, stride = ld * static_cast<index_t>(sizeof(float));
  _tile_stored(0, to, stride);
  if (TwoColumns) _tile_stored(1, to + kTileSide, stride);
  if (TwoRows) _tile_stored(2, to + kTileSide * ld, stride);
  if (TwoRows && TwoColumns) _tile_stored(3, to + kTileSide * ld + kTileSide, stride);
  asm volatile("" ::: "memory");
  for (int i = 0; i < rows && !whole; ++i) {
    for (int j = 0; j < columns; j += kTileSide) {
      const int count = static_cast<int>(min_of(kTileSide, columns - j));
      store_partial(c + i * ldc + j, load(edge + i * kSide + j), count);
    }
  }
}

#endif

}  // namespace
