"""Counts the jobs of the mirror, for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from drumline.api.reasons import Phase
from drumline.core.gang.types import Pod
from drumline.runtime.records import JobRecord

MAX_JOBS: Final = 1000  # with series of their own
ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True, slots=True)
class Census:
    """Jobs by phase, chips by accelerator type, restarts by (namespace, job, cause)."""

    phases: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, int] = field(default_factory=dict)
    requested: Mapping[str, int] = field(default_factory=dict)
    restarts: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


def take_census(jobs: Collection[JobRecord], pods_of: Callable[[str], Iterable[Pod]]) -> Census:
    """Count `jobs`; `pods_of` gives the pods of a job's uid."""
    phases: Counter[str] = Counter({str(phase): 0 for phase in Phase})
    held: Counter[str] = Counter()
    requested: Counter[str] = Counter()
    restarts: Counter[tuple[str, str, str]] = Counter()
    for job in jobs:
        phase = job.status.phase or Phase.QUEUED
        phases[phase] += 1
        for entry in job.status.restarts:
            name = job.meta.name if len(jobs) <= MAX_JOBS else ""
            restarts[job.meta.namespace, name, entry.cause] += entry.count
        if job.spec is None or job.shape is None:
            continue
        accelerator = job.spec.accelerator.type
        wanted = phase not in ENDED and not job.spec.suspend
        requested[accelerator] += job.wanted_chips if wanted else 0
        held[accelerator] += bound_chips(job, pods_of(job.meta.uid))
    return Census(phases, held, requested, restarts)


def bound_chips(job: JobRecord, pods: Iterable[Pod]) -> int:
    """Chips of a job's pods that are bound to a node."""
    return job.shape.chips_per_worker * _bound_workers(pods) if job.shape is not None else 0


def _bound_workers(pods: Iterable[Pod]) -> int:
    """Workers that hold their chips; helpers have none."""
    return sum(
        1 for pod in pods if pod.bound and not pod.terminal and pod.member and pod.member.role == "worker"
    )
