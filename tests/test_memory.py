"""Training needs no more memory the longer it runs; models and their buffers go away with their last user."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest
from tiny import X, Y, blobs, cnn, images, line, mlp

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory in use from /proc")

# Runs in a process of its own, so that only the training is measured.
STEPS = """
import gc, sys
sys.path.insert(0, sys.argv[1])
from fastnn import config
from tiny import blobs, cnn, images, mlp

config.set_num_threads(1)

def repeat(times, function):
    for i in range(times):
        function(i)

def resident():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096

x, y = blobs(64)
pixels, corners = images(32)
recorded, eager, convolutional = mlp(), mlp(run_eagerly=True), cnn()
ways = {
    "fit": lambda steps: recorded.fit(x, y, 16, epochs=steps // 4, verbose=0),
    "eager fit": lambda steps: eager.fit(x, y, 16, epochs=steps // 4, verbose=0),
    "fit of a convolution": lambda steps: convolutional.fit(pixels, corners, 16, epochs=steps // 2, verbose=0),
    "train_on_batch": lambda steps: repeat(steps, lambda i: recorded.train_on_batch(x[:20], y[:20])),
    "predict": lambda steps: repeat(steps, lambda i: recorded.predict(x[: 20 + i % 3], 16, verbose=0)),
    "fit anew": lambda steps: repeat(steps // 4, lambda i: recorded.fit(x, y, 16, verbose=0)),
    "by hand": lambda steps: repeat(steps, lambda i: eager.backward(eager.forward(x, training=True))),
}
for name, run in ways.items():
    run(2000)
    before = resident()
    run(2000)
    print(name, resident() - before, sep=":")
"""


@needs_proc
def test_memory_does_not_grow_with_the_steps() -> None:
    command = [sys.executable, "-c", STEPS, os.path.dirname(__file__)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    growth = {name: int(size) for name, size in (line.split(":") for line in done.stdout.splitlines())}
    assert len(growth) == 7
    for name, size in growth.items():
        assert size < 300_000, f"{name}: 2,000 steps took {size:,} bytes"


def test_a_model_goes_away_with_its_last_user() -> None:
    for run_eagerly in (False, True):
        model = line("adam", run_eagerly=run_eagerly)
        model.fit(X, Y, 4, validation_data=(X, Y), verbose=0)
        model.predict(X, verbose=0)
        gone = weakref.ref(model), weakref.ref(model.layers[0]), weakref.ref(model.optimizer)
        gc.disable()  # a recorded one at once, not when the collector comes
        try:
            del model
            if run_eagerly:
                gc.collect()
            assert [r() for r in gone] == [None, None, None]
        finally:
            gc.enable()


def test_data_are_let_go_of() -> None:
    model = mlp()
    x, y = blobs(64)
    model.fit(x, y, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    kept = weakref.ref(x)
    del x
    gc.collect()
    assert kept() is None


def test_all_steps_of_a_model_share_their_buffers() -> None:
    model, (x, y) = cnn(size=16, filters=16), images(100, size=16)
    model.train_on_batch(x[:64], y[:64])
    alone = model._steps.bytes()
    model.fit(x, y, 64, validation_data=(x, y), verbose=0)  # 64 and 36 samples, training and not
    model.evaluate(x, y, 50, verbose=0)
    model.predict(x, 64, verbose=0)
    assert len(model._steps._steps) == 7
    assert model._steps.bytes() < 1.25 * alone
    assert model._steps._arena.unused


def test_buffers_of_a_step_are_used_again() -> None:
    """A step needs about what its largest layers need together, not a buffer for every call."""
    model, (x, y) = cnn(size=16, filters=16), images(64, size=16)
    model.fit(x, y, 64, verbose=0)
    largest = 4 * 64 * 16 * 16 * 16  # bytes of one output of the first convolution
    assert model._steps.bytes() < 8 * largest + 4 * 2**20


def test_the_steps_of_a_model_share_their_buffers() -> None:
    """Training with an odd last batch, validation and predictions need what the largest of these steps needs."""
    pixels, corners = images(104, size=16)
    alone, model = cnn(size=16, filters=16), cnn(size=16, filters=16)
    alone.fit(pixels[:64], corners[:64], 64, verbose=0)
    model.fit(pixels, corners, 64, validation_data=(pixels, corners), verbose=0)
    model.predict(pixels, 50, verbose=0)
    assert len(model._steps._steps) >= 5
    assert all(
        step.tape is not None and step.tape.arena is model._steps._arena for step in model._steps._steps.values()
    )
    assert model._steps.bytes() <= 1.25 * alone._steps.bytes()


@needs_proc
def test_zeros_take_no_memory_before_they_are_written() -> None:
    resident = "int(open('/proc/self/statm').read().split()[1])"
    code = f"from fastnn import ops; a = {resident}; z = ops.zeros((1 << 24,)); print({resident} - a)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert int(done.stdout) * 4096 < 2**24
