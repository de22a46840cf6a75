"""The scenarios, each once by the operator and three times by the raw client on the same control plane."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from e2e.bench.client import RawClient
from e2e.bench.manifests import raw_pods, training_job
from e2e.bench.measure import all_writes, operator_writes, usage
from e2e.bench.rig import Rig

Row = dict[str, Any]
LIMIT_RUNS = 3
SECONDS = 900.0
SETTLE_SECONDS = 2.0

JOBS = "/apis/drumline.dev/v1alpha1/namespaces/{}/trainingjobs"
PODS = "/api/v1/namespaces/{}/pods"


async def raw_create(rig: Rig, pods: int) -> float:
    """Seconds from the first create to all Running, best of three."""
    return min([await _raw_once(rig, pods, f"raw-{pods}-{n}", restart=False) for n in range(LIMIT_RUNS)])


async def raw_restart(rig: Rig, pods: int) -> float:
    """Seconds from the first delete to all of as many new pods Running, best of three."""
    return min([await _raw_once(rig, pods, f"raw-again-{pods}-{n}", restart=True) for n in range(LIMIT_RUNS)])


async def _raw_once(rig: Rig, pods: int, namespace: str, *, restart: bool) -> float:
    await make_namespace(rig.client, namespace)
    path = PODS.format(namespace)
    place = [rig.nodes[i // 8 % len(rig.nodes)] for i in range(pods)]
    first, second = raw_pods(namespace, place, 1), raw_pods(namespace, place, 2)
    watch = asyncio.create_task(rig.client.watch_pods(namespace, running(pods), SECONDS))
    started = time.monotonic()
    await rig.client.each(("POST", path, pod) for pod in first)
    ended = await watch
    if restart:
        watch = asyncio.create_task(rig.client.watch_pods(namespace, running(pods, "raw-2-"), SECONDS))
        started = time.monotonic()
        await rig.client.each(("DELETE", f"{path}/raw-1-0-{i}", None) for i in range(pods))
        await rig.client.each(("POST", path, pod) for pod in second)
        ended = await watch
    await remove_namespace(rig.client, namespace)
    return ended - started


async def create_jobs(rig: Rig, scenario: str, jobs: int, pods: int) -> Row:
    """From the apply of all jobs to all of their pods Running."""
    namespace = f"bench-{scenario}"
    await make_namespace(rig.client, namespace)

    async def act() -> float:
        watch = asyncio.create_task(rig.client.watch_pods(namespace, running(jobs * pods), SECONDS))
        started = time.monotonic()
        manifests = (training_job(f"job-{i}", namespace, pods) for i in range(jobs))
        await rig.client.each(("POST", JOBS.format(namespace), m) for m in manifests)
        return await watch - started

    row = await measured(rig, scenario, jobs * pods, act)
    row["requeued"] = await _requeued(rig, namespace)
    await remove_namespace(rig.client, namespace)
    return row


async def _requeued(rig: Rig, namespace: str) -> int:
    """Attempts beyond the first one of each job: 0 when no gang was queued again."""
    found = await rig.client.request("GET", JOBS.format(namespace))
    return sum(j["status"]["attempt"] - 1 for j in found["items"])


async def restart_job(rig: Rig, scenario: str, pods: int) -> Row:
    """From the loss of one pod to all pods of the next attempt Running."""
    namespace = f"bench-{scenario}"
    await make_namespace(rig.client, namespace)
    watch = asyncio.create_task(rig.client.watch_pods(namespace, running(pods), SECONDS))
    await rig.client.request("POST", JOBS.format(namespace), training_job("job", namespace, pods))
    await watch
    await asyncio.sleep(SETTLE_SECONDS)

    async def act() -> float:
        watch = asyncio.create_task(rig.client.watch_pods(namespace, running(pods, "job-2-"), SECONDS))
        started = time.monotonic()
        await rig.client.request("DELETE", f"{PODS.format(namespace)}/job-1-0-3")
        return await watch - started

    row = await measured(rig, scenario, pods, act)
    await remove_namespace(rig.client, namespace)
    return row


async def measured(rig: Rig, scenario: str, pods: int, act: Callable[[], Awaitable[float]]) -> Row:
    """Run `act` and add what it cost."""
    if rig.operator is None:
        raise RuntimeError("no operator runs")
    before = usage(rig.operator.pid)
    writes, everyone = await operator_writes(rig.metrics_url), await all_writes(rig.client)
    wall = await unless_ended(rig, act)
    await asyncio.sleep(SETTLE_SECONDS)
    after = usage(rig.operator.pid)
    return {
        "scenario": scenario,
        "pods": pods,
        "wall_s": round(wall, 2),
        "operator_cpu_s": round(after.cpu - before.cpu, 2),
        "operator_rss_bytes": after.rss_peak,
        "operator_writes_per_pod": round((await operator_writes(rig.metrics_url) - writes) / pods, 3),
        "all_writes_per_pod": round((await all_writes(rig.client) - everyone) / pods, 3),
    }


async def unless_ended(rig: Rig, act: Callable[[], Awaitable[float]]) -> float:
    """Run `act`; RuntimeError as soon as the operator's process ends."""
    task = asyncio.ensure_future(act())
    while not (await asyncio.wait({task}, timeout=1.0))[0]:
        if rig.operator is None or rig.operator.poll() is not None:
            task.cancel()
            raise RuntimeError(f"the operator ended; see {rig.log}")
    return task.result()


def running(pods: int, prefix: str = "") -> Callable[[Mapping[str, Any]], bool]:
    """Whether so many pods whose names begin so are Running."""

    def check(phases: Mapping[str, Any]) -> bool:
        if len(phases) < pods:
            return False
        return sum(1 for n, (p, _) in phases.items() if p == "Running" and n.startswith(prefix)) >= pods

    return check


async def make_namespace(client: RawClient, name: str) -> None:
    """A namespace, ready for pods."""
    await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    for _ in range(200):
        if "metadata" in (answer := await client.request("GET", account)) and answer.get("kind") != "Status":
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(f"namespace {name} has no service account")


async def remove_namespace(client: RawClient, name: str) -> None:
    """Delete the jobs and pods of a namespace, and wait until the pods are gone."""
    await client.request("DELETE", JOBS.format(name))
    await client.request("DELETE", f"{PODS.format(name)}?gracePeriodSeconds=0")
    for _ in range(1200):
        left = await client.request("GET", f"{PODS.format(name)}?limit=1")
        if not left["items"]:
            await asyncio.sleep(1)
            await client.request("DELETE", f"/api/v1/namespaces/{name}")
            return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"pods of {name} do not go")
