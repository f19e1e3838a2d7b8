"""The command `fastnn`: what it prints and writes, its exit statuses, Ctrl-C, and that nothing of it is imported before."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import signal
import struct
import subprocess
import sys

import numpy as np
import pytest

import fastnn
from fastnn import bench, config, datasets, demo
from fastnn.bench import cases
from fastnn.cli import main

COMMAND = [sys.executable, "-m", "fastnn"]


@pytest.fixture
def _no_timing(monkeypatch):
    monkeypatch.setattr(demo, "_time_steps", lambda: None)


# --- all commands ---


def test_import_leaves_the_commands_and_their_packages_alone():
    program = (
        "import sys, fastnn;"
        "late = {'argparse', 'matplotlib', 'threadpoolctl', 'fastnn.cli', 'fastnn.plotting', 'fastnn.demo', 'fastnn.bench'};"
        "assert not late & set(sys.modules), late & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_info_prints_the_configuration(capsys):
    assert main(["info"]) == 0
    assert capsys.readouterr().out == config.describe() + "\n"


def test_module_and_version():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"fastnn {fastnn.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: {demo,info,bench}"),
        (["benhc"], "invalid choice: 'benhc'"),
        (["demo", "--epoch", "2", "--sead", "1"], "unrecognized arguments: --sead 1"),
        (["demo", "--data", "cifar"], "argument --data: invalid choice: 'cifar'"),
        (["demo", "--epochs", "0"], "argument --epochs: invalid integer >= 1 value: '0'"),
        (["demo", "--seed", "-1"], "argument --seed: invalid integer >= 0 and <= "),
        (["demo", "--seed", str(2**63)], "argument --seed: invalid integer >= 0 and <= "),
        (["bench", "--threads", "two"], "argument --threads: invalid integer >= 1 and <= 1024 value: 'two'"),
        (["bench", "--threads", "1025"], "argument --threads"),
        (["bench", "--seconds", "0"], "argument --seconds: invalid number of seconds > 0 value: '0'"),
        (["bench", "--seconds", "nan"], "argument --seconds"),
        (["bench", "--filter", "no such"], "argument --filter: no case has 'no such' in its name"),
    ],
)
def test_wrong_arguments_are_named_with_status_2(capsys, arguments, text):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "bench"])
def test_ctrl_c_is_status_130_and_no_word(monkeypatch, capsys, command):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    monkeypatch.setattr(bench, "run", interrupted)
    assert main([command]) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_while_training(tmp_path):
    arguments = ["demo", "--epochs", "1000000", "--threads", "1", "--output", str(tmp_path / "out")]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert any(line.startswith("Epoch 2/1000000") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, "")


def test_output_that_nobody_reads_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run([*COMMAND, "info"], stdout=write, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (2, "")


# --- demo ---


@pytest.fixture(scope="module")
def finished_demo(tmp_path_factory):
    """The whole demonstration, as a user runs it: the process that ended, and its folder."""
    folder = tmp_path_factory.mktemp("demo")
    arguments = ["demo", "--threads", "1", "--seed", "5"]
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True), folder / "fastnn-demo"


def test_demo_keeps_its_promise(finished_demo):
    done, _ = finished_demo
    assert (done.returncode, done.stderr) == (0, "")
    accuracy = re.search(r"^test accuracy:\s+([\d.]+) on 359 images", done.stdout, re.MULTILINE)
    assert float(accuracy[1]) >= 0.97
    assert "predicts the same, bit for bit" in done.stdout
    assert "Epoch 25/25" in done.stdout
    assert "val_accuracy" in done.stdout


def test_demo_writes_the_curve_and_the_model_it_reports(finished_demo):
    done, folder = finished_demo
    assert {path.name for path in folder.iterdir()} == {"learning-curve.png", "model.fastnn"}
    assert (folder / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    model = fastnn.models.load_model(folder / "model.fastnn")
    _, (x, y) = datasets.digits.load_data()
    right = (model.predict(x[..., None] / 16, verbose=0).argmax(1) == y).mean()
    assert f"{right:.4f} on 359" in done.stdout


def test_demo_times_a_step_of_both_networks(finished_demo):
    lines = re.findall(
        r"^  (MLP|LeNet) .* C\+\+ +(\S+) (us|ms|s) +NumPy +(\S+) (us|ms|s) +(\S+) times", finished_demo[0].stdout, re.M
    )
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    assert [line[0] for line in lines] == ["MLP", "LeNet"]
    for _, native, native_unit, twin, twin_unit, ratio in lines:
        expected = float(twin) * unit[twin_unit] / (float(native) * unit[native_unit])
        assert float(ratio) == pytest.approx(expected, rel=0.02, abs=0.06)


@pytest.mark.usefixtures("_no_timing")
def test_demo_that_misses_its_accuracy_fails_and_says_so(tmp_path, capsys):
    assert main(["demo", "--epochs", "1", "--threads", "1", "--output", str(tmp_path / "a" / "b")]) == 1
    out, errors = capsys.readouterr()
    assert errors == "fastnn demo: the accuracy is below 0.97; 25 epochs reach it\n"
    assert "Epoch 1/1" in out
    assert (tmp_path / "a" / "b" / "model.fastnn").is_file()


@pytest.mark.usefixtures("_no_timing")
def test_demo_is_a_function_of_the_seed_for_any_number_of_threads(tmp_path):
    weights = {}
    for name, options in {
        "one": ["--threads", "1"],
        "three": ["--threads", "3"],
        "other": ["--threads", "1", "--seed", "1"],
    }.items():
        main(["demo", "--epochs", "1", "--output", str(tmp_path / name), *options])
        weights[name] = fastnn.models.load_model(tmp_path / name / "model.fastnn").get_weights()
    assert all((a == b).all() for a, b in zip(weights["one"], weights["three"], strict=True))
    assert not (weights["one"][0] == weights["other"][0]).all()


@pytest.mark.usefixtures("_no_timing")
def test_demo_without_matplotlib_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    main(["demo", "--epochs", "1", "--threads", "1", "--output", str(tmp_path)])
    assert "learning curve: not drawn" in (out := capsys.readouterr().out)
    assert "pip install 'fastnn[plot]'" in out
    assert [path.name for path in tmp_path.iterdir()] == ["model.fastnn"]


@pytest.mark.usefixtures("_no_timing")
def test_demo_whose_saved_model_predicts_something_else_fails(tmp_path, capsys, monkeypatch):
    load = demo.models.load_model

    def damaged(path):
        model = load(path)
        model.weights[-1].value[0] += 1e-3
        return model

    monkeypatch.setattr(demo.models, "load_model", damaged)
    monkeypatch.setitem(demo.PLANS, "digits", dataclasses.replace(demo.PLANS["digits"], accuracy=0.0))
    assert main(["demo", "--epochs", "1", "--threads", "1", "--output", str(tmp_path)]) == 1
    out, errors = capsys.readouterr()
    assert errors == "fastnn demo: the model that was read back predicts something else\n"
    assert "bit for bit" not in out


def test_demo_without_its_data_set_says_in_one_line_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert main(["demo", "--data", "mnist", "--output", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("fastnn: datasets.mnist: expected train-images-idx3-ubyte.gz")
    assert "set FASTNN_DATA" in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_demo_into_a_file_is_status_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--output", str(tmp_path / "file")]) == 2
    assert re.fullmatch(r"fastnn: .*file exists.*\n", capsys.readouterr().err, re.IGNORECASE)


def write_mnist(folder, train, test):
    """Write MNIST's four files with a few images: a bright square whose place is the label."""
    folder.mkdir(parents=True)
    for prefix, count in (("train", train), ("t10k", test)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 + 12 * (label // 5) :, 2 + 5 * (label % 5) :][:10, :4] = 255
        for name, array in ((f"{prefix}-images-idx3-ubyte.gz", images), (f"{prefix}-labels-idx1-ubyte.gz", labels)):
            header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
            (folder / name).write_bytes(gzip.compress(header + array.tobytes()))


@pytest.mark.usefixtures("_no_timing")
def test_demo_trains_lenet_on_the_mnist_files_that_are_there(tmp_path, capsys, monkeypatch):
    write_mnist(tmp_path / "mnist", 640, 50)
    monkeypatch.setenv("FASTNN_DATA", str(tmp_path))
    assert main(["demo", "--data", "mnist", "--epochs", "6", "--threads", "1", "--output", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "640 images of 28 x 28 pixels" in out
    assert "1.0000 on 50 images" in out
    assert "at least 0.985" in out


# --- bench ---


def test_bench_writes_what_it_prints(tmp_path, capsys):
    json_file, markdown = tmp_path / "result.json", tmp_path / "result.md"
    threads = config.num_threads()
    arguments = ["bench", "--filter", "gemm_nn 64x64x64", "--threads", "1", "--seconds", "0.01"]
    assert main([*arguments, "--json", str(json_file), "--markdown", str(markdown)]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("gemm_nn 64x64x64")]
    assert re.search(r"GFLOP/s\s+\d+% of peak$", line)
    data = json.loads(json_file.read_text())
    assert [result["name"] for result in data["results"]] == ["gemm_nn 64x64x64"]
    assert data["machine"]["threads"] == 1
    row = next(row for row in markdown.read_text().splitlines() if row.startswith("| gemm_nn 64x64x64 |"))
    assert "".join(row.split()).replace("|", "") == "".join(line.split())
    assert config.num_threads() == threads


def test_bench_passes_its_options_on(monkeypatch):
    calls = []

    def run(selected, **options):
        calls.append(([case.name for case in selected], options))
        return bench.Report({}, "", 1.0)

    monkeypatch.setattr(bench, "run", run)
    assert main(["bench"]) == 0
    assert main(["bench", "--quick", "--filter", "adam_step 3", "--threads", "3"]) == 0
    assert main(["bench", "--seconds", "2.5", "--filter", "lenet"]) == 0
    assert calls[0] == ([case.name for case in bench.select()], {"threads": None, "seconds": bench.SECONDS})
    assert calls[1] == (["adam_step 317000"], {"threads": 3, "seconds": bench.QUICK_SECONDS})
    assert calls[2] == (["lenet_b64_adam"], {"threads": None, "seconds": 2.5})


def test_bench_that_cannot_write_says_so_before_it_measures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "run", lambda *arguments, **options: pytest.fail("measured"))
    for option in ("--json", "--markdown"):
        assert main(["bench", option, str(tmp_path / "no" / "file")]) == 2
        assert re.fullmatch(r"fastnn: .*no/file.*\n", capsys.readouterr().err)


def test_bench_with_a_wrong_result_fails(capsys, monkeypatch):
    def wrong(case):
        raise ArithmeticError(f"{case.name}: fastnn is off")

    monkeypatch.setattr(cases, "verify", wrong)
    assert main(["bench", "--filter", "gemm_nn 64x64x64", "--threads", "1"]) == 1
    assert "WRONG, not timed: gemm_nn 64x64x64: fastnn is off" in capsys.readouterr().out
