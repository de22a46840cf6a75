"""The operator's memory with 20,000 pods: 40 gangs of 500, all of them its own and Running."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

from e2e.bench.manifests import training_job
from e2e.bench.rig import Rig
from e2e.bench.scenarios import JOBS, SETTLE_SECONDS, Row, make_namespace, unless_ended

RSS = "rss-20000"
# This measures no time, so a machine that is busy with other things must not end it by a lease that ran out.
PATIENT = ("--lease-duration", "120", "--lease-renew-deadline", "90")
GANGS = 40
PODS = 500
SECONDS = 3000.0
LOOK_SECONDS = 5.0


async def measure_memory(rig: Rig) -> Row:
    """Resident memory, in bytes, when all pods run, and its peak on the way."""
    if rig.operator is None:
        raise RuntimeError("no operator runs")
    namespace, pid = "bench-rss", rig.operator.pid
    await make_namespace(rig.client, namespace)
    before = resident(pid)[0]
    started = time.monotonic()
    await rig.client.each(
        ("POST", JOBS.format(namespace), training_job(f"job-{i}", namespace, PODS)) for i in range(GANGS)
    )
    await unless_ended(rig, lambda: _all_ready(rig, namespace))
    wall = time.monotonic() - started
    await asyncio.sleep(SETTLE_SECONDS)
    now, peak = resident(pid)
    return {
        "scenario": RSS,
        "pods": GANGS * PODS,
        "wall_s": round(wall, 2),
        "operator_rss_bytes": peak,
        "operator_rss_after_bytes": now,
        "operator_rss_before_bytes": before,
    }


async def _all_ready(rig: Rig, namespace: str) -> float:
    """Wait for the operator's own word on each gang: a second mirror of 20,000 pods would only disturb."""
    async with asyncio.timeout(SECONDS):
        while True:
            listed = await rig.client.request("GET", JOBS.format(namespace))
            ready = sum(j.get("status", {}).get("phase") == "Running" for j in listed["items"])
            if ready == GANGS:
                return time.monotonic()
            await asyncio.sleep(LOOK_SECONDS)


def resident(pid: int) -> tuple[int, int]:
    """A process's resident memory now and at its peak, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    return int(found["VmRSS"]) * 1024, int(found["VmHWM"]) * 1024
