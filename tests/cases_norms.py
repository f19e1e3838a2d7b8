"""Cases of normalization and noise layers: class, arguments, shape of a sample, shapes of batches that are refused, label."""

from __future__ import annotations

from typing import Any

Case = tuple[str, dict[str, Any], tuple[int, ...], tuple[tuple[int, ...], ...], str]

PENALTIES = {"beta_regularizer": "l1", "gamma_regularizer": "l2", "gamma_constraint": "non_neg"}
FIRST = {"data_format": "channels_first"}

NORMS: list[Case] = [
    ("LayerNormalization", {"epsilon": 0.02}, (7,), ((2, 8), (2, 7, 1)), ""),
    (
        "LayerNormalization",
        {"axis": [1, 3], "epsilon": 0.01, **PENALTIES},
        (4, 3, 5),
        ((2, 4, 3, 6), (2, 4)),
        "two axes",
    ),
    ("LayerNormalization", {"axis": (1, 2, -1), "center": False}, (4, 3, 5), ((2, 4, 3, 6), (2, 4, 2, 5)), "all axes"),
    ("LayerNormalization", {"axis": 1, "scale": False}, (5, 4), ((2, 4, 4), (2, 5)), "axis 1, no scale"),
    ("RMSNormalization", {"epsilon": 0.02}, (3, 17), ((2, 3, 16), (2, 17)), ""),
    ("RMSNormalization", {"axis": [1, 2], "epsilon": 0.1}, (3, 5), ((2, 3, 6), (2, 4, 5)), "two axes"),
    ("UnitNormalization", {}, (5,), (), ""),
    ("UnitNormalization", {"axis": [1, -1]}, (3, 2, 4), (), "two axes"),
    ("GroupNormalization", {"groups": 3, "epsilon": 0.02, **PENALTIES}, (5, 4, 6), ((2, 5, 4, 5), (2, 5, 6)), ""),
    (
        "GroupNormalization",
        {"groups": 2, "axis": 1, "epsilon": 0.01},
        (4, 3, 5),
        ((2, 3, 3, 5), (2, 4)),
        "channels first",
    ),
    ("GroupNormalization", {"groups": -1, "center": False}, (6, 4), ((2, 6, 5), (2, 6)), "instances"),
    ("GroupNormalization", {"groups": 1, "scale": False}, (8,), ((2, 7), (2, 8, 1)), "one group of a row"),
    ("Dropout", {"rate": 0.4, "noise_shape": (None, 1, None), "seed": 11}, (6, 3), (), "shared"),
    ("Dropout", {"rate": 0.4, "noise_shape": [None, 1, None, 1], "seed": 11}, (6, 3, 4), (), "shared twice"),
    ("SpatialDropout1D", {"rate": 0.4, "seed": 12}, (6, 5), ((2, 6), (2, 6, 5, 1)), ""),
    ("SpatialDropout2D", {"rate": 0.4, "seed": 13}, (3, 2, 5), ((2, 3, 2),), ""),
    ("SpatialDropout2D", {"rate": 0.4, "seed": 13, **FIRST}, (5, 3, 2), ((2, 3, 2),), "channels first"),
    ("SpatialDropout3D", {"rate": 0.4, "seed": 14}, (2, 3, 2, 5), ((2, 3, 2),), ""),
    ("SpatialDropout3D", {"rate": 0.4, "seed": 14, **FIRST}, (5, 2, 3, 2), ((2, 3, 2),), "channels first"),
    ("AlphaDropout", {"rate": 0.3, "seed": 15}, (5, 7), (), ""),
    ("AlphaDropout", {"rate": 0.3, "noise_shape": [None, 1], "seed": 15}, (7,), (), "shared"),
    ("GaussianDropout", {"rate": 0.3, "seed": 16}, (5, 7), (), ""),
    ("GaussianNoise", {"stddev": 0.3, "seed": 17}, (5, 7), (), ""),
    ("Masking", {"mask_value": 0.25}, (5, 7), (), ""),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, (5, 7), (), ""),
]
