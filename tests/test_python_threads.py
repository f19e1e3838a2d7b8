"""Models used from several Python threads give what they give in one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from test_replay import assert_same, state, train
from tiny import Array, blobs, cnn, images, mlp
from tolerances import assert_bits


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


def test_one_model_predicts_in_several_threads(threads: int) -> None:
    model, (x, _) = mlp(), blobs(64)
    parts = [x[:20], x[20:37], x[37:]]
    expected = [model.predict(part, 8, verbose=0) for part in parts]

    def predict(i: int) -> dict[str, Array]:
        return {str(n): model.predict(parts[i], 8, verbose=0) for n in range(50)}

    for i, found in enumerate(in_threads([lambda i=i: predict(i) for i in range(3)])):
        for value in found.values():
            assert_bits(value, expected[i])


def test_one_model_predicts_by_hand_in_several_threads(threads: int) -> None:
    model, (x, _) = mlp(), blobs(64)
    expected = model.forward(x)
    found = in_threads([lambda: {str(n): model.forward(x) for n in range(50)}] * 3)
    assert all(np.array_equal(value, expected) for values in found for value in values.values())


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
