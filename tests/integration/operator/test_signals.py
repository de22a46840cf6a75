"""Hangs, and nodes that are about to go, on a real control plane: fake pods, a real operator and ingest.

Stand-ins for the launchers answer with stacks and get the order to send a signal; what they and rank 0's program tell
goes through the ingest. The operator is killed on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from drumline.api.orders import OrderKind
from drumline.runtime.http import MERGE_PATCH
from e2e.bench.launchers import Launcher
from e2e.bench.reports_client import HOST, Identity, Target
from e2e.cluster.provider import Cluster
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest, condition, node_of
from tests.integration.operator.test_in_place import NAME, Site, authority, identity_of
from tests.unit.core.gang.test_stacks import READS, REDUCES

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

WORKERS = 4
FLOOR = 30
STEP_MS = 100
TAINT = "cloud.google.com/impending-node-termination"
LABEL = "cloud.google.com/active-node-maintenance"


@pytest.fixture(scope="module")
def site(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(own_cluster, tmp_path_factory.mktemp("site"))
    try:
        yield running
    finally:
        running.stop()


class StandIn(Launcher):
    """A launcher that carries out orders as soon as it `may`, with the stacks that it is given."""

    stacks = ""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.may = asyncio.Event()
        self.may.set()
        self.asked: dict[int, tuple[str, str]] = {}  # number → kind, signal

    def _hear(self, orders: Mapping[str, Any]) -> None:
        super()._hear(orders)
        number, kind = int(orders.get("number", 0)), str(orders.get("kind", ""))
        if kind and number not in self.asked:
            self.asked[number] = kind, str(orders.get("signal", ""))
        if kind and self.may.is_set():
            self._carry_out(number, kind)

    def _carry_out(self, number: int, kind: str) -> None:
        self._extra |= {"seen": number, "stacks": self.stacks if kind == OrderKind.STACKS else ""}

    def go_on(self) -> None:
        """It may now."""
        self.may.set()
        for number, (kind, _) in self.asked.items():
            self._carry_out(number, kind)
        self._post()


class Program:
    """Rank 0's program: makes steps when it is told to, and tells of them every second, whatever happens."""

    def __init__(self, target: Target, who: Identity, attempt: int) -> None:
        self._target, self._who, self.attempt = target, who, attempt
        self._began = time.monotonic()
        self.body: dict[str, Any] = {}

    def now(self) -> int:
        """Its clock, ms."""
        return round((time.monotonic() - self._began) * 1000)

    def steps(self, first: int, count: int) -> None:
        """It has just made these."""
        start = max(0, self.now() - count * STEP_MS)
        spans = [
            {"kind": "step", "startMs": start + i * STEP_MS, "durationMs": STEP_MS, "step": first + i}
            for i in range(count)
        ]
        self.body["spans"] = spans

    async def run(self) -> None:
        """For as long as it lives."""
        while True:
            await self._post()
            await asyncio.sleep(1.0)

    async def _post(self) -> None:
        body = {
            "version": 1,
            "job": {"namespace": self._who.namespace, "name": self._who.job, "uid": self._who.uid},
            "attempt": self.attempt,
            "origin": f"program-{self.attempt}",
            "sentMs": self.now(),
            **self.body,
        }
        data = orjson.dumps(body)
        head = (
            f"POST /v1/report HTTP/1.1\r\nHost: {self._target.name}:{self._target.port}\r\nConnection: close\r\n"
            f"Authorization: Bearer {self._who.token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        try:
            reader, writer = await asyncio.open_connection(
                HOST, self._target.port, ssl=self._target.tls(), server_hostname=self._target.name
            )
            writer.write(head.encode() + data)
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the operator was killed, or the ingest is busy: it says so again in a second


@asynccontextmanager
async def gang(
    lab: Lab, site: Site, attempt: int = 1, selector: str = "drumline.dev/job"
) -> AsyncIterator[tuple[list[StandIn], Program]]:
    """Launchers of the pods of an attempt of the one job that is selected, and rank 0's program."""
    target = Target(site.port, NAME, await authority(lab))
    pods = [
        p for p in await lab.pods(selector) if p["metadata"]["labels"]["drumline.dev/attempt"] == str(attempt)
    ]
    pods.sort(key=lambda p: int(p["metadata"]["labels"]["drumline.dev/rank"]))
    people = [await identity_of(lab, pod, rank) for rank, pod in enumerate(pods)]
    launchers = [StandIn(target, target.tls(), who, rank) for rank, who in enumerate(people)]
    for launcher in launchers:
        launcher.attempt = attempt
    program = Program(target, people[0], attempt)
    tasks = [asyncio.create_task(each.run()) for each in (*launchers, program)]
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(launcher.goes(0) for launcher in launchers))
        yield launchers, program
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def job_of(lab: Lab, name: str, **spec: Any) -> Manifest:
    """A gang of four whole hosts under the launcher."""
    accelerator = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
    job = lab.job(name, workersPerSlice=WORKERS, accelerator=accelerator, **spec)
    job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "train.py"]
    return job


async def events(lab: Lab, *wanted: str) -> list[str]:
    """Messages of the events with these reasons."""
    return [e["message"] for e in await lab.list("events") if e["reason"] in wanted]


async def patch_node(lab: Lab, node: str, body: Manifest) -> None:
    await lab.client.request("PATCH", f"/api/v1/nodes/{node}", body=body, content_type=MERGE_PATCH)


def ordered(kind: str) -> Any:
    return lambda j: (j["status"].get("order") or {}).get("kind") == kind


async def test_a_hang_is_told_with_its_ranks_and_ended(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        policy = {"hang": {"floorSeconds": FLOOR}, "backoff": {"initialSeconds": 0, "maxSeconds": 0}}
        await lab.apply(job_of(lab, "stuck", failurePolicy=policy))
        await lab.phase("stuck", "Running")
        async with gang(lab, site) as (launchers, program):
            for launcher in launchers:
                launcher.stacks = READS if launcher.worker == 2 else REDUCES
                launcher.may.clear()
            await asyncio.sleep(2.0)
            program.steps(0, 10)
            await lab.until("stuck", ordered("Stacks"), "no stacks were asked for", 150)
            await asyncio.to_thread(site.kill)
            await asyncio.to_thread(site.again)
            for launcher in launchers:
                launcher.go_on()
            job = await lab.until("stuck", lambda j: j["status"]["attempt"] == 2, "no second attempt")
        assert all(launcher.asked == {1: ("Stacks", "")} for launcher in launchers)
        (first, *_) = job["status"]["attempts"]
        where = "ranks 0-1, 3 in train.py:57 allreduce; rank 2 in data.py:12 read"
        assert (first["cause"], first["rank"], first["action"]) == ("Hang", 2, "RestartGang")
        assert where in first["message"]
        assert "since step 9" in first["message"]
        assert "data.py:12 read" in first["lastLines"]
        assert job["status"]["restarts"] == [{"cause": "Hang", "count": 1}]
        job = await lab.phase("stuck", "Running")
        (told,) = await events(lab, "HangDetected")
        assert where in told
        goodput = job["status"]["goodput"]
        assert goodput["hangs"] == 1
        assert next(s["ms"] for s in goodput["states"] if s["state"] == "hang") >= FLOOR * 1000


async def test_a_checkpoint_is_asked_for_before_the_node_goes(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS + 1} hosts of h100 in blocks of {WORKERS + 1}")
        backoff = {"backoff": {"initialSeconds": 0, "maxSeconds": 0}}
        ask = {"onRequest": {"signal": "SIGUSR2", "graceSeconds": 100}}
        await lab.apply(job_of(lab, "leaving", checkpoint=ask, failurePolicy=backoff))
        await lab.phase("leaving", "Running")
        nodes = [node_of(p) for p in await lab.pods()]
        async with gang(lab, site) as (launchers, program):
            await asyncio.sleep(2.0)
            program.steps(0, 10)
            await asyncio.sleep(1.0)
            taint = {"key": TAINT, "effect": "NoSchedule"}
            await patch_node(lab, nodes[1], {"spec": {"taints": [taint]}})
            await lab.until("leaving", ordered("Checkpoint"), "no checkpoint was asked for")
            async with asyncio.timeout(90):
                while not all(launcher.asked for launcher in launchers):
                    await asyncio.sleep(0.1)
            assert all(launcher.asked == {1: ("Checkpoint", "SIGUSR2")} for launcher in launchers)
            assert (await lab.get("leaving"))["status"]["attempt"] == 1
            program.body["commits"] = [{"step": 9, "atMs": program.now()}]
            job = await lab.until("leaving", lambda j: j["status"]["attempt"] == 2, "it did not move")
        (first, *_) = job["status"]["attempts"]
        assert (first["cause"], first["action"], first["node"]) == ("Maintenance", "ReplaceNode", nodes[1])
        assert "step 9 was safe" in first["message"]
        assert len(await events(lab, "CheckpointRequested")) == 1
        await lab.phase("leaving", "Running")
        now = [node_of(p) for p in await lab.pods()]
        assert nodes[1] not in now
        assert {*nodes} - {nodes[1]} <= {*now}
        async with gang(lab, site, 2) as (_, program):
            program.body = {"resumedStep": 10}
            program.steps(10, 5)
            job = await lab.until(
                "leaving", lambda j: "lostSteps" in j["status"]["attempts"][0], "lost steps are not known"
            )
        assert job["status"]["attempts"][0]["lostSteps"] == 0
        assert job["status"]["restartCount"] == 0


async def test_without_another_node_it_waits_until_the_sign_is_gone(own_cluster: Cluster, site: Site) -> None:
    async with make_lab(own_cluster) as lab:
        await lab.nodes(f"{WORKERS} hosts of h100 in blocks of {WORKERS}")
        backoff = {"backoff": {"initialSeconds": 0, "maxSeconds": 0}}
        ask = {"onRequest": {"graceSeconds": 1}}
        scheduling = {"gangTimeoutSeconds": 10}
        await lab.apply(job_of(lab, "cornered", checkpoint=ask, failurePolicy=backoff, scheduling=scheduling))
        await lab.phase("cornered", "Running")
        node = node_of((await lab.pods())[2])
        await patch_node(lab, node, {"metadata": {"labels": {LABEL: "true"}}})
        said = f"{node} as long as it has the label {LABEL}"

        def waits(kind: str) -> Any:
            return lambda j: said in condition(j, kind).get("message", "")

        await lab.until("cornered", waits("Restarting"), "it does not say why it waits")
        job = await lab.until("cornered", waits("QuotaReserved"), "it does not give its nodes up")
        assert "placement" not in job["status"]
        await lab.until_pods(lambda names: names == set())
        await patch_node(lab, node, {"metadata": {"labels": {LABEL: None}}})
        job = await lab.phase("cornered", "Running")
        assert job["status"]["attempt"] == 2
        assert [a["cause"] for a in job["status"]["attempts"][:1]] == ["Maintenance"]
