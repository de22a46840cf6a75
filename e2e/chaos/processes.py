"""The programs behind launchers on a real control plane: nobody runs these pods, so this plays their launchers.

Musters and orders cross the operators' own sockets, over the ingest's end of them; only HTTP and tokens are left out.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from drumline.api.orders import Muster, Orders
from drumline.runtime.ingest.link import Link
from drumline.runtime.ingest.musters import gang_of
from drumline.runtime.ingest.verdicts import Forbidden, Heard, Reporter, Stale
from e2e.chaos import pods
from e2e.chaos.launchers import Answer, Key, Launcher, Launchers
from e2e.chaos.scripts import script_of
from e2e.chaos.weather import Weather

KILLED = 137
AGAIN = 5.0  # seconds after which an end is tried to be told again, while its node is lost
EndPod = Callable[[str, int], None]  # name, exit code
Restart = Callable[[str], None]  # a container in its pod, which was killed


@dataclass
class Processes:
    """Of one seed. `find`: a pod by key; `node`: one by name; `end`, `restart`: what a kubelet writes."""

    links: Sequence[Link]
    weather: Weather
    chance: random.Random
    find: Callable[[Key], Any]
    node: Callable[[str], Any]
    end: EndPod
    restart: Restart
    wrong: Callable[[str], None]
    _asking: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.launchers = Launchers(
            self.find, self.chance, self._ask, self._runs, self._launcher_ends, self._alive, self.wrong
        )

    def changed(self, before: Any, after: Any) -> None:
        """A pod changed: its launcher starts with its container."""
        if after is None or not pods.is_launched(after) or pods.is_spare(after):
            return
        if _runs(after) and not _runs(before) and not pods.is_deleting(after):
            self.launchers.begin(after)

    def ends(self, name: str, pod: Any, code: int) -> bool:
        """The program of a pod ends; False when there is no launcher to hear of it."""
        uid = pod["metadata"]["uid"]
        if uid not in self.launchers.by_uid:
            return False
        if code == KILLED and pod["spec"]["containers"][0].get("restartPolicyRules"):
            self.restart(name)  # with its launcher
            self.launchers.restarted(uid)
        else:
            self.launchers.exited(uid, code)
        return True

    async def stop(self) -> None:
        """Nobody asks any more."""
        self.launchers.by_uid.clear()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    def _ask(self, muster: Muster, reporter: Reporter, answer: Answer) -> None:
        task = asyncio.get_running_loop().create_task(self._heard(muster, reporter, answer))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _heard(self, muster: Muster, reporter: Reporter, answer: Answer) -> None:
        """Ask one replica after the other, as a Service leads to any of them; those that don't lead say so."""
        if self.weather.down or self.chance.random() < self.weather.faults:
            answer(None, None)
            return
        for link in self.links:
            verdict = await asyncio.shield(link.musters.submit(muster, reporter))
            if isinstance(verdict, Heard | Stale | Forbidden):
                answer(verdict, _orders(link.musters.body(gang_of(muster))))
                return
        answer(None, None)

    def _alive(self, pod: Any) -> bool:
        node = self.node(pods.bound_to(pod))
        return node is not None and pods.is_ready_node(node)

    def _runs(self, launcher: Launcher) -> None:
        pod = self.find(launcher.key)
        script = script_of(pod) if pod is not None else {}
        if "run-seconds" in script or "exit-code" in script:
            delay, code = float(script.get("run-seconds", 0)), int(script.get("exit-code", 0))
            asyncio.get_running_loop().call_later(delay, self._ends, launcher, launcher.epoch, code)

    def _ends(self, launcher: Launcher, epoch: int, code: int) -> None:
        """A program's end is not heard of while its node is lost."""
        if self.launchers.by_uid.get(launcher.uid) is not launcher:
            return
        pod = self.find(launcher.key)
        if pod is not None and not self._alive(pod):
            asyncio.get_running_loop().call_later(AGAIN, self._ends, launcher, epoch, code)
        else:
            self.launchers.exited(launcher.uid, code, epoch)

    def _launcher_ends(self, launcher: Launcher, code: int) -> None:
        self.end(launcher.key[1], code)


def _runs(pod: Any) -> bool:
    return pod is not None and bool((pod.get("status") or {}).get("phase") == "Running")


def _orders(body: bytes) -> Orders | None:
    """What a launcher is told; None for nothing yet."""
    found = orjson.loads(body)
    return Orders.model_validate(found) if found["digest"] else None
