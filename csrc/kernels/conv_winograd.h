// conv_winograd.h - the filter gradient of 3 x 3 taps with less than half of the multiplications.
//
// Minimal filtering (Winograd 1980; for convolutions Lavin and Gray 2016). Along one axis, what two gradients g0, g1 and the four
// pixels d0..d3 that they meet add to three taps,
//   y0 = d0 g0 + d1 g1,    y1 = d1 g0 + d2 g1,    y2 = d2 g0 + d3 g1,
// comes from four products in place of six:
//   m0 = (d0 - d2) g0,    m1 = (d1 + d2) (g0 + g1),    m2 = (d2 - d1) (g0 - g1),    m3 = (d3 - d1) g1,
//   y0 = m0 + (m1 + m2) / 2,    y1 = (m1 - m2) / 2,    y2 = (m1 + m2) / 2 + m3.
// Along both axes a tile of 2 x 2 gradients has 16 products for each pair of channels, in place of 36. They are added up over all
// tiles, one chain for each of the 16 places, and turned into taps once, at the end.
//
// An error is bounded by the values of a tile, not by those of one tap: small beside the filter's gradient as a whole (its norm),
// not beside a tap that happens to be smaller than its neighbors by orders of magnitude. That is what is promised of gradients; of
// outputs more is, and of what goes on to the layers below.
#pragma once

#include "conv_tile.h"
#include "filter_chunks.h"

namespace {

// Whether each of the three taps along an axis meets the image somewhere: the gradient of one that does not must be zero.
inline bool all_taps_meet(index_t size, index_t outputs, index_t pad) { return outputs > pad && size + pad > 2; }

// Where it takes less time: 3 x 3 taps of many channels on both sides, as the transforms cost what products of about ten channels
// do, and so many pixels in every chunk of the sum, as turning the sums into taps costs what some tiles do.
constexpr index_t kWinogradChannels = 16, kWinogradPixels = 64, kWinogradValues = 8192;
inline bool by_winograd(const Conv2dShape& s) {
  const bool plain = s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1;
  if (!plain || s.R != 3 || s.S != 3 || s.pad_left > 2 || s.C < kWinogradChannels || s.K < kWinogradChannels) return false;
  if (!all_taps_meet(s.H, s.P, s.pad_top) || !all_taps_meet(s.W, s.Q, s.pad_left)) return false;
  const index_t pixels = out_pixels(s) / FilterCut(s).chunks;
  return pixels >= kWinogradPixels && pixels * (s.C + s.K) >= kWinogradValues;
}

constexpr int kTilePlaces = 4;  // of the products of a tile, along one axis

// So many tiles are transformed together, and multiplied: few enough for the first-level cache, or, where that is too small for as
// many, more, which read and write the sums less often.
constexpr index_t kWinogradTiles = 64, kWinogradWide = 80;
inline index_t winograd_tiles(const Conv2dShape& s, index_t columns) {
  return s.C + columns < kWinogradWide ? kWinogradTiles / 2 : kWinogradTiles;
}

// The sums of products of some columns, [place][place][c][k], and where tiles are transformed, for the places of one row: scratch
// of one thread.
struct WinogradSums {
  const Conv2dShape& s;
  index_t begin, end;
  float* scratch;

  index_t columns() const { return end - begin; }
  index_t tiles() const { return winograd_tiles(s, columns()); }
  index_t place() const { return s.C * columns(); }  // floats between sums of neighboring places
  index_t pixel_step() const { return round_up(s.C, kLineFloats); }
  index_t gradient_step() const { return round_up(columns(), kLineFloats); }
  // Not 4 kB, at which stores hinder loads.
  index_t pixel_place() const { return tiles() * pixel_step() + kLineFloats; }
  index_t gradient_place() const { return tiles() * gradient_step() + kLineFloats; }
  index_t zero_count() const { return max_of(s.W * s.C, s.Q * s.K); }
  index_t pixels_begin() const { return round_up(kTilePlaces * kTilePlaces * place(), kLineFloats); }
  index_t gradients_begin() const { return pixels_begin() + kTilePlaces * pixel_place(); }
  index_t zeros_begin() const { return gradients_begin() + kTilePlaces * gradient_place(); }

  float* sums() const { return scratch; }
  float* pixels() const { return scratch + pixels_begin(); }
  float* gradients() const { return scratch + gradients_begin(); }
  float* zeros() const { return scratch + zeros_begin(); }
  index_t floats() const { return zeros_begin() + round_up(zero_count(), kLineFloats); }

  void clear() const {
    copy_or_zero(sums(), nullptr, kTilePlaces * kTilePlaces * place());
    copy_or_zero(zeros(), nullptr, zero_count());
  }

  // The taps that they make: the columns of a whole gradient.
  void add_up(float* dw) const {
    const auto taps_of = [&](index_t from, index_t to, index_t pair, index_t tap_place) {
      for_vectors(to - from, [&](index_t i, const auto& get, const auto& put) {
        vfloat rows[3][kTilePlaces];  // of taps
        FASTNN_UNROLL
        for (int column = 0; column < kTilePlaces; ++column) {
          const float* m = sums() + column * place() + pair + i;
          const vfloat m0 = get(m), m1 = get(m + kTilePlaces * place()), m2 = get(m + 2 * kTilePlaces * place());
          rows[0][column] = m0 + 0.5f * (m1 + m2), rows[1][column] = 0.5f * (m1 - m2);
          rows[2][column] = 0.5f * (m1 + m2) + get(m + 3 * kTilePlaces * place());
        }
        FASTNN_UNROLL
        for (int row = 0; row < 3; ++row) {
          float* to_taps = dw + tap_place + 3 * row * s.C * s.K + i;
          const vfloat outer = 0.5f * (rows[row][1] + rows[row][2]), inner = 0.5f * (rows[row][1] - rows[row][2]);
          put(to_taps, rows[row][0] + outer), put(to_taps + s.C * s.K, inner);
          put(to_taps + 2 * s.C * s.K, outer + rows[row][3]);
        }
      });
    };
    if (columns() == s.K) return taps_of(0, place(), 0, 0);
    for (index_t c = 0; c < s.C; ++c) taps_of(0, columns(), c * columns(), c * s.K + begin);
  }
};

inline index_t winograd_scratch(const Conv2dShape& s, index_t columns) { return WinogradSums{s, 0, columns, nullptr}.floats(); }

// Tiles side by side: the rows that they meet, from the image's first column on.
struct TileRun {
  const float* x[4];
  const float* dy[2];
  index_t first, count;
};

// How a run of tiles is read and written: pixels of `channels` channels, the first one in column `column`, those in columns
// [0, stop) there, others zero; floats between tiles and between places of what is made.
struct Transform {
  index_t channels, column, stop, step, place;
};

FASTNN_INLINE void put_places(float* to, index_t place, vfloat a, vfloat b, vfloat c, vfloat d) {
  float* upper = to + 2 * place;
  store(to, a), store(to + place, b), store(upper, c), store(upper + place, d);
}

// The places of one row of pixels, made of two rows, of the channels from c on.
template <int Row, class Get>
inline void transform_pixels(const TileRun& run, const Transform& how, index_t c, float* to, const Get& get) {
  constexpr int kFirst = Row == 0 ? 0 : Row == 1 ? 1 : Row == 2 ? 2 : 3, kSecond = Row == 0 || Row == 1 ? 2 : 1;
  const index_t C = how.channels, stop = how.stop, step = how.step, place = how.place;
  index_t column = how.column;
  const float *first = run.x[kFirst] + c + column * C, *second = run.x[kSecond] + c + column * C;
  const auto pixel = [&](index_t i) {
    const vfloat a = get(first + i * C), b = get(second + i * C);
    return Row == 1 ? a + b : a - b;
  };
  const auto pixel_or_zero = [&](index_t i) { return column + i < 0 || column + i >= stop ? vfloat{} : pixel(i); };
  vfloat d0 = pixel_or_zero(0), d1 = pixel_or_zero(1);
  const index_t whole = min_of(run.count, (stop - column - 2) / 2);  // tiles whose pixels are all there
  index_t i = 0;
  for (; i < whole; ++i, first += 2 * C, second += 2 * C, to += step) {
    const vfloat d2 = pixel(2), d3 = pixel(3);
    put_places(to, place, d0 - d2, d1 + d2, d2 - d1, d3 - d1);
    d0 = d2, d1 = d3;
  }
  for (column += 2 * i; i < run.count; ++i, column += 2, first += 2 * C, second += 2 * C, to += step) {
    const vfloat d2 = pixel_or_zero(2), d3 = pixel_or_zero(3);
    put_places(to, place, d0 - d2, d1 + d2, d2 - d1, d3 - d1);
    d0 = d2, d1 = d3;
  }
}

// The same of gradients.
template <int Row, class Get>
inline void transform_gradients(const TileRun& run, const Transform& how, index_t k, float* to, const Get& get) {
  const index_t K = how.channels, step = how.step, place = how.place, whole = min_of(run.count, (how.stop - how.column) / 2);
  const float *first = run.dy[0] + k + how.column * K, *second = run.dy[1] + k + how.column * K;
  const auto gradient = [&](index_t i) {
    if constexpr (Row == 0) return get(first + i);
    if constexpr (Row == 3) return get(second + i);
    return Row == 1 ? get(first + i) + get(second + i) : get(first + i) - get(second + i);
  };
  for (index_t i = 0; i < whole; ++i, first += 2 * K, second += 2 * K, to += step) {
    const vfloat g0 = gradient(0), g1 = gradient(K);
    put_places(to, place, g0, g0 + g1, g0 - g1, g1);
  }
  if (whole == run.count) return;
  const vfloat g0 = gradient(0);  // the last one of an odd row
  put_places(to, place, g0, g0, g0, vfloat{});
}

// body(channel, get) for vectors of [0, n).
template <class Body>
inline void for_channels(index_t n, const Body& body) {
  index_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, [](const float* p) { return load(p); });
  if (i == n) return;
  const int some = static_cast<int>(n - i);
  body(i, [some](const float* p) { return load_partial(p, some); });
}

// The register tiles of a place and a panel of so many columns: thin ones have room for more channels.
inline RowTiles place_tiles(const Conv2dShape& s, index_t columns) {
  return RowTiles(s.C, columns <= kLanes ? kMaxThinRows : kMaxRows);
}

// How many register tiles are computed for the tiles that are transformed together, and for so many images.
inline index_t winograd_products(const Conv2dShape& s, index_t columns) {
  index_t tiles = 0;
  for (index_t k = 0; k < columns; k += kPanel) tiles += place_tiles(s, min_of(kPanel, columns - k)).count;
  return kTilePlaces * kTilePlaces * tiles;
}

inline index_t winograd_products_of(const Conv2dShape& s, index_t images) {
  return ceil_div(images * ceil_div(s.P, 2) * ceil_div(s.Q, 2), winograd_tiles(s, s.K)) * winograd_products(s, s.K);
}

// Tiles on their way into the sums. coming: what is fetched meanwhile in place of the next rows, or null.
class WinogradTiles {
 public:
  WinogradTiles(const WinogradSums& sums, const Conv2dBackwardFilter& a, Ahead* coming)
      : sums_(sums), a_(a), coming_(coming), fetches_(!coming && a.dy && fetches_ahead(a.s)) {}

  // Output rows [p0, p1) of image n, in pairs; dy: of the image. What dy and x are must stay until flush().
  void add(index_t n, index_t p0, index_t p1, const float* dy) {
    const Conv2dShape& s = a_.s;
    const index_t row = s.W * s.C, tiles = ceil_div(s.Q, 2);
    const float* image = a_.x + n * s.H * row;
    for (index_t p = p0; p < p1; p += 2) {
      TileRun run;
      const bool both = p + 1 < p1;
      for (int i = 0; i < 4; ++i) {
        const index_t h = p + i - s.pad_top;
        run.x[i] = h >= 0 && h < s.H && (both || i < 3) ? image + h * row : sums_.zeros();
      }
      run.dy[0] = dy + p * s.Q * s.K;
      run.dy[1] = both ? run.dy[0] + s.Q * s.K : sums_.zeros();
      if (fetches_) fetch_behind(n, p);
      for (run.first = 0; run.first < tiles; run.first += run.count) {
        run.count = min_of(tiles - run.first, sums_.tiles() - tiles_);
        runs_[run_count_++] = run, tiles_ += run.count;
        if (tiles_ == sums_.tiles()) flush();
      }
    }
  }

  void flush() {
    if (tiles_ == 0) return;
    add_places<0>(), add_places<1>(), add_places<2>(), add_places<3>();
    run_count_ = 0, tiles_ = 0;
  }

 private:
  // What as many tiles behind the pair of output rows p of image n read.
  void fetch_behind(index_t n, index_t p) {
    const Conv2dShape& s = a_.s;
    const index_t pairs = ceil_div(sums_.tiles(), ceil_div(s.Q, 2)), parts = winograd_products(s, sums_.columns());
    const auto set = [&](Ahead& ahead, const float* array, index_t next, index_t rows, index_t row) {
      next = min_of(next, rows);
      ahead = {array, max_of(ahead.at, next * row), min_of(next + 2 * pairs, rows) * row, ceil_div(2 * pairs * row, parts)};
    };
    set(x_ahead_, a_.x, n * s.H + min_of(s.H, p + 4 - s.pad_top), s.N * s.H, s.W * s.C);
    set(dy_ahead_, a_.dy, n * s.P + p + 2, s.N * s.P, s.Q * s.K);
  }

  template <int Row>
  void transform() const {
    const Conv2dShape& s = a_.s;
    const index_t x_step = sums_.pixel_step(), dy_step = sums_.gradient_step();
    // An odd row of gradients ends with half of a tile, which meets three columns.
    const index_t stop = min_of(s.W, s.Q + 2 - s.pad_left);
    float *x = sums_.pixels(), *dy = sums_.gradients();
    for (index_t i = 0; i < run_count_; ++i) {
      const TileRun& run = runs_[i];
      const Transform pixels = {s.C, 2 * run.first - s.pad_left, stop, x_step, sums_.pixel_place()};
      const Transform gradients = {s.K, 2 * run.first, s.Q, dy_step, sums_.gradient_place()};
      for_channels(s.C, [&](index_t c, const auto& get) { transform_pixels<Row>(run, pixels, c, x + c, get); });
      for_channels(sums_.columns(),
                   [&](index_t k, const auto& get) { transform_gradients<Row>(run, gradients, sums_.begin + k, dy + k, get); });
      x += run.count * x_step, dy += run.count * dy_step;
    }
  }

  template <int Row>
  void add_places() {
    transform<Row>();
    const index_t x_step = sums_.pixel_step(), dy_step = sums_.gradient_step();
    for (index_t k = 0; k < sums_.columns(); k += kPanel) {
      const index_t columns = min_of(kPanel, sums_.columns() - k);
      const RowTiles tiles = place_tiles(a_.s, columns);
      for (int place = 0; place < kTilePlaces; ++place) {
        for (index_t tile = 0; tile < tiles.count; ++tile) {
          RunTile t = {};
          t.a = sums_.pixels() + place * sums_.pixel_place() + tiles.start(tile), t.a_row = 1, t.a_col = x_step;
          t.b = sums_.gradients() + place * sums_.gradient_place() + k, t.b_row = dy_step;
          t.outer = 1, t.runs = 1, t.length = tiles_;
          t.c = sums_.sums() + (Row * kTilePlaces + place) * sums_.place() + tiles.start(tile) * sums_.columns() + k;
          t.ldc = sums_.columns(), t.load_c = true;
          t.a_ahead = coming_ ? coming_ : &x_ahead_, t.b_ahead = &dy_ahead_;
          run_tile(t, tiles.height(tile), columns);
        }
      }
    }
  }

  const WinogradSums sums_;
  const Conv2dBackwardFilter& a_;
  Ahead* const coming_;
  const bool fetches_;
  Ahead x_ahead_, dy_ahead_;
  TileRun runs_[kWinogradTiles];
  index_t run_count_ = 0, tiles_ = 0;
};

}  // namespace
