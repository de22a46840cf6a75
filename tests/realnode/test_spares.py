"""Spares' pods on a real kubelet and container runtime: they hold, they have images pulled, they leave at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import images
from e2e.cluster.operator import install_api
from e2e.suites.kubectl import until
from tests.integration.operators import leading
from tests.realnode.conftest import Real

NOWHERE = "127.0.0.1:1/none:1"


@pytest.fixture(scope="module")
def operator(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An operator beside the real node, with an image for spares; its log."""
    asyncio.run(install_api(real.cluster))
    real.node.store.load(images.operator())
    image = f"drumline/operator:{images.version()}"
    log = tmp_path_factory.mktemp("operator") / "log"
    with leading(real.kubectl.kubeconfig, log, "--launcher-image", image):
        yield log


def job(name: str, image: str) -> dict[str, Any]:
    container = {
        "name": "train",
        "image": image,
        "command": ["sleep", "600"],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "accelerator": {"type": "cpu"},
            "workersPerSlice": 1,
            "spares": 1,
            "template": {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}},
        },
    }


def pod(real: Real, name: str) -> dict[str, Any]:
    """A pod; empty when there is none."""
    found = real.kubectl.list("pods")
    return next((p for p in found if p["metadata"]["name"] == name), {})


def holds(real: Real, name: str) -> bool:
    return bool(pod(real, name).get("status", {}).get("phase") == "Running")


def says(real: Real, name: str, reason: str, about: str) -> bool:
    """Whether an event of the pod has that reason and names that."""
    events = [e for e in real.kubectl.list("events") if e["involvedObject"]["name"] == name]
    return any(e["reason"] == reason and about in e["message"] for e in events)


def test_a_spare_has_the_workers_image_and_leaves_with_its_job(real: Real, operator: Path) -> None:
    real.kubectl.apply(job("held", images.BASE))
    until(lambda: holds(real, "held-1-spare-0"), "the spare to hold its place", 120)
    until(lambda: says(real, "held-1-spare-0", "Pulled", images.BASE), "the kubelet to say so", 150)
    assert pod(real, "held-1-spare-0")["spec"]["terminationGracePeriodSeconds"] == 1
    began = time.monotonic()
    real.kubectl.run("delete", "trainingjob", "held", "--cascade=foreground")
    until(lambda: not pod(real, "held-1-spare-0"), "the spare's pod to be gone", 150)
    print(f"a spare's pod was gone {time.monotonic() - began:.1f} s after its job was deleted")


def test_an_image_that_cannot_be_pulled_leaves_the_place_held(real: Real, operator: Path) -> None:
    real.kubectl.apply(job("missing", NOWHERE))
    until(lambda: holds(real, "missing-1-spare-0"), "the spare to hold its place", 120)
    until(lambda: says(real, "missing-1-spare-0", "Failed", NOWHERE), "the kubelet to say so", 150)
    real.kubectl.run("delete", "trainingjob", "missing")
