"""Code blocks of the course notes that name arguments and classes, as printed but for their import lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import layers

COMMON = """
    weight_decay=None,
    clipnorm=None,
    clipvalue=None,
    global_clipnorm=None,
    use_ema=False,
    ema_momentum=0.99,
    ema_overwrite_frequency={frequency},
    jit_compile=True,
    name="{name}",
    **kwargs
"""


def optimizer(name: str, arguments: str, frequency: str = "None") -> str:
    return f"made = tf.keras.optimizers.{name}({arguments},{COMMON.format(name=name, frequency=frequency)})"


BLOCKS: dict[str, str] = {
    "SGD": optimizer("SGD", "learning_rate=0.01, momentum=0.0, nesterov=False"),
    "Adagrad": optimizer("Adagrad", "learning_rate=0.001, initial_accumulator_value=0.1, epsilon=1e-07"),
    "Adadelta": optimizer("Adadelta", "learning_rate=0.001, rho=0.95, epsilon=1e-07"),
    "RMSprop": optimizer("RMSprop", "learning_rate=0.001, rho=0.9, momentum=0.0, epsilon=1e-07, centered=False", "100"),
    "Adam": optimizer("Adam", "learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-07, amsgrad=False"),
    "Dense": """
made = tf.keras.layers.Dense(
    units,
    activation=None,
    use_bias=True,
    kernel_initializer="glorot_uniform",
    bias_initializer="zeros",
    kernel_regularizer=None,
    bias_regularizer=None,
    activity_regularizer=None,
    kernel_constraint=None,
    bias_constraint=None,
    **kwargs
)
""",
    "regularizers": """
from fastnn import layers
from fastnn import regularizers

layer = layers.Dense(
    units=64,
    kernel_regularizer=regularizers.L1L2(l1=1e-5, l2=1e-4),
    bias_regularizer=regularizers.L2(1e-4),
    activity_regularizer=regularizers.L2(1e-5)
)
made = layer
""",
    "Dropout": "made = tf.keras.layers.Dropout(rate, noise_shape=None, seed=None, **kwargs)",
    "optimizers by name": """
names = ["SGD", "RMSprop", "Adam", "AdamW", "Adadelta", "Adagrad", "Adamax", "Adafactor", "Nadam", "Ftrl"]
made = [getattr(tf.keras.optimizers, name)() for name in names]
""",
    "a loss": """
loss = tf.keras.losses.SparseCategoricalCrossentropy()
made = loss([7], [[0.09, 0.07, 0.08, 0.08, 0.09, 0.10, 0.10, 0.21, 0.10, 0.09]])
assert abs(made - 1.5606) < 5e-5
""",
    "hinge": """
made = [tf.keras.losses.Hinge()([[1.0]], [[yhat]]) for yhat in (2.0, 0.5, -1.0)]
assert made == [0.0, 0.5, 2.0]
""",
    "activations": """
made = tf.keras.activations.leaky_relu(np.array([-1.0, 2.0]), 0.01)
assert np.allclose(made, [-0.01, 2.0])
tf.keras.layers.PReLU()
""",
}

# What the blocks take from those before them.
BEFORE: dict[str, object] = {"tf": fastnn, "np": np, "units": 3, "rate": 0.5, "kwargs": {}}


@pytest.mark.parametrize(("name", "source"), BLOCKS.items(), ids=BLOCKS)
@pytest.mark.filterwarnings("ignore")  # arguments that mean nothing here say so once
def test_block(name: str, source: str) -> None:
    space: dict[str, Any] = dict(BEFORE)
    exec(source, space)  # noqa: S102
    made = space["made"]
    assert made is not None
    if isinstance(made, fastnn.optimizers.Optimizer):
        assert type(made).__name__ == name
        model = fastnn.Sequential([fastnn.Input((3,)), layers.Dense(2)])
        model.compile(optimizer=made, loss="mse")
        before = model.get_weights()[0]
        model.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
        assert (model.get_weights()[0] != before).any()
    if isinstance(made, layers.Layer):
        assert np.isfinite(made(np.ones((2, 5)), training=True)).all()
