"""Machine types as data, and the ``v1.Node`` that GKE makes of a machine.

What GKE leaves to pods, by the rules of its "plan node sizes" page:

* CPU: it keeps 6 % of the first core, 1 % of the next, 0.5 % of the next two, 0.25 % of the rest.
* Memory: it keeps 25 % of the first 4 GiB, 20 % of the next 4, 10 % of the next 8, 6 % of the next 112, 2 % of
  the rest, and 100 MiB as the eviction threshold.

A fake node's memory is the machine type's; a real kernel keeps a little of it for itself.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

KUBELET_VERSION = "v1.36.3"
FAKE_ANNOTATION = "kwok.x-k8s.io/node"
FAKE_VALUE = "fake"

GPU_RESOURCE = "nvidia.com/gpu"
TPU_RESOURCE = "google.com/tpu"

_GKE = "cloud.google.com"
_MEMORY_STEPS = ((4, 25), (4, 20), (8, 10), (112, 6))
_EVICTION_MIB = 100
_CPU_STEPS = ((1, 600), (1, 100), (2, 50))
_CPU_REST = 25
_PODS = 110
_NETWORK = {
    "type": "NetworkUnavailable",
    "status": "False",
    "reason": "RouteCreated",
    "message": "NodeController create implicit route",
}


@dataclass(frozen=True)
class Machine:
    """A machine type: accelerator chips, virtual CPUs, memory in GiB."""

    name: str
    chips: int
    vcpus: int
    memory_gib: int

    @property
    def allocatable_millicores(self) -> int:
        """What GKE leaves to pods, in thousandths of a core."""
        kept, rest = 0, self.vcpus
        for cores, per_core in _CPU_STEPS:
            kept += min(cores, rest) * per_core
            rest = max(0, rest - cores)
        # The steps are in hundredths of a millicore a core, to stay with integers.
        return self.vcpus * 1000 - (kept + rest * _CPU_REST) // 10

    @property
    def allocatable_mib(self) -> int:
        """What GKE leaves to pods, in MiB."""
        kept, rest = _EVICTION_MIB * 100, self.memory_gib * 1024
        for gib, percent in _MEMORY_STEPS:
            kept += min(gib * 1024, rest) * percent
            rest = max(0, rest - gib * 1024)
        return self.memory_gib * 1024 - -(-(kept + rest * 2) // 100)


@dataclass(frozen=True)
class Kind:
    """One table of ``nodes.toml``: hosts of one accelerator.

    ``family`` is gpu, tpu or cpu; ``block`` and ``subblock`` count hosts, 0 where GKE gives no such label;
    ``cubes`` is the largest number of 4x4x4 cubes in a slice, 0 where only ``topologies`` are made.
    """

    name: str
    family: str
    machine: Machine
    zone: str
    accelerator: str = ""
    arch: str = "amd64"
    aliases: tuple[str, ...] = ()
    block: int = 0
    subblock: int = 0
    topologies: tuple[str, ...] = ()
    cubes: int = 0
    single: Mapping[str, Machine] = field(default_factory=dict)

    def machine_for(self, topology: str) -> Machine:
        """The machine type that slices of this topology are made of."""
        return self.single.get(topology, self.machine)

    def has_topology(self, topology: str) -> bool:
        """Whether Google makes slices of this shape."""
        if topology in self.topologies:
            return True
        sizes = [int(size) for size in topology.split("x")]
        cubes = len(sizes) == 3 and sizes == sorted(sizes) and all(size and size % 4 == 0 for size in sizes)
        return cubes and prod(sizes) // 64 <= self.cubes


@dataclass(frozen=True)
class Host:
    """One host to be: its names, its place in the fabric (empty = no such label), its slice's topology."""

    name: str
    index: int
    pool: str
    kind: Kind
    machine: Machine
    tpu_topology: str = ""
    block: str = ""
    subblock: str = ""


@cache
def kinds() -> Mapping[str, Kind]:
    """All kinds by name."""
    found: dict[str, Kind] = {}
    for family in ("gpu", "tpu", "cpu"):
        for name, table in _data()[family].items():
            found[name] = _kind(family, name, table)
    return found


def _kind(family: str, name: str, table: Mapping[str, Any]) -> Kind:
    plain = {
        key: table[key]
        for key in ("zone", "accelerator", "arch", "block", "subblock", "cubes")
        if key in table
    }
    return Kind(
        name=name,
        family=family,
        machine=Machine(**table["machine"]),
        aliases=tuple(table["aliases"]),
        topologies=tuple(table.get("topologies", ())),
        single={topology: Machine(**machine) for topology, machine in table.get("single", {}).items()},
        **plain,
    )


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads(Path(__file__).with_name("nodes.toml").read_text())


def manifest(host: Host) -> dict[str, Any]:
    """The whole ``v1.Node``, ready status included: the API server keeps a new node's status."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": host.name,
            "labels": _labels(host),
            "annotations": {FAKE_ANNOTATION: FAKE_VALUE},
        },
        "spec": {
            "podCIDR": pod_cidr(host.index),
            "podCIDRs": [pod_cidr(host.index)],
            "providerID": f"gce://fake/{host.kind.zone}/{host.name}",
            **({"taints": taints} if (taints := _taints(host.kind)) else {}),
        },
        "status": _status(host),
    }


def pod_cidr(index: int) -> str:
    """256 addresses for the pods of the host with this index; distinct for the first 32768 hosts."""
    return f"10.{128 + index // 256 % 128}.{index % 256}.0/24"


def _labels(host: Host) -> dict[str, str]:
    kind, machine = host.kind, host.machine
    region = kind.zone.rsplit("-", 1)[0]
    return {
        "beta.kubernetes.io/arch": kind.arch,
        "beta.kubernetes.io/instance-type": machine.name,
        "beta.kubernetes.io/os": "linux",
        f"{_GKE}/gke-boot-disk": "pd-balanced",
        f"{_GKE}/gke-container-runtime": "containerd",
        f"{_GKE}/gke-cpu-scaling-level": str(machine.vcpus),
        f"{_GKE}/gke-logging-variant": "DEFAULT",
        f"{_GKE}/gke-max-pods-per-node": str(_PODS),
        f"{_GKE}/gke-memory-gb-scaling-level": str(machine.memory_gib),
        f"{_GKE}/gke-nodepool": host.pool,
        f"{_GKE}/gke-os-distribution": "cos",
        f"{_GKE}/gke-provisioning": "standard",
        f"{_GKE}/gke-stack-type": "IPV4",
        f"{_GKE}/machine-family": machine.name.split("-", 1)[0],
        f"{_GKE}/private-node": "false",
        "failure-domain.beta.kubernetes.io/region": region,
        "failure-domain.beta.kubernetes.io/zone": kind.zone,
        "kubernetes.io/arch": kind.arch,
        "kubernetes.io/hostname": host.name,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": machine.name,
        "topology.gke.io/zone": kind.zone,
        "topology.kubernetes.io/region": region,
        "topology.kubernetes.io/zone": kind.zone,
        **_accelerator_labels(host),
    }


def _accelerator_labels(host: Host) -> dict[str, str]:
    count = {f"{_GKE}/gke-accelerator-count": str(host.machine.chips)}
    if host.kind.family == "tpu":
        return {
            **count,
            f"{_GKE}/gke-tpu-accelerator": host.kind.accelerator,
            f"{_GKE}/gke-tpu-topology": host.tpu_topology,
        }
    if host.kind.family == "cpu":
        return {}
    fabric = {
        f"{_GKE}/gce-topology-block": host.block,
        f"{_GKE}/gce-topology-subblock": host.subblock,
        f"{_GKE}/gce-topology-host": f"{host.name}-chassis",
    }
    return {
        **count,
        f"{_GKE}/gke-accelerator": host.kind.accelerator,
        f"{_GKE}/gke-gpu": "true",
        f"{_GKE}/gke-gpu-driver-version": "default",
        **(fabric if host.block else {}),
    }


def _taints(kind: Kind) -> list[dict[str, str]]:
    taints = []
    if kind.family != "cpu":
        key = GPU_RESOURCE if kind.family == "gpu" else TPU_RESOURCE
        taints.append({"key": key, "value": "present", "effect": "NoSchedule"})
    if kind.arch == "arm64":
        taints.append({"key": "kubernetes.io/arch", "value": "arm64", "effect": "NoSchedule"})
    return taints


def _status(host: Host) -> dict[str, Any]:
    address = f"172.{16 + host.index // 65536 % 16}.{host.index // 256 % 256}.{host.index % 256}"
    return {
        "capacity": _resources(host, f"{host.machine.vcpus}", f"{host.machine.memory_gib}Gi", "capacity"),
        "allocatable": _resources(
            host,
            f"{host.machine.allocatable_millicores}m",
            f"{host.machine.allocatable_mib}Mi",
            "allocatable",
        ),
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": host.name},
        ],
        "conditions": [*kubelet_conditions(), dict(_NETWORK)],
        "nodeInfo": _node_info(host.kind),
    }


def _resources(host: Host, cpu: str, memory: str, disk: str) -> dict[str, str]:
    huge = ("64Ki", "2Mi", "32Mi", "1Gi") if host.kind.arch == "arm64" else ("2Mi", "1Gi")
    resource = {"gpu": GPU_RESOURCE, "tpu": TPU_RESOURCE}.get(host.kind.family)
    return {
        "cpu": cpu,
        "memory": memory,
        "ephemeral-storage": _data()["boot_disk"][disk],
        "pods": str(_PODS),
        **{f"hugepages-{size}": "0" for size in huge},
        **({resource: str(host.machine.chips)} if resource else {}),
    }


def kubelet_conditions() -> list[dict[str, str]]:
    """The conditions that a healthy kubelet reports, without times."""
    healthy = {
        "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
        "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    }
    return [
        {"type": name, "status": status, "reason": reason, "message": message}
        for name, (status, reason, message) in healthy.items()
    ]


def _node_info(kind: Kind) -> dict[str, str]:
    return {
        "architecture": kind.arch,
        "operatingSystem": "linux",
        "kubeletVersion": KUBELET_VERSION,
        "kubeProxyVersion": "",
        "osImage": "Container-Optimized OS from Google",
        "containerRuntimeVersion": "fake://0",
        "kernelVersion": "fake",
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
    }
