"""Queues as admission knows them: frozen values. Quantities are chips, times seconds of one clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from drumline.api.queue import AcceleratorQueueSpec, QueueingStrategy, Reclaim, WithinQueue


@dataclass(frozen=True, slots=True)
class QueueQuota:
    """Of one accelerator type. None = no limit."""

    nominal: int
    borrowing_limit: int | None = None
    lending_limit: int | None = None

    @property
    def lendable(self) -> int:
        """What others of the cohort may use of it at most."""
        return self.nominal if self.lending_limit is None else min(self.nominal, self.lending_limit)


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue."""

    name: str
    cohort: str = ""  # "" = none
    weight: float = 1.0
    strategy: QueueingStrategy = QueueingStrategy.BEST_EFFORT_FIFO
    quotas: Mapping[str, QueueQuota] = field(default_factory=dict)  # by accelerator type
    within_queue: WithinQueue = WithinQueue.NEVER
    reclaim: Reclaim = Reclaim.NEVER
    min_run_seconds: float = 300.0


def queue_of(name: str, spec: AcceleratorQueueSpec) -> Queue:
    """What admission must know of a queue; who may use it, and for how long, is decided elsewhere."""
    return Queue(
        name,
        cohort=spec.cohort or "",
        weight=spec.fair_sharing.weight,
        strategy=spec.queueing_strategy,
        quotas={
            quota.accelerator: QueueQuota(quota.nominal_quota, quota.borrowing_limit, quota.lending_limit)
            for quota in spec.quotas
        },
        within_queue=spec.preemption.within_queue,
        reclaim=spec.preemption.reclaim_within_cohort,
        min_run_seconds=spec.preemption.min_run_seconds,
    )


@dataclass(frozen=True, slots=True)
class RunningGang:
    """A gang that holds accelerators of a queue."""

    uid: str
    queue: str
    accelerator: str
    chips: int
    priority: int = 0
    admitted_at: float = 0.0
    saved_at: float = 0.0  # of its last durable checkpoint; 0 = none
    leaving: bool = False  # preempted already, its pods are still there

    def loss(self, now: float) -> float:
        """Chip-seconds of work that its end throws away."""
        return max(0.0, now - max(self.saved_at, self.admitted_at)) * self.chips


@dataclass(frozen=True, slots=True)
class Eviction:
    """A running gang has to leave: others go first."""

    by: str  # namespace/name of the gang that it leaves for
    message: str  # for people: by what right


@dataclass(frozen=True, slots=True)
class Queues:
    """All queues and what runs in them. A gang whose `GangRequest.queue` is "" is of none and has no quota."""

    queues: Mapping[str, Queue] = field(default_factory=dict)
    running: Mapping[str, RunningGang] = field(default_factory=dict)  # by uid


NO_QUEUES: Final = Queues(MappingProxyType({}), MappingProxyType({}))
