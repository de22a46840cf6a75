"""One seed: a small cluster, a few jobs, a minute of bad weather, then calm until every job has ended.

The seed decides everything: which jobs, which faults strike when, and how long each request takes. Times are
virtual seconds since the seed began.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from drumline.runtime.crews import Crews
from e2e.chaos import pods
from e2e.chaos.judge import Judge, Limits
from e2e.chaos.model.answers import Refused
from e2e.chaos.model.loop import run as run_virtually
from e2e.chaos.model.machines import TOLERATION, Machines
from e2e.chaos.model.replica import Replica
from e2e.chaos.model.server import Document, Server
from e2e.chaos.model.serving import Serving
from e2e.chaos.queues import queue, queued
from e2e.chaos.scripts import POOL, End, Kind, Script, draw, formed
from e2e.chaos.services import Service, beside
from e2e.chaos.weather import Weather

EPOCH = 1_800_000_000.0
SPACE = "chaos"
HOSTS = 4
CHIPS = 8
STORM = 60.0  # seconds of faults
CALM = 900.0  # seconds within which every job has to end then
STEP = 1.0
SIZES = (1, 1, 2, 2, 3, 4, 8, 16)
LIMITS = Limits(partial=150.0, orphan=150.0)
Fault = tuple[float, str]
FAULTS = (
    *("kill", "kill", "down", "gap", "clock", "lose", "remove", "fail", "delete", "evict", "fail"),
    *("storm", "storm", "cuts"),
)


@dataclass
class Story:
    """A seed under way, and what came of it. `given`: these jobs and `services`, and no faults, not the seed's."""

    seed: int
    given: list[Script] | None = None
    services: list[Service] = field(default_factory=list)
    chance: random.Random = field(init=False)
    judge: Judge = field(init=False)
    faults: list[Fault] = field(default_factory=list)
    offset: float = 0.0  # of the operator's wall clock
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.judge = Judge(LIMITS)

    async def play(self) -> None:
        """Live through it; what was wrong is in `judge.found`."""
        loop = asyncio.get_running_loop()
        self.server = Server(lambda: EPOCH + loop.time())
        self.weather = Weather()
        self.machines = Machines(self.server, self.chance, self._crews, self._wrong)
        self.server.listeners += [self._told, self.machines.changed]
        self._furnish()
        self.scripts, self.faults = self._drawn() if self.given is None else (self.given, [])
        self.serving = Serving(self.server, SPACE, self.services)
        self.replicas = [self._replica() for _ in range(self.chance.choice((1, 1, 1, 2)))]
        self._schedule()
        await self._until(STORM, lambda: False)
        self._calm()
        await self._until(STORM + CALM, self._is_over)
        await self._settle()
        self._judge_ends()
        for replica in self.replicas:
            await replica.kill()

    def _drawn(self) -> tuple[list[Script], list[Fault]]:
        self.services, room = beside(self.seed, STORM, HOSTS, CHIPS)
        scripts = draw(self.chance, self.chance.randint(1, 5), SIZES, STORM, room)
        scripts = formed(self.chance, scripts, STORM)
        scripts, self.services, queues = queued(self.seed, scripts, self.services)
        for name in queues:
            self.server.create("acceleratorqueues", queue(name, HOSTS * CHIPS // len(queues)))
        return scripts, _faults(self.chance)

    def _told(self, resource: str, before: Document | None, after: Document | None) -> None:
        self.judge.see(asyncio.get_running_loop().time(), resource, before, after)

    def _wrong(self, text: str) -> None:
        self.judge.wrong(asyncio.get_running_loop().time(), text)

    def _crews(self) -> Crews | None:
        """Of the operator that leads, unless a muster is lost on its way."""
        if self.weather.down or self.chance.random() < self.weather.faults:
            return None
        return next((r.controller.crews for r in self.replicas if r.leads), None)

    def _furnish(self) -> None:
        self.server.create("namespaces", {"metadata": {"name": SPACE}})
        for number in range(HOSTS):
            self._add_node(f"host-{number}")
        for name, value in (("chaos-high", 1000), ("chaos-low", -10)):
            body = {"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"}
            self.server.create("priorityclasses", body)

    def _add_node(self, name: str) -> None:
        labels = {POOL: "pool", "cloud.google.com/gke-accelerator": "nvidia-h100-80gb"}
        room = {pods.GPU: str(CHIPS), "cpu": "64", "memory": "512Gi", "pods": "110"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        status = {"allocatable": room, "capacity": room, "conditions": [ready]}
        self.server.create(
            "nodes", {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": status}
        )

    def _replica(self) -> Replica:
        self.log.append(f"{asyncio.get_running_loop().time():.1f} an operator starts")
        name = f"operator-{len(self.log)}"
        made = Replica(self.server, self.weather, self.chance, self._wall, name)
        made.start()
        return made

    def _wall(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.offset

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        for script in self.scripts:
            loop.call_at(script.begins, self._begin, script)
            for at, what in script.actions:
                loop.call_at(at, self._act, script, what)
        self.serving.schedule()
        for at, fault in self.faults:
            loop.call_at(at, self._strike, fault)

    def _begin(self, script: Script) -> None:
        self.server.create("trainingjobs", script.manifest(SPACE, "pool"))

    def _act(self, script: Script, what: str) -> None:
        key = (SPACE, script.name)
        job = self.server.find("trainingjobs", key)
        if job is None:
            return
        if what == "delete":
            self.server.delete("trainingjobs", key)
            return
        if what == "lose":
            self._lose(self._node_of(script), at_least=TOLERATION + 10)
            return
        operation = {"op": "add", "path": "/spec/suspend", "value": what == "suspend"}
        if what.startswith("slices "):
            operation = {"op": "replace", "path": "/spec/slices", "value": int(what.split()[1])}
        self.server.json_patch("trainingjobs", key, [operation], status=False)

    def _strike(self, fault: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():.1f} {fault}")
        strikes: dict[str, Callable[[], None]] = {
            "kill": self._kill,
            "down": self._down,
            "gap": self._gap,
            "clock": self._jump,
            "lose": lambda: self._lose(self._some_node()),
            "remove": self._remove,
            "storm": lambda: self._for_a_while("faults", 0.3),
            "cuts": lambda: self._for_a_while("cuts", 0.3),
        }
        strikes.get(fault, lambda: self._hurt(fault))()

    def _kill(self) -> None:
        victim = next((r for r in self.replicas if r.leads), self.replicas[0])
        self._replace(victim)

    def _replace(self, victim: Replica) -> None:
        victim.ended = True
        self.replicas.remove(victim)
        self.replicas.append(self._replica())
        self._deaths.append(asyncio.get_running_loop().create_task(victim.kill()))

    _deaths: list[asyncio.Task[None]] = field(default_factory=list)

    def _down(self) -> None:
        """The API server is gone for a while, and has forgotten old versions when it is back."""
        self.weather.down = True

        def up() -> None:
            self.weather.down = False
            self.server.forget()

        self.server.wake()
        asyncio.get_running_loop().call_later(self.chance.uniform(1, 12), up)

    def _gap(self) -> None:
        self.server.forget()
        self.server.wake()

    def _jump(self) -> None:
        self.offset = self.chance.choice((-3600.0, 0.0, 3600.0, 60.0, -60.0))

    def _for_a_while(self, what: str, share: float) -> None:
        setattr(self.weather, what, share)
        self.server.wake()
        later = self.chance.uniform(3, 20)
        asyncio.get_running_loop().call_later(later, setattr, self.weather, what, 0.0)

    def _node_of(self, script: Script) -> str:
        """Where a worker of the job's is; any node while none is anywhere."""
        mine = [
            p
            for p in self.server.all("pods")
            if p["metadata"]["labels"].get("drumline.dev/job") == script.name and not pods.is_spare(p)
        ]
        places = [place for p in mine if (place := pods.bound_to(p)) and not pods.is_over(p)]
        return self.chance.choice(places) if places else self._some_node()

    def _lose(self, name: str, at_least: float = 1.0) -> None:
        self._set_ready(name, "Unknown")
        later = self.chance.uniform(at_least, 60)
        asyncio.get_running_loop().call_later(later, self._set_ready, name, "True")

    def _set_ready(self, name: str, value: str) -> None:
        if self.server.find("nodes", ("", name)) is None:
            return
        operation = {
            "op": "replace",
            "path": "/status/conditions",
            "value": [{"type": "Ready", "status": value}],
        }
        self.server.json_patch("nodes", ("", name), [operation], status=True)

    def _remove(self) -> None:
        name = self._some_node()
        if self.server.find("nodes", ("", name)) is not None:
            self.server.delete("nodes", ("", name))
            asyncio.get_running_loop().call_later(self.chance.uniform(1, 60), self._restore, name)

    def _restore(self, name: str) -> None:
        if self.server.find("nodes", ("", name)) is None:
            self._add_node(name)

    def _some_node(self) -> str:
        return f"host-{self.chance.randrange(HOSTS)}"

    def _hurt(self, how: str) -> None:
        """Strike one pod."""
        there = [p for p in self.server.all("pods") if pods.bound_to(p) and not pods.is_over(p)]
        if not there:
            return
        pod = self.chance.choice(there)
        key, uid = (SPACE, pod["metadata"]["name"]), pod["metadata"]["uid"]
        if how == "fail":
            self.machines.end(key, uid, self.chance.choice((1, 137, 139)))
        elif how == "delete":
            self.server.delete("pods", key, uid)
        else:
            self.machines.disrupt(key, uid, "EvictionByEvictionAPI")

    def _calm(self) -> None:
        self.weather.faults = self.weather.cuts = 0.0

    async def _until(self, at: float, done: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < at and not done():
            await asyncio.sleep(min(STEP, at - loop.time()))
            self._tend()

    def _tend(self) -> None:
        """Do what a Deployment and the jobs' own programs do."""
        for replica in [r for r in self.replicas if r.ended]:
            self._replace(replica)
        for script in self.scripts:
            if script.kind is Kind.STUMBLES:
                self._finish(script)

    def _finish(self, script: Script) -> None:
        job = self.server.find("trainingjobs", (SPACE, script.name))
        status = (job or {}).get("status") or {}
        if status.get("attempt", 0) < 2 or status.get("phase") != "Running":
            return
        for pod in list(self.server.all("pods")):
            mine = pod["metadata"]["labels"].get("drumline.dev/job") == script.name and not pods.is_spare(pod)
            if mine and pods.attempt_of(pod) == status["attempt"] and pods.bound_to(pod):
                self.machines.end((SPACE, pod["metadata"]["name"]), pod["metadata"]["uid"], 0)

    def _is_over(self) -> bool:
        ended = all(self._end_of(script) == script.end for script in self.scripts)
        return ended and not any(self.serving.unconverged())

    def _end_of(self, script: Script) -> str:
        job = self.server.find("trainingjobs", (SPACE, script.name))
        if job is None:
            return End.GONE.value
        return str((job.get("status") or {}).get("phase", "new"))

    async def _settle(self) -> None:
        """What is left over gets the time that its removal may take, and what the last faults hurt that to come back."""
        loop = asyncio.get_running_loop()
        await self._until(loop.time() + 5, lambda: False)
        await self._until(loop.time() + 150, lambda: not self._left_over() and self._is_over())

    def _judge_ends(self) -> None:
        at = asyncio.get_running_loop().time()
        self.judge.end(at)
        for script in self.scripts:
            if self._end_of(script) != script.end:
                status = (self.server.find("trainingjobs", (SPACE, script.name)) or {}).get("status")
                self.judge.wrong(
                    at, f"{script.name} is {self._end_of(script)}, not {script.end.value}: {status}"
                )
        for text in (*self.serving.unconverged(), *self._left_over()):
            self.judge.wrong(at, text)

    def _left_over(self) -> list[str]:
        names = (p["metadata"]["name"] for p in self.judge.live_pods() if not pods.is_service(p))
        found = [f"pod {name} is left over" for name in names]
        return found + [f"nodes are still reserved for {uid}" for uid in self._reserved()]

    def _reserved(self) -> list[str]:
        """Jobs for which the leader holds nodes in its memory."""
        uids = [d["metadata"]["uid"] for d in self.server.all("trainingjobs")]
        leaders = [r.controller.world.capacity for r in self.replicas if r.leads]
        return [uid for capacity in leaders for uid in uids if capacity.reserved(uid)]


def _faults(chance: random.Random) -> list[Fault]:
    count = chance.randint(2, 14)
    return sorted((round(chance.uniform(1, STORM), 2), chance.choice(FAULTS)) for _ in range(count))


def play(seed: int, given: list[Script] | None = None, services: list[Service] | None = None) -> Story:
    """Play one seed, or these jobs and services, from its beginning to its end."""
    story = Story(seed, given, services or [])
    with _alone(seed):
        try:
            run_virtually(story.play())
        except Refused as refused:
            story.judge.wrong(0.0, f"the story itself failed: {refused}")
    return story


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """The operator's jitter is the seed's and its log silent; both are as before afterwards."""
    logger = logging.getLogger("drumline")
    level, state = logger.level, random.getstate()
    logger.setLevel(logging.CRITICAL)
    random.seed(seed)
    try:
        yield
    finally:
        logger.setLevel(level)
        random.setstate(state)
