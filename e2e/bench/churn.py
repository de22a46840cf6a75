"""``python -m e2e.bench.churn [JOBS [NODES [QUEUES]]]``: jobs with pods that come and go through queues, all by the operator.

By default 5,000 jobs of one whole host each, in 100 queues of one cohort, on 2,000 fake hosts. They are applied as fast as
the API server takes them, hold their host for RUN_SECONDS, and succeed; every queue's own quota is a hundredth of the
cluster, so that queues with much to do borrow. Measured from the first apply to the last job's success. Nothing may have
been queued again, and every pod has to have gone where it was pinned.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp

from drumline.runtime.metrics import read_series
from e2e.bench.client import RawClient
from e2e.bench.manifests import training_job
from e2e.bench.measure import all_writes, operator_writes, usage
from e2e.bench.memory import PATIENT
from e2e.bench.rig import Rig, rig
from e2e.bench.scenarios import JOBS, PODS, Row, make_namespace
from e2e.cluster.embedded import ClusterOptions

CHIPS = 8
RUN_SECONDS = 20
SECONDS = 3600.0
LOOK_SECONDS = 5.0
NAMESPACE = "bench-churn"
QUEUES = "/apis/drumline.dev/v1alpha1/acceleratorqueues"
KIND = "nvidia-h100-80gb"
OUTPUT = Path("build/bench-churn.json")
OPTIONS = ClusterOptions(scheduler_qps=1000, scheduler_burst=1000, controller_qps=500, controller_burst=500)


async def main(jobs: int = 5000, nodes: int = 2000, queues: int = 100) -> Row:
    """Measure; the row."""
    async with rig(OPTIONS, f"{nodes} hosts of h100 in blocks of 32") as made:
        await make_namespace(made.client, NAMESPACE)
        quota = nodes * CHIPS // queues
        await made.client.each(("POST", QUEUES, _queue(f"q-{i}", quota)) for i in range(queues))
        await made.start_operator(*PATIENT)
        return await _measured(made, jobs, queues)


def _queue(name: str, chips: int) -> dict[str, Any]:
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "AcceleratorQueue",
        "metadata": {"name": name},
        "spec": {
            "cohort": "all",
            "quotas": [{"accelerator": KIND, "nominalQuota": chips}],
            "namespaceSelector": {},
        },
    }


def _jobs(count: int, queues: int) -> Iterator[tuple[str, str, Any]]:
    """The lower a queue's number, the more of them are its."""
    for i in range(count):
        job = training_job(f"job-{i}", NAMESPACE, 1)
        job["spec"]["accelerator"] = {"type": KIND}
        job["spec"]["queue"] = f"q-{min(i % queues, i * 7 % queues)}"
        annotations = {"fake.drumline.dev/run-seconds": str(RUN_SECONDS)}
        job["spec"]["template"]["metadata"] = {"annotations": annotations}
        yield "POST", JOBS.format(NAMESPACE), job


async def _measured(made: Rig, jobs: int, queues: int) -> Row:
    if made.operator is None:
        raise RuntimeError("no operator runs")
    before = usage(made.operator.pid)
    writes, everyone = await operator_writes(made.metrics_url), await all_writes(made.client)
    began = time.monotonic()
    await made.client.each(_jobs(jobs, queues))
    applied = time.monotonic() - began
    most = await _until_over(made, jobs)
    wall = time.monotonic() - began
    after = usage(made.operator.pid)
    found = [j["status"] async for j in _each(made.client, JOBS.format(NAMESPACE))]
    return {
        "scenario": "churn",
        "jobs": jobs,
        "nodes": len(made.nodes),
        "queues": queues,
        "applied_s": round(applied, 1),
        "wall_s": round(wall, 1),
        "jobs_per_s": round(jobs / wall, 1),
        "least_s": round(RUN_SECONDS * -(-jobs // len(made.nodes)), 1),
        "most_hosts_held": most,
        "phases": dict(Counter(status["phase"] for status in found)),
        "attempts_beyond_the_first": sum(status["attempt"] - 1 for status in found),
        "operator_cpu_s": round(after.cpu - before.cpu, 1),
        "operator_rss_bytes": after.rss_peak,
        "operator_writes_per_job": round((await operator_writes(made.metrics_url) - writes) / jobs, 2),
        "all_writes_per_job": round((await all_writes(made.client) - everyone) / jobs, 2),
        "load_average": round(os.getloadavg()[0], 1),
    }


async def _until_over(made: Rig, jobs: int) -> int:
    """Until all jobs have ended; the most hosts that pods held at one look. RuntimeError when a host is held twice."""
    most, deadline = 0, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if made.operator is None or made.operator.poll() is not None:
            raise RuntimeError(f"the operator ended; see {made.log}")
        selector = "fieldSelector=status.phase!=Succeeded,status.phase!=Failed"
        pods = [p async for p in _each(made.client, f"{PODS.format(NAMESPACE)}?{selector}")]
        held = Counter(p["spec"]["nodeName"] for p in pods if p["spec"].get("nodeName"))
        if held and max(held.values()) > 1:
            raise RuntimeError(f"a host is held twice: {held.most_common(1)}")
        most = max(most, len(held))
        ended = await _ended(made)
        sys.stderr.write(f"{ended} of {jobs} over, {len(held)} hosts held\n")
        if ended == jobs:
            return most
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError(f"jobs do not end within {SECONDS:.0f} s")


async def _ended(made: Rig) -> int:
    """Jobs that are over, by the operator's metrics: a list of all would cost more than the jobs do."""
    async with aiohttp.ClientSession() as session, session.get(made.metrics_url) as answer:
        found = read_series(await answer.text())
    over = ("Succeeded", "Failed")
    return round(sum(v for name, labels, v in found if name == "drumline_jobs" and labels["phase"] in over))


async def _each(client: RawClient, path: str) -> AsyncIterator[Any]:
    """The items of a list, page by page."""
    token, mark = "", "&" if "?" in path else "?"
    while True:
        found = await client.request("GET", f"{path}{mark}limit=500&continue={token}")
        for item in found["items"]:
            yield item
        token = found["metadata"].get("continue", "")
        if not token:
            return


if __name__ == "__main__":
    result = asyncio.run(main(*map(int, sys.argv[1:])))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(result, indent=2) + "\n")
