"""Splitting samples: a share for validation, parts for cross-validation, at random or by class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, config

Indices = NDArray[np.int64]


def classes_of(who: str, y: Any, argument: str = "stratify") -> Indices:
    """Return a class number per sample, from class numbers, one-hot rows or a column of few values; argument: what wants them."""
    truth = checks.array(who, "y", y)
    if truth.ndim == 0 or truth.ndim > 2:
        checks.fail(who, f"one class per sample for {argument}", f"y of shape {truth.shape}")
    if truth.ndim == 2 and truth.shape[1] > 1:
        return np.asarray(truth.argmax(axis=1), np.int64)
    values, classes = np.unique(truth.reshape(-1), return_inverse=True)
    if truth.dtype.kind == "f" and (values != np.floor(values)).any():
        checks.fail(who, f"classes for {argument}", "fractions", f"is this a regression? then leave {argument} out")
    return np.asarray(classes, np.int64)


def parts_of(n: int, k: int, rng: np.random.Generator, classes: Indices | None = None) -> list[Indices]:
    """Return k parts of range(n) at random, of sizes that differ by at most one; with classes each class evenly among them."""
    order = rng.permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]  # class by class, at random within; dealt out in turn
    return [np.sort(order[i::k]) for i in range(k)]


def balanced(classes: Indices, rng: np.random.Generator) -> Indices:
    """Return as many samples as there are, drawn so that every class comes equally often, to within one.

    The k classes come in rounds, each once in every round, so that batches are balanced, too. The samples of a class are drawn in
    turn: none comes again before all others of its class have come.
    """
    n, sizes = len(classes), np.unique(classes, return_counts=True)[1]
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(sizes)[:-1])
    rounds = -(-n // len(members))
    drawn = np.empty((rounds, len(members)), np.int64)
    for column, own in enumerate(members):
        passes = [rng.permutation(own) for _ in range(-(-rounds // len(own)))]
        drawn[:, column] = np.concatenate(passes)[:rounds]
    return np.asarray(rng.permuted(drawn, axis=1).reshape(-1)[:n], np.int64)


def share_of(
    n: int, held_out: int, rng: np.random.Generator, classes: Indices | None = None
) -> tuple[Indices, Indices]:
    """Return what stays and what is held out of range(n), at random, sorted; with classes in the same shares of each."""
    order = rng.permutation(n)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    # Evenly spaced places of the order: of every class its share, to within one.
    out = np.zeros(n, bool)
    out[order[np.floor((np.arange(held_out) + 0.5) * n / held_out).astype(np.int64)] if held_out else []] = True
    return np.flatnonzero(~out), np.flatnonzero(out)


def train_test_split(
    *arrays: Any, test_size: float = 0.25, stratify: Any = None, seed: int | None = None, shuffle: bool = True
) -> list[Any]:
    """Split arrays of the same samples into a part to train on and one to test with.

    Args:
        *arrays: each with a leading sample axis.
        test_size: share of the samples in (0, 1) for the test.
        stratify: class numbers or one-hot rows (N, ...) whose classes are to have the same shares in both parts; None: no care.
        seed: of the draw; None takes another one every time (see `fastnn.config.set_seed`).
        shuffle: False takes the test part from the end.

    Returns:
        [a_train, a_test, b_train, b_test, ...]

    Raises:
        ValueError: for arrays of different lengths, and a share that leaves a part empty.

    Example:
        >>> import numpy as np
        >>> x, y = np.arange(8), np.array([0, 0, 0, 0, 0, 0, 1, 1])
        >>> _, _, y_train, y_test = fastnn.utils.train_test_split(x, y, test_size=0.5, stratify=y, seed=1)
        >>> y_train.tolist(), y_test.tolist()
        ([0, 0, 0, 1], [0, 0, 0, 1])
    """
    who = "train_test_split"
    if not arrays:
        checks.fail(who, "at least one array", "none")
    given = [checks.array(who, f"array {i}", array) for i, array in enumerate(arrays)]
    n = len(given[0]) if given[0].ndim else 0
    if any(a.ndim == 0 or len(a) != n for a in given):
        checks.fail(who, f"arrays of {n} samples", ", ".join(str(a.shape) for a in given))
    share = checks.number(who, "test_size", test_size, above=0.0, below=1.0)
    held_out = n - int(n * (1.0 - share))
    if not 0 < held_out < n:
        checks.fail(who, "test_size that leaves samples on both sides", f"{share} of {n} samples")
    classes = None if stratify is None else classes_of(who, stratify)
    if classes is not None and len(classes) != n:
        checks.fail(who, f"stratify of {n} samples", len(classes))
    rng = generator(seed)
    kept, out = (
        share_of(n, held_out, rng, classes) if shuffle else (np.arange(n - held_out), np.arange(n - held_out, n))
    )
    return [part for a in given for part in (a[kept], a[out])]


def generator(seed: int | None) -> np.random.Generator:
    """Return random numbers that follow from a seed; None takes the next of the process."""
    number = config.next_seed() if seed is None else checks.integer("seed", "seed", seed, 0)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(number)))
