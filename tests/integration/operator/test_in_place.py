"""Restart in place on a real control plane: fake pods, a real operator and ingest, stand-ins for the launchers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drumline.api.orders import ProcessState
from drumline.runtime.errors import DrumlineError
from drumline.runtime.http_paths import resource_path
from e2e.bench.launchers import Launcher
from e2e.bench.reports_client import Identity, Target
from e2e.cluster import ports
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import Operator, make_lab, start_operator
from tests.integration.operator.lab import Lab, Manifest, reason
from tests.integration.operator.test_goodput import assert_balanced
from tests.integration.operator.test_goodput_restart import FAST

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

NAME = "drumline-ingest.default.svc"
WORKERS = 4


class Site:
    """An operator, which may be killed, and its ingest."""

    def __init__(self, cluster: Cluster, folder: Path, lease: tuple[str, ...] = FAST) -> None:
        self._cluster = cluster
        self._folder = folder
        self._lease = lease
        self._lives = 0
        self.socket = folder / "reports.sock"
        self.port = ports.reserve().number
        self.operator = self._start()
        arguments = ["ingest", "--kubeconfig", str(cluster.kubeconfig), "--report-socket", str(self.socket)]
        arguments += ["--ingest-host", "127.0.0.1", "--ingest-port", str(self.port)]
        with (folder / "ingest.log").open("ab") as log:
            self.ingest = subprocess.Popen(
                [sys.executable, "-m", "drumline", *arguments], stdout=log, stderr=log
            )

    def _start(self) -> Operator:
        self._lives += 1
        url = f"https://{NAME}:{self.port}/v1/report"
        extra = (
            "--report-socket",
            str(self.socket),
            "--report-url",
            url,
            "--launcher-image",
            "drumline:test",
        )
        return start_operator(
            self._cluster.kubeconfig, self._folder / f"life-{self._lives}", *self._lease, *extra
        )

    def kill(self) -> None:
        """kill -9 of the operator."""
        os.kill(self.operator.process.pid, signal.SIGKILL)
        self.operator.process.wait()

    def again(self) -> None:
        """Start it again."""
        self.operator = self._start()

    def stop(self) -> None:
        """End both."""
        self.operator.stop()
        self.ingest.terminate()
        self.ingest.wait(20)


@pytest.fixture(scope="module")
def site(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(own_cluster, tmp_path_factory.mktemp("site"))
    try:
        yield running
    finally:
        running.stop()


def in_place(lab: Lab, name: str, **policy: Any) -> Manifest:
    """A gang of four that restarts in place."""
    job = lab.job(name, workersPerSlice=WORKERS)
    backoff = {"initialSeconds": 0, "maxSeconds": 0}
    job["spec"]["failurePolicy"] = {"restartStrategy": "InPlace", "backoff": backoff, **policy}
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "train.py"]
    return job


async def identity_of(lab: Lab, pod: Manifest, rank: int) -> Identity:
    """The identity of a pod, with a token bound to it."""
    metadata = pod["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec = {"audiences": ["drumline"], "expirationSeconds": 3600, "boundObjectRef": bound}
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    path = f"/api/v1/namespaces/{lab.namespace}/serviceaccounts/default/token"
    token = (await lab.client.request("POST", path, body=body))["status"]["token"]
    owner = metadata["ownerReferences"][0]
    return Identity(lab.namespace, owner["name"], owner["uid"], token, f"127.0.0.{2 + rank}")


async def authority(lab: Lab) -> str:
    """The ingest's authority as pods of the namespace know it."""
    path = resource_path("configmaps", lab.namespace, "drumline-ca")
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(DrumlineError, KeyError):
                return str((await lab.client.request("GET", path))["data"]["ca.crt"])
            await asyncio.sleep(0.1)


@asynccontextmanager
async def launched(lab: Lab, site: Site) -> AsyncIterator[list[Launcher]]:
    """Launchers of all pods that are there, their processes running."""
    target = Target(site.port, NAME, await authority(lab))
    pods = sorted(await lab.pods(), key=lambda p: int(p["metadata"]["labels"]["drumline.dev/rank"]))
    launchers = [
        Launcher(target, target.tls(), await identity_of(lab, pod, rank), rank)
        for rank, pod in enumerate(pods)
    ]
    tasks = [asyncio.create_task(launcher.run()) for launcher in launchers]
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(launcher.goes(0) for launcher in launchers))
        await asyncio.sleep(1.0)  # their musters are heard
        yield launchers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def uids(lab: Lab) -> list[str]:
    return [pod["metadata"]["uid"] for pod in await lab.pods()]


async def slices(lab: Lab) -> list[tuple[str, str]]:
    found = await lab.list("endpointslices")
    return [(s["metadata"]["name"], s["metadata"]["resourceVersion"]) for s in found]


def is_at(epoch: int) -> Any:
    """The gang is whole at that epoch."""

    def holds(job: Manifest) -> bool:
        status = job["status"]
        return status.get("epoch", 0) == epoch and "readyAt" in status["attempts"][-1]

    return holds


async def test_processes_start_again_in_the_same_pods(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        await lab.apply(in_place(lab, "again"))
        await lab.phase("again", "Running")
        async with launched(lab, site) as launchers:
            await lab.settle("again")  # names are published soon after pods run
            before, names = await uids(lab), await slices(lab)
            launchers[1].fail(3, "exit code 3\nValueError: nan")
            async with asyncio.timeout(90):
                await asyncio.gather(*(launcher.goes(1) for launcher in launchers))
            job = await lab.until("again", is_at(1), "not whole at epoch 1")
        first, second = job["status"]["attempts"]
        assert (first["cause"], first["rank"], first["exitCode"]) == ("ApplicationExit", 1, 3)
        assert (first["action"], first["lastLines"]) == ("RestartInPlace", "exit code 3\nValueError: nan")
        assert (second["attempt"], second["epoch"]) == (1, 1)
        assert (await uids(lab), await slices(lab)) == (before, names)
        assert (job["status"]["phase"], job["status"]["workers"]["ready"]) == ("Running", WORKERS)
        assert reason(job, "PodsReady")[0] == "True"
        assert reason(job, "Restarting") == ("False", "Recovered")
        assert_balanced(job, WORKERS)


async def test_another_leader_goes_on_where_the_barrier_stood(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        await lab.apply(in_place(lab, "failover"))
        await lab.phase("failover", "Running")
        before = await uids(lab)
        async with launched(lab, site) as launchers:
            launchers[2].stubborn = True
            launchers[0].fail(7)
            await lab.until("failover", lambda j: j["status"].get("epoch") == 1, "no epoch 1")
            async with asyncio.timeout(60):  # launchers are told after the status is written
                while [x.state for x in launchers].count(ProcessState.RUNNING) > 1:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(site.kill)
            assert [x.state for x in launchers].count(ProcessState.RUNNING) <= 1
            launchers[2].yield_to_orders()
            await asyncio.to_thread(site.again)
            async with asyncio.timeout(90):
                await asyncio.gather(*(launcher.goes(1) for launcher in launchers))
            job = await lab.until("failover", is_at(1), "not whole at epoch 1")
        assert (job["status"]["attempt"], await uids(lab)) == (1, before)
        assert job["status"]["restarts"] == [{"cause": "ApplicationExit", "count": 1}]


async def test_a_launcher_that_does_not_come_costs_the_pods(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        await lab.apply(in_place(lab, "late"))
        await lab.phase("late", "Running")
        async with launched(lab, site) as launchers:
            launchers[2].stubborn = True
            launchers[0].fail(7)
            job = await lab.until("late", lambda j: j["status"]["attempt"] == 2, "no second attempt")
            async with asyncio.timeout(90):
                await asyncio.gather(*(launcher.over.wait() for launcher in launchers))
        over = [a for a in job["status"]["attempts"] if "finishedAt" in a]
        assert [(a.get("epoch", 0), a["cause"], a["action"]) for a in over] == [
            (0, "ApplicationExit", "RestartInPlace"),
            (1, "ApplicationExit", "RestartGang"),
        ]
        assert "the launcher of rank 2 did not hold within 31 s" in over[1]["message"]
        assert job["status"]["restarts"] == [{"cause": "ApplicationExit", "count": 1}]
