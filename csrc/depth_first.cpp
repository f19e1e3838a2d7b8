// depth_first.cpp - see depth_first.h.
#include "depth_first.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "dispatch.h"
#include "work.h"

namespace fastnn {
namespace {

constexpr index_t kUnits = 16;                          // as many as a filter gradient has chunks
constexpr std::size_t kCacheBytes = 512 << 10;          // of the second-level cache, for the images at hand and those that come
constexpr std::size_t kLargestImage = 2 * kCacheBytes;  // of all arrays
constexpr double kEnough = 0.2;                         // of a group's products, to fetch behind

std::size_t least_bytes = std::size_t{3} << 20;

template <class Args>
constexpr StageKind kKind = {
    .possible =
        [](const void* entry, const void* args, index_t images, index_t units) {
          return static_cast<const ByImages<Args>*>(entry)->possible(*static_cast<const Args*>(args), images, units);
        },
    .prepare =
        [](const void* entry, const void* args) {
          if (const auto f = static_cast<const ByImages<Args>*>(entry)->prepare) f(*static_cast<const Args*>(args));
        },
    .images =
        [](const void* entry, const void* args, const ImageRange& range) {
          static_cast<const ByImages<Args>*>(entry)->images(*static_cast<const Args*>(args), range);
        },
    .finish =
        [](const void* entry, const void* args, index_t images, index_t units) {
          if (const auto f = static_cast<const ByImages<Args>*>(entry)->finish) f(*static_cast<const Args*>(args), images, units);
        },
};

template <class Args>
Stage stage(const ByImages<Args>& entry, const Args& args, index_t images, index_t rows, int slots) {
  const bool fetches = entry.fetches && entry.fetches(args);
  return {&kKind<Args>, &entry, 0, 0, images, rows, slots, fetches ? work_of(args).flops : 0, {}, {}};
}

// Adds memory that is there.
void add(std::vector<Span>& spans, const float* begin, index_t floats, bool written) {
  if (begin && floats > 0)
    spans.push_back({reinterpret_cast<const char*>(begin), static_cast<std::size_t>(floats) * sizeof(float), written});
}

void reads(std::vector<Span>& spans, const float* begin, index_t floats) { add(spans, begin, floats, false); }
void writes(std::vector<Span>& spans, const float* begin, index_t floats) { add(spans, begin, floats, true); }

index_t input_floats(const Conv2dShape& s) { return s.N * s.H * s.W * s.C; }
index_t output_floats(const Conv2dShape& s) { return s.N * s.P * s.Q * s.K; }
index_t filter_floats(const Conv2dShape& s) { return s.R * s.S * (s.C / s.groups) * s.K; }

// The stage of a convolution or of one of its gradients: its filter, or that of the gradient, and its scratch.
template <class Args>
Stage conv_stage(const ByImages<Args>& entry, index_t (*scratch)(const Args&), const Args& a, const float* filter, bool written) {
  Stage s = stage(entry, a, a.s.N, a.s.N * a.s.P * a.s.Q, a.slots);
  add(s.whole, filter, filter_floats(a.s), written);
  writes(s.whole, a.scratch, scratch(a));
  return s;
}

// Whether two stages would disturb each other: if they took turns image by image, or in another order.
bool conflict(const std::vector<Span>& list, const std::vector<Span>& spans, bool both_by_image) {
  for (const Span& a : list) {
    for (const Span& b : spans) {
      if ((a.written || b.written) && a.overlaps(b) && !(both_by_image && a.is(b))) return true;
    }
  }
  return false;
}

bool conflict(const Stage& a, const Stage& b, bool in_turns) {
  return conflict(a.by_image, b.by_image, in_turns) || conflict(a.by_image, b.whole, false) ||
         conflict(a.whole, b.by_image, false) || conflict(a.whole, b.whole, false);
}

index_t units_of(index_t images) { return std::min(images, kUnits); }

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

std::size_t set_depth_first_bytes(std::size_t bytes) { return std::exchange(least_bytes, bytes); }

// A group pays by its largest array; others may be smaller, as behind a stride.
bool is_large(const Stage& stage) {
  return std::any_of(stage.by_image.begin(), stage.by_image.end(), [](const Span& s) { return s.bytes >= least_bytes / 4; });
}

std::vector<Stage> stages_of(const Conv2dForward& a) {
  Stage s = conv_stage(kernels().conv2d_forward_by_images, kernels().conv2d_forward_scratch, a, a.w, false);
  reads(s.by_image, a.x, input_floats(a.s));
  writes(s.by_image, a.y, output_floats(a.s));
  reads(s.whole, a.bias, a.s.K);
  return {s};
}

std::vector<Stage> stages_of(const Conv2dBackwardInput& a) {
  Stage s = conv_stage(kernels().conv2d_backward_input_by_images, kernels().conv2d_backward_input_scratch, a, a.w, false);
  reads(s.by_image, a.dy, output_floats(a.s));
  reads(s.by_image, a.relu_output, input_floats(a.s));
  writes(s.by_image, a.dx, input_floats(a.s));
  return {s};
}

std::vector<Stage> stages_of(const Conv2dBackwardFilter& a) {
  Stage s = conv_stage(kernels().conv2d_backward_filter_by_images, kernels().conv2d_backward_filter_scratch, a, a.dw, true);
  reads(s.by_image, a.x, input_floats(a.s));
  reads(s.by_image, a.dy, output_floats(a.s));
  writes(s.whole, a.dbias, a.s.K);
  return {s};
}

std::vector<Stage> stages_of(const BatchNormForward& a) {
  const Kernels& k = kernels();
  const index_t floats = a.rows * a.channels, C = a.channels;
  Stage sums = stage(k.batch_norm_forward_statistics, a, 0, a.rows, kAnySlots);
  reads(sums.by_image, a.x, floats);
  for (const float* out : {a.mean, a.rstd, a.moving_mean, a.moving_variance}) writes(sums.whole, out, C);
  writes(sums.whole, a.scratch, k.batch_norm_forward_scratch(a));
  Stage apply = stage(k.batch_norm_forward_apply, a, 0, a.rows, kAnySlots);
  reads(apply.by_image, a.x, floats);
  reads(apply.by_image, a.residual, floats);
  writes(apply.by_image, a.y, floats);
  for (const float* in : {a.gamma, a.beta, static_cast<const float*>(a.mean), static_cast<const float*>(a.rstd)})
    reads(apply.whole, in, C);
  return {sums, apply};
}

std::vector<Stage> stages_of(const BatchNormInference& a) {
  const index_t floats = a.rows * a.channels, C = a.channels;
  Stage s = stage(kernels().batch_norm_inference_by_images, a, 0, a.rows, kAnySlots);
  for (const float* in : {a.x, a.residual}) reads(s.by_image, in, floats);
  writes(s.by_image, a.y, floats);
  for (const float* in : {a.gamma, a.beta, a.moving_mean, a.moving_variance}) reads(s.whole, in, C);
  for (const float* out : {a.mean, a.rstd}) writes(s.whole, out, C);
  return {s};
}

std::vector<Stage> stages_of(const BatchNormBackward& a) {
  const Kernels& k = kernels();
  const index_t floats = a.rows * a.channels, C = a.channels;
  Stage sums = stage(k.batch_norm_backward_sums, a, 0, a.rows, kAnySlots);
  Stage apply = stage(k.batch_norm_backward_apply, a, 0, a.rows, kAnySlots);
  for (Stage* s : {&sums, &apply}) {
    for (const float* in : {a.x, a.dy, a.more, a.relu_y}) reads(s->by_image, in, floats);
    for (const float* in : {a.gamma, a.beta, a.mean, a.rstd}) reads(s->whole, in, C);
  }
  writes(sums.by_image, a.dresidual, floats);
  for (const float* out : {a.dgamma, a.dbeta}) {
    writes(sums.whole, out, C);
    reads(apply.whole, out, C);
  }
  writes(sums.whole, a.scratch, k.batch_norm_backward_scratch(a));
  for (const float* out : {a.dresidual, a.dx}) writes(apply.by_image, out, floats);
  return {sums, apply};
}

bool StageGroup::fits(const Stage& stage, const std::byte* args) const {
  const index_t images = std::max(images_, stage.images);
  if (images_ > 0 && stage.images > 0 && images_ != stage.images) return false;
  if (std::any_of(stages_.begin(), stages_.end(), [&](const Stage& s) { return conflict(s, stage, true); })) return false;
  if (images == 0) return stages_.empty() || stages_.front().rows == stage.rows;
  const auto possible = [&](const Stage& s) { return s.kind->possible(s.entry, args + s.offset, images, units_of(images)); };
  return possible(stage) && (images_ > 0 || std::all_of(stages_.begin(), stages_.end(), possible));
}

bool StageGroup::is_apart(const Stage& stage) const {
  return std::none_of(stages_.begin(), stages_.end(), [&](const Stage& s) { return conflict(s, stage, false); });
}

bool StageGroup::take(const Stage& stage, const std::byte* args) {
  if (!fits(stage, args)) return false;
  images_ = std::max(images_, stage.images);
  stages_.push_back(stage);
  return true;
}

void StageGroup::close() {
  const auto is_new = [this](const Span& span) {
    return std::none_of(arrays_.begin(), arrays_.end(), [&](const Array& a) { return a.span.is(span); });
  };
  for (const Stage& stage : stages_) {
    for (const Span& span : stage.by_image) {
      if (is_new(span)) arrays_.push_back({span, fetching_});
    }
    slots_ = std::min(slots_, stage.slots), fetching_ += stage.fetching;
  }
  for (Array& a : arrays_) {
    if (a.fetching < kEnough * fetching_) a.fetching = 0;
  }
  if (images_ == 0) images_ = stages_.front().rows;
  units_ = units_of(images_);

  std::size_t bytes = 0, next = 0, largest = 0;
  for (const Array& a : arrays_) {
    bytes += a.span.bytes, largest = std::max(largest, a.span.bytes);
    if (a.fetching == 0) next += a.span.bytes;
  }
  const std::size_t image = std::max<std::size_t>(1, (bytes + next) / static_cast<std::size_t>(images_));
  together_ = static_cast<index_t>(std::max<std::size_t>(1, kCacheBytes / image));
  unit_cycles_ = static_cast<double>(bytes) / static_cast<double>(units_);  // no less than that
  const index_t threads = std::min(slots_, num_threads()), turns = (units_ + threads - 1) / threads;
  const bool balanced = 20 * units_ >= 19 * turns * threads;  // else threads wait for one that has a unit more
  pays_ = stages_.size() > 1 && largest >= least_bytes && image <= kLargestImage && balanced;
}

// What a stage fetches, of whose group so much of the fetching is `done`: its share for the stages behind it, and of the next
// images for those that no stage can fetch for in time. Returns of how many arrays.
int StageGroup::share_of_coming(const ImageRange& range, double done, double part, Coming* share) const {
  const index_t next = std::min(images_ - range.end, range.end - range.begin);
  int count = 0;
  for (const Array& a : arrays_) {
    const index_t image = static_cast<index_t>(a.span.bytes / sizeof(float)) / images_;
    const bool now = a.fetching > 0;
    const double all = now ? a.fetching : fetching_;
    const index_t first = (now ? range.begin : range.end) * image, floats = (now ? range.end - range.begin : next) * image;
    if (done >= all || floats == 0 || count == kMostComing) continue;
    const auto up_to = [&](double work) { return static_cast<index_t>(static_cast<double>(floats) * std::min(1.0, work / all)); };
    const index_t from = up_to(done), to = up_to(done + part);
    share[count++] = {reinterpret_cast<const float*>(a.span.begin) + first + from, to - from};
  }
  return count;
}

// Some images through all stages; adds to seconds[stage], if not null.
void StageGroup::play_images(const std::byte* args, ImageRange range, double* seconds) const {
  Coming coming[kMostComing];
  range.coming = coming;
  double done = 0;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& s = stages_[i];
    range.coming_count = s.fetching > 0 ? share_of_coming(range, done, s.fetching, coming) : 0;
    done += s.fetching;
    const auto start = seconds ? Clock::now() : Clock::time_point();
    s.kind->images(s.entry, args + s.offset, range);
    if (seconds) seconds[i] += seconds_since(start);
  }
}

void StageGroup::play_unit(const std::byte* args, index_t unit, int slot, double* seconds) const {
  const index_t first = unit_begin(images_, units_, unit), count = unit_begin(images_, units_, unit + 1) - first;
  const index_t turns = (count + together_ - 1) / together_;
  for (index_t turn = 0; turn < turns; ++turn) {
    const index_t begin = first + unit_begin(count, turns, turn), end = first + unit_begin(count, turns, turn + 1);
    play_images(args, {images_, units_, unit, begin, end, slot, nullptr, 0}, seconds);
  }
}

void StageGroup::play(const std::byte* args, double* seconds) const {
  struct Job {
    const StageGroup& group;
    const std::byte* args;
    std::vector<double> seconds;  // slot by slot, of every stage; or none
  } job = {*this, args, {}};
  if (seconds) job.seconds.resize(static_cast<std::size_t>(std::min(slots_, num_threads())) * stages_.size());
  const auto units = [](void* context, index_t first, index_t last, int slot) {
    Job& j = *static_cast<Job*>(context);
    double* mine = j.seconds.empty() ? nullptr : j.seconds.data() + static_cast<std::size_t>(slot) * j.group.stages_.size();
    for (index_t unit = first; unit < last; ++unit) j.group.play_unit(j.args, unit, slot, mine);
  };
  const auto timed = [seconds](const Stage& stage, const auto& body) {
    const auto start = seconds ? Clock::now() : Clock::time_point();
    body();
    if (seconds) seconds[stage.record] += seconds_since(start);
  };

  for (const Stage& s : stages_) timed(s, [&] { s.kind->prepare(s.entry, args + s.offset); });
  const auto start = seconds ? Clock::now() : Clock::time_point();
  parallel_ranges(units_, unit_cycles_, slots_, units, &job);
  if (seconds) share_out(seconds_since(start), job.seconds, seconds);
  for (const Stage& s : stages_) timed(s, [&] { s.kind->finish(s.entry, args + s.offset, images_, units_); });
}

// Adds `all` seconds to those of the stages' records, in proportion to what the threads took.
void StageGroup::share_out(double all, const std::vector<double>& of_threads, double* seconds) const {
  double sum = 0;
  for (const double s : of_threads) sum += s;
  for (std::size_t i = 0; i < of_threads.size() && sum > 0; ++i) {
    seconds[stages_[i % stages_.size()].record] += all * of_threads[i] / sum;
  }
}

}  // namespace fastnn
