"""Cases of layers that change shapes, and of layers that prepare and change images; see cases.py."""

from __future__ import annotations

from typing import Any

from cases import FIRST, LayerCase, MergeCase, pool

SMALL = {"value_range": (-0.5, 0.75)}  # so small that pixels are clipped


def image(cls: str, label: str, shape: tuple[int, ...] = (6, 5, 3), **arguments: Any) -> LayerCase:
    return pool(cls, label, shape, **arguments)


def random(cls: str, label: str, shape: tuple[int, ...] = (6, 5, 3), **arguments: Any) -> LayerCase:
    return pool(cls, label, shape, seed=11, **arguments)


BORDERED = [
    *(
        case
        for cls, argument in (("ZeroPadding", "padding"), ("Cropping", "cropping"))
        for case in (
            pool(f"{cls}1D", "default", (7, 3)),
            pool(f"{cls}1D", "pair, channels first", (3, 7), **{argument: [1, 2]}, **FIRST),
            pool(f"{cls}2D", "default", (7, 5, 3)),
            pool(f"{cls}2D", "each side", (7, 6, 2), **{argument: [[0, 1], [2, 3]]}),
            pool(f"{cls}2D", "channels first", (3, 7, 5), **{argument: [[1, 2], [0, 1]]}, **FIRST),
            pool(f"{cls}3D", "default", (4, 5, 3, 2)),
            pool(f"{cls}3D", "channels first", (2, 4, 5, 3), **{argument: [[1, 0], [2, 1], [0, 2]]}, **FIRST),
        )
    ),
]

UPSAMPLING = [
    pool("UpSampling1D", "default", (5, 3)),
    pool("UpSampling1D", "channels first", (3, 5), size=[3], **FIRST),
    pool("UpSampling2D", "default", (4, 5, 3)),
    pool("UpSampling2D", "channels first", (2, 3, 4), size=[3, 2], **FIRST),
    *(
        pool("UpSampling2D", method, (4, 3, 2), size=[2, 3], interpolation=method)
        for method in ("bilinear", "bicubic", "lanczos3", "lanczos5")
    ),
    pool("UpSampling2D", "corners", (4, 3, 2), size=[2, 3], interpolation="bilinear", align_corners=True),
    pool("UpSampling3D", "default", (3, 2, 4, 2)),
    pool("UpSampling3D", "channels first", (2, 3, 2, 4), size=[1, 2, 3], **FIRST),
]

RESHAPING = [
    LayerCase("Permute", {"dims": [2, 1]}, (3, 4), ((2, 3), (2, 3, 4, 5))),
    LayerCase("Permute", {"dims": [3, 1, 4, 2]}, (2, 3, 4, 5), ((2, 3),), "four axes"),
    LayerCase("RepeatVector", {"n": 3}, (5,), ((2, 5, 1), (2,))),
    image("Resizing", "smaller", height=3, width=4),
    image("Resizing", "larger, nearest", height=11, width=7, interpolation="nearest"),
    image("Resizing", "channels first", (2, 6, 5), height=4, width=9, **FIRST),
    image("Resizing", "bicubic, antialias", (9, 8, 2), height=3, width=5, interpolation="bicubic", antialias=True),
    image("Resizing", "area", (9, 4, 2), height=4, width=7, interpolation="area"),
    image("Resizing", "crop", (9, 5, 2), height=4, width=4, crop_to_aspect_ratio=True),
    image("Resizing", "pad", (9, 5, 2), height=4, width=6, pad_to_aspect_ratio=True, fill_value=0.5),
    image("CenterCrop", "crop", height=3, width=4),
    image("CenterCrop", "too small", height=8, width=4),
    image("CenterCrop", "channels first", (2, 7, 6), height=4, width=3, **FIRST),
    LayerCase("Rescaling", {"scale": 0.25}, (4, 3)),
    LayerCase("Rescaling", {"scale": [2.0, -1.0, 0.5], "offset": -0.5}, (4, 3), ((2, 4, 2),), "channels"),
    LayerCase("Normalization", {"mean": [0.5, -1.0, 2.0], "variance": [2.0, 0.25, 1.0]}, (4, 3), ((2, 4, 2),)),
    LayerCase("Normalization", {"axis": None, "mean": 0.5, "variance": 4.0}, (4, 3), label="one for all"),
    LayerCase("Normalization", {"axis": [1, 3]}, (3, 4, 2), ((2, 4, 4, 2),), label="two axes"),
    LayerCase("Normalization", {"axis": [-1], "invert": True}, (5,), ((2, 4),), label="inverted"),
]

RANDOM = [
    random("RandomFlip", "both"),
    random("RandomFlip", "channels first", mode="horizontal", **FIRST),
    random("RandomRotation", "reflect", factor=0.2),
    random("RandomRotation", "constant", factor=[-0.1, 0.3], fill_mode="constant", fill_value=0.5),
    random("RandomZoom", "wrap", height_factor=0.4, width_factor=[-0.2, 0.5], fill_mode="wrap"),
    random("RandomZoom", "together, nearest", height_factor=[-0.5, 0.5], fill_mode="nearest"),
    random("RandomTranslation", "reflect", height_factor=0.4, width_factor=[-0.2, 0.5]),
    random(
        "RandomTranslation", "channels first", height_factor=0.3, width_factor=0.2, interpolation="nearest", **FIRST
    ),
    random("RandomCrop", "crop", height=4, width=3),
    random("RandomCrop", "too small", height=7, width=3),
    random("RandomCrop", "channels first", (2, 6, 5), height=4, width=5, **FIRST),
    random("RandomContrast", "wide", factor=0.5, value_range=[-100, 100]),
    random("RandomContrast", "clipped", factor=[0.1, 0.9], **SMALL),
    random("RandomContrast", "channels first", (2, 6, 5), factor=0.4, value_range=[-100, 100], **FIRST),
    random("RandomBrightness", "clipped", factor=0.4, **SMALL),
    random("RandomBrightness", "channels first", factor=[0.1, 0.2], value_range=[-9, 9], **FIRST),
    random("RandomErasing", "noise", factor=[1, 1], scale=[0.1, 0.5], value_range=[-1, 2]),
    random("RandomErasing", "value", fill_value=0.25, value_range=[0, 1]),
    random("RandomErasing", "values", (3, 6, 5), factor=[1, 1], fill_value=[0.1, 0.2, 0.3], **FIRST),
    random("Cutout", "square", size=3),
    random("Cutout", "channels first", (2, 6, 5), size=[2, 4], fill_value=0.5, **FIRST),
]

UNPOOLING = [
    MergeCase("MaxUnpooling2D", {}, ((3, 2, 2), (6, 5, 2)), (((3, 2, 2), (8, 5, 2)), ((3, 2), (6, 5)), ((3, 2, 2),))),
    MergeCase("MaxUnpooling2D", {"pool_size": [2, 3], "strides": [1, 2], "padding": "same"}, ((4, 3, 3), (4, 5, 3))),
    MergeCase("MaxUnpooling2D", FIRST, ((2, 3, 2), (2, 6, 5)), label="channels first"),
]

SHAPES = [*BORDERED, *UPSAMPLING, *RESHAPING, *RANDOM]
