"""A corner of the cluster for one test: a namespace, nodes of its own, and services that land on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from drumline.runtime.http import JSON_PATCH, MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from tests.integration.operator.lab import POOL, SECONDS, Lab, Manifest

SERVICES = "inferenceservices"
ROLES = "inferenceroles"


class Services:
    """Requests of one test about InferenceServices."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def role(self, name: str = "serve", annotations: dict[str, str] | None = None, **fields: Any) -> Manifest:
        """A role of one one-pod group with an H100 on this test's nodes, unless `fields` say otherwise."""
        fake = {f"fake.drumline.dev/{k}": v for k, v in (annotations or {}).items()}
        pod = {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {POOL: f"{self.lab.prefix}h100"},
            "containers": [{"name": "engine", "image": "engine:1"}],
        }
        base = {
            "name": name,
            "replicas": 1,
            "port": 8000,
            "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 1},
            "template": {"metadata": {"annotations": fake}, "spec": pod},
        }
        return {**base, **fields}

    def service(self, name: str, *roles: Manifest, **spec: Any) -> Manifest:
        """A service of these roles, or of one as `role` has it, that drains and restarts without delay."""
        base = {
            "engine": "custom",
            "drain": {"settleSeconds": 0, "timeoutSeconds": 5},
            "failurePolicy": {"backoff": {"initialSeconds": 0, "maxSeconds": 0}},
            "roles": list(roles) or [self.role()],
        }
        return {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": self.lab.namespace},
            "spec": {**base, **spec},
        }

    async def apply(self, manifest: Manifest) -> Manifest:
        """Create an InferenceService."""
        path = resource_path(SERVICES, self.lab.namespace)
        created: Manifest = await self.lab.client.request("POST", path, body=manifest)
        return created

    async def get(self, name: str, resource: str = SERVICES) -> Manifest:
        """An object of the namespace."""
        found: Manifest = await self.lab.client.request(
            "GET", resource_path(resource, self.lab.namespace, name)
        )
        return found

    async def patch(self, name: str, *operations: Manifest) -> None:
        """JSON patch of an InferenceService."""
        path = resource_path(SERVICES, self.lab.namespace, name)
        await self.lab.client.request("PATCH", path, body=list(operations), content_type=JSON_PATCH)

    async def scale(self, role: str, replicas: int) -> None:
        """Set the number of groups through the InferenceRole's scale subresource, as an autoscaler does."""
        path = resource_path(ROLES, self.lab.namespace, role, "scale")
        body = {"spec": {"replicas": replicas}}
        await self.lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def fail(self, pod: str, code: int = 1) -> None:
        """Let a pod's containers end with that exit code."""
        body = {"metadata": {"annotations": {"fake.drumline.dev/exit-code": str(code)}}}
        path = resource_path("pods", self.lab.namespace, pod)
        await self.lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)

    async def until_gone(self, resource: str, name: str) -> None:
        """Until no object of that resource belongs to the service, by label."""
        deadline = time.monotonic() + SECONDS
        while left := [o["metadata"]["name"] for o in await self.lab.list(resource) if _belongs(o, name)]:
            assert time.monotonic() < deadline, f"{resource} stay: {left}"
            await asyncio.sleep(0.1)

    async def until_no_pods(self, name: str) -> None:
        """Until the service has none."""
        deadline = time.monotonic() + SECONDS
        while left := [p["metadata"]["name"] for p in await self.pods(name)]:
            assert time.monotonic() < deadline, f"pods stay: {left}"
            await asyncio.sleep(0.1)

    async def until_unready(self, name: str, group: int) -> None:
        """Until no pod of that group's leader is ready."""
        deadline = time.monotonic() + SECONDS
        while any(map(is_pod_ready, await self.pods(name, group=str(group), worker="0"))):
            assert time.monotonic() < deadline, f"group {group} stays in service"
            await asyncio.sleep(0.1)

    async def pods(self, name: str, **labels: str) -> list[Manifest]:
        """The pods of a service, by name."""
        selector = ",".join(
            [f"drumline.dev/service={name}", *(f"drumline.dev/{k}={v}" for k, v in labels.items())]
        )
        return await self.lab.pods(selector)

    async def until(
        self, name: str, holds: Callable[[Manifest], bool], what: str = "", seconds: float = SECONDS
    ) -> Manifest:
        """The service once its state holds; AssertionError with its last status when it never does."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.get(name)
            if holds(found):
                return found
            if time.monotonic() > deadline:
                pods = [(p["metadata"]["name"], p["status"].get("phase")) for p in await self.pods(name)]
                raise AssertionError(
                    f"{name}: {what or 'no such state'} within {seconds} s; {pods}; {found.get('status')}"
                )
            await asyncio.sleep(0.1)

    async def ready(self, name: str, seconds: float = SECONDS) -> Manifest:
        """The service once all groups that it should have, and no others, are in service."""
        return await self.until(name, is_ready, "not ready", seconds)


def _belongs(document: Manifest, name: str) -> bool:
    labels = document["metadata"].get("labels") or {}
    owners = document["metadata"].get("ownerReferences") or ()
    return labels.get("drumline.dev/service") == name or any(o["name"] == name for o in owners)


def roles(service: Manifest) -> dict[str, Manifest]:
    """Status of each role."""
    return {r["name"]: r for r in service.get("status", {}).get("roles", ())}


def groups(service: Manifest, role: str = "serve") -> list[Manifest]:
    """The groups of a role as the status has them."""
    found: list[Manifest] = list(roles(service).get(role, {}).get("groups", ()))
    return found


def is_ready(service: Manifest) -> bool:
    """Whether each role has as many groups as it should, all in service, and nothing else is under way."""
    found = roles(service)
    status = service.get("status", {})
    return (
        len(found) == len(service["spec"]["roles"])
        and status.get("observedGeneration") == service["metadata"]["generation"]
        and status.get("currentRevision") == status.get("updateRevision")
        and all(
            r.get("desired", 0) == r.get("ready", 0) == len(r.get("groups", ()))
            and all(g.get("phase") == "Serving" for g in r.get("groups", ()))
            for r in found.values()
        )
    )


def is_pod_ready(pod: Manifest) -> bool:
    """Whether a pod's condition Ready is True."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
