// dense_pieces.h - rows times weights by matrix tiles (AMX): while tiles are multiplied, the vector units cut the rows and weights
// that come next into pieces (pieces.h).
//
// How a row's sums are made depends on the weights' shape alone, neither on the other rows nor on their number: one or two rows
// make the same sums by multiply-adds (dense_few.h).
#pragma once

#include "dense_few.h"

namespace {

#if defined(__AMX_BF16__)

// A run of rows, panels of columns and steps of terms.
struct DensePart {
  index_t row, rows, panel, panels, step, steps;
};

// Weights, cut into pieces step after step, panel after panel, in units of a row and the one kTileSide behind it; the pieces of a
// step go where those of the step `kept` before it were.
class WeightCut {
 public:
  static constexpr index_t kUnits = kTileSide;  // of a step
  static constexpr index_t kStepsAhead = 2;     // of what is fetched

  WeightCut() = default;
  WeightCut(const Gemm& g, const DensePart& part, index_t kept, float* to)
      : b_(g.b),
        row_(g.b_row),
        terms_(g.k),
        columns_(g.n),
        panel_(part.panel),
        panels_(part.panel + part.panels),
        first_(part.step),
        step_(part.step),
        end_(part.step + part.steps),
        kept_(kept),
        to_(to) {}

  // Steps before this one may be cut from now on.
  void allow(index_t limit) {
    limit_ = limit;
    if (rows_ == 0) take();
  }

  const float* at(index_t number) const { return to_ + number % kept_ * kStepFloats; }

  FASTNN_INLINE void cut(int units) {
    for (; units > 0 && rows_ > 0; --units) {
      if (rows_ == kPieceTerms) {
        cut_unit(get(low_, 0), get(low_, 1), get(high_, 0), get(high_, 1));
      } else {
        const vfloat none = {};
        const bool lower = unit_ < rows_, higher = unit_ + kTileSide < rows_;
        cut_unit(lower ? get(low_, 0) : none, lower ? get(low_, 1) : none, higher ? get(high_, 0) : none,
                 higher ? get(high_, 1) : none);
      }
      fetch(low_ + ahead_), fetch(high_ + ahead_);
      low_ += row_, high_ += row_, here_ += kTileSide;
      if (++unit_ == kUnits) take();
    }
  }

 private:
  // The next step, or none.
  __attribute__((noinline)) void take() {
    rows_ = 0, unit_ = 0;
    if (panel_ == panels_ || number_ == limit_) return;
    const index_t term = step_ * kPieceTerms, column = panel_ * kSide;
    low_ = b_ + term * row_ + column, high_ = low_ + kTileSide * row_;
    rows_ = static_cast<int>(min_of(kPieceTerms, terms_ - term));
    const std::uint32_t columns = static_cast<std::uint32_t>((1ull << min_of(kSide, columns_ - column)) - 1);
    mask_[0] = static_cast<__mmask16>(columns), mask_[1] = static_cast<__mmask16>(columns >> kLanes);
    here_ = to_ + number_++ % kept_ * kStepFloats;
    const index_t steps = end_ - first_, later = step_ - first_ + kStepsAhead, around = later / steps;
    ahead_ = panel_ + around < panels_ ? (kStepsAhead - around * steps) * kPieceTerms * row_ + around * kSide : 0;
    if (++step_ == end_) step_ = first_, ++panel_;
  }
  // The lines of a row of a panel.
  static FASTNN_INLINE void fetch(const float* row) {
    __builtin_prefetch(row, 0, 2);
    __builtin_prefetch(row + kLineFloats, 0, 2);
    __builtin_prefetch(row + kSide - 1, 0, 2);
  }
  FASTNN_INLINE vfloat get(const float* from, int half) const {
    return (vfloat)_mm512_maskz_loadu_ps(mask_[half], from + half * kLanes);
  }
  FASTNN_INLINE void cut_unit(vfloat low0, vfloat low1, vfloat high0, vfloat high1) const {
    FASTNN_UNROLL
    for (int half = 0; half < 2; ++half) {
      vfloat l = half == 0 ? low0 : low1, h = half == 0 ? high0 : high1;
      FASTNN_UNROLL
      for (int piece = 0; piece < kPieces; ++piece) {
        store(here_ + (2 * piece + half) * kTileFloats, (vfloat)in_pairs((vbits)l, (vbits)h));
        if (piece + 1 < kPieces) l -= (vfloat)((vbits)l & kUpperHalf), h -= (vfloat)((vbits)h & kUpperHalf);
      }
    }
  }

  const float *low_ = nullptr, *high_ = nullptr;
  float* here_ = nullptr;
  int rows_ = 0, unit_ = 0;  // that there are of the step; done
  __mmask16 mask_[2] = {};
  const float* b_ = nullptr;
  index_t row_ = 0, ahead_ = 0, terms_ = 0, columns_ = 0;
  index_t panel_ = 0, panels_ = 0, first_ = 0, step_ = 0, end_ = 0, number_ = 0, limit_ = 0, kept_ = 1;
  float* to_ = nullptr;
};

// Up to kSide rows, cut into pieces.
class LeftCut {
 public:
  LeftCut() = default;
  LeftCut(const Gemm& g, index_t row, index_t rows, index_t step, index_t steps, float* to)
      : a_(g.a + row * g.a_row), row_(g.a_row), rows_(rows), terms_(g.k), step_(step), end_(step + steps), to_(to) {
    begin_step();
  }

  index_t units() const { return (end_ - step_) * rows_; }

  FASTNN_INLINE void cut(index_t units) {
    for (; units > 0 && step_ < end_; --units) {
      vfloat low, high;
      if (whole_) {
        low = load(from_), high = load(from_ + kLanes);
      } else {
        low = get_partial(from_, terms_ - step_ * kPieceTerms),
        high = get_partial(from_ + kLanes, terms_ - step_ * kPieceTerms - kLanes);
      }
      vbits pieces[kPieces];
      cut_into_pieces(low, high, in_pairs, pieces);
      FASTNN_UNROLL
      for (int i = 0; i < kPieces; ++i) store(here_ + 2 * i * kTileFloats, (vfloat)pieces[i]);
      from_ += row_, here_ += kTileSide;
      if (++unit_ == rows_) ++step_, begin_step();
    }
  }

 private:
  void begin_step() {
    unit_ = 0, here_ = to_, to_ += kStepFloats;
    from_ = a_ + step_ * kPieceTerms;
    whole_ = (step_ + 1) * kPieceTerms <= terms_;
  }
  __attribute__((noinline)) static vfloat get_partial(const float* from, index_t left) {
    return left > 0 ? load_partial(from, static_cast<int>(min_of(kLanes, left))) : vfloat{};
  }

  const float *a_ = nullptr, *from_ = nullptr;
  float* here_ = nullptr;
  index_t row_ = 0, rows_ = 0, unit_ = 0;
  bool whole_ = false;
  index_t terms_ = 0, step_ = 0, end_ = 0;
  float* to_ = nullptr;
};
static_assert(kTileFloats == kTileSide * kTileSide, "rows of the second tile follow those of the first");

// The second-level cache holds the pieces of so many bands of rows and steps, and those of one panel of weights and of the next
// one. Of a single band the weights' pieces are used once, and the first-level cache holds those of a step and of the next one.
constexpr index_t kMostBands = 8, kBandSteps = 96, kLeastSteps = 8;

// Products of one thread, block after block.
class DenseBlocks {
 public:
  explicit DenseBlocks(const Gemm& g) : g_(g), finish_(g) {}

  // All bands of a part by one of its panels, whose pieces are those of `weights` from step `number` on; it cuts the next ones
  // meanwhile. If `cut_rows`, the rows are cut, too, those of a band while the one before is multiplied.
  void multiply(const DensePart& part, index_t panel, float* lefts, index_t number, WeightCut& weights, bool cut_rows) {
    const index_t bands = ceil_div(part.rows, kSide), column = panel * kSide, columns = min_of(kSide, g_.n - column);
    const bool direct = columns == kSide || columns == kTileSide, load_c = part.step > 0;
    const bool last = (part.step + part.steps) * kPieceTerms >= g_.k;
    const int units = static_cast<int>(ceil_div(WeightCut::kUnits, bands));
    for (int i = 0; i < kPairs; ++i) units_[i] = (i + 1) * units / kPairs - i * units / kPairs;
    weights.allow(bands == 1 ? number + part.steps + 1 : number + 2 * part.steps);
    LeftCut next;
    for (index_t band = 0; band < bands; ++band) {
      const index_t row = part.row + band * kSide, rows = min_of(kSide, part.row + part.rows - row);
      float* const left = lefts + band * part.steps * kStepFloats;
      if (cut_rows) {
        if (band == 0) next = LeftCut(g_, row, rows, part.step, part.steps, left);
        next.cut(next.units());
        const index_t after = row + kSide;
        next = band + 1 < bands ? LeftCut(g_, after, min_of(kSide, part.row + part.rows - after), part.step, part.steps,
                                          left + part.steps * kStepFloats)
                                : LeftCut();
        left_units_ = ceil_div(next.units(), part.steps * kPairs);
        fits_[band] = !last || finish_.rows_fit(row, rows);
      }
      configure(rows);
      float* const c = g_.c + row * g_.ldc + column;
      edge_ = 1 - edge_;
      const DenseBlock now = {direct ? c : edges_[edge_], direct ? g_.ldc : kSide, row, rows, column, columns, last, fits_[band]};
      if (load_c && !direct) {
        if (before_.row == row && before_.column == column) finish_.settle(before_), before_ = {};
        for (index_t i = 0; i < rows; ++i) {
          for (index_t j = 0; j < columns; j += kLanes) {
            store(now.made + i * kSide + j, load_partial(c + i * g_.ldc + j, static_cast<int>(min_of(kLanes, columns - j))));
          }
        }
      }
      if (rows > kTileSide) {
        columns > kTileSide ? multiply_block<true, true>(left, part.steps, number, load_c, now, weights, next)
                            : multiply_block<true, false>(left, part.steps, number, load_c, now, weights, next);
      } else {
        columns > kTileSide ? multiply_block<false, true>(left, part.steps, number, load_c, now, weights, next)
                            : multiply_block<false, false>(left, part.steps, number, load_c, now, weights, next);
      }
      before_ = now;
    }
  }

  // To be called when all is multiplied.
  void end() {
    finish_.settle(before_);
    _tile_release();
  }

 private:
  void configure(index_t rows) {
    if (rows == configured_) return;
    configured_ = rows;
    configure_tiles(static_cast<int>(min_of(rows, kTileSide)), static_cast<int>(rows - kTileSide));
  }

  template <bool TwoRows, bool TwoColumns>
  void multiply_block(const float* a, index_t steps, index_t number, bool load_c, const DenseBlock& now, WeightCut& weights,
                      LeftCut& next) {
    constexpr index_t kBytes = 64;
    const index_t below = now.ld * static_cast<index_t>(sizeof(float));
    float* const c = now.made;
    const index_t left_units = left_units_;
    asm volatile("" ::: "memory");
    if (load_c) {
      _tile_loadd(0, c, below);
      if (TwoColumns) _tile_loadd(1, c + kTileSide, below);
      if (TwoRows) _tile_loadd(2, c + kTileSide * now.ld, below);
      if (TwoRows && TwoColumns) _tile_loadd(3, c + kTileSide * now.ld + kTileSide, below);
    } else {
      _tile_zero(0);
      if (TwoColumns) _tile_zero(1);
      if (TwoRows) _tile_zero(2);
      if (TwoRows && TwoColumns) _tile_zero(3);
    }
    vfloat awake = {};
    for (index_t step = 0; step < steps; ++step, a += kStepFloats) {
      const float* const b = weights.at(number + step);
      asm volatile("vaddps %0, %0, %0" : "+v"(awake));  // see conv_pieces.h
      asm volatile("" ::: "memory");
      const auto take_left = [&](int piece) {
        _tile_loadd(4, a + 2 * piece * kTileFloats, kBytes);
        if (TwoRows) _tile_loadd(5, a + (2 * piece + 1) * kTileFloats, kBytes);
      };
      const auto take_right = [&](int piece) {
        _tile_loadd(6, b + 2 * piece * kTileFloats, kBytes);
        if (TwoColumns) _tile_loadd(7, b + (2 * piece + 1) * kTileFloats, kBytes);
      };
      const auto add = [&](int part) __attribute__((always_inline)) {
        _tile_dpbf16ps(0, 4, 6);
        if (TwoColumns) _tile_dpbf16ps(1, 4, 7);
        if (TwoRows) _tile_dpbf16ps(2, 5, 6);
        if (TwoRows && TwoColumns) _tile_dpbf16ps(3, 5, 7);
        weights.cut(units_[part]);
        next.cut(left_units);
      };
      take_left(0), take_right(2), add(0);
      take_right(1), add(1);
      take_left(1), add(2);
      take_right(0), add(3);
      take_left(2), add(4);
      take_left(0), add(5);
      if (step == 0) finish_.settle(before_);
    }
    _tile_stored(0, c, below);
    if (TwoColumns) _tile_stored(1, c + kTileSide, below);
    if (TwoRows) _tile_stored(2, c + kTileSide * now.ld, below);
    if (TwoRows && TwoColumns) _tile_stored(3, c + kTileSide * now.ld + kTileSide, below);
    asm volatile("" ::: "memory");
  }

  const Gemm& g_;
  const DenseFinish finish_;
  bool fits_[kMostBands] = {};
  index_t left_units_ = 0, configured_ = 0;
  int units_[kPairs] = {}, edge_ = 0;
  DenseBlock before_ = {};
  alignas(64) float edges_[2][kSide * kSide];
};

// How a product is cut: into runs of rows or of columns, one for each thread.
struct DensePlan {
  index_t panels, bands, steps;
  bool by_rows;

  explicit DensePlan(const Gemm& g)
      : panels(ceil_div(g.n, kSide)), bands(ceil_div(g.m, kSide)), steps(ceil_div(g.k, kPieceTerms)), by_rows(g.m > g.n) {}

  index_t runs(index_t threads) const { return min_of(threads, by_rows ? bands : panels); }
  // Of a run, at once.
  index_t run_bands() const { return ceil_div(bands, ceil_div(bands, kMostBands)); }
  index_t run_steps() const { return ceil_div(steps, ceil_div(steps, max_of(kLeastSteps, kBandSteps / run_bands()))); }
  // Steps of weights.
  index_t kept(index_t steps_of_panel) const { return bands == 1 ? 2 : 2 * steps_of_panel; }
  // Of them before the first panel is multiplied.
  index_t before(index_t steps_of_panel) const { return bands == 1 ? 1 : steps_of_panel; }
  index_t slot() const { return (run_bands() * run_steps() + kept(run_steps())) * kStepFloats; }
};

inline index_t dense_scratch(const Gemm& g) { return has_few_dense_rows(g) ? few_dense_scratch(g) : g.slots * DensePlan(g).slot(); }

inline void dense_run(const Gemm& g, const DensePlan& plan, const DensePart& run, float* scratch) {
  DenseBlocks blocks(g);
  const index_t most_rows = plan.run_bands() * kSide, most_steps = plan.run_steps();
  float* const right = scratch + plan.run_bands() * most_steps * kStepFloats;
  for (index_t row = run.row; row < run.row + run.rows; row += most_rows) {
    for (index_t step = 0; step < plan.steps; step += most_steps) {
      const index_t rows = min_of(most_rows, run.row + run.rows - row), steps = min_of(most_steps, plan.steps - step);
      const DensePart part = {row, rows, run.panel, run.panels, step, steps};
      WeightCut weights(g, part, plan.kept(steps), right);
      weights.allow(plan.before(steps));
      weights.cut(static_cast<int>(plan.before(steps) * WeightCut::kUnits));
      for (index_t j = 0; j < run.panels; ++j) blocks.multiply(part, run.panel + j, scratch, j * steps, weights, j == 0);
    }
  }
  blocks.end();
}

inline void dense_of_pieces(const Gemm& g) {
  if (has_few_dense_rows(g)) return few_dense_rows(g);
  const DensePlan plan(g);
  const index_t runs = plan.runs(min_of(g.slots, fastnn::num_threads()));
  const double cycles = static_cast<double>(plan.panels * plan.bands * plan.steps * kPairs * 4 * kTileSide) / runs;
  parallel_for(runs, cycles, g.slots, [&](index_t begin, index_t end, int slot) {
    for (index_t run = begin; run < end; ++run) {
      DensePart part = {0, g.m, 0, plan.panels, 0, plan.steps};
      if (plan.by_rows) {
        part.row = run * plan.bands / runs * kSide, part.rows = min_of(g.m, (run + 1) * plan.bands / runs * kSide) - part.row;
      } else {
        part.panel = run * plan.panels / runs, part.panels = (run + 1) * plan.panels / runs - part.panel;
      }
      dense_run(g, plan, part, g.scratch + slot * plan.slot());
    }
  });
}

#else

inline index_t dense_scratch(const Gemm&) { return 0; }
inline void dense_of_pieces(const Gemm&) {}

#endif

}  // namespace
