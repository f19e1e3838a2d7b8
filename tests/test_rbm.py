"""RBM, pretrain: probabilities by enumeration, contrastive divergence by hand, Gibbs sampling, weights of deep nets."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import Array
from gradcheck import normal
from tolerances import assert_bits, assert_close

import fastnn
from fastnn import RBM, Input, Sequential, config, layers, losses, optimizers, pretrain
from fastnn.datasets import digits
from fastnn.layers import Dense, Dropout, Flatten
from fastnn.models import load_model


def states(n: int) -> Array:
    """Return all states of n units, (2^n, n)."""
    return np.array(list(itertools.product([0, 1], repeat=n)), np.float64)


def machine(d: int = 4, units: int = 3, seed: int = 0, **options: Any) -> RBM:
    rbm = RBM(units, seed=seed, **options)
    rbm.build(d)
    for i, p in enumerate((rbm.kernel, rbm.visible_bias, rbm.hidden_bias)):
        p.assign(normal(*p.shape, seed=i))
    return rbm


def joint(rbm: RBM) -> Array:
    """Return p(v, h) of all states by the energy, (2^D, 2^units)."""
    kernel, b, c = (p.value.astype(np.float64) for p in (rbm.kernel, rbm.visible_bias, rbm.hidden_bias))
    v, h = states(len(b)), states(len(c))
    p = np.exp(v @ kernel @ h.T + (v @ b)[:, None] + h @ c)
    return np.asarray(p / p.sum())


def test_probabilities_are_those_of_the_energy(isa: str) -> None:
    rbm = machine()
    p, v, h = joint(rbm), states(4), states(3)
    assert_close(rbm.hidden(v), p @ h / p.sum(1)[:, None], 2e-6)
    assert_close(rbm.visible(h), p.T @ v / p.sum(0)[:, None], 2e-6)
    weight = np.exp(-rbm.free_energy(v).astype(np.float64))
    assert_close(weight / weight.sum(), p.sum(1), 2e-6)
    assert_close(rbm.reconstruct(v), rbm.visible(rbm.hidden(v)), 0.0)


def test_gibbs_sampling_ends_with_the_machine_s_distribution() -> None:
    rbm, n = machine(seed=5), 20_000
    drawn = rbm.gibbs(np.zeros((n, 4)), steps=200)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    counts = np.bincount((drawn @ (8, 4, 2, 1)).astype(int), minlength=16)
    expected = n * joint(rbm).sum(1)
    assert ((counts - expected) ** 2 / expected).sum() < 37.7  # chi squared of 15 degrees: 1 in 1000 is larger


@pytest.mark.parametrize("steps", [1, 3])
def test_a_step_by_hand(isa: str, steps: int) -> None:
    """The same draws, the same sums in NumPy: v^T h - v'^T h', the mean over the batch."""
    rbm = machine(seed=7, steps=steps, optimizer=optimizers.SGD(0.5))
    v: Array = (normal(6, 4) > 0).astype(np.float64)
    kernel, b, c = (p.value.astype(np.float64) for p in (rbm.kernel, rbm.visible_bias, rbm.hidden_bias))
    rng = copy.deepcopy(rbm._rng)
    x, order = v, rng.permutation(6)

    def sigmoid(z: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-z)))

    def draw(p: Array) -> Array:
        return (rng.random(p.shape, np.float32) < p).astype(np.float64)

    v = v[order]
    h = sigmoid(v @ kernel + c)
    ends, first = v, None
    for _ in range(steps):
        p = sigmoid(draw(sigmoid(ends @ kernel + c)) @ kernel.T + b)
        first = p if first is None else first
        ends = draw(p)
    ends_h = sigmoid(ends @ kernel + c)
    error = rbm.fit(x, batch_size=6)
    assert error == [pytest.approx(np.mean((v - first) ** 2), rel=1e-5)]
    assert_close(rbm.kernel.value, kernel + 0.5 * (v.T @ h - ends.T @ ends_h) / 6, 1e-6)
    assert_close(rbm.visible_bias.value, b + 0.5 * (v - ends).mean(0), 1e-6)
    assert_close(rbm.hidden_bias.value, c + 0.5 * (h - ends_h).mean(0), 1e-6)


def test_long_chains_follow_the_likelihood() -> None:
    """With many alternations the mean step is the gradient of log p(v): here E_data[v h] - E_model[v h], by enumeration."""
    v = np.repeat((normal(5, 4, seed=3) > 0).astype(np.float32), 20_000, axis=0)
    rbm = machine(seed=1, steps=60, optimizer=optimizers.SGD(1.0))
    before, p = rbm.kernel.numpy(), joint(rbm)
    expected = v.T.astype(np.float64) @ rbm.hidden(v) / len(v) - states(4).T @ p @ states(3)
    rbm.fit(v, batch_size=len(v))
    assert_close(rbm.kernel.value - before, expected, 0.01)


def test_learning_digits_lowers_the_error_and_the_energy_of_digits() -> None:
    (x, _), (held_out, _) = digits.load_data()
    x, held_out = (images.reshape(len(images), -1) / 16.0 for images in (x, held_out))
    rbm = RBM(32, seed=0)
    errors = rbm.fit(x, epochs=20)
    assert errors[-1] < 0.6 * errors[0]
    assert np.mean(np.diff(errors) < 0) > 0.8
    noise = np.random.default_rng(0).permuted(held_out, axis=1)
    assert rbm.free_energy(held_out).mean() < rbm.free_energy(noise).mean() - 10
    assert np.mean((rbm.reconstruct(held_out) - held_out) ** 2) < 0.05


@pytest.mark.parametrize("backend", ["native", "numpy"])
def test_a_seed_and_any_number_of_threads_give_the_same_bits(backend: str) -> None:
    x = np.random.default_rng(0).random((130, 70))
    found = []
    config.set_backend(backend)
    for threads in (1, 2, 1):
        config.set_num_threads(threads)
        rbm = RBM(90, seed=4)
        rbm.fit(x, epochs=2)
        found.append((rbm.kernel.numpy(), rbm.gibbs(x, 3)))
    for other in found[1:]:
        assert_bits(other[0], found[0][0])
        assert_bits(other[1], found[0][1])


def test_a_layer_starts_from_the_weights(tmp_path: Any) -> None:
    rbm, x = machine(), np.random.default_rng(0).random((9, 4))
    model = Sequential([Input((4,)), rbm.dense(name="first"), Dense(2)])
    assert_bits(np.asarray(model.layers[0](x)), rbm.hidden(x))
    model.layers[0].kernel.value[...] = 0  # type: ignore[union-attr]
    assert rbm.kernel.value.any(), "a copy"
    model.save(tmp_path / "m.fastnn")
    assert load_model(tmp_path / "m.fastnn").layers[0].name == "first"


def test_pretraining_a_deep_net() -> None:
    """Four layers of sigmoids learn next to nothing from Glorot's values in that time, and well from those of machines."""
    (x, y), _ = digits.load_data()
    x = x / 16.0

    def trained(before: bool) -> tuple[float, dict[str, list[float]]]:
        config.set_seed(0)
        hidden = [Dense(40, "sigmoid", name=f"h{i}") for i in range(4)]
        model = Sequential([Input((8, 8)), Flatten(), *hidden, Dropout(0.1), Dense(10, "softmax")])
        model.compile(optimizers.SGD(0.5), losses.SparseCategoricalCrossentropy())
        errors = pretrain(model, x, epochs=15, seed=1) if before else {}
        return model.fit(x, y, epochs=8, verbose=0).history["loss"][-1], errors

    (plain, _), (pretrained, errors) = trained(False), trained(True)
    assert list(errors) == ["h0", "h1", "h2", "h3"]
    assert all(values[-1] < values[0] for values in errors.values())
    assert plain > 2.2
    assert pretrained < 1.5


def test_pretraining_changes_the_hidden_layers_only(capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Input((5,)), Dense(4, "sigmoid", name="one"), Dense(3, "tanh"), Dense(2, "sigmoid")])
    before, x = model.get_weights(), np.random.default_rng(0).random((20, 5))
    errors = pretrain(model, x, epochs=3, seed=2, verbose=1)
    assert list(errors) == ["one"]
    assert len(errors["one"]) == 3
    assert "epoch 3/3: reconstruction error" in capsys.readouterr().out
    for i, (old, new) in enumerate(zip(before, model.get_weights())):
        if i > 1:
            assert_bits(new, old)
        else:
            assert (new != old).any()


def deep(*middle: Any) -> Sequential:
    return Sequential([Input((4,)), Dense(3, "sigmoid"), *middle, Dense(3, "sigmoid"), Dense(1)])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: RBM(0), ValueError, "RBM: expected units to be an integer >= 1, got 0"),
        (lambda: RBM(2, steps=0), ValueError, "RBM: expected steps"),
        (lambda: RBM(2, optimizer="nope"), ValueError, "nope"),
        (lambda: RBM(2, optimizer="lbfgs"), ValueError, "RBM: expected an optimizer that follows gradients, got LBFGS"),
        (lambda: RBM(2).hidden([[0, 1]]), ValueError, "RBM: expected a built machine"),
        (lambda: RBM(2).fit([[0, 2.0]]), ValueError, r"RBM: expected x in \[0, 1\], got 0 to 2; scale the samples"),
        (lambda: RBM(2).fit([[0, np.nan]]), ValueError, "got nan to nan"),
        (lambda: RBM(2).fit(np.zeros((3, 2, 2))), ValueError, r"x of shape \(N, D\), got \(3, 2, 2\); flatten"),
        (lambda: RBM(2).fit(np.zeros((0, 2))), ValueError, "at least one sample"),
        (lambda: RBM(2).fit([["a"]]), TypeError, "real dtype"),
        (lambda: RBM(2).fit([[1.0]], epochs=0), ValueError, "epochs"),
        (lambda: machine().fit(np.zeros((3, 5))), ValueError, r"x of shape \(N, 4\), got \(3, 5\)"),
        (lambda: machine().visible(np.zeros((3, 4))), ValueError, r"h of shape \(N, 3\), got \(3, 4\)"),
        (lambda: machine().gibbs(np.zeros((3, 4)), 0), ValueError, "steps"),
        (lambda: pretrain(Dense(1), [[1.0]]), TypeError, "pretrain: expected a Sequential"),  # type: ignore[arg-type]
        (lambda: pretrain(Sequential([Dense(1)]), [[1.0]]), ValueError, "pretrain: expected a built model"),
        (lambda: pretrain(Sequential([Input((1,)), Dense(1)]), [[1.0]]), ValueError, "before the last layer, got none"),
        (lambda: pretrain(deep(), np.zeros((2, 5))), ValueError, "expected input of shape"),
        (lambda: pretrain(deep(), np.full((2, 4), 9.0)), ValueError, r"x in \[0, 1\]"),
        (
            lambda: pretrain(deep(layers.Rescaling(-1.0)), np.ones((2, 4))),
            ValueError,
            r"x in \[0, 1\], got -",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_an_optimizer_is_copied_and_its_decay_holds() -> None:
    given = optimizers.SGD(0.1, weight_decay=0.5)
    first, second = RBM(3, optimizer=given, seed=0), RBM(3, optimizer=given, seed=0)
    x = np.random.default_rng(0).random((40, 6))
    first.fit(x, epochs=3)
    assert given.store is None
    second.fit(x, epochs=3)
    assert_bits(first.kernel.value, second.kernel.value)
    given.exclude_from_weight_decay(var_names=["kernel", "bias"])
    spared = RBM(3, optimizer=given, seed=0)
    spared.fit(x, epochs=3)
    plain = RBM(3, optimizer=optimizers.SGD(0.1), seed=0)
    plain.fit(x, epochs=3)
    assert np.linalg.norm(first.kernel.value) < np.linalg.norm(plain.kernel.value)
    assert_close(spared.kernel.value, plain.kernel.value, 1e-6)
    assert fastnn.RBM is RBM
