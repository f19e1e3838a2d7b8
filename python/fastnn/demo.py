"""`fastnn demo`: train a network, draw its learning curve, save it, and see how much faster the C++ is than NumPy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn import Sequential, __version__, callbacks, checks, config, datasets, models, optimizers, plotting
from fastnn.bench import report, timing, workloads
from fastnn.bench.machine import using_threads
from fastnn.checks import Float32
from fastnn.graph import SymbolicTensor
from fastnn.layers import Conv2D, Dense, Dropout, Flatten, Input, Layer, MaxPooling2D

CURVE, MODEL = "learning-curve.png", "model.fastnn"
LEARNING_RATE, LAST_RATE = (
    0.002,
    0.1,
)  # large steps first; in the last epoch a tenth, so that the result does not depend on luck
TIMED = {  # workload -> what it is
    "mlp300_b128_adam": "MLP 784-300-200-100-10, batch 128, Adam",
    "lenet_b64_adam": "LeNet on 28 x 28 pixels, batch 64, Adam",
}
TIMING_SECONDS = 2.0  # each


@dataclass(frozen=True)
class Plan:
    """What is trained on a data set, and what can be expected of it."""

    title: str
    load: Callable[[], tuple[Any, Any]]
    brightest: int  # value of a pixel
    build: Callable[[], list[Layer | SymbolicTensor]]
    batch_size: int
    epochs: int
    accuracy: float  # that every seed reaches with these epochs


def _digits_layers() -> list[Layer | SymbolicTensor]:
    return [
        Input((8, 8, 1)),
        Conv2D(32, 3, padding="same", activation="relu"),
        Conv2D(64, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(64, 3, padding="same", activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dropout(0.5),
        Dense(10, activation="softmax"),
    ]


def _mnist_layers() -> list[Layer | SymbolicTensor]:
    return [
        Input((28, 28, 1)),
        Conv2D(6, 5, padding="same", activation="relu"),
        MaxPooling2D(2),
        Conv2D(16, 5, activation="relu"),
        MaxPooling2D(2),
        Flatten(),
        Dense(120, activation="relu"),
        Dense(84, activation="relu"),
        Dense(10, activation="softmax"),
    ]


PLANS = {
    "digits": Plan(
        "a small convolutional network on digits", datasets.digits.load_data, 16, _digits_layers, 32, 25, 0.97
    ),
    "mnist": Plan("LeNet on MNIST", datasets.mnist.load_data, 255, _mnist_layers, 64, 3, 0.985),
}


def run(
    output: Path, *, data: str = "digits", epochs: int | None = None, seed: int = 0, threads: int | None = None
) -> int:
    """Do the demonstration, printing what happens.

    Args:
        output: folder for the picture and the model; made if it is not there.
        data: "digits" (in the package) or "mnist" (see `fastnn.datasets`).
        epochs: None is what the promised accuracy takes.
        seed: of the initial weights, the order of the samples and dropout.
        threads: None is what the kernels use now.

    Returns:
        the exit status: 0, or 1 if the accuracy is below the promise or the saved model predicts something else.

    Raises:
        OSError: if the data set is missing or the folder cannot be written.
        KeyboardInterrupt: if Ctrl-C ended the training.

    Example:
        >>> from pathlib import Path
        >>> from fastnn import demo
        >>> demo.run(Path("fastnn-demo"))  # doctest: +SKIP
        0
    """
    plan = PLANS[checks.one_of("demo", "data", data, tuple(PLANS))]
    with using_threads(threads or config.num_threads()):
        print(
            f"fastnn {__version__}, {config.cpu_name()}, {config.isa()}, threads: {config.num_threads()}, seed: {seed}"
        )
        (x_train, y_train), (x_test, y_test) = plan.load()
        output.mkdir(parents=True, exist_ok=True)
        print(f"\nTraining {plan.title}: {len(x_train):,} images of {x_train.shape[1]} x {x_train.shape[2]} pixels")
        model, history = _train(plan, _scaled(x_train, plan), y_train, epochs, seed)
        images = _scaled(x_test, plan)
        right = _report_accuracy(plan, model, images, y_test)
        _draw(history, f"Training {plan.title}", output / CURVE)
        same = _save_and_reload(model, images, output / MODEL)
        _time_steps()
    _say_what_next(output)
    return 0 if right and same else 1


def _scaled(images: NDArray[np.uint8], plan: Plan) -> Float32:
    """Return images (N, H, W) as (N, H, W, 1) with values from 0 to 1."""
    return (images.astype(np.float32) / np.float32(plan.brightest))[..., None]


def _train(
    plan: Plan, x: Float32, y: NDArray[np.uint8], epochs: int | None, seed: int
) -> tuple[Sequential, dict[str, list[float]]]:
    """Train the plan's network; return it and its history."""
    config.set_seed(seed)
    model = Sequential(plan.build())
    model.summary()
    adam = optimizers.Adam(LEARNING_RATE)
    model.compile(optimizer=adam, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    total = epochs or plan.epochs

    def set_rate(epoch: int, logs: dict[str, float] | None = None) -> None:
        adam.learning_rate = LEARNING_RATE * LAST_RATE ** (epoch / max(total - 1, 1))

    history = model.fit(
        x,
        y,
        batch_size=plan.batch_size,
        epochs=total,
        validation_split=0.1,
        callbacks=callbacks.LambdaCallback(on_epoch_begin=set_rate),
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return model, history.history


def _report_accuracy(plan: Plan, model: Sequential, x: Float32, y: NDArray[np.uint8]) -> bool:
    """Print the accuracy on the test images; return whether it is what was promised."""
    loss, accuracy = model.evaluate(x, y, batch_size=256, verbose=0)
    print(f"\ntest accuracy:  {accuracy:.4f} on {len(x):,} images it has not seen (at least {plan.accuracy} expected)")
    print(f"test loss:      {loss:.4f}")
    if accuracy < plan.accuracy:
        print(f"fastnn demo: the accuracy is below {plan.accuracy}; {plan.epochs} epochs reach it", file=sys.stderr)
    return bool(accuracy >= plan.accuracy)


def _draw(history: dict[str, list[float]], title: str, path: Path) -> None:
    """Draw the learning curve if matplotlib is there, else say how to get it."""
    try:
        plotting.plot_history(history, path, title=title)
    except ImportError as error:
        print(f"learning curve: not drawn ({error})")
    else:
        print(f"learning curve: {path}")


def _save_and_reload(model: Sequential, x: Float32, path: Path) -> bool:
    """Save the model; return whether what is read back predicts the same bits."""
    model.save(path)
    before = model.predict(x, verbose=0)
    after = models.load_model(path).predict(x, verbose=0)
    same: bool = before.tobytes() == after.tobytes()
    print(f"model:          {path} ({path.stat().st_size:,} bytes)")
    if same:
        print("read back:      predicts the same, bit for bit")
    else:
        print("fastnn demo: the model that was read back predicts something else", file=sys.stderr)
    return same


def _time_steps() -> None:
    """Print how long a training step takes in C++ and in NumPy, in turns."""
    print(
        "\nOne training step (median), the C++ kernels and their NumPy twin in turns, after checking that they agree:"
    )
    for name, title in TIMED.items():
        workload = workloads.get(name)
        workloads.verify(workload)
        programs = workloads.programs(workload)
        timings = timing.interleave({p: programs[p] for p in ("fastnn", "numpy")}, TIMING_SECONDS)
        native, twin = (timings[p].median / workload.steps for p in ("fastnn", "numpy"))
        times = f"C++ {report.duration(native):>8}   NumPy {report.duration(twin):>8}"
        print(f"  {title:41} {times}   {twin / native:.1f} times as fast")


def _say_what_next(output: Path) -> None:
    """Print what to try next."""
    print(
        f"""
Next:
  python -c "import fastnn; fastnn.models.load_model('{output / MODEL}').summary()"
  fastnn demo --data mnist     LeNet on MNIST
  fastnn bench --quick         kernels and training steps against NumPy and against this machine's peak
  fastnn info                  what is installed, and what it uses"""
    )
