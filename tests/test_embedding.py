"""Embedding: vectors by id, their gradient, ids that are none, training, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from errors import check
from gradcheck import normal
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers, ops
from fastnn.layers import Dense, Embedding, GlobalAveragePooling1D
from fastnn.models import load_model

Array = np.ndarray[Any, Any]


def ids(n: int = 40, length: int = 6, rows: int = 11) -> Array:
    return np.random.default_rng(2).integers(0, rows, (n, length))


def model(run_eagerly: bool = False, rows: int = 11) -> Any:
    config.set_seed(5)
    net = Sequential([Input((6,), dtype="int32"), Embedding(rows, 4, name="words"), GlobalAveragePooling1D(), Dense(1)])
    net.compile("adam", "mse", run_eagerly=run_eagerly)
    return net


def test_vectors_and_gradient(isa: str, threads: int) -> None:
    layer, x = Embedding(11, 5), ids()
    y = layer(x)
    assert_bits(y, layer.embeddings.value[x])
    layer.forward(x, training=True)
    dy = normal(*y.shape).astype(np.float32)
    layer.need_dx = False
    assert layer.backward(dy) is None
    expected = np.zeros((11, 5))
    np.add.at(expected, x, dy.astype(np.float64))
    np.testing.assert_allclose(layer.embeddings.gradient, expected, rtol=1e-5, atol=1e-5)


def test_ids_do_not_pass_gradients_on() -> None:
    layer, x = Embedding(11, 5), ids()
    dy = np.ones(layer.forward(x, training=True).shape, np.float32)
    dx = layer.backward(dy)
    assert dx is not None
    assert dx.shape == x.shape
    assert not dx.any()


def test_a_frozen_table_keeps_its_gradient() -> None:
    layer, x = Embedding(11, 5, trainable=False), ids()
    dy = np.ones(layer.forward(x, training=True).shape, np.float32)
    layer.embeddings.gradient[...] = 7
    layer.backward(dy)
    assert (layer.embeddings.gradient == 7).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64, np.float16, np.float64, ">i4"])
def test_any_type_of_ids(dtype: Any) -> None:
    layer, x = Embedding(11, 5), ids()
    assert_bits(layer(x.astype(dtype)), layer(x))
    assert_bits(layer(x[:, ::-1].astype(dtype)[:, ::-1]), layer(x))
    assert_bits(layer(x.tolist()), layer(x))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 3, 4), (0, 4), (2, 0)])
def test_shapes(shape: tuple[int, ...]) -> None:
    layer = Embedding(4, 3)
    assert layer(np.zeros(shape)).shape == (*shape, 3)
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *shape[1:], 3)


def test_given_vectors() -> None:
    table = np.arange(6.0).reshape(3, 2)
    for weights in (table, [table], table.tolist()):
        assert Embedding(3, 2, weights=weights)([1, 2]).tolist() == [[2, 3], [4, 5]]


def test_recorded_training_is_eager_training(threads: int) -> None:
    x, y = ids(), normal(40, 1, seed=3)
    fast, slow = model(), model(run_eagerly=True)
    for net in (fast, slow):
        net.fit(x, y, epochs=4, batch_size=8, shuffle=False, verbose=0)
        net.train_on_batch(x[:8], y[:8])
        net.train_on_batch(x[8:16], y[8:16])
    for p, q in zip(fast.weights, slow.weights):
        assert_bits(p.value, q.value)
    assert_bits(fast.predict(x, verbose=0), slow.predict(x, verbose=0))


def test_training_teaches_the_words() -> None:
    x = np.random.default_rng(1).integers(0, 30, (600, 6))
    y = np.where(np.arange(30) % 2, 1.0, -1.0)[x].mean(1, keepdims=True)
    net = model(rows=30)
    net.optimizer.learning_rate = 0.02
    history = net.fit(x, y, epochs=40, batch_size=32, verbose=0)
    assert history.history["loss"][-1] < 1e-3 < history.history["loss"][0]


BAD: dict[str, tuple[Any, str]] = {
    "too large": (11, "11"),
    "negative": (-1, "-1"),
    "not whole": (0.5, "0.5"),
    "NaN": (np.nan, "nan"),
    "infinite": (np.inf, "inf"),
    "beyond float32's integers": (2**24 + 1, "16777216"),
}


@pytest.mark.parametrize("label", BAD)
def test_what_is_no_id_is_refused_before_it_is_used(label: str) -> None:
    value, text = BAD[label]
    x = ids().astype(np.float64)
    x[3, 2] = value
    start = rf"Embedding 'words': expected ids that are whole numbers in \[0, 11\), got {text}"
    layer = Embedding(11, 3, name="words")
    with pytest.raises(ValueError, match=start):
        layer(x)
    net, y = model(), np.zeros((40, 1))
    net.fit(ids(), y, epochs=1, batch_size=8, verbose=0)  # the step is recorded
    net.train_on_batch(ids()[:8], y[:8])
    before = net.get_weights()
    for use in (
        lambda: net.fit(x, y, batch_size=8, verbose=0),
        lambda: net.fit(ids(), y, batch_size=8, verbose=0, validation_data=(x, y)),
        lambda: net.evaluate(x, y, batch_size=8, verbose=0),
        lambda: net.predict(x, batch_size=8, verbose=0),
        lambda: net.train_on_batch(x[:8], y[:8]),
        lambda: net.predict_on_batch(x[:8]),
        lambda: net.fit([(x[:8], y[:8])], verbose=0),
        lambda: net.predict(iter([x[:8]]), verbose=0),
    ):
        with pytest.raises(ValueError, match=start):
            use()
    for now, then in zip(net.get_weights(), before):
        assert_bits(now, then)


def test_ids_made_by_other_layers() -> None:
    x = Input((3,))
    net = Model(x, Embedding(7, 2, name="e")(layers.Rescaling(2.0)(x)))
    assert net.predict(np.ones((4, 3)), verbose=0).shape == (4, 3, 2)
    with pytest.raises(ValueError, match="Embedding 'e': expected ids"):
        net(np.full((1, 3), 0.25))


def test_where_something_is() -> None:
    x = [[1, 0, 2], [0, 0, 3]]
    mask = Embedding(4, 2, mask_zero=True).compute_mask(x)
    assert mask is not None
    assert mask.tolist() == [[True, False, True], [False, False, True]]
    assert Embedding(4, 2).compute_mask(x) is None


def masked_model(mask_zero: bool = True, run_eagerly: bool = False) -> Any:
    config.set_seed(5)
    net = Sequential([Input((6,)), Embedding(11, 4, mask_zero=mask_zero), Dense(1)])
    net.compile("sgd", "mse", run_eagerly=run_eagerly)
    return net


def test_zeros_do_not_count_in_the_loss() -> None:
    x, y = ids(), normal(40, 6, 1, seed=3)
    net = masked_model()
    errors = (net.predict(x, verbose=0) - y)[..., 0] ** 2
    assert net.evaluate(x, y, batch_size=40, verbose=0) == pytest.approx(errors[x != 0].mean(), rel=1e-5)
    assert masked_model(False).evaluate(x, y, batch_size=40, verbose=0) == pytest.approx(errors.mean(), rel=1e-5)
    slow = masked_model(run_eagerly=True)
    for each in (net, slow):
        each.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    for p, q in zip(net.weights, slow.weights):
        assert_bits(p.value, q.value)
    assert_bits(net.layers[0].embeddings.value[0], masked_model().layers[0].embeddings.value[0])
    net.layers[0].mask_zero = False  # the next step is another one
    errors = (net.predict(x, verbose=0) - y)[..., 0] ** 2
    assert net.evaluate(x, y, batch_size=40, verbose=0) == pytest.approx(errors.mean(), rel=1e-5)


def test_penalties_and_constraints_of_vectors() -> None:
    x, y = ids(), np.zeros((40, 1))
    layer = Embedding(11, 4, embeddings_regularizer="l2", embeddings_constraint="non_neg", name="words")
    assert Embedding.from_config(layer.get_config()).get_config() == layer.get_config()
    net = Sequential([Input((6,)), layer, GlobalAveragePooling1D(), Dense(1)])
    net.compile("sgd", "mse")
    table = layer.embeddings.numpy()
    assert net.losses == [pytest.approx(0.01 * float((table**2).sum()), rel=1e-5)]
    net.layers[-1].set_weights([np.zeros((4, 1)), [0.0]])
    net.fit(x, y, epochs=1, batch_size=40, verbose=0)  # nothing but the penalty pulls
    np.testing.assert_allclose(layer.embeddings.value, np.maximum(table * (1 - 0.01 * 2 * 0.01), 0), rtol=1e-5)


def test_files_and_configurations(tmp_path: Path) -> None:
    net = model()
    net.save(tmp_path / "m.fastnn")
    again = load_model(tmp_path / "m.fastnn")
    assert_bits(again.predict(ids(), verbose=0), net.predict(ids(), verbose=0))
    layer = Embedding(5, 3, "zeros", mask_zero=True, name="e")
    assert Embedding.from_config(layer.get_config()).get_config() == layer.get_config()
    assert not layer(np.zeros((1, 2))).any()


def test_the_numpy_backend() -> None:
    layer, x = Embedding(11, 5), ids()
    expected = layer(x)
    config.set_backend("numpy")
    assert_bits(layer(x), expected)


def test_summary_plans_without_ids() -> None:
    lines: list[str] = []
    model().summary(print_fn=lines.append)
    assert any("44" in line and "words" in line for line in "\n".join(lines).splitlines())
    assert ops.planning() is False


def test_error_texts() -> None:
    who = "Embedding 'e': expected "
    for use, text in (
        (lambda: Embedding(0, 3, name="e"), "input_dim to be an integer >= 1 and <= 16777216, got 0"),
        (lambda: Embedding(2**24 + 1, 3, name="e"), "input_dim to be an integer >= 1 and <= 16777216, got 16777217"),
        (lambda: Embedding(3, 0, name="e"), "output_dim to be an integer >= 1, got 0"),
        (lambda: Embedding(3, 2, weights=[[1.0]], name="e"), "weights of shape (3, 2), got (1,)"),
    ):
        check(use, ValueError, who + text)
    check(
        lambda: Input((2,), dtype="complex64"),
        ValueError,
        "Input: expected dtype None, 'float32', 'uint8', 'int32' or 'int64', got 'complex64'; ...",
    )
