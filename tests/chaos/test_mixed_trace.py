"""Jobs of every kind and services share a cluster by queues, topology and power budgets while nodes come and go.

Two operators, of which one may take over; every change is read from etcd itself. At each of them: what the judge of
chaos looks for (nothing held twice, no partial gang kept, no orphan, ledgers exact), no queue beyond what it owns and
may borrow, no block beyond its power, and each gang in the domain that it asked for. In the end every job has
succeeded, and the service that stays is as its spec says. The others would keep large jobs out for ever: they are there
while nodes come and go only, are changed all the time, and their groups may be reclaimed.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from drumline.api.meta import LABEL_QUEUE, LABEL_SERVICE
from drumline.runtime.http import JSON_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.chaos import pods
from e2e.chaos.judge import Judge, Limits
from e2e.chaos.services import Role, Service, unconverged
from e2e.chaos.site import Site, quietly, site
from e2e.cluster import nodes

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(500)]

SEED = 7
JOBS = 28
HOSTS = 16
PREFIX = "mixed-"
MIXED = f"{HOSTS} hosts of h100 in blocks of 4 and subblocks of 2"
BLOCK, SUBBLOCK = (f"cloud.google.com/gce-topology-{level}" for level in ("block", "subblock"))
POWERED = 3  # hosts' worth of power a block has, of four
OWN = {"mixed-a": 48, "mixed-b": 40}  # chips
CATALOG = "drumline-catalog"
FLAGS = ("--shutdown-grace", "1", "--exclude", "5", "--head-wait", "10", "--catalog-config-map", CATALOG)
STAYS = Service(
    "stays",
    (Role("serve", 1, 1, 8, False, False),),
    1,
    0,
    0.0,
    ((0, "roll 1"), (1, "scale serve 2"), (2, "roll 2"), (3, "scale serve 1"), (4, "roll 3")),
    "chaos-high",
    "mixed-a",
)
GROUPS = Service(
    "groups", (Role("serve", 2, 2, 8, False, True),), 0, 1, 0.0, ((2, "roll 1"),), "chaos-low", "mixed-b"
)
ROLES = (Role("prefill", 1, 1, 8, False, False), Role("decode", 1, 1, 8, False, False))
PAIR = Service("pair", ROLES, 1, 0, 0.0, ((1, "scale decode 3"), (3, "roll 1")), "chaos-low", "mixed-a")
LEVELS = {"groups": "subblock"}
SECONDS = 300  # within which all have to end once nodes stay, on a busy machine


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage() -> AsyncIterator[Site]:
    async with site(random.Random(SEED), FLAGS) as made:
        budget = [{"level": "block", "watts": POWERED * 8 * 700}]
        data = {"catalog.yaml": "{}", "power.yaml": json.dumps(budget)}
        body = {"metadata": {"name": CATALOG}, "data": data}
        await made.client.request("POST", "/api/v1/namespaces/default/configmaps", body=body)
        for name, chips in OWN.items():
            path = "/apis/drumline.dev/v1alpha1/acceleratorqueues"
            await made.client.request("POST", path, body=queue(name, chips))
        await nodes.apply(made.cluster, MIXED, prefix=PREFIX)
        yield made


def queue(name: str, chips: int) -> dict[str, Any]:
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "AcceleratorQueue",
        "metadata": {"name": name},
        "spec": {
            "cohort": "mixed",
            "quotas": [{"accelerator": "nvidia-h100-80gb", "nominalQuota": chips, "borrowingLimit": 16}],
            "preemption": {
                "withinQueue": "LowerPriority",
                "reclaimWithinCohort": "Any",
                "minRunSeconds": 3,
            },
            "namespaceSelector": {},
        },
    }


def job(chance: random.Random, number: int) -> dict[str, Any]:
    """One of any kind that the cluster can hold."""
    level, most = chance.choice((("", 5), ("subblock", 2), ("block", 3), ("", 3)))
    workers = chance.randint(1, most)
    placement = {"policy": "Required", "level": level} if level else {"policy": "Unconstrained"}
    annotations = {"fake.drumline.dev/run-seconds": str(chance.randint(2, 8))}
    pod = {
        "terminationGracePeriodSeconds": 1,
        "nodeSelector": {"cloud.google.com/gke-nodepool": f"{PREFIX}h100"},
        "containers": [{"name": "train", "image": "pause:3.10"}],
    }
    spec: dict[str, Any] = {
        "framework": "torch",
        "accelerator": {"type": "nvidia-h100-80gb"},
        "workersPerSlice": workers,
        "queue": chance.choice(list(OWN)),
        "scheduling": {"placement": placement, "gangTimeoutSeconds": 20},
        "failurePolicy": {"maxRestarts": 50, "backoff": {"initialSeconds": 0, "maxSeconds": 1}},
        "template": {"metadata": {"annotations": annotations}, "spec": pod},
    }
    kind = chance.choice(("plain", "plain", "spares", "elastic"))
    if kind == "spares":
        spec["spares"] = 1
    elif kind == "elastic" and not level:
        spec |= {"slices": workers, "workersPerSlice": 1, "elastic": {"minSlices": 1, "maxSlices": workers}}
    if chance.random() < 0.3:
        spec["priorityClassName"] = "chaos-high"
    return {
        "apiVersion": "drumline.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": f"mixed-{number}"},
        "spec": spec,
    }


def serving(service: Service) -> dict[str, Any]:
    """The InferenceService; its groups in the domain that LEVELS says."""
    body = service.manifest("mixed", f"{PREFIX}h100")
    if level := LEVELS.get(service.name):
        body["spec"]["scheduling"]["placement"] = {"policy": "Required", "level": level}
    return body


class Trace:
    """The jobs, the services, the nodes' comings and goings, and what is looked at meanwhile."""

    def __init__(self, stage: Site) -> None:
        self.stage, self.chance, self.space = stage, random.Random(SEED), "mixed"
        self.judge = Judge(Limits(partial=120, orphan=90))
        self.wrong: list[str] = []
        self.began = time.monotonic()
        self._labels: dict[str, dict[str, str]] = {}
        self._pods: dict[str, Any] = {}  # that hold something, by uid
        self._wanted: dict[str, Any] = {}  # placement by uid of the job or the service

    async def play(self) -> None:
        await self.stage.create_namespace(self.space)
        for node in self.stage.history.all("nodes"):
            self._told(self.began, "nodes", None, node)
        self.stage.history.change = self._told
        await self._serve()
        storm = asyncio.create_task(self._storm())
        changes = asyncio.create_task(self._change())
        for number in range(JOBS):
            path = resource_path("trainingjobs", self.space)
            assert await self.stage.insist("POST", path, job(self.chance, number))
            await asyncio.sleep(self.chance.uniform(0, 1.0))
        await asyncio.sleep(10)
        await changes
        storm.cancel()
        await asyncio.gather(storm, return_exceptions=True)
        for service in (GROUPS, PAIR):
            path = resource_path("inferenceservices", self.space, service.name)
            assert await self.stage.insist("DELETE", path, None)
        await nodes.apply(self.stage.cluster, MIXED, prefix=PREFIX)
        for name in self._hosts():
            await nodes.restore_node(self.stage.cluster, name)
        await self._end()

    async def _serve(self) -> None:
        """Services come before the jobs, which then have to share with them."""
        begun = [replace(service, actions=()) for service in (STAYS, GROUPS, PAIR)]
        for service in begun:
            path = resource_path("inferenceservices", self.space)
            assert await self.stage.insist("POST", path, serving(service))
        deadline = time.monotonic() + SECONDS
        while left := list(unconverged(begun, self._services(), self.judge.live_pods())):
            assert time.monotonic() < deadline, left
            await asyncio.sleep(0.1)

    async def _change(self) -> None:
        """Services are scaled and rolled, one after the other."""
        steps = [(at, s, what) for s in (STAYS, GROUPS, PAIR) for at, what in s.actions]
        for _, service, what in sorted(steps, key=lambda step: step[0]):
            await asyncio.sleep(1.5)
            resource, name, operations = service.change(what)
            path = resource_path(resource, self.space, name)
            assert await self.stage.insist("PATCH", path, operations, JSON_PATCH)

    async def _storm(self) -> None:
        """Nodes are lost and come back, or are deleted and made anew; once the leader dies."""
        chance = random.Random(SEED + 1)
        for number in range(1000):
            await asyncio.sleep(chance.uniform(1, 3))
            name = chance.choice(self._hosts())
            if number == 4 and (leader := await asyncio.to_thread(self.stage.crew.leader)) is not None:
                leader.kill()
            self.stage.crew.tend()
            if chance.random() < 0.6:
                await quietly(lambda name=name: nodes.lose_node(self.stage.cluster, name))
                await asyncio.sleep(chance.uniform(0, 2))
                await quietly(lambda name=name: nodes.restore_node(self.stage.cluster, name))
            else:
                await quietly(lambda name=name: nodes.delete_node(self.stage.cluster, name))
                await quietly(lambda: nodes.apply(self.stage.cluster, MIXED, prefix=PREFIX))

    async def _end(self) -> None:
        deadline = time.monotonic() + SECONDS
        while left := list(self._left()):
            assert time.monotonic() < deadline, left
            self.stage.crew.tend()
            await asyncio.sleep(0.5)
        await self.stage.history.caught_up()
        self.judge.end(time.monotonic() - self.began)
        self.stage.history.change = lambda *_: None

    def _hosts(self) -> list[str]:
        return [n["metadata"]["name"] for n in nodes.describe(MIXED, prefix=PREFIX)]

    def _services(self) -> dict[str, Any]:
        return {s["metadata"]["name"]: s for s in self.stage.history.all("inferenceservices")}

    def _left(self) -> Iterator[str]:
        """What is not yet as it has to be in the end."""
        for found in self.stage.history.all("trainingjobs"):
            phase = (found.get("status") or {}).get("phase")
            if phase != "Succeeded":
                yield f"{found['metadata']['name']} is {phase}"
        there = self._services()
        yield from (f"{name} is still there" for name in there.keys() - {STAYS.name})
        yield from unconverged([STAYS], there, self.judge.live_pods())
        for pod in self.judge.live_pods():
            if pod["metadata"]["labels"].get(LABEL_SERVICE) != STAYS.name:
                yield f"pod {pod['metadata']['name']} is left over"

    def _told(self, at: float, resource: str, before: Any, after: Any) -> None:
        document = after or before
        if document["metadata"].get("namespace", self.space) != self.space:
            return
        self.judge.see(at - self.began, resource, before, after)
        if resource == "nodes" and after is not None:
            self._labels[after["metadata"]["name"]] = after["metadata"]["labels"]
        elif resource in ("trainingjobs", "inferenceservices") and after is not None:
            self._wanted[after["metadata"]["uid"]] = after["spec"]["scheduling"].get("placement") or {}
        elif resource == "pods":
            self._pods.pop(document["metadata"]["uid"], None)
            if after is not None and pods.bound_to(after) and not pods.is_over(after):
                self._pods[after["metadata"]["uid"]] = after
                self._look(after)

    def _look(self, new: Any) -> None:
        """At all that is held, as a pod comes to hold something."""
        queues: Counter[str] = Counter()
        blocks: Counter[str] = Counter()
        domains: set[str] = set()
        placement = self._wanted.get(pods.owner_of(new), {})
        level = {"block": BLOCK, "subblock": SUBBLOCK}.get(placement.get("level", ""), "")
        for pod in self._pods.values():
            labels = self._labels[pods.bound_to(pod)]
            queues[pod["metadata"]["labels"].get(LABEL_QUEUE, "")] += pods.chips_of(pod)
            blocks[labels[BLOCK]] += pods.chips_of(pod)
            mine = (pods.gang_of(pod), pods.attempt_of(pod)) == (pods.gang_of(new), pods.attempt_of(new))
            if level and mine:
                domains.add("/".join(labels[key] for key in (BLOCK, SUBBLOCK) if key in (level, BLOCK)))
        self.wrong += [f"{name} holds {n}" for name, n in queues.items() if n > OWN.get(name, 0) + 16]
        self.wrong += ["the cohort holds too much"] if sum(queues.values()) > sum(OWN.values()) else []
        self.wrong += [f"block {name} draws {n * 700} W" for name, n in blocks.items() if n > POWERED * 8]
        self.wrong += [f"{new['metadata']['name']}: {sorted(domains)}"] if len(domains) > 1 else []


async def test_a_mixed_trace_keeps_every_invariant_while_nodes_come_and_go(stage: Site) -> None:
    trace = Trace(stage)
    await trace.play()
    assert trace.judge.found == []
    assert trace.wrong == []
    assert trace.judge.changes > 10 * JOBS
    assert stage.crew.tracebacks() == []
