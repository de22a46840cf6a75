"""Pushes in the format of kubeflow/trainer (docs/user-guides/trainjob-progress.md, pkg/statusserver)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drumline.worker.adapter_kubeflow import TOKEN, URL, Endpoint, step_of


def _push(*metrics: tuple[str, str], **status: Any) -> bytes:
    listed = [{"name": name, "value": value} for name, value in metrics]
    whole = {"metrics": listed, "lastUpdatedTime": "2026-11-20T10:00:00+00:00", **status}
    return json.dumps({"trainerStatus": whole}).encode()


@pytest.mark.parametrize(
    ("body", "step"),
    [
        # as transformers' callback pushes it: src/transformers/integrations/integration_utils.py
        (_push(("loss", "0.5"), ("current_step", "50"), ("total_steps", "100"), progressPercentage=50), 50),
        (_push(("total_steps", "100"), progressPercentage=0), None),
        (_push(("global_step", "7.0")), 7),
        (_push(("step", "x"), ("current_step", "-1"), ("global_step", "inf")), None),
        (_push(progressPercentage=45, estimatedRemainingSeconds=3600), None),
        (b'{"trainerStatus": {"metrics": null}}', None),
        (b"{}", None),
    ],
)
def test_the_step_is_among_the_metrics(body: bytes, step: int | None) -> None:
    assert step_of(body) == step


class Pusher:
    """Pushes with the environment that the endpoint gives."""

    def __init__(self, folder: Path) -> None:
        self.steps: list[int] = []
        self.endpoint = Endpoint(folder, self.steps.append)
        environ = self.endpoint.environment("research", "llama")
        self.url = environ[URL]
        self.token_file = Path(environ[TOKEN])
        self.token = self.token_file.read_text()

    def push(self, body: bytes) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def pusher(tmp_path: Path) -> Iterator[Pusher]:
    made = Pusher(tmp_path)
    yield made
    made.endpoint.close()


def test_a_push_is_answered_as_the_real_server_does(pusher: Pusher) -> None:
    body = _push(("current_step", "50"))
    assert pusher.push(body) == (200, json.loads(body))
    assert pusher.steps == [50]
    assert pusher.url.endswith(
        "/apis/trainer.kubeflow.org/v1alpha1/namespaces/research/trainjobs/llama/status"
    )


@pytest.mark.parametrize(
    "body", [b"no", b'{"trainerStatus": 5}', b'{"trainerStatus": {"metrics": 5}}', b"[1]" + b" " * 70_000]
)
def test_what_is_no_push_is_refused(pusher: Pusher, body: bytes) -> None:
    assert pusher.push(body)[0] == 422
    assert pusher.steps == []


def test_without_the_token_nothing_is_taken(pusher: Pusher) -> None:
    pusher.token = "another"
    assert pusher.push(_push(("current_step", "50")))[0] == 403
    assert pusher.steps == []


def test_the_token_is_for_nobody_else_to_read(pusher: Pusher) -> None:
    assert pusher.token_file.stat().st_mode & 0o077 == 0
