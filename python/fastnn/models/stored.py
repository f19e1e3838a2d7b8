"""What every model can do with files: save itself, its weights, its architecture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastnn import checks, saving
from fastnn import weights as weight_files
from fastnn.custom import custom_object_scope
from fastnn.files import described


class Stored:
    """The part of a model that has to do with files and descriptions."""

    def save(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write architecture, weights, optimizer and training state to one file, atomically.

        Args:
            filepath: by custom ending in .fastnn; a safetensors file that carries no code.
            overwrite: False raises if the file is there.
        """
        model: Any = self
        saving.save_model(model, filepath, overwrite)

    def save_weights(self, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write all parameters by name to one file, atomically.

        Args:
            filepath: ending in .npz for NumPy's format; anything else is a safetensors file.
            overwrite: False raises if the file is there.
        """
        model: Any = self
        weight_files.save_weights(model, filepath, overwrite)

    def load_weights(
        self,
        filepath: str | os.PathLike[str] | Mapping[str, Any],
        skip_mismatch: bool = False,
        by_name: bool | None = None,
    ) -> weight_files.LoadReport:
        """Set parameters from a file or a dict; unless told to skip, nothing changes if one is missing, too many or does not fit.

        Args:
            filepath: a file of `save_weights` or `save`, or of another program: .safetensors, .npz with an array per name, Keras's
                .weights.h5 and .keras (these need h5py); or a dict of arrays by name, such as "dense/kernel" (what stands before
                that, as in Keras's paths, does not matter), or as textbooks call them, "W1", "b1", "W2", ...
                Arrays are laid out as in Keras; for those of PyTorch see
                `fastnn.models.load_pytorch_weights`.
            skip_mismatch: set what fits and leave the rest as it is; what was left out is in a warning and in the report.
            by_name: True goes by names, False by the order of layers. None goes by names; where these differ only in the numbers
                that layers of a class are counted by ("dense_1", "dense_4"), by order.

        Returns:
            LoadReport: which weights were set, missing, unused, of another shape.

        Raises:
            ValueError: if they do not fit, or the file is damaged; OSError if it cannot be read.

        Example:
            >>> import numpy as np
            >>> model = fastnn.Sequential([fastnn.Input((2,)), fastnn.layers.Dense(3, name="out")])
            >>> print(model.load_weights({"out/kernel": np.ones((2, 3)), "out/bias": np.zeros(3)}))
            2 of 2 weights were set
        """
        model: Any = self
        return weight_files.load_weights(model, filepath, skip_mismatch, by_name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let `copy` and `pickle` make a model of its own: what `save` and `load_model` would."""
        model: Any = self
        return saving.reduce_model(model)

    def to_json(self, **options: Any) -> str:
        """Return the architecture as JSON, for `fastnn.models.model_from_json`.

        Args:
            options: of `json.dumps`, such as indent=2.
        """
        model: Any = self
        return saving.to_json(model, **options)

    def hyperparameters(self) -> dict[str, dict[str, Any]]:
        """Return what was chosen and not learned, as plain data, in two groups.

        "algorithm" is how the model is trained: optimizer, loss, epochs and steps (batches) of the last `fit`. "model" is what
        it is made of: class and arguments of every layer, by its name.

        Example:
            >>> model = fastnn.Sequential([fastnn.Input((3,)), fastnn.layers.Dense(8, "relu", name="hidden")])
            >>> model.compile(fastnn.optimizers.SGD(0.5), "mse")
            >>> found = model.hyperparameters()
            >>> found["algorithm"]["optimizer"]["config"]["learning_rate"]
            0.5
            >>> found["model"]["hidden"]["class"], found["model"]["hidden"]["config"]["units"]
            ('Dense', 8)
        """
        model: Any = self
        last = {} if model.history is None else model.history.params
        run = {name: last[name] for name in ("epochs", "steps") if name in last}
        layers = {layer.name: saving.layer_data(layer) for layer in model.leaf_layers}
        return {"algorithm": {**saving.algorithm_data(model), **run}, "model": layers}

    def is_plain(self, cls: type) -> bool:
        """Return whether files may describe the model as one of that class: no subclass computes or describes it otherwise."""
        own = type(self).__mro__[: type(self).__mro__.index(cls)]
        return not any({"forward", "backward", "get_config", "from_config", "read"} & vars(part).keys() for part in own)

    def get_config(self) -> dict[str, Any]:
        """Return the model's architecture as plain data."""
        raise TypeError(checks.message(type(self).__name__, "a model class with get_config", type(self).__name__))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return a new model from what `get_config` returned.

        Args:
            config: the plain data.
            custom_objects: your own layer classes by name.

        Raises:
            ValueError: for data that describe no such model.
        """
        with custom_object_scope(custom_objects), described("from_config"):
            return cls.read(config, saving.Reader())

    @classmethod
    def read(cls, config: Mapping[str, Any], reader: saving.Reader) -> Any:
        """Return a new model whose layers the reader reads."""
        raise TypeError(checks.message(cls.__name__, "a model class with a read method", cls.__name__))
