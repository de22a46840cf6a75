"""Jobs with spares, told in a few words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Member, Placement, Pod, PodPhase
from drumline.core.training.decide import decide
from drumline.core.training.observation import Granted, Observation, Settings
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW, UID

SETTINGS = Settings(launcher_image="example.org/operator:1")
NODES = ("node-0", "node-1", "node-2", "node-3", "spare-0", "spare-1")
LATER = NOW + 20  # the backoff is over


def asking(spares: int = 2, **changes: Any) -> Observation:
    raw = jobs.spec(spares=spares, **changes)
    return replace(jobs.job(raw), settings=SETTINGS)


def granted(observation: Observation, nodes: tuple[str, ...] = NODES) -> Plan:
    return decide(replace(observation, admission=Granted(Placement(nodes))), NOW)


def spare_pod(index: int, node: str, attempt: int = 1, **changes: Any) -> Pod:
    pod = Pod(
        "ns",
        f"job-{attempt}-spare-{index}",
        f"uid-{attempt}-9{index}",
        node=node,
        bound=True,
        phase=PodPhase.RUNNING,
        created_at=NOW,
        member=Member("job", UID, attempt, "spare", 0, index),
    )
    return replace(pod, **changes)


def running(observation: Observation | None = None, nodes: tuple[str, ...] = NODES) -> Observation:
    """A job that runs, its spares standing by."""
    observation = observation or asking()
    plan = granted(observation, nodes)
    status = TrainingJobStatus.model_validate(plan.status or plan.intent)
    begun = replace(observation, status=status, placement=Placement(nodes))
    ready = {p.name: jobs.up(p) for p in jobs.pods(begun)}
    spares = [spare_pod(i, node) for i, node in enumerate(nodes[4:])]
    begun = replace(begun, pods={**ready, **{p.name: p for p in spares}})
    return jobs.settled(jobs.published(begun))


def after_loss_of(observation: Observation, index: int) -> Observation:
    """The attempt has failed, its pods are gone, and so is that worker's node."""
    assert observation.placement is not None
    failing = jobs.settled(jobs.with_pod(observation, 0, jobs.failed))
    return replace(failing, pods={}, unhealthy=frozenset({observation.placement.nodes[index]}))
