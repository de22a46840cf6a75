"""Conditions of any kind's status, as metav1.Condition: look up and set."""

from __future__ import annotations

from drumline.api.status import Condition
from drumline.core.gang.clock import rfc3339

Conditions = tuple[Condition, ...]


def find(conditions: Conditions, kind: str) -> Condition | None:
    """The condition of that type."""
    return next((c for c in conditions if c.type == kind), None)


def is_true(conditions: Conditions, kind: str) -> bool:
    """Whether the condition is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def observed(conditions: Conditions, kind: str, generation: int) -> Conditions:
    """The conditions, with the one of that type said to be of that generation of the spec."""
    return tuple(
        c.model_copy(update={"observed_generation": generation}) if c.type == kind else c for c in conditions
    )


def with_condition(
    conditions: Conditions, kind: str, value: bool, reason: str, message: str, now: float, generation: int
) -> Conditions:
    """The conditions with that one set; the transition time moves only when the value does.

    The very same tuple where nothing changes. `now` is Unix time in seconds.
    """
    text = "True" if value else "False"
    old = find(conditions, kind)
    if old is not None and (old.status, old.reason, old.message) == (text, reason, message[:1024]):
        return conditions
    new = Condition(
        type=kind,
        status=text,
        reason=reason,
        message=message[:1024],
        last_transition_time=old.last_transition_time
        if old is not None and old.status == text
        else rfc3339(now),
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if c is old else c for c in conditions)
