"""``python -m e2e.bench.admission_churn [--jobs N] [--queues M]``: admission alone, through the API server.

By default 50,000 jobs in 1,000 queues of 10 cohorts, after the example of Kueue's large-scale test of its scheduler
(`test/performance/scheduler/configs/large-scale`), whose figure is 42 workloads a second. As there: etcd and the API
server and nothing else of Kubernetes, each queue with a namespace of its own, 20 accelerators of its own and 100 that it may
borrow; of 50 jobs 35 want one accelerator for 150 ms, 11 want 5 for 350 ms, 4 want 20 for 700 ms, with rising priority; all
are created as fast as the API server takes them.

Real: the operator's process with all its parts, each TrainingJob, AcceleratorQueue, dry run, revision, status write and
event. Stood in for: pods, and the Services and EndpointSlices of their names (`kubelet`), inside the operator's
process, whose processor time and memory are therefore counted with the operator's. In Kueue's test there are no pods
either; its runner writes the end of each workload, here the operator does when the stand-in's pods have ended.

Unlike there: hosts. The operator places gangs on nodes, so there are some, 8 accelerators each, as many as never to be short
of; and the 20 of the biggest jobs are 4 pods of 5.

The limit, in the same run: a raw client that makes the writes of a job that never waits (`admission_raw`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from drumline.runtime.metrics import read_series
from e2e.bench.admission_jobs import job_of, prepare
from e2e.bench.admission_raw import raw_writes
from e2e.bench.client import RawClient
from e2e.bench.measure import usage
from e2e.bench.memory import ENDED, PATIENT
from e2e.bench.rig import Rig, rig
from e2e.bench.scenarios import JOBS, Row
from e2e.cluster.embedded import ClusterOptions

ALL_JOBS: Final = "/apis/drumline.dev/v1alpha1/trainingjobs"
HOSTS_A_QUEUE: Final = 4
SERVERS: Final = ("kube-apiserver", "etcd")
MOST_RAW: Final = 2000  # jobs of the raw client
SECONDS: Final = 3600.0
LOOK_SECONDS: Final = 10.0
OUTPUT: Final = Path("build/bench-admission-churn.json")


@dataclass(slots=True)
class Seen:
    """What the watch has shown of jobs, by name: seconds, monotonic."""

    created: dict[str, float] = field(default_factory=dict)
    reserved: dict[str, float] = field(default_factory=dict)
    ended: dict[str, tuple[float, str]] = field(default_factory=dict)
    events: int = 0

    def take(self, job: Any) -> None:
        """One state of a job; one that has ended was admitted, though a list may have shown no more than the end."""
        name, now = job["metadata"]["name"], time.monotonic()
        self.events += 1
        status = job.get("status") or {}
        over = status.get("phase") in ("Succeeded", "Failed")
        told = {c["type"]: c["status"] for c in status.get("conditions", ())}
        if over or told.get("QuotaReserved") == "True":
            self.reserved.setdefault(name, now)
        if over:
            self.ended.setdefault(name, (now, status["phase"]))


async def main(jobs: int, queues: int) -> Row:
    """Measure; the row."""
    async with rig(ClusterOptions(), f"{queues * HOSTS_A_QUEUE} hosts of h100 in blocks of 32") as made:
        for name in ENDED:
            made.cluster.kill(name)
        await prepare(made.client, queues)
        stand_in = Path(tempfile.gettempdir()) / f"drumline-bench-kubelet-{os.getpid()}"
        await made.start_operator(*PATIENT, instead=("-m", "e2e.bench.podless_operator", str(stand_in)))
        try:
            row = await measured(made, jobs, queues)
            row["operator_cpu_of_stand_in_s"] = round(float(stand_in.read_text(encoding="utf-8")), 1)
        finally:
            made.stop_operator()
            stand_in.unlink(missing_ok=True)
        row |= await limit(made, min(jobs, MOST_RAW), queues)
    return row | {"ratio_to_limit": round(row["limit_jobs_per_s"] / row["jobs_per_s"], 2)}


async def limit(made: Rig, jobs: int, queues: int) -> Row:
    """The same writes by the raw client, with the jobs of before still there."""
    servers = {name: made.cluster.processes[name].pid for name in SERVERS}
    before = {name: usage(pid).cpu for name, pid in servers.items()}
    seconds = await raw_writes(made.client, jobs, queues)
    spent = {name: round(usage(pid).cpu - before[name], 1) for name, pid in servers.items()}
    return {"limit_jobs": jobs, "limit_jobs_per_s": round(jobs / seconds, 1), "limit_cpu_s": spent}


def pids(made: Rig) -> dict[str, int]:
    """The processes whose cost is told."""
    if made.operator is None:
        raise RuntimeError("no operator runs")
    found = {"operator": made.operator.pid, "bench": os.getpid()}
    return found | {name: made.cluster.processes[name].pid for name in SERVERS}


async def measured(made: Rig, jobs: int, queues: int) -> Row:
    """From the first create to the end of the last job."""
    seen = Seen()
    before = {name: usage(pid) for name, pid in pids(made).items()}
    writes = await _writes(made)
    listed = await made.client.request("GET", f"{ALL_JOBS}?limit=1")
    watching = asyncio.create_task(_watch(made.client, listed["metadata"]["resourceVersion"], seen))
    began = time.monotonic()
    creating = asyncio.create_task(_create(made.client, jobs, queues, seen))
    while len(seen.ended) < jobs:
        await asyncio.sleep(LOOK_SECONDS if jobs > 5000 else 1.0)
        _look(made, seen, began)
        for task in (watching, creating):
            if task.done() and task.exception() is not None:
                await task
    watching.cancel()
    after = {name: usage(pid) for name, pid in pids(made).items()}
    spent = await _writes(made)
    waited = sorted(seen.reserved[name] - at for name, at in seen.created.items())
    wall = max(at for at, _ in seen.ended.values()) - began
    cuts = statistics.quantiles(waited, n=100)
    return {
        "scenario": "admission-churn",
        "jobs": jobs,
        "queues": queues,
        "hosts": len(made.nodes),
        "created_s": round(max(seen.created.values()) - began, 1),
        "admitted_s": round(max(seen.reserved.values()) - began, 1),
        "wall_s": round(wall, 1),
        "jobs_per_s": round(jobs / wall, 1),
        "admitted_per_s": round(jobs / (max(seen.reserved.values()) - began), 1),
        "reserved_after_s": {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)},
        "phases": dict(Counter(phase for _, phase in seen.ended.values())),
        "cpu_s": {name: round(after[name].cpu - before[name].cpu, 1) for name in before},
        "rss_peak_bytes": {name: after[name].rss_peak for name in after},
        "operator_writes_per_job": _per_job(writes, spent, jobs),
        "load_average": round(os.getloadavg()[0], 1),
    }


async def _create(client: RawClient, jobs: int, queues: int, seen: Seen) -> None:
    numbers = iter(range(jobs))

    async def work() -> None:
        for number in numbers:
            _, job = job_of(number, queues)
            await client.request("POST", JOBS.format(job["metadata"]["namespace"]), job)
            seen.created[job["metadata"]["name"]] = time.monotonic()

    await asyncio.gather(*(work() for _ in range(64)))


async def _watch(client: RawClient, version: str, seen: Seen) -> None:
    """Follow all jobs for ever; where the server has forgotten the version, from a list on."""
    while True:
        async for event in client.events(ALL_JOBS, version):
            if event["type"] == "ERROR":
                break
            seen.take(event["object"])
        version = await _list(client, seen)


async def _list(client: RawClient, seen: Seen) -> str:
    """Take all jobs as they are; the resource version of that."""
    token = ""
    while True:
        page = await client.request("GET", f"{ALL_JOBS}?limit=500&continue={token}")
        for job in page["items"]:
            seen.take(job)
        token = page["metadata"].get("continue", "")
        if not token:
            return str(page["metadata"]["resourceVersion"])


def _look(made: Rig, seen: Seen, began: float) -> None:
    """Say how far it is. RuntimeError when the operator has ended, TimeoutError after too long."""
    if made.operator is None or made.operator.poll() is not None:
        raise RuntimeError(f"the operator ended; see {made.log}")
    spent = time.monotonic() - began
    if spent > SECONDS:
        raise TimeoutError(f"jobs do not end within {SECONDS:.0f} s")
    counts = f"{len(seen.created)} created, {len(seen.reserved)} admitted, {len(seen.ended)} over"
    sys.stderr.write(f"{spent:.0f} s: {counts}\n")


async def _writes(made: Rig) -> Counter[str]:
    """Writes of the operator so far, by verb and resource; leases left out."""
    async with aiohttp.ClientSession() as session, session.get(made.metrics_url) as answer:
        found = read_series(await answer.text())
    counts: Counter[str] = Counter()
    for name, labels, value in found:
        if name == "drumline_api_requests_total" and labels["resource"] != "leases":
            counts[f"{labels['verb']} {labels['resource']} {labels['code']}"] += round(value)
    return counts


def _per_job(before: Counter[str], after: Counter[str], jobs: int) -> dict[str, float]:
    """Requests of the operator for each job, reads too; those that hardly count left out."""
    found = {what: round((count - before[what]) / jobs, 3) for what, count in after.items()}
    return {what: count for what, count in sorted(found.items()) if count >= 0.005}


def _arguments() -> Iterator[int]:
    parser = argparse.ArgumentParser(prog="python -m e2e.bench.admission_churn")
    parser.add_argument("--jobs", type=int, default=50_000, help="How many. Default: 50000.")
    parser.add_argument("--queues", type=int, default=1_000, help="Of how many queues. Default: 1000.")
    found = parser.parse_args()
    yield from (found.jobs, found.queues)


if __name__ == "__main__":
    result = asyncio.run(main(*_arguments()))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
