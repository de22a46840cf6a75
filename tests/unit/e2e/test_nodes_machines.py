"""Machine types and the nodes that GKE makes of them."""

from math import prod
from typing import Any

import pytest

from e2e.cluster.nodes import describe, hosts_of_slice
from e2e.cluster.nodes_machines import Machine, kinds, pod_cidr

GKE = "cloud.google.com"


def node(description: str) -> dict[str, Any]:
    return describe(description)[0]


def allocatable(description: str) -> dict[str, str]:
    found: dict[str, str] = node(description)["status"]["allocatable"]
    return found


@pytest.mark.parametrize(
    ("machine", "millicores", "mib"),
    [
        # Worked by hand: 4 vCPU keep 60+10+5+5; 15 GiB keep 1024 + 819.2 + 716.8 and the threshold's 100 MiB.
        (Machine("n1-standard-4", 0, 4, 15), 3920, 12700),
        # 208 vCPU keep 60+10+10+510; 1872 GiB keep 1 + 0.8 + 0.8 + 6.72 + 34.88 GiB and 100 MiB.
        (Machine("a3-highgpu-8g", 8, 208, 1872), 207410, 1871567),
        (Machine("one", 0, 1, 4), 940, 2972),
    ],
)
def test_what_gke_leaves_to_pods(machine: Machine, millicores: int, mib: int) -> None:
    assert machine.allocatable_millicores == millicores
    assert machine.allocatable_mib == mib


@pytest.mark.parametrize(
    ("kind", "accelerator", "machine", "gpus", "cpu"),
    [
        ("l4", "nvidia-l4", "g2-standard-96", "8", "95690m"),
        ("a100", "nvidia-tesla-a100", "a2-highgpu-8g", "8", "95690m"),
        ("a100-80gb", "nvidia-a100-80gb", "a2-ultragpu-8g", "8", "95690m"),
        ("h100", "nvidia-h100-80gb", "a3-highgpu-8g", "8", "207410m"),
        ("h100-mega", "nvidia-h100-mega-80gb", "a3-megagpu-8g", "8", "207410m"),
        ("h200", "nvidia-h200-141gb", "a3-ultragpu-8g", "8", "223370m"),
        ("b200", "nvidia-b200", "a4-highgpu-8g", "8", "223370m"),
        ("gb200", "nvidia-gb200", "a4x-highgpu-4g", "4", "139580m"),
    ],
)
def test_gpu_hosts(kind: str, accelerator: str, machine: str, gpus: str, cpu: str) -> None:
    made = node(f"2 hosts of {kind}")
    labels = made["metadata"]["labels"]
    assert labels[f"{GKE}/gke-accelerator"] == accelerator
    assert labels[f"{GKE}/gke-accelerator-count"] == gpus
    assert labels["node.kubernetes.io/instance-type"] == machine
    assert labels[f"{GKE}/machine-family"] == machine.split("-", maxsplit=1)[0]
    assert made["status"]["allocatable"]["nvidia.com/gpu"] == gpus
    assert made["status"]["allocatable"]["cpu"] == cpu
    assert {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"} in made["spec"]["taints"]


@pytest.mark.parametrize(
    ("description", "accelerator", "machine", "chips"),
    [
        ("a v4 2x2x1 slice", "tpu-v4-podslice", "ct4p-hightpu-4t", 4),
        ("a v5e 1x1 slice", "tpu-v5-lite-podslice", "ct5lp-hightpu-1t", 1),
        ("a v5e 2x2 slice", "tpu-v5-lite-podslice", "ct5lp-hightpu-4t", 4),
        ("a v5e 2x4 slice", "tpu-v5-lite-podslice", "ct5lp-hightpu-8t", 8),
        ("a v5e 16x16 slice", "tpu-v5-lite-podslice", "ct5lp-hightpu-4t", 4),
        ("a v5p 4x4x4 slice", "tpu-v5p-slice", "ct5p-hightpu-4t", 4),
        ("a v6e 1x1 slice", "tpu-v6e-slice", "ct6e-standard-1t", 1),
        ("a v6e 2x4 slice", "tpu-v6e-slice", "ct6e-standard-8t", 8),
        ("a v6e 4x8 slice", "tpu-v6e-slice", "ct6e-standard-4t", 4),
        ("a tpu7x 1x1x1 slice", "tpu7x", "tpu7x-standard-1t", 1),
        ("a tpu7x 2x2x2 slice", "tpu7x", "tpu7x-standard-4t", 4),
    ],
)
def test_tpu_hosts(description: str, accelerator: str, machine: str, chips: int) -> None:
    made = node(description)
    labels = made["metadata"]["labels"]
    assert labels[f"{GKE}/gke-tpu-accelerator"] == accelerator
    assert labels[f"{GKE}/gke-tpu-topology"] == description.split()[2]
    assert labels["node.kubernetes.io/instance-type"] == machine
    assert made["status"]["allocatable"]["google.com/tpu"] == str(chips)
    assert made["spec"]["taints"] == [{"key": "google.com/tpu", "value": "present", "effect": "NoSchedule"}]
    assert not any(key.startswith(f"{GKE}/gce-topology") for key in labels)


def test_every_topology_listed_is_a_whole_number_of_hosts() -> None:
    for kind in kinds().values():
        for topology in kind.topologies:
            chips = prod(int(size) for size in topology.split("x"))
            assert hosts_of_slice(kind, topology) * kind.machine_for(topology).chips == chips


def test_gb200_is_arm() -> None:
    made = node("2 hosts of gb200")
    assert made["metadata"]["labels"]["kubernetes.io/arch"] == "arm64"
    assert made["status"]["nodeInfo"]["architecture"] == "arm64"
    assert {"key": "kubernetes.io/arch", "value": "arm64", "effect": "NoSchedule"} in made["spec"]["taints"]
    assert made["status"]["allocatable"]["hugepages-64Ki"] == "0"


def test_cpu_hosts_have_no_taint_and_no_accelerator() -> None:
    made = node("2 hosts of cpu")
    assert "taints" not in made["spec"]
    assert not any("accelerator" in key or "gpu" in key for key in made["metadata"]["labels"])
    assert set(made["status"]["allocatable"]) == {
        *("cpu", "memory", "ephemeral-storage", "pods", "hugepages-2Mi", "hugepages-1Gi"),
    }


def test_only_the_newer_gpus_are_labelled_with_their_place() -> None:
    placed = {
        name
        for name, kind in kinds().items()
        if kind.family == "gpu"
        and f"{GKE}/gce-topology-block" in node(f"1 host of {name}")["metadata"]["labels"]
    }
    assert placed == {"h100", "h100-mega", "h200", "b200", "gb200"}


def test_labels_that_every_node_has() -> None:
    for description in ("1 host of h100", "1 host of cpu", "a v6e 4x4 slice"):
        made = node(description)
        labels, name = made["metadata"]["labels"], made["metadata"]["name"]
        assert made["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
        assert labels["kubernetes.io/hostname"] == name
        assert labels["topology.kubernetes.io/zone"].startswith(labels["topology.kubernetes.io/region"])
        assert labels[f"{GKE}/gke-nodepool"]
        assert {"type": "Hostname", "address": name} in made["status"]["addresses"]
        assert [c["status"] for c in made["status"]["conditions"] if c["type"] == "Ready"] == ["True"]


def test_allocatable_is_never_more_than_capacity() -> None:
    for kind in kinds().values():
        for machine in (kind.machine, *kind.single.values()):
            assert 0 < machine.allocatable_millicores < machine.vcpus * 1000
            assert 0 < machine.allocatable_mib < machine.memory_gib * 1024


def test_ephemeral_storage_and_pods() -> None:
    assert allocatable("1 host of h100")["ephemeral-storage"] == "47093746742"
    assert allocatable("1 host of h100")["pods"] == "110"


def test_pod_ranges_do_not_leave_the_fake_network() -> None:
    assert pod_cidr(0) == "10.128.0.0/24"
    assert pod_cidr(32767) == "10.255.255.0/24"
    assert pod_cidr(32768) == "10.128.0.0/24"


def test_a_manifest_is_made_anew_each_time() -> None:
    first, second = describe("1 host of h100"), describe("1 host of h100")
    first[0]["spec"]["taints"].clear()
    assert second[0]["spec"]["taints"]
