"""Against other libraries: the same network, workers that take turns, crash and hang, rounds that are dropped, honest tables."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
import textwrap
import time

import numpy as np
import pytest

from fastnn import layers
from fastnn.bench import machine, peers, workloads
from fastnn.bench.peers import driver, network, process, results
from fastnn.bench.peers.process import Process, WorkerError
from fastnn.bench.peers.results import OWN, Comparison, PeersReport, Round
from fastnn.cli import main

CORE = sorted(os.sched_getaffinity(0))[:1]


def small(name="mlp300_b32_adam"):
    return dataclasses.replace(workloads.get(name), batch=3, steps=2)


# --- networks as data ---


@pytest.mark.parametrize("workload", workloads.WORKLOADS, ids=lambda w: w.name)
def test_network_survives_the_pipe_and_has_every_weight(workload):
    described = network.describe(workload)
    assert network.Network.of_data(json.loads(json.dumps(described.data()))) == described
    shapes = [tuple(shape) for node in described.nodes for shape in node.weights]
    assert shapes == [p.shape for p in workloads.build_model(workload).parameters]
    assert described.chain == (workload.name != "resnet20_b128_sgd")


def test_network_knows_the_options_that_change_the_result():
    described = network.describe(workloads.get("deepconv_b100_adam"))
    convolutions = [node.options for node in described.nodes if node.kind == "conv"]
    assert [options["pad"] for options in convolutions] == [1, 1, 1, 2, 1, 1]
    assert [node.options["rate"] for node in described.nodes if node.kind == "dropout"] == [0.5, 0.5]
    assert [node.options["image"] for node in described.nodes if node.kind == "dense"] == [[4, 4, 64], None]
    kerascnn = network.describe(workloads.get("kerascnn_b128_adam"))
    assert kerascnn.nodes[-1].options["image"] == [5, 5, 64]  # through the dropout
    resnet = network.describe(workloads.get("resnet20_b128_sgd"))
    strides = [node.options["stride"] for node in resnet.nodes if node.kind == "conv"]
    assert strides.count(2) == 4
    assert resnet.constants["weight_decay"] == 1e-4
    assert resnet.constants["momentum"] == 0.9


@pytest.mark.parametrize("layer", [layers.Dense(3, activation="tanh"), layers.AveragePooling2D(2)])
def test_network_refuses_what_the_others_would_not_compute(layer):
    stack = [layers.Reshape((28, 28, 1)), layer] if isinstance(layer, layers.AveragePooling2D) else [layer]
    workload = dataclasses.replace(small(), build=lambda dropout: stack)
    with pytest.raises(NotImplementedError, match="no counterpart"):
        network.describe(workload)


# --- workers ---

FAKE = """
    import json, os, sys, time
    mode, right = sys.argv[1], json.loads(sys.argv[2])
    for line in sys.stdin:
        request = json.loads(line)
        do = request["do"]
        if mode == do + " crash":
            print("it broke", file=sys.stderr, flush=True)
            os.kill(os.getpid(), 11)
        if mode == do + " hang":
            time.sleep(1000)
        if mode == do + " garbage":
            print("not JSON", flush=True)
            continue
        if do == "check":
            import numpy as np
            stored = dict(np.load(right["after"]))
            if mode == "wrong step":
                stored["w0"] = stored["w0"] * 1.001
            np.savez(request["file"], **stored)
        losses = [loss * (1.01 if mode == "wrong loss" else 1) for loss in right["losses"]]
        answers = {
            "build": {"versions": {"fake": "1.2"}, "steps_per_call": 2},
            "check": {"losses": losses},
            "start": {},
            "run": {"seconds": request.get("calls", 0) * 0.004},
            "memory": {"peak_bytes": 300_000_000, "imported_bytes": 100_000_000},
        }
        print(json.dumps({"error": "ValueError: no"} if mode == do + " error" else answers[do]), flush=True)
"""


@pytest.fixture
def fake(tmp_path):
    """Return the command of a worker that times nothing, by what is wrong with it."""
    check = driver.Check(small())
    np.savez(tmp_path / "after.npz", **{f"w{i}": w for i, w in enumerate(check.after)})
    right = json.dumps({"after": str(tmp_path / "after.npz"), "losses": check.losses})
    return lambda mode: (sys.executable, "-c", textwrap.dedent(FAKE), mode, right)


def compared(fake, modes, **options):
    """Return the comparison of fastnn with fake workers, and what was shown."""
    lines = []
    programs = [*OWN, *modes]
    settings = peers.Settings(
        1, rounds=2, seconds=0.01, programs=programs, commands={n: fake(m) for n, m in modes.items()}, **options
    )
    report = peers.compare([small()], settings, lines.append)
    return report, report.comparisons[0], "\n".join(lines)


def test_everything_is_timed_in_turns(fake):
    report, result, shown = compared(fake, {"torch": "fine", "jax": "fine"})
    assert result.programs == [*OWN, "torch", "jax"]
    assert not result.failures
    assert not result.wrong
    assert 2 <= len(result.rounds) <= 4
    assert all(list(r.seconds) == result.programs for r in result.rounds)
    assert result.median("torch") == pytest.approx(0.002)  # 4 ms a call of 2 steps
    assert result.best_peer in ("torch", "jax")
    assert result.memory["jax"]["peak_bytes"] == 300_000_000
    if sys.platform == "linux":
        assert result.memory[OWN[0]]["peak_bytes"] >= result.memory[OWN[0]]["imported_bytes"] > 1_000_000
    assert report.versions["fake"] == "1.2"
    assert report.versions["fastnn"]
    assert "mlp300_b32_adam" in shown
    assert os.sched_getaffinity(0) >= set(CORE)


@pytest.mark.parametrize(
    ("mode", "text"),
    [
        ("build crash", "ended by signal 11: it broke"),
        ("run crash", "ended by signal 11: it broke"),
        ("memory crash", "ended by signal 11"),
        ("run garbage", "which is not JSON"),
        ("build error", "ValueError: no"),
        ("wrong loss", "computes something else: loss 1"),
        ("wrong step", "computes something else: the step of weight 0"),
    ],
)
def test_a_worker_that_fails_is_reported_and_the_others_go_on(fake, mode, text):
    _, result, shown = compared(fake, {"torch": mode, "jax": "fine"})
    assert text in result.failures["torch"]
    assert f"torch FAILED: {result.failures['torch']}" in shown
    assert result.programs == [*OWN, "jax"]
    assert result.wrong == mode.startswith("wrong")
    assert result.data(1e9)["failures"] == result.failures


@pytest.mark.parametrize(("mode", "text"), [("run hang", "within 8 s"), ("memory hang", "within 4 s")])
def test_a_worker_that_hangs_is_ended(fake, mode, text):
    start = time.monotonic()
    _, result, _ = compared(fake, {"jax": mode}, build_timeout=8.0, run_timeout=4.0)
    assert result.failures == {"jax": f"did not answer {text}"}
    assert time.monotonic() - start < 60


def test_process_is_pinned_and_told_its_threads():
    program = "import os, json; input(); print(json.dumps([sorted(os.sched_getaffinity(0)), dict(os.environ)]))"
    before = os.sched_getaffinity(0)
    with Process(
        (sys.executable, "-c", program.replace("[sorted", '{"x": [sorted').replace(")])", ")]})", 1)), CORE
    ) as worker:
        cores, environment = worker.ask({}, 30)["x"]
    assert cores == CORE
    assert os.sched_getaffinity(0) == before
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert "eigen=false" in environment["XLA_FLAGS"]
    assert "eigen" not in process.environment(2).get("XLA_FLAGS", "")
    with (
        pytest.raises(WorkerError, match="ended with status 3"),
        Process((sys.executable, "-c", "exit(3)"), CORE) as worker,
    ):
        worker.ask({}, 30)


def test_a_worker_prints_its_answers_only():
    """What a library prints does not come between."""
    program = "from fastnn.bench.peers.worker import serve\nclass W:\n def answer(s, r):\n  print('noise'); return r\nserve(W())"
    with Process((sys.executable, "-c", program), CORE) as worker:
        assert worker.ask({"a": 1}, 60) == {"a": 1}
        assert worker.ask({"a": 2}, 60) == {"a": 2}


@pytest.mark.parametrize("program", ["torch", "torch.channels_last", "jax"])
@pytest.mark.parametrize("name", ["mlp300_b32_adam", "kerascnn_b128_adam", "resnet20_b128_sgd"])
def test_real_peer_computes_the_same(program, name):
    if not importlib.util.find_spec(program.partition(".")[0]):
        pytest.skip(f"{program} is not installed")
    settings = peers.Settings(1, rounds=1, seconds=0.01, programs=[OWN[0], program])
    (result,) = peers.compare([small(name)], settings, lambda text: None).comparisons
    assert result.failures == {}
    assert (program in result.programs) == (program != "torch.channels_last" or not name.startswith("mlp"))


# --- results ---


def comparison(*rounds, name="case"):
    """Return a comparison of rounds (canary before, after, train_on_batch, fit, torch, jax)."""
    names = (*OWN, "torch", "jax")
    return Comparison(name, 1e9, 1e8, [Round(a, b, dict(zip(names, seconds))) for a, b, *seconds in rounds])


def test_rounds_with_a_moving_canary_are_dropped():
    result = comparison(
        (1, 1.04, 1, 2, 3, 4), (1, 1.06, 9, 9, 9, 9), (1, 0.94, 9, 9, 9, 9), (2, 2, 1, 2, 3, 4), (1, 1, 1, 2, 3, 4)
    )
    assert [r.quiet for r in result.rounds] == [True, False, False, True, True]
    assert result.seconds("jax") == [4, 4, 4]
    assert result.ratio("torch").median == 3
    assert result.ratio("torch", OWN[1]).median == 1.5
    assert result.notes() == ["rounds: 3 used, 2 dropped"]


def test_too_few_quiet_rounds_are_said_to_be_noise():
    result = comparison((1, 2, 1, 2, 3, 4), (1, 2, 1, 2, 3, 8), (1, 1, 1, 2, 3, 9))
    assert result.noisy
    assert result.seconds("jax") == [4, 8, 9]
    assert "NOISY: only 1 quiet, so all were used" in result.notes()


def test_ratios_are_taken_round_by_round():
    """A machine that slows down for a whole round changes no ratio."""
    result = comparison((1, 1, 1, 1, 2, 4), (5, 5, 5, 5, 10, 20), (1, 1, 1, 1, 2, 4), (1, 1, 1, 1, 3, 4))
    assert str(result.ratio("torch")) == "2.00 [2.00, 3.00]"
    assert str(result.ratio("jax")) == "4.00 [4.00, 4.00]"


def test_bootstrap_has_the_width_of_the_sampling_error():
    values = list(np.random.default_rng(0).normal(10, 1, 400))
    ratio = results.bootstrap(values)
    assert ratio.low < ratio.median < ratio.high
    assert ratio.high - ratio.low == pytest.approx(2 * 1.96 * 1.2533 / 20, rel=0.3)


def a_report(*comparisons, **changes):
    return PeersReport(
        machine.describe(), "2026-01-02T03:04:05+00:00", 1e9, {"torch": "9.9"}, [], list(comparisons), **changes
    )


def test_wins_and_losses_are_in_the_same_tables():
    win = comparison((1, 1, 1, 1, 4, 2), name="won")
    loss = comparison((1, 1, 1, 4, 2, 0.5), name="lost")
    report = a_report(win, loss)
    assert "SLOWER than the best peer, fastnn.train_on_batch: lost (jax 0.50)." in report.notes()
    assert "SLOWER than the best peer, fastnn.fit: lost (jax 0.12)." in report.notes()
    text = report.markdown()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert "| lost | 1.00 s | 4.00 s | 100% | jax 500 ms | 0.50 [0.50, 0.50] | 0.12 [0.12, 0.12] |" in tables
    assert "| won | 1.00 s | 1.00 s | 100% | jax 2.00 s | 2.00 [2.00, 2.00] | 2.00 [2.00, 2.00] |" in tables
    assert "torch 9.9" in text
    assert "2026-01-02" in text
    assert "threads:" in text
    assert sum(line.startswith("| torch |") for line in tables) == 2
    for block in text.split("\n\n"):
        assert len({line.count("|") for line in block.splitlines() if line.startswith("|")}) <= 1


def test_a_failure_of_everything_still_makes_a_report():
    failed = Comparison("case", 1e9, 1e8, failures={OWN[0]: "was ended by signal 9"})
    report = a_report(failed)
    assert failed.wrong
    assert "| case | - | - | - | - | - | - |" in report.markdown()
    assert "FAILED: was ended by signal 9" in report.block(failed)


def test_json_has_all_rounds_and_only_plain_data():
    data = json.loads(json.dumps(a_report(comparison((1, 2, 1, 1, 4, 2), (1, 1, 1, 1, 4, 2))).data(), allow_nan=False))
    (result,) = data["results"]
    assert [r["quiet"] for r in result["rounds"]] == [False, True]
    assert result["programs"]["jax"]["ratios"][OWN[0]] == {"median": 2, "low": 2, "high": 2}
    assert result["best_peer"] == "jax"
    assert data["versions"] == {"torch": "9.9"}
    assert {"processor", "threads"} <= set(data["machine"])


# --- the command ---


def test_command_compares_and_writes(tmp_path, capsys, monkeypatch, fake):
    monkeypatch.setattr(workloads, "WORKLOADS", (small(),))
    original = peers.Settings
    monkeypatch.setattr(peers, "Settings", lambda *a, **k: original(*a, **k, commands={"jax": fake("fine")}))
    pytest.importorskip("matplotlib")
    files = [str(tmp_path / name) for name in ("r.json", "r.md", "pictures")]
    arguments = ["--threads", "1", "--rounds", "1", "--seconds", "0.01", "--json", files[0], "--markdown", files[1]]
    assert main(["bench", "--peers", "jax", *arguments, "--pictures", files[2]]) == 0
    out = capsys.readouterr().out
    assert "fastnn.fit" in out
    assert list(json.loads((tmp_path / "r.json").read_text())["results"][0]["programs"]) == [*OWN, "jax"]
    assert "| mlp300_b32_adam |" in (tmp_path / "r.md").read_text()
    for name in ("ratios.png", "roofline.png"):
        assert (tmp_path / "pictures" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--peers", "caffe"], "argument --peers: expected some of fastnn.train_on_batch"),
        (["--peers", "--filter", "nothing"], "argument --filter: no training step has 'nothing' in its name"),
        (["--peers", "--threads", "1000"], "argument --threads: expected at most"),
        (["--peers", "--sweep", "batch"], "not allowed with argument"),
        (["--rounds", "3"], "argument --rounds: is for --peers"),
        (["--sweep", "width", "--filter", "x"], "argument --filter: is not for --sweep"),
    ],
)
def test_command_refuses(arguments, text, capsys):
    with pytest.raises(SystemExit) as error:
        main(["bench", *arguments])
    assert error.value.code == 2
    assert text in capsys.readouterr().err


def test_what_is_not_installed_is_skipped_with_a_line(monkeypatch):
    monkeypatch.setattr(driver, "find_spec", lambda name: None if name == "jax" else True)
    settings = peers.Settings(1, rounds=1, seconds=0.01, programs=[OWN[0], "jax"])
    report = peers.compare([small()], settings, lambda text: None)
    assert report.skipped == ["jax skipped: jax is not installed (pip install jax)."]
    assert report.comparisons[0].programs == [OWN[0]]
    assert report.comparisons[0].best_peer is None
