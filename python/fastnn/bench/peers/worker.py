"""A process that runs one program on one network when it is told to: a line of JSON in, a line of JSON out.

`python -m fastnn.bench.peers.worker`. Between two lines it waits in a read and takes no processor time. The requests:

* {"do": "build", "program": ..., "threads": n, "network": ..., "workload": ...} -> {"versions", "steps_per_call"}
* {"do": "check", "file": path of an .npz with weights, the batch and a rate} -> {"losses"}, writes the new weights into the file
* {"do": "start", "file": ..., "learning_rate": ...} -> {}: makes ready what is timed
* {"do": "run", "calls": n} -> {"seconds"}
* {"do": "memory"} -> {"peak_bytes", "imported_bytes"}

An error is answered with {"error": text} and ends the process, and so does the end of the input.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

# By name: the module and the class, which takes (network or workload, variant, threads); the package that must be there; variant.
PROGRAMS: dict[str, tuple[str, str, str, str]] = {
    "fastnn.train_on_batch": ("fastnn.bench.peers.fastnn_steps", "FastnnSteps", "fastnn", "train_on_batch"),
    "fastnn.fit": ("fastnn.bench.peers.fastnn_steps", "FastnnSteps", "fastnn", "fit"),
    "torch": ("fastnn.bench.peers.torch_steps", "TorchSteps", "torch", "eager"),
    "torch.channels_last": ("fastnn.bench.peers.torch_steps", "TorchSteps", "torch", "channels_last"),
    "torch.compile": ("fastnn.bench.peers.torch_steps", "TorchSteps", "torch", "compile"),
    "jax": ("fastnn.bench.peers.jax_steps", "JaxSteps", "jax", "jit"),
}


class Worker:
    """Answers requests about one program."""

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says and return the answer."""
        actions: dict[str, Callable[..., dict[str, Any]]] = {
            "build": self.build,
            "check": self.check,
            "start": self.start,
            "run": self.run,
            "memory": self.memory,
        }
        return actions[request.pop("do")](**request)

    def build(self, program: str, threads: int, network: dict[str, Any], workload: dict[str, Any]) -> dict[str, Any]:
        """Import the library and build the network."""
        module, name, _, variant = PROGRAMS[program]
        steps = getattr(import_module(module), name)
        versions = steps.versions()  # imports the library
        self.imported = status("VmRSS")
        if program.startswith("fastnn"):
            from fastnn.bench import workloads

            self.steps = steps(replace(workloads.get(workload["name"]), **workload), variant, threads)
        else:
            from fastnn.bench.peers.network import Network

            self.network = Network.of_data(network)
            self.steps = steps(self.network, variant, threads)
        return {"versions": versions, "steps_per_call": getattr(self.steps, "steps_per_call", 1)}

    def check(self, file: str) -> dict[str, Any]:
        """Do a step of gradient descent, whose weights are written back, and a few of the workload's optimizer."""
        with np.load(file) as stored:
            x, y, rate, count = stored["x"], stored["y"], float(stored["rate"]), int(stored["steps"])
            weights = [stored[f"w{i}"] for i in range(sum(key[0] == "w" for key in stored))]
        self.steps.set_weights(weights)
        self.steps.prepare(x, y, "sgd", {"learning_rate": rate}, False)
        self.steps.step()
        np.savez(file, **{f"w{i}": w for i, w in enumerate(self.steps.get_weights())})
        self.steps.set_weights(weights)
        self.steps.prepare(x, y, self.network.optimizer, self.network.constants, False)
        return {"losses": [self.steps.step() for _ in range(count)]}

    def start(self, file: str, learning_rate: float) -> dict[str, Any]:
        """Take the batch and the optimizer that are timed; count the memory from here."""
        constants = {**self.network.constants, "learning_rate": learning_rate}
        with np.load(file) as stored:
            self.steps.prepare(stored["x"], stored["y"], self.network.optimizer, constants, True)
        gc.collect()
        peak = Path("/proc/self/clear_refs")
        if peak.exists():
            peak.write_text("5", encoding="ascii")  # the check's arrays are gone, and so is the peak that they made
        return {}

    def run(self, calls: int) -> dict[str, Any]:
        """Run so many calls and return how long they took."""
        start = time.perf_counter()
        self.steps.run(calls)
        return {"seconds": time.perf_counter() - start}

    def memory(self) -> dict[str, Any]:
        """Return the most memory that was resident, and what was after the imports."""
        return {"peak_bytes": status("VmHWM"), "imported_bytes": self.imported}


def status(key: str) -> int:
    """Return a line of /proc/self/status in bytes; 0 where there is no such file."""
    path = Path("/proc/self/status")
    found = re.search(rf"^{key}:\s*(\d+) kB", path.read_text(encoding="ascii"), re.MULTILINE) if path.exists() else None
    return int(found.group(1)) * 1024 if found else 0


def serve(worker: Any) -> int:
    """Answer the lines of the standard input until it ends."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)  # what a library prints must not come between the answers
        for line in sys.stdin:
            try:
                answer = worker.answer(json.loads(line))
            except KeyboardInterrupt:
                return 130
            except Exception as error:
                text = " ".join(str(error).split())
                answer = {"error": f"{type(error).__name__}: {text}"[:300]}
            out.write(json.dumps(answer) + "\n")
            out.flush()
            if "error" in answer:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(serve(Worker()))
