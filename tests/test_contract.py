"""What holds for every layer: gradients, the twin's numbers, input kinds, configurations, files, error texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import LAYERS, MERGES, Array, LayerCase, every_layer, in_float64, public_classes
from gradcheck import assert_gradient, normal
from tolerances import GRADIENT, assert_bits, assert_close

from fastnn import Sequential, config, constraints, layers, regularizers
from fastnn.models import load_model


def test_every_public_layer_has_a_case() -> None:
    classes = {case.cls for case in (*LAYERS, *MERGES)} | {"Embedding", "Function", "InputLayer"}
    functions = {case.cls.lower() for case in MERGES} - {"maxunpooling2d"}
    assert public_classes(layers, layers.Layer) == sorted(classes)
    aliases = {name for name in layers.__all__ if getattr(layers, name).__name__ not in (name, name.lower())}
    assert {getattr(layers, name).__name__ for name in aliases} <= classes
    assert set(layers.__all__) == {"Input", "Layer", *classes, *functions, *aliases}


# ---------------------------------------------------------------- numbers


def restart(layer: layers.Layer) -> None:
    """Let random counters begin anew, so that the next pass is the same as the first."""
    for counter in layer.counters.values():
        counter[...] = 0


def gradients(layer: layers.Layer, x: Array, dy: Array) -> dict[str, Array]:
    """Return the output of a training pass and all gradients by name."""
    restart(layer)
    result = {"output": layer.forward(x, training=True)}
    dx = layer.backward(dy)
    assert dx is not None
    result["input"] = dx
    result |= {p.name.split("/")[1]: p.gradient.copy() for p in layer.trainable_weights}
    return result


def as_double(layer: layers.Layer) -> layers.Layer:
    """Return the layer with parameters and gradients in float64."""
    for p in layer.parameters:
        p.value = p.value.astype(np.float64)  # type: ignore[assignment]
        if p.grad is not None:
            p.grad = np.full(p.shape, np.nan)  # type: ignore[assignment]
    return layer


def output_gradient(case: LayerCase, n: int = 3) -> Array:
    layer = case.make()
    return normal(*layer.forward(case.batch(n)).shape, seed=9).astype(np.float32)


@every_layer
def test_gradients_are_the_slopes(case: LayerCase) -> None:
    layer, x, dy = as_double(case.make()), case.batch().astype(np.float64), output_gradient(case).astype(np.float64)
    with in_float64():
        found = gradients(layer, x, dy)

        def value(z: Array) -> float:
            restart(layer)
            return float(np.vdot(dy, layer.forward(z, training=True)))

        assert_gradient(value, x, found["input"])
        for p in layer.trainable_weights:
            kept = p.value

            def of_parameter(z: Array, p: Any = p, kept: Any = kept) -> float:
                p.value = z
                result = value(x)
                p.value = kept
                return result

            assert_gradient(of_parameter, kept, found[p.name.split("/")[1]])


@every_layer
def test_kernels_and_twin_agree(isa: str, case: LayerCase) -> None:
    x, dy = case.batch(), output_gradient(case)
    native = gradients(case.make(), x, dy)
    assert all(a.dtype == np.float32 for a in native.values())
    with in_float64():
        exact = gradients(as_double(case.make()), x.astype(np.float64), dy.astype(np.float64))
    config.set_backend("numpy")
    single = gradients(case.make(), x, dy)
    for name, value in exact.items():
        limit = GRADIENT * float(np.abs(value).max(initial=0) if name == "output" else np.linalg.norm(value))
        assert_close(native[name], value, limit, name)
        assert_close(single[name], value, limit, f"{name} of the numpy backend")


@every_layer
def test_moving_values_agree(case: LayerCase) -> None:
    x, native, twin = case.batch(), case.make(), as_double(case.make())
    before = native.get_weights()
    native.forward(x, training=True)
    with in_float64():
        twin.forward(x, training=True)
    for old, p, q in zip(before, native.weights, twin.weights, strict=True):
        if p.trainable or not native.trainable or case.cls == "Normalization":  # which adapt changes, not training
            assert_bits(p.value, old, p.name)
        else:
            assert_close(p.value, q.value, GRADIENT * float(np.abs(q.value).max()), p.name)
            assert not np.array_equal(p.value, old)


@every_layer
def test_every_weight_takes_a_regularizer_and_a_constraint(case: LayerCase) -> None:
    for p in case.make().trainable_weights if case.cls != "RMSNormalization" else ():  # which has none in Keras either
        name = p.name.split("/")[1].removesuffix("_kernel")
        name = "depthwise" if name == "kernel" and case.cls.startswith("Depthwise") else name
        asked = {f"{name}_regularizer": regularizers.L1(0.5), f"{name}_constraint": constraints.NonNeg()}
        layer = replace(case, arguments={**case.arguments, **asked}).make()
        (found,) = [q for q in layer.trainable_weights if q.name.split("/")[1] == p.name.split("/")[1]]
        assert found.regularizer is asked[f"{name}_regularizer"]
        assert found.constraint is asked[f"{name}_constraint"]
        settings = layer.get_config()
        assert settings[f"{name}_regularizer"]["class_name"] == "L1"
        assert settings[f"{name}_constraint"]["class_name"] == "NonNeg"


@every_layer
def test_frozen_layer_passes_gradients_on_and_keeps_its_own(case: LayerCase) -> None:
    layer, dy = case.make(), output_gradient(case)
    layer.trainable = False
    for p in layer.parameters:
        if p.grad is not None:
            p.grad[...] = 7
    layer.forward(case.batch(), training=True)
    dx = layer.backward(dy)
    assert dx is not None
    assert np.abs(dx).max() > 0
    assert layer.trainable_weights == []
    assert all((p.gradient == 7).all() for p in layer.parameters if p.trainable)


# ---------------------------------------------------------------- batches


@every_layer
def test_a_row_does_not_depend_on_its_neighbours(isa: str, threads: int, case: LayerCase) -> None:
    layer, x = case.make(), case.batch(5)
    together = layer.forward(x)
    for i in range(5):
        assert_bits(layer.forward(x[i : i + 1]), together[i : i + 1], f"row {i}")
    assert_bits(layer.forward(x[1:4]), together[1:4])


@every_layer
def test_empty_batch(isa: str, case: LayerCase) -> None:
    layer, one = case.make(), case.make().forward(case.batch(1))
    empty = case.batch(0)
    y = layer.forward(empty)
    assert y.shape == (0, *one.shape[1:])
    assert y.dtype == np.float32
    if case.cls == "BatchNormalization" and layer.trainable:
        with pytest.raises(ValueError, match="expected at least one sample in training, got input of shape"):
            layer.forward(empty, training=True)
        return
    found = gradients(layer, empty, np.empty_like(y))
    assert found.pop("output").shape == y.shape
    assert found.pop("input").shape == empty.shape
    assert not any(gradient.any() for gradient in found.values())


def mirrored(x: Array) -> Array:
    return np.ascontiguousarray(x[..., ::-1])[..., ::-1]


def misaligned(x: Array) -> Array:
    shifted = np.frombuffer(bytearray(x.nbytes + 1), np.uint8)[1:].view(np.float32).reshape(x.shape)
    shifted[...] = x
    assert not shifted.flags.aligned
    return shifted


def read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


KINDS: dict[str, Callable[[Array], Any]] = {
    "every second column": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "Fortran order": np.asfortranarray,
    "negative stride": mirrored,
    "misaligned": misaligned,
    "read-only": read_only,
    "big-endian": lambda x: x.astype(">f4"),
    "little-endian float64": lambda x: x.astype("<f8"),
    "big-endian int16": lambda x: x.astype(">i2"),
    "float16": lambda x: x.astype(np.float16),
    "int64": lambda x: x.astype(np.int64),
    "int8": lambda x: x.astype(np.int8),
    "uint8": lambda x: x.astype(np.uint8),
    "uint32, strided": lambda x: np.repeat(x.astype(np.uint32), 3, 0)[::3],
    "list": lambda x: x.tolist(),
    "view of a subclass": lambda x: x.view(np.recarray),
}


@every_layer
def test_any_kind_of_real_array_gives_the_same(case: LayerCase) -> None:
    layer = case.make()
    x = np.random.default_rng(1).integers(0, 8, (4, *case.shape)).astype(np.float32)
    expected = layer.forward(x)
    for name, convert in KINDS.items():
        assert_bits(layer.forward(convert(x)), expected, name)
    ones = (x > 3).astype(np.float32)
    assert_bits(layer.forward(x > 3), layer.forward(ones), "bool")


@every_layer
@pytest.mark.parametrize("kind", ["Fortran order", "negative stride", "little-endian float64", "read-only"])
def test_any_kind_of_output_gradient_gives_the_same(case: LayerCase, kind: str) -> None:
    x, dy = case.batch(), output_gradient(case)
    expected = gradients(case.make(), x, dy)
    for name, value in gradients(case.make(), x, KINDS[kind](dy)).items():
        assert_close(value, expected[name], 0, name)


@every_layer
def test_arguments_are_only_read(isa: str, case: LayerCase) -> None:
    layer, x, dy = case.make(), read_only(case.batch()), read_only(output_gradient(case))
    copies = x.copy(), dy.copy()
    gradients(layer, x, dy)
    layer.forward(x)
    assert_bits(x, copies[0])
    assert_bits(dy, copies[1])


REFUSED: dict[str, Callable[[tuple[int, ...]], Any]] = {
    "complex": lambda shape: np.ones(shape, np.complex64),
    "object": lambda shape: np.full(shape, None),
    "string": lambda shape: np.full(shape, "1.5"),
    "date": lambda shape: np.zeros(shape, "datetime64[s]"),
    "masked": lambda shape: np.ma.masked_less(np.ones(shape, np.float32), 0),
    "longdouble": lambda shape: np.ones(shape, np.longdouble),
    "None": lambda shape: None,
}


@every_layer
def test_other_arrays_are_refused(case: LayerCase) -> None:
    layer = case.make()
    for name, make in REFUSED.items():
        with pytest.raises(TypeError) as error:
            layer(make((2, *case.shape)))
        rule = "a plain array" if name == "masked" else r"of a real dtype (bool, integers, float16/32/64)"
        assert str(error.value).startswith(f"{case.cls} '{layer.name}': expected input "), name
        assert rule in str(error.value)
    with pytest.raises(ValueError, match="expected input within the range of float32"):
        layer(np.full((2, *case.shape), 1e300))


# ---------------------------------------------------------------- shapes, configurations, files


@every_layer
def test_wrong_shapes_are_refused(case: LayerCase) -> None:
    layer = case.make()
    for shape in case.wrong:
        for wrong in (np.zeros(shape), np.zeros((0, *shape[1:]))):
            with pytest.raises(ValueError) as error:
                layer(wrong)
            text = str(error.value)
            assert text.startswith(f"{case.cls} '{layer.name}': expected "), text
            where = "shape (N," if case.cls == "Reshape" else str(wrong.shape)
            assert where in text, text


@every_layer
def test_output_shape_is_known_before(case: LayerCase) -> None:
    layer = case.make()
    y = layer.forward(case.batch())
    assert layer.compute_output_shape((None, *case.shape)) == (None, *y.shape[1:])
    assert layer.input_shape == (None, *case.shape)
    assert layer.built


@every_layer
def test_backward_needs_forward(case: LayerCase) -> None:
    layer, dy = case.make(), output_gradient(case)
    with pytest.raises(ValueError, match=r"expected forward\(x, training=True\) before backward, got no such call"):
        layer.backward(dy)
    layer.forward(case.batch(), training=True)
    layer.forget()
    with pytest.raises(ValueError, match="before backward"):
        layer.backward(dy)


@every_layer
def test_configuration_round_trip(case: LayerCase) -> None:
    layer, x, dy = case.make(), case.batch(), output_gradient(case)
    settings = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(settings)
    assert again.get_config() == layer.get_config()
    assert again.name == layer.name
    assert again.trainable == layer.trainable
    again.build_for((None, *case.shape))
    again.set_weights(layer.get_weights())
    assert [p.name for p in again.weights] == [p.name for p in layer.weights]
    expected = gradients(layer, x, dy)
    for name, value in gradients(again, x, dy).items():
        assert_bits(value, expected[name], name)
    for given in case.arguments:
        assert given in settings


@every_layer
def test_save_and_load_in_a_model(case: LayerCase, tmp_path: Path) -> None:
    layer = case.make()
    model = Sequential([layers.Input(case.shape), layer], name="holds one")
    x = case.batch(7)
    model.save(tmp_path / "model.fastnn")
    again = load_model(tmp_path / "model.fastnn")
    assert again.get_config() == model.get_config()
    assert again.layers[0].trainable == layer.trainable
    assert_bits(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for p, q in zip(model.weights, again.weights, strict=True):
        assert p.name == q.name
        assert_bits(p.value, q.value, p.name)


@every_layer
def test_weights(case: LayerCase) -> None:
    layer = case.make()
    weights = layer.get_weights()
    assert layer.count_params() == sum(w.size for w in weights)
    for w, p in zip(weights, layer.weights, strict=True):
        assert not np.shares_memory(w, p.value)  # a copy
        assert p.name.startswith(f"{layer.name}/")
    if not weights:
        return
    with pytest.raises(ValueError, match=rf"expected {len(weights)} arrays of weights, got {len(weights) + 1}"):
        layer.set_weights([*weights, weights[0]])
    with pytest.raises(ValueError, match=r"expected a value of shape \(.*\), got \(.*\)"):
        layer.set_weights([w + 1 for w in weights[:-1]] + [np.zeros((*weights[-1].shape, 2))])
    for w, p in zip(weights, layer.weights, strict=True):
        assert_bits(p.value, w)  # all or none


@every_layer
def test_repr_and_unknown_arguments(case: LayerCase) -> None:
    layer = case.make()
    assert repr(layer) == f"<{case.cls} '{layer.name}'>"
    with pytest.raises(TypeError, match=rf"{case.cls}: expected only known arguments, got 'nmae'; did you mean 'name'"):
        type(layer)(**case.arguments, nmae="x")
    named = type(layer)(**case.arguments, name="mine")
    assert named.name == "mine"
    with pytest.raises(ValueError, match="expected name to be a non-empty string without '/'"):
        type(layer)(**case.arguments, name="a/b")
    with pytest.raises(TypeError, match="expected trainable to be True or False, got 1"):
        type(layer)(**{**case.arguments, "trainable": 1})
    with pytest.raises(ValueError, match="expected dtype None or 'float32', got 'float64'"):
        type(layer)(**case.arguments, dtype="float64")
