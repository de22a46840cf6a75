"""InferenceService v1alpha1: the status the operator writes. Times are RFC 3339 strings in UTC.

Groups stand here with where they are placed: a group's entry is written before its pods are created and goes
after they are gone.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import StatusModel
from drumline.api.inference_scaling import keyed_by
from drumline.api.serving import ServingStatus
from drumline.api.status import MAX_MESSAGE, MAX_NAME, Condition, RestartCount, Time

MAX_GROUPS: Final = 1200  # of a role: replicas and what is on its way in or out


class GroupPhase(StrEnum):
    """How far a group is. Written for people and for what pods alone can't tell."""

    WAITING = "Waiting"  # not placed
    STARTING = "Starting"  # placed, not all its pods are ready
    SERVING = "Serving"  # in service
    DRAINING = "Draining"  # taken out of service, to be deleted
    BACKOFF = "Backoff"  # failed, waits for its restart
    FAILED = "Failed"  # failed more often than allowed


class GroupStatus(StatusModel):
    """One group. `id` is never used again in its role, and a group keeps its revision for life."""

    id: int = Field(description="Number within the role, from 0, never used again.")
    revision: str = Field(max_length=MAX_NAME, description="Revision that its pods are made from.")
    attempt: int = Field(default=0, description="Generation of its pods; 0 = none yet.")
    phase: GroupPhase = Field(default=GroupPhase.WAITING, description="How far it is.")
    variant: int = Field(default=0, description="0 = the role's accelerator, n = its n-th variant.")
    nodes: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = Field(
        default=(),
        description='Node of each pod, by worker; "" = wherever the scheduler likes; none = not placed.',
    )
    queue: str | None = Field(
        default=None,
        max_length=63,
        description="AcceleratorQueue whose quota its accelerators count in, as long as it has nodes or pods; absent "
        "without.",
    )
    backend: str | None = Field(
        default=None, max_length=63, description="Who finds the nodes of its attempt; absent = this operator."
    )
    backend_queue: str | None = Field(
        default=None, max_length=63, description="Queue of the backend's own that its attempt began in."
    )
    created: bool = Field(default=False, description="All pods of the attempt have been created.")
    queued_at: Time | None = Field(default=None, description="When it last began to wait for a place.")
    started_at: Time | None = Field(default=None, description="When the attempt was placed.")
    ready_at: Time | None = Field(default=None, description="When the attempt first came into service.")
    unready_since: Time | None = Field(
        default=None,
        description="When the attempt, once in service, was found not to answer any more; absent while it does.",
    )
    draining_since: Time | None = Field(
        default=None, description="When it was taken out of service for good."
    )
    drain_reason: str | None = Field(default=None, max_length=64, description="Why it goes.")
    quiet_since: Time | None = Field(
        default=None, description="When it was first seen without requests since it was taken out of service."
    )
    evacuating_since: Time | None = Field(
        default=None,
        description="When a node of it was first seen to be emptied (cordoned, or by a taint): it is to be replaced.",
    )
    restarts: int = Field(default=0, description="Restarts that count against the budget.")
    requeues: int = Field(default=0, description="Gang timeouts since it was last in service.")
    failed_node: str | None = Field(
        default=None, max_length=MAX_NAME, description="Node of the pod that failed first, last time."
    )
    next_attempt_at: Time | None = Field(default=None, description="No new attempt before: backoff.")
    cause: str | None = Field(default=None, max_length=64, description="Why the last attempt ended.")
    message: str | None = Field(
        default=None, max_length=MAX_MESSAGE, description="What is known, for people."
    )
    excluded: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = Field(
        default=(), max_length=16, description="Nodes that failed it."
    )


class MetricValue(StatusModel):
    """A metric as the autoscaler last saw it."""

    name: str = Field(max_length=64, description="As in spec.")
    value: float = Field(description="Average of the groups in service; seconds for latencies.")
    target: float = Field(description="What it should be.")


class ScalingStatus(StatusModel):
    """What the autoscaler last made of it."""

    desired: int = Field(description="Groups it wants.")
    reason: str = Field(default="", max_length=64, description="Why, in CamelCase.")
    message: str = Field(default="", max_length=1024, description="Why, for people.")
    metrics: tuple[MetricValue, ...] = Field(default=(), description="What it saw.")
    last_scale_time: Time | None = Field(default=None, description="When the number last changed.")


class RoleStatus(StatusModel):
    """One role."""

    name: str = Field(max_length=63, description="Its name.")
    desired: int = Field(default=0, description="Groups it should have.")
    replicas: int = Field(default=0, description="Groups that exist.")
    ready: int = Field(default=0, description="Groups in service.")
    updated: int = Field(default=0, description="Groups in service of the update revision.")
    next_group: int = Field(default=0, description="Number of the next group.")
    groups: tuple[GroupStatus, ...] = Field(
        default=(), max_length=MAX_GROUPS, description="Its groups.", json_schema_extra=keyed_by("id")
    )
    scaling: ScalingStatus | None = Field(default=None, description="What the autoscaler last made of it.")


class RolloutPhase(StrEnum):
    """Where a rollout stands."""

    COMPLETE = "Complete"
    CANARY = "Canary"
    ROLLING = "Rolling"
    PAUSED = "Paused"
    ROLLED_BACK = "RolledBack"


class RolloutStatus(StatusModel):
    """The rollout under way, or the last one."""

    phase: RolloutPhase = Field(default=RolloutPhase.COMPLETE, description="Where it stands.")
    revision: str | None = Field(default=None, max_length=MAX_NAME, description="Revision that it speaks of.")
    since: Time | None = Field(default=None, description="When the phase began.")
    canary_placed_at: Time | None = Field(
        default=None,
        description="When all canary groups had a place: they are to be ready in time from here.",
    )
    canary_ready_at: Time | None = Field(
        default=None, description="When all canary groups came into service."
    )
    promoted: str | None = Field(default=None, max_length=MAX_NAME, description="Revision promoted last.")
    refused: str | None = Field(
        default=None, max_length=MAX_NAME, description="Revision that was rolled back; it is not tried again."
    )
    message: str | None = Field(default=None, max_length=MAX_MESSAGE, description="Why, for people.")


class InferenceServiceStatus(StatusModel):
    """Observed state of an InferenceService. Written by the operator alone."""

    observed_generation: int = Field(default=0, description="Generation of the spec that this speaks of.")
    phase: str | None = Field(default=None, max_length=32, description="Summary for people.")
    url: str | None = Field(default=None, max_length=512, description="Where requests go within the cluster.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Ready, Available, Progressing, ScalingActive, RolloutComplete.",
        json_schema_extra=keyed_by("type"),
    )
    current_revision: str | None = Field(
        default=None, max_length=MAX_NAME, description="Revision that serves by right."
    )
    update_revision: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="Revision of the spec; another one than the current while a rollout is under way.",
    )
    revision_count: int = Field(default=0, description="Number of the latest revision.")
    replicas: int = Field(default=0, description="Groups of all roles.")
    ready_replicas: int = Field(default=0, description="Groups in service of all roles.")
    roles: tuple[RoleStatus, ...] = Field(
        default=(), description="By role.", json_schema_extra=keyed_by("name")
    )
    rollout: RolloutStatus = Field(
        default=RolloutStatus(), description="The rollout under way, or the last one."
    )
    restarts: tuple[RestartCount, ...] = Field(
        default=(),
        description="Restarts of groups by cause; never fall.",
        json_schema_extra=keyed_by("cause"),
    )
    serving: ServingStatus | None = Field(default=None, description="Where the accelerator time went.")
