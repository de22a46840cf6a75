"""Elastic jobs on fake nodes: they begin with what there is, go on with what is left, and grow at a checkpoint."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from drumline.api.report import Commit, Span, SpanKind
from e2e.cluster import nodes
from e2e.cluster.provider import Cluster, KubectlError
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest, env_of, node_of
from tests.integration.operator.test_goodput import states_of, succeed
from tests.integration.operator.test_goodput_restart import Replica
from tests.integration.operator.test_goodput_workers import said, sender

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

HOST = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
STEPS, STEP_MS = 5, 100


@pytest.fixture(scope="module")
def replica(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replica]:
    running = Replica(own_cluster, tmp_path_factory.mktemp("replica"))
    try:
        yield running
    finally:
        running.kill()


def elastic(lab: Lab, name: str, slices: int, bounds: dict[str, int], **spec: Any) -> Manifest:
    """A job of one whole host a slice."""
    return lab.job(
        name, **{"accelerator": HOST, "workersPerSlice": 1, "slices": slices, "elastic": bounds, **spec}
    )


async def runs_with(lab: Lab, name: str, attempt: int, slices: int) -> Manifest:
    """The job once that attempt of it runs, with so many slices."""
    job = await lab.until(
        name,
        lambda j: j.get("status", {}).get("attempt") == attempt and j["status"]["phase"] == "Running",
        f"attempt {attempt} does not run",
    )
    assert job["status"]["slices"] == slices
    assert job["status"]["workers"]["ready"] == job["status"]["workers"]["desired"]
    return job


async def hosts(lab: Lab) -> dict[str, str]:
    """Where each worker of the running attempt is, by host name."""
    return {p["spec"]["hostname"]: node_of(p) for p in await lab.pods() if not is_leaving(p)}


def is_leaving(pod: Manifest) -> bool:
    return "deletionTimestamp" in pod["metadata"]


class Program:
    """Rank 0's, by its reports: steps that end now, and a checkpoint that covers all of them."""

    def __init__(self, replica: Replica, lab: Lab, job: Manifest) -> None:
        self._replica, self._lab, self._job = replica, lab, job
        self._began = time.monotonic() - STEPS * STEP_MS / 1000
        self._step = 0

    async def report(self) -> None:
        """Some more steps."""
        end = round((time.monotonic() - self._began) * 1000)
        begin, step = end - STEPS * STEP_MS, self._step
        self._step += STEPS
        spans = tuple(
            Span(kind=SpanKind.STEP, start_ms=begin + i * STEP_MS, duration_ms=STEP_MS, step=step + i)
            for i in range(STEPS)
        )
        commits = (Commit(step=self._step - 1, at_ms=end),)
        rank_0 = next(p for p in await self._lab.pods() if not is_leaving(p))
        said_now = said(self._job, spans=spans, commits=commits, sent_ms=end)
        await self._replica.send(said_now, sender(rank_0))


async def test_begins_smaller_shrinks_and_regrows_at_a_checkpoint(
    own_cluster: Cluster, replica: Replica
) -> None:
    async with make_lab(own_cluster) as lab:
        names = await lab.nodes("3 hosts of h100 in blocks of 3")
        bounds = {"minSlices": 2, "maxSlices": 6, "regrowSeconds": 1}
        await lab.apply(elastic(lab, "bends", 4, bounds))
        await runs_with(lab, "bends", 1, 3)
        pods = await lab.pods()
        env = env_of(pods[0])
        assert (env["DRUMLINE_SLICES"], env["DRUMLINE_WORLD_SIZE"], env["PET_NNODES"]) == ("3", "24", "3")
        before = await hosts(lab)
        assert before == {f"bends-{i}-0": name for i, name in enumerate(names)}

        await nodes.delete_node(lab.cluster, names[1])
        job = await runs_with(lab, "bends", 2, 2)
        assert (job["status"]["attempts"][0]["cause"], job["status"]["attempts"][0]["slices"]) == (
            "NodeLost",
            3,
        )
        assert await hosts(lab) == {"bends-0-0": names[0], "bends-1-0": names[2]}
        program = Program(replica, lab, job)
        await program.report()

        await lab.nodes("3 hosts of h100 in blocks of 3")
        job = await lab.until("bends", lambda j: j["status"].get("resize"), "no resize is due")
        assert job["status"]["resize"]["slices"] == 3
        await asyncio.sleep(2)
        job = await runs_with(lab, "bends", 2, 2)
        await program.report()
        job = await runs_with(lab, "bends", 3, 3)
        after = await hosts(lab)
        assert after == {"bends-0-0": names[0], "bends-1-0": names[2], "bends-2-0": names[1]}
        await replica.send(said(job, resumed_step=2 * STEPS, sent_ms=100), sender((await lab.pods())[0]))
        for pod in await lab.pods():
            await succeed(lab, pod)
        job = await lab.phase("bends", "Succeeded")
        grown = job["status"]["attempts"][1]
        assert (grown.get("cause"), grown["action"], grown["lostSteps"]) == (None, "Resize", 0)
        assert grown["message"] == "resized from 2 to 3 slices, after a durable checkpoint"
        assert job["status"]["restarts"] == [{"cause": "NodeLost", "count": 1}]
        assert job["status"]["restartCount"] == 0
        assert_exact(job)


def assert_exact(job: Manifest) -> None:
    """Every state together is the time of all lanes that there ever were; nothing is left over."""
    found = job["status"]["goodput"]
    assert sum(states_of(job).values()) + found["provisionalMs"] == found["elapsedMs"]


async def test_kubectl_scale(own_cluster: Cluster, replica: Replica) -> None:
    async with make_lab(own_cluster) as lab:
        names = await lab.nodes("4 hosts of h100 in blocks of 4")
        await lab.apply(elastic(lab, "scaled", 2, {"minSlices": 1, "maxSlices": 4, "regrowSeconds": 0}))
        await lab.apply(elastic(lab, "stiff", 1, {}, elastic=None, suspend=True))
        await runs_with(lab, "scaled", 1, 2)
        assert await scale(lab, "scaled", 4) == ""
        job = await runs_with(lab, "scaled", 2, 4)
        assert await hosts(lab) == {f"scaled-{i}-0": name for i, name in enumerate(names)}
        assert await scale(lab, "scaled", 1) == ""
        job = await runs_with(lab, "scaled", 3, 1)
        assert await hosts(lab) == {"scaled-0-0": names[0]}
        assert [a["message"] for a in job["status"]["attempts"][:2]] == [
            "resized from 2 to 4 slices, no checkpoint is known",
            "resized from 4 to 1 slices, no checkpoint is known",
        ]
        assert job["status"]["restarts"] == []
        assert "at most elastic.maxSlices" in await scale(lab, "scaled", 5)
        assert "only a job with spec.elastic can be scaled" in await scale(lab, "stiff", 2)
        path = f"/apis/drumline.dev/v1alpha1/namespaces/{lab.namespace}/trainingjobs/scaled/scale"
        found = await lab.client.request("GET", path)
        assert (found["spec"], found["status"]["replicas"]) == ({"replicas": 1}, 1)
        workers = await lab.pods(found["status"]["selector"])
        assert [p["metadata"]["name"] for p in workers if not is_leaving(p)] == ["scaled-3-0-0"]
        assert_exact(await lab.get("scaled"))


async def scale(lab: Lab, name: str, replicas: int) -> str:
    """What `kubectl scale` is refused with; "" when it is not."""
    command = ("scale", f"tj/{name}", f"--replicas={replicas}", "-n", lab.namespace)
    try:
        await asyncio.to_thread(lab.cluster.kubectl, *command)
    except KubectlError as error:
        return str(error)
    return ""


async def test_tpu_slices_are_whole_pools_and_the_rest_goes_on(
    own_cluster: Cluster, replica: Replica
) -> None:
    async with make_lab(own_cluster) as lab:
        names = await lab.nodes("2 v5p 2x2x2 slices")
        job = elastic(lab, "pods", 3, {"minSlices": 1, "maxSlices": 3}, framework="jax")
        job["spec"]["accelerator"] = {"type": "tpu-v5p", "topology": "2x2x2"}
        del job["spec"]["workersPerSlice"], job["spec"]["template"]["spec"]["nodeSelector"]
        await lab.apply(job)
        await runs_with(lab, "pods", 1, 2)
        pods = await lab.pods()
        assert {env_of(p)["MEGASCALE_NUM_SLICES"] for p in pods} == {"2"}
        before = await hosts(lab)
        assert set(before.values()) == set(names)
        lost = before["pods-0-1"]
        await nodes.delete_node(lab.cluster, lost)
        await runs_with(lab, "pods", 2, 1)
        after = await hosts(lab)
        assert after == {f"pods-0-{w}": before[f"pods-1-{w}"] for w in range(2)}
        pods = [p for p in await lab.pods() if not is_leaving(p)]
        assert all("MEGASCALE_NUM_SLICES" not in env_of(p) for p in pods)
        assert {env_of(p)["TPU_WORKER_HOSTNAMES"] for p in pods} == {"pods-0-0.pods,pods-0-1.pods"}
        for pod in pods:
            await succeed(lab, pod)
        job = await lab.phase("pods", "Succeeded")
        assert job["status"]["workers"]["succeeded"] == 2
        assert_exact(job)
