"""A gang of 1,000 restarts in place: from the muster of a process that failed to the last launcher's going on.

The operator and the ingest are real, and so are connections and tokens; the launchers are stand-ins in this process,
whose processes take no time to end or to begin. The limit is the same gang's restart with new pods by the same
operator, from the loss of one pod to all of the next attempt Running.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from e2e.bench.client import RawClient
from e2e.bench.launchers import Launcher
from e2e.bench.manifests import training_job
from e2e.bench.reports import NAME, PATIENT, authority, identity_of, ingest
from e2e.bench.reports_client import Target
from e2e.bench.rig import Rig
from e2e.bench.scenarios import (
    JOBS,
    PODS,
    SECONDS,
    SETTLE_SECONDS,
    Row,
    make_namespace,
    measured,
    remove_namespace,
    running,
)
from e2e.cluster import ports

SCENARIO = "inplace-1x1000"
PODS_IN_GANG = 1000
TOKENS_AT_ONCE = 32
WARM_SECONDS = 300.0
FAILED = 3  # the rank whose process fails
JOB = "job"


@asynccontextmanager
async def reporting(rig: Rig) -> AsyncIterator[Target]:
    """The operator and its ingest; where launchers are to ask."""
    port = ports.reserve().number
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "reports.sock"
        url = f"https://{NAME}:{port}/v1/report"
        arguments = (
            "--report-socket",
            str(socket),
            "--report-url",
            url,
            "--launcher-image",
            "drumline:bench",
        )
        await rig.start_operator(*arguments, *PATIENT)
        with ingest(rig, socket, port):
            yield Target(port, NAME, await authority(rig.client))


def gang(namespace: str, pods: int) -> dict[str, Any]:
    """A job that restarts in place, with a command that the launcher takes."""
    manifest = training_job(JOB, namespace, pods)
    manifest["spec"]["failurePolicy"]["restartStrategy"] = "InPlace"
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python", "train.py"]
    return manifest


async def restart_in_place(rig: Rig, target: Target) -> Row:
    """The row of the scenario; pods and their uids must be the same after as before."""
    namespace = f"bench-{SCENARIO}"
    await make_namespace(rig.client, namespace)
    watch = asyncio.create_task(rig.client.watch_pods(namespace, running(PODS_IN_GANG), SECONDS))
    await rig.client.request("POST", JOBS.format(namespace), gang(namespace, PODS_IN_GANG))
    await watch
    launchers = await _launchers(rig.client, namespace, target)
    tasks = [asyncio.create_task(launcher.run()) for launcher in launchers]
    try:
        warm = await _all_run(launchers)
        before = await _uids(rig.client, namespace)
        await asyncio.sleep(SETTLE_SECONDS)
        row = await measured(rig, SCENARIO, PODS_IN_GANG, lambda: _fail(launchers))
        if await _uids(rig.client, namespace) != before:
            raise RuntimeError("pods were recreated")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await remove_namespace(rig.client, namespace)
    return row | {"muster_s": round(warm, 2)}


async def _fail(launchers: Sequence[Launcher]) -> float:
    """One process fails; seconds until the last launcher was let go for the next epoch."""
    began = time.monotonic()
    launchers[FAILED].fail(3, "exit code 3")
    async with asyncio.timeout(60):
        return max(await asyncio.gather(*(launcher.goes(1) for launcher in launchers))) - began


async def _launchers(client: RawClient, namespace: str, target: Target) -> list[Launcher]:
    """One for each pod, in the order of ranks."""
    pods = (await client.request("GET", PODS.format(namespace)))["items"]
    pods.sort(key=lambda p: int(p["metadata"]["labels"]["drumline.dev/worker"]))
    few, tls = asyncio.Semaphore(TOKENS_AT_ONCE), target.tls()

    async def one(rank: int, pod: Any) -> Launcher:
        async with few:
            who = await identity_of(client, pod, f"127.0.{1 + rank // 250}.{1 + rank % 250}")
        return Launcher(target, tls, who, rank)

    return list(await asyncio.gather(*(one(rank, pod) for rank, pod in enumerate(pods))))


async def _all_run(launchers: Sequence[Launcher]) -> float:
    """Seconds until all run their first process."""
    began = time.monotonic()
    async with asyncio.timeout(WARM_SECONDS):
        return max(await asyncio.gather(*(launcher.goes(0) for launcher in launchers))) - began


async def _uids(client: RawClient, namespace: str) -> set[str]:
    pods = (await client.request("GET", PODS.format(namespace)))["items"]
    return {pod["metadata"]["uid"] for pod in pods}
