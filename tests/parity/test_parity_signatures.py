"""Every name and argument of Keras's public interface: there, in its order, with its default, or here with the reason."""

from __future__ import annotations

import inspect
from functools import reduce
from typing import Any

import pytest
from harness import keras

import fastnn
from fastnn.activations import PARAMETERS
from fastnn.layers.base import BASE_ARGUMENTS
from fastnn.optimizers.arguments import DEFAULTS
from fastnn.training.compiled import IGNORED_ARGUMENTS

VERSION = "3.15."  # of Keras, whose interface the tables are about

MODULES = (
    "layers", "activations", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks", "initializers", "regularizers",
    "constraints", "models", "utils",
)  # fmt: skip
METHODS = {  # of these classes, what a program of Keras's calls
    "Model": (
        "compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch", "summary", "save",
        "save_weights", "load_weights", "get_layer", "get_config", "from_config", "to_json", "count_params", "get_weights",
        "set_weights", "build", "compute_output_shape", "reset_metrics",
    ),
    "Sequential": ("add", "pop", "build", "compile", "fit", "evaluate", "predict"),
    "layers.Layer": ("build", "get_config", "from_config", "get_weights", "set_weights", "count_params"),
    "losses.Loss": ("call", "get_config", "from_config"),
    "metrics.Metric": ("result", "reset_state", "get_config", "from_config"),
    "optimizers.Optimizer": ("get_config", "apply", "exclude_from_weight_decay", "scale_loss"),
    "callbacks.Callback": tuple(
        f"on_{what}_{when}" for what in ("epoch", "batch", "train", "test", "predict", "train_batch", "test_batch", "predict_batch")
        for when in ("begin", "end")
    ),
}  # fmt: skip

# Names that fastnn does not have. They are no part of what it sets out to be: feed-forward and convolutional networks of arrays.
ABSENT: dict[str, str] = {
    # recurrence, attention, text, sound, categories
    "layers": """AdditiveAttention Attention Bidirectional CategoryEncoding ConvLSTM1D ConvLSTM2D ConvLSTM3D Discretization
        EinsumDense GRU GRUCell GroupQueryAttention HashedCrossing Hashing IntegerLookup LSTM LSTMCell MelSpectrogram
        MultiHeadAttention RNN ReversibleEmbedding STFTSpectrogram SimpleRNN SimpleRNNCell StackedRNNCells StringLookup
        TextVectorization TimeDistributed"""
    # further pictures
    """ AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D
        AdaptiveMaxPooling3D AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization CutMix Equalization
        MaxNumBoundingBoxes MixUp Pipeline RandAugment RandomColorDegeneration RandomColorJitter RandomElasticTransform
        RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization RandomSaturation
        RandomSharpness RandomShear Solarization"""
    # other frameworks, functions without a derivative, old names, wrappers
    """ Convolution1D Convolution1DTranspose Convolution2D Convolution2DTranspose Convolution3D Convolution3DTranspose FlaxLayer
        InputSpec JaxLayer Lambda SeparableConvolution1D SeparableConvolution2D SpectralNormalization TFSMLayer
        TorchModuleWrapper Wrapper deserialize serialize""",
    "activations": "glu sparsemax threshold",
    "losses": """CTC CategoricalGeneralizedCrossEntropy Circle Dice Tversky categorical_generalized_cross_entropy circle ctc dice
        tversky""",
    "optimizers": "LossScaleOptimizer MultiOptimizer OptimizerMap ScheduleFreeAdamW",
    "callbacks": "OrbaxCheckpoint",
    # files and pictures to read, text, and what belongs to Keras's own machinery
    "utils": """Config CustomObjectScope FeatureSpace Progbar array_to_img audio_dataset_from_directory
        deserialize_keras_object disable_interactive_logging enable_interactive_logging get_file get_registered_name
        get_registered_object get_source_inputs image_dataset_from_directory img_to_array is_interactive_logging_enabled
        is_keras_tensor load_img model_to_dot pack_x_y_sample_weight pad_sequences save_img serialize_keras_object
        split_dataset standardize_dtype text_dataset_from_directory timeseries_dataset_from_array unpack_x_y_sample_weight""",
}

OTHER_TENSORS = "there are no sparse or ragged arrays, and no inputs that may be missing"
NOT_HERE = "low-rank adaptation and quantization are no part of this"
# Arguments that fastnn does not have or has otherwise, each with the reason.
DIFFERENCES: dict[tuple[str, str], str] = {
    **{("layers.Dense", name): NOT_HERE for name in ("lora_rank", "lora_alpha", "quantization_config")},
    **{("layers.Embedding", name): NOT_HERE for name in ("lora_rank", "lora_alpha", "quantization_config")},
    **{("layers.BatchNormalization", name): "no renormalization" for name in ("renorm", "renorm_clipping", "renorm_momentum")},
    **{("layers.Input", name): OTHER_TENSORS for name in ("sparse", "ragged", "tensor", "optional")},
    **{("layers.InputLayer", name): OTHER_TENSORS for name in ("sparse", "ragged", "input_tensor", "optional")},
    ("metrics.SparseTopKCategoricalAccuracy", "from_sorted_ids"): "predictions are numbers per class",
    ("metrics.sparse_top_k_categorical_accuracy", "from_sorted_ids"): "predictions are numbers per class",
    ("callbacks.CallbackList", "add_progbar"): "fit draws its bar itself",
    ("utils.plot_model", "splines"): "drawn with matplotlib, not with graphviz",
    ("models.clone_model", "input_tensors"): "a copy has inputs of its own",
    ("models.clone_model", "call_function"): "a layer of one's own is a class",
    ("models.clone_model", "recursive"): "models inside are copied in any case",
    ("models.load_model", "safe_mode"): "files carry no code",
    ("Model.save", "zipped"): "a model is one file",
    ("models.save_model", "zipped"): "a model is one file",
    ("Model.save_weights", "max_shard_size"): "weights are one file",
    ("Sequential.add", "rebuild"): "a model rebuilds itself",
    ("Sequential.pop", "rebuild"): "a model rebuilds itself",
}  # fmt: skip
# Where the order or a default is another one.
OTHERWISE: dict[tuple[str, str], str] = {
    ("Model.build", "input_shape"): "may be left out where the model knows it",
}


@pytest.fixture(autouse=True)
def _the_version_of_the_tables() -> None:
    if not keras().__version__.startswith(VERSION):
        pytest.skip(f"the tables are about Keras {VERSION}*, not {keras().__version__}")


def found(package: Any, path: str) -> Any:
    return reduce(getattr, path.split("."), package)


def public(module: str) -> list[str]:
    """Return the names of classes and functions in a module of Keras."""
    peer = found(keras(), module)
    return [name for name in dir(peer) if not name.startswith("_") and callable(getattr(peer, name))]


def named_parameters(what: Any) -> list[inspect.Parameter]:
    every = inspect.signature(what).parameters.values()
    return [p for p in every if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


def by_keyword(path: str, ours: Any) -> dict[str, Any]:
    """Return the arguments that something takes by keyword without naming them in its signature, with their defaults."""
    if path.startswith("layers.") and inspect.isclass(ours):
        weights = [f"{w}_{kind}" for w in ours.weight_names for kind in ("regularizer", "constraint")]
        return dict.fromkeys((*BASE_ARGUMENTS, *weights))
    if path.startswith("optimizers."):
        return {**DEFAULTS, "name": None}
    if path.startswith("activations.") and not inspect.isfunction(ours):
        return dict(PARAMETERS.get(ours.name, {}))
    return dict.fromkeys(IGNORED_ARGUMENTS) if path.endswith(".compile") else {}


def same_default(theirs: Any, ours: Any) -> bool:
    """Return whether defaults mean the same: a size for every axis, a name that the object finds itself."""
    if theirs is inspect.Parameter.empty or theirs == ours:
        return True  # what Keras wants to be told may have a default here
    if isinstance(theirs, str) and isinstance(ours, str):
        return theirs.lower() == ours.lower()
    if not isinstance(theirs, tuple) or not theirs:
        return False
    flat = {number for entry in theirs for number in (entry if isinstance(entry, tuple) else (entry,))}
    own = set(ours) if isinstance(ours, tuple) else {ours}
    return flat == own


def arguments_that_differ(path: str, ours: Any, theirs: Any) -> list[str]:
    """Return what is wrong with our arguments that no table excuses."""
    wrong, mine = [], {p.name: p for p in named_parameters(ours)}
    more, expected = by_keyword(path, ours), named_parameters(theirs)
    for p in expected:
        if (path, p.name) in OTHERWISE:
            continue
        known = p.name in mine or p.name in more
        if known is ((path, p.name) in DIFFERENCES):
            wrong.append(f"{p.name} is {'there, and in the table' if known else 'missing'}")
        elif known and path.startswith(("losses.", "metrics.")) and p.name == "name":
            continue  # None finds the same: the losses' and metrics' own tests
        elif known and p.name not in BASE_ARGUMENTS and p.name not in IGNORED_ARGUMENTS:
            default = mine[p.name].default if p.name in mine else more[p.name]
            if not same_default(p.default, default):
                wrong.append(f"{p.name}={default!r}, Keras has {p.default!r}")
    positional = [name for name, p in mine.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    wanted = [p.name for p in expected if p.kind is p.POSITIONAL_OR_KEYWORD]
    shared = [name for name in wanted if name in positional]
    if shared != positional[: len(shared)] and inspect.isclass(ours) | inspect.isfunction(ours):
        wrong.append(f"the order {positional}, Keras has {wanted}")
    return wrong


@pytest.mark.parametrize("module", MODULES)
def test_names(module: str) -> None:
    """What fastnn does not have is in the table, and nothing else."""
    mine = found(fastnn, module)
    assert {name for name in public(module) if not hasattr(mine, name)} == set(ABSENT.get(module, "").split())


@pytest.mark.parametrize("module", MODULES)
def test_arguments(module: str) -> None:
    wrong = {}
    for name in public(module):
        ours, path = getattr(found(fastnn, module), name, None), f"{module}.{name}"
        if ours is not None and path not in BASES and name not in OWN_FORM:
            wrong[path] = arguments_that_differ(path, ours, getattr(found(keras(), module), name))
    assert {path: what for path, what in wrong.items() if what} == {}


BASES = {
    "layers.Layer",
    "metrics.Metric",
    "models.Model",
    "models.Sequential",
    "losses.Loss",
}  # whose signatures Keras hides
OWN_FORM = {"get", "serialize", "deserialize"}  # one argument each


@pytest.mark.parametrize("owner", METHODS)
def test_methods(owner: str) -> None:
    ours, theirs, wrong = found(fastnn, owner), found(keras(), owner), {}
    for name in METHODS[owner]:
        assert hasattr(ours, name), f"{owner}.{name}"
        wrong[name] = arguments_that_differ(f"{owner}.{name}", getattr(ours, name), getattr(theirs, name))
    assert {name: what for name, what in wrong.items() if what} == {}


def test_every_difference_is_one() -> None:
    """No line of the tables outlives its reason."""
    for path, argument in (*DIFFERENCES, *OTHERWISE):
        assert argument in {p.name for p in named_parameters(found(keras(), path))}, f"Keras's {path} has no {argument}"
