"""Whether the last layer's activation and the loss fit: what can never learn, or learns something else than was meant."""

from __future__ import annotations

from collections.abc import Iterator

from fastnn.activations import Activation
from fastnn.layers.core import ActivatedLayer
from fastnn.names import Shape
from fastnn.plan import Plan
from fastnn.training.score import Score

PROBABILITIES = {"sigmoid": ("sigmoid", "softmax", "hard_sigmoid", "sparse_sigmoid"), "softmax": ("softmax",)}


def mismatches(plan: Plan, scores: list[Score], shapes: list[Shape]) -> Iterator[str]:
    """Yield what does not fit, a sentence per output; nothing of activations and layers of the user's own."""
    for i, (score, shape) in enumerate(zip(scores, shapes)):
        layer = plan.last_layer(i)
        if isinstance(layer, ActivatedLayer) and type(layer.activation) is Activation:
            name, loss = layer.activation.name, type(score.loss).__name__
            alone = len(shape) == 2 and shape[1] == 1  # with more axes a softmax may be over another one
            why = _mismatch(name, alone, score.loss.fuses, bool(getattr(score.loss, "from_logits", False)), loss)
            if why:
                yield f"layer '{layer.name}' ends with {name}: {why}"


def _mismatch(activation: str, alone: bool, fuses: str | None, from_logits: bool, loss: str) -> str:
    """Return why an activation does not fit a loss that takes over the activation `fuses`, "" if it does."""
    if activation == "softmax" and alone:
        return "of one unit it is always 1, and nothing is learned; use sigmoid, or a unit for each class"
    if fuses is None:
        return ""
    if from_logits:
        twice = activation in ("sigmoid", "softmax")
        return f"{loss} with from_logits=True applies a {fuses} itself; leave one of the two out" if twice else ""
    if activation in PROBABILITIES[fuses]:
        return ""
    return f"{loss} takes probabilities; use {fuses}, or {loss}(from_logits=True) with a linear layer"
