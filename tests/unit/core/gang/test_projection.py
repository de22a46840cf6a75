"""What is read from raw nodes and pods."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from drumline.core.gang.projection import project_node, project_pod, timestamp
from drumline.core.gang.projection_shape import shape_of
from drumline.core.gang.types import (
    Member,
    Node,
    NodeCondition,
    PodPhase,
    Requirement,
    Taint,
    Termination,
    Toleration,
)

Gi = 1024**3
NOON = "2026-11-21T12:00:00Z"


def container(name: str = "train", requests: Any = None, limits: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


def raw_pod(
    spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": "llama-3-1-15", "namespace": "team", "uid": "p-1", **metadata},
        "spec": {"containers": [container(requests={"cpu": "1"})], **(spec or {})},
        "status": status or {},
    }


@pytest.mark.parametrize(
    ("spec", "requests"),
    [
        ({"containers": [{"name": "a"}]}, {"pods": 1}),
        (
            {"containers": [container(requests={"cpu": "500m", "memory": "1Gi"})]},
            {"cpu": 500, "memory": Gi, "pods": 1},
        ),
        # a limit is the request that was not given
        (
            {"containers": [container(requests={"cpu": "1"}, limits={"cpu": "2", "nvidia.com/gpu": "8"})]},
            {"cpu": 1000, "nvidia.com/gpu": 8, "pods": 1},
        ),
        (
            {"containers": [container(requests={"cpu": "1"}), container("b", {"cpu": "2"})]},
            {"cpu": 3000, "pods": 1},
        ),
        # an init container needs as much as the whole pod later: the larger counts
        (
            {
                "containers": [container(requests={"cpu": "1"})],
                "initContainers": [container("i", {"cpu": "4"})],
            },
            {"cpu": 4000, "pods": 1},
        ),
        # a sidecar runs beside the containers, and beside init containers after it
        (
            {
                "containers": [container(requests={"cpu": "1"})],
                "initContainers": [
                    container("before", {"cpu": "5"}),
                    container("sidecar", {"cpu": "2"}, restartPolicy="Always"),
                    container("after", {"cpu": "4"}),
                ],
            },
            {"cpu": 6000, "pods": 1},
        ),
        (
            {
                "containers": [container(requests={"cpu": "1"})],
                "initContainers": [container("sidecar", {"cpu": "2"}, restartPolicy="Always")],
            },
            {"cpu": 3000, "pods": 1},
        ),
        (
            {"containers": [container(requests={"cpu": "1"})], "overhead": {"cpu": "250m"}},
            {"cpu": 1250, "pods": 1},
        ),
        # pod-level requests replace cpu and memory, never an accelerator
        (
            {
                "containers": [container(requests={"cpu": "1", "nvidia.com/gpu": "8"})],
                "resources": {"requests": {"cpu": "6", "memory": "2Gi"}},
                "overhead": {"memory": "1Gi"},
            },
            {"cpu": 6000, "memory": 3 * Gi, "nvidia.com/gpu": 8, "pods": 1},
        ),
        ({"containers": [container()], "resources": {"limits": {"cpu": "3"}}}, {"cpu": 3000, "pods": 1}),
        (
            {"containers": [container(requests={"cpu": "1"})], "resources": {"limits": {"cpu": "3"}}},
            {"cpu": 1000, "pods": 1},
        ),
        ({"containers": [container(requests={"cpu": "0", "nvidia.com/gpu": "0"})]}, {"pods": 1}),
    ],
)
def test_effective_requests(spec: dict[str, Any], requests: dict[str, int]) -> None:
    assert shape_of(spec).requests == tuple(sorted(requests.items()))


def test_a_pod_in_resize_counts_with_the_largest() -> None:
    status = {
        "conditions": [{"type": "PodResizeInProgress", "status": "True"}],
        "containerStatuses": [
            {"name": "train", "resources": {"requests": {"cpu": "3"}}, "allocatedResources": {"cpu": "2"}}
        ],
    }
    assert dict(project_pod(raw_pod(status=status)).requests)["cpu"] == 3000


def test_shape_of_constraints() -> None:
    spec = {
        "containers": [container(ports=[{"hostPort": 8471}, {"containerPort": 80}])],
        "initContainers": [container("i", ports=[{"hostPort": 1}])],
        "nodeSelector": {"b": "2", "a": "1"},
        "tolerations": [{"operator": "Exists"}, {"key": "k", "value": "v", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
                            "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}],
                        }
                    ]
                }
            }
        },
    }
    shape = shape_of(spec)
    assert shape.node_selector == (("a", "1"), ("b", "2"))
    assert shape.host_ports == (("0.0.0.0", "TCP", 8471),)
    assert shape.tolerations == (Toleration(operator="Exists"), Toleration("k", "Equal", "v", "NoSchedule"))
    assert shape.affinity == (
        (Requirement("zone", "In", ("a", "b")), Requirement("metadata.name", "In", ("n1",), is_field=True)),
    )
    assert shape.unmodelled == ()


def test_required_affinity_without_terms_matches_no_node() -> None:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    assert shape_of({"containers": [], "affinity": {"nodeAffinity": required}}).affinity == ((),)


def test_host_network_takes_every_container_port() -> None:
    spec = {"hostNetwork": True, "containers": [container(ports=[{"containerPort": 80, "protocol": "UDP"}])]}
    assert shape_of(spec).host_ports == (("0.0.0.0", "UDP", 80),)


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (
            {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            ["affinity.podAffinity"],
        ),
        ({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{}]}}}, []),
        (
            {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}},
            ["affinity.podAntiAffinity"],
        ),
        (
            {"topologySpreadConstraints": [{"whenUnsatisfiable": "DoNotSchedule"}] * 2},
            ["topologySpreadConstraints"],
        ),
        ({"topologySpreadConstraints": [{"whenUnsatisfiable": "ScheduleAnyway"}]}, []),
        (
            {"resourceClaims": [{"name": "x", "resourceClaimName": "c"}]},
            ["resourceClaims[x].resourceClaimName"],
        ),
        ({"resourceClaims": [{"name": "x", "resourceClaimTemplateName": "t"}]}, []),
        ({"schedulerName": "volcano"}, ["schedulerName"]),
        ({"schedulerName": "default-scheduler"}, []),
        ({"nodeName": "n1", "schedulingGates": [{"name": "g"}]}, ["nodeName", "schedulingGates"]),
        (
            {
                "volumes": [
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "e", "ephemeral": {}},
                ]
            },
            ["volumes.ephemeral:e", "volumes.persistentVolumeClaim:data"],
        ),
        ({"volumes": [{"name": "d", "emptyDir": {}}]}, []),
    ],
)
def test_what_is_not_modelled_is_named(spec: dict[str, Any], names: list[str]) -> None:
    assert shape_of({"containers": [container()], **spec}).unmodelled == tuple(names)


def test_each_claim_from_a_template_is_kept() -> None:
    claims = [{"name": n, "resourceClaimTemplateName": t} for n, t in (("a", "t"), ("b", "s"), ("c", "t"))]
    assert shape_of({"containers": [container()], "resourceClaims": claims}).claims == ("s", "t", "t")


def test_project_node() -> None:
    raw = {
        "metadata": {"name": "n1", "uid": "u", "labels": {"zone": "a"}},
        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}], "unschedulable": True},
        "status": {
            "allocatable": {"cpu": "8", "memory": "1Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
        },
    }
    allocatable = {"cpu": 8000, "memory": Gi, "pods": 110}
    ready = NodeCondition("Ready", "True", "KubeletReady")
    assert project_node(raw) == Node(
        "n1", "u", {"zone": "a"}, (Taint("k", "", "NoSchedule"),), allocatable, True, True, (ready,)
    )
    raw["status"]["conditions"][0]["status"] = "Unknown"
    assert not project_node(raw).ready


def test_project_pod_reads_identity_and_state() -> None:
    raw = raw_pod(
        {"nodeName": "n1"},
        {
            "phase": "Running",
            "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
            "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOON},
            ],
        },
        creationTimestamp="2026-11-21T11:59:58Z",
        ownerReferences=[{"controller": True, "apiVersion": "drumline.dev/v1alpha1", "uid": "u-1"}],
        labels={
            "drumline.dev/job": "llama",
            "drumline.dev/attempt": "3",
            "drumline.dev/slice": "1",
            "drumline.dev/worker": "15",
        },
    )
    pod = project_pod(raw)
    assert (pod.namespace, pod.name, pod.uid, pod.node, pod.bound) == (
        "team",
        "llama-3-1-15",
        "p-1",
        "n1",
        True,
    )
    assert (pod.phase, pod.ready, pod.deleting, pod.deleting_until) == (PodPhase.RUNNING, True, False, 0.0)
    assert pod.bound_at - pod.created_at == 2
    assert pod.bound_at == timestamp(NOON)
    assert pod.ips == ("10.0.0.1", "fd00::1")
    assert pod.member == Member("llama", "u-1", 3, "worker", 1, 15)


def test_project_pod_that_waits() -> None:
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes",
    }
    pod = project_pod(raw_pod(status={"conditions": [unschedulable], "nominatedNodeName": "n2"}))
    assert (pod.rejected, pod.node, pod.bound) == ("0/3 nodes", "n2", False)
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
    assert project_pod(raw_pod(status={"conditions": [gated]})).rejected == ""
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    starting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    pod = project_pod(raw_pod(status={"containerStatuses": [starting, waiting]}))
    assert (pod.waiting, pod.waiting_message) == ("ImagePullBackOff", "no such image")


def ended(name: str, code: int, at: str, reason: str = "Error") -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, "reason": reason, "finishedAt": at}}}


def test_termination_is_the_first_failure() -> None:
    status = {
        "phase": "Failed",
        "containerStatuses": [
            ended("log", 0, "2026-11-21T11:00:00Z", "Completed"),
            ended("late", 143, "2026-11-21T12:00:05Z"),
            ended("train", 137, NOON, "OOMKilled"),
        ],
    }
    pod = project_pod(raw_pod(status=status))
    assert pod.termination == Termination("train", 137, "OOMKilled", "", timestamp(NOON))


def test_a_container_that_was_started_again_says_how_it_had_ended() -> None:
    killed = {**ended("train", 137, NOON, "OOMKilled"), "restartCount": 1}
    killed = {**killed, "lastState": killed["state"], "state": {"running": {}}}
    pod = project_pod(raw_pod(status={"phase": "Running", "containerStatuses": [killed]}))
    assert pod.restarted == Termination("train", 137, "OOMKilled", "", timestamp(NOON))
    assert pod.termination is None
    first = {"name": "train", "state": {"running": {}}, "restartCount": 0}
    assert project_pod(raw_pod(status={"containerStatuses": [first]})).restarted is None


def test_a_sidecar_that_was_stopped_is_no_failure() -> None:
    spec = {"initContainers": [container("proxy", restartPolicy="Always"), container("fetch")]}
    status = {
        "phase": "Succeeded",
        "containerStatuses": [ended("train", 0, NOON, "Completed")],
        "initContainerStatuses": [ended("proxy", 143, NOON), ended("fetch", 0, NOON, "Completed")],
    }
    pod = project_pod(raw_pod(spec, status))
    assert pod.termination is not None
    assert (pod.termination.container, pod.termination.exit_code) == ("train", 0)


def test_disruption_and_eviction_are_kept() -> None:
    target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    pod = project_pod(
        raw_pod(
            status={"phase": "Failed", "reason": "Evicted", "conditions": [target]}, deletionTimestamp=NOON
        )
    )
    assert (pod.disruption, pod.reason, pod.deleting) == ("EvictionByEvictionAPI", "Evicted", True)
    assert pod.deleting_until == timestamp(NOON)  # the API server adds the grace to it


def test_why_kueue_deletes_a_pod_is_kept() -> None:
    target = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvictedDueToPreempted"}
    assert project_pod(raw_pod(status={"conditions": [target]})).disruption == target["reason"]
    assert project_pod(raw_pod(status={"conditions": [{**target, "status": "False"}]})).disruption == ""


def test_equal_pods_share_what_they_have_in_common() -> None:
    first, second = (project_pod(raw_pod({"nodeName": "n1"}, name=f"p-{i}")) for i in range(2))
    assert first.requests is second.requests
    assert first.node is second.node


def test_a_pod_takes_less_than_3_kb() -> None:
    pod = project_pod(raw_pod({"nodeName": "n1"}, {"podIPs": [{"ip": "10.0.0.1"}]}))
    own = [pod.name, pod.uid, pod.ips, *pod.ips, pod.created_at, pod.bound_at]
    assert sys.getsizeof(pod) + sum(sys.getsizeof(part) for part in own) < 3000


@pytest.mark.parametrize(
    ("status", "since"), [("True", 0.0), ("False", timestamp(NOON)), ("Unknown", timestamp(NOON))]
)
def test_since_when_a_node_is_not_ready(status: str, since: float) -> None:
    condition = {"type": "Ready", "status": status, "lastTransitionTime": NOON, "lastHeartbeatTime": NOON}
    node = project_node({"metadata": {"name": "n1"}, "status": {"conditions": [condition]}})
    assert (node.ready, node.unready_since) == (status == "True", since)
