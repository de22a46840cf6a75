"""The operator beside a cluster: its API installed, and its command line for a run outside of pods."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import ports
from e2e.cluster.embedded import EmbeddedCluster

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
PRIORITY_CLASS = {
    "apiVersion": "scheduling.k8s.io/v1",
    "kind": "PriorityClass",
    "metadata": {"name": "drumline-worker"},
    "value": 0,
    "preemptionPolicy": "Never",
    "description": "Worker pods: a pinned pod never evicts anybody.",
}
_SERVED_SECONDS = 30.0


async def install_api(cluster: EmbeddedCluster) -> None:
    """Install the CRDs and the workers' priority class, and wait until our kinds are served."""
    for path in sorted(CRDS.glob("*.yaml")):
        crd: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster.api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    cluster.api.create("/apis/scheduling.k8s.io/v1/priorityclasses", PRIORITY_CLASS)
    deadline = time.monotonic() + _SERVED_SECONDS
    for resource in ("trainingjobs", "inferenceservices", "inferenceroles", "acceleratorqueues"):
        while not cluster.api.healthy(f"/apis/drumline.dev/v1alpha1/{resource}"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the API server does not serve {resource}")
            await asyncio.sleep(0.1)


def operator_command(kubeconfig: Path, *extra: str) -> tuple[list[str], str]:
    """Arguments for the Python interpreter, and the URL of the operator's metrics.

    The development switch ``--kubeconfig`` makes it run outside the cluster. Logs go to standard error.
    """
    port = ports.reserve().number
    arguments = ["-m", "drumline", "run", "--kubeconfig", str(kubeconfig)]
    arguments += ["--metrics-host", "127.0.0.1", "--metrics-port", str(port), "--log-format", "text", *extra]
    return arguments, f"http://127.0.0.1:{port}/metrics"
