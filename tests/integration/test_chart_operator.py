"""The operator does all of its work with the rights that the chart gives, and is never refused anything."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import nodes, provider
from e2e.cluster.operator import operator_command
from e2e.cluster.provider import Cluster
from tests.integration.chart import Helm

pytestmark = pytest.mark.cluster

Manifest = dict[str, Any]
FAST = ("--lease-duration", "12", "--lease-renew-deadline", "9", "--lease-retry", "0.5")
LARGE_SLICE = "4x8x8"  # 64 workers, whose host list goes through a ConfigMap


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A cluster in which no other test's operator does the work."""
    if provider.choose().name == "existing":
        pytest.skip("an operator of the existing cluster may be at work")
    running = provider.start()
    asyncio.run(nodes.apply(running, "2 hosts of cpu", f"one v5p {LARGE_SLICE} slice"))
    yield running
    running.stop()


@pytest.fixture(params=["all namespaces", "one namespace"])
def helm(own_cluster: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Helm]:
    """A release whose Deployment has no replica: the operator runs beside the cluster instead."""
    limited = request.param == "one namespace"
    name = f"chart-{'one' if limited else 'all'}"
    own_cluster.kubectl("create", "namespace", name)
    own_cluster.kubectl(
        "wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=120s", seconds=150
    )
    helm = Helm(own_cluster, name, tmp_path)
    helm.install({"replicas": 0, "namespace": name if limited else ""})
    yield helm
    own_cluster.kubectl("delete", "trainingjobs", "--all", "-n", name, "--wait=false")
    helm.uninstall()


@contextmanager
def operator(helm: Helm, folder: Path) -> Iterator[str]:
    """The operator with the token and the settings of the release; yields the URL of its metrics."""
    kubeconfig, config = folder / "kubeconfig", folder / "config.yaml"
    kubeconfig.write_text(json.dumps(helm.kubeconfig()))
    config.write_text(helm.cluster.get("configmap", "op", "-n", helm.namespace)["data"]["config.yaml"])
    settings = ("--config", str(config), "--discovery", "Endpoints", *FAST)
    settings += ("--report-socket", str(folder / "reports.sock"))
    command, url = operator_command(kubeconfig, *settings)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
    try:
        yield url
    finally:
        process.terminate()
        process.wait(60)


def job(name: str, annotations: Manifest, accelerator: Manifest, **spec: Any) -> Manifest:
    fake = {f"fake.drumline.dev/{key}": value for key, value in annotations.items()}
    container = {"name": "train", "image": "trainer:1", "resources": {"requests": {"cpu": "100m"}}}
    template = {"metadata": {"annotations": fake}, "spec": {"containers": [container]}}
    backoff = {"initialSeconds": 0, "maxSeconds": 0}
    base = {"accelerator": accelerator, "template": template, "failurePolicy": {"backoff": backoff}}
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {**base, **spec},
    }


def until(look: Callable[[], Any], what: Callable[[], str], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(what())


def test_a_jobs_whole_life_under_the_charts_rights(helm: Helm, tmp_path: Path) -> None:
    cluster, namespace = helm.cluster, helm.namespace
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "500"}},
    }
    failing = {"run-seconds": "2", "exit-code": "1", "only-attempts": "1", "only-ranks": "0"}
    ending = {"run-seconds": "2"}
    tpu = {"type": "tpu-v5p", "topology": LARGE_SLICE}
    manifests = [
        quota,
        job("flaky", failing, {"type": "cpu"}, workersPerSlice=2),
        job("short", ending, {"type": "cpu"}, workersPerSlice=2, ttlSecondsAfterFinished=0),
        job("large", {}, tpu),
    ]
    with operator(helm, tmp_path) as url:
        for manifest in manifests:
            cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))

        def jobs() -> dict[str, Manifest]:
            items = cluster.get("trainingjobs", "-n", namespace)["items"]
            return {item["metadata"]["name"]: item.get("status", {}) for item in items}

        def seen() -> str:
            return f"{json.dumps(jobs())}\n{(tmp_path / 'log').read_text()[-3000:]}"

        def settled() -> bool:
            now = jobs()
            restarted = now["flaky"].get("attempt") == 2 and now["flaky"].get("phase") == "Running"
            return restarted and now["large"].get("phase") == "Running" and "short" not in now

        until(settled, seen)
        until(lambda: cluster.get("events", "-n", namespace)["items"], seen)
        assert refused(url) == {}, seen()
    kinds = {
        item["kind"]
        for item in cluster.get("configmaps,endpoints,endpointslices,services", "-n", namespace)["items"]
    }
    assert kinds == {"ConfigMap", "Endpoints", "EndpointSlice", "Service"}
    holder = cluster.get("lease", "op", "-n", namespace)["spec"].get("holderIdentity")
    assert not holder, "the lease was given back"


def refused(url: str) -> dict[str, float]:
    """Requests that the API server forbade, by the labels of their series."""
    with urllib.request.urlopen(url, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    found = [
        re.fullmatch(r'drumline_api_requests_total\{(.*code="40[13]".*)\} (\S+)', line) for line in lines
    ]
    return {match[1]: float(match[2]) for match in found if match}
