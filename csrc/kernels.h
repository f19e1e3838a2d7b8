// kernels.h - THE table: one commented entry per kernel. Everything else in the project is reached from here.
//
// A kernel is a plain function of one argument struct. It is compiled once per instruction set (kernels/), listed in that
// set's table, called by the bindings and replayed by a tape, which keeps copies of (function, argument struct). So:
//   * an argument struct is trivially copyable: pointers, sizes, constants;
//   * whatever changes from step to step (learning rate, counters, batch position) is read through a pointer;
//   * a kernel allocates nothing and checks nothing; scratch comes in as a pointer and its size, in floats, from the sibling
//     entry `<name>_scratch`, which takes the same struct (its pointers may be null) and depends on sizes and `slots` only;
//   * `slots` is the number of threads that scratch was sized for; a kernel never uses more threads than that.
//
// Unless said otherwise arrays are float32, dense, row-major (NHWC images, (R, S, C, K) filters) and outputs do not overlap
// inputs. Shape letters: N batch, H W image, C input channels, K output channels, R S filter, P Q output image; m n k for
// products. A pointer marked "or null" switches that part off.
//
// Sums over many terms are cut into chunks that depend on the shape alone and are combined in a fixed order, so that every
// result has the same bits for any number of threads; a product accumulates k in order for every output element.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fastnn {

using index_t = std::int64_t;

// f(x) by name; `alpha` is the number in its formula. The backward pass takes its factor from the output y for the kinds up to
// tanh, and from the input x for the rest. Where the formula has a kink, the derivative is that on the left.
enum class Activation : std::int32_t {
  linear,          // x
  relu,            // max(x, 0)
  relu6,           // min(max(x, 0), 6)
  leaky_relu,      // x > 0 ? x : alpha x, alpha >= 0
  elu,             // x > 0 ? x : alpha (exp(x) - 1), alpha >= 0
  selu,            // s x for x > 0, else s a (exp(x) - 1); s = 1.0507009873554805, a = 1.6732632423543772
  celu,            // x > 0 ? x : alpha (exp(x / alpha) - 1), alpha > 0
  exponential,     // exp(x)
  step,            // x > 0 ? 1 : 0; derivative 0
  sign,            // -1, 0 or 1; derivative 0
  hard_tanh,       // min(max(x, -1), 1)
  hard_sigmoid,    // min(max((x + 3) / 6, 0), 1)
  sparse_sigmoid,  // min(max((x + 1) / 2, 0), 1)
  sigmoid,         // 1 / (1 + exp(-x))
  tanh,            // (exp(2x) - 1) / (exp(2x) + 1)
  softplus,        // log(1 + exp(x))
  gelu,            // x (1 + erf(x / sqrt 2)) / 2
  gelu_tanh,       // x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2
  silu,            // x sigmoid(x)
  mish,            // x tanh(log(1 + exp(x)))
  hard_silu,       // x min(max((x + 3) / 6, 0), 1)
  softsign,        // x / (1 + |x|)
  log_sigmoid,     // -log(1 + exp(-x))
  tanh_shrink,     // x - tanh(x)
  soft_shrink,     // x - alpha for x > alpha, x + alpha for x < -alpha, else 0; alpha >= 0
  hard_shrink,     // |x| > alpha ? x : 0; alpha >= 0
  squareplus,      // (x + sqrt(x^2 + alpha)) / 2, alpha > 0
  sparse_plus,     // 0 for x <= -1, x for x >= 1, else (x + 1)^2 / 4
};

// Losses that are a mean (or a sum) over a row of a function of one prediction and one target. Probabilities: q = min(max(p, 1e-7),
// 1 - 1e-7), derivative 0 where clipped.
enum class ElementLoss : std::int32_t {
  squared_error,              // (p - t)^2
  absolute_error,             // |p - t|, derivative 0 at p == t
  half_squared_error,         // (p - t)^2 / 2
  absolute_percentage_error,  // 100 |p - t| / max(|t|, 1e-7)
  squared_logarithmic_error,  // (log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))^2
  huber,                      // d^2 / 2 for d = |p - t| <= delta, else delta d - delta^2 / 2
  log_cosh,                   // log(cosh(p - t))
  hinge,                      // max(1 - t p, 0)
  squared_hinge,              // max(1 - t p, 0)^2
  poisson,                    // p - t log(p + 1e-7)
  kl_divergence,              // t' log(t' / p'), each clipped to [1e-7, 1]
  negative_product,           // -t p
  binary_crossentropy,        // -t log q - (1 - t) log(1 - q)
  binary_focal,               // weight m^gamma times that; m = t (1 - q) + (1 - t) q, weight = t weight_one + (1 - t) weight_zero
  categorical_focal,          // -weight_one (1 - q)^gamma t log q
  sigmoid_crossentropy,       // binary_crossentropy of q = sigmoid(p), without clipping: max(p, 0) - p t + log(1 + exp(-|p|))
  sigmoid_focal,              // binary_focal of q = sigmoid(p), without clipping
};

// What the elements of a source array are when a batch is gathered.
enum class Source : std::int32_t { float32, uint8, int32 };

// How predictions are compared with the truth.
enum class Match : std::int32_t {
  sparse,       // argmax of the row == label (first maximum wins)
  categorical,  // argmax of the row == argmax of the target row
  binary,       // (p > threshold) == (t > threshold), element by element
};

// c (m x n, row stride ldc) = f(a b + bias), or c + a b if accumulate (then no bias, no f).
// Element (i, p) of a is a[i * a_row + p * a_col]; (p, j) of b is b[p * b_row + j * b_col]; of each pair one step is 1.
// bias: n values, or null. k == 0 gives f(bias).
struct Gemm {
  const float* a;
  index_t a_row, a_col;
  const float* b;
  index_t b_row, b_col;
  float* c;
  index_t ldc;
  index_t m, n, k;
  const float* bias;
  Activation activation;
  float alpha;
  bool accumulate;
  float* scratch;
  int slots;
};

// y[j] = sum over i of x[i, j]; x is rows x cols.
struct ColumnSums {
  const float* x;
  float* y;
  index_t rows, cols;
  float* scratch;
  int slots;
};

// The geometry of a 2-D convolution: input (N, H, W, C), filter (R, S, C / groups, K), output (N, P, Q, K), and
// y[n,p,q,k] = sum over r, s, c of x[n, p stride_h + r dilation_h - pad_top, q stride_w + s dilation_w - pad_left, c] w[r,s,c,k];
// what lies outside of x is 0. Group g joins input channels [g C/groups, ...) with output channels [g K/groups, ...).
struct Conv2dShape {
  index_t N, H, W, C, K, R, S, P, Q;
  index_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups;
};

// y = f(conv(x, w) + bias); bias: K values, or null.
struct Conv2dForward {
  Conv2dShape s;
  const float* x;
  const float* w;
  const float* bias;
  float* y;
  Activation activation;
  float alpha;
  float* scratch;
  int slots;
};

// dx = the transpose of the convolution applied to dy; where x is the output of a relu, relu_output = x (else null), its
// derivative is applied too: dx times 1 where x > 0, times 0 elsewhere.
struct Conv2dBackwardInput {
  Conv2dShape s;
  const float* dy;
  const float* w;
  const float* relu_output;
  float* dx;
  float* scratch;
  int slots;
};

// dw[r,s,c,k] = sum over n, p, q of x[...] dy[n,p,q,k]; dbias[k] = sum over n, p, q of dy[n,p,q,k], or null.
struct Conv2dBackwardFilter {
  Conv2dShape s;
  const float* x;
  const float* dy;
  float* dw;
  float* dbias;
  float* scratch;
  int slots;
};

// Windows of R x S pixels, each channel by itself: input (N, H, W, C), output (N, P, Q, C). Padding never wins a maximum and
// is not counted in a mean. No window lies wholly in the padding.
struct Pool2dShape {
  index_t N, H, W, C, R, S, P, Q;
  index_t stride_h, stride_w, pad_top, pad_left;
};

// y = largest value of the window; index = r S + s of the first one, its position in the window. A NaN wins.
// index where R S <= 256, wide_index for larger windows, the other null.
struct MaxPool2dForward {
  Pool2dShape s;
  const float* x;
  float* y;
  std::uint8_t* index;
  std::int32_t* wide_index;
};

// dx = the sum of dy over the windows that have their largest value here, 0 elsewhere. relu_y: the pooled values of outputs of a
// relu, or null: then dy counts only where they are > 0, so that dx is the gradient of what entered the relu.
struct MaxPool2dBackward {
  Pool2dShape s;
  const float* dy;
  const std::uint8_t* index;
  const std::int32_t* wide_index;
  const float* relu_y;
  float* dx;
};

// y = mean of the window.
struct AvgPool2dForward {
  Pool2dShape s;
  const float* x;
  float* y;
};

struct AvgPool2dBackward {
  Pool2dShape s;
  const float* dy;
  float* dx;
};

// y[n, c] = mean over the `pixels` positions of x[n, :, c].
struct SpatialMeanForward {
  const float* x;
  float* y;
  index_t N, pixels, C;
};

// dx[n, i, c] = dy[n, c] / pixels.
struct SpatialMeanBackward {
  const float* dy;
  float* dx;
  index_t N, pixels, C;
};

// y = f(x); y may be x.
struct ActivationForward {
  const float* x;
  float* y;
  index_t n;
  Activation kind;
  float alpha;
};

// dx = dy f'(x); dx may be dy. x may be null for the kinds that use y, y for those that use x. sums: cols values, the column sums
// of dx as rows of cols >= 1 numbers, with the bits of column_sums, or null.
struct ActivationBackward {
  const float* dy;
  const float* x;
  const float* y;
  float* dx;
  index_t n;
  Activation kind;
  float alpha;
  float* sums;
  index_t cols;
  float* scratch;
};

// y = exp(x - max) / sum of exp(x - max), row by row; y may be x.
struct SoftmaxForward {
  const float* x;
  float* y;
  index_t rows, cols;
};

// dx = y (dy - sum(dy y)), row by row; dx may be dy.
struct SoftmaxBackward {
  const float* dy;
  const float* y;
  float* dx;
  index_t rows, cols;
};

// y = x - max - log(sum of exp(x - max)), row by row; y may be x.
struct LogSoftmaxForward {
  const float* x;
  float* y;
  index_t rows, cols;
};

// dx = dy - exp(y) sum(dy), row by row; dx may be dy.
struct LogSoftmaxBackward {
  const float* dy;
  const float* y;
  float* dx;
  index_t rows, cols;
};

// y = min(x, max_value) for x > threshold, else slope (x - threshold); y may be x.
struct ClippedReluForward {
  const float* x;
  float* y;
  index_t n;
  float slope, max_value, threshold;
};

// dx = dy times 1 for threshold < x < max_value, slope for x <= threshold, else 0; dx may be dy.
struct ClippedReluBackward {
  const float* dy;
  const float* x;
  float* dx;
  index_t n;
  float slope, max_value, threshold;
};

// y = x > 0 ? x : alpha_j x, x being rows x cols; y may be x.
struct PreluForward {
  const float* x;
  const float* alpha;
  float* y;
  index_t rows, cols;
};

// dx = dy times 1 where x > 0, alpha_j elsewhere; dalpha_j = sum over the rows of dy x where x <= 0, or null.
struct PreluBackward {
  const float* dy;
  const float* x;
  const float* alpha;
  float* dx;
  float* dalpha;
  index_t rows, cols;
  float* scratch;
};

// y = x > 0 ? x : a x, a = lower + (upper - lower) (r + 1/2) / 65536 with the 16-bit number r that dropout has for this element,
// seed, stream and step; counter and used as there. y may be x.
struct RandomReluForward {
  const float* x;
  float* y;
  index_t n;
  float lower, upper;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
  std::uint64_t* used;
};

// dx = dy times 1 where x > 0, the a of the forward pass with step = used[0] elsewhere; dx may be dy.
struct RandomReluBackward {
  const float* dy;
  const float* x;
  float* dx;
  index_t n;
  float lower, upper;
  std::uint64_t seed;
  std::uint32_t stream;
  const std::uint64_t* used;
};

// x (rows x channels). mean and variance (biased) of each channel by two passes; rstd = 1 / sqrt(variance + epsilon);
// y = f(gamma (x - mean) rstd + beta + residual), f = max(., 0) if relu; moving = momentum moving + (1 - momentum) batch value.
// gamma, beta, residual (rows x channels): or null (1, 0, 0).
struct BatchNormForward {
  const float* x;
  const float* gamma;
  const float* beta;
  float* y;
  float* mean;
  float* rstd;
  float* moving_mean;
  float* moving_variance;
  const float* residual;
  index_t rows, channels;
  float momentum, epsilon;
  bool relu;
  float* scratch;
};

// y = f(gamma (x - moving_mean) / sqrt(moving_variance + epsilon) + beta + residual), f as above. mean, rstd: what was used, or
// null.
struct BatchNormInference {
  const float* x;
  const float* gamma;
  const float* beta;
  const float* moving_mean;
  const float* moving_variance;
  float* y;
  float* mean;
  float* rstd;
  const float* residual;
  index_t rows, channels;
  float epsilon;
  bool relu;
};

// xhat = (x - mean) rstd; dgamma = sum(dy xhat), dbeta = sum(dy),
// dx = gamma rstd (dy - dbeta / rows - xhat dgamma / rows), or gamma rstd dy with fixed_statistics.
// gamma or null (1). dx: or null. dgamma, dbeta always written (to scratch-like arrays where the layer has none).
// With relu dy counts only where relu_y, the y of the forward pass, is > 0, or, without a residual, relu_y may be null: then where
// gamma (x - mean) rstd + beta is > 0. dresidual: the dy that counts, or null; written only if dx is.
struct BatchNormBackward {
  const float* x;
  const float* dy;
  const float* gamma;
  const float* beta;
  const float* mean;
  const float* rstd;
  const float* relu_y;
  float* dx;
  float* dgamma;
  float* dbeta;
  float* dresidual;
  index_t rows, channels;
  bool fixed_statistics, relu;
  float* scratch;
};

// Philox4x32-10, key = seed, counter = (index / 8 low word, index / 8 high word, stream, step): eight 16-bit numbers a block,
// word w of the block giving elements 2w (low half) and 2w + 1 (high half). Element i is kept where its number >= threshold,
// threshold = round(rate 65536): y = x (65536 / (65536 - threshold)) where kept, 0 elsewhere. step = low word of counter[0], which
// is copied to used[0] and then increased by one. y may be x.
struct DropoutForward {
  const float* x;
  float* y;
  index_t n;
  float rate;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
  std::uint64_t* used;
};

// dx = dy (65536 / (65536 - threshold)) where the forward pass with step = used[0] kept, 0 elsewhere; dx may be dy.
struct DropoutBackward {
  const float* dy;
  float* dx;
  index_t n;
  float rate;
  std::uint64_t seed;
  std::uint32_t stream;
  const std::uint64_t* used;
};

// p = softmax(logits); loss[i] = weight_i * -sum_j t_ij log p_ij, computed on the logits;
// dlogits = scale weight_i (p sum_j t_ij - t). labels (int32, in [0, cols)) or targets (rows x cols), the other null.
// weights: rows values, or null. probs: or null. dlogits: or null.
struct SoftmaxCrossEntropy {
  const float* logits;
  const std::int32_t* labels;
  const float* targets;
  const float* weights;
  float* probs;
  float* losses;
  float* dlogits;
  index_t rows, cols;
  float scale;
};

// The same from probabilities: loss[i] = weight_i * -sum_j t_ij log q_ij, q = min(max(p, 1e-7), 1 - 1e-7);
// dprobs = -scale weight_i t / q, 0 where clipped.
struct CrossEntropy {
  const float* probs;
  const std::int32_t* labels;
  const float* targets;
  const float* weights;
  float* losses;
  float* dprobs;
  index_t rows, cols;
  float scale;
};

// loss[i] = weight_i * mean over the row of l(p, t), or the sum if `sum`; dpred = scale weight_i l'(p, t) / cols, or without /
// cols. delta: of huber; gamma, weight_one, weight_zero: of the focal kinds. sigmoid_out: sigmoid(p), or null (only the kinds on
// logits write it). weights, dpred: or null.
struct ElementwiseLoss {
  ElementLoss kind;
  const float* pred;
  const float* targets;
  const float* weights;
  float* sigmoid_out;
  float* losses;
  float* dpred;
  index_t rows, cols;
  float scale;
  bool sum;
  float delta, gamma, weight_one, weight_zero;
};

// p = softmax(logits); loss[i] = weight_i * -alpha sum_j (1 - p_ij)^gamma t_ij log p_ij, computed on the logits; dlogits: scale
// times its gradient, or null. weights: or null.
struct SoftmaxFocal {
  const float* logits;
  const float* targets;
  const float* weights;
  float* probs;
  float* losses;
  float* dlogits;
  index_t rows, cols;
  float alpha, gamma, scale;
};

// loss[i] = weight_i * max(max_j((1 - t_ij) p_ij) - sum_j t_ij p_ij + 1, 0); dpred: scale times its gradient (the first of equal
// maxima counts), or null. weights: or null.
struct CategoricalHinge {
  const float* pred;
  const float* targets;
  const float* weights;
  float* losses;
  float* dpred;
  index_t rows, cols;
  float scale;
};

// How weights are scaled: not at all, so that their mean is that of 1 where rows count and 0 where they do not, or so that it is 1.
enum class WeightScale : std::int32_t { none, rows, mean };

// y[i] = f w[i], or 0 where labels[i] == ignored; w = 1 if weights is null. With r rows that count: f = 1 for WeightScale::none,
// rows / r for ::rows, rows / (sum of w over these) for ::mean, 0 if that would divide by 0. labels: or null, then all rows count.
// kept: the labels, 0 where they are ignored; or null.
struct RowWeights {
  const float* weights;
  const std::int32_t* labels;
  std::int32_t ignored;
  WeightScale scale;
  float* y;
  std::int32_t* kept;
  index_t rows;
};

// y = keep t + share.
struct SmoothTargets {
  const float* t;
  float* y;
  index_t n;
  float keep, share;
};

// y = 2 t - 1 if every t is 0 or 1, else y = t.
struct SignedLabels {
  const float* t;
  float* y;
  index_t n;
};

// state[0] += scale * sum of values, state[1] += n.
struct MeanUpdate {
  const float* values;
  double* state;
  index_t n;
  double scale;
};

// state[0] += number of matches, state[1] += number compared (rows, or rows x cols for Match::binary). A label outside of [0, cols)
// never matches.
struct CountMatches {
  Match kind;
  const float* pred;
  const std::int32_t* labels;
  const float* targets;
  double* state;
  index_t rows, cols;
  float threshold;
};

// Where the gradient of an optimizer's step comes from if it is not stored: g = x^T dy, x (rows x inputs), dy (rows x units), the
// same bits as `gemm` gives. x null: the step reads its g.
struct GradientProduct {
  const float* x;
  const float* dy;
  index_t rows, inputs, units;
};

// Optimizer steps: n elements of w with gradient g, in place. lr: the learning rate of this step, one value. With a product
// n = inputs units.
// All first decay the weights: w -= w * weight_decay * lr (nothing where weight_decay is 0).
struct SgdStep {  // w -= lr g
  float* w;
  const float* g;
  index_t n;
  const float* lr;
  float weight_decay;
  GradientProduct product;
  float* scratch;
  int slots;
};

struct MomentumStep {  // v = momentum v - lr g; w += v, or with nesterov w += momentum v - lr g
  float* w;
  const float* g;
  float* v;
  index_t n;
  const float* lr;
  float momentum, weight_decay;
  bool nesterov;
  GradientProduct product;
  float* scratch;
  int slots;
};

struct AdagradStep {  // a += g^2; w -= lr g / sqrt(a + epsilon)
  float* w;
  const float* g;
  float* a;
  index_t n;
  const float* lr;
  float epsilon, weight_decay;
  GradientProduct product;
  float* scratch;
  int slots;
};

// v = rho v + (1 - rho) g^2; centered (mean not null): mean = rho mean + (1 - rho) g, d = max(v - mean^2, 0) + epsilon (rounding
// may take the difference below 0), else d = v + epsilon;
// u = lr g / sqrt(d); with momentum (velocity not null) velocity = momentum velocity + u, u = velocity; w -= u.
struct RmspropStep {
  float* w;
  const float* g;
  float* v;
  float* mean;
  float* velocity;
  index_t n;
  const float* lr;
  float rho, momentum, epsilon, weight_decay;
  GradientProduct product;
  float* scratch;
  int slots;
};

// t = iterations[0] + 1; m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); amsgrad (vhat not null): vhat = max(vhat, v), v =
// vhat; w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon). The factor is computed in double.
struct AdamStep {
  float* w;
  const float* g;
  float* m;
  float* v;
  float* vhat;
  index_t n;
  const float* lr;
  const index_t* iterations;
  double beta_1, beta_2;
  float epsilon, weight_decay;
  GradientProduct product;
  float* scratch;
  int slots;
};

// out row i = source row order[position + i], for i < rows. source[0] is the address of the data, order[0] that of an index_t
// array or 0 for order = identity, position[0] the first place in order: a tape finds new data there without being recorded
// again. float32 and uint8 sources give float32 x * scale; int32 gives int32 (scale unused).
struct GatherRows {
  const std::uint64_t* source;
  const std::uint64_t* order;
  const index_t* position;
  Source kind;
  void* out;
  index_t rows, row_size;
  float scale;
};

// Row position[0] + i of the array at address target[0] = row i of x, for i < rows.
struct StoreRows {
  const float* x;
  const std::uint64_t* target;
  const index_t* position;
  index_t rows, row_size;
};

// counter[0] += by.
struct Advance {
  index_t* counter;
  index_t by;
};

// y = x with axes permuted: y has dims[...], and its axis a moves through x in steps of strides[a] elements.
constexpr int kMaxRank = 6;
struct Permute {
  const float* x;
  float* y;
  int rank;
  index_t dims[kMaxRank];
  index_t strides[kMaxRank];
};

constexpr int kMaxMerged = 8;  // arrays that one call of the kernels below takes

// y = sum over j < count of weight[j] x[j], element by element, added in that order; y may be one of the x.
struct Add {
  const float* x[kMaxMerged];
  float weight[kMaxMerged];
  int count;
  float* y;
  index_t n;
};

// y = x[0] op x[1] op ..., element by element, in that order, op being the product, the maximum or the minimum (a NaN wins);
// y may be one of the x.
struct Merge {
  const float* x[kMaxMerged];
  int count;
  float* y;
  index_t n;
};

// y is the maximum or minimum of the x (and of arrays of other calls): dx[j] = dy where x[j] is the first to equal it, else 0.
// rest: dy where none did, else 0, for the call with the next arrays; or null.
struct ExtremumBackward {
  const float* x[kMaxMerged];
  int count;
  const float* y;
  const float* dy;
  float* dx[kMaxMerged];
  float* rest;
  index_t n;
};

// Row i of y, at y + i y_step, begins with row i of x[0], then that of x[1], ...; width: of the rows of each.
struct Concatenate {
  const float* x[kMaxMerged];
  index_t width[kMaxMerged];
  int count;
  float* y;
  index_t y_step, rows;
};

// The reverse: row i of y[0], y[1], ... is what row i of x, at x + i x_step, begins with.
struct Split {
  const float* x;
  index_t x_step, rows;
  float* y[kMaxMerged];
  index_t width[kMaxMerged];
  int count;
};

// y = x r, r = 1 / sqrt(max(sum of x^2, 1e-12)), row by row; r: one value a row.
struct UnitNormForward {
  const float* x;
  float* y;
  float* r;
  index_t rows, cols;
};

// dx = r (dy - y sum(dy y)), row by row; r dy where r was 1e6, its largest value.
struct UnitNormBackward {
  const float* dy;
  const float* y;
  const float* r;
  float* dx;
  index_t rows, cols;
};

// y = value everywhere.
struct Fill {
  float* y;
  index_t n;
  float value;
};

// `threads` threads each do `rounds` rounds of independent multiply-add chains in registers (multiply_add_probe_flops() flops a
// round); out: one value per thread.
struct MultiplyAddProbe {
  float* out;
  index_t rounds;
  int threads;
};

// y = x + z / 2, `rounds` times, each thread on its own part of n elements.
struct TriadProbe {
  float* y;
  const float* x;
  const float* z;
  index_t n, rounds;
  int threads;
};

struct Kernels {
  const char* isa;
  int lanes;  // floats in a vector

  void (*gemm)(const Gemm&);
  index_t (*gemm_scratch)(const Gemm&);
  void (*column_sums)(const ColumnSums&);
  index_t (*column_sums_scratch)(const ColumnSums&);

  void (*conv2d_forward)(const Conv2dForward&);
  index_t (*conv2d_forward_scratch)(const Conv2dForward&);
  void (*conv2d_backward_input)(const Conv2dBackwardInput&);
  index_t (*conv2d_backward_input_scratch)(const Conv2dBackwardInput&);
  void (*conv2d_backward_filter)(const Conv2dBackwardFilter&);
  index_t (*conv2d_backward_filter_scratch)(const Conv2dBackwardFilter&);

  void (*max_pool2d_forward)(const MaxPool2dForward&);
  void (*max_pool2d_backward)(const MaxPool2dBackward&);
  void (*avg_pool2d_forward)(const AvgPool2dForward&);
  void (*avg_pool2d_backward)(const AvgPool2dBackward&);
  void (*spatial_mean_forward)(const SpatialMeanForward&);
  void (*spatial_mean_backward)(const SpatialMeanBackward&);

  void (*activation_forward)(const ActivationForward&);
  void (*activation_backward)(const ActivationBackward&);
  index_t (*activation_backward_scratch)(const ActivationBackward&);
  void (*softmax_forward)(const SoftmaxForward&);
  void (*softmax_backward)(const SoftmaxBackward&);
  void (*log_softmax_forward)(const LogSoftmaxForward&);
  void (*log_softmax_backward)(const LogSoftmaxBackward&);
  void (*clipped_relu_forward)(const ClippedReluForward&);
  void (*clipped_relu_backward)(const ClippedReluBackward&);
  void (*prelu_forward)(const PreluForward&);
  void (*prelu_backward)(const PreluBackward&);
  index_t (*prelu_backward_scratch)(const PreluBackward&);
  void (*random_relu_forward)(const RandomReluForward&);
  void (*random_relu_backward)(const RandomReluBackward&);

  void (*batch_norm_forward)(const BatchNormForward&);
  index_t (*batch_norm_forward_scratch)(const BatchNormForward&);
  void (*batch_norm_inference)(const BatchNormInference&);
  void (*batch_norm_backward)(const BatchNormBackward&);
  index_t (*batch_norm_backward_scratch)(const BatchNormBackward&);

  void (*dropout_forward)(const DropoutForward&);
  void (*dropout_backward)(const DropoutBackward&);

  void (*softmax_cross_entropy)(const SoftmaxCrossEntropy&);
  void (*cross_entropy)(const CrossEntropy&);
  void (*elementwise_loss)(const ElementwiseLoss&);
  void (*softmax_focal)(const SoftmaxFocal&);
  void (*categorical_hinge)(const CategoricalHinge&);
  void (*row_weights)(const RowWeights&);
  void (*smooth_targets)(const SmoothTargets&);
  void (*signed_labels)(const SignedLabels&);
  void (*mean_update)(const MeanUpdate&);
  void (*count_matches)(const CountMatches&);

  void (*sgd_step)(const SgdStep&);
  index_t (*sgd_step_scratch)(const SgdStep&);
  void (*momentum_step)(const MomentumStep&);
  index_t (*momentum_step_scratch)(const MomentumStep&);
  void (*adagrad_step)(const AdagradStep&);
  index_t (*adagrad_step_scratch)(const AdagradStep&);
  void (*rmsprop_step)(const RmspropStep&);
  index_t (*rmsprop_step_scratch)(const RmspropStep&);
  void (*adam_step)(const AdamStep&);
  index_t (*adam_step_scratch)(const AdamStep&);

  void (*gather_rows)(const GatherRows&);
  void (*store_rows)(const StoreRows&);
  void (*advance)(const Advance&);
  void (*permute)(const Permute&);
  void (*fill)(const Fill&);

  void (*add)(const Add&);
  void (*multiply)(const Merge&);
  void (*maximum)(const Merge&);
  void (*minimum)(const Merge&);
  void (*extremum_backward)(const ExtremumBackward&);
  void (*concatenate)(const Concatenate&);
  void (*split)(const Split&);
  void (*unit_norm_forward)(const UnitNormForward&);
  void (*unit_norm_backward)(const UnitNormBackward&);

  void (*multiply_add_probe)(const MultiplyAddProbe&);
  index_t (*multiply_add_probe_flops)();
  void (*triad_probe)(const TriadProbe&);
};

}  // namespace fastnn
