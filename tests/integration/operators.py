"""The operator as a process beside the embedded cluster, and a lab for each test."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from drumline.runtime.kube import connect
from e2e.cluster import nodes
from e2e.cluster.embedded import ClusterOptions
from e2e.cluster.operator import install_api, operator_command
from e2e.cluster.provider import Cluster, Embedded
from tests.integration.operator.lab import Lab

# The only replica of its cluster: a machine that is busy for half a minute must not end it.
PATIENT = ("--lease-duration", "60", "--lease-renew-deadline", "45", "--lease-retry", "2")

CATALOG = "drumline-catalog"  # the ConfigMap that the shared operator follows, in namespace default


@dataclass
class Operator:
    """A running operator process."""

    process: subprocess.Popen[bytes]
    metrics_url: str
    log: Path

    def metrics(self) -> str:
        """What it exports now."""
        with urllib.request.urlopen(self.metrics_url, timeout=30) as answer:
            return str(answer.read().decode())

    def leads(self) -> bool:
        """Whether it holds the lease."""
        with contextlib.suppress(urllib.error.URLError, OSError):
            return "drumline_leader 1.0" in self.metrics()
        return False

    def wait_leading(self, seconds: float = 120) -> None:
        """Until it leads; AssertionError with the end of its log when it does not."""
        deadline = time.monotonic() + seconds
        while not self.leads():
            assert self.process.poll() is None, f"the operator ended:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the operator does not lead:\n{self.tail()}"
            time.sleep(0.1)

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End it: politely, then not."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_operator(kubeconfig: Path, log: Path, *extra: str) -> Operator:
    """Start an operator; it may or may not get to lead."""
    command, url = operator_command(kubeconfig, *extra)
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *command], stdout=output, stderr=output)
    return Operator(process, url, log)


@contextlib.contextmanager
def leading(kubeconfig: Path, log: Path, *flags: str) -> Iterator[Operator]:
    """A patient operator that leads, for as long as it is entered; it may neither end meanwhile nor log a traceback."""
    running = start_operator(kubeconfig, log, *PATIENT, *flags)
    try:
        running.wait_leading(150)
        yield running
        assert running.process.poll() is None, f"the operator ended:\n{running.tail()}"
        assert "Traceback" not in running.log.read_text(errors="replace"), running.tail(80)
    finally:
        running.stop()


@pytest.fixture(scope="session")
def api_cluster(cluster: Cluster) -> Cluster:
    """The cluster with Drumline's API installed."""
    if cluster.embedded is None:
        pytest.skip("these tests take the control plane's programs apart: they need the embedded cluster")
    asyncio.run(install_api(cluster.embedded))
    return cluster


@pytest.fixture(scope="session")
def operator(api_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One operator for all tests of this worker."""
    log = tmp_path_factory.mktemp("operator") / "log"
    with leading(api_cluster.kubeconfig, log, "--catalog-config-map", CATALOG) as running:
        yield running


@pytest.fixture(scope="module")
def own_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster on which no other operator runs; a module may say which, with `CLUSTER`."""
    running = Embedded().start(getattr(request.module, "CLUSTER", ClusterOptions()))
    assert running.embedded is not None
    asyncio.run(install_api(running.embedded))
    yield running
    running.stop()


@asynccontextmanager
async def make_lab(cluster: Cluster) -> AsyncIterator[Lab]:
    """A lab on that cluster; what it made goes with it."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    async with await connect(str(cluster.kubeconfig)) as client:
        await client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
        lab = Lab(cluster, client, name, f"{name}-")
        await accounted(lab)
        yield lab
        for resource in ("trainingjobs", "inferenceservices"):
            await client.request("DELETE", f"/apis/drumline.dev/v1alpha1/namespaces/{name}/{resource}")
        pods = f"/api/v1/namespaces/{name}/pods"
        await client.request("DELETE", pods, params={"gracePeriodSeconds": 0})
        await client.request("DELETE", f"/api/v1/namespaces/{name}")
        await nodes.delete_nodes(cluster, lab.hosts)


@pytest.fixture
async def lab(operator: Operator, api_cluster: Cluster) -> AsyncIterator[Lab]:
    """A lab that the worker's operator looks after."""
    async with make_lab(api_cluster) as made:
        yield made


async def accounted(lab: Lab) -> None:
    """Pods are refused until the namespace has its service account."""
    for _ in range(2400):
        found = await lab.client.request("GET", f"/api/v1/namespaces/{lab.namespace}/serviceaccounts")
        if any(a["metadata"]["name"] == "default" for a in found["items"]):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"namespace {lab.namespace} has no service account")
