"""Two replicas at work while jobs keep coming: one is killed or paused, the API server or etcd dies, clocks jump.

All that happens is read from etcd itself and judged as chaos is; what each replica wrote, its proxy knows.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from drumline.runtime.http_paths import resource_path
from e2e.chaos.crew import Replica
from e2e.chaos.judge import Judge, Limits
from e2e.chaos.pods import bound_to, is_deleting
from e2e.chaos.proxy import Sent
from e2e.chaos.scripts import End, Kind, Script
from e2e.chaos.site import POOL, Site, site
from e2e.chaos.skewed import skew

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600), pytest.mark.asyncio(loop_scope="module")]

LEASE_SECONDS = 15
SURVIVED_SECONDS = 7  # its last renewal is two seconds old at most, and it tries for ten
PAUSE_SECONDS = 30
SECONDS = 300  # within which all jobs have to end, on a busy machine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Site]:
    """A control plane, its history and two operators with the lease times that they have by default."""
    async with site(random.Random(1), ("--shutdown-grace", "1")) as made:
        yield made


class Load:
    """Jobs that come one after another, and a judge over all that becomes of them."""

    def __init__(self, stage: Site, name: str, count: int) -> None:
        self.stage, self.space, self.count = stage, name, count
        self.judge = Judge(Limits(partial=120, orphan=90))
        self.began = time.monotonic()

    async def begin(self) -> None:
        await self.stage.create_namespace(self.space)
        for node in self.stage.history.all("nodes"):
            self.judge.see(0.0, "nodes", None, node)
        self.stage.history.change = self._told
        self.submitting = asyncio.create_task(self._submit())

    def _told(self, at: float, resource: str, before: Any, after: Any) -> None:
        if (after or before)["metadata"].get("namespace", self.space) == self.space:
            self.judge.see(at - self.began, resource, before, after)

    async def _submit(self) -> None:
        path = resource_path("trainingjobs", self.space)
        for number in range(self.count):
            script = Script(
                f"job-{number}", Kind.WORKS, 1 + number % 3, 1, "", 0, (), End.SUCCEEDED, 5, run_seconds=2
            )
            assert await self.stage.insist("POST", path, script.manifest(self.space, POOL))
            await asyncio.sleep(0.1)

    async def until_submitted(self, part: float) -> None:
        """Until that part of the jobs is there."""
        while len(self._jobs()) < part * self.count:
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        """All jobs succeed, nothing was ever wrong, nothing is left."""
        await self.submitting
        deadline = time.monotonic() + SECONDS
        while set(self.phases()) != {"Succeeded"} or any(self.judge.live_pods()):
            assert time.monotonic() < deadline, self._state()
            self.stage.crew.tend()
            await asyncio.sleep(0.5)
        await self.stage.history.caught_up()
        self.judge.end(time.monotonic() - self.began)
        self.stage.history.change = lambda *_: None
        assert self.judge.found == []
        assert len(self._jobs()) == self.count
        assert self.stage.crew.tracebacks() == []
        await self.stage.clear(self.space)

    def phases(self) -> list[str]:
        return [_phase(job) for job in self._jobs()]

    def _state(self) -> str:
        """What keeps it from its end: jobs, pods, and the last that was logged."""
        said = [_tell_job(job) for job in self._jobs() if _phase(job) != "Succeeded"]
        said += [_tell_pod(pod) for pod in self.judge.live_pods()]
        said += [
            f"{r.log.name}:\n{r.log.read_text(errors='replace')[-2000:]}" for r in self.stage.crew.replicas
        ]
        return "\n".join([*said, f"kwok:\n{self.stage.embedded.processes['kwok'].tail(10)}"])

    def _jobs(self) -> list[Any]:
        found = self.stage.history.all("trainingjobs")
        return [job for job in found if job["metadata"]["namespace"] == self.space]


def _phase(job: dict[str, Any]) -> str:
    return str((job.get("status") or {}).get("phase"))


def _tell_job(job: dict[str, Any]) -> str:
    status = job.get("status") or {}
    conditions = [
        f"{c['type']}={c['status']} {c.get('reason')}: {c.get('message')}"
        for c in status.get("conditions") or ()
    ]
    return "; ".join([f"{job['metadata']['name']} is {_phase(job)}", *conditions])


def _tell_pod(pod: Mapping[str, Any]) -> str:
    state = "deleting" if is_deleting(pod) else pod["status"].get("phase")
    conditions = [f"{c['type']}={c['status']}" for c in pod["status"].get("conditions") or ()]
    return f"pod {pod['metadata']['name']} is {state} on {bound_to(pod)!r}, {', '.join(conditions)}"


async def leader_of(stage: Site, other_than: Replica | None = None) -> Replica:
    deadline = time.monotonic() + 120
    while True:
        found = await asyncio.to_thread(stage.crew.leader)
        if found is not None and found is not other_than:
            return found
        assert time.monotonic() < deadline, stage.crew.logs()[-3000:]
        await asyncio.sleep(0.1)


async def work(stage: Site, name: str, count: int = 20) -> Load:
    """Some of the jobs are there, and more are coming."""
    await leader_of(stage)
    load = Load(stage, name, count)
    await load.begin()
    await load.until_submitted(0.4)
    return load


def writes(sent: list[Sent], since: float) -> list[Sent]:
    return [write for write in sent if write.at > since and not write.is_lease]


async def test_a_killed_leader_is_followed_by_the_other_and_no_job_suffers(stage: Site) -> None:
    load = await work(stage, "killed", 50)
    leader = await leader_of(stage)
    leader.kill()
    killed = time.monotonic()
    follower = await leader_of(stage)
    assert follower.proxy is not leader.proxy
    await load.end()
    first = min(write.at for write in follower.proxy.sent if write.at > killed and not write.is_lease)
    assert first - killed <= LEASE_SECONDS + 30  # a slow machine's


async def test_a_paused_leader_writes_nothing_more_when_it_goes_on(stage: Site) -> None:
    load = await work(stage, "paused", 50)
    leader = await leader_of(stage)
    leader.signal(signal.SIGSTOP)
    await asyncio.sleep(3)  # what had left it has arrived
    paused = time.monotonic()
    follower = await leader_of(stage, leader)
    await asyncio.sleep(max(0.0, paused + PAUSE_SECONDS - time.monotonic()))
    deadline = time.monotonic() + 120
    while not writes(follower.proxy.sent, paused):
        assert time.monotonic() < deadline, stage.crew.logs()[-3000:]
        await asyncio.sleep(0.1)
    leader.signal(signal.SIGCONT)
    assert await asyncio.wait_for(asyncio.to_thread(leader.process.wait), 60) == 1
    await asyncio.sleep(1)
    assert [write for write in leader.proxy.sent if write.at > paused] == []
    assert "leadership lost" in leader.log.read_text()
    await load.end()


async def test_the_api_server_is_killed_and_comes_back(stage: Site) -> None:
    load = await work(stage, "apiserver")
    leader = await leader_of(stage)
    gone = time.monotonic()
    await stage.restart_apiserver()
    away = time.monotonic() - gone
    await load.end()
    assert leader.alive or away > SURVIVED_SECONDS


async def test_etcd_is_killed_and_comes_back(stage: Site) -> None:
    load = await work(stage, "etcd")
    await stage.restart_etcd()
    await load.end()


@pytest.mark.parametrize("hours", [1, -1])
async def test_the_leaders_clock_jumps_and_jumps_back(stage: Site, hours: int) -> None:
    load = await work(stage, f"clock-{'ahead' if hours > 0 else 'behind'}")
    leader = await leader_of(stage)
    skew(leader.clock, 3600.0 * hours)
    await load.until_submitted(0.9)
    await asyncio.sleep(3)
    skew(leader.clock, 0.0)
    await load.end()
    assert leader.alive


async def test_two_replicas_whose_clocks_differ_by_an_hour(stage: Site) -> None:
    """What the one wrote in the future is no reason for the other to wait."""
    load = await work(stage, "skewed")
    leader = await leader_of(stage)
    skew(leader.clock, 3600.0)
    await load.until_submitted(0.8)
    leader.kill()
    assert (await leader_of(stage)) is not leader
    await load.end()
