"""AcceleratorQueues for the namespace of one test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from drumline.runtime.errors import NotFound
from drumline.runtime.http import MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from tests.integration.operator.lab import SECONDS, Lab, Manifest

H100 = "nvidia-h100-80gb"


def quotas(chips: int, **limits: int) -> list[Manifest]:
    """A quota of H100s."""
    return [{"accelerator": H100, "nominalQuota": chips, **limits}]


def usage(queue: Manifest) -> Manifest:
    """What the queue's status says of H100s."""
    found: Manifest = next(
        (u for u in queue.get("status", {}).get("usage", ()) if u["accelerator"] == H100), {}
    )
    return found


def active(queue: Manifest) -> tuple[str, str]:
    """(status, reason) of its condition Active."""
    conditions = queue.get("status", {}).get("conditions", ())
    found: Manifest = next((c for c in conditions if c["type"] == "Active"), {})
    return found.get("status", ""), found.get("reason", "")


class QueueDesk:
    """Queues that only the lab's namespace may use; their names begin with its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.made: list[str] = []

    def name(self, short: str) -> str:
        """The queue's whole name."""
        return f"{self.lab.namespace}-{short}"

    async def make(self, short: str, **spec: Any) -> str:
        """Create a queue; its name, once the operator has seen it."""
        name = self.name(short)
        labels = {"kubernetes.io/metadata.name": self.lab.namespace}
        body = {
            "apiVersion": "drumline.dev/v1alpha1",
            "kind": "AcceleratorQueue",
            "metadata": {"name": name},
            "spec": {"namespaceSelector": {"matchLabels": labels}, **spec},
        }
        await self.lab.client.request("POST", resource_path("acceleratorqueues"), body=body)
        self.made.append(name)
        await self.until(name, lambda queue: active(queue) != ("", ""))
        return name

    async def change(self, name: str, **spec: Any) -> None:
        """Merge-patch a queue's spec."""
        path = resource_path("acceleratorqueues", name=name)
        await self.lab.client.request("PATCH", path, body={"spec": spec}, content_type=MERGE_PATCH)

    async def remove(self, name: str) -> None:
        """Delete a queue, if it is there."""
        try:
            await self.lab.client.request("DELETE", resource_path("acceleratorqueues", name=name))
        except NotFound:
            return

    async def until(self, name: str, holds: Callable[[Manifest], bool]) -> Manifest:
        """The queue once its state holds; AssertionError with the last status when it never does."""
        deadline = time.monotonic() + SECONDS
        while True:
            path = resource_path("acceleratorqueues", name=name)
            found: Manifest = await self.lab.client.request("GET", path)
            if holds(found):
                return found
            assert time.monotonic() < deadline, f"{name}: {found.get('status')}"
            await asyncio.sleep(0.1)


@asynccontextmanager
async def desk(lab: Lab) -> AsyncIterator[QueueDesk]:
    """A desk whose queues go with it."""
    made = QueueDesk(lab)
    try:
        yield made
    finally:
        for name in made.made:
            await made.remove(name)
