"""Progress that programs push to Kubeflow Trainer, taken on this machine instead.

Kubeflow Trainer (KEP-2779; `docs/user-guides/trainjob-progress.md` and `pkg/statusserver` in kubeflow/trainer)
gives its workers three variables, KUBEFLOW_TRAINER_SERVER_URL, _TOKEN (a file) and _CA_CERT (a file), and takes

    POST <url>   Authorization: Bearer <token>
    {"trainerStatus": {"progressPercentage": 45, "estimatedRemainingSeconds": 3600,
                       "metrics": [{"name": "loss", "value": "0.23"}], "lastUpdatedTime": "…"}}

There is no field for a step. transformers' Trainer, which begins to push as soon as it sees the URL
(`KubeflowCallback` in `src/transformers/integrations/integration_utils.py`), puts it among the metrics, as
`current_step`; so may others, under that name, `global_step` or `step`. A push without one tells that the program
lives, and no more. Pushes are at least 5 seconds apart; the steps between two come as one span.

The launcher offers this with DRUMLINE_KUBEFLOW=1: an HTTP endpoint on the loopback address with a token of its own,
for a Trainer that prints no progress bar. Not unasked: the program would do what it otherwise does not.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

VARIABLE: Final = "DRUMLINE_KUBEFLOW"
URL: Final = "KUBEFLOW_TRAINER_SERVER_URL"
TOKEN: Final = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105 -- a variable's name
MAX_BODY: Final = 65_536
TIMEOUT_SECONDS: Final = 5.0
_STEPS: Final = ("current_step", "global_step", "step")
_MAX_STEP: Final = 2**53


def step_of(body: bytes) -> int | None:
    """The step that a push tells, if it tells one. Raises ValueError or TypeError for what is no push."""
    found = json.loads(body)
    status = found.get("trainerStatus") if isinstance(found, dict) else None
    if status is None and isinstance(found, dict):
        return None
    if not isinstance(status, dict) or not isinstance(status.get("metrics") or [], list):
        raise TypeError("no trainerStatus")
    metrics: dict[Any, Any] = {
        m.get("name"): m.get("value") for m in status.get("metrics") or [] if isinstance(m, dict)
    }
    for name in _STEPS:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            step = int(float(metrics[name])) if name in metrics else -1
            if 0 <= step <= _MAX_STEP:
                return step
    return None


class Endpoint:
    """Takes pushes and hands steps on. Raises OSError when it cannot listen."""

    def __init__(self, folder: Path, step: Callable[[int], None]) -> None:
        self._secret = os.urandom(16).hex()
        self._token = folder / "kubeflow-token"
        self._token.touch(mode=0o600)
        self._token.write_text(self._secret, encoding="ascii")
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.secret = self._secret
        self._server.step = step
        threading.Thread(target=self._server.serve_forever, name="drumline-kubeflow", daemon=True).start()

    def environment(self, namespace: str, name: str) -> Mapping[str, str]:
        """What the program needs to push here."""
        path = f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{namespace}/trainjobs/{name}/status"
        port = self._server.server_address[1]
        return {URL: f"http://127.0.0.1:{port}{path}", TOKEN: str(self._token)}

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    secret = ""
    step: Callable[[int], None]


class _Handler(BaseHTTPRequestHandler):
    timeout = TIMEOUT_SECONDS
    server: _Server

    def do_POST(self) -> None:
        """A push."""
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self.server.secret}".encode()):
            self._answer(403, {"status": "Failure", "message": "Forbidden", "code": 403})
            return
        try:
            body = self.rfile.read(_length(self.headers.get("Content-Length", "")))
            step = step_of(body)
        except (ValueError, TypeError):
            self._answer(422, {"status": "Failure", "message": "Invalid payload", "code": 422})
            return
        if step is not None:
            self.server.step(step)
        self._answer(200, json.loads(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's word
        """Say nothing: stderr is the program's."""

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        text = json.dumps(body).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)


def _length(text: str) -> int:
    length = int(text)
    if not 0 <= length <= MAX_BODY:
        raise ValueError("too large")
    return length
