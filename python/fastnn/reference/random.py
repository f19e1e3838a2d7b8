"""Random numbers from a counter (Philox), and dropout made of them.

Number i of a stream at a step is a function of (seed, stream, step, i) alone: no state to save, and the same bits however
the work is divided.
"""

from __future__ import annotations

import numpy as np

from .common import Array

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF
_LEVELS = 65536  # a decision takes 16 bits


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Philox4x32-10 (Salmon et al. 2011): each row of four 32-bit words of counter (blocks, 4) gives four random ones."""
    c0, c1, c2, c3 = counter.astype(np.uint64).T  # 64 bits wide, for the products
    k0, k1 = key
    for _ in range(10):
        product0 = c0 * _MULTIPLIERS[0]
        product1 = c2 * _MULTIPLIERS[1]
        c0, c1 = (product1 >> 32) ^ c1 ^ k0, product1 & _LOW
        c2, c3 = (product0 >> 32) ^ c3 ^ k1, product0 & _LOW
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW, (k1 + _KEY_STEPS[1]) & _LOW
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def _threshold(rate: float) -> int:
    """round(rate 65536), a half upward, of the rate as a float32."""
    return int(float(np.float32(rate)) * _LEVELS + 0.5)


def uniform16(n: int, seed: int, stream: int, used: Array) -> Array:
    """Return the 16-bit numbers of elements 0 ... n - 1 at the step used[0].

    key = (low word, high word) of the seed. The block b of elements 8 b ... 8 b + 7 has the counter (low word of b,
    high word of b, stream, step); word w of its four gives elements 2 w (low half) and 2 w + 1 (high half).
    """
    block = np.arange((n + 7) // 8, dtype=np.uint64)
    counter = np.empty((block.size, 4), np.uint64)
    counter[:, 0] = block & _LOW
    counter[:, 1] = block >> 32
    counter[:, 2] = stream
    counter[:, 3] = int(used[0]) & _LOW
    words = philox4x32(counter, (seed & _LOW, seed >> 32))
    numbers = np.stack([words & 0xFFFF, words >> 16], axis=-1)  # (blocks, 4, 2)
    return numbers.reshape(-1)[:n]


def _keep(x: Array, kept: Array, rate: float) -> Array:
    """Return x times 65536 / (65536 - threshold), rounded to float32, where its bit is set, 0 elsewhere."""
    keep = np.unpackbits(kept, count=x.size, bitorder="little").reshape(x.shape).astype(bool)
    scale = np.float32(_LEVELS / max(_LEVELS - _threshold(rate), 1))
    y: Array = np.multiply(x, x.dtype.type(scale), out=np.zeros_like(x, order="C"), where=keep)
    return y


def dropout_forward(x: Array, rate: float, seed: int, stream: int, counter: Array) -> tuple[Array, Array]:
    """y = x / (1 - rate) where kept, 0 elsewhere, with rate rounded to a multiple of 1/65536.

    counter (uint64, one value) is increased by one in place, so that the next call drops others. Returns y and, for the
    backward pass, a bit for each value, the lowest of a byte first: is it kept?
    """
    kept = np.packbits(uniform16(x.size, seed, stream, counter) >= _threshold(rate), bitorder="little")
    counter += 1
    return _keep(x, kept, rate), kept


def dropout_backward(dy: Array, kept: Array, rate: float) -> Array:
    """dx = dy / (1 - rate) where the forward pass that returned kept kept, 0 elsewhere."""
    return _keep(dy, kept, rate)
