"""Every public class is compared with Keras or PyTorch, over all of its options, or it says what tests it instead.

This runs without any of the peers: it reads what the comparisons are drawn from.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cases_layers import LAYERS
from cases_objects import (
    ACTIVATIONS,
    CONSTRAINTS,
    FIXED_INITIALIZERS,
    FOURIER_INITIALIZERS,
    LOSSES,
    METRICS,
    RANDOM_INITIALIZERS,
    REDUCTIONS,
    REGULARIZERS,
    TORCH_ACTIVATIONS,
    loss_arguments,
    metric_allowed,
)
from cases_optim import OPTIMIZER_SEEDS, OPTIMIZERS, SCHEDULE_SEEDS, SCHEDULES, optimizer_arguments, schedule_arguments
from harness import Arguments, configurations

from fastnn import activations, constraints, initializers, layers, losses, metrics, optimizers, regularizers
from fastnn.optimizers import numpy_style, schedules
from fastnn.optimizers.arguments import CommonArguments

NEEDS_PEER = False  # for conftest.py

TESTS = Path(__file__).parents[1]
GRADIENTS = "test_contract.py::test_gradients_are_the_slopes"  # against numerical ones, for every layer

# No counterpart in Keras or PyTorch, or none of the same random numbers: what tests it instead (all of the tests named).
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "layers.Cutout": ("test_augmentation.py::test_erased_rectangles", GRADIENTS),
    "layers.Function": ("test_norm_layers.py::test_a_function_trains_like_the_layer_it_is",),
    "layers.InputLayer": ("test_graph_structure.py",),
    "layers.RandomCrop": ("test_augmentation.py::test_crops_keep_their_pixels", GRADIENTS),
    "layers.Dropout": ("test_norm_layers.py::test_shared_decisions", GRADIENTS),
    "layers.AlphaDropout": ("test_norm_layers.py::test_alpha_dropout_keeps_mean_and_deviation", GRADIENTS),
    "layers.GaussianDropout": ("test_norm_layers.py::test_gaussian_noise_has_its_deviation", GRADIENTS),
    "layers.GaussianNoise": ("test_norm_layers.py::test_gaussian_noise_has_its_deviation", GRADIENTS),
    "layers.SpatialDropout1D": ("test_norm_layers.py::test_shared_decisions", GRADIENTS),
    "layers.SpatialDropout2D": ("test_norm_layers.py::test_shared_decisions", GRADIENTS),
    "layers.SpatialDropout3D": ("test_norm_layers.py::test_shared_decisions", GRADIENTS),
    "layers.RandomFlip": ("test_augmentation.py::test_flips", GRADIENTS),
    # By functions of their own rather than a table.
    "layers.Maxout": ("parity/test_parity_torch.py::test_maxout",),
    "layers.MaxUnpooling2D": ("parity/test_parity_torch.py::test_unpooling",),
    "layers.RReLU": ("parity/test_parity_torch.py::test_randomized_relu",),
    "layers.RandomContrast": ("parity/test_parity_images.py::test_contrast",),
    "layers.RandomErasing": ("parity/test_parity_images.py::test_erased_places",),
    "losses.HalfSumSquares": (
        "test_contract_objects.py::test_loss_gradient_is_the_slope",
        "test_losses.py::test_numbers",
    ),
    "optimizers.LBFGS": ("parity/test_parity_optim.py::test_lbfgs_of_torch_and_scipy",),
    "metrics.ConfusionMatrix": ("test_metrics.py::test_confusion_matrix",),
    "metrics.MeanMetricWrapper": ("test_metrics.py::test_functions_of_the_user",),
    "metrics.Perplexity": ("test_contract_objects.py::test_metric_counts",),
    "initializers.Xavier": ("test_initializers.py::test_xavier_and_he_of_the_course",),
    "initializers.He": ("test_initializers.py::test_xavier_and_he_of_the_course",),
    **{
        f"numpy_style.{cls}": ("test_numpy_style.py::test_rules_of_the_book",)
        for cls in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")
    },
    "activations.step": ("test_activations.py::test_values",),
    "activations.sign": ("test_activations.py::test_values",),
}

# Options that are not drawn, with the reason or the place.
OPTIONS: dict[str, str] = {
    "layers.Dropout.noise_shape": "drawn decisions: test_norm_layers.py::test_shared_decisions",
    "layers.UpSampling2D.align_corners": "not in Keras: parity/test_parity_torch.py::test_bilinear_upsampling",
    "layers.Resizing.fill_mode": "has one value",
    "layers.BatchNormalization.synchronized": "without effect",
    "layers.Cropping1D.data_format": "not in Keras: test_contract.py::test_data_formats",
    "layers.UpSampling1D.data_format": "not in Keras",
    "layers.RandomRotation.data_format": "that of translations, in the same base class",
    "layers.RandomZoom.data_format": "that of translations, in the same base class",
    "layers.RandomBrightness.data_format": "a channel is like any other",
    "layers.Embedding.weights": "values to begin with: test_embedding.py",
    "metrics.CosineSimilarity.axis": "test_metric_axis.py",
    "metrics.IoU.axis": "test_metric_axis.py",
    "metrics.MeanIoU.axis": "test_metric_axis.py",
    "metrics.OneHotIoU.axis": "test_metric_axis.py",
    "metrics.OneHotMeanIoU.axis": "test_metric_axis.py",
    "metrics.CategoricalCrossentropy.axis": "test_metric_axis.py",
    "metrics.SparseCategoricalCrossentropy.axis": "test_metric_axis.py",
    "metrics.IoU.num_classes": "is that of the samples",
    "metrics.MeanIoU.num_classes": "is that of the samples",
    "metrics.OneHotIoU.num_classes": "is that of the samples",
    "metrics.OneHotMeanIoU.num_classes": "is that of the samples",
}
# Names and what is accepted without effect; weights' options have tests of their own in test_parity_layers.py.
ALWAYS = re.compile(r"name|dtype|seed|jit_compile|.*_(initializer|regularizer|constraint)")


def classes(module: ModuleType, base: type) -> list[str]:
    """Return the names of a module's public classes, without its base and its aliases."""
    found = {name: value for name, value in vars(module).items() if not name.startswith("_") and inspect.isclass(value)}
    own = {name: cls for name, cls in found.items() if base is not object or cls.__module__ == module.__name__}
    return sorted(n for n, c in own.items() if issubclass(c, base) and c is not base and c.__name__ == n)


def of_all(pairs: list[tuple[str, Arguments]]) -> dict[str, list[Arguments]]:
    """Return the arguments of every class."""
    found: dict[str, list[Arguments]] = {}
    for cls, arguments in pairs:
        found.setdefault(cls, []).append(arguments)
    return found


# Module -> what is drawn for each of its classes.
DRAWN: dict[str, dict[str, list[Arguments]]] = {
    "layers": {cls: configurations(c.count, valid=c.valid, quick=False, **c.options) for cls, c in LAYERS.items()},
    "losses": of_all([(cls, arguments) for cls, arguments, _ in loss_arguments(15)]),
    "optimizers": {cls: [optimizer_arguments(cls, seed) for seed in OPTIMIZER_SEEDS] for cls in OPTIMIZERS},
    "schedules": {cls: [schedule_arguments(cls, seed) for seed in SCHEDULE_SEEDS] for cls in SCHEDULES},
    "metrics": {
        cls: configurations(12 if len(options) > 3 else 6, valid=metric_allowed, quick=False, **options)
        for cls, (_, options) in METRICS.items()
    },
    "regularizers": of_all(REGULARIZERS),
    "constraints": of_all(CONSTRAINTS),
    "initializers": of_all(
        [*FIXED_INITIALIZERS, *RANDOM_INITIALIZERS, *(("STFT", arguments) for arguments in FOURIER_INITIALIZERS)]
    ),
    "activations": of_all([*ACTIVATIONS, *((name, {}) for name in TORCH_ACTIVATIONS)]),
    "numpy_style": {},
}
PUBLIC: dict[str, list[str]] = {
    "layers": classes(layers, layers.Layer),
    "losses": classes(losses, losses.Loss),
    "optimizers": classes(optimizers, optimizers.Optimizer),
    "schedules": classes(schedules, schedules.LearningRateSchedule),
    "metrics": classes(metrics, metrics.Metric),
    "regularizers": classes(regularizers, regularizers.Regularizer),
    "constraints": classes(constraints, constraints.Constraint),
    "initializers": classes(initializers, initializers.Initializer),
    "activations": list(activations.NAMES),
    "numpy_style": classes(numpy_style, object),
}
EVERY = [f"{module}.{cls}" for module, found in PUBLIC.items() for cls in found]


@pytest.mark.parametrize("name", EVERY)
def test_compared_or_tested_elsewhere(name: str) -> None:
    module, cls = name.split(".")
    drawn = DRAWN[module].get(cls)
    in_training = module != "layers" or cls not in LAYERS or LAYERS[cls].check.get("training", True)
    assert (drawn and in_training) or name in ELSEWHERE, (
        f"{name} is compared with nothing: a case, or a line in ELSEWHERE"
    )
    assert not (drawn and in_training and name in ELSEWHERE), f"{name} is compared: it needs no line in ELSEWHERE"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_other_test_is_there(name: str) -> None:
    assert name in EVERY
    for place in ELSEWHERE[name]:
        file, _, function = place.partition("::")
        text = (TESTS / file).read_text()
        assert not function or f"\ndef {function}(" in text, f"{place} is not there"
        cases = "".join(path.read_text() for path in TESTS.glob("cases*.py")) if "contract" in file else text
        assert name.split(".")[1] in cases, f"{place} does not know {name}"


@pytest.mark.parametrize(
    "name", [n for n in EVERY if n.split(".")[1] in DRAWN[n.split(".")[0]] and "activations" not in n]
)
def test_every_option_is_drawn(name: str) -> None:
    """Of every argument there are at least two values in the whole comparison, or there is a reason."""
    module, cls = name.split(".")
    parts: Any = {"schedules": schedules}.get(module) or globals()[module]
    signature = inspect.signature(getattr(parts, cls)).parameters
    names = {n for n, p in signature.items() if p.kind is not p.VAR_KEYWORD}
    if module == "optimizers":
        names |= set(CommonArguments.__annotations__)
    drawn = DRAWN[module][cls]
    for argument in sorted(n for n in names if not ALWAYS.fullmatch(n)):
        default = signature[argument].default if argument in signature else None
        values = {str(arguments.get(argument, default)) for arguments in drawn}
        if f"{name}.{argument}" in OPTIONS:
            assert len(values) == 1, f"{name}.{argument} is drawn: it needs no line in OPTIONS"
        else:
            assert len(values) > 1, f"{argument} of {name} is always {values}"


def test_lines_of_options_are_of_something() -> None:
    for line in OPTIONS:
        module, cls, argument = line.split(".")
        assert argument in inspect.signature(getattr(globals()[module], cls)).parameters, line
    assert {arguments["reduction"] for _, arguments, _ in loss_arguments(15)} == set(REDUCTIONS)
    assert set(LOSSES) == set(DRAWN["losses"])
