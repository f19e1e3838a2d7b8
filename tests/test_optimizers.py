"""The arguments that all optimizers have, and what single optimizers are defined by."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cases import ObjectCase, every_optimizer
from gradcheck import normal
from tiny import Array, assert_same, blobs, cnn, images, mlp, train
from tolerances import assert_bits, assert_close

from fastnn import config, models, optimizers
from fastnn.optimizers import Optimizer
from fastnn.parameter import Parameter

Make = Callable[[], Optimizer]


def parameters() -> list[Parameter]:
    shapes = {"a/kernel": (7, 5), "a/bias": (5,), "b/kernel": (3, 4, 6)}
    return [Parameter(name, normal(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())]


def gradients(step: int, size: float = 1.0) -> list[Array]:
    return [size * normal(*p.shape, seed=100 + 10 * step + i) for i, p in enumerate(parameters())]


def moved(optimizer: Optimizer, steps: int = 5, **options: Any) -> list[Array]:
    """Return the parameters after some steps."""
    ps = parameters()
    optimizer.build(ps)
    for step in range(steps):
        optimizer.apply(gradients(step, **options), ps)
    return [p.numpy() for p in ps]


def plain(change: Callable[[list[Array]], list[Array]], steps: int = 5, lr: float = 0.1, **options: Any) -> list[Array]:
    """Return the parameters after steps of w -= lr change(gradients), in float64."""
    ws = [p.numpy().astype(np.float64) for p in parameters()]
    for step in range(steps):
        for w, g in zip(ws, change(gradients(step, **options)), strict=True):
            w -= lr * g
    return ws


def assert_near(got: list[Array], expected: list[Array]) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6)


def norm(arrays: list[Array]) -> float:
    return float(np.sqrt(sum(np.square(a).sum() for a in arrays)))


# ---------------------------------------------------------------- clipping


def test_clipvalue(isa: str) -> None:
    expected = plain(lambda gs: [np.clip(g, -0.3, 0.3) for g in gs])
    assert_near(moved(optimizers.SGD(0.1, clipvalue=0.3)), expected)


@pytest.mark.parametrize("size", [0.01, 1.0, 1e18, 1e-30])
def test_clipnorm(isa: str, size: float) -> None:
    expected = plain(lambda gs: [g * min(1.0, 0.7 / norm([g])) for g in gs], size=size)
    assert_near(moved(optimizers.SGD(0.1, clipnorm=0.7), size=size), expected)


@pytest.mark.parametrize("size", [0.01, 1.0, 1e30])
def test_global_clipnorm(isa: str, size: float) -> None:
    expected = plain(lambda gs: [g * min(1.0, 0.7 / norm(gs)) for g in gs], size=size)
    assert_near(moved(optimizers.SGD(0.1, global_clipnorm=0.7), size=size), expected)


def test_clipping_spares_gradients_of_zero_and_tells_of_nan() -> None:
    for name in ("clipnorm", "global_clipnorm"):
        ps, optimizer = parameters(), optimizers.SGD(0.1, **{name: 1.0})  # type: ignore[arg-type]
        optimizer.build(ps)
        optimizer.apply([0 * g for g in gradients(0)], ps)
        assert_near([p.numpy() for p in ps], [p.numpy() for p in parameters()])
        bad = gradients(0)
        bad[1][2] = np.nan
        optimizer.apply(bad, ps)
        assert np.isnan(ps[1].value).all()
        assert np.isnan(ps[0].value).all() == (name == "global_clipnorm")


# ---------------------------------------------------------------- accumulation, loss scale


def test_accumulated_gradients_make_one_step_of_their_mean(isa: str) -> None:
    optimizer = optimizers.Adam(0.1, gradient_accumulation_steps=3)
    ps = parameters()
    optimizer.build(ps)
    for step in range(6):
        optimizer.apply(gradients(step), ps)
        assert optimizer.iterations[0] == (step + 1) // 3
        if step < 2:
            assert_near([p.numpy() for p in ps], [p.numpy() for p in parameters()])
    other, whole = parameters(), optimizers.Adam(0.1)
    whole.build(other)
    for start in (0, 3):
        means = [sum(gs) / 3 for gs in zip(*(gradients(start + i) for i in range(3)), strict=True)]
        whole.apply(means, other)
    assert_near([p.numpy() for p in ps], [p.numpy() for p in other])


def test_loss_scale_leaves_the_training_as_it_is() -> None:
    x, y = blobs(71)
    plainly = train(mlp(optimizers.SGD(0.1)), x, y)
    scaled = train(mlp(optimizers.SGD(0.1, loss_scale_factor=2.0**12)), x, y)
    assert_same(plainly, scaled)  # a power of two is exact
    assert optimizers.SGD(loss_scale_factor=8.0).scale_loss(0.5) == 4.0
    assert_near(
        moved(optimizers.SGD(0.1, loss_scale_factor=8.0), size=8.0), plain(lambda gs: [g / 8 for g in gs], size=8.0)
    )


# ---------------------------------------------------------------- averages


def test_moving_average_of_the_weights(isa: str) -> None:
    optimizer, ps = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75), parameters()
    optimizer.build(ps)
    average: list[Array] = []
    for step in range(6):
        optimizer.apply(gradients(step), ps)
        now = [p.numpy().astype(np.float64) for p in ps]
        average = [0.75 * a + 0.25 * w for a, w in zip(average, now, strict=True)] if average else now
    assert_near([p.numpy() for p in ps], plain(lambda gs: gs, 6))
    optimizer.finalize_variable_values(ps[:2])
    assert_near([p.numpy() for p in ps[:2]], average[:2])
    assert_near([ps[2].numpy()], plain(lambda gs: gs, 6)[2:])
    optimizer.finalize_variable_values()
    assert_near([p.numpy() for p in ps], average)


def test_averages_take_the_place_of_weights_when_due(isa: str) -> None:
    optimizer, ps = optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2), parameters()
    optimizer.build(ps)
    w = [p.numpy().astype(np.float64) for p in ps]
    average = None
    for step in range(5):
        optimizer.apply(gradients(step), ps)
        w = [a - 0.1 * g for a, g in zip(w, gradients(step), strict=True)]
        average = w if average is None else [0.5 * a + 0.5 * b for a, b in zip(average, w, strict=True)]
        if step % 2:
            w = average
    assert_near([p.numpy() for p in ps], w)


def test_fit_ends_with_the_average() -> None:
    x, y = blobs(64)
    model = mlp(optimizers.SGD(0.1, use_ema=True))
    model.fit(x, y, 16, epochs=2, verbose=0)
    assert model.optimizer is not None
    for p, place in zip(model.store.parameters, model.store.offsets, strict=True):
        np.testing.assert_array_equal(p.value.ravel(), model.optimizer.slots["average"][place : place + p.size])


def test_frozen_weights_keep_their_bits() -> None:
    x, y = blobs(64)
    options: dict[str, Any] = {"use_ema": True, "ema_overwrite_frequency": 2, "gradient_accumulation_steps": 2}
    for make in (
        lambda: optimizers.Adam(0.1, clipnorm=1.0, **options),
        lambda: optimizers.Lamb(0.1),
        lambda: optimizers.Muon(0.1),
    ):
        model = mlp(make())
        model.layers[0].trainable = False
        before = model.layers[0].get_weights()
        model.fit(x, y, 16, epochs=3, verbose=0)
        for got, want in zip(model.layers[0].get_weights(), before, strict=True):
            assert_bits(got, want)


# ---------------------------------------------------------------- decay


def test_decay_by_name_and_by_parameter() -> None:
    ps, optimizer = parameters(), optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[ps[0]])
    optimizer.exclude_from_weight_decay(var_names=["^b/.*nel$"])
    optimizer.build(ps)
    optimizer.apply([0 * g for g in gradients(0)], ps)
    for p, before, factor in zip(ps, parameters(), (1.0, 0.95, 1.0), strict=True):
        np.testing.assert_allclose(p.value, factor * before.value, rtol=1e-6)
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert [again.setting(p) for p in ps] == [0.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="var_names as parts of names or regular expressions"):
        optimizer.exclude_from_weight_decay(var_names=["("])


def test_a_name_excludes_no_longer_name() -> None:
    ps = [Parameter("a/bias", normal(3)), Parameter("a/bias_2", normal(3)), Parameter("aa/bias", normal(3))]
    optimizer = optimizers.SGD(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=ps[:1])
    assert [optimizer.setting(p) for p in ps] == [0.0, 0.5, 0.5]


# ---------------------------------------------------------------- recorded, saved


ARGUMENTS: dict[str, Make] = {
    "clipnorm": lambda: optimizers.Adam(0.02, clipnorm=0.1),
    "global_clipnorm": lambda: optimizers.Lion(0.01, global_clipnorm=0.1),
    "clipvalue": lambda: optimizers.SGD(0.1, momentum=0.9, clipvalue=0.001),
    "loss scale": lambda: optimizers.Adagrad(0.1, loss_scale_factor=3.0),
    "average": lambda: optimizers.RMSprop(0.01, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3),
    "accumulation": lambda: optimizers.Nadam(0.02, gradient_accumulation_steps=3),
    "everything": lambda: optimizers.Adam(
        0.02, weight_decay=0.1, clipnorm=0.1, use_ema=True, ema_overwrite_frequency=2,
        gradient_accumulation_steps=2, loss_scale_factor=8.0,
    ),
    "whole parameters": lambda: optimizers.Adafactor(0.1, global_clipnorm=0.1, gradient_accumulation_steps=2),
    "products": lambda: optimizers.Muon(0.05, clipvalue=0.01, adam_lr_ratio=0.5),
}  # fmt: skip
every_argument = pytest.mark.parametrize("name", ARGUMENTS)


@every_argument
def test_recorded_steps_are_the_eager_ones(isa: str, threads: int, name: str) -> None:
    for make, data in ((mlp, blobs(71)), (cnn, images(47))):
        assert_same(
            train(make(ARGUMENTS[name]()), *data),
            train(make(ARGUMENTS[name](), run_eagerly=True), *data),
        )


@every_argument
def test_threads_change_no_bits(name: str) -> None:
    x, y = blobs(150)
    results = []
    for count in (1, 2, 3):
        config.set_num_threads(count)
        results.append(train(mlp(ARGUMENTS[name](), hidden=700), x, y))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


@every_optimizer
def test_a_saved_training_goes_on(case: ObjectCase, tmp_path: Any) -> None:
    _goes_on(case.make(), tmp_path)


@every_argument
def test_a_saved_training_goes_on_with_arguments(name: str, tmp_path: Any) -> None:
    _goes_on(ARGUMENTS[name](), tmp_path)


def _goes_on(optimizer: Any, tmp_path: Any) -> None:
    x, y = blobs(64)
    model = mlp(optimizer)
    model.fit(x, y, 16, epochs=1, verbose=0)
    model.train_on_batch(x[:16], y[:16])
    model.save(tmp_path / "model.fastnn")
    again = models.load_model(tmp_path / "model.fastnn")
    for one in (model, again):
        one.fit(x, y, 16, epochs=2, verbose=0)
    assert again.optimizer is not None
    assert model.optimizer is not None
    np.testing.assert_array_equal(again.store.values, model.store.values)
    for name, array in model.optimizer.state().items():
        np.testing.assert_array_equal(again.optimizer.state()[name], array)


@every_argument
def test_configuration(name: str) -> None:
    optimizer = ARGUMENTS[name]()
    again = optimizers.deserialize(json.loads(json.dumps(optimizers.serialize(optimizer))))
    assert again.get_config() == optimizer.get_config()
    assert repr(again) == repr(optimizer)


# ---------------------------------------------------------------- written in Python


class SignOnly(Optimizer):
    """w -= lr sign(g), in NumPy."""

    def update(self, w: Array, g: Array, slots: dict[str, Array]) -> None:
        w -= np.float32(self.learning_rate) * np.sign(g) * (np.abs(g) >= 0.5)


def test_a_class_of_the_users_gets_gradients_that_are_ready() -> None:
    expected = plain(lambda gs: [np.sign(g) * (np.abs(np.clip(g / 2, -0.5, 0.5)) >= 0.5) for g in gs])
    assert_near(moved(SignOnly(0.1, clipvalue=0.5, loss_scale_factor=2.0)), expected)
    ps, optimizer = parameters(), SignOnly(0.1, weight_decay=0.5)
    optimizer.build(ps)
    optimizer.apply([0 * g for g in gradients(0)], ps)
    assert_near([p.numpy() for p in ps], [0.95 * p.numpy() for p in parameters()])
    x, y = blobs(64)
    model = mlp(SignOnly(0.01, gradient_accumulation_steps=2, use_ema=True))
    with pytest.warns(UserWarning, match="SignOnly is written in Python"):
        model.fit(x, y, 16, epochs=2, verbose=2)
    assert model.optimizer is not None
    assert model.optimizer.iterations[0] == 4


# ---------------------------------------------------------------- what is refused


WRONG: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "two kinds of clipping": (
        lambda: optimizers.SGD(clipnorm=1.0, clipvalue=1.0),
        ValueError,
        "SGD: expected one of clipnorm, clipvalue, global_clipnorm, got clipnorm and clipvalue",
    ),
    "norm": (lambda: optimizers.SGD(clipnorm=0.0), ValueError, "clipnorm to be a finite number > 0"),
    "ema": (lambda: optimizers.SGD(ema_momentum=1.5), ValueError, "ema_momentum to be a finite number >= 0 and <= 1"),
    "frequency": (lambda: optimizers.SGD(ema_overwrite_frequency=0), ValueError, "to be an integer >= 1"),
    "accumulation": (lambda: optimizers.Adam(gradient_accumulation_steps=1), ValueError, "to be an integer >= 2"),
    "scale": (
        lambda: optimizers.Adam(loss_scale_factor=-1.0),
        ValueError,
        "loss_scale_factor to be a finite number > 0",
    ),
    "beta": (lambda: optimizers.Nadam(beta_2=1.0), ValueError, "Nadam: expected beta_2 to be a finite number"),
    "power": (lambda: optimizers.Ftrl(learning_rate_power=0.5), ValueError, "learning_rate_power .* <= 0"),
    "lion": (lambda: optimizers.Lion(beta_1=0.0), ValueError, "Lion: expected beta_1"),
    "layers": (lambda: optimizers.Muon(exclude_layers="last"), TypeError, r"write \['last'\]"),
    "count": (lambda: moved_with([np.zeros(3)]), ValueError, "expected 3 gradients, one for each parameter, got 1"),
    "shape": (lambda: moved_with([np.zeros(3)] * 3), ValueError, r"a gradient of shape \(7, 5\) for 'a/kernel'"),
}


def moved_with(grads: list[Array]) -> None:
    ps, optimizer = parameters(), optimizers.SGD()
    optimizer.build(ps)
    optimizer.apply(grads)


@pytest.mark.parametrize(("call", "error", "text"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_warnings() -> None:
    with pytest.warns(UserWarning, match="nesterov=True changes nothing without momentum"):
        optimizers.SGD(nesterov=True)
    optimizers.arguments._told_of_jit = False
    with pytest.warns(UserWarning, match="jit_compile has no meaning here"):
        optimizers.SGD(jit_compile=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizers.Adam(jit_compile=True)  # once is enough


# ---------------------------------------------------------------- single optimizers


def test_first_steps_are_of_the_size_of_the_learning_rate() -> None:
    for size in (0.1, 1.0, 1e4):
        for make in (optimizers.Adam, optimizers.Adamax, optimizers.Lion):
            steps = [a - p.numpy() for a, p in zip(moved(make(0.01), 1, size=size), parameters(), strict=True)]
            np.testing.assert_allclose(np.abs(np.concatenate([s.ravel() for s in steps])), 0.01, rtol=0.02)


def test_ftrl_gives_exact_zeros() -> None:
    sparse = moved(optimizers.Ftrl(0.1, l1_regularization_strength=3.0), 10)
    assert 0.2 < np.mean(np.concatenate([w.ravel() for w in sparse]) == 0) < 1
    dense = moved(optimizers.Ftrl(0.1), 10)
    assert all(w.all() for w in dense)


@every_optimizer
def test_a_learning_rate_of_zero_changes_nothing(isa: str, case: ObjectCase) -> None:
    optimizer = case.make()
    optimizer.learning_rate = 0.0
    for got, p in zip(moved(optimizer, 3), parameters(), strict=True):
        np.testing.assert_array_equal(got, p.value)


def test_adagrad_begins_with_its_accumulator() -> None:
    ps, g = parameters(), gradients(0)
    for initial in (0.0, 0.1):
        for got, p, one in zip(moved(optimizers.Adagrad(0.1, initial), 1), ps, g, strict=True):
            np.testing.assert_allclose(
                got, p.value - 0.1 * one / np.sqrt(initial + one**2 + 1e-7), rtol=1e-5, atol=1e-6
            )


def test_steps_of_lamb_are_as_long_as_the_weights() -> None:
    for got, p in zip(moved(optimizers.Lamb(0.01), 1), parameters(), strict=True):
        assert norm([got - p.value]) == pytest.approx(0.01 * norm([p.value]), rel=1e-5)


def test_muon_moves_by_nearly_orthogonal_matrices() -> None:
    for shape in ((7, 5), (5, 7), (6, 6), (1, 4), (300, 20)):
        p, optimizer = Parameter("a/kernel", np.zeros(shape)), optimizers.Muon(1.0, weight_decay=None, rms_rate=None)
        optimizer.build([p])
        optimizer.apply([normal(*shape)], [p])
        values = np.linalg.svd(p.value.astype(np.float64), compute_uv=False)
        assert values.min() > 0.4
        assert values.max() < 1.3


def test_presets() -> None:
    for name in ("tensorflow", "keras", "blocks", "lasagne", "caffe", "mxnet", "torch"):
        config = optimizers.presets.adam(name).get_config()
        assert config["learning_rate"] == pytest.approx(0.002 if name == "blocks" else 0.001)
        assert (config["beta_1"], config["beta_2"], config["epsilon"]) == (0.9, 0.999, 1e-8)
    with pytest.raises(ValueError, match="did you mean 'torch'"):
        optimizers.presets.adam("pytorch")


@pytest.mark.parametrize("name", ["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"])
def test_presets_of_the_book_move_as_its_classes(name: str) -> None:
    start, p = normal(7).astype(np.float32) + 3, Parameter("w", normal(7) + 3)
    params, plain = {"w": start.copy()}, getattr(optimizers.numpy_style, name)()
    optimizer = optimizers.presets.book(name.lower())
    optimizer.build([p])
    places: dict[str, list[Array]] = {"book": [], "ours": []}
    for _ in range(20):
        plain.update(params, {"w": 2 * params["w"]})
        optimizer.apply([2 * p.value], [p])
        places["book"].append(params["w"].copy())
        places["ours"].append(p.numpy())
    assert_close(np.array(places["ours"]), np.array(places["book"]), 2e-5)
    with pytest.raises(ValueError, match=r"presets\.book: expected name to be one of"):
        optimizers.presets.book("lion")


def test_momentum_passes_the_first_basin() -> None:
    # f(x) = x^4 - 2 x^2 + 0.5 x has minima near -1.06 (the lower) and 0.93; a ball from 1.6 stops in the first or passes.
    def end(optimizer: Optimizer) -> float:
        p = Parameter("x", np.array([1.9]))
        optimizer.build([p])
        for _ in range(400):
            x = float(p.value[0])
            optimizer.apply([np.array([4 * x**3 - 4 * x + 0.5])], [p])
        return float(p.value[0])

    assert end(optimizers.SGD(0.01)) == pytest.approx(0.93, abs=0.01)
    assert end(optimizers.SGD(0.01, momentum=0.9)) == pytest.approx(-1.06, abs=0.01)


def test_rmsprop_goes_on_where_adagrad_stalls() -> None:
    # Steep at first, flat from then on: the sum of squares keeps Adagrad slow.
    def way(optimizer: Optimizer) -> float:
        p = Parameter("x", np.array([0.0]))
        optimizer.build([p])
        for step in range(300):
            optimizer.apply([np.array([100.0 if step < 5 else 0.1])], [p])
        return -float(p.value[0])

    assert way(optimizers.RMSprop(0.01)) > 20 * way(optimizers.Adagrad(0.01, 0.0))
