"""What a job asks of admission."""

from dataclasses import replace
from typing import Any

import pytest

from drumline.api.catalog import Catalog
from drumline.api.status import ExcludedNode
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.capacity import Capacity
from drumline.core.gang.placement import place
from drumline.core.gang.types import GangRequest, Placement, PlacementPolicy, Refusal
from drumline.core.sim.cluster import described
from drumline.core.training.observation import JobMeta
from drumline.core.training.request import gang_request

JOB = JobMeta("ml", "llama", "uid-1", 1, "1", 0.0)
CONTAINER = {"name": "train", "image": "img", "resources": {"requests": {"cpu": "1500m", "memory": "2Gi"}}}
TEMPLATE = {"spec": {"containers": [CONTAINER]}}
GPU = {"accelerator": {"type": "nvidia-h100-80gb"}, "slices": 2, "workersPerSlice": 3}


def request(manifest: dict[str, Any], **more: Any) -> GangRequest:
    spec = TrainingJobSpec.model_validate({"template": TEMPLATE, **manifest})
    return gang_request(JOB, spec, Catalog.default(), queued_at=7.0, **more)


def test_says_who_asks_for_what_and_since_when() -> None:
    found = request(GPU, priority=5, excluded=[ExcludedNode(name="bad", until="")], preferred_nodes={0: "n0"})
    assert (found.uid, found.namespace, found.name) == ("uid-1", "ml", "llama")
    assert (found.priority, found.queued_at) == (5, 7.0)
    assert (found.slices, found.workers_per_slice, found.workers, found.pods) == (2, 3, 6, 6)
    assert (found.accelerator, found.chips_per_worker) == ("nvidia-h100-80gb", 8)
    assert (found.excluded, found.preferred_nodes) == (frozenset({"bad"}), {0: "n0"})


def test_a_worker_requests_what_its_pod_will() -> None:
    worker = request(GPU).worker
    assert dict(worker.requests) == {"cpu": 1500, "memory": 2 << 30, "nvidia.com/gpu": 8, "pods": 1}
    assert worker.node_selector == (("cloud.google.com/gke-accelerator", "nvidia-h100-80gb"),)
    assert "nvidia.com/gpu" in {t.key for t in worker.tolerations}
    assert worker.unmodelled == ()


def test_a_claim_brings_the_accelerators_in_place_of_the_extended_resource() -> None:
    spec = {**TEMPLATE["spec"], "resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "eight"}]}
    accelerator = {"type": "nvidia-h100-80gb", "resourceClaim": "gpu"}
    found = request({**GPU, "accelerator": accelerator, "template": {"spec": spec}})
    assert "nvidia.com/gpu" not in dict(found.worker.requests)
    assert "nvidia.com/gpu" in {t.key for t in found.worker.tolerations}
    assert (found.worker.claims, found.chips_claim, found.chips_per_worker) == (("eight",), "eight", 8)
    assert found.claims
    assert not request(GPU).claims


def test_helpers_are_groups_of_their_own_in_the_order_of_the_spec() -> None:
    helper = {"name": "loader", "replicas": 4, "template": TEMPLATE}
    found = request({**GPU, "helpers": [helper, {"name": "eval", "template": TEMPLATE}]})
    assert [(h.role, h.count) for h in found.helpers] == [("loader", 4), ("eval", 1)]
    assert dict(found.helpers[0].shape.requests) == {"cpu": 1500, "memory": 2 << 30, "pods": 1}
    assert found.pods == 11


@pytest.mark.parametrize(
    ("accelerator", "workers", "atomic"),
    [
        ({"type": "tpu-v5p", "topology": "4x4x4"}, 16, True),
        ({"type": "tpu-v6e", "topology": "2x2"}, 1, False),
        ({"type": "tpu-v6e", "topology": "2x4"}, 2, True),
        ({"type": "tpu-v6e", "topology": "2x4", "chipsPerWorker": 8}, 1, False),
        ({"type": "nvidia-h100-80gb"}, 1, False),
        ({"type": "cpu"}, 1, False),
    ],
)
def test_a_tpu_slice_of_several_hosts_takes_a_whole_pool(
    accelerator: dict[str, Any], workers: int, atomic: bool
) -> None:
    found = request({"accelerator": accelerator})
    assert (found.workers_per_slice, found.atomic_pool) == (workers, atomic)


def test_topology_wishes_are_handed_on() -> None:
    wish = {"scheduling": {"placement": {"policy": "Required", "level": "block"}}}
    found = request({**GPU, **wish})
    assert (found.policy, found.level) == (PlacementPolicy.REQUIRED, "block")
    assert (request(GPU).policy, request(GPU).level) == (PlacementPolicy.UNCONSTRAINED, "")


@pytest.mark.parametrize(
    ("accelerator", "workers", "parallelism", "group"),
    [
        ({"type": "nvidia-h100-80gb"}, 4, None, (1, "", True)),
        ({"type": "nvidia-h100-80gb"}, 4, {"tensor": 8}, (1, "", True)),
        ({"type": "nvidia-h100-80gb", "chipsPerWorker": 2}, 4, {"tensor": 4, "expert": 2}, (4, "host", True)),
        ({"type": "nvidia-h100-80gb"}, 4, {"tensor": 16, "scaleUp": "Preferred"}, (2, "host", False)),
        ({"type": "nvidia-gb200"}, 4, {"expert": 16}, (4, "", True)),
        ({"type": "tpu-v5p", "topology": "4x4x4"}, None, {"tensor": 16}, (4, "host", True)),
    ],
    ids=str,
)
def test_groups_of_several_workers_stay_in_a_scale_up_domain(
    accelerator: dict[str, Any],
    workers: int | None,
    parallelism: dict[str, Any] | None,
    group: tuple[int, str, bool],
) -> None:
    raw = {"accelerator": accelerator, "workersPerSlice": workers, "parallelism": parallelism}
    found = request({name: value for name, value in raw.items() if value is not None})
    assert (found.group_workers, found.group_level, found.group_required) == group


def multislice(slices: int) -> GangRequest:
    return request({"accelerator": {"type": "tpu-v5p", "topology": "2x2x4"}, "slices": slices})


def tpu_cluster(*groups: tuple[int, str, str]) -> Capacity:
    """Node pools, each of one slice: how many, of which type and topology."""
    pools = [{"pools": n, "accelerator": kind, "topology": topology} for n, kind, topology in groups]
    nodes, errors = described({"nodes": pools}, Catalog.default())
    assert not errors
    capacity = Capacity()
    for node in nodes:
        capacity.set_node(replace(node, allocatable={**node.allocatable, "cpu": 64_000, "memory": 2**38}))
    return capacity


def test_all_slices_of_a_gang_are_in_pools_of_its_type_and_topology() -> None:
    """Pools of the same size, but of another type or shape, are none."""
    others = ((2, "tpu-v4", "2x2x4"), (2, "tpu-v5e", "4x4"), (3, "tpu-v5p", "2x4x4"))
    short = tpu_cluster((1, "tpu-v5p", "2x2x4"), *others)
    answer = place(multislice(2), short)
    assert isinstance(answer, Refusal)
    assert "needs 2 × tpu-v5p node pool of 4 nodes, each whole and free; 1 is" in answer.message
    enough = tpu_cluster((3, "tpu-v5p", "2x2x4"), *others)
    placed = place(multislice(3), enough)
    assert isinstance(placed, Placement)
    entry = Catalog.default()["tpu-v5p"]
    alike = [enough.nodes[name].labels for name in placed.nodes]
    assert all(entry.node_selector("2x2x4").items() <= labels.items() for labels in alike)
    pools = [labels["cloud.google.com/gke-nodepool"] for labels in alike]
    assert [len(set(pools[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1]
    assert len(set(pools)) == 3
