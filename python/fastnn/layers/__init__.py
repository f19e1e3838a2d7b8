"""Layers, in the Keras dialect; images are (N, H, W, C)."""

from fastnn.layers.activation import ELU, Activation, LeakyReLU, ReLU, Softmax
from fastnn.layers.base import Layer
from fastnn.layers.convolution import Conv1D, Conv2D, Conv3D
from fastnn.layers.core import Dense, Flatten, Input, InputLayer, Reshape
from fastnn.layers.depthwise import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from fastnn.layers.function import Function
from fastnn.layers.group_normalization import GroupNormalization
from fastnn.layers.joining import Concatenate, Dot, concatenate, dot
from fastnn.layers.masking import Masking
from fastnn.layers.merging import (
    Add,
    Average,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    maximum,
    minimum,
    multiply,
    subtract,
)
from fastnn.layers.noise import GaussianDropout, GaussianNoise
from fastnn.layers.normalization import BatchNormalization
from fastnn.layers.pooling import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from fastnn.layers.rectifiers import Maxout, PReLU, RReLU
from fastnn.layers.regularization import (
    ActivityRegularization,
    AlphaDropout,
    Dropout,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from fastnn.layers.rows import LayerNormalization, RMSNormalization, UnitNormalization
from fastnn.layers.transposed import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Flatten",
    "Function",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling2D",
    "GroupNormalization",
    "Input",
    "InputLayer",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling2D",
    "Maximum",
    "Maxout",
    "Minimum",
    "Multiply",
    "PReLU",
    "RMSNormalization",
    "RReLU",
    "ReLU",
    "Reshape",
    "SeparableConv1D",
    "SeparableConv2D",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "Subtract",
    "UnitNormalization",
    "add",
    "average",
    "concatenate",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
]
