"""Gangs that Kubernetes' own scheduler lets in: all of a PodGroup, or nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from drumline.core.gang.backends.base import GangFacts, RoleFacts
from drumline.core.gang.backends.native import VERSIONS as NATIVE_ADAPTERS
from drumline.core.gang.backing import lost_of_object
from drumline.core.gang.names import Owner
from drumline.core.gang.types import PlacementPolicy
from drumline.runtime.errors import ApiError
from drumline.runtime.http_paths import resource_path
from e2e.cluster import build
from e2e.cluster.components import GANG_VERSIONS, native_gangs
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import leading, make_lab
from tests.integration.operator.lab import SECONDS, Lab, condition, node_of, reason

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

KUBERNETES = build.kubernetes()
VERSIONS = GANG_VERSIONS[KUBERNETES]
CLUSTER = native_gangs(KUBERNETES)
GROUPS = f"podgroups.{VERSIONS[0]}.scheduling.k8s.io"
NATIVE = {"backend": "native"}
GANG: dict[str, Any] = {
    "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 8},
    "workersPerSlice": 4,
    "scheduling": NATIVE,
}


@pytest.fixture(scope="module")
def native(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the feature gates on, and an operator there."""
    log = tmp_path_factory.mktemp("native") / "log"
    with leading(own_cluster.kubeconfig, log):
        yield own_cluster


@pytest.fixture
async def gangs(native: Cluster) -> AsyncIterator[Lab]:
    """A lab on it."""
    async with make_lab(native) as made:
        yield made


async def _groups(lab: Lab) -> dict[str, Any]:
    return {g["metadata"]["name"]: g for g in await lab.list(GROUPS)}


async def _until_groups(lab: Lab, names: set[str]) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while (found := await _groups(lab)).keys() != names:
        assert time.monotonic() < deadline, f"{sorted(found)}, not {sorted(names)}"
        await asyncio.sleep(0.1)
    return found


def _says(part: str) -> Any:
    return lambda j: part in condition(j, "PodsReady").get("message", "")


async def test_four_on_three_nodes_bind_nothing_and_a_fourth_node_lets_all_in(gangs: Lab) -> None:
    await gangs.nodes("3 hosts of h100")
    await gangs.apply(gangs.job("train", {"run-seconds": "3"}, **GANG))
    job = await gangs.until("train", _says("PodGroup train-1 has no nodes"), "the scheduler says no")
    assert reason(job, "PodsReady") == ("False", "InsufficientAccelerators")
    assert reason(job, "QuotaReserved")[0] == "True"
    assert "left to native" in condition(job, "QuotaReserved")["message"]
    assert job["status"].get("admittedAt") is None, "time in somebody's queue is no admitted time"
    pods = await gangs.pods()
    assert [node_of(p) for p in pods] == [""] * 4
    assert {p["spec"]["schedulingGroup"]["podGroupName"] for p in pods} == {"train-1"}
    assert (await _groups(gangs))["train-1"]["spec"]["schedulingPolicy"] == {"gang": {"minCount": 4}}
    await gangs.nodes("4 hosts of h100")
    done = await gangs.phase("train", "Succeeded")
    assert len({node_of(p) for p in await gangs.pods()}) == 4
    assert (done["status"]["attempt"], done["status"]["restarts"]) == (1, [])


async def test_a_required_block_is_kept(gangs: Lab) -> None:
    await gangs.nodes("6 hosts of h100 in blocks of 3")
    required = {**NATIVE, "placement": {"policy": "Required", "level": "block"}}
    await gangs.apply(gangs.job("near", **{**GANG, "scheduling": required}))
    await gangs.until("near", _says("PodGroup near-1 has no nodes"), "the scheduler says no")
    assert [node_of(p) for p in await gangs.pods()] == [""] * 4
    await gangs.nodes("8 hosts of h100 in blocks of 4")
    await gangs.phase("near", "Running")
    nodes = [await gangs.client.request("GET", f"/api/v1/nodes/{node_of(p)}") for p in await gangs.pods()]
    assert len(nodes) == 4
    assert len({n["metadata"]["labels"]["cloud.google.com/gce-topology-block"] for n in nodes}) == 1


async def test_a_gang_has_the_priority_of_its_pods(gangs: Lab) -> None:
    name = f"class-{gangs.namespace}"
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    rank = {"value": 500, "preemptionPolicy": "Never"}
    await asyncio.to_thread(gangs.cluster.apply, {**kind, "metadata": {"name": name}, **rank})
    try:
        await gangs.nodes("4 hosts of h100")
        await gangs.apply(gangs.job("ranked", **GANG, priorityClassName=name))
        await gangs.phase("ranked", "Running")
        assert {p["spec"]["priority"] for p in await gangs.pods()} == {500}
        group = (await _groups(gangs))["ranked-1"]["spec"]
        assert group.get("priority", 500) == 500, "where groups have one"
    finally:
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}"
        await gangs.client.request("DELETE", path)


async def test_what_a_higher_class_evicts_is_a_preempted_gang(gangs: Lab) -> None:
    name = f"urgent-{gangs.namespace}"
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
    await asyncio.to_thread(gangs.cluster.apply, {**kind, "metadata": {"name": name}, "value": 1000})
    try:
        await gangs.nodes("4 hosts of h100")
        await gangs.apply(gangs.job("yields", **GANG))
        await gangs.phase("yields", "Running")
        spec = (await gangs.pods())[0]["spec"]
        taken = {key: spec[key] for key in ("nodeSelector", "tolerations")}
        resources = spec["containers"][0]["resources"]
        containers = [{"name": "c", "image": "pause", "resources": resources}]
        urgent = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "urgent", "namespace": gangs.namespace},
            "spec": {**taken, "priorityClassName": name, "containers": containers},
        }
        await gangs.client.request("POST", resource_path("pods", gangs.namespace), body=urgent)
        job = await gangs.until("yields", lambda j: j["status"]["attempt"] == 2, "a second attempt")
        assert job["status"]["attempts"][0]["cause"] == "Preempted"
        assert job["status"]["restartCount"] == 0, "its budget is not spent"
        await gangs.until("yields", _says("PodGroup yields-2 has no nodes"), "it waits as a whole")
    finally:
        path = f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}"
        await gangs.client.request("DELETE", path)


@pytest.mark.parametrize("version", VERSIONS)
async def test_groups_are_stored_as_sent(gangs: Lab, version: str) -> None:
    (adapter,) = (found for found in NATIVE_ADAPTERS if found.version == version)
    owner = Owner("drumline.dev/v1alpha1", "TrainingJob", gangs.namespace, "job", "uid-1")
    facts = GangFacts(
        owner,
        "job-1",
        1,
        (RoleFacts("worker", 4, 0),),
        policy=PlacementPolicy.REQUIRED,
        topology_key="example.com/rack",
        pod_class="drumline-worker",
    )
    (group,) = adapter.objects(facts)
    path = resource_path(f"podgroups.{version}.scheduling.k8s.io", gangs.namespace)
    strict = {"dryRun": "All", "fieldValidation": "Strict"}
    made = await gangs.client.request("POST", path, body=dict(group), params=strict)
    assert lost_of_object(group, made) == ""


async def test_a_failure_restarts_the_whole_gang_as_a_new_group(gangs: Lab) -> None:
    await gangs.nodes("4 hosts of h100")
    failing = {"run-seconds": "1", "exit-code": "7", "only-ranks": "2", "only-attempts": "1"}
    await gangs.apply(gangs.job("again", failing, **GANG))
    job = await gangs.until("again", lambda j: j.get("status", {}).get("attempt") == 2)
    ended = job["status"]["attempts"][0]
    assert (ended["exitCode"], ended["rank"]) == (7, 2)
    assert ended["node"].startswith(gangs.prefix), "where it ran, though it was pinned to no node"
    await gangs.phase("again", "Running")
    await _until_groups(gangs, {"again-2"})
    await gangs.delete("trainingjobs", "again")
    await _until_groups(gangs, set())


async def test_a_field_that_is_dropped_lets_no_part_of_a_gang_run(gangs: Lab) -> None:
    await gangs.nodes("4 hosts of h100")
    async with _dropping(gangs, "true"):
        await gangs.apply(gangs.job("never", **GANG))
        job = await gangs.until("never", lambda j: reason(j, "QuotaReserved")[1] == "BackendFieldDropped")
        assert "drops spec.schedulingGroup of a pod" in condition(job, "QuotaReserved")["message"]
        assert (await gangs.pods(), job["status"].get("attempt", 0)) == ([], 0)
    await gangs.delete("trainingjobs", "never")
    async with _dropping(gangs, "!has(request.dryRun) || !request.dryRun"):
        await gangs.apply(gangs.job("once", **GANG))
        job = await gangs.until("once", lambda j: reason(j, "QuotaReserved")[1] == "CreateRefused")
        assert "dropped spec.schedulingGroup" in condition(job, "QuotaReserved")["message"]
        assert job["status"]["attempts"][0]["finishedAt"]
        await gangs.until_pods(lambda pods: not pods)
        await _until_groups(gangs, set())


@asynccontextmanager
async def _dropping(lab: Lab, when: str) -> AsyncIterator[None]:
    """Pods of the lab's namespace lose the field while this lasts; `when` is CEL."""
    name = f"drop-{lab.namespace}"
    path, version = "/apis/admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    own = {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}}
    policy = {
        "reinvocationPolicy": "Never",
        "failurePolicy": "Fail",
        "matchConstraints": {"namespaceSelector": own, "resourceRules": [rule]},
        "matchConditions": [
            {"name": "when", "expression": when},
            {"name": "has", "expression": "has(object.spec.schedulingGroup)"},
        ],
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {"expression": '[JSONPatch{op: "remove", path: "/spec/schedulingGroup"}]'},
            }
        ],
    }
    for kind, spec in (("Policy", policy), ("PolicyBinding", {"policyName": name})):
        resource = f"{path}/mutatingadmission{'policies' if kind == 'Policy' else 'policybindings'}"
        body = {
            "apiVersion": version,
            "kind": f"MutatingAdmission{kind}",
            "metadata": {"name": name},
            "spec": spec,
        }
        await lab.client.request("POST", resource, body=body)
    try:
        await _until_dropped(lab, dry=when == "true")
        yield
    finally:
        for resource in ("mutatingadmissionpolicybindings", "mutatingadmissionpolicies"):
            await lab.client.request("DELETE", f"{path}/{resource}/{name}")


async def _until_dropped(lab: Lab, *, dry: bool) -> None:
    """Until the API server has heard of the policy."""
    path = f"/api/v1/namespaces/{lab.namespace}/pods"
    spec = {"schedulingGroup": {"podGroupName": "none"}, "containers": [{"name": "c", "image": "pause"}]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "probe-"}, "spec": spec}
    deadline = time.monotonic() + SECONDS
    while True:
        made = await lab.client.request("POST", path, body=body, params={"dryRun": "All"} if dry else None)
        if not dry:
            await lab.client.request(
                "DELETE", f"{path}/{made['metadata']['name']}", params={"gracePeriodSeconds": 0}
            )
        if "schedulingGroup" not in made["spec"]:
            return
        assert time.monotonic() < deadline, "the policy takes no effect"
        await asyncio.sleep(0.1)


async def test_what_a_scheduler_that_knows_no_gangs_binds_in_part_is_given_back(
    gangs: Lab, native: Cluster
) -> None:
    await gangs.nodes("3 hosts of h100")
    with _scheduler_without_gangs(native):
        scheduling = {**NATIVE, "gangTimeoutSeconds": 10}
        await gangs.apply(gangs.job("blind", **{**GANG, "scheduling": scheduling}))
        job = await gangs.until("blind", lambda j: reason(j, "QuotaReserved")[1] == "GangTimeout")
        message = condition(job, "QuotaReserved")["message"]
        assert "3 of 4 pods were bound and none followed for 10 s" in message
        assert "GenericWorkload and, before 1.37, GangScheduling on?" in message
        await gangs.until_pods(lambda pods: not pods)


@contextmanager
def _scheduler_without_gangs(cluster: Cluster) -> Iterator[None]:
    assert cluster.embedded is not None
    scheduler = cluster.embedded.processes["kube-scheduler"]
    usual = scheduler.argv
    try:
        scheduler.kill()
        gates = "--feature-gates"
        scheduler.argv = [a.replace("=true", "=false") if a.startswith(gates) else a for a in usual]
        assert scheduler.argv != usual
        scheduler.start()
        yield
    finally:
        scheduler.kill()
        scheduler.argv = usual
        scheduler.start()


async def test_a_queue_says_who_admits_its_jobs(gangs: Lab) -> None:
    await gangs.nodes("4 hosts of h100")
    path, name = "/apis/drumline.dev/v1alpha1/acceleratorqueues", f"q-{gangs.namespace}"
    body = {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "AcceleratorQueue",
        "metadata": {"name": name},
        "spec": {
            "backend": "native",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": gangs.namespace}},
        },
    }
    await gangs.client.request("POST", path, body=body)
    try:
        failing = {"run-seconds": "1", "exit-code": "7", "only-attempts": "1"}
        await gangs.apply(gangs.job("queued", failing, **{**GANG, "scheduling": {}, "queue": name}))
        await gangs.until("queued", lambda j: j.get("status", {}).get("attempt") == 2)
        job = await gangs.phase("queued", "Running")
        assert job["status"]["placement"]["backend"] == "native", "after a restart as well"
        assert job["status"].get("queue") is None, "quotas are our own admission's"
        await _until_groups(gangs, {"queued-2"})
    finally:
        await gangs.client.request("DELETE", f"{path}/{name}")


async def test_what_no_other_scheduler_does_is_refused_by_name(gangs: Lab) -> None:
    with pytest.raises(ApiError, match=r"spares and elastic need scheduling\.backend builtin"):
        await gangs.apply(gangs.job("spare", **{**GANG, "spares": 1}))


async def test_without_the_gate_a_condition_says_so_and_no_part_of_a_gang_runs(lab: Lab) -> None:
    await lab.nodes("4 hosts of h100")
    await lab.apply(lab.job("dropped", **GANG))
    job = await lab.until("dropped", lambda j: reason(j, "QuotaReserved")[1] == "BackendUnavailable")
    assert f"PodGroup scheduling.k8s.io/{VERSIONS[-1]}" in condition(job, "QuotaReserved")["message"]
    job = await lab.settle("dropped")
    assert (await lab.pods(), job["status"].get("attempt", 0)) == ([], 0)


async def test_a_full_node_evicts_nobody_for_a_pinned_pod(lab: Lab) -> None:
    await lab.nodes("1 hosts of h100")
    await lab.apply(lab.job("holds", workersPerSlice=8))
    await lab.phase("holds", "Running")
    before = {p["metadata"]["uid"] for p in await lab.pods()}
    await lab.apply(lab.job("wants", workersPerSlice=8))
    job = await lab.until("wants", lambda j: reason(j, "QuotaReserved")[1] == "InsufficientAccelerators")
    assert job["status"]["phase"] == "Queued"
    # one that gets past our own admission all the same: pinned to the full node, of the class that pods carry
    (host,) = lab.hosts
    pod = (await lab.pods())[0]
    spec = {
        "priorityClassName": pod["spec"]["priorityClassName"],
        "affinity": pod["spec"]["affinity"],
        "tolerations": pod["spec"]["tolerations"],
        "containers": [
            {"name": "c", "image": "pause", "resources": pod["spec"]["containers"][0]["resources"]}
        ],
    }
    metadata = {"name": "late", "namespace": lab.namespace}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    path = f"/api/v1/namespaces/{lab.namespace}/pods"
    await lab.client.request("POST", path, body=body)
    await _until_rejected(lab, f"{path}/late")
    after = {p["metadata"]["uid"]: p for p in await lab.pods()}
    assert after.keys() == before
    assert not any("deletionTimestamp" in p["metadata"] for p in after.values())
    assert {node_of(p) for p in after.values()} == {host}


async def _until_rejected(lab: Lab, path: str) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        status = (await lab.client.request("GET", path))["status"]
        said = {c["type"]: c for c in status.get("conditions", ())}.get("PodScheduled", {})
        if said.get("reason") == "Unschedulable":
            assert not status.get("nominatedNodeName"), "nobody is to go for it"
            return
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.1)
