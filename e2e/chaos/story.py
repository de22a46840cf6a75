"""One seed on the real control plane: jobs and services, half a minute of faults, then calm until all is as it should be.

The seed decides which jobs there are, what is done to them, and which faults strike when. What the machine makes of
it differs from run to run, so a seed replays its script, not each of its moments.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from drumline.api.meta import LABEL_JOB
from drumline.core.gang.clock import rfc3339
from drumline.runtime.http import JSON, JSON_PATCH, MERGE_PATCH
from drumline.runtime.http_paths import resource_path
from e2e.chaos import pods
from e2e.chaos.judge import Judge, Limits
from e2e.chaos.processes import Processes
from e2e.chaos.scripts import End, Kind, Script, draw, formed
from e2e.chaos.services import Service, beside, unconverged
from e2e.chaos.site import HOSTS, POOL, Site, quietly
from e2e.chaos.skewed import skew
from e2e.cluster import nodes

STORM = 25.0  # seconds of faults
CALM = 240.0  # seconds within which every job has to end then
PAUSE = 9.0  # longer than a lease
SIZES = (1, 2, 2, 3, 4, 8, 16)
CHIPS = 8
Step = tuple[float, Callable[[], Awaitable[object]]]  # when, and what
LIMITS = Limits(partial=150.0, orphan=90.0)
FAULTS = (
    *("kill", "kill", "pause", "apiserver", "etcd", "storm", "storm", "cuts", "gap", "down", "clock"),
    *("lose", "remove", "fail", "fail", "delete", "evict"),
)


@dataclass
class Story:
    """A seed under way, and what came of it."""

    seed: int
    site: Site
    judge: Judge = field(default_factory=lambda: Judge(LIMITS))
    log: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._deeds: set[asyncio.Task[None]] = set()
        self.chance = random.Random(self.seed)
        self.space = f"chaos-{self.seed}"
        self.services, room = beside(self.seed, STORM, HOSTS, CHIPS)
        scripts = draw(self.chance, self.chance.randint(3, 5), SIZES, STORM, room)
        self.scripts = formed(random.Random(f"forms of {self.seed}"), scripts, STORM)
        count = self.chance.randint(3, 7)
        self.faults = sorted(
            (round(self.chance.uniform(3, STORM), 2), self.chance.choice(FAULTS)) for _ in range(count)
        )

    async def play(self) -> None:
        """Live through it; what was wrong is in `judge.found`."""
        self.began = time.monotonic()
        self._tracebacks = self.site.crew.tracebacks()
        await self.site.create_namespace(self.space)
        for node in self.site.history.all("nodes"):
            self.judge.see(0.0, "nodes", None, node)
        self.processes = self._processes()
        self.site.history.change = self._told
        await self._suffer()
        await self.site.mend()
        await self._until(self._all_ended, CALM)
        await self._until(lambda: not any(self._left_over()) and self._all_ended(), 60)
        await self.site.history.caught_up()
        self._judge_ends()
        self.site.history.change = lambda *_: None
        await self.processes.stop()
        self.log.append(self._summary())
        await self.site.clear(self.space)
        self.seconds = time.monotonic() - self.began

    def _summary(self) -> str:
        forms = ", ".join(f"{s.name} {s.kind.value} {s.form.value}" for s in self.scripts)
        epochs = self.processes.launchers.epochs
        return f"{forms}; {epochs} processes began again in place; {len(self.services)} services"

    @property
    def now(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    def _told(self, at: float, resource: str, before: Any, after: Any) -> None:
        metadata = (after or before)["metadata"]
        if metadata.get("namespace", self.space) == self.space:
            self.judge.see(at - self.began, resource, before, after)
            if resource == "pods":
                self.processes.changed(before, after)

    def _processes(self) -> Processes:
        """Of the pods whose programs run behind launchers."""
        return Processes(
            self.site.links,
            self.site.weather,
            random.Random(self.seed),
            find=lambda key: next((p for p in self._pods() if p["metadata"]["name"] == key[1]), None),
            node=lambda name: next(
                (n for n in self.site.history.all("nodes") if n["metadata"]["name"] == name), None
            ),
            end=lambda name, code: self._soon(self._end_pod(name, code)),
            restart=lambda name: self._soon(self._start_again(name)),
            wrong=lambda text: self.judge.wrong(self.now, text),
        )

    def _soon(self, what: Awaitable[object]) -> None:
        async def done() -> None:
            await quietly(lambda: what)

        task = asyncio.get_running_loop().create_task(done())
        self._deeds.add(task)
        task.add_done_callback(self._deeds.discard)

    async def _suffer(self) -> None:
        """Do what the script says at its times; a fault that takes long holds up none of the others."""
        lives: list[list[Step]] = [[(at, self._striking(fault))] for at, fault in self.faults]
        for script in self.scripts:
            actions = [(at, self._acting(script, what)) for at, what in script.actions]
            lives.append([(script.begins, self._beginning(script)), *actions])
        for service in self.services:
            changes = [(at, self._changing(service, what)) for at, what in service.actions]
            lives.append([(service.begins, self._beginning(service)), *changes])
        async with asyncio.TaskGroup() as group:
            tending = group.create_task(self._tend_for_ever())
            deeds = [group.create_task(self._live(steps)) for steps in lives]
            await asyncio.wait(deeds)
            await asyncio.sleep(max(0.0, STORM - self.now))
            tending.cancel()

    async def _live(self, steps: Sequence[Step]) -> None:
        """What is done to one thing, in this order, though the API server be away when its time comes."""
        for at, step in steps:
            await asyncio.sleep(max(0.0, at - self.now))
            await step()

    def _beginning(self, script: Script | Service) -> Callable[[], Awaitable[object]]:
        body = script.manifest(self.space, POOL)
        resource = "inferenceservices" if isinstance(script, Service) else "trainingjobs"
        return lambda: self._insist("POST", resource_path(resource, self.space), body)

    def _acting(self, script: Script, what: str) -> Callable[[], Awaitable[object]]:
        path = resource_path("trainingjobs", self.space, script.name)
        if what == "delete":
            return lambda: self._insist("DELETE", path, None)
        if what == "lose":
            return lambda: self._lose_a_node_of(script)
        body = [{"op": "add", "path": "/spec/suspend", "value": what == "suspend"}]
        if what.startswith("slices "):
            body = [{"op": "replace", "path": "/spec/slices", "value": int(what.split()[1])}]
        return lambda: self._insist("PATCH", path, body, JSON_PATCH)

    def _changing(self, service: Service, what: str) -> Callable[[], Awaitable[object]]:
        if what == "delete":
            path = resource_path("inferenceservices", self.space, service.name)
            return lambda: self._insist("DELETE", path, None)
        return lambda: self._change(service, what)

    async def _change(self, service: Service, what: str) -> None:
        """What an InferenceRole is to say waits until it is there."""
        resource, name, operations = service.change(what)
        there = self._named("inferenceroles")
        while resource == "inferenceroles" and name not in there:
            if service.is_overtaken(what, self.now) or (self.now > STORM and service.gone):
                return
            await asyncio.sleep(0.5)
            there = self._named("inferenceroles")
        await self._insist("PATCH", resource_path(resource, self.space, name), operations, JSON_PATCH)

    async def _lose_a_node_of(self, script: Script) -> None:
        """Of one that a worker of the job is on; of any while there is none."""
        mine = [p for p in self._pods() if p["metadata"]["labels"].get(LABEL_JOB) == script.name]
        places = {pods.bound_to(p) for p in mine if not pods.is_spare(p) and not pods.is_over(p)} - {""}
        host = self.chance.choice(sorted(places) or self.site.hosts)
        await quietly(lambda: nodes.lose_node(self.site.cluster, host))

    async def _insist(self, method: str, path: str, body: Any, content: str = JSON) -> None:
        if not await self.site.insist(method, path, body, content):
            self.judge.wrong(self.now, f"{method} {path} could not be done")

    def _striking(self, fault: str) -> Callable[[], Awaitable[object]]:
        async def strike() -> None:
            self.log.append(f"{self.now:.1f} {fault}")
            deed = getattr(self, f"_strike_{fault}", None)
            await quietly(deed if deed is not None else lambda: self._hurt(fault))

        return strike

    async def _strike_kill(self) -> None:
        leader = await asyncio.to_thread(self.site.crew.leader)
        if leader is not None:
            leader.signal(signal.SIGKILL)

    async def _strike_pause(self) -> None:
        leader = await asyncio.to_thread(self.site.crew.leader)
        if leader is not None:
            leader.signal(signal.SIGSTOP)
            await asyncio.sleep(PAUSE)
            leader.signal(signal.SIGCONT)

    async def _strike_apiserver(self) -> None:
        await self.site.restart_apiserver()

    async def _strike_etcd(self) -> None:
        await self.site.restart_etcd()

    async def _strike_storm(self) -> None:
        await self._for_a_while("faults", 0.25)

    async def _strike_cuts(self) -> None:
        await self._for_a_while("cuts", 0.3)

    async def _strike_down(self) -> None:
        self.site.weather.down = True
        for replica in self.site.crew.replicas:
            replica.proxy.cut()
        await asyncio.sleep(self.chance.uniform(0.5, 3))
        self.site.weather.down = False

    async def _strike_gap(self) -> None:
        for replica in self.site.crew.replicas:
            replica.proxy.gap()

    async def _strike_clock(self) -> None:
        leader = await asyncio.to_thread(self.site.crew.leader)
        if leader is not None:
            skew(leader.clock, self.chance.choice((-3600.0, 3600.0)))
            await asyncio.sleep(self.chance.uniform(2, 8))
            skew(leader.clock, 0.0)

    async def _strike_lose(self) -> None:
        host = self.chance.choice(self.site.hosts)
        await nodes.lose_node(self.site.cluster, host)

    async def _strike_remove(self) -> None:
        host = self.chance.choice(self.site.hosts)
        await nodes.delete_node(self.site.cluster, host)

    async def _for_a_while(self, what: str, share: float) -> None:
        setattr(self.site.weather, what, share)
        await asyncio.sleep(self.chance.uniform(2, 6))
        setattr(self.site.weather, what, 0.0)

    async def _hurt(self, how: str) -> None:
        """Strike one pod."""
        there = [p for p in self._pods() if pods.bound_to(p) and not pods.is_over(p)]
        if not there:
            return
        name = self.chance.choice(sorted(p["metadata"]["name"] for p in there))
        path = resource_path("pods", self.space, name)
        if how == "fail":
            struck = next(p for p in there if p["metadata"]["name"] == name)
            if not self.processes.ends(name, struck, 137):
                await self._end_pod(name, 137)
        elif how == "delete":
            await self.site.client.request("DELETE", path)
        else:
            body = {
                "apiVersion": "policy/v1",
                "kind": "Eviction",
                "metadata": {"name": name, "namespace": self.space},
            }
            await self.site.client.request("POST", f"{path}/eviction", body=body)

    async def _end_pod(self, name: str, code: int) -> None:
        """What its kubelet writes when its program ends."""
        end = {"exitCode": code, "reason": "Completed" if code == 0 else "Error"}
        container = {**self._container(name), "ready": False, "restartCount": 0}
        phase = "Succeeded" if code == 0 else "Failed"
        status = {"phase": phase, "containerStatuses": [{**container, "state": {"terminated": end}}]}
        await self._write_status(name, status)

    async def _start_again(self, name: str) -> None:
        """What its kubelet writes when it starts a container again that was killed."""
        now = rfc3339(time.time())  # noqa: TID251 - a kubelet has a clock
        end = {"exitCode": 137, "reason": "Error", "finishedAt": now}
        again = {**self._container(name), "ready": True, "restartCount": 1, "lastState": {"terminated": end}}
        await self._write_status(
            name, {"containerStatuses": [{**again, "state": {"running": {"startedAt": now}}}]}
        )

    def _container(self, name: str) -> dict[str, Any]:
        pod = next((p for p in self._pods() if p["metadata"]["name"] == name), None)
        container = pod["spec"]["containers"][0]["name"] if pod is not None else "train"
        return {"name": container, "image": "x", "imageID": ""}

    async def _write_status(self, name: str, status: dict[str, Any]) -> None:
        path = resource_path("pods", self.space, name, "status")
        await self.site.client.request("PATCH", path, body={"status": status}, content_type=MERGE_PATCH)

    def _pods(self) -> list[Any]:
        return [p for p in self.site.history.all("pods") if p["metadata"]["namespace"] == self.space]

    def _jobs(self) -> dict[str, Any]:
        return self._named("trainingjobs")

    def _named(self, resource: str) -> dict[str, Any]:
        found = self.site.history.all(resource)
        return {o["metadata"]["name"]: o for o in found if o["metadata"]["namespace"] == self.space}

    async def _tend_for_ever(self) -> None:
        while True:
            await self._tend()
            await asyncio.sleep(0.5)

    async def _tend(self) -> None:
        """Do what a Deployment and the jobs' own programs do."""
        self.site.crew.tend()
        jobs = self._jobs()
        for script in self.scripts:
            status = jobs.get(script.name, {}).get("status") or {}
            if (
                script.kind is Kind.STUMBLES
                and status.get("attempt", 0) >= 2
                and status.get("phase") == "Running"
            ):
                await self._finish(script.name, status["attempt"])

    async def _finish(self, job: str, attempt: int) -> None:
        for pod in self._pods():
            name = pod["metadata"]["name"]
            if pods.is_spare(pod) or not pods.bound_to(pod) or pods.is_over(pod):
                continue
            if name.startswith(f"{job}-{attempt}-") and not self.processes.ends(name, pod, 0):
                await quietly(lambda name=name: self._end_pod(name, 0))  # type: ignore[misc]

    async def _until(self, holds: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not holds() and time.monotonic() < deadline:
            await self._tend()
            await asyncio.sleep(0.5)

    def _all_ended(self) -> bool:
        ended = all(self._end_of(script) == script.end for script in self.scripts)
        return ended and not any(self._unconverged())

    def _unconverged(self) -> Iterator[str]:
        return unconverged(self.services, self._named("inferenceservices"), self._pods())

    def _left_over(self) -> Iterator[str]:
        return (p["metadata"]["name"] for p in self.judge.live_pods() if not pods.is_service(p))

    def _end_of(self, script: Script) -> str:
        job = self._jobs().get(script.name)
        return End.GONE.value if job is None else str((job.get("status") or {}).get("phase", "new"))

    def _judge_ends(self) -> None:
        self.judge.end(self.now)
        for script in self.scripts:
            found = self._end_of(script)
            if found != script.end:
                status = self._jobs().get(script.name, {}).get("status")
                self.judge.wrong(self.now, f"{script.name} is {found}, not {script.end.value}: {status}")
        for text in (*self._unconverged(), *(f"pod {name} is left over" for name in self._left_over())):
            self.judge.wrong(self.now, text)
        for trace in (t for t in self.site.crew.tracebacks() if t not in self._tracebacks):
            self.judge.wrong(self.now, f"an operator has logged: {trace}")
