"""Fashion-MNIST: 70,000 pictures of clothing of 28 x 28 pixels (Zalando SE, H. Xiao et al., 2017; MIT license)."""

from __future__ import annotations

from fastnn.datasets import _files

_PUBLISHED = _files.Published(
    name="fashion-mnist",
    sha256={
        _files.TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        _files.TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        _files.TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        _files.TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)


def load_data() -> tuple[_files.Split, _files.Split]:
    """Load it from ``$FASTNN_DATA/fashion-mnist/`` or the cache; else download it (30 MB, needs ``fastnn[data]``).

    The classes 0..9 are T-shirt/top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag and ankle boot.

    Returns:
        ``((x_train, y_train), (x_test, y_test))``, all uint8: images of shape (60000, 28, 28) and (10000, 28, 28) with
        values 0..255, labels of shape (60000,) and (10000,) with values 0..9.

    Raises:
        OSError: the files are nowhere and cannot be downloaded, or one of them is damaged.

    >>> from fastnn.datasets import fashion_mnist
    >>> (x_train, y_train), (x_test, y_test) = fashion_mnist.load_data()  # doctest: +SKIP
    >>> x_test.shape, y_test.shape  # doctest: +SKIP
    ((10000, 28, 28), (10000,))
    """
    return _files.load_idx(_PUBLISHED)
