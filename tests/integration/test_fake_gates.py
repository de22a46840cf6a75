"""Fake pods with readiness gates are Ready only while their gates are open, on the real control plane."""

import asyncio
import json
import uuid
from collections.abc import Iterator

import pytest

from e2e.cluster import nodes
from e2e.cluster.provider import Cluster

GATE = "example.org/gate"


@pytest.fixture
def node(cluster: Cluster) -> Iterator[str]:
    """A fake node of this test's own."""
    if cluster.embedded is None:
        pytest.skip("only the embedded cluster runs kwok, which plays the kubelets of fake nodes")
    names = asyncio.run(nodes.apply(cluster, "1 host of cpu", prefix=f"t{uuid.uuid4().hex[:8]}-"))
    yield names[0]
    asyncio.run(nodes.delete_nodes(cluster, names))


def test_a_gate_opens_and_closes_a_pod_and_never_its_containers(
    cluster: Cluster, namespace: str, node: str
) -> None:
    spec = {
        "nodeName": node,
        "readinessGates": [{"conditionType": GATE}],
        "containers": [{"name": "c", "image": "c:1"}],
    }
    metadata = {"name": "gated", "namespace": namespace}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def wait(condition: str) -> None:
        cluster.kubectl("wait", f"--for=condition={condition}", "pod/gated", "-n", namespace, "--timeout=60s")

    def gate(value: str) -> None:
        patch = json.dumps({"status": {"conditions": [{"type": GATE, "status": value}]}})
        cluster.kubectl("patch", "pod/gated", "-n", namespace, "--subresource=status", "-p", patch)

    wait("ContainersReady")
    wait("Ready=False")
    gate("True")
    wait("Ready")
    gate("False")
    wait("Ready=False")
    wait("ContainersReady")
