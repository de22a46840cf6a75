"""Nodes, pods and gangs for tests, told in a few words; every detail has a sensible default."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from drumline.core.gang.capacity import Capacity
from drumline.core.gang.types import (
    GangRequest,
    Member,
    Node,
    Placement,
    PlacementPolicy,
    Pod,
    PodGroupRequest,
    PodPhase,
    PodShape,
    Refusal,
    Taint,
    Toleration,
)

GPU = "nvidia.com/gpu"
TPU = "google.com/tpu"
H100 = "nvidia-h100-80gb"
V5P = "tpu-v5p"
BLOCK = "cloud.google.com/gce-topology-block"
SUBBLOCK = "cloud.google.com/gce-topology-subblock"
NODEPOOL = "cloud.google.com/gke-nodepool"
GPU_TAINT = Taint(GPU, "present", "NoSchedule")
TOLERATE_GPU = Toleration(GPU, "Exists")


def node(name: str = "n1", *, block: str = "", subblock: str = "", pool: str = "", **more: Any) -> Node:
    """A node; resources as `gpus=8, cpu=64` (whole cores), anything else as of `Node`."""
    labels = {BLOCK: block, SUBBLOCK: subblock, NODEPOOL: pool, **more.pop("labels", {})}
    resources = {GPU: more.pop("gpus", 0), TPU: more.pop("tpus", 0)}
    allocatable = {
        "cpu": more.pop("cpu", 64) * 1000,
        "memory": 2**38,
        "pods": more.pop("pods", 110),
        **resources,
    }
    return Node(
        name,
        labels={k: v for k, v in labels.items() if v},
        allocatable={k: v for k, v in allocatable.items() if v} | more.pop("allocatable", {}),
        **more,
    )


def gpu_block(block: str, hosts: int, *, gpus: int = 8, per_subblock: int = 0, **more: Any) -> list[Node]:
    """`hosts` GPU hosts of one block, in subblocks of `per_subblock` hosts."""
    return [
        node(
            f"{block}-host-{i}",
            block=block,
            subblock=f"s{i // per_subblock}" if per_subblock else "",
            gpus=gpus,
            **more,
        )
        for i in range(hosts)
    ]


def tpu_pool(pool: str, hosts: int, **more: Any) -> list[Node]:
    """A multi-host TPU node pool: 4 chips a host."""
    return [node(f"{pool}-w{i}", pool=pool, tpus=4, **more) for i in range(hosts)]


def shape(*, gpus: int = 0, cpu: int = 1, **more: Any) -> PodShape:
    """A pod's shape; `cpu` in whole cores."""
    resources = {GPU: gpus, TPU: more.pop("tpus", 0), "cpu": cpu * 1000, "pods": 1}
    return PodShape(tuple(sorted((k, v) for k, v in resources.items() if v)), **more)


def pod(name: str = "p1", *, on: str = "", gpus: int = 0, gang: str = "", **more: Any) -> Pod:
    """A bound pod (unless `on` is empty); `gang` makes it a member of the gang with this uid."""
    member = Member(gang, gang, more.pop("attempt", 0), "worker", 0, more.pop("worker", 0)) if gang else None
    fields: dict[str, Any] = {
        "namespace": "team",
        "uid": f"uid-{name}",
        "requests": shape(gpus=gpus, cpu=more.pop("cpu", 1)).requests,
        "node": on,
        "bound": bool(on),
        "phase": PodPhase.RUNNING if on else PodPhase.PENDING,
        "member": member,
    }
    return Pod(name=name, **{**fields, **more})


def gang(
    uid: str = "g", workers: int = 1, *, gpus: int = 8, required: str = "", preferred: str = "", **more: Any
) -> GangRequest:
    """A gang of GPU pods: `workers` a slice. `required` and `preferred` name a topology level."""
    policy = PlacementPolicy.REQUIRED if required else PlacementPolicy.PREFERRED if preferred else None
    fields: dict[str, Any] = {
        "namespace": "team",
        "name": uid,
        "priority": 0,
        "queued_at": 0.0,
        "slices": 1,
        "worker": shape(gpus=gpus),
        "policy": policy or PlacementPolicy.UNCONSTRAINED,
        "level": required or preferred,
        "accelerator": H100 if gpus else "",
        "chips_per_worker": gpus,
    }
    return GangRequest(uid=uid, workers_per_slice=workers, **{**fields, **more})


def tpu_gang(uid: str = "t", *, hosts: int, slices: int = 1, **more: Any) -> GangRequest:
    """A gang of TPU slices, each of a whole node pool."""
    return gang(
        uid,
        hosts,
        **{
            "gpus": 0,
            "slices": slices,
            "worker": shape(tpus=4),
            "accelerator": V5P,
            "chips_per_worker": 4,
            "atomic_pool": True,
            **more,
        },
    )


def helper(role: str, count: int = 1, **more: Any) -> PodGroupRequest:
    """A CPU role beside the workers."""
    return PodGroupRequest(role, count, shape(**more))


def capacity(*nodes: Node | Iterable[Node], pods: Iterable[Pod] = ()) -> Capacity:
    """A cluster of these nodes (single or in lists) and pods."""
    result = Capacity()
    for entry in nodes:
        for each in [entry] if isinstance(entry, Node) else entry:
            result.set_node(each)
    for each_pod in pods:
        result.set_pod(each_pod)
    return result


def placed(answer: Placement | Refusal) -> list[str]:
    """The nodes of a placement; fails the test with the refusal's message."""
    assert isinstance(answer, Placement), answer
    return list(answer.nodes)


def refusal(answer: Placement | Refusal) -> Refusal:
    """The refusal; fails the test with the placement."""
    assert isinstance(answer, Refusal), answer
    return answer


def free_gpus(state: Capacity) -> Mapping[str, int]:
    """What is left of every node's GPUs."""
    return {n: v.allocatable.get(GPU, 0) - state.now.used(n).get(GPU, 0) for n, v in state.nodes.items()}
