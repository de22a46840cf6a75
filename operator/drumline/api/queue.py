"""AcceleratorQueue v1alpha1: who may use how many accelerators, and in which order jobs get them.

A queue is cluster-scoped. Quotas are in chips per accelerator type. Queues of one cohort lend each other what they do
not use. Without any queue in the cluster, or for a job that no queue is for, everything works as if the whole cluster
were one queue without quotas.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.backend import SAYS, Backend
from drumline.api.base import ApiModel, StatusModel
from drumline.api.status import Condition, Time
from drumline.api.training import DNS_1123, LABEL_KEY, LABEL_VALUE, MAX_SECONDS

MAX_QUOTAS: Final = 64
MAX_CHIPS: Final = 10_000_000
MAX_TERMS: Final = 32
_ACCELERATOR: Final = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"

LabelText = Annotated[str, Field(max_length=317)]
ValueText = Annotated[str, Field(max_length=63, pattern=LABEL_VALUE)]


class QueueingStrategy(StrEnum):
    """What a gang at the head that does not fit does to those behind it."""

    BEST_EFFORT_FIFO = "BestEffortFIFO"
    STRICT_FIFO = "StrictFIFO"


class WithinQueue(StrEnum):
    """Whom a gang may preempt in its own queue."""

    NEVER = "Never"
    LOWER_PRIORITY = "LowerPriority"


class Reclaim(StrEnum):
    """Whom a queue may preempt in others of its cohort that have borrowed from it."""

    NEVER = "Never"
    LOWER_PRIORITY = "LowerPriority"
    ANY = "Any"


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorTerm(ApiModel):
    """One condition on labels."""

    key: str = Field(min_length=1, max_length=317, pattern=LABEL_KEY, description="Label.")
    operator: SelectorOperator = Field(description="How it is compared.")
    values: tuple[ValueText, ...] = Field(
        default=(), max_length=MAX_TERMS, description="For In and NotIn: values; else none."
    )


class NamespaceSelector(ApiModel):
    """Which namespaces may use the queue, by their labels; an empty one selects all."""

    match_labels: dict[LabelText, ValueText] = Field(
        default_factory=dict, max_length=MAX_TERMS, description="Labels that a namespace has."
    )
    match_expressions: tuple[SelectorTerm, ...] = Field(
        default=(), max_length=MAX_TERMS, description="Conditions that all hold."
    )


class Quota(ApiModel):
    """Chips of one accelerator type."""

    accelerator: str = Field(
        min_length=1,
        max_length=63,
        pattern=_ACCELERATOR,
        description="Key of the accelerator catalogue.",
        examples=["nvidia-h100-80gb"],
    )
    nominal_quota: int = Field(
        ge=0, le=MAX_CHIPS, description="Chips that are the queue's own.", examples=[512]
    )
    borrowing_limit: int | None = Field(
        default=None,
        ge=0,
        le=MAX_CHIPS,
        description="Chips beyond its own that it may take of its cohort. Default: all that others lend.",
        examples=[256],
    )
    lending_limit: int | None = Field(
        default=None,
        ge=0,
        le=MAX_CHIPS,
        description="Chips of its own that its cohort may use while it does not. Default: all of them.",
        examples=[128],
    )


class FairSharing(ApiModel):
    """The queue's weight against others of its cohort."""

    weight: float = Field(
        default=1.0,
        ge=0,
        le=1000,
        description="Twice the weight, twice the share of what is borrowed. 0: its gangs are looked at last in each round "
        "of admission, after those of all other queues, whatever their priority or age.",
        examples=[2],
    )


class QueuePreemption(ApiModel):
    """Whom its gangs may preempt when they do not fit. Always whole gangs; simulated first."""

    within_queue: WithinQueue = Field(
        default=WithinQueue.NEVER, description="`LowerPriority`: gangs of a lower priority in this queue."
    )
    reclaim_within_cohort: Reclaim = Field(
        default=Reclaim.NEVER,
        description="Gangs of other queues that borrow, while this one is below its nominal quota: `LowerPriority` "
        "those of a lower priority, `Any` all.",
    )
    min_run_seconds: int = Field(
        default=300,
        ge=0,
        le=MAX_SECONDS,
        description="No gang is preempted before it has run for so many seconds.",
        examples=[300],
    )


class AcceleratorQueueSpec(ApiModel):
    """Desired state of an AcceleratorQueue."""

    default: bool = Field(
        default=False,
        description="For jobs that name no queue and whose namespace it selects. Two such queues are a fault: the "
        "jobs then wait with a condition that names both.",
    )
    cohort: str | None = Field(
        default=None,
        min_length=1,
        max_length=63,
        pattern=DNS_1123,
        description="Queues of the same cohort lend each other quota. Default: none.",
        examples=["all"],
    )
    fair_sharing: FairSharing = Field(default=FairSharing(), description="Weight within the cohort.")
    queueing_strategy: QueueingStrategy = Field(
        default=QueueingStrategy.BEST_EFFORT_FIFO,
        description="`BestEffortFIFO`: smaller gangs pass one that does not fit, until it has waited its limit. "
        "`StrictFIFO`: nobody of the queue passes it.",
    )
    quotas: tuple[Quota, ...] = Field(
        default=(),
        max_length=MAX_QUOTAS,
        description="Accelerators that its jobs may use; a type that is not named is not to be had.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["accelerator"]},
    )
    preemption: QueuePreemption = Field(default=QueuePreemption(), description="Whom its gangs may preempt.")
    backend: Backend | None = Field(
        default=None,
        description=f"Who admits the gangs of its jobs and services that name no backend. {SAYS} Default: that of the operator's "
        "configuration.",
        examples=["builtin"],
    )
    max_run_seconds: int | None = Field(
        default=None,
        ge=1,
        le=MAX_SECONDS,
        description="Admitted time after which a job of the queue fails; its own activeDeadlineSeconds may be less.",
        examples=[604800],
    )
    namespace_selector: NamespaceSelector | None = Field(
        default=None, description="Namespaces whose jobs may use it. Absent: none; empty: all."
    )


class QueueUsage(StatusModel):
    """What a queue uses of one accelerator type, in chips."""

    accelerator: str = Field(max_length=63, description="Key of the catalogue.")
    nominal: int = Field(default=0, description="Its own.")
    used: int = Field(default=0, description="Held by its gangs.")
    borrowed: int = Field(default=0, description="Of these beyond its own.")
    lent: int = Field(default=0, description="Of its own that others of the cohort use.")
    watts: int | None = Field(
        default=None,
        description="What those that are used draw at full load, by the catalogue; absent where it has no figure.",
    )


class QueueHead(StatusModel):
    """The first gang in line."""

    job: str = Field(max_length=128, description="namespace/name.")
    since: Time = Field(description="Since when it waits.")
    reason: str = Field(max_length=1024, description="Why, in CamelCase, for programs.")
    message: str = Field(default="", max_length=2048, description="Why, for people.")


class AcceleratorQueueStatus(StatusModel):
    """Observed state of an AcceleratorQueue. Written by the operator alone."""

    observed_generation: int = Field(default=0, description="Generation of the spec it speaks of.")
    conditions: tuple[Condition, ...] = Field(
        default=(),
        description="Active: False with a reason where the queue can't be used as it stands.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    pending: int = Field(default=0, description="Gangs that wait.")
    admitted: int = Field(default=0, description="Gangs that hold accelerators.")
    usage: tuple[QueueUsage, ...] = Field(
        default=(),
        max_length=MAX_QUOTAS,
        description="Chips by accelerator type.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["accelerator"]},
    )
    share: str | None = Field(
        default=None,
        max_length=24,
        description="Weighted dominant share: what it uses beyond its own quota, as the greatest part over types of "
        "what the cohort has to lend, divided by its weight; decimal.",
    )
    head: QueueHead | None = Field(default=None, description="The first in line; absent while nobody waits.")
