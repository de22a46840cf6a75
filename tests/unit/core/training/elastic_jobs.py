"""Builders of elastic jobs: one worker a slice, each on a node of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drumline.api.status import TrainingJobStatus
from drumline.core.gang.plan import Plan
from drumline.core.gang.types import Granted, Placement
from drumline.core.training.decide import decide
from drumline.core.training.elastic import fitted
from drumline.core.training.observation import Observation
from tests.unit.core.training import jobs
from tests.unit.core.training.jobs import NOW

BOUNDS = {"minSlices": 1, "maxSlices": 8}


def job(
    slices: int = 4,
    workers: int = 1,
    helpers: list[dict[str, Any]] | None = None,
    checkpoint: dict[str, Any] | None = None,
    **bounds: Any,
) -> Observation:
    """A job that wants so many slices of that many workers and nobody has looked at yet."""
    raw = jobs.spec(
        slices=slices, workersPerSlice=workers, elastic={**BOUNDS, **bounds}, helpers=helpers or []
    )
    if checkpoint is not None:
        raw["checkpoint"] = checkpoint
        raw["template"] = {
            "spec": {"containers": [{"name": "train", "image": "x", "command": ["python", "a"]}]}
        }
    raw["failurePolicy"] = {"backoff": {"initialSeconds": 0, "maxSeconds": 0}}
    return jobs.job(raw)


def granted(observation: Observation, slices: int) -> Observation:
    """The job with room for so many slices, and its helpers, on node-0 and on."""
    assert observation.roster is not None
    size = (
        slices * observation.roster.workers_per_slice + observation.roster.size - observation.roster.workers
    )
    return replace(observation, admission=Granted(Placement(tuple(f"node-{i}" for i in range(size))), slices))


def after(observation: Observation, plan: Plan) -> Observation:
    """What is seen when the plan's last status is written."""
    status = TrainingJobStatus.model_validate(plan.status or plan.intent)
    return fitted(replace(observation, status=status), status)


def running(slices: int, wanted: int = 4, now: float = NOW, **more: Any) -> Observation:
    """A job that runs with so many of the slices that it wants."""
    asking = granted(job(wanted, **more), slices)
    assert isinstance(asking.admission, Granted)
    begun = after(asking, decide(asking, now))
    begun = replace(begun, admission=None, placement=asking.admission.placement)
    pods = {p.name: jobs.up(p, now) for p in jobs.pods(begun, now)}
    return jobs.settled(jobs.published(replace(begun, pods=pods)), now)


def scaled(observation: Observation, slices: int) -> Observation:
    """The same job after its `spec.slices` was changed."""
    return replace(observation, wanted=slices)


def lose(observation: Observation, index: int) -> Observation:
    """The same job after the node of one pod is gone."""
    assert observation.placement is not None
    node = observation.placement.nodes[index]
    gone = jobs.with_pod(
        observation, index, lambda p: replace(p, deleting=True, disruption="DeletionByTaintManager")
    )
    return replace(gone, unhealthy=frozenset({node}))
