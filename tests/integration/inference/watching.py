"""Looks at a service again and again while something happens to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.integration.inference.services import Services, is_pod_ready


@dataclass
class Seen:
    """What was seen of a service, look by look."""

    ready: list[int] = field(default_factory=list)  # ready leaders
    endpoints: list[int] = field(default_factory=list)  # ready endpoints of its Service
    pairs: list[Counter[tuple[str, str]]] = field(default_factory=list)  # (role, revision) → ready leaders


@asynccontextmanager
async def watching(services: Services, name: str, pause: float = 0.05) -> AsyncIterator[Seen]:
    """Look while the block runs, from when its Service has heard of what is in service now."""
    await _settled(services, name)
    seen = Seen()
    task = asyncio.create_task(_look(services, name, seen, pause))
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(seen.ready) > 1


async def _settled(services: Services, name: str, seconds: float = 1.0) -> None:
    """Until the endpoints have been the same for a while: Kubernetes writes them after the pods are ready."""
    known, since = -1, 0.0
    while True:
        found, now = await _endpoints(services, name), asyncio.get_running_loop().time()
        known, since = (known, since) if found == known else (found, now)
        if now - since >= seconds:
            return
        await asyncio.sleep(0.1)


async def _look(services: Services, name: str, seen: Seen, pause: float) -> None:
    while True:
        leaders = [p for p in await services.pods(name, worker="0") if is_pod_ready(p)]
        leaders = [p for p in leaders if "deletionTimestamp" not in p["metadata"]]
        seen.ready.append(len(leaders))
        labels = [p["metadata"]["labels"] for p in leaders]
        seen.pairs.append(Counter((k["drumline.dev/role"], k["drumline.dev/revision"]) for k in labels))
        seen.endpoints.append(await _endpoints(services, name))
        await asyncio.sleep(pause)


async def _endpoints(services: Services, name: str) -> int:
    slices = await services.lab.list("endpointslices")
    ours = [s for s in slices if s["metadata"]["labels"].get("kubernetes.io/service-name") == name]
    return len(
        {
            e["targetRef"]["uid"]
            for s in ours
            for e in s.get("endpoints") or ()
            if e["conditions"].get("ready") and "targetRef" in e
        }
    )
