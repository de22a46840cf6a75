"""Admission wants a group to leave, since others go first in their queues: it is taken out of service for good.

It drains as any group that goes: no new request arrives, those in flight are waited for, within `drain`. The planner then
creates another group in its stead, which asks for a place in the queue as any other. That is no restart and costs no
budget. A drain that has begun is not called off should nobody need the nodes any more: the leader's gate is closed.
"""

from __future__ import annotations

from drumline.api.inference_status import GroupPhase, GroupStatus
from drumline.api.reasons import Cause, DrainReason, Reason
from drumline.core.gang.clock import rfc3339_millis
from drumline.core.gang.queues import Eviction
from drumline.core.inference.groups import every
from drumline.core.inference.view import View, holds_place, is_going


def preemption(view: View) -> View:
    """Take each group that is to leave out of service."""
    if not view.obs.evicted:
        return view
    for role, group in every(view):
        evicted = view.obs.evicted.get(view.uid_of(role, group.id))
        if evicted is not None and holds_place(group) and not is_going(group):
            view = _out(view, role, group, evicted)
    return view


def _out(view: View, role: str, group: GroupStatus, evicted: Eviction) -> View:
    text = f"{Cause.PREEMPTED.value} by {evicted.by}: {evicted.message}"
    gone = {
        "phase": GroupPhase.DRAINING,
        "draining_since": rfc3339_millis(view.now),
        "drain_reason": DrainReason.PREEMPTED.value,
        "evacuating_since": None,
        "queued_at": None,
        "unready_since": None,
        "next_attempt_at": None,
        "message": text,
    }
    view = view.put(role, group.model_copy(update=gone)).first()
    what = f"group {group.id} of role {role} drains; another one asks for a place"
    return view.event("Warning", Reason.PREEMPTED, f"{text}; {what}")
