"""The value that policies hand on: what was observed, the status as it will be, what is to be done.

A policy is a function ``(View) -> View``. It reads, returns a changed copy, and may end the decision with
``done()``. Nothing is ever changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from drumline.api.meta import API_VERSION, TRAINING_JOB
from drumline.api.orders import Orders
from drumline.api.reasons import ConditionType, Reason
from drumline.api.shape import GangShape
from drumline.api.status import TrainingJobStatus
from drumline.api.training import TrainingJobSpec
from drumline.core.gang.names import Owner
from drumline.core.gang.plan import Action, Create, Delete, Event
from drumline.core.gang.types import GangRequest, Pod
from drumline.core.training import bitmap, conditions
from drumline.core.training.members import Roster
from drumline.core.training.observation import JobMeta, Observation


@dataclass(frozen=True, slots=True)
class View:
    """One decision in the making."""

    obs: Observation
    now: float
    status: TrainingJobStatus
    prepare: tuple[Create, ...] = ()
    intent: TrainingJobStatus | None = None
    silent: bool = False  # no status is written
    status_first: bool = False  # the status goes before the actions: what they undo must be on record
    actions: tuple[tuple[Action, ...], ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    waiting: GangRequest | None = None
    delete_self: bool = False
    orders: Orders | None = None  # for the launchers
    ended: str = ""  # name of the policy that ended the decision

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

    def act(self, *actions: Action) -> View:
        """One more stage of actions; an empty stage is none."""
        return replace(self, actions=(*self.actions, actions)) if actions else self

    def event(self, kind: Literal["Normal", "Warning"], reason: Reason | str, message: str) -> View:
        """One more event."""
        return replace(self, events=(*self.events, Event(kind, str(reason), message)))

    def again_in(self, seconds: float | None) -> View:
        """Decide again after at most so many seconds."""
        if seconds is None:
            return self
        earliest = seconds if self.requeue_after is None else min(seconds, self.requeue_after)
        return replace(self, requeue_after=max(0.0, earliest))

    def done(self, policy: str) -> View:
        """No later policy has a say."""
        return replace(self, ended=policy)

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
