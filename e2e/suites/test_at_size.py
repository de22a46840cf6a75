"""The examples at size, on fake nodes: 256 hosts are bound, and each rank is told what its framework expects."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import nodes, provider
from e2e.cluster.embedded import EmbeddedCluster
from e2e.cluster.operator import install_api, operator_command
from e2e.cluster.process import Process
from e2e.demo_site import EXAMPLES, REPOSITORY
from e2e.suites.kubectl import Kubectl, until

pytestmark = pytest.mark.cluster

_HOSTS = 256
_RANKS = (0, 17, 255)
_PLACE = "cloud.google.com/gce-topology-block"
_POOL = "cloud.google.com/gke-nodepool"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """A cluster with 256 GPU hosts and 256 TPU hosts, and an operator beside it."""
    with EmbeddedCluster() as cluster:
        target = provider.of_embedded(cluster)
        asyncio.run(nodes.apply(target, "256 hosts of h100 in blocks of 8", "16 v5p 4x4x4 slices"))
        asyncio.run(install_api(cluster))
        arguments, _ = operator_command(cluster.kubeconfig)
        log = tmp_path_factory.mktemp("logs") / "operator.log"
        environment = {"PATH": "", "HOME": str(log.parent)}
        operator = Process("operator", [sys.executable, *arguments], log, environment, cwd=REPOSITORY)
        operator.start()
        yield Kubectl(cluster.kubeconfig)
        operator.stop()


def test_torch_on_2048_gpus(kubectl: Kubectl) -> None:
    pods = _run(kubectl, EXAMPLES / "gpu-256.yaml")
    # A group of 8 workers fits a block of 8 hosts, so no group is torn apart.
    blocks = _label_of_nodes(kubectl, _PLACE)
    groups = {(_label(pod, "slice"), blocks[pod["spec"]["nodeName"]]) for pod in pods.values()}
    assert len(groups) == 32
    for rank in _RANKS:
        environment = _environment(pods[rank])
        expected = {
            "PET_NNODES": "256",
            "PET_NPROC_PER_NODE": "8",
            "PET_NODE_RANK": str(rank),
            "PET_MASTER_ADDR": "gpu-256-0-0.gpu-256.default.svc.cluster.local",
            "PET_MASTER_PORT": "29500",
        }
        assert expected.items() <= environment.items()
        # With 8 processes a pod these belong to the processes, and torchrun sets them.
        assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & environment.keys()


def test_jax_on_16_tpu_slices(kubectl: Kubectl) -> None:
    pods = _run(kubectl, EXAMPLES / "tpu-256.yaml")
    # A TPU slice is a node pool: workers of one must not sit on hosts of another.
    pools = _label_of_nodes(kubectl, _POOL)
    groups = {(_label(pod, "slice"), pools[pod["spec"]["nodeName"]]) for pod in pods.values()}
    assert len(groups) == 16
    for rank in _RANKS:
        slice_id, worker = divmod(rank, 16)
        hosts = [f"tpu-256-{slice_id}-{number}.tpu-256" for number in range(16)]
        expected = {
            "TPU_WORKER_ID": str(worker),
            "TPU_WORKER_HOSTNAMES": ",".join(hosts),
            "MEGASCALE_COORDINATOR_ADDRESS": "tpu-256-0-0.tpu-256.default.svc.cluster.local",
            "MEGASCALE_NUM_SLICES": "16",
            "MEGASCALE_SLICE_ID": str(slice_id),
            "JAX_COORDINATOR_ADDRESS": "tpu-256-0-0.tpu-256.default.svc.cluster.local:8482",
            "JAX_NUM_PROCESSES": "256",
            "JAX_PROCESS_ID": str(rank),
        }
        assert expected.items() <= _environment(pods[rank]).items()


def _run(kubectl: Kubectl, example: Path) -> dict[int, dict[str, Any]]:
    """Apply an example and return its running pods by rank, each alone on its node."""
    job = example.stem
    kubectl.apply_file(example)
    until(lambda: _phase(kubectl, job) == "Running", f"{job} to run", 240)
    pods = kubectl.list("pods", f"drumline.dev/job={job}")
    assert len(pods) == _HOSTS
    assert set(Counter(pod["spec"]["nodeName"] for pod in pods).values()) == {1}
    return {int(_label(pod, "rank")): pod for pod in pods}


def _phase(kubectl: Kubectl, job: str) -> str:
    return str(kubectl.get("trainingjob", job).get("status", {}).get("phase", ""))


def _label(pod: dict[str, Any], name: str) -> str:
    return str(pod["metadata"]["labels"][f"drumline.dev/{name}"])


def _label_of_nodes(kubectl: Kubectl, label: str) -> dict[str, str]:
    return {
        node["metadata"]["name"]: node["metadata"]["labels"].get(label, "") for node in kubectl.list("nodes")
    }


def _environment(pod: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}
