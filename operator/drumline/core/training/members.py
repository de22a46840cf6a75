"""Which pod of a gang has which index.

Workers come first, slice by slice (index = slice · workersPerSlice + worker, the worker's pod rank), then
the helpers in the order of the spec. Index order is the order of the placement and of the bitmap.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from drumline.api.meta import ROLE_WORKER
from drumline.api.training import TrainingJobSpec
from drumline.core.gang import names
from drumline.core.gang.types import Member, Pod


@dataclass(frozen=True, slots=True)
class Roster:
    """Index arithmetic of one job."""

    job: str
    slices: int
    workers_per_slice: int
    helpers: tuple[tuple[str, int], ...] = ()  # (name, replicas)
    offsets: Mapping[str, int] = field(default_factory=dict)

    @property
    def workers(self) -> int:
        """Worker pods in all."""
        return self.slices * self.workers_per_slice

    @property
    def size(self) -> int:
        """Pods in all."""
        return self.workers + sum(count for _, count in self.helpers)

    def role_range(self, role: str) -> range:
        """The indexes of a role: "worker", or a helper's name."""
        if role == ROLE_WORKER:
            return range(self.workers)
        start = self.offsets[role]
        return range(start, start + dict(self.helpers)[role])

    def index_of(self, member: Member) -> int | None:
        """The index a pod's labels speak of; None when this gang has no such place."""
        if member.role == ROLE_WORKER:
            if 0 <= member.slice < self.slices and 0 <= member.worker < self.workers_per_slice:
                return member.slice * self.workers_per_slice + member.worker
            return None
        start = self.offsets.get(member.role)
        if start is None or not 0 <= member.worker < dict(self.helpers)[member.role]:
            return None
        return start + member.worker

    def name_of(self, index: int, attempt: int) -> str:
        """The pod's name."""
        if index < self.workers:
            return names.pod_name(self.job, attempt, *divmod(index, self.workers_per_slice))
        for helper, count in self.helpers:
            start = self.offsets[helper]
            if index < start + count:
                return names.helper_pod_name(self.job, attempt, helper, index - start)
        raise IndexError(f"{self.job} has {self.size} pods; there is no index {index}")

    def hostname_of(self, index: int) -> str:
        """The pod's hostname, the same in every attempt."""
        if index < self.workers:
            return names.hostname(self.job, *divmod(index, self.workers_per_slice))
        for helper, count in self.helpers:
            start = self.offsets[helper]
            if index < start + count:
                return names.helper_hostname(self.job, helper, index - start)
        raise IndexError(f"{self.job} has {self.size} pods; there is no index {index}")

    def of_attempt(self, pods: Mapping[str, Pod], attempt: int) -> dict[int, Pod]:
        """The pods of one attempt by index."""
        found: dict[int, Pod] = {}
        for pod in pods.values():
            if pod.member is not None and pod.member.attempt == attempt:
                index = self.index_of(pod.member)
                if index is not None:
                    found[index] = pod
        return found


def roster(job: str, spec: TrainingJobSpec, workers_per_slice: int) -> Roster:
    """The roster of a job; `workers_per_slice` as resolved from the catalogue."""
    helpers = tuple((h.name, h.replicas) for h in spec.helpers)
    offsets: dict[str, int] = {}
    at = spec.slices * workers_per_slice
    for name, count in helpers:
        offsets[name] = at
        at += count
    return Roster(job, spec.slices, workers_per_slice, helpers, offsets)
