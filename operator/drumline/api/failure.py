"""`spec.failurePolicy` of a TrainingJob: what is done about which failure, and how often.

Everything is optional: without any of it each cause has the action and the budget that are right for it
(`drumline.core.training.recovery`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from drumline.api.base import ApiModel
from drumline.api.patterns import MAX_PATTERN
from drumline.api.reasons import Cause

MAX_RULES: Final = 16
MAX_RECENT: Final = 32  # times of restarts that are kept for a budget with a window
_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_PATTERN_NOTE: Final = "A regular expression of RE2's language without \\b, searched for."


class FailureAction(StrEnum):
    """What is done about a failure."""

    RESTART_GANG = "RestartGang"
    RESTART_IN_PLACE = "RestartInPlace"
    REPLACE_NODE = "ReplaceNode"
    REQUEUE = "Requeue"
    FAIL = "Fail"
    IGNORE = "Ignore"


class ForceDelete(StrEnum):
    """Which pods that do not end are deleted by force."""

    NODE_GONE = "NodeGone"
    ALWAYS = "Always"


class RestartStrategy(StrEnum):
    """How a gang starts again after a failure of its program."""

    RECREATE = "Recreate"
    IN_PLACE = "InPlace"


class ExitCodeOperator(StrEnum):
    """How exit codes are compared."""

    IN = "In"
    NOT_IN = "NotIn"


class OnExitCodes(ApiModel):
    """Exit codes of the container that failed first."""

    container_name: str | None = Field(
        default=None, max_length=63, pattern=_NAME, description="Only of this container.", examples=["train"]
    )
    operator: ExitCodeOperator = Field(
        description="`In`: one of `values`. `NotIn`: neither 0 nor one of them."
    )
    values: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(
        min_length=1, max_length=64, description="Exit codes.", examples=[[42]]
    )


class ConditionStatus(StrEnum):
    """Values of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class OnNodeCondition(ApiModel):
    """A condition of the failed pod's node."""

    type: str = Field(
        min_length=1, max_length=316, description="Its type.", examples=["AcceleratedHardwareReady"]
    )
    status: ConditionStatus = Field(default=ConditionStatus.TRUE, description="Its status.")
    reason: str | None = Field(
        default=None,
        max_length=MAX_PATTERN,
        description=f"Its reason. {_PATTERN_NOTE}",
        examples=["^NvidiaXID"],
    )


class FailureRule(ApiModel):
    """What is done about failures of a kind. All of its `on…` have to hold; it has one at least."""

    name: str = Field(
        max_length=63, pattern=_NAME, description="For messages and `status`.", examples=["bad-checkpoint"]
    )
    action: FailureAction = Field(
        description="`RestartGang`: start the next attempt. `ReplaceNode`: the same, and avoid the node from now "
        "on. `Requeue`: give all nodes back and queue again. `Fail`: end the job. `Ignore`: go on, the "
        "pod counts as ended; only with `onRoles` of helpers. `RestartInPlace`: pods stay and their processes "
        "start again, where that can be (see `restartStrategy`); else as `RestartGang`."
    )
    cause: Cause | None = Field(
        default=None, description="What such a failure counts as. Default: what the pod and its node show."
    )
    on_roles: tuple[Annotated[str, Field(max_length=40, pattern=_NAME)], ...] = Field(
        default=(),
        max_length=MAX_RULES + 1,
        description="Whose pod failed first: names of helpers, or `workers`.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
        examples=[["workers"]],
    )
    on_exit_codes: OnExitCodes | None = Field(default=None, description="Exit codes.")
    on_reason: str | None = Field(
        default=None,
        max_length=MAX_PATTERN,
        description=f"A reason of the pod, its container or its disruption. {_PATTERN_NOTE}",
        examples=["^OOMKilled$"],
    )
    on_message: str | None = Field(
        default=None,
        max_length=MAX_PATTERN,
        description=f"A message of the pod or its container, the termination message too. {_PATTERN_NOTE}",
        examples=["NCCL.*unhandled system error"],
    )
    on_node_condition: OnNodeCondition | None = Field(
        default=None, description="A condition of the pod's node."
    )
    on_cause: tuple[Cause, ...] = Field(
        default=(),
        max_length=16,
        description="What the pod and its node show.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class RestartBudget(ApiModel):
    """How many restarts one cause may cost."""

    cause: Cause = Field(description="Any but GangTimeout, which is no restart.")
    max_restarts: int = Field(
        ge=0, le=10000, description="Restarts for this cause before the job fails.", examples=[5]
    )
    window_seconds: int | None = Field(
        default=None,
        ge=1,
        le=2_592_000,
        description="Only restarts of the last so many seconds count; maxRestarts is then at most 31. Default: "
        "all of the job's.",
        examples=[3600],
    )


class Backoff(ApiModel):
    """Delay before a restart: initialSeconds · 2^(n-1) before the n-th, at most maxSeconds."""

    initial_seconds: int = Field(
        default=10, ge=0, le=86400, description="Delay before the first restart, seconds.", examples=[10]
    )
    max_seconds: int = Field(
        default=600,
        ge=0,
        le=86400,
        description="Longest delay, seconds; at least initialSeconds.",
        examples=[600],
    )


class JobBackoff(Backoff):
    """Delay before a restart: initialSeconds · 2^(n-1) before the n-th in a row, at most maxSeconds."""

    reset_after_seconds: int = Field(
        default=600,
        ge=1,
        le=86400,
        description="An attempt that ran for so many seconds with all pods ready ends the row: the delay is "
        "initialSeconds again.",
        examples=[600],
    )


class HangAction(StrEnum):
    """What is done about a gang that makes no steps any more."""

    RESTART = "Restart"
    REPORT = "Report"
    IGNORE = "Ignore"


class HangPolicy(ApiModel):
    """When no step for how long is a hang: for longer than max(floorSeconds, factor · median step)."""

    floor_seconds: int = Field(
        default=300,
        ge=30,
        le=86400,
        description="No shorter silence is a hang, seconds. Phases that are reported (checkpoint_save, eval, …) and "
        "the time before the first step are none at all.",
        examples=[300],
    )
    factor: int = Field(
        default=10,
        ge=2,
        le=1000,
        description="Nor a silence shorter than so many median steps.",
        examples=[10],
    )
    action: HangAction = Field(
        default=HangAction.RESTART,
        description="`Restart`: the attempt ends with cause Hang, and rules and budgets say what follows. `Report`: "
        "stacks are collected and an event tells them. `Ignore`: neither.",
    )


class FailurePolicy(ApiModel):
    """When to stop trying."""

    max_restarts: int = Field(
        default=10,
        ge=0,
        le=10000,
        description="Restarts of the gang before the job fails; 0 = the first failure ends it. Causes of the "
        "infrastructure and those with a budget of their own do not count.",
        examples=[10],
    )
    restart_strategy: RestartStrategy = Field(
        default=RestartStrategy.RECREATE,
        description="How the gang starts again when its program failed (ApplicationExit, OutOfMemory, Hang). "
        "`Recreate`: with new pods. `InPlace`: pods, nodes and volumes stay, and all processes start again, which needs "
        "the launcher (`progress.source` auto or launcher, and a command that it takes), all pods running and no worker "
        "that has succeeded; else, and after three such restarts in a row that did not last, with new pods.",
        examples=["InPlace"],
    )
    backoff: JobBackoff = Field(default=JobBackoff(), description="Delay before a restart.")
    image_pull_grace_seconds: int = Field(
        default=600,
        ge=0,
        le=86400,
        description="Seconds that an image may be missing before the job fails.",
        examples=[600],
    )
    termination_deadline_seconds: int = Field(
        default=60,
        ge=0,
        le=86400,
        description="Seconds after the end of its grace until a pod of an attempt that is over counts as one that does "
        "not end: its node is left for another, and it may be deleted by force.",
        examples=[60],
    )
    force_delete: ForceDelete = Field(
        default=ForceDelete.NODE_GONE,
        description="Which pods that do not end are deleted by force. `NodeGone`: those whose node is gone. `Always`: "
        "those of nodes that are there as well; its processes may then still run, and hold devices and files.",
    )
    hang: HangPolicy = Field(
        default=HangPolicy(),
        description="What a hang is, and what is done about it. It takes a source of steps: with progress.source none "
        "nothing is known of hangs.",
    )
    rules: tuple[FailureRule, ...] = Field(
        default=(),
        max_length=MAX_RULES,
        description="What is done about which failure, matched in this order against the pod that failed first. "
        "The first that holds decides, before anything built in.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    budgets: tuple[RestartBudget, ...] = Field(
        default=(),
        max_length=16,
        description="Budgets of single causes. Such a cause does not count against maxRestarts.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["cause"]},
    )

    def budget_of(self, cause: Cause) -> RestartBudget | None:
        """The cause's own budget."""
        return next((b for b in self.budgets if b.cause is cause), None)
