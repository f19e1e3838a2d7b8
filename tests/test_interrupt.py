"""Ctrl-C during a training: fit returns at once, the model is as after a whole number of steps, training can go on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
import pytest
from tiny import blobs, mlp, state

from fastnn import Sequential, callbacks, ops

# Trains again and again; every training is interrupted from outside and then checked against one that does as many steps.
CHILD = """
import json, signal, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from fastnn import callbacks, config
from tiny import blobs, cnn, images, mlp, state

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs in the background
kind, trials = sys.argv[2], int(sys.argv[3])
if kind == "cnn":
    x, y = images(640, size=28)  # long steps: most signals come in the middle of one
    batch_size, make = 256, lambda: cnn(size=28, filters=16)
else:
    x, y = blobs(500)
    batch_size, make = 16, lambda: mlp(hidden=64, run_eagerly=kind == "eager")
options = {"validation_data": (x, y)} if kind == "validation" else {}
steps = -(-len(x) // batch_size)

def tell(**what):
    print(json.dumps(what), flush=True)

begin = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: tell(begun=True) if epoch == 0 else None)
for _ in range(trials):
    model = make()
    history = model.fit(x, y, batch_size, epochs=10**6, verbose=0, callbacks=[begin], **options)
    returned = time.monotonic()
    done = int(model.optimizer.iterations[0])

    other = make()
    if done // steps:
        other.fit(x, y, batch_size, epochs=done // steps, verbose=0)
    if done % steps:
        def stop(batch, logs):
            other.stop_training = batch + 1 == done % steps
        other.fit(x, y, batch_size, verbose=0, callbacks=[callbacks.LambdaCallback(on_train_batch_end=stop)])
    expected, found = state(other), state(model)
    wrong = [name for name in expected if not np.array_equal(expected[name], found[name])]
    again = model.fit(x, y, batch_size, epochs=1, verbose=0)
    tell(
        returned=returned, done=done, wrong=wrong, interrupted=history.interrupted,
        goes_on=int(model.optimizer.iterations[0]) == done + steps and not again.interrupted,
    )
"""


@contextmanager
def running(kind: str, trials: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CHILD, os.path.dirname(__file__), kind, str(trials)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def answer(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    assert child.stderr is not None
    text = child.stdout.readline()
    assert text, child.stderr.read()
    result: dict[str, Any] = json.loads(text)
    return result


@pytest.mark.parametrize(("kind", "trials"), [("mlp", 6), ("cnn", 5), ("eager", 3), ("validation", 3)])
def test_interrupted_fit(kind: str, trials: int, record_property: Any) -> None:
    delays, times = random.Random(kind), []
    with running(kind, trials) as child:
        for trial in range(trials):
            assert answer(child) == {"begun": True}
            time.sleep(0 if trial == 0 else delays.uniform(0.01, 0.35))  # the first while the first step is recorded
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            found = answer(child)
            times.append(found["returned"] - sent)
            assert found["interrupted"]
            assert found["wrong"] == [], f"not the state after {found['done']} steps"
            assert found["goes_on"]
    record_property("longest_seconds", max(times))
    print(f"{kind}: fit returned after at most {max(times):.3f} s, {sorted(round(t, 3) for t in times)}")
    assert max(times) < 1.0  # 0.2 on a machine that does nothing else


OTHERS = """
import json, signal, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from fastnn import callbacks
from tiny import cnn, images

signal.signal(signal.SIGINT, signal.default_int_handler)
x, y = images(640, size=28)
model = cnn(size=28, filters=12)
expected = model.predict(x[:70], verbose=0)
x, y = np.tile(x, (60, 1, 1, 1)), np.tile(y, 60)
for use in ("predict", "evaluate"):
    hook = {"predict": "on_predict_begin", "evaluate": "on_test_begin"}[use]
    begin = callbacks.LambdaCallback(**{hook: lambda logs: print("{}", flush=True)})
    data = [x] if use == "predict" else [x, y]
    try:
        getattr(model, use)(*data, verbose=0, callbacks=[begin])
        raised = False
    except KeyboardInterrupt:
        raised = True
    returned = time.monotonic()
    same = np.array_equal(model.predict(x[:70], verbose=0), expected)
    print(json.dumps({"returned": returned, "raised": raised, "same": same}), flush=True)
"""


def test_interrupted_predict_and_evaluate() -> None:
    command = [sys.executable, "-c", OTHERS, os.path.dirname(__file__)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            for _ in range(2):
                assert answer(child) == {}
                time.sleep(0.05)
                sent = time.monotonic()
                child.send_signal(signal.SIGINT)
                found = answer(child)
                assert found["raised"], "it was done before the signal came"
                assert found["same"]
                assert found["returned"] - sent < 1.0
        finally:
            child.kill()


# ---------------------------------------------------------------- at every line

TRACED = ("/training/step.py", "/training/compiled.py", "/optimizers/base.py")


def two_steps(run_eagerly: bool, stop_after: int | None = None) -> Sequential:
    """Return a model after its first training steps, two unless stopped before."""
    model, (x, y) = mlp(run_eagerly=run_eagerly), blobs(32)
    model.evaluate(x[:1], y[:1], verbose=0)  # all that happens only once in a process

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = batch + 1 == stop_after

    hooks = [callbacks.LambdaCallback(on_train_batch_end=stop)] if stop_after else []
    if stop_after != 0:
        model.fit(x, y, 16, callbacks=hooks, verbose=0)
    return model


def interrupt_at(line: int, run_eagerly: bool) -> tuple[Sequential, bool]:
    """Train while Ctrl-C arrives at the given line that is executed; return the model, and whether there was such a line."""
    model, (x, y) = mlp(run_eagerly=run_eagerly), blobs(32)
    model.evaluate(x[:1], y[:1], verbose=0)
    count = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.endswith(TRACED):
            return None
        if event == "line":
            count += 1
            if count == line:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    try:
        model.fit(x, y, 16, verbose=0)
    except KeyboardInterrupt:
        pass  # before the first step
    finally:
        sys.settrace(None)
    return model, count >= line


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_interrupt_at_every_line(run_eagerly: bool) -> None:
    handler, tracer = signal.signal(signal.SIGINT, signal.default_int_handler), sys.gettrace()
    try:
        after = [state(two_steps(run_eagerly, n)) for n in (0, 1, 2)]
        line, reached, seen = 0, True, set()
        while reached:
            line += 1
            model, reached = interrupt_at(line, run_eagerly)
            recording = ops.recording()
            ops.Tape().__exit__()  # or all that follows would go into a tape that is gone
            assert not recording, f"Ctrl-C at line {line} executed: still recording"
            found = state(model)
            done = int(found["iterations"][0])
            seen.add(done)
            wrong = [name for name in found if not np.array_equal(found[name], after[done][name])]
            assert wrong == [], f"Ctrl-C at line {line} executed: not the state after {done} steps"
    finally:
        sys.settrace(tracer)
        signal.signal(signal.SIGINT, handler)
    assert line > 100
    assert seen == {0, 1, 2}
