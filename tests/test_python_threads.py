"""Models used from several Python threads give what they give in one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny import Array, assert_same, blobs, cnn, images, mlp, state, train


def in_threads(jobs: list[Callable[[], dict[str, Array]]]) -> list[dict[str, Array]]:
    """Run the jobs at the same time; return their results."""
    together = threading.Barrier(len(jobs))

    def run(job: Callable[[], dict[str, Array]]) -> dict[str, Array]:
        together.wait(10)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(60) for future in [pool.submit(run, job) for job in jobs]]


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_two_models_in_two_threads(threads: int, run_eagerly: bool) -> None:
    x, y = blobs(71)
    pixels, corners = images(47)
    makers = [
        (mlp(run_eagerly=run_eagerly), x, y),
        (cnn(run_eagerly=run_eagerly), pixels, corners),
        (mlp(run_eagerly=run_eagerly), x, y),
    ]
    for model, *data in makers:
        model.predict(data[0][:1], verbose=0)
    jobs = [lambda m=model, a=a, b=b: train(m, a, b, epochs=10) for model, a, b in makers]
    found = in_threads(jobs)
    assert_same(found[0], train(mlp(), x, y, epochs=10))
    assert_same(found[1], train(cnn(), pixels, corners, epochs=10))
    assert_same(found[2], found[0])


# One model, in a process of its own: were its buffers mixed up, the process would die.
ONE_MODEL = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import numpy as np
from fastnn import config
from tiny import blobs, mlp

config.set_num_threads(int(sys.argv[2]))
model, (x, y) = mlp(), blobs(64)
uses = {
    "predict": lambda part: model.predict(part, 8, verbose=0),
    "forward": lambda part: model.forward(part),
    "evaluate": lambda part: model.evaluate(part, y[: len(part)], 8, verbose=0),
}
use, wrong = uses[sys.argv[3]], []
parts = [x[:20], x[:37], x[:64]]
expected = [use(part) for part in parts]

def run(i):
    try:
        wrong.extend(n for n in range(100) if not np.array_equal(use(parts[i]), expected[i]))
    except BaseException as error:
        wrong.append(repr(error))

threads = [threading.Thread(target=run, args=[i]) for i in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong[:5]
"""


@pytest.mark.parametrize("use", ["predict", "forward", "evaluate"])
def test_one_model_in_several_threads(threads: int, use: str) -> None:
    command = [sys.executable, "-c", ONE_MODEL, os.path.dirname(__file__), str(threads), use]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-400:]}"


def test_training_in_another_thread_than_the_first(threads: int) -> None:
    model, other, (x, y) = mlp(), mlp(), blobs(64)
    model.fit(x, y, 16, 2, verbose=0)
    thread = threading.Thread(target=lambda: model.fit(x, y, 16, 2, verbose=0))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    for _ in range(2):
        other.fit(x, y, 16, 2, verbose=0)
    assert_same(state(model), state(other))
