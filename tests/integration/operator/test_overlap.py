"""Two replicas, a paused leader, and an upgrade: nothing is done twice, running pods are left alone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from e2e.cluster.embedded import ClusterOptions
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import make_lab, start_operator
from tests.integration.operator.lab import SECONDS, Lab

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

CLUSTER = ClusterOptions(scheduler_qps=1000, scheduler_burst=1000)
PODS = 400
PAUSE_SECONDS = 30.0


async def test_a_leader_paused_in_the_middle_of_a_creation_does_no_harm(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    # 40 s for the gang, so that a busy machine, too, pauses it midway
    slow = ("--write-qps", "10", "--write-burst", "10")
    first = start_operator(own_cluster.kubeconfig, tmp_path / "first", *slow)
    second = None
    try:
        first.wait_leading()
        second = start_operator(own_cluster.kubeconfig, tmp_path / "second")
        async with make_lab(own_cluster) as lab:
            await lab.nodes("50 hosts of h100 in blocks of 10")
            await lab.apply(lab.job("big", workersPerSlice=PODS))
            await _pods_at_least(lab, 40)
            os.kill(first.process.pid, signal.SIGSTOP)
            paused = asyncio.get_running_loop().time()
            assert len(await lab.pods()) < PODS
            job = await lab.phase("big", "Running", 2 * SECONDS)
            await asyncio.sleep(max(0.0, PAUSE_SECONDS - (asyncio.get_running_loop().time() - paused)))
            before = {p["metadata"]["uid"] for p in await lab.pods()}
            os.kill(first.process.pid, signal.SIGCONT)
            # what was paused finds its lease gone and ends, without one more write
            await asyncio.to_thread(first.process.wait, 60)
            assert first.process.returncode != 0
            await asyncio.sleep(1)
            after = await lab.pods()
            assert {p["metadata"]["uid"] for p in after} == before
            assert len(after) == PODS
            job = await lab.get("big")
            assert (job["status"]["attempt"], job["status"]["phase"]) == (1, "Running")
            assert second.leads()
    finally:
        for running in (first, second):
            if running is not None and running.process.poll() is None:
                running.process.kill()
                running.process.wait()


async def _pods_at_least(lab: Lab, count: int) -> None:
    async with asyncio.timeout(SECONDS):
        while len(await lab.pods()) < count:
            await asyncio.sleep(0.05)


async def test_an_upgrade_with_another_rendering_writes_to_no_running_pod(
    own_cluster: Cluster, tmp_path: Path
) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes("2 hosts of h100 in blocks of 2")
        old = start_operator(own_cluster.kubeconfig, tmp_path / "old")
        try:
            old.wait_leading()
            await lab.apply(lab.job("steady", workersPerSlice=4))
            await lab.phase("steady", "Running")
            await lab.settle("steady")
        finally:
            old.stop()
        before = {p["metadata"]["name"]: p["metadata"]["resourceVersion"] for p in await lab.pods()}
        new = start_operator(own_cluster.kubeconfig, tmp_path / "new", "--cluster-domain", "another.domain")
        try:
            new.wait_leading()
            await asyncio.sleep(3)
            after = {p["metadata"]["name"]: p["metadata"]["resourceVersion"] for p in await lab.pods()}
            assert after == before
            job = await lab.get("steady")
            assert (job["status"]["attempt"], job["status"]["phase"]) == (1, "Running")
            # the next attempt is rendered anew
            await lab.delete("pods", "steady-1-0-2")
            await lab.until("steady", lambda j: j["status"]["attempt"] == 2, "no second attempt")
            await lab.phase("steady", "Running")
            pods = await lab.pods("drumline.dev/attempt=2")
            env = {e["name"]: e.get("value") for e in pods[0]["spec"]["containers"][0]["env"]}
            assert "another.domain" in env["MASTER_ADDR"]
        finally:
            new.stop()
