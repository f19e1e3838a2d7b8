// conv_filter.h - filter gradient of a 2-D convolution.
//
// dw is the product (taps x pixels) (pixels x K). A tile keeps some taps of one filter row, or all taps of several, for all output
// rows of a block; in NHWC those of a row lie side by side. The sum over output rows is cut into at most kFilterChunks runs, each
// with its own sum, combined in order. Large filters have fewer runs, a single one from 4 MB on, as the sums would take longer to
// write and add up than to compute; then threads share the columns. One channel and few filters: conv_pixels_filter.h.
#pragma once

#include "conv_grid.h"
#include "conv_pixels_filter.h"
#include "conv_shape.h"
#include "conv_sliding.h"
#include "conv_winograd.h"
#include "depthwise_filter.h"
#include "filter_chunks.h"

namespace {

// What a block of output rows reads: 96 kB, from the second-level cache. The sums, which may be as large, are read and written once
// for every block, which takes longer than what the tiles read besides.
// With many taps, or rows of many channels, more, up to 384 kB: half of the sums of a panel, and kBlockPixels pixels. With few taps
// some cores take less, from the first-level cache.
constexpr index_t kFilterGradientFloats = 24576, kBlockPixels = 96, kFewTaps = 512;
inline index_t filter_block_floats(const Conv2dShape& s) {
  const index_t least = taps(s) <= kFewTaps ? fastnn::cores().gradient_block : kFilterGradientFloats;
  const index_t rows = ceil_div(kBlockPixels, max_of(1, s.Q)), read = span(rows, s.stride_h, s.R, s.dilation_h) * window_row(s);
  return max_of(least, min_of(4 * kFilterGradientFloats, max_of(read, taps(s) * kPanel / 2)));
}

// Each chunk's sums: the filter's gradient, and behind it the bias's.
inline index_t filter_sums(const Conv2dBackwardFilter& a) { return round_up((taps(a.s) + (a.dbias ? 1 : 0)) * a.s.K, kLineFloats); }

// Scratch of a thread.
inline index_t filter_scratch(const Conv2dShape& s, const FilterCut& cut) {
  if (by_winograd(s)) return winograd_scratch(s, min_of(s.K, cut.part_columns));
  return window_size(s, filter_block_floats(s)) + pixel_scratch(s);
}

index_t conv2d_backward_filter_scratch(const Conv2dBackwardFilter& a) {
  if (is_depthwise(a.s)) return depthwise_backward_filter_scratch(a);
  const FilterCut cut(a.s);
  return (cut.chunks == 1 ? 0 : cut.chunks * filter_sums(a)) + a.slots * filter_scratch(a.s, cut);
}

// Whether a value meets all taps of a filter row in one tile.
constexpr index_t kSlidingChannels = 3;  // fewer are too few chains
inline bool gradient_slides(const Conv2dShape& s, index_t columns) {
  return shares_values(s) && columns <= kLanes && s.Q >= s.S && s.C / s.groups >= kSlidingChannels;
}

// Some columns of the gradient, from output rows of one image: sum is the whole gradient.
struct FilterPart {
  const Conv2dShape& s;
  const Window& x;
  const float* dy;  // of the image, from the first column on
  float* sum;       // from the first column on
  index_t group, columns;
  Ahead &x_ahead, &dy_ahead;

  index_t length() const { return is_dense(s) ? s.S * s.C : s.C / s.groups; }  // values that lie side by side

  RunTile tile(index_t r, index_t begin, index_t end) const {
    RunTile t = {};
    t.a = x.at(begin * s.stride_h - s.pad_top + r * s.dilation_h) + group * (s.C / s.groups);
    t.a_row = 1, t.a_outer = s.stride_h * x.stride, t.a_col = s.stride_w * s.C, t.a_line = s.dilation_h * x.stride;
    t.b = dy + begin * s.Q * s.K, t.b_outer = s.Q * s.K, t.b_row = s.K;
    t.outer = end - begin, t.runs = 1, t.length = s.Q;
    t.c = sum + r * s.S * (s.C / s.groups) * s.K, t.ldc = s.K, t.load_c = true;
    t.a_ahead = &x_ahead, t.b_ahead = &dy_ahead;
    return t;
  }
};

// What filter row r gets from the output rows [begin, end).
inline void add_filter_row(const FilterPart& part, index_t r, index_t begin, index_t end) {
  clip_rows(part.s, r, begin, end);
  if (begin >= end) return;
  const Conv2dShape& s = part.s;
  const RunTile whole = part.tile(r, begin, end);
  if (gradient_slides(s, part.columns)) {
    const RowTiles tiles(s.C / s.groups, most_sliding_channels(s.S));
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      RunTile t = whole;
      t.a += tiles.start(tile), t.c += tiles.start(tile) * s.K, t.c_run = s.C / s.groups * s.K;
      run_sliding_gradient(t, s.S, tiles.height(tile), part.columns);
    }
    return;
  }
  const RowTiles tiles(part.length());
  for (index_t run = 0; run < (is_dense(s) ? 1 : s.S); ++run) {
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      RunTile t = whole;
      t.a += run * s.dilation_w * s.C + tiles.start(tile);
      t.c += (run * part.length() + tiles.start(tile)) * s.K;
      run_tile(t, tiles.height(tile), part.columns);
    }
  }
}

// The same for `lines` filter rows: together where all of them meet the image.
inline void add_filter_lines(const FilterPart& part, index_t r, int lines, index_t p0, index_t p1) {
  index_t begin = p0, end = p1;
  for (int l = 0; l < lines; ++l) clip_rows(part.s, r + l, begin, end);
  if (begin >= end) begin = end = p1;
  for (int l = 0; l < lines; ++l) add_filter_row(part, r + l, p0, begin);
  if (begin < end) {
    RunTile t = part.tile(r, begin, end);
    run_grid(t, part.length(), lines, part.columns);
  }
  for (int l = 0; l < lines; ++l) add_filter_row(part, r + l, end, p1);
}

// As fetches_ahead, or with fewer products where the lines of a pixel are read in several passes.
inline bool gradient_fetches(const Conv2dShape& s) {
  constexpr index_t kProducts = 10;
  const bool wide = max_of(s.C, s.K) > kWidePixel && is_huge(s);
  return fetches_ahead(s) || (wide && taps(s) * s.K >= kProducts * (s.C + s.K));
}

// How many tiles go over an output row.
inline index_t gradient_tiles(const Conv2dShape& s) {
  const index_t outputs = s.K / s.groups, channels = s.C / s.groups;
  index_t tiles = 0;
  for (index_t k = 0; k < outputs; k += kPanel) {
    const index_t columns = min_of(kPanel, outputs - k);
    if (gradient_slides(s, columns)) {
      tiles += s.R * ceil_div(channels, most_sliding_channels(s.S));
    } else if (is_dense(s)) {
      tiles += ceil_div(s.R, grid_lines(s.S * channels, columns)) * ceil_div(s.S * channels, kMaxRows);
    } else {
      tiles += s.R * s.S * ceil_div(channels, kMaxRows);
    }
  }
  return s.groups * tiles;
}

// Columns [begin, end) of each group's sums += what output rows [p0, p1) of one image contribute, group by group; dy: of the image,
// in an array of all or of these rows.
inline void add_filter_rows(const Conv2dBackwardFilter& a, const Window& x, const float* dy, index_t n, index_t p0, index_t p1,
                            index_t begin, index_t end, float* sum, Ahead* coming) {
  const Conv2dShape& s = a.s;
  const index_t outputs = s.K / s.groups;
  const index_t parts = max_of(1, (p1 - p0) * gradient_tiles(s) * (end - begin) / max_of(1, outputs)), row = s.Q * s.K;
  const index_t next = n * s.P + p1, stop = min_of(s.N * s.P, next + p1 - p0);
  const bool fetches = !coming && gradient_fetches(s);
  Ahead x_next = input_ahead(s, a.x, n, p0, p1, parts, fetches);
  Ahead& x_ahead = coming ? *coming : x_next;
  Ahead dy_ahead;
  if (a.dy && fetches) dy_ahead = {a.dy, next * row, stop * row, ceil_div((stop - next) * row, parts)};
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t k = begin; k < end; k += kPanel) {
      const index_t first = group * outputs + k, columns = min_of(kPanel, end - k);
      const FilterPart part = {s, x, dy + first, sum + first, group, columns, x_ahead, dy_ahead};
      for (index_t r = 0, lines; r < s.R; r += lines) {
        lines = is_dense(s) ? grid_lines(part.length(), columns, s.R - r) : 1;
        lines > 1 ? add_filter_lines(part, r, static_cast<int>(lines), p0, p1) : add_filter_row(part, r, p0, p1);
      }
    }
  }
}

// The filter's gradient from dy_of(n, p0, p1, slot): dy of image n, in an array of which the rows [p0, p1), at most `rows`, can be
// read until the slot asks again.
template <class DyOf>
struct FilterGradient {
  const Conv2dBackwardFilter& a;
  index_t rows;
  const DyOf& dy_of;
  const FilterCut cut = FilterCut(a.s);
  const index_t filter = taps(a.s) * a.s.K, size = filter_sums(a), slot_floats = filter_scratch(a.s, cut);
  const bool by_tiles = by_winograd(a.s), by_pixels = gradient_by_pixels(a.s);
  float* const slots = a.scratch + (cut.chunks == 1 ? 0 : cut.chunks * size);

  // Columns [begin, end) of every group, of one chunk; the first of a chunk's have the bias, too.
  struct Part {
    index_t chunk, begin, end;
    float *sum, *bias;
  };

  Part part(index_t item) const {
    const index_t chunk = item / cut.parts, begin = item % cut.parts * cut.part_columns;
    float* sum = cut.chunks == 1 ? a.dw : a.scratch + chunk * size;
    float* bias = begin > 0 || !a.dbias ? nullptr : cut.chunks == 1 ? a.dbias : sum + filter;
    return {chunk, begin, min_of(a.s.K / a.s.groups, begin + cut.part_columns), sum, bias};
  }

  float* window_of(int slot) const { return slots + slot * slot_floats; }
  float* pixel_sums(int slot) const { return window_of(slot) + window_size(a.s, filter_block_floats(a.s)); }
  WinogradSums winograd_sums(const Part& p, int slot) const { return {a.s, p.begin, p.end, window_of(slot)}; }

  void begin(const Part& p, int slot) const {
    if (p.bias) copy_or_zero(p.bias, nullptr, a.s.K);
    if (by_tiles) return winograd_sums(p, slot).clear();
    if (by_pixels) copy_or_zero(pixel_sums(slot), nullptr, pixel_sums_size(a.s));
    if (cut.parts == 1) {
      copy_or_zero(p.sum, nullptr, filter);
    } else {
      const index_t outputs = a.s.K / a.s.groups, runs = taps(a.s) * a.s.groups;  // of a group's columns
      for (index_t i = 0; i < runs; ++i) copy_or_zero(p.sum + i * outputs + p.begin, nullptr, p.end - p.begin);
    }
  }

  // Output rows [row, stop), counted over the images.
  void add_rows(const Part& p, index_t row, index_t stop, int slot, Ahead* coming) const {
    const Conv2dShape& s = a.s;
    WinogradTiles tiles(winograd_sums(p, slot), a, coming);
    while (row < stop) {
      const index_t n = row / s.P, p0 = row % s.P, p1 = min_of(min_of(s.P, p0 + rows), p0 + stop - row);
      if (!a.dy) tiles.flush();
      const float* dy = dy_of(n, p0, p1, slot);
      if (by_tiles) {
        tiles.add(n, p0, p1, dy);
      } else {
        const Window x = window(s, a.x, n, p0, p1, window_of(slot));
        by_pixels ? add_pixel_rows(s, x, dy, p0, p1, pixel_sums(slot))
                  : add_filter_rows(a, x, dy, n, p0, p1, p.begin, p.end, p.sum, coming);
      }
      // Row by row, so that the sums do not depend on the blocks.
      for (index_t i = p0; p.bias && i < p1; ++i) add_pixels(dy + i * s.Q * s.K, s.Q, s.K, p.bias);
      row += p1 - p0;
    }
    tiles.flush();
  }

  void end(const Part& p, int slot) const {
    if (by_tiles) winograd_sums(p, slot).add_up(p.sum);
    if (by_pixels) add_pixel_sums(a.s, pixel_sums(slot), p.sum);
  }

  void add_chunk(const Part& p, int slot) const {
    begin(p, slot);
    add_rows(p, cut.begin(p.chunk), cut.begin(p.chunk + 1), slot, nullptr);
    end(p, slot);
  }

  void combine(float* __restrict to, index_t offset, index_t begin, index_t end) const {
    copy_or_zero(to + begin, a.scratch + offset + begin, end - begin);
    for (index_t chunk = 1; chunk < cut.chunks; ++chunk) {
      const float* __restrict sum = a.scratch + chunk * size + offset;
      FASTNN_SIMD
      for (index_t i = begin; i < end; ++i) to[i] += sum[i];
    }
  }

  // The sums of all chunks, in order.
  void combine() const {
    if (cut.chunks == 1) return;
    parallel_elements(filter, 0.3 * cut.chunks, [&](index_t begin, index_t end) { combine(a.dw, 0, begin, end); });
    if (a.dbias) combine(a.dbias, filter, 0, a.s.K);
  }
};

template <class DyOf>
inline void filter_gradient(const Conv2dBackwardFilter& a, index_t rows, const DyOf& dy_of) {
  const FilterGradient<DyOf> gradient{a, rows, dy_of};
  const FilterCut& cut = gradient.cut;
  const double cycles = cut.chunk_rows * a.s.Q * flops_per_pixel(a.s) / kFlopsPerCycle / cut.parts;
  parallel_for(cut.chunks * cut.parts, cycles, a.slots, [&](index_t first, index_t last, int slot) {
    for (index_t item = first; item < last; ++item) gradient.add_chunk(gradient.part(item), slot);
  });
  gradient.combine();
}

// Of a whole array dy.
struct DyOfArray {
  const float* dy;
  index_t image;
  const float* operator()(index_t n, index_t, index_t, int) const { return dy + n * image; }
};

inline DyOfArray dy_of_array(const Conv2dBackwardFilter& a) { return {a.dy, a.s.P * a.s.Q * a.s.K}; }
inline index_t gradient_rows(const Conv2dShape& s) { return by_winograd(s) ? s.P : block_rows(s, filter_block_floats(s)); }

void conv2d_backward_filter(const Conv2dBackwardFilter& a) {
  if (is_depthwise(a.s)) return depthwise_backward_filter(a);
  filter_gradient(a, gradient_rows(a.s), dy_of_array(a));
}

// A unit of images is a chunk of the sum.
bool conv2d_backward_filter_possible(const Conv2dBackwardFilter& a, index_t images, index_t units) {
  if (a.s.N != images || is_depthwise(a.s) || gradient_by_pixels(a.s)) return false;
  const FilterCut cut(a.s);
  bool same = cut.chunks == units && units > 1 && cut.parts == 1;
  for (index_t unit = 0; same && unit <= units; ++unit) same = cut.begin(unit) == fastnn::unit_begin(images, units, unit) * a.s.P;
  return same;
}

bool conv2d_backward_filter_fetches(const Conv2dBackwardFilter&) { return true; }

void conv2d_backward_filter_images(const Conv2dBackwardFilter& a, const ImageRange& range) {
  const DyOfArray dy_of = dy_of_array(a);
  const FilterGradient<DyOfArray> gradient{a, gradient_rows(a.s), dy_of};
  const auto part = gradient.part(range.unit);
  const index_t images = range.end - range.begin;
  ComingAhead coming(range, by_winograd(a.s) ? winograd_products_of(a.s, images) : images * a.s.P * gradient_tiles(a.s));
  if (range.begin == fastnn::unit_begin(range.count, range.units, range.unit)) gradient.begin(part, range.slot);
  gradient.add_rows(part, range.begin * a.s.P, range.end * a.s.P, range.slot, coming.first());
  if (range.end == fastnn::unit_begin(range.count, range.units, range.unit + 1)) gradient.end(part, range.slot);
}

void conv2d_backward_filter_finish(const Conv2dBackwardFilter& a, index_t, index_t) {
  const DyOfArray dy_of = dy_of_array(a);
  FilterGradient<DyOfArray>{a, gradient_rows(a.s), dy_of}.combine();
}

}  // namespace
