"""The pool of threads: shared by all Python threads, forked, left behind at exit, changed at run time, refused by the system."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task"), reason="this system does not list threads in /proc"
)

# Every program runs in a process of its own, for what is tested is a process: its first threads, its forks, its end.
SETUP = """
import os, signal, sys, threading, time
sys.path.insert(0, sys.argv[1])
import numpy as np

def tasks():
    return set(os.listdir("/proc/self/task"))

at_start = tasks()
from fastnn import config, ops
from tiny import blobs, mlp, state

assert tasks() == at_start, "a thread was made at import"
config.set_num_threads(2)
a, b = blobs(256)

def make(eagerly=False):
    model = mlp(hidden=700, run_eagerly=eagerly)
    model.predict(a[:1], verbose=0)
    return model

def train(epochs=3, model=None):
    model = model or make()
    model.fit(a, b, 64, epochs, verbose=0)
    return b"".join(np.ascontiguousarray(v).tobytes() for v in state(model).values())
"""

TOGETHER = """
expected, wrong = train(), []
assert len(tasks()) == len(at_start) + 1, "one more thread was expected"

def run(models):
    wrong.extend(None for model in models if train(model=model) != expected)

models = [[make(eagerly=i % 2 == 1) for _ in range(6)] for i in range(4)]
threads = [threading.Thread(target=run, args=[part]) for part in models]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(40)
assert not wrong and not any(thread.is_alive() for thread in threads)
end = time.monotonic() + 10
while len(tasks()) > len(at_start) + 1 and time.monotonic() < end:  # a thread that was joined may still be leaving
    time.sleep(0.01)
assert len(tasks()) == len(at_start) + 1, "there is one pool"
"""

FORK = """
expected, stop, wrong = train(), threading.Event(), []

def keep_training():
    while not stop.is_set():
        wrong.extend(part for part in [train()] if part != expected)

thread = threading.Thread(target=keep_training)
thread.start()
for i in range(12):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        alone = len(tasks()) == 1
        os._exit(0 if alone and train() == expected and len(tasks()) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0, f"child {i} hangs, died, got other numbers or made no thread"
stop.set()
thread.join(30)
assert not wrong and not thread.is_alive()
"""

# The handler runs in the middle of a step, which its thread then goes on with in the child as well.
FORK_IN_A_STEP = """
children = []

def fork(*_):
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(40)

x = np.random.default_rng(0).normal(size=(8192, 5)).astype(np.float32)
y = np.arange(8192) % 3

def train():
    model = mlp(hidden=4096)
    model.fit(x, y, 8192, 4, verbose=0)
    return model.get_weights()

expected = train()
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.2)
while not children:
    found = train()
signal.signal(signal.SIGALRM, signal.SIG_DFL)
same = all(np.array_equal(p, q) for p, q in zip(expected, found))
if 0 in children:
    os._exit(0 if same else 1)
assert same and children and os.waitpid(children[0], 0)[1] == 0
"""

EXIT = """
def forever():
    while True:
        train(20, make(EAGERLY))

train()
for _ in range(3):
    threading.Thread(target=forever, daemon=True).start()
time.sleep(0.3)
"""

CHANGE = """
expected = train()
for count in (1, 5, 2, 128, 3, 1024, 1, 2):
    config.set_num_threads(count)
    assert train() == expected, count
changing = threading.Thread(target=lambda: [train(1) for _ in range(8)])
changing.start()
while changing.is_alive():
    for count in (1, 4, 2, 3):
        config.set_num_threads(count)
        time.sleep(0.001)
config.set_num_threads(2)
assert train() == expected
"""

REFUSED = """
import resource
expected = train()
memory = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (memory + 2**22, resource.RLIM_INFINITY))
threads = len(tasks())
for count in (6, 8):
    config.set_num_threads(count)
    y = np.zeros(2**18, np.float32)
    for _ in range(200):
        ops.fill(y, 1.0)
    assert y.sum() == y.size and len(tasks()) == threads
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
config.set_num_threads(3)
assert train() == expected
end = time.monotonic() + 10
while len(tasks()) == threads and time.monotonic() < end:  # after a stall the leader works alone for a while
    assert train() == expected
assert len(tasks()) == threads + 1
"""

SIGNALS = """
train()
mine = [task for task in tasks() - at_start]
assert len(mine) == 1
fields = dict(line.split(":", 1) for line in open(f"/proc/self/task/{mine[0]}/status"))
blocked = int(fields["SigBlk"], 16)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
    assert blocked >> (number - 1) & 1, number

def used():
    return sum(map(int, open(f"/proc/self/task/{mine[0]}/stat").read().rsplit(")", 1)[1].split()[11:13]))

time.sleep(0.1)
before = used()
time.sleep(0.5)
assert used() - before <= 2, "a thread without work uses the processor"
"""

STAGES = """
import subprocess
from fastnn.layers import Dense, Input
from fastnn.models import Sequential

def small_batches():
    config.set_seed(5)
    model = Sequential([Input((5,)), Dense(500, "relu"), Dense(300, "relu"), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    for i in range(0, 240, 8):
        model.train_on_batch(a[i : i + 8], b[i : i + 8])
    return b"".join(np.ascontiguousarray(v).tobytes() for v in state(model).values())

config.set_num_threads(1)
expected = small_batches()
loop = f"import time\\nwhile time.monotonic() < {time.monotonic() + 20}: pass"
busy = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(2)]  # a stage's thread may be put aside
for count in (2, 3, 4, 5, 2):
    config.set_num_threads(count)
    assert small_batches() == expected, count
for process in busy:
    process.kill()
"""

APART = """
if len(os.sched_getaffinity(0)) < 2:
    sys.exit(0)
everywhere = os.sched_getaffinity(0)
x = np.random.default_rng(0).normal(size=(2048, 512)).astype(np.float32)
w = x[:512]
expected = ops.gemm(x, w)
(worker,) = [int(task) for task in tasks() - at_start]

def after_a_pause():
    time.sleep(0.02)  # the worker parks
    assert np.array_equal(ops.gemm(x, w), expected)
    return os.sched_getaffinity(worker)

found = after_a_pause()
assert found and found < everywhere, "the worker may be woken where the leader is"
for own in sorted(everywhere)[:2]:
    os.sched_setaffinity(0, {own})  # nowhere else to go: the worker stays where it may be
    before = os.sched_getaffinity(worker)
    assert after_a_pause() == before
    os.sched_setaffinity(0, everywhere)
    found = after_a_pause()
    assert found and found < everywhere
"""


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(TOGETHER, id="several Python threads"),
        pytest.param(FORK, id="fork while another thread trains"),
        pytest.param(FORK_IN_A_STEP, id="fork in a step"),
        pytest.param(EXIT.replace("EAGERLY", "False"), id="exit while others replay"),
        pytest.param(EXIT.replace("EAGERLY", "True"), id="exit while others train eagerly"),
        pytest.param(CHANGE, id="other numbers of threads"),
        pytest.param(REFUSED, id="no thread to be had"),
        pytest.param(SIGNALS, id="signals and rest"),
        pytest.param(STAGES, id="products in stages on a busy machine"),
        pytest.param(APART, id="woken on another processor"),
    ],
)
def test_pool(program: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", SETUP + program, os.path.dirname(__file__)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
