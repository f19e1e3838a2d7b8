"""The benchmark: fair turns, right roofs, plain programs with right gradients, checks that catch a wrong result, honest reports."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn import bench, config, ops
from fastnn.bench import cases, kernels, machine, plain_numpy, report, timing, workloads
from fastnn.bench.report import Report, Roof, Row
from fastnn.bench.timing import Timing
from fastnn.ops import machine as roofs

# --- timing ---


def test_programs_take_turns_after_the_same_warm_up():
    log = []

    def program(name):
        def run(calls):
            log.append((name, calls))
            time.sleep(0.005)

        return run

    timings = timing.interleave({"a": program("a"), "b": program("b")}, seconds=0.07)
    rounds = log[4:]  # two calls each to warm up and calibrate
    assert log[:4] == [("a", 1), ("a", 1), ("b", 1), ("b", 1)]
    assert rounds == [("a", 1), ("b", 1)] * (len(rounds) // 2)
    assert timing.MIN_ROUNDS <= len(timings["a"].samples) == len(timings["b"].samples) == len(rounds) // 2 <= 7


def test_a_sample_of_a_fast_program_is_many_calls_and_counts_one():
    def program(calls):
        end = time.perf_counter() + calls * 1e-5
        while time.perf_counter() < end:
            pass

    result = timing.interleave({"a": program}, seconds=0.1)["a"]
    assert result.calls >= 64
    assert min(result.samples) >= 1e-5
    assert result.median < 1e-4  # far below that of a whole sample
    assert len(result.samples) <= timing.MAX_ROUNDS


@pytest.mark.parametrize(
    ("used", "looks"), [([0.0], 1), ([0.005, 0.01, 0.0004], 3), ([0.005] * 1000, timing.MAX_LOOKS)]
)
def test_settle_sleeps_until_no_thread_takes_time_but_not_for_ever(monkeypatch, used, looks):
    spent = itertools.accumulate(itertools.chain.from_iterable((0.0, seconds) for seconds in used))
    sleeps = []
    monkeypatch.setattr(time, "process_time", lambda: next(spent))
    monkeypatch.setattr(time, "sleep", sleeps.append)
    timing.settle()
    assert sleeps == [timing.SETTLE_SECONDS] * looks


def test_median_quartiles_and_spread():
    result = Timing([5.0, 1.0, 4.0, 2.0, 3.0], calls=1)
    assert result.median == 3.0
    assert result.quartiles == (2.0, 4.0)
    assert result.spread == pytest.approx(1 / 3)


# --- the machine ---


def test_settings_come_back_also_after_an_error():
    threads = config.num_threads()

    def fail():
        with machine.using_threads(threads + 1), machine.using_backend("numpy"):
            assert (config.num_threads(), config.backend()) == (threads + 1, "numpy")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (config.num_threads(), config.backend()) == (threads, "native")


def test_threads_of_numpy_are_limited_too():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with machine.using_threads(1) as limited:
        assert limited
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        assert [pool["num_threads"] for pool in pools] == [1] * len(pools)
        assert machine.describe()["threads"] == 1


def test_without_threadpoolctl_the_kernels_are_limited_and_the_report_says_the_rest(monkeypatch):
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with machine.using_threads(1) as limited:
        assert not limited
        assert config.num_threads() == 1
        description = machine.describe()
    assert "threads of its BLAS not limited" in Report(description, "now", 1e9).heading()


def test_peak_is_one_that_a_product_comes_near_and_does_not_exceed():
    a = np.random.default_rng(0).standard_normal((192, 192), np.float32)
    tape = ops.Tape()
    with machine.using_threads(1):
        with tape:
            ops.gemm(a, a)
        best = 1e9
        for _ in range(200):
            start = time.perf_counter()
            tape.run(1, 1.0)
            best = min(best, time.perf_counter() - start)
        share = 2 * 192**3 / best / machine.peak()
    assert 0.25 < share < 1.15


def test_bandwidth_is_the_best_of_one_and_all_threads_measured_once_for_sizes_that_round_alike(monkeypatch):
    calls = []

    def measure(size, threads, seconds):
        calls.append((size, threads))
        return 1e9 * threads if size > 1 << 14 else 1e9 / threads

    monkeypatch.setattr(roofs, "measure_bandwidth", measure)
    roofs._bandwidth.cache_clear()
    with machine.using_threads(3):
        assert [machine.bandwidth(nbytes) for nbytes in (0, 100, 1 << 14)] == [1e9] * 3
        assert [machine.bandwidth(nbytes) for nbytes in ((1 << 14) + 1, 1 << 15, 40_000)] == [3e9] * 3
    roofs._bandwidth.cache_clear()
    assert sorted(calls) == [(size, threads) for size in (1 << 14, 1 << 15, 1 << 16) for threads in (1, 3)]


# --- the plain programs: gradients against differences ---


def numerical_gradient(loss, x, eps=1e-6):
    """Return d loss() / d x by central differences; x is changed and restored."""
    gradient = np.empty_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + eps
        up = loss()
        x[i] = kept - eps
        gradient[i] = (up - loss()) / (2 * eps)
        x[i] = kept
    return gradient


def plain_layers():
    rng = np.random.default_rng(3)
    normal = rng.standard_normal
    return {
        "affine": (plain_numpy.Affine(normal((6, 4)), normal(4)), (3, 6)),
        "affine on images": (plain_numpy.Affine(normal((12, 4)), normal(4)), (2, 3, 2, 2)),
        "relu": (plain_numpy.Relu(), (3, 5)),
        "convolution": (plain_numpy.Convolution(normal((3, 2, 2, 3)), normal(3), 0), (2, 5, 4, 2)),
        "padded convolution": (plain_numpy.Convolution(normal((3, 3, 2, 3)), normal(3), 2), (2, 3, 4, 2)),
        "pooling": (plain_numpy.MaxPooling(2), (2, 4, 6, 3)),
        "pooling with a rest": (plain_numpy.MaxPooling(2), (2, 5, 7, 1)),
        "flatten": (plain_numpy.Flatten(), (2, 3, 2, 2)),
    }


@pytest.mark.parametrize("name", plain_layers())
def test_plain_layer_has_the_right_gradients(name):
    layer, shape = plain_layers()[name]
    rng = np.random.default_rng(5)
    x = rng.standard_normal(shape)
    direction = rng.standard_normal(layer.forward(x).shape)

    def loss():
        return float((layer.forward(x) * direction).sum())

    loss()
    dx = layer.backward(direction, True)
    np.testing.assert_allclose(dx, numerical_gradient(loss, x), atol=1e-7)
    for value, gradient in zip(layer.params, [g.copy() for g in layer.grads], strict=True):
        np.testing.assert_allclose(gradient, numerical_gradient(loss, value), atol=1e-7)


def test_plain_convolution_by_its_definition():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((3, 2, 3, 4)), rng.standard_normal(4)
    y = plain_numpy.Convolution(w, b, 1).forward(x)
    assert y.shape == (2, 4, 6, 4)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    for n, p, q, k in itertools.product(range(2), range(4), range(6), range(4)):
        assert y[n, p, q, k] == pytest.approx((padded[n, p : p + 3, q : q + 2] * w[..., k]).sum() + b[k])


def test_plain_dropout_keeps_the_mean_and_uses_its_mask_backward():
    layer = plain_numpy.Dropout(0.25)
    y = layer.forward(np.ones((100, 100), np.float32))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert (y > 0).mean() == pytest.approx(0.75, abs=0.02)
    assert (layer.backward(np.ones_like(y), True) == y).all()
    assert (layer.forward(np.ones((100, 100), np.float32)) != y).any()


def test_plain_loss_and_its_gradient():
    logits, labels = np.random.default_rng(1).standard_normal((4, 3)), np.array([2, 0, 0, 1])
    loss, gradient = plain_numpy.softmax_cross_entropy(logits, labels)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert loss == pytest.approx(-np.log(p[np.arange(4), labels]).mean(), abs=1e-6)
    expected = numerical_gradient(lambda: plain_numpy.softmax_cross_entropy(logits, labels)[0], logits)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_plain_optimizers_do_their_formulas():
    w = [np.array([1.0, -2.0])]
    plain_numpy.Sgd(0.5).update(w, [np.array([2.0, 4.0])])
    assert w[0].tolist() == [0.0, -4.0]
    w, adam = [np.array([1.0, 1.0])], plain_numpy.Adam(lr=0.125)
    adam.update(w, [np.array([3.0, -0.5])])  # the first step is lr in the direction of the sign
    np.testing.assert_allclose(w[0], [0.875, 1.125], atol=1e-6)
    adam.update(w, [np.array([0.0, 0.0])])  # m = .9 * .1 g, v = .999 * .001 g^2
    rate = 0.125 * np.sqrt(1 - 0.999**2) / (1 - 0.9**2)
    np.testing.assert_allclose(w[0][0], 0.875 - rate * 0.09 / np.sqrt(0.000999), rtol=1e-5)


def test_plain_network_learns():
    workload = dataclasses.replace(workloads.get("lenet_b64_adam"), batch=16)
    network = workloads.plain_network(workloads.build_model(workload), workload)
    x, y = workloads.data(workload, 16)
    losses = [network.train_step(x, y) for _ in range(30)]
    assert losses[-1] < losses[0] / 4


# --- kernel cases ---


def test_names_are_unique_and_every_family_is_there():
    names = [case.name for case in bench.select()]
    assert len(set(names)) == len(names)
    kernel = {name.split()[0] for name in names}
    assert {
        "gemm_nn",
        "gemm_tn",
        "gemm_nt",
        "conv2d_forward",
        "conv2d_backward_input",
        "conv2d_backward_filter",
    } <= kernel
    assert {"max_pool2d_forward", "max_pool2d_backward", "relu_forward", "softmax_cross_entropy"} <= kernel
    assert {"batch_norm_forward", "dropout_forward", "adam_step", "sgd_step", "gather_rows"} <= kernel
    assert {workload.name for workload in workloads.WORKLOADS} <= set(names)
    quick = [case.name for case in bench.select(quick=True)]
    assert set(quick) < set(names)
    assert {name.split()[0] for name in quick} >= {"gemm_nn", "conv2d_forward", "adam_step", "mlp300_b128_adam"}


def test_select_takes_a_part_of_the_name():
    assert [case.name for case in bench.select("nt 128x128")] == ["gemm_nt 128x128x128"]
    assert bench.select("no such case") == []


SMALL = [
    "gemm_tn 64x64x64",
    "gemm_nt 64x64x64",
    "gemm_nt 1x784x500",
    "conv2d_backward_input 64x14x14x6 5x5 to 16",
    "conv2d_backward_filter 64x14x14x6 5x5 to 16",
    "conv2d_backward_input depthwise 64x28x28x6 5x5 to 6 by 1",
    "conv2d_backward_filter depthwise 16x14x14x256 3x3 to 512 by 1",
    "conv2d_transpose_forward 32x14x14x64 3x3 to 32 by 2",
    "conv3d_forward 8x16x28x28x16 3x3x3 to 32",
    "max_pool2d_backward 64x28x28x6",
    "max_pool2d_backward_relu 128x26x26x32",
    "batch_norm_backward 21632x64",
    "batch_norm_backward_relu 21632x64",
    "layer_norm_backward 1024x512",
    "group_norm_backward 32x28x28x32 by 8",
    "global_max_pool2d_backward 32x28x28x32",
    "global_average_pool2d_forward 32x28x28x32",
    "relu_backward_bias 86528x32",
    "gelu_backward 256x2048",
    "softmax_cross_entropy 128x10",
    "adam_step 317000",
    "gather_rows uint8 128x784",
]


@pytest.mark.parametrize("name", SMALL)
def test_kernel_case_is_right_and_runs_as_often_as_asked(name):
    (case,) = bench.select(name)
    cases.verify(case)
    for program in cases.programs(case).values():
        program(3)


def test_recorded_case_computes_at_every_call():
    (case,) = bench.select("sgd_step 317000")
    made = []
    counted = dataclasses.replace(case, make=lambda dtype: made.append(case.make(dtype)) or made[-1])
    run = cases.programs(counted)["fastnn"]  # recording is the first step
    run(4)
    w = made[0][0](SimpleNamespace(sgd_step=lambda w, g, lr: None))[1]
    fresh = case.make(np.float32)[0]
    for _ in range(5):
        expected = fresh(ops)[1]
    assert (w == expected).all()


def test_a_wrong_kernel_is_not_timed(monkeypatch):
    (case,) = bench.select("gemm_nn 64x64x64")
    monkeypatch.setattr(ops, "gemm", lambda a, b, **options: (a @ b) * np.float32(1.0001))
    with pytest.raises(ArithmeticError, match="gemm_nn 64x64x64: fastnn is off by"):
        cases.verify(case)
    result = bench.run([case], threads=1, seconds=0.01, show=lambda line: None)
    assert result.rows == []
    assert "WRONG, not timed: gemm_nn 64x64x64: fastnn is off by" in result.notes()[-1]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_wrong(value):
    made = lambda dtype: (lambda k: np.ones(3) if k is not ops else np.array([1, 1, value]), None)  # noqa: E731
    with pytest.raises(ArithmeticError, match="fastnn is off"):
        cases.verify(cases.KernelCase("case", 1, 1, made))


def test_a_wrong_plain_program_or_shape_or_no_result_is_found():
    right = lambda k: np.ones(3)  # noqa: E731
    for plain in (lambda: np.zeros(3), lambda: np.ones((3, 1))):
        with pytest.raises(ArithmeticError, match="case: plain is off"):
            cases.verify(cases.KernelCase("case", 1, 1, lambda dtype, plain=plain: (right, plain)))
    with pytest.raises(ArithmeticError, match="no result"):
        cases.verify(cases.KernelCase("case", 1, 1, lambda dtype: (lambda k: None, None)))


# --- training steps ---

PARAMETERS = {  # by hand: sum of inputs x outputs + outputs
    "mlp500_b1_sgd": 784 * 500 + 500 + 500 * 500 + 500 + 5010,
    "mlp5x100_b128_adam": 78_500 + 3 * 10_100 + 1_010,
    "mlp300_b128_adam": 235_500 + 60_200 + 20_100 + 1_010,
    "mlp2048_b256_adam": 784 * 2048 + 2048 + 2 * (2048 * 2048 + 2048) + 20_490,
    "lenet_b64_adam": 156 + 2_416 + 48_120 + 10_164 + 850,
    "kerascnn_b128_adam": 320 + 18_496 + 16_010,
    "resnet20_b128_sgd": (
        27 * 16
        + 6 * 9 * 16 * 16
        + 9 * 32 * (16 + 5 * 32)
        + 9 * 64 * (32 + 5 * 64)
        + 16 * 32
        + 32 * 64
        + 650
        + 4 * (7 * 16 + 7 * 32 + 7 * 64)
    ),
    "deepconv_b100_adam": 160 + 2_320 + 4_640 + 9_248 + 18_496 + 36_928 + 51_250 + 510,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_workload_is_the_network_it_says(name):
    assert workloads.build_model(workloads.get(name)).count_params() == PARAMETERS[name]


def test_flops_of_a_step_by_hand():
    mlp = workloads.get("mlp300_b32_adam")
    forward = 2 * 32 * (784 * 300 + 300 * 200 + 200 * 100 + 100 * 10)
    assert workloads.step_flops(workloads.build_model(mlp), 32) == 3 * forward - 2 * 32 * 784 * 300
    lenet = workloads.get("lenet_b64_adam")
    first, second = 28 * 28 * 25 * 6, 10 * 10 * 25 * 6 * 16
    dense = 400 * 120 + 120 * 84 + 84 * 10
    convolutions = first + first / 4 + second + 2 * second / 4  # one output of four has a gradient
    assert workloads.step_flops(workloads.build_model(lenet), 64) == 2 * 64 * (convolutions + 3 * dense)
    kerascnn = workloads.get("kerascnn_b128_adam")
    first, second = 26 * 26 * 9 * 32, 10 * 10 * 9 * 32 * 64  # the last of 11 rows and columns is in no window
    convolutions = first + first / 4 + second + 2 * second / 4
    assert workloads.step_flops(workloads.build_model(kerascnn), 128) == 2 * 128 * (convolutions + 3 * 16000)


def test_flops_of_a_graph_by_hand():
    stages = 6 * 32**2 * 9 * 16 * 16 + 16**2 * 9 * 32 * (16 + 5 * 32) + 8**2 * 9 * 64 * (32 + 5 * 64)
    first, projections = 32**2 * 27 * 16, 16**2 * 16 * 32 + 8**2 * 32 * 64
    expected = 2 * 7 * (2 * first + 3 * (stages + projections + 640))
    assert workloads.step_flops(workloads.build_model(workloads.get("resnet20_b128_sgd")), 7) == expected


def small(name, **changes):
    """Return a workload of few samples."""
    return dataclasses.replace(workloads.get(name), batch=4, steps=2, **changes)


@pytest.mark.parametrize("name", ["mlp500_b1_sgd", "lenet_b64_adam", "kerascnn_b128_adam", "deepconv_b100_adam"])
def test_programs_of_a_workload_agree(name):
    workloads.verify(small(name))


def test_wrong_gradients_losses_and_steps_are_found(monkeypatch):
    workload = small("mlp300_b32_adam")
    for target, attribute, wrong, text in (
        (plain_numpy.Relu, "backward", lambda self, dout, need_dx: dout, "gradient of dense.*/kernel"),
        (plain_numpy, "softmax_cross_entropy", lambda logits, labels: (2.0, logits), "loss of fastnn and plain"),
        (plain_numpy.Adam, "update", plain_numpy.Sgd(0.001).update.__func__, "step of dense.*"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, attribute, wrong)
            with pytest.raises(ArithmeticError, match=text):
                workloads.verify(workload)
    workloads.verify(workload)


def test_timed_programs_see_every_sample_and_leave_the_weights_nearly_alone(monkeypatch):
    workload = small("mlp300_b32_adam")
    built = []
    original = workloads.build_model
    monkeypatch.setattr(workloads, "build_model", lambda w: built.append(original(w)) or built[-1])
    programs = workloads.programs(workload)
    for name in ("fastnn", "numpy", "plain"):
        programs[name](3)
    fastnn, twin = built[1:]
    for model in (fastnn, twin):
        assert int(model.optimizer.iterations[0]) == 3 * workload.steps
        for now, before in zip(model.get_weights(), original(workload).get_weights(), strict=True):
            assert np.abs(now - before).max() < 1e-6
    assert config.backend() == "native"


def test_ctrl_c_ends_the_benchmark_though_fit_only_returns(monkeypatch):
    workload = small("mlp300_b32_adam")
    run = workloads.programs(workload)["fastnn"]

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fastnn.models.Sequential._train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(1)


# --- the report ---


def row(name="case", *, own=1.0, numpy=3.0, plain=None, steps=1, roof=Roof("peak", 0.5, 2e9, 1e9)):  # noqa: B008
    programs = {"fastnn": own, "numpy": numpy, **({} if plain is None else {"plain": plain})}
    timings = {name: Timing([value * 0.9, value, value * 1.1], 2) for name, value in programs.items()}
    return Row("kernel", name, timings, steps, roof)


def a_report(*rows, **changes):
    return Report(machine.describe(), "2026-01-02T03:04:05+00:00", 100e9, rows=list(rows), **changes)


def test_ratios_and_shares_are_of_one_step():
    result = row(own=0.25, numpy=1.0, plain=0.125, steps=5)
    assert result.seconds("fastnn") == 0.05
    assert result.ratio("numpy") == 4.0
    assert result.ratio("plain") == 0.5
    assert result.share == 10.0
    assert result.cells() == [
        "case",
        "50.0 ms ±5%",
        "200 ms   4.00x",
        "25.0 ms   0.50x",
        "20.0 GFLOP/s",
        "1000% of peak",
    ]


def test_roof_is_the_one_that_takes_longer():
    bound = report.roof(flops=4e9, nbytes=1e9, peak=2e9, bandwidth=1e9)
    assert bound == Roof("peak", 2.0, 2e9, 4e9)
    assert report.roof(flops=0, nbytes=3e9, peak=2e9, bandwidth=1e9) == Roof("memory", 3.0, 1e9, 3e9)
    assert row(roof=report.roof(0, 3e9, 2e9, 1e9)).cells()[-2:] == ["3.0 GB/s", "300% of memory"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "2.00 s"),
        (0.0456, "45.6 ms"),
        (0.456, "456 ms"),
        (1e-3, "1.00 ms"),
        (1.5e-5, "15.0 us"),
        (2e-7, "0.20 us"),
    ],
)
def test_duration(seconds, text):
    assert report.duration(seconds) == text


def test_report_says_where_it_loses_and_when_the_machine_was_not_quiet():
    slow, fast = row("slow", numpy=0.5, plain=2.0), row("fast", plain=0.75)
    notes = a_report(slow, fast, peak_after=100e9).notes()
    assert "Slower than the NumPy twin: slow (0.50x)." in notes
    assert "Slower than the plain NumPy: fast (0.75x)." in notes
    assert not any("not quiet" in note for note in notes)
    assert any("100 GFLOP/s at the start and 80 at the end" in note for note in a_report(peak_after=80e9).notes())
    assert not any("Slower" in note for note in a_report(row()).notes())


def test_json_has_everything_and_only_plain_data():
    data = json.loads(json.dumps(a_report(row(steps=2, plain=2.0), wrong=["x"]).data(), allow_nan=False))
    assert data["peak_flops"] == 100e9
    assert data["date"] == "2026-01-02T03:04:05+00:00"
    assert data["wrong"] == ["x"]
    assert {"processor", "isa", "threads", "fastnn", "numpy", "python", "blas"} <= set(data["machine"])
    (result,) = data["results"]
    assert result["ratios"] == {"numpy": 3.0, "plain": 2.0}
    own = result["programs"]["fastnn"]
    assert own["median_s"] == 0.5
    assert own["samples_s"] == pytest.approx([0.45, 0.5, 0.55])
    assert own["quartiles_s"] == pytest.approx([0.475, 0.525])
    assert own["calls_per_sample"] == 4
    assert result["roof"] == {"bound": "peak", "seconds": 0.5, "limit": 2e9, "amount": 1e9}


def test_markdown_is_a_table_of_equal_columns_for_each_group():
    step = dataclasses.replace(row("step"), group="training step")
    text = a_report(row("a"), row("b", plain=1.5), step).markdown()
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert [line.split("|")[1].strip() for line in table] == ["kernel", "---", "a", "b", "training step", "---", "step"]
    assert {line.count("|") for line in table} == {7}
    assert text.startswith("# fastnn benchmark\n\n")
    assert "100 GFLOP/s" in text


def test_run_prints_each_case_as_it_is_done_and_a_heading_per_group():
    lines = []
    selected = [*bench.select("gemm_nn 64x64x64"), *bench.select("relu_forward"), small("mlp300_b32_adam")]
    result = bench.run(selected, threads=1, seconds=0.01, show=lines.append)
    names = [case.name for case in selected]
    assert [row.name for row in result.rows] == names
    assert [line.split("  ")[0].strip() for line in lines[1:-1]] == ["kernel", *names[:2], "training step", names[2]]
    assert result.machine["threads"] == 1
    assert result.peak_after > 0
    assert list(result.rows[2].timings) == ["fastnn", "numpy", "plain"]
    assert all(0 < row.share < 3 for row in result.rows)


def test_every_kernel_case_counts_its_work():
    for case in kernels.kernel_cases():
        assert case.nbytes > 0, case.name
        products = case.name.startswith(("gemm", "conv2d", "conv3d"))
        assert (case.flops > 0) == products, case.name
    (case,) = bench.select("gemm_tn 784x500x10")
    assert case.flops == 2 * 784 * 500 * 10
    (case,) = bench.select("conv2d_forward 64x14x14x6 5x5 to 16")
    assert case.flops == 2 * 64 * 10 * 10 * 16 * 5 * 5 * 6
