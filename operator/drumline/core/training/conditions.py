"""Conditions of a status: set, look up, and the phase that people read."""

from __future__ import annotations

from drumline.api.reasons import ConditionType, Phase, Reason
from drumline.api.status import Condition, TrainingJobStatus
from drumline.core.gang import conditions as any_kind

_PHASES: tuple[tuple[ConditionType, Phase], ...] = (
    (ConditionType.COMPLETE, Phase.SUCCEEDED),
    (ConditionType.FAILED, Phase.FAILED),
    (ConditionType.SUSPENDED, Phase.SUSPENDED),
    (ConditionType.RESTARTING, Phase.RESTARTING),
    (ConditionType.PODS_READY, Phase.RUNNING),
    (ConditionType.ADMITTED, Phase.STARTING),
)


def find(status: TrainingJobStatus, kind: ConditionType) -> Condition | None:
    """The condition of that type."""
    return any_kind.find(status.conditions, kind.value)


def is_true(status: TrainingJobStatus, kind: ConditionType) -> bool:
    """Whether the condition is there and True."""
    return any_kind.is_true(status.conditions, kind.value)


def is_finished(status: TrainingJobStatus) -> bool:
    """Complete or Failed: nothing starts again."""
    return is_true(status, ConditionType.COMPLETE) or is_true(status, ConditionType.FAILED)


def phase_of(status: TrainingJobStatus) -> Phase:
    """The first condition that is True in order of weight; Queued when none is.

    A gang that was ready goes on Running while one of its pods is not: either it recovers or the attempt ends.
    """
    phase = next((phase for kind, phase in _PHASES if is_true(status, kind)), Phase.QUEUED)
    ready = find(status, ConditionType.PODS_READY)
    faltering = ready is not None and ready.reason in (Reason.PODS_NOT_READY, Reason.HELPER_PENDING)
    return Phase.RUNNING if phase is Phase.STARTING and faltering else phase


def set_condition(
    status: TrainingJobStatus, kind: ConditionType, value: bool, reason: str, message: str, now: float
) -> TrainingJobStatus:
    """The status with that condition; the transition time moves only when the value does."""
    found = any_kind.with_condition(
        status.conditions, kind.value, value, reason, message, now, status.observed_generation
    )
    return status if found is status.conditions else status.model_copy(update={"conditions": found})
