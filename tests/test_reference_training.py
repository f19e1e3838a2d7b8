"""The parts of the NumPy twin that training adds to the layers: dropout, losses, metrics, optimizers, data."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from gradcheck import assert_gradient, normal

from fastnn import reference as ref
from fastnn.reference.random import philox4x32

EXACT = {"rtol": 1e-12, "atol": 1e-13}  # float64 against float64: a few hundred roundings of 1e-16

# ---- dropout ----


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # the known answers published with Random123
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox(counter, key, expected):
    words = philox4x32(np.array([counter, counter], np.uint64), key)
    assert words.dtype == np.uint32
    assert words.tolist() == [list(expected)] * 2


def sixteen_bits(i, seed, stream, step):
    """Return the number that decides about element i."""
    words = philox4x32(np.array([[i // 8, 0, stream, step]], np.uint64), (seed & 0xFFFFFFFF, seed >> 32))
    word = int(words[0, i % 8 // 2])
    return word >> 16 if i % 2 else word & 0xFFFF


@pytest.mark.parametrize(
    ("rate", "threshold"), [(0.0, 0), (0.25, 16384), (0.1, 6554), (0.5 / 65536, 1), (0.9999999, 65536)]
)
def test_dropout_keeps_by_the_numbers(rate, threshold):
    seed, stream, step = 0x0123456789ABCDEF, 7, 2**40 + 5
    x, counter = normal(5, 9, 3), np.array([step], np.uint64)
    y, kept = ref.dropout_forward(x, rate, seed, stream, counter)
    assert int(counter[0]) == step + 1
    for i, (before, after) in enumerate(zip(x.ravel(), y.ravel(), strict=True)):
        number = sixteen_bits(i, seed, stream, 5)  # the low word of the step
        assert after == (before * np.float32(65536 / (65536 - threshold)) if number >= threshold else 0)
        assert (kept[i // 8] >> i % 8) & 1 == (number >= threshold)
    assert kept.size == (x.size + 7) // 8
    np.testing.assert_array_equal(ref.dropout_backward(x, kept, rate), y)


def test_dropout_keeps_a_number_equal_to_the_threshold():
    threshold = sixteen_bits(13, 1, 2, 3)
    y, _ = ref.dropout_forward(np.ones(14), threshold / 65536, 1, 2, np.array([3], np.uint64))
    assert y[13] > 0


def test_dropout_statistics():
    ones, counter = np.ones(80000, np.float32), np.array([0], np.uint64)
    masks = [ref.dropout_forward(ones, 0.3, 1, stream, counter)[0] != 0 for stream in (0, 0, 1)]
    for mask in masks:
        assert abs(mask.mean() - 0.7) < 4 * math.sqrt(0.21 / ones.size)
    for first, second in ((0, 1), (0, 2), (1, 2)):  # another step, another stream: independent
        assert abs((masks[first] & masks[second]).mean() - 0.49) < 4 * math.sqrt(0.25 / ones.size)


def test_dropout_drops_what_is_not_finite():
    x = np.array([np.nan, np.inf, -np.inf] * 40)
    y, _ = ref.dropout_forward(x, 0.5, 3, 0, np.array([0], np.uint64))
    assert 30 < np.count_nonzero(y == 0) < 90


# ---- losses and metrics ----

LOGITS, LABELS = normal(4, 3), np.array([2, 0, 0, 1], np.int32)
SHARES = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.7, 0.7, 0.1], [0.0, 0.0, 0.0]])
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.0])
SCALE = 0.25


def softmax_by_hand(logits):
    return [[math.exp(v) / sum(math.exp(w) for w in row) for v in row] for row in logits]


def entropy_by_hand(p, t, weights):
    return [
        weight * -sum(tj * math.log(pj) for pj, tj in zip(p_row, t_row, strict=True))
        for p_row, t_row, weight in zip(p, t, weights, strict=True)
    ]


@pytest.mark.parametrize("y_true", [LABELS, SHARES], ids=["labels", "targets"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
def test_softmax_cross_entropy_and_cross_entropy(y_true, weights):
    targets = np.eye(3)[y_true] if y_true.ndim == 1 else y_true
    p = np.array(softmax_by_hand(LOGITS))
    expected = entropy_by_hand(p, targets, np.ones(4) if weights is None else weights)

    probs, losses, dlogits = ref.softmax_cross_entropy(LOGITS, y_true, weights, scale=SCALE)
    np.testing.assert_allclose(probs, p, **EXACT)
    np.testing.assert_allclose(losses, expected, **EXACT)
    assert_gradient(
        lambda z: SCALE * ref.softmax_cross_entropy(z, y_true, weights, scale=SCALE)[1].sum(), LOGITS, dlogits
    )
    losses, dprobs = ref.cross_entropy(p, y_true, weights, scale=SCALE)
    np.testing.assert_allclose(losses, expected, **EXACT)
    assert_gradient(lambda z: SCALE * ref.cross_entropy(z, y_true, weights, scale=SCALE)[0].sum(), p, dprobs)

    assert ref.softmax_cross_entropy(LOGITS, y_true, scale=1.0, need_gradient=False)[2] is None
    assert ref.cross_entropy(p, y_true, scale=1.0, need_gradient=False)[1] is None


def test_cross_entropy_published_value():
    losses, _ = ref.cross_entropy(np.array([[0.21, 0.79]]), np.array([0], np.int32), scale=1.0)
    assert losses[0] == pytest.approx(1.5606, abs=5e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cross_entropies_far_out(dtype):
    logits = np.array([[1e8, 0, -1e8], [1000, -1000, -np.inf], [5, 5, 5]], dtype)
    labels = np.array([1, 0, 2], np.int32)
    targets = np.eye(3, dtype=dtype)[labels]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for y_true in (labels, targets):
            probs, losses, dlogits = ref.softmax_cross_entropy(logits, y_true, scale=1.0)
            np.testing.assert_allclose(losses, [1e8, 0, math.log(3)], rtol=1e-6)
            np.testing.assert_allclose(dlogits, probs - targets)
        binary = np.array([[1e8, -1e8, 1000, -1000, 0]], dtype)
        probs, losses, dlogits = ref.sigmoid_cross_entropy(binary, np.array([[1, 0, 0, 1, 1]], dtype), scale=1.0)
        np.testing.assert_allclose(losses, [(2000 + math.log(2)) / 5], rtol=1e-6)
        np.testing.assert_allclose(dlogits, [[0, 0, 0.2, -0.2, -0.1]], rtol=1e-6)

        sure = np.array([[0, 1, 1, 0]], dtype)
        truth = np.array([[1, 1, 0, 0]], dtype)
        worst = -math.log(1e-7) if dtype is np.float64 else -math.log(2.0**-23)  # float32 rounds 1 - 1e-7
        losses, slope = ref.elementwise_loss("binary_crossentropy", sure, truth, scale=1.0)
        np.testing.assert_allclose(losses, [(-math.log(1e-7) + worst) / 4], rtol=1e-6)
        np.testing.assert_array_equal(slope, np.zeros_like(sure))
        losses, slope = ref.cross_entropy(sure, truth, scale=1.0)
        np.testing.assert_allclose(losses, [-math.log(1e-7)], rtol=1e-6)
        np.testing.assert_array_equal(slope, np.zeros_like(sure))


def entropy(p, t):
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


DELTA, GAMMA, ONE, ZERO = 0.3, 1.5, 0.3, 0.6
ELEMENT_LOSSES = {
    "squared_error": lambda p, t: (p - t) ** 2,
    "absolute_error": lambda p, t: abs(p - t),
    "half_squared_error": lambda p, t: (p - t) ** 2 / 2,
    "absolute_percentage_error": lambda p, t: 100 * abs((p - t) / t),
    "squared_logarithmic_error": lambda p, t: (math.log(1 + p) - math.log(1 + t)) ** 2,
    "huber": lambda p, t: (p - t) ** 2 / 2 if abs(p - t) <= DELTA else DELTA * abs(p - t) - DELTA**2 / 2,
    "log_cosh": lambda p, t: math.log(math.cosh(p - t)),
    "hinge": lambda p, t: max(1 - t * p, 0),
    "squared_hinge": lambda p, t: max(1 - t * p, 0) ** 2,
    "poisson": lambda p, t: p - t * math.log(p + 1e-7),
    "kl_divergence": lambda p, t: t * math.log(t / p),
    "negative_product": lambda p, t: -t * p,
    "binary_crossentropy": entropy,
    "binary_focal": lambda p, t: (t * ONE + (1 - t) * ZERO) * (t * (1 - p) + (1 - t) * p) ** GAMMA * entropy(p, t),
    "categorical_focal": lambda p, t: -ONE * (1 - p) ** GAMMA * t * math.log(p),
}
NUMBERS = {"delta": DELTA, "gamma": GAMMA, "class_weights": (ONE, ZERO)}


def test_every_elementwise_loss_has_a_formula():
    assert tuple(ELEMENT_LOSSES) == ref.ELEMENT_LOSSES


@pytest.mark.parametrize("kind", ELEMENT_LOSSES)
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("sum_rows", [False, True], ids=["mean", "sum"])
def test_elementwise_losses(kind, weights, sum_rows):
    logits = normal(4, 5)
    p, truth = 1 / (1 + np.exp(-logits)), 1 / (1 + np.exp(-2 * normal(4, 5, seed=1)))
    factor, options = np.ones(4) if weights is None else weights, {**NUMBERS, "sum_rows": sum_rows}
    expected = factor * np.vectorize(ELEMENT_LOSSES[kind])(p, truth).sum(1) / (1 if sum_rows else 5)
    losses, dpred = ref.elementwise_loss(kind, p, truth, weights, scale=SCALE, **options)
    np.testing.assert_allclose(losses, expected, **EXACT)
    assert_gradient(
        lambda z: SCALE * ref.elementwise_loss(kind, z, truth, weights, scale=SCALE, **options)[0].sum(), p, dpred
    )
    assert ref.elementwise_loss(kind, p, truth, scale=1.0, need_gradient=False)[1] is None
    if kind == "absolute_error":
        assert ref.elementwise_loss(kind, p, p, scale=1.0)[1].any() == 0
    if kind == "binary_crossentropy" and not sum_rows:
        probs, losses, dlogits = ref.sigmoid_cross_entropy(logits, truth, weights, scale=SCALE)
        np.testing.assert_allclose(probs, p, **EXACT)
        np.testing.assert_allclose(losses, expected, **EXACT)
        assert_gradient(
            lambda z: SCALE * ref.sigmoid_cross_entropy(z, truth, weights, scale=SCALE)[1].sum(), logits, dlogits
        )


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_losses_on_logits(weights, gamma):
    x, truth = normal(4, 5), 1 / (1 + np.exp(-2 * normal(4, 5, seed=1)))
    options = {"scale": SCALE, "gamma": gamma}
    p, losses, dlogits = ref.sigmoid_focal(x, truth, weights, class_weights=(ONE, ZERO), **options)
    np.testing.assert_allclose(p, 1 / (1 + np.exp(-x)), **EXACT)
    on_shares = ref.elementwise_loss("binary_focal", p, truth, weights, class_weights=(ONE, ZERO), **options)
    np.testing.assert_allclose(losses, on_shares[0], **EXACT)
    np.testing.assert_allclose(dlogits, on_shares[1] * p * (1 - p), rtol=1e-9)

    p, losses, dlogits = ref.softmax_focal(x, truth, weights, alpha=ONE, **options)
    np.testing.assert_allclose(p, ref.softmax_forward(x), **EXACT)
    on_shares = ref.elementwise_loss(
        "categorical_focal", p, truth, weights, class_weights=(ONE, ONE), sum_rows=True, **options
    )
    np.testing.assert_allclose(losses, on_shares[0], **EXACT)
    np.testing.assert_allclose(dlogits, ref.softmax_backward(on_shares[1], p), rtol=1e-9, atol=1e-15)


def test_categorical_hinge():
    p, truth = normal(6, 5), np.eye(5)[[0, 3, 1, 4, 4, 2]]
    p[3, 4] = 9.0  # far enough from the others
    losses, dpred = ref.categorical_hinge(p, truth, scale=SCALE)
    for i, label in enumerate(truth.argmax(1)):
        others = [p[i, j] for j in range(5) if j != label]
        assert losses[i] == pytest.approx(max(max(*others, 0.0) - p[i, label] + 1, 0))  # 0 is (1 - 1) p
    assert losses[3] == 0
    assert not dpred[3].any()
    assert_gradient(lambda z: SCALE * ref.categorical_hinge(z, truth, scale=SCALE)[0].sum(), p, dpred)


def test_weights_of_rows():
    w, labels = np.array([1.0, 2.0, 4.0, 1.0]), np.array([0, -1, 2, 0], np.int32)
    for mean_of_one, factor in ((False, 1.0), (True, 4 / 8)):
        np.testing.assert_allclose(ref.row_weights(4, w, mean_of_one=mean_of_one)[0], factor * w)
    counting, kept = ref.row_weights(4, w, mean_of_one=True, labels=labels, ignored=-1)
    np.testing.assert_allclose(counting, [4 / 6, 0, 16 / 6, 4 / 6])
    np.testing.assert_array_equal(kept, [0, 0, 2, 0])
    np.testing.assert_allclose(
        ref.row_weights(4, mean_of_one=True, labels=labels, ignored=-1)[0], [4 / 3, 0, 4 / 3, 4 / 3], rtol=1e-6
    )
    np.testing.assert_array_equal(
        ref.row_weights(2, mean_of_one=True, labels=labels[1:2].repeat(2), ignored=-1)[0], [0, 0]
    )


def test_smooth_and_signed_targets():
    np.testing.assert_allclose(ref.smooth_targets(np.array([0.0, 1.0]), 0.9, 0.05), [0.05, 0.95])
    np.testing.assert_array_equal(ref.signed_labels(np.array([0.0, 1.0, 1.0])), [-1, 1, 1])
    np.testing.assert_array_equal(ref.signed_labels(np.array([-1.0, 1.0, 0.0])), [-1, 1, 0])


def test_metrics():
    state = np.array([2.0**24, 3.0])
    ref.mean_update(np.array([1, 1, 0.5], np.float32), state)
    np.testing.assert_array_equal(state, [2**24 + 2.5, 6])

    pred = np.array([[1, 3, 3], [0, 0, -1], [0.2, 0.1, 0.6]])
    state = np.zeros(2)
    ref.count_matches("sparse", pred, np.array([1, 1, 2], np.int32), state)  # the first maximum wins
    np.testing.assert_array_equal(state, [2, 3])
    ref.count_matches("categorical", pred, np.array([[0, 1, 0], [0.5, 0.5, 0], [1, 0, 0]]), state)
    np.testing.assert_array_equal(state, [4, 6])
    ref.count_matches("binary", np.array([[0.5, 0.51], [0.9, 0.1]]), np.array([[0.5, 1], [0, 0]]), state)
    np.testing.assert_array_equal(state, [7, 10])
    ref.count_matches("binary", np.array([[0.5, 0.51]]), np.array([[0.0, 1]]), state, threshold=0.6)
    np.testing.assert_array_equal(state, [8, 12])


# ---- optimizers, against the update rules of Keras 3 in plain numbers ----

RATES = (0.1, 0.05, 0.05, 0.2)


def run(step, slots, weight_decay):
    """Do a step per rate on three weights; return them and the slots after each."""
    w, arrays = normal(3), [np.zeros(3) for _ in range(slots)]
    trace = []
    for t, rate in enumerate(RATES):
        step(w, normal(3, seed=10 + t), arrays, np.array([rate]), t, weight_decay)
        trace.append([w.copy(), *(a.copy() for a in arrays)])
    return np.array(trace)  # (step, array, weight)


def run_by_hand(rule, slots, weight_decay):
    """The same, one weight after another: rule(g, slots, rate, t) returns what to add to w and the new slots."""
    trace = np.empty((len(RATES), 1 + slots, 3))
    for i in range(3):
        w, values = float(normal(3)[i]), [0.0] * slots
        for t, rate in enumerate(RATES):
            w = w - w * weight_decay * rate
            change, values = rule(float(normal(3, seed=10 + t)[i]), values, rate, t)
            w = w + change
            trace[t, :, i] = [w, *values]
    return trace


def momentum_rule(g, slots, rate, t, nesterov=False):
    v = 0.9 * slots[0] - rate * g
    return (0.9 * v - rate * g if nesterov else v), [v]


def adagrad_rule(g, slots, rate, t):
    a = slots[0] + g**2
    return -rate * g / math.sqrt(a + 1e-3), [a]


def rmsprop_rule(g, slots, rate, t, centered=False, momentum=0.0):
    v = 0.8 * slots[0] + 0.2 * g**2
    mean = 0.8 * slots[1] + 0.2 * g if centered else 0.0
    velocity = momentum * slots[-1] + rate * g / math.sqrt(v - mean**2 + 1e-3)
    return -velocity, [v, *([mean] if centered else []), *([velocity] if momentum else [])]


def adam_rule(g, slots, rate, t, amsgrad=False):
    m = slots[0] + (g - slots[0]) * (1 - 0.8)
    v = slots[1] + (g**2 - slots[1]) * (1 - 0.6)
    largest = max(slots[2], v) if amsgrad else v
    m_unbiased = m / (1 - 0.8 ** (t + 1))
    root_unbiased = math.sqrt(1 / (1 - 0.6 ** (t + 1)))
    # lr m_unbiased / (sqrt(v_unbiased) + epsilon'), epsilon' = epsilon root_unbiased: the form of the paper
    change = -rate * m_unbiased / (math.sqrt(largest) * root_unbiased + 1e-3 * root_unbiased)
    return change, [m, v, *([largest] if amsgrad else [])]


def adam(w, g, s, lr, t, decay):
    iterations = np.array([t])
    ref.adam_step(
        w, g, s[0], s[1], s[2] if len(s) > 2 else None, lr, iterations,
        beta_1=0.8, beta_2=0.6, epsilon=1e-3, weight_decay=decay,
    )  # fmt: skip
    assert iterations[0] == t


def rmsprop(centered, momentum):
    def step(w, g, s, lr, t, decay):
        mean, velocity = s[1] if centered else None, s[-1] if momentum else None
        ref.rmsprop_step(w, g, s[0], mean, velocity, lr, rho=0.8, momentum=momentum, epsilon=1e-3, weight_decay=decay)

    def rule(g, s, rate, t):
        return rmsprop_rule(g, s, rate, t, centered, momentum)

    return step, rule, 1 + centered + (momentum > 0)


def momentum(nesterov):
    def step(w, g, s, lr, t, decay):
        ref.momentum_step(w, g, s[0], lr, momentum=0.9, nesterov=nesterov, weight_decay=decay)

    return step, lambda g, s, rate, t: momentum_rule(g, s, rate, t, nesterov), 1


OPTIMIZERS = {  # step, rule, number of slots
    "sgd": (
        lambda w, g, s, lr, t, decay: ref.sgd_step(w, g, lr, weight_decay=decay),
        lambda g, s, rate, t: (-rate * g, []),
        0,
    ),
    "momentum": momentum(nesterov=False),
    "nesterov": momentum(nesterov=True),
    "adagrad": (
        lambda w, g, s, lr, t, decay: ref.adagrad_step(w, g, s[0], lr, epsilon=1e-3, weight_decay=decay),
        adagrad_rule,
        1,
    ),
    "rmsprop": rmsprop(centered=False, momentum=0.0),
    "rmsprop centered": rmsprop(centered=True, momentum=0.0),
    "rmsprop momentum": rmsprop(centered=False, momentum=0.7),
    "rmsprop both": rmsprop(centered=True, momentum=0.7),
    "adam": (adam, adam_rule, 2),
    "amsgrad": (adam, lambda g, s, rate, t: adam_rule(g, s, rate, t, amsgrad=True), 3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_optimizer(name, weight_decay):
    step, rule, slots = OPTIMIZERS[name]
    np.testing.assert_allclose(run(step, slots, weight_decay), run_by_hand(rule, slots, weight_decay), **EXACT)


@pytest.mark.parametrize("name", [name for name in ref.__all__ if name.endswith("_step")])
def test_no_weight_decay_unless_asked_for(name):
    assert inspect.signature(getattr(ref, name)).parameters["weight_decay"].default == 0


# ---- data ----


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_gather_rows(dtype):
    source = np.arange(60).reshape(10, 3, 2).astype(dtype)
    order, position = np.array([9, 0, 4, 4, 7, 1, 2, 3, 5, 6]), np.array([2])
    out = ref.gather_rows(source, order, position, 3, scale=0.5)
    assert out.dtype == (np.float32 if dtype == np.uint8 else dtype)
    np.testing.assert_array_equal(out, source[[4, 4, 7]] * (1 if dtype == np.int32 else 0.5))
    in_order = ref.gather_rows(source, None, position, 4)
    np.testing.assert_array_equal(in_order, source[2:6])
    assert not np.shares_memory(in_order, source)


def test_store_rows():
    target = np.zeros((6, 2))
    ref.store_rows(np.array([[1.0, 2], [3, 4]]), target, np.array([3]))
    np.testing.assert_array_equal(target, [[0, 0], [0, 0], [0, 0], [1, 2], [3, 4], [0, 0]])


def test_advance_permute_fill():
    counter = np.array([3])
    ref.advance(counter, 4)
    assert counter[0] == 7
    x = normal(2, 3, 4)
    y = ref.permute(x, (2, 0, 1))
    assert y.flags.c_contiguous
    assert all(y[c, a, b] == x[a, b, c] for a, b, c in np.ndindex(x.shape))
    assert not np.shares_memory(ref.permute(x, (0, 1, 2)), x)
    ref.fill(y, 2.5)
    assert np.all(y == 2.5)
