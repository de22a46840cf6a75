"""The limit of `admission_churn`: a raw client that makes the writes of a job one after the other, many jobs at a time.

The writes are those that this design can't do without: the TrainingJob, the revision of its placement, its status three
times (it begins, it runs, it has ended), and the event of its end. What the operator writes beyond that, it is measured
by: what jobs that wait are told, queues' statuses, dry runs. Bodies are those that the operator wrote of a job of the same
size a moment ago, with the differences between its three statuses left out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from drumline.runtime.http import JSON_PATCH
from e2e.bench.admission_jobs import SIZES, job_of
from e2e.bench.client import CONCURRENCY, RawClient
from e2e.bench.scenarios import JOBS

REVISIONS: Final = "/apis/apps/v1/namespaces/{}/controllerrevisions"
EVENTS: Final = "/api/v1/namespaces/{}/events"
STATUSES: Final = 3  # writes
_SERVERS_OWN: Final = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")


class Example:
    """What the operator wrote of a job."""

    def __init__(self, job: Mapping[str, Any], revision: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        self._old = {part: job["metadata"][part].encode() for part in ("name", "uid", "namespace")}
        self.status = job["status"]
        self._revision, self._event = orjson.dumps(_bare(revision)), orjson.dumps(_bare(event))

    def revision(self, metadata: Mapping[str, Any]) -> bytes:
        """The revision of another job."""
        return self._of(self._revision, metadata)

    def event(self, metadata: Mapping[str, Any]) -> bytes:
        """The event of another job."""
        return self._of(self._event, metadata)

    def _of(self, body: bytes, metadata: Mapping[str, Any]) -> bytes:
        for part in ("uid", "name", "namespace"):
            body = body.replace(b'"%s' % self._old[part], b'"%s' % metadata[part].encode())
        return body


async def raw_writes(client: RawClient, jobs: int, queues: int) -> float:
    """Seconds that the writes of so many jobs take. The operator must not run, and must have run."""
    examples = {size.name: await _example(client, size.name, queues) for size in SIZES}
    numbers = iter(range(jobs))

    async def work() -> None:
        for number in numbers:
            size, job = job_of(number, queues)
            job["metadata"]["name"] = f"raw-{number}"
            await _send(client, job, examples[size])

    begun = time.monotonic()
    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return time.monotonic() - begun


async def _send(client: RawClient, job: Mapping[str, Any], example: Example) -> None:
    namespace = job["metadata"]["namespace"]
    path = JOBS.format(namespace)
    metadata = (await client.request("POST", path, job))["metadata"]
    await client.request("POST", REVISIONS.format(namespace), example.revision(metadata))
    version = metadata["resourceVersion"]
    for _ in range(STATUSES):
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": {**example.status, "selector": f"v={version}"}},
        ]
        written = await client.request("PATCH", f"{path}/{metadata['name']}/status", patch, JSON_PATCH)
        version = written["metadata"]["resourceVersion"]
    await client.request("POST", EVENTS.format(namespace), example.event(metadata))


async def _example(client: RawClient, size: str, queues: int) -> Example:
    """Of a job of that size in the first queue that has one."""
    number = next(i for i in range(queues * 50) if job_of(i, queues)[0] == size)
    namespace, name = f"q-{number % queues}", f"job-{number}"
    job = await client.request("GET", f"{JOBS.format(namespace)}/{name}")
    selector = f"fieldSelector=involvedObject.name={name}"
    revisions = await client.request("GET", f"{REVISIONS.format(namespace)}?limit=500")
    revision = next(r for r in revisions["items"] if r["metadata"]["name"].startswith(f"{name}-"))
    events = await client.request("GET", f"{EVENTS.format(namespace)}?{selector}")
    return Example(job, revision, events["items"][-1])


def _bare(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {k: v for k, v in body["metadata"].items() if k not in _SERVERS_OWN}
    return {**body, "metadata": metadata}
