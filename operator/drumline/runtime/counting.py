"""Counts of ready workers reach the status now and then, not with every pod that comes up.

A gang of a thousand pods would else write its status a thousand times on its way. What changes a condition's
value, begins or ends an attempt, or is worth an event is written at once. That all pods are created may wait
too: this replica remembers it once they are, and a successor that does not finds them all there, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from drumline.api.reasons import ConditionType, Reason
from drumline.core.gang.plan import Plan
from drumline.runtime.job_memory import JobMemory

COUNT_SECONDS: Final = 10.0
_MOVING: Final = {(ConditionType.PODS_READY.value, "False"), (ConditionType.ADMITTED.value, "True")}


def spare(plan: Plan, before: Mapping[str, Any], memory: JobMemory, now: float) -> Plan:
    """The plan without a status that only counts anew, when one was written less than `COUNT_SECONDS` ago.

    The intent that begins an attempt is such a status: what its own plan creates is not worth a second write.
    """
    known = plan.intent or before
    if plan.status is None or (plan.events and plan.intent is None) or not _only_counts(plan.status, known):
        return plan
    left = COUNT_SECONDS if plan.begins else memory.counted_at + COUNT_SECONDS - now
    if left <= 0:
        memory.counted_at = now
        return plan
    again = left if plan.requeue_after is None else min(left, plan.requeue_after)
    return replace(plan, status=None, requeue_after=again)


def created(plan: Plan, memory: JobMemory) -> None:
    """Remember of a plan, spared or not, that was applied whole whether all pods of the attempt are created."""
    status = plan.status or {}
    if any(c["reason"] == Reason.PODS_CREATED for c in status.get("conditions") or ()):
        memory.created_attempt = status["attempt"]


def _only_counts(after: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return _without_counts(after) == _without_counts(before) and after != before


def _without_counts(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status less the counts of workers that move while a gang comes up."""
    rest = {k: v for k, v in status.items() if k != "workers"}
    workers = status.get("workers") or {}
    rest["ended"] = (workers.get("succeeded", 0), workers.get("failed", 0))
    rest["conditions"] = [_without_message(c) for c in status.get("conditions") or ()]
    return rest


def _without_message(condition: Mapping[str, Any]) -> dict[str, Any]:
    """A condition less what moves: how many pods are ready, and that all of them are created."""
    kind, value = condition["type"], condition["status"]
    moving = (kind, value) in _MOVING
    return {k: v for k, v in condition.items() if not (moving and k in ("message", "reason"))}
