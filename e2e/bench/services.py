"""The start of an InferenceService of many groups: from its apply to all pods Ready, gates and all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from e2e.bench.manifests import IMAGE
from e2e.bench.rig import Rig
from e2e.bench.scenarios import PODS, SECONDS, Row, make_namespace, measured, remove_namespace

SERVICES = "/apis/drumline.dev/v1alpha1/namespaces/{}/inferenceservices"


def service(name: str, namespace: str, groups: int, size: int) -> dict[str, Any]:
    """One role of so many groups, each of `size` pods with one GPU each."""
    role = {
        "name": "serve",
        "replicas": groups,
        "groupSize": size,
        "port": 8000,
        "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 1},
        "template": {"spec": {"containers": [{"name": "engine", "image": IMAGE}]}},
    }
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"engine": "custom", "roles": [role]},
    }


async def create_service(rig: Rig, scenario: str, groups: int, size: int) -> Row:
    """From the apply of the service to all pods of all groups Ready: every group is in service then."""
    namespace = f"bench-{scenario}"
    await make_namespace(rig.client, namespace)

    async def act() -> float:
        watch = asyncio.create_task(rig.client.watch_pods(namespace, ready(groups * size), SECONDS))
        started = time.monotonic()
        body = service("chat", namespace, groups, size)
        await rig.client.request("POST", SERVICES.format(namespace), body)
        return await watch - started

    row = await measured(rig, scenario, groups * size, act)
    await rig.client.request("DELETE", f"{SERVICES.format(namespace)}/chat")
    await _gone(rig, namespace)
    await remove_namespace(rig.client, namespace)
    return row


async def _gone(rig: Rig, namespace: str) -> None:
    """Until the garbage collector has found the service's pods, or long enough: they are deleted next anyway."""
    for _ in range(300):
        found = await rig.client.request("GET", f"{PODS.format(namespace)}?limit=1")
        if not found["items"]:
            return
        await asyncio.sleep(0.1)


def ready(pods: int) -> Callable[[Mapping[str, Any]], bool]:
    """Whether so many pods are Ready."""

    def check(phases: Mapping[str, Any]) -> bool:
        return len(phases) >= pods and sum(1 for _, is_ready in phases.values() if is_ready) >= pods

    return check
