// piece_products.h - products that sum over rows, c = a^T b, by matrix tiles, as the gradient of weights is.
//
// A block of c is 32 columns of a by a group of columns of b. While its tiles are multiplied, the thread cuts what the next block
// needs into pieces, and does with the block before what is to be done with it. Every thread cuts for itself: to take pieces that
// another one has cut from its cache would take longer.
//
// Where values are so large or so small that pieces overflow or vanish, or are no numbers, multiply-adds make a block.
#pragma once

#include "pieces.h"

namespace {

// c (m x n) = a^T b.
struct PieceProduct {
  const float* a;
  index_t a_row;
  const float* b;
  index_t b_row;
  index_t m, n, k;

  index_t steps() const { return ceil_div(k, kPieceTerms); }
  index_t panel_floats() const { return steps() * kStepFloats; }
};

// A block: rows from `first` on, columns from `start` on.
struct PieceBlock {
  index_t first = 0, rows = 0, start = 0, columns = 0;

  index_t size() const { return rows * columns; }
};

// How a product is shared out: groups of panels of columns, whose pieces the second-level cache holds, and in each group ranges of
// panels of rows, few ones, as a thread begins and ends a range with nothing to do meanwhile.
constexpr index_t kGroupFloats = 1 << 18;
struct PieceRanges {
  RowTiles groups;
  index_t panels, ranges;

  explicit PieceRanges(const PieceProduct& p, index_t wanted = 1)
      : groups(ceil_div(p.n, kSide), static_cast<int>(max_of(1, kGroupFloats / p.panel_floats()))),
        panels(ceil_div(p.m, kSide)),
        ranges(min_of(panels, ceil_div(wanted, groups.count))) {}
  index_t most_columns() const { return (groups.low + (groups.higher > 0)) * kSide; }
};

// Of a thread: a line to say which group it has, tiles to be turned, pieces of two panels of rows and of a group.
constexpr index_t kTurnedFloats = kPieces * kTileFloats;
inline index_t piece_slot(const PieceProduct& p) {
  return kLineFloats + kTurnedFloats + (2 + PieceRanges(p).most_columns() / kSide) * p.panel_floats();
}
inline index_t pieces_scratch(const PieceProduct& p, int slots) { return slots * piece_slot(p); }

// Where a block goes, and how far its rows are apart.
struct Place {
  float* c;
  index_t ldc;
};

#if defined(__AMX_BF16__)

// Less takes as long by multiply-adds; more terms would take too much memory.
constexpr index_t kLeastTerms = 32, kMostTerms = 4096, kLeastRows = 4 * kSide, kLeastColumns = 3 * kSide;
inline bool is_made_of_pieces(index_t m, index_t n, index_t k) {
  return k >= kLeastTerms && k <= kMostTerms && m >= kLeastRows && n >= kLeastColumns;
}

// What a thread does meanwhile: the elements [begin, end) of blocks by fetch(block, begin, end), which will be used next, and
// use(block, c, begin, end), which are there.
template <class Fetch, class Use>
struct PieceTurn {
  const Fetch& fetch;
  const Use& use;
  PieceBlock now = {}, before = {};
  float* made = nullptr;                                                // the block before
  PieceCut next = {}, later = {};                                       // to be cut, and to be fetched
  index_t now_part = 0, before_part = 0, cut_part = 0, fetch_part = 0;  // of each, in whole cache lines, units, or rows

  // To be done in so many parts, or a few less: divisions are slow.
  void share(index_t parts) {
    now_part = round_up(ceil_div(now.size(), parts), kLineFloats);
    before_part = round_up(ceil_div(before.size(), parts), kLineFloats);
    cut_part = ceil_div(next.units(), parts);
    fetch_part = ceil_div(later.k, parts);
  }
  void some(index_t part) {
    const auto run = [part](const PieceBlock& block, index_t each, const auto& body) {
      const index_t begin = part * each, end = min_of(block.size(), begin + each);
      if (begin < end) body(begin, end);
    };
    run(now, now_part, [this](index_t begin, index_t end) { fetch(now, begin, end); });
    run(before, before_part, [this](index_t begin, index_t end) { use(before, made, begin, end); });
    next.cut(cut_part);
    later.fetch(min_of(later.k, part * fetch_part), min_of(later.k, (part + 1) * fetch_part));
  }
  void all() {
    share(1);
    some(0);
  }
};

// A block from the pieces of its rows and columns.
inline void multiply_block(const float* left, const float* right, index_t steps, const PieceBlock& block, const Place& to,
                           const Meanwhile& meanwhile) {
  const int rows = static_cast<int>(block.rows);
  for (index_t j = 0; j < block.columns; j += kSide) {
    const int columns = static_cast<int>(min_of(kSide, block.columns - j));
    const auto multiply = rows > kTileSide ? (columns > kTileSide ? multiply_panels<true, true> : multiply_panels<true, false>)
                                           : (columns > kTileSide ? multiply_panels<false, true> : multiply_panels<false, false>);
    const index_t panel = j / kSide;
    multiply(left, right + panel * steps * kStepFloats, steps, to.c + j, to.ldc, rows, columns, meanwhile, panel * steps * kPairs);
  }
}

// place(block, slot, number): where a block goes, the number 0 or 1 in turns. Fetch, Use: see PieceTurn; these take `cycles` for
// each element.
template <class Where, class Fetch, class Use>
void multiply_pieces(const PieceProduct& p, float* scratch, int slots, double cycles, const Where& place, const Fetch& fetch,
                     const Use& use) {
  constexpr index_t kNone = -1;
  const index_t threads = min_of(slots, fastnn::num_threads());
  const PieceRanges cut(p, threads);
  const index_t size = p.panel_floats(), slot_size = piece_slot(p);
  struct Held {
    index_t group;
    bool fits;
  };
  const auto held_by = [&](index_t slot) { return reinterpret_cast<Held*>(scratch + slot * slot_size); };
  for (index_t slot = 0; slot < slots; ++slot) held_by(slot)->group = kNone;

  const double products = static_cast<double>(p.steps() * kPairs * kTileSide) / (kTileSide * kTileSide);
  const double range_cycles =
      (products + cycles) * static_cast<double>(p.m * p.n) / static_cast<double>(cut.groups.count * cut.ranges);
  parallel_for(cut.groups.count * cut.ranges, range_cycles, slots, [&](index_t begin, index_t end, int slot) {
    Held* held = held_by(slot);
    float* const turned = scratch + slot * slot_size + kLineFloats;
    float* const lefts = turned + kTurnedFloats;
    float* const right = lefts + 2 * size;
    const auto cut_left = [&](index_t panel) -> PieceCut {
      return {p.a + panel * kSide, p.a_row, p.k, min_of(kSide, p.m - panel * kSide), lefts + panel % 2 * size, turned};
    };
    PieceTurn<Fetch, Use> turn = {fetch, use};
    const Meanwhile meanwhile = {[](void* context, index_t part) { static_cast<PieceTurn<Fetch, Use>*>(context)->some(part); },
                                 &turn};
    configure_tiles();
    for (index_t item = begin; item < end; ++item) {
      const index_t group = item / cut.ranges, range = item % cut.ranges;
      const index_t j0 = cut.groups.start(group), j1 = cut.groups.start(group + 1);
      if (held->group != group) {
        *held = {group, true};
        for (index_t j = j0; j < j1; ++j) {
          PieceCut panel = {p.b + j * kSide, p.b_row, p.k, min_of(kSide, p.n - j * kSide), right + (j - j0) * size, nullptr};
          panel.cut(panel.units());
          held->fits = held->fits && panel.fits();
        }
      }
      const index_t first = range * cut.panels / cut.ranges, last = (range + 1) * cut.panels / cut.ranges;
      turn.now = turn.before = {};
      turn.next = cut_left(first);
      turn.later = {};
      turn.all();
      for (index_t panel = first; panel < last; ++panel) {
        const bool fits = held->fits && turn.next.fits();
        turn.now = {panel * kSide, min_of(kSide, p.m - panel * kSide), j0 * kSide, min_of(p.n, j1 * kSide) - j0 * kSide};
        turn.next = panel + 1 < last ? cut_left(panel + 1) : PieceCut{};
        turn.later = panel + 2 < last ? cut_left(panel + 2) : PieceCut{};
        turn.share((j1 - j0) * p.steps() * kPairs);
        const Place to = place(turn.now, slot, panel % 2);
        if (fits) {
          multiply_block(lefts + panel % 2 * size, right, p.steps(), turn.now, to, meanwhile);
        } else {
          turn.all();
          const Panels b = {p.b + turn.now.start, p.b_row, false, p.k, turn.now.columns};
          multiply_rows({p.a + turn.now.first, 1, p.a_row}, b, to.c, to.ldc, turn.now.rows, false, kNoEpilogue);
        }
        turn.before = turn.now, turn.made = to.c;
      }
      turn.now = {}, turn.next = {};
      turn.all();
    }
    _tile_release();
  });
}

#else

inline bool is_made_of_pieces(index_t, index_t, index_t) { return false; }
template <class Where, class Fetch, class Use>
void multiply_pieces(const PieceProduct&, float*, int, double, const Where&, const Fetch&, const Use&) {}

#endif

}  // namespace
