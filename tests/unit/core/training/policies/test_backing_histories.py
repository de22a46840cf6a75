"""Whatever happens to a job that another scheduler admits: the same invariants, and no group without its attempt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant

from drumline.core.gang.backends.base import Found
from drumline.core.gang.backends.native import VERSIONS
from drumline.core.gang.backends.registry import Choice
from drumline.core.gang.backing import resource_of
from drumline.core.gang.plan import Create, Delete
from drumline.core.gang.projection import project_pod
from drumline.core.gang.types import Placement, Pod, Refusal
from drumline.core.training.observation import Granted, Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.history import NODES, World, spec
from tests.unit.core.training.policies.test_histories import Histories

NATIVE = VERSIONS[-1]
GROUPS = resource_of(NATIVE.needs[0])


@dataclass
class Elsewhere(World):
    """A world whose pods somebody else binds, on any node that is free and well."""

    groups: dict[str, Found] = field(default_factory=dict)
    bound: dict[int, str] = field(default_factory=dict)

    def observe(self, **how: Any) -> Observation:
        seen = super().observe(**how)
        members = self.job.roster
        assert members is not None
        found = members.of_attempt(self.pods, self.status.attempt)
        self.bound |= {i: p.node for i, p in found.items() if p.bound}
        lost = self.lost.intersection(self.bound.values()) if seen.placement is not None else ()
        return replace(
            seen,
            bound=dict(self.bound),
            unhealthy=frozenset(lost),
            backend=Choice("native", NATIVE),
            groups=tuple(self.groups.values()),
        )

    def _answer(self, turn: int) -> Granted | Refusal:
        assert self.job.roster is not None
        return Granted(Placement(("",) * self.job.roster.size))

    def _write(self, write: Any) -> None:
        before = self.status.attempt
        super()._write(write)
        if self.status.attempt != before:
            self.bound.clear()
        if isinstance(write, Create) and write.resource == GROUPS:
            uid = f"uid-{write.manifest['metadata']['name']}"
            self.groups.setdefault(uid, Found(NATIVE.needs[0], uid, write.manifest))
        elif isinstance(write, Delete) and write.resource == GROUPS:
            self.groups.pop(write.uid, None)

    def _create_pod(self, manifest: Any) -> None:
        self.made += 1
        name = manifest["metadata"]["name"]
        assert name not in self.pods
        pod = project_pod({**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-{self.made}"}})
        in_group = manifest["spec"].get("schedulingGroup", {}).get("podGroupName")
        assert pod.member is not None
        if pod.member.role != "eval":
            assert f"uid-{in_group}" in self.groups, "a pod came before its group"
        self.pods[name] = replace(pod, created_at=self.now)

    def start(self, name: str) -> None:
        taken = {p.node for p in self.pods.values() if not p.terminal}
        free = [n for n in NODES if n not in taken and n not in self.lost]
        if free:
            self.pods[name] = replace(jobs.up(self.pods[name], self.now), node=free[0])

    def _node_of(self, pod: Pod) -> str:
        return ""


class Elsewheres(Histories):
    """The same histories there."""

    @initialize(initial_seconds=st.sampled_from([0, 10]))
    def submit(self, initial_seconds):
        self.world = Elsewhere(jobs.job(spec(initial_seconds)))
        self.restarts = {}
        self.bring_up()

    @invariant()
    def a_group_is_of_the_live_attempt(self):
        """Once a decision has been applied whole: one that was cut off is made good by the next."""
        if hasattr(self, "world"):
            self._step()
            live = f"uid-job-{self.world.status.attempt}"
            assert self.world.groups.keys() <= {live}


TestElsewhere = Elsewheres.TestCase
TestElsewhere.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
