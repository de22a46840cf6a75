"""The floor of many small gangs: a raw client that makes the writes which this design can't do without.

For each job: the TrainingJob, the revision of its placement, one status write, the Service, the pods and one
EndpointSlice. They are the operator's own objects, rendered before the clock starts; what is left is the API
server's time for them, and the scheduler's and the nodes' for the pods. The addresses in the slice are made up,
so that it waits for nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from drumline.api.catalog import Catalog
from drumline.api.shape import resolve_shape
from drumline.api.status import TrainingJobStatus
from drumline.cli.offline import NO_UID, job_of
from drumline.core.gang.discovery import Endpoint, ObservedDiscovery, plan_discovery
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Placement
from drumline.core.training.decide import decide
from drumline.core.training.members import Roster, roster
from drumline.core.training.observation import Granted, Observation
from drumline.core.training.view import owner_of
from drumline.runtime.http_paths import resource_path
from e2e.bench.client import CONCURRENCY, RawClient
from e2e.bench.manifests import training_job
from e2e.bench.rig import Rig
from e2e.bench.scenarios import JOBS, LIMIT_RUNS, SECONDS, make_namespace, remove_namespace, running

NOW = 1_000_000_000.0


@dataclass(frozen=True, slots=True)
class Writes:
    """What one job needs after the TrainingJob itself: POSTs as (path, body), in order, and its status."""

    job: Mapping[str, Any]
    first: tuple[tuple[str, bytes], ...]  # before the status
    status: bytes
    rest: tuple[tuple[str, bytes], ...]


async def floor(rig: Rig, jobs: int, pods: int) -> float:
    """Seconds from the first create to all pods Running, best of three. The operator must not run."""
    return min([await _once(rig, jobs, pods, f"floor-{jobs}x{pods}-{n}") for n in range(LIMIT_RUNS)])


async def _once(rig: Rig, jobs: int, pods: int, namespace: str) -> float:
    await make_namespace(rig.client, namespace)
    made = [_writes(f"job-{i}", namespace, _nodes(rig.nodes, i, pods)) for i in range(jobs)]
    watch = asyncio.create_task(rig.client.watch_pods(namespace, running(jobs * pods), SECONDS))
    started = time.monotonic()
    waiting = iter(made)

    async def work() -> None:
        for writes in waiting:
            await _send(rig.client, namespace, writes)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    ended = await watch
    await remove_namespace(rig.client, namespace)
    return ended - started


def _nodes(names: Sequence[str], job: int, pods: int) -> tuple[str, ...]:
    """Eight GPUs a node, filled one after the other."""
    return tuple(names[(job * pods + i) // 8 % len(names)] for i in range(pods))


async def _send(client: RawClient, namespace: str, writes: Writes) -> None:
    created = await client.request("POST", JOBS.format(namespace), writes.job)
    name, uid = created["metadata"]["name"], created["metadata"]["uid"].encode()
    for path, body in writes.first:
        await client.request("POST", path, body.replace(NO_UID.encode(), uid))
    await client.request("PATCH", f"{JOBS.format(namespace)}/{name}/status", writes.status)
    posts = (client.request("POST", path, body.replace(NO_UID.encode(), uid)) for path, body in writes.rest)
    await asyncio.gather(*posts)


def _writes(name: str, namespace: str, nodes: tuple[str, ...]) -> Writes:
    """Rendered by the operator's own decision."""
    manifest = training_job(name, namespace, len(nodes))
    job = job_of(manifest, namespace, catalog := Catalog.default())
    shape = resolve_shape(job.spec, catalog)
    members = roster(name, job.spec, shape.workers_per_slice)
    observation = Observation(
        job=job.meta,
        spec=job.spec,
        errors=(),
        shape=shape,
        roster=members,
        status=TrainingJobStatus(),
        catalog=catalog,
        pods={},
        admission=Granted(Placement(nodes)),
    )
    plan = decide(observation, NOW)
    return Writes(
        job=manifest,
        first=tuple(_post(c.resource, c.manifest) for c in plan.prepare),
        status=orjson.dumps({"status": plan.intent}),
        rest=(*_posts(plan), *_slice(observation, members)),
    )


def _posts(plan: Plan) -> Iterator[tuple[str, bytes]]:
    for stage in plan.actions:
        yield from (_post(a.resource, a.manifest) for a in stage if hasattr(a, "manifest"))


def _slice(observation: Observation, members: Roster) -> Iterator[tuple[str, bytes]]:
    ends = [Endpoint(members.hostname_of(i), (f"10.0.0.{i % 250 + 1}",)) for i in range(members.size)]
    actions, _ = plan_discovery(
        owner_of(observation.job), observation.job.name, ends, ObservedDiscovery(), NOW
    )
    wanted = (a for a in actions if a.resource == "endpointslices" and hasattr(a, "manifest"))
    return (_post(a.resource, a.manifest) for a in wanted)


def _post(resource: str, manifest: Mapping[str, Any]) -> tuple[str, bytes]:
    body = getattr(manifest, "body", None) or orjson.dumps(dict(manifest))
    return resource_path(resource, manifest["metadata"]["namespace"]), body
