"""Pods that do not end, nodes that fail, and pods of others that are worth more."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.runtime.http_paths import resource_path
from e2e.cluster import nodes
from tests.integration.operator.lab import POOL, Lab, Manifest, condition, node_of, reason

pytestmark = pytest.mark.cluster

_WHOLE_HOSTS = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
_HANGS = {"hang-terminating": "true", "only-attempts": "1", "only-ranks": "1"}
_BACKOFF = {"initialSeconds": 0, "maxSeconds": 0}


async def _running(lab: Lab, name: str, hosts: str, *annotations: dict[str, str], **policy: Any) -> list[str]:
    """The nodes of a job of two whole hosts that runs."""
    await lab.nodes(hosts)
    failure = {"backoff": _BACKOFF, "terminationDeadlineSeconds": 2, **policy}
    job = lab.job(name, *annotations, accelerator=_WHOLE_HOSTS, failurePolicy=failure)
    await lab.apply(job)
    await lab.phase(name, "Running")
    return [node_of(p) for p in await lab.pods()]


async def _attempt(lab: Lab, name: str, number: int) -> Manifest:
    """The job once that attempt runs."""
    await lab.until(name, lambda j: j.get("status", {}).get("attempt") == number, f"no attempt {number}")
    return await lab.phase(name, "Running")


async def _evict(lab: Lab, pod: str) -> None:
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    await lab.client.request("POST", resource_path("pods", lab.namespace, pod, "eviction"), body=body)


async def _forced(lab: Lab) -> list[str]:
    return [e["message"] for e in await lab.list("events") if e["reason"] == "PodForceDeleted"]


async def test_a_pod_that_does_not_end_keeps_its_node_and_blocks_nothing(lab: Lab) -> None:
    before = await _running(lab, "stuck", "3 hosts of h100 in blocks of 3", _HANGS)
    await _evict(lab, "stuck-1-0-0")
    job = await _attempt(lab, "stuck", 3)
    evicted, blocked, _ = job["status"]["attempts"]
    assert (evicted["cause"], blocked["cause"]) == ("Evicted", "PlacementRace")
    assert (blocked["node"], blocked["rank"]) == (before[1], 1)
    left = {n["name"]: n["avoid"] for n in job["status"]["excludedNodes"]}
    assert left == {before[1]: "IfEverPossible"}
    pods = {p["metadata"]["name"]: node_of(p) for p in await lab.pods()}
    assert pods["stuck-1-0-1"] == before[1]  # it is there to this day
    assert pods["stuck-3-0-0"] == before[0]
    assert pods["stuck-3-0-1"] not in before
    assert await _forced(lab) == []
    await lab.delete("pods", "stuck-1-0-1", gracePeriodSeconds=0)


async def test_the_user_may_have_it_deleted_by_force(lab: Lab) -> None:
    before = await _running(lab, "bold", "2 hosts of h100 in blocks of 2", _HANGS, forceDelete="Always")
    await _evict(lab, "bold-1-0-0")
    await _attempt(lab, "bold", 2)
    assert [node_of(p) for p in await lab.pods()] == before
    (text,) = await _forced(lab)
    assert f"pod bold-1-0-1 did not end in time; node {before[1]} is there" in text


async def test_nobody_waits_for_the_pods_of_a_node_that_is_gone(lab: Lab) -> None:
    before = await _running(lab, "gone", "3 hosts of h100 in blocks of 3", _HANGS)
    await nodes.delete_node(lab.cluster, before[1])
    await _evict(lab, "gone-1-0-0")
    await _attempt(lab, "gone", 2)
    await lab.until_pods(lambda names: names == {"gone-2-0-0", "gone-2-0-1"})
    assert any(f"node {before[1]} is gone" in text for text in await _forced(lab))


async def test_a_node_that_is_cut_off_is_left_and_its_pods_are_not_forced(lab: Lab) -> None:
    """The taint manager deletes the pod after its 30 seconds, and no kubelet ends it."""
    before = await _running(lab, "cut-off", "3 hosts of h100 in blocks of 3")
    await nodes.lose_node(lab.cluster, before[1])
    job = await _attempt(lab, "cut-off", 2)
    found = job["status"]["attempts"][0]
    assert (found["cause"], found["node"]) == ("NodeLost", before[1])
    assert [(n["name"], n["avoid"]) for n in job["status"]["excludedNodes"]] == [(before[1], "IfPossible")]
    pods = {p["metadata"]["name"]: p for p in await lab.pods()}
    reasons = {
        c["reason"] for c in pods["cut-off-1-0-1"]["status"]["conditions"] if c["type"] == "DisruptionTarget"
    }
    assert reasons == {"DeletionByTaintManager"}
    await lab.settle("cut-off", 4.0)  # longer than the deadline
    assert await _forced(lab) == []
    await nodes.restore_node(lab.cluster, before[1])
    await lab.until_pods(lambda names: names == {"cut-off-2-0-0", "cut-off-2-0-1"})


async def test_a_pod_that_is_deleted_while_its_node_is_not_ready_went_with_it(lab: Lab) -> None:
    before = await _running(lab, "by-hand", "3 hosts of h100 in blocks of 3")
    await nodes.lose_node(lab.cluster, before[1])
    await lab.delete("pods", "by-hand-1-0-1")
    job = await _attempt(lab, "by-hand", 2)
    assert (job["status"]["attempts"][0]["cause"], job["status"]["restartCount"]) == ("NodeLost", 0)
    assert before[1] not in {node_of(p) for p in await lab.pods("drumline.dev/attempt=2")}


async def test_what_a_group_lost_is_replaced_in_its_scale_up_domain(lab: Lab) -> None:
    await lab.nodes("8 hosts of gb200 in blocks of 8 and subblocks of 4")
    job = lab.job(
        "grouped", accelerator={"type": "nvidia-gb200"}, workersPerSlice=6, parallelism={"tensor": 12}
    )
    pod = job["spec"]["template"]["spec"]
    pod["nodeSelector"] = {POOL: f"{lab.prefix}gb200"}
    pod["tolerations"] = [{"operator": "Exists"}]
    await lab.apply(job)
    await lab.phase("grouped", "Running")
    before = await _subblocks(lab, "drumline.dev/attempt=1")
    # each of the two has room for four
    assert [len(set(before[i : i + 3])) for i in (0, 3)] == [1, 1]
    assert before[0] != before[3]
    lost = node_of((await lab.pods())[4])
    await nodes.delete_node(lab.cluster, lost)
    await _evict(lab, "grouped-1-0-4")
    await _attempt(lab, "grouped", 2)
    assert await _subblocks(lab, "drumline.dev/attempt=2") == before
    assert lost not in {node_of(p) for p in await lab.pods("drumline.dev/attempt=2")}


async def _subblocks(lab: Lab, selector: str) -> list[str]:
    """The subblock of each pod's node."""
    found = [await lab.client.request("GET", f"/api/v1/nodes/{node_of(p)}") for p in await lab.pods(selector)]
    return [node["metadata"]["labels"]["cloud.google.com/gce-topology-subblock"] for node in found]


async def test_the_last_node_is_used_again_though_it_failed_the_job_twice(lab: Lab) -> None:
    """Two failures used to exclude it for an hour, with nothing else that could take the gang."""
    await lab.nodes("1 hosts of h100 in blocks of 1")
    failing = {"run-seconds": "1", "exit-code": "1", "only-attempts": "1,2", "only-ranks": "0"}
    await lab.apply(lab.job("alone", failing))
    job = await _attempt(lab, "alone", 3)
    (avoided,) = job["status"]["excludedNodes"]
    assert (avoided["avoid"], avoided["cause"]) == ("IfEverPossible", "ApplicationExit")
    placed = condition(job, "QuotaReserved")["message"]
    assert f"it failed on {avoided['name']} before, and there is no other place for it" in placed


async def test_a_node_that_is_replaced_is_not_used_again_and_not_held(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    rules = [{"name": "bad", "action": "ReplaceNode", "onExitCodes": {"operator": "In", "values": [7]}}]
    failing = {"run-seconds": "1", "exit-code": "7", "only-attempts": "1"}
    policy = {"rules": rules, "backoff": _BACKOFF}
    await lab.apply(
        lab.job("banned", failing, accelerator=_WHOLE_HOSTS, workersPerSlice=1, failurePolicy=policy)
    )
    job = await lab.until(
        "banned",
        lambda j: "not used: " in condition(j, "Restarting").get("message", ""),
        "it waits for nothing",
    )
    assert f"{lab.hosts[0]} (ApplicationExit) until " in condition(job, "Restarting")["message"]
    await lab.apply(lab.job("other", accelerator=_WHOLE_HOSTS, workersPerSlice=1))
    await lab.phase("other", "Running", seconds=90)  # long before the gang timeout


async def test_preemption_by_the_real_scheduler(lab: Lab) -> None:
    before = await _running(lab, "cheap", "2 hosts of h100 in blocks of 2")
    await _priority_class(lab)
    resources = {"limits": {"nvidia.com/gpu": "8"}}
    spec = {
        "priorityClassName": "test-precious",
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {"kubernetes.io/hostname": before[1]},
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "main", "image": "pause:3.10", "resources": resources}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "precious"}, "spec": spec}
    await lab.client.request("POST", resource_path("pods", lab.namespace), body=pod)
    job = await lab.until("cheap", lambda j: "cause" in j["status"]["attempts"][0], "nobody preempts it")
    found = job["status"]["attempts"][0]
    assert (found["cause"], found["action"], found["node"]) == ("Preempted", "Requeue", before[1])
    assert reason(await lab.settle("cheap"), "QuotaReserved")[0] == "False"
    await lab.delete("pods", "precious", gracePeriodSeconds=0)
    await _attempt(lab, "cheap", 2)


async def _priority_class(lab: Lab) -> None:
    body = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "test-precious"},
        "value": 1_000_000,
    }
    path = resource_path("priorityclasses", "", "test-precious")
    params = {"fieldManager": "test", "force": "true"}
    await lab.client.request(
        "PATCH", path, body=body, params=params, content_type="application/apply-patch+yaml"
    )
