"""The value that policies hand on: what was observed, the status as it will be, what is to be done.

A policy is a function ``(View) -> View``. It reads, returns a changed copy, and may end the decision with
``done()``. Nothing is ever changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from drumline.api.meta import API_VERSION, TRAINING_JOB
from drumline.api.orders import Orders
from drumline.api.reasons import ConditionType, Reason
from drumline.api.shape import GangShape
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.course import Course
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Delete
from drumline.core.gang.types import GangRequest, Pod
from drumline.core.training import bitmap, conditions
from drumline.core.training.members import Roster
from drumline.core.training.observation import JobMeta, Observation


@dataclass(frozen=True, slots=True)
class View(Course):
    """One decision in the making."""

    obs: Observation
    now: float
    status: TrainingJobStatus
    intent: TrainingJobStatus | None = None
    silent: bool = False  # no status is written
    waiting: GangRequest | None = None
    delete_self: bool = False
    asks: bool = False  # see `Plan.asks`
    orders: Orders | None = None  # for the launchers

    def with_status(self, **changes: Any) -> View:
        """The view with changed status fields."""
        return replace(self, status=self.status.model_copy(update=changes))

    def condition(self, kind: ConditionType, value: bool, reason: Reason | str, message: str) -> View:
        """The view with that condition in its status."""
        status = conditions.set_condition(self.status, kind, value, str(reason), message, self.now)
        return replace(self, status=status)

    def clear(self, kind: ConditionType, reason: Reason | str, message: str) -> View:
        """The condition set to False, if it is there at all."""
        if conditions.find(self.status, kind) is None:
            return self
        return self.condition(kind, False, reason, message)

    @property
    def spec(self) -> TrainingJobSpec:
        """The valid spec; policies after `validity` may rely on it."""
        if self.obs.spec is None:
            raise ValueError("an invalid spec was let past the validity policy")
        return self.obs.spec

    @property
    def shape(self) -> GangShape:
        """Slices, workers and chips as resolved from the catalogue."""
        if self.obs.shape is None:
            raise ValueError("an invalid spec was let past the validity policy")
        return self.obs.shape

    @property
    def roster(self) -> Roster:
        """Index arithmetic of the gang."""
        if self.obs.roster is None:
            raise ValueError("an invalid spec was let past the validity policy")
        return self.obs.roster

    @property
    def live(self) -> bool:
        """Whether the current attempt was begun and has not ended."""
        attempts = self.status.attempts
        return self.status.placement is not None and bool(attempts) and attempts[-1].finished_at is None

    def current(self) -> dict[int, Pod]:
        """Pods of the current attempt by index."""
        return self.roster.of_attempt(self.obs.pods, self.status.attempt)

    def succeeded(self) -> frozenset[int]:
        """Indexes whose success is recorded."""
        return bitmap.decode(self.status.succeeded)


Policy = Callable[[View], View]


def owner_of(job: JobMeta) -> Owner:
    """The job as owner of what is made for it."""
    return Owner(API_VERSION, TRAINING_JOB, job.namespace, job.name, job.uid)


def deletions(pods: list[Pod]) -> tuple[Delete, ...]:
    """Deletes of the pods that nobody is deleting yet."""
    return tuple(Delete("pods", p.namespace, p.name, p.uid) for p in pods if not p.deleting)
