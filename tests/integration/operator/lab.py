"""A corner of the cluster for one test: a namespace, node pools of its own, jobs that land on them."""

from __future__ import annotations

import asyncio
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from drumline.runtime.http import JSON_PATCH, Client
from drumline.runtime.http_paths import resource_path
from e2e.cluster import build, nodes
from e2e.cluster.provider import Cluster

Manifest = dict[str, Any]
POOL = "cloud.google.com/gke-nodepool"
SECONDS = 120.0  # how long anything may take on a slow machine


@dataclass
class Lab:
    """Requests of one test. `prefix` begins the names of its nodes."""

    cluster: Cluster
    client: Client
    namespace: str
    prefix: str
    hosts: list[str] = field(default_factory=list)

    async def nodes(self, *descriptions: str) -> list[str]:
        """Fake nodes of this test's own."""
        names = await nodes.apply(self.cluster, *descriptions, prefix=self.prefix)
        self.hosts += names
        return names

    def job(self, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
        """A TrainingJob of two one-GPU H100 workers that lands on this test's nodes, unless `spec` says otherwise."""
        fake = {f"fake.drumline.dev/{k}": v for k, v in (annotations or {}).items()}
        pod = {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {POOL: f"{self.prefix}h100"},
            "containers": [{"name": "train", "image": "pause:3.10"}],
        }
        base: dict[str, Any] = {
            "framework": "torch",
            "accelerator": {"type": "nvidia-h100-80gb", "chipsPerWorker": 1},
            "workersPerSlice": 2,
            "failurePolicy": {"maxRestarts": 3, "backoff": {"initialSeconds": 0, "maxSeconds": 0}},
            "template": {"metadata": {"annotations": fake}, "spec": pod},
        }
        return {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**base, **spec},
        }

    async def plugin(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `kubectl drumline` with these arguments prints and returns."""
        environment = {
            "PATH": f"{sysconfig.get_path('scripts')}:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        command = [str(build.binary("kubectl")), "drumline", *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    async def apply(self, manifest: Manifest) -> Manifest:
        """Create a TrainingJob."""
        path = resource_path("trainingjobs", self.namespace)
        created: Manifest = await self.client.request("POST", path, body=manifest)
        return created

    async def get(self, name: str) -> Manifest:
        """A TrainingJob."""
        found: Manifest = await self.client.request(
            "GET", resource_path("trainingjobs", self.namespace, name)
        )
        return found

    async def pods(self, selector: str = "drumline.dev/job") -> list[Manifest]:
        """The pods of the namespace, by name."""
        path = resource_path("pods", self.namespace)
        found = await self.client.request("GET", path, params={"labelSelector": selector})
        return sorted(found["items"], key=lambda p: p["metadata"]["name"])

    async def list(self, resource: str) -> list[Manifest]:
        """Everything of a resource in the namespace."""
        found = await self.client.request("GET", resource_path(resource, self.namespace))
        items: list[Manifest] = found["items"]
        return items

    async def patch(self, name: str, *operations: Manifest) -> None:
        """JSON patch of a TrainingJob."""
        path = resource_path("trainingjobs", self.namespace, name)
        await self.client.request("PATCH", path, body=list(operations), content_type=JSON_PATCH)

    async def delete(self, resource: str, name: str, **params: Any) -> None:
        """Delete an object."""
        await self.client.request(
            "DELETE", resource_path(resource, self.namespace, name), params=params or None
        )

    async def until(
        self, name: str, holds: Callable[[Manifest], bool], what: str = "", seconds: float = SECONDS
    ) -> Manifest:
        """The job once its state holds; AssertionError with the last status when it never does."""
        deadline = time.monotonic() + seconds
        while True:
            found = await self.get(name)
            if holds(found):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{name}: {what or 'no such state'} within {seconds} s; {found.get('status')}"
                )
            await asyncio.sleep(0.1)

    async def phase(self, name: str, phase: str, seconds: float = SECONDS) -> Manifest:
        """The job once it is in that phase."""
        return await self.until(
            name, lambda j: j.get("status", {}).get("phase") == phase, f"not {phase}", seconds
        )

    async def until_pods(self, holds: Callable[[set[str]], bool], seconds: float = SECONDS) -> set[str]:
        """Names of the namespace's pods once they are as wanted; AssertionError when they never are."""
        deadline = time.monotonic() + seconds
        while True:
            names = {p["metadata"]["name"] for p in await self.pods()}
            if holds(names):
                return names
            assert time.monotonic() < deadline, f"within {seconds} s: {sorted(names)}"
            await asyncio.sleep(0.1)

    async def phases(self, names: Iterable[str], wanted: list[str]) -> dict[str, str]:
        """Job → phase once the phases of these jobs are, sorted, as wanted."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = {n: str((await self.get(n)).get("status", {}).get("phase")) for n in names}
            if sorted(found.values()) == wanted:
                return found
            assert time.monotonic() < deadline, f"{found}, not {wanted}"
            await asyncio.sleep(0.1)

    async def settle(self, name: str, seconds: float = 2.0) -> Manifest:
        """The job after its status has stayed the same for a while."""
        last, since = await self.get(name), time.monotonic()
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.2)
            now = await self.get(name)
            if now["metadata"]["resourceVersion"] != last["metadata"]["resourceVersion"]:
                last, since = now, time.monotonic()
        return last


def condition(job: Manifest, kind: str) -> Manifest:
    """A condition of a job; empty when it is not there."""
    found: Manifest = next((c for c in job.get("status", {}).get("conditions", ()) if c["type"] == kind), {})
    return found


def reason(job: Manifest, kind: str) -> tuple[str, str]:
    """(status, reason) of a condition."""
    found = condition(job, kind)
    return found.get("status", ""), found.get("reason", "")


def node_of(pod: Manifest) -> str:
    """Where a pod is bound."""
    return str(pod["spec"].get("nodeName", ""))


def env_of(pod: Manifest, container: int = 0) -> dict[str, Any]:
    """The environment of a container: name → value, or the reference."""
    env = pod["spec"]["containers"][container].get("env", ())
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in env}
