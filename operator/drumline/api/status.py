"""TrainingJob v1alpha1: the status the operator writes. Times are RFC 3339 strings in UTC."""

from __future__ import annotations

from pydantic import Field

from drumline.api.base import StatusModel


class Condition(StatusModel):
    """metav1.Condition."""

    type: str
    status: str  # True False Unknown
    reason: str
    message: str = ""
    last_transition_time: str
    observed_generation: int = 0


class RestartCount(StatusModel):
    """Restarts by cause. The list is keyed by `cause`."""

    cause: str
    count: int


class Workers(StatusModel):
    """Worker pods of the current attempt."""

    desired: int = 0
    ready: int = 0
    succeeded: int = 0
    failed: int = 0


class PlacementStatus(StatusModel):
    """Where the current attempt's placement is written down."""

    revision: str  # name of the (first) ControllerRevision
    hash: str  # of the placement and the rendering
    pods: int
    chunks: int = 1


class AttemptStatus(StatusModel):
    """One past or current attempt."""

    attempt: int
    started_at: str
    finished_at: str | None = None
    cause: str | None = None  # a drumline.api.reasons.Cause; None while it runs or when it succeeded
    pod: str | None = None  # first failed pod
    rank: int | None = None  # its rank
    node: str | None = None
    exit_code: int | None = None
    message: str | None = None


class ExcludedNode(StatusModel):
    """A node this job avoids until `until`."""

    name: str
    until: str


class TrainingJobStatus(StatusModel):
    """Observed state of a TrainingJob."""

    observed_generation: int = 0
    phase: str | None = None
    conditions: tuple[Condition, ...] = ()
    attempt: int = 0  # 0 = never admitted
    epoch: int = 0
    queued_at: str | None = None  # when it last joined the queue; None = not queued
    start_time: str | None = None  # first admission
    admitted_at: str | None = None  # of the running admission; None = not admitted
    admitted_seconds: int = 0  # total of ended admissions, for activeDeadlineSeconds
    completion_time: str | None = None
    next_attempt_at: str | None = None  # no new attempt before: backoff
    requeues: int = 0  # gang timeouts since the last time all pods were ready
    restart_count: int = 0  # counted against failurePolicy.maxRestarts
    restarts: tuple[RestartCount, ...] = ()
    workers: Workers = Workers()
    placement: PlacementStatus | None = None
    succeeded: str | None = (
        None  # bitmap of succeeded pods of this attempt, base64 of zlib, bit i = pod index i
    )
    excluded_nodes: tuple[ExcludedNode, ...] = ()
    attempts: tuple[AttemptStatus, ...] = Field(default=(), max_length=10)
