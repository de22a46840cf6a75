"""All or nothing: gangs that fit run whole, gangs that do not wait whole, and say why."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.integration.operator.lab import POOL, Lab, condition, node_of, reason

pytestmark = pytest.mark.cluster

WHOLE_HOST = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}


async def test_of_two_gangs_that_do_not_fit_together_one_runs_whole_and_one_waits_whole(lab: Lab) -> None:
    await lab.nodes("16 hosts of h100 in blocks of 4")
    jobs = [
        lab.job(n, accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 1}, workersPerSlice=96)
        for n in "ab"
    ]
    await asyncio.gather(*(lab.apply(j) for j in jobs))
    await lab.phases("ab", ["Queued", "Running"])
    assert len(await lab.pods()) == 96
    waiting = next(j for j in [await lab.get(n) for n in "ab"] if j["status"]["phase"] == "Queued")
    assert reason(waiting, "QuotaReserved") == ("False", "InsufficientAccelerators")
    running = "b" if waiting["metadata"]["name"] == "a" else "a"
    await lab.delete("trainingjobs", running)
    await lab.phase(waiting["metadata"]["name"], "Running")


async def test_many_small_gangs_at_once_never_share_an_accelerator(lab: Lab) -> None:
    await lab.nodes("10 hosts of h100 in blocks of 5")
    jobs = [lab.job(f"small-{i}") for i in range(40)]
    await asyncio.gather(*(lab.apply(j) for j in jobs))
    for job in jobs:
        found = await lab.phase(job["metadata"]["name"], "Running")
        assert found["status"]["attempt"] == 1
    places = Counter(node_of(p) for p in await lab.pods())
    assert sum(places.values()) == 80
    assert set(places.values()) == {8}


async def test_a_gang_keeps_to_one_block_and_a_refusal_names_the_largest(lab: Lab) -> None:
    await lab.nodes("4 hosts of h100 in blocks of 2")
    required = {"placement": {"policy": "Required", "level": "block"}}
    await lab.apply(lab.job("fits", accelerator=WHOLE_HOST, scheduling=required))
    await lab.phase("fits", "Running")
    blocks = set()
    for pod in await lab.pods():
        node = await lab.client.request("GET", f"/api/v1/nodes/{node_of(pod)}")
        blocks.add(node["metadata"]["labels"]["cloud.google.com/gce-topology-block"])
    assert len(blocks) == 1
    await lab.apply(lab.job("wide", accelerator=WHOLE_HOST, workersPerSlice=3, scheduling=required))
    job = await lab.until(
        "wide", lambda j: condition(j, "QuotaReserved").get("reason") not in (None, "Queued")
    )
    message = condition(job, "QuotaReserved")["message"]
    assert "24 × nvidia-h100-80gb in one block" in message
    assert "16" in message


async def test_a_waiting_job_that_is_deleted_leaves_no_ghost_behind(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await lab.apply(lab.job("holder", accelerator=WHOLE_HOST))
    await lab.phase("holder", "Running")
    await lab.apply(lab.job("waiting", accelerator=WHOLE_HOST))
    await lab.until(
        "waiting", lambda j: condition(j, "QuotaReserved").get("reason") == "InsufficientAccelerators"
    )
    await lab.delete("trainingjobs", "waiting")
    await lab.delete("trainingjobs", "holder")
    await asyncio.sleep(1)
    await lab.apply(lab.job("next", accelerator=WHOLE_HOST))
    job = await lab.phase("next", "Running")
    assert (job["status"]["attempt"], job["status"]["workers"]["ready"]) == (1, 2)


async def test_a_quota_for_seven_of_eight_creates_no_pod(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"pods": "7"}}}
    await lab.client.request("POST", f"/api/v1/namespaces/{lab.namespace}/resourcequotas", body=quota)
    await lab.apply(lab.job("eight", workersPerSlice=8))
    job = await lab.until(
        "eight", lambda j: condition(j, "QuotaReserved").get("reason") == "NamespaceQuotaExceeded"
    )
    assert "pods: the gang needs 8, 7 are free" in condition(job, "QuotaReserved")["message"]
    await lab.settle("eight", 1.0)
    assert await lab.pods() == []


async def test_a_priority_class_orders_the_queue_and_is_not_handed_to_pods(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    high = {"metadata": {"name": f"{lab.namespace}-high"}, "value": 1000}
    await lab.client.request("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body=high)
    await lab.apply(lab.job("first", accelerator=WHOLE_HOST, workersPerSlice=1))
    await lab.phase("first", "Running")
    await lab.apply(lab.job("low", accelerator=WHOLE_HOST, workersPerSlice=1))
    await lab.until("low", lambda j: "phase" in j.get("status", {}))
    await lab.apply(
        lab.job(
            "urgent", accelerator=WHOLE_HOST, workersPerSlice=1, priorityClassName=f"{lab.namespace}-high"
        )
    )
    await lab.until("urgent", lambda j: "phase" in j.get("status", {}))
    await lab.delete("trainingjobs", "first")
    await lab.phase("urgent", "Running")
    assert (await lab.get("low"))["status"]["phase"] == "Queued"
    pods = await lab.pods("drumline.dev/job=urgent")
    assert {p["spec"]["priorityClassName"] for p in pods} == {"drumline-worker"}


async def test_capacity_that_somebody_else_takes_ends_in_a_requeue_and_no_partial_gang(lab: Lab) -> None:
    """A pod bound behind our back, between placement and binding: the scheduler rejects one of the gang."""
    (host,) = await lab.nodes("1 hosts of h100 in blocks of 1")
    cluster = lab.cluster.embedded
    assert cluster is not None
    # One that is started anew knows of the thief before it binds anything; one that goes on may not.
    cluster.kill("kube-scheduler")
    try:
        await lab.apply(lab.job("raced", scheduling={"gangTimeoutSeconds": 10}, workersPerSlice=8))
        await lab.until("raced", lambda j: condition(j, "Admitted").get("status") == "True")
        await lab.until_pods(lambda pods: len(pods) == 8)
        await lab.client.request("POST", f"/api/v1/namespaces/{lab.namespace}/pods", body=_thief(host))
    finally:
        cluster.processes["kube-scheduler"].start()
    # the condition says it too, until the queue has something newer to say
    job = await lab.until("raced", lambda j: j["status"]["attempts"][-1].get("cause") == "GangTimeout")
    assert "Insufficient nvidia.com/gpu" in job["status"]["attempts"][-1]["message"]
    await lab.settle("raced", 1.0)
    assert [p["metadata"]["name"] for p in await lab.pods()] == []


async def test_tpu_slices_take_whole_pools(lab: Lab) -> None:
    await lab.nodes("3 v5p 2x2x2 slices")
    job = lab.job("tpu", framework="jax", accelerator={"type": "tpu-v5p", "topology": "2x2x2"}, slices=2)
    del job["spec"]["workersPerSlice"]
    job["spec"]["template"]["spec"].pop("nodeSelector")
    await lab.apply(job)
    await lab.phase("tpu", "Running")
    pools: dict[str, set[str]] = {}
    for pod in await lab.pods():
        node = await lab.client.request("GET", f"/api/v1/nodes/{node_of(pod)}")
        pools.setdefault(pod["metadata"]["labels"]["drumline.dev/slice"], set()).add(
            node["metadata"]["labels"][POOL]
        )
    assert all(len(p) == 1 for p in pools.values())
    assert len(set.union(*pools.values())) == 2


def _thief(host: str) -> dict[str, object]:
    container = {"name": "c", "image": "pause", "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    return {
        "metadata": {"name": "thief"},
        "spec": {"nodeName": host, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }
