"""Feasibility against the real kube-scheduler: a pinned pod binds exactly when the core says that it fits.

Random nodes are filled step by step with random pods. In every step each node is asked for one pod, pinned as
the operator pins; the core's verdict comes from what the API server returned, through the same projections.

One difference is wanted and taken out: the core never uses a cordoned node, the scheduler does for a pod that
tolerates the cordon.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.feasibility import examine
from drumline.core.gang.pods import pin
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.projection_shape import shape_of
from drumline.core.gang.types import Node
from e2e.cluster.nodes_client import connect
from e2e.cluster.nodes_machines import FAKE_ANNOTATION, kubelet_conditions
from e2e.cluster.provider import Cluster

NODES = 24
STEPS = 6
GPU = "nvidia.com/gpu"
CORDON = "node.kubernetes.io/unschedulable"


@dataclass
class Ground:
    """The nodes of one test, and the runtime class that brings overhead."""

    cluster: Cluster
    namespace: str
    random: Random
    names: list[str]
    runtime_class: str

    def nodes(self) -> dict[str, dict[str, Any]]:
        items = self.cluster.get("nodes", "-l", f"differential={self.namespace}")["items"]
        return {item["metadata"]["name"]: item for item in items}

    def pods(self) -> dict[str, dict[str, Any]]:
        items = self.cluster.get("pods", "-n", self.namespace)["items"]
        return {item["metadata"]["name"]: item for item in items}


@pytest.fixture(params=[1, 2])
def ground(cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Iterator[Ground]:
    random, prefix = Random(request.param), uuid.uuid4().hex[:8]
    manifests = [random_node(random, f"{prefix}-{i}", namespace) for i in range(NODES)]
    found = Ground(
        cluster, namespace, random, [m["metadata"]["name"] for m in manifests], f"{prefix}-overhead"
    )
    cluster.apply(
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": found.runtime_class},
            "handler": "runc",
            "overhead": {"podFixed": {"cpu": "250m", "memory": "64Mi"}},
        }
    )
    asyncio.run(create_nodes(cluster, manifests))
    until(lambda: settled(found), "the nodes are ready and their taints what was asked for")
    yield found
    cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force", "--wait=false")
    cluster.kubectl("delete", "nodes", *found.names, "--wait=false")
    cluster.kubectl("delete", "runtimeclass", found.runtime_class)


def test_a_pinned_pod_binds_exactly_when_the_core_says_so(ground: Ground) -> None:
    nodes = {name: project_node(raw) for name, raw in ground.nodes().items()}
    assert all(node.ready for node in nodes.values())
    verdicts: list[bool] = []
    for step in range(STEPS):
        capacity = Capacity()
        for node in nodes.values():
            capacity.set_node(node)
        for raw in ground.pods().values():
            capacity.set_pod(project_pod(raw))
        asked = ask(ground, step)
        said = {name: verdict(capacity, nodes[name], pod) for name, pod in asked.items()}
        expected = {asked[name]["metadata"]["name"]: copies > 0 for name, (copies, _) in said.items()}
        done = decisions(ground, expected)
        for name, pod in asked.items():
            if nodes[name].unschedulable and tolerates_everything(pod):
                continue
            copies, obstacle = said[name]
            bound = done[pod["metadata"]["name"]]
            verdicts.append(copies > 0)
            text = f"the core said {copies} copies {obstacle!r}, the scheduler {bound!r}"
            assert (bound == "bound") is (copies > 0), f"{text}\n{json.dumps(pod['spec'])}\n{nodes[name]}"
        remove_rejected(ground)
    assert verdicts.count(True) > 20
    assert verdicts.count(False) > 20


def ask(ground: Ground, step: int) -> dict[str, dict[str, Any]]:
    """One random pod pinned to each node, as the API server returned it."""
    manifests = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"s{step}-{i}", "namespace": ground.namespace},
            "spec": pin(random_spec(ground.random, ground.runtime_class, ground.names), name),
        }
        for i, name in enumerate(ground.names)
    ]
    ground.cluster.kubectl(
        "create", "--validate=false", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests))
    )
    pods = ground.pods()
    return {name: pods[f"s{step}-{i}"] for i, name in enumerate(ground.names)}


def verdict(capacity: Capacity, node: Node, pod: dict[str, Any]) -> tuple[int, str]:
    """What the core says of a pod that is not bound (it may be by now, where `pod` was read)."""
    shape = shape_of({**pod["spec"], "nodeName": None})
    assert shape.unmodelled == ()
    return examine(node, shape, capacity.now.used(node.name))


def decisions(ground: Ground, expected: dict[str, bool]) -> dict[str, str]:
    """For each pod `bound`, or what the scheduler objects to.

    A first refusal is taken for final at once only where one was expected: when it tried first, the scheduler
    may not have seen the last change.
    """
    started = time.monotonic()
    while time.monotonic() < started + 180:
        patient = time.monotonic() < started + 60
        pods = ground.pods()
        found = {n: spoken(pods[n]) for n in expected}
        if all(said and (said == "bound" or not patient or not expected[n]) for n, said in found.items()):
            return found
        time.sleep(0.2)
    raise AssertionError(f"the scheduler never looked at {[n for n, said in found.items() if not said]}")


def spoken(pod: dict[str, Any]) -> str:
    """`bound`, the scheduler's objection, or nothing yet."""
    if pod["spec"].get("nodeName"):
        return "bound"
    facts = [c for c in pod["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
    return str(facts[0].get("message") or facts[0].get("reason")) if facts else ""


def remove_rejected(ground: Ground) -> None:
    rejected = [name for name, pod in ground.pods().items() if not pod["spec"].get("nodeName")]
    if rejected:
        ground.cluster.kubectl(
            "delete", "pods", "-n", ground.namespace, *rejected, "--grace-period=0", "--force"
        )


def random_node(random: Random, name: str, namespace: str) -> dict[str, Any]:
    labels = {"zone": random.choice("ab"), "size": str(random.randint(1, 9))}
    if random.random() < 0.5:
        labels["disk"] = random.choice(["ssd", "hdd"])
    taints = [
        {"key": key, "value": random.choice(["x", "y"]), "effect": random.choice(effects)}
        for key, effects in (("team", ["NoSchedule", "NoExecute"]), ("soft", ["PreferNoSchedule"]))
        if random.random() < 0.35
    ]
    resources = {
        "cpu": str(random.choice([2, 4, 8])),
        "memory": random.choice(["4Gi", "8000M", "16Gi"]),
        "ephemeral-storage": "10Gi",
        "hugepages-2Mi": random.choice(["0", "64Mi"]),
        "pods": str(random.choice([2, 4, 110])),
        **({GPU: random.choice(["1", "4", "8"])} if random.random() < 0.7 else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {**labels, "differential": namespace},
            "annotations": {FAKE_ANNOTATION: "fake"},
        },
        "spec": {"taints": taints, "unschedulable": random.random() < 0.1},
        "status": {"allocatable": resources, "capacity": resources, "conditions": kubelet_conditions()},
    }


def random_spec(random: Random, runtime_class: str, names: list[str]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "containers": [random_container(random, f"c{i}") for i in range(random.choice([1, 1, 2]))],
        "initContainers": [
            random_container(random, f"i{i}", init=True) for i in range(random.choice([0, 0, 1, 2]))
        ],
        "tolerations": [t for t in TOLERATIONS if random.random() < 0.3],
    }
    seen: set[tuple[int, str]] = set()
    for container in (*spec["containers"], *spec["initContainers"]):  # the API refuses a port twice in a pod
        ports = {(p["hostPort"], p["protocol"]) for p in container.get("ports", ())}
        if ports & seen:
            del container["ports"]
        seen |= ports
    if random.random() < 0.2:
        spec["nodeSelector"] = {"zone": random.choice("ab")}
    if random.random() < 0.4:
        terms = [random_term(random, names) for _ in range(random.choice([1, 2]))]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spec["affinity"] = {"nodeAffinity": required}
    if random.random() < 0.2:
        spec["runtimeClassName"] = runtime_class
    if random.random() < 0.15:
        spec["resources"] = {"requests": {"cpu": "7"}}
    return spec


def random_container(random: Random, name: str, *, init: bool = False) -> dict[str, Any]:
    requests = {"cpu": random.choice(["100m", "0.5", "1", "1500m"])}
    limits = {}
    if random.random() < 0.4:
        requests["memory"] = random.choice(["256Mi", "1G", "3Gi"])
    if random.random() < 0.2:
        requests["ephemeral-storage"] = "3Gi"
    if random.random() < 0.3:
        limits[GPU] = random.choice(["1", "2", "4"])
    if random.random() < 0.1:
        limits["hugepages-2Mi"] = "32Mi"
    container: dict[str, Any] = {
        "name": name,
        "image": "i",
        "resources": {"requests": requests, "limits": limits},
    }
    if init and random.random() < 0.5:
        container["restartPolicy"] = "Always"
    if random.random() < 0.2:
        port = {
            "containerPort": 80,
            "hostPort": random.choice([8080, 8081]),
            "protocol": random.choice(["TCP", "UDP"]),
        }
        container["ports"] = [
            port | ({"hostIP": random.choice(["10.0.0.1", "10.0.0.2"])} if random.random() < 0.5 else {})
        ]
    return container


def random_term(random: Random, names: list[str]) -> dict[str, Any]:
    chosen = [e for e in EXPRESSIONS if random.random() < 0.25] or [random.choice(EXPRESSIONS)]
    term: dict[str, Any] = {"matchExpressions": chosen}
    if random.random() < 0.2:
        field = {"key": "metadata.name", "operator": "NotIn", "values": [random.choice(names)]}
        term["matchFields"] = [field]
    return term


EXPRESSIONS = [
    {"key": "zone", "operator": "In", "values": ["a", "c"]},
    {"key": "disk", "operator": "NotIn", "values": ["hdd"]},
    {"key": "disk", "operator": "Exists"},
    {"key": "disk", "operator": "DoesNotExist"},
    {"key": "size", "operator": "Gt", "values": ["4"]},
    {"key": "size", "operator": "Lt", "values": ["7"]},
    {"key": "none", "operator": "Gt", "values": ["1"]},
]
TOLERATIONS = [
    {"key": "team", "operator": "Equal", "value": "x", "effect": "NoSchedule"},
    {"key": "team", "operator": "Exists", "effect": "NoExecute"},
    {"key": "team", "value": "y"},
    {"key": "", "operator": "Exists"},
]


def tolerates_everything(pod: dict[str, Any]) -> bool:
    return any(t.get("operator") == "Exists" and not t.get("key") for t in pod["spec"].get("tolerations", ()))


async def create_nodes(cluster: Cluster, manifests: list[dict[str, Any]]) -> None:
    async with connect(cluster.kubeconfig) as api:
        await api.create_nodes(manifests)


def settled(ground: Ground) -> bool:
    nodes = [project_node(raw) for raw in ground.nodes().values()]
    own = ("team", "soft", CORDON)
    cordons = all(any(t.key == CORDON for t in n.taints) == n.unschedulable for n in nodes)
    return cordons and all(n.ready and all(t.key in own for t in n.taints) for n in nodes)


def until(condition: Any, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.3)
