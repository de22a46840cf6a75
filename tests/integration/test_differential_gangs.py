"""Placement against the real kube-scheduler: every pod of a gang that the core places binds where it was placed.

Random nodes in blocks and subblocks are filled step by step with random gangs: of slices, with a policy and a level,
with groups that must share a subblock. What was placed is created whole, pinned as the operator pins.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.pods import pin
from drumline.core.gang.projection import project_node, project_pod
from drumline.core.gang.projection_shape import shape_of
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy
from e2e.cluster.nodes_machines import FAKE_ANNOTATION, kubelet_conditions
from e2e.cluster.provider import Cluster
from tests.integration.test_differential_scheduler import GPU, Ground, create_nodes, decisions, until

BLOCK = "cloud.google.com/gce-topology-block"
SUBBLOCK = "cloud.google.com/gce-topology-subblock"
NODES = 18
GANGS = 20


@pytest.fixture(params=[1, 2])
def ground(cluster: Cluster, namespace: str, request: pytest.FixtureRequest) -> Iterator[Ground]:
    random, prefix = Random(request.param), uuid.uuid4().hex[:8]
    manifests = [random_node(random, f"{prefix}-{i}", namespace) for i in range(NODES)]
    found = Ground(cluster, namespace, random, [m["metadata"]["name"] for m in manifests], "")
    asyncio.run(create_nodes(cluster, manifests))
    until(lambda: all(project_node(raw).ready for raw in found.nodes().values()), "the nodes are ready")
    yield found
    cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force", "--wait=false")
    cluster.kubectl("delete", "nodes", *found.names, "--wait=false")


def test_every_pod_of_a_gang_binds_where_it_was_placed(ground: Ground) -> None:
    nodes = [project_node(raw) for raw in ground.nodes().values()]
    placed, torn = 0, 0
    for number in range(GANGS):
        capacity = Capacity()
        for node in nodes:
            capacity.set_node(node)
        for raw in ground.pods().values():
            capacity.set_pod(project_pod(raw))
        spec = random_spec(ground.random, ground.namespace)
        request = random_gang(ground.random, number, spec)
        answer = place(request, capacity)
        if not isinstance(answer, Placement):
            continue
        placed += 1
        torn += request.group_workers > 1
        create(ground, number, spec, answer)
        done = decisions(ground, {f"g{number}-{i}": True for i in range(request.workers)})
        assert set(done.values()) == {"bound"}, (request, answer, done)
        units = [capacity.nodes[n].labels.get(SUBBLOCK, n) for n in answer.nodes]
        for first in range(0, request.workers, request.group_workers):
            assert len(set(units[first : first + request.group_workers])) == 1, (request, answer)
    assert placed > 5
    assert torn > 2


def create(ground: Ground, number: int, spec: dict[str, Any], placement: Placement) -> None:
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"g{number}-{i}", "namespace": ground.namespace},
            "spec": pin(spec, node),
        }
        for i, node in enumerate(placement.nodes)
    ]
    ground.cluster.kubectl("create", "-f", "-", stdin="\n---\n".join(map(json.dumps, pods)))


def random_gang(random: Random, number: int, spec: dict[str, Any]) -> GangRequest:
    group = random.choice([1, 2, 3])
    policy = random.choice(list(PlacementPolicy))
    free = policy is PlacementPolicy.UNCONSTRAINED
    return GangRequest(
        uid=f"g{number}",
        namespace="team",
        name=f"g{number}",
        priority=0,
        queued_at=0.0,
        slices=random.choice([1, 1, 2]),
        workers_per_slice=group * random.choice([1, 2]),
        worker=shape_of(spec),
        policy=policy,
        level="" if free else random.choice(["block", "subblock"]),
        group_workers=group,
    )


def random_spec(random: Random, namespace: str) -> dict[str, Any]:
    ports = [{"containerPort": 80, "hostPort": 8080}] if random.random() < 0.2 else []
    requests = {"cpu": random.choice(["500m", "1", "1500m"]), GPU: random.choice(["1", "2", "4"])}
    container = {
        "name": "c",
        "image": "i",
        "ports": ports,
        "resources": {"requests": requests, "limits": {GPU: requests[GPU]}},
    }
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "nodeSelector": {"differential": namespace},
        "containers": [container],
    }
    if random.random() < 0.5:
        spec["tolerations"] = [{"key": "team", "operator": "Exists"}]
    return spec


def random_node(random: Random, name: str, namespace: str) -> dict[str, Any]:
    labels = {"differential": namespace}
    if random.random() < 0.9:
        labels[BLOCK] = random.choice("ab")
        labels |= {SUBBLOCK: f"{labels[BLOCK]}-{random.choice('xyz')}"} if random.random() < 0.9 else {}
    taints = [{"key": "team", "value": "x", "effect": "NoSchedule"}] if random.random() < 0.2 else []
    resources = {"cpu": random.choice(["4", "8"]), "memory": "16Gi", "pods": "20", GPU: random.choice("48")}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {FAKE_ANNOTATION: "fake"}},
        "spec": {"taints": taints},
        "status": {"allocatable": resources, "capacity": resources, "conditions": kubelet_conditions()},
    }
