"""Gangs that leave for others, by the right of their queues: a real operator and ingest on a real control plane.

Stand-ins for the launchers get the order to have a checkpoint saved; what rank 0's program says of it goes through the
ingest. The operator is killed on the way.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from e2e.cluster.provider import Cluster
from tests.integration.inference.services import Services, groups
from tests.integration.operator.conftest import make_lab
from tests.integration.operator.lab import Lab, Manifest, condition, reason
from tests.integration.operator.queues import QueueDesk, quotas
from tests.integration.operator.queues import desk as queue_desk
from tests.integration.operator.test_goodput import assert_balanced
from tests.integration.operator.test_in_place import Site
from tests.integration.operator.test_signals import events, gang, ordered

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

LEASE = ("--lease-duration", "20", "--lease-renew-deadline", "15", "--lease-retry", "2")
WHOLE = {"type": "nvidia-h100-80gb", "chipsPerWorker": 8}
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
AT_ONCE = {"reclaimWithinCohort": "Any", "withinQueue": "LowerPriority", "minRunSeconds": 0}
ASK = {"onRequest": {"signal": "SIGUSR2", "graceSeconds": 200}}


@pytest.fixture(scope="module")
def site(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    running = Site(own_cluster, tmp_path_factory.mktemp("site"), LEASE)
    try:
        yield running
    finally:
        running.stop()


class Desk:
    """A lab with queues of one cohort for its namespace alone."""

    def __init__(self, lab: Lab, queues: QueueDesk) -> None:
        self.lab = lab
        self.queues = queues
        self.name = queues.name

    async def queue(self, name: str, chips: int, **spec: Any) -> None:
        """A queue with a quota of H100 chips."""
        await self.queues.make(name, cohort=self.lab.namespace, quotas=quotas(chips), **spec)

    def job(self, name: str, queue: str, hosts: int = 1, **spec: Any) -> Manifest:
        """A job of whole hosts, under the launcher if it asks for checkpoints."""
        spec = {"accelerator": WHOLE, "workersPerSlice": hosts, "queue": self.name(queue), **spec}
        job = self.lab.job(name, **spec)
        if "checkpoint" in spec:
            job["spec"]["template"]["spec"]["containers"][0]["command"] = ["python", "train.py"]
        return job

    async def plugin(self, *arguments: str) -> Any:
        """What the plugin says, as data."""
        done = await self.lab.plugin(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
async def desk(own_cluster: Cluster, site: Site) -> AsyncIterator[Desk]:
    assert site.operator.process.poll() is None, site.operator.tail()
    async with make_lab(own_cluster) as lab, queue_desk(lab) as queues:
        yield Desk(lab, queues)


@pytest.fixture
async def high(desk: Desk) -> AsyncIterator[str]:
    """A priority class above all others."""
    name, client = desk.name("high"), desk.lab.client
    body = {"metadata": {"name": name}, "value": 1000, "preemptionPolicy": "Never"}
    await client.request("POST", CLASSES, body=body)
    yield name
    await client.request("DELETE", f"{CLASSES}/{name}")


def preempted(job: Manifest) -> bool:
    attempts = job.get("status", {}).get("attempts") or [{}]
    return attempts[0].get("cause") == "Preempted"


def usage(found: Manifest) -> dict[str, int]:
    (row,) = found["accelerators"]
    return {key: row[key] for key in ("nominal", "used", "borrowed")}


async def test_what_was_lent_is_taken_back_after_a_checkpoint(desk: Desk, site: Site) -> None:
    """Of two that borrow the one with less to lose goes; the operator is killed while it saves its checkpoint."""
    lab = desk.lab
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await desk.queue("lends", 8, preemption=AT_ONCE)
    await desk.queue("borrows", 8)
    await lab.apply(desk.job("older", "borrows"))
    await lab.phase("older", "Running")
    await lab.apply(desk.job("younger", "borrows", checkpoint=ASK))
    before = await lab.phase("younger", "Running")
    assert before["status"]["queue"] == desk.name("borrows")
    async with gang(lab, site, selector="drumline.dev/job=younger") as (launchers, program):
        program.steps(0, 10)
        await lab.apply(desk.job("taker", "lends"))
        job = await lab.until("younger", ordered("Checkpoint"), "no checkpoint was asked for")
        assert job["status"]["order"]["preemptedBy"] == f"{lab.namespace}/taker"
        async with asyncio.timeout(90):
            while not all(launcher.asked for launcher in launchers):
                await asyncio.sleep(0.1)
        told = await desk.plugin("explain", "taker", "-n", lab.namespace)
        assert [h["name"] for h in told["preempts"]] == [f"{lab.namespace}/younger"]
        await asyncio.to_thread(site.kill)
        await asyncio.to_thread(site.again)
        await asyncio.to_thread(site.operator.wait_leading)
        program.body["commits"] = [{"step": 9, "atMs": program.now()}]
        job = await lab.until("younger", preempted, "it does not leave")
    assert all(launcher.asked == {1: ("Checkpoint", "SIGUSR2")} for launcher in launchers)
    (first,) = job["status"]["attempts"]
    assert (first["action"], "node" in first) == ("Requeue", False)
    assert f"{lab.namespace}/taker" in first["message"]
    assert "step 9 was safe" in first["message"]
    assert (job["status"]["restartCount"], job["status"]["restarts"]) == (
        0,
        [{"cause": "Preempted", "count": 1}],
    )
    assert job["status"]["queuedAt"][:19] == before["metadata"]["creationTimestamp"][:19]
    await lab.phase("taker", "Running")
    assert (await lab.get("older"))["status"]["attempt"] == 1
    await _waits_and_is_told_of(desk)
    await lab.delete("trainingjobs", "taker")
    job = await lab.until("younger", lambda j: j["status"]["attempt"] == 2, "it does not come back")
    assert job["status"]["queue"] == desk.name("borrows")
    job = await lab.phase("younger", "Running")
    assert_balanced(job, 8)


async def _waits_and_is_told_of(desk: Desk) -> None:
    """Every verb says of a preempted job what it should."""
    lab = desk.lab
    job = await lab.until(
        "younger",
        lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"),
        "it does not wait for quota",
    )
    assert condition(job, "Admitted")["status"] == "False"
    (told,) = await events(lab, "Preempted")
    assert f"{lab.namespace}/taker" in told
    assert len(await events(lab, "CheckpointRequested")) == 1
    assert await events(lab, "PreemptionWithdrawn") == []
    why = await lab.plugin("why", "younger", "-n", lab.namespace)
    assert f"{lab.namespace}/taker" in " ".join(why.stdout.split())

    async def settled() -> Any:
        async with asyncio.timeout(90):
            while True:
                found = await desk.plugin("queue")
                rows = {q["name"]: q for q in found["queues"]}
                borrows, lends = rows[desk.name("borrows")], rows[desk.name("lends")]
                full = {"nominal": 8, "used": 8, "borrowed": 0}
                if usage(borrows) == full and usage(lends) == full:
                    return borrows, lends
                await asyncio.sleep(0.5)

    borrows, lends = await settled()
    assert [h["name"] for h in borrows["holds"]] == [f"{lab.namespace}/older"]
    assert [h["name"] for h in lends["holds"]] == [f"{lab.namespace}/taker"]
    assert [g["name"] for g in borrows["line"]] == [f"{lab.namespace}/younger"]
    shown = await lab.plugin("queue", desk.name("borrows"))
    assert f"{lab.namespace}/younger" in shown.stdout, shown.stderr


async def test_a_higher_priority_goes_first_in_its_queue(desk: Desk, high: str) -> None:
    lab = desk.lab
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await desk.queue("one", 8, preemption=AT_ONCE)
    await lab.apply(desk.job("low", "one"))
    await lab.phase("low", "Running")
    await lab.apply(desk.job("high", "one", priorityClassName=high))
    await lab.phase("high", "Running")
    job = await lab.get("low")
    (first,) = job["status"]["attempts"]
    assert (first["cause"], first["action"]) == ("Preempted", "Requeue")
    assert f"{lab.namespace}/high: it has a higher priority" in first["message"]
    assert "no checkpoint.onRequest" in first["message"]
    await lab.delete("trainingjobs", "high")
    job = await lab.until("low", lambda j: j["status"]["attempt"] == 2, "it does not come back")
    assert job["status"]["restartCount"] == 0


async def test_who_is_needed_no_more_stays(desk: Desk, site: Site, high: str) -> None:
    lab = desk.lab
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await desk.queue("one", 8, preemption=AT_ONCE)
    await lab.apply(desk.job("low", "one", checkpoint=ASK))
    await lab.phase("low", "Running")
    async with gang(lab, site, selector="drumline.dev/job=low") as (_, program):
        program.steps(0, 10)
        await lab.apply(desk.job("high", "one", priorityClassName=high))
        await lab.until("low", ordered("Checkpoint"), "no checkpoint was asked for")
        await lab.delete("trainingjobs", "high")
        job = await lab.until(
            "low", lambda j: "endedAt" in j["status"].get("order", {}), "the request stands", 200
        )
    assert (job["status"]["attempt"], job["status"]["phase"]) == (1, "Running")
    (told,) = await events(lab, "PreemptionWithdrawn")
    assert f"{lab.namespace}/high" in told


async def test_nobody_passes_the_first_of_a_strict_queue(desk: Desk) -> None:
    lab = desk.lab
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await desk.queue("strict", 8, queueingStrategy="StrictFIFO")
    one = {"type": "nvidia-h100-80gb", "chipsPerWorker": 1}
    await lab.apply(desk.job("runs", "strict", 4, accelerator=one))
    await lab.phase("runs", "Running")
    await lab.apply(desk.job("first", "strict"))
    await lab.until("first", lambda j: reason(j, "QuotaReserved") == ("False", "QueueQuotaExceeded"))
    await asyncio.sleep(1.1)  # the queue's order is by creation, of which only the second is known
    await lab.apply(desk.job("small", "strict", 1, accelerator=one))
    job = await lab.until("small", lambda j: reason(j, "QuotaReserved") == ("False", "HeadOfQueueReserved"))
    assert f"StrictFIFO; {lab.namespace}/first is ahead" in condition(job, "QuotaReserved")["message"]
    await lab.delete("trainingjobs", "runs")
    await lab.phase("first", "Running")
    assert (await lab.get("small"))["status"].get("attempt", 0) == 0


async def test_a_queue_bounds_the_time_of_its_jobs(desk: Desk) -> None:
    lab = desk.lab
    await lab.nodes("1 hosts of h100 in blocks of 1")
    await desk.queue("brief", 8, maxRunSeconds=2)
    await lab.apply(desk.job("long", "brief"))
    job = await lab.phase("long", "Failed")
    assert reason(job, "Failed") == ("True", "QueueMaxRunExceeded")
    assert f"AcceleratorQueue {desk.name('brief')} is 2" in condition(job, "Failed")["message"]


async def test_a_group_of_a_service_drains_and_queues_again(desk: Desk) -> None:
    lab = desk.lab
    services = Services(lab)
    await lab.nodes("2 hosts of h100 in blocks of 2")
    await desk.queue("lends", 8, preemption=AT_ONCE)
    await desk.queue("borrows", 8)
    role = services.role(accelerator=WHOLE, replicas=2)
    await services.apply(services.service("chat", role, queue=desk.name("borrows")))
    await services.ready("chat")
    await lab.apply(desk.job("taker", "lends"))
    await lab.phase("taker", "Running")
    found = await services.until(
        "chat",
        lambda s: (
            sorted((g["id"] < 2, g["phase"]) for g in groups(s)) == [(False, "Waiting"), (True, "Serving")]
        ),
        "no other group waits",
    )
    (waiting,) = [g for g in groups(found) if g["phase"] == "Waiting"]
    assert waiting["id"] == 2
    (told,) = await events(lab, "Preempted")
    assert f"{lab.namespace}/taker" in told
    assert "drains" in told
    await lab.delete("trainingjobs", "taker")
    await services.ready("chat")
