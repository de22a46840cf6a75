"""Causes whose signals their real producers raise on fake nodes, and what rules and budgets make of them."""

from __future__ import annotations

from typing import Any

import pytest

from drumline.runtime.http import MERGE_PATCH, STRATEGIC_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster import nodes
from tests.integration.operator.lab import Lab, Manifest, condition, node_of, reason

pytestmark = pytest.mark.cluster

_BACKOFF = {"initialSeconds": 0, "maxSeconds": 0}
_WHOLE_HOSTS = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
_ONCE = {"run-seconds": "1", "exit-code": "1", "only-attempts": "1", "only-ranks": "1"}


async def _running(lab: Lab, name: str, *descriptions: str, **spec: Any) -> list[Manifest]:
    """The pods of a job of two whole hosts that runs."""
    await lab.nodes(*(descriptions or ("3 hosts of h100 in blocks of 3",)))
    await lab.apply(lab.job(name, **{"accelerator": _WHOLE_HOSTS, **spec}))
    await lab.phase(name, "Running")
    return await lab.pods()


async def _first(lab: Lab, name: str) -> Manifest:
    """The first attempt of a job that has recovered."""
    await lab.until(name, lambda j: j.get("status", {}).get("attempt") == 2, "no second attempt")
    job = await lab.phase(name, "Running")
    found: Manifest = job["status"]["attempts"][0]
    assert job["status"]["restarts"] == [{"cause": found["cause"], "count": 1}]
    return found


async def _patch_node(lab: Lab, node: str, body: Manifest, subresource: str = "") -> None:
    kind = STRATEGIC_PATCH if subresource else MERGE_PATCH
    await lab.client.request("PATCH", f"/api/v1/nodes/{node}{subresource}", body=body, content_type=kind)


async def _taint(lab: Lab, node: str, key: str, effect: str) -> None:
    await _patch_node(lab, node, {"spec": {"taints": [{"key": key, "effect": effect}]}})


async def _evict(lab: Lab, pod: Manifest) -> None:
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    await lab.client.request("POST", resource_path("pods", lab.namespace, name, "eviction"), body=body)


async def test_an_eviction(lab: Lab) -> None:
    pods = await _running(lab, "evicted")
    await _evict(lab, pods[1])
    found = await _first(lab, "evicted")
    assert (found["cause"], found["rank"], found["action"]) == ("Evicted", 1, "RestartGang")
    assert (await lab.get("evicted"))["status"]["restartCount"] == 0
    assert found["detection"]["source"] == "observed"
    assert 0 <= found["detection"]["ms"] <= 60_000


async def test_an_eviction_from_a_node_that_is_to_be_terminated(lab: Lab) -> None:
    pods = await _running(lab, "leaving")
    await _taint(lab, node_of(pods[0]), "cloud.google.com/impending-node-termination", "NoSchedule")
    await _evict(lab, pods[0])
    assert (await _first(lab, "leaving"))["cause"] == "Maintenance"


async def test_a_taint_on_a_node_that_is_well(lab: Lab) -> None:
    pods = await _running(lab, "tainted")
    node = node_of(pods[1])
    await _taint(lab, node, "example.com/repair", "NoExecute")
    found = await _first(lab, "tainted")
    assert (found["cause"], found["node"]) == ("Evicted", node)
    assert node not in {node_of(p) for p in await lab.pods()}


async def test_a_node_that_is_deleted(lab: Lab) -> None:
    pods = await _running(lab, "bereft")
    await nodes.delete_node(lab.cluster, node_of(pods[1]))
    found = await _first(lab, "bereft")
    assert (found["cause"], found["rank"]) == ("NodeLost", 1)


async def test_a_device_fault_that_the_node_reports_replaces_it_at_once(lab: Lab) -> None:
    await lab.nodes("3 hosts of h100 in blocks of 3")
    await lab.apply(lab.job("faulty", {**_ONCE, "run-seconds": "4"}, accelerator=_WHOLE_HOSTS))
    await lab.phase("faulty", "Running")
    node = node_of((await lab.pods())[1])
    fault = {"type": "AcceleratedHardwareReady", "status": "False", "reason": "NvidiaXID79Error"}
    await _patch_node(lab, node, {"status": {"conditions": [fault]}}, "/status")
    found = await _first(lab, "faulty")
    assert (found["cause"], found["action"], found["node"]) == ("DeviceFault", "ReplaceNode", node)
    job = await lab.get("faulty")
    assert [n["name"] for n in job["status"]["excludedNodes"]] == [node]
    assert node not in {node_of(p) for p in await lab.pods()}


async def test_a_fatal_exit_code(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    codes = {"operator": "In", "values": [42]}
    policy = {"rules": [{"name": "bad-data", "action": "Fail", "onExitCodes": codes}]}
    await lab.apply(lab.job("fatal", {"run-seconds": "1", "exit-code": "42"}, failurePolicy=policy))
    job = await lab.phase("fatal", "Failed")
    assert reason(job, "Failed") == ("True", "FailedByRule")
    assert "rule bad-data" in condition(job, "Failed")["message"]
    assert job["status"]["attempt"] == 1


async def test_a_rule_requeues(lab: Lab) -> None:
    await lab.nodes("2 hosts of h100 in blocks of 2")
    rules = [{"name": "elsewhere", "action": "Requeue", "onReason": "^Err"}]
    await lab.apply(lab.job("again", _ONCE, failurePolicy={"rules": rules, "backoff": _BACKOFF}))
    found = await _first(lab, "again")
    assert (found["cause"], found["action"]) == ("ApplicationExit", "Requeue")


async def test_a_helper_whose_failure_is_ignored(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1", "1 hosts of cpu")
    job = lab.job(
        "going-on", failurePolicy={"rules": [{"name": "h", "action": "Ignore", "onRoles": ["eval"]}]}
    )
    failing = {"fake.drumline.dev/run-seconds": "1", "fake.drumline.dev/exit-code": "1"}
    pod = {**job["spec"]["template"]["spec"], "nodeSelector": {}}
    job["spec"]["helpers"] = [
        {"name": "eval", "template": {"metadata": {"annotations": failing}, "spec": pod}}
    ]
    await lab.apply(job)
    await lab.phase("going-on", "Running")
    await lab.settle("going-on", 4.0)
    job = await lab.get("going-on")
    assert (job["status"]["phase"], job["status"]["attempt"], job["status"]["restarts"]) == ("Running", 1, [])
    assert reason(job, "PodsReady")[0] == "True"
    events = await lab.list("events")
    assert [e["reason"] for e in events if e["reason"] == "FailureIgnored"] == ["FailureIgnored"]


async def test_an_image_that_is_missing_for_too_long(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    policy = {"imagePullGraceSeconds": 2}
    await lab.apply(lab.job("imageless", {"image-pull-fail": "true"}, failurePolicy=policy))
    job = await lab.phase("imageless", "Failed")
    assert reason(job, "Failed") == ("True", "ImageUnavailable")
    assert "ImagePullBackOff" in condition(job, "Failed")["message"]
    assert await lab.until_pods(lambda names: not names) == set()


async def test_the_same_rank_out_of_memory_twice(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await lab.apply(lab.job("hungry", {"run-seconds": "1", "oom": "true", "only-ranks": "1"}))
    job = await lab.phase("hungry", "Failed")
    assert reason(job, "Failed") == ("True", "OutOfMemoryRepeated")
    assert "rank 1 (slice 0, worker 1)" in condition(job, "Failed")["message"]
    assert [a["action"] for a in job["status"]["attempts"]] == ["RestartGang", "Fail"]


async def test_a_budget_of_one_cause(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100 in blocks of 1")
    budget = {"cause": "ApplicationExit", "maxRestarts": 1, "windowSeconds": 600}
    policy = {"backoff": _BACKOFF, "budgets": [budget]}
    await lab.apply(lab.job("spent", {"run-seconds": "0", "exit-code": "2"}, failurePolicy=policy))
    job = await lab.phase("spent", "Failed")
    assert reason(job, "Failed") == ("True", "RestartBudgetExceeded")
    (row,) = job["status"]["restarts"]
    assert (row["cause"], row["count"], len(row["recent"])) == ("ApplicationExit", 2, 2)
    assert job["status"]["restartCount"] == 0
