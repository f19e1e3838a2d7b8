"""The plain NumPy programs that a course has you write: a class per layer, forward and backward, windows as columns.

They are what fastnn is measured against, so they are not made slow: float32 throughout, no gradient of the network's input, no
loop over samples. Images are (N, H, W, C), filters (R, S, C, K).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastnn.checks import Float32

Labels = NDArray[np.integer[Any]]


class PlainLayer(Protocol):
    """A layer of the plain program; the first layer of a network is called with need_dx=False."""

    params: list[Float32]

    @property
    def grads(self) -> list[Float32]:
        """The gradients of the last step, in the order of `params`."""
        ...

    def forward(self, x: Float32) -> Float32:
        """Return the output for a batch."""
        ...

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        """Set the gradients of the parameters; return that of the input."""
        ...


class Affine:
    """y = x w + b, on flattened samples."""

    def __init__(self, w: Float32, b: Float32) -> None:
        self.params = [w, b]
        self.grads = [np.zeros_like(w), np.zeros_like(b)]

    def forward(self, x: Float32) -> Float32:
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        w, b = self.params
        return self.x @ w + b

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        self.grads = [self.x.T @ dout, dout.sum(axis=0)]
        return (dout @ self.params[0].T).reshape(self.shape) if need_dx else None


class Relu:
    """y = max(x, 0)."""

    def __init__(self) -> None:
        self.params: list[Float32] = []
        self.grads: list[Float32] = []

    def forward(self, x: Float32) -> Float32:
        self.mask = x > 0
        return x * self.mask

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        return dout * self.mask


def im2col(x: Float32, r: int, s: int, stride: int) -> Float32:
    """Return the windows of the images, (N, P, Q, r, s, C)."""
    n, h, w, c = x.shape
    p, q = (h - r) // stride + 1, (w - s) // stride + 1
    columns = np.empty((n, p, q, r, s, c), x.dtype)
    for i in range(r):
        for j in range(s):
            columns[:, :, :, i, j] = x[:, i : i + stride * p : stride, j : j + stride * q : stride]
    return columns


def col2im(columns: Float32, shape: tuple[int, ...], stride: int) -> Float32:
    """Return images of that shape in which every window was added at its place."""
    _, p, q, r, s, _ = columns.shape
    x = np.zeros(shape, columns.dtype)
    for i in range(r):
        for j in range(s):
            x[:, i : i + stride * p : stride, j : j + stride * q : stride] += columns[:, :, :, i, j]
    return x


class Convolution:
    """y = the windows of x, as the rows of a matrix, times the filters, + b if there is one; `pad` zeros on every side."""

    def __init__(self, w: Float32, b: Float32 | None, pad: int, stride: int = 1) -> None:
        self.params = [w] if b is None else [w, b]
        self.grads = [np.zeros_like(p) for p in self.params]
        self.pad = pad
        self.stride = stride

    def forward(self, x: Float32) -> Float32:
        w = self.params[0]
        r, s, _, k = w.shape
        padded = np.pad(x, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        self.shape = padded.shape
        columns = im2col(padded, r, s, self.stride)
        self.windows = columns.shape
        self.columns = columns.reshape(-1, r * s * x.shape[3])
        y = self.columns @ w.reshape(-1, k)
        if len(self.params) > 1:
            y += self.params[1]
        return y.reshape(*columns.shape[:3], k)

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        self.grads = list(self.filter_gradient(dout))[: len(self.params)]
        return self.input_gradient(dout) if need_dx else None

    def filter_gradient(self, dout: Float32) -> tuple[Float32, Float32]:
        """Return the gradients of w and b."""
        w = self.params[0]
        rows = dout.reshape(-1, w.shape[3])
        return (self.columns.T @ rows).reshape(w.shape), rows.sum(axis=0)

    def input_gradient(self, dout: Float32) -> Float32:
        """Return the gradient of the input."""
        k = self.params[0].shape[3]
        dcolumns = dout.reshape(-1, k) @ self.params[0].reshape(-1, k).T
        dx = col2im(dcolumns.reshape(self.windows), self.shape, self.stride)
        return dx[:, self.pad : dx.shape[1] - self.pad, self.pad : dx.shape[2] - self.pad]


class MaxPooling:
    """y = the largest value of every window of size x size pixels; windows do not overlap."""

    def __init__(self, size: int) -> None:
        self.params: list[Float32] = []
        self.grads: list[Float32] = []
        self.size = size

    def forward(self, x: Float32) -> Float32:
        self.shape = x.shape
        columns = im2col(x, self.size, self.size, self.size)
        n, p, q, r, s, c = columns.shape
        self.windows = columns.shape
        columns = columns.reshape(n, p, q, r * s, c)
        self.winner = columns.argmax(axis=3)[:, :, :, None]
        return np.take_along_axis(columns, self.winner, axis=3)[:, :, :, 0]

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        n, p, q, r, s, c = self.windows
        dcolumns = np.zeros((n, p, q, r * s, c), dout.dtype)
        np.put_along_axis(dcolumns, self.winner, dout[:, :, :, None], axis=3)
        return col2im(dcolumns.reshape(self.windows), self.shape, self.size)


class Dropout:
    """y = x / (1 - rate) for a random share 1 - rate of the values, else 0."""

    def __init__(self, rate: float) -> None:
        self.params: list[Float32] = []
        self.grads: list[Float32] = []
        self.rate = rate
        self.rng = np.random.default_rng(0)

    def forward(self, x: Float32) -> Float32:
        keep = self.rng.random(x.shape, np.float32) >= self.rate
        self.mask = keep * np.float32(1.0 / (1.0 - self.rate))
        return x * self.mask

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        return dout * self.mask


class Flatten:
    """y = x as one row per sample."""

    def __init__(self) -> None:
        self.params: list[Float32] = []
        self.grads: list[Float32] = []

    def forward(self, x: Float32) -> Float32:
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        return dout.reshape(self.shape)


class BatchNorm:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the mean and variance of every channel over the batch."""

    def __init__(self, gamma: Float32, beta: Float32, epsilon: float) -> None:
        self.params = [gamma, beta]
        self.grads = [np.zeros_like(gamma), np.zeros_like(beta)]
        self.epsilon = np.float32(epsilon)

    def forward(self, x: Float32) -> Float32:
        rows = x.reshape(-1, x.shape[-1])
        centered = rows - rows.mean(axis=0)
        self.scale = 1 / np.sqrt((centered**2).mean(axis=0) + self.epsilon)
        self.normal = centered * self.scale
        gamma, beta = self.params
        y: Float32 = (gamma * self.normal + beta).reshape(x.shape)
        return y

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        rows = dout.reshape(-1, dout.shape[-1])
        dgamma, dbeta = (rows * self.normal).sum(axis=0), rows.sum(axis=0)
        self.grads = [dgamma, dbeta]
        n = np.float32(len(rows))
        dx: Float32 = self.params[0] * self.scale * (rows - dbeta / n - self.normal * (dgamma / n))
        return dx.reshape(dout.shape)


class GlobalAverage:
    """y = the mean of every channel over the image."""

    def __init__(self) -> None:
        self.params: list[Float32] = []
        self.grads: list[Float32] = []

    def forward(self, x: Float32) -> Float32:
        self.shape = x.shape
        y: Float32 = x.mean(axis=(1, 2))
        return y

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        _, h, w, _ = self.shape
        return np.broadcast_to(dout[:, None, None] / np.float32(h * w), self.shape)


class Residual:
    """y = what one list of layers makes of x + what another one does; an empty list leaves x as it is."""

    def __init__(self, main: list[PlainLayer], shortcut: list[PlainLayer]) -> None:
        self.main, self.shortcut = main, shortcut
        self.params = [w for layer in [*main, *shortcut] for w in layer.params]

    @property
    def grads(self) -> list[Float32]:
        """The gradients of the last step, in the order of `params`."""
        return [g for layer in [*self.main, *self.shortcut] for g in layer.grads]

    def forward(self, x: Float32) -> Float32:
        y, z = x, x
        for layer in self.main:
            y = layer.forward(y)
        for layer in self.shortcut:
            z = layer.forward(z)
        return y + z

    def backward(self, dout: Float32, need_dx: bool) -> Float32 | None:
        dy: Any = dout
        dz: Any = dout
        for layer in reversed(self.main):
            dy = layer.backward(dy, need_dx=True)
        for layer in reversed(self.shortcut):
            dz = layer.backward(dz, need_dx=True)
        return dy + dz  # type: ignore[no-any-return]


def softmax_cross_entropy(logits: Float32, labels: Labels) -> tuple[float, Float32]:
    """Return the mean of -log softmax(logits)[label], and its gradient."""
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    loss = -np.log(p[rows, labels] + 1e-7).mean()
    p[rows, labels] -= 1
    p /= len(labels)
    return float(loss), p


class Sgd:
    """w -= lr g."""

    def __init__(self, lr: float = 0.01) -> None:
        self.lr = lr

    def update(self, params: list[Float32], grads: list[Float32]) -> None:
        """Change the parameters in place."""
        for w, g in zip(params, grads):
            w -= self.lr * g


class Momentum:
    """w -= lr decay w; v = momentum v - lr g; w += v."""

    def __init__(self, lr: float, momentum: float, decay: float) -> None:
        self.lr, self.momentum, self.decay = lr, momentum, decay
        self.v: list[Float32] = []

    def update(self, params: list[Float32], grads: list[Float32]) -> None:
        """Change the parameters in place."""
        if not self.v:
            self.v = [np.zeros_like(w) for w in params]
        for w, g, v in zip(params, grads, self.v):
            w -= self.lr * self.decay * w
            v *= self.momentum
            v -= self.lr * g
            w += v


class Adam:
    """m += (g - m) (1 - beta_1); v += (g^2 - v) (1 - beta_2); w -= lr_t m / (sqrt(v) + 1e-7)."""

    def __init__(self, lr: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999) -> None:
        self.lr, self.beta_1, self.beta_2 = lr, beta_1, beta_2
        self.t = 0
        self.m: list[Float32] = []
        self.v: list[Float32] = []

    def update(self, params: list[Float32], grads: list[Float32]) -> None:
        """Change the parameters in place."""
        if not self.m:
            self.m = [np.zeros_like(w) for w in params]
            self.v = [np.zeros_like(w) for w in params]
        self.t += 1
        lr_t = self.lr * (1.0 - self.beta_2**self.t) ** 0.5 / (1.0 - self.beta_1**self.t)
        for w, g, m, v in zip(params, grads, self.m, self.v):
            m += (1.0 - self.beta_1) * (g - m)
            v += (1.0 - self.beta_2) * (g * g - v)
            w -= lr_t * m / (np.sqrt(v) + 1e-7)


class Network:
    """A list of layers, trained with softmax and cross-entropy on their output.

    Args:
        stack: the layers, from the input on.
        optimizer: has `update(params, grads)`.

    Example:
        >>> import numpy as np
        >>> from fastnn.bench.plain_numpy import Affine, Network, Sgd
        >>> net = Network([Affine(np.zeros((3, 2), "f"), np.zeros(2, "f"))], Sgd(0.5))
        >>> round(net.train_step(np.ones((1, 3), "f"), np.array([0])), 4)
        0.6931
        >>> net.params[1].tolist()
        [0.25, -0.25]
    """

    def __init__(self, stack: list[PlainLayer], optimizer: Sgd | Momentum | Adam) -> None:
        self.stack = stack
        self.optimizer = optimizer
        self.params = [w for layer in stack for w in layer.params]

    @property
    def grads(self) -> list[Float32]:
        """The gradients of the last step, in the order of `params`."""
        return [g for layer in self.stack for g in layer.grads]

    def train_step(self, x: Float32, labels: Labels) -> float:
        """Do one step on a batch; return its loss before the step."""
        for layer in self.stack:
            x = layer.forward(x)
        loss, dout = softmax_cross_entropy(x, labels)
        gradient: Any = dout
        for i in reversed(range(len(self.stack))):
            gradient = self.stack[i].backward(gradient, need_dx=i > 0)
        self.optimizer.update(self.params, self.grads)
        return loss
