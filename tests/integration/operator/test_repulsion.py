"""A gang keeps away from a pod whose required anti-affinity the real scheduler would hold against it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.operator.lab import Lab, condition, node_of

pytestmark = pytest.mark.cluster

WHOLE_HOST = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}


def loner(host: str) -> dict[str, Any]:
    """A small pod that wants no trainer beside it."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "trainer"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    containers = [{"name": "c", "image": "pause"}]
    return {
        "metadata": {"name": "loner"},
        "spec": {"nodeName": host, "affinity": affinity, "containers": containers},
    }


def trainer(lab: Lab, name: str, workers: int) -> dict[str, Any]:
    """A job whose pods the loner does not want beside it."""
    job = lab.job(name, accelerator=WHOLE_HOST, workersPerSlice=workers)
    job["spec"]["template"]["metadata"]["labels"] = {"app": "trainer"}
    return job


async def test_nodes_of_pods_that_refuse_the_gang_are_avoided_and_counted(lab: Lab) -> None:
    taken, free = await lab.nodes("2 hosts of h100 in blocks of 2")
    await lab.client.request("POST", f"/api/v1/namespaces/{lab.namespace}/pods", body=loner(taken))
    await lab.apply(trainer(lab, "pair", 2))
    job = await lab.until(
        "pair", lambda j: "anti-affinity" in condition(j, "QuotaReserved").get("message", "")
    )
    assert "1 with a pod whose anti-affinity keeps it off" in condition(job, "QuotaReserved")["message"]
    await lab.apply(trainer(lab, "one", 1))
    await lab.phase("one", "Running")
    assert [node_of(p) for p in await lab.pods("drumline.dev/job=one")] == [free]
    await lab.delete("trainingjobs", "one")
    await lab.delete("pods", "loner", gracePeriodSeconds=0)
    await lab.phase("pair", "Running")
