"""What holds for every op: same bits for any thread count and vector width, inputs left alone, a twin behind each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops_calls import (
    SERIAL,
    Call,
    Generator,
    adaptive_calls,
    all_calls,
    around_optimizer_calls,
    convolution_calls,
    data_calls,
    double,
    loss_calls,
    merge_calls,
    norm_calls,
    optimizer_calls,
    pool_calls,
    random_convolution,
    random_pooling,
    row_calls,
)
from regular_calls import regular_calls
from tolerances import assert_bits
from window_calls import random_depthwise, random_volume, transposed_calls, volume_calls

from fastnn import config, ops, reference

CALLS = all_calls()
TWINS = sorted(name for name in reference.__all__ if callable(getattr(reference, name)))
PARALLEL = {label: call for label, call in CALLS.items() if call.op not in SERIAL}

every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
every_twin = pytest.mark.parametrize("name", TWINS)


def wake_threads() -> None:
    """Give the threads work, for they take part in a short call only if they are awake."""
    ops.fill(np.zeros(300_000, np.float32), 1.0)


def test_every_op_has_a_call() -> None:
    assert sorted({call.op for call in CALLS.values()}) == TWINS


@every_call
def test_bits_do_not_depend_on_the_number_of_threads(isa: str, call: Call) -> None:
    config.set_num_threads(1)
    expected = call.run()
    assert expected
    for count in (2, 3, 5):
        config.set_num_threads(count)
        wake_threads()
        for got, one in zip(call.run(), expected, strict=True):
            assert_bits(got, one, f"{count} threads")


def test_bits_of_random_shapes_do_not_depend_on_the_number_of_threads(isa: str, rng: Generator) -> None:
    def size(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    poolings = {f"pooling {i}": random_pooling(rng, 60) for i in range(15)}
    convolutions = {f"convolution {i}": random_convolution(rng, 40) for i in range(15)}
    depthwise = {f"depthwise {i}": random_depthwise(rng, 40) for i in range(10)}
    calls = {
        **convolution_calls(rng, convolutions | depthwise),
        **transposed_calls(rng, convolutions),
        **volume_calls(rng, {f"volume {i}": random_volume(rng, 15) for i in range(5)}),
        **pool_calls(rng, poolings),
        **row_calls(rng, size(200, 500), size(20, 200)),
        **norm_calls(rng, (size(500, 2000), size(3, 100))),
        **loss_calls(rng, size(300, 900), size(3, 60)),
        **optimizer_calls(rng, size(20_000, 40_000)),
        **adaptive_calls(rng, size(20_000, 40_000)),
        **around_optimizer_calls(rng, size(20_000, 40_000)),
        **data_calls(rng, size(100, 300), size(100, 300)),
        **merge_calls(rng, size(100, 300), size(100, 300)),
        **regular_calls(rng, size(100, 300), size(100, 300)),
    }
    for label, call in calls.items():
        config.set_num_threads(1)
        expected = call.run()
        for count in (2, 3):
            config.set_num_threads(count)
            wake_threads()
            for got, one in zip(call.run(), expected, strict=True):
                assert_bits(got, one, f"{label}, {count} threads: {[np.shape(a) for a in call.args]} {call.options}")


@pytest.mark.parametrize("call", PARALLEL.values(), ids=PARALLEL)
def test_calls_are_large_enough_for_several_threads(call: Call) -> None:
    config.set_num_threads(2)
    tape = ops.Tape()
    with tape:
        call.run()
    assert tape.shares


@every_call
@pytest.mark.skipif("avx512" not in config.available_isas(), reason="needs two instruction sets that have FMA")
def test_bits_do_not_depend_on_the_width_of_a_vector(call: Call) -> None:
    results = []
    for name in ("avx2", "avx512"):
        config.set_isa(name)
        results.append(call.run())
    for narrow, wide in zip(*results, strict=True):
        assert_bits(narrow, wide)


@every_call
def test_inputs_are_only_read(isa: str, call: Call) -> None:
    def read_only(x: Any) -> Any:
        view = x[...] if isinstance(x, np.ndarray) else x
        if isinstance(x, np.ndarray):
            view.flags.writeable = False
        return view

    args = tuple(a if i in call.written else read_only(a) for i, a in enumerate(call.args))
    before = [double(a) for a in args]
    results = Call(call.op, args, call.options, call.written).run()
    for now, then in zip(args, before, strict=True):
        if isinstance(now, np.ndarray):
            np.testing.assert_array_equal(now, then)
            assert not any(np.shares_memory(now, result) for result in results)


@every_call
def test_the_numpy_backend_runs_the_twin(call: Call) -> None:
    expected = call.twin()
    config.set_backend("numpy")
    for got, want in zip(call.run(ops, double), expected, strict=True):
        assert_bits(got, want)  # in float64, which no kernel could do
    config.set_backend("native")
    assert all(x.dtype in (np.float32, np.uint8, np.int32, np.uint64, np.int64, np.float64) for x in call.run())


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any, Any]]:
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@every_twin
def test_op_and_twin_have_the_same_signature(name: str) -> None:
    assert parameters(getattr(ops, name)) == parameters(getattr(reference, name))


@every_twin
def test_op_keeps_its_name_and_documentation(name: str) -> None:
    function = getattr(ops, name)
    assert function.__name__ == name
    assert function.__doc__


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (3, 5, 7)])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint64])
def test_new_arrays_are_aligned(shape: tuple[int, ...], dtype: type) -> None:
    for x in (ops.empty(shape, np.dtype(dtype)), ops.zeros(shape, np.dtype(dtype))):
        assert x.shape == shape
        assert x.dtype == dtype
        assert x.ctypes.data % 64 == 0
        assert x.flags.c_contiguous
        assert x.flags.writeable
    assert not ops.zeros(shape).any()


def test_new_arrays_of_impossible_size() -> None:
    for shape in ((2**62, 2**62), (2**45,)):
        with pytest.raises(MemoryError):
            ops.empty(shape)
    with pytest.raises(ValueError, match="expected dimensions >= 0"):
        ops.empty((3, -1))


def test_machine_limits_are_measured(isa: str, threads: int) -> None:
    assert ops.measure_peak(threads, seconds=0.02) > 0
    assert ops.measure_bandwidth(2**16, threads, seconds=0.02) > 0


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"set_isa: expected name to be one of .*got 'sse9'"):
        config.set_isa("sse9")
    with pytest.raises(
        ValueError, match=r"set_backend: expected name to be one of .*got 'numpyy'.*did you mean 'numpy'"
    ):
        config.set_backend("numpyy")
    for count in (0, -1, 1025):
        with pytest.raises(ValueError, match=rf"set_num_threads: expected count .*got {count}"):
            config.set_num_threads(count)
    with pytest.raises(TypeError, match="set_num_threads: expected count"):
        config.set_num_threads(2.0)
