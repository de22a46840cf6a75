"""Two replicas and a real Lease; one of them is stopped in its tracks in the middle of its writes.

Run as a program, this file is such a replica: it leads when it can, and then writes ConfigMaps as fast as
its fence lets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drumline.runtime.config import LeaseTimes
from drumline.runtime.errors import ApiError
from drumline.runtime.http_paths import resource_path
from drumline.runtime.kube import Client, connect
from drumline.runtime.lease import Lease

TIMES = LeaseTimes(duration=9.0, renew_deadline=6.0, retry=0.3)
LONG = LeaseTimes(duration=60.0, renew_deadline=45.0, retry=0.3)
LOST = 17  # exit code
WRITERS = 8


async def replica(kubeconfig: str, namespace: str, identity: str, times: LeaseTimes) -> None:
    async with await connect(kubeconfig) as election, await connect(kubeconfig) as client:
        lease = Lease(
            election, namespace=namespace, name="lease", identity=identity, clock=time.monotonic,
            now=lambda: 1.8e9, on_lost=lambda why: os._exit(LOST), times=times,
        )  # fmt: skip
        client.fence = lease.check
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await lease.acquire()
        holding = asyncio.create_task(lease.hold())
        numbers = itertools.count()
        writers = [asyncio.create_task(write(client, namespace, identity, numbers)) for _ in range(WRITERS)]
        await stop.wait()
        for task in (*writers, holding):
            task.cancel()
        await asyncio.gather(*writers, holding, return_exceptions=True)
        await lease.release()


async def write(client: Client, namespace: str, identity: str, numbers: itertools.count[int]) -> None:
    path = resource_path("configmaps", namespace)
    while True:
        body = {"metadata": {"name": f"{identity}-{next(numbers)}", "labels": {"by": identity}}}
        with contextlib.suppress(ApiError):
            await client.request("POST", path, body=body)
        await asyncio.sleep(0.005)


class Program:
    """A replica in a process of its own."""

    def __init__(self, cluster: Any, namespace: str, identity: str, times: LeaseTimes) -> None:
        self.identity = identity
        given = (str(cluster.kubeconfig), namespace, identity, "long" if times is LONG else "short")
        self._arguments = (sys.executable, __file__, *given)
        self.process: asyncio.subprocess.Process

    async def start(self) -> Program:
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONPATH": f"{root / 'operator'}:{root}"}
        self.process = await asyncio.create_subprocess_exec(*self._arguments, env=environment)
        return self

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


class Stage:
    """Starts replicas and reads what they wrote."""

    def __init__(self, cluster: Any, client: Client, namespace: str) -> None:
        self.cluster, self.client, self.namespace = cluster, client, namespace
        self.programs: list[Program] = []

    async def start(self, identity: str, times: LeaseTimes = TIMES) -> Program:
        self.programs.append(await Program(self.cluster, self.namespace, identity, times).start())
        return self.programs[-1]

    async def writes(self, identity: str) -> list[int]:
        """Resource versions of what this replica wrote."""
        params = {"labelSelector": f"by={identity}"}
        found = await self.client.request("GET", resource_path("configmaps", self.namespace), params=params)
        return sorted(int(item["metadata"]["resourceVersion"]) for item in found["items"])

    async def settled(self, identity: str) -> list[int]:
        """What a stopped replica wrote, once nothing of it is on its way any more."""
        last: list[int] = []
        while (found := await self.writes(identity)) != last or not found:
            last = found
            await asyncio.sleep(1)
        return found

    async def until_writing(self, identity: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not await self.writes(identity):
            assert time.monotonic() < deadline, f"{identity} does not lead"
            await asyncio.sleep(0.05)


@pytest.fixture
async def stage(cluster, namespace) -> AsyncIterator[Stage]:
    async with await connect(str(cluster.kubeconfig), timeout=60) as client:
        stage = Stage(cluster, client, namespace)
        yield stage
        for program in stage.programs:
            await program.kill()


async def test_stopped_leader_writes_nothing_after_its_successor(stage: Stage) -> None:
    a = await stage.start("a")
    await stage.until_writing("a")
    await stage.start("b")
    a.process.send_signal(signal.SIGSTOP)
    await stage.until_writing("b")
    a.process.send_signal(signal.SIGCONT)
    assert await asyncio.wait_for(a.process.wait(), 60) == LOST
    await asyncio.sleep(1)
    last_of_a, first_of_b = (await stage.writes("a"))[-1], (await stage.writes("b"))[0]
    assert last_of_a < first_of_b


async def test_leader_stopped_past_its_time_ends_though_nobody_took_over(stage: Stage) -> None:
    a = await stage.start("a")
    await stage.until_writing("a")
    a.process.send_signal(signal.SIGSTOP)
    before = await stage.settled("a")
    await asyncio.sleep(TIMES.renew_deadline)
    a.process.send_signal(signal.SIGCONT)
    assert await asyncio.wait_for(a.process.wait(), 60) == LOST
    assert await stage.writes("a") == before


async def test_killed_leader_is_replaced_after_the_lease_ran_out(stage: Stage) -> None:
    a = await stage.start("a")
    await stage.until_writing("a")
    await stage.start("b")
    await asyncio.sleep(2)
    assert await stage.writes("b") == []
    await a.kill()
    killed = time.monotonic()
    await stage.until_writing("b")
    # counted from the last renewal, which on a busy machine came a good moment before the kill; what matters is
    # that the killed one would have known by then that it leads no more
    assert time.monotonic() - killed >= TIMES.renew_deadline


async def test_leader_that_ends_well_is_replaced_at_once(stage: Stage) -> None:
    a = await stage.start("a", LONG)
    await stage.until_writing("a")
    await stage.start("b", LONG)
    await asyncio.sleep(2)
    a.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(a.process.wait(), 60) == 0
    ended = time.monotonic()
    await stage.until_writing("b")
    assert time.monotonic() - ended < LONG.duration
    assert (await stage.writes("a"))[-1] < (await stage.writes("b"))[0]


if __name__ == "__main__":
    asyncio.run(replica(*sys.argv[1:4], LONG if sys.argv[4] == "long" else TIMES))
