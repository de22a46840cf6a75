"""The rest of a modelled cluster: scheduler, kubelets, taint manager, collectors of garbage.

Each does what the real one does, after a while drawn by lot: a pinned pod is bound if its node is there, ready and
has room; a bound pod runs, is ready while its readiness gates are open, ends as its annotations say (those of
`e2e.cluster.fakepods`), and once deleted is gone when its program has ended; the pods of a lost node are deleted after their toleration and stay until the node is
back or gone; what a deleted object owned is deleted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from drumline.api.orders import Muster
from drumline.core.gang.clock import rfc3339
from drumline.runtime.crews import Crews
from drumline.runtime.ingest.verdicts import Reporter
from e2e.chaos import pods
from e2e.chaos.launchers import Answer, Launcher, Launchers
from e2e.chaos.model.answers import Refused
from e2e.chaos.model.patch import merged
from e2e.chaos.model.server import Document, Key, Server
from e2e.chaos.scripts import script_of

TOLERATION = 30.0  # seconds that a pod stays on a lost node
RESCHEDULE = 3.0
KILLED = 137
OWNERS = ("trainingjobs", "inferenceservices")
OWNED = (
    "pods",
    "services",
    "endpointslices",
    "controllerrevisions",
    "inferenceroles",
    "poddisruptionbudgets",
)


@dataclass
class Machines:
    """Listens to the server and acts on it."""

    server: Server
    chance: random.Random
    crews: Callable[[], Crews | None]  # of the operator that leads, as far as launchers reach it
    wrong: Callable[[str], None]
    ips: int = 0

    def __post_init__(self) -> None:
        find = partial(self.server.find, "pods")
        self.launchers = Launchers(
            find, self.chance, self._ask, self._runs, self._launcher_ends, self._alive, self.wrong
        )

    def _ask(self, muster: Muster, reporter: Reporter, answer: Answer) -> None:
        """The operator that leads, and learn what it has told the gang."""
        crews = self.crews()
        if crews is None:
            answer(None, None)
            return
        verdict, gang = crews.hear(muster, reporter), (muster.job.uid, muster.attempt)
        answer(verdict, next((t.orders for t in crews.told() if (t.uid, t.attempt) == gang), None))

    def changed(self, resource: str, before: Document | None, after: Document | None) -> None:
        """What a change sets in motion."""
        if resource in OWNED and before is None and after is not None:
            self._later(2.0, lambda: self._collect_orphan(resource, after))
        if resource == "pods" and after is not None:
            self._pod_changed(before, after)
        elif resource in OWNERS and after is None and before is not None:
            self._later(1.0, lambda: self._collect(before["metadata"]["uid"]))
        elif resource == "nodes":
            self._node_changed(before, after)

    def end(self, key: Key, uid: str, code: int, **status: Any) -> None:
        """A pod's program ends, unless it has ended or gone."""
        pod = self._pod(key, uid)
        if pod is None or pods.is_over(pod):
            return
        if uid in self.launchers.by_uid and not status:
            self._process_ends(key, pod, code)
            return
        end = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "finishedAt": self._stamp()}
        containers = [{"name": pod["spec"]["containers"][0]["name"], "state": {"terminated": end}}]
        phase = "Succeeded" if code == 0 else "Failed"
        self._status(key, {"phase": phase, "containerStatuses": containers, **status})
        for kind in ("ContainersReady", "Ready"):
            self._condition(key, kind, "False", "PodCompleted" if code == 0 else "PodFailed")

    def disrupt(self, key: Key, uid: str, reason: str) -> None:
        """Somebody of the cluster deletes a pod and says why."""
        pod = self._pod(key, uid)
        if pod is not None and not pods.is_over(pod):
            self._condition(key, "DisruptionTarget", "True", reason)
            self.server.delete("pods", key, uid)

    def _pod_changed(self, before: Document | None, pod: Document) -> None:
        key, uid = _key(pod), pod["metadata"]["uid"]
        if before is None:
            self._later(0.3, lambda: self._schedule(key, uid))
        elif pods.bound_to(pod) and not pods.bound_to(before):
            self._later(0.8, lambda: self._start(key, uid))
        elif pods.is_deleting(pod) and not pods.is_deleting(before):
            self._later(1.5, lambda: self._let_go(key, uid))
        elif pods.gates_of(pod) and _is_open(pod) != _is_open(before):
            self._later(0.3, lambda: self._gate(key, uid))

    def _gate(self, key: Key, uid: str) -> None:
        """A pod is ready while its containers are and all of its gates are open, says its kubelet."""
        pod = self._pod(key, uid)
        if pod is not None and pod["status"].get("phase") == "Running" and self._alive(pod):
            self._ready(key, pod, "")

    def _ready(self, key: Key, pod: Document, why: str) -> None:
        """`why` it is not ready whatever its gates say; "" for nothing."""
        why = why or ("" if _is_open(pod) else "ReadinessGatesNotReady")
        self._condition(key, "Ready", "False" if why else "True", why)

    def _schedule(self, key: Key, uid: str) -> None:
        pod = self._pod(key, uid)
        if pod is None or pods.bound_to(pod) or pods.is_deleting(pod):
            return
        place = pods.pinned_to(pod)
        node = self.server.find("nodes", ("", place))
        if node is None or not pods.is_ready_node(node) or not self._fits(pod, node):
            self._condition(key, "PodScheduled", "False", "Unschedulable")
            self._later(RESCHEDULE, lambda: self._schedule(key, uid))
            return
        bound = {**pod, "spec": {**pod["spec"], "nodeName": place}}
        self.server.patch("pods", key, lambda _: bound, status=False)
        self._condition(key, "PodScheduled", "True", "")

    def _fits(self, pod: Document, node: Document) -> bool:
        name, room = node["metadata"]["name"], int(node["status"]["allocatable"][pods.GPU])
        others = (p for p in self.server.all("pods") if pods.bound_to(p) == name and not pods.is_over(p))
        return sum(map(pods.chips_of, others)) + pods.chips_of(pod) <= room

    def _start(self, key: Key, uid: str) -> None:
        pod = self._pod(key, uid)
        if pod is None or pods.is_deleting(pod) or pods.is_over(pod):
            return
        if not self._alive(pod):
            self._later(4.0, lambda: self._start(key, uid))
            return
        self.ips += 1
        running = {
            "name": pod["spec"]["containers"][0]["name"],
            "state": {"running": {"startedAt": self._stamp()}},
        }
        address = f"10.{self.ips >> 16 & 255}.{self.ips >> 8 & 255}.{self.ips & 255}"
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": self._stamp(),
        }
        self._status(key, {**status, "containerStatuses": [running]})
        self._condition(key, "ContainersReady", "True", "")
        self._ready(key, pod, "")
        if pods.is_launched(pod):
            self.launchers.begin(pod)
        else:
            self._run(key, uid, pod)

    def _run(self, key: Key, uid: str, pod: Document, epoch: int | None = None) -> None:
        """What a program does by its script; `epoch` of a process behind a launcher."""
        script = script_of(pod)
        if "run-seconds" in script or "exit-code" in script:
            delay, code = float(script.get("run-seconds", 0)), int(script.get("exit-code", 0))
            self._at(delay, lambda: self._ends(key, uid, code, epoch))

    def _runs(self, launcher: Launcher) -> None:
        pod = self._pod(launcher.key, launcher.uid)
        if pod is not None:
            self._run(launcher.key, launcher.uid, pod, launcher.epoch)

    def _launcher_ends(self, launcher: Launcher, code: int) -> None:
        self._try(lambda: self.end(launcher.key, launcher.uid, code))

    def _process_ends(self, key: Key, pod: Document, code: int) -> None:
        """Behind a launcher; SIGKILL takes the launcher with it, and its container is started again in its pod."""
        uid = pod["metadata"]["uid"]
        container = pod["spec"]["containers"][0]
        if code != KILLED or not container.get("restartPolicyRules"):
            self.launchers.exited(uid, code)
            return
        end = {"exitCode": code, "reason": "Error", "finishedAt": self._stamp()}
        again = {"name": container["name"], "restartCount": 1, "lastState": {"terminated": end}}
        again["state"] = {"running": {"startedAt": self._stamp()}}
        self._status(key, {"containerStatuses": [again]})
        self.launchers.restarted(uid)

    def _ends(self, key: Key, uid: str, code: int, epoch: int | None = None) -> None:
        """A program's end is not heard of while its node is lost."""
        pod = self._pod(key, uid)
        if pod is not None and not self._alive(pod):
            self._at(5.0, lambda: self._ends(key, uid, code, epoch))
        elif epoch is not None and uid in self.launchers.by_uid:
            self.launchers.exited(uid, code, epoch)
        elif epoch is None and pod is not None and not pods.is_deleting(pod):
            self.end(key, uid, code)

    def _let_go(self, key: Key, uid: str) -> None:
        pod = self._pod(key, uid)
        if pod is None:
            return
        if not self._alive(pod):
            self._later(4.0, lambda: self._let_go(key, uid))
        else:
            self.server.delete("pods", key, uid, grace=0)

    def _alive(self, pod: Document) -> bool:
        node = self.server.find("nodes", ("", pods.bound_to(pod)))
        return node is not None and pods.is_ready_node(node)

    def _node_changed(self, before: Document | None, after: Document | None) -> None:
        node = after or before
        if node is None:
            return
        name = node["metadata"]["name"]
        if after is None:
            self._later(20.0, lambda: self._bury(name))
        elif before is not None and pods.is_ready_node(before) and not pods.is_ready_node(after):
            for pod in self._on(name):
                self._condition(_key(pod), "Ready", "False", "NodeNotReady")
            self._at(TOLERATION, lambda: self._evict(name))
        elif before is not None and pods.is_ready_node(after) and not pods.is_ready_node(before):
            for pod in self._on(name):
                if pod["status"].get("phase") == "Running" and not pods.is_deleting(pod):
                    self._ready(_key(pod), pod, "")

    def _evict(self, name: str) -> None:
        node = self.server.find("nodes", ("", name))
        if node is not None and not pods.is_ready_node(node):
            for pod in self._on(name):
                self.disrupt(_key(pod), pod["metadata"]["uid"], "DeletionByTaintManager")

    def _bury(self, name: str) -> None:
        """The pods of a node that does not exist are marked as failed and removed."""
        if self.server.find("nodes", ("", name)) is not None:
            return
        for pod in self._on(name):
            key, uid = _key(pod), pod["metadata"]["uid"]
            self._status(key, {"phase": "Failed"})
            self._condition(key, "DisruptionTarget", "True", "DeletionByPodGC")
            self.server.delete("pods", key, uid, grace=0)

    def _collect(self, owner: str) -> None:
        for resource in OWNED:
            for found in self.server.all(resource):
                if pods.owner_of(found) == owner:
                    self._try(partial(self.server.delete, resource, _key(found), found["metadata"]["uid"]))

    def _collect_orphan(self, resource: str, found: Document) -> None:
        """What was made for an owner that is gone goes too."""
        owner = pods.owner_of(found)
        there = (o["metadata"]["uid"] for kind in OWNERS for o in self.server.all(kind))
        if owner and owner not in there:
            self.server.delete(resource, _key(found), found["metadata"]["uid"])

    def _on(self, node: str) -> list[Document]:
        return [p for p in self.server.all("pods") if pods.bound_to(p) == node and not pods.is_over(p)]

    def _pod(self, key: Key, uid: str) -> Document | None:
        pod = self.server.find("pods", key)
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    def _status(self, key: Key, changes: Document) -> None:
        self.server.patch("pods", key, lambda p: merged(p, {"status": changes}), status=True)

    def _condition(self, key: Key, kind: str, value: str, reason: str) -> None:
        pod = self.server.get("pods", key)
        known = pod["status"].get("conditions") or []
        if any((c["type"], c["status"], c.get("reason", "")) == (kind, value, reason) for c in known):
            return
        fresh = {"type": kind, "status": value, "reason": reason, "lastTransitionTime": self._stamp()}
        self._status(key, {"conditions": [*(c for c in known if c["type"] != kind), fresh]})

    def _stamp(self) -> str:
        return rfc3339(self.server.clock())

    def _later(self, most: float, what: Callable[[], None]) -> None:
        self._at(self.chance.random() * most, what)

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, self._try, what)

    def _try(self, what: Callable[[], object]) -> None:
        """Somebody else may have been faster."""
        try:
            what()
        except Refused:
            return


def _key(document: Document) -> Key:
    metadata = document["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _is_open(pod: Document) -> bool:
    """Whether all of its readiness gates are."""
    return all(pods.has_condition(pod, gate) for gate in pods.gates_of(pod))
