"""Layers, in the Keras dialect; images are (N, H, W, C)."""

from fastnn.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from fastnn.layers.base import Layer
from fastnn.layers.convolution import Conv2D
from fastnn.layers.core import Dense, Flatten, Input, Reshape
from fastnn.layers.normalization import BatchNormalization
from fastnn.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from fastnn.layers.regularization import Dropout

__all__ = [
    "ELU",
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "Input",
    "Layer",
    "LeakyReLU",
    "MaxPooling2D",
    "ReLU",
    "Reshape",
    "Softmax",
]
