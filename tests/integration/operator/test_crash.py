"""The operator is killed around every single write of a job's life; its successor carries on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from e2e.cluster import kubeconfig
from e2e.cluster.provider import Cluster
from e2e.cluster.proxy import Hook, Hooks, Interrupted, Write, WriteProxy
from tests.integration.operator.conftest import Operator, make_lab, start_operator
from tests.integration.operator.lab import Lab, Manifest
from tests.integration.operator.test_goodput import assert_balanced

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

FAST = (
    "--lease-duration",
    "1.5",
    "--lease-renew-deadline",
    "1.0",
    "--lease-retry",
    "0.2",
    "--shutdown-grace",
    "1",
)
LIFE = {"run-seconds": "1", "exit-code": "3", "only-attempts": "1", "only-ranks": "1"}


class Crew:
    """A leader and a warm standby, both behind the proxy; whoever is killed is replaced."""

    def __init__(self, config: Path, logs: Path) -> None:
        self._config = config
        self._logs = logs
        self._number = 0
        self.leader = self._start()
        self.standby = self._start()

    def _start(self) -> Operator:
        self._number += 1
        return start_operator(self._config, self._logs / f"operator-{self._number}", *FAST)

    def kill_leader(self) -> None:
        """kill -9; the standby is the next to lead, and a new standby warms up."""
        os.kill(self.leader.process.pid, signal.SIGKILL)
        self.leader.process.wait()
        self.leader, self.standby = self.standby, self._start()

    async def order(self) -> None:
        """Wait until one of the two leads, and call it the leader; one that lost its lease is replaced."""
        deadline = time.monotonic() + 120
        while not await asyncio.to_thread(self.leader.leads):
            if self.leader.process.poll() is not None:
                self.leader, self.standby = self.standby, self._start()
            if self.standby.process.poll() is not None:
                self.standby = self._start()
            if await asyncio.to_thread(self.standby.leads):
                self.leader, self.standby = self.standby, self.leader
            assert time.monotonic() < deadline, self.leader.tail()
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        """End both."""
        for running in (self.standby, self.leader):
            running.process.kill()
            running.process.wait()


@pytest.fixture
async def proxy(own_cluster: Cluster) -> AsyncIterator[WriteProxy]:
    """A proxy before the API server."""
    assert own_cluster.embedded is not None
    async with WriteProxy(own_cluster.embedded) as running:
        yield running


@pytest.fixture
async def crew(own_cluster: Cluster, proxy: WriteProxy, tmp_path: Path) -> AsyncIterator[Crew]:
    """Two operators behind the proxy."""
    embedded = own_cluster.embedded
    assert embedded is not None
    binding = {
        "metadata": {"name": "crash-test"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "default"}],
    }
    embedded.api.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    token = embedded.api.request("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    config = kubeconfig.write(tmp_path / "kubeconfig", proxy.url, embedded.ca, kubeconfig.token_user(token))
    running = Crew(config, tmp_path)
    try:
        await running.order()
        yield running
    finally:
        running.stop()


@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_killed_around_every_write(
    moment: str, own_cluster: Cluster, proxy: WriteProxy, crew: Crew
) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        total = await _live(lab, f"{moment}-0", proxy, Hooks())
        assert total > 10
        for number in range(1, total + 1):
            await _live(lab, f"{moment}-{number}", proxy, killing(crew, moment, number))
            await crew.order()
    print(f"killed {moment} each of the {total} writes of a job's life")


async def test_answers_lost_around_every_write(own_cluster: Cluster, proxy: WriteProxy, crew: Crew) -> None:
    """The API server acts, the operator never hears of it: it goes on, and holds just what its jobs hold."""
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        total = await _live(lab, "deaf-0", proxy, Hooks())
        for number in range(1, total + 1):
            await _live(lab, f"deaf-{number}", proxy, Hooks(during=cut(number)))
        proxy.reset()
        await lab.apply(lab.job("all", accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 8}))
        await lab.phase("all", "Running")
        assert crew.leader.process.poll() is None
    print(f"lost the answer to each of the {total} writes of a job's life")


def cut(number: int) -> Hook:
    async def cut(write: Write) -> None:
        if write.number == number:
            raise Interrupted

    return cut


async def _live(lab: Lab, name: str, proxy: WriteProxy, hooks: Hooks) -> int:
    """One life: attempt 1 fails on rank 1, attempt 2 completes. Returns how many writes it took."""
    uids: dict[str, set[str]] = {}
    watch = asyncio.create_task(_record(lab, name, uids))
    proxy.reset(hooks)
    await lab.apply(lab.job(name, LIFE))
    await lab.until(name, lambda j: j.get("status", {}).get("attempt", 0) >= 2, "no second attempt")
    await lab.phase(name, "Running")
    for pod in await lab.pods(f"drumline.dev/job={name}"):
        await _succeed(lab, pod)
    job = await lab.phase(name, "Succeeded")
    await lab.settle(name, 0.5)
    writes = len(proxy.writes)
    watch.cancel()
    assert [a["cause"] for a in job["status"]["attempts"] if "cause" in a] == ["ApplicationExit"], job[
        "status"
    ]
    assert (job["status"]["attempt"], job["status"]["restartCount"]) == (2, 1)
    assert_balanced(job)
    # rank 1 may have failed while no operator was there to create rank 0 of the first attempt
    expected = {f"{name}-{a}-0-{w}" for a in (1, 2) for w in (0, 1)}
    assert expected - {f"{name}-1-0-0"} <= set(uids) <= expected
    assert all(len(found) == 1 for found in uids.values()), uids
    await lab.delete("trainingjobs", name)
    return writes


async def _record(lab: Lab, name: str, uids: dict[str, set[str]]) -> None:
    """Every pod that ever was, by name."""
    path = f"/api/v1/namespaces/{lab.namespace}/pods"
    version = (await lab.client.request("GET", path))["metadata"]["resourceVersion"]
    params = {"watch": "1", "resourceVersion": version, "labelSelector": f"drumline.dev/job={name}"}
    async for line in lab.client.stream_lines(path, params):
        metadata = orjson.loads(line)["object"]["metadata"]
        uids.setdefault(metadata["name"], set()).add(metadata["uid"])


async def _succeed(lab: Lab, pod: Manifest) -> None:
    """What the pod's kubelet would write when its container ends well."""
    status: dict[str, Any] = {"status": {"phase": "Succeeded"}}
    path = f"/api/v1/namespaces/{lab.namespace}/pods/{pod['metadata']['name']}/status"
    await lab.client.request("PATCH", path, body=status, content_type="application/merge-patch+json")


def killing(crew: Crew, moment: str, number: int) -> Hooks:
    """Kill the leader at that moment of its n-th write, once."""
    killed: list[int] = []

    async def kill(write: Write) -> None:
        if write.number == number and not killed:
            killed.append(number)
            crew.kill_leader()
            if moment != "after":
                raise Interrupted

    return Hooks(**{moment: kill})
