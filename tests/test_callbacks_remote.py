"""RemoteMonitor, with a server in a thread."""

from __future__ import annotations

import json
import math
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest
from tiny import X, Y, line

from fastnn import callbacks


class Server(HTTPServer):
    """Keeps what it is sent; answers with `status`, or not at all."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, str], str]] = []
        self.status = 200
        self.patience = threading.Event()

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.received.append((self.path, dict(self.headers), body))
        if self.server.status:
            self.send_response(self.server.status)
            self.end_headers()
        else:
            self.server.patience.wait(30)

    def log_message(self, *arguments: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    made = Server()
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.patience.set()
    made.shutdown()
    thread.join()
    made.server_close()


def test_epochs_as_forms(server: Server) -> None:
    monitor = callbacks.RemoteMonitor(server.root, headers={"X-Run": "seven"})
    history = line().fit(X, Y, epochs=2, callbacks=[monitor], verbose=0).history
    assert [(path, headers["X-Run"]) for path, headers, _ in server.received] == [("/publish/epoch/end/", "seven")] * 2
    for epoch, (_, headers, body) in enumerate(server.received):
        assert headers["Content-Type"] == "application/x-www-form-urlencoded"
        (text,) = urllib.parse.parse_qs(body, strict_parsing=True)["data"]
        assert json.loads(text) == {"epoch": epoch, **{name: values[epoch] for name, values in history.items()}}


def test_epochs_as_json(server: Server) -> None:
    monitor = callbacks.RemoteMonitor(server.root, path="/here?run=3", send_as_json=True)
    logs: Any = {"loss": math.nan, "auc": np.float32(0.5), "each": np.array([0.25, math.inf]), "more": 1e-30}
    monitor.on_epoch_end(4, logs)
    ((path, headers, body),) = server.received
    assert (path, headers["Content-Type"]) == ("/here?run=3", "application/json")
    assert json.loads(body) == {"epoch": 4, "loss": None, "auc": 0.5, "each": [0.25, None], "more": 1e-30}


def test_another_field(server: Server) -> None:
    callbacks.RemoteMonitor(server.root, field="log & more").on_epoch_end(0, {"loss": 0.5})
    assert urllib.parse.parse_qs(server.received[0][2]) == {"log & more": ['{"epoch": 0, "loss": 0.5}']}


@pytest.mark.parametrize("status", [404, 500])
def test_one_warning_of_a_failing_server(server: Server, status: int) -> None:
    server.status = status
    monitor = callbacks.RemoteMonitor(server.root)
    with pytest.warns(
        UserWarning, match=f"RemoteMonitor: expected a server that answers at {server.root}, got HTTP Error"
    ) as seen:
        history = line().fit(X, Y, epochs=3, callbacks=[monitor], verbose=0)
    assert len(seen) == 1
    assert len(history.epoch) == len(server.received) == 3


def test_a_server_that_says_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastnn.training.remote.SECONDS", 0.2)
    server.status = 0
    with pytest.warns(UserWarning, match="RemoteMonitor: expected a server that answers") as seen:
        assert len(line().fit(X, Y, epochs=2, callbacks=[callbacks.RemoteMonitor(server.root)], verbose=0).epoch) == 2
    assert len(seen) == 1


@pytest.mark.parametrize("root", ["http://127.0.0.1:9", "http://[", "http://127.0.0.1:x", "http:// "])
def test_no_server(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monitor = callbacks.RemoteMonitor(root)
    for _ in range(2):  # once in every training
        with pytest.warns(UserWarning, match="RemoteMonitor: expected a server that answers at") as seen:
            assert len(line().fit(X, Y, epochs=2, callbacks=[monitor], verbose=0).epoch) == 2
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"root": 3}, TypeError, "RemoteMonitor: expected root to be a string, got 3"),
        (
            {"root": "file:///etc"},
            ValueError,
            "RemoteMonitor: expected root to begin with 'http://' or 'https://', got 'file",
        ),
        ({"path": None}, TypeError, "expected path to be a string"),
        ({"field": b"x"}, TypeError, "expected field to be a string"),
        ({"headers": ["a"]}, TypeError, "expected headers to be a dict of strings"),
        ({"headers": {"a": 1}}, TypeError, "expected headers to be a dict of strings"),
        ({"send_as_json": 1}, TypeError, "expected send_as_json to be True or False"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        callbacks.RemoteMonitor(**arguments)
