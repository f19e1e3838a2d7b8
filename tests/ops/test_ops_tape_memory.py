"""The memory of recorded steps: used again where it is free, kept where it is not."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from ops_calls import Array, Generator, normal, recorded
from tolerances import assert_bits

from fastnn import ops


def test_memory_is_used_again_while_recording() -> None:
    x, size = np.ones((512, 1024), np.float32), 512 * 1024 * 4
    held: list[Array] = []

    def chain(keep: bool) -> Array:
        y = x
        for _ in range(20):
            y = ops.activation_forward(y, "relu")
            if keep:
                held.append(y)
        return y

    assert 2 * size <= recorded(lambda: chain(False)).bytes <= 4 * size
    assert recorded(lambda: chain(True)).bytes >= 20 * size
    assert len({y.ctypes.data for y in held}) == 20


def program(seed: int, inputs: list[Array], w: Array) -> list[Array]:
    """Run a random sequence of ops on random rows of arrays, forgetting some on the way; return those that are left."""
    rng, live = np.random.default_rng(seed), list(inputs)
    for _ in range(200):
        x = live[rng.integers(len(live))]
        x = x[: rng.integers(1, len(x) + 1)] if rng.random() < 0.5 else x
        kind = rng.integers(6)
        if kind == 0:
            live.append(ops.gemm(x, w, activation="tanh"))
        elif kind == 1:
            live.append(ops.softmax_forward(x))
        elif kind == 2:
            live.append(ops.permute(ops.permute(x, (1, 0)), (1, 0)))
        elif kind == 3:
            live.append(ops.dense_backward(x, w, x, None))
        else:
            live.append(ops.activation_forward(x, ("sigmoid", "gelu")[kind - 4]))
        while len(live) > len(inputs) + 1 and rng.random() < 0.5:
            del live[rng.integers(len(inputs), len(live))]
    return live


@pytest.mark.parametrize("seed", range(12))
def test_a_buffer_is_given_back_only_when_it_is_free(rng: Generator, seed: int) -> None:
    w = normal(rng, 33, 33) * np.float32(0.2)
    inputs = [normal(rng, rows, 33) for rows in (17, 400, 2500)]
    tape = ops.Tape()
    with tape:
        results = program(seed, inputs, w)
    for _ in range(2):
        for x in inputs:
            x[...] = normal(rng, *x.shape)
        assert tape.run(1, 60.0) == 1
        for got, want in zip(results, program(seed, inputs, w), strict=True):
            assert_bits(got, want)


def test_a_result_outlives_its_tape(rng: Generator) -> None:
    x, tape = normal(rng, 300, 700), ops.Tape()
    with tape:
        y = ops.activation_forward(x, "relu")
    del tape
    gc.collect()
    ops.activation_forward(np.full((300, 700), np.nan, np.float32), "relu")  # would take the memory if it were free
    assert_bits(y, np.maximum(x, 0))


def test_a_tape_keeps_what_it_reads(rng: Generator) -> None:
    x, out = normal(rng, 9, 5), np.zeros((9, 5), np.float32)
    expected, alive = np.maximum(x, 0), weakref.ref(x)

    def step(source: Array) -> None:
        ops.store_rows(ops.activation_forward(source, "relu"), out, np.array([0]))

    tape = ops.Tape()
    with tape:
        step(x)
    del x
    gc.collect()
    out[...] = np.nan
    assert alive() is not None
    tape.run(1, 1.0)
    assert_bits(out, expected)
    del tape
    gc.collect()
    assert alive() is None, "nothing else holds it"


@pytest.mark.parametrize("argument", ["source", "order", "target"])
def test_a_tape_keeps_the_rows_it_moves(rng: Generator, argument: str) -> None:
    arrays = {"source": normal(rng, 9, 5), "order": rng.permutation(9), "target": np.zeros((9, 5), np.float32)}
    place, alive = np.array([1]), weakref.ref(arrays[argument])
    tape = ops.Tape()
    with tape:
        ops.store_rows(ops.gather_rows(arrays["source"], arrays["order"], place, 7), arrays["target"], place)
    arrays.clear()
    gc.collect()
    assert alive() is not None, "a replay would use memory that is no longer there"
    del tape
    gc.collect()
    assert alive() is None


def test_results_are_buffers_that_a_replay_writes_again(rng: Generator) -> None:
    x, tape = normal(rng, 9, 5), ops.Tape()
    with tape:
        y = ops.activation_forward(x, "relu")
        none = ops.gemm(x[:0], np.ones((5, 3), np.float32))
    x[...] = -x
    tape.run(1, 1.0)
    assert_bits(y, np.maximum(x, 0))
    assert none.shape == (0, 3)


def test_the_size_of_an_arena_follows_from_the_calls(rng: Generator) -> None:
    """Not from where the system puts its chunks."""
    inputs = [normal(rng, rows, 33) for rows in (17, 400, 2500)]
    sizes, between = set(), []
    for i in range(12):
        tape = ops.Tape()
        with tape:
            program(3, inputs, normal(np.random.default_rng(0), 33, 33))
        sizes.add(tape.bytes)
        between.append(np.ones(40_000 * (i % 5) + 1))  # moves what comes next
    assert len(sizes) == 1


def test_tapes_share_an_arena(rng: Generator) -> None:
    arena, w = ops.Arena(), normal(rng, 33, 33) * np.float32(0.2)
    inputs = [normal(rng, rows, 33) for rows in (17, 400, 2500)]
    tapes, kept, sizes = [], [], []
    outs = [np.zeros((2500, 33), np.float32) for _ in range(3)]
    for i in range(3):
        assert arena.unused
        tape = ops.Tape(arena)
        with tape:
            x = ops.activation_forward(inputs[2], ("relu", "tanh", "gelu")[i])
            ops.store_rows(ops.gemm(x, w), outs[i], np.array([0]))
            del x
        tapes.append(tape)
        sizes.append(arena.bytes)
    assert sizes[0] == sizes[2], "all in the same place"
    expected = [out.copy() for out in outs]
    for i in (1, 0, 2, 0):
        outs[i][...] = np.nan
        tapes[i].run(2, 60.0)
        assert_bits(outs[i], expected[i])
    with ops.Tape(arena):
        kept.append(ops.softmax_forward(inputs[0]))
    assert not arena.unused
    kept.clear()
    assert arena.unused
