// conv.h - 2-D convolution, forward.
//
// A convolution is the product (pixels x taps) (taps x K) with taps = R S C / groups. The left matrix is never stored: a tile takes
// neighboring pixels of an output row and finds their values where they lie in the image (in NHWC the S C values of one filter
// row lie side by side), or in a copy of a few image rows with zeros beside them. Filter rows above or below the image are left
// out. Where output rows are too short for a tile, pixels of several are gathered into a scratch block first.
#pragma once

#include "conv_pieces.h"
#include "conv_pixels.h"
#include "conv_shape.h"
#include "conv_sliding.h"
#include "depthwise.h"

namespace {

constexpr index_t kGatherFloats = 6144;  // scratch block per thread: 24 kB

// Output pixels gathered at a time.
inline index_t pixel_block(const Conv2dShape& s) {
  return max_of(kMaxRows, min_of(kGatherFloats / max_of(taps(s), 1), 512) / kMaxRows * kMaxRows);
}

// One filter row of one pixel: S x channels values, zero outside of the image.
inline void gather_filter_row(float* to, const float* row, const Conv2dShape& s, index_t w0, index_t channels) {
  const bool dense = s.dilation_w == 1 && channels == s.C;
  if (dense && row && w0 >= 0 && w0 + s.S <= s.W) return copy_or_zero(to, row + w0 * s.C, s.S * s.C);
  for (index_t k = 0; k < s.S; ++k) {
    const index_t w = w0 + k * s.dilation_w;
    copy_or_zero(to + k * channels, row && w >= 0 && w < s.W ? row + w * s.C : nullptr, channels);
  }
}

// The left matrix's rows for output pixels [first, first + count) (counted over N P Q), group channels at x + channel.
inline void gather_pixels(float* to, const float* x, const Conv2dShape& s, index_t first, index_t count, index_t group) {
  const index_t channels = s.C / s.groups, width = taps(s);
  index_t q = first % s.Q, p = first / s.Q % s.P, n = first / (s.Q * s.P);
  for (index_t i = 0; i < count; ++i, to += width) {
    const index_t h0 = p * s.stride_h - s.pad_top, w0 = q * s.stride_w - s.pad_left;
    for (index_t r = 0; r < s.R; ++r) {
      const index_t h = h0 + r * s.dilation_h;
      const float* row = h >= 0 && h < s.H ? x + (n * s.H + h) * s.W * s.C + group * channels : nullptr;
      gather_filter_row(to + r * s.S * channels, row, s, w0, channels);
    }
    if (++q == s.Q) {
      q = 0;
      if (++p == s.P) p = 0, ++n;
    }
  }
}

// Row by row, unless rows are so short that tiles must hold pixels of several.
constexpr index_t kShortRow = 6;
inline bool by_rows(const Conv2dShape& s) { return by_pieces(s) || (s.Q >= kShortRow && !is_pointwise(s)); }

// The filter of every group as packed panels, one group behind the other; behind them its pieces, if there are any.
inline index_t filter_panels_size(const Conv2dShape& s) { return s.groups * packed_size(taps(s), s.K / s.groups); }
inline index_t packed_filter_size(const Conv2dShape& s) {
  return filter_panels_size(s) + (by_pieces(s) ? piece_filter_size(s) : 0);
}

// Of a packed filter, or null.
inline const PieceFilter* piece_filter(const float* packed, const Conv2dShape& s) {
  return by_pieces(s) ? reinterpret_cast<const PieceFilter*>(packed + filter_panels_size(s)) : nullptr;
}

inline Panels filter_panels(const float* packed, const Conv2dShape& s, index_t group) {
  const index_t k = taps(s), n = s.K / s.groups;
  return {packed + group * packed_size(k, n), kPanel, true, k, n};
}

inline void pack_filter(float* to, const float* w, const Conv2dShape& s) {
  const index_t k = taps(s), n = s.K / s.groups;
  for (index_t group = 0; group < s.groups; ++group) {
    for (index_t j = 0; j < n; j += kPanel) {
      pack_panel(to + group * packed_size(k, n) + j * k, w + group * n + j, s.K, 1, k, min_of(kPanel, n - j));
    }
  }
  if (by_pieces(s)) cut_filter(to + filter_panels_size(s), to, s);
}

// What a convolution reads and makes; its filter is packed by then.
struct Convolution {
  Conv2dShape s;
  const float* x;
  const float* bias;  // or null
  Activation activation;
  float alpha;
  const float* relu_output;  // laid out like y, or null
  float* y;
  bool accumulate;  // y is added to
  Ahead* coming;    // what is fetched in place of what comes next here, or null
};

// One output row from its window, where pixels go into the lanes of a vector.
inline void convolve_row_by_vectors(const Convolution& a, const Window& x, const Panels& b, index_t p, float* y) {
  const Conv2dShape& s = a.s;
  const FilterRows rows(s, p);
  kPixelRows.function[s.K]({.x = x.at(p * s.stride_h - s.pad_top + rows.begin * s.dilation_h),
                            .x_row = s.dilation_h * x.stride,
                            .dilation = s.dilation_w,
                            .w = b.at(0) + rows.begin * s.S * kPanel,
                            .rows = rows.end - rows.begin,
                            .taps = s.S,
                            .bias = a.bias,
                            .relu = a.activation == Activation::relu,
                            .y = y,
                            .Q = s.Q});
}

// Whether a value meets all taps of a filter row in one tile.
inline bool slides(const Conv2dShape& s) { return shares_values(s) && s.K / s.groups <= kSlidingColumns; }

// The most pixels of a tile of so many columns.
inline int tile_pixels(const Conv2dShape& s, index_t columns) {
  return static_cast<int>(slides(s) ? most_sliding_rows(columns, s.S) : most_rows(columns, taps(s)));
}

// How often a row fetches what lies ahead.
inline index_t row_fetches(const Conv2dShape& s) {
  const index_t outputs = s.K / s.groups;
  if (by_pixel_vectors(s)) return 1;
  index_t tiles = 0;
  for (index_t k = 0; k < outputs; k += kPanel) tiles += RowTiles(s.Q, tile_pixels(s, min_of(kPanel, outputs - k))).count;
  return s.groups * tiles;
}

// One output row of one group from its window.
inline void convolve_row_by_tiles(const Convolution& a, const Window& x, const Panels& b, index_t p, index_t group, float* y,
                                  Ahead& ahead) {
  const Conv2dShape& s = a.s;
  const index_t channels = s.C / s.groups, outputs = s.K / s.groups;
  const FilterRows rows(s, p);
  const float* first = x.at(p * s.stride_h - s.pad_top + rows.begin * s.dilation_h) + group * channels;
  const bool sliding = slides(s), joined = is_dense(s) && !sliding;
  RunTile t = {};
  t.a_row = s.stride_w * s.C, t.a_outer = s.dilation_h * x.stride, t.a_run = s.dilation_w * s.C, t.a_col = 1;
  t.b_outer = s.S * channels * kPanel, t.b_run = channels * kPanel, t.b_row = kPanel;
  t.outer = rows.end - rows.begin, t.runs = joined ? 1 : s.S, t.length = joined ? s.S * s.C : channels;
  t.ldc = s.K, t.load_c = a.accumulate, t.relu = a.activation == Activation::relu;
  for (index_t panel = 0; panel < b.count(); ++panel) {
    const index_t columns = b.columns(panel), column = group * outputs + panel * kPanel;
    const RowTiles tiles(s.Q, tile_pixels(s, columns));
    t.b = b.at(panel) + rows.begin * t.b_outer;
    t.bias = a.bias ? a.bias + column : nullptr;
    for (index_t tile = 0; tile < tiles.count; ++tile) {
      const index_t q = tiles.start(tile);
      t.a = first + q * t.a_row;
      t.c = y + q * s.K + column;
      if (a.relu_output) t.relu_output = a.relu_output + (t.c - a.y);
      ahead.fetch();
      if (ahead.part > 0 && !a.coming) {
        const index_t height = tiles.height(tile), next = height * s.K;
        fetch_pixels(t.c + next, height, s.K, columns);
        if (a.relu_output) fetch_pixels(t.relu_output + next, height, s.K, columns);
      }
      sliding ? run_sliding_tile(t, s.S, tiles.height(tile), columns) : run_tile(t, tiles.height(tile), columns);
    }
  }
}

inline void convolve_row(const Convolution& a, const Window& x, const Panels& b, index_t p, index_t group, float* y, Ahead& ahead) {
  const Conv2dShape& s = a.s;
  const index_t outputs = s.K / s.groups;
  if (by_pixel_vectors(s) && !a.relu_output && !a.accumulate) {
    ahead.fetch();
    convolve_row_by_vectors(a, x, b, p, y);
  } else {
    convolve_row_by_tiles(a, x, b, p, group, y, ahead);
  }
  if (a.activation == Activation::linear || a.activation == Activation::relu) return;
  for (index_t q = 0; q < s.Q; ++q) activate_row(y + q * s.K + group * outputs, outputs, nullptr, a.activation, a.alpha);
}

// What is done with pixels that matrix tiles have made, columns [k, k + columns) of them.
inline void finish_pixels(const Convolution& a, float* y, index_t pixels, index_t k, index_t columns) {
  const bool relu = a.activation == Activation::relu, other = !relu && a.activation != Activation::linear;
  if (!a.bias && !a.relu_output && !relu && !other) return;
  const vfloat zero = {};
  if (columns == a.s.K && !a.bias && !other) columns *= pixels, pixels = 1;  // all values are alike
  const float* slope = a.relu_output ? a.relu_output + (y - a.y) : nullptr;
  for (index_t i = 0; i < pixels; ++i, y += a.s.K) {
    for_vectors(columns, [&](index_t j, const auto& get, const auto& put) {
      vfloat v = get(y + j);
      if (a.bias) v += get(a.bias + k + j);
      if (relu) v = v < zero ? zero : v;
      if (slope) v = behind_relu(v, get(slope + i * a.s.K + j));
      put(y + j, v);
    });
    if (other) activate_row(y, columns, nullptr, a.activation, a.alpha);
  }
}

// Output rows that are computed together.
inline index_t convolution_rows(const Conv2dShape& s) { return by_pieces(s) ? piece_block_rows(s) : block_rows(s); }

// Scratch for so many output rows.
inline index_t block_scratch(const Conv2dShape& s, index_t rows) {
  return by_pieces(s) ? piece_rows_size(s, rows) + window_size_of(s, 1) : window_size_of(s, rows);
}

// Of one thread; in front of those of all lies the packed filter.
inline index_t convolution_slot(const Conv2dShape& s) {
  return by_rows(s) ? block_scratch(s, convolution_rows(s)) : round_up(pixel_block(s) * taps(s), kLineFloats);
}
inline index_t convolution_scratch(const Conv2dShape& s, int slots) { return packed_filter_size(s) + slots * convolution_slot(s); }

// How often so many output rows fetch what lies ahead, and all. pieces: of piece_filter.
inline index_t block_fetches(const Conv2dShape& s, const PieceFilter* pieces, index_t rows) {
  return pieces ? PieceConvolution::fetches(s, *pieces, rows) : rows * row_fetches(s);
}
inline index_t all_fetches(const Conv2dShape& s, const PieceFilter* pieces) {
  const index_t rows = pieces ? piece_block_rows(s) : block_rows(s), whole = s.P / rows, rest = s.P - whole * rows;
  return s.N * (whole * block_fetches(s, pieces, rows) + (rest > 0 ? block_fetches(s, pieces, rest) : 0));
}

// Blocks of `rows` output rows, as many as an image has, then those of the next one: by one thread, up to the block `end`.
struct Blocks {
  const Convolution& a;
  const float* packed;
  const PieceFilter* pieces;  // of piece_filter
  index_t rows, end;
  float* scratch;  // of block_scratch

  index_t of_image() const { return ceil_div(a.s.P, rows); }
  index_t image(index_t block) const { return block / of_image(); }
  index_t begin(index_t block) const { return block % of_image() * rows; }
  index_t stop(index_t block) const { return min_of(a.s.P, begin(block) + rows); }
  OutputRows output_rows(index_t block) const {
    if (block >= end) return {};
    return {a.x + image(block) * a.s.H * a.s.W * a.s.C, begin(block), stop(block)};
  }

  // Blocks from `first` on, each to y_of(block), then done(block).
  template <class YOf, class Done>
  void convolve(index_t first, const YOf& y_of, const Done& done) const {
    if (!pieces) {
      for (index_t block = first; block < end; ++block) by_tiles(block, y_of(block)), done(block);
      return;
    }
    PieceConvolution convolution(a.s, *pieces, rows, scratch);
    for (index_t block = first; block < end; ++block) by_pieces(convolution, block, y_of(block)), done(block);
  }

 private:
  // What is fetched for the next block, if nothing else is.
  Ahead next_input(index_t block) const {
    const index_t p0 = begin(block), p1 = stop(block);
    return input_ahead(a.s, a.x, image(block), p0, p1, block_fetches(a.s, pieces, p1 - p0), !a.coming && fetches_ahead(a.s));
  }

  void by_tiles(index_t block, float* y) const {
    const Conv2dShape& s = a.s;
    const index_t p0 = begin(block), p1 = stop(block);
    Ahead next = next_input(block);
    const Window x = window(s, a.x, image(block), p0, p1, scratch);
    for (index_t p = p0; p < p1; ++p, y += s.Q * s.K) {
      for (index_t group = 0; group < s.groups; ++group) {
        convolve_row(a, x, filter_panels(packed, s, group), p, group, y, a.coming ? *a.coming : next);
      }
    }
  }

  void by_pieces(PieceConvolution& convolution, index_t block, float* y) const {
    const Conv2dShape& s = a.s;
    const index_t n = image(block), p0 = begin(block);
    Ahead next = next_input(block);
    Ahead& ahead = a.coming ? *a.coming : next;
    const auto finish = [&](float* pixel, index_t pixels, index_t k, index_t columns) {
      finish_pixels(a, pixel, pixels, k, columns);
    };
    const auto by_row = [&](index_t p) {
      const Window x = window(s, a.x, n, p, p + 1, scratch + piece_rows_size(s, rows));
      convolve_row(a, x, filter_panels(packed, s, 0), p, 0, y + (p - p0) * s.Q * s.K, ahead);
    };
    convolution.convolve(output_rows(block), output_rows(block + 1), a.accumulate, y, ahead, finish, by_row);
  }
};

inline void convolve_by_rows(const Convolution& a, const float* packed, float* scratch, int slots) {
  const Conv2dShape& s = a.s;
  const PieceFilter* pieces = piece_filter(packed, s);
  // Few images are cut into more blocks, for the threads.
  constexpr index_t kLeastRows = 4, kBlocksPerThread = 2;
  index_t rows = convolution_rows(s);
  if (pieces && slots > 1)
    rows = min_of(rows, max_of(kLeastRows, ceil_div(s.P, ceil_div(kBlocksPerThread * slots, max_of(s.N, 1)))));
  const index_t blocks = ceil_div(s.P, rows), size = convolution_slot(s);
  parallel_for(s.N * blocks, rows * s.Q * flops_per_pixel(s) / kFlopsPerCycle, slots, [&](index_t begin, index_t end, int slot) {
    const Blocks some = {a, packed, pieces, rows, end, scratch + slot * size};
    const auto y_of = [&](index_t block) { return a.y + (some.image(block) * s.P + some.begin(block)) * s.Q * s.K; };
    some.convolve(begin, y_of, [](index_t) {});
  });
}

inline void convolve_by_pixels(const Convolution& a, const float* packed, float* gathered, int slots) {
  const Conv2dShape& s = a.s;
  const index_t width = taps(s), block = pixel_block(s), pixels = out_pixels(s), outputs = s.K / s.groups;
  const bool followed = is_pointwise(s) && is_followed(s.C, 1, pixels, width);
  const double cycles = block * flops_per_pixel(s) / kFlopsPerCycle;
  parallel_for(ceil_div(pixels, block), cycles, slots, [&](index_t begin, index_t end, int slot) {
    float* left = gathered + slot * convolution_slot(s);
    for (index_t item = begin; item < end; ++item) {
      const index_t first = item * block, count = min_of(block, pixels - first);
      for (index_t group = 0; group < s.groups; ++group) {
        const Panels b = filter_panels(packed, s, group);
        const Epilogue epilogue = {a.bias ? a.bias + group * outputs : nullptr, a.activation, a.alpha, a.relu_output, a.y};
        float* out = a.y + first * s.K + group * outputs;
        if (is_pointwise(s)) {
          multiply_rows({a.x + first * s.C + group * width, s.C, 1, followed}, b, out, s.K, count, a.accumulate, epilogue);
        } else {
          gather_pixels(left, a.x, s, first, count, group);
          multiply_rows({left, width, 1}, b, out, s.K, count, a.accumulate, epilogue);
        }
      }
    }
  });
}

// slot_scratch: convolution_slot floats for each slot.
inline void convolve(const Convolution& a, const float* packed, float* slot_scratch, int slots) {
  if (by_rows(a.s)) {
    convolve_by_rows(a, packed, slot_scratch, slots);
  } else {
    convolve_by_pixels(a, packed, slot_scratch, slots);
  }
}

index_t conv2d_forward_scratch(const Conv2dForward& a) {
  return is_depthwise(a.s) ? depthwise_forward_scratch(a) : convolution_scratch(a.s, a.slots);
}

void conv2d_forward(const Conv2dForward& a) {
  if (is_depthwise(a.s)) return depthwise_forward(a);
  pack_filter(a.scratch, a.w, a.s);
  convolve({a.s, a.x, a.bias, a.activation, a.alpha, nullptr, a.y, false, nullptr}, a.scratch, a.scratch + packed_filter_size(a.s),
           a.slots);
}

bool conv2d_forward_possible(const Conv2dForward& a, index_t images, index_t) { return a.s.N == images && !is_depthwise(a.s); }
bool conv2d_forward_fetches(const Conv2dForward& a) { return by_rows(a.s); }
void conv2d_forward_prepare(const Conv2dForward& a) { pack_filter(a.scratch, a.w, a.s); }

void conv2d_forward_images(const Conv2dForward& a, const ImageRange& range) {
  const Conv2dShape s = some_images(a.s, range);
  ComingAhead coming(range, all_fetches(s, piece_filter(a.scratch, s)));
  convolve({s, a.x + range.begin * s.H * s.W * s.C, a.bias, a.activation, a.alpha, nullptr, a.y + range.begin * s.P * s.Q * s.K,
            false, coming.first()},
           a.scratch, a.scratch + packed_filter_size(a.s) + range.slot * convolution_slot(a.s), 1);
}

}  // namespace
