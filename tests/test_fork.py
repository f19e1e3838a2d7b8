"""A process that has trained may be forked: the child predicts and trains like its parent, and does not hang."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

SETUP = """
import os, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from fastnn import config
from tiny import blobs, cnn, images, mlp, state

config.set_num_threads(2)
x, y = images(64, size=16)
a, b = blobs(128)
convolutional, perceptron = cnn(size=16, filters=16), mlp(hidden=512)

def train():
    convolutional.fit(x, y, 32, 2, validation_split=0.25, verbose=0)
    perceptron.fit(a, b, 64, 3, verbose=0)
    found = [convolutional.predict(x, verbose=0), perceptron.predict(a, verbose=0)]
    found += [*state(convolutional).values(), *state(perceptron).values()]
    return b"".join(np.ascontiguousarray(v).tobytes() for v in found)

train()
"""

FORK = """
import select, signal, time
ends = []
for _ in range(2):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "wb") as out:
            out.write(train())
            out.flush()
            os._exit(0)
    os.close(writing)
    ends.append((child, reading))
mine, results, end = train(), [b"", b""], time.monotonic() + 30
for i, (child, reading) in enumerate(ends):
    while True:
        if not select.select([reading], [], [], max(0, end - time.monotonic()))[0]:
            for stuck, _ in ends:
                os.kill(stuck, signal.SIGKILL)
            sys.exit("a child hangs")
        part = os.read(reading, 2**20)
        if not part:
            break
        results[i] += part
    os.waitpid(child, 0)
assert results[0] == results[1] == mine, "the children got other numbers"
train()
"""

POOL = """
import multiprocessing
def predict(i):
    return perceptron.predict(a[i :: 4], verbose=0)
expected = [predict(i) for i in range(4)]
with multiprocessing.get_context("fork").Pool(2) as pool:
    found = pool.map_async(predict, range(4)).get(30)
assert all(np.array_equal(p, q) for p, q in zip(found, expected))
"""


@pytest.mark.parametrize("use", [FORK, POOL], ids=["fork", "pool"])
def test_child_trains_and_predicts(use: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SETUP + use, os.path.dirname(__file__)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
