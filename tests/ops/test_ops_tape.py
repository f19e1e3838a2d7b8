"""Recorded steps: the same bits as eager calls, what may change between runs, running, recording."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ops_calls import Array, Generator, all_calls, normal, recorded
from tolerances import assert_bits

from fastnn import config, ops

ADAM = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
CONV: dict[str, Any] = {"padding": ((1, 1), (1, 0))}
POOL: dict[str, Any] = {"pool_size": (2, 2), "strides": (2, 2)}
ROWS = 60
ALL_CALLS = all_calls()


class Training:
    """A small network with its data, and one training step made of ops; everything that changes lives in arrays."""

    def __init__(self, batch: int = 7) -> None:
        rng = np.random.default_rng(3)
        self.batch = batch
        self.images = rng.integers(0, 256, (ROWS, 8, 9, 3)).astype(np.uint8)
        self.labels = rng.integers(0, 5, ROWS).astype(np.int32)
        self.order = rng.permutation(ROWS)
        self.position, self.iterations = np.zeros(1, np.int64), np.zeros(1, np.int64)
        self.drops, self.lr = np.array([5], np.uint64), np.array([0.01], np.float32)
        self.cells = [np.array([a.ctypes.data], np.uint64) for a in (self.images, self.labels, self.order)]
        self.loss, self.right = np.zeros(2), np.zeros(2)
        self.moving = np.zeros(6, np.float32), np.ones(6, np.float32)
        shapes = ((3, 2, 3, 6), (6,), (6,), (6,), (4 * 4 * 6, 5), (5,))
        starts = np.cumsum([0, *(int(np.prod(s)) for s in shapes)])
        self.w, self.g, self.m, self.v = (np.zeros(starts[-1], np.float32) for _ in range(4))
        self.w[...] = normal(rng, starts[-1]) * np.float32(0.3)
        views = [
            [flat[a:b].reshape(s) for a, b, s in zip(starts, starts[1:], shapes, strict=False)]
            for flat in (self.w, self.g)
        ]
        self.parameters, self.gradients = views

    def step(self) -> None:
        """Gather, forward, loss, metrics, backward, update."""
        images, labels, order = self.cells
        kernel, kernel_bias, gamma, beta, dense, dense_bias = self.parameters
        dkernel, dkernel_bias, dgamma, dbeta, ddense, ddense_bias = self.gradients
        x = ops.gather_cells(images, order, self.position, self.batch, (8, 9, 3), np.dtype(np.uint8), 1 / 255)
        t = ops.gather_cells(labels, order, self.position, self.batch, (), np.dtype(np.int32))
        a = ops.conv2d_forward(x, kernel, kernel_bias, activation="relu", **CONV)
        b, mean, rstd = ops.batch_norm_forward(a, gamma, beta, *self.moving, momentum=0.9, epsilon=0.01)
        c, index = ops.max_pool2d_forward(b, **POOL)
        d, kept = ops.dropout_forward(c, 0.25, 7, 1, self.drops)
        logits = ops.dense_forward(d.reshape(self.batch, -1), dense, dense_bias)
        probs, losses, dlogits = ops.softmax_cross_entropy(logits, t, scale=1 / self.batch)
        ops.mean_update(losses, self.loss)
        ops.count_matches("sparse", probs, t, self.right)
        assert dlogits is not None
        dd = ops.dense_backward(d.reshape(self.batch, -1), dense, dlogits, ddense, ddense_bias)
        dc = ops.dropout_backward(dd.reshape(c.shape), kept, 0.25)
        db = ops.max_pool2d_backward(dc, index, b.shape, **POOL)
        da = ops.batch_norm_backward(a, db, gamma, mean, rstd, dgamma, dbeta)
        da = ops.activation_backward(da, None, a, "relu")
        ops.conv2d_backward_filter(x, da, dkernel, dkernel_bias, **CONV)
        ops.adam_step(self.w, self.g, self.m, self.v, None, self.lr, self.iterations, weight_decay=0.01, **ADAM)
        ops.advance(self.iterations, 1)
        ops.advance(self.position, self.batch)

    def state(self) -> list[Array]:
        return [
            self.w,
            self.g,
            self.m,
            self.v,
            *self.moving,
            self.loss,
            self.right,
            self.position,
            self.iterations,
            self.drops,
        ]


KERNELS = [
    "gather_rows", "gather_rows", "conv2d_forward", "batch_norm_forward", "max_pool2d_forward", "dropout_forward", "gemm",
    "softmax_cross_entropy", "mean_update", "count_matches", "gemm", "column_sums", "gemm", "dropout_backward",
    "max_pool2d_backward", "batch_norm_backward", "activation_backward", "conv2d_backward_filter", "adam_step",
    "advance", "advance",
]  # fmt: skip


def assert_same_state(got: Training, want: Training) -> None:
    for a, b in zip(got.state(), want.state(), strict=True):
        assert_bits(a, b)


def test_a_replay_has_the_bits_of_eager_steps(isa: str, threads: int) -> None:
    eager, replayed = Training(), Training()
    for _ in range(8):
        eager.step()
    tape = recorded(replayed.step)
    assert replayed.iterations[0] == 1, "the recorded step has happened"
    assert tape.run(3, 60.0) == 3
    assert tape.run(4, 60.0) == 4
    assert_same_state(replayed, eager)
    assert eager.right[1] == 8 * 7
    assert 0 < eager.loss[0] / eager.loss[1] < 10


def test_what_changes_between_runs_takes_effect() -> None:
    eager, replayed = Training(), Training()
    tape = recorded(replayed.step)
    eager.step()

    def both(change: Callable[[Training], None]) -> None:
        before = replayed.w.copy()
        for training in (eager, replayed):
            training.position.fill(0)  # so that the rows never run out
            change(training)
        eager.step()
        eager.step()
        assert tape.run(2, 60.0) == 2
        assert_same_state(replayed, eager)
        assert (before != replayed.w).any()

    both(lambda training: training.lr.fill(0.5))
    both(lambda training: training.position.fill(40))
    both(lambda training: training.iterations.fill(0))
    both(lambda training: training.drops.fill(2**33))
    both(lambda training: training.w.fill(0.125))
    both(lambda training: training.loss.fill(0))

    other, order = 255 - replayed.images[::-1], np.arange(ROWS)[::-1].copy()
    both(lambda training: training.cells[0].fill(other.ctypes.data))
    both(lambda training: training.cells[2].fill(order.ctypes.data))
    both(lambda training: training.cells[2].fill(0))  # no order: rows as they lie


def test_threads_and_instruction_set_may_change_after_recording(isa: str) -> None:
    eager, replayed = Training(50), Training(50)
    for training in (eager, replayed):  # always the same rows, so that they do not run out
        training.cells[2][0] = 0
    tape = recorded(replayed.step)
    for count in (3, 1, 2, 5):
        config.set_num_threads(count)
        replayed.position[0] = 0
        assert tape.run(1, 60.0) == 1
    config.set_num_threads(1)
    for _ in range(5):
        eager.position[0] = 0
        eager.step()
    assert_same_state(replayed, eager)
    config.set_isa("baseline")
    replayed.position[0] = eager.position[0] = 0
    tape.run(1, 60.0)
    config.set_isa(isa)
    eager.step()
    assert_same_state(replayed, eager)


def test_names_and_profile_follow_the_calls() -> None:
    training = Training()
    tape = recorded(training.step)
    assert tape.names() == KERNELS
    assert [call.kernel for call in tape.calls()] == KERNELS
    assert all(call.bytes > 0 and call.label == "" for call in tape.calls())
    seconds = tape.profile(3)
    assert seconds.shape == (3, len(KERNELS) + 1)
    assert ((seconds >= 0) & (seconds < 10)).all()
    assert training.iterations[0] == 7, "profiling replays two steps for each"
    assert tape.profile(0).shape == (0, len(KERNELS) + 1)
    with pytest.raises(ValueError, match="expected steps >= 0"):
        tape.profile(-1)
    assert ops.Tape().names() == []
    assert ops.Tape().run(5, 1.0) == 5


# ---- running ----


def test_run_stops_after_the_steps_or_the_time() -> None:
    counter = np.zeros(1, np.int64)
    tape = recorded(lambda: ops.advance(counter, 1))
    assert tape.run(0, 60.0) == 0
    assert tape.run(1000, 60.0) == 1000
    assert tape.run(1000, 0.0) == 1, "at least one"
    assert counter[0] == 1002
    start = time.perf_counter()
    done = tape.run(10**15, 0.05)
    assert 0.05 <= time.perf_counter() - start < 5.0
    assert counter[0] == 1002 + done


def test_other_python_threads_go_on_while_a_tape_runs() -> None:
    counter, finished, turns = np.zeros(1, np.int64), threading.Event(), itertools.count()
    tape = recorded(lambda: ops.advance(counter, 1))

    def work() -> None:
        while not finished.is_set():
            next(turns)
            time.sleep(0.001)

    other = threading.Thread(target=work)
    other.start()
    before = next(turns)
    tape.run(10**15, 0.2)
    after = next(turns)
    finished.set()
    other.join()
    assert after > before + 5


def test_python_keeps_denormal_numbers_after_a_run(threads: int) -> None:
    x = np.full((300, 300), 2.0**-140, np.float32)
    recorded(lambda: ops.gemm(x, x)).run(3, 1.0)
    assert np.float32(2.0**-149) * np.float32(2.0) == np.float32(2.0**-148)
    assert (x * np.float32(2.0) > 0).all()


class Interrupt(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_an_interrupted_step_has_not_happened(rng: Generator) -> None:
    a, w, before, after = normal(rng, 400, 400), normal(rng, 4000), np.zeros(1, np.int64), np.zeros(1, np.int64)
    g, lr = np.ones(4000, np.float32), np.array([0.5], np.float32)
    start, tape = w.copy(), ops.Tape()
    with tape:
        ops.sgd_step(w, g, lr)
        ops.advance(before, 1)
        for _ in range(200):
            ops.gemm(a, a)
        tape.guard([w, before])
        tape.commit()
        ops.advance(after, 1)

    def stop(*_: object) -> None:
        raise Interrupt

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Interrupt):
            tape.run(10**6, 120.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert before[0] == after[0] >= 1
    for _ in range(int(after[0])):
        start -= np.float32(0.5)
    assert_bits(w, start)
    assert tape.run(1, 60.0) == 1
    assert before[0] == after[0]


# ---- recording ----


def test_only_one_tape_records_on_a_thread() -> None:
    outer, inner, counter = ops.Tape(), ops.Tape(), np.zeros(1, np.int64)
    assert not ops.recording()
    with outer:
        assert ops.recording()
        for tape in (inner, outer):
            with pytest.raises(ValueError, match="expected no other tape recording on this thread"), tape:
                pass
            with pytest.raises(ValueError, match="expected no tape recording on this thread"):
                tape.run(1, 1.0)
        ops.advance(counter, 1)
    assert not ops.recording()
    assert (outer.names(), inner.names()) == (["advance"], [])
    assert counter[0] == 1


def test_each_thread_records_for_itself() -> None:
    seen: list[bool] = []
    tape, counter = ops.Tape(), np.zeros(1, np.int64)

    def other() -> None:
        seen.append(ops.recording())
        ops.advance(counter, 100)
        recorded(lambda: ops.advance(counter, 1000))

    with tape:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        ops.advance(counter, 1)
        assert ops.recording()
    assert seen == [False]
    assert tape.names() == ["advance"]
    tape.run(1, 1.0)
    assert counter[0] == 1102


def test_an_error_ends_the_recording(rng: Generator) -> None:
    tape, x = ops.Tape(), normal(rng, 3, 4)

    def step() -> None:
        ops.activation_forward(x, "relu")
        ops.gemm(x, x)

    with pytest.raises(ValueError, match="expected matrices that fit"), tape:
        step()
    assert not ops.recording()
    assert tape.names() == ["activation_forward"]


def test_a_refused_call_is_not_recorded(rng: Generator) -> None:
    tape, x = ops.Tape(), normal(rng, 3, 4)
    with tape:
        for wrong in (lambda: ops.activation_forward(x, "rely"), lambda: ops.gemm(x, x.T.copy(), bias=x[0])):
            with pytest.raises(ValueError, match="expected"):
                wrong()
        y = ops.softmax_forward(x)
    assert tape.names() == ["softmax_forward"]
    x *= 2
    tape.run(1, 1.0)
    assert_bits(y, ops.softmax_forward(x))


def test_the_twin_is_not_recorded(rng: Generator) -> None:
    config.set_backend("numpy")
    assert recorded(lambda: ops.softmax_forward(normal(rng, 3, 4))).names() == []


def test_labels_say_what_calls_belong_to(rng: Generator) -> None:
    x, tape = normal(rng, 3, 4), ops.Tape()
    ops.label("before")  # nothing records: it is for nobody
    with tape:
        ops.softmax_forward(x)
        ops.label("a", "forward")
        ops.softmax_forward(x)
        ops.gemm(x, x.T.copy())
        ops.label("b")
        ops.softmax_forward(x)
    assert [call.label for call in tape.calls()] == ["", "a/forward", "a/forward", "b"]
    assert [call.flops for call in tape.calls()] == [0, 0, 2 * 3 * 4 * 3, 0]


def test_a_plan_is_not_carried_out(rng: Generator) -> None:
    x, counter = normal(rng, 300, 400), np.zeros(1, np.int64)
    plan, real = ops.Tape(plan=True), ops.Tape()

    def step() -> None:
        ops.softmax_forward(ops.gemm(x, ops.permute(x, (1, 0))))
        ops.advance(counter, 1)

    with plan:
        step()
    assert counter[0] == 0
    with real:
        step()
    assert counter[0] == 1
    assert plan.calls() == real.calls()
    assert plan.bytes == real.bytes
    for use in (lambda: plan.run(1, 1.0), lambda: plan.profile(1)):
        with pytest.raises(ValueError, match="not one that only plans"):
            use()


@pytest.mark.parametrize("name", ALL_CALLS)
def test_every_call_has_its_work(name: str) -> None:
    """At least the bytes of what it returns; the flops of products and convolutions, and of nothing else."""
    results: list[Array] = []
    tape = recorded(lambda: results.extend(ALL_CALLS[name].run(ops)))
    calls = tape.calls()
    assert sum(call.bytes for call in calls) >= sum(result.nbytes for result in results if result.size > 2)
    for call in calls:
        assert (call.flops > 0) == call.kernel.startswith(("gemm", "conv2d", "max_pooled_conv2d"))
        assert call.bytes > 0


# ---------------------------------------------------------------- tapes that share memory


def recorded_sum(arena: ops.Arena, x: Array, total: Array) -> ops.Tape:
    """Return a tape that writes 2 (x + x) into total, with buffers in between."""
    tape = ops.Tape(arena)
    with tape:
        ops.add(ops.add(x, x), ops.add(x, x), out=total)
    return tape


def test_tapes_share_an_arena() -> None:
    arena = ops.Arena()
    sizes = (300_000, 7, 200_000, 300_000)
    arrays = [np.arange(n, dtype=np.float32) % 97 for n in sizes]
    totals = [ops.zeros(x.shape) for x in arrays]
    tapes = [recorded_sum(arena, x, total) for x, total in zip(arrays, totals)]
    alone = recorded_sum(ops.Arena(), arrays[0], totals[0]).bytes
    assert all(tape.arena is arena for tape in tapes)
    assert arena.bytes == alone
    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        for i in order:
            arrays[i] += 1
            assert tapes[i].run(1, 1.0) == 1
            assert_bits(totals[i], arrays[i] * 4)


def test_what_outlives_its_recording_is_not_shared() -> None:
    """An array that a later recording reads, and that Python then lets go of, must not become another step's memory."""
    arena = ops.Arena()
    with ops.Tape(arena):
        lasting = ops.empty((1000,))
    assert not arena.unused
    with pytest.raises(ValueError, match="an arena in which no array lies"), ops.Tape(arena):
        pass
    assert not ops.recording()
    del lasting
    assert arena.unused
    with ops.Tape(arena):
        pass


def test_no_step_in_the_middle_of_another() -> None:
    """A signal's handler that runs a tape over the same memory gets an error, and the step is taken back."""
    arena, counter = ops.Arena(), np.zeros(1, np.int64)
    long, other = ops.Tape(arena), ops.Tape(arena)
    with long:
        ops.advance(counter, 1)
        for _ in range(4000):
            ops.fill(ops.empty((1 << 18,)), 1.0)
        long.commit()
    long.guard([counter])
    with other:
        ops.fill(ops.empty((8,)), 2.0)
    long.run(1, 0.0)
    seen: list[int] = []

    def run_on() -> None:
        for _ in range(100):
            seen.append(int(counter[0]))
            long.run(1, 0.0)

    before = signal.signal(signal.SIGALRM, lambda *_: other.run(1, 1.0))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(RuntimeError, match="in the middle of another"):
            run_on()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert counter[0] == seen[-1]
    assert other.run(1, 1.0) == 1
