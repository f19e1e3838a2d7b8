"""RemoteMonitor: the logs of every epoch, sent to a server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastnn import checks
from fastnn.training.callback import Callback, Logs

SECONDS = 5.0  # that a server may take to answer


class RemoteMonitor(Callback):
    """Sends epoch, loss and metrics to a server at the end of every epoch, by HTTP POST.

    The data are a JSON object: {"epoch": 0, "loss": 0.5, ...}; what is not finite is null. A server that cannot be reached, answers
    with an error or takes longer than 5 seconds does not stop the training: there is one warning, and the next epoch is sent again.

    Args:
        root: begin of the address, "http://..." or "https://...".
        path: rest of the address.
        field: name of the form's field that has the JSON text.
        headers: dict of further headers, or None.
        send_as_json: send the JSON text itself, as "application/json", instead of a form.

    Example:
        >>> monitor = fastnn.callbacks.RemoteMonitor("http://localhost:9000", send_as_json=True)
        >>> monitor.body(0, {"loss": 0.5})
        b'{"epoch": 0, "loss": 0.5}'
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        who = "RemoteMonitor"
        for name, value in (("root", root), ("path", path), ("field", field)):
            if not isinstance(value, str):
                checks.fail_type(who, f"{name} to be a string", checks.describe(value))
        if not root.startswith(("http://", "https://")):
            checks.fail(who, "root to begin with 'http://' or 'https://'", repr(root))
        if headers is not None and not (
            isinstance(headers, Mapping) and all(isinstance(part, str) for item in headers.items() for part in item)
        ):
            checks.fail_type(who, "headers to be a dict of strings", checks.describe(headers))
        self.root, self.path, self.field, self.headers = root, path, field, headers
        self.send_as_json = checks.boolean(who, "send_as_json", send_as_json)
        self._warned = False

    def body(self, epoch: int, logs: Logs) -> bytes:
        """Return what is sent."""
        text = json.dumps({"epoch": epoch, **{name: _plain(value) for name, value in logs.items()}})
        if self.send_as_json:
            return text.encode()
        from urllib.parse import urlencode

        return urlencode({self.field: text}).encode()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._warned = False

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import http.client  # here: with these `import fastnn` would take twice as long
        import urllib.request

        kind = "application/json" if self.send_as_json else "application/x-www-form-urlencoded"
        try:
            headers = {"Content-Type": kind, **(self.headers or {})}
            request = urllib.request.Request(
                self.root + self.path, self.body(epoch, logs or {}), headers, method="POST"
            )
            with urllib.request.urlopen(request, timeout=SECONDS):
                pass
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
        ) as error:  # the last: an address or a header that is none
            if not self._warned:
                self._warned = True
                fix = "the training goes on, and so do the attempts"
                checks.warn(checks.message("RemoteMonitor", f"a server that answers at {self.root}", error, fix))


def _plain(value: Any) -> Any:
    """Return a value of the logs as JSON has it."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
