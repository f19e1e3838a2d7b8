// kernels.h - THE table: one commented entry per kernel. Everything else in the project is reached from here.
//
// A kernel is a plain function of one argument struct. It is compiled once per instruction set (kernels/), listed in that
// set's table, called by the bindings and replayed by a tape, which keeps copies of (function, argument struct). So:
//   * an argument struct is trivially copyable: pointers, sizes, constants;
//   * whatever changes from step to step (learning rate, counters, batch position) is read through a pointer;
//   * a kernel allocates nothing and checks nothing; scratch comes in as a pointer and its size, in floats, from the sibling
//     entry `<name>_scratch`, which takes the same struct (its pointers may be null) and depends on sizes and `slots` only;
//   * `slots` is the number of threads that scratch was sized for; a kernel never uses more threads than that. What each of
//     them has begins on a cache line: vectors that cross lines cost a product up to 7 %.
//
// Unless said otherwise arrays are float32, dense, row-major (NHWC images, (R, S, C, K) filters) and outputs do not overlap
// inputs. Shape letters: N batch, H W image, C input channels, K output channels, R S filter, P Q output image; m n k for
// products. A pointer marked "or null" switches that part off.
//
// Sums over many terms are cut into chunks that depend on the shape alone and are combined in a fixed order, so that every
// result has the same bits for any number of threads; a product accumulates k in order for every output element, but on matrix
// tiles (instruction set amx), which sum over rows 32 at a time: c = a^T b with k of 32 to 4096, m >= 128, n >= 96.
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

// What a metric says of a row of predictions p and truth t: up to sigmoid_crossentropy a mean over the columns, then a sum or
// another number of the row.
enum class RowScore : std::int32_t {
  equal,                      // p == t
  squared_error,              // (p - t)^2
  absolute_error,             // |p - t|
  absolute_percentage_error,  // 100 |p - t| / max(|t|, 1e-7)
  squared_logarithmic_error,  // (log(1 + max(p, 1e-7)) - log(1 + max(t, 1e-7)))^2
  log_cosh,                   // log(cosh(p - t))
  hinge,                      // max(1 - p t, 0), a target of 0 counts as -1
  squared_hinge,              // its square
  poisson,                    // p - t log(p + 1e-7)
  binary_crossentropy,        // as ElementLoss
  sigmoid_crossentropy,       // as ElementLoss
  kl_divergence,              // sum of t log(t / p), both clipped to [1e-7, 1]
  categorical_crossentropy,   // -sum of t log q, q = min(max(p, 1e-7), 1 - 1e-7)
  softmax_crossentropy,       // the same of q = softmax(p), without clipping
  categorical_hinge,          // max(max of (1 - t) p - sum of t p + 1, 0)
  cosine_similarity,          // sum of p t / (|p| |t|), lengths at least 1e-7
  pearson_correlation,        // covariance of p and t / (deviation of p * deviation of t), 0 if one of them is 0
  concordance_correlation,    // 2 covariance / (variance of p + variance of t + (mean of p - mean of t)^2 + 1e-7)
  top_k,                      // 1 if p at the label (or the first maximum of t) has fewer than k above it, else 0; NaN is above all
  unlike_label,               // 1 if the label is not k, else 0
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
  const float* relu_output;  // laid out like c: what of c is not above 0 there becomes 0, the derivative of the relu; or null
  bool skip_zeros;           // terms that are zero in all rows of a may be left out, whatever b is there
  bool may_use_tiles;        // the order of a sum may be that of matrix tiles, whatever the number of rows
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

// dx = the transpose of the convolution applied to dy, or dx + that if accumulate (then groups = 1); where x is the output of a
// relu, relu_output = x (else null), its derivative is applied too: dx times 1 where x > 0, times 0 elsewhere.
struct Conv2dBackwardInput {
  Conv2dShape s;
  const float* dy;
  const float* w;
  const float* relu_output;
  float* dx;
  bool accumulate;
  float* scratch;
  int slots;
};

// dw[r,s,c,k] = sum over n, p, q of x[...] dy[n,p,q,k]; dbias[k] = sum over n, p, q of dy[n,p,q,k], or null. The error is small
// beside the norm of dw[:,:,c,k], not beside each of its values.
struct Conv2dBackwardFilter {
  Conv2dShape s;
  const float* x;
  const float* dy;
  float* dw;
  float* dbias;
  float* scratch;
  int slots;
};

// y = f(z + bias), z (N, H, W, C) being the transpose of the convolution s applied to x (N, P, Q, K); bias: C values, or null.
struct Conv2dTransposeForward {
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

// The third axis of a 3-D convolution: slices d < D of `pixels` pixels of `groups` x `channels` values, taps t < taps, output
// slices o < O. Tap t of slice o lies at d = o stride + t dilation - pad; what lies outside is 0.
struct DepthShape {
  index_t N, D, O, pixels, groups, channels, taps;
  index_t stride, dilation, pad;
};

// y[n,o,i,g,t,c] = x[n, o stride + t dilation - pad, i,g,c]: a 3-D convolution of x is a 2-D one of y.
struct UnfoldDepth {
  DepthShape s;
  const float* x;
  float* y;
};

// The transpose: y[n,d,i,g,c] = f(sum over t of x[n,o,i,g,t,c] + bias[g,c]), o stride + t dilation - pad = d; times 1 where
// relu_output, laid out like y, is > 0, times 0 elsewhere. bias, relu_output: or null, not both given.
struct FoldDepth {
  DepthShape s;
  const float* x;
  const float* bias;
  const float* relu_output;
  float* y;
  Activation activation;
  float alpha;
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

// A convolution and a max pooling of its output by windows of rows x columns pixels that lie side by side, as one: s is the
// convolution of those outputs that lie in a window, P and Q being multiples of rows and columns, rows columns <= 256.
struct MaxPooledConv2dShape {
  Conv2dShape s;
  index_t rows, columns;
};

// y, index (N, P / rows, Q / columns, K) = the largest value of every window of f(conv(x, w) + bias), and its place in the window.
struct MaxPooledConv2dForward {
  MaxPooledConv2dShape shape;
  const float* x;
  const float* w;
  const float* bias;
  float* y;
  std::uint8_t* index;
  Activation activation;
  float alpha;
  float* scratch;
  int slots;
};

// Gradients at the outputs of a convolution, from those at the windows: dy where index says, 0 elsewhere. relu_y: as in
// MaxPool2dBackward.
struct MaxPooledGradient {
  const float* dy;
  const std::uint8_t* index;
  const float* relu_y;
};

// As Conv2dBackwardInput.
struct MaxPooledConv2dBackwardInput {
  MaxPooledConv2dShape shape;
  MaxPooledGradient gradient;
  const float* w;
  const float* relu_output;
  float* dx;
  float* scratch;
  int slots;
};

// As Conv2dBackwardFilter.
struct MaxPooledConv2dBackwardFilter {
  MaxPooledConv2dShape shape;
  const float* x;
  MaxPooledGradient gradient;
  float* dw;
  float* dbias;
  float* scratch;
  int slots;
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
// seed, stream and step; step = low word of counter[0], copied to used[0] and then increased by one. y may be x.
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
// more: added to dy before all, or null.
struct BatchNormBackward {
  const float* x;
  const float* dy;
  const float* more;
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
// is then increased by one. Bit i % 8 of kept[i / 8], the lowest being bit 0: is element i kept? y may be x.
struct DropoutForward {
  const float* x;
  float* y;
  index_t n;
  float rate;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
  std::uint8_t* kept;
};

// dx = dy (65536 / (65536 - threshold)) where the forward pass kept, 0 elsewhere; dx may be dy.
struct DropoutBackward {
  const float* dy;
  const std::uint8_t* kept;
  float* dx;
  index_t n;
  float rate;
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

// y[i] = f w[i], or 0 where labels[i] == ignored; w = 1 if weights is null. f = 1, or, with mean_of_one, rows / (sum of the w that
// count), 0 if that would divide by 0. labels: or null, then all rows count. kept: the labels, 0 where they are ignored; or null.
struct RowWeights {
  const float* weights;
  const std::int32_t* labels;
  std::int32_t ignored;
  bool mean_of_one;
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

// state[0] += scale * sum of weight_i value_i, state[1] += sum of weights; weights: or null, all 1.
struct MeanUpdate {
  const float* values;
  const float* weights;
  double* state;
  index_t n;
  double scale;
};

// state[0] += number of matches, state[1] += number compared (rows, or rows x cols for Match::binary), each counted as often as
// the weight of its row says; weights: or null. A label outside of [0, cols) never matches.
struct CountMatches {
  Match kind;
  const float* pred;
  const std::int32_t* labels;
  const float* targets;
  const float* weights;
  double* state;
  index_t rows, cols;
  float threshold;
};

// values[i] = what `kind` says of row i. Truth: labels (t is 1 there, else 0) or targets; with smoothing s, t (1 - s) + s / n, n =
// cols for categorical and softmax cross-entropy, else 2.
struct ScoreRows {
  RowScore kind;
  const float* pred;
  const std::int32_t* labels;
  const float* targets;
  float* values;
  index_t rows, cols, k;
  float smoothing;
};

// state[group][positive][bin] += weight_i column_weight_j for every prediction: bin is the number of the `count` rising thresholds
// below it (0 of a NaN), so state has count + 1 of them; positive if the label is j, or the target above 0.5. One group, or one per
// column (by_column). column: the only one to look at, or -1. weights, column_weights: or null.
struct CountOutcomes {
  const float* pred;
  const std::int32_t* labels;
  const float* targets;
  const float* weights;
  const float* column_weights;
  const float* thresholds;
  double* state;
  index_t rows, cols, column, count;
  bool by_column;
};

// y = x where it is one of the k largest of its row (of equal ones the first), else -infinity; NaN never is.
struct KeepLargest {
  const float* x;
  float* y;
  index_t rows, cols, k;
};

// state[truth * classes + guess] += weight_i, or state[classes^2] where one of them is no class. truth: a label, a number
// (target_cols 1) or the first maximum of a row of targets; guess: p >= threshold if binary, else a number (cols 1) or the first
// maximum. Rows whose truth is `ignored` are left out if has_ignored.
struct CountPairs {
  const float* pred;
  const std::int32_t* labels;
  const float* targets;
  const float* weights;
  double* state;
  index_t rows, cols, target_cols, classes, ignored;
  bool has_ignored, binary;
  float threshold;
};

// state (4 x cols): of the targets of every column the weight, the mean and the sum of squared deviations from it, and the sum of
// squared errors of the predictions; weights: or null.
struct MomentsUpdate {
  const float* pred;
  const float* targets;
  const float* weights;
  double* state;
  index_t rows, cols;
};

// Where the gradient of an optimizer's step comes from: its g, or with x not null the product x^T dy, x (rows x inputs), dy (rows x
// units), n = inputs units, with the bits that `gemm` gives, which is never stored. It is then multiplied by factor[0] (null: 1)
// and cut to [-limit, limit] (infinity: not at all).
struct GradientSource {
  const float* x;
  const float* dy;
  index_t rows, inputs, units;
  const float* factor;
  float limit;
};

// What all optimizer steps have: n elements of w with gradient g, in place. lr: the learning rate of this step, one value.
// All first decay the weights: w -= w * weight_decay * lr (nothing where weight_decay is 0).
struct Update {
  float* w;
  const float* g;
  index_t n;
  const float* lr;
  float weight_decay;
  GradientSource source;
  float* scratch;
  int slots;
};

struct SgdStep : Update {};  // w -= lr g

struct MomentumStep : Update {  // v = momentum v - lr g; w += v, or with nesterov w += momentum v - lr g
  float* v;
  float momentum;
  bool nesterov;
};

struct AdagradStep : Update {  // a += g^2; w -= lr g / sqrt(a + epsilon), or / (sqrt(a) + epsilon) if outside
  float* a;
  float epsilon;
  bool outside;
};

// v = rho v + (1 - rho) g^2; centered (mean not null): mean = rho mean + (1 - rho) g, d = max(v - mean^2, 0) + epsilon (rounding
// may take the difference below 0), else d = v + epsilon;
// u = lr g / sqrt(d) (if outside d is without epsilon, and the divisor sqrt(d) + epsilon); with momentum (velocity not null)
// velocity = momentum velocity + u, u = velocity; w -= u.
struct RmspropStep : Update {
  float* v;
  float* mean;
  float* velocity;
  double rho;
  float momentum, epsilon;
  bool outside;
};

// a = rho a + (1 - rho) g^2; u = g sqrt(d + epsilon) / sqrt(a + epsilon); d = rho d + (1 - rho) u^2; w -= lr u.
struct AdadeltaStep : Update {
  float* a;
  float* d;
  double rho;
  float epsilon;
};

// In the following t = iterations[0] + 1; what depends on t alone is computed in double.

// m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); amsgrad (vhat not null): vhat = max(vhat, v), v = vhat;
// w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + epsilon).
struct AdamStep : Update {
  float* m;
  float* v;
  float* vhat;
  const index_t* iterations;
  double beta_1, beta_2;
  float epsilon;
};

// m as above; u = max(beta_2 u, |g|); w -= lr / (1 - beta_1^t) m / (u + epsilon).
struct AdamaxStep : Update {
  float* m;
  float* u;
  const index_t* iterations;
  double beta_1, beta_2;
  float epsilon;
};

// m, v as above; b(s) = beta_1 (1 - 0.96^s / 2), B(s) = b(1) ... b(s);
// w -= lr (b(t+1) / (1 - B(t+1)) m + (1 - b(t)) / (1 - B(t)) g) / (sqrt(v / (1 - beta_2^t)) + epsilon).
struct NadamStep : Update {
  float* m;
  float* v;
  const index_t* iterations;
  double beta_1, beta_2;
  float epsilon;
};

// m, v as above; u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon); w -= lr r u, r = |w| / |u| (norms of the whole
// arrays, of w after its decay), 1 where one of them is 0.
struct LambStep : Update {
  float* m;
  float* v;
  const index_t* iterations;
  double beta_1, beta_2;
  float epsilon;
};

struct LionStep : Update {  // w -= lr sign(beta_1 m + (1 - beta_1) g); m = beta_2 m + (1 - beta_2) g
  float* m;
  double beta_1, beta_2;
};

// p = -power; b = a + g^2; z += g + 2 shrinkage w - (b^p - a^p) / lr w; a = b;
// w = (min(max(z, -l1), l1) - z) / (b^p / lr + 2 l2 + beta / lr), w as it was where that divisor is 0. Nothing happens if lr is 0.
struct FtrlStep : Update {
  float* a;
  float* z;
  float power, l1, l2, shrinkage, beta;
};

// w is `blocks` matrices of rows x cols; h = t^beta_2_decay; s = g^2 + epsilon_1. Each matrix keeps the means of s over its rows
// and columns: row = (1 - h) row + h mean over cols of s, column = (1 - h) column + h mean over rows of s, v = row column / mean of
// row. With row null (a vector, blocks = rows = 1) v itself is kept in column: v = (1 - h) v + h s.
// u = g / sqrt(v); w -= max(epsilon_2, rms(w)) min(lr, 1 / sqrt(t)) u / max(1, rms(u) / clip_threshold), rms over all of w.
// The source is not looked at: the gradient is g.
struct AdafactorStep : Update {
  float* row;
  float* column;
  index_t blocks, rows, cols;
  const index_t* iterations;
  double beta_2_decay;
  float epsilon_1, epsilon_2, clip_threshold;
};

// m = momentum m + g; u = m, or g + momentum m with nesterov.
struct MuonMomentum {
  const float* g;
  float* m;
  float* u;
  index_t n;
  float momentum;
  bool nesterov;
  GradientSource source;
  float* scratch;
  int slots;
};

// y = the gradient that its source describes.
struct PrepareGradient {
  const float* g;
  float* y;
  index_t n;
  GradientSource source;
  float* scratch;
  int slots;
};

// sum[0] = sum of x y in double: chunks of 4096, added up in order.
struct Dot {
  const float* x;
  const float* y;
  double* sum;
  index_t n;
  float* scratch;
};

// factors[i] = scale limit / max(scale r, limit), r = sqrt(squares[i]), for i < count; with joint factors[0] alone, of the root of
// the sum of the squares, and NaN if that is infinite.
struct ClipFactors {
  const double* squares;
  float* factors;
  index_t count;
  float scale, limit;
  bool joint;
};

// factor[0] = 1 / (sqrt(square[0]) + epsilon).
struct InverseNorm {
  const double* square;
  float* factor;
  float epsilon;
};

// rate[0] = rates[counter[0] - first[0]], the nearest one there is if that lies outside of the `count` rates.
struct TakeRate {
  const float* rates;
  const index_t* first;
  const index_t* counter;
  float* rate;
  index_t count;
};

// average = w where iterations[0] is 0, else average += (w - average) (1 - momentum).
struct MovingAverage {
  const float* w;
  float* average;
  const index_t* iterations;
  index_t n;
  double momentum;
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

// Regularizers: state[0] += rows scale (l1 sum |x| + l2 sum x^2), state[1] += count (state: or null);
// dx = dy + scale (l1 sign(x) + 2 l2 x), sign(0) = 0 (dx: or null; dy: or null for 0; dx may be dy).
struct Penalty {
  const float* x;
  const float* dy;
  float* dx;
  index_t n;
  float l1, l2, scale;
  double* state;
  double rows, count;
  float* scratch;
};

// Each column of w (rows x cols) times (rate min(max(norm, low), high) + (1 - rate) norm) / (norm + 1e-7), in place; norm: the root
// of the sum of its squares.
struct ClipNorms {
  float* w;
  index_t rows, cols;
  float low, high, rate;
};

// y = (x - mean) rstd gamma + beta, row by row, rstd = 1 / sqrt(variance + epsilon), the mean and the biased variance of each row
// of cols >= 1 numbers by two passes; not centered: mean = 0, and the mean square is the variance. gamma, beta: cols values, or
// null (1, 0).
struct LayerNormForward {
  const float* x;
  const float* gamma;
  const float* beta;
  float* y;
  float* mean;
  float* rstd;
  index_t rows, cols;
  float epsilon;
  bool centered;
};

// xhat = (x - mean) rstd; g = gamma dy; dx = rstd (g - mean of g - xhat mean of (g xhat)), means over the row, the first one 0
// where not centered; dgamma = sum over the rows of dy xhat, dbeta = that of dy (each or null).
struct LayerNormBackward {
  const float* x;
  const float* dy;
  const float* gamma;
  const float* mean;
  const float* rstd;
  float* dx;
  float* dgamma;
  float* dbeta;
  index_t rows, cols;
  bool centered;
  float* scratch;
};

// x (samples x positions x channels), channels = groups width: mean and variance of each group of each sample over its positions
// and channels; y = (x - mean) rstd gamma + beta with gamma, beta (or null: 1, 0) of each channel; mean, rstd (samples x groups).
// positions, width >= 1.
struct GroupNormForward {
  const float* x;
  const float* gamma;
  const float* beta;
  float* y;
  float* mean;
  float* rstd;
  index_t samples, positions, groups, width;
  float epsilon;
  float* scratch;
  int slots;
};

// As for LayerNormBackward, over the elements of a group; dgamma, dbeta: one value a channel, or null.
struct GroupNormBackward {
  const float* x;
  const float* dy;
  const float* gamma;
  const float* mean;
  const float* rstd;
  float* dx;
  float* dgamma;
  float* dbeta;
  index_t samples, positions, groups, width;
  float* scratch;
  int slots;
};

// keep[i] = 1 where dropout (see DropoutForward) would keep element i, 0 elsewhere; counter[0] is increased by one.
struct RandomKeep {
  float* keep;
  index_t n;
  float rate;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
};

// y[o, r, i] = scale x[o, r, i] + shift where keep[o, i] is not 0, fill elsewhere; x, y (outer x repeat x inner); y may be x.
struct ApplyKeep {
  const float* x;
  const float* keep;
  float* y;
  index_t outer, repeat, inner;
  float scale, shift, fill;
};

// y = x + stddev z, or x (1 + stddev z) with multiply; z: normal numbers. Element i takes word i mod 4 of the Philox block of
// counter (index / 4 low word, high word, stream, step), key = seed: its low 31 bits b give |z| as the number that a normal
// variable exceeds with probability (b + 1/2) 2^-32, its highest bit the sign. step = low word of counter[0], which is copied to
// used[0] and then increased by one. y may be x.
struct GaussianForward {
  const float* x;
  float* y;
  index_t n;
  float stddev;
  bool multiply;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
  std::uint64_t* used;
};

// dx = dy (1 + stddev z) with the numbers of the forward pass with step = used[0], multiply; dx may be dy.
struct GaussianBackward {
  const float* dy;
  float* dx;
  index_t n;
  float stddev;
  std::uint64_t seed;
  std::uint32_t stream;
  const std::uint64_t* used;
};

// mask = 1 for rows with an element that is not `value` (a NaN is not), 0 for the others; y = x, 0 in rows whose mask is 0.
struct MaskRows {
  const float* x;
  float* y;
  float* mask;
  index_t rows, cols;
  float value;
};

// out = weights (or null: 1) where mask is not 0, else 0; with rescale times n / (how many are not 0).
struct MaskWeights {
  const float* mask;
  const float* weights;
  float* out;
  index_t n;
  bool rescale;
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

// y[n, i, j, k, c] = x[n, i + offset[0], j + offset[1], k + offset[2], c] where that lies inside of x, value elsewhere: offsets
// below 0 pad, those above crop. x (N, size, C), y (N, out, C).
struct CropPad {
  const float* x;
  float* y;
  index_t N, C;
  index_t size[3], out[3], offset[3];
  float value;
};

// A sparse matrix by rows: row i has the entries start[i], ..., start[i + 1] - 1, each a column and a weight.
struct Taps {
  const std::int32_t* start;
  const std::int32_t* column;
  const float* weight;
};

// y[n, p, q, c] = sum over the entries (h, v) of row p of `rows` and (w, u) of row q of `columns` of v u x[n, h, w, c], first over
// h, then over w; 0 where there are none. x (N, H, W, C), y (N, P, Q, C). With both matrices transposed it is its own gradient.
struct Resample2d {
  const float* x;
  float* y;
  Taps rows, columns;
  index_t N, H, W, C, P, Q;
  float* scratch;
  int slots;
};

// What images are beyond their border: a constant; their last pixel; d c b a | a b c d | d c b a; d c b | a b c d | c b a;
// a b c d | a b c d | a b c d.
enum class Border : std::int32_t { constant, nearest, reflect, mirror, wrap };

// Where pixels come from: pixel (p, q) of image n of an output P x Q from h = m[0] p + m[1] q + m[2], w = m[3] p + m[4] q + m[5] of
// its input H x W, m = matrices + 6 n; both are rounded to multiples of 2^-24, so that the rounding of m decides nothing. bilinear:
// between the four pixels around (h, w), those of weight 0 not being looked at; else from the nearest one, halves away from 0.
struct Affine2dShape {
  index_t N, H, W, C, P, Q;
  const double* matrices;
  Border border;
  bool bilinear;
};

// value: of pixels beyond the border, with Border::constant.
struct Affine2dForward {
  Affine2dShape s;
  const float* x;
  float* y;
  float value;
};

// dx = the transpose of the map from x to y, applied to dy.
struct Affine2dBackward {
  Affine2dShape s;
  const float* dy;
  float* dx;
};

// m of N images from eight numbers u in [0, 1) each: flipped up-down where flips and u[0] < 1/2, left-right where u[1] < 1/2,
// turned by angle (in turns, from u[2]), rows and columns zoomed (u[3], u[4]; together: u[3] for both), all about the center, and
// moved by shares of the image's size (u[5], u[6]). Ranges are [low, high): low + u (high - low). crop: instead of all that the
// output is a part of the input, from pixel (floor(u[5] (H - P + 1)), floor(u[6] (W - Q + 1))) on.
struct RandomAffine {
  const float* u;
  double* m;
  index_t N, H, W, P, Q;
  bool flip_rows, flip_columns, together, crop;
  double angle[2], zoom_rows[2], zoom_columns[2], shift_rows[2], shift_columns[2];
};

// u[i] = the upper 24 bits of Philox word i, as a number in [0, 1): key and counter as in DropoutForward, but for index / 4 in
// place of index / 8. counter[0] is then increased by one.
struct RandomUniform {
  float* u;
  index_t n;
  std::uint64_t seed;
  std::uint32_t stream;
  std::uint64_t* counter;
};

// A rectangle [top, bottom) x [left, right) of each of N images H x W from eight numbers u in [0, 1).
// shares: its height and width are sqrt(low + u (high - low)) of the image's, from u[0] and u[1], area = {low, high}; it begins at
// u[2], u[3] times what is left, and its pixels are those whose numbers lie inside. Else it has `rows` x `columns` pixels, is
// centered at pixel (floor(u[2] H), floor(u[3] W)) and ends at the border. Empty unless u[5] < low + u[4] (high - low), chance
// = {low, high}.
struct RandomRectangles {
  const float* u;
  std::int32_t* rectangles;
  index_t N, H, W;
  bool shares;
  double area[2], chance[2];
  index_t rows, columns;
};

// y = x outside of the rectangle (top, bottom, left, right) of each image; inside of it value[c], or, with noise (of the shape of
// x), low + noise (high - low). x (N, H, W, C).
struct Erase {
  const float* x;
  const std::int32_t* rectangles;
  const float* value;
  const float* noise;
  float* y;
  index_t N, H, W, C;
  float low, high;
};

// With mean (N, C): y = a (x - mean) + mean; without: y = x + a; then clipped to [lower, upper]. a of each image is
// low + u[n] (high - low). x (N, pixels, C).
struct AdjustForward {
  const float* x;
  const float* mean;
  const float* u;
  float* y;
  index_t N, pixels, C;
  float low, high, lower, upper;
};

// dz = dy where the forward pass did not clip, 0 elsewhere.
struct AdjustBackward {
  AdjustForward f;
  const float* dy;
  float* dz;
};

// y[i] = row ids[i] of table (V x D), NaN for what is not a row's number.
struct EmbeddingForward {
  const float* ids;
  const float* table;
  float* y;
  index_t n, V, D;
};

// dtable[v] = sum of dy[i] over the i with ids[i] == v, in order.
struct EmbeddingBackward {
  const float* ids;
  const float* dy;
  float* dtable;
  index_t n, V, D;
};

// dx[n, p, q, c] = dy[n, h, w, c] at the place that the index of max_pool2d_forward says; the gradient of what is put there.
struct MaxUnpool2dBackward {
  Pool2dShape s;
  const float* dy;
  const std::uint8_t* index;
  const std::int32_t* wide_index;
  float* dx;
};

// What will be read soon.
struct Coming {
  const float* first;
  index_t floats;
};
constexpr int kMostComing = 12;  // of an ImageRange

// Some images of a batch on their way through several kernels (depth_first.h): [begin, end) of `count`. The batch is cut into
// `units` runs; the images of a run come in order, in one slot. Kernels that compute long enough fetch meanwhile what is coming.
struct ImageRange {
  index_t count, units, unit, begin, end;
  int slot;  // < slots
  const Coming* coming;
  int coming_count;
};

// The first image of a unit; unit = units: the end of the last.
inline index_t unit_begin(index_t images, index_t units, index_t unit) { return unit * images / units; }

// A kernel, or a part of one, cut into calls for some images each: the same bits, in any cut. `prepare` comes before the first
// image and `finish` after the last; both may be null. `fetches`: whether a call fetches what is coming; null: it does not.
template <class Args>
struct ByImages {
  bool (*possible)(const Args&, index_t images, index_t units);  // images > 0 divide the rows, 0 < units <= images
  bool (*fetches)(const Args&);
  void (*prepare)(const Args&);
  void (*images)(const Args&, const ImageRange&);
  void (*finish)(const Args&, index_t images, index_t units);
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
  ByImages<Conv2dForward> conv2d_forward_by_images;
  ByImages<Conv2dBackwardInput> conv2d_backward_input_by_images;
  ByImages<Conv2dBackwardFilter> conv2d_backward_filter_by_images;
  void (*conv2d_transpose_forward)(const Conv2dTransposeForward&);
  index_t (*conv2d_transpose_forward_scratch)(const Conv2dTransposeForward&);
  void (*unfold_depth)(const UnfoldDepth&);
  void (*fold_depth)(const FoldDepth&);

  void (*max_pool2d_forward)(const MaxPool2dForward&);
  void (*max_pool2d_backward)(const MaxPool2dBackward&);
  void (*avg_pool2d_forward)(const AvgPool2dForward&);
  void (*avg_pool2d_backward)(const AvgPool2dBackward&);
  void (*max_pooled_conv2d_forward)(const MaxPooledConv2dForward&);
  index_t (*max_pooled_conv2d_forward_scratch)(const MaxPooledConv2dForward&);
  void (*max_pooled_conv2d_backward_input)(const MaxPooledConv2dBackwardInput&);
  index_t (*max_pooled_conv2d_backward_input_scratch)(const MaxPooledConv2dBackwardInput&);
  void (*max_pooled_conv2d_backward_filter)(const MaxPooledConv2dBackwardFilter&);
  index_t (*max_pooled_conv2d_backward_filter_scratch)(const MaxPooledConv2dBackwardFilter&);
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
  ByImages<BatchNormForward> batch_norm_forward_statistics, batch_norm_forward_apply;  // one after the other
  ByImages<BatchNormInference> batch_norm_inference_by_images;
  ByImages<BatchNormBackward> batch_norm_backward_sums, batch_norm_backward_apply;

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
  void (*score_rows)(const ScoreRows&);
  void (*count_outcomes)(const CountOutcomes&);
  void (*keep_largest)(const KeepLargest&);
  void (*count_pairs)(const CountPairs&);
  void (*moments_update)(const MomentsUpdate&);

  void (*sgd_step)(const SgdStep&);
  index_t (*sgd_step_scratch)(const SgdStep&);
  void (*momentum_step)(const MomentumStep&);
  index_t (*momentum_step_scratch)(const MomentumStep&);
  void (*adagrad_step)(const AdagradStep&);
  index_t (*adagrad_step_scratch)(const AdagradStep&);
  void (*rmsprop_step)(const RmspropStep&);
  index_t (*rmsprop_step_scratch)(const RmspropStep&);
  void (*adadelta_step)(const AdadeltaStep&);
  index_t (*adadelta_step_scratch)(const AdadeltaStep&);
  void (*adam_step)(const AdamStep&);
  index_t (*adam_step_scratch)(const AdamStep&);
  void (*adamax_step)(const AdamaxStep&);
  index_t (*adamax_step_scratch)(const AdamaxStep&);
  void (*nadam_step)(const NadamStep&);
  index_t (*nadam_step_scratch)(const NadamStep&);
  void (*lamb_step)(const LambStep&);
  index_t (*lamb_step_scratch)(const LambStep&);
  void (*lion_step)(const LionStep&);
  index_t (*lion_step_scratch)(const LionStep&);
  void (*ftrl_step)(const FtrlStep&);
  index_t (*ftrl_step_scratch)(const FtrlStep&);
  void (*adafactor_step)(const AdafactorStep&);
  index_t (*adafactor_step_scratch)(const AdafactorStep&);
  void (*muon_momentum)(const MuonMomentum&);
  index_t (*muon_momentum_scratch)(const MuonMomentum&);
  void (*prepare_gradient)(const PrepareGradient&);
  index_t (*prepare_gradient_scratch)(const PrepareGradient&);
  void (*dot)(const Dot&);
  index_t (*dot_scratch)(const Dot&);
  void (*clip_factors)(const ClipFactors&);
  void (*inverse_norm)(const InverseNorm&);
  void (*take_rate)(const TakeRate&);
  void (*moving_average)(const MovingAverage&);

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

  void (*crop_pad)(const CropPad&);
  void (*resample2d)(const Resample2d&);
  index_t (*resample2d_scratch)(const Resample2d&);
  void (*affine2d_forward)(const Affine2dForward&);
  void (*affine2d_backward)(const Affine2dBackward&);
  void (*random_affine)(const RandomAffine&);
  void (*random_uniform)(const RandomUniform&);
  void (*random_rectangles)(const RandomRectangles&);
  void (*erase)(const Erase&);
  void (*adjust_forward)(const AdjustForward&);
  void (*adjust_backward)(const AdjustBackward&);
  void (*embedding_forward)(const EmbeddingForward&);
  void (*embedding_backward)(const EmbeddingBackward&);
  void (*max_unpool2d_backward)(const MaxUnpool2dBackward&);
  void (*penalty)(const Penalty&);
  index_t (*penalty_scratch)(const Penalty&);
  void (*clip_norms)(const ClipNorms&);
  void (*layer_norm_forward)(const LayerNormForward&);
  void (*layer_norm_backward)(const LayerNormBackward&);
  index_t (*layer_norm_backward_scratch)(const LayerNormBackward&);
  void (*group_norm_forward)(const GroupNormForward&);
  index_t (*group_norm_forward_scratch)(const GroupNormForward&);
  void (*group_norm_backward)(const GroupNormBackward&);
  index_t (*group_norm_backward_scratch)(const GroupNormBackward&);
  void (*random_keep)(const RandomKeep&);
  void (*apply_keep)(const ApplyKeep&);
  void (*gaussian_forward)(const GaussianForward&);
  void (*gaussian_backward)(const GaussianBackward&);
  void (*mask_rows)(const MaskRows&);
  void (*mask_weights)(const MaskWeights&);

  void (*multiply_add_probe)(const MultiplyAddProbe&);
  index_t (*multiply_add_probe_flops)();
  void (*triad_probe)(const TriadProbe&);
};

}  // namespace fastnn
