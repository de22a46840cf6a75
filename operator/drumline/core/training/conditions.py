"""Conditions of a status: set, look up, and the phase that people read."""

from __future__ import annotations

from drumline.api.reasons import ConditionType, Phase, Reason
from drumline.api.status import Condition, TrainingJobStatus
from drumline.core.training.clock import rfc3339

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
    return next((c for c in status.conditions if c.type == kind.value), None)


def is_true(status: TrainingJobStatus, kind: ConditionType) -> bool:
    """Whether the condition is there and True."""
    found = find(status, kind)
    return found is not None and found.status == "True"


def is_finished(status: TrainingJobStatus) -> bool:
    """Complete or Failed: nothing starts again."""
    return is_true(status, ConditionType.COMPLETE) or is_true(status, ConditionType.FAILED)


def phase_of(status: TrainingJobStatus) -> Phase:
    """The first condition that is True in order of weight; Queued when none is.

    A gang that was ready goes on Running while one of its pods is not: either it recovers or the attempt ends.
    """
    phase = next((phase for kind, phase in _PHASES if is_true(status, kind)), Phase.QUEUED)
    ready = find(status, ConditionType.PODS_READY)
    faltering = ready is not None and ready.reason == Reason.PODS_NOT_READY
    return Phase.RUNNING if phase is Phase.STARTING and faltering else phase


def set_condition(
    status: TrainingJobStatus, kind: ConditionType, value: bool, reason: str, message: str, now: float
) -> TrainingJobStatus:
    """The status with that condition; the transition time moves only when the value does."""
    text = "True" if value else "False"
    old = find(status, kind)
    if old is not None and (old.status, old.reason, old.message) == (text, reason, message):
        return status
    since = old.last_transition_time if old is not None and old.status == text else rfc3339(now)
    new = Condition(
        type=kind.value,
        status=text,
        reason=reason,
        message=message[:1024],
        last_transition_time=since,
        observed_generation=status.observed_generation,
    )
    others = tuple(c for c in status.conditions if c.type != kind.value)
    if old is None:
        return status.model_copy(update={"conditions": (*others, new)})
    place = status.conditions.index(old)
    return status.model_copy(update={"conditions": (*others[:place], new, *others[place:])})
