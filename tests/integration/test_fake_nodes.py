"""Fake nodes on the real control plane: made, lost, found again, deleted."""

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.cluster import nodes
from e2e.cluster.nodes_client import RequestError
from e2e.cluster.provider import Cluster, KubectlError

# Tests that lose a node make another: when none is left healthy, the lifecycle controller takes itself for the
# one that is cut off, and removes the taints again.
UNREACHABLE = "node.kubernetes.io/unreachable"
Make = Callable[..., list[str]]


@pytest.fixture
def make(cluster: Cluster) -> Iterator[Make]:
    """Makes nodes whose names no other test uses, and deletes them afterwards."""
    if cluster.embedded is None:
        pytest.skip("only the embedded cluster runs kwok, which plays the kubelets of fake nodes")
    prefix, made = f"t{uuid.uuid4().hex[:8]}-", []

    def create(*descriptions: str) -> list[str]:
        names = asyncio.run(nodes.apply(cluster, *descriptions, prefix=prefix))
        made.extend(names)
        return names

    yield create
    asyncio.run(nodes.delete_nodes(cluster, made))


def taints(node: dict[str, Any]) -> set[tuple[str, str]]:
    return {(taint["key"], taint["effect"]) for taint in node["spec"].get("taints", [])}


def ready(node: dict[str, Any]) -> str:
    found: str = next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready")
    return found


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def run_pod(cluster: Cluster, namespace: str, node: str, **spec: Any) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
            "containers": [{"name": "c", "image": "i"}],
            **spec,
        },
    }
    cluster.apply(pod)
    cluster.kubectl(
        "wait", "--for=condition=Ready", "pod/pod", "-n", namespace, "--timeout=120s", seconds=150
    )


def test_nodes_are_whole_ready_and_free_of_the_not_ready_taint(cluster: Cluster, make: Make) -> None:
    names = make("2 hosts of h100 in blocks of 2", "a v6e 4x4 slice")
    assert len(names) == 6
    for name in names:
        node = cluster.get("node", name)
        assert ready(node) == "True"
        assert len(taints(node)) == 1
        assert node["status"]["allocatable"]["pods"] == "110"
    host = cluster.get("node", names[0])
    assert host["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert host["metadata"]["labels"]["cloud.google.com/gke-accelerator"] == "nvidia-h100-80gb"
    assert cluster.get("node", names[-1])["status"]["allocatable"]["google.com/tpu"] == "4"


def test_applying_twice_changes_nothing(cluster: Cluster, make: Make) -> None:
    first = cluster.get("node", make("1 host of cpu")[0])
    second = cluster.get("node", make("1 host of cpu")[0])
    assert first["metadata"]["uid"] == second["metadata"]["uid"]


def test_the_scheduler_sees_the_accelerators(cluster: Cluster, namespace: str, make: Make) -> None:
    (name,) = make("1 host of h100 in blocks of 1")
    limits = {"resources": {"limits": {"nvidia.com/gpu": "8"}}}
    run_pod(cluster, namespace, name, containers=[{"name": "c", "image": "i", **limits}])
    assert cluster.get("pod/pod", "-n", namespace)["spec"]["nodeName"] == name


def test_a_lost_node(cluster: Cluster, namespace: str, make: Make) -> None:
    name, _ = make("2 hosts of cpu")
    run_pod(cluster, namespace, name)
    asyncio.run(nodes.lose_node(cluster, name))
    node = cluster.get("node", name)
    assert ready(node) == "Unknown"
    assert taints(node) == {(UNREACHABLE, "NoSchedule"), (UNREACHABLE, "NoExecute")}
    conditions = cluster.get("pod/pod", "-n", namespace)["status"]["conditions"]
    assert [c["status"] for c in conditions if c["type"] == "Ready"] == ["False"]
    # Nobody is there to end the pod.
    cluster.kubectl("delete", "pod/pod", "-n", namespace, "--wait=false")
    with pytest.raises(KubectlError, match="timed out"):
        cluster.kubectl("wait", "--for=delete", "pod/pod", "-n", namespace, "--timeout=3s")
    assert ready(cluster.get("node", name)) == "Unknown"


def test_a_lost_node_s_pods_are_evicted_when_they_do_not_tolerate_it(
    cluster: Cluster, namespace: str, make: Make
) -> None:
    name, _ = make("2 hosts of cpu")
    short = {"operator": "Exists", "effect": "NoExecute", "key": UNREACHABLE, "tolerationSeconds": 1}
    run_pod(cluster, namespace, name, tolerations=[short])
    asyncio.run(nodes.lose_node(cluster, name))
    cluster.kubectl(
        "wait", "--for=condition=DisruptionTarget", "pod/pod", "-n", namespace, "--timeout=120s", seconds=150
    )
    until(lambda: "deletionTimestamp" in cluster.get("pod/pod", "-n", namespace)["metadata"])
    conditions = cluster.get("pod/pod", "-n", namespace)["status"]["conditions"]
    assert [c["reason"] for c in conditions if c["type"] == "DisruptionTarget"] == ["DeletionByTaintManager"]


def test_a_restored_node(cluster: Cluster, namespace: str, make: Make) -> None:
    name, _ = make("2 hosts of cpu")
    run_pod(cluster, namespace, name)
    asyncio.run(nodes.lose_node(cluster, name))
    cluster.kubectl("delete", "pod/pod", "-n", namespace, "--wait=false")
    asyncio.run(nodes.restore_node(cluster, name))
    cluster.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=120s", seconds=150)
    cluster.kubectl("wait", "--for=delete", "pod/pod", "-n", namespace, "--timeout=120s", seconds=150)
    until(lambda: not taints(cluster.get("node", name)))


def test_a_deleted_node(cluster: Cluster, make: Make) -> None:
    (name,) = make("1 host of cpu")
    asyncio.run(nodes.delete_node(cluster, name))
    asyncio.run(nodes.delete_node(cluster, name))
    with pytest.raises(KubectlError, match="not found"):
        cluster.get("node", name)


def test_losing_a_node_that_is_not_there_says_so(cluster: Cluster) -> None:
    with pytest.raises(RequestError, match="not found"):
        asyncio.run(nodes.lose_node(cluster, "no-such-node"))
