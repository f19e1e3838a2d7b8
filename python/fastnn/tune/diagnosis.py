"""diagnose: what a learning curve says of a training, by the trends of its losses and by its accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fastnn import checks
from fastnn.training.history import History

WHO = "diagnose"
FEWEST_EPOCHS = 3
LEARNING, OVERFITTING, DATA, STUCK = "learning", "overfitting", "data problem", "stuck"
DIVERGING, UNDERFITTING, FINE = "diverging", "underfitting", "fine"

# By the trends of the losses in training and validation.
RULES = {
    ("falls", "falls"): LEARNING,
    ("falls", "level"): OVERFITTING,
    ("falls", "rises"): OVERFITTING,
    ("level", "falls"): DATA,
    ("level", "level"): STUCK,
    ("level", "rises"): OVERFITTING,
}  # and a rising loss in training is DIVERGING, whatever validation says
ADVICE = {
    LEARNING: ("train for more epochs",),
    OVERFITTING: (
        "more data, or augmentation",
        "EarlyStopping(restore_best_weights=True)",
        "Dropout, kernel_regularizer='l2', fewer layers or units",
        "larger batches; SGD in the place of Adam",
    ),
    DATA: (
        "look at the data: does validation come from elsewhere, are there wrong labels, is it easier than training?",
    ),
    STUCK: (
        "a smaller learning rate or smaller batches, another optimizer",
        "if the loss is still high: another activation (relu), initial values, batch normalization, another network",
    ),
    DIVERGING: (
        "a smaller learning rate, gradient clipping",
        "look at the network, its loss and the scale of the inputs",
    ),
    UNDERFITTING: (
        "look at the training first: relu, Adam, cross-entropy, batch normalization, the learning rate (tune.lr_finder)",
        "more layers or units, more epochs, less regularization",
    ),
    FINE: ("nothing: the target is met",),
}


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; printed, a few lines.

    Attributes:
        verdict: "learning", "overfitting", "data problem", "stuck" or "diverging"; with a target "fine", "underfitting" or
            "overfitting".
        training: what the loss in training does: "falls", "level" or "rises".
        validation: the same of validation, None if there was none.
        advice: what may help, the likeliest first.
    """

    verdict: str
    training: str
    validation: str | None
    advice: tuple[str, ...]

    def __str__(self) -> str:
        other = "" if self.validation is None else f", in validation: {self.validation}"
        return "\n".join(
            [f"{self.verdict} (loss in training: {self.training}{other})", *(f"- {a}" for a in self.advice)]
        )


def diagnose(
    history: History | Mapping[str, Sequence[float]],
    target: float | None = None,
    window: float = 0.5,
    tolerance: float = 0.02,
) -> Diagnosis:
    """Return what a learning curve says: whether to go on, to mend the training, or to act against overfitting.

    With a target the result in training is looked at first: below it the network underfits; then that in validation: below it, it
    overfits. Without, the trends of both losses tell: both fall: learning; only that in training does: overfitting; only that in
    validation does: the data are odd; none does: stuck; that in training rises: diverging.

    Args:
        history: what `fit` returned, or its `.history`.
        target: accuracy in [0, 1] that would do; None goes by the losses.
        window: share of the epochs, the last ones, whose trend counts, in (0, 1]; at least three epochs.
        tolerance: a loss that changes by less than this share of itself over the window is level, > 0.

    Returns:
        Diagnosis: `.verdict`, `.advice`; `print` it.

    Raises:
        ValueError: for fewer than three epochs, and a target without an accuracy.

    Example:
        >>> from fastnn.tune import diagnose
        >>> diagnose({"loss": [1.0, 0.6, 0.3, 0.1], "val_loss": [1.0, 0.8, 0.9, 1.1]}).verdict
        'overfitting'
    """
    values = history.history if isinstance(history, History) else history
    if not isinstance(values, Mapping):
        checks.fail_type(WHO, "what fit returned, or a dict of lists", checks.describe(history))
    share = checks.number(WHO, "window", window, above=0.0, maximum=1.0)
    limit = checks.number(WHO, "tolerance", tolerance, above=0.0)
    if "loss" not in values:
        checks.fail(WHO, "a history with a loss", ", ".join(values) or "an empty one")
    training = _trend("loss", values["loss"], share, limit)
    validation = _trend("val_loss", values["val_loss"], share, limit) if "val_loss" in values else None
    if target is not None:
        verdict = _by_accuracy(values, checks.number(WHO, "target", target, 0.0, 1.0))
    else:
        verdict = DIVERGING if training == "rises" else RULES[training, validation or training]
    return Diagnosis(verdict, training, validation, ADVICE[verdict])


def _trend(name: str, series: Sequence[float], share: float, tolerance: float) -> str:
    """Return whether the last part of a series falls, rises or is level, by the straight line that fits it best."""
    if len(series) < FEWEST_EPOCHS:
        checks.fail(WHO, f"{name} of at least {FEWEST_EPOCHS} epochs", len(series), "train for longer")
    last = np.asarray(series[-max(FEWEST_EPOCHS, round(share * len(series))) :], np.float64)
    if not np.isfinite(last).all():
        return "rises"
    change = np.polyfit(np.linspace(0.0, 1.0, len(last)), last, 1)[0]
    size = np.abs(last).mean()
    return "level" if abs(change) <= tolerance * size else "falls" if change < 0 else "rises"


def _by_accuracy(values: Mapping[str, Sequence[float]], target: float) -> str:
    """Return the verdict by the accuracies of the last epoch, training first."""
    name = next((n for n in values if n.endswith("accuracy") and not n.startswith("val_")), None)
    if name is None:
        checks.fail(WHO, "a history with an accuracy for a target", ", ".join(values), "compile(metrics=['accuracy'])")
    if values[name][-1] < target:
        return UNDERFITTING
    return OVERFITTING if f"val_{name}" in values and values[f"val_{name}"][-1] < target else FINE
