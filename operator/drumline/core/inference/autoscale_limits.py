"""Limits on how a role's number of groups changes: bounds, stabilisation, rates, proportion to another role.

Stabilisation, as a HorizontalPodAutoscaler has it: towards fewer groups the greatest wish of the window counts,
towards more the least; to zero the idle time is all that counts. Rates: within `periodSeconds` no more than
`groups`, or `percent` of the number at the period's beginning, whichever is more. What is remembered is bounded by
the longest window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from drumline.api.inference import InferenceRoleSpec
from drumline.api.inference_scaling import Autoscaling, ScalingRules
from drumline.core.inference.signals import Scaling

DOWN_SECONDS: Final = 300  # stabilisation towards fewer, unless the user says otherwise
UP_SECONDS: Final = 0
PERCENT: Final = 100
LEAST_STEP: Final = 1
KEPT_SECONDS: Final = 3600.0
MAX_KEPT: Final = 2000


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier recommendations leave behind. Lost at a restart of the operator, as an HPA's is."""

    wishes: tuple[tuple[float, int], ...] = ()  # (Unix seconds, groups), oldest first
    changes: tuple[tuple[float, int], ...] = ()  # (Unix seconds, by how many the number changed)
    busy_at: float | None = None  # when there was last a request
    current: int | None = None  # the number at the last look


def limited(
    wish: Scaling, scaling: Autoscaling, current: int, memory: Memory, now: float
) -> tuple[Scaling, Memory]:
    """The wish within all limits, and what is to be remembered."""
    memory = _noted(memory, current, now)
    floor = 0 if wish.desired == 0 and scaling.scale_to_zero is not None else scaling.min_replicas
    bounded = min(max(wish.desired, floor), scaling.max_replicas)
    memory = replace(memory, wishes=_kept((*memory.wishes, (now, bounded)), now))
    desired, reason = bounded, wish.reason
    if desired != wish.desired:
        reason = "MaxReplicas" if wish.desired > desired else "MinReplicas"
    steady = _stable(scaling, current, bounded, memory, now)
    if steady != desired:
        desired, reason = steady, "Stabilizing"
    paced = _paced(scaling, current, desired, memory, now)
    if paced != desired:
        desired, reason = paced, "RateLimited"
    text = wish.message if desired == wish.desired else f"{wish.message}; {wish.desired} wanted".lstrip("; ")
    return replace(wish, desired=desired, reason=reason, message=text), memory


def _noted(memory: Memory, current: int, now: float) -> Memory:
    """The memory with the change of the number since the last look, whoever made it."""
    before = memory.current
    if before is None or before == current:
        return replace(memory, current=current)
    return replace(memory, current=current, changes=_kept((*memory.changes, (now, current - before)), now))


def _kept(entries: tuple[tuple[float, int], ...], now: float) -> tuple[tuple[float, int], ...]:
    return tuple(entry for entry in entries if entry[0] > now - KEPT_SECONDS)[-MAX_KEPT:]


def _stable(scaling: Autoscaling, current: int, desired: int, memory: Memory, now: float) -> int:
    behavior = scaling.behavior
    if desired == 0:  # the time without a request is what was waited for
        return 0
    if desired < current:
        seconds = _or(behavior.scale_down.stabilization_seconds, DOWN_SECONDS)
        greatest = max(n for at, n in memory.wishes if at >= now - seconds)
        began = memory.wishes[0][0]
        if now - began < seconds:  # a new operator has not watched for so long
            return current
        return min(current, greatest)
    seconds = _or(behavior.scale_up.stabilization_seconds, UP_SECONDS)
    return max(current, min(n for at, n in memory.wishes if at >= now - seconds)) if seconds else desired


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _paced(scaling: Autoscaling, current: int, desired: int, memory: Memory, now: float) -> int:
    rules = scaling.behavior.scale_up if desired > current else scaling.behavior.scale_down
    sign = 1 if desired > current else -1
    recent = sum(by for at, by in memory.changes if at > now - rules.period_seconds and by * sign > 0)
    start = current - recent
    step = _step(rules, start)
    if desired > current:
        return max(current, min(desired, start + step))
    return min(current, max(desired, start - step))


def _step(rules: ScalingRules, start: int) -> int:
    """How far the number may go from where it was when the period began."""
    percent = rules.percent if rules.percent is not None else (None if rules.groups is not None else PERCENT)
    share = math.ceil(start * percent / 100) if percent is not None else 0
    return max(share, rules.groups or 0, LEAST_STEP)


def proportioned(
    roles: Mapping[str, InferenceRoleSpec], found: Mapping[str, Scaling], current: Mapping[str, int]
) -> dict[str, Scaling]:
    """The recommendations with each role in its proportion to the other's recommended, else present, number."""
    result = dict(found)
    for name, scaling in found.items():
        rules = roles[name].autoscaling
        if rules is None or rules.ratio is None:
            continue
        other = (
            found[rules.ratio.role].desired if rules.ratio.role in found else current.get(rules.ratio.role, 0)
        )
        low, high = math.ceil(rules.ratio.min * other - 1e-9), math.floor(rules.ratio.max * other + 1e-9)
        bound = min(max(scaling.desired, low), max(low, high))
        bound = min(max(bound, rules.min_replicas), rules.max_replicas)
        if bound != scaling.desired:
            text = f"{scaling.desired} wanted; {other} groups of {rules.ratio.role} allow {low} to {high}"
            result[name] = replace(scaling, desired=bound, reason="Ratio", message=text)
    return result
