"""The operator's process: probes before leadership, one leader, an orderly end, nothing left on objects."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from drumline.runtime.config import Config
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import Client, connect
from drumline.runtime.shell import KopfThread
from e2e.cluster.embedded import ClusterOptions, EmbeddedCluster
from e2e.cluster.operator import install_api, operator_command

LEASE = ("--lease-duration", "12", "--lease-renew-deadline", "9", "--lease-retry", "0.3")


@pytest.fixture(scope="module")
def own_cluster() -> Any:
    """A control plane without other operators: they would share the namespace's lease and the jobs."""
    with EmbeddedCluster(ClusterOptions(with_kwok=False)) as cluster:
        asyncio.run(install_api(cluster))
        yield cluster


@pytest.fixture
async def client(own_cluster: EmbeddedCluster) -> AsyncIterator[Client]:
    async with await connect(str(own_cluster.kubeconfig), timeout=60) as client:
        yield client


def job(name: str) -> dict[str, Any]:
    spec = {
        "accelerator": {"type": "cpu"},
        "workersPerSlice": 1,
        "suspend": True,
        "template": {"spec": {"containers": [{"name": "train", "image": "none"}]}},
    }
    metadata = {"name": name}
    return {"apiVersion": "drumline.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": spec}


SERVICE = {
    "apiVersion": "drumline.dev/v1alpha1",
    "kind": "InferenceService",
    "metadata": {"name": "chat"},
    "spec": {
        "suspend": True,
        "roles": [
            {
                "name": "serve",
                "accelerator": {"type": "cpu"},
                "template": {"spec": {"containers": [{"name": "engine", "image": "none"}]}},
            }
        ],
    },
}


class Operator:
    """One replica, as a person would start it outside a cluster."""

    def __init__(self, cluster: EmbeddedCluster, lease: str) -> None:
        command, metrics = operator_command(cluster.kubeconfig, *LEASE, "--lease-name", lease)
        self.command = command
        self.url = metrics.removesuffix("/metrics")
        self.process: asyncio.subprocess.Process

    async def start(self) -> Operator:
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONPATH": str(root / "operator")}
        self.process = await asyncio.create_subprocess_exec(sys.executable, *self.command, env=environment)
        return self

    async def get(self, path: str) -> tuple[int, str]:
        try:
            async with aiohttp.ClientSession() as session, session.get(self.url + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def until(self, path: str, condition: Callable[[int, str], bool], seconds: float = 120) -> str:
        deadline = time.monotonic() + seconds
        while True:
            status, text = await self.get(path)
            if condition(status, text):
                return text
            assert self.process.returncode is None, "the operator has ended"
            assert time.monotonic() < deadline, f"{path}: {status} {text[-2000:]}"
            await asyncio.sleep(0.1)

    async def until_leader(self, *, leader: bool = True) -> str:
        line = f"drumline_leader {float(leader)}"
        return await self.until("/metrics", lambda _, text: line in text)

    async def until_ready(self) -> None:
        await self.until("/readyz", lambda status, _: status == 200)

    async def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 60)


@pytest.fixture
async def start(own_cluster: EmbeddedCluster, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    started: list[Operator] = []
    lease = request.node.name.replace("_", "-")

    async def begin() -> Operator:
        started.append(await Operator(own_cluster, lease).start())
        return started[-1]

    yield begin
    for operator in started:
        await operator.end(signal.SIGKILL)


async def holder(client: Client, name: str) -> str:
    lease = await client.request("GET", resource_path("leases", "default", name))
    return str(lease["spec"].get("holderIdentity"))


async def test_leads_is_ready_and_gives_the_lease_back(start, client, request) -> None:
    operator = await start()
    await operator.until_ready()
    text = await operator.until_leader()
    assert "drumline_build_info{" in text
    assert 'drumline_jobs{phase="Running"} 0.0' in text
    assert 'drumline_api_requests_total{code="200",resource="pods",verb="list"}' in text
    assert await operator.end() == 0
    assert await holder(client, request.node.name.replace("_", "-")) == ""


async def test_second_replica_is_ready_and_takes_over(start) -> None:
    first = await start()
    await first.until_leader()
    second = await start()
    await second.until_ready()
    await second.until_leader(leader=False)
    assert (await second.get("/healthz"))[0] == 200
    await first.end()
    await second.until_leader()


async def test_stopped_leader_exits_when_it_goes_on(start) -> None:
    first = await start()
    await first.until_leader()
    second = await start()
    await second.until_ready()
    first.process.send_signal(signal.SIGSTOP)
    await second.until_leader()
    first.process.send_signal(signal.SIGCONT)
    assert await asyncio.wait_for(first.process.wait(), 60) == 1


async def test_nothing_of_ours_stays_on_a_users_object(start, client) -> None:
    """Neither finalizers nor annotations: deleting the operator leaves a job as its user wrote it."""
    operator = await start()
    await operator.until_leader()
    path = resource_path("trainingjobs", "default")
    await client.request("POST", path, body=job("a"))
    await operator.until("/metrics", lambda _, text: 'drumline_jobs{phase="Suspended"} 1.0' in text)
    metadata = (await client.request("GET", f"{path}/a"))["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata
    await client.request("DELETE", f"{path}/a")


async def test_kopf_only_says_which_object_changed(own_cluster, client) -> None:
    changed: list[tuple[str, tuple[str, str]]] = []

    def hear(resource: str, key: tuple[str, str]) -> None:
        changed.append((resource, key))

    thread = KopfThread(Config(kubeconfig=str(own_cluster.kubeconfig)), hear)
    thread.start()
    path = resource_path("trainingjobs", "default")
    for name in ("x", "y"):
        await client.request("POST", path, body=job(name))
    await client.request("POST", resource_path("inferenceservices", "default"), body=SERVICE)
    expected = {
        ("trainingjobs", ("default", "x")),
        ("trainingjobs", ("default", "y")),
        ("inferenceservices", ("default", "chat")),
    }
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(120):
            while not expected <= set(changed):
                await asyncio.sleep(0.1)
    thread.stop()
    assert set(changed) == expected
    for name in ("x", "y"):
        metadata = (await client.request("GET", f"{path}/{name}"))["metadata"]
        assert metadata.keys().isdisjoint({"finalizers", "annotations"})
        await client.request("DELETE", f"{path}/{name}")


async def test_bad_setting_is_named_and_ends_the_start() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "drumline", "run", "--workers", "0", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == "drumline: --workers: must be at least 1\n"
