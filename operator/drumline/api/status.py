"""TrainingJob v1alpha1: the status the operator writes. Times are RFC 3339 strings in UTC.

Bounds are loose: a status must never be refused for its own sake.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from drumline.api.base import StatusModel
from drumline.api.failure import MAX_RECENT
from drumline.api.goodput import GoodputStatus
from drumline.api.orders import OrderKind

MAX_NAME: Final = 253
MAX_MESSAGE: Final = 32768
MAX_ATTEMPTS: Final = 10

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def _keyed_by(key: str) -> dict[str, Any]:
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


class Condition(StatusModel):
    """One aspect of the state, as metav1.Condition."""

    type: str = Field(
        max_length=316,
        description="Suspended, QuotaReserved, Admitted, PodsReady, Restarting, Complete or Failed.",
    )
    status: str = Field(pattern="^(True|False|Unknown)$", description="True, False or Unknown.")
    reason: str = Field(max_length=1024, description="Why, in CamelCase, for programs.")
    message: str = Field(default="", max_length=MAX_MESSAGE, description="Why, for people.")
    last_transition_time: Time = Field(description="When `status` last changed.")
    observed_generation: int = Field(default=0, description="Generation of the spec it speaks of.")


class RestartCount(StatusModel):
    """Restarts by cause."""

    cause: str = Field(max_length=64, description="Why attempts ended.")
    count: int = Field(description="Restarts for that cause.")


class JobRestartCount(RestartCount):
    """Restarts of a job by cause."""

    recent: tuple[int, ...] | None = Field(
        default=None,
        max_length=MAX_RECENT,
        description="When the latest of them were, Unix seconds; for a cause whose budget has a window.",
    )


class Workers(StatusModel):
    """Worker pods of the current attempt."""

    desired: int = Field(default=0, description="Pods of the gang's workers.")
    ready: int = Field(default=0, description="Ready pods.")
    succeeded: int = Field(default=0, description="Pods seen to exit 0, even if they are gone.")
    failed: int = Field(default=0, description="Failed pods.")


class PlacementStatus(StatusModel):
    """Where the current attempt's placement is written down."""

    revision: str = Field(max_length=MAX_NAME, description="Name of the first ControllerRevision.")
    hash: str = Field(max_length=128, description="Hash of the placement and of the rendering.")
    pods: int = Field(description="Pods placed.")
    chunks: int = Field(default=1, description="ControllerRevisions it takes.")
    backend: str | None = Field(
        default=None,
        max_length=63,
        description="Who finds the nodes of its pods, which are pinned to none; absent for this operator.",
    )
    backend_queue: str | None = Field(
        default=None, max_length=63, description="The queue of its own in which that has the gang."
    )
    spares: int | None = Field(
        default=None, description="Spares placed beside them; absent for a job that asks for none."
    )
    lost_spares: tuple[int, ...] | None = Field(
        default=None,
        description="Numbers of those that were lost since, from 0; their places are free for others.",
    )


class ProvisioningPhase(StrEnum):
    """How far a request for nodes has come."""

    REQUESTED = "Requested"
    PROVISIONED = "Provisioned"
    ENDED = "Ended"


class ProvisioningStatus(StatusModel):
    """The latest request for nodes."""

    request: str = Field(max_length=MAX_NAME, description="Name of the ProvisioningRequest.")
    number: int = Field(description="How many there were so far, from 1.")
    class_name: str = Field(max_length=MAX_NAME, description="Its class.")
    phase: ProvisioningPhase = Field(
        description="`Requested`: it waits, and holds its quota. `Provisioned`: the nodes are there for the gang, which is "
        "placed, or runs. `Ended`: the nodes are asked for no more."
    )
    since: Time = Field(description="Since when it is in that phase.")
    slices: int = Field(description="Slices that it asks nodes for.")
    chips: int = Field(description="Accelerators that count in the queue while no attempt runs.")
    failed: bool = Field(default=False, description="Whether it ended since no nodes came.")
    message: str | None = Field(
        default=None, max_length=MAX_MESSAGE, description="What is known, for people."
    )


class PhaseTime(StatusModel):
    """Wall time of one phase of a recovery."""

    phase: str = Field(max_length=32, description="A state of the ledger, `placement` or `total`.")
    ms: int = Field(description="Milliseconds, wall time.")


class DetectionTime(StatusModel):
    """How long a failure was not acted upon."""

    ms: int = Field(description="Milliseconds from the failure to the decision, which is `finishedAt`.")
    source: str = Field(
        max_length=16,
        description="observed: by the kubelet's or the node's word; reported: by the workers'; estimated: clocks differ.",
    )


class AttemptStatus(StatusModel):
    """One past or current attempt."""

    attempt: int = Field(description="Number, from 1.")
    epoch: int = Field(default=0, description="Generation of processes within the attempt, from 0.")
    started_at: Time = Field(description="When it was admitted, or this epoch of it began.")
    finished_at: Time | None = Field(default=None, description="When it ended; absent while it runs.")
    ready_at: Time | None = Field(default=None, description="When all of its pods were first ready.")
    slices: int | None = Field(default=None, description="Slices it began with; only of an elastic job.")
    wanted_slices: int | None = Field(
        default=None, description="Slices that were asked for when it began; only of an elastic job."
    )
    cause: str | None = Field(
        default=None, max_length=64, description="Why it ended; absent while it runs or when it succeeded."
    )
    pod: str | None = Field(default=None, max_length=MAX_NAME, description="First failed pod.")
    rank: int | None = Field(default=None, description="Rank of that pod.")
    node: str | None = Field(default=None, max_length=MAX_NAME, description="Node of that pod.")
    exit_code: int | None = Field(default=None, description="Exit code of its first failed container.")
    message: str | None = Field(
        default=None, max_length=MAX_MESSAGE, description="What is known, for people."
    )
    last_lines: str | None = Field(
        default=None, max_length=MAX_MESSAGE, description="End of that container's termination message."
    )
    action: str | None = Field(default=None, max_length=64, description="What was done about it.")
    detection: DetectionTime | None = Field(
        default=None, description="How long its failure was not acted upon; absent where nothing tells."
    )
    lost_steps: int | None = Field(default=None, description="Steps that were run again because it ended.")
    slow_nodes: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = Field(
        default=(),
        max_length=16,
        description="Nodes whose workers had held up the others for long when it ended.",
    )
    recovery: tuple[PhaseTime, ...] = Field(
        default=(),
        max_length=16,
        description="From the failure before it to its first step: wall time by state of the ledger, and in all; "
        "`placement` is what passed between the end of the teardown and its begin, backoff included, on nodes that were kept.",
    )

    @property
    def label(self) -> str:
        """What people call it: 3, and 3.1 once its processes were restarted in place."""
        return f"{self.attempt}.{self.epoch}" if self.epoch else str(self.attempt)


class Avoidance(StrEnum):
    """How strictly a node is avoided."""

    IF_POSSIBLE = "IfPossible"  # while the gang fits elsewhere now
    IF_EVER_POSSIBLE = "IfEverPossible"  # while it would fit elsewhere if all other gangs ended
    ALWAYS = "Always"


class OrderStatus(StatusModel):
    """Something that the launchers of the running attempt were asked to do once."""

    number: int = Field(description="Grows with each.")
    kind: OrderKind = Field(
        description="Stacks or Checkpoint; empty: nothing is asked of them, the next checkpoint is waited for."
    )
    at: Time = Field(description="When.")
    message: str = Field(default="", max_length=1024, description="Why, for people.")
    node: str | None = Field(default=None, max_length=MAX_NAME, description="The node that is about to go.")
    preempted_by: str | None = Field(
        default=None,
        max_length=MAX_NAME,
        description="The gang, namespace/name, that goes first and for which this one is to leave.",
    )
    ended_at: Time | None = Field(
        default=None,
        description="When it was carried out or needed no more; absent while an answer is awaited.",
    )


class ResizeStatus(StatusModel):
    """Another number of slices that the running attempt is to make way for."""

    slices: int = Field(description="How many the next attempt is to have.")
    since: Time = Field(description="Since when; a checkpoint that became durable later ends the attempt.")


class ExcludedNode(StatusModel):
    """A node this job avoids for a while."""

    name: str = Field(max_length=MAX_NAME, description="Node.")
    until: Time = Field(description="When it may be used again.")
    cause: str | None = Field(default=None, max_length=64, description="Why the job failed there last.")
    avoid: Avoidance = Field(
        default=Avoidance.IF_EVER_POSSIBLE,
        description="`IfPossible`: while the gang fits elsewhere now. `IfEverPossible`: while it would fit elsewhere if "
        "all other gangs ended. `Always`: until then, whatever comes.",
    )


class TrainingJobStatus(StatusModel):
    """Observed state of a TrainingJob. Written by the operator alone."""

    observed_generation: int = Field(
        default=0, description="Generation of the spec that this state speaks of."
    )
    phase: str | None = Field(
        default=None,
        max_length=32,
        description="Suspended, Queued, Starting, Running, Restarting, Succeeded or Failed: a summary for "
        "people; programs read the conditions.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Suspended, QuotaReserved, Admitted, PodsReady, Restarting, Complete, Failed.",
        json_schema_extra=_keyed_by("type"),
    )
    attempt: int = Field(default=0, description="Generation of pods; 0 = never admitted.")
    epoch: int = Field(default=0, description="Generation of processes within the attempt.")
    queue: str | None = Field(
        default=None,
        max_length=63,
        description="AcceleratorQueue whose quota the attempt's accelerators count in; absent while it holds none, "
        "or without queues.",
    )
    candidate: int | None = Field(
        default=None,
        description="Which accelerator it has or asks for: the n-th of spec.accelerator.candidates; 0 or absent: "
        "spec.accelerator itself.",
    )
    refused_since: Time | None = Field(
        default=None,
        description="Since when it is refused nodes, quota or power for that accelerator; only of a job that "
        "tries something else then.",
    )
    provisioning: ProvisioningStatus | None = Field(
        default=None,
        description="The latest request for nodes; only of a job that asks by ProvisioningRequest.",
    )
    queued_at: Time | None = Field(
        default=None,
        description="When it last joined the queue; absent = not queued. A preempted job returns to the place that it "
        "had: this is then when it had joined before.",
    )
    joined_at: Time | None = Field(
        default=None,
        description="When the gang that is admitted now had joined the queue; absent while none is.",
    )
    start_time: Time | None = Field(default=None, description="First admission.")
    admitted_at: Time | None = Field(
        default=None, description="When the running admission began; absent = not admitted."
    )
    admitted_seconds: int = Field(
        default=0, description="Seconds of ended admissions, counted against activeDeadlineSeconds."
    )
    completion_time: Time | None = Field(default=None, description="When the job succeeded or failed.")
    next_attempt_at: Time | None = Field(default=None, description="No new attempt before: backoff.")
    stalled_since: Time | None = Field(
        default=None,
        description="Since when a pod of the attempt waits for an image or a configuration that is missing.",
    )
    order: OrderStatus | None = Field(
        default=None, description="What the launchers of the attempt were last asked to do."
    )
    requeues: int = Field(default=0, description="Gang timeouts since all pods were last ready.")
    slices: int | None = Field(
        default=None, description="Slices of the attempt that holds nodes; absent while none does."
    )
    selector: str | None = Field(
        default=None, max_length=MAX_NAME, description="Label selector of the worker pods, for `scale`."
    )
    resize: ResizeStatus | None = Field(
        default=None, description="The resize that waits for a checkpoint; only of an elastic job."
    )
    restart_count: int = Field(default=0, description="Restarts counted against failurePolicy.maxRestarts.")
    restarts: tuple[JobRestartCount, ...] = Field(
        default=(), description="Restarts by cause.", json_schema_extra=_keyed_by("cause")
    )
    workers: Workers = Field(default=Workers(), description="Worker pods of the current attempt.")
    placement: PlacementStatus | None = Field(
        default=None, description="Where the current attempt's placement is written down."
    )
    succeeded: str | None = Field(
        default=None,
        description="Which pods of this attempt succeeded: base64 of zlib of a bitmap, bit i = pod index i.",
    )
    created_helpers: tuple[Annotated[str, Field(max_length=MAX_NAME)], ...] = Field(
        default=(),
        description="Helpers with dependsOn of which this attempt has had all pods created.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    excluded_nodes: tuple[ExcludedNode, ...] = Field(
        default=(), description="Nodes this job avoids for a while.", json_schema_extra=_keyed_by("name")
    )
    attempts: tuple[AttemptStatus, ...] = Field(
        default=(),
        max_length=MAX_ATTEMPTS,
        description="The latest attempts, oldest first; an attempt whose processes were restarted in place has an "
        "entry for each epoch.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["attempt", "epoch"],
        },
    )
    goodput: GoodputStatus | None = Field(
        default=None,
        description="Where the accelerator time went; absent before the first account.",
        # one writer: whose each field of it is would be a sixth of every job in the API server
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )
