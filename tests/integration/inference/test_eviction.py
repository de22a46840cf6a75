"""`kubectl drain` takes no group out of service before another one serves in its place."""

from __future__ import annotations

import asyncio
import time

import pytest

from drumline.runtime.errors import ApiError, NotFound
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from tests.integration.inference.services import Services, groups, is_ready
from tests.integration.inference.watching import watching
from tests.integration.operator.lab import SECONDS, Manifest, node_of

pytestmark = pytest.mark.cluster


async def evict(services: Services, pod: str) -> int:
    """Ask for a pod's eviction; the answer's HTTP status."""
    path = resource_path("pods", services.lab.namespace, pod, "eviction")
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    try:
        await services.lab.client.request("POST", path, body=body, attempts=1)
    except NotFound:
        return 404
    except ApiError as error:
        return error.status
    return 201


async def cordon(services: Services, node: str, *, value: bool = True) -> None:
    """Let no new pods onto a node, or let them again."""
    body = {"spec": {"unschedulable": value}}
    await services.lab.client.request("PATCH", f"/api/v1/nodes/{node}", body=body, content_type=MERGE_PATCH)


async def drain(services: Services, name: str, node: str) -> None:
    """As `kubectl drain` does it: cordon the node, then evict until its pods are gone."""
    await cordon(services, node)
    deadline = time.monotonic() + SECONDS
    while left := [p for p in await services.pods(name) if node_of(p) == node]:
        for pod in left:
            await evict(services, pod["metadata"]["name"])
        assert time.monotonic() < deadline, [p["metadata"]["name"] for p in left]
        await asyncio.sleep(0.2)


async def test_a_pod_of_a_group_in_service_cant_be_evicted(services: Services) -> None:
    await services.lab.nodes("2 hosts of h100 in blocks of 2")
    await services.apply(services.service("chat", services.role(groupSize=2, replicas=2)))
    await services.ready("chat")
    await _allows(services, "chat-serve", 0)
    for pod in ("chat-serve-1-0-0", "chat-serve-1-0-1"):
        assert await evict(services, pod) == 429
    assert len(await services.pods("chat")) == 4


async def test_a_drained_node_is_left_group_by_group_with_none_missed(services: Services) -> None:
    await services.lab.nodes("3 hosts of h100 in blocks of 3")
    whole = {"type": "nvidia-h100-80gb", "chipsPerWorker": 4}
    await services.apply(services.service("chat", services.role(accelerator=whole, groupSize=2, replicas=2)))
    found = await services.ready("chat")
    node = groups(found)[0]["nodes"][0]
    async with watching(services, "chat") as seen:
        await drain(services, "chat", node)
        found = await services.until("chat", is_ready, "not whole again")
    assert min(seen.ready) >= 2
    assert min(seen.endpoints) >= 2
    assert all(node not in g["nodes"] for g in groups(found))
    assert all(g["attempt"] == 1 for g in groups(found))


async def taint(services: Services, node: str, *taints: Manifest) -> None:
    """Give a node these taints and no others."""
    path, body = f"/api/v1/nodes/{node}", {"spec": {"taints": list(taints)}}
    await services.lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)


@pytest.mark.parametrize(
    "sign",
    [
        {"key": "example.org/maintenance", "effect": "NoExecute"},
        {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"},
    ],
    ids=["taint manager", "autoscaler"],
)
async def test_a_node_that_is_emptied_by_a_taint_alone_is_left_with_none_missed(
    services: Services, sign: Manifest
) -> None:
    """The taint manager asks no budget: it leaves the pods for as long as they bear the taint."""
    await services.lab.nodes("3 hosts of h100 in blocks of 3")
    role = services.role(accelerator={"type": "nvidia-h100-80gb", "chipsPerWorker": 8}, replicas=2)
    bears = {**sign, "effect": "NoExecute", "operator": "Exists", "tolerationSeconds": 60}
    role["template"]["spec"]["tolerations"] = [bears]
    await services.apply(services.service("chat", role))
    found = await services.ready("chat")
    node = groups(found)[0]["nodes"][0]
    async with watching(services, "chat") as seen:
        await taint(services, node, sign)
        found = await services.until(
            "chat", lambda s: is_ready(s) and all(node not in g["nodes"] for g in groups(s)), "not left"
        )
    assert min(seen.ready) >= 2
    assert min(seen.endpoints) >= 2
    assert all(g["attempt"] == 1 for g in groups(found))


async def _allows(services: Services, name: str, disruptions: int) -> None:
    """Until the disruption controller has counted."""
    deadline = time.monotonic() + SECONDS
    while True:
        status = (await services.get(name, "poddisruptionbudgets")).get("status", {})
        if status.get("expectedPods") and status.get("disruptionsAllowed") == disruptions:
            return
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.1)
