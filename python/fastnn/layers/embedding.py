"""Embedding."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastnn import checks, initializers, ops
from fastnn.checks import Float32
from fastnn.layers.base import Layer, initializer_of
from fastnn.names import Shape
from fastnn.parameter import Parameter

MOST_ROWS = 2**24  # ids are float32 while they are computed with: exact up to here


class Embedding(Layer):
    """Look up a learned vector for every id.

    y[n, ..., :] = embeddings[x[n, ...]], embeddings of shape (input_dim, output_dim)

    Ids are whole numbers in [0, input_dim), in any dtype. A model checks those it is given before it trains; ids that other layers
    make are checked where the layer is called, and give NaN in a recorded step if they are none.

    Args:
        input_dim: how many ids there are, 1 to 2^24.
        output_dim: length of a vector, >= 1.
        embeddings_initializer: initializer of the vectors.
        embeddings_regularizer: what the vectors add to the loss, or None.
        embeddings_constraint: what the vectors are brought to after every update, or None.
        mask_zero: whether id 0 stands for "nothing there": then the output has a mask, as that of `Masking`.
        weights: None, or the initial vectors, (input_dim, output_dim), alone or in a list.

    Shape:
        x: (N, ...) whole numbers -> y: (N, ..., output_dim) float32.

    Raises:
        ValueError: for ids that are not whole or out of range.

    Example:
        >>> layer = fastnn.layers.Embedding(3, 2, weights=[[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]])
        >>> layer([[2, 0]]).tolist()
        [[[2.0, 2.5], [0.0, 0.5]]]
    """

    recordable: ClassVar[bool] = True
    weight_names: ClassVar[tuple[str, ...]] = ("embeddings",)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        **base: Any,
    ) -> None:
        super().__init__(
            embeddings_regularizer=embeddings_regularizer, embeddings_constraint=embeddings_constraint, **base
        )
        self.input_dim = checks.integer(self.who, "input_dim", input_dim, 1, MOST_ROWS)
        self.output_dim = checks.integer(self.who, "output_dim", output_dim, 1)
        self.embeddings_initializer = initializer_of(embeddings_initializer)
        self.mask_zero = checks.boolean(self.who, "mask_zero", mask_zero)
        self.embeddings: Parameter
        self._initial: Float32 | None = None
        if weights is not None:
            only = weights[0] if isinstance(weights, (list, tuple)) and len(weights) == 1 else weights
            self._initial = checks.float32(self.who, "weights", only)
            if self._initial.shape != (self.input_dim, self.output_dim):
                shape = (self.input_dim, self.output_dim)
                checks.fail(self.who, f"weights of shape {shape}", self._initial.shape)

    def build(self, input_shape: Shape) -> None:
        shape = (self.input_dim, self.output_dim)
        self.embeddings = self.add_weight("embeddings", shape, self.embeddings_initializer)
        if self._initial is not None:
            self.embeddings.assign(self._initial)
            self._initial = None

    def expected_shape(self) -> Shape | None:
        return None

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)

    def check_values(self, x: Any) -> None:
        """Raise unless these are whole numbers in [0, input_dim)."""
        ids = np.asarray(x)
        if ids.size == 0:
            return
        with np.errstate(invalid="ignore"):
            wrong = ~((ids >= 0) & (ids < self.input_dim))
            if ids.dtype.kind == "f":
                wrong |= ids != np.floor(ids)
        if wrong.any():
            first = ids[tuple(index[0] for index in np.nonzero(wrong))]
            fix = "input_dim must be larger than the largest id" if first >= self.input_dim else ""
            checks.fail(self.who, f"ids that are whole numbers in [0, {self.input_dim})", first, fix)

    def forward(self, x: Any, training: bool = False) -> Float32:
        ids = self.check_input(x)
        if not ops.planning():
            self.check_values(ids)
        if self.mask_zero:
            _, self.output_mask = ops.mask_rows(ids.reshape(*ids.shape, 1), 0.0)
        if training:
            self._saved = ids
        return ops.embedding_forward(ids, self.embeddings.value)

    def backward(self, dy: Float32) -> Float32 | None:
        ids = self.saved()
        if self.trainable:
            ops.embedding_backward(ids, dy, self.embeddings.gradient)
        if not self.need_dx:
            return None
        dx: Float32 = ops.empty(ids.shape)  # nothing changes with an id, until it is another one
        ops.fill(dx, 0.0)
        return dx

    def compute_mask(self, x: Any) -> NDArray[np.bool_] | None:
        """Return where x is not 0, if mask_zero; else None."""
        return checks.array(self.who, "x", x) != 0 if self.mask_zero else None

    def step_key(self) -> tuple[Any, ...]:
        return (*super().step_key(), self.mask_zero)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
        }
