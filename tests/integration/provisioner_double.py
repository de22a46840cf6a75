"""The kind ProvisioningRequest out of its Go module, and an autoscaler as its documentation has it, played by a test."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from drumline.core.training.provisioned import REQUESTS
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.cluster.provider import Cluster
from tests.integration.foreign_schedulers import wait_served
from tests.integration.go_modules import folder
from tests.integration.operator.lab import SECONDS, Lab, Manifest

CRD: Final = "provisioningrequests.autoscaling.x-k8s.io"
CLASS: Final = "queued-provisioning.gke.io"
_MODULE: Final = (  # the version that Kueue 0.19 is built with
    "k8s.io/autoscaler/cluster-autoscaler/apis",
    "v0.0.0-20240830133931-adfbe7e45277",
    "h1:BibFadVS+A7XR6HMReIuHoY9n8I+8oWR8/4xGgf2BDE=",
)
_FILE: Final = "config/crd/autoscaling.x-k8s.io_provisioningrequests.yaml"
_GPUS: Final = 8  # of a host of the fake pool


def install(cluster: Cluster) -> None:
    """Install the kind, if it is not there, and wait until it is served."""
    cluster.kubectl("apply", "--server-side", "-f", str(folder(*_MODULE) / _FILE))
    wait_served(cluster, CRD)


@dataclass(frozen=True)
class Autoscaler:
    """Adds fake nodes for requests of a lab's namespace, and says so on them."""

    lab: Lab

    async def request(self, name: str) -> Manifest:
        """The request of that name, once it is there."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = {r["metadata"]["name"]: r for r in await self.lab.list(REQUESTS)}
            if name in found:
                request: Manifest = found[name]
                return request
            assert time.monotonic() < deadline, f"no request {name}: {sorted(found)}"
            await asyncio.sleep(0.1)

    async def until_gone(self, name: str) -> None:
        """Until neither the request nor a template of it is left."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = [*await self.lab.list(REQUESTS), *await self.lab.list("podtemplates")]
            left = [o["metadata"]["name"] for o in found if o["metadata"]["name"].startswith(name)]
            if not left:
                return
            assert time.monotonic() < deadline, f"still there: {left}"
            await asyncio.sleep(0.1)

    async def wanted(self, request: Manifest) -> list[tuple[int, Manifest]]:
        """How many pods of which template it asks for."""
        templates = {t["metadata"]["name"]: t["template"] for t in await self.lab.list("podtemplates")}
        return [(s["count"], templates[s["podTemplateRef"]["name"]]) for s in request["spec"]["podSets"]]

    async def provision(self, name: str, hosts: int | None = None) -> list[str]:
        """Add the hosts that the request needs, or so many, and say that all are there; their names."""
        gpus = 0
        for count, template in await self.wanted(await self.request(name)):
            containers = template["spec"]["containers"]
            gpus += count * sum(int(c["resources"]["requests"]["nvidia.com/gpu"]) for c in containers)
        hosts = -(-gpus // _GPUS) if hosts is None else hosts
        nodes = await self.lab.nodes(f"{hosts} hosts of h100 in blocks of {hosts}")
        await self.say(name, Accepted=True, Provisioned=True)
        return nodes

    async def say(self, name: str, **conditions: bool) -> None:
        """Set the request's conditions."""
        said: list[dict[str, Any]] = [
            {
                "type": kind,
                "status": str(value),
                "reason": f"Is{kind}",
                "message": f"{kind} by the test",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind, value in conditions.items()
        ]
        path = resource_path(REQUESTS, self.lab.namespace, name, "status")
        body = {"status": {"conditions": said}}
        await self.lab.client.request("PATCH", path, body=body, content_type=MERGE_PATCH)
