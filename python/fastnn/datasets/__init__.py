"""Data sets for examples and tests, each with Keras's ``load_data()``; nothing is downloaded before that is called.

``digits`` is in the package. The others are read from ``$FASTNN_DATA/<data set>/`` (``mnist``, ``fashion-mnist``,
``cifar10``) or the cache folder (``$XDG_CACHE_HOME/fastnn`` or ``~/.cache/fastnn``), or else downloaded into the
latter, which needs ``pip install fastnn[data]``.
"""

from fastnn.datasets import cifar10, digits, fashion_mnist, mnist

__all__ = ["cifar10", "digits", "fashion_mnist", "mnist"]
