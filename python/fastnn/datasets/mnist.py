"""MNIST: 70,000 handwritten digits of 28 x 28 pixels (Y. LeCun, C. Cortes, C. J. C. Burges, 1998)."""

from __future__ import annotations

from fastnn.datasets import _files

_PUBLISHED = _files.Published(
    name="mnist",
    sha256={
        _files.TRAIN_IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        _files.TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        _files.TEST_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        _files.TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
)


def load_data() -> tuple[_files.Split, _files.Split]:
    """Load MNIST from ``$FASTNN_DATA/mnist/`` or the cache; else download it (11 MB, needs ``fastnn[data]``).

    Returns:
        ``((x_train, y_train), (x_test, y_test))``, all uint8: images of shape (60000, 28, 28) and (10000, 28, 28) with
        values 0..255, labels of shape (60000,) and (10000,) with values 0..9.

    Raises:
        OSError: the files are nowhere and cannot be downloaded, or one of them is damaged.

    >>> from fastnn.datasets import mnist
    >>> (x_train, y_train), (x_test, y_test) = mnist.load_data()  # doctest: +SKIP
    >>> x_train.shape, y_train.shape  # doctest: +SKIP
    ((60000, 28, 28), (60000,))
    """
    return _files.load_idx(_PUBLISHED)
