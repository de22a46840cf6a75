"""Objects of resource.k8s.io/v1 for one test, under names of its own; they go with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import PREFIXES, resource_path
from tests.integration.operator.lab import Lab, Manifest

RESOURCES = {
    "DeviceClass": "deviceclasses",
    "ResourceSlice": "resourceslices",
    "ResourceClaimTemplate": "resourceclaimtemplates",
    "ResourceClaim": "resourceclaims",
}
ACCELERATOR = {"type": "nvidia-h100-80gb", "chipsPerWorker": 2, "resourceClaim": "gpu"}
UNHEALTHY = {"key": "devices.example.com/unhealthy", "value": "xid-79", "effect": "NoSchedule"}


@dataclass
class Dra:
    """A driver with slices on a lab's nodes, and a class of all its devices."""

    lab: Lab
    made: list[str] = field(default_factory=list)

    @property
    def driver(self) -> str:
        """Its name, which no other test's driver has."""
        return f"{self.lab.prefix}x.devices.example.com"

    @property
    def device_class(self) -> str:
        """The class of its devices."""
        return f"{self.lab.prefix}gpu"

    async def make(self, kind: str, name: str, spec: Manifest, namespace: str = "") -> None:
        """Create an object."""
        path = resource_path(RESOURCES[kind], namespace)
        body = {"apiVersion": "resource.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self.lab.client.request("POST", path, body=body)
        if not namespace:
            self.made.append(f"{path}/{name}")

    async def make_class(self, *more: str) -> None:
        """The class; `more` are further selectors."""
        selectors = [{"cel": {"expression": e}} for e in (f"device.driver == '{self.driver}'", *more)]
        await self.make("DeviceClass", self.device_class, {"selectors": selectors})

    async def slice(self, node: str, *devices: Manifest, suffix: str = "", **pool: Any) -> str:
        """A slice of the node's pool; its name."""
        name = f"{node}{suffix}"
        await self.make("ResourceSlice", name, self.slice_of(node, *devices, **pool))
        return name

    def slice_of(self, node: str, *devices: Manifest, **pool: Any) -> Manifest:
        """The spec of a slice."""
        whole = {"name": node, "generation": 1, "resourceSliceCount": 1, **pool}
        return {"driver": self.driver, "nodeName": node, "pool": whole, "devices": list(devices)}

    async def change(self, name: str, spec: Manifest) -> None:
        """Change a slice."""
        path = resource_path("resourceslices", "", name)
        await self.lab.client.request("PATCH", path, body={"spec": spec}, content_type=MERGE_PATCH)

    async def template(self, name: str, constraints: list[Manifest] | None = None, **exactly: Any) -> None:
        """A template of claims for devices of the class."""
        request = {"name": "gpu", "exactly": {"deviceClassName": self.device_class, **exactly}}
        spec = {"spec": {"devices": {"requests": [request], "constraints": constraints or []}}}
        await self.make("ResourceClaimTemplate", name, spec, self.lab.namespace)

    async def allocated(self) -> dict[str, set[tuple[str, str]]]:
        """Claim → (pool, device) of every claim of the namespace that has devices."""
        found: dict[str, set[tuple[str, str]]] = {}
        for claim in await self.lab.list("resourceclaims"):
            results = (
                ((claim.get("status") or {}).get("allocation") or {}).get("devices", {}).get("results", ())
            )
            if results:
                found[claim["metadata"]["name"]] = {(r["pool"], r["device"]) for r in results}
        return found

    async def every(self, resource: str) -> list[Manifest]:
        """All objects of a resource, of all namespaces."""
        found = await self.lab.client.request("GET", f"{PREFIXES[resource]}/{resource}")
        items: list[Manifest] = found["items"]
        return items


def devices(
    count: int, first: int = 0, taints: tuple[Manifest, ...] = (), **attributes: Manifest
) -> list[Manifest]:
    """Devices gpu-0, gpu-1, …"""
    more: Manifest = {"attributes": attributes} if attributes else {}
    more |= {"taints": list(taints)} if taints else {}
    return [{"name": f"gpu-{i}", **more} for i in range(first, first + count)]


def claims(*templates: str) -> list[Manifest]:
    """`resourceClaims` of a pod; the first is called `gpu`."""
    return [
        {"name": "gpu" if i == 0 else f"gpu-{i}", "resourceClaimTemplateName": t}
        for i, t in enumerate(templates)
    ]


def job_of(lab: Lab, name: str, template: str = "two", **spec: Any) -> Manifest:
    """A TrainingJob whose workers, four unless said otherwise, have two accelerators each by claim."""
    job = lab.job(name, **{"accelerator": ACCELERATOR, "workersPerSlice": 4, **spec})
    pod = job["spec"]["template"]["spec"]
    pod["resourceClaims"] = claims(template)
    pod["containers"][0]["resources"] = {"claims": [{"name": "gpu"}]}
    return job


async def serve(lab: Lab, name: str, replicas: int) -> str:
    """Create an InferenceService whose groups have two accelerators each by claim; the path of services."""
    pod = job_of(lab, "x")["spec"]["template"]
    pod["spec"]["containers"][0]["name"] = "engine"
    role = {"name": "serve", "replicas": replicas, "accelerator": ACCELERATOR, "template": pod, "port": 8000}
    spec = {"engine": "custom", "model": {"name": "m"}, "roles": [role]}
    body = {"apiVersion": "drumline.dev/v1alpha1", "kind": "InferenceService", "metadata": {"name": name}}
    path = resource_path("inferenceservices", lab.namespace)
    await lab.client.request("POST", path, body={**body, "spec": spec})
    return path


@asynccontextmanager
async def driver_of(lab: Lab) -> AsyncIterator[Dra]:
    """A driver for the test; what it made of the cluster's goes with it."""
    dra = Dra(lab)
    try:
        yield dra
    finally:
        for path in reversed(dra.made):
            await lab.client.request("DELETE", path)
