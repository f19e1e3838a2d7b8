"""profile and the memory stated by summary: right figures, and a model that is as before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradcheck import normal
from tiny import Array, assert_same, blobs, cnn, images, mlp, state
from tolerances import assert_bits

from fastnn import Input, Model, Sequential, config, layers, ops
from fastnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten
from fastnn.profiling import Profile, Row

LABELS = "sparse_categorical_crossentropy"


def everything(model: Any) -> dict[str, Array]:
    """Return all that training changes: parameters, gradients, slots, counters, metrics."""
    found = {**state(model), "grads": model.store.grads.copy()}
    for i, metric in enumerate(model._running()):
        found[f"metric {i}"] = metric.state.copy()
    found["position"], found["shuffled"] = model._feed.position.copy(), np.array(model.epochs_shuffled)
    return found


def dropping() -> Sequential:
    """Return a model with all that a step changes: moving statistics, random counters, slots, metrics."""
    config.set_seed(3)
    parts = [Conv2D(5, 3, activation="relu"), BatchNormalization(), Flatten(), Dropout(0.3), Dense(3, "softmax")]
    model = Sequential([Input((7, 6, 2)), *parts])
    model.compile("adam", LABELS, metrics=["accuracy"])
    return model


def two_branches() -> Model:
    """Return a model of two inputs and two outputs, with a layer that is called twice."""
    config.set_seed(3)
    a, b, shared = Input((5,), name="a"), Input((5,), name="b"), Dense(4, "tanh", name="shared")
    both = layers.Concatenate(name="both")([shared(a), shared(b)])
    model = Model([a, b], [Dense(3, "softmax", name="kind")(both), Dense(2, name="size")(both)])
    model.compile("rmsprop", [LABELS, "mse"])
    return model


def by_part(profile: Profile) -> dict[tuple[str, str], Row]:
    return {(row.name, row.phase): row for row in profile.rows}


# ---------------------------------------------------------------- the model is as before


@pytest.mark.parametrize("given", ["arrays", "fewer samples than a batch", "nothing", "samples only"])
def test_a_profile_changes_nothing(threads: int, given: str) -> None:
    x, y = normal(50, 7, 6, 2).astype(np.float32), np.arange(50) % 3
    profiled, other = dropping(), dropping()
    for model in (profiled, other):
        model.fit(x, y, 16, verbose=0)
    before = everything(profiled)
    n = 9 if given == "fewer samples than a batch" else 50
    arguments: dict[str, Any] = (
        {} if given == "nothing" else {"x": x[:n]} if given == "samples only" else {"x": x[:n], "y": y[:n]}
    )
    profile = profiled.profile(**arguments, batch_size=12, steps=30)  # 30 batches are more than there are
    assert profile.mode == ("predict" if given == "samples only" else "train")
    assert profile.batch_size == min(n, 12)
    assert_same(everything(profiled), before)
    for model in (profiled, other):
        model.fit(x, y, 16, epochs=2, verbose=0)
    assert_same(everything(profiled), everything(other))
    assert_bits(profiled.predict(x, verbose=0), other.predict(x, verbose=0))


def test_what_layers_keep_for_backward_stays() -> None:
    x, y = blobs(8)
    profiled, other = mlp(), mlp()
    for model in (profiled, other):
        out = model.forward(x, training=True)
        if model is profiled:
            model.profile(x, y, steps=2)
            model.summary(print_fn=lambda text: None)
        model.backward(np.ones_like(out))
    assert_bits(profiled.store.grads, other.store.grads)


def test_an_error_while_profiling_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = blobs(40)
    model = mlp()
    model.fit(x, y, verbose=0)
    before = everything(model)

    def interrupted(self: ops.Tape, steps: int) -> Any:
        self.run(2 * steps, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(ops.Tape, "profile", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.profile(x, y, batch_size=4)
    assert_same(everything(model), before)
    assert not ops.recording()


def test_a_profile_in_the_middle_of_an_epoch() -> None:
    from fastnn import callbacks

    x, y = blobs(64)

    def train(hook: Callable[..., Any]) -> dict[str, Array]:
        model = mlp()
        watch = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: hook(model))
        history = model.fit(x, y, 8, epochs=2, callbacks=[watch], verbose=0)
        return {**everything(model), "loss": np.array(history.history["loss"])}

    assert_same(train(lambda model: model.profile(x, y, steps=2)), train(lambda model: None))


# ---------------------------------------------------------------- the figures


def test_rows_are_the_parts_of_a_training_step() -> None:
    model = dropping()
    profile = model.profile(batch_size=8, steps=5)
    names = [layer.name for layer in model.layers]
    parts = [(row.name, row.phase) for row in profile.rows]
    assert parts[0] == ("data", "")
    assert [name for name, phase in parts if phase == "forward"] == [n for n in names if not n.startswith("flatten")]
    backward = [name for name, phase in parts if phase == "backward"]
    assert backward == [n for n in reversed(names) if n in backward]
    assert names[0] in backward
    assert [name for name, phase in parts if not phase] == ["data", "loss", "metrics", "optimizer"]
    rows = by_part(profile)
    assert set(rows["optimizer", ""].kernels) == {"adam_step", "advance"}
    assert rows["data", ""].kernels == ("gather_rows", "gather_rows", "advance")
    assert rows[names[1], "forward"].kernels == ("batch_norm_forward",)


@pytest.mark.parametrize("batch", [1, 7, 32])
def test_work_of_products_and_convolutions_is_exact(batch: int) -> None:
    convolution_layer = Conv2D(6, (3, 2), strides=(2, 1), groups=2)
    model = Sequential([Input((9, 8, 4)), convolution_layer, Flatten(), Dense(5, "softmax", name="out")])
    model.compile("sgd", LABELS)
    rows = by_part(model.profile(batch_size=batch, steps=3))
    convolution = convolution_layer.name
    outputs, taps = batch * 4 * 7 * 6, 3 * 2 * 2
    assert rows[convolution, "forward"].flops == 2 * outputs * taps
    assert rows[convolution, "backward"].flops == 2 * outputs * taps, "the first layer's input has no gradient"
    width = 4 * 7 * 6
    assert rows["out", "forward"].flops == 2 * batch * width * 5
    assert rows["out", "backward"].flops == 4 * batch * width * 5
    forward = 4 * (batch * 9 * 8 * 4 + taps * 6 + outputs + 6)
    assert rows[convolution, "forward"].bytes == forward
    assert rows["out", "forward"].bytes == 4 * (batch * width + width * 5 + batch * 5 + 5)
    padded = sum(-(-p.size // 16) * 16 for p in model.weights if p.name != "out/kernel")  # it is updated going backward
    assert rows["optimizer", ""].bytes == 3 * 4 * padded + 16
    assert rows["data", ""].bytes == 8 * batch * 9 * 8 * 4 + 8 * batch + 16


def test_the_rows_sum_to_the_step(threads: int) -> None:
    x, y = images(64, size=16)
    model = cnn(size=16, filters=12)
    ratios = []
    for _ in range(5):  # other processes may take a processor in the middle
        profile = model.profile(x, y, batch_size=32, steps=40)
        assert profile.seconds == pytest.approx(sum(row.seconds for row in profile.rows))
        ratios.append(profile.seconds / profile.step_seconds)
        if 0.9 < ratios[-1] < 1.1:
            return
    pytest.fail(f"sum of the rows / measured step: {ratios}")


def test_a_profile_shows_what_takes_long() -> None:
    model = Sequential([Input((64,)), Dense(8, name="small"), Dense(1024, name="large"), Dense(2048, name="largest")])
    model.compile("sgd", "mse")
    rows = by_part(model.profile(batch_size=64, steps=9))
    for phase in ("forward", "backward"):
        assert rows["small", phase].seconds < rows["large", phase].seconds < rows["largest", phase].seconds
    assert rows["largest", "forward"].roof == "compute"
    assert rows["loss", ""].roof == "memory"
    assert all(row.bytes > 0 and row.bound_seconds > 0 for row in rows.values())


def test_models_of_several_inputs_and_outputs() -> None:
    model = two_branches()
    before = everything(model)
    a, b = normal(20, 5), normal(20, 5, seed=1)
    y = [np.arange(20) % 3, normal(20, 2)]
    for profile in (model.profile([a, b], y, batch_size=8, steps=4), model.profile(steps=4)):
        rows = by_part(profile)
        assert rows["shared", "forward"].kernels == ("gemm", "gemm")
        assert {("both", "forward"), ("kind", "backward"), ("size", "backward"), ("loss", "")} <= set(rows)
    assert {row.phase for row in model.profile([a, b], steps=4).rows} == {"", "forward"}
    assert_same(everything(model), before)


def test_a_model_without_compile_is_profiled_in_prediction() -> None:
    model = Sequential([Input((6,)), Dense(4, name="only")])
    profile = model.profile(batch_size=3, steps=4)
    assert (profile.mode, [row.name for row in profile.rows]) == ("predict", ["data", "only"])
    assert "Profile of a prediction: batch size 3" in str(profile)


# ---------------------------------------------------------------- as text and data


def test_the_table_and_the_data() -> None:
    model = dropping()
    profile = model.profile(batch_size=8, steps=5)
    text = str(profile)
    assert repr(profile) == text
    assert re.search(
        r"^conv2d\w* +forward +[\d.]+ [um]s +[\d.]+% +[\d.]+ +[\d.]+ +\d+% +(compute|memory)$", text, re.MULTILINE
    )
    assert re.search(r"Sum of the parts: [\d.]+ [um]s; step measured whole: [\d.]+ [um]s", text)
    data = json.loads(json.dumps(profile.to_dict()))
    assert data["batch_size"] == 8
    assert data["steps"] == 5
    assert data["threads"] == config.num_threads()
    assert [row["name"] for row in data["rows"]] == [row.name for row in profile.rows]
    assert data["rows"][1]["flops_per_second"] == profile.rows[1].flops / profile.rows[1].seconds
    assert data["seconds"] == pytest.approx(sum(row["seconds"] for row in data["rows"]))
    assert sum(float(share) for share in re.findall(r"([\d.]+)% ", text)) > 99


class Doubled(Dense):
    """A layer with Python of its own."""

    def forward(self, x: Any, training: bool = False) -> Any:
        return 2 * super().forward(x, training)


def test_what_cannot_be_profiled() -> None:
    x, y = blobs(20)
    model = mlp()
    for wrong, message in [
        ({"y": y}, "expected samples x with the targets y"),
        ({"x": x[:0], "y": y[:0]}, "expected at least one sample"),
        ({"x": x, "y": y[:3]}, "of the same length"),
        ({"x": x, "y": y + 9}, "expected labels from 0 to 2"),
        ({"x": x[:, :3], "y": y}, "expected input of shape"),
        ({"batch_size": 0}, "batch_size to be an integer >= 1"),
        ({"steps": 0}, "steps to be an integer >= 1"),
    ]:
        with pytest.raises((ValueError, TypeError), match=message):
            model.profile(**wrong)
    with pytest.raises(ValueError, match="Doubled written in Python"):
        Sequential([Input((3,)), Doubled(2)]).profile()
    with pytest.raises(ValueError, match="run_eagerly=True"):
        mlp(run_eagerly=True).profile(x, y)
    with pytest.raises(ValueError, match="expected a built model"):
        Sequential([Dense(2)]).profile()
    with pytest.raises(ValueError, match="expected a compiled model"):
        Sequential([Input((5,)), Dense(3)]).profile(x, y)
    with pytest.raises(ValueError, match="inputs of a free shape"):
        Sequential([Input((None, 5)), Dense(3)]).profile()
    config.set_backend("numpy")
    with pytest.raises(ValueError, match="the backend 'numpy'"):
        model.profile(x, y)


# ---------------------------------------------------------------- the memory in summary


def stated(model: Any, batch_size: int) -> int:
    """Return the bytes of buffers in a summary."""
    lines: list[str] = []
    model.summary(print_fn=lines.append, batch_size=batch_size)
    found = re.search(rf"Buffers of a [a-z ]+, batch size {batch_size}: ([\d,]+) bytes", lines[0])
    assert found, lines[0]
    return int(found[1].replace(",", ""))


MODELS: dict[str, Callable[[], Any]] = {
    "mlp": lambda: mlp(hidden=700),
    "cnn": lambda: cnn(size=16, filters=12),
    "dropping": dropping,
    "two branches": two_branches,
}


@pytest.mark.parametrize("batch_size", [1, 33, 200])
@pytest.mark.parametrize("kind", MODELS)
def test_summary_states_the_bytes_a_step_then_takes(isa: str, threads: int, kind: str, batch_size: int) -> None:
    model = MODELS[kind]()
    before = everything(model)
    bytes_stated = stated(model, batch_size)
    assert model._steps.bytes() == 0, "nothing was recorded"
    assert_same(everything(model), before)
    x, y, _ = model._example("train", batch_size, np.random.default_rng(0))
    model.train_on_batch(model.input_structure.whole(x), model.output_structure.whole(y))
    assert model._steps.bytes() == bytes_stated
    assert stated(model, batch_size) == bytes_stated


def test_summary_states_the_bytes_of_a_prediction_and_the_slots() -> None:
    model = Sequential([Input((600,)), Dense(500, "relu"), Dense(3)])
    size = stated(model, 1000)
    model.predict(np.zeros((1000, 600)), 1000, verbose=0)
    assert model._steps.bytes() == size
    lines: list[str] = []
    model.compile("adam", "mse")
    model.summary(print_fn=lines.append)
    count = model.count_params()
    assert f"Optimizer params: {2 * count:,} ({8 * count / 2**20:.2f} MB)" in lines[0]


def test_summary_without_figures_where_there_are_none() -> None:
    for model in (Sequential([Input((None, 5)), Dense(3)]), Sequential([Input((3,)), Doubled(2)])):
        lines: list[str] = []
        model.summary(print_fn=lines.append)
        assert "Buffers" not in lines[0]
        assert "Total params" in lines[0]


def test_summary_with_a_profile() -> None:
    x, y = blobs(20)
    lines: list[str] = []
    model = mlp()
    model.summary(print_fn=lines.append, profile=True, x=x, y=y, batch_size=10)
    model.summary(print_fn=lines.append, profile=True)
    assert "Total params" in lines[0]
    assert "Profile of a training step: batch size 10" in lines[0]
    assert "Profile of a training step: batch size 32" in lines[1]
    with pytest.raises(ValueError, match="expected profile=True with x or y"):
        model.summary(x=x)
    with pytest.raises(ValueError, match="batch_size"):
        model.summary(batch_size=0)
