"""The operator's memory with 20,000 pods: 40 gangs of 500, all of them its own, with addresses and ready.

Scheduler, controller manager and kwok are ended first: they would take most of the time and have no part in what is
measured. The bench itself reports each pod as running, as a kubelet would; the pods stay unbound.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from e2e.bench.client import RawClient, is_ready
from e2e.bench.manifests import training_job
from e2e.bench.rig import Rig
from e2e.bench.scenarios import JOBS, PODS, SETTLE_SECONDS, Row, make_namespace, unless_ended

RSS = "rss-20000"
# This measures no time, so a machine that is busy with other things must not end it by a lease that ran out.
PATIENT = ("--lease-duration", "120", "--lease-renew-deadline", "90")
GANGS = 40
SIZE = 500
SECONDS = 3000.0  # of each of the two waits
LOOK_SECONDS = 2.0
NAMESPACE = "bench-rss"
ENDED = ("kube-scheduler", "kube-controller-manager", "kwok")


async def measure_memory(rig: Rig) -> Row:
    """Resident memory, in bytes, when all gangs run, and its peak on the way."""
    if rig.operator is None:
        raise RuntimeError("no operator runs")
    pid = rig.operator.pid
    await make_namespace(rig.client, NAMESPACE)
    for name in ENDED:
        rig.cluster.kill(name)
    await heal(rig.client)
    before = resident(pid)[0]
    started = time.monotonic()
    await unless_ended(rig, lambda: _gangs(rig.client))
    wall = time.monotonic() - started
    await asyncio.sleep(SETTLE_SECONDS)
    now, peak = resident(pid)
    return {
        "scenario": RSS,
        "pods": GANGS * SIZE,
        "wall_s": round(wall, 2),
        "operator_rss_bytes": peak,
        "operator_rss_after_bytes": now,
        "operator_rss_before_bytes": before,
    }


async def heal(client: RawClient) -> None:
    """Make every node whole again: on a busy machine some are given up before those who did so are ended."""
    listed = await client.request("GET", "/api/v1/nodes")
    for node in listed["items"]:
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        if not is_ready(node):
            ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
            await client.request("PATCH", f"{path}/status", ready)
        if node["spec"].get("taints"):
            await client.request("PATCH", path, {"spec": {"taints": None}})


async def _gangs(client: RawClient) -> float:
    """From the apply of all jobs to the operator's own word that each gang runs."""
    await client.each(
        ("POST", JOBS.format(NAMESPACE), training_job(f"job-{i}", NAMESPACE, SIZE)) for i in range(GANGS)
    )
    await _until(lambda: _count(client), GANGS * SIZE)
    await client.each(_reports())
    await _until(lambda: _running(client), GANGS)
    return time.monotonic()


async def _until(look: Callable[[], Awaitable[int]], wanted: int) -> None:
    for _ in range(int(SECONDS / LOOK_SECONDS)):
        if await look() >= wanted:
            return
        await asyncio.sleep(LOOK_SECONDS)
    raise TimeoutError(f"{wanted} did not come in {SECONDS:.0f} s")


async def _count(client: RawClient) -> int:
    """Pods there are, with no need to list them."""
    listed = await client.request("GET", f"{PODS.format(NAMESPACE)}?limit=1")
    return len(listed["items"]) + int(listed["metadata"].get("remainingItemCount", 0))


async def _running(client: RawClient) -> int:
    listed = await client.request("GET", JOBS.format(NAMESPACE))
    return sum(job.get("status", {}).get("phase") == "Running" for job in listed["items"])


def _reports() -> Iterator[tuple[str, str, Any]]:
    """For each pod the status that its kubelet would write."""
    for number in range(GANGS * SIZE):
        gang, worker = divmod(number, SIZE)
        ip = f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}],
        }
        yield "PATCH", f"{PODS.format(NAMESPACE)}/job-{gang}-1-0-{worker}/status", {"status": status}


def resident(pid: int) -> tuple[int, int]:
    """A process's resident memory now and at its peak, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
    return int(found["VmRSS"]) * 1024, int(found["VmHWM"]) * 1024
