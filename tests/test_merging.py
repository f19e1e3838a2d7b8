"""Layers with several inputs: gradients, the twin's numbers, broadcasting, shapes, configurations, error texts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from cases import Array, MergeCase, every_merge, in_float64
from gradcheck import assert_gradient, normal
from tolerances import GRADIENT, assert_bits, assert_close

from fastnn import Input, Model, config, layers

NAMES = {
    "Add": lambda x: sum(x),
    "Subtract": lambda x: x[0] - x[1],
    "Average": lambda x: sum(x) / len(x),
    "Multiply": lambda x: np.prod(np.broadcast_arrays(*x), 0),
    "Maximum": lambda x: np.max(np.broadcast_arrays(*x), 0),
    "Minimum": lambda x: np.min(np.broadcast_arrays(*x), 0),
}


def passes(layer: Any, x: list[Array], dy: Array) -> list[Array]:
    """Return the output and the gradients of all inputs."""
    return [layer.forward(x, training=True), *layer.backward(dy)]


def output_gradient(case: MergeCase, n: int = 3) -> Array:
    return normal(*case.make()(case.batch(n)).shape, seed=9).astype(np.float32)


@every_merge
def test_gradients_are_the_slopes(case: MergeCase) -> None:
    layer, x = case.make(), [a.astype(np.float64) for a in case.batch()]
    dy = output_gradient(case).astype(np.float64)
    with in_float64():
        _, *dx = passes(layer, x, dy)
        for i, part in enumerate(x):

            def value(z: Array, i: int = i) -> float:
                return float(np.vdot(dy, layer.forward([*x[:i], z, *x[i + 1 :]])))

            assert_gradient(value, part, dx[i])


@every_merge
def test_kernels_and_twin_agree(isa: str, threads: int, case: MergeCase) -> None:
    x, dy = case.batch(), output_gradient(case)
    native = passes(case.make(), x, dy)
    with in_float64():
        exact = passes(case.make(), [a.astype(np.float64) for a in x], dy.astype(np.float64))
    config.set_backend("numpy")
    single = passes(case.make(), x, dy)
    for got, twin, want in zip(native, single, exact, strict=True):
        limit = GRADIENT * float(np.linalg.norm(want))
        assert got.dtype == np.float32
        assert_close(got, want, limit)
        assert_close(twin, want, limit)


@pytest.mark.parametrize("cls", NAMES)
def test_broadcasting_is_that_of_numpy(cls: str) -> None:
    for shapes in (((4, 3), (4, 3)), ((4, 1), (1, 3)), ((5, 2, 3), (1, 2, 1)), ((5, 2, 3), (3,))):
        x = [normal(6, *shape, seed=i).astype(np.float32) for i, shape in enumerate(shapes)]
        rank = max(a.ndim for a in x)
        raised = [a.reshape(6, *[1] * (rank - a.ndim), *a.shape[1:]) for a in x]
        layer = getattr(layers, cls)()
        assert_close(layer(x), NAMES[cls](raised), 1e-6)
        assert layer.compute_output_shape([(None, *s) for s in shapes]) == (None, *layer(x).shape[1:])


@pytest.mark.parametrize("cls", ["Maximum", "Minimum"])
def test_the_first_of_equal_ones_gets_the_gradient(isa: str, cls: str) -> None:
    layer, x = getattr(layers, cls)(), np.ones((2, 3), np.float32)
    layer.forward([x, x, x], training=True)
    assert [float(dx.sum()) for dx in layer.backward(x)] == [6.0, 0.0, 0.0]


@every_merge
def test_a_row_does_not_depend_on_its_neighbours(isa: str, case: MergeCase) -> None:
    layer, x = case.make(), case.batch(5)
    together = layer(x)
    for i in range(5):
        assert_bits(layer([a[i : i + 1] for a in x]), together[i : i + 1])
    assert layer([a[:0] for a in x]).shape == (0, *together.shape[1:])


@every_merge
def test_symbolic_and_real_shapes_are_the_same(case: MergeCase) -> None:
    inputs = [Input(shape) for shape in case.shapes]
    output = case.make()(inputs)
    assert output.shape == (None, *case.make()(case.batch()).shape[1:])
    model = Model(inputs, output)
    x = case.batch(7)
    assert_bits(model.predict(x, 3, verbose=0), case.make()(x))


@every_merge
def test_the_function_is_the_layer(case: MergeCase) -> None:
    if case.cls == "MaxUnpooling2D":  # has none
        return
    x = case.batch()
    assert_bits(getattr(layers, case.cls.lower())(x, **case.arguments), case.make()(x))


@every_merge
def test_configuration_round_trip(case: MergeCase) -> None:
    layer = case.make()
    again = type(layer).from_config(json.loads(json.dumps(layer.get_config())))
    assert again.get_config() == layer.get_config()
    assert_bits(again(case.batch()), layer(case.batch()))


@every_merge
def test_wrong_shapes_are_refused(case: MergeCase) -> None:
    for shapes in case.wrong:
        for built in (False, True):
            layer = case.make()
            if built:
                layer(case.batch())
            for use in (
                lambda shapes=shapes, layer=layer: layer([np.zeros((2, *s)) for s in shapes]),
                lambda shapes=shapes, layer=layer: layer([Input(s) for s in shapes]),
            ):
                with pytest.raises(ValueError) as error:
                    use()
                assert str(error.value).startswith(f"{case.cls} '{layer.name}': expected "), error.value


@every_merge
def test_other_things_are_refused(case: MergeCase) -> None:
    layer, x = case.make(), case.batch()
    who = f"{case.cls} '{layer.name}': expected "
    with pytest.raises(TypeError) as error:
        layer(x[0])
    assert str(error.value).startswith(f"{who}a list of inputs")
    with pytest.raises(TypeError) as error:
        layer(Input(case.shapes[0]))
    assert str(error.value).startswith(f"{who}a list of tensors")
    with pytest.raises(ValueError, match="expected forward"):
        layer.backward(output_gradient(case))
    with pytest.raises(ValueError) as error:
        layer([])
    assert str(error.value).startswith(who)
    if len(x) > 1:
        with pytest.raises(ValueError, match="expected inputs with equally many samples"):
            layer([*x[:-1], x[-1][:2]])
        with pytest.raises(TypeError, match="expected x to be symbolic tensors"):
            layer([Input(case.shapes[0]), *x[1:]])


def test_arguments_of_joins() -> None:
    for axis in (0, -2, 2, 5):
        with pytest.raises(ValueError, match="expected axis of inputs of rank 2, not the samples'"):
            layers.Concatenate(axis=axis)([np.ones((2, 3))] * 2)
    with pytest.raises(TypeError, match="expected axis to be an integer"):
        layers.Concatenate(axis=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected axes to be one integer or two"):
        layers.Dot(axes=(1, 2, 3))
    with pytest.raises(ValueError, match="expected inputs of rank 2 or 3 that have the axes"):
        layers.Dot(axes=0)([np.ones((2, 3))] * 2)
