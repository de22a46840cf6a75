"""A small world in which one job lives through a history: an API with its status, pods and revisions.

Everything written is seen at once, and a deleted pod is there until the kubelet lets go of it. `crash_after`
ends the application of a plan early, as the loss of the operator's process does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from drumline.api.status import TrainingJobStatus
from drumline.core.gang.departures import Departure
from drumline.core.gang.discovery import ObservedDiscovery, ObservedService
from drumline.core.gang.ledger.pulse import Pulse
from drumline.core.gang.plan import Create, Delete, Plan
from drumline.core.gang.projection import project_pod
from drumline.core.gang.queues import Eviction
from drumline.core.gang.revision import decode
from drumline.core.gang.types import Placement, Pod, Refusal
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation, Settings
from tests.unit.core.training import jobs

NODES = tuple(f"node-{i}" for i in range(7))
HANG_SECONDS = 300.0
HELPERS = [
    {"name": "loader", "template": jobs.TEMPLATE},
    {"name": "eval", "dependsOn": [{"name": "workers"}], "template": jobs.TEMPLATE},
]


def spec(initial_seconds: int) -> dict[str, Any]:
    """Two slices of one worker, a helper, and a helper that waits for the workers; a rule for each exit code."""
    backoff = {"initialSeconds": initial_seconds, "maxSeconds": 60}
    rules = [
        {"name": n.lower(), "action": n, "onExitCodes": {"operator": "In", "values": [c]}, **roles}
        for c, n, roles in (
            (3, "Requeue", {}),
            (4, "ReplaceNode", {"cause": "DeviceFault"}),
            (5, "Ignore", {"onRoles": ["loader", "eval"]}),
        )
    ]
    budgets = [{"cause": "DeviceFault", "maxRestarts": 20, "windowSeconds": 4000}]
    policy = {"maxRestarts": 30, "backoff": backoff, "rules": rules, "budgets": budgets}
    return jobs.spec(workersPerSlice=1, helpers=HELPERS, failurePolicy=policy)


@dataclass
class World:
    """What stands in the API, and what admission would say."""

    job: Observation
    now: float = jobs.NOW
    status: TrainingJobStatus = field(default_factory=TrainingJobStatus)
    pods: dict[str, Pod] = field(default_factory=dict)
    revisions: dict[str, Placement] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    going: set[str] = field(default_factory=set)  # nodes that are about to go
    silent_since: float = 0.0  # since then no step ended; 0 = steps go on
    committed_at: float = 0.0  # when a checkpoint was last durable
    evicted: bool = False  # admission wants the gang to leave
    waiting: bool = False  # the last plan put the gang in the admission queue
    version: int = 1  # of the operator: each renders otherwise
    made: int = 0  # pods created so far, for their uids

    def observe(self, *, lagging: bool = False, turn: int | None = None) -> Observation:
        """What the operator sees; with `lagging` it does not see revisions yet, `turn` lets admission answer."""
        written = self.status.placement
        placement = self.revisions.get(written.revision) if written is not None and not lagging else None
        return replace(
            self.job,
            status=self.status,
            pods=dict(self.pods),
            placement=placement,
            pulse=self._pulse(),
            departing={name: Departure(name, "taint going") for name in self.going},
            unhealthy=frozenset(self.lost.intersection(placement.nodes)) if placement else frozenset(),
            evicted=Eviction("ns/other", "x") if self.evicted and written is not None else None,
            revisions={name: f"uid-{name}" for name in self.revisions},
            discovery=ObservedDiscovery(service=ObservedService(ours=True)),
            admission=self._answer(turn) if self.waiting and turn is not None else None,
            settings=Settings(cluster_domain=f"v{self.version}.local"),
        )

    def _pulse(self) -> Pulse:
        silent = self.now - self.silent_since if self.silent_since else 0.0
        return Pulse(
            step=7,
            hanging=silent > HANG_SECONDS,
            progress_at=self.silent_since or self.now,
            silent=silent,
            limit=HANG_SECONDS,
            due=HANG_SECONDS + 1 - silent if silent <= HANG_SECONDS else None,
            heard_at=self.now,
            committed=7,
            committed_at=self.committed_at,
        )

    def _answer(self, turn: int) -> Granted | Refusal:
        avoided = self.lost | self.going | {n.name for n in self.status.excluded_nodes}
        nodes = [n for n in NODES[turn:] + NODES[:turn] if n not in avoided]
        size = self.job.roster.size if self.job.roster is not None else 0
        if len(nodes) < size:
            return Refusal("InsufficientAccelerators", f"needs {size} nodes; {len(nodes)} free")
        return Granted(Placement(tuple(nodes[:size])))

    def decide(self, **how: Any) -> Plan:
        """The plan for what is seen now."""
        return decide(self.observe(**how), self.now)

    def apply(self, plan: Plan, crash_after: int | None = None) -> None:
        """Apply the plan's writes in order, the first `crash_after` of them only."""
        self.waiting = plan.waiting is not None
        for number, write in enumerate(_writes(plan)):
            if crash_after is not None and number >= crash_after:
                return
            self._write(write)

    def _write(self, write: Any) -> None:
        if isinstance(write, Mapping):
            before, self.status = self.status.attempt, TrainingJobStatus.model_validate(write)
            if self.status.attempt != before:
                self.silent_since = 0.0  # of an attempt that has made no step nothing is a hang
        elif isinstance(write, Delete) and write.resource == "pods":
            self.delete(write.name)
        elif isinstance(write, Delete) and write.resource == "controllerrevisions":
            del self.revisions[write.name]
        elif isinstance(write, Create) and write.resource == "pods":
            self._create_pod(write.manifest)
        elif isinstance(write, Create) and write.resource == "controllerrevisions":
            self.revisions[write.manifest["metadata"]["name"]] = decode([write.manifest])

    def _create_pod(self, manifest: Mapping[str, Any]) -> None:
        self.made += 1
        metadata = {**manifest["metadata"], "uid": f"uid-{self.made}"}
        assert metadata["name"] not in self.pods
        pod = project_pod({**manifest, "metadata": metadata})
        node = self._node_of(pod)
        assert not [p for p in self.pods.values() if p.node == node and not p.terminal], "two gangs on a node"
        self.pods[pod.name] = replace(pod, created_at=self.now)

    def delete(self, name: str, **changes: Any) -> None:
        """A pod is told to end; it is there until `let_go`."""
        self.pods[name] = replace(
            self.pods[name], deleting=True, deleting_until=self.now + 30, ready=False, **changes
        )

    def let_go(self) -> None:
        """Pods that were told to end are gone."""
        self.pods = {n: p for n, p in self.pods.items() if not p.deleting}

    def start(self, name: str) -> None:
        """Bind a pod to the node that it was placed on, and run it."""
        pod = self.pods[name]
        node = self._node_of(pod)
        if node and node not in self.lost:
            self.pods[name] = replace(jobs.up(pod, self.now), node=node)

    def _node_of(self, pod: Pod) -> str:
        """Where a pod of the current attempt is placed; "" for any other."""
        written = self.status.placement
        if written is None or pod.member is None or pod.member.attempt != self.status.attempt:
            return ""
        index = self.job.roster.index_of(pod.member) if self.job.roster is not None else None
        return "" if index is None else self.revisions[written.revision].nodes[index]

    def lose(self, node: str) -> None:
        """A node is gone: its pods are told to end."""
        self.lost.add(node)
        for pod in [p for p in self.pods.values() if p.node == node and not p.terminal]:
            self.delete(pod.name, disruption="DeletionByTaintManager")


def created(plan: Plan) -> list[Pod]:
    """The pods that a plan creates."""
    return [
        project_pod(a.manifest) for a in _flat(plan.actions) if isinstance(a, Create) and a.resource == "pods"
    ]


def _writes(plan: Plan) -> Iterator[Any]:
    yield from plan.prepare
    if plan.intent is not None:
        yield plan.intent
    yield from _flat(plan.actions)
    if plan.status is not None:
        yield plan.status


def _flat(stages: Iterable[Iterable[Any]]) -> Iterator[Any]:
    for stage in stages:
        yield from stage
