"""Nodes that come after the pods: a gang that asked for them begins on them whole, or leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.integration.operator.lab import POOL, SECONDS, Lab, Manifest, condition, node_of, reason

pytestmark = pytest.mark.cluster


def growing(lab: Lab, name: str, **provisioning: Any) -> Manifest:
    """A job of two whole hosts that soon asks for nodes, of the test's own pool."""
    pod = {"terminationGracePeriodSeconds": 1, "containers": [{"name": "train", "image": "pause:3.10"}]}
    return lab.job(
        name,
        accelerator={"type": "nvidia-h100-80gb", "nodeSelector": {POOL: f"{lab.prefix}h100"}},
        template={"spec": pod},
        scheduling={"provisioning": {"mode": "Unpinned", "afterSeconds": 1, **provisioning}},
    )


async def seen(lab: Lab, job: str) -> list[Manifest]:
    """The two pods of a job once the scheduler has found no node for either, as an autoscaler looks for."""
    deadline = time.monotonic() + SECONDS
    while not unbound(pods := await lab.pods(f"drumline.dev/job={job}")):
        assert time.monotonic() < deadline, [p.get("status") for p in pods]
        await asyncio.sleep(0.1)
    return pods


def unbound(pods: list[Manifest]) -> bool:
    """Whether the scheduler has said of both that there is no node."""
    said = [c for p in pods for c in p["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
    return len(pods) == 2 and [c.get("reason") for c in said] == ["Unschedulable"] * 2


async def test_nodes_come_once_the_pods_are_seen(lab: Lab) -> None:
    await lab.apply(growing(lab, "early"))
    job = await lab.phase("early", "Starting")
    assert "so that an autoscaler sees them" in condition(job, "QuotaReserved")["message"]
    pods = await seen(lab, "early")
    assert not any("affinity" in p["spec"] for p in pods)
    names = await lab.nodes("2 hosts of h100 in blocks of 2")
    job = await lab.phase("early", "Running")
    assert job["status"]["attempt"] == 1
    pods = await lab.pods("drumline.dev/job=early")
    nodes = {p["metadata"]["name"]: node_of(p) for p in pods}
    assert set(nodes.values()) == set(names)
    await lab.delete("pods", pods[0]["metadata"]["name"], gracePeriodSeconds=0)
    job = await lab.until(
        "early", lambda j: j["status"]["attempt"] == 2 and j["status"]["phase"] == "Running", "no restart"
    )
    pods = await lab.pods("drumline.dev/job=early")
    assert {node_of(p) for p in pods} == set(names)
    assert all("nodeAffinity" in p["spec"]["affinity"] for p in pods)  # pinned, now that nodes are known


async def test_a_scale_up_in_part_leaves_nothing(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(growing(lab, "partial", timeoutSeconds=10))
    job = await lab.until(
        "partial", lambda j: reason(j, "QuotaReserved") == ("False", "GangTimeout"), "it goes on waiting"
    )
    assert "of 2 pods were bound within 10 s" in job["status"]["attempts"][-1]["message"]
    assert job["status"]["attempts"][-1]["cause"] == "GangTimeout"
    assert await lab.until_pods(lambda names: not names) == set()
    assert "placement" not in job["status"]
