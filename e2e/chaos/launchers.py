"""The launchers of fake pods: each musters with the operator that leads, holds at the barrier, follows orders.

How a muster gets there is `ask`'s: of the model to the leader's own `Crews`, as its ingest would hand them over; on a
real control plane over the ingest's end of the socket. A leader that is gone, cut off or new hears them with the next
poll. A process is a state and a timer here. Of two epochs of one attempt no processes may run at the same time, which
`wrong` is told of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from drumline.api.meta import LABEL_SLICE, LABEL_WORKER
from drumline.api.orders import Muster, Orders, ProcessState
from drumline.api.report import JobRef
from drumline.runtime.ingest.verdicts import Heard, MusterVerdict, Reporter, Stale
from e2e.chaos import pods

Document = dict[str, Any]
Key = tuple[str, str]
Answer = Callable[[MusterVerdict | None, Orders | None], None]  # None: nobody was reached; no orders yet
Ask = Callable[[Muster, Reporter, Answer], None]
POLL = (0.3, 1.5)  # seconds between musters
BARRIER = 120.0  # a launcher that nobody has answered for so long ends as its process did
TERMINATED = 143


@dataclass
class Launcher:
    """One pod's launcher, and its process."""

    key: Key
    uid: str  # of the pod
    job: JobRef
    attempt: int
    slice: int
    worker: int
    heard_at: float
    life: int = 0  # of its container
    epoch: int = 0
    state: ProcessState = ProcessState.HELD
    code: int = 0
    asked_at: float = 0.0  # when its process was told to end for another epoch; 0 = it was not

    def muster(self) -> Muster:
        """What it says."""
        return Muster(
            version=1,
            job=self.job,
            attempt=self.attempt,
            slice=self.slice,
            worker=self.worker,
            origin=f"{self.uid}-{self.life}",
            epoch=self.epoch,
            state=self.state,
            exit_code=self.code if self.state is ProcessState.ENDED else 0,
        )


@dataclass
class Launchers:
    """All of them. `runs` begins a process in a pod; `ends` ends the pod; `alive`: whether its node is."""

    find: Callable[[Key], Document | None]  # a pod
    chance: random.Random
    ask: Ask
    runs: Callable[[Launcher], None]
    ends: Callable[[Launcher, int], None]
    alive: Callable[[Document], bool]
    wrong: Callable[[str], None]
    by_uid: dict[str, Launcher] = field(default_factory=dict)
    epochs: int = 0  # that began in place

    def begin(self, pod: Document) -> None:
        """A pod's container has started."""
        metadata = pod["metadata"]
        owner, labels = metadata["ownerReferences"][0], metadata["labels"]
        launcher = Launcher(
            key=(metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            job=JobRef(namespace=metadata["namespace"], name=owner["name"], uid=owner["uid"]),
            attempt=pods.attempt_of(pod),
            slice=int(labels.get(LABEL_SLICE, 0)),
            worker=int(labels.get(LABEL_WORKER, 0)),
            heard_at=self._now(),
        )
        self.by_uid[launcher.uid] = launcher
        self._poll_later(launcher)

    def restarted(self, uid: str) -> None:
        """A container was started again in its pod: another launcher, which knows of no epoch."""
        launcher = self.by_uid[uid]
        launcher.life += 1
        launcher.epoch, launcher.state, launcher.asked_at = 0, ProcessState.HELD, 0.0
        launcher.heard_at = self._now()

    def exited(self, uid: str, code: int, epoch: int | None = None) -> None:
        """A process ends, the one of `epoch` if it still runs. One that ends well, or unsaid, ends its pod."""
        launcher = self.by_uid[uid]
        if launcher.state is not ProcessState.RUNNING or epoch not in (None, launcher.epoch):
            return
        launcher.code = code
        if code == 0 and not launcher.asked_at:
            self._over(launcher, 0)
        elif not launcher.asked_at:
            launcher.state = ProcessState.ENDED

    def _poll_later(self, launcher: Launcher) -> None:
        seconds = self.chance.uniform(*POLL)
        asyncio.get_running_loop().call_later(seconds, self._poll, launcher)

    def _poll(self, launcher: Launcher) -> None:
        pod = self.find(launcher.key)
        if self.by_uid.get(launcher.uid) is not launcher:
            return
        if (
            pod is None
            or pod["metadata"]["uid"] != launcher.uid
            or pods.is_deleting(pod)
            or pods.is_over(pod)
        ):
            del self.by_uid[launcher.uid]
            return
        answer = partial(self._answered, launcher)
        if self.alive(pod):
            self.ask(launcher.muster(), Reporter(*launcher.key, launcher.uid), answer)
        else:
            answer(None, None)

    def _answered(self, launcher: Launcher, verdict: MusterVerdict | None, orders: Orders | None) -> None:
        if self.by_uid.get(launcher.uid) is not launcher:
            return
        if isinstance(verdict, Stale):
            self._dismissed(launcher)
            return
        if isinstance(verdict, Heard):
            launcher.heard_at = self._now()
            self._obey(launcher, orders)
        elif launcher.state is not ProcessState.RUNNING and self._now() - launcher.heard_at > BARRIER:
            self._over(launcher, launcher.code or 1)
            return
        self._poll_later(launcher)

    def _dismissed(self, launcher: Launcher) -> None:
        """Its attempt is over: a process that runs is left to end with its pod."""
        if launcher.state is not ProcessState.RUNNING:
            self._over(launcher, launcher.code or TERMINATED)

    def _obey(self, launcher: Launcher, orders: Orders | None) -> None:
        if orders is None:
            return
        if orders.epoch > launcher.epoch and launcher.state is ProcessState.RUNNING:
            launcher.asked_at = launcher.asked_at or self._now()
            if self.chance.random() < 0.5:  # it takes its time to end
                return
        if orders.epoch > launcher.epoch:
            launcher.epoch, launcher.state, launcher.asked_at = orders.epoch, ProcessState.HELD, 0.0
        elif orders.go and orders.epoch == launcher.epoch and launcher.state is ProcessState.HELD:
            self._start(launcher)

    def _start(self, launcher: Launcher) -> None:
        launcher.state = ProcessState.RUNNING
        self.epochs += launcher.epoch > 0
        for other in self.by_uid.values():
            if self._runs_behind(other, launcher):
                name = launcher.key[1]
                self.wrong(
                    f"epoch {launcher.epoch} runs in pod {name}, epoch {other.epoch} in {other.key[1]}"
                )
        self.runs(launcher)

    def _runs_behind(self, other: Launcher, launcher: Launcher) -> bool:
        """Whether the process of another pod of the gang, which is not to end, is of an earlier epoch."""
        gang = (other.job.uid, other.attempt) == (launcher.job.uid, launcher.attempt)
        if not gang or other.state is not ProcessState.RUNNING or other.epoch >= launcher.epoch:
            return False
        pod = self.find(other.key)
        return pod is not None and not pods.is_deleting(pod) and not pods.is_over(pod)

    def _over(self, launcher: Launcher, code: int) -> None:
        self.by_uid.pop(launcher.uid, None)
        self.ends(launcher, code)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
