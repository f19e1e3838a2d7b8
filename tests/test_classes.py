"""predict_classes: the largest score of every row, without the last softmax."""

from __future__ import annotations

import numpy as np
import pytest
from gradcheck import normal
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, activations, layers, ops, optimizers
from fastnn.layers import Dense


def classifier(last: str, units: int = 5) -> Sequential:
    return Sequential([Input((3,)), Dense(7, "tanh"), Dense(units, last)])


@pytest.mark.parametrize("last", ["softmax", "log_softmax", "linear", "sigmoid"])
@pytest.mark.parametrize("eagerly", [False, True])
def test_classes_are_those_of_the_largest_output(last: str, eagerly: bool) -> None:
    model, x = classifier(last), 4 * normal(201, 3)
    model.compile("sgd", "mse", run_eagerly=eagerly)
    before = model.predict(x, verbose=0)
    found = model.predict_classes(x, batch_size=50, verbose=0)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, before.argmax(-1))
    assert len(set(found.tolist())) > 2
    assert_bits(model.predict(x, verbose=0), before)  # whose softmax is still there
    assert_bits(model.predict_on_batch(x), before)


def test_the_softmax_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp(0 - 1e-10) rounds to 1: as probabilities the two are equal, as logits the second is larger."""
    model = Sequential([Input((2,)), Dense(2, "softmax", use_bias=False)])
    model.set_weights([np.eye(2)])
    x = np.array([[0.0, 1e-10]])
    assert model.predict(x, verbose=0).argmax() == 0
    assert model.predict_classes(x, verbose=0).tolist() == [1]
    model.run_eagerly = True
    monkeypatch.setattr(ops, "softmax_forward", lambda *_: pytest.fail("a softmax was computed"))
    assert model.predict_classes(x, verbose=0).tolist() == [1]


def test_one_value_is_compared_with_the_threshold() -> None:
    model = Sequential([Input((1,)), Dense(1, "sigmoid")])
    model.set_weights([[[1.0]], [0.0]])
    x = np.array([[-2.0], [-0.1], [0.1], [2.0]])
    assert model.predict_classes(x, verbose=0).tolist() == [0, 0, 1, 1]
    assert model.predict_classes(x, verbose=0, threshold=0.8).tolist() == [0, 0, 0, 1]
    scores = Sequential([Input((1,)), Dense(1)])
    scores.set_weights([[[1.0]], [0.0]])
    assert scores.predict_classes(x, verbose=0, threshold=0).tolist() == [0, 0, 1, 1]


def test_a_class_for_every_pixel_and_every_output() -> None:
    x = Input((4, 5, 2))
    pixels = layers.Softmax(name="pixels")(layers.Conv2D(3, 3, padding="same")(x))
    whole = Dense(6, activations.Activation("softmax"), name="whole")(layers.Flatten()(x))
    model, data = Model(x, {"pixels": pixels, "whole": whole}), normal(9, 4, 5, 2)
    found, scores = model.predict_classes(data, verbose=0), model.predict(data, verbose=0)
    assert found["pixels"].shape == (9, 4, 5)
    for name in ("pixels", "whole"):
        np.testing.assert_array_equal(found[name], scores[name].argmax(-1))


def test_softmaxes_over_other_axes_and_with_readers_stay() -> None:
    over_rows = Sequential([Input((3, 4)), layers.Softmax(axis=1)])
    x = normal(6, 3, 4)
    np.testing.assert_array_equal(over_rows.predict_classes(x, verbose=0), over_rows.predict(x, verbose=0).argmax(-1))
    given = Input((4,))
    p = layers.Softmax()(given)
    model = Model(given, [p, layers.Rescaling(-1.0)(p)])
    first, second = model.predict_classes(normal(8, 4), verbose=0)
    np.testing.assert_array_equal(first, normal(8, 4).argmax(-1))
    np.testing.assert_array_equal(second, normal(8, 4).argmin(-1))


def test_training_goes_on_as_if_nothing_had_been_asked() -> None:
    x, y = normal(40, 3), np.arange(40) % 5
    weights = []
    for asks in (False, True):
        model = classifier("softmax")
        model.set_weights([normal(*p.shape, seed=3) for p in model.weights])
        model.compile(optimizers.Adam(0.1), "sparse_categorical_crossentropy")
        for _ in range(3):
            model.train_on_batch(x, y)
            if asks:
                model.predict_classes(x, verbose=0)
        weights.append(model.get_weights())
    for one, other in zip(*weights):
        assert_bits(one, other)


def test_batches_empty_arrays_and_models_without_a_shape() -> None:
    model, x = classifier("softmax"), normal(10, 3)
    batches = [(x[:6], None), (x[6:], None)]
    np.testing.assert_array_equal(model.predict_classes(iter(batches), verbose=0), model.predict_classes(x, verbose=0))
    assert model.predict_classes(x[:0], verbose=0).shape == (0,)
    assert Sequential([Dense(2, "softmax")]).predict_classes(x, verbose=0).shape == (10,)


def test_errors() -> None:
    model = classifier("softmax")
    with pytest.raises(ValueError, match="predict_classes: expected outputs that are numbers, got NaN"):
        model.predict_classes([[np.nan, 0, 0]], verbose=0)
    assert not model.layers[-1].skip_activation  # type: ignore[union-attr]
    with pytest.raises(TypeError, match="predict_classes: expected threshold to be a finite number"):
        model.predict_classes(normal(2, 3), threshold="half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected input of shape"):
        model.predict_classes(normal(2, 4), verbose=0)
