"""The chart as helm renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.cluster import build

CHART = Path(__file__).resolve().parents[3] / "charts" / "drumline"
NAMESPACE = "drumline-system"

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


class ChartRefusedError(RuntimeError):
    """helm would not render the chart; the message is helm's."""


@pytest.fixture(scope="session")
def helm() -> Path:
    return build.binary("helm")


@pytest.fixture(scope="session")
def render(helm: Path) -> Render:
    """Manifests for a release `drumline` with these values, CRDs left out."""

    def run(
        values: Manifest | None = None, *, release: str = "drumline", crds: bool = False
    ) -> list[Manifest]:
        command = [str(helm), "template", release, str(CHART), "--namespace", NAMESPACE, "--values", "-"]
        command += ["--include-crds"] if crds else []
        text = json.dumps(values or {})
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise ChartRefusedError(done.stderr)
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return run


@pytest.fixture(scope="session")
def default(render: Render) -> list[Manifest]:
    return render()


def one(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    found = [m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name or ''}"
    return found[0]


def every(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [m for m in manifests if m["kind"] == kind]
